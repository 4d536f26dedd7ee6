"""BASE: how much likelier the label is under the model than under shadow models on average.

The Bayes-optimal rule subtracts from a record's log-probability a threshold of its own; BASE takes
for it the log of the mean probability over shadow models. One shadow model is enough for a score.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from attacks.arrays import FloatArray, one_of, require_shadows, shadow_matrices
from attacks.interface import Attack, Evidence, Tier
from attacks.probabilities import halfway, log_probability, mean_probabilities, mean_probability

Variant = Literal["online", "balanced", "offline"]


def score(
    target: ArrayLike,
    shadows: ArrayLike,
    member_mask: ArrayLike,
    *,
    variant: Variant = "online",
    offline_scale: float = 0.33,
) -> FloatArray:
    """Return log p - log p̄ of each record, p = 1 / (1 + exp(-φ)) the probability of its label.

    Target [N], shadows [K, N] (any floating type, mapped from disk or not), all φ; member_mask bool
    [K, N]; float64 [N] in nats.

    - `online`: log p - logsumexp_k(log p_k) + log K over all K shadow models.
    - `balanced`: p̄ = ½ (p_in + p_out) instead, for records that are in more or fewer than half of
      the shadow models; the same as `online` where they are in half.
    - `offline`: log p - s (logsumexp_k(log p_k) - log n) over the n OUT models, the threshold
      scaled by s = offline_scale for want of IN models.

    `balanced` orders records as RMIA online does for every γ and every population, as the share
    RMIA counts only grows with this ratio and its ties are broken by it. LeakPro's implementation
    divides the logits by a temperature of 2 first, which φ alone does not allow.

    Raises ValueError when shapes do not fit, a value is nan, a name is unknown, the scale is
    outside [0, 1], or a record has no OUT shadow model (unless offline: no IN either).
    Source: Lassila et al. 2025 (arXiv 2505.24089); the scale and its default as in LeakPro.
    """
    one_of(variant, Variant, "variant")
    if not 0.0 <= offline_scale <= 1.0:
        raise ValueError(f"offline_scale must lie in [0, 1], found {offline_scale}")
    goal, signals, mask = shadow_matrices(target, shadows, member_mask)
    require_shadows(mask, least_in=0 if variant == "offline" else 1, least_out=1)
    if variant == "online":
        bar = mean_probability(signals).log()
    elif variant == "balanced":
        bar = halfway(*mean_probabilities(signals, mask)).log()
    else:
        _, out = mean_probabilities(signals, mask)
        bar = offline_scale * out.log()
    return np.asarray(log_probability(goal) - bar, dtype=np.float64)


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.shadows is not None and evidence.member_mask is not None
    return score(evidence.phi(), evidence.shadows, evidence.member_mask)


BASE = Attack(
    name="base",
    title="BASE, online",
    tier=Tier.TRAINING,
    needs=("target", "shadows", "member_mask"),
    claim="The labels of forgotten records are likelier under the model than under shadow models "
    "on average, more than those of other records.",
    source="Lassila et al. 2025",
    function=_function,
    population=False,
)
