"""Many small networks trained as one: stacked parameters, batched products, one optimiser step.

A shadow model of a few thousand weights spends most of its training waiting for the next call. Here
every layer of all K networks is one product of stacked matrices (`layers`), and all parameters lie
in one buffer, so that the optimiser is a single fused pass.

What network k becomes depends on its own records, the recipe, the number of batches of an epoch
and (seed, k) only: not on which others are trained beside it, up to the rounding of the batched
product, which may choose another order of summation for another number of networks. The same group
on the same machine with the same number of threads gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.arrays import BoolArray, Float32Array, FloatArray, IntArray
from attacks.shadows.architecture import Architecture, Conv, Dense, as_architecture
from attacks.shadows.device import float32_products
from attacks.shadows.evaluate import Layers
from attacks.shadows.groups import batches_per_epoch, query_records
from attacks.shadows.layers import Chain, parts_of, starts_with_image
from attacks.shadows.recipe import Recipe
from attacks.signals import rescaled_logit

Step = Callable[[], None]

PARALLEL_OPERATIONS = 5e8  # of one step, below which a second thread does not pay


@dataclass(frozen=True)
class Ensemble:
    """K trained networks of one architecture.

    parameters: float32 [K · parameters of one], on the device they were trained on, as
    `layers.parts_of` cuts it.
    """

    architecture: Architecture
    parameters: torch.Tensor

    @property
    def size(self) -> int:
        return int(self.parameters.numel()) // self.architecture.parameters

    def layers(self, k: int) -> Layers:
        """Return network k as (weight, bias [out]) float32 for each layer that has parameters.

        Weights are [out, in] of a dense layer, [out, in, kernel height, kernel width] of a
        convolution.
        """
        found = []
        kinds = [layer for layer in self.architecture.layers if isinstance(layer, (Dense, Conv))]
        for layer, part in zip(kinds, parts_of(self.parameters, self.architecture), strict=True):
            weight, bias = part.weight[k].cpu().numpy(), part.bias[k, 0].cpu().numpy()
            if isinstance(layer, Conv):
                weight = weight.reshape(*layer.kernel, -1, layer.channels).transpose(3, 2, 0, 1)
            else:
                weight = weight.T
            found.append((np.array(weight, order="C"), np.array(bias)))
        return found

    def logits(self, x: Float32Array) -> Float32Array:
        """Return the logits of all networks on records [N, d], float32 [K, N, C]."""
        blocks = list(self._blocks(x))
        return np.concatenate(blocks, axis=1) if len(blocks) > 1 else blocks[0]

    def signals(self, x: Float32Array, y: IntArray) -> Float32Array:
        """Return φ of every record under every network, float32 [K, N].

        Records float32 [N, d], labels int64 [N]. Memory is bounded by the block of records.
        """
        result = np.empty((self.size, len(x)), dtype=np.float32)
        start = 0
        for logits in self._blocks(x):
            k, n, classes = logits.shape
            part = slice(start, start + n)
            values: FloatArray = rescaled_logit(logits.reshape(k * n, classes), np.tile(y[part], k))
            result[:, part] = values.reshape(k, n)
            start += n
        return result

    def _blocks(self, x: Float32Array) -> Iterator[Float32Array]:
        """Yield the logits [K, n, C] of one block of records after the other."""
        device = self.parameters.device
        rows = query_records(self.architecture, self.size, device.type)
        chain = Chain(self.architecture, self.parameters)
        with torch.no_grad(), float32_products(device.type):
            for start in range(0, max(1, len(x)), rows):
                # A copy in memory of torch's own, so that the rounding never depends on where the
                # caller's array happens to lie.
                records = _as_read(x[start : start + rows], self.architecture, device).clone()
                yield np.array(chain.forward(records[None]).cpu().numpy())


def train(
    architecture: Architecture | Sequence[int],
    x: Float32Array,
    y: IntArray,
    member_mask: BoolArray,
    recipe: Recipe,
    seed: int,
    *,
    first: int = 0,
    batches: int | None = None,
    device: str = "cpu",
    on_step: Step | None = None,
) -> Ensemble:
    """Train one network for each row of the mask on the records it marks.

    Records float32 [N, d], labels int64 [N], member_mask bool [K, N]; network i of this call is
    number first + i, which together with the seed fixes its start and its batches. `batches` per
    epoch: from the network with the most records when None. `on_step` is called after every batch.
    Raises ValueError when a network has fewer records than an epoch has batches.
    """
    kind = as_architecture(architecture)
    steps = batches_per_epoch(member_mask, recipe.batch_size) if batches is None else batches
    schedule = _Schedule([np.flatnonzero(row) for row in member_mask], steps)
    generators = [np.random.default_rng([seed, first + k]) for k in range(len(member_mask))]
    where = torch.device(device)
    flat = _initial(kind, generators).to(where)
    flat.grad = torch.zeros_like(flat)
    chain = Chain(kind, flat, flat.grad)
    optimiser = _optimiser(flat, recipe)
    features = _as_read(x, kind, where)
    labels = torch.from_numpy(y).to(where)
    share = schedule.share.to(where)
    batch = features.new_empty((*schedule.shape, *features.shape[1:]))
    with torch.no_grad(), float32_products(where.type):
        for _ in range(recipe.epochs):
            epoch = schedule.epoch(generators).to(where)
            for rows, part in zip(epoch, share, strict=True):
                torch.index_select(features, 0, rows.view(-1), out=batch.flatten(0, 1))
                chain.backward(_loss_gradient(chain.forward(batch), labels[rows], part))
                optimiser.step()
                if on_step is not None:
                    on_step()
    flat.grad = None
    return Ensemble(kind, flat)


@contextmanager
def threads_for(operations: float) -> Iterator[None]:
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


@contextmanager
def one_thread_each() -> Iterator[int]:
    """Let every thread that is started inside compute alone; yields how many threads torch had.

    The order of summation, and so the last bit, then does not depend on the number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def _as_read(x: Float32Array, architecture: Architecture, device: torch.device) -> torch.Tensor:
    """Return records [N, d] flat, or [N, height, width, channels], as the first layer reads."""
    own = x if x.flags.writeable else x.copy()  # torch will not look at what it may not write
    records = torch.from_numpy(own).to(device)
    if not starts_with_image(architecture):
        return records
    return records.view(-1, *architecture.input_shape).permute(0, 2, 3, 1).contiguous()


def _initial(architecture: Architecture, generators: Sequence[np.random.Generator]) -> torch.Tensor:
    """Return the parameter buffer, drawn evenly from ±1/sqrt(fan-in).

    Layer by layer weights, then biases; weights as [in, out], or [kernel height, kernel width, in,
    out].
    """
    flat = torch.empty(len(generators) * architecture.parameters)
    parts = parts_of(flat, architecture)
    for k, generator in enumerate(generators):
        for part in parts:
            bound = np.float32(part.weight.shape[1] ** -0.5)
            for array in (part.weight[k], part.bias[k]):
                draw = generator.random(tuple(array.shape), dtype=np.float32)
                array.copy_(torch.from_numpy((2.0 * draw - 1.0) * bound))
    return flat


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


class _Schedule:
    """Which records are in which batch: every network goes once an epoch through its own records.

    A network with fewer records than another has smaller batches, padded with records of share 0,
    so that all batches have one shape. Raises ValueError when a network has fewer records than an
    epoch has batches.
    """

    def __init__(self, members: Sequence[NDArray[np.intp]], steps: int) -> None:
        counts = np.array([m.size for m in members])
        if counts.min() < steps:
            raise ValueError(
                f"a network has {counts.min()} training records, fewer than the {steps} batches "
                "of an epoch"
            )
        self.members = members
        bounds = (np.arange(steps + 1)[:, None] * counts) // steps  # [steps + 1, K]
        sizes = np.diff(bounds, axis=0)[:, :, None]  # [steps, K, 1]
        place = np.arange(-(-int(counts.max()) // steps))
        real = place < sizes
        self._places = np.where(real, bounds[:-1, :, None] + place, 0)  # [steps, K, B]
        self.share = torch.from_numpy(np.where(real, np.float32(1) / sizes, 0).astype(np.float32))
        self.shape = self._places.shape[1:]

    def epoch(self, generators: Sequence[np.random.Generator]) -> torch.Tensor:
        """Return the record numbers of the batches of one epoch, int64 [steps, K, B]."""
        rows = np.empty(self._places.shape, dtype=np.int64)
        for k, (generator, own) in enumerate(zip(generators, self.members, strict=True)):
            rows[:, k] = generator.permutation(own)[self._places[:, k]]
        return torch.from_numpy(rows)


def _loss_gradient(logits: torch.Tensor, y: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return the gradient of each network's mean cross-entropy by its logits [K, B, C].

    y [K, B], share [K, B]: 1 / records of the batch, 0 for padding.
    """
    # Classes in the middle: a softmax over short rows would be several times as slow.
    delta = torch.softmax(logits.transpose(1, 2).contiguous(), dim=1)
    delta.scatter_add_(1, y[:, None], delta.new_full((1, 1, 1), -1.0).expand(y[:, None].shape))
    delta *= share[:, None]
    return delta.transpose(1, 2).contiguous()
