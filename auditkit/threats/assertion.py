"""How grave a finding is depends on what the owner asserts.

Dishonest means contradicting one's own assertion. A patch sold as redirection leaves the original
network in place and says so: what follows from that is a limitation. Sold as erasure it is a lie.
"""

from __future__ import annotations

from dataclasses import replace

from auditkit.certificate.submission import Submission
from auditkit.results import CheckResult, Outcome, Severity
from auditkit.threats.evidence import Evidence

REDIRECTED = "redirected"
ERASED = "erased"


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
