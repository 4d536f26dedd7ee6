"""RMIA against the ratio written out with plain probabilities and loops."""

import numpy as np
import pytest
from scipy.special import expit

from attacks import rmia

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
    ],
)
def test_refuses(change, message):
    arguments = {"target": TARGET, "shadows": SHADOWS, "member_mask": MASK} | change
    with pytest.raises(ValueError, match=message):
        rmia.score(**arguments)
