"""How grave a finding is depends on what the owner asserts.

Dishonest means contradicting one's own assertion. A patch sold as redirection leaves the original
network in place and says so: what follows from that is a limitation. Sold as erasure it is a lie.
So it is of a method that starts from the original network: what that leaves is no accusation of who
states it (docs/adr/0012).
"""

from __future__ import annotations

from dataclasses import replace

from auditkit.certificate.submission import Submission, UnlearnedSubmission
from auditkit.results import CheckResult, Outcome, Severity
from auditkit.threats.evidence import Evidence
from auditkit.unlearning.registry import METHODS

REDIRECTED = "redirected"
ERASED = "erased"

EXACT = ("retrain", "sisa")  # methods whose network never saw the forgotten records


def asserted(submission: Submission, evidence: Evidence) -> str:
    """Return what is asserted: the auditor's reading if given, else the owner's word."""
    return evidence.assertion or submission.assertion


def under(assertion: str, check: CheckResult) -> CheckResult:
    """Return a finding that only contradicts erasure with the severity this assertion gives it.

    Under `redirected` a failure becomes a limitation, which no verdict requires to be absent.
    """
    if assertion != REDIRECTED or check.outcome is not Outcome.FAIL:
        return check
    return replace(check, severity=Severity.LIMITATION, required=False)


def about_erasure(submission: Submission, evidence: Evidence, check: CheckResult) -> CheckResult:
    """Return a check of what only erasure claims: none that a verdict on a redirection requires."""
    assertion = asserted(submission, evidence)
    check = under(assertion, check)
    return check.optional() if assertion == REDIRECTED else check


def as_stated(submission: UnlearnedSubmission, check: CheckResult) -> CheckResult:
    """Return a finding that the stated method may leave by its nature as a limitation.

    A known method that is not exact starts from the network that saw the records. Dishonest is to
    state a retraining, or something that nobody knows, and to deliver this.
    """
    name = submission.claim.method.name
    if check.outcome is not Outcome.FAIL or name in EXACT or name not in METHODS:
        return check
    reason = f"{check.reason}; the stated method, {name}, starts from the network that saw the "
    reason += "records, and may leave this of itself: a limitation of the method"
    return replace(check, reason=reason, severity=Severity.LIMITATION, required=False)
