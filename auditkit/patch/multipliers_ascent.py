"""Bounds over a region by projected dual ascent, where a linear program would be too large.

The dual function g(λ) = sup over the box of (objective + Σ λ_u σ_u z_u) bounds the objective over
the region from above for every λ ≥ 0, so each step is valid and the best is kept. A step costs one
backward and one forward pass; no matrix is formed. Steps follow Polyak's rule towards the best
value that a point of the region is seen to reach (Polyak 1969; Held, Wolfe and Crowder 1974), with
each coordinate scaled by the subgradients that it has seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.network.frozen import Frozen
from auditkit.network.graph import Network
from auditkit.network.region import Box

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

STEPS = 150
PATIENCE = 8  # steps without improvement before they are halved


def ascend(
    network: Network, bits: Bits, box: Box, on_logits: F64, on_units: F64
) -> tuple[F64, F64]:
    """Return multipliers [K, H] and best steps δ [K, *shape] for objectives of K records.

    Row k has the pattern `bits[k]`, the box `k` and the objective on_logits[k] · f +
    on_units[k] · z. Each δ stays in the region as the frozen network sees it.
    """
    frozen = Frozen(network, bits)
    sign = np.where(bits, 1.0, -1.0)
    _, z = frozen.forward(box.x)
    slack = np.maximum(sign * z, 0)
    count = len(bits)
    multipliers, best = np.zeros(bits.shape), np.zeros(bits.shape)
    best_value = np.full(count, np.inf)
    reached, point = np.zeros(count), np.zeros_like(box.x)
    seen, average = np.zeros(bits.shape), np.zeros_like(box.x)
    pace, waited = np.ones(count), np.zeros(count, dtype=int)
    for number in range(STEPS):
        gradient = frozen.adjoint(on_logits, injections=on_units + sign * multipliers)
        corner = np.where(gradient > 0, box.step_upper, box.step_lower)
        value = (multipliers * slack).sum(axis=1) + _dot(gradient, corner)
        better = value < best_value
        best[better], best_value[better] = multipliers[better], value[better]
        waited = np.where(better, 0, waited + 1)
        pace = np.where(waited >= PATIENCE, pace / 2, pace)
        waited[waited >= PATIENCE] = 0
        # the average of the corners tends to the primal optimum; both are pulled into the region
        average += (corner - average) * (2 / (number + 2))
        for goal in (corner, average):
            gain, slope = _along(frozen, goal, on_logits, on_units)
            share = _share(slack, sign * slope)
            higher = share * gain > reached
            reached = np.where(higher, share * gain, reached)
            wide = share.reshape(-1, *[1] * (goal.ndim - 1))
            point = np.where(higher.reshape(wide.shape), wide * goal, point)
            if goal is corner:
                subgradient = slack + sign * slope
        seen += subgradient**2
        scale = 1 / np.sqrt(seen + 1e-300)
        down = np.where((multipliers > 0) | (subgradient < 0), subgradient, 0)
        size = (down**2 * scale).sum(axis=1)
        length = pace * np.maximum(value - reached, 0) / np.where(size > 0, size, np.inf)
        multipliers = np.maximum(multipliers - length[:, None] * scale * down, 0)
    return best, point


def _along(frozen: Frozen, step: F64, on_logits: F64, on_units: F64) -> tuple[F64, F64]:
    """Return what the objective [K] and each unit [K, H] gain along a step."""
    logits, units = frozen.forward(step, constant=False)
    return (on_logits * logits).sum(axis=1) + (on_units * units).sum(axis=1), units


def _share(slack: F64, slope: F64) -> F64:
    """Return how much of a step [K] stays where slack + share · slope ≥ 0, at most all of it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(slope < 0, slack / -slope, np.inf)
    return np.minimum(ratio.min(axis=1, initial=np.inf), 1.0)


def _dot(a: F64, b: F64) -> F64:
    return (a.reshape(len(a), -1) * b.reshape(len(b), -1)).sum(axis=1)
