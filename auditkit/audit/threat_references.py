"""The references that a plan allows for the checks of dishonest behaviour, given or made.

What an honest owner's network would answer depends on what it is compared with, so the plan says
which of three it is, before anything was looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.audit.compare import recompute
from auditkit.audit.shadow_masks import others
from auditkit.certificate.submission import PatchSubmission, Submission
from auditkit.errors import UsageError
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.threats.references import ReferenceKind, References
from auditkit.unlearning.trainable import Diverged
from auditkit.unlearning.training import PRACTICE, Recipe, train_from_scratch

Progress = Callable[[int, int], None]

MOST_RETRAINED = 100  # more say nothing new, and each is a training run


@dataclass(frozen=True)
class ReferencePlan:
    """Which references the checks of dishonest behaviour may use.

    kind: None takes networks where any are given or retrained, and unseen records otherwise;
    retrain: how many networks are trained without the forgotten records, by `recipe`.
    """

    kind: ReferenceKind | None = None
    retrain: int = 0
    recipe: Recipe = PRACTICE

    def __post_init__(self) -> None:
        if self.retrain > MOST_RETRAINED:
            raise ValueError(f"at most {MOST_RETRAINED} retrained references")
        if self.retrain and self.kind not in (None, ReferenceKind.RETRAINED):
            raise ValueError(f"nothing to retrain for references of the kind {self.kind}")


def threat_references(
    submission: Submission,
    plan: ReferencePlan,
    *,
    given: Sequence[Network] = (),
    forget: Records | None = None,
    train: Records | None = None,
    unseen: Records | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[References, str]:
    """Return the references of the plan's kind, and why they are others where they had to be.

    What the owner handed over may be no patch, or one that cannot be made again: then unseen
    records stand in. Raises UsageError when what the auditor should give is missing.
    """
    kind = plan.kind
    if kind is None:
        some = bool(given) or plan.retrain > 0
        kind = ReferenceKind.RETRAINED if some else ReferenceKind.NEVER_SEEN
    if kind is ReferenceKind.NEVER_SEEN:
        return References(kind), ""
    if kind is ReferenceKind.PATCHED:
        return _patched(submission, forget, unseen)
    made = _retrained(submission, plan, train, forget, seed, progress)
    if not given and not made:
        raise _bad("networks that never saw the forgotten records, given or retrained", "none")
    return References(kind, (*given, *made)), ""


def _patched(
    submission: Submission, forget: Records | None, unseen: Records | None
) -> tuple[References, str]:
    records = forget if forget is not None else submission.forget
    if not isinstance(submission, PatchSubmission):
        return References(), "the submission is an unlearned network, and no patch to be made again"
    if records is None:
        return References(), "the forgotten records are withheld, and no patch can be made for them"
    try:
        own = recompute(submission, records, reference=unseen)
    except UsageError as error:
        return References(), f"a patch by the owner's settings cannot be made: {error}"
    return References(ReferenceKind.PATCHED, patched=own.patched), ""


def _retrained(
    submission: Submission,
    plan: ReferencePlan,
    train: Records | None,
    forget: Records | None,
    seed: int,
    progress: Progress | None,
) -> tuple[Network, ...]:
    if not plan.retrain:
        return ()
    records = forget if forget is not None else submission.forget
    if train is None or records is None:
        raise _bad("the training records and the forgotten ones, to retrain without them", "none")
    rows = others(train, records)
    if rows is None or not len(rows):
        raise _bad("training records with the forgotten ones among them, and others", "not so")
    kept = train.take(rows)
    starts = np.random.default_rng([seed, 67]).integers(1 << 31, size=plan.retrain)
    made = []
    try:
        for done, start in enumerate(starts.tolist(), 1):
            made.append(train_from_scratch(submission.network, kept, plan.recipe, start))
            if progress is not None:
                progress(done, plan.retrain)
    except (Diverged, ValueError) as error:
        raise _bad("a network that can be trained by this recipe", str(error)) from None
    return tuple(made)


def _bad(expected: str, found: str) -> UsageError:
    return UsageError(
        "references for the threat checks",
        expected=expected,
        found=found,
        remedy="give them, or choose another kind of reference",
    )
