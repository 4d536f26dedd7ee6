"""Run a network on a batch, on any kind of number: its logits, its units, its patterns."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from auditkit.network.graph import Add, Array, MaxPool, Network, Relu
from auditkit.network.numbers import PLAIN, Arithmetic
from auditkit.network.tournament import by_value, play
from auditkit.network.units import UnitLayout, unit_layout

V = TypeVar("V")
Bits = NDArray[np.bool_]


def evaluate(network: Network, x: V, arithmetic: Arithmetic[V] = PLAIN) -> tuple[V, V]:  # type: ignore[assignment]
    """Return logits [N, C] and pre-activations [N, H] at `x` [N, *input_shape].

    Max pools take the maximum; their comparisons appear as units only.
    """
    last, collected = evaluate_nodes(network, x, arithmetic)
    return last, join_units(unit_layout(network), collected, arithmetic, last)


def evaluate_nodes(
    network: Network,
    x: V,
    arithmetic: Arithmetic[V] = PLAIN,  # type: ignore[assignment]
) -> tuple[V, list[V]]:
    """Return logits [N, C] and every node's pre-activations, dropped units too, still apart."""
    layout = unit_layout(network)
    collected: list[V] = []
    values = Values(network, x)
    for index, node in enumerate(network.nodes):
        source = values[node.inputs[0]]
        if isinstance(node.operator, Relu):
            collected.append(arithmetic.structural(flat, source))
        elif isinstance(node.operator, MaxPool):
            rounds = play(layout.tournaments[index], source, arithmetic, by_value(arithmetic))
            collected.append(_joined([units for units, _ in rounds], source, arithmetic))
        values.store(index, _step(network, index, values, arithmetic))
    return values.last, collected


def logits(network: Network, x: Array, *, batch: int = 4096) -> Array:
    """Return the logits [N, C] of `x` [N, *input_shape] in the dtype of `x`, batch by batch."""
    result = np.zeros((len(x), network.classes), dtype=x.dtype)
    for start in range(0, len(x), batch):
        values = Values(network, x[start : start + batch])
        for index in range(len(network.nodes)):
            values.store(index, _step(network, index, values, PLAIN))
        result[start : start + batch] = values.last
    return result


def pattern(network: Network, x: Array) -> Bits:
    """Return the activation patterns [N, H] of `x` [N, *input_shape], in its dtype; a tie is 0."""
    return evaluate(network, x)[1] > 0


def _step(network: Network, index: int, values: Values, arithmetic: Arithmetic[Any]) -> Any:
    node = network.nodes[index]
    source = values[node.inputs[0]]
    match node.operator:
        case Relu():
            return arithmetic.relu(source)
        case MaxPool():
            return arithmetic.maximum(node.operator, source)
        case Add():
            return arithmetic.add(source, values[node.inputs[1]])
        case operator:
            return arithmetic.affine(operator, source, constant=True)


class Values:
    """Values by number, each dropped after its last use so that memory stays bounded."""

    def __init__(self, network: Network, x: Any) -> None:
        self._last_use = _last_use(network)
        self._values = {0: x}
        self._count = len(network.nodes)

    def __getitem__(self, number: int) -> Any:
        return self._values[number]

    def store(self, index: int, value: Any) -> None:
        """Keep the output of node `index` and drop what nothing after it reads."""
        for number in self._last_use.get(index, ()):
            self._values.pop(number, None)
        self._values[index + 1] = value

    @property
    def last(self) -> Any:
        return self._values[self._count]


@lru_cache(maxsize=16)
def _last_use(network: Network) -> dict[int, tuple[int, ...]]:
    reader = {source: index for index, node in enumerate(network.nodes) for source in node.inputs}
    uses: dict[int, tuple[int, ...]] = {}
    for source, index in reader.items():
        uses[index] = (*uses.get(index, ()), source)
    return uses


def flat(v: Array) -> Array:
    """Return a batch with one axis for each record's numbers."""
    return v.reshape(len(v), -1)


def join_units(layout: UnitLayout, parts: list[V], arithmetic: Arithmetic[V], like: V) -> V:
    """Return the kept units [N, H] out of each node's; `like` gives N where there are none."""
    joined = _joined(parts, like, arithmetic)
    return arithmetic.structural(lambda v: v[:, layout.kept], joined)


def _joined(parts: list[V], like: V, arithmetic: Arithmetic[V]) -> V:
    """Return [N, units] out of parts; `like` gives N where there are none."""
    parts = [arithmetic.structural(lambda v: flat(v)[:, :0], like), *parts]
    return arithmetic.structural(lambda *vs: np.concatenate(vs, axis=1), *parts)
