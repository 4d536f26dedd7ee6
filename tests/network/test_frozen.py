"""The frozen piece is the network on its region; its adjoint is its transpose."""

from __future__ import annotations

import numpy as np
import pytest

from auditkit.network.evaluate import evaluate, pattern
from auditkit.network.frozen import Frozen
from tests.network.test_evaluate import EVERY, made
from tests.oracle.exact import ExactNetwork


@pytest.mark.parametrize(("family", "style"), EVERY)
def test_the_piece_is_the_network_at_its_record(family: str, style: str) -> None:
    network, x = made(family, style)
    frozen = Frozen(network, pattern(network, x))
    for piece, true in zip(frozen.forward(x), evaluate(network, x), strict=True):
        np.testing.assert_allclose(piece, true, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("family", "style"), EVERY)
def test_any_pattern_gives_the_oracles_affine_forms(family: str, style: str) -> None:
    network, x = made(family, style)
    rng = np.random.default_rng(9)
    bits = rng.random((2, pattern(network, x).shape[1])) < 0.5
    frozen, oracle, d = Frozen(network, bits), ExactNetwork(network), network.features
    basis = np.eye(d).reshape(d, *network.input_shape)
    for row in range(2):
        forms = [form.astype(float) for form in oracle.piece(bits[row])]
        one = Frozen(network, np.repeat(bits[row : row + 1], d, axis=0))
        for found, form in zip(one.forward(basis, constant=False), forms, strict=True):
            np.testing.assert_allclose(found.T, form[:, :-1], rtol=1e-11, atol=1e-11)
        for found, form in zip(
            frozen.forward(np.zeros((2, *network.input_shape))), forms, strict=True
        ):
            np.testing.assert_allclose(found[row], form[:, -1], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("family", "style"), EVERY)
def test_the_adjoint_is_the_transpose_injections_included(family: str, style: str) -> None:
    network, x = made(family, style)
    rng = np.random.default_rng(8)
    bits = pattern(network, x)
    frozen = Frozen(network, bits)
    v = rng.normal(size=x.shape)
    logits, units = frozen.forward(v, constant=False)
    g, c = rng.normal(size=logits.shape), rng.normal(size=units.shape)
    for injections, expected in (
        (None, (g * logits).sum(axis=1)),
        (c, (g * logits).sum(axis=1) + (c * units).sum(axis=1)),
    ):
        back = frozen.adjoint(g, injections=injections)
        assert back.shape == x.shape
        np.testing.assert_allclose((back * v).reshape(len(x), -1).sum(axis=1), expected, rtol=1e-9)
    only = frozen.adjoint(np.zeros_like(g), injections=c)
    np.testing.assert_allclose(
        (only * v).reshape(len(x), -1).sum(axis=1), (c * units).sum(axis=1), rtol=1e-9
    )


def test_patterns_repeat_row_by_row() -> None:
    network, x = made("pooled", "normal")
    bits = pattern(network, x)
    again = Frozen(network, bits).repeat(2)
    np.testing.assert_array_equal(again.bits, bits[[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]])
    with pytest.raises(ValueError, match="units"):
        Frozen(network, bits[:, 1:])
