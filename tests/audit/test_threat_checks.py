"""Many tests at once: what one audit may say of all of them together."""

from __future__ import annotations

import pytest

from auditkit.audit.compliance import compliance
from auditkit.audit.record_words import UNDETECTABLE
from auditkit.audit.threat_chapter import NO_REFERENCE, NOT_PLANNED, threat_rows
from auditkit.audit.threat_checks import together
from auditkit.results import CheckResult, Outcome, Severity, not_run
from auditkit.threats.decide import P_REFUTE, REFUTE, decide
from auditkit.threats.interface import Judgement
from auditkit.threats.references import References
from auditkit.threats.registry import BEHAVIOURS


def judged(name: str, p: float) -> CheckResult:
    return decide(Judgement(name, "A behaviour"), "seen", p_refute=p)


def test_a_p_value_among_many_must_be_the_smaller() -> None:
    alone = judged("one", 0.9 * REFUTE)
    assert alone.outcome is Outcome.FAIL
    assert together([alone])[0].outcome is Outcome.FAIL
    [first, *_] = together([alone, judged("two", 0.5), judged("three", 0.2)])
    assert first.outcome is Outcome.INCONCLUSIVE and "3 checks" in first.reason
    assert first.evidence[f"{P_REFUTE}_adjusted"] > REFUTE


def test_the_family_is_what_ran_and_not_what_reported_a_p_value() -> None:
    alone = judged("one", 0.9 * REFUTE)
    quiet = CheckResult("threats.two", "t", Outcome.PASS, "no occasion for a test")
    idle = not_run("threats.three", "t", "no endpoint")
    assert together([alone, idle])[0].outcome is Outcome.FAIL
    assert together([alone, quiet])[0].outcome is Outcome.INCONCLUSIVE


def test_what_rests_on_no_p_value_stays_what_it_is() -> None:
    certain = CheckResult("threats.neglecting", "t", Outcome.FAIL, "the same weights")
    weighed = together([certain, judged("two", 1e-9), judged("three", 0.2)])
    assert weighed[0] == certain and weighed[1].outcome is Outcome.FAIL


def test_support_is_not_refused_for_the_company_it_is_in() -> None:
    fine = decide(Judgement("x", "A behaviour"), "seen", p_refute=0.5, p_support=0.005)
    assert together([fine, judged("two", 1e-9)])[0].outcome is Outcome.PASS


def test_every_behaviour_has_a_row_tested_or_not() -> None:
    checks = together(
        [
            decide(
                Judgement("lazy", "t"), "seen", p_refute=1e-9, power=0.9, n=24,
                private={"not_unlearned": [3]}, evidence={"references": "two networks"},
            ),
            not_run("threats.deceiving", "t", "withheld"),
            CheckResult("threats.strippable", "t", Outcome.FAIL, "x", severity=Severity.LIMITATION),
        ]
    )  # fmt: skip
    rates = {"lazy": {"false_alarm": [0, 400, 0.0, 0.0092], "power": [99, 100, 0.94, 1.0]}}
    rows = threat_rows(checks, References(), rates=rates)
    assert [r["number"] for r in rows] == sorted(b.number for b in BEHAVIOURS)
    found = {row["name"]: row for row in rows}
    lazy = found["lazy"]
    assert lazy["tested"] and lazy["outcome"] == "fail" and lazy["n"] == 24
    assert lazy["p"] == 1e-9 and lazy["power"] == 0.9
    assert lazy["p_adjusted"] == pytest.approx(2e-9), "two checks ran"
    assert lazy["references"] == "two networks" and lazy["rates"] == rates["lazy"]
    assert "not_unlearned" not in str(lazy), "what is private stays so"
    assert not found["deceiving"]["tested"] and found["deceiving"]["reason"] == "withheld"
    assert found["strippable"]["severity"] == "limitation"
    assert found["strippable"]["references"] == NO_REFERENCE
    assert found["patch-bait"]["reason"] == NOT_PLANNED and found["patch-bait"]["rates"] is None
    assert all(row["hiding"] for row in rows)
    unread = threat_rows([], References(), readable=False)
    assert {row["reason"] for row in unread} == {"the submission cannot be read"}


def test_the_compliance_annex_says_what_ran_and_no_more() -> None:
    nothing = {(r["frame"], r["item"]): r for r in compliance([])}
    edpb = "EDPB Opinion 28/2024"
    classes = (
        *("membership inference", "attribute inference", "exfiltration", "model inversion"),
        *("reconstruction", "regurgitation of training data"),
    )
    assert {nothing[edpb, name]["scope"] for name in classes} == {"out"}
    frames = (
        *("GDPR Art. 5(2)", "GDPR Art. 17", "GDPR Art. 25", "GDPR Art. 32(1)(d)", "GDPR Art. 35"),
        *("NIST AI 100-2", "NIST AI RMF", "ISO/IEC 42001", "AI Act"),
    )
    for frame in frames:
        assert any(r["frame"] == frame for r in nothing.values()), frame
    ran = [
        CheckResult(name, "t", Outcome.PASS, "r")
        for name in ("attack.loss", "limits.reconstruction", "threats.patch-bait", "certificate.x")
    ]
    full = {(r["frame"], r["item"]): r for r in compliance(ran)}
    assert full[edpb, "membership inference"]["scope"] == "in"
    assert full[edpb, "reconstruction"]["scope"] == "partly"
    assert full[edpb, "attribute inference"]["scope"] == "out"
    assert "mitigation, not erasure" in full["GDPR Art. 17", "erasure"]["note"]
    [poisoning] = [r for (_, item), r in full.items() if item.startswith("poisoning")]
    assert poisoning["scope"] == "partly" and "threats.patch-bait" in poisoning["note"]
    skipped = compliance([not_run("attack.loss", "t", "r")])
    assert skipped == compliance([]), "what did not run puts nothing in scope"
    assert len(UNDETECTABLE) == 5
