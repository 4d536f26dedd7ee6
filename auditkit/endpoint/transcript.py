"""Every query and answer in order, as evidence that can be judged again without asking again.

**The file** is UTF-8 text, one JSON object a line, without NaN or Infinity. It has mode 0600 and
is never overwritten. Its first line is the head, every further line one request in the order in
which they were sent. n is the number of inputs of that request, 1 to 8.

The head:

- `schema`: `auditkit/transcript/v1`.
- `endpoint`: the address without its query (which may be a secret).
- `addresses`: the network addresses of that name, to which the session keeps; none where the name
  had none when it began.
- `queries`: how many inputs are asked in all. A file with fewer was cut short and is refused.

A request:

- `inputs`: n arrays of the network's input shape, in its input units, as float32 has them.
- `group`: n numbers; whose record: 0 requested to be forgotten, 1 unseen, 2 retained.
- `purpose`: n numbers; 0 the record as it is, 1 a copy near it, 2 a copy within and 3 a copy
  beyond the radius that is claimed of it.
- `index`: n numbers; which record of its group, from 0, in the order of the file that the group was
  read from: requested records each once, the others without those that are also requested.
- `round`: n numbers, 0 to 2; the round of the session.
- `radius`: n numbers; by how much each feature of the copy was moved, in input units, 0 for none.
- `answer`: an object with one member, `logits` or `probabilities` (n arrays of one number a class,
  as they were said) or `labels` (n whole numbers from 0); or null where there is none to use.
- `failure`: null, or why there is none: `unreachable`, `certificate`, `connection-closed`,
  `timeout`, `deadline`, `too-large`, `redirect`, `rate-limited`, `http-status`, `malformed`,
  `other-count`, `wrong-shape`, `impossible-values`, `other-kind`, or `not-asked`, which is the
  auditor's doing. Exactly one of `answer` and `failure` is null.
- `contradicts`: where the failure is `wrong-shape`, `impossible-values` or `other-kind`, the
  positions from 0 of those of the n inputs whose answers no such network gives; else empty.
- `said`: the first of these answers in words, at most 400 characters; else empty.
- `tries`: failures of earlier tries of the same request, and the last one if none was answered.
- `seconds`: how long the try took that was answered, from its start to the parsed answer; or null.
- `at`: seconds from the beginning of the session to the first try; null where it was not asked.

`contradicts`, `said` and `addresses` may be missing, and are then empty; other members are ignored.

**Confidential** are the file and each of its parts: `inputs` are records, `group` says who asked to
be forgotten, `answer` and `said` are what a model knows of them. Nothing of it is in a report but
its digest, the SHA-256 of all bytes, and how many queries were answered and why not.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.endpoint.answers import (
    CONTRADICTIONS,
    SAID,
    BadAnswer,
    Failure,
    Kind,
    answer_json,
    read_answer,
)
from auditkit.endpoint.plan import COLUMNS, ROUNDS, Group, Purpose
from auditkit.errors import UsageError, callers_own
from auditkit.files import read_bytes
from auditkit.refusal import refuse
from auditkit.strict_json import parse_json

SCHEMA = "auditkit/transcript/v1"
MOST = {"group": len(Group), "purpose": len(Purpose), "round": ROUNDS, "index": limits.RECORDS}


@dataclass(frozen=True, eq=False)
class Entry:
    """One request: inputs x [n, *input_shape] and `columns` [n] of a plan, and what came of it.

    `outputs` [n, C] of `kind`, or None with `failure`; `tries` are failures before it. `seconds` is
    how long the answer took, `at` when it was asked since the session began, both nan if unknown.
    `contradicts` are the inputs whose answers cannot be the network's, `said` the first of these.
    """

    x: NDArray[np.float32]
    columns: dict[str, NDArray[Any]]
    kind: Kind | None
    outputs: NDArray[np.float64] | None
    failure: Failure | None
    tries: tuple[Failure, ...]
    seconds: float
    at: float
    contradicts: tuple[int, ...] = ()
    said: str = ""

    def to_json(self) -> dict[str, Any]:
        answer = None
        if self.outputs is not None and self.kind is not None:
            answer = answer_json(self.outputs, self.kind)
        return {
            "inputs": self.x.astype(np.float64).tolist(),
            **{name: values.tolist() for name, values in self.columns.items()},
            "answer": answer,
            "failure": None if self.failure is None else self.failure.value,
            "contradicts": list(self.contradicts),
            "said": self.said,
            "tries": [failure.value for failure in self.tries],
            "seconds": None if math.isnan(self.seconds) else self.seconds,
            "at": None if math.isnan(self.at) else self.at,
        }


class Writer:
    """Writes a transcript line by line, so that a session that is cut short leaves what it had.

    UsageError when the file exists or cannot be made.
    """

    def __init__(
        self, path: Path, endpoint: str, queries: int, addresses: Sequence[str] = ()
    ) -> None:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except (OSError, ValueError) as error:
            exists = isinstance(error, FileExistsError)
            raise UsageError(
                str(path),
                expected="a new file for the transcript",
                found="a file" if exists else f"{getattr(error, 'strerror', None) or error}",
                remedy="name another, or judge that one again with --replay",
            ) from None
        self._file: BinaryIO = os.fdopen(handle, "wb")
        self._hash = hashlib.sha256()
        head = {"schema": SCHEMA, "endpoint": endpoint, "addresses": list(addresses)}
        self._line({**head, "queries": queries})

    def add(self, entry: Entry) -> None:
        """Write one request."""
        self._line(entry.to_json())

    def close(self) -> str:
        """Finish the file and return its SHA-256."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return self._hash.hexdigest()

    def _line(self, document: dict[str, Any]) -> None:
        data = json.dumps(document, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        self._hash.update(data)
        self._file.write(data)


def read_transcript(path: Path) -> tuple[list[Entry], str]:
    """Return the requests of a transcript and the SHA-256 of its bytes.

    UsageError when it is missing, malformed, or does not have all queries that its head announces:
    it is a file of the auditor's own.
    """
    with callers_own():
        data = read_bytes(Path(path), limit=limits.TRANSCRIPT_BYTES, what="transcript")
        what = f"transcript {Path(path).name}"
        lines = _lines(data)
        head = parse_json(next(lines, b""), what, limit=limits.TRANSCRIPT_LINE_BYTES)
        if not isinstance(head, dict) or head.get("schema") != SCHEMA:
            refuse(what, f"a first line of schema {SCHEMA}", "another", "give a transcript")
        entries = [_entry(line, f"{what} line {n}") for n, line in enumerate(lines, 2)]
        count = sum(len(entry.x) for entry in entries)
        if head.get("queries") != count or not count:
            found = f"{count} of {str(head.get('queries'))[:20]}"
            refuse(what, "all queries that its first line announces", found, "ask again")
        if len({entry.x.shape[1:] for entry in entries}) > 1:
            refuse(what, "inputs of one shape", "several", "give it as it was written")
    return entries, hashlib.sha256(data).hexdigest()


def _lines(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        yield data[start:end]
        start = end + 1


def _entry(line: bytes, what: str) -> Entry:
    document = parse_json(line, what, limit=limits.TRANSCRIPT_LINE_BYTES)
    try:
        return _read(document)
    except (KeyError, TypeError, ValueError, OverflowError, BadAnswer) as error:
        refuse(what, "a request as it was written", str(error)[:100] or "another", "ask again")


def _read(document: dict[str, Any]) -> Entry:
    x = np.array(document["inputs"], dtype=np.float64)
    n = len(x)
    if x.ndim < 2 or not 1 <= n <= limits.ENDPOINT_BATCH or not np.isfinite(x).all():
        raise ValueError(f"inputs of shape {list(x.shape)}")
    columns: dict[str, NDArray[Any]] = {}
    for name in COLUMNS:
        values = document[name]
        kinds = (int, float) if name == "radius" else (int,)
        if len(values) != n or not all(type(v) in kinds for v in values):
            raise ValueError(f"{name} of other queries")
        columns[name] = np.array(values, np.float64 if name == "radius" else np.int64)
        if (columns[name] < 0).any() or (columns[name] >= MOST.get(name, np.inf)).any():
            raise ValueError(f"{name} out of range")
    kind = outputs = None
    if document["answer"] is not None:
        kind, outputs = read_answer(document["answer"], n)
    failure = None if document["failure"] is None else Failure(document["failure"])
    if (outputs is None) == (failure is None):
        raise ValueError("neither an answer nor a failure, or both")
    contradicts, said = document.get("contradicts", []), document.get("said", "")
    if not isinstance(said, str) or len(said) > SAID:
        raise ValueError("what was said is no short text")
    if not all(type(row) is int and 0 <= row < n for row in contradicts):
        raise ValueError("contradicts of other queries")
    if contradicts and failure not in CONTRADICTIONS:
        raise ValueError("contradicts without such a failure")
    return Entry(
        x.astype(np.float32),
        columns,
        kind,
        outputs,
        failure,
        tuple(Failure(name) for name in document["tries"]),
        _seconds(document["seconds"]),
        _seconds(document["at"]),
        tuple(contradicts),
        said,
    )


def _seconds(value: Any) -> float:
    if value is None:
        return math.nan
    if type(value) not in (int, float) or value < 0:
        raise ValueError("seconds that are no number")
    return float(value)
