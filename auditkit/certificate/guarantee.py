"""What an (epsilon, delta) guarantee by Gaussian noise comes to, from the numbers it rests on.

Noise of standard deviation sigma on weights that lie within a distance `bound` of those of a
network trained without the records makes the two hard to tell apart. The auditor's own formulae:
an owner who states less than they give has misstated the guarantee. None of them looks into the
premises: neither the bound nor the noise can be read from a file.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import log_ndtr

CLASSICAL_LIMIT = 1.0
"""The classical formula is proved for an epsilon up to here; beyond it it may be too small."""

LARGEST_RATIO = 1e8
"""Of bound and noise: epsilon grows with it, so that what is computed here is less, not more."""


def classical_epsilon(bound: float, sigma: float, delta: float) -> float:
    """Return epsilon of the Gaussian mechanism, (bound / sigma) · sqrt(2 ln(1.25 / delta)).

    `bound` is the distance in the 2-norm, `sigma` the noise's standard deviation in each
    coordinate. A bound on epsilon only where it is at most CLASSICAL_LIMIT. Raises ValueError
    unless bound >= 0, sigma > 0 and 0 < delta < 1. Dwork & Roth 2014, theorem A.1.
    """
    _check(bound, sigma, delta)
    return bound / sigma * math.sqrt(2 * math.log(1.25 / delta))


def least_epsilon(bound: float, sigma: float, delta: float) -> float:
    """Return the smallest epsilon that this noise can give for this delta.

    Arguments as above. The root of
    Φ(a/2 - ε/a) - e^ε Φ(-a/2 - ε/a) = delta with a = bound / sigma, which decreases in epsilon and
    holds exactly; 0 where delta is met without any. Balle & Wang 2018, theorem 8.
    """
    _check(bound, sigma, delta)
    a = min(bound / sigma, LARGEST_RATIO)
    if a == 0 or _delta(0.0, a) <= delta:
        return 0.0
    highest = 1.0
    while _delta(highest, a) > delta:
        highest *= 2
    return float(brentq(lambda epsilon: _delta(epsilon, a) - delta, 0.0, highest, rtol=1e-12))


def _delta(epsilon: float, a: float) -> float:
    first = math.exp(float(log_ndtr(a / 2 - epsilon / a)))
    return first - math.exp(min(700.0, epsilon + float(log_ndtr(-a / 2 - epsilon / a))))


def _check(bound: float, sigma: float, delta: float) -> None:
    if not (math.isfinite(bound) and bound >= 0):
        raise ValueError(f"a bound of {bound:g}")
    if not (math.isfinite(sigma) and sigma > 0 and math.isfinite(bound / sigma)):
        raise ValueError(f"noise of {sigma:g}")
    if not 0 < delta < 1:
        raise ValueError(f"a delta of {delta:g}")
