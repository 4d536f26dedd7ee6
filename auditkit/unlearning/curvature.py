"""Second derivatives of a network's loss: products with a vector, extreme eigenvalues, inverses.

The Hessian of a network is too large to be written down, but its product with a vector costs about
two passes over the records (Pearlmutter: Fast exact multiplication by the Hessian. Neural
Computation 6, 1994), and that is all that is needed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from auditkit.unlearning.trainable import BATCH, Trainable

Product = Callable[[Tensor], Tensor]

SMALLEST = 1e-12  # of the first step's length, at which a Krylov space has ended
TRIES = 6  # doublings of the scale before a recursion is given up


def gradient(model: Trainable, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient [d] of the mean cross entropy over records in all weights."""
    total = torch.zeros(sum(w.numel() for w in model.weights), dtype=model.dtype)
    for start in range(0, len(x), BATCH):
        part = slice(start, start + BATCH)
        loss = F.cross_entropy(model(x[part]), y[part], reduction="sum") / len(x)
        total += _flat(torch.autograd.grad(loss, list(model.weights)))
    return total


def hessian_product(model: Trainable, x: Tensor, y: Tensor, vector: Tensor) -> Tensor:
    """Return [d]: the Hessian of the mean cross entropy over records times a vector [d].

    The second derivative of a ReLU is taken as 0, also where it has none.
    """
    weights = list(model.weights)
    total = torch.zeros_like(vector)
    for start in range(0, len(x), BATCH):
        part = slice(start, start + BATCH)
        loss = F.cross_entropy(model(x[part]), y[part], reduction="sum") / len(x)
        first = _flat(torch.autograd.grad(loss, weights, create_graph=True))
        total += _flat(torch.autograd.grad(first @ vector, weights, materialize_grads=True))
        model.passes.add(len(x[part]), backward=True)  # the second differentiation
    return total


def extreme_eigenvalues(product: Product, start: Tensor, steps: int) -> tuple[float, float]:
    """Return estimates of the least and the greatest eigenvalue of a symmetric matrix.

    Lanczos with full reorthogonalisation from `start` [d] (Golub, Van Loan: Matrix Computations,
    10.3), widened by the residuals of the two Ritz values. An eigenvalue whose direction the start
    hardly has may lie outside.
    """
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, len(start))):
        image = product(basis[-1])
        diagonal.append(float(image @ basis[-1]))
        for _ in range(2):  # once leaves rounding behind
            for vector in basis:
                image = image - (image @ vector) * vector
        length = float(image.norm())
        beside.append(length)
        if length <= SMALLEST * max(1.0, abs(diagonal[0])):
            break
        basis.append(image / length)
    size = len(diagonal)
    between = np.array(beside[: size - 1])
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(between, 1) + np.diag(between, -1))
    errors = np.abs(beside[-1] * vectors[-1])
    return float(values[0] - errors[0]), float(values[-1] + errors[-1])


def inverse_product(
    products: Callable[[np.random.Generator], Product],
    vector: Tensor,
    *,
    scale: float,
    steps: int,
    samples: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, float]:
    """Return (A⁻¹ v, scale used): the mean of `samples` recursions v + (I − Aₜ / scale) u.

    `products` draws one Aₜ, an unbiased sample of the positive definite A. A recursion that grows
    instead of settling starts again with twice the scale, which must exceed what any Aₜ has for an
    eigenvalue. Source: Agarwal, Bullins, Hazan: Second-order stochastic optimization for machine
    learning in linear time. JMLR 18, 2017 (LiSSA). ArithmeticError when no scale helps.
    """
    for _ in range(TRIES):
        generator = np.random.default_rng([seed, 54])
        total = torch.zeros_like(vector)
        tick = count(1)
        for _ in range(samples):
            sum_ = vector.clone()
            for _ in range(steps):
                sum_ = vector + sum_ - products(generator)(sum_) / scale
                if progress is not None:
                    progress(next(tick), steps * samples)
            total += sum_ / scale
        # An inverse with eigenvalues of at least a > 0 cannot make more than steps / scale of v.
        length, most = float(total.norm()) / samples, float(vector.norm()) * (steps + 1) / scale
        if math.isfinite(length) and length <= most:
            return total / samples, scale
        scale *= 2.0
    raise ArithmeticError(f"the recursion grows at every scale up to {scale / 2.0:g}")


def random_direction(size: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Return a normal vector [size]."""
    values: NDArray[np.float64] = np.random.default_rng([seed, 55]).standard_normal(size)
    return torch.tensor(values, dtype=dtype)


def _flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])
