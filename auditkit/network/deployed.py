"""How far the deployed network, in its own floats, can be from the real-number network.

The same any-order bound as in `rigorous`, with the unit roundoff of the deployed floats, carried
layer by layer over a whole set of inputs at once (certificates.md §5, the naive recursion).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.network import linear
from auditkit.network.graph import AveragePool, MaxPool, Operator, Shape
from auditkit.network.rigorous import RIGOROUS, Ball, enlarge, gamma

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class FloatProfile:
    """How the deployed network computes: IEEE rounding to nearest in `name`, any order of sums.

    No TF32, bfloat16 or Winograd, and no flush to zero.
    """

    name: str
    unit: float
    smallest: float
    greatest: float

    @staticmethod
    def of(dtype: np.dtype[np.floating]) -> FloatProfile:
        """Return the profile of a float dtype."""
        info = np.finfo(dtype)
        return FloatProfile(
            dtype.name, float(info.eps) / 2, float(info.smallest_subnormal), float(info.max)
        )


@dataclass(frozen=True, eq=False)
class Executed:
    """Reals that range over `range`, and how far the deployed computation may be from each."""

    range: Ball
    error: F64


class Deployed:
    """Arithmetic of `Executed`: bounds |deployed - real| over a whole set of inputs."""

    def __init__(self, profile: FloatProfile) -> None:
        self.profile = profile

    def affine(self, operator: Operator, x: Executed, *, constant: bool) -> Executed:
        real = RIGOROUS.affine(operator, x.range, constant=constant)
        n = linear.terms(operator)
        if n == 0:
            return Executed(real, linear.forward(operator, x.error, magnitude=True))
        seen = x.range.magnitude + x.error
        largest = linear.forward(operator, seen, magnitude=True)
        shift = linear.offset(operator, x.error.shape[1:], seen.dtype) if constant else None
        if shift is not None:
            largest = largest + np.abs(shift)
        # three more than counted: a reciprocal in place of a division, a fused constant
        g = gamma(n + 3, self.profile.unit)
        error = linear.forward(operator, x.error, magnitude=True) + g * largest
        error = enlarge(error, 2 * n + 4) + 2 * (n + 3) * self.profile.smallest
        if isinstance(operator, AveragePool):  # the sum comes before the division
            largest = largest * (operator.kernel[0] * operator.kernel[1])
        overflows = ~(enlarge(largest, n + 4) * (1 + g) < self.profile.greatest)
        return Executed(real, np.where(overflows, np.inf, error))

    def adjoint(self, operator: Operator, g: Executed, shape: Shape) -> Executed:
        raise TypeError("a deployed network is run forwards")

    def add(self, a: Executed, b: Executed) -> Executed:
        return self._combined(RIGOROUS.add(a.range, b.range), a, b)

    def subtract(self, a: Executed, b: Executed) -> Executed:
        return self._combined(RIGOROUS.subtract(a.range, b.range), a, b)

    def relu(self, x: Executed) -> Executed:
        off = x.range.upper + 2 * x.error < 0  # both the real and the deployed number
        return Executed(RIGOROUS.relu(x.range), np.where(off, 0.0, x.error))

    def larger(self, a: Executed, b: Executed) -> Executed:
        return Executed(RIGOROUS.larger(a.range, b.range), np.maximum(a.error, b.error))

    def maximum(self, operator: MaxPool, x: Executed) -> Executed:
        return Executed(
            RIGOROUS.maximum(operator, x.range), linear.maximum_windows(operator, x.error)
        )

    def structural(self, step: Callable[..., Any], *values: Executed) -> Executed:
        return Executed(
            RIGOROUS.structural(step, *(v.range for v in values)), step(*(v.error for v in values))
        )

    def scatter(self, x: Executed, index: NDArray[np.int64], size: int) -> Executed:
        raise TypeError("a deployed network is run forwards")

    def _combined(self, real: Ball, a: Executed, b: Executed) -> Executed:
        error = a.error + b.error
        largest = real.magnitude + error
        error = enlarge(error + 2 * self.profile.unit * largest, 4)
        return Executed(real, np.where(largest >= self.profile.greatest / 2, np.inf, error))
