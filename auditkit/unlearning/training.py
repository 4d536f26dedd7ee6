"""Training on the owner's side: from scratch as the original was, and the steps methods share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from auditkit.network.graph import Convolution, Dense, Network
from auditkit.records import Records
from auditkit.unlearning.trainable import Diverged, Passes, Trainable

Progress = Callable[[int, int], None]
Optimizer = Literal["adam", "sgd"]
Loss = Callable[[Tensor, Tensor], Tensor]
LARGEST_RATE = 1e30  # beyond which the numbers of an optimiser are none


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; ValueError on values that train nothing.

    weight_decay: added to the gradient (L2). momentum: of sgd.
    """

    epochs: int = 30
    learning_rate: float = 1e-3
    batch_size: int = 64
    weight_decay: float = 0.0
    optimizer: str = "adam"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"epochs and batch_size must be at least 1, found {self.epochs}, {self.batch_size}"
            )
        rates = (self.learning_rate, self.weight_decay, self.momentum)
        if not all(math.isfinite(r) and r >= 0.0 for r in rates) or rates[0] == 0.0:
            raise ValueError(
                "learning_rate must be positive, weight_decay and momentum not below 0"
            )
        if max(rates) > LARGEST_RATE:
            raise ValueError(
                f"learning_rate, weight_decay and momentum must be {LARGEST_RATE:g} at most"
            )
        if self.optimizer not in get_args(Optimizer):
            raise ValueError(f"optimizer must be one of {', '.join(get_args(Optimizer))}")


PRACTICE = Recipe(epochs=40, learning_rate=2e-3)
"""Of the small networks that requests to practise on are made for; commands take it unless told."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread meanwhile.

    Networks as small as these gain nothing from more, and on a busy machine the threads wait for
    each other: ten times slower. It also keeps the order in which numbers are summed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def optimizer_of(model: Trainable, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over the model's weights."""
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
    return torch.optim.Adam(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )


def tensors(model: Trainable, records: Records) -> tuple[Tensor, Tensor]:
    """Return records as (x [N, *input_shape], y int64 [N])."""
    return model.tensor(records.x), torch.tensor(np.array(records.y))


def batches(count: int, size: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the indices 0..count-1 in random order, `size` at a time, the last perhaps fewer."""
    order = generator.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


def endless(count: int, size: int, generator: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield `batches` again and again, each time in another order."""
    while True:
        yield from batches(count, size, generator)


def fit(
    model: Trainable,
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    seed: int,
    *,
    loss: Loss = F.cross_entropy,
    progress: Progress | None = None,
) -> None:
    """Minimise a loss of (logits [B, C], y [B]) over records, epoch by epoch; Diverged on nan.

    y int64 labels [N], or whatever else the loss takes, one row a record.
    """
    generator = np.random.default_rng([seed, 11])
    optimizer = optimizer_of(model, recipe)
    steps = -(-len(x) // recipe.batch_size) * recipe.epochs
    done = 0
    with one_thread():
        for _ in range(recipe.epochs):
            for rows in batches(len(x), recipe.batch_size, generator):
                step(optimizer, loss(model(x[rows]), y[rows]))
                done += 1
                if progress is not None:
                    progress(done, steps)


def step(optimizer: torch.optim.Optimizer, value: Tensor, *, clip: float | None = None) -> float:
    """Take one optimiser step down `value` (a scalar) and return it; Diverged when not finite.

    `clip` bounds the Euclidean norm of the whole gradient.
    """
    number = float(value.detach())
    if not math.isfinite(number):
        raise Diverged(f"the loss became {number}")
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    if clip is not None:
        weights = [w for group in optimizer.param_groups for w in group["params"]]
        torch.nn.utils.clip_grad_norm_(weights, clip)
    optimizer.step()
    return number


def fresh(
    network: Network, seed: int, *, largest: float = 1.0, passes: Passes | None = None
) -> Trainable:
    """Return the architecture with new random weights, as if nothing had been learned.

    Weights and biases are uniform within 1/√(inputs of a unit), the usual default of PyTorch.
    """
    model = Trainable(network, largest=largest, passes=passes)
    generator = np.random.default_rng([seed, 12])
    learned = [n.operator for n in network.nodes if isinstance(n.operator, (Dense, Convolution))]
    with torch.no_grad():
        for position, operator in enumerate(learned):
            bound = 1.0 / math.sqrt(int(np.prod(operator.weight.shape[1:])))
            for weight in (model.weights[2 * position], model.weights[2 * position + 1]):
                values = generator.uniform(-bound, bound, tuple(weight.shape))
                weight.copy_(torch.as_tensor(values, dtype=weight.dtype))
    return model


def train_from_scratch(
    network: Network,
    records: Records,
    recipe: Recipe,
    seed: int,
    *,
    progress: Progress | None = None,
    passes: Passes | None = None,
) -> Network:
    """Return the architecture trained on records by the recipe, from new random weights."""
    model = fresh(network, seed, largest=largest_of(records), passes=passes)
    fit(model, *tensors(model, records), recipe, seed, progress=progress)
    return model.network()


def largest_of(*sets: Records | None) -> float:
    """Return the greatest absolute number in some records, 1 when there is none but 0."""
    return (
        max((float(np.abs(r.x).max()) for r in sets if r is not None and len(r)), default=1.0)
        or 1.0
    )
