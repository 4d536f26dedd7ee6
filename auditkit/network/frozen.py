"""A network with each record's activation pattern frozen: affine, and never formed as a matrix.

With pattern s the logits are J_s x + c_s and every pre-activation z_u is affine too. J_s v is one
masked forward pass without constants, J_sᵀ w one masked backward pass; a combination of any
number of rows ∇z_u is the same backward pass with the coefficients injected at the units.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from auditkit.network import tournament
from auditkit.network.evaluate import Values, flat, join_units
from auditkit.network.graph import Add, Array, MaxPool, Network, Relu, Shape
from auditkit.network.numbers import PLAIN, Arithmetic
from auditkit.network.units import unit_layout

V = TypeVar("V")
Bits = NDArray[np.bool_]


class Frozen:
    """The affine piece of each of N patterns; rows of a batch go with rows of `bits`."""

    def __init__(self, network: Network, bits: Bits) -> None:
        """Take patterns `bits` [N, H]; ValueError when the width is not the number of units."""
        self.network = network
        self.layout = unit_layout(network)
        if bits.ndim != 2 or bits.shape[1] != self.layout.count:
            raise ValueError(f"patterns {list(bits.shape)} for {self.layout.count} units")
        self.bits = bits
        self._all = np.zeros((len(bits), self.layout.total), dtype=bool)
        self._all[:, self.layout.kept] = bits

    def repeat(self, times: int) -> Frozen:
        """Return each pattern `times` times in a row, for several objectives a record."""
        return Frozen(self.network, np.repeat(self.bits, times, axis=0))

    def forward(
        self,
        x: V,
        arithmetic: Arithmetic[V] = PLAIN,  # type: ignore[assignment]
        *,
        constant: bool = True,
    ) -> tuple[V, V]:
        """Return logits [N, C] and pre-activations [N, H] of the frozen network at `x`.

        Without `constant`, of its linear part: J_s x and the derivative of each unit along x.
        """
        values = Values(self.network, x)
        collected: list[V] = []
        for index, node in enumerate(self.network.nodes):
            source = values[node.inputs[0]]
            shape = self.network.shapes[index + 1]
            match node.operator:
                case Relu():
                    collected.append(arithmetic.structural(flat, source))
                    result = self._masked(index, source, shape, arithmetic)
                case MaxPool():
                    plan = self.layout.tournaments[index]
                    choose = tournament.by_bits(plan, self._span(index), arithmetic)
                    slots = arithmetic.structural(  # what a window of one number gives
                        lambda v, p=plan: flat(v)[:, p.players[:, :1]], source
                    )
                    for units, winners in tournament.play(plan, source, arithmetic, choose):
                        collected.append(units)
                        slots = winners
                    result = arithmetic.structural(
                        lambda v, s=shape: v[:, :, 0].reshape(len(v), *s), slots
                    )
                case Add():
                    result = arithmetic.add(source, values[node.inputs[1]])
                case operator:
                    result = arithmetic.affine(operator, source, constant=constant)
            values.store(index, result)
        return values.last, join_units(self.layout, collected, arithmetic, values.last)

    def adjoint(
        self,
        g: V,
        arithmetic: Arithmetic[V] = PLAIN,  # type: ignore[assignment]
        *,
        injections: V | None = None,
    ) -> V:
        """Return J_sᵀ g + Σ_u c_u ∇z_u as [N, *input_shape], for g [N, C], injections c [N, H]."""
        network = self.network
        spread = None
        if injections is not None:
            spread = arithmetic.structural(self._spread, injections)
        gradients: dict[int, V] = {len(network.nodes): g}

        def receive(source: int, value: V) -> None:
            known = gradients.get(source)
            gradients[source] = value if known is None else arithmetic.add(known, value)

        for index in reversed(range(len(network.nodes))):
            node = network.nodes[index]
            shape = network.shapes[node.inputs[0]]
            back = gradients.pop(index + 1, None)
            span = self.layout.spans.get(index)
            injected = None
            if span is not None and spread is not None:
                injected = arithmetic.structural(lambda c, s=span: c[:, s], spread)
            if back is None and injected is None:
                continue
            match node.operator:
                case Relu():
                    if back is not None:
                        receive(node.inputs[0], self._masked(index, back, shape, arithmetic))
                    if injected is not None:
                        receive(
                            node.inputs[0],
                            arithmetic.structural(
                                lambda c, s=shape: c.reshape(len(c), *s), injected
                            ),
                        )
                case MaxPool():
                    plan = self.layout.tournaments[index]
                    total = tournament.adjoint(plan, self._span(index), back, injected, arithmetic)
                    receive(
                        node.inputs[0],
                        arithmetic.structural(lambda v, s=shape: v.reshape(len(v), *s), total),
                    )
                case Add():
                    assert back is not None
                    for source in node.inputs:
                        receive(source, back)
                case operator:
                    assert back is not None
                    receive(node.inputs[0], arithmetic.adjoint(operator, back, shape))
        if 0 in gradients:
            return gradients[0]
        return arithmetic.structural(
            lambda v: np.zeros((len(v), *network.input_shape), dtype=v.dtype), g
        )

    def _span(self, index: int) -> Bits:
        return self._all[:, self.layout.spans[index]]

    def _masked(self, index: int, value: V, shape: Shape, arithmetic: Arithmetic[V]) -> V:
        mask = self._span(index).reshape(-1, *shape)
        return arithmetic.structural(lambda v: v * mask, value)

    def _spread(self, c: Array) -> Array:
        result = np.zeros((len(c), self.layout.total), dtype=c.dtype)
        result[:, self.layout.kept] = c
        return result
