"""RULI: U-LiRA's question without the bell curve.

What unlearning leaves need not be normal: a method that resets some records and misses others gives
two heaps. A kernel density for each record and role follows them.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import (
    NEVER,
    UNLEARNED,
    BoolArray,
    FloatArray,
    one_of,
    require_roles,
    role_arrays,
)
from attacks.blocks import moments
from attacks.interface import Attack, Evidence, Tier
from attacks.normal import LEAST_SIGMA, log_density, sigma

Bandwidth = Literal["scott", "per-record", "unit"]


def score(
    target: ArrayLike,
    unlearned_shadows: ArrayLike,
    unlearned_role: ArrayLike,
    *,
    bandwidth: Bandwidth = "scott",
) -> FloatArray:
    """Return log p(φ | unlearned) - log p(φ | never seen), each a kernel density of the record.

    Target [N], unlearned_shadows [K, N], all φ; unlearned_role int [K, N] as for
    `attacks.u_lira.score`. Float64 [N] in nats. p(φ) is the mean of N(φ; s, h) over the record's
    shadow signals s of that role.

    bandwidth h:
    - `scott`: n^(-1/5) σ with n the record's signals of the role and σ pooled over records.
    - `per-record`: n^(-1/5) σ with σ of the record alone; wants many shadow models.
    - `unit`: 1 in φ, as in the authors' published code.

    Raises ValueError when shapes do not fit, a value is nan, a name is unknown, or a record has too
    few shadow models of either role: one each, two for per-record.
    Source: Naderloui et al. 2025 for the kernel densities of unlearned and never-seen models; their
    score p_u / (p_u + p_never) orders records as this ratio does, which stays finite in the tails.
    Scott's bandwidth with a pooled σ is a choice of ours: it follows the scale of φ.
    """
    one_of(bandwidth, Bandwidth, "bandwidth")
    goal, signals, role = role_arrays(target, unlearned_shadows, unlearned_role)
    require_roles(role, 2 if bandwidth == "per-record" else 1)
    unlearned, never = (
        _log_kernels(goal, signals, role == which, bandwidth) for which in (UNLEARNED, NEVER)
    )
    return unlearned - never


def _log_kernels(
    goal: FloatArray, signals: NDArray[Any], mask: BoolArray, bandwidth: Bandwidth
) -> FloatArray:
    """Return the log of the kernel density of the masked signals [K, N] at `goal` [N]."""
    counts = mask.sum(axis=0)
    width: FloatArray = np.ones(1)
    if bandwidth != "unit":
        found, _ = moments(signals, mask)
        spread = sigma(found, "per-record" if bandwidth == "per-record" else "pooled")
        width = np.maximum(spread * counts**-0.2, LEAST_SIGMA)
    # row by row, and relative to the nearest signal: far away every kernel alone underflows
    nearest = np.full(goal.shape, np.inf)
    for row, chosen in zip(signals, mask, strict=True):
        np.minimum(nearest, np.abs(goal - row), out=nearest, where=chosen)
    total = np.zeros(goal.shape)
    for row, chosen in zip(signals, mask, strict=True):
        beyond = np.where(chosen, np.abs(goal - row) - nearest, 0.0)
        power = -0.5 * beyond / width * ((beyond + 2.0 * nearest) / width)
        total += np.where(chosen, np.exp(power), 0.0)
    return log_density(nearest, np.zeros(1), width) + np.log(total / counts)


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.unlearned_shadows is not None and evidence.unlearned_role is not None
    return score(evidence.phi(), evidence.unlearned_shadows, evidence.unlearned_role)


RULI = Attack(
    name="ruli",
    title="RULI, kernel densities",
    tier=Tier.TRAINING,
    needs=("target", "unlearned_shadows", "unlearned_role"),
    claim="The output on forgotten records is likelier from a model that unlearned them than from "
    "one that never saw them, whatever shape the outputs' distribution has.",
    source="Naderloui et al. 2025",
    function=_function,
    population=False,
)
