"""What is under a patch, and how grave that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from auditkit.certificate.submission import Submission
from auditkit.results import Outcome, Severity, overall
from auditkit.threats.evidence import Evidence
from auditkit.threats.strippable import detect
from tests.threats.conftest import Make

Gather = Callable[[Submission], Evidence]


@pytest.mark.parametrize(
    ("assertion", "severity", "verdict"),
    [
        ("redirected", Severity.LIMITATION, Outcome.INCONCLUSIVE),
        ("erased", Severity.FAILURE, Outcome.FAIL),
    ],
)
def test_the_assertion_decides_how_grave_the_finding_is(
    assertion: str, severity: Severity, verdict: Outcome, make: Make, evidence: Gather
) -> None:
    honest = make("redirect")
    check = detect(honest, replace(evidence(honest), assertion=assertion), seed=0)
    assert check.outcome is Outcome.FAIL and check.severity is severity
    assert overall([check]) is verdict
    low, high = check.evidence["auc_core_interval"]
    assert low <= check.evidence["auc_core"] <= high
    assert check.evidence["auc_patched"] < check.evidence["auc_core"]
