"""The units of a network: which there are, in which order, and which of them count.

A unit is one ReLU or one comparison of a max pool. Units are ordered by node in execution order;
within a ReLU in C order over the value, channels first. A unit that cannot reach the output
through weights other than 0 is dropped: a gate must not hang on what the network does not use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from auditkit.network import linear
from auditkit.network.graph import (
    Add,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Operator,
    Relu,
    Scale,
)
from auditkit.network.tournament import Tournament, tournament

Bits = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class UnitLayout:
    """`spans`: each node's units among all; `kept` [all units]: which of them are in a pattern."""

    spans: dict[int, slice]
    tournaments: dict[int, Tournament]
    kept: Bits

    @property
    def total(self) -> int:
        return len(self.kept)

    @property
    def count(self) -> int:
        """H, the number of units in a pattern."""
        return int(self.kept.sum())


@lru_cache(maxsize=16)
def unit_layout(network: Network) -> UnitLayout:
    """Lay out the units of a network."""
    reach = _reach(network)
    spans: dict[int, slice] = {}
    tournaments: dict[int, Tournament] = {}
    kept = []
    start = 0
    for index, node in enumerate(network.nodes):
        reached = reach[index + 1].ravel()
        if isinstance(node.operator, MaxPool):
            plan = tournament(node.operator, network.shapes[node.inputs[0]])
            tournaments[index] = plan
            # every comparison of a window matters if its maximum does
            reached = np.concatenate(
                [np.zeros(0, dtype=bool)]
                + [np.repeat(reached, r.played.sum(axis=1)) for r in plan.rounds]
            )
        elif not isinstance(node.operator, Relu):
            continue
        spans[index] = slice(start, start + len(reached))
        start += len(reached)
        kept.append(reached)
    return UnitLayout(spans, tournaments, np.concatenate([np.zeros(0, dtype=bool), *kept]))


def _reach(network: Network) -> list[Bits]:
    """Return, for every value, which of its numbers can reach the output."""
    reach = [np.zeros(shape, dtype=bool) for shape in network.shapes]
    reach[-1][...] = True
    for index in reversed(range(len(network.nodes))):
        node, wanted = network.nodes[index], reach[index + 1]
        for source in node.inputs:
            shape = network.shapes[source]
            match node.operator:
                case Relu() | Add():
                    reach[source] |= wanted
                case MaxPool():
                    players = tournament(node.operator, shape).players[wanted.ravel()]
                    reach[source].reshape(-1)[players[players >= 0]] = True
                case operator:
                    ones = _indicator(operator)
                    back = linear.adjoint(ones, wanted[None].astype(np.float64), shape)[0]
                    reach[source] |= back > 0
    return reach


def _indicator(operator: Operator) -> Operator:
    """Return the operator with 1 for every weight that is not 0, so that nothing cancels."""
    match operator:
        case Dense(weight, bias):
            return Dense((weight != 0).astype(np.float64), bias)
        case Convolution(weight, bias):
            return Convolution(
                (weight != 0).astype(np.float64),
                bias,
                operator.strides,
                operator.pads,
                operator.dilations,
                operator.groups,
            )
        case Scale("multiply", constant):
            return Scale("multiply", (constant != 0).astype(np.float64))
        case Scale("divide", constant):
            return Scale("divide", np.ones_like(constant))
    return operator
