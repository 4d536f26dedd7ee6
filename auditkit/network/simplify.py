"""Nodes as a file has them, turned into the fewest that mean the same.

Two operators exist only while an ONNX file is read: a matrix product that may get its bias from
the addition after it, and batch normalisation, which is folded once, in float64, into the dense or
convolutional layer before it and then rounded: the folded network is what is certified.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.network.graph import (
    Array,
    Convolution,
    Dense,
    Network,
    Node,
    Operator,
    Pad,
    Reshape,
    Scale,
    Shape,
    Transpose,
    output_shape,
)


@dataclass(frozen=True, eq=False)
class Matrix:
    """y = x Wᵀ on the last axis; `weight` [out, in]."""

    weight: Array


@dataclass(frozen=True, eq=False)
class Normalisation:
    """y = x · factor + shift for each entry of the first axis; both [channels], float64."""

    factor: NDArray[np.float64]
    shift: NDArray[np.float64]


Unfolded = Operator | Matrix | Normalisation


@dataclass(frozen=True)
class Step:
    """An unfolded node: 0 is the input, i + 1 the output of step i; `shape` is its output's."""

    operator: Unfolded
    inputs: tuple[int, ...]
    shape: Shape


def shape_after(operator: Unfolded, inputs: list[Shape]) -> Shape:
    """Return the output shape of an unfolded operator; ValueError when the inputs do not fit."""
    match operator:
        case Matrix(weight):
            return output_shape(Dense(weight, weight[:, 0]), inputs)
        case Normalisation(factor):
            if not inputs[0] or inputs[0][0] != len(factor):
                raise ValueError(f"{len(factor)} channels on an input of {list(inputs[0])}")
            return inputs[0]
        case _:
            return output_shape(operator, inputs)


def fold(steps: Sequence[Step], dtype: np.dtype[Any]) -> tuple[Node, ...]:
    """Return the steps with biases and batch normalisation folded; constants in `dtype`."""
    uses = Counter(source for step in steps for source in step.inputs)
    uses[len(steps)] += 1  # the last value is the network's output
    nodes: list[Node] = []
    value_of = {0: 0}
    awaits_bias: set[int] = set()
    for index, step in enumerate(steps):
        inputs = tuple(value_of[source] for source in step.inputs)
        before = inputs[0] - 1
        alone = before >= 0 and uses[step.inputs[0]] == 1
        operator, shape = step.operator, step.shape
        folded: Node | None = None
        if alone and before in awaits_bias and _is_bias(operator, shape):
            folded = _with_bias(nodes[before], operator, shape)
        elif alone and isinstance(operator, Normalisation):
            folded = _normalised(nodes[before], operator, shape, dtype)
        if folded is not None:
            nodes[before] = folded
            awaits_bias.discard(before)
            value_of[index + 1] = inputs[0]
            continue
        if isinstance(operator, Matrix):
            awaits_bias.add(len(nodes))
            zeros = np.zeros(len(operator.weight), dtype)
            nodes.append(Node(Dense(operator.weight, zeros), inputs))
        elif isinstance(operator, Normalisation):
            nodes.extend(_as_scales(operator, shape, inputs[0], len(nodes), dtype))
        else:
            nodes.append(Node(operator, inputs))
        value_of[index + 1] = len(nodes)
    return tuple(nodes)


def _is_bias(operator: Unfolded, shape: Shape) -> bool:
    return (
        isinstance(operator, Scale)
        and operator.kind == "add"
        and all(n == 1 for n in operator.constant.shape[:-1])
        and len(operator.constant.shape) <= len(shape)
    )


def _with_bias(node: Node, operator: Unfolded, shape: Shape) -> Node:
    assert isinstance(node.operator, Dense) and isinstance(operator, Scale)
    bias = np.broadcast_to(operator.constant.reshape(-1), shape[-1:]).copy()
    return Node(Dense(node.operator.weight, bias), node.inputs)


def _normalised(
    node: Node, normalisation: Normalisation, shape: Shape, dtype: np.dtype[Any]
) -> Node | None:
    layer = node.operator
    fits = isinstance(layer, Convolution) or (isinstance(layer, Dense) and len(shape) == 1)
    if not fits:
        return None
    assert isinstance(layer, (Convolution, Dense))
    factor, shift = normalisation.factor, normalisation.shift
    column = factor.reshape(-1, *[1] * (layer.weight.ndim - 1))
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused as not finite
        weight = (layer.weight.astype(np.float64) * column).astype(dtype)
        bias = (layer.bias.astype(np.float64) * factor + shift).astype(dtype)
    return Node(dataclasses.replace(layer, weight=weight, bias=bias), node.inputs)


def _as_scales(
    normalisation: Normalisation, shape: Shape, source: int, count: int, dtype: np.dtype[Any]
) -> list[Node]:
    broadcast = (-1, *[1] * (len(shape) - 1))
    with np.errstate(over="ignore"):
        factor = normalisation.factor.astype(dtype).reshape(broadcast)
        shift = normalisation.shift.astype(dtype).reshape(broadcast)
    first = Node(Scale("multiply", factor), (source,))
    return [first, Node(Scale("add", shift), (count + 1,))]


def simplify(network: Network) -> Network:
    """Return the network without operators that change nothing and with reshapes merged.

    Every network that is loaded has been through this, so that what a loaded network is written
    to reads back as the same network.
    """
    while True:
        smaller = _merge_reshapes(_drop_idle(network))
        if len(smaller.nodes) == len(network.nodes):
            return network
        network = smaller


def _drop_idle(network: Network) -> Network:
    nodes: list[Node] = []
    value_of = {0: 0}
    for index, node in enumerate(network.nodes):
        inputs = tuple(value_of[source] for source in node.inputs)
        if _changes_nothing(node.operator, network.shapes[node.inputs[0]]):
            value_of[index + 1] = inputs[0]
        else:
            nodes.append(Node(node.operator, inputs))
            value_of[index + 1] = len(nodes)
    return Network(network.input_shape, tuple(nodes), network.dtype)


def _merge_reshapes(network: Network) -> Network:
    uses = Counter(source for node in network.nodes for source in node.inputs)
    nodes: list[Node] = []
    value_of = {0: 0}
    for index, node in enumerate(network.nodes):
        inputs = tuple(value_of[source] for source in node.inputs)
        before = nodes[inputs[0] - 1] if inputs[0] else None
        if (
            isinstance(node.operator, Reshape)
            and before is not None
            and isinstance(before.operator, Reshape)
            and uses[node.inputs[0]] == 1
        ):
            nodes[inputs[0] - 1] = Node(node.operator, before.inputs)
            value_of[index + 1] = inputs[0]
        else:
            nodes.append(Node(node.operator, inputs))
            value_of[index + 1] = len(nodes)
    return Network(network.input_shape, tuple(nodes), network.dtype)


def _changes_nothing(operator: Operator, shape: Shape) -> bool:
    match operator:
        case Reshape(target):
            return target == shape
        case Transpose(axes):
            return axes == tuple(range(len(shape)))
        case Pad(before, after):
            return not any(before + after)
        case _:
            return False
