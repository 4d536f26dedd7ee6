"""The checks for dishonest behaviour of one audit, weighed together.

Many tests find something by luck. Where a verdict rests on a p-value, the p-values of all checks of
the audit are adjusted together (Holm 1979), and what is no longer significant is undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attacks.statistics.multiple import holm
from auditkit.certificate.submission import Submission, UnlearnedSubmission
from auditkit.errors import callers_own
from auditkit.results import CheckResult, Outcome
from auditkit.threats.decide import P_REFUTE, REFUTE
from auditkit.threats.evidence import Evidence
from auditkit.threats.registry import run_on
from auditkit.unlearning.canaries import Canaries, read_canaries
from auditkit.unlearning.training_log import TrainingLog, read_training_log


def threat_checks(
    submission: Submission, evidence: Evidence, names: Sequence[str], seed: int
) -> list[CheckResult]:
    """Check a submission for the named behaviours, or for all, and weigh the checks together.

    UsageError for an unknown name.
    """
    return together(run_on(submission, evidence, names, seed))


def together(checks: Sequence[CheckResult]) -> list[CheckResult]:
    """Return the checks with p-values adjusted for each other, and verdicts that follow.

    The family is every check that ran: one that rests on no p-value, or found no occasion for its
    test, counts with p = 1, so that what others looked like does not change it.
    """
    ran = [i for i, check in enumerate(checks) if check.outcome is not Outcome.NOT_RUN]
    if not ran:
        return list(checks)
    adjusted = holm([checks[i].evidence.get(P_REFUTE, 1.0) for i in ran])
    weighed = list(checks)
    for i, p in zip(ran, adjusted.tolist(), strict=True):
        if P_REFUTE not in checks[i].evidence:
            continue
        check = replace(checks[i], evidence={**checks[i].evidence, f"{P_REFUTE}_adjusted": p})
        if check.outcome is Outcome.FAIL and p > REFUTE:
            reason = f"{check.reason}; among {len(ran)} checks that is not enough (p = {p:.2g})"
            check = replace(check, outcome=Outcome.INCONCLUSIVE, reason=reason)
        weighed[i] = check
    return weighed


def own_canaries(path: Path | None, submission: Submission) -> Canaries | None:
    """Return the auditor's canaries for this submission's network; UsageError when they are bad."""
    if path is None:
        return None
    domain = submission.domain
    with callers_own():
        return read_canaries(
            path,
            input_shape=submission.network.input_shape,
            classes=submission.network.classes,
            domain=(domain.lower, domain.upper),
        )


def owners_log(path: Path | None, submission: Submission) -> TrainingLog | None:
    """Return the owner's log of training; EvidenceError when it is bad. A patch has none."""
    if path is None or not isinstance(submission, UnlearnedSubmission):
        return None
    return read_training_log(path, submission.unlearned)
