"""How far records are from the faces of their regions, on a sample: evidence, not a bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.network.evaluate import evaluate
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Network

RECORDS, UNITS = 16, 16


def sampled_inner_radius(
    network: Network, x: NDArray[np.float64], bits: NDArray[np.bool_], seed: int
) -> NDArray[np.float64]:
    """Return, for a few random records, the distance to the nearest face of those looked at.

    `x` [N, *input_shape], `bits` [N, H]. Distance is σ_u z_u / ‖∇z_u‖₁, in the ∞-norm, of the
    sixteen units nearest 0; over all units the least can only be less. Infinite where no unit
    looked at has a gradient.
    """
    rows = np.random.default_rng(seed).permutation(len(x))[:RECORDS]
    _, z = evaluate(network, x[rows])
    signed = np.where(bits[rows], z, -z)
    nearest = np.argsort(signed, axis=1, kind="stable")[:, :UNITS]
    count, width = nearest.shape
    if not width:
        return np.full(count, np.inf)
    chosen = np.zeros((count * width, z.shape[1]))
    chosen[np.arange(count * width), nearest.ravel()] = 1
    frozen = Frozen(network, np.repeat(bits[rows], width, axis=0))
    gradient = frozen.adjoint(np.zeros((count * width, network.classes)), injections=chosen)
    size = np.abs(gradient).reshape(count, width, -1).sum(axis=2)
    value = np.maximum(np.take_along_axis(signed, nearest, axis=1), 0)
    return np.asarray(np.divide(value, size, out=np.full_like(size, np.inf), where=size > 0).min(1))
