"""Logits, units and patterns against torch, onnxruntime and the exact oracle."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from auditkit.network import linear
from auditkit.network.evaluate import evaluate, logits, pattern
from auditkit.network.graph import (
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Node,
    Pad,
    Relu,
    Scale,
    Transpose,
)
from auditkit.network.units import unit_layout
from auditkit.network.write_onnx import network_to_onnx
from tests.network.onnx_models import run
from tests.oracle.exact import ExactNetwork, exact
from tests.oracle.networks import FAMILIES, chain, records, weights

EVERY = list(itertools.product(FAMILIES, ["normal", "integers", "zeros"]))


def made(family: str, style: str, dtype: Any = np.float32, seed: int = 0) -> tuple[Network, Any]:
    rng = np.random.default_rng([seed, len(family), len(style)])
    network = FAMILIES[family](weights(style, dtype, rng), dtype, rng)
    return network, records(network, 5, rng)


@pytest.mark.parametrize(("family", "style"), EVERY)
def test_logits_and_units_are_those_of_the_oracle(family: str, style: str) -> None:
    for seed in range(3):
        network, x = made(family, style, seed=seed)
        out, z = evaluate(network, x)
        oracle = ExactNetwork(network)
        for row in range(len(x)):
            f, units = oracle(exact(x[row]))
            np.testing.assert_allclose(out[row], [float(v) for v in f], rtol=1e-11, atol=1e-11)
            np.testing.assert_allclose(z[row], [float(v) for v in units], rtol=1e-11, atol=1e-11)
        np.testing.assert_array_equal(pattern(network, x), z > 0)
        np.testing.assert_allclose(logits(network, x, batch=2), out, rtol=1e-13, atol=1e-13)
        assert z.shape[1] == unit_layout(network).count


@pytest.mark.parametrize(("family", "style"), EVERY)
def test_logits_are_those_of_onnxruntime(family: str, style: str) -> None:
    network, x = made(family, style)
    x32 = x.astype(np.float32)
    expected = run(network_to_onnx(network), x32)
    np.testing.assert_allclose(logits(network, x32), expected, rtol=1e-5, atol=1e-5)
    assert logits(network, x32).dtype == np.float32


def test_operators_are_those_of_torch() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 7, 6))
    t = torch.from_numpy(x)
    weight, bias = rng.normal(size=(6, 2, 3, 2)), rng.normal(size=6)
    conv = Convolution(weight, bias, (2, 1), (1, 2, 1, 2), (2, 1), 2)
    expected = torch.nn.functional.conv2d(
        t, torch.from_numpy(weight), torch.from_numpy(bias), (2, 1), (1, 2), (2, 1), 2
    )
    shift = linear.offset(conv, (4, 7, 6), x.dtype)
    assert shift is not None
    np.testing.assert_allclose(linear.forward(conv, x) + shift, expected.numpy(), atol=1e-12)
    pool = MaxPool((3, 2), (2, 1), (1, 1, 1, 1), (1, 2))
    expected = torch.nn.functional.max_pool2d(t, (3, 2), (2, 1), (1, 1), (1, 2))
    np.testing.assert_array_equal(linear.maximum_windows(pool, x), expected.numpy())
    for included in (False, True):
        mean = AveragePool((3, 3), (2, 1), (1, 1, 1, 1), included)
        expected = torch.nn.functional.avg_pool2d(t, 3, (2, 1), 1, count_include_pad=included)
        np.testing.assert_allclose(linear.forward(mean, x), expected.numpy(), atol=1e-12)


AFFINE = {
    "dense": Dense(np.arange(12.0).reshape(3, 4) - 5, np.zeros(3)),
    "convolution": Convolution(
        np.arange(24.0).reshape(4, 1, 3, 2) - 9, np.zeros(4), (2, 1), (1, 0, 2, 1), (1, 2), 2
    ),
    "average": AveragePool((2, 3), (1, 2), (1, 2, 0, 1), False),
    "average with padding": AveragePool((2, 3), (1, 2), (1, 2, 0, 1), True),
    "multiply": Scale("multiply", np.array([2.0, -3.0, 0.0, 1.0])),
    "divide": Scale("divide", np.array([[2.0], [-3.0], [0.5], [1.0], [9.0]])),
    "pad": Pad((0, 1, 2), (3, 0, 1)),
    "transpose": Transpose((2, 0, 1)),
}


@pytest.mark.parametrize("name", AFFINE)
def test_adjoints_are_transposes(name: str) -> None:
    operator: Any = AFFINE[name]
    rng = np.random.default_rng(1)
    shape = (2, 5, 4)
    x = rng.normal(size=(3, *shape))
    for magnitude in (False, True):
        y = linear.forward(operator, x, magnitude=magnitude)
        g = rng.normal(size=y.shape)
        back = linear.adjoint(operator, g, shape, magnitude=magnitude)
        assert back.shape == x.shape
        left, right = (y * g).reshape(3, -1).sum(axis=1), (x * back).reshape(3, -1).sum(axis=1)
        np.testing.assert_allclose(left, right, rtol=1e-12)
    assert (linear.forward(operator, np.abs(x), magnitude=True) >= np.abs(y) - 1e-9).all()


def test_a_unit_that_cannot_reach_the_output_is_dropped() -> None:
    first = Dense(np.eye(4, 3), np.ones(4))
    middle = Dense(np.array([[1.0, 0, 2, 0], [0, 0, 1, 0], [0, 3, 0, 0]]), np.zeros(3))
    last = Dense(np.array([[1.0, 1, 0], [2, 0, 0]]), np.zeros(2))
    network = chain((3,), [first, Relu(), middle, Relu(), last], np.float64)
    layout = unit_layout(network)
    assert layout.kept.tolist() == [True, False, True, False, True, True, False]
    x = np.random.default_rng(2).normal(size=(4, 3))
    changed = x.copy()
    changed[:, 1] = 99
    assert evaluate(network, x)[1].shape == (4, 4)
    np.testing.assert_array_equal(evaluate(network, x)[1], evaluate(network, changed)[1])


def test_a_residual_connection_keeps_what_one_path_drops() -> None:
    nodes = (
        Node(Dense(np.eye(2), np.zeros(2)), (0,)),
        Node(Relu(), (1,)),
        Node(Scale("multiply", np.array([0.0, 0.0])), (2,)),
        Node(Dense(np.array([[1.0, 0], [1, 0]]), np.zeros(2)), (2,)),
        Node(Scale("add", np.zeros(2)), (3,)),
        Node(Dense(np.ones((2, 2)), np.zeros(2)), (5,)),
        Node(Dense(np.eye(2), np.zeros(2)), (4,)),
    )
    network = Network((2,), nodes, np.dtype(np.float64))
    assert unit_layout(network).kept.tolist() == [True, False]


def test_a_network_without_units() -> None:
    network = chain((2,), [Dense(np.eye(2), np.zeros(2))], np.float64)
    out, z = evaluate(network, np.ones((3, 2)))
    assert out.shape == (3, 2) and z.shape == (3, 0)
