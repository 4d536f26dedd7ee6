"""A lower bound of ε: how much privacy the scores show to be lost, and of what that is true.

If training were (ε, δ)-private, no threshold could have a true-positive rate above
e^ε · FPR + δ, nor a true-negative rate above e^ε · FNR + δ. Rates that contradict an ε, beyond what
chance allows, show that the ε is greater. Four ways, all for a confidence fixed beforehand:

- `cp-split`: one half of the records chooses threshold and direction, Clopper-Pearson limits on the
  other half give the bound.
- `cp-bonferroni`: thresholds at ranks fixed before the scores are seen, corrected for their number.
  No record is spent on choosing.
- `one-run`: counts the right guesses among the most extreme scores of one training run in which a
  fair coin decided for every record whether it is in. Needs no independence between the scores.
- `one-run-gdp`: the same, sharper, under the assumption that the training is Gaussian-private (the
  ε stated is that of the Gaussian mechanism which the guesses contradict).

As a statement about the training, a bound needs inclusion at random. Where who was in was not drawn
by lot - a deletion request never is - members and non-members may differ for reasons of their own,
and the figure only describes how far apart these two groups of scores are: `descriptive`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import betainc, expit, log_ndtr, ndtr, ndtri
from scipy.stats import beta

from attacks.arrays import FloatArray, IntArray, one_of, proportion, vector
from attacks.statistics.splitting import halves

EpsilonMethod = Literal["cp-split", "cp-bonferroni", "one-run", "one-run-gdp"]

DELTA = 1e-5
MOST_EPSILON = 100.0
DESCRIPTIVE = (
    "inclusion was not drawn by lot: this describes how far apart the two groups' scores are and "
    "bounds no ε of the training"
)
_INDEPENDENT = "holds for scores that are independent, as of records drawn independently"
_COIN = "holds when a fair coin decided for every record, independently, whether it was trained on"
_ASSUMES: dict[str, str] = {
    "cp-split": _INDEPENDENT,
    "cp-bonferroni": _INDEPENDENT,
    "one-run": _COIN,
    "one-run-gdp": _COIN + ", and for training that is Gaussian-private",
}


@dataclass(frozen=True)
class EpsilonBound:
    """A lower bound of ε; 0 where nothing is shown.

    delta: as planned. threshold: the one that gave the bound, None when ε is 0. thresholds: how
    many were corrected for. descriptive: inclusion was not randomised, so that it is no bound on
    the training. note: the sentence to print beside the figure.
    """

    epsilon: float
    delta: float
    confidence: float
    method: EpsilonMethod
    threshold: float | None
    thresholds: int
    n_members: int
    n_non_members: int
    descriptive: bool
    note: str


def epsilon_lower_bound(
    members: ArrayLike,
    non_members: ArrayLike,
    *,
    method: EpsilonMethod = "cp-bonferroni",
    delta: float = DELTA,
    confidence: float = 0.95,
    inclusion_randomised: bool = False,
    seed: int = 0,
) -> EpsilonBound:
    """Return the ε that the scores exceed with the given confidence.

    Members [M], non-members [N], higher meaning member; `seed` draws the halves of `cp-split`.
    Too few records, constant scores and ties give a smaller ε, at worst 0. Raises ValueError on an
    empty group, nan, an unknown method, delta outside [0, 1) or a confidence outside (0, 1).

    Sources: Jagielski, Ullman and Oprea 2020 (Clopper-Pearson); Steinke, Nasr and Jagielski 2023
    (`one-run`); Mahloujifar, Melis and Chaudhuri 2024 (`one-run-gdp`).
    """
    x, y = vector(members, "members"), vector(non_members, "non_members")
    alpha = 1.0 - proportion(confidence, "confidence")
    if not 0.0 <= delta < 1.0:
        raise ValueError(f"delta must lie in [0, 1), found {delta}")
    one_of(method, EpsilonMethod, "method")
    if method == "cp-split":
        found = _split(x, y, delta, alpha, seed)
    elif method == "cp-bonferroni":
        found = _planned_ranks(x, y, delta, alpha)
    else:
        found = _one_run(x, y, delta, alpha, gaussian=method == "one-run-gdp")
    epsilon, threshold, thresholds = found
    return EpsilonBound(
        epsilon,
        delta,
        confidence,
        method,
        threshold if epsilon > 0.0 else None,
        thresholds,
        x.size,
        y.size,
        not inclusion_randomised,
        _ASSUMES[method] if inclusion_randomised else DESCRIPTIVE,
    )


def _upper(count: FloatArray | IntArray, n: int, level: float) -> FloatArray:
    """Return the one-sided Clopper-Pearson limit of a share, for counts [T] out of n."""
    k = np.asarray(count, dtype=np.float64)
    limit: FloatArray = beta.isf(level, k + 1.0, np.maximum(n - k, 1.0))
    return np.where(k >= n, 1.0, limit)


def _from_rates(fnr: FloatArray, fpr: FloatArray, delta: float) -> FloatArray:
    """Return the ε [T] that upper limits of both error rates contradict, in either direction."""
    # Both directions rest on the same two limits, so trying both costs no correction.
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.log(np.maximum(1.0 - fnr - delta, 0.0)) - np.log(fpr)
        below = np.log(np.maximum(1.0 - fpr - delta, 0.0)) - np.log(fnr)
    return np.asarray(np.clip(np.maximum(above, below), 0.0, MOST_EPSILON), dtype=np.float64)


def _split(
    x: FloatArray, y: FloatArray, delta: float, alpha: float, seed: int
) -> tuple[float, float, int]:
    if min(x.size, y.size) < 2:
        return 0.0, math.nan, 1
    (x_choose, x_test), (y_choose, y_test) = halves(x.size, y.size, seed)
    candidates = np.unique(np.concatenate([x[x_choose], y[y_choose]]))
    chosen = _at(x[x_choose], y[y_choose], candidates, delta, alpha / 2.0)
    threshold = candidates[int(np.argmax(chosen))]
    epsilon = _at(x[x_test], y[y_test], np.array([threshold]), delta, alpha / 2.0)
    return float(epsilon[0]), float(threshold), 1


def _at(
    x: FloatArray, y: FloatArray, thresholds: FloatArray, delta: float, level: float
) -> FloatArray:
    """Return the ε [T] at thresholds [T], above which a record is called a member."""
    missed = np.searchsorted(np.sort(x), thresholds, side="right")
    alarms = y.size - np.searchsorted(np.sort(y), thresholds, side="right")
    return epsilon_of_errors(missed, x.size, alarms, y.size, delta, level)


def epsilon_of_errors(
    missed: FloatArray | IntArray,
    n_members: int,
    alarms: FloatArray | IntArray,
    n_non_members: int,
    delta: float,
    level: float,
) -> FloatArray:
    """Return the ε that counts of errors contradict, each rate bounded at its own `level`.

    Missed members and false alarms, numbers that broadcast together; the confidence is
    1 - 2·level. Source: Jagielski, Ullman and Oprea 2020.
    """
    return _from_rates(
        _upper(missed, n_members, level), _upper(alarms, n_non_members, level), delta
    )


def planned_ranks(n: int) -> IntArray:
    """Return the ranks at which thresholds are tried: 1, 2, 3, 4, 6, 8, 12, 16, ... up to n/2.

    Two per doubling are enough: between neighbours ε changes by less than its uncertainty.
    """
    powers = 2 ** np.arange(int(math.log2(max(n, 1))) + 1, dtype=np.int64)
    ranks = np.unique(np.concatenate([powers, 3 * powers // 2]))
    return ranks[ranks <= max(1, n // 2)]


def _planned_ranks(
    x: FloatArray, y: FloatArray, delta: float, alpha: float
) -> tuple[float, float, int]:
    """Try thresholds at the highest non-members and at the lowest members.

    The error rate at the r-th most extreme record of its own group has at most the Beta(r, n+1-r)
    distribution, whatever the scores, which is what Clopper and Pearson's limit of r - 1 out of n
    uses; the other group is independent of that threshold and its limit is the usual one.
    """
    of_y, of_x = planned_ranks(y.size), planned_ranks(x.size)
    tried = of_y.size + of_x.size
    level = alpha / (2.0 * tried)
    high, low = np.sort(y)[y.size - of_y], np.sort(x)[of_x - 1]
    missed = np.searchsorted(np.sort(x), high, side="right")  # called members: strictly above
    alarms = y.size - np.searchsorted(np.sort(y), low, side="left")  # non-members: strictly below
    fpr = np.concatenate([_upper(of_y - 1, y.size, level), _upper(alarms, y.size, level)])
    fnr = np.concatenate([_upper(missed, x.size, level), _upper(of_x - 1, x.size, level)])
    epsilon = _from_rates(fnr, fpr, delta)
    best = int(np.argmax(epsilon))
    return float(epsilon[best]), float(np.concatenate([high, low])[best]), tried


def _one_run(
    x: FloatArray, y: FloatArray, delta: float, alpha: float, *, gaussian: bool
) -> tuple[float, float, int]:
    """Guess the highest scores to be members, or also the lowest to be none; abstain otherwise.

    How many guesses are made is a function of the ranks alone, and ties are guessed whole or not at
    all: an order among equals could betray the truth.
    """
    m = x.size + y.size
    pooled = np.sort(np.concatenate([x, y]))
    ranks = planned_ranks(m)
    top, bottom = pooled[m - ranks], pooled[ranks - 1]
    xs, ys = np.sort(x), np.sort(y)
    right = x.size - np.searchsorted(xs, top, side="left")
    wrong = y.size - np.searchsorted(ys, top, side="left")
    low_right = np.searchsorted(ys, bottom, side="right")
    low_wrong = np.searchsorted(xs, bottom, side="right")
    apart = bottom < top  # else a record would be guessed both ways
    correct = np.concatenate([right, np.where(apart, right + low_right, 0)])
    guesses = correct + np.concatenate([wrong, np.where(apart, wrong + low_wrong, 0)])
    level = alpha / correct.size
    best, threshold = 0.0, math.nan
    rejects = _gaussian_rejects if gaussian else _rejects
    # The most promising first: later ones then fail at the bound that is already shown.
    order = np.argsort(-(correct - guesses / 2.0) / np.sqrt(np.maximum(guesses, 1)), kind="stable")
    for i in order:
        c, r = int(correct[i]), int(guesses[i])
        seen = partial(rejects, m=m, correct=c, guesses=r, delta=delta, level=level)
        if 2 * c <= r or not seen(best):
            continue
        best = _greatest(seen, best)
        threshold = float(top[i % ranks.size])
    if gaussian:
        best = gaussian_epsilon(best, delta)
    return best, threshold, int(correct.size)


def one_run_p_value(correct: int, guesses: int, m: int, epsilon: float, delta: float) -> float:
    """Return the p-value of (ε, δ)-privacy when `correct` of `guesses` on m coin tosses were right.

    Raises ValueError unless 0 <= correct <= guesses <= m. Source: Steinke, Nasr and Jagielski 2023,
    the bound for (ε, δ) with abstentions.
    """
    if not 0 <= correct <= guesses <= m:
        raise ValueError(f"expected 0 <= correct <= guesses <= m, found {correct}, {guesses}, {m}")
    tail = _tail(correct, guesses, epsilon)
    if delta == 0.0 or correct == 0:
        return tail
    steps = np.arange(1.0, correct + 1.0)
    # The chance of `correct - step` or more; of 0 or more it is 1.
    chance = betainc(correct - steps[:-1], guesses - correct + steps[:-1] + 1.0, expit(epsilon))
    between = np.append(chance, 1.0) - tail
    return min(1.0, tail + 2.0 * m * delta * max(0.0, float(np.max(between / steps))))


def _tail(correct: int, guesses: int, epsilon: float) -> float:
    """Return the chance of as many right guesses when each is right with chance e^ε/(1 + e^ε)."""
    if correct == 0:
        return 1.0
    return float(betainc(correct, guesses - correct + 1.0, expit(epsilon)))


def _rejects(
    epsilon: float, m: int, correct: int, guesses: int, delta: float, level: float
) -> bool:
    if _tail(correct, guesses, epsilon) >= level:
        return False  # δ only raises the p-value
    return one_run_p_value(correct, guesses, m, epsilon, delta) < level


def _gaussian_rejects(
    mu: float, m: int, correct: int, guesses: int, delta: float, level: float
) -> bool:
    """Return whether so many right guesses contradict μ-Gaussian privacy.

    Source: Mahloujifar, Melis and Chaudhuri 2024, the recursion of the numerical audit for guesses
    between two alternatives, with the trade-off curve of the Gaussian mechanism.
    """
    right, wrong = level * correct / m, level * (guesses - correct) / m
    for i in range(correct - 1, -1, -1):
        grown = max(wrong, float(ndtr(ndtri(right) - mu)))
        if grown == wrong:
            break  # neither of the two can change any more
        right = min(1.0, right + i / (guesses - i) * (grown - wrong))
        wrong = grown
    return right + wrong > guesses / m


def _greatest(rejects: Callable[[float], bool], low: float) -> float:
    """Return the greatest value that is still rejected, rounded down to 1e-4."""
    high = max(1.0, 2.0 * low)
    while rejects(high):
        low, high = high, 2.0 * high
        if low >= MOST_EPSILON:
            return MOST_EPSILON
    while high - low > 1e-4:
        middle = (low + high) / 2.0
        if rejects(middle):
            low = middle
        else:
            high = middle
    return low


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the ε of μ-Gaussian privacy at this δ; at most 100, and that for δ = 0 and μ > 0.

    Raises ValueError on negative μ. Source: Dong, Roth and Su 2022, corollary 1.
    """
    if mu < 0.0:
        raise ValueError(f"mu must not be negative, found {mu}")
    if mu == 0.0:
        return 0.0
    if delta <= 0.0:
        return MOST_EPSILON

    def excess(epsilon: float) -> float:
        first = float(log_ndtr(mu / 2.0 - epsilon / mu))
        second = epsilon + float(log_ndtr(-mu / 2.0 - epsilon / mu))
        return math.exp(first) - math.exp(second) - delta

    if excess(0.0) <= 0.0:
        return 0.0
    return float(brentq(excess, 0.0, MOST_EPSILON)) if excess(MOST_EPSILON) < 0 else MOST_EPSILON
