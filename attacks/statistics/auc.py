"""The area under the ROC curve, with an interval that holds at the ends too.

The area is the chance that a member scores above a record that is none, ties counting half. Its
DeLong variance is 0 when an attack is perfect, perfectly wrong or says the same of every record; an
interval of no width would be a lie there, so three methods are used and named:

- `delong-logit`: the DeLong variance, with the normal interval on the logit scale.
- `chernoff`: areas of 0 or 1, and fewer than 10 records in a group; the bound of `bounded.py` with
  the smaller group as sample size. It assumes nothing and equals Clopper-Pearson at 0 and 1.
- `clustered-logit`: as `delong-logit` with the variance summed over people who have several
  records (`clusters`); the other methods then count people instead of records.
- `all-tied`: every record has one and the same score. How many of the records to come could have
  another is bounded exactly in each group, and the area follows from that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata

from attacks.arrays import FloatArray, proportion, vector
from attacks.statistics.bounded import bernoulli_divergence, chernoff_interval
from attacks.statistics.clusters import Clusters, Grouping, clustered_variance, grouping

LEAST_FOR_DELONG = 10  # below, the normal approximation of a variance of ranks is not worth having


def placements(members: ArrayLike, non_members: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return for each member the share of non-members below it, and for each non-member the share
    of members above it, ties counting half.

    Members [M], non-members [N]; float64 [M] and [N], both averaging to the AUC. O(L log L) by
    ranks. Raises ValueError on an empty group or nan. Source: DeLong, DeLong and Clarke-Pearson
    1988, in the rank form of Sun and Xu 2014.
    """
    x, y = vector(members, "members"), vector(non_members, "non_members")
    pooled = rankdata(np.concatenate([x, y]))  # mid-ranks
    below = (pooled[: x.size] - rankdata(x)) / y.size
    above = 1.0 - (pooled[x.size :] - rankdata(y)) / x.size
    return below, above


def auc(members: ArrayLike, non_members: ArrayLike) -> float:
    """Return the share of pairs in which the member scores higher, ties counting half.

    Members [M], non-members [N]. Raises ValueError on an empty group or nan.
    """
    return _area(placements(members, non_members)[0])


def _area(below: FloatArray) -> float:
    return float(np.clip(below.mean(), 0.0, 1.0))


def _variance(below: FloatArray, above: FloatArray, group: Grouping | None) -> float:
    if min(below.size, above.size) < 2:
        return 0.0
    if group is not None:
        value = clustered_variance(below, above, group)
    else:
        value = float(below.var(ddof=1) / below.size + above.var(ddof=1) / above.size)
    return value if value > 1e-20 else 0.0  # rounding of equal placements is no variance


@dataclass(frozen=True)
class AucEstimate:
    """An area under the ROC curve with its interval and what it rests on.

    independent: how many independent records each group is worth, where people have several; None
    where every record stands for itself.
    """

    auc: float
    lower: float
    upper: float
    confidence: float
    standard_error: float
    n_members: int
    n_non_members: int
    method: str
    independent: tuple[int, int] | None = None

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the interval at another confidence; ValueError unless it lies in (0, 1)."""
        tail = (1.0 - proportion(confidence, "confidence")) / 2.0
        if self.method == "all-tied":
            # Each group has at least this share at the common score, with chance 1 - tail.
            apart = 0.5 * tail**self._inverse_sizes
            return apart, 1.0 - apart
        if self.method == "chernoff":
            return chernoff_interval(self.auc, self._pairs, confidence)
        half = float(norm.isf(tail)) * self._logit_error
        return _expit(_logit(self.auc) - half), _expit(_logit(self.auc) + half)

    def p_above(self, bound: float) -> float:
        """Return the one-sided p-value of the hypothesis that the area is at most `bound`."""
        return self._p(self.auc, bound)

    def p_below(self, bound: float) -> float:
        """Return the one-sided p-value of the hypothesis that the area is at least `bound`."""
        return self._p(1.0 - self.auc, 1.0 - bound)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.independent or (self.n_members, self.n_non_members)

    @property
    def _pairs(self) -> int:
        return min(self._sizes)

    @property
    def _inverse_sizes(self) -> float:
        return 1.0 / self._sizes[0] + 1.0 / self._sizes[1]

    @property
    def _logit_error(self) -> float:
        return self.standard_error / (self.auc * (1.0 - self.auc))

    def _p(self, value: float, bound: float) -> float:
        if bound >= 1.0:
            return 1.0
        if bound < 0.0:
            return 0.0
        if self.method.endswith("-logit"):
            if bound == 0.0:
                return 0.0
            return float(norm.sf((_logit(value) - _logit(bound)) / self._logit_error))
        if value <= bound:
            return 1.0
        if self.method == "all-tied":  # the level at which the interval above reaches the bound
            return min(1.0, float(2.0 * (2.0 * bound) ** (1.0 / self._inverse_sizes)))
        return math.exp(-self._pairs * bernoulli_divergence(value, bound))


def auc_estimate(
    members: ArrayLike,
    non_members: ArrayLike,
    confidence: float = 0.95,
    clusters: Clusters | None = None,
) -> AucEstimate:
    """Return the AUC with its interval.

    Members [M], non-members [N]; clusters: whose record each one is, a name per member [M] and per
    non-member [N], where people have several. Constant scores are fine (0.5). Raises ValueError on
    an empty group (one class only), nan, names that are not one per record, or a confidence outside
    (0, 1). Source of the clustered variance: Obuchowski 1997.
    """
    below, above = placements(members, non_members)
    m, n = below.size, above.size
    group = grouping(clusters, m, n)
    area, variance = _area(below), _variance(below, above, group)
    independent = None if group is None else group.independent()
    least = min(_units(group, m, n))
    if np.ptp(below) == 0.0 and np.ptp(above) == 0.0 and least >= 2 and 0.0 < area < 1.0:
        method = "all-tied"
    elif variance == 0.0 or least < LEAST_FOR_DELONG or not 0.0 < area < 1.0:
        method = "chernoff"
    else:
        method = "delong-logit" if group is None else "clustered-logit"
    bare = AucEstimate(area, 0.0, 1.0, confidence, math.sqrt(variance), m, n, method, independent)
    lower, upper = bare.interval(confidence)
    return replace(bare, lower=lower, upper=upper)


def _units(group: Grouping | None, m: int, n: int) -> tuple[int, int]:
    """Return how many people (or records, where each stands for itself) each group has."""
    if group is None:
        return m, n
    of_x, of_y = group.sizes
    return int(np.count_nonzero(of_x)), int(np.count_nonzero(of_y))


@dataclass(frozen=True)
class AucDifference:
    """The difference of two AUCs on the same records, with its interval."""

    difference: float
    lower: float
    upper: float
    confidence: float
    standard_error: float
    n_members: int
    n_non_members: int
    n_references: int
    method: str
    independent: tuple[int, int] | None = None

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the interval at another confidence; ValueError unless it lies in (0, 1)."""
        tail = (1.0 - proportion(confidence, "confidence")) / 2.0
        if self.method == "all-equal":
            reach = 1.0 - tail**self._inverse_sizes
            return -reach, reach
        if self.method == "chernoff":
            low, high = chernoff_interval((1.0 + self.difference) / 2.0, self._pairs, confidence)
            return 2.0 * low - 1.0, 2.0 * high - 1.0
        half = float(norm.isf(tail)) * self.standard_error
        return max(-1.0, self.difference - half), min(1.0, self.difference + half)

    def p_above(self, bound: float) -> float:
        """Return the one-sided p-value of the hypothesis that the difference is at most `bound`."""
        return self._p(self.difference, bound)

    def p_below(self, bound: float) -> float:
        """Return the one-sided p-value of the hypothesis that it is at least `bound`."""
        return self._p(-self.difference, -bound)

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.independent or (self.n_members, self.n_non_members)

    @property
    def _pairs(self) -> int:
        return min(self._sizes)

    @property
    def _inverse_sizes(self) -> float:
        return 1.0 / self._sizes[0] + 1.0 / self._sizes[1]

    def _p(self, value: float, bound: float) -> float:
        if self.method in ("delong-paired", "clustered-paired"):
            return float(norm.sf((value - bound) / self.standard_error))
        if value <= bound:
            return 1.0
        if self.method == "all-equal":
            if bound <= -1.0:
                return 0.0
            return min(1.0, float(2.0 * (1.0 + bound) ** (1.0 / self._inverse_sizes)))
        a, b = (1.0 + value) / 2.0, (1.0 + bound) / 2.0
        return math.exp(-self._pairs * bernoulli_divergence(a, b))


def auc_difference(
    members: ArrayLike,
    non_members: ArrayLike,
    references: Sequence[tuple[ArrayLike, ArrayLike]],
    confidence: float = 0.95,
    clusters: Clusters | None = None,
) -> AucDifference:
    """Return AUC less the mean AUC of the references, on the same records in the same order.

    Members [M], non-members [N]; each reference a pair of arrays of the same lengths (scores of a
    retrained model, or before unlearning); clusters as of `auc_estimate`. The variance is DeLong's
    for paired areas; with two or more references the spread between them is added. Raises
    ValueError on no reference, different lengths, an empty group or nan. Source: DeLong et al.
    1988, equations 5 to 8.
    """
    if not references:
        raise ValueError("references must hold at least one pair of score arrays")
    below, above = placements(members, non_members)
    others = [placements(a, b) for a, b in references]
    for a, b in others:
        if a.size != below.size or b.size != above.size:
            raise ValueError(
                "a reference must score the same records: expected "
                f"{below.size} + {above.size}, found {a.size} + {b.size}"
            )
    d_below = below - np.mean([a for a, _ in others], axis=0)
    d_above = above - np.mean([b for _, b in others], axis=0)
    difference = float(d_below.mean())
    m, n = below.size, above.size
    group = grouping(clusters, m, n)
    variance = _variance(d_below, d_above, group)
    if len(others) > 1:
        variance += float(np.var([a.mean() for a, _ in others], ddof=1)) / len(others)
    least = min(_units(group, m, n))
    if least >= LEAST_FOR_DELONG and variance > 0.0:
        method = "delong-paired" if group is None else "clustered-paired"
    elif least >= 2 and np.allclose(d_below, 0.0) and np.allclose(d_above, 0.0):
        method = "all-equal"
    else:
        method = "chernoff"
    bare = AucDifference(
        difference,
        -1.0,
        1.0,
        confidence,
        math.sqrt(variance),
        m,
        n,
        len(others),
        method,
        None if group is None else group.independent(),
    )
    lower, upper = bare.interval(confidence)
    return replace(bare, lower=lower, upper=upper)


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def _expit(value: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * value))
