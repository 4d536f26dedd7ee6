"""The dishonest behaviours that are checked for, and running them on a submission."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from auditkit.certificate.submission import (
    PatchSubmission,
    Submission,
    UnlearnedSubmission,
)
from auditkit.errors import UsageError
from auditkit.results import CheckResult, not_run
from auditkit.threats import (
    canary_only,
    deceiving,
    forged_log,
    fragile,
    guided_retraining,
    head_only,
    invalid_certificate,
    lazy,
    neglecting,
    output_filter,
    over_forgetting,
    patch_bait,
    point_patch,
    smuggled_gate,
    strippable,
    substitution,
)
from auditkit.threats.evidence import Evidence, without_canaries
from auditkit.threats.interface import Behaviour

BEHAVIOURS: tuple[Behaviour, ...] = (
    neglecting.BEHAVIOUR,
    lazy.BEHAVIOUR,
    deceiving.BEHAVIOUR,
    output_filter.BEHAVIOUR,
    point_patch.BEHAVIOUR,
    strippable.BEHAVIOUR,
    invalid_certificate.BEHAVIOUR,
    head_only.BEHAVIOUR,
    fragile.BEHAVIOUR,
    over_forgetting.BEHAVIOUR,
    canary_only.BEHAVIOUR,
    forged_log.BEHAVIOUR,
    guided_retraining.BEHAVIOUR,
    substitution.BEHAVIOUR,
    smuggled_gate.BEHAVIOUR,
    patch_bait.BEHAVIOUR,
)

WEIGHTS_WITHHELD = "the weights are withheld, and by queries alone this does not show"


def chosen(names: Sequence[str]) -> tuple[Behaviour, ...]:
    """Return the behaviours of these names in the order of the threat model; all for no name.

    Raises UsageError for a name that there is none of.
    """
    known = {behaviour.name: behaviour for behaviour in BEHAVIOURS}
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                "behaviour",
                expected=f"one of {', '.join(known)}",
                found=repr(name[:60]),
                remedy=f"did you mean {near[0]}?" if near else "leave it out to check for all",
            )
    return tuple(b for b in BEHAVIOURS if not names or b.name in names)


def run_on(
    submission: Submission, evidence: Evidence, names: Sequence[str], seed: int
) -> list[CheckResult]:
    """Check a submission for the named behaviours, or for all; UsageError for an unknown name."""
    behaviours = chosen(names)
    if isinstance(submission, UnlearnedSubmission):
        natural = without_canaries(submission, evidence)
        return [
            _on_model(b, submission, natural if submission.KIND in b.of_a_kind else evidence, seed)
            for b in behaviours
        ]
    assert isinstance(submission, PatchSubmission)
    if evidence.verification is None and invalid_certificate.BEHAVIOUR in behaviours:
        verification = invalid_certificate.verified(submission, evidence, seed)
        evidence = replace(evidence, verification=verification)
    natural = without_canaries(submission, evidence)
    return [
        b.detect(submission, natural if submission.KIND in b.of_a_kind else evidence, seed=seed)
        for b in behaviours
    ]


def run_withheld(evidence: Evidence, names: Sequence[str], seed: int) -> list[CheckResult]:
    """Check what an endpoint answered where there is no submission; UsageError for a name."""
    return [
        behaviour.detect_served(evidence, seed=seed)
        if behaviour.detect_served is not None
        else not_run(behaviour.id, behaviour.title, WEIGHTS_WITHHELD, required=False)
        for behaviour in chosen(names)
    ]


def _on_model(
    behaviour: Behaviour, submission: UnlearnedSubmission, evidence: Evidence, seed: int
) -> CheckResult:
    if behaviour.detect_model is None:
        reason = "a behaviour of patches: the submission is an unlearned network and has none"
        return not_run(behaviour.id, behaviour.title, reason, required=False)
    # what a hostile network answers may overflow
    with np.errstate(all="ignore"):
        return behaviour.detect_model(submission, evidence, seed=seed)
