"""Many tests at once: what one audit may say of all of them together."""

from __future__ import annotations

from auditkit.audit.threat_checks import together
from auditkit.results import CheckResult, Outcome
from auditkit.threats.decide import P_REFUTE, REFUTE, decide
from auditkit.threats.interface import Judgement


def judged(name: str, p: float) -> CheckResult:
    return decide(Judgement(name, "A behaviour"), "seen", p_refute=p)


def test_a_p_value_among_many_must_be_the_smaller() -> None:
    alone = judged("one", 0.9 * REFUTE)
    assert alone.outcome is Outcome.FAIL
    assert together([alone])[0].outcome is Outcome.FAIL
    [first, *_] = together([alone, judged("two", 0.5), judged("three", 0.2)])
    assert first.outcome is Outcome.INCONCLUSIVE and "3 tests" in first.reason
    assert first.evidence[f"{P_REFUTE}_adjusted"] > REFUTE


def test_what_rests_on_no_p_value_stays_what_it_is() -> None:
    certain = CheckResult("threats.neglecting", "t", Outcome.FAIL, "the same weights")
    weighed = together([certain, judged("two", 1e-9), judged("three", 0.2)])
    assert weighed[0] == certain and weighed[1].outcome is Outcome.FAIL


def test_support_is_not_refused_for_the_company_it_is_in() -> None:
    fine = decide(Judgement("x", "A behaviour"), "seen", p_refute=0.5, p_support=0.005)
    assert together([fine, judged("two", 1e-9)])[0].outcome is Outcome.PASS
