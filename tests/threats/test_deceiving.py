"""Other records in place of the requested ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
    make: Make, digits: Digits, tmp_path: Path
) -> None:
    """As many gates as before, at other records: a bound may close what it never was about."""
    honest = make("redirect")
    assert isinstance(honest, PatchSubmission) and honest.proofs is not None
    cheat = simulate(honest, tmp_path / "cheat", seed=1, strength=0.2, others=digits.retain)
    assert cheat.patch.gates == honest.patch.gates and cheat.proofs is None
    pushed = [replace(group, bound=2 * group.bound) for group in honest.gated.groups]
    louder = forge.with_groups(honest.gated, pushed)
    kept = forge.proofs_that_fit(honest, louder, honest.certificate)
    assert kept is not None and len(kept.multipliers.record) == len(
        honest.proofs.multipliers.record
    )
