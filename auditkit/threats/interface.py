"""A dishonest behaviour in two halves: how an owner would do it, and how it shows.

The halves do not talk to each other: `detect` sees a submission and the auditor's evidence and is
never told what was simulated, so that its error rates can be measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from auditkit.certificate.submission import PatchSubmission, UnlearnedSubmission
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, not_run
from auditkit.threats.evidence import Evidence


class Simulate(Protocol):
    """Write a submission to `out` that cheats, and return it as an auditor would read it.

    `honest` is the submission the owner should have made, with its forgotten records. `strength`
    in (0, 1] is how much of the cheat is done, `variant` one of the behaviour's own, `others`
    records that nobody asked to forget. ValueError when the behaviour cannot be had from these.
    """

    def __call__(
        self,
        honest: PatchSubmission,
        out: Path,
        *,
        seed: int,
        strength: float = 1.0,
        variant: str | None = None,
        others: Records | None = None,
    ) -> PatchSubmission: ...


class Detect(Protocol):
    """Judge whether a submission behaves so: FAIL refutes honesty, PASS refutes the behaviour."""

    def __call__(
        self, submission: PatchSubmission, evidence: Evidence, *, seed: int
    ) -> CheckResult: ...


class DetectModel(Protocol):
    """The same of a network that was unlearned by another method than a patch."""

    def __call__(
        self, submission: UnlearnedSubmission, evidence: Evidence, *, seed: int
    ) -> CheckResult: ...


@dataclass(frozen=True)
class Behaviour:
    """One behaviour of the threat model; `needs` says what evidence its detection rests on.

    Without `detect_model` it is one of patches alone.
    """

    name: str
    number: int
    title: str
    needs: tuple[str, ...]
    variants: tuple[str, ...]
    simulate: Simulate
    detect: Detect
    detect_model: DetectModel | None = None

    @property
    def id(self) -> str:
        return f"threats.{self.name}"


@dataclass(frozen=True)
class Judgement:
    """Makes the results of one behaviour's check, so that id and title are said once."""

    name: str
    title: str

    def __call__(self, outcome: Outcome, reason: str, **figures: Any) -> CheckResult:
        return CheckResult(f"threats.{self.name}", self.title, outcome, reason, **figures)

    def not_run(self, reason: str) -> CheckResult:
        return not_run(f"threats.{self.name}", self.title, reason)


def pick(variant: str | None, variants: tuple[str, ...]) -> str:
    """Return the variant asked for, or the first; ValueError when there is none of that name."""
    if variant is None:
        return variants[0]
    if variant not in variants:
        raise ValueError(f"a variant among {', '.join(variants)}, not {variant!r}")
    return variant
