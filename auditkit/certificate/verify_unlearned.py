"""Verification of a network that was unlearned by another method, in the order of the check ids.

 1. submission.format     every file could be read and is what it must be
 2. submission.binding    files, digests and the list of records hang together
 3. unlearning.changed    the delivered network is another function than the original
 4. unlearning.class      a forgotten class is no longer predicted
 5. unlearning.guarantee  a stated guarantee does not contradict its own premises
 6. unlearning.trigger    a backdoor's trigger is answered as by a network without it
 7. utility.retained      retained records are predicted as well as before
 8. audit.erasure         what no check can show: it stays open, whatever the others say

None of them is a sign that anything was forgotten. Method, settings and data used are the owner's
word; what the network still remembers is for the attacks to find.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from auditkit.certificate import judge_files, judge_trigger, judge_unlearned
from auditkit.certificate.claim import guarantee_json, method_json
from auditkit.certificate.erasure import erasure, redirection
from auditkit.certificate.history import history_rows
from auditkit.certificate.model_case import ModelCase
from auditkit.certificate.policy import MODEL_CHECKS, Policy
from auditkit.certificate.submission import FORGET, UnlearnedSubmission
from auditkit.network.graph import Network
from auditkit.parallel import single_products
from auditkit.records import Records
from auditkit.results import CheckResult, Result, Severity

Judge = Callable[[ModelCase], CheckResult]

JUDGES: Mapping[str, Judge] = MappingProxyType(
    {
        "submission.format": lambda case: judge_files.submission_format(case.submission),
        "submission.binding": judge_unlearned.binding,
        "unlearning.changed": judge_unlearned.changed,
        "unlearning.class": judge_unlearned.whole_class,
        "unlearning.guarantee": judge_unlearned.guarantee,
        "unlearning.trigger": judge_trigger.trigger,
        "utility.retained": judge_unlearned.utility,
    }
)
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "submission.format": "Every file of the submission can be read",
        "submission.binding": "Files, digests and records hang together",
        judge_trigger.NAME: judge_trigger.TITLE,
        **judge_unlearned.TITLES,
    }
)


def verify_unlearned(
    submission: UnlearnedSubmission,
    *,
    forget: Records | None = None,
    retain: Records | None = None,
    holdout: Records | None = None,
    trigger: Records | None = None,
    references: tuple[Network, ...] = (),
    policy: Policy | None = None,
) -> Result:
    """Check what can be checked of a submission of an unlearned network that could be read.

    `forget` is the auditor's own list and authoritative; `trigger` are unseen records with a
    backdoor's trigger stamped on, labelled with what it is to bring about; `references` networks
    that never saw the forgotten records. The result never passes by itself: an assertion of
    erasure, or of a redirection without a certificate, stays open.
    """
    policy = policy or Policy()
    # a hostile network overflows; what is NaN shows nothing
    with np.errstate(all="ignore"), single_products():
        case = ModelCase(submission, policy, forget, retain, holdout, trigger, references)
        checks = [_weighed(JUDGES[name](case), policy) for name in MODEL_CHECKS]
    asserted = submission.assertion
    checks.append(erasure(submission.KIND) if asserted == "erased" else redirection())
    return Result(tuple(checks), _details(submission))


def _weighed(check: CheckResult, policy: Policy) -> CheckResult:
    """Return the check, required where the policy says so and it applies at all."""
    assert check.title == TITLES[check.id]
    required = check.required and policy.apply(check).required
    if required and check.id == "utility.retained":
        check = replace(check, severity=Severity.FAILURE)  # the auditor's word makes it one
    return replace(check, required=required)


def _details(submission: UnlearnedSubmission) -> dict[str, Any]:
    claim = submission.claim
    return {
        "kind": submission.KIND,
        "assertion": claim.assertion,
        "method": method_json(claim.method),  # the owner's word
        "classes": list(claim.classes),
        "guarantee": guarantee_json(claim.guarantee),
        "reached": claim.reached,
        "shortfall": claim.shortfall,
        "requests": history_rows(claim.requests),
        # not that of the records: a digest anyone can compute tests a guess
        "files": {name: d for name, d in submission.files.items() if name != FORGET},
    }
