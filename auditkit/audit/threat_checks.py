"""The checks for dishonest behaviour of one audit, weighed together.

Many tests find something by luck. Where a verdict rests on a p-value, the p-values of all checks of
the audit are adjusted together (Holm 1979), and what is no longer significant is undecided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from attacks.statistics.multiple import holm
from auditkit.certificate.submission import (
    Submission,
    TamperError,
    UnlearnedSubmission,
    read_submission,
)
from auditkit.certificate.verify import own_records
from auditkit.errors import callers_own
from auditkit.results import CheckResult, Outcome, Result, not_run
from auditkit.threats import invalid_certificate
from auditkit.threats.assertion import asserted
from auditkit.threats.decide import P_REFUTE, REFUTE
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Behaviour
from auditkit.threats.registry import chosen, run_on
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
    """Return the checks with p-values adjusted for each other, and verdicts that follow."""
    tested = [i for i, check in enumerate(checks) if P_REFUTE in check.evidence]
    if not tested:
        return list(checks)
    adjusted = holm([checks[i].evidence[P_REFUTE] for i in tested])
    weighed = list(checks)
    for i, p in zip(tested, adjusted.tolist(), strict=True):
        check = replace(checks[i], evidence={**checks[i].evidence, f"{P_REFUTE}_adjusted": p})
        if check.outcome is Outcome.FAIL and p > REFUTE:
            reason = f"{check.reason}; among {len(tested)} tests that is not enough (p = {p:.2g})"
            check = replace(check, outcome=Outcome.INCONCLUSIVE, reason=reason)
        weighed[i] = check
    return weighed


def run_threats(
    path: Path,
    *,
    holdout: Path | None,
    retain: Path | None,
    forget: Path | None = None,
    train: Path | None = None,
    canaries: Path | None = None,
    training_log: Path | None = None,
    order_seed: int | None = None,
    names: Sequence[str],
    seed: int,
) -> Result:
    """Read a submission and the auditor's own records, and check for the named behaviours.

    Raises UsageError for an unknown name or when a file of the caller's own is bad, EvidenceError
    when one of the owner's is missing, malformed or refused. Files that were changed and can no
    longer be read are a certificate that does not hold.
    """
    behaviours = chosen(names)
    try:
        submission = read_submission(Path(path))
    except TamperError as error:
        return _tampered(error, behaviours)
    evidence = Evidence(
        forget=own_records(forget, submission),
        retain=own_records(retain, submission),
        holdout=own_records(holdout, submission),
        train=own_records(train, submission),
        canaries=own_canaries(canaries, submission),
        training=owners_log(training_log, submission),
        order_seed=order_seed,
    )
    checks = threat_checks(submission, evidence, names, seed)
    details = {"assertion": asserted(submission, evidence), "needs": _needs(behaviours)}
    return Result(tuple(checks), details)


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


def _needs(behaviours: Sequence[Behaviour]) -> dict[str, list[str]]:
    return {behaviour.id: list(behaviour.needs) for behaviour in behaviours}


def _tampered(error: TamperError, behaviours: Sequence[Behaviour]) -> Result:
    checks = []
    for behaviour in behaviours:
        if behaviour is invalid_certificate.BEHAVIOUR:
            check = CheckResult(
                behaviour.id,
                behaviour.title,
                Outcome.FAIL,
                str(error),
                observed=error.found,
                threshold=error.expected,
            )
        else:
            reason = "the submission was changed and cannot be read"
            check = not_run(behaviour.id, behaviour.title, reason)
        checks.append(check)
    return Result(tuple(checks))
