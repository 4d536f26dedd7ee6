"""Attack-P: the record is called a member when its loss would be rare among unseen records.

The score is a rank, so a threshold has a meaning that needs no further data: at score s a share of
about 1 - s of unseen records would be called members.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import FloatArray, vector
from attacks.interface import Attack, Evidence, Tier


def score(target: ArrayLike, population: ArrayLike) -> FloatArray:
    """Return the share of unseen records whose signal lies below the record's, ties counting half.

    Target [N], population [M], any signal; float64 [N] in [0, 1]. Raises ValueError on nan or an
    empty array. Source: Ye et al. 2022 (Attack P).
    """
    values, others = vector(target, "target"), np.sort(vector(population, "population"))
    below = np.searchsorted(others, values, side="left")
    up_to = np.searchsorted(others, values, side="right")
    return np.asarray((below + up_to) / (2.0 * others.size), dtype=np.float64)


def _function(evidence: Evidence) -> FloatArray:
    return score(evidence.phi(), evidence.population_phi())


POPULATION = Attack(
    name="population",
    title="Rank among unseen records (Attack-P)",
    tier=Tier.MODEL,
    needs=("target", "population_target"),
    claim="The loss of forgotten records would be unusually low for an unseen record.",
    source="Ye et al. 2022 (Attack P)",
    function=_function,
)
