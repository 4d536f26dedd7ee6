"""Quantile regression: what it computes, that it is honest, that it finds what is there."""

import numpy as np
import pytest
from scipy.stats import norm

from attacks import CannotJudge, Evidence, quantile
from attacks.quantile import score, standing
from attacks.statistics import auc

Z = norm.ppf(0.9)


def test_standing_by_hand():
    levels = [0.1, 0.5, 0.9]
    values = standing([0.5, 1.0, 3.0, -1.0, 2.0], [[0.0, 1.0, 2.0]] * 5, levels)
    np.testing.assert_allclose(values, [-Z / 2, 0.0, 2 * Z, -2 * Z, Z], atol=1e-12)
    # Quantiles that cross are put in order; equal ones leave no gap to divide by.
    crossed = standing([0.5, 7.0], [[1.0, 0.0, 2.0], [7.0, 7.0, 7.0]], levels)
    np.testing.assert_allclose(crossed, [-Z / 2, Z], atol=1e-12)


def test_standing_rises_with_the_signal():
    q = np.sort(np.random.default_rng(0).normal(size=5))
    grid = np.linspace(-4, 4, 400)
    values = standing(grid, np.tile(q, (400, 1)), quantile.LEVELS)
    assert (np.diff(values) > 0).all()
    with pytest.raises(ValueError, match=r"quantiles must be \(1, 3\)"):
        standing([1.0], [[1.0, 2.0]], [0.1, 0.5, 0.9])


def test_pinball_of_one_class_is_the_sample_quantile():
    """Nothing to split on: the fit is the quantile of the population, 10, 50 and 90 of 0..100."""
    population = np.arange(101.0)
    target = [10.5, 49.5, 90.5, 110.5]
    values = score(target, [0] * 4, population, np.zeros(101, int), levels=(0.1, 0.5, 0.9), folds=2)
    np.testing.assert_allclose(values, standing(target, [[10.0, 50.0, 90.0]] * 4, [0.1, 0.5, 0.9]),
                               atol=0.01)  # fmt: skip


def test_gaussian_of_one_class_is_mean_and_variance():
    population = np.random.default_rng(1).normal(2.0, 3.0, 400)
    values = score([2.5, 8.25], [0, 0], population, np.zeros(400, int), variant="gaussian", folds=2)
    from sklearn.model_selection import KFold

    squares = np.empty(400)
    for rest, part in KFold(3, shuffle=True, random_state=0).split(population):
        squares[part] = (population[part] - population[rest].mean()) ** 2
    expected = (np.array([2.5, 8.25]) - population.mean()) / np.sqrt(squares.mean())
    np.testing.assert_allclose(values, expected, rtol=1e-3)


def test_pinball_agrees_with_scikit_learn_used_directly():
    from sklearn.ensemble import HistGradientBoostingRegressor

    rng = np.random.default_rng(2)
    x, z = rng.random((60, 3)), rng.random((300, 3))
    y, w = rng.integers(0, 3, 60), rng.integers(0, 3, 300)
    phi, other = x[:, 0] * 5 + rng.normal(size=60), z[:, 0] * 5 + rng.normal(size=300)
    got = score(phi, y, other, w, records=x, population_records=z, levels=(0.25, 0.75))
    q = [
        HistGradientBoostingRegressor(
            loss="quantile", quantile=level, learning_rate=0.15, max_iter=30, max_leaf_nodes=8,
            categorical_features=[0], early_stopping=False, random_state=0,
        ).fit(np.column_stack([w, z]), other).predict(np.column_stack([y, x]))
        for level in (0.25, 0.75)
    ]  # fmt: skip
    np.testing.assert_allclose(got, standing(phi, np.stack(q, 1), [0.25, 0.75]))


def _world(seed: int, forgotten: int = 60, unseen: int = 240, lift: float = 0.0):
    """Signals that depend on the record; forgotten ones first, raised by `lift`."""
    rng = np.random.default_rng(seed)
    n = forgotten + unseen
    x, y = rng.random((n, 4)), rng.integers(0, 3, n)
    phi = 8 * x[:, 0] + y + rng.normal(size=n)
    phi[:forgotten] += lift
    return phi, y, x, np.arange(forgotten, n)


def _scores(phi, y, x, rows, **more):
    z = slice(rows[0], None)
    return score(
        phi, y, phi[z], y[z], records=x, population_records=x[z], population_rows=rows, **more
    )


@pytest.mark.parametrize("variant", ["pinball", "gaussian"])
def test_no_bias_without_a_difference(variant):
    areas = []
    for seed in range(16):
        world = _world(seed)
        scores = _scores(*world, variant=variant, folds=3, levels=(0.2, 0.5, 0.8), seed=seed)
        areas.append(auc(scores[:60], scores[60:]))
    assert abs(np.mean(areas) - 0.5) < 3 * 0.042 / 4  # 0.042: the spread of one such AUC


@pytest.mark.parametrize("variant", ["pinball", "gaussian"])
def test_finds_what_a_threshold_misses(variant):
    phi, y, x, rows = _world(0, lift=1.5)
    scores = _scores(phi, y, x, rows, variant=variant)
    assert auc(scores[:60], scores[60:]) > auc(phi[:60], phi[60:]) + 0.05


def test_a_record_is_not_judged_by_a_fit_that_knew_it():
    phi, y, x, rows = _world(3)
    values = [
        _scores(np.where(np.arange(300) == 100, phi + step, phi), y, x, rows, variant="gaussian")
        for step in (0.0, 1.0, 2.0)
    ]
    steps = np.diff([v[100] for v in values])
    assert steps[0] > 0.1 and steps[0] == pytest.approx(steps[1])


def test_fitting_on_the_judged_is_refused_and_would_be_wrong():
    phi, y, x, rows = _world(4, 100, 200)
    with pytest.raises(CannotJudge, match="there are 0"):
        score(phi, y, phi[rows], y[rows], records=x, population_records=x[rows])
    # Blurred beyond recognition it can be forced, and finds members where there are none.
    honest, forced = [], []
    for seed in range(6):
        phi, y, x, rows = _world(seed, 100, 200)
        blurred = phi[rows] + 1e-3
        fair = _scores(phi, y, x, rows, variant="gaussian")
        unfair = score(
            phi, y, blurred, y[rows], records=x, population_records=x[rows], variant="gaussian"
        )
        for values, rates in ((fair, honest), (unfair, forced)):
            rates.append(np.mean(values[:100] > np.quantile(values[100:], 0.95)))
    assert np.mean(honest) < 0.09 < np.mean(forced)


def test_wide_records_are_reduced_and_the_seed_decides():
    rng = np.random.default_rng(5)
    x, y = rng.random((160, 6, 10)), rng.integers(0, 2, 160)
    phi = x[:, 0, 0] + rng.normal(size=160)
    rows = np.arange(40, 160)
    a, b = (_scores(phi, y, x, rows, folds=2, levels=(0.3, 0.7), seed=1) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert np.isfinite(a).all()


def test_constant_signals_give_no_verdict_but_ties_or_a_refusal():
    rows = np.arange(40, 160)
    x = np.random.default_rng(0).random((160, 2))
    scores = _scores(np.ones(160), np.zeros(160, int), x, rows, folds=2)
    assert auc(scores[:40], scores[40:]) == 0.5


GOOD = {
    "target": np.arange(5.0),
    "labels": [0] * 5,
    "population_target": np.arange(100.0) + 0.5,
    "population_labels": [0] * 100,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "linear"}, "variant must be one of"),
        ({"levels": (0.5,)}, "levels must be at least two"),
        ({"levels": (0.9, 0.5)}, "rising"),
        ({"levels": (0.5, np.nan)}, "rising"),
        ({"levels": (0.0, 0.5)}, "rising"),
        ({"target": [np.nan] * 5}, "target holds 5"),
        ({"labels": [0] * 4}, "labels must have shape"),
        ({"records": np.zeros((5, 2))}, "must be alike, found 2 and 0"),
        ({"records": np.full((5, 2), np.inf)}, "records holds"),
        ({"records": np.zeros((4, 2))}, "same length"),
        ({"population_target": np.arange(20.0) + 0.5, "population_labels": [0] * 20}, "are 20"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        score(**(GOOD | change))


def test_attack_uses_records_where_both_are_there():
    phi, y, x, rows = _world(6)
    evidence = Evidence(
        target=phi, labels=y, records=x, population_target=phi[rows], population_labels=y[rows],
        population_records=x[rows], population_rows=rows,
    )  # fmt: skip
    np.testing.assert_array_equal(quantile.QUANTILE.score(evidence), _scores(phi, y, x, rows))
