"""The true-positive rate at a false-positive rate, and the whole curve for a chart.

An attack that names one person in a hundred with certainty is an average attack with a terrible
consequence: the area hides it, the rate at few false alarms shows it. A rate that the records at
hand cannot resolve is refused, not printed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import BoolArray, FloatArray, proportion, vector
from attacks.statistics.binomial import clopper_pearson, clopper_pearson_bands
from attacks.statistics.clusters import Clusters
from attacks.statistics.population_rate import population_rate

NEGATIVES_PER_FPR = 3.0  # fewer than 3/FPR, and seeing no false alarm at all proves nothing
MOST_POINTS = 200


@dataclass(frozen=True)
class TprAtFpr:
    """The share of members above the threshold that a planned share of non-members exceeds.

    `true_positives` members of `n_members` lie above the threshold; `achieved_fpr` is at most
    `fpr` (less with ties). lower, upper: exact for this threshold, whatever its false-positive rate
    may be among all non-members. population_lower, population_upper: for the threshold that has
    `fpr` among all non-members, wider, as that threshold is estimated (`population_rate`);
    population_tpr: the rate there, ties broken as by lot, `tpr` where there are none.
    """

    fpr: float
    achieved_fpr: float
    tpr: float
    lower: float
    upper: float
    confidence: float
    threshold: float
    true_positives: int
    n_members: int
    n_non_members: int
    population_lower: float
    population_upper: float
    population_tpr: float


@dataclass(frozen=True)
class Refused:
    """A number that was not computed, because the sample cannot carry it."""

    what: str
    reason: str
    needed: int
    available: int


def negatives_needed(fpr: float) -> int:
    """Return how many non-members it takes to speak of this false-positive rate: 3/FPR.

    With fewer, no false alarm at all would be seen in more than one of twenty samples even at that
    rate. Raises ValueError unless 0 < fpr < 1.
    """
    return math.ceil(NEGATIVES_PER_FPR / proportion(fpr, "fpr") - 1e-9)


def resolvable_fpr(n_non_members: int) -> float:
    """Return the smallest false-positive rate that this many non-members resolve.

    Raises ValueError when there is none (3 or fewer).
    """
    if n_non_members <= NEGATIVES_PER_FPR:
        raise ValueError(f"{n_non_members} non-members resolve no false-positive rate")
    return NEGATIVES_PER_FPR / n_non_members


def tpr_at_fpr(
    members: ArrayLike,
    non_members: ArrayLike,
    fpr: float,
    confidence: float = 0.95,
    clusters: Clusters | None = None,
) -> TprAtFpr | Refused:
    """Return the true-positive rate at a false-positive rate with both its intervals.

    Members [M], non-members [N], higher meaning member; clusters, as of `auc_estimate`, widen the
    population's interval. `Refused` with fewer than 3/fpr non-members. Raises ValueError on an
    empty group, nan, or rates outside (0, 1).
    """
    x, y = vector(members, "members"), vector(non_members, "non_members")
    needed = negatives_needed(fpr)
    if y.size < needed:
        return Refused(
            f"true-positive rate at {fpr:g} false-positive rate",
            f"{needed} records that are no members are needed to resolve it, there are {y.size}",
            needed,
            y.size,
        )
    allowed = math.floor(fpr * y.size + 1e-9)
    # Strictly above the (allowed+1)-th largest: ties can only lower the false-positive rate.
    threshold = float(np.partition(y, y.size - 1 - allowed)[y.size - 1 - allowed])
    hits = int(np.count_nonzero(x > threshold))
    lower, upper = clopper_pearson(hits, x.size, confidence)
    population = population_rate(x, y, fpr, clusters)
    return TprAtFpr(
        fpr,
        float(np.count_nonzero(y > threshold)) / y.size,
        hits / x.size,
        lower,
        upper,
        confidence,
        threshold,
        hits,
        x.size,
        y.size,
        *population.interval(confidence),
        population.value,
    )


@dataclass(frozen=True)
class RocCurve:
    """At most 200 points of the curve, from (0, 0) to (1, 1), with a pointwise exact band."""

    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    confidence: float
    n_members: int
    n_non_members: int


def roc_curve(
    members: ArrayLike,
    non_members: ArrayLike,
    points: int = MOST_POINTS,
    confidence: float = 0.95,
) -> RocCurve:
    """Return the ROC curve, thinned evenly along the curve and along the logarithm of its FPR.

    Members [M], non-members [N]. Every point is a point of the full curve; the band is
    Clopper-Pearson's for the true-positive rate, pointwise. Raises ValueError on an empty group,
    nan, or fewer than 4 points.
    """
    x, y = vector(members, "members"), vector(non_members, "non_members")
    if points < 4:
        raise ValueError(f"points must be at least 4, found {points}")
    thresholds = np.unique(np.concatenate([x, y]))[::-1]
    above_x = x.size - np.searchsorted(np.sort(x), thresholds, side="left")
    above_y = y.size - np.searchsorted(np.sort(y), thresholds, side="left")
    tp, fp = np.concatenate([[0], above_x]), np.concatenate([[0], above_y])
    keep = _thin(fp / y.size, tp / x.size, points)
    tp, fp = tp[keep], fp[keep]
    lower, upper = clopper_pearson_bands(tp, x.size, confidence)
    return RocCurve(
        _plain(fp / y.size),
        _plain(tp / x.size),
        _plain(lower),
        _plain(upper),
        confidence,
        x.size,
        y.size,
    )


def _thin(fpr: FloatArray, tpr: FloatArray, points: int) -> BoolArray:
    """Choose at most `points` of the curve's corners; both ends always."""
    keep = np.zeros(fpr.size, dtype=np.bool_)
    if fpr.size <= points:
        return ~keep
    along = fpr + tpr
    half = points // 2
    keep[np.searchsorted(along, np.linspace(0.0, 2.0, half))] = True
    low = np.log(fpr[fpr > 0.0].min())
    at = np.exp(np.linspace(low, 0.0, max(0, points - half - 3)))
    # the last point at a false-positive rate: what is found there, not the foot of the step
    keep[np.searchsorted(fpr, [0.0, *at * (1 + 1e-12)], side="right") - 1] = True
    keep[[0, -1]] = True
    return keep


def _plain(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
