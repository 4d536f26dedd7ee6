"""BaVarIA against its posterior with numbers computed by hand, and against scipy's Student-t."""

import math
from fractions import Fraction as F

import numpy as np
import pytest
from scipy.stats import t as student_t

from attacks import bavaria, lira
from attacks.statistics import auc
from tests.attacks import small

TARGET, SHADOWS, MASK = small.TARGET, small.SHADOWS, small.MASK


def _log_t(x: float, location: F, scale2: F, freedom: int) -> float:
    z2 = (x - float(location)) ** 2 / float(scale2)
    return (
        math.lgamma((freedom + 1) / 2)
        - math.lgamma(freedom / 2)
        - math.log(freedom * math.pi * float(scale2)) / 2
        - (freedom + 1) / 2 * math.log(1 + z2 / freedom)
    )


def _log_normal(x: float, mean: F, variance: F) -> float:
    deviation = x - float(mean)
    return -(deviation**2) / (2 * float(variance)) - math.log(2 * math.pi * float(variance)) / 2


def test_student_t_online():
    # Record 0, IN: n 2, mean 3, S 2; prior mean 18/5, β0 86/25. κ 3, α 3,
    # β = 86/25 + 1 + 2 (3/5)² / 6 = 114/25, μ = (18/5 + 6) / 3 = 16/5,
    # scale² = β (κ+1) / (α κ) = 114/25 · 4/9 = 152/75; 6 degrees of freedom.
    in_0 = _log_t(3.0, F(16, 5), F(152, 75), 6)
    # OUT: n 3, mean 1, S 8; prior mean 4/5, β0 44/25. κ 4, α 7/2,
    # β = 44/25 + 4 + 3 (1/5)² / 8 = 1155/200, μ = (4/5 + 3) / 4 = 19/20,
    # scale² = β · 5/14 = 33/16; 7 degrees of freedom.
    assert F(44, 25) + 4 + F(3, 200) == F(1155, 200)
    out_0 = _log_t(3.0, F(19, 20), F(33, 16), 7)
    # Record 1, IN: n 3, mean 4, S 14. κ 4, α 7/2, β = 86/25 + 7 + 3 (2/5)² / 8 = 21/2,
    # μ = (18/5 + 12) / 4 = 39/10, scale² = 21/2 · 5/14 = 15/4.
    in_1 = _log_t(0.5, F(39, 10), F(15, 4), 7)
    # OUT: n 2, mean 1/2, S 1/2. κ 3, α 3, β = 44/25 + 1/4 + 2 (3/10)² / 6 = 51/25,
    # μ = (4/5 + 1) / 3 = 3/5, scale² = 51/25 · 4/9 = 68/75.
    out_1 = _log_t(0.5, F(3, 5), F(68, 75), 6)
    found = bavaria.score(TARGET, SHADOWS, MASK)
    np.testing.assert_allclose(found, [in_0 - out_0, in_1 - out_1], rtol=1e-12)


def test_normal_online():
    # α0 = 1, β0 the spread: the same β, α = 1 + n/2, variance β / (n/2), mean not shrunk
    in_0, out_0 = _log_normal(3.0, F(3), F(114, 25)), _log_normal(3.0, F(1), F(77, 20))
    in_1, out_1 = _log_normal(0.5, F(4), F(7)), _log_normal(0.5, F(1, 2), F(51, 25))
    found = bavaria.score(TARGET, SHADOWS, MASK, predictive="normal")
    np.testing.assert_allclose(found, [in_0 - out_0, in_1 - out_1], rtol=1e-12)


def test_offline_takes_the_prior_for_in():
    # prior predictive: mean 18/5, scale² = 86/25 · 2 / 2, 4 degrees of freedom
    expected = [
        _log_t(3.0, F(18, 5), F(86, 25), 4) - _log_t(3.0, F(19, 20), F(33, 16), 7),
        _log_t(0.5, F(18, 5), F(86, 25), 4) - _log_t(0.5, F(3, 5), F(68, 75), 6),
    ]
    found = bavaria.score(TARGET, SHADOWS, MASK, variant="offline")
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    expected = [
        _log_normal(3.0, F(18, 5), F(86, 25)) - _log_normal(3.0, F(1), F(77, 20)),
        _log_normal(0.5, F(18, 5), F(86, 25)) - _log_normal(0.5, F(1, 2), F(51, 25)),
    ]
    found = bavaria.score(TARGET, SHADOWS, MASK, variant="offline", predictive="normal")
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_against_scipy_record_by_record():
    rng = np.random.default_rng(2)
    target, shadows = rng.normal(3, 2, 20), rng.normal(3, 2, (7, 20)).astype(np.float32)
    mask = rng.random((7, 20)) < 0.5
    mask[0], mask[1] = True, False

    def log_predictive(x: float, own: np.ndarray, everyone: np.ndarray) -> float:
        n, mean, centre = own.size, own.mean(), everyone.mean()
        kappa, alpha = 1 + n, 2 + n / 2
        beta = everyone.var() + own.var() * n / 2 + n * (mean - centre) ** 2 / (2 * kappa)
        scale = math.sqrt(beta * (kappa + 1) / (alpha * kappa))
        return float(student_t.logpdf(x, 2 * alpha, (centre + n * mean) / kappa, scale))

    exact = shadows.astype(np.float64)
    expected = [
        log_predictive(target[i], exact[mask[:, i], i], exact[mask])
        - log_predictive(target[i], exact[~mask[:, i], i], exact[~mask])
        for i in range(20)
    ]
    np.testing.assert_allclose(bavaria.score(target, shadows, mask), expected, rtol=1e-9)


def test_four_shadow_models_suffice_where_variances_of_their_own_do_not():
    rng = np.random.default_rng(0)
    n, k = 4000, 4
    mask = np.arange(k)[:, None] % 2 == (np.arange(n) % 2)[None]
    noise = rng.gamma(4.0, 0.25, n)  # records differ in how much models differ on them
    shadows = 1.5 * mask + noise * rng.normal(size=(k, n))
    member = rng.random(n) < 0.5
    target = 1.5 * member + noise * rng.normal(size=n)

    def area(scores: np.ndarray) -> float:
        return auc(scores[member], scores[~member])

    own = area(lira.score(target, shadows, mask, variance="per-record"))
    assert area(bavaria.score(target, shadows, mask)) > own + 0.05
    assert area(bavaria.score(target, shadows, mask, predictive="normal")) > own + 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variant": "half"}, "variant must be one of"),
        ({"predictive": "cauchy"}, "predictive must be one of"),
        ({"member_mask": np.ones_like(MASK)}, "too few OUT"),
        ({"member_mask": np.zeros_like(MASK)}, "too few IN"),
        ({"member_mask": np.zeros_like(MASK), "variant": "offline"}, "no record has an IN"),
    ],
)
def test_refuses(change, message):
    arguments = {"target": TARGET, "shadows": SHADOWS, "member_mask": MASK} | change
    with pytest.raises(ValueError, match=message):
        bavaria.score(**arguments)
