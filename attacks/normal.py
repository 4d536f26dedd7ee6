"""Normals fitted to the signals of some of the shadow models, record by record."""

from __future__ import annotations

import numpy as np

from attacks.arrays import BoolArray, FloatArray
from attacks.lira import LEAST_SIGMA, Variance


def fit_normal(
    signals: FloatArray, mask: BoolArray, variance: Variance
) -> tuple[FloatArray, FloatArray]:
    """Return mean [N] and standard deviation ([N] or [1]) of the signals under the mask [K, N].

    Signals [K, N], at least one of each record under the mask. variance as of `attacks.lira.score`:
    `pooled` and `shared` are of the deviations from each record's own mean, `global` from the mean
    of all.
    """
    counts = mask.sum(axis=0)
    mean = np.where(mask, signals, 0.0).sum(axis=0) / counts
    if variance == "global":
        return mean, np.maximum(np.std(signals[mask], keepdims=True), LEAST_SIGMA)
    squares = np.where(mask, signals - mean, 0.0) ** 2
    if variance == "per-record":
        spread = squares.sum(axis=0) / counts
    else:
        spread = np.array([squares.sum() / counts.sum()])
    return mean, np.maximum(np.sqrt(spread), LEAST_SIGMA)


def log_density(x: FloatArray, mean: FloatArray, sigma: FloatArray) -> FloatArray:
    """Return log N(x; mean, sigma)."""
    result: FloatArray = (
        -0.5 * ((x - mean) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2.0 * np.pi)
    )
    return result
