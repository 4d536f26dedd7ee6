"""LiRA against scipy's normal density on arrays small enough to check by hand."""

import numpy as np
import pytest
from scipy.stats import norm

from attacks import lira
from attacks.statistics import auc

TARGET = np.array([3.0, 0.5])
SHADOWS = np.array([[4.0, 0.0], [2.0, 1.0], [1.0, 3.0], [-1.0, 2.0]])
MASK = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool)
# record 0: IN 4, 2 (mean 3, sd 1), OUT 1, -1 (mean 0, sd 1)
# record 1: IN 3, 2 (mean 2.5, sd 0.5), OUT 0, 1 (mean 0.5, sd 0.5)
SD = {
    "per-record": (np.array([1.0, 0.5]), np.array([1.0, 0.5])),
    "pooled": (np.sqrt(2.5 / 4), np.sqrt(2.5 / 4)),
    "shared": (np.sqrt(5 / 8), np.sqrt(5 / 8)),
    "global": (np.std([4, 2, 3, 2]), np.std([1, -1, 0, 1])),
}
IN, OUT = np.array([3.0, 2.5]), np.array([0.0, 0.5])


@pytest.mark.parametrize("variance", SD)
def test_online(variance):
    s_in, s_out = SD[variance]
    expected = norm.logpdf(TARGET, IN, s_in) - norm.logpdf(TARGET, OUT, s_out)
    np.testing.assert_allclose(lira.score(TARGET, SHADOWS, MASK, variance=variance), expected)


@pytest.mark.parametrize("variance", SD)
def test_offline(variance):
    s_out = SD[variance][1]
    one_sided = lira.score(TARGET, SHADOWS, MASK, variant="offline-one-sided", variance=variance)
    np.testing.assert_allclose(one_sided, -norm.logsf(TARGET, OUT, s_out))
    density = lira.score(TARGET, SHADOWS, MASK, variant="offline-density", variance=variance)
    np.testing.assert_allclose(density, -norm.logpdf(TARGET, OUT, s_out))


def test_offline_needs_no_in_shadow():
    mask = np.zeros_like(MASK)
    assert np.isfinite(lira.score(TARGET, SHADOWS, mask, variant="offline-one-sided")).all()


def test_equal_shadows_stay_finite():
    scores = lira.score(TARGET, np.zeros((4, 2)), MASK, variance="per-record")
    assert np.isfinite(scores).all()


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
        (
            {"variance": "per-record", "member_mask": np.array([[1, 1], [0, 0], [0, 0], [0, 0]])},
            "record 0 has 1, at least 2",
        ),
    ],
)
def test_refuses(change, message):
    arguments = {"target": TARGET, "shadows": SHADOWS, "member_mask": MASK} | change
    with pytest.raises(ValueError, match=message):
        lira.score(**arguments)
