"""Training in steps that are given: to write a log of it, and to go a logged stretch again."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.unlearning.trainable import Passes, Trainable
from auditkit.unlearning.training import (
    Progress,
    Recipe,
    fresh,
    largest_of,
    one_thread,
    optimizer_of,
    step,
    tensors,
)
from auditkit.unlearning.training_log import (
    TrainingLog,
    batch_table,
    digest_table,
    moments_of,
)
from auditkit.unlearning.weights import weights_of

CHECKPOINTS = 20
"""Stretches of a log unless said: of a network of 11,000 weights with Adam they take 3 MB."""

_BUFFERS = {0: (), 1: ("momentum_buffer",), 2: ("exp_avg", "exp_avg_sq")}


@dataclass(frozen=True, eq=False)
class State:
    """Where training is: weights [P], and the optimiser's moments [M, P]."""

    weights: NDArray[np.floating]
    moments: NDArray[np.floating]


class Trainer:
    """An architecture, records [N] and a recipe; goes steps from any state, on one thread.

    With `exact` in float64, whatever the network's own floats are.
    """

    def __init__(
        self,
        network: Network,
        records: Records,
        recipe: Recipe,
        largest: float,
        *,
        exact: bool = False,
        passes: Passes | None = None,
    ) -> None:
        self.model = Trainable(network, largest=largest, passes=passes)
        if exact:
            self.model.double()
        self.recipe = recipe
        self.x, self.y = tensors(self.model, records)
        self.optimizer = optimizer_of(self.model, recipe)

    def load(self, state: State, done: int) -> None:
        """Go to a state in which `done` steps had been taken."""
        with torch.no_grad():
            _fill(list(self.model.weights), state.weights)
        names = _BUFFERS[moments_of(self.recipe)]
        self.optimizer.state.clear()
        for weight in self.model.weights:
            held = {name: torch.zeros_like(weight) for name in names}
            if len(names) == 2:
                held["step"] = torch.tensor(float(done))
            if held:
                self.optimizer.state[weight] = held
        for name, values in zip(names, state.moments, strict=True):
            _fill([self.optimizer.state[w][name] for w in self.model.weights], values)

    def state(self) -> State:
        """Return the state as it is now, in the floats that it is held in."""
        weights = _flat(list(self.model.weights))
        names = _BUFFERS[moments_of(self.recipe)]
        rows = [
            _flat([self._held(weight, name) for weight in self.model.weights]) for name in names
        ]
        moments = np.stack(rows) if rows else np.zeros((0, len(weights)), weights.dtype)
        return State(weights, moments)

    def go(self, rows: NDArray[np.int64]) -> None:
        """Take one step with these records; Diverged when the loss is not finite."""
        chosen = torch.as_tensor(rows)
        step(self.optimizer, F.cross_entropy(self.model(self.x[chosen]), self.y[chosen]))

    def run(self, batches: Iterable[NDArray[np.int64]]) -> None:
        """Take a step with each batch; Diverged when a loss is not finite."""
        with one_thread():
            for rows in batches:
                self.go(rows)

    def gradient(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the gradient [P] of the mean loss over these records, where training is now."""
        chosen = torch.as_tensor(rows)
        loss = F.cross_entropy(self.model(self.x[chosen]), self.y[chosen])
        parts = torch.autograd.grad(loss, list(self.model.weights))
        return torch.cat([part.reshape(-1) for part in parts])

    def _held(self, weight: Tensor, name: str) -> Tensor:
        held = self.optimizer.state[weight].get(name)
        return torch.zeros_like(weight) if held is None else held


def train_with_log(
    network: Network,
    records: Records,
    recipe: Recipe,
    seed: int,
    key: bytes,
    *,
    every: int | None = None,
    order_seed: int | None = None,
    progress: Progress | None = None,
    passes: Passes | None = None,
) -> tuple[Network, TrainingLog]:
    """Return what `train_from_scratch` returns, and its log.

    `every`: steps from one checkpoint to the next; `key`: the submission's record key. With
    `order_seed`, the auditor's, the records are first put in `content_order`, and that seed draws
    the first weights and the batches in place of `seed`: of given records and a given recipe the
    owner has no choice left. Diverged when a loss becomes nan.
    """
    if order_seed is not None:
        records, seed = records.take(content_order(records)), order_seed
    table = batch_table(len(records), recipe, seed)
    start = fresh(network, seed, largest=largest_of(records))
    return log_of(
        network, records, digest_table(records, key), table, recipe, seed, start,
        every=every, progress=progress, passes=passes,
    )  # fmt: skip


def content_order(records: Records) -> NDArray[np.int64]:
    """Return the rows of records by a hash of their content alone, which has no key to choose."""
    table = digest_table(records, b"")
    return np.asarray(np.lexsort(table.T[::-1]), dtype=np.int64)


def log_of(
    network: Network,
    records: Records,
    digests: NDArray[np.uint8],
    table: NDArray[np.int32],
    recipe: Recipe,
    seed: int,
    start: Trainable,
    *,
    every: int | None = None,
    progress: Progress | None = None,
    passes: Passes | None = None,
) -> tuple[Network, TrainingLog]:
    """Train from `start` in the batches of `table` [T, B] and return the network with the log."""
    largest = largest_of(records)
    trainer = Trainer(network, records, recipe, largest, passes=passes)
    first = _flat(list(start.weights))
    trainer.load(State(first, np.zeros((moments_of(recipe), len(first)), first.dtype)), 0)
    total = len(table)
    every = every or math.ceil(total / CHECKPOINTS)
    steps = sorted({*range(0, total, every), total})
    states = [trainer.state()]
    for begin, end in zip(steps, steps[1:], strict=False):
        trainer.run(row[row >= 0].astype(np.int64) for row in table[begin:end])
        states.append(trainer.state())
        if progress is not None:
            progress(end, total)
    log = TrainingLog(
        recipe,
        seed,
        largest,
        digests,
        table,
        np.array(steps, np.int64),
        np.stack([state.weights for state in states]),
        np.stack([state.moments for state in states]),
    )
    return trainer.model.network(), log


def network_at(network: Network, log: TrainingLog, checkpoint: int) -> Network:
    """Return the network that the weights of a checkpoint make; Diverged when it is none."""
    model = Trainable(network, largest=log.largest)
    with torch.no_grad():
        _fill(list(model.weights), log.weights[checkpoint])
    return model.network()


def trained_weights(network: Network, trained: Network, largest: float) -> NDArray[np.floating]:
    """Return the weights [P] of a trained network as an optimiser would see them."""
    assert len(weights_of(network)) == len(weights_of(trained))
    return _flat(list(Trainable(trained, largest=largest).weights))


def first_weights(network: Network, log: TrainingLog) -> NDArray[np.floating]:
    """Return the weights [P] that the log's seed draws."""
    return _flat(list(fresh(network, log.seed, largest=log.largest).weights))


def _flat(parts: list[Tensor]) -> NDArray[np.floating]:
    values: NDArray[np.floating] = torch.cat([p.detach().reshape(-1) for p in parts]).numpy()
    return values.copy()


def _fill(parts: list[Tensor], values: NDArray[np.floating]) -> None:
    """Copy a vector [P] into tensors, one after the other."""
    at = 0
    given = torch.tensor(np.array(values))
    for part in parts:
        part.copy_(given[at : at + part.numel()].reshape(part.shape))
        at += part.numel()
