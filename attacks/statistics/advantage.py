"""Membership advantage: how much more often a member is called one than a record that is none.

The best threshold of a sample flatters it: on scores that mean nothing the largest difference of
the two rates is still above 0, always. So each half of the records is judged at the threshold which
the other half chose, and no record has a say in its own judgement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import FloatArray, proportion, vector
from attacks.statistics.binomial import Share, ShareDifference
from attacks.statistics.roc import Refused
from attacks.statistics.splitting import halves

LEAST_TO_SPLIT = 10  # per group: five records to choose a threshold, five to judge it


@dataclass(frozen=True)
class Advantage:
    """True-positive rate less false-positive rate at thresholds that other records chose.

    tpr, fpr: over both halves. thresholds: of the first half, which judged the second, and the
    reverse. The interval is of the mean advantage at these two thresholds, which is no more than
    that of the best threshold there is.
    """

    advantage: float
    lower: float
    upper: float
    confidence: float
    tpr: float
    fpr: float
    thresholds: tuple[float, float]
    n_members: int
    n_non_members: int


def membership_advantage(
    members: ArrayLike, non_members: ArrayLike, confidence: float = 0.95, *, seed: int = 0
) -> Advantage | Refused:
    """Return the cross-fitted membership advantage with its interval.

    Members [M], non-members [N], higher meaning member; `seed` draws the halves. `Refused` with
    fewer than 10 records in a group. Constant scores give 0, and an interval that has a width.
    Raises ValueError on an empty group, nan, or a confidence outside (0, 1).

    Sources: Yeom et al. 2018, definition 4 (the advantage); Newcombe 1998, method 10, with
    Clopper-Pearson limits (the interval).
    """
    x, y = vector(members, "members"), vector(non_members, "non_members")
    proportion(confidence, "confidence")
    if min(x.size, y.size) < LEAST_TO_SPLIT:
        return Refused(
            "membership advantage",
            f"{LEAST_TO_SPLIT} records in each group are needed to choose a threshold on one half "
            f"and judge it on the other, there are {x.size} and {y.size}",
            LEAST_TO_SPLIT,
            min(x.size, y.size),
        )
    (x_first, x_second), (y_first, y_second) = halves(x.size, y.size, seed)
    first = best_threshold(x[x_first], y[y_first])
    second = best_threshold(x[x_second], y[y_second])
    hits = np.count_nonzero(x[x_second] > first) + np.count_nonzero(x[x_first] > second)
    alarms = np.count_nonzero(y[y_second] > first) + np.count_nonzero(y[y_first] > second)
    rates = Share(int(hits), x.size), Share(int(alarms), y.size)
    difference = ShareDifference(*rates)
    lower, upper = difference.interval(confidence)
    return Advantage(
        difference.value,
        lower,
        upper,
        confidence,
        rates[0].value,
        rates[1].value,
        (first, second),
        x.size,
        y.size,
    )


def best_threshold(x: FloatArray, y: FloatArray) -> float:
    """Return the score above which the share of x exceeds that of y the most.

    Float [M] and [N], neither empty. Halfway between two scores, so that it belongs to neither
    group; the highest score where nothing is better than calling no record a member.
    """
    scores = np.unique(np.concatenate([x, y]))
    above_x = x.size - np.searchsorted(np.sort(x), scores, side="right")
    above_y = y.size - np.searchsorted(np.sort(y), scores, side="right")
    gain = above_x / x.size - above_y / y.size
    best = scores.size - 1 - int(np.argmax(gain[::-1]))  # of equals, the one with fewer alarms
    if best == scores.size - 1:
        return float(scores[-1])
    return float(scores[best] + (scores[best + 1] - scores[best]) / 2.0)
