"""A region is shown to have an interior, or it is not; a flat one never is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from auditkit.network.evaluate import evaluate, pattern
from auditkit.network.graph import (
    Convolution,
    Dense,
    MaxPool,
    Network,
    Node,
    Operator,
    Relu,
    Reshape,
    Scale,
)
from auditkit.network.interior import has_interior
from auditkit.network.step import inward_pattern
from auditkit.patch.generate import Request, measure
from auditkit.patch.settings import resolve_settings


def f32(values: object) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def chain(shape: tuple[int, ...], *operators: Operator) -> Network:
    nodes = tuple(Node(operator, (i,)) for i, operator in enumerate(operators))
    return Network(shape, nodes, np.dtype(np.float32))


def one(network: Network, bits: object, x: object, radius: float = 0.01) -> bool:
    rows = np.array([bits], dtype=bool)
    return bool(has_interior(network, rows, np.array([x]), np.array([radius]), 0.0, 1.0)[0])


def test_a_unit_and_its_mirror_image_make_a_flat_region() -> None:
    first = Dense(f32([[1, 0], [-1, 0]]), f32([-0.5, 0.5]))
    network = chain((2,), first, Relu(), Dense(f32([[1, 2], [3, 4]]), f32([0, 0])))
    record = [0.5, 0.25]  # both units are exactly 0
    assert one(network, [1, 0], record)
    assert one(network, [0, 1], record)
    assert not one(network, [0, 0], record)
    assert not one(network, [1, 1], record)


def test_three_half_planes_that_only_meet_in_a_point() -> None:
    first = Dense(f32([[2, 0], [-1, 2], [-1, -2]]), f32([-1, -0.5, 1.5]))
    network = chain((2,), first, Relu(), Dense(f32([[1, 2, 3], [3, 4, 5]]), f32([0, 0])))
    record = [0.5, 0.5]
    assert not evaluate(network, np.array([record]))[1].any()
    shown = {bits: one(network, bits, record) for bits in product([0, 1], repeat=3)}
    assert [bits for bits, interior in shown.items() if not interior] == [(0, 0, 0), (1, 1, 1)]


def test_the_boundary_of_the_domain_counts() -> None:
    network = chain(
        (2,), Dense(f32([[1, 0], [0, 1]]), f32([0, 0])), Relu(),
        Dense(f32([[1, 2], [3, 4]]), f32([0, 0])),
    )  # fmt: skip
    assert one(network, [1, 1], [0.0, 0.0])  # inside the box everything is on
    assert not one(network, [0, 1], [0.0, 0.5])  # only the face x0 = 0 is off
    assert one(network, [1, 1], [0.0, 1.0])


def test_constant_ties_do_not_make_a_region_flat() -> None:
    # off for every input of the box, so that the pool compares 0 with 0
    network = chain(
        (1, 2, 2), MaxPool((2, 2), (2, 2)), Reshape((1,)),
        Dense(f32([[1], [1]]), f32([-3, -3])), Relu(), Dense(f32([[1, 0], [0, 1]]), f32([0, 0])),
        Relu(), Dense(f32([[1, 0], [0, 1]]), f32([0, 0])),
    )  # fmt: skip
    x = np.full((1, 1, 2, 2), 0.5)  # and here it compares equal pixels
    assert one(network, pattern(network, x)[0], x[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_random_record_has_an_interior(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = (5, 8, 6, 3)
    operators: list[Operator] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        operators += [Dense(f32(rng.normal(size=(outputs, inputs))), f32(rng.normal(size=outputs)))]
        operators += [Relu()]
    network = chain((5,), *operators[:-1])
    x = rng.random((20, 5))
    bits = pattern(network, x)
    assert has_interior(network, bits, x, np.full(20, 0.01), 0.0, 1.0).all()
    # A record that is not in the region is no witness of anything near it.
    assert not has_interior(network, ~bits, x, np.full(20, 1e-9), 0.0, 1.0).any()


def test_what_overflows_shows_nothing() -> None:
    """Beyond all floats a number may have either sign: ∞ ± ∞ is no witness."""
    blown = [Scale("multiply", f32(3e38)) for _ in range(9)]
    network = chain(
        (1,), Dense(f32([[1], [-1]]), f32([0, 0])), *blown, Relu(),
        Dense(f32([[1, 2], [3, 4]]), f32([0, 0])),
    )  # fmt: skip
    assert not one(network, [1, 0], [0.5])
    assert not one(network, [0, 1], [0.5])
    calm = chain((1,), *(n.operator for n in network.nodes if n.operator not in blown))
    assert one(calm, [1, 0], [0.5])
    assert not one(calm, [1, 0], [0.5], radius=float("nan"))


def test_flat_areas_of_an_image_have_a_pattern_with_an_interior() -> None:
    """A max pool over equal numbers ties everywhere; a small step says which way to break them."""
    rng = np.random.default_rng(1)
    convolution = Convolution(f32(rng.normal(size=(3, 1, 3, 3))), f32(rng.normal(size=3)))
    network = chain(
        (1, 10, 10), convolution, MaxPool((2, 2), (2, 2)), Relu(), Reshape((48,)),
        Dense(f32(rng.normal(size=(3, 48))), f32(rng.normal(size=3))),
    )  # fmt: skip
    x = np.zeros((4, 1, 10, 10))
    x[:, :, 3:5, 4:6] = rng.random((4, 1, 2, 2))
    tied = evaluate(network, x)[1] == 0
    assert (tied.sum(axis=1) > 50).all()
    bits = inward_pattern(network, x, 0.0, 1.0)
    np.testing.assert_array_equal(bits[~tied], pattern(network, x)[~tied])
    assert has_interior(network, bits, x, np.full(4, 0.01), 0.0, 1.0).all()
    against = bits ^ (tied & (np.cumsum(tied, axis=1) % 2 == 0))
    assert not has_interior(network, against, x, np.full(4, 0.01), 0.0, 1.0).any()
    # and that is what patches are made of
    request = Request(x.astype(np.float32), np.zeros(4, dtype=np.int64))
    made = measure(network, request.x, resolve_settings())
    np.testing.assert_array_equal(made.bits, bits)
