"""Certified Newton: one step towards the optimum of the retained records, noise, and an (ε, δ).

If the distance from the step's end to the retrained network is bounded, Gaussian noise makes the
two hard to tell apart, and how hard can be stated. The method is here for the statement: its bound
rests on constants that nobody can check from files, and for networks of any use it promises
nothing. An auditor must see that.

With w the weights, L the mean cross entropy over retained records and H its Hessian at w:

    w − (H + λI)⁻¹ ∇L(w), drawn back into the ball ‖·‖ ≤ C, plus noise of σ per weight

and the distance to retrained weights w′ in the same ball is at most

    Δ = (2C(MC + λ) + G + r) / (λ + λ_min)

where M is a Lipschitz constant of the Hessian and λ_min its least eigenvalue at w. Without G and r
this is theorem 3.4 of the source. G is the length of ∇L(w′), 0 only if the retraining converged; r
is the residual of the linear system as it was solved, measured afterwards in place of the source's
bound on it in probability. The authors take ε = (Δ / σ) √(2 ln(1.25 / δ)), the classical Gaussian
mechanism, which is proved for ε ≤ 1 alone. Above that it is stated here no smaller than the noise
allows, so as to be true. Assumed and not measured: M, G, and that the retrained weights lie in the
ball. That M exists is itself an assumption that no network with ReLU fulfils. λ_min is an estimate.

The noise is drawn from the seed, so that a run can be repeated. Whoever knows the seed can take it
off again, and against them there is no guarantee at all: an owner who wants one must keep it.

The authors' code (github.com/zhangbinchi/certified-deep-unlearning) has C = 20, σ = 0.001 and
λ = 0.01 as defaults, and solves by ten LiSSA recursions of 1000 steps at a scale of 1000 with
batches of 10. So few steps at that scale end where λ = 1 would: that λ is ours, with a scale from
the measured curvature, two recursions of 100 steps, batches of 64, and σ = 0.01.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditkit.certificate.guarantee import (
    CLASSICAL_LIMIT,
    classical_epsilon,
    least_epsilon,
)
from auditkit.unlearning import curvature
from auditkit.unlearning.curvature import Product
from auditkit.unlearning.interface import (
    Guarantee,
    Method,
    Refused,
    Scenario,
    Task,
    Unlearned,
)
from auditkit.unlearning.trainable import Diverged, Trainable
from auditkit.unlearning.training import tensors

CURVATURE_RECORDS = 256  # retained records on which the extreme eigenvalues are estimated
CURVATURE_STEPS = 20
LEAST_DELTA = 1e-30  # far below one in all the people there are


@dataclass(frozen=True)
class Settings:
    """The step, its noise and the constants that its guarantee assumes; ValueError outside them.

    damping: λ, raised to twice the most negative curvature where it would be too little.
    norm_constraint: C, raised to the length of the weights where these are longer.
    hessian_lipschitz: M. retrained_gradient: G. samples, steps, batch_size: of the recursion.
    """

    damping: float = 1.0
    norm_constraint: float = 20.0
    sigma: float = 0.01
    delta: float = 1e-5
    hessian_lipschitz: float = 1.0
    retrained_gradient: float = 0.0
    samples: int = 2
    steps: int = 100
    batch_size: int = 64

    def __post_init__(self) -> None:
        if min(self.samples, self.steps, self.batch_size) < 1:
            raise ValueError("samples, steps and batch_size must be at least 1")
        positive = (self.damping, self.norm_constraint, self.sigma)
        if not all(math.isfinite(number) and number > 0.0 for number in positive):
            raise ValueError("damping, norm_constraint and sigma must be positive")
        assumed = (self.hessian_lipschitz, self.retrained_gradient)
        if not all(math.isfinite(number) and number >= 0.0 for number in assumed):
            raise ValueError("hessian_lipschitz and retrained_gradient must not be below 0")
        if not LEAST_DELTA <= self.delta < 1.0:
            raise ValueError(f"delta must lie between {LEAST_DELTA:g} and 1")


def run(task: Task, settings: Settings) -> Unlearned:
    """Take the Newton step on the retained loss, add noise, and state what that guarantees."""
    model = Trainable(task.network, passes=task.passes)
    x, y = tensors(model, task.kept)
    weights = _vector(model)
    least, greatest = _extremes(model, x, y, task.seed)
    damping = max(settings.damping, -2.0 * least)
    slope = curvature.gradient(model, x, y)

    def sample(generator: np.random.Generator) -> Product:
        rows = np.arange(len(x))
        if settings.batch_size < len(x):
            rows = generator.integers(len(x), size=settings.batch_size)
        return lambda v: curvature.hessian_product(model, x[rows], y[rows], v) + damping * v

    try:
        newton, scale = curvature.inverse_product(
            sample, slope, scale=2.0 * max(greatest, 0.0) + damping, steps=settings.steps,
            samples=settings.samples, seed=task.seed, progress=task.progress,
        )  # fmt: skip
    except ArithmeticError as error:
        raise Diverged(str(error)) from None
    residual = curvature.hessian_product(model, x, y, newton) + damping * newton - slope
    radius = max(settings.norm_constraint, float(weights.norm()))
    stepped = weights - newton
    length = float(stepped.norm())
    stepped = stepped * min(1.0, radius / length)
    _set(model, stepped + settings.sigma * _noise(model, task.seed))
    guarantee = guarantee_of(settings, radius, damping, least, float(residual.norm()))
    return Unlearned(
        model.network(),
        guarantee=guarantee,
        shortfall=_nothing_certified(guarantee),
        notes={
            "epsilon_classical": _classical(guarantee),
            "gradient_norm": float(slope.norm()),
            "step_norm": float(newton.norm()),
            "relative_residual": float(residual.norm() / slope.norm()),
            "weights_norm": float(weights.norm()),
            "drawn_back": length > radius,
            "greatest_eigenvalue": greatest,
            "scale": scale,
        },
    )


def guarantee_of(
    settings: Settings, radius: float, damping: float, least: float, residual: float
) -> Guarantee:
    """Return the (ε, δ) that follows from the bound Δ, with every constant it rests on."""
    # (H + λI) times the distance is (H + λI)(w − w′) − (∇L(w) − ∇L(w′)) + ∇L(w′) + the residual,
    # at most M‖w − w′‖²/2 + λ‖w − w′‖ + G + r, with ‖w − w′‖ ≤ 2C. Drawing back into a ball that
    # w′ lies in adds nothing.
    constant = 2.0 * radius * (settings.hessian_lipschitz * radius + damping)
    bound = (constant + settings.retrained_gradient + residual) / (damping + least)
    premises = {
        "bound": bound,
        "sigma": settings.sigma,
        "norm_constraint": radius,
        "damping": damping,
        "hessian_lipschitz": settings.hessian_lipschitz,
        "least_eigenvalue": least,
        "retrained_gradient": settings.retrained_gradient,
        "residual": residual,
    }
    if not math.isfinite(bound):
        raise Refused("its bound is no number: hessian_lipschitz or norm_constraint is too large")
    stated = (bound, settings.sigma, settings.delta)
    return Guarantee(
        max(classical_epsilon(*stated), least_epsilon(*stated)), settings.delta, premises
    )


def _nothing_certified(guarantee: Guarantee) -> str:
    if guarantee.epsilon <= CLASSICAL_LIMIT:
        return ""
    return (
        f"it certifies nothing: ε is {guarantee.epsilon:.1e} at δ {guarantee.delta:g} "
        f"({_classical(guarantee):.1e} by a formula that holds up to {CLASSICAL_LIMIT:g}), and "
        "its noise follows from the seed"
    )


def _classical(guarantee: Guarantee) -> float:
    return classical_epsilon(
        guarantee.premises["bound"], guarantee.premises["sigma"], guarantee.delta
    )


def _extremes(model: Trainable, x: Tensor, y: Tensor, seed: int) -> tuple[float, float]:
    """Return estimates of the extreme eigenvalues of the Hessian, on some of the records."""
    rows = np.random.default_rng([seed, 56]).permutation(len(x))[:CURVATURE_RECORDS]
    some = (x[rows], y[rows])
    start = curvature.random_direction(len(_vector(model)), model.dtype, seed)
    return curvature.extreme_eigenvalues(
        lambda v: curvature.hessian_product(model, *some, v), start, CURVATURE_STEPS
    )


def _noise(model: Trainable, seed: int) -> Tensor:
    size = len(_vector(model))
    return torch.tensor(np.random.default_rng([seed, 57]).standard_normal(size), dtype=model.dtype)


def _vector(model: Trainable) -> Tensor:
    return torch.cat([weight.detach().reshape(-1) for weight in model.weights])


def _set(model: Trainable, vector: Tensor) -> None:
    with torch.no_grad():
        sizes = [weight.numel() for weight in model.weights]
        for weight, part in zip(model.weights, vector.split(sizes), strict=True):
            weight.copy_(part.reshape(weight.shape))


METHOD = Method(
    name="certified-newton",
    title="Certified Newton step on the retained records, with noise",
    source="Zhang, Dong, Wang, Li: Towards certified unlearning for deep neural networks. "
    "ICML 2024, arXiv 2408.00920",
    scenarios=(Scenario.SUBSET,),
    needs=("retain",),
    defaults=Settings(),
    run=run,
    refuses={
        Scenario.CLASS: "its authors remove random records, and one step from where the network "
        "is does not reach a network that never knew the class",
        Scenario.BACKDOOR: "its authors remove random records, and one step from where the "
        "network is does not reach one that never knew the trigger",
    },
)
