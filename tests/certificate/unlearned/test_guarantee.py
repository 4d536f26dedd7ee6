"""Epsilon from bound, noise and delta: against the condition itself, computed in another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from auditkit.certificate.guarantee import classical_epsilon, least_epsilon


def delta_of(epsilon: float, a: float) -> float:
    """The hockey-stick divergence of two Gaussians a standard deviations apart, by integration."""
    t = np.linspace(-12, 12 + 2 * a, 400_001)
    excess = np.maximum(norm.pdf(t, a) - math.exp(epsilon) * norm.pdf(t), 0)
    return float(np.trapezoid(excess, t))


@pytest.mark.parametrize("bound", [0.05, 0.5, 2.0, 4.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5])
def test_no_smaller_epsilon_meets_delta(bound: float, delta: float):
    epsilon = least_epsilon(bound, 1.0, delta)
    assert delta_of(epsilon, bound) == pytest.approx(delta, rel=1e-3)
    assert delta_of(0.99 * epsilon - 1e-3, bound) > delta or epsilon == 0


def test_the_classical_formula_is_no_less_where_it_is_proved():
    generator = np.random.default_rng(0)
    for _ in range(200):
        delta, sigma = 10 ** generator.uniform(-9, -1.5), 10 ** generator.uniform(-3, 3)
        epsilon = generator.uniform(0.01, 1)
        bound = epsilon * sigma / math.sqrt(2 * math.log(1.25 / delta))
        assert classical_epsilon(bound, sigma, delta) == pytest.approx(epsilon)
        assert least_epsilon(bound, sigma, delta) <= epsilon


def test_it_grows_with_the_bound_to_any_size():
    found = [least_epsilon(b, 1.0, 1e-5) for b in (0, 1e-3, 1, 1e2, 1e5, 1e12, 1e300)]
    assert found == sorted(found)
    assert found[0] == 0
    assert found[4] > 1e9


@pytest.mark.parametrize(
    ("bound", "sigma", "delta"),
    [(-1, 1, 0.1), (1, 0, 0.1), (1, -1, 0.1), (1, 1, 0), (1, 1, 1), (math.inf, 1, 0.1),
     (math.nan, 1, 0.1), (1, math.nan, 0.1), (1e300, 1e-300, 0.1)],
)  # fmt: skip
def test_premises_of_no_use(bound: float, sigma: float, delta: float):
    for formula in (classical_epsilon, least_epsilon):
        with pytest.raises(ValueError, match="a bound|a delta|noise of"):
            formula(bound, sigma, delta)
