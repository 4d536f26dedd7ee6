"""Floats that ran are as near to the real numbers as promised."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from auditkit.network.deployed import Deployed, Executed, FloatProfile
from auditkit.network.evaluate import evaluate
from auditkit.network.graph import Dense, Network, Relu
from auditkit.network.region import Box, deployed_errors
from auditkit.network.rigorous import Ball
from auditkit.network.write_onnx import network_to_onnx
from tests.network.onnx_models import run
from tests.oracle.exact import ExactNetwork, exact
from tests.oracle.networks import FAMILIES, STYLES, chain, records, weights


def errors(network: Network, x: Any, radius: float) -> tuple[Any, Any]:
    box = Box.around(x, np.full(len(x), radius), 0.0, 1.0)
    with np.errstate(all="ignore"):
        return deployed_errors(network, box, FloatProfile.of(network.dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_errors_bound_what_ran(family: str, style: str, dtype: Any) -> None:
    rng = np.random.default_rng([len(family), len(style), 1])
    network = FAMILIES[family](weights(style, dtype, rng), dtype, rng)
    x = records(network, 2, rng)
    radius = float(rng.choice([0.0, 0.01, np.inf]))
    promised = errors(network, x, radius)
    step = (rng.random((3, *x.shape)) * 2 - 1) * min(radius, 1.0) * 0.999
    points = np.clip(x + step, 0, 1).astype(dtype)
    near = np.abs(points.astype(np.float64) - x).reshape(3, 2, -1).max(axis=2) <= radius
    oracle = ExactNetwork(network)
    for number in range(3):
        with np.errstate(all="ignore"):
            ran = list(evaluate(network, points[number]))
        if dtype == np.float32:
            ran.append(run(network_to_onnx(network), points[number]))
        for row in np.flatnonzero(near[number]):
            f, units = oracle(exact(points[number, row]))
            for found, real, bound in zip(
                ran, (f, units, f), (*promised, promised[0]), strict=False
            ):
                for a, b, e in zip(found[row], real, bound[row], strict=True):
                    if np.isfinite(e):
                        assert abs(Fraction(float(a)) - b) <= Fraction(float(e))


def test_an_overflow_on_the_way_promises_nothing() -> None:
    weight = np.array([[3e38, 3e38], [1, 1]], np.float32)
    zero = np.zeros(2, np.float32)
    network = chain((2,), [Dense(weight, zero), Relu(), Dense(np.eye(2, dtype=np.float32), zero)],
                    np.float32)  # fmt: skip
    logits, units = errors(network, np.array([[0.9, 0.9]]), 0.01)
    assert np.isinf(units[0, 0]) and not np.isfinite(logits[0, 0])
    # The same where the partial sums cancel, and where a unit that is not used overflows.
    weight = np.array([[3e38, -3e38], [3e38, 3e38]], np.float32)
    last = Dense(np.array([[1, 0], [1, 0]], np.float32), zero)
    network = chain((2,), [Dense(weight, zero), Relu(), last], np.float32)
    logits, units = errors(network, np.array([[0.9, 0.9]]), 0.01)
    assert units.shape == (1, 1) and np.isinf(units[0, 0])
    assert not (logits <= 1e300).any()


def test_too_wide_for_the_floats() -> None:
    """In a sum of as many terms as the floats have steps, everything may be lost."""
    profile = FloatProfile("coarse", 2.0**-4, 2.0**-20, 2.0**20)
    for width, bounded in ((3, True), (4, False), (12, False), (100, False)):
        layer = Dense(np.ones((1, width)), np.zeros(1))
        x = Executed(Ball.exact(np.full((1, width), 0.5)), np.zeros((1, width)))
        found = Deployed(profile).affine(layer, x, constant=True)
        assert bool(np.isfinite(found.error).all()) == bounded


def test_profiles() -> None:
    single = FloatProfile.of(np.dtype(np.float32))
    assert (single.unit, single.smallest) == (2.0**-24, 2.0**-149)
    assert single.greatest == float(np.finfo(np.float32).max)
    double = FloatProfile.of(np.dtype(np.float64))
    assert (double.unit, double.smallest) == (2.0**-53, 2.0**-1074)


def test_a_deployed_network_runs_forwards_only() -> None:
    x = Executed(Ball.exact(np.ones((1, 2))), np.zeros((1, 2)))
    arithmetic = Deployed(FloatProfile.of(np.dtype(np.float32)))
    with pytest.raises(TypeError):
        arithmetic.adjoint(Relu(), x, (2,))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        arithmetic.scatter(x, np.zeros(2, np.int64), 1)
