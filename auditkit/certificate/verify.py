"""Verification, step by step in the order of the check ids.

 1. submission.format     every file could be read and is what it must be
 2. submission.binding    files, digests and the list of records hang together
 3. patch.support         each gate opens on the network's true region of its record
 4. patch.scope           every gate is owed to a request
 5. certificate.point     at the record the specification is met
 6. certificate.region    … and on the whole claimed set, by at least the auditor's floors
 7. certificate.locality  elsewhere the network is what it was
 8. certificate.separation other gates are closed on the claimed set, or accounted for
 9. certificate.canonical the offsets are those that the settings give
10. certificate.minimality no smaller patch would do
11. certificate.deployed  the same in the floats that the network runs in
12. patch.export          patched.onnx is what model and patch make
13. utility.retained      retained records keep their predictions

Then what no certificate can say is measured (certificate/shown): those checks decide nothing.

What the caller must still do: decide whether this policy is the right one, whether the list of
records is the right list, and whether redirected outputs are what the law or the contract asks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from auditkit.certificate import judge_claims, judge_minimality, judge_patch
from auditkit.certificate.case import Case, prepare
from auditkit.certificate.history import history_rows
from auditkit.certificate.policy import CHECKS, MODEL_CHECKS, Policy, read_policy
from auditkit.certificate.shown.checks import shown_checks, shown_not_run
from auditkit.certificate.submission import (
    FORGET,
    PatchSubmission,
    Submission,
    TamperError,
    UnlearnedSubmission,
    kind_of,
    read_submission,
)
from auditkit.certificate.verify_unlearned import TITLES as MODEL_TITLES
from auditkit.certificate.verify_unlearned import verify_unlearned
from auditkit.errors import UsageError, callers_own
from auditkit.network.graph import Network
from auditkit.network.read import load_network
from auditkit.parallel import single_products
from auditkit.records import Records, read_records
from auditkit.results import CheckResult, Outcome, Result, not_run

TITLES = {
    "submission.format": "Every file of the submission can be read",
    "submission.binding": "Files, digests and records hang together",
    "patch.support": "Each gate opens on the true region of its record",
    "patch.scope": "Every gate is owed to a request",
    "certificate.point": "The specification is met at the records",
    "certificate.region": "The specification is met on the claimed regions",
    "certificate.locality": "Elsewhere the network is unchanged",
    "certificate.separation": "Other gates are closed on the claimed regions",
    "certificate.canonical": "Offsets are those the settings give",
    "certificate.minimality": "No smaller patch meets the claims",
    "certificate.deployed": "The claims hold in deployed floats",
    "patch.export": "patched.onnx is the export of model and patch",
    "utility.retained": "Retained records keep their predictions",
}

Judge = Callable[[Case], CheckResult]

JUDGES: dict[str, Judge] = {
    "submission.format": judge_patch.submission_format,
    "submission.binding": judge_patch.binding,
    "patch.support": judge_claims.support,
    "patch.scope": judge_patch.scope,
    "certificate.point": judge_claims.point,
    "certificate.region": judge_claims.region,
    "certificate.locality": judge_patch.locality,
    "certificate.separation": judge_claims.separation,
    "certificate.canonical": judge_claims.canonical,
    "certificate.minimality": judge_minimality.minimality,
    "certificate.deployed": judge_claims.deployed,
    "patch.export": judge_patch.export,
    "utility.retained": judge_patch.utility,
}


def verify_submission(
    submission: Submission,
    *,
    forget: Records | None = None,
    retain: Records | None = None,
    holdout: Records | None = None,
    trigger: Records | None = None,
    references: tuple[Network, ...] = (),
    policy: Policy | None = None,
    exact: bool = False,
    seed: int = 0,
    measure: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Re-check every claim of a submission that could be read, whichever kind it is of.

    `forget` is the auditor's own list and authoritative; `retain` and `holdout` show how far the
    gates reach beyond it. `exact` decides every claim in exact numbers, otherwise only those that
    float64 leaves open; `progress` is told how many of these are done. `measure` adds what no
    certificate can say, which decides nothing. `trigger` and `references` are for unlearned
    networks alone, see `verify_unlearned`.
    """
    if isinstance(submission, UnlearnedSubmission):
        return verify_unlearned(
            submission, forget=forget, retain=retain, holdout=holdout, trigger=trigger,
            references=references, policy=policy,
        )  # fmt: skip
    assert isinstance(submission, PatchSubmission)
    policy = policy or Policy()
    # a hostile network overflows; what is NaN proves nothing
    with np.errstate(all="ignore"), single_products():
        case = prepare(
            submission, forget, retain, holdout, policy, seed, exact=exact, progress=progress
        )
        checks = [policy.apply(_titled(JUDGES[name](case))) for name in CHECKS]
        if measure:
            checks += shown_checks(case)
    details = {
        "kind": submission.KIND,
        "spec": submission.certificate.settings.spec.value,
        "scope": submission.certificate.settings.scope.value,
        "assertion": submission.certificate.assertion,
        "gates": submission.patch.gates,
        "requests": history_rows(submission.certificate.requests),
        # not that of the records: a digest anyone can compute tests a guess
        "files": {name: d for name, d in submission.files.items() if name != FORGET},
    }
    return Result(tuple(checks), details)


def verify_directory(
    path: Path,
    *,
    forget: Path | None = None,
    retain: Path | None = None,
    trigger: Path | None = None,
    references: tuple[Path, ...] = (),
    policy: Path | None = None,
    exact: bool = False,
    key: Path | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Read a submission and the auditor's own files, then verify.

    Raises UsageError when a file of the caller's own is bad, EvidenceError when one of the owner's
    is missing, malformed or refused; a file that was tampered with is a failed check.
    """
    if key is not None:
        raise UsageError(
            "--key",
            expected="an option that this version has",
            found="one that it does not have yet",
            remedy="leave it out",
        )
    with callers_own():
        floors = read_policy(policy)
    try:
        submission = read_submission(Path(path))
    except TamperError as error:
        return tampered(error, floors, kind_of(path))
    if isinstance(submission, PatchSubmission) and (trigger or references):
        raise UsageError(
            "--trigger" if trigger else "--reference-model",
            expected="a submission of an unlearned network",
            found="one of a patch, whose claims take neither",
            remedy="leave it out",
        )
    if references and trigger is None:
        raise UsageError(
            "--reference-model",
            expected="--trigger with it",
            found="none",
            remedy="give the records with the trigger, or leave the reference out",
        )
    with callers_own():
        models = tuple(load_network(model) for model in references)
    return verify_submission(
        submission,
        forget=own_records(forget, submission),
        retain=own_records(retain, submission),
        trigger=own_records(trigger, submission),
        references=same_task(models, submission),
        policy=floors,
        exact=exact,
        seed=seed,
        progress=progress,
    )


def own_records(path: Path | None, submission: Submission) -> Records | None:
    """Read records of the auditor's own in the submission's shape; UsageError when they are bad."""
    if path is None:
        return None
    domain = submission.domain
    with callers_own():
        return read_records(
            path,
            submission.network.input_shape,
            submission.network.classes,
            (domain.lower, domain.upper),
        )


def same_task(models: tuple[Network, ...], submission: Submission) -> tuple[Network, ...]:
    """Return reference networks; UsageError where one has other inputs or classes."""
    network = submission.network
    for number, model in enumerate(models, 1):
        if (model.features, model.classes) != (network.features, network.classes):
            raise UsageError(
                f"reference model {number}",
                expected=f"{network.features} inputs and {network.classes} classes",
                found=f"{model.features} and {model.classes}",
                remedy="give a model of the same task",
            )
    return models


def tampered(error: TamperError, policy: Policy, kind: str = PatchSubmission.KIND) -> Result:
    """Return the result for a submission whose changed files cannot even be read."""
    model = kind == UnlearnedSubmission.KIND
    titles, checks = (MODEL_TITLES if model else TITLES), []
    for name in MODEL_CHECKS if model else CHECKS:
        if name == "submission.binding":
            check = CheckResult(
                name, titles[name], Outcome.FAIL, str(error), observed=error.found,
                threshold=error.expected,
            )  # fmt: skip
        else:
            check = not_run(name, titles[name], "the submission was changed and cannot be read")
        checks.append(policy.apply(check))
    if not model:
        checks += shown_not_run("the submission was changed and cannot be read")
    return Result(tuple(checks))


def _titled(check: CheckResult) -> CheckResult:
    assert check.title == TITLES[check.id]
    return check
