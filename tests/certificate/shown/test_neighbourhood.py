"""The retention curve against probabilities worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from auditkit.certificate.intervals import share_interval
from auditkit.certificate.shown.neighbourhood import COPIES, LEVELS, retention_curve
from tests.certificate.shown.conftest import HandMade, at

BESIDE = at(*[0.55] * 200)  # 0.05 inside the region


def test_the_curve_is_the_chance_of_leaving_the_region(hand_made: HandMade):
    curve = retention_curve(hand_made(BESIDE))
    assert curve is not None
    assert (curve.records, curve.copies, curve.at_records) == (200, COPIES, 0.0)
    uniform = [max(0.0, (level - 0.05) / (2 * level)) for level in LEVELS]
    gaussian = [norm.cdf(-0.05 / level) for level in LEVELS]
    assert uniform[-1] == 0.25
    for kind, expected in (("uniform", uniform), ("gaussian", gaussian)):
        assert curve.retained[kind] == pytest.approx(expected, abs=0.06)
        assert np.all(np.diff(curve.retained[kind]) >= 0)
        for (low, high), share in zip(curve.intervals[kind], expected, strict=True):
            assert low <= share <= high


def test_noise_is_a_share_of_the_width_and_stays_in_the_domain(hand_made: HandMade):
    curve = retention_curve(hand_made(BESIDE, width=10.0))
    assert curve is not None
    # radius 1: x₀ + u < 1/2 for u < -0.05, whether or not the copy was cut at 0
    assert curve.retained["uniform"][-1] == pytest.approx(0.475, abs=0.06)


def test_what_the_original_says_counts_and_not_some_label(hand_made: HandMade):
    outside = retention_curve(hand_made(at(*[0.2] * 5)))
    assert outside is not None
    assert outside.at_records == 1.0
    assert outside.retained["uniform"] == [1.0] * len(LEVELS)


def test_one_record_is_one_observation_whatever_its_copies(hand_made: HandMade):
    one = retention_curve(hand_made(at(0.55)))
    assert one is not None
    low, high = one.intervals["uniform"][0]
    assert (low, high) == share_interval(0, 1)
    assert high > 0.95


def test_a_share_is_rounded_outward():
    assert share_interval(2.5, 10) == (share_interval(2, 10)[0], share_interval(3, 10)[1])
    assert share_interval(2, 10) == pytest.approx((0.0252, 0.5561), abs=1e-4)
    assert share_interval(0, 4)[0] == 0.0
    assert share_interval(4, 4)[1] == 1.0
    for bad in ((5, 4), (-1, 4), (0, 0), (float("nan"), 3)):
        with pytest.raises(ValueError, match="of"):
            share_interval(*bad)
