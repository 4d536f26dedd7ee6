"""Means of probabilities over shadow models that lose nothing at either end.

Of a remembered record p is 1 to the last digit and what tells it apart is 1 - p; of a hopeless one
p underflows and what tells it apart is log p. So a mean is carried as both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.arrays import BoolArray, FloatArray, member_counts
from attacks.blocks import by_record, weights

HIDDEN = 1e300  # a signal of which no exponential is left


@dataclass(frozen=True)
class Mean:
    """Of a mean p̄ over models: log p̄ (good where p̄ is small) and 1 - p̄ (good where it is near 1).

    Both [N]; log_p -inf and not_p 0 where there are no models.
    """

    log_p: FloatArray
    not_p: FloatArray

    def log(self) -> FloatArray:
        """Return log p̄ [N], from whichever of the two has the digits."""
        near_one = np.log1p(-np.minimum(self.not_p, 0.5))
        result: FloatArray = np.where(self.not_p < 0.5, near_one, self.log_p)
        return result


def log_probability(signals: FloatArray) -> FloatArray:
    """Return log p = -log(1 + exp(-φ)) of signals φ."""
    result: FloatArray = -np.logaddexp(0.0, -signals)
    return result


def mean_probability(
    signals: NDArray[Any], mask: BoolArray | None = None, *, inside: bool = False
) -> Mean:
    """Return the mean of p = 1 / (1 + exp(-φ)) over the shadow models chosen.

    Signals φ [K, N] of any floating type, read in blocks; mask bool [K, N]: the models with
    (`inside`) or without the record; all of them without a mask.
    """
    shadows, records = signals.shape
    count = np.full(records, shadows) if mask is None else member_counts(mask)
    if mask is not None and not inside:
        count = shadows - count

    def work(part: slice) -> tuple[FloatArray, ...]:
        values = signals[:, part].astype(np.float64)
        n = np.maximum(count[part], 1)
        hide = 0.0 if mask is None else HIDDEN * weights(mask[:, part], inside=not inside)
        with np.errstate(over="ignore", divide="ignore"):
            not_p = np.add.reduce(_sigmoid(-(values + hide)), axis=0) / n
            values -= hide
            # p exp(-s) = 1 / (exp(s) + exp(s - φ)) with s the largest φ, or 0 above it
            shift = np.minimum(values.max(axis=0), 0.0)
            np.subtract(shift, values, out=values)
            np.exp(values, out=values)
            values += np.exp(shift)
            np.reciprocal(values, out=values)
            log_p = shift + np.log(np.add.reduce(values, axis=0) / n)
        return np.where(count[part] > 0, log_p, -np.inf), not_p

    return Mean(*by_record(work, shadows, records))


def halfway(a: Mean, b: Mean) -> Mean:
    """Return the mean of two means, or the one where the other is of no models."""
    nothing_a, nothing_b = np.isneginf(a.log_p), np.isneginf(b.log_p)
    one = nothing_a | nothing_b
    log_p = np.logaddexp(a.log_p, b.log_p) - np.where(one, 0.0, np.log(2.0))
    return Mean(log_p, (a.not_p + b.not_p) * np.where(one, 1.0, 0.5))


def _sigmoid(values: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x)), in place of the argument."""
    np.negative(values, out=values)
    np.exp(values, out=values)
    values += 1.0
    return np.reciprocal(values, out=values)
