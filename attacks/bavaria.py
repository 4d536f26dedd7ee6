"""BaVarIA: LiRA for few shadow models, its variances kept sane by a prior fitted to all records.

With four shadow models a record's own variance is noise, and one variance for all records forgets
that records differ. A conjugate normal-inverse-gamma prior moves from the second to the first as
shadow models are added, with no switch to set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from attacks.arrays import FloatArray, one_of, require_shadows, shadow_matrices
from attacks.blocks import Moments, moments
from attacks.interface import Attack, Evidence, Tier

Variant = Literal["online", "offline"]
Predictive = Literal["student-t", "normal"]

KAPPA = 1.0  # the prior mean counts as this many shadow models
ALPHA = {"student-t": 2.0, "normal": 1.0}  # at 2 the prior predictive has a variance
LEAST_VARIANCE = 1e-12  # as LiRA's least sigma: equal signals keep a finite density


@dataclass(frozen=True)
class _Belief:
    """A normal-inverse-gamma distribution of mean and variance, per record [N] or for all [1].

    mean, kappa, alpha, beta as usual; plain: the mean of the signals themselves, not shrunk.
    """

    mean: FloatArray
    kappa: FloatArray
    alpha: FloatArray
    beta: FloatArray
    plain: FloatArray

    def log_density(self, x: FloatArray, predictive: Predictive) -> FloatArray:
        if predictive == "normal":
            # E[σ²] = β / (α-1); the prior alone has α = 1 and none, and its β is the variance
            proper = self.alpha > 1.0
            variance = self.beta / np.where(proper, self.alpha - 1.0, 1.0)
            variance = np.maximum(variance, LEAST_VARIANCE)
            squares = (x - self.plain) ** 2 / variance
            return np.asarray(-0.5 * (squares + np.log(2.0 * np.pi * variance)))
        freedom = 2.0 * self.alpha
        scale = self.beta * (self.kappa + 1.0) / (self.alpha * self.kappa)
        scale = np.maximum(scale, LEAST_VARIANCE)
        return np.asarray(
            gammaln(0.5 * (freedom + 1.0))
            - gammaln(0.5 * freedom)
            - 0.5 * np.log(np.pi * freedom * scale)
            - 0.5 * (freedom + 1.0) * np.log1p((x - self.mean) ** 2 / (freedom * scale))
        )


def score(
    target: ArrayLike,
    shadows: ArrayLike,
    member_mask: ArrayLike,
    *,
    variant: Variant = "online",
    predictive: Predictive = "student-t",
) -> FloatArray:
    """Return the log-ratio of each record's density with it in training to that without.

    Target [N], shadows [K, N] (any floating type, mapped from disk or not), all φ; member_mask bool
    [K, N]; float64 [N] in nats.

    For IN and OUT each: the prior has μ0 and v the mean and variance of all such signals about
    their common mean, κ0 = 1, and β0 = v (α0 - 1), or v at α0 = 1. With n signals of the record,
    their mean m and squared deviations S: κ = κ0 + n, α = α0 + n/2,
    β = β0 + S/2 + κ0 n (m - μ0)² / (2 κ), μ = (κ0 μ0 + n m) / κ.

    predictive:
    - `student-t` (BaVarIA-t, α0 = 2): 2α degrees of freedom, location μ, scale² β (κ+1) / (α κ).
    - `normal` (BaVarIA-n, α0 = 1): N(m, β / (α-1)).
    variant: `online` as above; `offline` takes the prior itself for IN, so that a record needs no
    IN model of its own, but some record must have one.

    Raises ValueError when shapes do not fit, a value is nan, a name is unknown, or a record has no
    OUT shadow model (online: no IN either; offline: no record has one).
    Source: Brännvall 2026 (arXiv 2603.11799), the constants as in the code published with it.
    """
    one_of(variant, Variant, "variant")
    one_of(predictive, Predictive, "predictive")
    goal, signals, mask = shadow_matrices(target, shadows, member_mask)
    require_shadows(mask, least_in=1 if variant == "online" else 0, least_out=1)
    inside, out = moments(signals, mask)
    if not inside.count.any():
        raise ValueError("no record has an IN shadow model: what IN looks like cannot be learned")
    alpha = ALPHA[predictive]
    with_record = _posterior(inside, alpha) if variant == "online" else _prior(inside, alpha)
    without = _posterior(out, alpha)
    result = with_record.log_density(goal, predictive) - without.log_density(goal, predictive)
    return np.asarray(result, dtype=np.float64)


def _prior(found: Moments, alpha: float) -> _Belief:
    beta = found.spread * (alpha - 1.0) if alpha > 1.0 else found.spread
    centre = np.array([found.centre])
    return _Belief(centre, np.array([KAPPA]), np.array([alpha]), np.array([beta]), centre)


def _posterior(found: Moments, alpha: float) -> _Belief:
    prior, n = _prior(found, alpha), found.count
    kappa = KAPPA + n
    apart = KAPPA * n * (found.mean - prior.mean) ** 2 / (2.0 * kappa)
    return _Belief(
        mean=(KAPPA * prior.mean + n * found.mean) / kappa,
        kappa=kappa,
        alpha=alpha + 0.5 * n,
        beta=prior.beta + 0.5 * found.squares + apart,
        plain=found.mean,
    )


def _function(evidence: Evidence) -> FloatArray:
    assert evidence.shadows is not None and evidence.member_mask is not None
    return score(evidence.phi(), evidence.shadows, evidence.member_mask)


BAVARIA = Attack(
    name="bavaria",
    title="BaVarIA, online, Student-t",
    tier=Tier.TRAINING,
    needs=("target", "shadows", "member_mask"),
    claim="The output on forgotten records is likelier from a model that was trained on them, with "
    "variances that few shadow models can support.",
    source="Brännvall 2026",
    function=_function,
    population=False,
)
