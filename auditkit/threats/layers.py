"""Networks looked at, and changed, layer by layer: features, rounding, scales of hidden units.

The head is what nothing learned comes after: the last dense layer, or the last one of each branch
of an ensemble. What it reads are the penultimate features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditkit.network.evaluate import logits
from auditkit.network.graph import (
    Array,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Node,
    Relu,
    Reshape,
)

F64 = NDArray[np.float64]
Change = Callable[[Array], Array]

SWEEPS = 12  # over the layers, after which few-layered networks have settled


def heads(network: Network) -> list[int]:
    """Return the nodes of the head: dense, after what was learned and before nothing that was.

    Empty where the last learned layer is a convolution, or is the only one.
    """
    nodes = network.nodes
    learned = [isinstance(node.operator, (Dense, Convolution)) for node in nodes]
    before, after = [False], [False] * (len(nodes) + 1)  # by value; the input first
    for index, node in enumerate(nodes):
        before.append(learned[index] or any(before[source] for source in node.inputs))
    for index in reversed(range(len(nodes))):
        for source in nodes[index].inputs:
            after[source] = after[source] or after[index + 1] or learned[index]
    last = [i for i, _ in enumerate(nodes) if learned[i] and not after[i + 1]]
    deep = all(isinstance(nodes[i].operator, Dense) and before[nodes[i].inputs[0]] for i in last)
    return last if deep else []


def bent(network: Network) -> list[bool]:
    """Return by value, the input first, whether it is a ReLU or maximum of what was learned.

    Or comes after one. Every other value is affine in the input, or in what is fixed.
    """
    learned, found = [False], [False]
    for node in network.nodes:
        operator = node.operator
        some = any(learned[source] for source in node.inputs)
        bends = some and isinstance(operator, (Relu, MaxPool))
        found.append(bends or any(found[source] for source in node.inputs))
        learned.append(some or isinstance(operator, (Dense, Convolution)))
    return found


def one_layer(network: Network) -> bool:
    """Return whether no ReLU or maximum stands between two learned layers.

    What such a network can learn is what one layer can, a convex problem: any training to its end
    finds the same function.
    """
    after = bent(network)
    return not any(
        isinstance(node.operator, (Dense, Convolution)) and after[node.inputs[0]]
        for node in network.nodes
    )


def layers_read(network: Network) -> list[int]:
    """Return the dense nodes that read what another layer has learned."""
    before = [False]
    found = []
    for index, node in enumerate(network.nodes):
        learned = isinstance(node.operator, (Dense, Convolution))
        reads = any(before[source] for source in node.inputs)
        if isinstance(node.operator, Dense) and reads:
            found.append(index)
        before.append(learned or reads)
    return found


def width(network: Network, node: int) -> int:
    """Return how many numbers a node reads of one record."""
    return int(np.prod(network.shapes[network.nodes[node].inputs[0]]))


def read_by(network: Network, node: int, x: NDArray[np.floating]) -> F64:
    """Return what a node reads [N, D] at records [N, ...], as float64."""
    source = network.nodes[node].inputs[0]
    shaped = x.reshape(len(x), *network.input_shape).astype(network.dtype)
    size = width(network, node)
    if size < 2:  # no network has a single output
        return np.zeros((len(x), size))
    flat = Node(Reshape((size,)), (source,))
    cut = Network(network.input_shape, (*network.nodes[:source], flat), network.dtype)
    with np.errstate(all="ignore"):
        return logits(cut, shaped).astype(np.float64)


def changed_weights(network: Network, change: Change) -> Network:
    """Return the network with every learned weight, not the biases, changed by a function."""
    nodes = []
    for node in network.nodes:
        operator = node.operator
        if isinstance(operator, (Dense, Convolution)):
            with np.errstate(all="ignore"):
                weight = change(operator.weight).astype(network.dtype)
            operator = replace(operator, weight=weight)
        nodes.append(Node(operator, node.inputs))
    return Network(network.input_shape, tuple(nodes), network.dtype)


def rounded_to(bits: int) -> Change:
    """Return symmetric rounding of a tensor to `bits` bits, scaled by its largest number."""

    def change(weight: Array) -> Array:
        step = float(np.abs(weight).max()) / (2 ** (bits - 1) - 1)
        return np.round(weight / step) * step if step > 0 else weight

    return change


def pruned_of(share: float) -> Change:
    """Return the removal of this share of a tensor's numbers, the smallest."""

    def change(weight: Array) -> Array:
        return np.where(np.abs(weight) < np.quantile(np.abs(weight), share), 0, weight)

    return change


def noise_of(size: float, seed: list[int]) -> Change:
    """Return Gaussian noise of `size` times a tensor's root mean square."""
    generator = np.random.default_rng(seed)

    def change(weight: Array) -> Array:
        return weight + size * rms(weight) * generator.standard_normal(weight.shape)

    return change


def rms(weight: Array) -> float:
    """Return the root mean square of a tensor, not to overflow before it must."""
    most = float(np.abs(weight).max(initial=0.0))
    return most * float(np.sqrt(np.mean((weight / most) ** 2, dtype=np.float64))) if most else 0.0


def hidden_pairs(network: Network) -> list[tuple[int, int]]:
    """Return nodes (a, b), dense both, b reading a through ReLU only and nobody else reading it.

    Their hidden units can be permuted and scaled without a change of the function.
    """
    reads: dict[int, list[int]] = {}
    for index, node in enumerate(network.nodes):
        for source in node.inputs:
            reads.setdefault(source, []).append(index)
    found = []
    dense = [i for i, node in enumerate(network.nodes) if isinstance(node.operator, Dense)]
    for first in dense:
        relus = reads.get(first + 1, [])
        if len(relus) != 1 or not isinstance(network.nodes[relus[0]].operator, Relu):
            continue
        after = reads.get(relus[0] + 1, [])
        if len(after) == 1 and after[0] in dense and len(network.shapes[first + 1]) == 1:
            found.append((first, after[0]))
    return found


def with_units(network: Network, first: int, second: int, order: Array, scale: F64) -> Network:
    """Return the same function with the hidden units of a pair in another order, each scaled.

    `scale` [H] is positive: a unit gives `scale` times what it gave, and is read so much less.
    """
    nodes = list(network.nodes)
    one, two = nodes[first].operator, nodes[second].operator
    assert isinstance(one, Dense) and isinstance(two, Dense)
    kind = network.dtype
    nodes[first] = replace(
        nodes[first],
        operator=Dense(
            (one.weight[order] * scale[:, None]).astype(kind),
            (one.bias[order] * scale).astype(kind),
        ),
    )
    nodes[second] = replace(
        nodes[second], operator=Dense((two.weight[:, order] / scale).astype(kind), two.bias)
    )
    return Network(network.input_shape, tuple(nodes), kind)


def balanced(network: Network) -> Network:
    """Return the same function with hidden units that are read as strongly as they read.

    Whoever scales units cannot then make weights look large or small: rates of learning, noise and
    pruning mean the same: of all such scalings the one of least squared weights is unique, and
    going through the layers again and again finds it (Stock et al., ICLR 2019). Units of
    convolutions are left as they are.
    """
    for first, second in hidden_pairs(network) * SWEEPS:
        one, two = network.nodes[first].operator, network.nodes[second].operator
        assert isinstance(one, Dense) and isinstance(two, Dense)
        reads = np.linalg.norm(one.weight.astype(np.float64), axis=1)
        read = np.linalg.norm(two.weight.astype(np.float64), axis=0)
        good = (reads > 0) & (read > 0)
        scale = np.ones(len(reads))
        scale[good] = np.sqrt(read[good] / reads[good])
        try:
            network = with_units(network, first, second, np.arange(len(reads)), scale)
        except ValueError:  # numbers so far apart that the product is none
            continue
    return network


def change_by_layer(one: Network, other: Network) -> list[float] | None:
    """Return the norm of each layer's change relative to the layer; None for other layers."""
    pairs = [
        (a.operator.weight, b.operator.weight)
        for a, b in zip(one.nodes, other.nodes, strict=False)
        if isinstance(a.operator, (Dense, Convolution))
        and isinstance(b.operator, (Dense, Convolution))
    ]
    if not same_layers(one, other):
        return None
    return [float(rms(b - a) / (rms(a) or 1.0)) for a, b in pairs]


def same_layers(one: Network, other: Network) -> bool:
    """Return whether two networks have the same wiring and shapes of layers."""
    return (
        len(one.nodes) == len(other.nodes)
        and one.shapes == other.shapes
        and all(
            type(a.operator) is type(b.operator) and a.inputs == b.inputs
            for a, b in zip(one.nodes, other.nodes, strict=True)
        )
    )
