"""Patterns of an infinitesimal step into the domain: where a unit is 0, the side that it goes to.

At a record with exact ties the pattern of all signs can belong to a region without interior, on
which a claim says next to nothing. The pattern right beside the record, in a direction that is the
same for all records but for pointing into the domain, has a region with interior, and the record
is on its boundary. Floats decide only which units may be 0: those within their rounding error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.network import linear
from auditkit.network.evaluate import evaluate
from auditkit.network.graph import MaxPool, Network, Operator, Shape
from auditkit.network.interior import inward_direction
from auditkit.network.rigorous import RIGOROUS, Ball

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]


def inward_pattern(network: Network, x: F64, lower: float, upper: float) -> Bits:
    """Return the patterns [N, H] right beside records `x` [N, *input_shape], inside the domain."""
    direction = inward_direction(x, lower, upper)
    _, z = evaluate(network, Moving(Ball.exact(x), direction), STEP)
    return np.where(z.tied, z.slope > 0, z.value.center > 0)


@dataclass(frozen=True, eq=False)
class Moving:
    """A number and its one-sided derivative along the step."""

    value: Ball
    slope: F64

    @property
    def tied(self) -> Bits:
        """Where the number may be 0."""
        return np.abs(self.value.center) <= self.value.radius


class Step:
    """Arithmetic of `Moving`: where two are tied, the one that grows faster goes on."""

    def affine(self, operator: Operator, x: Moving, *, constant: bool) -> Moving:
        value = RIGOROUS.affine(operator, x.value, constant=constant)
        return Moving(value, linear.forward(operator, x.slope))

    def adjoint(self, operator: Operator, g: Moving, shape: Shape) -> Moving:
        raise TypeError("a step is taken forwards")

    def add(self, a: Moving, b: Moving) -> Moving:
        return Moving(RIGOROUS.add(a.value, b.value), a.slope + b.slope)

    def subtract(self, a: Moving, b: Moving) -> Moving:
        return Moving(RIGOROUS.subtract(a.value, b.value), a.slope - b.slope)

    def relu(self, x: Moving) -> Moving:
        slope = np.where(x.tied, np.maximum(x.slope, 0), x.slope * (x.value.center > 0))
        return Moving(RIGOROUS.relu(x.value), slope)

    def larger(self, a: Moving, b: Moving) -> Moving:
        gap = self.subtract(b, a)
        ahead = np.where(gap.value.center > 0, b.slope, a.slope)
        slope = np.where(gap.tied, np.maximum(a.slope, b.slope), ahead)
        return Moving(RIGOROUS.larger(a.value, b.value), slope)

    def maximum(self, operator: MaxPool, x: Moving) -> Moving:
        least = float(x.value.lower.min(initial=0.0))
        parts = (
            linear.windows(operator, x.value.center, 2 * least - 1),  # what no player loses to
            linear.windows(operator, x.value.radius, 0.0),
            linear.windows(operator, x.slope, 0.0),
        )
        seen = [Moving(Ball(c, r), s) for c, r, s in zip(*parts, strict=True)]
        result = seen[0]
        for other in seen[1:]:
            result = self.larger(result, other)
        return result

    def structural(self, step: Callable[..., Any], *values: Moving) -> Moving:
        return Moving(
            RIGOROUS.structural(step, *(v.value for v in values)), step(*(v.slope for v in values))
        )

    def scatter(self, x: Moving, index: NDArray[np.int64], size: int) -> Moving:
        raise TypeError("a step is taken forwards")


STEP = Step()
