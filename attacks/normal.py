"""The normal distribution that several attacks take a record's shadow signals for."""

from __future__ import annotations

from typing import Literal

import numpy as np

from attacks.arrays import FloatArray
from attacks.blocks import Moments

Variance = Literal["pooled", "per-record", "shared", "global", "global-in"]

# A shadow ensemble may give one record the same signal throughout; the density stays finite.
LEAST_SIGMA = 1e-6


def sigma(found: Moments, variance: Variance) -> FloatArray:
    """Return the standard deviation of these signals, [N] per record and [1] otherwise.

    variance as of `attacks.lira.score`, of one side alone: `shared` is `pooled`, `global-in` is
    `global`.
    """
    if variance == "per-record":
        return floored(found.squares / found.count)
    if variance in ("global", "global-in"):
        return floored(np.array([found.spread]))
    return floored(np.array([found.deviations]))


def floored(variance: FloatArray) -> FloatArray:
    """Return the standard deviation of a variance, 1e-6 at least."""
    return np.maximum(np.sqrt(variance), LEAST_SIGMA)


def log_density(x: FloatArray, mean: FloatArray, sigma: FloatArray) -> FloatArray:
    """Return log N(x; mean, sigma)."""
    result: FloatArray = (
        -0.5 * ((x - mean) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2.0 * np.pi)
    )
    return result
