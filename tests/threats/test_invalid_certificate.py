"""What the certificate says, and what it does not say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from auditkit.certificate.submission import Submission
from auditkit.certificate.verify import verify_submission
from auditkit.results import Outcome
from auditkit.threats.evidence import Evidence
from auditkit.threats.invalid_certificate import detect
from tests.threats.conftest import Digits, Make

Gather = Callable[[Submission], Evidence]


def test_gates_that_catch_others_are_no_false_statement(
    make: Make, evidence: Gather, digits: Digits
) -> None:
    honest = make("redirect")
    assert honest.forget is not None
    known = evidence(honest)
    crowd = replace(honest.forget, x=honest.forget.x + 1e-5 * (honest.forget.x < 0.5))
    verification = verify_submission(honest, forget=honest.forget, retain=crowd)
    assert verification.check("certificate.locality").outcome is Outcome.FAIL
    check = detect(honest, replace(known, verification=verification), seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE and "certificate.locality" in check.reason


def test_what_was_verified_before_is_not_verified_again(make: Make, evidence: Gather) -> None:
    honest = make("redirect")
    verification = verify_submission(honest, forget=honest.forget)
    check = detect(honest, Evidence(verification=verification), seed=0)
    assert check.outcome is Outcome.PASS and len(check.evidence["checks"]) == 8
