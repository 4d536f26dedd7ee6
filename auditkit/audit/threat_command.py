"""The checks for dishonest behaviour on files as they are named at a terminal, without a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from auditkit.audit.serving import asked_at, own_of_nobody
from auditkit.audit.threat_checks import together
from auditkit.audit.threat_plan import ThreatPlan
from auditkit.audit.threat_run import run_chapter
from auditkit.certificate.submission import TamperError, read_submission
from auditkit.certificate.verify import own_records, same_task
from auditkit.errors import UsageError, callers_own
from auditkit.network.read import load_network
from auditkit.results import CheckResult, Outcome, Result, not_run
from auditkit.threats import invalid_certificate
from auditkit.threats.assertion import asserted
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Behaviour
from auditkit.threats.registry import chosen, run_withheld

Progress = Callable[[int, int], None]


def run_threats(
    path: Path | None,
    records: Mapping[str, Path | None],
    plan: ThreatPlan | None = None,
    *,
    reference_models: Sequence[Path] = (),
    assertion: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    """Read a submission and the auditor's own records, and check for the behaviours of the plan.

    records: files by role (forget, retain, holdout, train). Without a `path` an endpoint is all
    there is. `assertion` is the auditor's reading of what the owner asserts; `progress` is told how
    many queries are done.

    Raises UsageError for an unknown name or when a file of the caller's own is bad, EvidenceError
    when the submission is malformed or refused. What else the owner should have given and cannot be
    used makes its checks inconclusive. Files that were changed and can no longer be read are a
    certificate that does not hold.
    """
    plan = plan or ThreatPlan()
    behaviours = chosen(plan.names)
    if path is None:
        return _withheld(records, plan, assertion, reference_models, seed, progress)
    try:
        submission = read_submission(Path(path))
    except TamperError as error:
        return _tampered(error, behaviours)
    with callers_own():
        given = tuple(load_network(model) for model in reference_models)
    chapter = run_chapter(
        plan,
        submission,
        {name: own_records(file, submission) for name, file in records.items()},
        given=same_task(given, submission),
        assertion=assertion,
        seed=seed,
        progress=progress,
    )
    details: dict[str, Any] = {
        "assertion": asserted(submission, Evidence(assertion=assertion)),
        "needs": _needs(behaviours),
        "reference": chapter.references.kind.value,
    }
    if chapter.not_examined:
        details["not_examined"] = list(chapter.not_examined)
    if chapter.endpoint is not None:
        details["endpoint"] = chapter.endpoint
    return Result(chapter.checks, details)


def _withheld(
    records: Mapping[str, Path | None],
    plan: ThreatPlan,
    assertion: str | None,
    reference_models: Sequence[Path],
    seed: int,
    progress: Progress | None,
) -> Result:
    """Check what can be asked where there is an endpoint and no submission."""
    endpoint = plan.endpoint
    if endpoint is None or records.get("forget") is None:
        raise _usage(
            "SUBMISSION, or --endpoint with --forget",
            "neither" if endpoint is None else "--endpoint without --forget",
            "without the owner's files, say what was to be forgotten and where to ask",
        )
    needless = {
        "--canaries": plan.canaries,
        "--training-log": plan.training_log,
        "--order-seed": plan.order_seed,
        "--drawn": plan.drawn or None,
        "--train": records.get("train"),
        "--reference-model": reference_models or None,
        "--retrain": plan.references.retrain or None,
        "--reference": plan.references.kind,
    }
    for option, value in needless.items():
        if value is not None:
            found = f"{option} without SUBMISSION"
            raise _usage("options that queries alone can use", found, "leave it out")
    asked_of = {name: records.get(name) for name in ("forget", "retain", "holdout")}
    mine = own_of_nobody(asked_of, endpoint.domain)
    evidence = Evidence(mine["forget"], mine["retain"], mine["holdout"])
    evidence = replace(evidence, assertion=assertion)
    served = asked_at(endpoint, evidence, seed=seed, progress=progress)
    assert served is not None  # the records are the auditor's own
    evidence = replace(evidence, served=served)
    checks = together(run_withheld(evidence, plan.names, seed))
    if not plan.names:
        checks += endpoint.open_claims(evidence)
    details = {"needs": _needs(chosen(plan.names)), "endpoint": endpoint.shown(served)}
    return Result(tuple(checks), details)


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


def _usage(expected: str, found: str, remedy: str) -> UsageError:
    return UsageError("auditkit threats", expected=expected, found=found, remedy=remedy)
