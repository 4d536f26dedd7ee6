"""Asking the endpoint of an audit, or reading again what it once said."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auditkit import limits
from auditkit.certificate.erasure import ERASURE, REDIRECTION
from auditkit.certificate.submission import Submission
from auditkit.endpoint.answers import Kind
from auditkit.endpoint.client import Client, Patience, checked_url
from auditkit.endpoint.plan import EACH, Group, Purpose
from auditkit.endpoint.session import Served, ask, replay
from auditkit.errors import EvidenceError, UsageError, callers_own
from auditkit.records import Records, read_records
from auditkit.results import CheckResult, Outcome
from auditkit.threats.evidence import Evidence, requested
from auditkit.threats.serving import BUDGET, fits, session_plan


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, how much and how fast; or with `replayed` the transcript to judge again.

    `domain` is the auditor's word where there is no submission to say it.
    UsageError when these do not go together.
    """

    url: str | None = None
    budget: int = BUDGET
    rate: float | None = None
    pause: float = 0.0
    transcript: Path | None = None
    replayed: bool = False
    domain: tuple[float, float] = (0.0, 1.0)
    patience: Patience | None = None

    def __post_init__(self) -> None:
        if self.replayed:
            if self.url is not None or self.transcript is None:
                raise _usage("--replay", "--transcript and no --endpoint", "other options")
            return
        if self.url is None:
            raise _usage("--endpoint", "a URL, or --transcript with --replay", "none")
        checked_url(self.url)
        if not EACH <= self.budget <= limits.ENDPOINT_QUERIES:
            allowed = f"from {EACH}, as one record takes, to {limits.ENDPOINT_QUERIES}"
            raise _usage("--budget", allowed, f"{self.budget}")
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise _usage("--rate", "requests a second, above 0", f"{self.rate}")
        if not 0 <= self.pause <= limits.ENDPOINT_SESSION_SECONDS:
            most = f"seconds, at most {limits.ENDPOINT_SESSION_SECONDS:g}"
            raise _usage("--pause", most, f"{self.pause}")

    def shown(self, served: Served) -> dict[str, Any]:
        """Return what a result says of the session: nothing that varies with its replay."""
        return {
            "answers": str(served.kind),
            "queries": len(served),
            "answered": int(served.answered.sum()),
            "unanswered": dict(served.failures),
            "asked_again": dict(served.tries),
            "contradictions": served.contradictions,
            "transcript": served.digest,
        }

    def open_claims(self, evidence: Evidence) -> list[CheckResult]:
        """Return the two claims of an audit as far as queries alone can speak of them."""
        served, asked = evidence.served, requested(None, evidence)
        assert served is not None and asked is not None
        rows = np.flatnonzero(served.of(Group.FORGOTTEN, Purpose.EXACT) & served.answered)
        outputs = served.outputs[rows]
        label = outputs[:, 0] if served.kind is Kind.LABELS else outputs.argmax(axis=1)
        right = label == asked.records.y[served.index[rows]]
        moved = int((~right).sum())
        told = (
            f"{moved} of {len(rows)} answers at requested records had another label than theirs: "
            "that holds for these inputs at that time, and was not certified of any other"
        )
        gone = "by queries alone no check can show that information is gone"
        return [
            CheckResult(
                REDIRECTION,
                "The outputs are redirected at and around the forgotten records",
                Outcome.INCONCLUSIVE,
                told,
                observed=moved / len(rows) if len(rows) else None,
                n=len(rows),
            ),
            CheckResult(
                ERASURE, "Nothing of the forgotten records is left", Outcome.INCONCLUSIVE, gone
            ),
        ]


def asked_at(
    endpoint: Endpoint,
    evidence: Evidence,
    *,
    submission: Submission | None = None,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Served | None:
    """Return what the endpoint says, or said; None where the records are withheld.

    EvidenceError when nothing usable came back, UsageError for a transcript of other records.
    """
    asked = requested(submission, evidence)
    if asked is None:
        return None
    classes = None if submission is None else submission.network.classes
    if endpoint.replayed:
        assert endpoint.transcript is not None
        served = replay(endpoint.transcript, classes)
        if not fits(served, asked):
            raise _usage(
                f"transcript {endpoint.transcript.name}",
                "queries about the requested records",
                "queries about others",
            )
    else:
        domain = endpoint.domain
        if submission is not None:
            domain = (submission.domain.lower, submission.domain.upper)
        plan = session_plan(
            asked, evidence, domain, submission=submission, budget=endpoint.budget, seed=seed
        )
        assert endpoint.url is not None
        served = ask(
            Client(endpoint.url, rate=endpoint.rate, patience=endpoint.patience),
            plan,
            classes=classes,
            transcript=endpoint.transcript,
            pause=endpoint.pause,
            progress=progress,
        )
    if not served.answered.any() and not served.contradictions:
        raise EvidenceError(
            "endpoint",
            expected="answers to queries",
            found=f"none to {len(served)}: "
            + ", ".join(f"{n} {kind}" for kind, n in served.failures.items()),
            remedy="check the address, or ask the owner",
        )
    return served


def own_of_nobody(
    paths: Mapping[str, Path | None], domain: tuple[float, float]
) -> dict[str, Records | None]:
    """Read the auditor's records where no network says their shape; UsageError if they differ."""
    found: dict[str, Records | None] = {}
    shape: tuple[int, ...] | None = None
    for name, path in paths.items():
        found[name] = None
        if path is None:
            continue
        with callers_own():
            records = read_records(path, shape, domain=domain)
        shape = records.x.shape[1:]
        found[name] = records
    return found


def _usage(subject: str, expected: str, found: str) -> UsageError:
    return UsageError(subject, expected=expected, found=found, remedy="see auditkit threats --help")
