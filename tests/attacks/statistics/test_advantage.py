"""Membership advantage: never judged on the records that chose the threshold."""

import numpy as np
import pytest
from scipy.stats import binom, norm
from sklearn.metrics import roc_curve

from attacks.statistics import Advantage, Refused, membership_advantage
from attacks.statistics.advantage import best_threshold
from attacks.statistics.binomial import Share, ShareDifference
from attacks.statistics.splitting import halves


@pytest.mark.parametrize("seed", range(4))
def test_the_best_threshold_is_that_of_sklearn(seed):
    rng = np.random.default_rng(seed)
    x, y = np.round(rng.normal(0.5, 1, 40), 1), np.round(rng.normal(size=50), 1)
    fpr, tpr, _ = roc_curve(np.repeat([1, 0], [40, 50]), np.concatenate([x, y]))
    threshold = best_threshold(x, y)
    assert np.mean(x > threshold) - np.mean(y > threshold) == pytest.approx(max(tpr - fpr))


def test_by_hand():
    x, y = np.random.default_rng(0).normal(1, 1, 31), np.random.default_rng(1).normal(size=40)
    found = membership_advantage(x, y, seed=5)
    assert isinstance(found, Advantage)
    (a, b), (c, d) = halves(31, 40, 5)
    assert (a.size, b.size, c.size, d.size) == (15, 16, 20, 20)
    assert sorted(np.concatenate([a, b])) == list(range(31))
    first, second = best_threshold(x[a], y[c]), best_threshold(x[b], y[d])
    hits = np.sum(x[b] > first) + np.sum(x[a] > second)
    alarms = np.sum(y[d] > first) + np.sum(y[c] > second)
    assert found.thresholds == (first, second)
    assert found.advantage == pytest.approx(hits / 31 - alarms / 40)
    interval = ShareDifference(Share(int(hits), 31), Share(int(alarms), 40)).interval(0.95)
    assert (found.lower, found.upper) == interval


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_covers(shift):
    """At least 95 % of 400 samples, less what the binomial leaves to chance (99.9 %)."""
    covered, positive = 0, 0
    for seed in range(400):
        rng = np.random.default_rng([3, seed])
        found = membership_advantage(rng.normal(shift, 1, 60), rng.normal(size=80), seed=seed)
        truth = np.mean([norm.sf(t - shift) - norm.sf(t) for t in found.thresholds])
        covered += found.lower <= truth <= found.upper
        positive += found.lower > 0.0
    assert covered >= binom.ppf(0.001, 400, 0.95)
    if shift == 0.0:
        assert positive <= binom.ppf(0.999, 400, 0.025)
    else:
        assert positive > 350


def test_the_best_of_the_sample_would_flatter():
    """Why it is split: on scores that mean nothing the sample's best is above 0, ours is around."""
    rng = np.random.default_rng(9)
    naive, split = [], []
    for seed in range(200):
        x, y = rng.normal(size=50), rng.normal(size=50)
        t = best_threshold(x, y)
        naive.append(np.mean(x > t) - np.mean(y > t))
        split.append(membership_advantage(x, y, seed=seed).advantage)
    assert np.mean(naive) > 0.1 and abs(np.mean(split)) < 0.03


def test_degenerate_scores():
    constant = membership_advantage(np.zeros(30), np.zeros(30))
    assert constant.advantage == 0.0 and -0.2 < constant.lower < 0.0 < constant.upper < 0.2
    perfect = membership_advantage(np.ones(30), np.zeros(30))
    assert perfect.advantage == 1.0 and 0.8 < perfect.lower < 1.0 and perfect.upper == 1.0
    wrong = membership_advantage(np.zeros(30), np.ones(30))
    assert wrong.advantage <= 0.0
    few = membership_advantage(np.zeros(9), np.zeros(300))
    assert isinstance(few, Refused) and (few.needed, few.available) == (10, 9)


def test_refuses():
    with pytest.raises(ValueError, match="members is empty"):
        membership_advantage([], [1.0])
    with pytest.raises(ValueError, match="confidence"):
        membership_advantage([1.0], [1.0], 0.0)
    with pytest.raises(ValueError, match="at least 2 records"):
        halves(1, 5, 0)
