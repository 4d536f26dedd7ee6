"""The patched network is what the formula of its gates says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from auditkit.network.evaluate import evaluate, logits, pattern
from auditkit.network.graph import Dense, Network, Relu
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.patch.patched import PatchedNetwork
from tests.oracle.exact import ExactNetwork, exact, patched, violations
from tests.oracle.networks import FAMILIES, chain, handmade, records, weights

SEEDS = range(6)


def made(family: str, seed: int, dtype: Any = np.float64) -> tuple[Network, Any, Patch]:
    rng = np.random.default_rng([seed, len(family)])
    style = ("normal", "integers", "zeros")[seed % 3]
    network = FAMILIES[family](weights(style, dtype, rng), dtype, rng)
    x = records(network, 4, rng)
    return network, x, handmade(network, x, rng)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_formula(family: str, seed: int) -> None:
    network, x, patch = made(family, seed)
    probes = np.concatenate([x, np.random.default_rng(seed).random((6, *network.input_shape))])
    oracle, whole = ExactNetwork(network), PatchedNetwork(network, patch)
    found, open_by = whole.logits(probes), whole.openness(probes)
    v = whole.violations(probes)
    sharpness = patch.table.sharpness[patch.table.group]
    for row in range(len(probes)):
        f, units = oracle(exact(probes[row]))
        expected = [float(value) for value in patched(patch, f, units)]
        # a rounding error of a violation is multiplied by K n
        scale = 1 + patch.table.bound.max() * (1 + patch.table.sharpness.max())
        np.testing.assert_allclose(found[row], expected, rtol=1e-12, atol=1e-13 * scale)
        exactly = [float(value) for value in violations(patch, units)]
        np.testing.assert_allclose(v[row], exactly, rtol=1e-11, atol=1e-12)
        if patch.gates:
            most = np.clip(1 - np.min(np.array(exactly) * sharpness), 0, 1)
            assert open_by[row] == pytest.approx(most, abs=1e-11 * sharpness.max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("family", FAMILIES)
def test_closed_gates_change_nothing_bit_for_bit(family: str, dtype: Any) -> None:
    for seed in SEEDS:
        network, _, patch = made(family, seed, dtype)
        gated = tuple(
            replace(g, sharpness=2.0**60, dead_zone=0.0)
            for g in patch.groups
            if g.kind is not OffsetKind.ALWAYS
        )
        whole = PatchedNetwork(network, replace(patch, groups=gated))
        x = np.random.default_rng(seed).random((50, *network.input_shape)).astype(dtype)
        closed = x[whole.openness(x) == 0]
        if not len(closed):
            continue
        np.testing.assert_array_equal(
            whole.logits(closed).view(np.uint8), evaluate(network, closed)[0].view(np.uint8)
        )


def identity() -> Network:
    zero = np.zeros(2, np.float32)
    eye = np.eye(2, dtype=np.float32)
    return chain((2,), [Dense(eye, zero - 0.5), Relu(), Dense(eye, zero)], np.float32)


def one(kind: OffsetKind, patterns: Any, offset: Any, **change: Any) -> Patch:
    numbers = {"bound": 8.0, "sharpness": 16.0, "dead_zone": 2.0**-10, **change}
    group = Group("a", kind, np.array(patterns, bool), np.asarray(offset, np.float32), **numbers)
    return Patch((group,), 2, 2)


X = np.array([[0.75, 0.75], [0.75, 0.25], [0.25, 0.25]], np.float32)


def test_an_open_gate_adds_its_offset() -> None:
    found = PatchedNetwork(identity(), one(OffsetKind.CONSTANT, [[1, 1]], [1, -2])).logits(X)
    assert found.tolist() == [[1.25, -1.75], [0.25, 0], [0, 0]]
    found = PatchedNetwork(identity(), one(OffsetKind.OUTPUT, [[1, 1]], [1, -2])).logits(X)
    assert found.tolist() == [[1, -2], [0.25, 0], [0, 0]]
    found = PatchedNetwork(identity(), one(OffsetKind.OUTPUT, [[1, 1]], [1, -2], bound=0.5)).logits(
        X
    )
    assert found.tolist() == [[0.75, -0.25], [0.25, 0], [0, 0]]
    always = one(OffsetKind.ALWAYS, np.zeros((0, 2)), [1, -2], bound=1.5)
    assert PatchedNetwork(identity(), always).logits(X).tolist() == [
        [1.25, -1.25],
        [1.25, -1.5],
        [1, -1.5],
    ]


def test_members_share_one_offset() -> None:
    """Two open gates of one group add it once; two groups add it twice."""
    together = one(OffsetKind.CONSTANT, [[1, 1], [1, 1], [0, 0]], [1, -2])
    found = PatchedNetwork(identity(), together).logits(X)
    assert found.tolist() == [[1.25, -1.75], [0.25, 0], [1, -2]]
    stacked = one(OffsetKind.CONSTANT, [[1, 1], [1, 1]], [[1, -2], [1, -2]])
    assert PatchedNetwork(identity(), stacked).logits(X)[0].tolist() == [2.25, -3.75]


def test_between_open_and_closed() -> None:
    """h = ReLU(p - K t) - ReLU(-p - K t) lies between 0 and p."""
    patch = one(OffsetKind.CONSTANT, [[1, 1]], [4, -4], sharpness=4.0, dead_zone=0.0)
    x = np.stack([np.linspace(0.2, 0.5, 31), np.full(31, 0.75)], axis=1).astype(np.float32)
    added = PatchedNetwork(identity(), patch).logits(x) - logits(identity(), x)
    t = np.minimum(1, 4 * (0.5 - x[:, 0]))
    np.testing.assert_allclose(added[:, 0], np.maximum(4 - 8 * t, 0), atol=1e-5)
    np.testing.assert_allclose(added[:, 1], -np.maximum(4 - 8 * t, 0), atol=1e-5)
    open_by = PatchedNetwork(identity(), patch).openness(x)
    np.testing.assert_allclose(open_by, 1 - t, atol=1e-5)


def test_a_dead_zone_holds_the_gate_open() -> None:
    network = identity()
    x = np.array([[0.5 - 2.0**-11, 0.75], [0.5 - 2.0**-9, 0.75]], np.float32)
    v = PatchedNetwork(network, one(OffsetKind.CONSTANT, [[1, 1]], [1, 0])).violations(x)
    assert v[:, 0].tolist() == [0, 2.0**-9 - 2.0**-10]
    zones = [2.0**-8, 2.0**-10, 0.0]
    groups = [
        replace(one(OffsetKind.CONSTANT, [[1, 1]], [1, 0], dead_zone=z).groups[0], name=f"g{i}")
        for i, z in enumerate(zones)
    ]
    v = PatchedNetwork(network, Patch(tuple(groups), 2, 2)).violations(x)
    assert v.tolist() == [[0, 0, 2.0**-11], [0, 2.0**-10, 2.0**-9]]


def test_gates_do_not_hang_on_units_that_are_not_used() -> None:
    rng = np.random.default_rng(1)
    eye, zero = np.eye(2), np.zeros(2)
    plain = chain((2,), [Dense(eye, zero - 0.5), Relu(), Dense(eye, zero)], np.float64)
    more = Dense(np.concatenate([eye, rng.normal(size=(3, 2))]), np.full(5, -0.5))
    ignoring = Dense(np.concatenate([eye, np.zeros((2, 3))], axis=1), zero)
    wider = chain((2,), [more, Relu(), ignoring], np.float64)
    x = rng.random((20, 2))
    np.testing.assert_array_equal(pattern(plain, x), pattern(wider, x))
    patch = one(OffsetKind.CONSTANT, [[1, 0]], [1, -1])
    found = PatchedNetwork(wider, patch).logits(x)
    np.testing.assert_array_equal(PatchedNetwork(plain, patch).logits(x), found)


def test_a_patch_for_another_network_is_refused() -> None:
    patch = Patch((), 3, 2)
    with pytest.raises(ValueError, match="3 classes"):
        PatchedNetwork(identity(), patch)
    empty = PatchedNetwork(identity(), Patch((), 2, 2))
    np.testing.assert_array_equal(empty.logits(X), logits(identity(), X))
    assert empty.openness(X).tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_that_overflow_do_not_close_an_open_gate(dtype: Any) -> None:
    """All units are on and huge: those of a gate with all bits 1 violate nothing."""
    great = np.full((8, 1), float(np.finfo(dtype).max) / 4, dtype)
    last = np.zeros((2, 8), dtype)
    last[0] = 2.0 ** -(130 if dtype == np.float32 else 1030)
    network = chain(
        (1,), [Dense(great, np.zeros(8, dtype)), Relu(), Dense(last, np.zeros(2, dtype))], dtype
    )
    for sharpness in (0.25, 1.0, 1e30):
        gates = Group("a", OffsetKind.CONSTANT, np.ones((1, 8), bool), np.float32([1, 2]), 4.0,
                      sharpness, 0.0)  # fmt: skip
        with np.errstate(all="ignore"):
            x = np.ones((1, 1), dtype)
            whole = PatchedNetwork(network, Patch((gates,), 2, 8))
            assert whole.violations(x)[0, 0] == 0
            assert whole.openness(x)[0] == 1
            np.testing.assert_array_equal(whole.logits(x) - logits(network, x), [[1, 2]])
