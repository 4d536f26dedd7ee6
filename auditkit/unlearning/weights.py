"""A network's weights as one vector, in the order of its nodes.

What training leaves behind, updates and checkpoints, is kept as vectors of this order.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.network.graph import Convolution, Dense, Network, Node


def weights_of(network: Network) -> NDArray[Any]:
    """Return [P] of the network's dtype: weight, then bias, of every layer that learns."""
    parts = [part.ravel() for operator in _learned(network) for part in _both(operator)]
    return np.concatenate(parts)


def with_weights(network: Network, weights: NDArray[Any]) -> Network:
    """Return the network with these weights [P], rounded to its dtype; ValueError if not P."""
    if weights.shape != weights_of(network).shape:
        raise ValueError(f"{len(weights)} weights, where it has {len(weights_of(network))}")
    nodes, at = [], 0
    for node in network.nodes:
        operator = node.operator
        if isinstance(operator, (Dense, Convolution)):
            weight, bias = (np.empty_like(part, order="C") for part in _both(operator))
            for part in (weight, bias):
                part[...] = weights[at : at + part.size].reshape(part.shape)
                at += part.size
            operator = dataclasses.replace(operator, weight=weight, bias=bias)
        nodes.append(Node(operator, node.inputs))
    return Network(network.input_shape, tuple(nodes), network.dtype)


def _learned(network: Network) -> list[Dense | Convolution]:
    return [n.operator for n in network.nodes if isinstance(n.operator, (Dense, Convolution))]


def _both(operator: Dense | Convolution) -> tuple[NDArray[Any], NDArray[Any]]:
    return operator.weight, operator.bias
