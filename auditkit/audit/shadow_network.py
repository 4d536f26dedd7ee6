"""The audited network as models trained here see it: what of it is learned, and what stays.

A network becomes an architecture to train, and a trained model becomes a network again, which takes
the same records as the audited one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.shadows import architecture as learned
from attacks.shadows.architecture import Architecture
from auditkit.network.graph import (
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Node,
    Operator,
    Pad,
    Relu,
    Reshape,
    Scale,
    Shape,
    Transpose,
)
from auditkit.network.numbers import PLAIN

UNTRAINABLE = (
    "shadow models are trained for chains of fully connected, convolution (ungrouped, undilated), "
    "pooling (unpadded) and ReLU layers only"
)

ROWS = 4096  # records that are prepared at once


def architecture_of(network: Network) -> Architecture | None:
    """Return what shadow models of this network look like; None where none can be trained.

    A chain of dense, convolution, pooling and ReLU layers. What comes before them (`prepared`) is
    done to the records and not learned.
    """
    first = _prepared(network)
    layers: list[learned.Layer] = []
    for index in range(first, len(network.nodes)):
        node = network.nodes[index]
        layer = _layer(node.operator, network.shapes[index], network.shapes[index + 1])
        if layer is None or node.inputs != (index,):
            return None
        layers.append(layer)
    try:
        found = Architecture(network.shapes[first], tuple(layers))
    except ValueError:  # a form of padding that shadow models do not have
        return None
    return found if found.parameters else None


def prepared(network: Network, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return records [N, ...] as the first layer that learns reads them, another shape or scale.

    Reshaping, transposing, scaling and padding before the first layer are the network's own.
    """
    x = x.reshape(len(x), *network.input_shape).astype(network.dtype)
    for node in network.nodes[: _prepared(network)]:
        x = PLAIN.affine(node.operator, x, constant=True)
    return x.astype(np.float32)


def dense_widths(network: Network) -> tuple[int, ...] | None:
    """Return (inputs, hidden..., classes) of a fully connected ReLU network, None for another."""
    found = architecture_of(network)
    return None if found is None else found.widths


def _prepared(network: Network) -> int:
    """Return how many nodes of a chain come before the first layer."""
    for index, node in enumerate(network.nodes):
        if node.inputs != (index,) or not isinstance(
            node.operator, (Reshape, Transpose, Scale, Pad)
        ):
            return index
    return len(network.nodes)


def _layer(operator: Operator, before: Shape, after: Shape) -> learned.Layer | None:
    """Return the layer that learns what an operator computes, None where there is none."""
    match operator:
        case Relu():
            return learned.Relu()
        case Dense() if len(before) == 1:
            return learned.Dense(after[0])
        case Convolution(weight, _, strides, pads, (1, 1), 1) if pads[:2] == pads[2:]:
            return learned.Conv(weight.shape[0], weight.shape[2:], strides, pads[:2])
        case MaxPool(kernel, strides, (0, 0, 0, 0), (1, 1)):
            return learned.Pool("max", kernel, strides)
        case AveragePool(kernel, strides, (0, 0, 0, 0)):
            return learned.Pool("average", kernel, strides)
        case Reshape(shape) if len(shape) == 1:
            return learned.Flatten()
    return None


def described(network: Network) -> str | None:
    """Return the layers that learn in one line, "conv 32×2×2, ReLU, ..."; None where none can."""
    found = architecture_of(network)
    if found is None:
        return None
    return ", ".join(_said(layer) for layer in found.layers)


def _said(layer: learned.Layer) -> str:
    match layer:
        case learned.Dense(outputs):
            return f"dense {outputs}"
        case learned.Conv(channels, kernel):
            return f"conv {channels}×{kernel[0]}×{kernel[1]}"
        case learned.Pool(kind, kernel):
            return f"{kind} pool {kernel[0]}×{kernel[1]}"
        case learned.Relu():
            return "ReLU"
        case learned.Flatten():
            return "flatten"


@dataclass(frozen=True, eq=False)
class Reading:
    """How the models trained here read records of the audited network's input.

    What comes before the network's first layer that learns is its own; then all is divided by the
    largest number of the records trained on, so that training converges at any scale.
    """

    network: Network
    largest: float

    def __call__(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Return records [N, ...] as the first layer that learns reads them, float32."""
        return prepared(self.network, x) / np.float32(self.largest)


def read_for_training(
    network: Network, parts: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], Reading]:
    """Return the records of all parts as models are trained on them, and how others are read.

    The network is one that has an `architecture_of`. Memory beyond the result is bounded.
    """
    x = np.empty((sum(map(len, parts)), *network.shapes[_prepared(network)]), dtype=np.float32)
    at = 0
    for part in parts:
        for start in range(0, len(part), ROWS):
            block = part[start : start + ROWS]
            x[at : at + len(block)] = prepared(network, block)
            at += len(block)
    largest = float(max(x.max(), -x.min())) or 1.0
    x /= np.float32(largest)
    return x, Reading(network, largest)


def as_network(
    architecture: Architecture, layers: Any, dtype: np.dtype[Any], reading: Reading | None = None
) -> Network:
    """Return a trained model as a network; layers are (weight, bias) of those that have any.

    With a reading it takes the audited network's own input: what comes first is copied from that,
    and the division is in the weights of the first layer. What lies between (ReLU, pooling) keeps a
    positive factor.
    """
    weights = iter(layers)
    shape, nodes = architecture.input_shape, list[Node]()
    divisor = np.float64(1.0)
    if reading is not None:
        shape = reading.network.input_shape
        nodes += reading.network.nodes[: _prepared(reading.network)]
        divisor = np.float64(reading.largest)
    for layer, after in zip(architecture.layers, architecture.shapes[1:], strict=True):
        operator: Operator
        match layer:
            case learned.Relu():
                operator = Relu()
            case learned.Flatten():
                operator = Reshape(after)
            case learned.Dense():
                weight, bias = next(weights)
                operator = Dense((weight / divisor).astype(dtype), bias.astype(dtype))
                divisor = np.float64(1.0)
            case learned.Conv():
                weight, bias = next(weights)
                pads = (*layer.padding, *layer.padding)
                scaled = (weight / divisor).astype(dtype)
                operator = Convolution(scaled, bias.astype(dtype), layer.stride, pads)
                divisor = np.float64(1.0)
            case learned.Pool():
                pool = MaxPool if layer.kind == "max" else AveragePool
                operator = pool(layer.kernel, layer.stride)
        nodes.append(Node(operator, (len(nodes),)))
    return Network(shape, tuple(nodes), dtype)
