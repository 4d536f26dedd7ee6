"""Lower bounds of ε: by hand, against enumeration, and never above the truth too often."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import binom, norm

from attacks.statistics import clopper_pearson, epsilon_lower_bound
from attacks.statistics.epsilon import (
    gaussian_epsilon,
    one_run_p_value,
    planned_ranks,
)

METHODS = ("cp-split", "cp-bonferroni", "one-run", "one-run-gdp")


@pytest.mark.parametrize("delta", [0.0, 0.01])
def test_split_is_clopper_pearson_on_the_second_half(delta):
    """Separated scores: whatever the split, one threshold has no error on 30 and 40 records."""
    bound = epsilon_lower_bound(np.ones(60), np.zeros(80), method="cp-split", delta=delta)
    least_tpr, most_fpr = clopper_pearson(30, 30)[0], clopper_pearson(0, 40)[1]
    least_tnr, most_fnr = clopper_pearson(40, 40)[0], clopper_pearson(0, 30)[1]
    both = (
        math.log((least_tpr - delta) / most_fpr),
        math.log((least_tnr - delta) / most_fnr),
    )
    assert bound.epsilon == pytest.approx(max(both))
    assert bound.threshold == 0.0 and bound.thresholds == 1


def test_planned_ranks_by_hand():
    assert planned_ranks(1).tolist() == [1]
    assert planned_ranks(20).tolist() == [1, 2, 3, 4, 6, 8]
    x, y = np.arange(20.0) + 100, np.arange(20.0)
    bound = epsilon_lower_bound(x, y, delta=0.0)
    level = 0.05 / (2 * 12)
    confidence = 1 - 2 * level  # one side of a two-sided interval
    by_hand = math.log(clopper_pearson(20, 20, confidence)[0])
    by_hand -= math.log(clopper_pearson(0, 20, confidence)[1])
    assert bound.epsilon == pytest.approx(by_hand) and bound.thresholds == 12


def test_the_other_direction_counts_too():
    """Half of the non-members can be told for certain, no member can."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000)
    y = np.where(rng.random(1000) < 0.5, -50.0, rng.normal(size=1000))
    for method in ("cp-split", "cp-bonferroni", "one-run"):
        assert epsilon_lower_bound(x, y, method=method, delta=0.0).epsilon > 1.5


def test_the_first_rank_of_its_own_group_is_exact():
    """P(FPR above the highest of n exceeds the limit) is the level itself."""
    rng = np.random.default_rng(1)
    limit = clopper_pearson(0, 50, 0.9)[1]
    beyond = np.mean([rng.random(50).min() > limit for _ in range(20_000)])
    assert beyond == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 20_000))


def test_one_run_p_value_is_the_binomial_tail():
    assert one_run_p_value(8, 10, 50, 0.0, 0.0) == pytest.approx(56 / 1024)
    assert one_run_p_value(0, 10, 50, 1.0, 0.1) == 1.0
    assert one_run_p_value(9, 10, 50, 1.0, 0.0) == pytest.approx(
        binom.sf(8, 10, math.e / (1 + math.e))
    )
    with pytest.raises(ValueError, match="expected 0 <= correct"):
        one_run_p_value(3, 2, 5, 1.0, 0.0)


@pytest.mark.parametrize("delta", [1e-4, 1e-2])
def test_delta_costs_what_the_definition_says(delta):
    """2·m·delta times the greatest mean of the chances just below the count seen."""
    m, guesses, correct, epsilon = 40, 20, 16, 0.7
    p = float(expit(epsilon))
    tail = sum(binom.pmf(k, guesses, p) for k in range(correct, guesses + 1))
    greatest = max(
        sum(binom.pmf(correct - j, guesses, p) for j in range(1, i + 1)) / i
        for i in range(1, correct + 1)
    )
    assert one_run_p_value(correct, guesses, m, epsilon, delta) == pytest.approx(
        min(1.0, tail + 2 * m * delta * greatest)
    )


def test_gaussian_epsilon_is_the_hockey_stick():
    assert gaussian_epsilon(1.0, 1e-5) == pytest.approx(4.377, abs=1e-3)
    for mu, delta in [(0.3, 1e-3), (1.0, 1e-5), (3.0, 1e-2)]:
        e = gaussian_epsilon(mu, delta)
        excess, _ = quad(
            lambda t, mu=mu, e=e: max(0.0, norm.pdf(t, mu) - math.exp(e) * norm.pdf(t)),
            -10,
            20,
            points=[e / mu + mu / 2],
            limit=400,
        )
        assert excess == pytest.approx(delta, rel=1e-3)
    assert gaussian_epsilon(0.0, 1e-5) == 0.0 and gaussian_epsilon(0.1, 0.5) == 0.0
    assert gaussian_epsilon(1.0, 0.0) == 100.0
    with pytest.raises(ValueError, match="mu must not"):
        gaussian_epsilon(-1.0, 0.1)


def test_the_methods_on_gaussian_scores():
    """900 + 900, shift 1, delta 1e-5: the truth is 4.38, and each method shows its part of it."""
    found = {}
    for method in METHODS:
        bounds = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            scores = rng.normal(1, 1, 900), rng.normal(size=900)
            bounds.append(epsilon_lower_bound(*scores, method=method, seed=seed).epsilon)
        found[method] = np.mean(bounds)
    assert found["cp-split"] == pytest.approx(1.1, abs=0.25)
    assert found["cp-bonferroni"] == pytest.approx(1.3, abs=0.2)
    assert found["one-run"] == pytest.approx(1.4, abs=0.2)
    assert found["one-run-gdp"] == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tied", [False, True])
def test_null_scores_show_nothing(method, tied):
    """A false ε > 0 in at most 5 % of 300 samples: 27 is the binomial's 99.9 % quantile."""
    false = 0
    for seed in range(300):
        rng = np.random.default_rng([7, seed])
        inside = rng.random(400) < 0.5
        scores = rng.integers(0, 3, 400) * 1.0 if tied else rng.normal(size=400)
        bound = epsilon_lower_bound(scores[inside], scores[~inside], method=method, seed=seed)
        false += bound.epsilon > 0
        assert (bound.threshold is None) == (bound.epsilon == 0.0)
    assert false <= binom.ppf(0.999, 300, 0.05)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("x", "y"), [([1.0], [0.0]), (np.zeros(90), np.zeros(70)), (np.zeros(90), np.ones(70))]
)
def test_nothing_to_show(method, x, y):
    bound = epsilon_lower_bound(x, y, method=method)
    assert math.isfinite(bound.epsilon) and bound.epsilon >= 0.0
    if len(x) == 1 or np.ptp(np.concatenate([x, y])) == 0.0:
        assert bound.epsilon == 0.0 and bound.threshold is None


def test_an_order_among_ties_betrays_nothing():
    """Members come first in memory; guesses that broke ties by position would all be right."""
    x, y = np.zeros(200), np.zeros(200)
    for method in ("one-run", "one-run-gdp"):
        assert epsilon_lower_bound(x, y, method=method).epsilon == 0.0


def test_descriptive_unless_a_lot_was_drawn():
    x, y = np.ones(90), np.zeros(90)
    plain = epsilon_lower_bound(x, y)
    assert plain.descriptive and "not drawn by lot" in plain.note
    drawn = epsilon_lower_bound(x, y, inclusion_randomised=True)
    assert not drawn.descriptive and "independent" in drawn.note
    gaussian = epsilon_lower_bound(x, y, method="one-run-gdp", inclusion_randomised=True)
    assert "fair coin" in gaussian.note and "Gaussian" in gaussian.note
    assert plain.epsilon == drawn.epsilon


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": 1.0}, "delta"),
        ({"delta": -0.1}, "delta"),
        ({"delta": math.nan}, "delta"),
        ({"confidence": 1.0}, "confidence"),
        ({"method": "magic"}, "method must be one of"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        epsilon_lower_bound([1.0, 2.0], [0.0, 1.0], **options)
    with pytest.raises(ValueError, match="members holds 1"):
        epsilon_lower_bound([math.nan], [0.0])
