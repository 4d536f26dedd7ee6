"""Worse than never seen: found where it is clear, and never where a network merely forgot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from auditkit.certificate.submission import Submission, UnlearnedSubmission
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, Severity
from auditkit.threats.assertion import EXACT
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Owner
from auditkit.threats.numbers import permutation_tails
from auditkit.threats.over_forgetting import (
    BEHAVIOUR,
    _area,
    _centres,
    _detect,
    _mostly,
    _variance,
)
from auditkit.threats.registry import chosen, run_on
from auditkit.unlearning.registry import METHODS
from tests.threats.conftest import Digits, Make
from tests.threats.networks import RECIPE, case

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


def test_who_ruins_the_network_for_all_is_found(
    make: Make, evidence: Gather, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requested records are answered no worse than others where all are answered badly."""
    honest = make("redirect")
    first = honest.delivered(digits.retain.x)
    calm = judge(honest, replace(evidence(honest), assertion="erased"))
    assert calm.evidence["elsewhere"] < 0.1 and calm.evidence["elsewhere_p_refute"] > 0.5
    monkeypatch.setattr(
        type(honest), "delivered", lambda self, x: np.full((len(x), first.shape[1]), 1.0 / 3)
    )
    check = judge(honest, replace(evidence(honest), assertion="erased"))
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE, check.reason
    assert check.evidence["elsewhere"] > 0.8 and check.evidence["elsewhere_p_refute"] < 1e-6
    assert check.evidence["harm_p_refute"] > 0.01


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


@pytest.mark.parametrize("count", [1, 2, 4])
def test_harm_around_a_few_records_is_no_finding(
    count: int, make: Make, evidence: Gather, digits: Digits
) -> None:
    """Neighbours of one record stand or fall together: three of three are one loss, not three."""
    honest = make("redirect", records=count)
    wrecked = _everything_at(honest, digits)
    known = replace(evidence(honest), forget=honest.forget)
    check = _detect(wrecked, known, 0)
    assert check.evidence["harm_records"] <= count and check.evidence["harm"] > 0.5
    assert check.evidence["harm_p_refute"] == 1.0 and "so few" in check.reason


def test_the_harm_test_holds_its_level_where_neighbours_fall_together() -> None:
    """The unit is the requested record: losses are drawn record by record, at the bound."""
    generator = np.random.default_rng(0)
    centre = np.repeat(np.arange(400), 3)
    right = np.ones(1200, dtype=bool)
    rejected = 0
    for _ in range(2000):
        lost = np.repeat(generator.random(400) < 0.02, 3)
        units = _mostly(centre, right, lost)
        assert len(units) == 400
        hits, others = int(units[:6].sum()), int(units[6:].sum())
        rejected += permutation_tails(hits, 6, others, 394)[0] <= 0.01
    assert rejected <= 40, "20 expected at most"


def test_a_neighbour_belongs_to_the_record_that_it_is_nearest_to() -> None:
    y = np.zeros(5, np.int64)
    x = np.array([[0.0], [1.0], [2.0], [9.0], [10.0]], np.float32)
    mine = Records(np.array([[-0.1], [10.5]], np.float32), y[:2])
    assert _centres(mine, x, y).tolist() == [0, 0, 0, 1, 1]
    both = Records(x, y)
    alone = _centres(both.take([1]), x, y, own=np.array([1]))
    assert alone.tolist() == [0, -1, 0, 0, -1], "the three nearest but for itself"


def _everything_at(honest: Submission, digits: Digits) -> Submission:
    """Return the submission answering all but a few retained records as before."""
    asked = honest.forget
    assert asked is not None
    rows = _centres(asked, digits.retain.x, digits.retain.y) >= 0
    harmed = {row.tobytes() for row in digits.retain.x[rows]}

    class Wrecked:
        def __getattr__(self, name: str) -> object:
            return getattr(honest, name)

        def delivered(self, x: np.ndarray) -> np.ndarray:
            answers = honest.delivered(x).copy()
            hit = [row.tobytes() in harmed for row in x]
            answers[hit] = -answers[hit]
            return answers

    return Wrecked()  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("method", "severity"),
    [
        ("retrain", Severity.FAILURE),
        ("sisa", Severity.FAILURE),
        ("own-invention", Severity.FAILURE),
        *((name, Severity.LIMITATION) for name in METHODS if name not in EXACT),
    ],
)
@pytest.mark.parametrize("name", ["head-only", "point-patch", "over-forgetting"])
def test_what_a_stated_method_leaves_is_a_limitation(
    name: str, method: str, severity: Severity, tmp_path: Path
) -> None:
    cheat = cheats(name)
    said = replace(cheat.claim, method=replace(cheat.claim.method, name=method))
    [check] = run_on(replace(cheat, claim=said), case(wrong=0.0).evidence(), [name], 0)
    assert check.outcome is Outcome.FAIL and check.severity is severity
    assert check.required is (severity is Severity.FAILURE)


@cache
def cheats(name: str) -> UnlearnedSubmission:
    """Return who cheats so, having stated an approximate method: the simulation says `retrain`."""
    given = case(wrong=0.0)
    out = Path(mkdtemp())
    owner = Owner(given.submit(out / "h", method="scrub"), given.retain, given.unseen, RECIPE)
    [behaviour] = chosen([name])
    made = behaviour.simulate(owner, out / "c", seed=4).submission
    assert isinstance(made, UnlearnedSubmission) and made.claim.method.name == "retrain"
    return made
