"""LiRA against its formula with numbers computed by hand, in every variant."""

import math
from fractions import Fraction as F

import numpy as np
import pytest
from scipy.stats import norm

from attacks import lira
from attacks.statistics import auc
from tests.attacks import small

TARGET, SHADOWS, MASK = small.TARGET, small.SHADOWS, small.MASK
VARIANCES = {  # of IN and OUT, per record
    "pooled": ((F(16, 5), F(16, 5)), (F(17, 10), F(17, 10))),
    "per-record": ((F(1), F(14, 3)), (F(8, 3), F(1, 4))),
    "shared": ((F(49, 20), F(49, 20)), (F(49, 20), F(49, 20))),
    "global": ((F(86, 25), F(86, 25)), (F(44, 25), F(44, 25))),
    "global-in": ((F(86, 25), F(86, 25)), (F(86, 25), F(86, 25))),
}
CENTRES = {
    "mean": (small.MEAN_IN, small.MEAN_OUT),
    "median": (small.MEDIAN_IN, small.MEDIAN_OUT),
}


def _log_normal(x: float, mean: F, variance: F) -> float:
    deviation = x - float(mean)
    return -(deviation**2) / (2 * float(variance)) - math.log(2 * math.pi * float(variance)) / 2


def _log_above(x: float, mean: F, variance: F) -> float:
    return math.log(math.erfc((x - float(mean)) / math.sqrt(2 * float(variance))) / 2)


def _equal(found: np.ndarray, expected: list[float]) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("variance", VARIANCES)
def test_online(variance, centre):
    (v_in, v_out), (m_in, m_out) = VARIANCES[variance], CENTRES[centre]
    expected = [
        _log_normal(x, m_in[i], v_in[i]) - _log_normal(x, m_out[i], v_out[i])
        for i, x in enumerate((3.0, 0.5))
    ]
    _equal(lira.score(TARGET, SHADOWS, MASK, variance=variance, centre=centre), expected)


def test_online_to_the_digit():
    # record 0, per record: -½ log 2π + 0 - 0 against -½ (2²) / (8/3) - ½ log(8/3) - ½ log 2π
    first = 0.75 + 0.5 * math.log(8 / 3)
    # record 1: -½ (3.5²) / (14/3) - ½ log(14/3) against ½ log 4
    second = -1.3125 - 0.5 * math.log(14 / 3) + 0.5 * math.log(1 / 4)
    _equal(lira.score(TARGET, SHADOWS, MASK, variance="per-record"), [first, second])


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("variance", ["pooled", "per-record", "shared", "global"])
def test_offline(variance, centre):
    v_out, m_out = VARIANCES["pooled" if variance == "shared" else variance][1], CENTRES[centre][1]
    for variant, density in (("offline-one-sided", _log_above), ("offline-density", _log_normal)):
        expected = [-density(x, m_out[i], v_out[i]) for i, x in enumerate((3.0, 0.5))]
        found = lira.score(TARGET, SHADOWS, MASK, variant=variant, variance=variance, centre=centre)
        _equal(found, expected)


def test_offline_needs_no_in_shadow():
    mask = np.zeros_like(MASK)
    assert np.isfinite(lira.score(TARGET, SHADOWS, mask, variant="offline-one-sided")).all()


def test_offline_does_not_saturate():
    """A record 100 standard deviations out is told from one 101 out, where 1 - P is 1 for both."""
    shadows = np.array([[-1.0, -1.0], [1.0, 1.0]])
    far = np.array([100.0, 101.0])
    scores = lira.score(far, shadows, np.zeros((2, 2), bool), variant="offline-one-sided")
    np.testing.assert_allclose(scores, -norm.logsf(far), rtol=1e-12)
    assert scores[1] > scores[0] > 5000


def test_a_median_of_an_even_number_lies_between():
    shadows = np.array([[0.0, 0.0], [4.0, 1.0], [8.0, 8.0], [90.0, 90.0]])
    mask = np.zeros((4, 2), bool)
    scores = lira.score([6.0, 4.5], shadows, mask, variant="offline-one-sided", centre="median")
    np.testing.assert_allclose(scores, math.log(2), rtol=1e-12)


def test_equal_shadows_stay_finite():
    scores = lira.score(TARGET, np.zeros((5, 2)), MASK, variance="per-record")
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores, 0.0, atol=1e-12)  # IN and OUT are alike


def test_corrects_for_difficulty_where_a_threshold_does_not():
    rng = np.random.default_rng(0)
    n, k = 400, 16
    difficulty = rng.normal(0, 5, n)
    mask = rng.permuted(np.repeat([[True], [False]], k // 2, axis=0).repeat(n, 1), axis=0)
    shadows = difficulty + 1.5 * mask + rng.normal(size=(k, n))
    member = np.arange(n) < n // 2
    target = difficulty + 1.5 * member + rng.normal(size=n)
    scores = lira.score(target, shadows, mask)
    assert auc(scores[member], scores[~member]) > 0.8 > auc(target[member], target[~member])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"member_mask": np.ones_like(MASK)}, "too few OUT shadow models: record 0 has 0"),
        ({"member_mask": np.zeros_like(MASK)}, "too few IN shadow models"),
        ({"member_mask": MASK[:2]}, "member_mask must be"),
        ({"member_mask": MASK * 2}, "booleans"),
        ({"shadows": SHADOWS[:, :1]}, "shadows must be"),
        ({"target": np.array([np.nan, 0.0])}, "target holds 1"),
        ({"variance": "fixed"}, "variance must be one of"),
        ({"variant": "offline"}, "variant must be one of"),
        ({"centre": "mode"}, "centre must be one of"),
        ({"variance": "global-in", "variant": "offline-density"}, "needs IN shadow models"),
        (
            {"variance": "per-record", "member_mask": np.array([[1, 1]] + [[0, 0]] * 4)},
            "record 0 has 1, at least 2",
        ),
    ],
)
def test_refuses(change, message):
    arguments = {"target": TARGET, "shadows": SHADOWS, "member_mask": MASK} | change
    with pytest.raises(ValueError, match=message):
        lira.score(**arguments)
