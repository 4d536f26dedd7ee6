"""What no check can show, said once in every result that is about it.

An audit of an erasure must never pass on the absence of a refutation, nor one of a redirection on
outputs that merely changed. So the assertion itself stands among the checks, and stays open.
"""

from __future__ import annotations

from auditkit.results import CheckResult, Outcome

ERASURE = "audit.erasure"
REDIRECTION = "audit.redirection"


def erasure(kind: str) -> CheckResult:
    """Return the open check of an assertion of erasure; `kind` is the submission's KIND."""
    reason = (
        "no check can show that information is gone from a network that still has its original "
        "weights"
        if kind == "patch"
        else "no check of files can show that information is gone from a network; what membership "
        "inference still finds of it, the attacks say"
    )
    return CheckResult(
        ERASURE, "Nothing of the forgotten records is left", Outcome.INCONCLUSIVE, reason
    )


def redirection() -> CheckResult:
    """Return the open check of an assertion of redirected outputs that no certificate supports."""
    return CheckResult(
        REDIRECTION,
        "The outputs are redirected at and around the forgotten records",
        Outcome.INCONCLUSIVE,
        "redirection is asserted and there is no certificate of it: that outputs changed at some "
        "records says nothing of the inputs around them",
    )
