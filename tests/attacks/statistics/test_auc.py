"""AUC and DeLong against sklearn, an O(n²) implementation written apart, and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from attacks.statistics import auc, auc_difference, auc_estimate, clopper_pearson

SCORES = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=25)


def _psi(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x[:, None] > y) + 0.5 * (x[:, None] == y)


def _delong_covariance(models: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Return the covariance of the AUCs of several models by DeLong's definition."""
    tables = [_psi(x, y) for x, y in models]
    v10 = np.array([t.mean(axis=1) for t in tables])
    v01 = np.array([t.mean(axis=0) for t in tables])
    m, n = tables[0].shape
    return np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n


@given(SCORES, SCORES)
@settings(max_examples=60, deadline=None)
def test_area_equals_sklearn_with_ties(x, y):
    truth = [1] * len(x) + [0] * len(y)
    assert auc(x, y) == pytest.approx(roc_auc_score(truth, x + y), abs=1e-12)
    estimate = auc_estimate(x, y)
    assert 0.0 <= estimate.lower <= estimate.auc <= estimate.upper <= 1.0
    assert estimate.lower < estimate.upper


@pytest.mark.parametrize("tied", [False, True])
def test_delong_equals_the_definition(tied):
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 1, 60), rng.normal(0, 1.5, 90)
    a, b = x + rng.normal(size=60), y + rng.normal(size=90)
    if tied:
        x, y, a, b = (np.round(v) for v in (x, y, a, b))
    covariance = _delong_covariance([(x, y), (a, b)])
    assert auc_estimate(x, y).standard_error == pytest.approx(np.sqrt(covariance[0, 0]))
    paired = auc_difference(x, y, [(a, b)])
    assert paired.difference == pytest.approx(auc(x, y) - auc(a, b))
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert paired.standard_error == pytest.approx(np.sqrt(variance))


def test_delong_agrees_with_the_bootstrap():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.8, 1, 300), rng.normal(size=400)
    draws = [auc(rng.choice(x, 300), rng.choice(y, 400)) for _ in range(800)]
    estimate = auc_estimate(x, y)
    assert estimate.standard_error == pytest.approx(np.std(draws), rel=0.1)
    np.testing.assert_allclose(
        estimate.interval(0.95), np.quantile(draws, [0.025, 0.975]), atol=0.006
    )


@pytest.mark.parametrize("shift", [0.18, 1.19, 2.33])  # AUC 0.55, 0.80, 0.95
def test_interval_covers(shift):
    rng = np.random.default_rng(2)
    true = norm.cdf(shift / np.sqrt(2))
    runs = [auc_estimate(rng.normal(shift, 1, 200), rng.normal(size=200)) for _ in range(1000)]
    covered = np.mean([r.lower <= true <= r.upper for r in runs])
    assert 0.93 <= covered <= 0.97  # 95 % within three standard errors of 1,000 runs


@pytest.mark.parametrize(("m", "n"), [(1, 1), (20, 50), (300, 20)])
def test_perfect_attack_has_the_exact_bound_of_the_smaller_group(m, n):
    estimate = auc_estimate(np.ones(m), np.zeros(n))
    k = min(m, n)
    assert estimate.auc == 1.0 and estimate.upper == 1.0
    assert estimate.lower == pytest.approx(clopper_pearson(k, k)[0])
    inverse = auc_estimate(np.zeros(m), np.ones(n))
    assert inverse.lower == 0.0 and inverse.upper == pytest.approx(1 - estimate.lower)


def test_constant_scores():
    estimate = auc_estimate(np.zeros(300), np.zeros(10_000))
    assert estimate.auc == 0.5 and estimate.method == "all-tied"
    assert 0.49 < estimate.lower < 0.5 < estimate.upper < 0.51
    assert estimate.p_above(0.5) == 1.0 and estimate.p_below(0.6) < 1e-6
    paired = auc_difference(np.zeros(300), np.zeros(99), [(np.zeros(300), np.zeros(99))])
    assert paired.difference == 0.0 and -0.1 < paired.lower < 0 < paired.upper < 0.1


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.arange(30.0) + 8, np.arange(40.0)),  # delong-logit
        (np.ones(30), np.zeros(40)),  # chernoff
        (np.ones(300), np.ones(40)),  # all-tied
    ],
)
def test_p_values_agree_with_intervals(x, y):
    estimate = auc_estimate(x, y)
    for confidence in (0.8, 0.95):
        tail = (1 - confidence) / 2
        lower, upper = estimate.interval(confidence)
        slack = 2 if estimate.method == "all-tied" else 1  # both groups bounded at once
        if lower > 0.0:
            assert estimate.p_above(lower) == pytest.approx(slack * tail, rel=1e-6)
        if upper < 1.0:
            assert estimate.p_below(upper) == pytest.approx(slack * tail, rel=1e-6)


def test_several_references_add_their_spread():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=100), rng.normal(size=200)
    near = [(x + rng.normal(size=100) * 0.01, y + rng.normal(size=200) * 0.01) for _ in range(4)]
    far = [(x + shift, y) for shift in (-1.0, 0.0, 1.0, 0.5)]
    assert auc_difference(x, y, far).standard_error > 3 * auc_difference(x, y, near).standard_error


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([], [1.0], "members is empty"),
        ([1.0], [], "non_members is empty"),
        ([np.nan], [1.0], "members holds 1"),
        ([[1.0]], [1.0], "1 dimension"),
    ],
)
def test_refuses(x, y, message):
    with pytest.raises(ValueError, match=message):
        auc_estimate(x, y)


def test_difference_refuses():
    with pytest.raises(ValueError, match="at least one pair"):
        auc_difference([1.0], [0.0], [])
    with pytest.raises(ValueError, match=r"expected 1 \+ 1, found 2 \+ 1"):
        auc_difference([1.0], [0.0], [([1.0, 2.0], [0.0])])
    with pytest.raises(ValueError, match="confidence"):
        auc_estimate([1.0], [0.0], 1.0)


@pytest.mark.parametrize("tied", ["members-tied", "non-members-tied"])
def test_one_group_alike_does_not_narrow_the_interval(tied):
    """All of 100 right, 680 of 700 others: DeLong's variance would know the others alone."""
    ones, mixed = np.ones(100), np.repeat([1.0, 0.0], [680, 20])
    x, y = (ones, mixed) if tied == "members-tied" else (mixed, ones)
    estimate = auc_estimate(x, y)
    assert estimate.method == tied
    area = 0.5 + (20 / 700) / 2 * (1 if tied == "members-tied" else -1)
    assert estimate.auc == pytest.approx(area)
    # By hand: half of the tail for the share of the tied group, half for the other's variance.
    half = norm.isf(0.0125) * np.std(np.repeat([0.5, 1.0], [680, 20]), ddof=1) / np.sqrt(700)
    share = 0.0125 ** (1 / 100)
    logit = np.log(area / (1 - area))
    low = share / (1 + np.exp(-(logit - half / (area * (1 - area)))))
    assert estimate.lower == pytest.approx(low, rel=1e-6)
    for confidence in (0.5, 0.9, 0.99):
        lower, upper = estimate.interval(confidence)
        assert estimate.p_above(lower) == pytest.approx((1 - confidence) / 2, rel=1e-4)
        assert estimate.p_below(upper) == pytest.approx((1 - confidence) / 2, rel=1e-4)


def test_intervals_of_two_valued_scores_cover():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(600):
        x, y = rng.random(60) < 0.98, rng.random(500) < 0.95
        estimate = auc_estimate(x.astype(float), y.astype(float))
        hits += estimate.lower <= 0.515 <= estimate.upper
    assert hits / 600 > 0.95  # with DeLong's variance alone 0.7


def test_difference_with_one_group_alike():
    """Members stand alike in both, the others do not: exactly bounded, and narrower with more."""
    rng = np.random.default_rng(1)
    ones, a, b = np.ones(100), rng.random(400) < 0.9, rng.random(400) < 0.9
    found = auc_difference(ones, a.astype(float), [(ones, b.astype(float))])
    assert found.method == "members-tied"
    half = norm.isf(0.0125) * found.standard_error
    share = 0.0125 ** (1 / 100)
    assert found.lower == pytest.approx(share * (found.difference - half) - (1 - share))
    assert found.upper == pytest.approx(share * (found.difference + half) + (1 - share))
    lower, _ = found.interval(0.9)
    assert found.p_above(lower) == pytest.approx(0.05, rel=1e-4)
    more = auc_difference(np.ones(900), a.astype(float), [(np.ones(900), b.astype(float))])
    assert more.upper - more.lower < found.upper - found.lower
