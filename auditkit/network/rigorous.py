"""Float64 numbers with a rigorous radius: the true real number is always inside.

Any-order dot product of n terms: |fl(xᵀy) - xᵀy| ≤ γ_n |x|ᵀ|y| with γ_n = n u / (1 - n u)
(Jeannerod & Rump 2013), plus the smallest float per term where products can underflow. A radius
is itself computed in float64 from numbers that are not negative, so its own rounding is a factor
(1 + γ), for which every radius is enlarged. A result that overflows gets an infinite or NaN
radius, and no comparison with it proves anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.network import linear
from auditkit.network.graph import AveragePool, MaxPool, Operator, Scale, Shape, constants
from auditkit.network.numbers import scatter_columns

F64 = NDArray[np.float64]

UNIT = 2.0**-53
SMALLEST = 2.0**-1074
NO_UNDERFLOW = 2.0**-900  # products of factors whose product is above this stay far from denormal


def gamma(terms: int, unit: float = UNIT) -> float:
    """Return γ_n for n roundings, rounded upwards; infinite where the bound says nothing."""
    if terms * unit >= 0.5:
        return np.inf
    return terms * unit / (1 - terms * unit) * (1 + 8 * UNIT)


def enlarge(radius: F64, terms: int) -> F64:
    """Return a radius computed with `terms` roundings, made large enough to cover them."""
    return radius * (1 + gamma(2 * terms + 8))


def sum_up(a: F64, b: F64 | np.float64 | float) -> F64:
    """Return floats at least a + b: the sum itself where it is a float."""
    return _rounded_sum(a, b, np.inf)


def sum_down(a: F64, b: F64 | np.float64 | float) -> F64:
    """Return floats at most a + b: the sum itself where it is a float."""
    return _rounded_sum(a, b, -np.inf)


def _rounded_sum(a: F64, b: F64 | np.float64 | float, away: float) -> F64:
    with np.errstate(over="ignore", invalid="ignore"):
        total = a + b
        back = total - a
        lost = (a - (total - back)) + (b - back)  # what rounding dropped, exactly (Knuth); or NaN
        return np.where(lost == 0, total, np.nextafter(total, away))


@dataclass(frozen=True, eq=False)
class Enclosure:
    """A batch of unknown reals, each within [lower, upper]; bounds may be infinite."""

    lower: F64
    upper: F64

    @property
    def magnitude(self) -> F64:
        """A float at least the greatest absolute value."""
        return np.maximum(-self.lower, self.upper)

    def widened(self, distance: F64) -> Enclosure:
        """Return what may lie `distance` farther out."""
        return Enclosure(sum_down(self.lower, -distance), sum_up(self.upper, distance))

    def __getitem__(self, index: Any) -> Enclosure:
        return Enclosure(self.lower[index], self.upper[index])


@dataclass(frozen=True, eq=False)
class Ball:
    """A batch of unknown reals, each within `radius` of `center`."""

    center: F64
    radius: F64

    @staticmethod
    def exact(values: NDArray[np.floating]) -> Ball:
        """Return floats as they are."""
        center = values.astype(np.float64)
        return Ball(center, np.zeros_like(center))

    @staticmethod
    def between(lower: F64, upper: F64) -> Ball:
        """Return balls that contain [lower, upper]."""
        center = lower + (upper - lower) / 2
        radius = np.maximum(upper - center, center - lower)
        return Ball(center, enlarge(radius, 2) + np.abs(center) * 2 * UNIT * (radius > 0))

    @property
    def lower(self) -> F64:
        """A float at most the least value."""
        return sum_down(self.center, -self.radius)

    @property
    def upper(self) -> F64:
        """A float at least the greatest value."""
        return sum_up(self.center, self.radius)

    @property
    def magnitude(self) -> F64:
        """A float at least the greatest absolute value."""
        return enlarge(np.abs(self.center) + self.radius, 1)

    def widened(self, distance: F64) -> Ball:
        """Return what may lie `distance` farther out."""
        return Ball(self.center, enlarge(self.radius + distance, 1))

    def __getitem__(self, index: Any) -> Ball:
        return Ball(self.center[index], self.radius[index])


class Rigorous:
    """Arithmetic of `Ball`: the true real number is always inside."""

    def affine(self, operator: Operator, x: Ball, *, constant: bool) -> Ball:
        n = linear.terms(operator)
        shape = x.center.shape[1:]
        center = linear.forward(operator, x.center)
        if n == 0:  # moves numbers only
            return Ball(center, linear.forward(operator, x.radius, magnitude=True))
        g = gamma(n + 2)
        radius = linear.forward(operator, x.radius + share(g, x.center), magnitude=True)
        shift = linear.offset(operator, shape, center.dtype) if constant else None
        if shift is not None:
            center = center + shift
            # what the offset adds to is bounded by |W||x| above; one more rounding of the sum
            radius = radius + g * np.abs(shift) + UNIT * np.abs(center)
        return Ball(center, enlarge(radius, n) + _underflow(operator, x, n))

    def adjoint(self, operator: Operator, g: Ball, shape: Shape) -> Ball:
        n = linear.adjoint_terms(operator)
        center = linear.adjoint(operator, g.center, shape)
        if n == 0:
            return Ball(center, linear.adjoint(operator, g.radius, shape, magnitude=True))
        spread = g.radius + share(gamma(n + 2), g.center)
        radius = linear.adjoint(operator, spread, shape, magnitude=True)
        return Ball(center, enlarge(radius, n) + _underflow(operator, g, n))

    def add(self, a: Ball, b: Ball) -> Ball:
        center = a.center + b.center
        return Ball(center, enlarge(a.radius + b.radius + UNIT * np.abs(center), 3))

    def subtract(self, a: Ball, b: Ball) -> Ball:
        center = a.center - b.center
        return Ball(center, enlarge(a.radius + b.radius + UNIT * np.abs(center), 3))

    def relu(self, x: Ball) -> Ball:
        # ReLU never enlarges a distance; where the number is surely not positive it is exactly 0,
        # and where its sign is in doubt it is in [0, upper].
        upper = x.upper
        doubt = (x.lower < 0) & (upper > 0)
        half = upper / 2
        center = np.where(doubt, half, np.maximum(x.center, 0))
        radius = np.where(doubt, half + SMALLEST, np.where(upper <= 0, 0.0, x.radius))
        return Ball(center, radius)

    def larger(self, a: Ball, b: Ball) -> Ball:
        return Ball(np.maximum(a.center, b.center), np.maximum(a.radius, b.radius))

    def maximum(self, operator: MaxPool, x: Ball) -> Ball:
        return Ball(
            linear.maximum_windows(operator, x.center), linear.maximum_windows(operator, x.radius)
        )

    def structural(self, step: Callable[..., Any], *values: Ball) -> Ball:
        return Ball(step(*(v.center for v in values)), step(*(v.radius for v in values)))

    def scatter(self, x: Ball, index: NDArray[np.int64], size: int) -> Ball:
        n = int(np.bincount(index, minlength=1).max())
        spread = x.radius + share(gamma(n + 2), x.center)
        return Ball(
            scatter_columns(x.center, index, size), enlarge(scatter_columns(spread, index, size), n)
        )


RIGOROUS = Rigorous()


def share(factor: float, values: F64) -> F64:
    """Return factor · |values|, not below it where that underflows; exactly 0 where a value is."""
    product = np.abs(values)
    product *= factor
    if not _all_above(NO_UNDERFLOW, values):
        product = np.where(values != 0, product + SMALLEST, product)
    return product


def _underflow(operator: Operator, x: Ball, terms: int) -> float:
    """Return what products that underflow can have lost, 0 where none can."""
    floor = NO_UNDERFLOW / _least_factor(operator)
    if _all_above(floor, x.center) and _all_above(floor, x.radius):
        return 0.0
    return 4 * (terms + 1) * SMALLEST


def _least_factor(operator: Operator) -> float:
    """Return the least number that an affine operator multiplies by, but for 0."""
    match operator:
        case Scale("divide", constant):
            return 1 / float(np.abs(constant).max())
        case AveragePool(kernel):
            return 1 / (kernel[0] * kernel[1])
    return _least(constants(operator)[0])


def _least(values: NDArray[np.floating]) -> float:
    magnitudes = np.abs(values[values != 0])
    return float(magnitudes.min()) if magnitudes.size else 1.0


def _all_above(floor: float, values: F64) -> bool:
    """Whether every value is 0 or greater than `floor` in magnitude."""
    small = np.count_nonzero((values <= floor) & (values >= -floor))
    return bool(small == values.size - np.count_nonzero(values))
