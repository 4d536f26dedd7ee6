"""Worse than never seen: found where it is clear, and never where a network merely forgot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from auditkit.certificate.submission import Submission
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, Severity
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Owner
from auditkit.threats.over_forgetting import BEHAVIOUR, _area, _variance
from auditkit.threats.registry import run_on
from tests.threats.conftest import Make
from tests.threats.networks import case

Gather = Callable[[Submission], Evidence]


def judge(submission: Submission, evidence: Evidence) -> CheckResult:
    [check] = run_on(submission, evidence, ["over-forgetting"], 0)
    return check


@pytest.mark.parametrize("spec", ["redirect", "neutralise", "reference"])
@pytest.mark.parametrize("seed", range(3))
def test_a_patch_that_redirects_is_not_accused(
    spec: str, seed: int, make: Make, evidence: Gather
) -> None:
    honest = make(spec, seed=seed)
    check = judge(honest, evidence(honest))
    assert not check.required
    assert check.outcome is not Outcome.FAIL or check.severity is Severity.LIMITATION


@pytest.mark.parametrize("variant", BEHAVIOUR.model_variants)
@pytest.mark.parametrize("references", [False, True])
def test_a_network_driven_away_is_found(variant: str, references: bool, tmp_path: Path) -> None:
    given = case(wrong=0.0)
    owner = given.owner(tmp_path / "honest")
    cheat = BEHAVIOUR.simulate(owner, tmp_path / "cheat", seed=4, variant=variant).submission
    check = judge(cheat, given.evidence(references=references))
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE, check.reason
    assert check.evidence["area"] < 0.4 and check.evidence["p_refute"] <= 0.001


def test_strength_is_how_far_it_goes(tmp_path: Path) -> None:
    given = case(wrong=0.0)
    owner = given.owner(tmp_path / "honest")
    areas = []
    for strength in (0.02, 0.3, 1.0):
        cheat = BEHAVIOUR.simulate(
            owner, tmp_path / str(strength), seed=4, strength=strength, variant="wrong-labels"
        )
        areas.append(judge(cheat.submission, given.evidence()).evidence["area"])
    assert areas == sorted(areas, reverse=True) and areas[-1] < 0.2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("references", [False, True])
def test_who_retrained_is_not_accused(seed: int, references: bool, tmp_path: Path) -> None:
    given = case(seed)
    check = judge(given.submit(tmp_path / "s"), given.evidence(references=references))
    assert check.outcome is not Outcome.FAIL, check.reason
    assert abs(check.evidence["area"] - 0.5) < 0.12
    low, high = check.evidence["area_interval"]
    assert low < check.evidence["area"] < high


def test_neighbours_that_are_harmed_are_found(make: Make, evidence: Gather, tmp_path: Path) -> None:
    honest = make("redirect")
    cheat = BEHAVIOUR.simulate(Owner(honest), tmp_path / "c", seed=1, variant="wide-gates")
    check = judge(cheat.submission, evidence(honest))
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE
    calm = judge(honest, evidence(honest))
    assert check.evidence["harm"] > calm.evidence["harm"] + 0.1
    assert check.private["harmed_retained_records"]


def test_a_cluster_takes_from_its_neighbours_and_that_is_no_finding(tmp_path: Path) -> None:
    given = case()
    nearest = np.argsort(((given.retain.x - given.retain.x[0]) ** 2).sum(axis=1))
    evidence = replace(
        given.evidence(),
        forget=given.retain.take(nearest[:60]),
        retain=given.retain.take(nearest[60:]),
    )
    check = judge(given.submit(tmp_path / "s"), evidence)
    assert check.outcome is not Outcome.FAIL
    assert "area" not in check.evidence and "of a kind" in check.reason


def test_a_class_that_is_gone_is_not_judged(tmp_path: Path) -> None:
    given = case()
    threes = Records(*(getattr(given.forget, k)[given.forget.y == 3] for k in "xy"))
    from auditkit.certificate.history import new_request
    from auditkit.certificate.identity import record_digests

    submission = given.submit(tmp_path / "s")
    claim = replace(
        submission.claim,
        classes=(3,),
        requests=(new_request(record_digests(threes, b"n" * 32), None),),
    )
    gone = replace(submission, claim=claim, forget=threes)
    check = judge(gone, replace(given.evidence(), forget=threes))
    assert check.outcome is Outcome.INCONCLUSIVE and "class that is gone" in check.reason


def test_the_area_and_its_variance() -> None:
    generator = np.random.default_rng(0)
    mine, theirs = generator.normal(-0.3, 1, 50), generator.normal(size=200)
    one = np.zeros(50, np.int64), np.zeros(200, np.int64)
    expected = roc_auc_score([1] * 50 + [0] * 200, np.concatenate([mine, theirs]))
    assert _area(mine, theirs, *one) == pytest.approx(expected)
    found = [
        _area(generator.normal(size=50), generator.normal(size=200), *one) for _ in range(2000)
    ]
    assert np.std(found) == pytest.approx(np.sqrt(_variance(0.5, 50, 200)), rel=0.08)


def test_few_or_unreadable_records_decide_nothing(tmp_path: Path) -> None:
    given = case()
    submission = given.submit(tmp_path / "s")
    one = replace(given.evidence(), forget=given.forget.take([0]))
    assert judge(submission, one).outcome is Outcome.INCONCLUSIVE
    layer = given.retrained.nodes[0].operator
    nodes = list(given.retrained.nodes)
    nodes[0] = replace(nodes[0], operator=replace(layer, weight=layer.weight * np.float32(1e38)))
    broken = given.submit(tmp_path / "b", replace(given.retrained, nodes=tuple(nodes)))
    for name in ("over-forgetting", "point-patch"):
        [check] = run_on(broken, given.evidence(references=True), [name], 0)
        assert check.outcome is Outcome.INCONCLUSIVE, check.reason
    [alone] = run_on(submission, Evidence(forget=given.forget), ["over-forgetting"], 0)
    assert alone.outcome is Outcome.INCONCLUSIVE
