"""Shares, rates, the curve, bounded means and corrections, each against another library."""

import gc
import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_curve as sklearn_roc
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from attacks.statistics import (
    Refused,
    TprAtFpr,
    benjamini_hochberg,
    bounded_mean_interval,
    clopper_pearson,
    holm,
    negatives_needed,
    roc_curve,
    tpr_at_fpr,
)
from attacks.statistics.binomial import Share, ShareDifference


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (3, 17), (700, 1000)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_clopper_pearson_equals_statsmodels_and_scipy(k, n, confidence):
    ours = clopper_pearson(k, n, confidence)
    with np.errstate(invalid="ignore"):
        theirs = proportion_confint(k, n, 1 - confidence, method="beta")
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    exact = binomtest(k, n).proportion_ci(confidence, method="exact")
    np.testing.assert_allclose(ours, (exact.low, exact.high), atol=1e-8)


@pytest.mark.parametrize(
    ("k", "n", "c"), [(-1, 3, 0.9), (4, 3, 0.9), (0, 0, 0.9), (1, 2, 0.0), (0.5, 2, 0.9)]
)
def test_clopper_pearson_refuses(k, n, c):
    with pytest.raises(ValueError):
        clopper_pearson(k, n, c)


def test_share_p_values_are_exact():
    for k, n, bound in [(5, 20, 0.1), (0, 20, 0.1), (20, 20, 0.9)]:
        share = Share(k, n)
        assert share.p_above(bound) == pytest.approx(
            binomtest(k, n, bound, alternative="greater").pvalue
        )
        assert share.p_below(bound) == pytest.approx(
            binomtest(k, n, bound, alternative="less").pvalue
        )
    assert Share(0, 9).p_below(-0.1) == 1.0 and Share(9, 9).p_above(1.2) == 1.0


def test_share_difference():
    same = ShareDifference(Share(3, 300), Share(3, 300))
    low, high = same.interval(0.9)
    assert -0.03 < low < 0 < high < 0.03
    far = ShareDifference(Share(150, 300), Share(3, 300))
    assert far.p_above(0.05) < 1e-6 and far.p_below(0.05) == 1.0
    assert far.p_above(far.interval(0.9)[0]) == pytest.approx(0.05, rel=1e-3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
@settings(max_examples=40, deadline=None)
def test_bounded_mean_holds_its_mean(values):
    mean, lower, upper = bounded_mean_interval(values)
    assert 0.0 <= lower <= mean + 1e-12 and mean - 1e-12 <= upper <= 1.0
    assert lower < upper


def test_bounded_mean_equals_clopper_pearson_at_the_ends_and_covers():
    assert bounded_mean_interval(np.ones(30))[1] == pytest.approx(clopper_pearson(30, 30)[0])
    assert bounded_mean_interval(np.zeros(30))[2] == pytest.approx(clopper_pearson(0, 30)[1])
    rng = np.random.default_rng(0)
    hits = [bounded_mean_interval(rng.beta(0.5, 2, 40)) for _ in range(300)]
    assert np.mean([low <= 0.2 <= high for _, low, high in hits]) >= 0.95
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        bounded_mean_interval([1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_corrections_equal_statsmodels(p):
    # statsmodels collects garbage at every call, which takes longer the more tests have run
    with mock.patch.object(gc, "collect"):
        theirs = [multipletests(p, method=name)[1] for name in ("holm", "fdr_bh")]
    np.testing.assert_allclose([holm(p), benjamini_hochberg(p)], theirs, atol=1e-12)


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
@pytest.mark.parametrize("p", [[], [1.1], [np.nan], [-0.1]])
def test_corrections_refuse(correct, p):
    with pytest.raises(ValueError, match="p_values"):
        correct(p)


def test_rate_by_hand():
    unseen = np.arange(300.0)
    members = np.array([296.0, 296.5, 297.5, 299.0, 1000.0])
    rate = tpr_at_fpr(members, unseen, 0.01)  # three false alarms allowed: above 296
    assert isinstance(rate, TprAtFpr)
    assert (rate.threshold, rate.achieved_fpr, rate.true_positives) == (296.0, 0.01, 4)
    assert (rate.lower, rate.upper) == clopper_pearson(4, 5)


def test_ties_only_lower_the_false_positive_rate():
    rate = tpr_at_fpr(np.ones(10), np.ones(300), 0.01)
    assert isinstance(rate, TprAtFpr)
    assert (rate.tpr, rate.achieved_fpr) == (0.0, 0.0) and rate.upper > 0.2


@pytest.mark.parametrize(("fpr", "needed"), [(0.01, 300), (0.001, 3000), (0.03, 100)])
def test_rate_refused_where_it_cannot_be_resolved(fpr, needed):
    assert negatives_needed(fpr) == needed
    assert isinstance(tpr_at_fpr([1.0], np.zeros(needed), fpr), TprAtFpr)
    refused = tpr_at_fpr([1.0], np.zeros(needed - 1), fpr)
    assert isinstance(refused, Refused)
    assert (refused.needed, refused.available) == (needed, needed - 1)
    assert str(needed) in refused.reason


def test_curve_is_a_thinned_curve_of_sklearn():
    rng = np.random.default_rng(0)
    x, y = rng.normal(1, 1, 3000), rng.normal(size=5000)
    curve = roc_curve(x, y)
    assert len(curve.fpr) <= 200
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    truth = np.repeat([1, 0], [3000, 5000])
    fpr, tpr, _ = sklearn_roc(truth, np.concatenate([x, y]), drop_intermediate=False)
    full = {(round(f, 9), round(t, 9)) for f, t in zip(fpr, tpr, strict=True)}
    assert all(
        (round(f, 9), round(t, 9)) in full for f, t in zip(curve.fpr, curve.tpr, strict=True)
    )
    assert sum(f < 0.01 for f in curve.fpr) > 20  # the end that matters keeps its points
    assert all(a <= t <= b for a, t, b in zip(curve.lower, curve.tpr, curve.upper, strict=True))
    assert all(math.isfinite(v) for v in (*curve.lower, *curve.upper))


def test_a_thinned_curve_keeps_what_is_found_at_a_rate_and_not_the_foot_of_the_step():
    rng = np.random.default_rng(5)
    members, non_members = rng.normal(2.0, 1.5, 3000), rng.normal(size=2000)
    curve = roc_curve(members, non_members)
    assert len(curve.fpr) <= 200
    least = 1.0 / 2000
    for rate in (0.0, least):  # the ends that a logarithmic axis shows largest
        kept = max(t for f, t in zip(curve.fpr, curve.tpr, strict=True) if f <= rate * (1 + 1e-9))
        threshold = np.sort(non_members)[::-1][round(rate * 2000)]
        assert kept == np.mean(members > threshold)


def test_curve_of_one_score():
    curve = roc_curve([1.0], [1.0])
    assert curve.fpr == (0.0, 1.0) and curve.tpr == (0.0, 1.0)
