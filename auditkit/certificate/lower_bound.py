"""How large a patch must be at least: what one input of the claimed set shows.

A patch that meets a claim changes the logits at every input of the claimed set. Where f_j leads
the target label k by l, a lead of k by m takes a change of at least (l + m) / 2 in one logit; where
a logit is l away from its target, coming within m takes at least l - m. The input may come from
anywhere: whether it is in the set, and what f is there, is derived here with rigorous rounding.
Pure, like the checker, which it shares the arithmetic with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Claims
from auditkit.network.evaluate import evaluate
from auditkit.network.graph import Network
from auditkit.network.region import record_batches
from auditkit.network.rigorous import RIGOROUS, UNIT, Ball
from auditkit.patch.gates import Patch

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]


def change_needed(
    network: Network, patch: Patch, claims: Claims, points: F64, lower: float, upper: float
) -> F64:
    """Return [N] floats: no patch that meets claim i changes each logit by less at `points[i]`.

    `points` [N, *shape]; -inf where a point is not shown to be in the claimed set: the domain
    [lower, upper], the ball around the record, the true region of the claim's pattern.
    """
    if not len(claims):
        return np.zeros(0)
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [
            _needed(network, patch, claims.take(rows), points[rows], lower, upper)
            for rows in record_batches(network, len(claims))
        ]
    return np.concatenate(parts)


def _needed(
    network: Network, patch: Patch, claims: Claims, points: F64, lower: float, upper: float
) -> F64:
    table, rows = patch.table, np.arange(len(claims))
    logits, z = evaluate(network, Ball.exact(points), RIGOROUS)
    bits = table.patterns[claims.gate]
    signed = np.where(bits, z.center, -z.center)
    inside = np.all((signed >= z.radius) & np.isfinite(z.radius), axis=1)
    inside &= _near(claims, points, lower, upper)
    q = table.offset[table.group[claims.gate]]
    away = np.maximum(logits.lower - q, q - logits.upper).max(axis=1) - claims.margin
    own = claims.target
    # j = target gives m/2 at most, which any patch with a lead of m to make may not need
    lead = logits.lower - logits.upper[rows, own][:, None]
    lead[rows, own] = -np.inf
    half = (lead.max(axis=1) + claims.margin) / 2
    needed = np.where(own < 0, away, half)
    size = np.abs(logits.center).max(axis=1) + np.abs(q).max(axis=1) + claims.margin
    needed = np.nextafter(needed - 8 * UNIT * (np.abs(needed) + size), -np.inf)
    return np.where(inside & np.isfinite(needed), needed, -np.inf)


def _near(claims: Claims, points: F64, lower: float, upper: float) -> Bits:
    """Return whether points are surely within the domain and the radius of their records."""
    flat, x = points.reshape(len(points), -1), claims.x.reshape(len(points), -1)
    distance = np.nextafter(np.abs(flat - x), np.inf).max(axis=1, initial=0.0)
    distance = np.where((flat == x).all(axis=1), 0.0, distance)
    domain = np.all((flat >= lower) & (flat <= upper), axis=1)
    return np.asarray(domain & (distance <= claims.radius) & (claims.radius > 0))
