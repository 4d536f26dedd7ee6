"""Attacks on a submission: what tells who was deleted, and what the records do not suffice for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import attacks
from auditkit.audit.membership import AttackPlan, Groups, attack_submission
from auditkit.audit.membership_checks import TELLS_REQUESTS
from auditkit.audit.verdict import verdict
from auditkit.certificate.submission import Submission
from auditkit.explain import explain
from auditkit.results import CheckResult, Outcome, Severity
from tests.certificate.conftest import World, small_world

NAMES = ("quantile", "learned", "learned-direct", "gap", "augmentation", "boundary", "difference")


@pytest.fixture(scope="module")
def world() -> World:
    return small_world(7, records=30)


@pytest.fixture(scope="module")
def submission(world: World, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    return world.submit(tmp_path_factory.mktemp("attacked") / "submission")


def attacked(
    submission: Submission, world: World, names: tuple[str, ...], unseen: int = 150
) -> dict[str, CheckResult]:
    found = attack_submission(
        submission,
        AttackPlan(names),
        forget=world.forget,
        holdout=world.others.take(range(150, 150 + unseen)),
        retain=world.others.take(range(150)),
    )
    return {check.id: check for check in found.checks}


def test_every_attack_runs_and_only_the_cohort_decides(submission: Submission, world: World):
    checks = attacked(submission, world, NAMES)
    ran = {name for name in NAMES if checks[f"attack.{name}"].outcome is not Outcome.NOT_RUN}
    assert ran == set(NAMES)
    # A redirected record is wrong after the patch and was right before it.
    gap = checks["attack.gap"]
    assert gap.evidence["before"]["auc"] >= 0.5 and gap.observed < 0.1
    assert gap.evidence["finding"] == "over-forgotten" and gap.outcome is Outcome.FAIL
    tried = checks["attack.cohort"].observed
    assert sum(tried.values()) == len(NAMES) - 1  # the difference is not among them


def test_a_difference_between_versions_is_a_limitation(submission: Submission, world: World):
    check = attacked(submission, world, ("difference",))["attack.difference"]
    assert check.outcome is Outcome.FAIL and check.severity is Severity.LIMITATION
    assert not check.required and "before" not in check.evidence
    assert check.observed > 0.95
    said = verdict((check,), "redirected")["information_removed"]
    assert said["outcome"] == "inconclusive"  # who was deleted is not what is left of them


def test_what_is_hidden_too_well_is_not_said_to_be_left(submission: Submission, world: World):
    checks = attacked(submission, world, ("gap",))
    assert checks["attack.cohort"].outcome is Outcome.FAIL
    said = verdict(tuple(checks.values()), "erased")["information_removed"]
    assert said["outcome"] == "inconclusive"
    remembered = dataclasses.replace(
        checks["attack.gap"], evidence={**checks["attack.gap"].evidence, "finding": "remembered"}
    )
    said = verdict((remembered, checks["attack.cohort"]), "erased")["information_removed"]
    assert said["outcome"] == "fail" and "(attack.gap)" in said["sentence"]


def test_there_is_nothing_to_compare_before(submission: Submission, world: World):
    groups = Groups(submission, world.forget, world.others.take(range(60)), None, ())
    before, after = (groups.evidence(phase, None, None, 0) for phase in ("before", "after"))
    needs = attacks.REGISTRY["difference"].needs
    assert before.lacks(needs) == ("earlier_logits",) and not after.lacks(needs)
    assert before.known_logits is None and before.known_labels is None
    np.testing.assert_array_equal(after.earlier_logits, before.logits)


def test_too_few_unseen_records_skip_what_is_fitted(submission: Submission, world: World):
    checks = attacked(submission, world, ("quantile", "loss"), unseen=30)
    quantile = checks["attack.quantile"]
    assert quantile.outcome is Outcome.NOT_RUN and quantile.required
    assert "at least 30" in quantile.reason
    assert checks["attack.loss"].outcome is not Outcome.NOT_RUN


def test_both_lists_name_attacks_outside_the_cohort() -> None:
    assert set(TELLS_REQUESTS) <= set(attacks.REGISTRY)


@pytest.mark.parametrize("name", attacks.REGISTRY)
def test_the_page_says_how_the_attack_is_judged(name: str) -> None:
    by_the_cohort = "Holm" in explain(f"attack.{name}")
    assert by_the_cohort == (name not in TELLS_REQUESTS)


def test_one_record_gets_figures_and_no_verdict(tmp_path: Path) -> None:
    world = small_world(5, records=1)
    checks = attacked(world.submit(tmp_path / "submission"), world, NAMES)
    assert "20" in checks["attack.learned-direct"].reason
    for name in set(NAMES) - {"difference", "learned-direct"}:
        check = checks[f"attack.{name}"]
        assert check.outcome is Outcome.INCONCLUSIVE and not check.required
        assert 0.0 <= check.observed <= 1.0
