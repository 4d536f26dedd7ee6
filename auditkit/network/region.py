"""What holds on a record's claimed set R(s) ∩ ball, with rigorous bounds. Part of the trusted base.

On the region of pattern s the network is affine: f(x) = f^s(x_i) + J_s (x - x_i), and so is every
pre-activation. The set is bounded by the box that the ball cuts out of the domain, with outward
rounding; a linear function on a box has its extremes in closed form (certificates.md §4, λ = 0).
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
from auditkit.network.rigorous import (
    RIGOROUS,
    UNIT,
    Ball,
    enlarge,
    gamma,
    share,
    sum_down,
    sum_up,
)

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

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

    def logit_bounds(self) -> Ball:
        """Return every logit's range over the box, [N, C]."""
        least, greatest = self.box.extremes(self.jacobian)
        return Ball.between(
            np.nextafter(self.logits.lower + least, -np.inf),
            np.nextafter(self.logits.upper + greatest, np.inf),
        )

    def lead_bounds(self, target: NDArray[np.int64]) -> F64:
        """Return upper bounds [N, C] on f_j - f_target over the box; -inf for the target itself."""
        rows = np.arange(len(target))
        own = self.jacobian[rows, target]
        difference = RIGOROUS.subtract(
            self.jacobian, Ball(own.center[:, None], own.radius[:, None])
        )
        _, greatest = self.box.extremes(difference)
        base = self.logits[rows, target]
        start = RIGOROUS.subtract(self.logits, Ball(base.center[:, None], base.radius[:, None]))
        bound = np.nextafter(start.upper + greatest, np.inf)
        bound[rows, target] = -np.inf
        return bound

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

    def sum_floor(self, rows: NDArray[np.int64], wanted: Bits, cost: F64) -> F64:
        """Return lower bounds [K] of Σ_u (σ_u z_u - cost_u) over `wanted` units [K, H].

        Row k speaks of record `rows[k]`; the sum is one affine function, so one backward pass.
        """
        sign = np.where(self.frozen.bits[rows], 1.0, -1.0) * wanted
        frozen = Frozen(self.frozen.network, self.frozen.bits[rows])
        zero = np.zeros((len(rows), self.logits.center.shape[1]))
        gradient = frozen.adjoint(Ball.exact(zero), RIGOROUS, injections=Ball.exact(sign))
        box = Box(self.box.x[rows], self.box.step_lower[rows], self.box.step_upper[rows])
        lifted = Ball(gradient.center[:, None], gradient.radius[:, None])
        least, _ = box.extremes(lifted)
        z = self.units[rows]
        terms = 2 * sign.shape[1] + 4
        value = (sign * z.center - wanted * cost[rows]).sum(axis=1)
        doubt = (wanted * (z.radius + gamma(terms) * (np.abs(z.center) + cost[rows]))).sum(axis=1)
        floor = value - enlarge(doubt, terms) + least[:, 0]
        return np.nextafter(floor - 4 * UNIT * (np.abs(value) + np.abs(floor)), -np.inf)


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
