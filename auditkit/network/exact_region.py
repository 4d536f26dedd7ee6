"""What holds at a record and on its claimed set, in exact numbers: rounded once, when handed out.

The same questions as in `region`, with the same answers but for rounding. Only the ranges of single
units over a box are the float64 ones: they are bounds from intervals, wide beside any rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.network.evaluate import evaluate
from auditkit.network.exact import EXACT, Exact
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Convolution, Network
from auditkit.network.region import Box, unit_ranges
from auditkit.network.rigorous import Enclosure

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

PASS_NUMBERS = 1_000_000  # integers in the widest value of one pass


@dataclass(frozen=True, eq=False)
class ExactSample:
    """The logits [N, C] and pre-activations [N, H] of the network at N records."""

    exact_logits: Exact
    logits: Enclosure
    units: Enclosure

    @staticmethod
    def at(network: Network, x: F64) -> ExactSample:
        """Run the network at `x` [N, *shape], finite."""
        logits, units = _in_passes(
            network, len(x), lambda rows: evaluate(network, Exact.of(x[rows]), EXACT)
        )
        return ExactSample(logits, _enclosure(logits), _enclosure(units))

    def lead(self, target: Index) -> Enclosure:
        """Return f_j - f_target, [N, C]."""
        return _enclosure(_lead(self.exact_logits, target))


@dataclass(frozen=True, eq=False)
class ExactPiece:
    """The affine pieces of N patterns around their records, on their boxes; see `region.Piece`."""

    frozen: Frozen
    box: Box
    exact_logits: Exact
    exact_units: Exact
    jacobian: Exact  # [N, C, features]
    units: Enclosure

    @staticmethod
    def at(network: Network, bits: Bits, box: Box) -> ExactPiece:
        """Freeze the patterns [N, H] and differentiate every logit."""
        count, classes = len(bits), network.classes
        logits, units = _in_passes(
            network,
            count,
            lambda rows: Frozen(network, bits[rows]).forward(Exact.of(box.x[rows]), EXACT),
        )
        seeds = np.tile(np.eye(classes), (count, 1))
        owner = np.repeat(np.arange(count), classes)
        (rows,) = _in_passes(
            network,
            len(seeds),
            lambda rows: (
                Frozen(network, bits[owner[rows]]).adjoint(Exact.of(seeds[rows]), EXACT),
            ),
        )
        jacobian = rows.moved(rows.numbers.reshape(count, classes, -1))
        return ExactPiece(Frozen(network, bits), box, logits, units, jacobian, _enclosure(units))

    def logit_bounds(self) -> Enclosure:
        """Return every logit's range over the box, [N, C]."""
        least = EXACT.add(self.exact_logits, _least(self.box, self.jacobian))
        greatest = EXACT.add(self.exact_logits, _greatest(self.box, self.jacobian))
        return Enclosure(least.lower, greatest.upper)

    def lead_bounds(self, target: Index) -> F64:
        """Return upper bounds [N, C] on f_j - f_target over the box; -inf for the target itself."""
        gradient = _lead(self.jacobian, target)
        bound = EXACT.add(_lead(self.exact_logits, target), _greatest(self.box, gradient)).upper
        bound[np.arange(len(target)), target] = -np.inf
        return bound

    def unit_ranges(self) -> tuple[F64, F64]:
        """Return bounds [N, H] on every pre-activation over the region within the box."""
        return unit_ranges(self.frozen, self.box)

    def sum_floor(self, rows: Index, wanted: Bits, cost: F64) -> F64:
        """Return lower bounds [K] of Σ_u (σ_u z_u - cost_u) over `wanted` units [K, H].

        Row k speaks of record `rows[k]`; where a wanted cost is infinite, nothing is known.
        """
        network, bits = self.frozen.network, self.frozen.bits[rows]
        sign = np.where(bits, 1.0, -1.0) * wanted
        known = np.all(~wanted | np.isfinite(cost[rows]), axis=1)
        costs = Exact.of(np.where(wanted & known[:, None], cost[rows], 0.0))
        (gradient,) = _in_passes(
            network, len(rows), lambda part: (_sums(network, bits, sign, part),)
        )
        gradient = gradient.moved(gradient.numbers.reshape(len(rows), 1, -1))
        box = Box(self.box.x[rows], self.box.step_lower[rows], self.box.step_upper[rows])
        terms = EXACT.subtract(self.exact_units[rows].times(Exact.of(sign)), costs)
        floor = EXACT.add(terms.total(axis=1)[:, None], _least(box, gradient))
        return np.where(known, floor.lower[:, 0], -np.inf)


def _sums(network: Network, bits: Bits, sign: F64, part: slice) -> Exact:
    """Return the gradients of Σ_u sign_u z_u of the patterns `bits`."""
    zero = Exact.of(np.zeros((len(bits[part]), network.classes)))
    return Frozen(network, bits[part]).adjoint(zero, EXACT, injections=Exact.of(sign[part]))


def _lead(values: Exact, target: Index) -> Exact:
    """Subtract from `values` [N, C, …] what they are at the target."""
    return EXACT.subtract(values, values[np.arange(len(target)), target][:, None])


def _greatest(box: Box, gradient: Exact) -> Exact:
    """Return the greatest gradient · δ, [N, K], over the boxes for `gradient` [N, K, features]."""
    return _extreme(gradient, box.step_upper, box.step_lower)


def _least(box: Box, gradient: Exact) -> Exact:
    return _extreme(gradient, box.step_lower, box.step_upper)


def _extreme(gradient: Exact, where_positive: F64, where_negative: F64) -> Exact:
    n = len(where_positive)
    ends = Exact.of(np.stack([where_positive.reshape(n, 1, -1), where_negative.reshape(n, 1, -1)]))
    steps = np.where(gradient.numbers > 0, ends.numbers[0], ends.numbers[1])
    return gradient.times(ends.moved(steps)).total(axis=2)


def _enclosure(values: Exact) -> Enclosure:
    return Enclosure(values.lower, values.upper)


def _in_passes(
    network: Network, count: int, run: Callable[[slice], tuple[Exact, ...]]
) -> list[Exact]:
    """Run `count` rows part by part, so that memory stays bounded, and put the parts together."""
    parts = [run(rows) for rows in _passes(network, count)]
    return [
        EXACT.structural(lambda *v: np.concatenate(v), *values)
        for values in zip(*parts, strict=True)
    ]


def _passes(network: Network, count: int) -> Iterator[slice]:
    size = max(1, PASS_NUMBERS // _widest(network))
    for start in range(0, max(count, 1), size):
        yield slice(start, min(start + size, count))


def _widest(network: Network) -> int:
    """Return the numbers of one record, at most, in a value or in what a convolution multiplies."""
    widest = max(int(np.prod(shape)) for shape in network.shapes)
    for node, shape in zip(network.nodes, network.shapes[1:], strict=True):
        if isinstance(node.operator, Convolution):
            columns = int(np.prod(node.operator.weight.shape[1:])) * node.operator.groups
            widest = max(widest, columns * int(np.prod(shape[1:])))
    return widest
