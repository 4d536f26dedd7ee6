"""Patterns right beside a record: signs where there are any, an interior where there are ties."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from auditkit.network.evaluate import evaluate, pattern
from auditkit.network.graph import Convolution, Dense, MaxPool, Network, Relu, Reshape
from auditkit.network.step import inward_pattern
from tests.network.test_evaluate import made
from tests.oracle.exact import ExactNetwork, exact, in_region
from tests.oracle.networks import FAMILIES, chain


def beside(network: Network, x: Any) -> Any:
    """Return a point a rational hair's breadth from `x`, along the documented direction."""
    sizes = np.random.default_rng(8128).normal(size=network.input_shape)
    v = np.where(x <= 0, np.abs(sizes), np.where(x >= 1, -np.abs(sizes), sizes))
    step = Fraction(1, 10**40)
    return [a + step * b for a, b in zip(exact(x), exact(v), strict=True)]


@pytest.mark.parametrize(
    ("family", "style"), itertools.product(FAMILIES, ["normal", "integers", "zeros"])
)
def test_the_pattern_is_that_of_a_point_beside_the_record(family: str, style: str) -> None:
    ties = 0
    for seed in range(6):
        network, x = made(family, style, np.float64, seed)
        x = np.round(x * 4) / 4  # exact ties, where weights are whole numbers
        bits, oracle = inward_pattern(network, x, 0.0, 1.0), ExactNetwork(network)
        for row in range(len(x)):
            _, units = oracle(exact(x[row]))
            _, near = oracle(beside(network, x[row]))
            assert in_region(units, bits[row])
            assert in_region(near, bits[row])
            ties += sum(z == 0 for z in units)
        clear = np.abs(evaluate(network, x)[1]) > 1e-9
        np.testing.assert_array_equal(bits[clear], pattern(network, x)[clear])
    assert ties or style == "normal"


def test_a_region_that_is_flat_under_ties_gets_an_interior() -> None:
    """Units x₁ - x₂ and x₂ - x₁ are both 0 on the diagonal, which is all that bits 00 hold."""
    weight = np.array([[1.0, -1.0], [-1.0, 1.0]])
    operators = [Dense(weight, np.zeros(2)), Relu(), Dense(np.eye(2), np.zeros(2))]
    network = chain((2,), operators, np.float64)
    x = np.array([[0.5, 0.5], [0.0, 0.0], [1.0, 1.0]])
    assert not pattern(network, x).any()
    assert (inward_pattern(network, x, 0.0, 1.0).sum(axis=1) == 1).all()


def test_flat_areas_under_a_pool() -> None:
    """A black image ties every comparison; one player of each window still wins, consistently."""
    rng = np.random.default_rng(0)
    operators: list[Any] = [Convolution(rng.normal(size=(2, 1, 2, 2)), np.zeros(2))]
    operators += [MaxPool((3, 3), (1, 1), (1, 1, 1, 1)), Relu(), Reshape((50,))]
    operators += [Dense(rng.normal(size=(3, 50)), np.zeros(3))]
    network = chain((1, 6, 6), operators, np.float64)
    x = np.zeros((1, 1, 6, 6))
    (bits,) = inward_pattern(network, x, 0.0, 1.0)
    _, units = ExactNetwork(network)(beside(network, x[0]))
    assert in_region(units, bits)
    assert all(z != 0 for z in units)
