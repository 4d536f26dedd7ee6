"""Does the region of a pattern have an interior near its record, or is it flat?

A unit that is exactly 0 at a record may be frozen either way. If the bits of several such units
are chosen against each other, the region is a piece of a hyperplane: the record is in it, and a
claim about it says nothing of any other input one could meet. An interior is shown by a witness: a
small box, in the domain and within the claimed radius, all of which is in the region. Part of the
trusted base by `_outside`; where a witness is looked for is nothing to believe.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.network.evaluate import flat
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Network
from auditkit.network.region import Box, record_batches
from auditkit.network.rigorous import RIGOROUS

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

STEP = 2.0**-12  # of the domain's width: how far from the record a witness is looked for
NEARER = (2.0**-12, 2.0**-20, 2.0**-28)  # and in the fixed direction
THICKNESS = 2.0**-20  # of that distance: half the side of the witness
TRIES = 24


def has_interior(
    network: Network, bits: Bits, x: F64, radius: F64, lower: float, upper: float
) -> Bits:
    """Return [N]: whether R(s) ∩ ball(x, radius) of `bits` [N, H] is shown to contain a box.

    `x` is [N, *shape] in the domain [lower, upper]. False where none was found: not around the
    record, not a little way in a fixed direction, and not along the gradients of the units that
    are not yet on their side (a perceptron).
    """
    found = np.zeros(len(x), dtype=bool)
    with np.errstate(all="ignore"):  # a number that overflows shows nothing
        for rows in record_batches(network, len(x)):
            part = (network, bits[rows], x[rows], radius[rows], lower, upper)
            found[rows] = _search(*part)
    return found


def inward_direction(x: F64, lower: float, upper: float) -> F64:
    """Return a direction at records `x` [N, *input_shape]: fixed, but into the domain."""
    sizes = np.random.default_rng(8128).normal(size=x.shape[1:])
    return np.where(x <= lower, np.abs(sizes), np.where(x >= upper, -np.abs(sizes), sizes))


def _stepped(x: F64, step: F64, lower: float, upper: float) -> F64:
    """Return `x` [N, *shape] moved by up to `step` [N] where patterns right beside it are taken."""
    direction = inward_direction(x, lower, upper)
    return np.clip(x + _shaped(flat(direction), step, x.shape), lower, upper)


def _search(network: Network, bits: Bits, x: F64, radius: F64, lower: float, upper: float) -> Bits:
    farthest = np.minimum(radius / 4, STEP * (upper - lower))
    found = np.zeros(len(x), dtype=bool)
    waiting, step = np.arange(len(x)), farthest

    def try_at(y: F64) -> Bits:
        """Note where the boxes at `y` are in the region; return who is outside, of those left."""
        nonlocal waiting, step
        outside = _outside(network, bits[waiting], y, step * THICKNESS, lower, upper)
        found[waiting] = ~outside.any(axis=1)
        keep = outside.any(axis=1)
        waiting, step = waiting[keep], farthest[waiting[keep]]
        return outside[keep]

    outside = try_at(x)
    for share in NEARER:
        if len(waiting):
            step = np.minimum(farthest[waiting], share * (upper - lower))
            outside = try_at(_stepped(x[waiting], step, lower, upper))
    direction = np.zeros_like(flat(x))
    for _ in range(TRIES):
        if not len(waiting):
            break
        direction[waiting] += _towards(network, bits[waiting], outside)
        y = x[waiting] + _shaped(direction[waiting], step, x[waiting].shape)
        y = np.clip(y, lower, upper)
        direction[waiting] *= flat(y != x[waiting])  # what clipping took does not come back
        outside = try_at(y)
    return found


def _towards(network: Network, bits: Bits, outside: Bits) -> F64:
    """Return unit vectors [N, features] along which the units `outside` go to their side."""
    signed = np.where(bits, 1.0, -1.0) * outside
    zero = np.zeros((len(bits), network.classes))
    towards = flat(Frozen(network, bits).adjoint(zero, injections=signed))
    length = np.linalg.norm(towards, axis=1, keepdims=True)
    return np.divide(towards, length, out=np.zeros_like(towards), where=length > 0)


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
