"""Exact intervals of a share."""

from __future__ import annotations

import math

from scipy.stats import beta


def share_interval(hits: float, n: int, tail: float = 0.025) -> tuple[float, float]:
    """Return the interval of a share of `hits` out of `n`, at 95 % unless `tail` says otherwise.

    `hits` may be the sum of n shares in [0, 1], such as those of the noisy copies of n records:
    it is then rounded outward, and the interval is that of n records and not of their copies,
    which are not independent. No share in [0, 1] varies more than one that is 0 or 1. Raises
    ValueError unless 0 <= hits <= n and n >= 1. Clopper & Pearson 1934.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"{hits} of {n}")
    least, most = math.floor(hits), math.ceil(hits)
    low = 0.0 if least == 0 else float(beta.ppf(tail, least, n - least + 1))
    high = 1.0 if most == n else float(beta.isf(tail, most + 1, n - most))
    return low, high
