"""Attack-R: ranks that can be counted, and its continuations of them by hand."""

import math
from fractions import Fraction as F

import numpy as np
import pytest

from attacks import lira, reference
from tests.attacks.small import phi

# OUT probabilities of three records; the IN model at the end must not matter
OUT = ((F(1, 4), F(1, 4), F(1, 4)), (F(1, 2), F(1, 2), F(1, 2)), (F(3, 4), F(3, 4), F(3, 4)))
TARGET = np.array([phi(F(2, 3)), phi(F(1, 2)), phi(F(4, 5))])
SHADOWS = np.array([[phi(p) for p in row] for row in OUT] + [[9.0, -9.0, 0.1]])
MASK = np.array([[False] * 3] * 3 + [[True] * 3])


def _loss(p: F) -> float:
    return math.log(p.denominator) - math.log(p.numerator)


# Losses of the OUT models: log 4/3, log 2, log 4, at 1/4, 2/4 and 3/4; 0 at 0 and 1000 at 1.
# Record 0 lies between the first two, record 1 on the second, record 2 before the first.
LINEAR = [
    (1 + (_loss(F(2, 3)) - _loss(F(3, 4))) / (_loss(F(1, 2)) - _loss(F(3, 4)))) / 4,
    2 / 4,
    _loss(F(4, 5)) / _loss(F(3, 4)) / 4,
]
# φ of the OUT models: -log 3, 0, log 3; mean 0, variance 2/3 (log 3)²
SIGMA = math.sqrt(2 / 3) * math.log(3)
LOGIT = [math.erfc(math.log(odds) / SIGMA / math.sqrt(2)) / 2 for odds in (2, 1, 4)]
RATES = {
    "rank": [1 / 3, (1 + 0.5) / 3, 0.0],
    "linear": LINEAR,
    "logit": LOGIT,
    "mean": [(a + b) / 2 for a, b in zip(LINEAR, LOGIT, strict=True)],
    "cautious": [max(a, b) for a, b in zip(LINEAR, LOGIT, strict=True)],
}


@pytest.mark.parametrize("variant", RATES)
def test_by_hand(variant):
    found = reference.score(TARGET, SHADOWS, MASK, variant=variant)
    np.testing.assert_allclose(-found, RATES[variant], rtol=1e-12)


def test_hopeless_records():
    # losses beyond the last point: between 2 at 1/2 and 1000 at 1, then 1
    shadows, mask = np.array([[-2.0, -2.0]]), np.zeros((1, 2), bool)
    last = math.log1p(math.exp(2.0))
    found = reference.score([-500.0, -5000.0], shadows, mask)
    expected = [-(1 + (500.0 - last) / (1000.0 - last)) / 2, -1.0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_against_interpolation_record_by_record():
    rng = np.random.default_rng(4)
    target, shadows = rng.normal(0, 4, 60), rng.normal(0, 4, (9, 60))
    mask = rng.random((9, 60)) < 0.4
    mask[0] = False
    target[:5] = shadows[0, :5]
    found = reference.score(target, shadows, mask)
    for i in range(60):
        losses = np.sort(np.logaddexp(0, -shadows[~mask[:, i], i]))
        points = np.concatenate([[0.0], losses, [1000.0]])
        rates = np.linspace(0, 1, points.size)
        rate = np.interp(np.logaddexp(0, -target[i]), points, rates)
        assert -found[i] == pytest.approx(rate, rel=1e-9, abs=1e-15)


def test_logit_orders_as_lira_offline_with_variances_per_record():
    rng = np.random.default_rng(5)
    target, shadows = rng.normal(size=50), rng.normal(size=(6, 50))
    mask = np.zeros((6, 50), bool)
    ours = reference.score(target, shadows, mask, variant="logit")
    theirs = lira.score(target, shadows, mask, variant="offline-one-sided", variance="per-record")
    np.testing.assert_array_equal(np.argsort(ours), np.argsort(theirs))
    np.testing.assert_allclose(-np.log(-ours), theirs, rtol=1e-9)


@pytest.mark.parametrize("variant", ["logit", "mean", "cautious"])
def test_a_normal_needs_two(variant):
    with pytest.raises(ValueError, match="record 0 has 1, at least 2"):
        reference.score(TARGET, SHADOWS[2:], MASK[2:], variant=variant)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "smooth"}, "variant must be one of"),
        ({"member_mask": np.ones_like(MASK)}, "too few OUT"),
    ],
)
def test_refuses(change, message):
    arguments = {"target": TARGET, "shadows": SHADOWS, "member_mask": MASK} | change
    with pytest.raises(ValueError, match=message):
        reference.score(**arguments)
