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
    counts = np.zeros(mask.shape[1], dtype=np.int64)
    mean, squares = np.zeros(mask.shape[1]), np.zeros(mask.shape[1])
    # row by row: what is needed beside the signals is a few vectors, however many there are
    for row, chosen in zip(signals, mask, strict=True):
        counts += chosen
        mean += np.where(chosen, row, 0.0)
    mean /= counts
    for row, chosen in zip(signals, mask, strict=True):
        squares += np.where(chosen, row - mean, 0.0) ** 2
    if variance == "per-record":
        spread = squares / counts
    else:
        total = squares.sum()
        if variance == "global":
            total += (counts * (mean - (counts * mean).sum() / counts.sum()) ** 2).sum()
        spread = np.array([total / counts.sum()])
    return mean, np.maximum(np.sqrt(spread), LEAST_SIGMA)


def log_density(x: FloatArray, mean: FloatArray, sigma: FloatArray) -> FloatArray:
    """Return log N(x; mean, sigma)."""
    result: FloatArray = (
        -0.5 * ((x - mean) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2.0 * np.pi)
    )
    return result
