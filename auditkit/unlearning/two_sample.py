"""Whether two sets of answers could be samples of one distribution: an energy test by permutation.

A method that makes forgotten records look like unseen ones needs a judge of that which assumes
nothing of how logits are distributed. The energy distance of two samples is 0 only where their
distributions agree, and how large it becomes by chance is seen from the records themselves, dealt
anew to the two sides. Where labels are in both sides' nature, as for some records of classes that
stay, records are dealt anew within their label only: then it is asked whether answers differ, and
not whether labels do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

PERMUTATIONS = 499
MOST = 1000  # records of a side that are compared, drawn by the seed: distances grow as the square
ROUNDING = 1e-9  # of the statistic: a permutation that gives the same sets back is not below it


@dataclass(frozen=True)
class TwoSample:
    """The result of a test: the statistic, its p-value, and how many records of each side it saw.

    `p_value` is the share of permutations, the records as they are among them, with as large a
    statistic: at least 1 / (permutations + 1).
    """

    statistic: float
    p_value: float
    first: int
    second: int


def energy_test(
    first: NDArray[Any],
    second: NDArray[Any],
    strata: tuple[NDArray[Any], NDArray[Any]] | None = None,
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> TwoSample:
    """Test whether two samples [N, d] and [M, d] come from one distribution.

    The statistic is the sum over strata of n·m/(n + m) times 2·E|X − Y| − E|X − X'| − E|Y − Y'|,
    Euclidean (Székely, Rizzo: Testing for equal distributions in high dimension. InterStat 2004);
    records are permuted within a stratum. `strata`: a value for each record of each side, all one
    when None. A stratum that one side lacks is left out; ValueError when none is left. Of more than
    1,000 records of a side that many are drawn by the seed.
    """
    generator = np.random.default_rng([seed, 51])
    groups = (np.zeros(len(first)), np.zeros(len(second))) if strata is None else strata
    (x, of_x), (y, of_y) = (
        _some(np.asarray(side, dtype=np.float64).reshape(len(side), -1), group, generator)
        for side, group in zip((first, second), groups, strict=True)
    )
    common = np.intersect1d(of_x, of_y)
    if not len(common):
        raise ValueError("the two sides have no stratum in common")
    observed, permuted, sizes = 0.0, np.zeros(permutations), [0, 0]
    for stratum in common:
        a, b = x[of_x == stratum], y[of_y == stratum]
        here, there = _permuted(a, b, permutations, generator)
        observed, permuted = observed + here, permuted + there
        sizes = [sizes[0] + len(a), sizes[1] + len(b)]
    larger = int((permuted >= observed - ROUNDING * (abs(observed) + 1.0)).sum())
    return TwoSample(observed, (1 + larger) / (1 + permutations), *sizes)


def _some(
    side: NDArray[np.float64], group: NDArray[Any], generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    group = np.asarray(group)
    if len(side) <= MOST:
        return side, group
    rows = np.sort(generator.permutation(len(side))[:MOST])
    return side[rows], group[rows]


def _permuted(
    a: NDArray[np.float64], b: NDArray[np.float64], count: int, generator: np.random.Generator
) -> tuple[float, NDArray[np.float64]]:
    """Return a stratum's weighted energy distance, and that of `count` random permutations."""
    n, m = len(a), len(b)
    both = np.concatenate([a, b])
    distances = cdist(both, both)
    side = np.zeros((count + 1, n + m))
    side[0, :n] = 1.0
    side[1:] = generator.permuted(np.tile(side[0], (count, 1)), axis=1)
    # Sums of distances within the first side, within the second and between them.
    first = np.einsum("ij,ij->i", side @ distances, side)
    reached = side @ distances.sum(axis=1)
    between = reached - first
    second = distances.sum() - 2.0 * reached + first
    energy = 2.0 * between / (n * m) - first / n**2 - second / m**2
    weighted = n * m / (n + m) * energy
    return float(weighted[0]), weighted[1:]
