"""Intervals for a mean of numbers between 0 and 1 that assume nothing else about them.

A bootstrap of values that are all 1 says that the mean is 1 without doubt. This bound does not:
at 0 and at 1 it is exactly Clopper and Pearson's, in between it is somewhat wider than a normal
interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from attacks.arrays import proportion, vector


def bernoulli_divergence(a: float, b: float) -> float:
    """Return the Kullback-Leibler divergence of Bernoulli(a) from Bernoulli(b), in nats.

    Infinite where b excludes what a allows.
    """
    if a == b:
        return 0.0
    if b <= 0.0 or b >= 1.0:
        return math.inf
    first = a * math.log(a / b) if a > 0.0 else 0.0
    second = (1.0 - a) * math.log((1.0 - a) / (1.0 - b)) if a < 1.0 else 0.0
    return max(0.0, first + second)


def chernoff_interval(mean: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval for the mean of n independent values in [0, 1] that average `mean`.

    Covers at least `confidence` whatever their distribution. For an AUC, n is the smaller group:
    the U-statistic averages means of that many disjoint pairs. Raises ValueError unless
    0 <= mean <= 1, n >= 1 and 0 < confidence < 1.
    Source: Hoeffding 1963, which extends the bound to U-statistics.
    """
    tail = (1.0 - proportion(confidence, "confidence")) / 2.0
    if not 0.0 <= mean <= 1.0 or n < 1:
        raise ValueError(f"expected a mean in [0, 1] of n >= 1 values, found {mean} of {n}")
    budget = -math.log(tail) / n

    def excess(b: float) -> float:
        return min(bernoulli_divergence(mean, b), 1e6) - budget

    edge = 1e-300
    lower = 0.0 if mean <= 0.0 else _root(excess, edge, mean)
    upper = 1.0 if mean >= 1.0 else _root(excess, mean, 1.0 - 1e-16)
    return lower, upper


def _root(excess: Callable[[float], float], low: float, high: float) -> float:
    if excess(low) * excess(high) > 0:  # the bound lies closer to 0 or 1 than floats go
        return low if abs(excess(low)) < abs(excess(high)) else high
    return float(brentq(excess, low, high, xtol=1e-14))


def bounded_mean_interval(
    values: ArrayLike, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return mean, lower and upper bound of independent values in [0, 1].

    Values float [N], one per independent unit (a record, not each of its copies). Raises ValueError
    on values outside [0, 1], nan or none at all.
    """
    array = vector(values, "values")
    if array.min() < 0.0 or array.max() > 1.0:
        raise ValueError("values must lie in [0, 1]")
    mean = float(np.clip(array.mean(), 0.0, 1.0))
    return (mean, *chernoff_interval(mean, array.size, confidence))
