"""A dishonest behaviour in two halves: how an owner would do it, and how it shows.

The halves do not talk to each other: `detect` sees what the owner hands over and the auditor's
evidence and is never told what was simulated, so that its error rates can be measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from auditkit.certificate.submission import PatchSubmission, Submission, UnlearnedSubmission
from auditkit.endpoint.service import Service
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, not_run
from auditkit.threats.evidence import Evidence
from auditkit.unlearning.canaries import Canaries
from auditkit.unlearning.training import Recipe
from auditkit.unlearning.training_log import TrainingLog


@dataclass(frozen=True, eq=False)
class Owner:
    """An owner as a simulation sees one: what is handed over, and what is kept besides.

    `retain` and `unseen` are training records that stay and records that the network never saw,
    `recipe` how networks are trained here. `training` is the log of the delivered network's
    training, `canaries` what was placed in the training records, of which an owner who cheats
    knows the announced ones, `service` what answers at an endpoint.
    """

    submission: Submission
    retain: Records | None = None
    unseen: Records | None = None
    recipe: Recipe | None = None
    training: TrainingLog | None = None
    canaries: Canaries | None = None
    service: Service | None = None

    @property
    def others(self) -> Records | None:
        """Return records that nobody asked to forget, those that were trained on if there are."""
        return self.unseen if self.retain is None else self.retain


LOG = "log of training"
CANARIES = "canaries placed before training"
"""Needs by which other parts know what evidence a behaviour rests on."""


class Simulate(Protocol):
    """Make of an honest owner one who cheats; what is handed over anew is written to `out`.

    `strength` in (0, 1] is how much of the cheat is done (`Behaviour.strength` says of what),
    `variant` one of the behaviour's own. ValueError when the behaviour cannot be had from this
    owner.
    """

    def __call__(
        self,
        honest: Owner,
        out: Path,
        *,
        seed: int,
        strength: float = 1.0,
        variant: str | None = None,
    ) -> Owner: ...


class SimulatePatch(Protocol):
    """The same of a submission of a patch alone: written to `out`, returned as an auditor reads it.

    `others` are records that nobody asked to forget.
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


class DetectServed(Protocol):
    """The same by queries alone, where the weights are withheld."""

    def __call__(self, evidence: Evidence, *, seed: int) -> CheckResult: ...


@dataclass(frozen=True)
class Behaviour:
    """One behaviour of the threat model.

    `needs` says what evidence its detection rests on; `variants` and `model_variants` are ways to
    cheat with a patch and with an unlearned network; `strength` what a simulation's strength is a
    measure of; `hiding` what it would take to hide from the test; `of_a_kind` of which kinds of
    submission the test takes requested records for like unseen ones. Without `detect_model` it is
    one of patches alone; with `detect_served` one that shows by queries alone.
    """

    name: str
    number: int
    title: str
    needs: tuple[str, ...]
    variants: tuple[str, ...]
    simulate: Simulate
    detect: Detect
    detect_model: DetectModel | None = None
    model_variants: tuple[str, ...] = ()
    strength: str = ""
    hiding: str = ""
    of_a_kind: tuple[str, ...] = ()
    detect_served: DetectServed | None = None

    @property
    def id(self) -> str:
        return f"threats.{self.name}"


def of_patches(simulate: SimulatePatch, model: Simulate | None = None) -> Simulate:
    """Return a simulation for any owner: `simulate` for one with a patch, else `model`."""

    def either(
        honest: Owner,
        out: Path,
        *,
        seed: int,
        strength: float = 1.0,
        variant: str | None = None,
    ) -> Owner:
        how: dict[str, Any] = {"seed": seed, "strength": strength, "variant": variant}
        if isinstance(honest.submission, PatchSubmission):
            made = simulate(honest.submission, out, others=honest.others, **how)
            return replace(honest, submission=made)
        if model is None:
            raise ValueError("a behaviour of patches: the submission is an unlearned network")
        return model(honest, out, **how)

    return either


@dataclass(frozen=True)
class Judgement:
    """Makes the results of one behaviour's check, so that id and title are said once."""

    name: str
    title: str

    def __call__(self, outcome: Outcome, reason: str, **figures: Any) -> CheckResult:
        return CheckResult(f"threats.{self.name}", self.title, outcome, reason, **figures)

    def not_run(self, reason: str, *, required: bool = True) -> CheckResult:
        """Return that there was nothing to examine; not required where none was to be given."""
        return not_run(f"threats.{self.name}", self.title, reason, required=required)


def pick(variant: str | None, variants: tuple[str, ...]) -> str:
    """Return the variant asked for, or the first; ValueError when there is none of that name."""
    if variant is None:
        return variants[0]
    if variant not in variants:
        raise ValueError(f"a variant among {', '.join(variants)}, not {variant!r}")
    return variant
