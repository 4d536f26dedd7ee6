"""Looking at layers, and changing weights so that the function stays or nearly stays."""

from __future__ import annotations

import numpy as np

from auditkit.network.evaluate import logits
from auditkit.network.graph import Add, Convolution, Dense, Network, Node, Relu, Reshape
from auditkit.threats.layers import (
    balanced,
    changed_weights,
    heads,
    hidden_pairs,
    layers_read,
    read_by,
    rounded_to,
    with_units,
)
from auditkit.unlearning.ensemble import ensemble

KIND = np.dtype(np.float32)


def dense(generator: np.random.Generator, inputs: int, outputs: int) -> Dense:
    weight = generator.standard_normal((outputs, inputs)).astype(KIND)
    return Dense(weight, generator.standard_normal(outputs).astype(KIND))


def chain(seed: int) -> Network:
    generator = np.random.default_rng(seed)
    parts = (dense(generator, 5, 7), Relu(), dense(generator, 7, 6), Relu())
    nodes = [Node(part, (i,)) for i, part in enumerate((*parts, dense(generator, 6, 3)))]
    return Network((5,), tuple(nodes), KIND)


def test_the_head_is_found_however_layers_are_wired() -> None:
    network = chain(0)
    assert heads(network) == [4] and layers_read(network) == [2, 4]
    assert hidden_pairs(network) == [(0, 2), (2, 4)]
    both = ensemble([chain(0), chain(1)])
    assert heads(both) == [4, 9]
    linear = Network((5,), (network.nodes[0],), KIND)
    assert heads(linear) == []
    kernel = np.ones((3, 1, 2, 2), KIND)
    last = (
        Node(Reshape((1, 2, 2)), (0,)),
        Node(Convolution(kernel, np.zeros(3, KIND)), (1,)),
        Node(Reshape((3,)), (2,)),
    )
    assert heads(Network((4,), last, KIND)) == []
    skip = Network((5,), (*chain(0).nodes, Node(Add(), (5, 5))), KIND)
    assert heads(skip) == [4]


def test_what_the_head_reads_gives_the_logits() -> None:
    network = chain(2)
    x = np.random.default_rng(0).standard_normal((9, 5)).astype(KIND)
    head = network.nodes[4].operator
    assert isinstance(head, Dense)
    again = read_by(network, 4, x) @ head.weight.T + head.bias
    np.testing.assert_allclose(again, logits(network, x), rtol=1e-4, atol=1e-4)


def test_scaled_and_permuted_units_are_the_same_function_and_are_balanced_back() -> None:
    network = chain(3)
    generator = np.random.default_rng(1)
    x = generator.standard_normal((50, 5)).astype(KIND)
    changed = network
    for first, second in hidden_pairs(network):
        units = network.shapes[first + 1][0]
        scale = np.exp(generator.uniform(-3, 3, units))
        changed = with_units(changed, first, second, generator.permutation(units), scale)
    np.testing.assert_allclose(logits(changed, x), logits(network, x), rtol=1e-3, atol=1e-3)
    one, other = (balanced(n).nodes[0].operator for n in (network, changed))
    assert isinstance(one, Dense) and isinstance(other, Dense)
    np.testing.assert_allclose(  # the same units, in another order
        np.sort(np.linalg.norm(one.weight, axis=1)),
        np.sort(np.linalg.norm(other.weight, axis=1)),
        rtol=1e-2,
    )


def test_rounding_leaves_so_many_numbers() -> None:
    network = changed_weights(chain(4), rounded_to(4))
    for node in network.nodes:
        if isinstance(node.operator, Dense):
            step = np.abs(node.operator.weight).max() / 7
            ratio = node.operator.weight / step
            np.testing.assert_allclose(ratio, np.round(ratio), atol=1e-4)
