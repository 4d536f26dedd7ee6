"""Are the shadow models like the audited one? Without that their p-values mean nothing.

Shadow models of another recipe, or trained on far fewer records, answer unseen records otherwise
than the audited model does, and then a record looks remembered, or forgotten, that is neither. The
unseen records tell: nobody remembers them, so their p-values must be spread evenly.

They are not independent: they share one audited model, which may be a little surer of everything
than another of the same recipe. So the distance from evenness is not compared with what independent
values would show but with what each shadow model shows when it takes the audited one's place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata, t

from attacks.arrays import BoolArray, FloatArray, proportion, shadow_arrays
from attacks.decision.never_seen import OutModels, Tail
from attacks.statistics.binomial import clopper_pearson

LEAST_UNSEEN = 20  # with fewer, a distance of distributions says nothing
LEAST_SHADOWS = 4  # OUT models of an unseen record
TOO_MANY = 2.0  # times the promised share of false alarms


@dataclass(frozen=True)
class Calibration:
    """Whether the audited model answers unseen records as one more shadow model would.

    calibrated: None where it cannot be asked. distance: largest difference between the distribution
    of the unseen records' ranks and the even one, usual_distance: the median of that over the
    shadow models in turn; p_value: of a distance this large. false_alarms of n_unseen unseen
    records have a p-value of at most `level`, None where that was not asked.
    """

    calibrated: bool | None
    reason: str
    distance: float | None
    usual_distance: float | None
    p_value: float | None
    false_alarms: int | None
    level: float | None
    n_unseen: int
    n_shadows: int


def shadow_calibration(
    target: ArrayLike,
    shadows: ArrayLike,
    member_mask: ArrayLike,
    *,
    level: float | None = None,
    tail: Tail = "rank",
    alpha: float = 0.05,
) -> Calibration:
    """Return whether p-values from these shadow models hold on unseen records.

    Target [M], shadows [K, M] in one signal, member_mask bool [K, M], all of records the audited
    model never saw. The distance is judged by its rank among the shadow models' own, with fewer
    than 1/alpha of them by the t-distribution of its logarithm. `level`, `tail`: at which p-value
    records are to be called exposed and how it is taken; where surely more than twice that share of
    the unseen ones would be called so, the tail does not hold. Raises ValueError on arrays that do
    not fit or rates outside (0, 1).
    """
    proportion(alpha, "alpha")
    goal, signals, inside = shadow_arrays(target, shadows, member_mask)
    outside = ~inside
    k, m = signals.shape
    own = outside.sum(axis=1)  # unseen records that each shadow did not see either
    fewest = int(outside.sum(axis=0).min())
    if m < LEAST_UNSEEN or fewest < LEAST_SHADOWS or int(own.min()) < LEAST_UNSEEN // 2:
        reason = (
            f"whether the shadow models are like the audited one cannot be told: {m} unseen "
            f"record(s) with {fewest} OUT shadow model(s) each, at least {LEAST_UNSEEN} with "
            f"{LEAST_SHADOWS} are needed"
        )
        return Calibration(None, reason, None, None, None, None, level, m, k)
    distance, usual = _distances(goal, signals, outside)
    p = _p_of(distance, usual, alpha)
    alarms = None
    if level is not None:
        values = OutModels(signals, outside, tail).p_values(goal)
        alarms = int((values <= proportion(level, "level") + 1e-12).sum())
    middle = float(np.median(usual))
    calibrated, reason = True, f"the audited model treats {m} unseen records as a shadow model does"
    if p <= alpha:
        calibrated = False
        reason = (
            "the shadow models are not like the audited model: on unseen records its ranks are "
            f"{distance:.3f} from even, theirs {middle:.3f} (p = {p:.2g}); is the recipe the "
            "owner's, and the number of training records?"
        )
    elif level is not None and alarms and clopper_pearson(alarms, m)[0] > TOO_MANY * level:
        calibrated = False
        reason = (
            f"{alarms} of {m} unseen records would be called exposed at a p-value of {level:.2g}: "
            "the tail does not hold"
        )
    return Calibration(calibrated, reason, distance, middle, p, alarms, level, m, k)


def _distances(
    target: FloatArray, signals: FloatArray, outside: BoolArray
) -> tuple[float, FloatArray]:
    """Return the distance of the audited model, and of each shadow in its place [K]."""
    # IN models never count: below everything
    counts = outside.sum(axis=0)
    at_least = (outside & (signals >= target)).sum(axis=0)
    beyond = (outside & (signals > target)).sum(axis=0)
    # the middle of ties, so that a signal of few values is not taken for uneven
    audited = (0.5 * (at_least + beyond) + 0.5) / (counts + 1.0)
    ranks = rankdata(np.where(outside, -signals, np.inf), axis=0)
    places = (ranks - 0.5) / counts
    usual = [_from_even(row[mine]) for row, mine in zip(places, outside, strict=True)]
    return _from_even(audited), np.array(usual)


def _from_even(values: FloatArray) -> float:
    """Return the Kolmogorov-Smirnov distance of values in (0, 1) from the even distribution."""
    ordered = np.sort(values)
    steps = np.arange(ordered.size + 1) / ordered.size
    return float(max(np.max(steps[1:] - ordered), np.max(ordered - steps[:-1])))


def _p_of(distance: float, usual: FloatArray, alpha: float) -> float:
    """Return the one-sided p-value of the distance as that of one more shadow model."""
    k = usual.size
    if k + 1 >= 1.0 / alpha - 1e-9:
        return float((1.0 + np.count_nonzero(usual >= distance)) / (k + 1.0))
    logs = np.log(usual)
    spread = max(float(logs.std(ddof=1)), 0.05) * np.sqrt(1.0 + 1.0 / k)
    return float(t.sf((np.log(distance) - logs.mean()) / spread, k - 1))
