"""What a sample can show before it is seen, for every decision that `equivalence.py` does not plan.

A test that could not have failed says nothing by passing. Each function takes what is planned and
returns the chance that the decision comes out as it should, or the least sample for a chance
wanted; all are exact sums over counts, but for what their docstrings say.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit
from scipy.stats import beta, betabinom, binom, norm

from attacks.arrays import FloatArray, proportion
from attacks.statistics.epsilon import epsilon_of_errors
from attacks.statistics.equivalence import least_number
from attacks.statistics.roc import negatives_needed

_MOST = 1_000_000


def tpr_equivalence_power(
    n_members: int,
    n_non_members: int,
    fpr: float,
    margin: float,
    *,
    true_tpr: float | None = None,
    alpha: float = 0.05,
) -> float:
    """Return the chance that the true-positive rate at `fpr` is shown to be within fpr ± margin.

    `true_tpr`: what it is, `fpr` (nothing left) when None. An approximation, up to 0.1 too high:
    the slope of the curve, by which the threshold's spread counts, is that of normal scores. 0
    where the non-members do not resolve the rate (fewer than 3/fpr). Raises ValueError on sizes
    below 1 or rates outside (0, 1).
    """
    proportion(fpr, "fpr"), proportion(margin, "margin"), proportion(alpha, "alpha")
    _sizes(n_members, n_non_members)
    truth = proportion(fpr if true_tpr is None else true_tpr, "true_tpr")
    if n_non_members < negatives_needed(fpr):
        return 0.0
    # Shown when the limit of the count seen, and of the threshold, stays below the bound.
    counts: FloatArray = np.arange(n_members + 1.0)
    z = float(norm.isf(fpr))
    shift = z - float(norm.isf(truth))
    error = math.exp(shift * z - shift**2 / 2.0) * math.sqrt(fpr * (1.0 - fpr) / n_non_members)
    threshold = float(norm.isf(alpha)) * error
    limit = beta.isf(alpha, counts + 1.0, np.maximum(n_members - counts, 1.0))
    limit = np.where(counts == n_members, 1.0, limit)
    seen = counts / n_members
    upper = seen + np.hypot(limit - seen, threshold)
    low_limit = np.where(
        counts == 0, 0.0, beta.ppf(alpha, np.maximum(counts, 1), n_members - counts + 1.0)
    )
    lower = seen - np.hypot(seen - low_limit, threshold)
    shown = (upper < fpr + margin) & (lower > fpr - margin)
    # The count spreads with the threshold as well as by itself: a beta-binomial in its place.
    chances = _overdispersed(counts, n_members, truth, truth * (1.0 - truth) / n_members + error**2)
    return float(chances[shown].sum())


def members_for_tpr(
    n_non_members: int,
    fpr: float,
    margin: float,
    *,
    power: float = 0.8,
    true_tpr: float | None = None,
    alpha: float = 0.05,
) -> int | None:
    """Return the least number of members for the planned power, None when no number does.

    Raises ValueError as `tpr_equivalence_power` does, or on a power outside (0, 1).
    """
    proportion(power, "power")

    def enough(m: int) -> bool:
        return power <= tpr_equivalence_power(
            m, n_non_members, fpr, margin, true_tpr=true_tpr, alpha=alpha
        )

    return least_number(enough, 20_000)


def epsilon_power(
    n_members: int,
    n_non_members: int,
    tpr: float,
    fpr: float,
    bound: float,
    *,
    delta: float = 1e-5,
    confidence: float = 0.95,
) -> float:
    """Return the chance that ε is shown to exceed `bound` at a threshold with these true rates.

    Exact, by the sum over both counts, for a threshold chosen on other records (each group as it is
    after the split of `cp-split`). Raises ValueError on sizes below 1, rates outside (0, 1), a
    negative bound, or delta outside [0, 1).
    """
    _sizes(n_members, n_non_members)
    proportion(tpr, "tpr"), proportion(fpr, "fpr")
    level = (1.0 - proportion(confidence, "confidence")) / 2.0
    if bound < 0.0 or not 0.0 <= delta < 1.0:
        raise ValueError(f"expected bound >= 0 and delta in [0, 1), found {bound} and {delta}")
    missed, of_missed = _likely(n_members, 1.0 - tpr)
    alarms, of_alarms = _likely(n_non_members, fpr)
    shown = epsilon_of_errors(
        missed[:, None], n_members, alarms[None, :], n_non_members, delta, level
    )
    return float(of_missed @ (shown > bound) @ of_alarms)


def records_for_epsilon(
    tpr: float,
    fpr: float,
    bound: float,
    *,
    power: float = 0.8,
    delta: float = 1e-5,
    confidence: float = 0.95,
) -> int | None:
    """Return the least number of records in each group for the planned power, None beyond 20,000.

    None also where the rates themselves do not exceed the bound. Raises ValueError as
    `epsilon_power` does, or on a power outside (0, 1).
    """
    proportion(power, "power")

    def enough(n: int) -> bool:
        return power <= epsilon_power(n, n, tpr, fpr, bound, delta=delta, confidence=confidence)

    return least_number(enough, 20_000)


def greatest_epsilon(
    n_members: int, n_non_members: int, *, delta: float = 1e-5, confidence: float = 0.95
) -> float:
    """Return the ε that scores which separate the groups perfectly would show: no sample of this
    size shows more.

    At one threshold chosen on other records. Raises ValueError as `epsilon_power` does.
    """
    _sizes(n_members, n_non_members)
    level = (1.0 - proportion(confidence, "confidence")) / 2.0
    none = np.zeros(1, dtype=np.int64)
    return float(epsilon_of_errors(none, n_members, none, n_non_members, delta, level)[0])


def guesses_for_one_run(
    epsilon: float, *, true_epsilon: float, power: float = 0.8, confidence: float = 0.95
) -> int | None:
    """Return how many guesses of a one-run audit show more than `epsilon` with the planned power.

    Every guess is right with the chance that `true_epsilon` allows at most, δ = 0. None where the
    true one is not greater or a million do not suffice. Raises ValueError on negative ε.
    """
    proportion(power, "power")
    alpha = 1.0 - proportion(confidence, "confidence")
    if min(epsilon, true_epsilon) < 0.0:
        raise ValueError(f"ε must not be negative, found {epsilon} and {true_epsilon}")
    if true_epsilon <= epsilon:
        return None
    null, truth = float(expit(epsilon)), float(expit(true_epsilon))

    def enough(n: int) -> bool:
        needed = int(binom.isf(alpha, n, null)) + 1  # the least count with p-value below alpha
        return float(binom.sf(needed - 1, n, truth)) >= power

    return least_number(enough, _MOST)


def exposure_power(
    shift: float,
    n_records: int,
    n_out: int,
    *,
    alpha: float = 0.05,
    exposed: int = 1,
    attacks: int = 1,
) -> float:
    """Return the chance that a given exposed record is found by rank.

    Its score lies `shift` standard deviations above normal ones; it ranks among `n_out` others
    (OUT shadow models, or unseen records). With `exposed` of `n_records` alike and found together,
    the first step of Holm (exposed = 1) or the step of Benjamini-Hochberg that admits them all is
    alpha · exposed / (n_records · attacks). 0 where not even the first rank is small enough. Exact
    for independent scores. Raises ValueError on sizes below 1 or alpha outside (0, 1).
    """
    if min(n_records, n_out, exposed, attacks) < 1 or exposed > n_records:
        raise ValueError("expected sizes of at least 1 and no more exposed than records")
    level = proportion(alpha, "alpha") * exposed / (n_records * attacks)
    allowed = math.floor(level * (n_out + 1) + 1e-9) - 1  # others that may score as high
    if allowed < 0:
        return 0.0
    # Given the record's place u among the others, their count above it is binomial.
    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    above = norm.sf(nodes + shift)
    chance = binom.cdf(allowed, n_out, above)
    return float(chance @ weights / weights.sum())


def out_needed_for_exposure(
    shift: float,
    n_records: int,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    exposed: int = 1,
    attacks: int = 1,
) -> int | None:
    """Return how many others a record must rank among to be found with the planned power.

    None where a million do not suffice: the shift is too small for that many records. Raises
    ValueError as `exposure_power` does, or on a power outside (0, 1).
    """
    proportion(power, "power")
    step = math.ceil(n_records * attacks / (proportion(alpha, "alpha") * exposed) - 1e-9)

    def enough(k: int) -> bool:  # in whole steps of the rank that is allowed: there it is monotone
        others = k * step - 1
        return others >= 1 and power <= exposure_power(
            shift, n_records, others, alpha=alpha, exposed=exposed, attacks=attacks
        )

    found = least_number(enough, max(1, _MOST // step))
    return None if found is None else found * step - 1


def _sizes(n_members: int, n_non_members: int) -> None:
    if min(n_members, n_non_members) < 1:
        raise ValueError(f"expected at least 1 record each, found {n_members} and {n_non_members}")


def _likely(n: int, p: float) -> tuple[FloatArray, FloatArray]:
    """Return the counts out of n that matter and their chances; 1e-12 is left out."""
    low, high = int(binom.ppf(5e-13, n, p)), int(binom.isf(5e-13, n, p))
    counts = np.arange(low, high + 1)
    return counts.astype(np.float64), np.asarray(binom.pmf(counts, n, p), dtype=np.float64)


def _overdispersed(counts: FloatArray, n: int, p: float, variance: float) -> FloatArray:
    """Return the chances [n + 1] of counts whose share has this variance, binomial at the least."""
    extra = variance / (p * (1.0 - p)) * n - 1.0  # = (n - 1)·rho
    if n < 2 or extra <= 1e-9:
        return np.asarray(binom.pmf(counts, n, p), dtype=np.float64)
    rho = min(extra / (n - 1.0), 0.999)
    scale = 1.0 / rho - 1.0
    return np.asarray(betabinom.pmf(counts, n, p * scale, (1.0 - p) * scale), dtype=np.float64)
