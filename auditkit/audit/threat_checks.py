"""The checks for dishonest behaviour of one audit, weighed together.

Many tests find something by luck. Where a verdict rests on a p-value, the p-values of all checks of
the audit are adjusted together (Holm 1979), and what is no longer significant is undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attacks.statistics.multiple import holm
from auditkit.audit.serving import Endpoint, asked_at, own_of_nobody
from auditkit.audit.threat_references import ReferencePlan, threat_references
from auditkit.certificate.submission import (
    Submission,
    TamperError,
    UnlearnedSubmission,
    read_submission,
)
from auditkit.certificate.verify import own_records, same_task
from auditkit.errors import UsageError, callers_own
from auditkit.network.read import load_network
from auditkit.results import CheckResult, Outcome, Result, not_run
from auditkit.threats import invalid_certificate
from auditkit.threats.assertion import asserted
from auditkit.threats.decide import P_REFUTE, REFUTE
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Behaviour
from auditkit.threats.registry import chosen, run_on, run_withheld
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
    path: Path | None,
    *,
    holdout: Path | None,
    retain: Path | None,
    forget: Path | None = None,
    train: Path | None = None,
    canaries: Path | None = None,
    training_log: Path | None = None,
    order_seed: int | None = None,
    references: ReferencePlan | None = None,
    reference_models: Sequence[Path] = (),
    names: Sequence[str],
    seed: int,
    endpoint: Endpoint | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Read a submission and the auditor's own records, and check for the named behaviours.

    `endpoint` is where the network is served, or a transcript of what was asked there; without a
    `path` it is all there is. `progress` is told how many queries are done.

    Raises UsageError for an unknown name or when a file of the caller's own is bad, EvidenceError
    when one of the owner's is missing, malformed or refused, or when an endpoint gives no answer.
    Files that were changed and can no longer be read are a certificate that does not hold.
    """
    behaviours = chosen(names)
    if path is None:
        return _withheld(forget, retain, holdout, names, seed, endpoint, progress)
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
    with callers_own():
        given = tuple(load_network(model) for model in reference_models)
    compared, why = threat_references(
        submission, references or ReferencePlan(), given=same_task(given, submission),
        forget=evidence.forget, train=evidence.train, unseen=evidence.holdout, seed=seed,
    )  # fmt: skip
    evidence = replace(evidence, references=compared)
    details: dict[str, Any] = {
        "assertion": asserted(submission, evidence),
        "needs": _needs(behaviours),
        "reference": compared.kind.value,
        **({"reference_instead": why} if why else {}),
    }
    if endpoint is not None:
        served = asked_at(endpoint, evidence, submission=submission, seed=seed, progress=progress)
        if served is not None:
            evidence = replace(evidence, served=served)
            details["endpoint"] = endpoint.shown(served)
    checks = threat_checks(submission, evidence, names, seed)
    return Result(tuple(checks), details)


def _withheld(
    forget: Path | None,
    retain: Path | None,
    holdout: Path | None,
    names: Sequence[str],
    seed: int,
    endpoint: Endpoint | None,
    progress: Callable[[int, int], None] | None,
) -> Result:
    """Check what can be asked where there is an endpoint and no submission."""
    if endpoint is None or forget is None:
        raise UsageError(
            "auditkit threats",
            expected="SUBMISSION, or --endpoint with --forget",
            found="neither" if endpoint is None else "--endpoint without --forget",
            remedy="without the owner's files, say what was to be forgotten and where to ask",
        )
    domain = endpoint.domain
    mine = own_of_nobody({"forget": forget, "retain": retain, "holdout": holdout}, domain)
    evidence = Evidence(mine["forget"], mine["retain"], mine["holdout"])
    evidence = replace(evidence, assertion=endpoint.assertion)
    served = asked_at(endpoint, evidence, seed=seed, progress=progress)
    assert served is not None  # the records are the auditor's own
    evidence = replace(evidence, served=served)
    checks = together(run_withheld(evidence, names, seed))
    if not names:
        checks += endpoint.open_claims(evidence)
    details = {"needs": _needs(chosen(names)), "endpoint": endpoint.shown(served)}
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
