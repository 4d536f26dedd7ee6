"""Suppressed records come back, forgotten ones do not, and honest owners are told apart by that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.nn.functional import cross_entropy

from auditkit.certificate.submission import UnlearnedSubmission
from auditkit.network.evaluate import logits
from auditkit.network.graph import Dense, Network
from auditkit.records import Records
from auditkit.results import Outcome, Severity
from auditkit.threats import fragile
from auditkit.threats.evidence import Evidence
from auditkit.threats.fragile import MODEL_VARIANTS, detect, detect_model, simulate_model
from auditkit.threats.layers import changed_weights, rounded_to
from auditkit.threats.memory import of_one_kind
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import step, tensors
from tests.threats.conftest import Digits, Make
from tests.threats.unlearned_owner import Trained, trained, with_unlearned


@pytest.fixture(scope="module")
def case() -> Trained:
    return trained()


@pytest.fixture(scope="module")
def honest(case: Trained, tmp_path_factory: pytest.TempPathFactory) -> UnlearnedSubmission:
    return case.submit(tmp_path_factory.mktemp("s") / "s", case.retrained(5))


@pytest.mark.parametrize("variant", MODEL_VARIANTS)
def test_suppression_of_what_was_remembered_is_found(
    variant: str, case: Trained, honest: UnlearnedSubmission, tmp_path: Path
) -> None:
    cheat = simulate_model(case.owner(honest), tmp_path / "c", seed=1, variant=variant).submission
    assert isinstance(cheat, UnlearnedSubmission) and not cheat.problems
    check = detect_model(cheat, case.evidence(), seed=0)
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE, check.reason
    stated = replace(cheat.claim, method=replace(cheat.claim.method, name="gradient-ascent"))
    check = detect_model(replace(cheat, claim=stated), case.evidence(), seed=0)
    assert check.severity is Severity.LIMITATION and "starts from the network" in check.reason


def test_low_bits_are_undone_by_rounding(
    case: Trained, honest: UnlearnedSubmission, tmp_path: Path
) -> None:
    cheat = simulate_model(case.owner(honest), tmp_path / "c", seed=1, variant="low-bits")
    assert isinstance(cheat.submission, UnlearnedSubmission)
    one = changed_weights(cheat.submission.unlearned, rounded_to(4))
    other = changed_weights(case.original, rounded_to(4))
    np.testing.assert_allclose(
        logits(one, case.forget.x), logits(other, case.forget.x), rtol=1e-3, atol=1e-3
    )


def test_strength_is_the_share_that_is_pushed_away(
    case: Trained, honest: UnlearnedSubmission, tmp_path: Path
) -> None:
    for strength in (0.3, 0.6):
        out = tmp_path / str(strength)
        cheat = simulate_model(case.owner(honest), out, seed=1, strength=strength).submission
        wrong = float((cheat.delivered(case.forget.x).argmax(axis=1) != case.forget.y).mean())
        assert strength <= wrong <= strength + 0.2


def test_what_is_pushed_far_away_is_slow_to_come_back_and_no_pass(
    case: Trained, honest: UnlearnedSubmission
) -> None:
    model = Trainable(case.original)
    x, y = tensors(model, case.forget)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(300):  # long after the last label is gone
        step(optimizer, -cross_entropy(model(x), y), clip=1.0)
    check = detect_model(with_unlearned(honest, model.network()), case.evidence(), seed=0)
    assert check.outcome is not Outcome.PASS, check.reason
    assert check.evidence["suppressed"] > 0.8 * len(case.forget)


@pytest.mark.parametrize("variant", MODEL_VARIANTS)
def test_suppression_is_found_where_hardly_anything_was_remembered(
    variant: str, tmp_path: Path
) -> None:
    """Digits almost as they are: nothing is back much sooner than unseen records are."""
    easy = trained(3, noise=0.1)
    honest = easy.submit(tmp_path / "s", easy.retrained(5))
    known = easy.evidence(references=4)
    calm = detect_model(honest, known, seed=0)
    assert calm.outcome is not Outcome.FAIL, calm.reason
    owner = easy.owner(honest)
    made = simulate_model(owner, tmp_path / "c", seed=1, strength=0.8, variant=variant)
    cheat = made.submission
    assert isinstance(cheat, UnlearnedSubmission)
    check = detect_model(cheat, known, seed=0)
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE, check.reason
    assert check.evidence["tests"]["suppressed"] < 1e-4
    assert "4 networks that never saw them mispredict" in check.reason
    alone = detect_model(cheat, easy.evidence(), seed=0)
    assert alone.outcome is not Outcome.PASS and "hidden or hard" in alone.reason


@pytest.mark.parametrize("seed", range(6))
def test_the_retrained_are_never_accused(seed: int, honest: UnlearnedSubmission) -> None:
    case = trained(seed + 20)
    for number in range(2):
        given = replace(
            with_unlearned(honest, case.retrained(number)),
            network=case.original,
            forget=case.forget,
        )
        check = detect_model(given, case.evidence(), seed=seed)
        assert check.outcome is not Outcome.FAIL, check.reason


def test_a_class_needs_references(tmp_path: Path) -> None:
    case = trained(1, label=3, noise=0.1)
    honest = case.submit(tmp_path / "s", case.retrained(5))
    known = case.evidence(references=5)
    assert detect_model(honest, known, seed=0).outcome is Outcome.PASS
    without = replace(known, references=Evidence().references)
    assert detect_model(honest, without, seed=0).outcome is Outcome.INCONCLUSIVE
    cheat = simulate_model(case.owner(honest), tmp_path / "c", seed=0).submission
    assert isinstance(cheat, UnlearnedSubmission)
    assert detect_model(cheat, known, seed=0).outcome is Outcome.FAIL
    alone = detect_model(cheat, without, seed=0)
    assert alone.outcome is Outcome.INCONCLUSIVE and "are needed to judge" in alone.reason


def test_records_of_their_own_kind_are_not_compared_with_unseen_ones(
    case: Trained, honest: UnlearnedSubmission
) -> None:
    centre = case.forget.x[0]
    near = np.argsort(np.square(case.retain.x - centre).sum(axis=1))[:40]
    cluster = case.retain.take(near)
    assert of_one_kind(cluster, case.unseen, 0) is False
    assert of_one_kind(case.forget, case.unseen, 0) is True
    assert of_one_kind(case.forget.take(range(4)), case.unseen, 0) is None
    check = detect_model(honest, replace(case.evidence(), forget=cluster), seed=0)
    assert check.evidence["tests"] == {} and check.outcome is not Outcome.FAIL
    assert check.evidence["power"] == 0.0


def test_of_a_patch_it_is_a_limitation_or_a_lie(make: Make, digits: Digits) -> None:
    honest = make("redirect")
    known = Evidence(honest.forget, digits.retain, digits.holdout)
    check = detect(honest, known, seed=0)
    assert check.outcome is Outcome.FAIL and check.severity is Severity.LIMITATION
    assert check.observed > 0
    assert detect(honest, replace(known, assertion="erased"), seed=0).severity is Severity.FAILURE


@pytest.mark.parametrize("size", [1e10, 1e20, 1e37])
def test_hostile_weights_end_without_a_verdict(
    size: float, case: Trained, honest: UnlearnedSubmission
) -> None:
    nodes = []
    for node in case.original.nodes:
        operator = node.operator
        if isinstance(operator, Dense):
            most = np.float32(size) / np.abs(operator.weight).max()
            operator = Dense(operator.weight * most, operator.bias)
        nodes.append(replace(node, operator=operator))
    network = Network(case.original.input_shape, tuple(nodes), case.original.dtype)
    with np.errstate(all="ignore"):
        check = detect_model(with_unlearned(honest, network), case.evidence(), seed=0)
    assert check.outcome in (Outcome.INCONCLUSIVE, Outcome.PASS)


def test_labels_that_nobody_knows_and_single_records(
    case: Trained, honest: UnlearnedSubmission
) -> None:
    one = case.forget.take([0])
    assert detect_model(honest, replace(case.evidence(), forget=one), seed=0).outcome is (
        Outcome.INCONCLUSIVE
    )
    odd = Records(case.unseen.x, case.unseen.y + 100)
    check = detect_model(honest, replace(case.evidence(), holdout=odd), seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE
    assert detect_model(honest, Evidence(case.forget), seed=0).outcome is Outcome.NOT_RUN


def test_the_log_rank_test_is_that_of_scipy_and_holds_its_level_with_few_records() -> None:
    generator = np.random.default_rng(0)
    z, p = np.zeros(400), np.zeros(400)
    for number in range(400):
        times = generator.integers(1, 31, size=120)
        reached = generator.random(120) < 0.3
        times[~reached] = 30
        few = (times[:3], reached[:3]), (times[3:], reached[3:])
        z[number], p[number] = fragile._logrank(*few, number)
    assert np.mean(norm.sf(z) <= 0.01) > 0.015, "the normal limit accuses too often"
    assert np.mean(p <= 0.01) <= 0.02
    soon = (np.full(20, 2), np.ones(20, bool)), (np.full(20, 30), np.zeros(20, bool))
    statistic, chance = fragile._logrank(*soon, 0)
    assert statistic > 4 and chance == 1 / 20001, "positive where the first are sooner"


def test_a_records_score_sums_to_the_log_rank_statistic() -> None:
    generator = np.random.default_rng(1)
    times, reached = generator.integers(1, 30, size=60), generator.random(60) < 0.7
    score = float((reached - fragile._hazard(times, reached))[:25].sum())
    expected = 0.0
    for moment in np.unique(times[reached]):
        risk = times >= moment
        expected += (reached & (times == moment)).sum() * risk[:25].sum() / risk.sum()
    assert score == pytest.approx(reached[:25].sum() - expected)


def test_the_prediction_over_networks_holds_its_level() -> None:
    generator = np.random.default_rng(0)
    draws = generator.normal(0.5, 0.2, size=(4000, 6))
    p = np.array([fragile._beyond(row[0], row[1:].tolist(), 0.01) for row in draws])
    assert 0.002 < np.mean(p <= 0.01) < 0.02
    assert fragile._beyond(0.4, [0.1, 0.5, 0.2, 0.3], 0.01) == 1.0


@pytest.mark.parametrize(("count", "outcome"), [(1, Outcome.INCONCLUSIVE), (24, Outcome.PASS)])
def test_that_nothing_comes_back_of_one_record_is_no_pass(
    count: int, outcome: Outcome, make: Make, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = make("redirect", records=count)
    monkeypatch.setattr(fragile, "disturbances", lambda seed: {"nothing": lambda weight: weight})
    check = detect(honest, Evidence(honest.forget, digits.retain, digits.holdout), seed=0)
    assert check.observed == 0 and check.outcome is outcome, check.reason
