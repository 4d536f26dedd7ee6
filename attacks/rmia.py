"""RMIA: the record against a crowd of others, each relative to what reference models expect.

One or two shadow models are enough for a useful score, where LiRA has nothing to fit.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import (
    BoolArray,
    FloatArray,
    one_of,
    require_shadows,
    shadow_matrices,
    signal_matrix,
    vector,
)
from attacks.interface import Attack, Evidence, Tier
from attacks.probabilities import (
    Mean,
    halfway,
    log_probability,
    mean_probabilities,
    mean_probability,
)

Variant = Literal["online", "offline"]


def score(
    target: ArrayLike,
    shadows: ArrayLike,
    member_mask: ArrayLike,
    population_target: ArrayLike | None = None,
    population_shadows: ArrayLike | None = None,
    *,
    variant: Variant = "online",
    gamma: float = 2.0,
    offline_a: float = 0.3,
) -> FloatArray:
    """Return the share of population records z with r_x / r_z >= γ, where r = p / p̄.

    Target [N], shadows [K, N], all φ; member_mask bool [K, N]. Population_target [M] and
    population_shadows [K, M]: φ of records none of the models trained on; without them the judged
    records are each other's population. Shadow signals of any floating type, mapped from disk or
    not: they are read in blocks. Float64 [N] in (0, 1).

    p = 1 / (1 + exp(-φ)) is the probability of the label. `online`: p̄ = ½ (p_in + p_out), means
    over the shadow models with and without the record; `offline`: p̄ = ½ [(1+a) p_out + (1-a)].
    A population record has no IN shadow model, so p̄ is p_out online, and the same formula offline.

    Ties of the share are broken by r_x: the score is (count + t(r_x)) / (M + 1) with t increasing
    from 0 to 1. So records are ordered by r_x alone; γ and the population give the score a meaning,
    not another order.

    What published tools compute. The authors' (ml_privacy_meter): offline, a = 0.3 or tuned on a
    further model, γ = 1, with > for >= and ties left as they are. LeakPro: both variants, online p̄
    the mean over all shadow models, a = 0.33, γ = 2, >, logits divided by a temperature of 2.

    Raises ValueError when shapes do not fit, a value is nan, only one of the two
    population arrays is given, γ < 1, a outside [0, 1], or a record has no OUT shadow model
    (online: no IN either). Source: Zarifzadeh et al. 2024.
    """
    one_of(variant, Variant, "variant")
    if not gamma >= 1.0:
        raise ValueError(f"gamma must be at least 1, found {gamma}")
    if not 0.0 <= offline_a <= 1.0:
        raise ValueError(f"offline_a must lie in [0, 1], found {offline_a}")
    goal, signals, mask = shadow_matrices(target, shadows, member_mask)
    require_shadows(mask, least_in=1 if variant == "online" else 0, least_out=1)
    ratio = _log_ratio(goal, signals, mask, variant, offline_a)
    if (population_target is None) != (population_shadows is None):
        raise ValueError("population_target and population_shadows must be given together")
    if population_target is None or population_shadows is None:
        others = ratio
    else:
        z = vector(population_target, "population_target")
        z_signals = signal_matrix(population_shadows, "population_shadows")
        if z_signals.shape != (signals.shape[0], z.size):
            raise ValueError(
                f"population_shadows must be {(signals.shape[0], z.size)}, found {z_signals.shape}"
            )
        others = _log_ratio(z, z_signals, None, variant, offline_a)
    count = np.searchsorted(np.sort(others), ratio - np.log(gamma), side="right")
    # An arc tangent still tells log-ratios of 40 and 41 apart, where a sigmoid is already 1.
    tie_break = 0.5 + np.arctan(ratio) / np.pi
    return np.asarray((count + tie_break) / (others.size + 1), dtype=np.float64)


def _log_ratio(
    target: FloatArray,
    shadows: NDArray[Any],
    mask: BoolArray | None,
    variant: Variant,
    offline_a: float,
) -> FloatArray:
    """Return log r = log p - log p̄ for every record [N]; mask None: no model saw any of them."""
    if mask is None:
        out = mean_probability(shadows)
        bar = out
    else:
        inside, out = mean_probabilities(shadows, mask)
        bar = halfway(inside, out)
    if variant == "offline":
        # p̄ = ½ [(1+a) p_out + (1-a)], that is 1 - p̄ = ½ (1+a) (1 - p_out)
        weight = 0.5 * (1.0 + offline_a)
        log_p = np.log(weight) + out.log_p
        if offline_a < 1.0:
            log_p = np.logaddexp(log_p, np.log(0.5 * (1.0 - offline_a)))
        bar = Mean(log_p, weight * out.not_p)
    return log_probability(target) - bar.log()


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.shadows is not None and evidence.member_mask is not None
    population = None
    if evidence.population_shadows is not None:
        population = evidence.population_phi()
    return score(
        evidence.phi(),
        evidence.shadows,
        evidence.member_mask,
        population,
        evidence.population_shadows,
    )


RMIA = Attack(
    name="rmia",
    title="RMIA, online",
    tier=Tier.TRAINING,
    needs=("target", "shadows", "member_mask"),
    claim="Forgotten records are likelier under the model, relative to reference models, than "
    "other records are.",
    source="Zarifzadeh et al. 2024",
    function=_function,
    population=False,
)
