"""Bounds over the whole input box by linear relaxation: what a suppressed class rests on.

The extremes of a linear function of any value of the network are bounded by one backward pass:
where a unit z in [l, u] may take either sign, ReLU(z) lies between α z and s z + t for any slopes
α, s in [0, 1], with t the greatest of ReLU(z) - s z at l and u (Zhang et al., CROWN, 2018; Singh
et al., DeepPoly, 2019). Max pools are their tournaments a + ReLU(b - a). Slopes are advice: a bad
one costs tightness only. Coefficients are balls; what they are unsure of goes into the constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from auditkit.network import linear
from auditkit.network.evaluate import Values
from auditkit.network.graph import Add, MaxPool, Network, Relu
from auditkit.network.interval import logit_difference_ceiling
from auditkit.network.region import Box
from auditkit.network.rigorous import RIGOROUS, SMALLEST, UNIT, Ball, enlarge, gamma
from auditkit.network.tournament import Tournament, by_value, play, split_rounds, tournament

F64 = NDArray[np.float64]

PRODUCTS = 2e9  # that tightening the bounds of units may cost
ROWS_AT_ONCE = 4_000_000  # numbers of one value for all objectives of a backward pass
SHARES = 1 << 20  # weights of a mean of logits are multiples of its inverse: they sum to 1
MOVES = (2, 3, 4, 6, 8, 12, 16)  # what part of the weights moves, step by step


@dataclass(frozen=True)
class Ceiling:
    """A bound on f_label - max of the others over the box, by `method`, and the deployed error."""

    bound: float
    error: float
    method: str


@lru_cache(maxsize=16)
def lead_ceiling(network: Network, label: int, lower: float, upper: float) -> Ceiling:
    """Return the better of the interval bound and the relaxed bound of a class's lead."""
    bound, error = logit_difference_ceiling(network, label, lower, upper)
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow bounds nothing
        relaxed = Relaxation(network, lower, upper).lead(label)
    if relaxed < bound or not bound < np.inf:
        return Ceiling(relaxed, error, "linear relaxation")
    return Ceiling(bound, error, "intervals")


@dataclass(frozen=True, eq=False)
class Lines:
    """The relaxed units of a node: `upper_slope` s with constant `lift` t, `lower_slope` α.

    `most` bounds the magnitude of what comes out. All are arrays over the units, [positions,
    pairs] for one round of a max pool; `most` of a max pool is [positions].
    """

    upper_slope: F64
    lift: F64
    lower_slopes: tuple[F64, ...]
    most: F64

    @staticmethod
    def of(lower: F64, upper: F64, most: F64) -> Lines:
        """Choose the slopes for units in [lower, upper]; NaN bounds lead to a bound of NaN."""
        doubt = ~(lower >= 0) & ~(upper <= 0)
        on = np.where(lower >= 0, 1.0, 0.0)
        slope = np.clip(np.divide(upper, upper - lower, where=doubt, out=on.copy()), 0, 1)
        # ReLU(z) - s z is convex: greatest at an end
        ends = np.maximum(-slope * lower, np.maximum((1 - slope) * upper, 0) * (1 + 4 * UNIT))
        lift = np.where(doubt, np.nextafter(ends * (1 + 4 * UNIT), np.inf), 0.0)
        steep = np.where(doubt, np.where(upper > -lower, 1.0, 0.0), on)
        return Lines(slope, lift, (steep, slope, on), most)

    def choice(self, c: F64, way: int) -> tuple[F64, F64]:
        """Return, for coefficients `c` [K, *units], the slopes and what the lifts add to each."""
        rising = c > 0
        slope = np.where(rising, self.upper_slope, self.lower_slopes[way])
        return slope, np.where(rising, c, 0.0) * self.lift


WAYS = (0, 1, 2)  # the lower slopes: the end that is nearer, parallel to the upper line, 0


class Relaxation:
    """A network on the box [lower, upper] with every unit bounded and relaxed."""

    def __init__(self, network: Network, lower: float, upper: float) -> None:
        """Bound every unit: by intervals, and by backward passes while they are affordable."""
        self.network = network
        middle = lower + (upper - lower) / 2
        x = np.full((1, *network.input_shape), middle)
        self.box = Box.around(x, np.array([np.inf]), lower, upper)
        self.relus: dict[int, Lines] = {}
        self.pools: dict[int, tuple[Tournament, list[Lines]]] = {}
        self._left = PRODUCTS
        self._work = np.zeros(len(network.nodes) + 1)  # products of a pass from each value back
        values = Values(network, self.box.ball)
        for index, node in enumerate(network.nodes):
            source = values[node.inputs[0]]
            self._count(index)
            if isinstance(node.operator, Relu):
                low, high = self._tightened(node.inputs[0], source)
                self.relus[index] = Lines.of(low, high, np.maximum(high, 0))
                result = RIGOROUS.relu(Ball.between(low, high)[None])
            elif isinstance(node.operator, MaxPool):
                self._pool(index, node.operator, source)
                result = RIGOROUS.maximum(node.operator, source)
            elif isinstance(node.operator, Add):
                result = RIGOROUS.add(source, values[node.inputs[1]])
            else:
                result = RIGOROUS.affine(node.operator, source, constant=True)
            values.store(index, result)

    def lead(self, label: int) -> float:
        """Return an upper bound on f_label - max of the others: of the others' best mean.

        The maximum is at least any weighted mean, so each set of weights gives a bound.
        """
        classes = self.network.classes
        others = np.delete(np.arange(classes), label)
        share, best = np.zeros(classes - 1, dtype=np.int64), np.inf
        for part in (1, *MOVES):
            # a part of the weights goes to one of the others; a part of 1 is that one alone
            kept = share - share // part
            trial = kept + (SHARES - kept.sum()) * np.eye(classes - 1, dtype=np.int64)
            rows = np.zeros((classes - 1, classes))
            rows[:, others] = -trial / SHARES
            rows[:, label] = 1
            bounds = self.upper(len(self.network.nodes), rows)
            bounds = np.where(np.isnan(bounds), np.inf, bounds)
            if bounds.min() < best:
                best, share = float(bounds.min()), trial[bounds.argmin()]
        return best

    def upper(self, value: int, rows: F64, ways: tuple[int, ...] = WAYS) -> F64:
        """Return upper bounds [K] on rows · value over the box, for exact `rows` [K, numbers]."""
        bounds = [self._pass(value, rows, way) for way in ways]
        return np.asarray(np.fmin.reduce(bounds))

    def _pass(self, value: int, rows: F64, way: int) -> F64:
        network = self.network
        constant = np.zeros(len(rows))
        received = {value: Ball.exact(rows.reshape(len(rows), *network.shapes[value]))}

        def receive(source: int, g: Ball) -> None:
            known = received.get(source)
            received[source] = g if known is None else RIGOROUS.add(known, g)

        for index in reversed(range(value)):
            node, g = network.nodes[index], received.pop(index + 1, None)
            if g is None:
                continue
            shape = network.shapes[node.inputs[0]]
            if isinstance(node.operator, Relu):
                constant = _plus(constant, _flat(g.radius), _flat(self.relus[index].most[None])[0])
                back, lifts = _relaxed(g.center, self.relus[index], way)
                constant = _plus(constant, _flat(lifts), np.ones(lifts[0].size))
                receive(node.inputs[0], back)
            elif isinstance(node.operator, MaxPool):
                back, constant = self._through_pool(index, g, constant, way)
                receive(
                    node.inputs[0],
                    RIGOROUS.structural(lambda v, s=shape: v.reshape(len(v), *s), back),
                )
            elif isinstance(node.operator, Add):
                for source in node.inputs:
                    receive(source, g)
            else:
                out = network.shapes[index + 1]
                shift = linear.offset(node.operator, out, np.dtype(np.float64))
                if shift is not None:
                    full = np.broadcast_to(shift, out).ravel()
                    constant = _plus(constant, _flat(g.center), full)
                    constant = _plus(constant, _flat(g.radius), np.abs(full))
                receive(node.inputs[0], RIGOROUS.adjoint(node.operator, g, shape))
        if 0 in received:
            g = received[0]
            at = self.box.x.ravel()
            constant = _plus(constant, _flat(g.center), at)
            constant = _plus(constant, _flat(g.radius), np.abs(at))
            greatest = self.box.extremes(Ball(g.center[None], g.radius[None]))[1][0]
            constant = np.nextafter(constant + greatest, np.inf)
        return constant

    def _through_pool(self, index: int, g: Ball, constant: F64, way: int) -> tuple[Ball, F64]:
        plan, rounds = self.pools[index]
        slots = RIGOROUS.structural(lambda v: v.reshape(len(v), -1, 1), g)
        for step, lines in zip(reversed(plan.rounds), reversed(rounds), strict=True):
            unsure = enlarge(slots.radius.sum(axis=2), slots.radius.shape[2])
            constant = _plus(constant, unsure, lines.most)
            pairs = step.played.shape[1]
            won = slots.center[:, :, :pairs]
            right, lifts = _relaxed(won, lines, way)
            constant = _plus(constant, _flat(lifts), np.ones(lifts[0].size))
            left = RIGOROUS.subtract(Ball.exact(won), right)

            def seated(
                a: F64, b: F64, rest: F64, pairs: int = pairs, width: int = step.slots
            ) -> F64:
                result = np.zeros((*a.shape[:2], width))
                result[:, :, 0 : 2 * pairs : 2] = a
                result[:, :, 1 : 2 * pairs : 2] = b
                result[:, :, 2 * pairs :] = rest
                return result

            odd = Ball.exact(slots.center[:, :, pairs:])
            slots = RIGOROUS.structural(seated, left, right, odd)
        valid = plan.players >= 0
        columns = RIGOROUS.structural(lambda v: v[:, valid], slots)
        return RIGOROUS.scatter(columns, plan.players[valid], plan.inputs), constant

    def _pool(self, index: int, operator: MaxPool, source: Ball) -> None:
        plan = tournament(operator, source.center.shape[1:])
        units = [z for z, _ in play(plan, source, RIGOROUS, by_value(RIGOROUS))]
        most = linear.maximum_windows(operator, source.magnitude).ravel()
        empty = np.zeros((1, 0))
        low = split_rounds(plan, np.concatenate([empty, *(z.lower for z in units)], axis=1))
        high = split_rounds(plan, np.concatenate([empty, *(z.upper for z in units)], axis=1))
        lines = []
        for step, a, b in zip(plan.rounds, low, high, strict=True):
            # who has no opponent goes on: as if the difference were never positive
            least, greatest = np.where(step.played, a[0], -1), np.where(step.played, b[0], -1)
            lines.append(Lines.of(least, greatest, most))
        self.pools[index] = (plan, lines)

    def _count(self, index: int) -> None:
        node = self.network.nodes[index]
        own = float(np.prod(self.network.shapes[index + 1]))
        if not isinstance(node.operator, (Relu, MaxPool, Add)):
            own *= 1 + linear.terms(node.operator)
        self._work[index + 1] = own + max(self._work[source] for source in node.inputs)

    def _tightened(self, value: int, known: Ball) -> tuple[F64, F64]:
        """Return bounds on the numbers of a value; of those in doubt by backward passes."""
        low, high = np.ascontiguousarray(known.lower[0]), np.ascontiguousarray(known.upper[0])
        flat_low, flat_high = low.reshape(-1), high.reshape(-1)
        doubtful = np.flatnonzero((flat_low < 0) & (flat_high > 0))
        cost = 4.0 * len(doubtful) * self._work[value]
        if cost > self._left:
            return low, high
        self._left -= cost
        for part in self._parts(doubtful, value):
            rows = np.zeros((len(part), flat_low.size))
            rows[np.arange(len(part)), part] = 1
            flat_high[part] = np.fmin(flat_high[part], self.upper(value, rows, WAYS[:1]))
            flat_low[part] = np.fmax(flat_low[part], -self.upper(value, -rows, WAYS[:1]))
        return low, high

    def _parts(self, chosen: NDArray[np.int64], value: int) -> Iterator[NDArray[np.int64]]:
        widest = max(int(np.prod(shape)) for shape in self.network.shapes[: value + 1])
        size = max(1, ROWS_AT_ONCE // widest)
        for start in range(0, len(chosen), size):
            yield chosen[start : start + size]


def _relaxed(c: F64, lines: Lines, way: int) -> tuple[Ball, F64]:
    """Return the coefficients behind relaxed units, of coefficients `c` before, and the lifts."""
    slope, lifts = lines.choice(c, way)
    product = c * slope
    whole = (slope == 0) | (slope == 1)
    return Ball(product, np.where(whole, 0.0, UNIT * np.abs(product) * 2 + SMALLEST)), lifts


def _plus(constant: F64, a: F64, b: F64) -> F64:
    """Return upper bounds on constant + a · b, for `constant` [K], `a` [K, n] and `b` [n]."""
    terms = a.shape[1] + 4
    total = a @ b
    doubt = enlarge(gamma(terms) * (np.abs(a) @ np.abs(b)), terms) + terms * 2 * SMALLEST
    sums = constant + total
    doubt += 4 * UNIT * (np.abs(sums) + np.abs(constant))
    return np.asarray(np.nextafter(sums + doubt, np.inf))


def _flat(v: F64) -> F64:
    return v.reshape(len(v), -1)
