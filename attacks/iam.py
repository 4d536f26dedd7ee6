"""IAM: how far between "never saw it" and "fits it" does the audited model stand on a record?

The shadow models need not be unlearned, and a few are enough: between the outputs of models without
the record and what fitting it looks like, every degree of fit is filled in by interpolation.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from attacks.arrays import FloatArray, one_of, require_shadows, shadow_matrices
from attacks.blocks import moments
from attacks.interface import Attack, Evidence, Tier
from attacks.normal import LEAST_SIGMA, sigma

Variant = Literal["online", "offline"]
Family = Literal["gumbel", "normal"]
Variance = Literal["pooled", "per-record", "global"]

STEPS = 100
FLOOR = 0.01  # added to the loss offline, so that a perfect fit has a finite signal
EXACT_FROM = 30.0  # φ from which -log(loss) is φ to the last bit


def score(
    target: ArrayLike,
    shadows: ArrayLike,
    member_mask: ArrayLike,
    *,
    variant: Variant = "online",
    family: Family = "gumbel",
    variance: Variance = "pooled",
    steps: int = STEPS,
) -> FloatArray:
    """Return the degree of fit of each record, float64 [N] in [0, 1].

    Target [N], shadows [K, N], all φ; member_mask bool [K, N]. With s = -log(loss) of the audited
    model, μ and σ of the OUT shadow models' s, and f the s of a fit: the score is the mean of
    F(s; (1-α) μ + α f, (1-α) σ) over α_i = i / (steps-1), i = 0 .. steps-2, weighted by α_{i+1},
    where F is a distribution function with that mean and standard deviation.

    variant:
    - `online`: f is the mean s of the record's IN shadow models.
    - `offline`: f is that of loss 0, with 0.01 added to every loss; no IN shadow model needed.
    family: `gumbel`, which -log of an exponential loss has, or `normal`.
    variance: of the OUT signals, as of `attacks.lira.score`. `global` is the published code's, and
    the one that a single shadow model allows.

    Raises ValueError when shapes do not fit, a value is nan, a name is unknown, there are fewer
    than two steps, or a record has too few shadow models: one OUT (two unless `global`), online one
    IN. Source: Wang et al. 2025 and their published code for s, the interpolation, the Gumbel by
    moments and the weights. There f is the output of the model before unlearning, per record; that
    tells a forgotten record from an unseen one by itself, so the IN models here take its place.
    """
    one_of(variant, Variant, "variant")
    one_of(family, Family, "family")
    one_of(variance, Variance, "variance")
    if steps < 2:
        raise ValueError(f"steps must be at least 2, found {steps}")
    goal, signals, mask = shadow_matrices(target, shadows, member_mask)
    online = variant == "online"
    require_shadows(mask, least_in=1 if online else 0, least_out=1 if variance == "global" else 2)
    floor = 0.0 if online else FLOOR
    s = _minus_log_loss(goal, floor)
    others = np.empty(signals.shape)
    for row, phi in zip(others, signals, strict=True):
        row[:] = _minus_log_loss(np.asarray(phi, dtype=np.float64), floor)
    inside, out = moments(others, mask)
    spread = sigma(out, variance)
    fit = inside.mean if online else np.full_like(s, -np.log(FLOOR))
    alphas = np.linspace(0.0, 1.0, steps)
    total = np.zeros_like(s)
    for alpha, weight in zip(alphas[:-1], alphas[1:], strict=True):
        width = np.maximum((1.0 - alpha) * spread, LEAST_SIGMA)
        total += weight * _cdf((s - (1.0 - alpha) * out.mean - alpha * fit) / width, family)
    return total / alphas[1:].sum()


def _minus_log_loss(phi: FloatArray, floor: float) -> FloatArray:
    """Return -log(floor + loss), where loss = log(1 + exp(-φ)) is the cross-entropy."""
    loss = np.logaddexp(0.0, -phi)
    if floor > 0.0:
        return np.asarray(-np.log(floor + loss))
    exact = phi > EXACT_FROM  # where the loss would underflow in the end
    return np.where(exact, phi, -np.log(np.where(exact, 1.0, loss)))


def _cdf(z: FloatArray, family: Family) -> FloatArray:
    """Return the distribution function at z standard deviations from the mean."""
    if family == "normal":
        return np.asarray(norm.cdf(z))
    standard = z * np.pi / np.sqrt(6.0) + np.euler_gamma
    # exp(-exp(700)) is 0 as everything beyond it is
    return np.asarray(np.exp(-np.exp(np.minimum(-standard, 700.0))))


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.shadows is not None and evidence.member_mask is not None
    return score(evidence.phi(), evidence.shadows, evidence.member_mask)


IAM = Attack(
    name="iam",
    title="IAM, online, Gumbel",
    tier=Tier.TRAINING,
    needs=("target", "shadows", "member_mask"),
    claim="The output on forgotten records is further on the way from never seen to fitted than "
    "that on unseen records.",
    source="Wang et al. 2025",
    function=_function,
    population=False,
)
