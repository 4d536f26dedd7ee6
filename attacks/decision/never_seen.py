"""P-values of never having been seen: a signal among those of models that did not see the record.

The audited model, had it never seen a record, would be one more of the record's OUT models. Then
its signal is as likely to have any rank among theirs, which is a p-value without assumptions, if
the shadow models are trained as the audited model was (`calibration.py` asks that).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from attacks.arrays import BoolArray, FloatArray, IntArray, one_of
from attacks.normal import LEAST_SIGMA

Tail = Literal["rank", "normal"]

NORMAL = "OUT shadow signals of a record are normally distributed"


@dataclass(frozen=True)
class OutModels:
    """The OUT models of every record, as p-values are taken from them.

    signals [K, N], outside bool [K, N]: shadow k never saw record n. Raises ValueError on an
    unknown tail, a record without OUT models, or one with fewer than two for the normal tail.
    """

    signals: FloatArray
    outside: BoolArray
    tail: Tail

    def __post_init__(self) -> None:
        one_of(self.tail, Tail, "tail")
        least = 2 if self.tail == "normal" else 1
        if self.counts.min() < least:
            raise ValueError(
                f"the {self.tail} tail needs at least {least} OUT shadow model(s) per record, "
                f"found {int(self.counts.min())}"
            )

    @property
    def counts(self) -> IntArray:
        """The number of OUT models of each record [N]."""
        return np.asarray(self.outside.sum(axis=0), dtype=np.int64)

    def p_values(self, target: FloatArray) -> FloatArray:
        """Return the p-value of each record's signal as that of one more OUT model [N].

        By rank (1 + #{out >= score}) / (K_out + 1); by the normal tail the t-distribution of one
        further value, as mean and variance are themselves estimated.
        """
        if self.tail == "rank":
            at_least = (self.outside & (self.signals >= target)).sum(axis=0)
            return np.asarray((1.0 + at_least) / (self.counts + 1.0), dtype=np.float64)
        mean, sigma = self._moments()
        return np.asarray(t.sf((target - mean) / sigma, self.counts - 1), dtype=np.float64)

    def flagged(self, level: float) -> BoolArray:
        """Return which signals of all shadow models have a p-value of at most the level [K, N]."""
        if self.tail == "normal":
            mean, sigma = self._moments()
            return np.asarray(self.signals >= mean + sigma * t.isf(level, self.counts - 1))
        # p <= level when no more than `allowed` OUT signals are as high
        allowed = np.floor(level * (self.counts + 1.0) + 1e-9).astype(np.int64) - 1
        falling = -np.sort(np.where(self.outside, -self.signals, np.inf), axis=0)
        at = np.clip(allowed, 0, len(falling) - 1)
        critical = falling[at, np.arange(at.size)]  # -inf where as many are allowed as there are
        return np.asarray((self.signals > critical) & (allowed >= 0))

    def _moments(self) -> tuple[FloatArray, FloatArray]:
        counts = self.counts
        mean = np.where(self.outside, self.signals, 0.0).sum(axis=0) / counts
        squares = (np.where(self.outside, self.signals - mean, 0.0) ** 2).sum(axis=0)
        sigma = np.maximum(np.sqrt(squares / (counts - 1)), LEAST_SIGMA)
        return mean, sigma * np.sqrt(1.0 + 1.0 / counts)


@dataclass(frozen=True)
class Pooled:
    """One signal for each person: target [S], shadows [K, S], who holds all or none of them."""

    target: FloatArray
    signals: FloatArray
    every: BoolArray
    none: BoolArray


def pool(
    target: FloatArray, signals: FloatArray, inside: BoolArray, person: NDArray[np.intp]
) -> Pooled:
    """Return the mean of each person's standardised signals.

    Target [N], shadows [K, N], who trained on what bool [K, N], person [N] from 0 to S - 1. A
    record's spread is that of its OUT models and the target together: a function that does not
    tell the target from them leaves their ranks exchangeable.
    """
    outside = ~inside
    counts = outside.sum(axis=0) + 1
    mean = (np.where(outside, signals, 0.0).sum(axis=0) + target) / counts
    squares = (np.where(outside, signals - mean, 0.0) ** 2).sum(axis=0) + (target - mean) ** 2
    spread = np.sqrt(squares / counts)
    # A record whose OUT models agree to the last digit must not outweigh all the others.
    sigma = np.maximum(spread, max(LEAST_SIGMA, 1e-3 * float(spread.max())))
    order = np.argsort(person, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(person[order]) > 0])
    sizes = np.diff(np.r_[starts, person.size])

    def total(values: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.add.reduceat(values[..., order], starts, axis=-1)

    held = total(inside.astype(np.int64))
    return Pooled(
        np.asarray(total((target - mean) / sigma) / sizes, dtype=np.float64),
        np.asarray(total((signals - mean) / sigma) / sizes, dtype=np.float64),
        np.asarray(held == sizes),
        np.asarray(held == 0),
    )
