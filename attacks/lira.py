"""LiRA: how likely is this output from a model that saw the record, against one that did not?

Shadow models answer for each record separately, so a record that every model finds easy is not
mistaken for a member. Published tools disagree on what "fixed variance" and "offline" mean; here
each meaning has its own name and nothing is called fixed.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr

from attacks.arrays import FloatArray, one_of, require_shadows, shadow_matrices
from attacks.blocks import medians, moments
from attacks.interface import Attack, Evidence, Tier
from attacks.normal import Variance, floored, log_density, sigma

Variant = Literal["online", "offline-one-sided", "offline-density"]
Centre = Literal["mean", "median"]


def score(
    target: ArrayLike,
    shadows: ArrayLike,
    member_mask: ArrayLike,
    *,
    variant: Variant = "online",
    variance: Variance = "pooled",
    centre: Centre = "mean",
) -> FloatArray:
    """Return the likelihood ratio of each record under its IN and OUT shadow models.

    Target [N], shadows [K, N] (any floating type, mapped from disk or not: it is read in blocks),
    all φ; member_mask bool [K, N]; float64 [N] in nats.

    variant:
    - `online`: log N(φ; μ_in, σ_in) - log N(φ; μ_out, σ_out).
    - `offline-one-sided`: -log P(Z > φ) for Z ~ N(μ_out, σ_out); orders as the one-sided CDF does.
    - `offline-density`: -log N(φ; μ_out, σ_out); also high for a φ far below the OUT models.
    variance (maximum likelihood, dividing by the count; deviations always from means):
    - `pooled`: one σ_in and one σ_out, of the deviations from each record's own mean.
    - `per-record`: every record its own; wants about 64 shadow models.
    - `shared`: one σ for both, of all deviations from the own means; offline as `pooled`.
    - `global`: one σ_in and one σ_out of all signals about their overall mean; larger than pooled
      by the spread between records.
    - `global-in`: that σ_in for both; online only.
    centre: μ_in and μ_out are each record's `mean` or its `median`.

    What published tools compute. The authors' code (tensorflow/privacy, research/mi_lira_2021):
    median; per-record, or under "fixed variance" global-in online and global offline; its offline
    is the density. TensorFlow Privacy's compute_score_lira with the mean: per-record, or pooled
    under "fixed variance"; its offline is the density. LeakPro: mean, global below 64 shadow
    models and per-record from there; its offline has been the density and the one-sided form.

    Raises ValueError when shapes do not fit, a value is nan, a name is unknown, or a record has too
    few IN or OUT shadows: one of each (IN only online), two for per-record variance.
    Source: Carlini et al. 2022, algorithm 1; offline-one-sided equation 4; one variance for all
    records section VI-B.
    """
    one_of(variant, Variant, "variant")
    one_of(variance, Variance, "variance")
    one_of(centre, Centre, "centre")
    online = variant == "online"
    if variance == "global-in" and not online:
        raise ValueError("variance 'global-in' needs IN shadow models: it is for variant 'online'")
    goal, signals, mask = shadow_matrices(target, shadows, member_mask)
    least = 2 if variance == "per-record" else 1
    require_shadows(mask, least_in=least if online else 0, least_out=least)

    inside, out = moments(signals, mask)
    mean_out = out.mean if centre == "mean" else medians(signals, mask, inside=False)
    if not online:
        sigma_out = sigma(out, variance)
        if variant == "offline-density":
            return -log_density(goal, mean_out, sigma_out)
        one_sided: FloatArray = -log_ndtr((mean_out - goal) / sigma_out)
        return one_sided
    mean_in = inside.mean if centre == "mean" else medians(signals, mask, inside=True)
    sigma_in, sigma_out = sigma(inside, variance), sigma(out, variance)
    if variance == "shared":
        squares = inside.squares.sum() + out.squares.sum()
        sigma_in = sigma_out = floored(np.array([squares / mask.size]))
    elif variance == "global-in":
        sigma_out = sigma_in
    return log_density(goal, mean_in, sigma_in) - log_density(goal, mean_out, sigma_out)


def _run(evidence: Evidence, variant: Variant) -> FloatArray:
    assert evidence.shadows is not None and evidence.member_mask is not None
    return score(evidence.phi(), evidence.shadows, evidence.member_mask, variant=variant)


def _online(evidence: Evidence) -> FloatArray:
    return _run(evidence, "online")


def _offline(evidence: Evidence) -> FloatArray:
    return _run(evidence, "offline-one-sided")


ONLINE = Attack(
    name="lira-online",
    title="LiRA, online, pooled variance",
    tier=Tier.TRAINING,
    needs=("target", "shadows", "member_mask"),
    claim="The output on forgotten records is likelier from a model that was trained on them.",
    source="Carlini et al. 2022, algorithm 1",
    function=_online,
    population=False,
)
OFFLINE = Attack(
    name="lira-offline",
    title="LiRA, offline, one-sided, pooled variance",
    tier=Tier.TRAINING,
    needs=("target", "shadows", "member_mask"),
    claim="The output on forgotten records is unusual for a model that never saw them.",
    source="Carlini et al. 2022, equation 4",
    function=_offline,
    population=False,
)
