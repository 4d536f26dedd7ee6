"""U-LiRA: is this output likelier from a model that unlearned the record, or one that never saw it?

LiRA's question put to an unlearning method. Shadow models are trained, then unlearned with the very
method under audit; what it leaves of a record, and what it does to one it was asked to forget, both
show as a difference from models that never saw the record. So a method that hides a record too well
is found just as one that hides it too little.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import NEVER, UNLEARNED, FloatArray, one_of, require_roles, role_arrays
from attacks.blocks import moments
from attacks.interface import Attack, Evidence, Tier
from attacks.normal import log_density, sigma

Variance = Literal["pooled", "per-record", "shared", "global"]


def score(
    target: ArrayLike,
    unlearned_shadows: ArrayLike,
    unlearned_role: ArrayLike,
    *,
    variance: Variance = "pooled",
) -> FloatArray:
    """Return log N(φ; μ_unlearned, σ_unlearned) - log N(φ; μ_never, σ_never) of each record.

    Target [N], unlearned_shadows [K, N], all φ; unlearned_role int [K, N]: 0 never seen, 1 trained
    on and unlearned, 2 trained on and kept, which is left out. Float64 [N] in nats; higher: more
    like a model that unlearned the record. Both normals are fitted to models after unlearning: one
    that never saw this record has unlearned others.

    variance: as of `attacks.lira.score`: `pooled`, `per-record`, `shared` or `global`.

    Raises ValueError when shapes do not fit, a value is nan, a name is unknown, or a record has too
    few shadow models of either role: one each, two for per-record variance.
    Source: Hayes et al. 2024 for the two distributions and their ratio, Carlini et al. 2022 for φ.
    Pooled variance as the default is a choice of ours: a record is unlearned in few shadow models.
    """
    one_of(variance, Variance, "variance")
    goal, signals, role = role_arrays(target, unlearned_shadows, unlearned_role)
    require_roles(role, 2 if variance == "per-record" else 1)
    unlearned, _ = moments(signals, role == UNLEARNED)
    never, _ = moments(signals, role == NEVER)
    width, width_never = sigma(unlearned, variance), sigma(never, variance)
    if variance == "shared":
        share = float(unlearned.count.sum() / (unlearned.count.sum() + never.count.sum()))
        width = width_never = np.sqrt(share * width**2 + (1.0 - share) * width_never**2)
    return log_density(goal, unlearned.mean, width) - log_density(goal, never.mean, width_never)


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.unlearned_shadows is not None and evidence.unlearned_role is not None
    return score(evidence.phi(), evidence.unlearned_shadows, evidence.unlearned_role)


U_LIRA = Attack(
    name="u-lira",
    title="U-LiRA, pooled variance",
    tier=Tier.TRAINING,
    needs=("target", "unlearned_shadows", "unlearned_role"),
    claim="The output on forgotten records is likelier from a model that unlearned them than from "
    "one that never saw them.",
    source="Hayes et al. 2024",
    function=_function,
    population=False,
)
