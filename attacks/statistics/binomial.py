"""Exact intervals for a share: the rate at which an attack is right is a count out of a count."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta, binom

from attacks.arrays import FloatArray, proportion


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval for a share of `successes` out of `trials`.

    Covers at least `confidence` for every true share. Raises ValueError unless
    0 <= successes <= trials, trials >= 1 and 0 < confidence < 1.
    Source: Clopper and Pearson 1934, by beta quantiles.
    """
    lower, upper = clopper_pearson_bands([successes], trials, confidence)
    return float(lower[0]), float(upper[0])


def clopper_pearson_bands(
    successes: ArrayLike, trials: int, confidence: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """Return the exact intervals of many counts out of one number of trials.

    Successes int [P]; two float64 [P] arrays, lower and upper. Raises ValueError as
    `clopper_pearson` does.
    """
    tail = (1.0 - proportion(confidence, "confidence")) / 2.0
    k = np.asarray(successes, dtype=np.float64)
    if trials < 1:
        raise ValueError(f"trials must be at least 1, found {trials}")
    if np.any((k < 0) | (k > trials) | (k != np.floor(k))):
        raise ValueError(f"successes must be whole numbers from 0 to {trials}")
    # The beta quantiles are undefined at the ends, where the bound is 0 or 1 by definition.
    lower = np.where(k == 0, 0.0, beta.ppf(tail, np.maximum(k, 1), trials - k + 1))
    upper = np.where(k == trials, 1.0, beta.isf(tail, k + 1, np.maximum(trials - k, 1)))
    return lower, upper


def p_share_above(successes: int, trials: int, bound: float) -> float:
    """Return the exact p-value of the hypothesis that the share is at most `bound`.

    Raises ValueError unless 0 <= successes <= trials and trials >= 1.
    """
    _check(successes, trials)
    if bound >= 1.0:
        return 1.0
    return float(binom.sf(successes - 1, trials, max(bound, 0.0)))


def p_share_below(successes: int, trials: int, bound: float) -> float:
    """Return the exact p-value of the hypothesis that the share is at least `bound`.

    Raises ValueError unless 0 <= successes <= trials and trials >= 1.
    """
    _check(successes, trials)
    if bound <= 0.0:
        return 1.0
    return float(binom.cdf(successes, trials, min(bound, 1.0)))


def _check(successes: int, trials: int) -> None:
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials, found {successes} of {trials}")


@dataclass(frozen=True)
class Share:
    """A count out of a count, as an estimate with exact interval and exact p-values."""

    successes: int
    trials: int

    @property
    def value(self) -> float:
        return self.successes / self.trials

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the Clopper-Pearson interval; ValueError unless 0 < confidence < 1."""
        return clopper_pearson(self.successes, self.trials, confidence)

    def p_above(self, bound: float) -> float:
        """Return the exact p-value of the hypothesis that the share is at most `bound`."""
        return p_share_above(self.successes, self.trials, bound)

    def p_below(self, bound: float) -> float:
        """Return the exact p-value of the hypothesis that the share is at least `bound`."""
        return p_share_below(self.successes, self.trials, bound)


class Limited(Protocol):
    """What a difference needs of each side: a share and its limits at any confidence."""

    @property
    def value(self) -> float: ...

    def interval(self, confidence: float) -> tuple[float, float]: ...


@dataclass(frozen=True)
class ShareDifference:
    """The difference of two shares, each with its own limits.

    The limits are combined as if the shares were independent: on the same records they go up and
    down together, and the interval is then too wide rather than too narrow.
    Source: Newcombe 1998, method 10 (square-and-add), with Clopper-Pearson limits.
    """

    first: Limited
    second: Limited

    @property
    def value(self) -> float:
        return self.first.value - self.second.value

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the interval of first - second; ValueError unless 0 < confidence < 1."""
        a, b = self.first.value, self.second.value
        a_low, a_high = self.first.interval(confidence)
        b_low, b_high = self.second.interval(confidence)
        down = math.hypot(a - a_low, b_high - b)
        up = math.hypot(a_high - a, b - b_low)
        return max(-1.0, a - b - down), min(1.0, a - b + up)

    def p_above(self, bound: float) -> float:
        """Return the p-value of a difference of at most `bound`, by inverting the interval."""
        return self._invert(lambda interval: interval[0] > bound)

    def p_below(self, bound: float) -> float:
        """Return the p-value of a difference of at least `bound`, by inverting the interval."""
        return self._invert(lambda interval: interval[1] < bound)

    def _invert(self, excluded: Callable[[tuple[float, float]], bool]) -> float:
        """Return the smallest one-sided level at which the interval excludes the bound."""
        low, high = -12.0, math.log10(0.5)  # of the level; below 1e-12 nothing depends on it
        if not excluded(self.interval(1.0 - 2.0 * 0.499999)):
            return 1.0
        for _ in range(40):
            middle = (low + high) / 2.0
            if excluded(self.interval(1.0 - 2.0 * 10.0**middle)):
                high = middle
            else:
                low = middle
        return float(10.0**high)
