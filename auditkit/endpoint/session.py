"""A session: a plan that is asked, over HTTP, in this process, or from a transcript.

All three end in the same arrays, so that a verdict rests on what was asked and answered and on
nothing else.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditkit.endpoint.answers import (
    CONTRADICTIONS,
    BadAnswer,
    Failure,
    Kind,
    in_words,
    read_answer,
)
from auditkit.endpoint.client import Client
from auditkit.endpoint.plan import COLUMNS, SessionPlan
from auditkit.endpoint.service import Service
from auditkit.endpoint.transcript import Entry, Writer, read_transcript

F64 = NDArray[np.float64]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Served(SessionPlan):
    """What an endpoint answered to each query of a plan.

    `outputs` [Q, C] of `kind` (labels [Q, 1]), nan where there is no answer; `seconds` [Q] is how
    long the request took that a query was part of, nan where that is not known. `failures` counts
    queries without an answer by why, and `tries` failures of single tries, of which most were made
    good by asking again. `why` [Q] is the failure of each query, "" where there is none.
    `contradicted` [Q] is where an answer came that no network of these classes gives, or none after
    what was said before; `said` is the first of these in words. `digest` is that of the transcript,
    if there is one.
    """

    outputs: F64
    kind: Kind
    seconds: F64
    failures: Mapping[str, int]
    tries: Mapping[str, int]
    why: NDArray[np.str_]
    contradicted: NDArray[np.bool_]
    said: str = ""
    digest: str | None = None

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Return [Q]: which queries have an answer."""
        return np.asarray(np.isfinite(self.outputs).all(axis=1))

    @property
    def contradictions(self) -> dict[str, int]:
        """Return how many answers contradict, by failure; the queries are in `contradicted`."""
        return dict(sorted(Counter(self.why[self.contradicted].tolist()).items()))

    @property
    def contradiction(self) -> int | None:
        """Return the first query whose answer contradicts, None where there is none."""
        rows = np.flatnonzero(self.contradicted)
        return int(rows[0]) if len(rows) else None

    @property
    def told(self) -> str:
        """Return in words how much of the session was answered."""
        told = f"{int(self.answered.sum())} of {len(self)} queries were answered with "
        told += str(self.kind)
        if self.failures:
            said = ", ".join(f"{n} {kind}" for kind, n in sorted(self.failures.items()))
            told += f" (the others: {said})"
        return told


def ask(
    client: Client,
    plan: SessionPlan,
    *,
    classes: int | None = None,
    transcript: Path | None = None,
    pause: float = 0.0,
    progress: Progress | None = None,
) -> Served:
    """Ask an endpoint all that is planned and return what it said; never raises for what it says.

    Answers of another kind or with another number of classes than the first (or than `classes`)
    are failures that contradict. `pause` is how long is waited between two rounds. After
    `Patience.failures` requests in a row without an answer the rest is not asked. UsageError when
    the transcript cannot be written.
    """
    addresses = client.resolved()
    writer = None
    if transcript is not None:
        writer = Writer(transcript, client.name, len(plan), addresses)
    entries: list[Entry] = []
    settled = _Settled(classes)
    begun, in_a_row, last = time.monotonic(), 0, 0
    starts = np.flatnonzero(np.diff(plan.batch, prepend=-1, append=-2))
    try:
        for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            rows = slice(start, end)
            given_up = client.over or in_a_row >= client.patience.failures
            if pause and plan.round[start] != last and not given_up:
                client.pause(pause)
            last = int(plan.round[start])
            entry = _asked(client, plan, rows, settled, given_up, begun)
            in_a_row = in_a_row + 1 if entry.outputs is None else 0
            entries.append(entry)
            if writer is not None:
                writer.add(entry)
            if progress is not None:
                progress(end, len(plan))
    finally:
        digest = None if writer is None else writer.close()
    return served_from(entries, digest)


class _Settled:
    """Kind and number of classes, as the first answer has them."""

    def __init__(self, classes: int | None) -> None:
        self.kind: Kind | None = None
        self.classes = classes

    def accept(self, kind: Kind, outputs: F64) -> None:
        good = np.ones(len(outputs), dtype=bool)
        if self.kind is not None and kind is not self.kind:
            failure, good[:] = Failure.KIND, False
        elif kind is Kind.LABELS:
            failure = Failure.VALUES
            if self.classes is not None:
                good = outputs[:, 0] < self.classes
        else:
            failure, good[:] = Failure.SHAPE, self.classes in (None, outputs.shape[1])
            if self.classes is None:
                self.classes = outputs.shape[1]
        rows = np.flatnonzero(~good)
        if len(rows):
            raise BadAnswer(failure, rows.tolist(), in_words(outputs[rows[0]].tolist()))
        self.kind = kind


def _asked(
    client: Client, plan: SessionPlan, rows: slice, settled: _Settled, given_up: bool, begun: float
) -> Entry:
    x, columns = plan.x[rows], {name: getattr(plan, name)[rows] for name in COLUMNS}
    if given_up:
        return Entry(x, columns, None, None, Failure.NOT_ASKED, (), math.nan, math.nan)
    at = round(time.monotonic() - begun, 6)
    reply = client.ask(x)
    if reply.failure is not None:
        return Entry(x, columns, None, None, reply.failure, reply.tries, math.nan, at)
    try:
        kind, outputs = read_answer(reply.document, len(x), settled.classes)
        settled.accept(kind, outputs)
        return Entry(x, columns, kind, outputs, None, reply.tries, reply.seconds, at)
    except BadAnswer as bad:
        at_rows = bad.rows if bad.failure in CONTRADICTIONS else ()
        return Entry(
            x, columns, None, None, bad.failure, reply.tries, reply.seconds, at, at_rows, bad.said
        )


def replay(transcript: Path, classes: int | None = None) -> Served:
    """Return what a transcript says was asked and answered; UsageError when it is malformed.

    Answers with another number of classes than `classes` contradict, as they do when asked for.
    """
    entries, digest = read_transcript(transcript)
    alike, settled = _Settled(None), _Settled(classes)
    for number, entry in enumerate(entries):
        if entry.kind is None or entry.outputs is None:
            continue
        try:
            alike.accept(entry.kind, entry.outputs)
        except BadAnswer as bad:
            raise _unfitting(transcript, number + 2, bad) from None
        try:
            settled.accept(entry.kind, entry.outputs)
        except BadAnswer as bad:
            entries[number] = replace(
                entry,
                kind=None,
                outputs=None,
                failure=bad.failure,
                contradicts=bad.rows,
                said=bad.said,
            )
    return served_from(entries, digest)


def _unfitting(transcript: Path, number: int, bad: BadAnswer) -> Exception:
    from auditkit.errors import UsageError

    return UsageError(
        f"transcript {transcript.name} line {number}",
        expected="answers as all others are",
        found=str(bad),
        remedy="give it as it was written",
    )


def served_from(entries: Sequence[Entry], digest: str | None) -> Served:
    """Return the arrays of a session from its requests, at least one, in order."""
    kinds = [entry.kind for entry in entries if entry.kind is not None]
    widths = [e.outputs.shape[1] for e in entries if e.outputs is not None]
    width = max(widths, default=1)
    sizes = [len(entry.x) for entry in entries]
    outputs = [
        np.full((n, width), np.nan) if entry.outputs is None else entry.outputs
        for n, entry in zip(sizes, entries, strict=True)
    ]
    failures: Counter[str] = Counter()
    for entry in entries:
        if entry.failure is not None:
            failures[entry.failure.value] += len(entry.x)
    contradicted = np.zeros(sum(sizes), dtype=bool)
    for start, entry in zip(np.cumsum([0, *sizes[:-1]]).tolist(), entries, strict=True):
        contradicted[[start + row for row in entry.contradicts]] = True
    columns = {n: np.concatenate([e.columns[n] for e in entries]) for n in COLUMNS}
    return Served(
        x=np.concatenate([entry.x for entry in entries]),
        batch=np.repeat(np.arange(len(entries)), sizes),
        outputs=np.concatenate(outputs),
        kind=kinds[0] if kinds else Kind.LOGITS,
        seconds=np.repeat([entry.seconds for entry in entries], sizes),
        failures=dict(sorted(failures.items())),
        tries=dict(sorted(Counter(f.value for e in entries for f in e.tries).items())),
        why=np.repeat([e.failure.value if e.failure else "" for e in entries], sizes),
        contradicted=contradicted,
        said=next((e.said for e in entries if e.contradicts), ""),
        digest=digest,
        **columns,
    )


def ask_in_process(service: Service, plan: SessionPlan, classes: int | None = None) -> Served:
    """Return what a service says to a plan that is asked evenly from the time 0 to the time 1.

    Without HTTP: for simulations. Answers that are not finite, or with another number of classes
    than `classes`, are failures that contradict, as they are over HTTP.
    """
    elapsed = np.arange(len(plan)) / max(1, len(plan))
    outputs = np.array(service.outputs(plan.x, elapsed), dtype=np.float64)
    why = np.where(np.isfinite(outputs).all(axis=1), "", Failure.VALUES.value)
    if service.kind is Kind.LABELS:
        why[outputs[:, 0] >= (math.inf if classes is None else classes)] = Failure.VALUES.value
    elif classes not in (None, outputs.shape[1]):
        why = np.full(len(plan), Failure.SHAPE.value)
    bad = why != ""
    said = in_words(outputs[bad][0].tolist()) if bad.any() else ""
    outputs[bad] = np.nan
    seconds = np.full(len(plan), np.nan)
    if service.seconds is not None:
        # of a request as a whole, as a client measures it
        total = np.bincount(plan.batch, weights=service.seconds(plan.x))
        seconds = total[plan.batch]
    return Served(
        **{name: getattr(plan, name) for name in ("x", "batch", *COLUMNS)},
        outputs=outputs,
        kind=service.kind,
        seconds=seconds,
        failures=dict(sorted(Counter(why[bad].tolist()).items())),
        tries={},
        why=why,
        contradicted=bad,
        said=said,
    )
