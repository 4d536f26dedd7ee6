"""Equivalence: the sizes a plan is made with, and that the tests hold their level."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.statistics import (
    auc_estimate,
    equivalence_power,
    equivalence_test,
    least_members_for_pass,
    members_needed,
)
from attacks.statistics.equivalence import (
    hanley_mcneil_variance,
    members_to_show_beyond,
    trials_for_share,
)


def test_the_sizes_of_the_default_plan():
    assert members_needed(10_000, 0.05) == pytest.approx(300, rel=0.05)
    assert members_needed(10_000, 0.05, independent_reference=True) == pytest.approx(600, rel=0.05)
    assert least_members_for_pass(10_000, 0.05) == pytest.approx(90, abs=3)


def test_none_when_the_unseen_records_are_too_few():
    assert members_needed(50, 0.05) is None
    assert least_members_for_pass(50, 0.05) is None
    assert members_to_show_beyond(1000, 0.05, difference=0.04) is None
    assert trials_for_share(0.06, 0.06, alpha=0.05, power=0.8) is None


def test_variance_is_exact_for_continuous_scores_alike():
    rng = np.random.default_rng(0)
    runs = [auc_estimate(rng.normal(size=30), rng.normal(size=50)).auc for _ in range(2000)]
    assert hanley_mcneil_variance(0.5, 30, 50) == pytest.approx(np.var(runs), rel=0.1)


def test_power_is_the_share_of_passes():
    rng = np.random.default_rng(1)
    tests = [
        equivalence_test(auc_estimate(rng.normal(size=294), rng.normal(size=4000)), 0.5, 0.05)
        for _ in range(400)
    ]
    expected = equivalence_power(294, 4000, 0.05)
    assert np.mean([t.equivalent for t in tests]) == pytest.approx(expected, abs=0.07)


def test_level_on_the_margin():
    """At a true difference equal to the margin, 5 % pass and 2.5 % fail."""
    rng = np.random.default_rng(2)
    shift = 0.17770  # AUC 0.55
    tests = [
        equivalence_test(auc_estimate(rng.normal(shift, 1, 400), rng.normal(size=800)), 0.5, 0.05)
        for _ in range(1000)
    ]
    assert np.mean([t.equivalent for t in tests]) <= 0.05 + 0.02
    assert np.mean([t.p_beyond <= 0.05 for t in tests]) <= 0.025 + 0.015


@given(st.integers(2, 5000), st.sampled_from([0.02, 0.05, 0.1]))
def test_more_members_never_hurt(m, margin):
    assert equivalence_power(m + 1, 10_000, margin) >= equivalence_power(m, 10_000, margin)


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1])
def test_refuses_a_margin(margin):
    with pytest.raises(ValueError, match="margin"):
        members_needed(100, margin)
    with pytest.raises(ValueError, match="margin"):
        equivalence_test(auc_estimate([1.0], [0.0]), 0.5, margin)
