"""Many tests at once: an attack tried often enough succeeds by luck.

Both functions return adjusted p-values: reject where one is at most the level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import FloatArray, vector


def _p_values(p_values: ArrayLike) -> FloatArray:
    p = vector(p_values, "p_values")
    if p.min() < 0.0 or p.max() > 1.0:
        raise ValueError("p_values must lie in [0, 1]")
    return p


def holm(p_values: ArrayLike) -> FloatArray:
    """Return p-values adjusted so that the chance of any false rejection stays below the level.

    P-values [M] in any dependence; float64 [M]. Raises ValueError on none, nan or outside [0, 1].
    Source: Holm 1979.
    """
    p = _p_values(p_values)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """Return p-values adjusted so that the expected share of false rejections stays below it.

    P-values [M], independent or positively dependent; float64 [M]. Raises ValueError on none, nan
    or outside [0, 1]. Source: Benjamini and Hochberg 1995.
    """
    p = _p_values(p_values)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted
