"""The rate at the population's false-positive rate: limits by hand, and p-values that fit them."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from attacks.statistics import TprAtFpr, clopper_pearson, population_rate, tpr_at_fpr
from attacks.statistics.population_rate import MeanRate


def _scores(seed=0, m=300, n=2000, shift=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, m), rng.normal(size=n)


def test_limits_by_hand():
    x, y = _scores()
    found = population_rate(x, y, 0.01)
    highest = np.sort(y)[::-1]
    hits = int(np.sum(x > highest[20]))
    assert found.value == hits / 300
    low, high = clopper_pearson(hits, 300, 0.9)
    # The true threshold lies below the j-th highest with chance P(fewer than j alarms), and so on.
    ranks = np.arange(1, 2001)
    over = ranks[binom.cdf(ranks - 1, 2000, 0.01) <= 0.05].max()
    under = ranks[binom.sf(ranks - 1, 2000, 0.01) <= 0.05].min()
    edge_low, edge_high = (np.mean(x > highest[j - 1]) for j in (over, under))
    lower, upper = found.interval(0.9)
    assert lower == pytest.approx(found.value - np.hypot(found.value - low, found.value - edge_low))
    assert upper == pytest.approx(
        found.value + np.hypot(high - found.value, edge_high - found.value)
    )


def test_with_the_threshold_known_it_is_clopper_pearson():
    x, _ = _scores()
    y = np.random.default_rng(1).normal(size=1_000_000)
    found = population_rate(x, y, 0.05)
    known = clopper_pearson(round(found.value * 300), 300, 0.95)
    np.testing.assert_allclose(found.interval(0.95), known, atol=0.006)


def test_p_values_fit_the_limits():
    found = population_rate(*_scores(), 0.01)
    lower, upper = found.interval(0.9)
    assert found.p_above(lower - 1e-6) <= 0.05 + 1e-4 and found.p_above(lower + 1e-6) >= 0.05 - 1e-4
    assert found.p_below(upper + 1e-6) <= 0.05 + 1e-4 and found.p_below(upper - 1e-6) >= 0.05 - 1e-4
    assert found.p_above(1.0) == 1.0 and found.p_below(0.0) == 1.0


@pytest.mark.parametrize(("m", "n", "shift"), [(300, 400, 1.0), (300, 5000, 0.5)])
def test_covers_where_clopper_pearson_does_not(m, n, shift):
    truth = norm.sf(norm.isf(0.01) - shift)
    ours, fixed = 0, 0
    for seed in range(300):
        x, y = _scores([seed, 5], m, n, shift)
        lower, upper = population_rate(x, y, 0.01).interval(0.95)
        ours += lower <= truth <= upper
        rate = tpr_at_fpr(x, y, 0.01)
        assert isinstance(rate, TprAtFpr)
        assert (rate.population_lower, rate.population_upper) == (lower, upper)
        fixed += rate.lower <= truth <= rate.upper
    assert ours >= binom.ppf(0.001, 300, 0.95)
    if n == 400:
        assert fixed < 0.85 * 300


def test_too_few_non_members_bound_nothing_from_below():
    found = population_rate(np.ones(50) * 9, np.arange(40.0) / 40, 0.01)
    assert found.value == 1.0 and found.interval(0.95) == (0.0, 1.0)


def test_constant_scores():
    found = population_rate(np.zeros(50), np.zeros(400), 0.01)
    lower, upper = found.interval(0.95)
    assert found.value == pytest.approx(0.01) and lower < 0.01 < upper  # as a coin would have it


def test_ties_are_broken_as_by_lot():
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 6, 400).astype(float), rng.integers(0, 5, 600).astype(float)
    drawn = [
        population_rate(x + rng.random(400) / 2, y + rng.random(600) / 2, 0.1).value
        for _ in range(2000)
    ]
    error = np.std(drawn) / np.sqrt(2000)
    assert population_rate(x, y, 0.1).value == pytest.approx(np.mean(drawn), abs=4 * error + 2e-3)


def test_outputs_cut_off_at_the_top_hide_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=2000), rng.normal(size=20_000)
    x[:160] += 10.0
    cut = np.quantile(y, 0.988)
    open_, hidden = (
        population_rate(x, y, 0.01),
        population_rate(x.clip(max=cut), y.clip(max=cut), 0.01),
    )
    assert open_.value > 0.08 and hidden.value > 0.06 and hidden.p_above(0.02) < 1e-6


def test_the_mean_over_models():
    a, b = (population_rate(*_scores(seed), 0.01) for seed in (1, 2))
    both = MeanRate((a, b))
    assert both.value == (a.value + b.value) / 2
    assert both.interval(0.9)[0] == pytest.approx((a.interval(0.9)[0] + b.interval(0.9)[0]) / 2)


def test_refuses():
    with pytest.raises(ValueError, match="fpr"):
        population_rate([1.0], [0.0], 0.0)
    with pytest.raises(ValueError, match="non_members is empty"):
        population_rate([1.0], [], 0.1)
