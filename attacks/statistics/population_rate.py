"""The true-positive rate at a false-positive rate of the population, not of this sample.

The threshold above which one non-member in a hundred lies is itself an estimate. Clopper and
Pearson's interval for the members above it is exact for that threshold; for the threshold that
truly has this false-positive rate it is too narrow, and with few non-members much too narrow. Here
the two sources are put together: how far the share of members may be off at the threshold, by its
exact limits, and how far the threshold may be off, by the members between it and the order
statistics of the non-members that bound it; squared and added, as for a difference of shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc, betaincinv

from attacks.arrays import FloatArray, IntArray, proportion, vector
from attacks.statistics.clusters import Clusters, design_effect, grouping


@dataclass(frozen=True)
class PopulationRate:
    """The share of members above the threshold that a share `fpr` of all non-members exceeds.

    `hits` [J]: members above the j-th highest non-member, j = 1, 2, ..., as far as chance could put
    the true threshold. trials: members, fewer where people have several records; non_members
    likewise. value: at the threshold of this sample. An estimate for `equivalence_test`. How often
    the interval covers is measured in docs/coverage-study.md.

    Source: Newcombe 1998, method 10 (square-and-add), for limits of Clopper and Pearson and of a
    quantile.
    """

    fpr: float
    value: float
    hits: FloatArray
    trials: float
    non_members: float

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the interval; ValueError unless 0 < confidence < 1."""
        tail = (1.0 - proportion(confidence, "confidence")) / 2.0
        return self._lower(tail), self._upper(tail)

    def p_above(self, bound: float) -> float:
        """Return the p-value of the hypothesis that the rate is at most `bound`."""
        return _smallest_level(lambda tail: self._lower(tail) > bound)

    def p_below(self, bound: float) -> float:
        """Return the p-value of the hypothesis that the rate is at least `bound`."""
        return _smallest_level(lambda tail: self._upper(tail) < bound)

    def _lower(self, tail: float) -> float:
        k, n = self.value * self.trials, self.trials
        share = 0.0 if k <= 0.0 else float(betaincinv(k, n - k + 1.0, tail))
        # The lowest threshold of which it is nearly sure that it lies over the true one.
        rank = int(np.searchsorted(self._under, tail, side="right"))
        edge = float(self.hits[rank - 1]) / n if rank > 0 else 0.0
        return max(0.0, self.value - math.hypot(self.value - share, max(0.0, self.value - edge)))

    def _upper(self, tail: float) -> float:
        k, n = self.value * self.trials, self.trials
        share = 1.0 if k >= n else float(betaincinv(k + 1.0, n - k, 1.0 - tail))
        rank = int(np.searchsorted(-self._over, -tail, side="left"))
        edge = float(self.hits[rank]) / n if rank < self.hits.size else 1.0
        return min(1.0, self.value + math.hypot(share - self.value, max(0.0, edge - self.value)))

    @cached_property
    def _over(self) -> FloatArray:
        """Return the chances [J] that the j-th highest lies over the true threshold's place."""
        ranks = np.arange(1.0, self.hits.size + 1.0)
        chance = betainc(ranks, self.non_members - ranks + 1.0, self.fpr)
        return np.asarray(chance, dtype=np.float64)

    @cached_property
    def _under(self) -> FloatArray:
        return 1.0 - self._over


def population_rate(
    members: ArrayLike,
    non_members: ArrayLike,
    fpr: float,
    clusters: Clusters | None = None,
) -> PopulationRate:
    """Return the true-positive rate at the true false-positive rate.

    Members [M], non-members [N], higher meaning member; clusters as of `auc_estimate` (both numbers
    are then divided by their design effect, Korn and Graubard 1998). Ties are broken as if by lot,
    which an attacker may do, too: the rate lies on the straight line between the curve's corners.
    If they counted against the attack, as in `tpr_at_fpr`, a model that cuts off its highest
    outputs would hide every record above the cut. Raises ValueError on an empty group, nan, or a
    rate outside (0, 1).
    """
    x, y = vector(members, "members"), vector(non_members, "non_members")
    proportion(fpr, "fpr")
    rising = np.sort(x)
    highest = np.sort(y)[::-1]
    allowed = int(fpr * y.size + 1e-9)
    at = float(highest[min(allowed, y.size - 1)])
    group = grouping(clusters, x.size, y.size)
    trials, others = float(x.size), float(y.size)
    if group is not None:
        trials /= design_effect((x > at).astype(np.float64), group.members)
        others /= design_effect((y > at).astype(np.float64), group.non_members)
    # 12 standard deviations of the rank: beyond, no confidence asks for.
    reach = others * fpr + 12.0 * np.sqrt(others * fpr) + 40.0
    ranks = min(int(others), int(reach))
    taken: IntArray = np.minimum(
        np.ceil(np.arange(1, ranks + 1) * (y.size / others)).astype(np.int64), y.size
    )
    hits = _above(rising, highest, taken)
    return PopulationRate(
        fpr,
        float(_above(rising, highest, np.array([min(allowed, y.size - 1) + 1]))[0]) / x.size,
        np.asarray(hits * (trials / x.size), dtype=np.float64),
        trials,
        others,
    )


def _above(rising: FloatArray, highest: FloatArray, ranks: IntArray) -> FloatArray:
    """Return how many members lie above the j-th highest non-member, for ranks j [J], from 1.

    Members rising [M], non-members falling [N]. Of members equal to it, as large a part counts as
    of the non-members equal to it stand before it.
    """
    at = highest[ranks - 1]
    falling = -highest
    before = np.searchsorted(falling, -at, side="left")
    equal = np.searchsorted(falling, -at, side="right") - before
    more = rising.size - np.searchsorted(rising, at, side="right")
    tied = rising.size - np.searchsorted(rising, at, side="left") - more
    return np.asarray(more + tied * ((ranks - 1 - before) / equal), dtype=np.float64)


@dataclass(frozen=True)
class MeanRate:
    """The mean of the rates of several models; its limits hold however the models hang together."""

    rates: tuple[PopulationRate, ...]

    @property
    def value(self) -> float:
        return float(np.mean([r.value for r in self.rates]))

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the mean of the limits; ValueError unless 0 < confidence < 1."""
        limits = np.mean([r.interval(confidence) for r in self.rates], axis=0)
        return float(limits[0]), float(limits[1])


def _smallest_level(excluded: Callable[[float], bool]) -> float:
    """Return the smallest one-sided level whose limit excludes a bound, 1 where none does."""
    low, high = -12.0, math.log10(0.4999)  # below 1e-12 nothing depends on it
    if not excluded(10.0**high):
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2.0
        if excluded(10.0**middle):
            high = middle
        else:
            low = middle
    return float(10.0**high)
