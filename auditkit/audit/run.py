"""Run a plan: every check it asks for, into record.json, run.json and report.html."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import auditkit
from auditkit.audit.charts import certificate_charts
from auditkit.audit.compare import JUDGED, compare, recompute
from auditkit.audit.compare_models import TITLES as MODEL_JUDGED
from auditkit.audit.compare_models import recompute_and_compare
from auditkit.audit.membership import Membership, attack_submission
from auditkit.audit.membership_said import Say
from auditkit.audit.plan import Plan, read_plan
from auditkit.audit.record import build_annex, build_record
from auditkit.audit.shown_charts import shown_charts, shown_tables
from auditkit.audit.threat_charts import threat_charts
from auditkit.audit.threat_rates import calibrated
from auditkit.audit.threat_run import ThreatChapter, run_chapter
from auditkit.audit.verdict import under_assertion
from auditkit.certificate.submission import (
    PatchSubmission,
    Submission,
    TamperError,
    UnlearnedSubmission,
    kind_of,
    read_submission,
)
from auditkit.certificate.verify import own_records, same_task, tampered, verify_submission
from auditkit.errors import EvidenceError, UsageError, callers_own
from auditkit.files import sha256_hex, write_atomic
from auditkit.network.graph import Network
from auditkit.network.read import load_network
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, Result, dump_json, not_run

Progress = Callable[[int, int], None]
LIBRARIES = (
    *("numpy", "python-flint", "highspy", "scipy", "scikit-learn"),
    *("torch", "onnx", "onnxruntime", "matplotlib"),
)


def run_audit(
    plan_path: Path,
    out: Path,
    *,
    seed: int | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Result:
    """Run the plan in a file and write record, run and report to `out`.

    Raises UsageError when plan, records or `out` are bad. What is wrong with the submission is
    part of the result, and a record and report are written all the same. `say` is told, before the
    attacks start, what their samples can decide.
    """
    started = time.time()
    plan = read_plan(Path(plan_path), seed)
    _usable(out)
    findings = run_plan(plan, progress, say)
    record = build_record(findings, _libraries())
    text = dump_json(record)
    annex = build_annex(findings)
    run = {
        "schema": "auditkit/run/v1",
        "record_sha256": sha256_hex(text.encode()),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
        "host": {"system": platform.platform(), "python": platform.python_version()},
    }
    from reports import render

    page = render(json.loads(text), run=json.loads(dump_json(run)))
    documents = {"record.json": text, "run.json": dump_json(run), "report.html": page}
    for name, content in documents.items():
        write_atomic(out / name, content.encode())
    _write_annex(out / "annex.json", annex)
    return Result(findings.checks, {"record": str(out / "record.json"), **record["verdict"]})


class Findings:
    """Everything one run of a plan found."""

    @property
    def thing(self) -> str:
        """What the owner's way of unlearning gives, in words."""
        return "patch" if self.kind == PatchSubmission.KIND else "unlearned network"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.submission: Submission | None = None
        self.kind = kind_of(plan.submission)
        self.records: dict[str, Records | None] = {}
        self.checks: tuple[CheckResult, ...] = ()
        self.membership: Membership | None = None
        self.comparison: Result | None = None
        self.assertion = plan.assertion or "erased"
        self.charts: list[dict[str, Any]] = []
        self.tables: list[dict[str, Any]] = []
        self.not_examined: list[str] = []
        self.references: tuple[Network, ...] = ()
        self.threats = ThreatChapter()
        self.rates = calibrated().get(self.kind, {})


def run_plan(plan: Plan, progress: Progress | None = None, say: Say | None = None) -> Findings:
    """Run every chapter of the plan and return what was found."""
    found = Findings(plan)
    try:
        submission = read_submission(plan.submission)
    except TamperError as error:
        found.checks = tampered(error, plan.policy, found.kind).checks
        return found
    except EvidenceError as error:
        found.checks = (_unreadable(error),)
        return found
    found.submission = submission
    found.assertion = plan.assertion or submission.assertion
    for name, path in plan.records.items():
        found.records[name] = own_records(path, submission)
    forget, retain = found.records.get("forget"), found.records.get("retain")
    holdout, trigger = found.records.get("holdout"), found.records.get("trigger")
    with callers_own():
        found.references = tuple(load_network(path) for path in plan.references)
    if trigger is not None and isinstance(submission, PatchSubmission):
        found.not_examined.append("the trigger that was given: the submission is one of a patch")

    verified = verify_submission(
        submission, forget=forget, retain=retain, holdout=holdout, trigger=trigger,
        references=same_task(found.references, submission), policy=plan.policy, seed=plan.seed,
    )  # fmt: skip
    checks = list(verified.checks)
    if isinstance(submission, PatchSubmission):
        found.charts.extend(certificate_charts(verified))
        found.charts.extend(
            shown_charts(verified, submission.assertion_radius, submission.domain.width)
        )
        found.tables.extend(shown_tables(verified))
    requested = forget if forget is not None else submission.forget
    checks += _compared(found, requested)
    checks += _attacked(found, requested, progress, say)
    checks += _threatened(found, verified, progress)
    weighed = under_assertion(checks, found.assertion, plan.required, found.kind)
    missing = [name for name in plan.required if name not in {c.id for c in weighed}]
    found.checks = (
        *weighed,
        *(not_run(name, "Required by the plan", "nothing planned makes it") for name in missing),
    )
    return found


def _compared(found: Findings, requested: Records | None) -> list[CheckResult]:
    plan, submission = found.plan, found.submission
    assert submission is not None
    if plan.compare is None:
        found.not_examined.append(f"whether a recomputed {found.thing} is the same (not planned)")
        return []
    if requested is None:
        found.not_examined.append(
            f"a recomputed {found.thing} (the forgotten records are withheld)"
        )
        return []
    if not isinstance(submission, PatchSubmission):
        assert isinstance(submission, UnlearnedSubmission)
        kept, unseen = found.records.get("retain"), found.records.get("holdout")
        try:
            compared = recompute_and_compare(
                submission, requested, kept, unseen, order_seed=_order_seed(plan, submission)
            )
        except UsageError as error:
            found.not_examined.append(f"a recomputed {found.thing} ({error})")
            return [not_run(name, title, str(error)) for name, title in MODEL_JUDGED.items()]
        found.comparison = compared if compared.details else None
        return list(compared.checks)
    model = plan.compare.reference_model
    with callers_own():
        network = None if model is None else load_network(model)
    reference = own_records(plan.compare.reference, submission)
    try:
        own = recompute(submission, requested, reference=reference, reference_network=network)
    except UsageError as error:
        found.not_examined.append(f"a recomputed patch ({error})")
        return [not_run(name, title, str(error)) for name, title in JUDGED.items()]
    found.comparison = compare(
        submission,
        own,
        retain=found.records.get("retain"),
        forget=requested,
        policy=plan.policy,
        seed=plan.seed,
    )
    return list(found.comparison.checks)


def _order_seed(plan: Plan, submission: UnlearnedSubmission) -> int | None:
    """Return what the plan says of a retraining's order; of any other method it means nothing."""
    if plan.threats is None or submission.claim.method.name != "retrain":
        return None
    return plan.threats.order_seed


def _attacked(
    found: Findings, requested: Records | None, progress: Progress | None, say: Say | None
) -> list[CheckResult]:
    plan, submission = found.plan, found.submission
    holdout = found.records.get("holdout")
    assert submission is not None
    if plan.attack is None or holdout is None:
        found.not_examined.append("membership inference (not planned, or no unseen records)")
        return []
    found.membership = attack_submission(
        submission,
        plan.attack,
        forget=requested,
        holdout=holdout,
        retain=found.records.get("retain"),
        train=found.records.get("train"),
        references=found.references,
        seed=plan.seed,
        progress=progress,
        say=say,
    )
    found.charts.extend(found.membership.charts)
    return list(found.membership.checks)


def _threatened(found: Findings, verified: Result, progress: Progress | None) -> list[CheckResult]:
    if found.plan.threats is None:
        found.not_examined.append("dishonest behaviour (not planned)")
        return []
    assert found.submission is not None
    chapter = run_chapter(
        found.plan.threats,
        found.submission,
        found.records,
        given=found.references,
        verification=verified,
        assertion=found.assertion,
        seed=found.plan.seed,
        progress=progress,
    )
    found.threats = chapter
    found.charts.extend(threat_charts(chapter.checks, found.submission.assertion_radius))
    found.not_examined += chapter.not_examined
    return list(chapter.checks)


def _unreadable(error: EvidenceError) -> CheckResult:
    return CheckResult(
        "submission.format",
        "Every file of the submission can be read",
        Outcome.INCONCLUSIVE,
        str(error),
    )


def _libraries() -> dict[str, str]:
    found = {"auditkit": auditkit.__version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _write_annex(path: Path, annex: dict[str, Any] | None) -> None:
    """Write what may identify a record for its owner's eyes only; remove that of an earlier run."""
    path.unlink(missing_ok=True)
    if annex is not None:
        write_atomic(path, dump_json(annex).encode())
        path.chmod(0o600)


def _usable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            str(out),
            expected="a directory to write to",
            found=error.strerror or type(error).__name__,
            remedy="name another",
        ) from None
