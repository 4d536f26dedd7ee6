"""BASE against its formula with probabilities that are fractions."""

import math
from fractions import Fraction as F

import numpy as np
import pytest

from attacks import base, rmia
from tests.attacks.small import phi

# p of the target and of four shadow models at two records
P = (F(3, 4), F(1, 3))
MODELS = ((F(4, 5), F(1, 2)), (F(2, 3), F(1, 4)), (F(1, 2), F(1, 5)), (F(1, 4), F(3, 4)))
MASK = np.array([[1, 0], [0, 0], [1, 1], [0, 0]], dtype=bool)
TARGET = np.array([phi(p) for p in P])
SHADOWS = np.array([[phi(p) for p in row] for row in MODELS])


def _log(p: F) -> float:
    return math.log(p.numerator) - math.log(p.denominator)


def test_online():
    # mean over all four: (4/5 + 2/3 + 1/2 + 1/4) / 4 = 133/240; (1/2 + 1/4 + 1/5 + 3/4) / 4 = 17/40
    expected = [_log(F(3, 4) / F(133, 240)), _log(F(1, 3) / F(17, 40))]
    np.testing.assert_allclose(base.score(TARGET, SHADOWS, MASK), expected, rtol=1e-12)


def test_balanced():
    # record 0: IN (4/5 + 1/2) / 2 = 13/20, OUT (2/3 + 1/4) / 2 = 11/24, as many: as online
    # record 1: IN 1/5, OUT (1/2 + 1/4 + 3/4) / 3 = 1/2, halfway 7/20
    expected = [_log(F(3, 4) / F(133, 240)), _log(F(1, 3) / F(7, 20))]
    found = base.score(TARGET, SHADOWS, MASK, variant="balanced")
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [0.0, 0.33, 1.0])
def test_offline(scale):
    expected = [_log(P[0]) - scale * _log(F(11, 24)), _log(P[1]) - scale * _log(F(1, 2))]
    found = base.score(TARGET, SHADOWS, MASK, variant="offline", offline_scale=scale)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 1.2, 2.0, 8.0])
def test_orders_records_as_rmia_does(gamma):
    rng = np.random.default_rng(3)
    target, shadows = rng.normal(1, 2, 300), rng.normal(0, 2, (5, 300))
    mask = np.arange(5)[:, None] % 2 == (np.arange(300) % 2)[None]
    z, z_shadows = rng.normal(size=80), rng.normal(size=(5, 80))
    ours = base.score(target, shadows, mask, variant="balanced")
    theirs = rmia.score(target, shadows, mask, z, z_shadows, gamma=gamma)
    np.testing.assert_array_equal(np.argsort(ours), np.argsort(theirs))


def test_keeps_the_digits_of_remembered_records():
    """All p are 1 to the last digit: 1 - p = exp(-φ) tells the records apart."""
    target, shadows = np.array([40.0, 50.0]), np.array([[42.0, 42.0], [44.0, 44.0]])
    mask = np.array([[True, True], [False, False]])
    bar = (math.exp(-42) + math.exp(-44)) / 2
    expected = [bar - math.exp(-40), bar - math.exp(-50)]
    np.testing.assert_allclose(base.score(target, shadows, mask), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "half"}, "variant must be one of"),
        ({"offline_scale": 1.5, "variant": "offline"}, "offline_scale must lie"),
        ({"member_mask": np.ones_like(MASK)}, "too few OUT"),
        ({"member_mask": np.zeros_like(MASK)}, "too few IN"),
        ({"member_mask": np.zeros_like(MASK), "variant": "balanced"}, "too few IN"),
    ],
)
def test_refuses(change, message):
    arguments = {"target": TARGET, "shadows": SHADOWS, "member_mask": MASK} | change
    with pytest.raises(ValueError, match=message):
        base.score(**arguments)


def test_offline_needs_no_in_shadow():
    assert base.score(TARGET, SHADOWS, np.zeros_like(MASK), variant="offline").shape == (2,)
