"""Means of probabilities over shadow models that lose nothing at either end.

Of a remembered record p is 1 to the last digit and what tells it apart is 1 - p; of a hopeless one
p underflows and what tells it apart is log p. So a mean is carried as both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.arrays import BoolArray, FloatArray
from attacks.blocks import by_record

LARGEST = 709.0  # the last whole φ whose exponential is finite; 1 - p is 1e-308 there
LEAST_MEAN = 1e-250  # below it single terms underflow, and the mean is taken of logarithms


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
    """Return log p = -log(1 + exp(-φ)) of φ = log p - log(1 - p)."""
    result: FloatArray = -np.logaddexp(0.0, -signals)
    return result


def mean_probability(signals: NDArray[Any]) -> Mean:
    """Return the mean of p = 1 / (1 + exp(-φ)) over all shadow models.

    Signals φ [K, N] of any floating type, read in blocks.
    """
    shadows = signals.shape[0]

    def work(part: slice, memory: list[FloatArray]) -> tuple[FloatArray, ...]:
        p, not_p = memory
        _probabilities(signals[:, part], p, not_p)
        total, total_not = np.add.reduce(p, axis=0), np.add.reduce(not_p, axis=0)
        count = np.full(total.shape, float(shadows))
        return _mean(total, total_not, count, signals[:, part], None)

    return Mean(*by_record(work, *signals.shape, buffers=2))


def mean_probabilities(signals: NDArray[Any], mask: BoolArray) -> tuple[Mean, Mean]:
    """Return the mean of p over the shadow models with, and without, each record.

    Signals φ [K, N] of any floating type, mask bool [K, N], both read in blocks.
    """
    shadows = signals.shape[0]

    def work(part: slice, memory: list[FloatArray]) -> tuple[FloatArray, ...]:
        p, not_p, chosen = memory
        _probabilities(signals[:, part], p, not_p)
        np.copyto(chosen, mask[:, part])
        count = np.add.reduce(chosen, axis=0)
        total_in, total_not_in = (np.einsum("kn,kn->n", a, chosen) for a in (p, not_p))
        np.subtract(1.0, chosen, out=chosen)
        total_out, total_not_out = (np.einsum("kn,kn->n", a, chosen) for a in (p, not_p))
        own, seen = signals[:, part], mask[:, part]
        return (
            *_mean(total_in, total_not_in, count, own, seen),
            *_mean(total_out, total_not_out, shadows - count, own, ~seen),
        )

    found = by_record(work, *signals.shape, buffers=3)
    return Mean(*found[:2]), Mean(*found[2:])


def halfway(a: Mean, b: Mean) -> Mean:
    """Return the mean of two means."""
    return Mean(np.logaddexp(a.log_p, b.log_p) - np.log(2.0), 0.5 * (a.not_p + b.not_p))


def _probabilities(signals: NDArray[Any], p: FloatArray, not_p: FloatArray) -> None:
    """Write 1 / (1 + exp(-φ)) and 1 / (1 + exp(φ)), both to their last digit."""
    np.minimum(signals, LARGEST, out=p, dtype=np.float64)
    np.exp(p, out=p)
    np.add(p, 1.0, out=not_p)
    np.reciprocal(not_p, out=not_p)
    p *= not_p


def _mean(
    p: FloatArray,
    not_p: FloatArray,
    count: FloatArray,
    signals: NDArray[Any],
    mask: BoolArray | None,
) -> tuple[FloatArray, FloatArray]:
    """Return what a `Mean` holds from the sums, taking logarithms where the terms underflow."""
    n = np.maximum(count, 1.0)
    low = (p < LEAST_MEAN) & (count > 0)
    with np.errstate(divide="ignore"):
        log_p = np.log(p / n)
    if low.any():
        terms = log_probability(signals[:, low].astype(np.float64))
        if mask is not None:
            terms = np.where(mask[:, low], terms, -np.inf)
        log_p[low] = np.logaddexp.reduce(terms, axis=0) - np.log(n[low])
    return log_p, not_p / n
