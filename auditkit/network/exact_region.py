"""What holds at a record and on its claimed set, in exact numbers: rounded once, when handed out.

The same questions as in `region`, with the same answers but for rounding.
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
from auditkit.network.integers import TooWideError
from auditkit.network.region import Box
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

    box: Box
    logits: Exact
    jacobian: Exact  # [N, C, features]

    @staticmethod
    def at(network: Network, bits: Bits, box: Box) -> ExactPiece:
        """Freeze the patterns [N, H] and differentiate every logit."""
        count, classes = len(bits), network.classes
        (logits,) = _in_passes(
            network,
            count,
            lambda rows: Frozen(network, bits[rows]).forward(Exact.of(box.x[rows]), EXACT)[:1],
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
        return ExactPiece(box, logits, jacobian)

    def logit_bounds(self) -> Enclosure:
        """Return every logit's range over the box, [N, C]."""
        least = EXACT.add(self.logits, _least(self.box, self.jacobian))
        greatest = EXACT.add(self.logits, _greatest(self.box, self.jacobian))
        return Enclosure(least.lower, greatest.upper)

    def lead_bounds(self, target: Index) -> F64:
        """Return upper bounds [N, C] on f_j - f_target over the box; -inf for the target itself."""
        gradient = _lead(self.jacobian, target)
        bound = EXACT.add(_lead(self.logits, target), _greatest(self.box, gradient)).upper
        bound[np.arange(len(target)), target] = -np.inf
        return bound


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
    if not (np.isfinite(where_positive).all() and np.isfinite(where_negative).all()):
        raise TooWideError("a box that is wider than all floats")
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
