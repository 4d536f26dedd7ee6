"""RMIA against the ratio written out with plain probabilities, by hand and with loops."""

import math
from fractions import Fraction as F

import numpy as np
import pytest
from scipy.special import expit

from attacks import rmia
from tests.attacks.small import phi

RNG = np.random.default_rng(1)
N, M, K = 9, 12, 4
TARGET, SHADOWS = RNG.normal(size=N), RNG.normal(size=(K, N))
MASK = np.array([[True], [True], [False], [False]]).repeat(N, 1)
Z, Z_SHADOWS = RNG.normal(size=M), RNG.normal(size=(K, M))


def _shares(variant: str, gamma: float, a: float) -> tuple[np.ndarray, np.ndarray]:
    p, z = expit(TARGET), expit(Z)
    p_in, p_out = expit(SHADOWS[:2]).mean(0), expit(SHADOWS[2:]).mean(0)
    z_out = expit(Z_SHADOWS).mean(0)
    if variant == "online":
        r, r_z = p / (0.5 * (p_in + p_out)), z / z_out
    else:
        r = p / (0.5 * ((1 + a) * p_out + 1 - a))
        r_z = z / (0.5 * ((1 + a) * z_out + 1 - a))
    return np.array([np.mean([x / y >= gamma for y in r_z]) for x in r]), r


@pytest.mark.parametrize("variant", ["online", "offline"])
@pytest.mark.parametrize("gamma", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
def test_share_by_definition_with_ties_broken_by_ratio(variant, gamma, a):
    scores = rmia.score(
        TARGET, SHADOWS, MASK, Z, Z_SHADOWS, variant=variant, gamma=gamma, offline_a=a
    )
    shares, ratio = _shares(variant, gamma, a)
    np.testing.assert_array_equal(np.floor(scores * (M + 1)), np.round(shares * M))
    assert np.unique(scores).size == N
    np.testing.assert_array_equal(np.argsort(scores), np.lexsort((ratio, shares)))


# p of the target and of an IN and two OUT models at three records, and at four of a population
P, P_IN = (F(3, 4), F(1, 2), F(1, 4)), (F(4, 5), F(2, 3), F(1, 2))
P_OUT = ((F(1, 4), F(1, 2), F(1, 4)), (F(1, 3), F(1, 3), F(3, 4)))
HAND_Z = (F(1, 2), F(1, 4), F(2, 3), F(1, 5))
HAND_Z_MODELS = (
    (F(1, 2), F(1, 4), F(1, 3), F(4, 5)),
    (F(1, 2), F(1, 2), F(1, 2), F(1, 2)),
    (F(1, 2), F(3, 4), F(1, 3), F(1, 5)),
)
HAND_MASK = np.array([[True] * 3, [False] * 3, [False] * 3])
# p̄ online: halfway between IN and the mean of OUT; of the population the mean of all models
BAR = (
    (F(4, 5) + F(7, 24)) / 2,
    (F(2, 3) + F(5, 12)) / 2,
    (F(1, 2) + F(1, 2)) / 2,
)
BAR_Z = (F(1, 2), F(1, 2), F(7, 18), F(1, 2))


def _signals(rows) -> np.ndarray:
    return np.array([[phi(p) for p in row] for row in rows])


def _hand(ratios, others, gamma: F) -> list[float]:
    return [
        (sum(x >= gamma * z for z in others) + 0.5 + math.atan(math.log(x)) / math.pi)
        / (len(others) + 1)
        for x in ratios
    ]


@pytest.mark.parametrize("gamma", [F(1), F(3, 2), F(2)])
def test_online_by_hand(gamma):
    ratios = [p / bar for p, bar in zip(P, BAR, strict=True)]  # 180/131, 12/13, 1/2
    assert ratios == [F(180, 131), F(12, 13), F(1, 2)]
    others = [z / bar for z, bar in zip(HAND_Z, BAR_Z, strict=True)]  # 1, 1/2, 12/7, 2/5
    assert others == [F(1), F(1, 2), F(12, 7), F(2, 5)]
    arguments = [_signals([P])[0], _signals([P_IN, *P_OUT]), HAND_MASK]
    z = (_signals([HAND_Z])[0], _signals(HAND_Z_MODELS))
    found = rmia.score(*arguments, *z, gamma=float(gamma))
    np.testing.assert_allclose(found, _hand(ratios, others, gamma), rtol=1e-12)
    alone = rmia.score(*arguments, gamma=float(gamma))
    np.testing.assert_allclose(alone, _hand(ratios, ratios, gamma), rtol=1e-12)


@pytest.mark.parametrize("a", [F(0), F(3, 10), F(1)])
@pytest.mark.parametrize("gamma", [F(1), F(8, 5)])
def test_offline_by_hand(gamma, a):
    bars = [((1 + a) * (x + y) / 2 + 1 - a) / 2 for x, y in zip(*P_OUT, strict=True)]
    bars_z = [((1 + a) * sum(z) / 3 + 1 - a) / 2 for z in zip(*HAND_Z_MODELS, strict=True)]
    ratios = [p / bar for p, bar in zip(P, bars, strict=True)]
    others = [z / bar for z, bar in zip(HAND_Z, bars_z, strict=True)]
    arguments = [_signals([P])[0], _signals([P_IN, *P_OUT]), HAND_MASK]
    z = (_signals([HAND_Z])[0], _signals(HAND_Z_MODELS))
    options = {"variant": "offline", "gamma": float(gamma), "offline_a": float(a)}
    found = rmia.score(*arguments, *z, **options)
    np.testing.assert_allclose(found, _hand(ratios, others, gamma), rtol=1e-12)
    alone = rmia.score(*arguments, **options)
    np.testing.assert_allclose(alone, _hand(ratios, ratios, gamma), rtol=1e-12)


def test_a_tie_counts_and_ties_of_the_share_go_by_the_ratio():
    """A record as likely as the population's own counts at γ = 1; two that count alike differ."""
    one_half = np.zeros((2, 3))
    mask = np.array([[True] * 3, [False] * 3])
    target = np.array([0.0, phi(F(2, 3)), phi(F(3, 4))])  # ratios 1, 4/3, 3/2
    found = rmia.score(target, one_half, mask, np.zeros(2), np.zeros((2, 2)), gamma=1.0)
    expected = [(2 + 0.5 + math.atan(math.log(r)) / math.pi) / 3 for r in (1.0, 4 / 3, 1.5)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert found[0] < found[1] < found[2]


def test_records_are_each_others_population():
    np.testing.assert_array_less(0.0, rmia.score(TARGET, SHADOWS, MASK))


def test_tiny_probabilities_do_not_underflow():
    scores = rmia.score(np.array([-900.0, -901.0]), np.full((2, 2), -900.0), np.eye(2, dtype=bool))
    assert scores[0] > scores[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"member_mask": np.ones_like(MASK)}, "too few OUT"),
        ({"member_mask": np.zeros_like(MASK)}, "too few IN"),
        ({"gamma": 0.5}, "gamma"),
        ({"offline_a": 2.0}, "offline_a"),
        ({"variant": "half"}, "variant must be"),
        ({"population_target": Z}, "together"),
        ({"population_target": Z, "population_shadows": Z_SHADOWS[:2]}, "population_shadows must"),
        ({"shadows": SHADOWS * np.nan}, "shadows holds"),
        ({"population_target": [], "population_shadows": np.zeros((4, 0))}, "target is empty"),
        ({"population_target": Z, "population_shadows": Z_SHADOWS * np.inf}, "population_shadows"),
    ],
)
def test_refuses(change, message):
    arguments = {"target": TARGET, "shadows": SHADOWS, "member_mask": MASK} | change
    with pytest.raises(ValueError, match=message):
        rmia.score(**arguments)
