"""Who is caught by a gate, and who is accused by the patch, on sets worked out by hand."""

from __future__ import annotations

import pytest

from auditkit.certificate.shown.checks import SHOWN, shown_checks
from auditkit.results import CheckResult, Outcome
from tests.certificate.shown.conftest import HandMade, at

FORGET = at(0.6, 0.7, 0.8, 0.3)  # three in one region, the fourth where no gate opens
RETAIN = at(0.9, 0.55, 0.45, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)  # the third is ajar for n = 10
UNSEEN = at(0.1, 0.2, 0.3, 0.4, 0.05)


def shown(*args, **more) -> dict[str, CheckResult]:
    return {check.id: check for check in shown_checks(*args, **more)}


def test_the_deletion_list_has_the_rates_of_the_hand_made_sets(hand_made: HandMade):
    check = shown(hand_made(FORGET, RETAIN, UNSEEN, sharpness=10.0))["limits.deletion-list"]
    assert (check.observed, check.n) == (0.75, 4)
    assert check.interval == pytest.approx((0.1941, 0.9937), abs=1e-4)
    retained, unseen = check.evidence["retained"], check.evidence["unseen"]
    assert (retained["false_positives"], retained["n"]) == (2, 10)
    assert retained["false_positive_interval"] == pytest.approx([0.0252, 0.5561], abs=1e-4)
    assert (unseen["false_positive_rate"], unseen["n"]) == (0.0, 5)
    assert "finds 3 of 4" in check.reason
    assert "2 of 10 retained" in check.reason


def test_regions_are_told_from_records_and_crowds_from_gates(hand_made: HandMade):
    case = hand_made(FORGET, RETAIN, UNSEEN, sharpness=10.0)
    check = shown(case)["limits.regions"]
    evidence = check.evidence
    assert evidence["regions_of_the_forgotten"] == 2
    assert evidence["most_forgotten_in_one_region"] == 3
    assert evidence["retained"]["fully_open"] == 2
    assert evidence["retained"]["at_all_open"] == 3
    assert evidence["unseen"]["fully_open"] == 0
    assert evidence["gates_open_at_others"]["at_least_2"] == 1
    assert evidence["gates_open_at_others"]["at_least_10"] == 0
    assert evidence["most_crowded"] == [{"group": "g", "member": 0, "retained": 2, "unseen": 0}]
    assert check.observed == pytest.approx(2 / 15)


def test_a_forgotten_record_is_nobody_elses(hand_made: HandMade):
    both = at(0.6, 0.7, 0.8, 0.3)
    check = shown(hand_made(FORGET, both, UNSEEN))["limits.deletion-list"]
    assert "retained" not in check.evidence  # every one of them is to be forgotten


def test_without_others_nothing_is_said_of_them(hand_made: HandMade):
    checks = shown(hand_made(FORGET))
    assert checks["limits.regions"].observed is None
    assert "--retain" in checks["limits.regions"].reason
    assert "--retain" in checks["limits.deletion-list"].reason


def test_not_run_without_records_or_key(hand_made: HandMade):
    for case in (hand_made(None), hand_made(FORGET, key=None)):
        checks = shown(case)
        assert set(checks) == set(SHOWN)
        assert {c.outcome for c in checks.values()} == {Outcome.NOT_RUN}
        assert all(c.reason == case.why_no_records for c in checks.values())


def test_a_patch_without_gates_lists_nobody(hand_made: HandMade):
    checks = shown(hand_made(FORGET, RETAIN, gates=0))
    assert checks["limits.deletion-list"].outcome is Outcome.NOT_RUN
    assert checks["limits.reconstruction"].outcome is Outcome.NOT_RUN
    assert checks["limits.neighbourhood"].observed == 0.0
