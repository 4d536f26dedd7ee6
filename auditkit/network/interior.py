"""Does the region of a pattern have an interior near its record, or is it flat?

A unit that is exactly 0 at a record may be frozen either way. If the bits of several such units
are chosen against each other, the region is a piece of a hyperplane: the record is in it, and a
claim about it says nothing of any other input one could meet. An interior is shown by a witness: a
small box, in the domain and within the claimed radius, all of which is in the region.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.network.evaluate import flat
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Network
from auditkit.network.region import Box, record_batches
from auditkit.network.rigorous import RIGOROUS
from auditkit.network.step import inward_direction

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

STEP = 2.0**-12  # of the domain's width: how far from the record a witness is looked for
THICKNESS = 2.0**-40  # of the domain's width: half the side of the witness
TRIES = 40


def has_interior(
    network: Network, bits: Bits, x: F64, radius: F64, lower: float, upper: float
) -> Bits:
    """Return [N]: whether R(s) ∩ ball(x, radius) of `bits` [N, H] is shown to contain a box.

    `x` is [N, *shape] in the domain [lower, upper]. False where none was found: at ties the search
    goes into the domain, then follows the gradients of the units that are not yet on their side (a
    perceptron).
    """
    found = np.zeros(len(x), dtype=bool)
    with np.errstate(all="ignore"):  # a number that overflows shows nothing
        for rows in record_batches(network, len(x)):
            found[rows] = _search(network, bits[rows], x[rows], radius[rows], lower, upper)
    return found


def _search(network: Network, bits: Bits, x: F64, radius: F64, lower: float, upper: float) -> Bits:
    width = upper - lower
    step = np.minimum(radius / 4, STEP * width)
    direction = np.zeros_like(flat(x))
    found = np.zeros(len(x), dtype=bool)
    waiting = np.arange(len(x))
    for attempt in range(TRIES):
        here = x[waiting]
        y = np.clip(here + _shaped(direction[waiting], step[waiting], here.shape), lower, upper)
        thickness = np.minimum(step[waiting], THICKNESS * width)
        outside = _outside(network, bits[waiting], y, thickness, lower, upper)
        found[waiting] = ~outside.any(axis=1)
        keep = outside.any(axis=1)
        waiting, outside = waiting[keep], outside[keep]
        if not len(waiting):
            break
        if attempt == 0:  # a pattern right beside the record was perhaps taken in this direction
            inward = flat(inward_direction(x[waiting], lower, upper))
            direction[waiting] = inward / np.linalg.norm(inward, axis=1, keepdims=True)
            continue
        signed = np.where(bits[waiting], 1.0, -1.0) * outside
        zero = np.zeros((len(waiting), network.classes))
        towards = flat(Frozen(network, bits[waiting]).adjoint(zero, injections=signed))
        length = np.linalg.norm(towards, axis=1, keepdims=True)
        towards = np.divide(towards, length, out=np.zeros_like(towards), where=length > 0)
        # what clipping took away from a direction does not come back
        moved = flat(y[keep] - x[waiting]) / step[waiting, None]
        direction[waiting] = np.where(moved == 0, 0, direction[waiting]) + towards
    return found


def _shaped(direction: F64, step: F64, shape: tuple[int, ...]) -> F64:
    """Return the direction with a greatest component of `step`, or 0."""
    size = np.abs(direction).max(axis=1, keepdims=True)
    scaled = np.divide(direction, size, out=np.zeros_like(direction), where=size > 0)
    return (scaled * step[:, None]).reshape(shape)


def _outside(
    network: Network, bits: Bits, y: F64, thickness: F64, lower: float, upper: float
) -> Bits:
    """Return [N, H]: units not shown to keep the side of their bit all over the boxes at `y`."""
    box = Box.around(y, thickness, lower, upper)
    _, z = Frozen(network, bits).forward(box.ball, RIGOROUS)
    signed = np.where(bits, z.center, -z.center)
    return ~((signed >= z.radius) & np.isfinite(z.radius))
