"""Attack-R: at which false-positive rate would this record be called a member?

The shadow models that did not train on a record say what its loss usually is; the target's loss is
ranked among theirs. With K such models a rank knows no rate below 1/K, and the variants differ in
how they continue it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from attacks.arrays import (
    BoolArray,
    FloatArray,
    member_counts,
    one_of,
    require_shadows,
    shadow_matrices,
)
from attacks.blocks import by_record, moments
from attacks.interface import Attack, Evidence, Tier
from attacks.normal import sigma
from attacks.probabilities import log_probability

Variant = Literal["rank", "linear", "logit", "mean", "cautious"]

NOWHERE = 1e300  # a signal beyond all others
GREATEST_LOSS = 1000.0  # where the interpolation ends, as in the published code


def score(
    target: ArrayLike,
    shadows: ArrayLike,
    member_mask: ArrayLike,
    *,
    variant: Variant = "linear",
) -> FloatArray:
    """Return -α, α the false-positive rate at which the record would be called a member.

    Target [N], shadows [K, N] (any floating type, mapped from disk or not), all φ; member_mask bool
    [K, N]; float64 [N] in [-1, 0]. Negated, not subtracted from 1: rates of 1e-20 stay apart.

    With n OUT models of the record:
    - `rank`: α is the share of them whose φ is higher, ties counting half.
    - `linear`: α by linear interpolation over the loss log(1 + exp(-φ)), through the points (0, 0),
      (l_j, j / (n+1)) for the n sorted losses, and (1000, 1).
    - `logit`: α = P(Z > φ) with Z normal of the mean and variance of the n values of φ (variance
      per record, dividing by n; at least two models).
    - `mean`: the mean of the last two. `cautious`: the larger one.

    Raises ValueError when shapes do not fit, a value is nan, a name is unknown, or a record has too
    few OUT shadow models: one, and two for all but `rank` and `linear`.
    Source: Ye et al. 2022 (Attack R); the last four as linear_itp, logit_rescale, mean_linear_logit
    and min_linear_logit of the code published with it (ml_privacy_meter,
    research/2022_enhanced_mia).
    """
    one_of(variant, Variant, "variant")
    goal, signals, mask = shadow_matrices(target, shadows, member_mask)
    require_shadows(mask, least_in=0, least_out=1 if variant in ("rank", "linear") else 2)
    if variant == "rank":
        higher, equal, _, _ = _neighbours(goal, signals, mask)
        rate: FloatArray = (higher + 0.5 * equal) / (mask.shape[0] - member_counts(mask))
    elif variant == "linear":
        rate = _linear(goal, signals, mask)
    else:
        rate = _logit(goal, signals, mask)
        if variant != "logit":
            linear = _linear(goal, signals, mask)
            rate = 0.5 * (linear + rate) if variant == "mean" else np.maximum(linear, rate)
    return -rate


def _logit(target: FloatArray, shadows: NDArray[Any], mask: BoolArray) -> FloatArray:
    _, out = moments(shadows, mask)
    rate: FloatArray = ndtr((out.mean - target) / sigma(out, "per-record"))
    return rate


def _linear(target: FloatArray, shadows: NDArray[Any], mask: BoolArray) -> FloatArray:
    higher, equal, above, below = _neighbours(target, shadows, mask)
    loss, left, right = (
        np.minimum(-log_probability(phi), GREATEST_LOSS) for phi in (target, above, below)
    )
    # Losses that are equal to the last digit although their φ are not: no way along between them.
    width = right - left
    along = np.divide(loss - left, width, out=np.zeros_like(loss), where=width > 0.0)
    models = mask.shape[0] - member_counts(mask)
    rate: FloatArray = np.where(loss < GREATEST_LOSS, (higher + equal + along) / (models + 1), 1.0)
    return rate


def _neighbours(
    target: FloatArray, shadows: NDArray[Any], mask: BoolArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return per record, of the OUT models' φ: how many are higher than the target's, how many
    equal, the least that is not lower and the greatest that is lower (±1e300 where there is none).
    """

    out = (mask.shape[0] - member_counts(mask)).astype(np.float64)

    def work(part: slice, memory: list[FloatArray]) -> tuple[FloatArray, ...]:
        values, other = memory
        goal = target[part]
        np.multiply(mask[:, part], NOWHERE, out=values)
        values += shadows[:, part]  # IN models out of the way, above
        lower = values < goal
        fewer = np.add.reduce(lower.view(np.uint8), axis=0, dtype=np.uint32)
        equal = np.add.reduce((values == goal).view(np.uint8), axis=0, dtype=np.uint32)
        np.multiply(lower, NOWHERE, out=other)
        other += values
        above = other.min(axis=0)
        np.multiply(~lower, -2.0 * NOWHERE, out=other)  # the IN models' as well
        other += values
        below = other.max(axis=0)
        higher = out[part] - fewer - equal
        return higher, equal, np.minimum(above, NOWHERE), np.maximum(below, -NOWHERE)

    higher, equal, above, below = by_record(work, *shadows.shape, buffers=2)
    return higher, equal, above, below


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.shadows is not None and evidence.member_mask is not None
    return score(evidence.phi(), evidence.shadows, evidence.member_mask)


REFERENCE_RANK = Attack(
    name="reference-rank",
    title="Rank among reference models (Attack-R)",
    tier=Tier.TRAINING,
    needs=("target", "shadows", "member_mask"),
    claim="The loss of forgotten records is unusually low for models that never saw them.",
    source="Ye et al. 2022 (Attack R)",
    function=_function,
    population=False,
)
