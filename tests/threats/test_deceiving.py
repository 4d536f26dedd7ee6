"""Other records in place of the requested ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from auditkit.certificate.submission import PatchSubmission, Submission
from auditkit.results import Outcome
from auditkit.threats import forge
from auditkit.threats.deceiving import detect, simulate
from auditkit.threats.evidence import Evidence
from tests.threats.conftest import Digits, Make

Gather = Callable[[Submission], Evidence]


def test_one_record_swapped_is_found_by_its_gate(
    make: Make, evidence: Gather, digits: Digits, tmp_path: Path
) -> None:
    honest = make("redirect")
    cheat = simulate(honest, tmp_path / "cheat", seed=0, strength=0.01, others=digits.retain)
    check = detect(cheat, evidence(honest), seed=0)
    assert check.outcome is Outcome.FAIL
    assert check.evidence["gates_at_no_requested_record"] == 1
    assert check.evidence["requested_without_gate"] == 1


def test_without_other_records_nothing_is_shown(make: Make) -> None:
    honest = make("redirect")
    check = detect(honest, Evidence(forget=honest.forget), seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE and "no other records" in check.reason


def test_too_few_others_cannot_show_it_and_the_reason_says_so(make: Make, digits: Digits) -> None:
    honest = make("redirect", seed=3, records=1)
    few = digits.holdout.take(range(20))
    check = detect(honest, Evidence(forget=honest.forget, holdout=few), seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE
    assert check.evidence["least_p"] == pytest.approx(1 / 21)


def test_proofs_of_other_gates_are_not_handed_over(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a reader would refuse is left out: a bound that closes the gate of its own claim."""
    honest = make("redirect")
    assert isinstance(honest, PatchSubmission)
    assert forge.proofs_that_fit(honest, honest.gated, honest.certificate) is not None
    monkeypatch.setattr(forge, "contradicted", lambda *parts: "a bound on its own gate")
    assert forge.proofs_that_fit(honest, honest.gated, honest.certificate) is None
