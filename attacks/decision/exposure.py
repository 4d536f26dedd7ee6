"""Single records that stand out: a cohort may look forgotten while one person in it does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import FloatArray, same_length, vector
from attacks.statistics.multiple import benjamini_hochberg


@dataclass(frozen=True)
class Exposure:
    """Positions of exposed records, and how many must be exposed at once for it to show."""

    records: tuple[int, ...]
    least_at_once: int


def exposed_by_rank(
    scores: Sequence[tuple[ArrayLike, ArrayLike]], *, rate: float = 0.05
) -> Exposure:
    """Return the forgotten records that rank too high among the unseen ones.

    Per attack a pair of scores, forgotten [N] and unseen [M]. The rank of a record is a p-value of
    its being one more unseen record. Of several attacks a record keeps its smallest p-value times
    their number, and Benjamini-Hochberg goes over the records, which ranks among the same unseen
    records allow: over records and attacks at once, a truly exposed record would count several
    times and make room for more false ones. Raises ValueError on nan or different lengths.
    Source: Bates et al. 2023.
    """
    pairs = [(vector(a, "forgotten"), np.sort(vector(b, "unseen"))) for a, b in scores]
    for forgotten, unseen in pairs[1:]:
        same_length(forgotten, pairs[0][0], "forgotten scores")
        same_length(unseen, pairs[0][1], "unseen scores")
    table = np.stack([rank_p_values(a, b) for a, b in pairs])
    each = np.minimum(1.0, len(pairs) * table.min(axis=0))
    found = np.flatnonzero(benjamini_hochberg(each) <= rate)
    smallest = 1.0 / (pairs[0][1].size + 1)
    return Exposure(tuple(int(i) for i in found), math.ceil(table.size * smallest / rate - 1e-9))


def exposed_by_p_value(p_values: ArrayLike, n: int, *, rate: float = 0.05) -> Exposure:
    """Return the records whose own p-values (from shadow models) are too small.

    P-values [N], Benjamini-Hochberg. Raises ValueError on another length or values outside [0, 1].
    """
    p = vector(p_values, "exposure_p_values")
    if p.size != n:
        raise ValueError(f"exposure_p_values must be [{n}], found [{p.size}]")
    found = np.flatnonzero(benjamini_hochberg(p) <= rate)
    return Exposure(tuple(int(i) for i in found), 1)


def rank_p_values(forgotten: FloatArray, unseen_sorted: FloatArray) -> FloatArray:
    """Return per forgotten record the share of unseen ones, and itself, that score as high [N]."""
    below = np.searchsorted(unseen_sorted, forgotten, side="left")
    n = unseen_sorted.size
    return np.asarray((1.0 + n - below) / (n + 1.0), dtype=np.float64)
