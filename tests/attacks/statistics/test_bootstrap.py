"""BCa against scipy's, the AUC's jackknife against its definition, and what cannot be drawn."""

import itertools

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from attacks.statistics import (
    auc,
    auc_estimate,
    bca_auc,
    bca_auc_over_shadows,
    bca_interval,
)
from attacks.statistics.bootstrap import _Ranked
from attacks.statistics.clusters import grouping


def _areas(x, y, axis=-1):
    """Return the AUC along the last axis, by ranks of both groups together."""
    x, y = np.asarray(x), np.asarray(y)
    ranks = rankdata(np.concatenate([x, y], axis=-1), axis=-1)
    m, n = x.shape[-1], y.shape[-1]
    return (ranks[..., :m].sum(-1) - m * (m + 1) / 2) / (m * n)


def _scores(seed=0, m=60, n=90, tied=False):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(1.0, 1.5, m), rng.normal(size=n)
    return (np.round(x), np.round(y)) if tied else (x, y)


@pytest.mark.parametrize("tied", [False, True])
def test_equals_scipy_within_the_draws(tied):
    x, y = _scores(tied=tied)
    theirs = scipy_bootstrap(
        (x, y), _areas, n_resamples=20_000, method="BCa", vectorized=True, axis=-1, rng=1
    )
    low, high = theirs.confidence_interval
    for ours in (
        bca_auc(x, y, resamples=20_000),
        bca_interval(_areas, x, y, resamples=20_000, seed=3),
    ):
        assert ours.value == pytest.approx(auc(x, y))
        assert ours.lower == pytest.approx(low, abs=0.004)  # two studies of 20,000 draws
        assert ours.upper == pytest.approx(high, abs=0.004)
        assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.02)


def test_acceleration_is_the_jackknife():
    x, y = _scores(m=25, n=31)
    without_x = np.array([auc(np.delete(x, i), y) for i in range(x.size)])
    without_y = np.array([auc(x, np.delete(y, i)) for i in range(y.size)])
    u = (x.size - 1) * (without_x.mean() - without_x) / x.size
    v = (y.size - 1) * (without_y.mean() - without_y) / y.size
    by_hand = (np.sum(u**3) + np.sum(v**3)) / (6 * (u @ u + v @ v) ** 1.5)
    assert bca_auc(x, y, resamples=200).acceleration == pytest.approx(by_hand)
    assert bca_interval(_areas, x, y, resamples=200).acceleration == pytest.approx(by_hand)


@pytest.mark.parametrize("tied", [False, True])
def test_a_draw_is_the_area_of_the_records_drawn(tied):
    x, y = _scores(m=12, n=9, tied=tied)
    ranked = _Ranked.of(x, y)
    counts = ranked.draw(np.random.default_rng(0), 50, None)
    for of_x, of_y, area in zip(*counts, ranked.areas(*counts), strict=True):
        drawn = np.repeat(np.sort(x), of_x), np.repeat(np.sort(y), of_y)
        assert drawn[0].size == x.size and drawn[1].size == y.size
        truth = np.repeat([1, 0], [x.size, y.size])
        assert area == pytest.approx(roc_auc_score(truth, np.concatenate(drawn)))


def test_all_draws_of_three_records():
    """With two and two records every draw can be written down: 16 of them, all equally likely."""
    x, y = np.array([0.0, 2.0]), np.array([1.0, 3.0])
    pairs = list(itertools.product([0, 1], repeat=2))
    every = [auc(x[list(i)], y[list(j)]) for i in pairs for j in pairs]
    ranked = _Ranked.of(x, y)
    drawn = ranked.areas(*ranked.draw(np.random.default_rng(0), 20_000, None))
    for value in set(every):
        share = every.count(value) / 16
        assert np.mean(drawn == value) == pytest.approx(share, abs=4 * np.sqrt(0.25 / 20_000))


def test_people_are_drawn_whole():
    x, y = np.arange(6.0), np.arange(5.0) + 0.5
    names = ["a", "a", "b", "b", "c", "d"], ["a", "e", "e", "f", "g"]
    group = grouping(names, 6, 5)
    of_x, of_y = _Ranked.of(x, y).draw(np.random.default_rng(0), 300, group)
    np.testing.assert_array_equal(of_x[:, 0], of_x[:, 1])  # a
    np.testing.assert_array_equal(of_x[:, 2], of_x[:, 3])  # b
    np.testing.assert_array_equal(of_y[:, 1], of_y[:, 2])  # e
    np.testing.assert_array_equal(of_x[:, 0], of_y[:, 0])  # a is in both groups
    assert (of_x.sum(axis=1) > 0).all() and (of_y.sum(axis=1) > 0).all()
    assert len(np.unique(of_x[:, 2])) > 1


def test_people_widen_the_interval():
    rng = np.random.default_rng(5)
    x = np.repeat(rng.normal(0.7, 1, 80), 4)  # four records of one person say the same
    y = rng.normal(size=400)
    names = np.repeat(np.arange(80), 4), np.arange(80, 480)
    plain, people = bca_auc(x, y), bca_auc(x, y, clusters=names)
    once = bca_auc(x[::4], y)  # what the same people with one record each would give
    assert people.upper - people.lower == pytest.approx(once.upper - once.lower, rel=0.05)
    assert people.upper - people.lower > 1.3 * (plain.upper - plain.lower)
    named = bca_auc(x, y, clusters=(np.arange(320), np.arange(320, 720)))
    assert (named.lower, named.upper) == (plain.lower, plain.upper)


@pytest.mark.parametrize(
    ("x", "y", "method"),
    [
        (np.ones(30), np.zeros(30), "chernoff"),
        (np.zeros(30), np.ones(30), "chernoff"),
        (np.zeros(30), np.zeros(30), "all-tied"),
        (np.arange(5.0), np.arange(5.0), "chernoff"),
    ],
)
def test_what_cannot_be_drawn_has_the_interval_of_the_area(x, y, method):
    estimate, known = bca_auc(x, y), auc_estimate(x, y)
    assert estimate.method == method
    assert (estimate.lower, estimate.upper) == (known.lower, known.upper)
    assert estimate.lower < estimate.upper
    assert estimate.interval(0.8) == known.interval(0.8)
    assert estimate.p_above(0.4) == known.p_above(0.4)
    assert estimate.p_below(0.6) == known.p_below(0.6)


def test_nearly_perfect_scores_have_an_interval():
    x, y = np.append(np.arange(10.0, 60.0), 0.5), np.arange(-40.0, 2.0)
    estimate = bca_auc(x, y)
    assert estimate.method == "bca"
    assert 0.0 < estimate.lower < estimate.value <= estimate.upper <= 1.0


def test_p_values_agree_with_intervals():
    estimate = bca_auc(*_scores(), resamples=20_000)
    for confidence in (0.8, 0.95):
        lower, upper = estimate.interval(confidence)
        tail = (1 - confidence) / 2
        assert estimate.p_above(lower) == pytest.approx(tail, rel=0.02)
        assert estimate.p_below(upper) == pytest.approx(tail, rel=0.02)
    assert estimate.p_above(0.0) == pytest.approx(1 / 20_001)
    assert estimate.p_above(1.0) == 1.0


def test_the_same_seed_gives_the_same_interval():
    x, y = _scores()
    assert bca_auc(x, y, seed=4).interval(0.9) == bca_auc(x, y, seed=4).interval(0.9)
    assert bca_auc(x, y, seed=4).interval(0.9) != bca_auc(x, y, seed=5).interval(0.9)


def test_another_statistic():
    x, y = _scores(m=200, n=300)
    estimate = bca_interval(lambda a, b: a.mean(axis=1) - b.mean(axis=1), x, y)
    error = np.sqrt(x.var() / x.size + y.var() / y.size)
    assert estimate.value == pytest.approx(x.mean() - y.mean())
    assert estimate.standard_error == pytest.approx(error, rel=0.06)


def test_shared_shadow_models_widen_the_interval():
    """Each shadow model moves all members by its own amount: what is drawn is their mean."""
    rng = np.random.default_rng(0)
    moves = rng.normal(size=24)
    moves -= moves.mean()
    x, y = rng.normal(0.5, 1, 200), rng.normal(size=200)

    def rescore(drawn):
        return x - moves[drawn].mean(), y

    both = bca_auc_over_shadows(rescore, 24, resamples=2000)
    records = bca_auc(*rescore(np.arange(24)), resamples=2000)
    assert both.value == records.value
    slope = (auc(x + 0.1, y) - auc(x - 0.1, y)) / 0.2
    wanted = np.hypot(records.standard_error, slope * moves.std() / np.sqrt(24))
    assert wanted > 1.5 * records.standard_error
    assert both.standard_error == pytest.approx(wanted, rel=0.08)


def test_shadow_models_that_change_nothing_change_nothing():
    x, y = _scores()
    both = bca_auc_over_shadows(lambda drawn: (x, y), 16, resamples=2000)
    assert both.standard_error == pytest.approx(bca_auc(x, y).standard_error, rel=0.06)
    assert both.acceleration == pytest.approx(bca_auc(x, y).acceleration)
    perfect = bca_auc_over_shadows(lambda drawn: (np.ones(30), np.zeros(30)), 16)
    assert perfect.method == "chernoff" and perfect.lower < 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bca_auc([], [1.0]), "members is empty"),
        (lambda: bca_auc([np.nan], [1.0]), "members holds 1"),
        (lambda: bca_auc([1.0], [1.0], 1.0), "confidence"),
        (lambda: bca_auc([1.0], [1.0], resamples=10), "at least 200"),
        (lambda: bca_auc([1.0], [1.0], clusters=(["a"], [])), "clusters must name"),
        (lambda: bca_interval(_areas, np.ones(9), np.zeros(9)), "the same on every draw"),
        (lambda: bca_interval(lambda a, b: a, np.arange(9.0), np.zeros(9)), "must return"),
        (
            lambda: bca_interval(lambda a, b: a[:, 0] * np.nan, np.arange(9.0), np.zeros(9)),
            "nan or infinite",
        ),
        (lambda: bca_auc_over_shadows(lambda k: ([1.0], [0.0]), 3), "at least 8 shadow"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
