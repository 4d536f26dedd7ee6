"""The chapter of an audit on dishonest behaviour: evidence gathered as planned, then the checks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from auditkit.audit.serving import asked_at
from auditkit.audit.threat_checks import own_canaries, owners_log, threat_checks
from auditkit.audit.threat_plan import ThreatPlan
from auditkit.audit.threat_references import threat_references
from auditkit.certificate.submission import Submission
from auditkit.errors import EvidenceError
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, Result
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import LOG
from auditkit.threats.references import References
from auditkit.threats.registry import BEHAVIOURS

Progress = Callable[[int, int], None]

ON_LOGS = tuple(b.id for b in BEHAVIOURS if LOG in b.needs)
ON_ENDPOINTS = tuple(b.id for b in BEHAVIOURS if b.detect_served is not None)


@dataclass(frozen=True)
class ThreatChapter:
    """What was found, with what it was compared, and what of the evidence goes into the record.

    inputs: further files with their digests; endpoint: what a session says of itself.
    """

    checks: tuple[CheckResult, ...] = ()
    references: References = field(default_factory=References)
    not_examined: tuple[str, ...] = ()
    inputs: tuple[dict[str, Any], ...] = ()
    endpoint: dict[str, Any] | None = None


def run_chapter(
    plan: ThreatPlan,
    submission: Submission,
    records: Mapping[str, Records | None],
    *,
    given: Sequence[Network] = (),
    verification: Result | None = None,
    assertion: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> ThreatChapter:
    """Gather what the plan allows and check for the behaviours that it names.

    What the owner should have given and is missing or malformed makes its checks inconclusive.
    UsageError when a file of the auditor's own is bad.
    """
    forget, train = records.get("forget"), records.get("train")
    references, why = threat_references(
        submission, plan.references, given=given, forget=forget, train=train,
        unseen=records.get("holdout"), seed=seed, progress=progress,
    )  # fmt: skip
    notes = [f"dishonest behaviour against the planned references ({why})"] if why else []
    evidence = Evidence(
        forget=forget,
        retain=records.get("retain"),
        holdout=records.get("holdout"),
        verification=verification,
        assertion=assertion,
        references=references,
        train=train,
        canaries=own_canaries(plan.canaries, submission),
        order_seed=plan.order_seed,
        drawn=plan.drawn,
    )
    missing: dict[str, str] = {}
    try:
        evidence = replace(evidence, training=owners_log(plan.training_log, submission))
    except EvidenceError as error:
        missing |= dict.fromkeys(ON_LOGS, str(error))
    shown = None
    if plan.endpoint is not None:
        try:
            served = asked_at(
                plan.endpoint, evidence, submission=submission, seed=seed, progress=progress
            )
            evidence = replace(evidence, served=served)
            shown = None if served is None else plan.endpoint.shown(served)
        except EvidenceError as error:
            missing |= dict.fromkeys(ON_ENDPOINTS, str(error))
    checks = threat_checks(submission, evidence, plan.names, seed)
    return ThreatChapter(
        tuple(_unusable(check, missing) for check in checks),
        references,
        tuple(notes),
        tuple(_inputs(plan)),
        shown,
    )


def _unusable(check: CheckResult, missing: Mapping[str, str]) -> CheckResult:
    """Return that evidence was promised and cannot be used, where nothing was found without it."""
    if check.id not in missing or check.outcome is Outcome.FAIL:
        return check
    return replace(
        check, outcome=Outcome.INCONCLUSIVE, required=True, reason=missing[check.id], evidence={}
    )


def _inputs(plan: ThreatPlan) -> list[dict[str, Any]]:
    """Return the plan's files: canaries have a salt and logs a key, so that neither is guessed."""
    rows: list[dict[str, Any]] = []
    for role, path in (("canaries", plan.canaries), ("training-log", plan.training_log)):
        if path is None or not path.is_file():
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        rows.append(
            {"role": role, "name": path.name, "sha256": digest, "semantic": None,
             "keyed": None, "note": None}
        )  # fmt: skip
    return rows
