"""LiRA: how likely is this output from a model that saw the record, against one that did not?

Shadow models answer for each record separately, so a record that every model finds easy is not
mistaken for a member. Published tools disagree on what "fixed variance" and "offline" mean; here
each meaning has its own name and nothing is called fixed.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from attacks.arrays import BoolArray, FloatArray, shadow_arrays
from attacks.interface import Attack, Evidence, Tier

Variant = Literal["online", "offline-one-sided", "offline-density"]
Variance = Literal["pooled", "per-record", "shared", "global"]

# A shadow ensemble may give one record the same signal throughout; the density stays finite.
LEAST_SIGMA = 1e-6


def score(
    target: ArrayLike,
    shadows: ArrayLike,
    member_mask: ArrayLike,
    *,
    variant: Variant = "online",
    variance: Variance = "pooled",
) -> FloatArray:
    """Return the likelihood ratio of each record under its IN and OUT shadow models.

    Target [N], shadows [K, N], all φ; member_mask bool [K, N]; float64 [N] in nats.

    variant:
    - `online`: log N(φ; μ_in, σ_in) - log N(φ; μ_out, σ_out).
    - `offline-one-sided`: -log P(Z > φ) for Z ~ N(μ_out, σ_out); orders as the one-sided CDF does.
    - `offline-density`: -log N(φ; μ_out, σ_out); also high for a φ far below the OUT models.
    variance (maximum likelihood, dividing by the count):
    - `pooled`: one σ_in and one σ_out, of the deviations from each record's own mean.
    - `per-record`: every record its own; wants about 64 shadow models.
    - `shared`: one σ for both, of all deviations from the own means.
    - `global`: one σ_in and one σ_out of all signals about their overall mean, as in the authors'
      published code; larger than pooled by the spread between records.

    Raises ValueError when shapes do not fit, a value is nan, a name is unknown, or a record has too
    few IN or OUT shadows: one of each (IN only online), two for per-record variance.
    Source: Carlini et al. 2022, algorithm 1 and section VI-C.
    """
    if variant not in get_args(Variant):
        raise ValueError(f"variant must be one of {get_args(Variant)}, found {variant!r}")
    if variance not in get_args(Variance):
        raise ValueError(f"variance must be one of {get_args(Variance)}, found {variance!r}")
    goal, signals, mask = shadow_arrays(target, shadows, member_mask)
    least = 2 if variance == "per-record" else 1
    online = variant == "online"
    require_shadows(mask, least_in=least if online else 0, least_out=least)

    mean_out, sigma_out = _fit(signals, ~mask, variance)
    if not online:
        if variant == "offline-density":
            return -_log_density(goal, mean_out, sigma_out)
        one_sided: FloatArray = -norm.logsf((goal - mean_out) / sigma_out)
        return one_sided
    mean_in, sigma_in = _fit(signals, mask, variance)
    if variance == "shared":
        in_share = float(mask.mean())
        both = in_share * sigma_in**2 + (1.0 - in_share) * sigma_out**2
        sigma_in = sigma_out = np.sqrt(both)
    return _log_density(goal, mean_in, sigma_in) - _log_density(goal, mean_out, sigma_out)


def require_shadows(mask: BoolArray, *, least_in: int, least_out: int) -> None:
    """Raise ValueError, naming the first such record, when a record has too few IN or OUT shadows.

    Mask bool [K, N].
    """
    for name, counts, least in (
        ("IN", mask.sum(axis=0), least_in),
        ("OUT", (~mask).sum(axis=0), least_out),
    ):
        short = np.flatnonzero(counts < least)
        if short.size:
            first = int(short[0])
            raise ValueError(
                f"{short.size} record(s) have too few {name} shadow models: record {first} has "
                f"{int(counts[first])}, at least {least} needed"
            )


def _fit(signals: FloatArray, mask: BoolArray, variance: Variance) -> tuple[FloatArray, FloatArray]:
    """Return mean [N] and standard deviation ([N] or [1]) of the signals under the mask [K, N]."""
    counts = mask.sum(axis=0)
    mean = np.where(mask, signals, 0.0).sum(axis=0) / counts
    if variance == "global":
        return mean, np.maximum(np.std(signals[mask], keepdims=True), LEAST_SIGMA)
    squares = np.where(mask, signals - mean, 0.0) ** 2
    if variance == "per-record":
        spread = squares.sum(axis=0) / counts
    else:
        spread = np.array([squares.sum() / counts.sum()])
    return mean, np.maximum(np.sqrt(spread), LEAST_SIGMA)


def _log_density(x: FloatArray, mean: FloatArray, sigma: FloatArray) -> FloatArray:
    result: FloatArray = (
        -0.5 * ((x - mean) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2.0 * np.pi)
    )
    return result


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
    source="Carlini et al. 2022, section VI-C",
    function=_offline,
    population=False,
)
