"""What holds on a record's claimed set R(s) ∩ ball, with rigorous bounds. Part of the trusted base.

On the region of pattern s the network is affine: f(x) = f^s(x_i) + J_s (x - x_i), and so is every
pre-activation. The set is bounded by the box that the ball cuts out of the domain, with outward
rounding; a linear function on a box has its extremes in closed form (certificates.md §4). What
the region itself cuts off the box is brought in by multipliers, which may be anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.network.deployed import Deployed, Executed, FloatProfile
from auditkit.network.evaluate import evaluate
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Network
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.network.rigorous import (
    RIGOROUS,
    Ball,
    enlarge,
    gamma,
    share,
    sum_down,
    sum_up,
)

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

ROWS_AT_ONCE = 512  # objectives with multipliers, each one backward pass
BATCH_NUMBERS = 4_000_000  # numbers held at once for a batch's Jacobians


@dataclass(frozen=True, eq=False)
class Box:
    """Boxes around N records: `x`, and bounds on the step δ = y - x to any y in the box."""

    x: F64
    step_lower: F64
    step_upper: F64

    @staticmethod
    def around(x: F64, radius: F64, lower: float, upper: float) -> Box:
        """Cut the ∞-norm balls of `radius` [N] around `x` [N, *shape] out of [lower, upper]."""
        r = radius.reshape(-1, *[1] * (x.ndim - 1))
        down = np.maximum(-r, np.minimum(sum_down(-x, lower), 0))
        up = np.minimum(r, np.maximum(sum_up(-x, upper), 0))
        return Box(x, down, up)

    @property
    def ball(self) -> Ball:
        """The box as balls of numbers."""
        return Ball.between(
            np.nextafter(self.x + self.step_lower, -np.inf),
            np.nextafter(self.x + self.step_upper, np.inf),
        )

    def extremes(self, gradient: Ball) -> tuple[F64, F64]:
        """Return floats below the least and above the greatest gradient · δ over the boxes.

        `gradient` is [N, K, *shape]; the result is two arrays [N, K].
        """
        n, k = gradient.center.shape[:2]
        g = gradient.center.reshape(n, k, -1)
        spread = gradient.radius.reshape(n, k, -1)
        down, up = self.step_lower.reshape(n, -1), self.step_upper.reshape(n, -1)
        # g·δ lies in g·m ± |g|·h for any m, if h is at least the distance from m to either end
        middle = down + (up - down) / 2
        half = np.nextafter(np.maximum(up - middle, middle - down), np.inf)
        reach = np.maximum(-down, up)
        size = np.abs(g) @ np.stack([half, reach], axis=2)  # [N, K, 2]
        center = (g @ middle[..., None])[..., 0]
        # |m| + h is max |δ| but for roundings; the same bound serves rounding and radius
        terms = 2 * g.shape[2] + 8
        doubt = (spread @ reach[..., None])[..., 0] + gamma(terms) * size[..., 1]
        doubt = enlarge(doubt, terms) + terms * 2.0**-1073
        return (
            np.nextafter(center - size[..., 0] - doubt, -np.inf),
            np.nextafter(center + size[..., 0] + doubt, np.inf),
        )


@dataclass(frozen=True, eq=False)
class Sample:
    """The logits [N, C] and pre-activations [N, H] of the network at N records."""

    logits: Ball
    units: Ball

    @staticmethod
    def at(network: Network, x: F64) -> Sample:
        """Run the network at `x` [N, *shape]."""
        return Sample(*evaluate(network, Ball.exact(x), RIGOROUS))

    def lead(self, target: NDArray[np.int64]) -> Ball:
        """Return f_j - f_target, [N, C]."""
        own = self.logits[np.arange(len(target)), target]
        return RIGOROUS.subtract(self.logits, Ball(own.center[:, None], own.radius[:, None]))


@dataclass(frozen=True, eq=False)
class Piece:
    """The affine pieces of N patterns `bits` [N, H] around their records, on their boxes.

    `logits` [N, C] and `units` [N, H] are f^s(x) and z^s(x); `jacobian` [N, C, *shape] is J_s.
    """

    frozen: Frozen
    box: Box
    logits: Ball
    units: Ball
    jacobian: Ball

    @staticmethod
    def at(network: Network, bits: Bits, box: Box) -> Piece:
        """Freeze the patterns and differentiate every logit: one backward pass per class."""
        frozen = Frozen(network, bits)
        logits, units = frozen.forward(Ball.exact(box.x), RIGOROUS)
        n, classes = logits.center.shape
        seeds = np.tile(np.eye(classes), (n, 1))
        rows = frozen.repeat(classes).adjoint(Ball.exact(seeds), RIGOROUS)
        shape = (n, classes, *network.input_shape)
        jacobian = Ball(rows.center.reshape(shape), rows.radius.reshape(shape))
        return Piece(frozen, box, logits, units, jacobian)

    def logit_bounds(self, multipliers: Multipliers | None = None) -> Ball:
        """Return every logit's range [N, C] over the box, with multipliers over the region too."""
        least, greatest = self.box.extremes(self.jacobian)
        lower = np.nextafter(self.logits.lower + least, -np.inf)
        upper = np.nextafter(self.logits.upper + greatest, np.inf)
        nobody = np.full(len(lower), -1)
        # never beyond the record's own value, so that a range is not empty
        lower = -np.maximum(
            self._sharper(-lower, nobody, multipliers, Objective.LOWER), -self.logits.lower
        )
        upper = np.maximum(
            self._sharper(upper, nobody, multipliers, Objective.UPPER), self.logits.upper
        )
        return Ball.between(lower, upper)

    def lead_bounds(self, target: Index, multipliers: Multipliers | None = None) -> F64:
        """Return upper bounds [N, C] on f_j - f_target over the box; -inf for the target itself.

        With multipliers, over the region within the box.
        """
        rows = np.arange(len(target))
        own = self.jacobian[rows, target]
        difference = RIGOROUS.subtract(
            self.jacobian, Ball(own.center[:, None], own.radius[:, None])
        )
        _, greatest = self.box.extremes(difference)
        base = self.logits[rows, target]
        start = RIGOROUS.subtract(self.logits, Ball(base.center[:, None], base.radius[:, None]))
        bound = np.nextafter(start.upper + greatest, np.inf)
        bound = self._sharper(bound, target, multipliers, Objective.UPPER)
        bound[rows, target] = -np.inf
        return bound

    def _sharper(
        self, bound: F64, target: Index, multipliers: Multipliers | None, kind: Objective
    ) -> F64:
        """Return `bound` [N, C] on ±(f_j - f_target), or ±f_j, as multipliers improve it."""
        if multipliers is None:
            return bound
        chosen = multipliers.where(kind)
        result = bound.copy()
        for start in range(0, len(chosen), ROWS_AT_ONCE):
            some = chosen[start : start + ROWS_AT_ONCE]
            record, label = multipliers.record[some], multipliers.index[some]
            fits = (record < len(bound)) & (label < bound.shape[1])
            some, record, label = some[fits], record[fits], label[fits]
            if not len(some):
                continue
            seeds = np.zeros((len(some), bound.shape[1]))
            seeds[np.arange(len(some)), label] = 1.0
            led = np.flatnonzero(target[record] >= 0)
            seeds[led, target[record[led]]] -= 1.0
            seeds *= -1.0 if kind is Objective.LOWER else 1.0
            nothing = np.zeros((len(some), self.units.center.shape[1]))
            sharper = self.ceiling(record, seeds, nothing, multipliers.dense(some))
            result[record, label] = least_bound(result[record, label], sharper)
        return result

    def ceiling(self, rows: Index, on_logits: F64, on_units: F64, multipliers: F64) -> F64:
        """Return upper bounds [K] of on_logits · f + on_units · z over the region within the box.

        Row k speaks of record `rows[k]`, with `on_logits` [K, C] of small whole numbers,
        `on_units` [K, H] and finite `multipliers` λ ≥ 0 [K, H]: on the region the objective is at
        most itself plus Σ λ_u σ_u z_u, which is one affine function: one backward pass.
        """
        bits = self.frozen.bits[rows]
        own, on = Ball.exact(on_units), Ball.exact(np.where(bits, multipliers, -multipliers))
        weights = RIGOROUS.add(own, on)
        seeds = Ball.exact(on_logits)
        frozen = Frozen(self.frozen.network, bits)
        gradient = frozen.adjoint(seeds, RIGOROUS, injections=weights)
        box = Box(self.box.x[rows], self.box.step_lower[rows], self.box.step_upper[rows])
        _, greatest = box.extremes(Ball(gradient.center[:, None], gradient.radius[:, None]))
        here = _product(seeds, self.logits[rows])
        there = _product(weights, self.units[rows])
        total = RIGOROUS.add(here, there)
        return np.nextafter(total.upper + greatest[:, 0], np.inf)

    def unit_ranges(self) -> tuple[F64, F64]:
        """Return bounds [N, H] on every pre-activation over the region within the box."""
        return unit_ranges(self.frozen, self.box)

    def doubt(self) -> F64:
        """Return [N]: about how much of a bound on the logits, at most, is rounding."""
        n, classes = self.logits.center.shape
        gradient = self.jacobian.center.reshape(n, classes, -1)
        spread = self.jacobian.radius.reshape(n, classes, -1)
        terms = 2 * gradient.shape[2] + 4
        reach = np.maximum(-self.box.step_lower, self.box.step_upper).reshape(n, -1, 1)
        over_box = ((spread + share(gamma(terms), gradient)) @ reach)[..., 0]
        return (over_box + self.logits.radius).max(axis=1)

    def sum_floor(
        self, rows: Index, wanted: Bits, cost: F64, multipliers: F64 | None = None
    ) -> F64:
        """Return lower bounds [K] of Σ_u (σ_u z_u - cost_u) over `wanted` units [K, H].

        Row k speaks of record `rows[k]`, over its box, or with `multipliers` λ ≥ 0 [K, H] over the
        region within it; the sum is one affine function, so one backward pass.
        """
        sign = np.where(self.frozen.bits[rows], -1.0, 1.0) * wanted
        nothing = np.zeros((len(rows), self.logits.center.shape[1]))
        offered = np.zeros_like(sign) if multipliers is None else multipliers
        most = self.ceiling(rows, nothing, sign, offered)
        price = enlarge(np.where(wanted, cost[rows], 0.0).sum(axis=1), sign.shape[1] + 4)
        return np.nextafter(-most - price, -np.inf)


def _product(a: Ball, b: Ball) -> Ball:
    """Return the dot products [K] of rows [K, M]."""
    terms = 2 * a.center.shape[1] + 8
    size = (np.abs(a.center) + a.radius) * b.radius + a.radius * np.abs(b.center)
    products = np.abs(a.center * b.center)
    doubt = (size + share(gamma(terms), products)).sum(axis=1)
    center = (a.center * b.center).sum(axis=1)
    return Ball(center, enlarge(doubt, terms) + terms * 2.0**-1074)


def least_bound(known: F64, offered: F64) -> F64:
    """Return the lower of two upper bounds; one that is not finite is none."""
    return np.where(np.isfinite(offered) & (offered < known), offered, known)


def unit_ranges(frozen: Frozen, box: Box) -> tuple[F64, F64]:
    """Return bounds [N, H] on every pre-activation over the regions within the boxes."""
    _, z = frozen.forward(box.ball, RIGOROUS)
    lower = np.where(frozen.bits, np.maximum(z.lower, 0), z.lower)
    upper = np.where(frozen.bits, z.upper, np.minimum(z.upper, 0))
    return lower, upper


def record_batches(network: Network, count: int, numbers: int = BATCH_NUMBERS) -> Iterator[slice]:
    """Yield slices of records such that a batch's Jacobians stay within memory."""
    widest = max(int(np.prod(shape)) for shape in network.shapes)
    size = max(1, min(256, numbers // (network.classes * widest)))
    for start in range(0, max(count, 1), size):
        yield slice(start, min(start + size, count))


def deployed_errors(network: Network, box: Box, profile: FloatProfile) -> tuple[F64, F64]:
    """Return bounds on |deployed - real| over the boxes, for logits [N, C] and units [N, H]."""
    start = Executed(box.ball, np.zeros_like(box.x))
    logits, units = evaluate(network, start, Deployed(profile))
    return logits.error, units.error
