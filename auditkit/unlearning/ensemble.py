"""Several networks of one architecture as one network whose logits are the mean of theirs.

A model trained in shards is many networks. As one piecewise-linear network it is evaluated, written
and audited like any other: the branches read the same input, and their logits are added and scaled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from auditkit.network.digest import semantic_digest
from auditkit.network.graph import Add, Network, Node, Scale


def ensemble(branches: Sequence[Network]) -> Network:
    """Return the network whose logits [C] are the mean of the branches' logits.

    ValueError for no branch, or for branches of different shapes or dtypes.
    """
    first = branches[0] if branches else None
    if first is None or any(
        (b.input_shape, b.shapes, b.dtype) != (first.input_shape, first.shapes, first.dtype)
        for b in branches
    ):
        raise ValueError("branches of one architecture are needed")
    if len(branches) == 1:
        return first
    nodes: list[Node] = []
    ends: list[int] = []
    for branch in branches:
        shift = len(nodes)
        nodes += [Node(n.operator, _moved(n.inputs, shift)) for n in branch.nodes]
        ends.append(len(nodes))
    total = ends[0]
    for end in ends[1:]:
        nodes.append(Node(Add(), (total, end)))
        total = len(nodes)
    share = np.asarray(1.0 / len(branches), dtype=first.dtype)
    nodes.append(Node(Scale("multiply", share), (total,)))
    return Network(first.input_shape, tuple(nodes), first.dtype)


def branches_of(network: Network, count: int) -> list[Network]:
    """Return the branches of which `ensemble` made a network; ValueError when it did not."""
    if count == 1:
        return [network]
    each, rest = divmod(len(network.nodes) - count, count)  # count - 1 additions and a scale
    if count < 1 or rest or each < 1:
        raise ValueError(f"this is no mean of {count} networks")
    branches = []
    for shift in range(0, each * count, each):
        nodes = [
            Node(n.operator, _moved(n.inputs, -shift)) for n in network.nodes[shift : shift + each]
        ]
        branches.append(Network(network.input_shape, tuple(nodes), network.dtype))
    if semantic_digest(ensemble(branches)) != semantic_digest(network):
        raise ValueError(f"this is no mean of {count} networks")
    return branches


def _moved(inputs: tuple[int, ...], shift: int) -> tuple[int, ...]:
    """Return the values that a node reads, among others; the input stays the input."""
    return tuple(source if source == 0 else source + shift for source in inputs)
