"""Many small networks trained as one: stacked parameters, batched products, one optimiser step.

A shadow model of a few thousand weights spends most of its training waiting for the next call. Here
every layer of all K networks is one product of stacked matrices, and all parameters lie in one
buffer [K, P], so that the optimiser is a single fused pass. The gradient of a ReLU network under
cross-entropy is short enough to write down, which saves recording it.

What network k becomes depends on its own records, the recipe, the number of batches of an epoch
and (seed, k) only: not on which others are trained beside it, up to the rounding of the batched
product.

This is the only module of the package that imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.arrays import BoolArray, Float32Array, FloatArray, IntArray
from attacks.shadows.recipe import Recipe
from attacks.signals import rescaled_logit

Layers = list[tuple[Float32Array, Float32Array]]  # (weight [out, in], bias [out]) per layer
Step = Callable[[], None]

QUERY_FLOATS = 1 << 24  # activations of one query block: 64 MB
PARALLEL_OPERATIONS = 5e8  # of one step, below which a second thread does not pay


@dataclass(frozen=True)
class Ensemble:
    """K trained networks of one architecture.

    weights: per layer float32 [K, in, out]; biases: per layer float32 [K, 1, out].
    """

    widths: tuple[int, ...]
    weights: tuple[torch.Tensor, ...]
    biases: tuple[torch.Tensor, ...]

    @property
    def size(self) -> int:
        return int(self.weights[0].shape[0])

    def layers(self, k: int) -> Layers:
        """Return network k as (weight [out, in], bias [out]) float32 per layer, ReLU between."""
        return [
            (np.ascontiguousarray(w[k].numpy().T), np.array(b[k, 0].numpy()))
            for w, b in zip(self.weights, self.biases, strict=True)
        ]

    def logits(self, x: Float32Array) -> Float32Array:
        """Return the logits of all networks on records [N, d], float32 [K, N, C]."""
        with torch.no_grad():
            h = torch.from_numpy(x).expand(self.size, *x.shape)
            return np.asarray(_forward(h, self.weights, self.biases)[-1].numpy())

    def signals(self, x: Float32Array, y: IntArray) -> Float32Array:
        """Return φ of every record under every network, float32 [K, N].

        Records float32 [N, d], labels int64 [N]. Memory is bounded by the block of records.
        """
        result = np.empty((self.size, len(x)), dtype=np.float32)
        rows = max(1, QUERY_FLOATS // (self.size * max(self.widths)))
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            logits = self.logits(x[part])
            k, n, classes = logits.shape
            values: FloatArray = rescaled_logit(logits.reshape(k * n, classes), np.tile(y[part], k))
            result[:, part] = values.reshape(k, n)
        return result


def train(
    widths: Sequence[int],
    x: Float32Array,
    y: IntArray,
    member_mask: BoolArray,
    recipe: Recipe,
    seed: int,
    *,
    first: int = 0,
    batches: int | None = None,
    on_step: Step | None = None,
) -> Ensemble:
    """Train one network for each row of the mask on the records it marks.

    Records float32 [N, d], labels int64 [N], member_mask bool [K, N]; network i of this call is
    number first + i, which together with the seed fixes its start and its batches. `batches` per
    epoch: from the network with the most records when None. `on_step` is called after every batch.
    Raises ValueError when a network has fewer records than an epoch has
    batches.
    """
    members = [np.flatnonzero(row) for row in member_mask]
    steps = batches_per_epoch(member_mask, recipe.batch_size) if batches is None else batches
    generators = [np.random.default_rng([seed, first + k]) for k in range(len(members))]
    flat, weights, biases = _initial(widths, generators)
    gradient = torch.zeros_like(flat)
    grad_w, grad_b = _views(gradient, widths)
    flat.grad = gradient
    optimiser = _optimiser(flat, recipe)
    features, labels = torch.tensor(x), torch.tensor(y)
    work = 6 * parameters(widths) * int(member_mask.sum()) / max(steps, 1)
    with torch.no_grad(), _threads_for(work):
        for _ in range(recipe.epochs):
            for rows, share in _batches(members, steps, generators):
                _gradient(features[rows], labels[rows], share, weights, biases, grad_w, grad_b)
                optimiser.step()
                if on_step is not None:
                    on_step()
    flat.grad = None
    return Ensemble(tuple(widths), tuple(weights), tuple(biases))


@contextmanager
def _threads_for(operations: float) -> Iterator[None]:
    """Use one thread where a step is so small that handing it out costs more than it saves.

    Threads that wait for each other are slow on a busy machine above all.
    """
    before = torch.get_num_threads()
    if operations < PARALLEL_OPERATIONS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def batches_per_epoch(member_mask: BoolArray, batch_size: int) -> int:
    """Return into how many batches an epoch is cut: that of the network with the most records."""
    return -(-int(member_mask.sum(axis=1).max()) // batch_size)


def _views(
    flat: torch.Tensor, widths: Sequence[int]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the layers' weights [K, in, out] and biases [K, 1, out] as views of one buffer.

    The buffer is cut by layer first, so that each view is contiguous for the batched product.
    """
    k = flat.numel() // parameters(widths)
    weights, biases, at = [], [], 0
    for fan_in, fan_out in pairwise(widths):
        size = k * fan_in * fan_out
        weights.append(flat[at : at + size].view(k, fan_in, fan_out))
        at += size
        biases.append(flat[at : at + k * fan_out].view(k, 1, fan_out))
        at += k * fan_out
    return weights, biases


def parameters(widths: Sequence[int]) -> int:
    """Return the number of weights and biases of one network."""
    return sum((a + 1) * b for a, b in pairwise(widths))


def _initial(
    widths: Sequence[int], generators: Sequence[np.random.Generator]
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Return the parameter buffer and its views, drawn evenly from ±1/sqrt(fan-in)."""
    flat = torch.empty(len(generators) * parameters(widths))
    weights, biases = _views(flat, widths)
    for k, generator in enumerate(generators):
        for w, b in zip(weights, biases, strict=True):
            bound = w.shape[1] ** -0.5
            for part in (w[k], b[k]):
                draw = generator.random(tuple(part.shape), dtype=np.float32)
                part.copy_(torch.from_numpy((2.0 * draw - 1.0) * np.float32(bound)))
    return flat, weights, biases


def _optimiser(flat: torch.Tensor, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            [flat],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
    # Elementwise, so one buffer for all networks is the same as one optimiser for each.
    return torch.optim.Adam(
        [flat], lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )


def _batches(
    members: Sequence[NDArray[np.intp]],
    steps: int,
    generators: Sequence[np.random.Generator],
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the batches of one epoch: record numbers [K, B] and each record's share [K, B, 1].

    Every network goes once through its own records in its own order. A network with fewer records
    than another has smaller batches, padded with records of share 0.
    """
    counts = np.array([m.size for m in members])
    if counts.min() < steps:
        raise ValueError(
            f"a network has {counts.min()} training records, fewer than the {steps} batches of an "
            "epoch"
        )
    orders = [g.permutation(m) for g, m in zip(generators, members, strict=True)]
    bounds = (np.arange(steps + 1)[:, None] * counts) // steps  # [steps + 1, K]
    sizes = np.diff(bounds, axis=0)
    for step in range(steps):
        widest = int(sizes[step].max())
        rows = np.empty((len(members), widest), dtype=np.int64)
        share = np.zeros((len(members), widest, 1), dtype=np.float32)
        for k, order in enumerate(orders):
            size = sizes[step, k]
            rows[k, :size] = order[bounds[step, k] : bounds[step + 1, k]]
            rows[k, size:] = order[0]
            share[k, :size] = 1.0 / size
        yield torch.from_numpy(rows), torch.from_numpy(share)


def _forward(
    h: torch.Tensor, weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """Return the input of every layer and the logits, each [K, B, width]."""
    states = [h]
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        h = torch.baddbmm(b, h, w)
        if i < len(weights) - 1:
            h = h.relu_()
        states.append(h)
    return states


def _gradient(
    x: torch.Tensor,
    y: torch.Tensor,
    share: torch.Tensor,
    weights: Sequence[torch.Tensor],
    biases: Sequence[torch.Tensor],
    grad_w: Sequence[torch.Tensor],
    grad_b: Sequence[torch.Tensor],
) -> None:
    """Write the gradient of each network's mean cross-entropy into grad_w and grad_b.

    x [K, B, d], y [K, B], share [K, B, 1]: 1/B for a record of the batch, 0 for padding.
    """
    states = _forward(x, weights, biases)
    delta = torch.softmax(states[-1], dim=2)
    delta.scatter_add_(2, y[:, :, None], torch.full_like(share, -1.0))
    delta *= share
    for i in reversed(range(len(weights))):
        torch.bmm(states[i].transpose(1, 2), delta, out=grad_w[i])
        torch.sum(delta, dim=1, keepdim=True, out=grad_b[i])
        if i > 0:
            delta = torch.bmm(delta, weights[i].transpose(1, 2))
            delta *= states[i] > 0  # the ReLU passes nothing where its output is 0
