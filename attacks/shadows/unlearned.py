"""Shadow models that were made to forget: what the audited unlearning method does to a record.

A model that unlearned a record is not one that never saw it, nor one that still knows it. Here the
method itself, whatever it is, is applied to shadow models with forget sets of their own, as large
as the request under audit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import KEPT, NEVER, UNLEARNED, BoolArray, Float32Array, IntArray
from attacks.interface import Predict
from attacks.shadows.architecture import Architecture, as_architecture
from attacks.shadows.masks import paired_masks
from attacks.shadows.recipe import Recipe
from attacks.shadows.training import Progress, trained_groups, training_arrays
from attacks.signals import rescaled_logit

if TYPE_CHECKING:
    from attacks.shadows.evaluate import Layers

LEAST_UNLEARNED = 2  # shadow models that unlearned a record, for a mean and a spread
QUERY_RECORDS = 1 << 16  # asked of an unlearned model at once


@dataclass(frozen=True, eq=False)
class Labelled:
    """Records x [n, ...] as the caller gave them, and their labels y int64 [n]."""

    x: NDArray[Any]
    y: IntArray

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, eq=False)
class Trained:
    """A shadow model to be unlearned.

    layers: (weight, bias) float32 per layer of the architecture. complement: those of the model
    that trained on the other half of the judged records, and so saw none that this one is to
    unlearn. number: which shadow model it is; with the seed, for a method that draws.
    """

    architecture: Architecture
    layers: Layers
    complement: Layers
    recipe: Recipe
    number: int
    seed: int


Unlearn = Callable[[Trained, Labelled, Labelled, Labelled], Predict]
"""(model, forgotten, retained, unseen) -> the unlearned model as a function to logits [B, C].

The unseen records are some that the model did not train on and that are not judged, possibly none.
"""


@dataclass(frozen=True, eq=False)
class UnlearnedShadows:
    """Signals after unlearning. signals: φ float32 [K, N]; role: int8 [K, N], 0 never seen,
    1 trained on and unlearned, 2 trained on and kept.

    K is the number of shadow models times the forget sets of each, in that order. Rows of one
    model differ by the unlearning alone: how much is known is a matter of models, not of rows.
    """

    signals: Float32Array
    role: NDArray[np.int8]


def unlearn_shadows(
    architecture: Architecture | Sequence[int],
    x: NDArray[Any],
    y: ArrayLike,
    unlearn: Unlearn,
    *,
    judged: int,
    forget_size: int,
    shadows: int,
    sets: int = 1,
    rest_size: int | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> UnlearnedShadows:
    """Train shadow models on halves of the judged records, unlearn, and return φ of all judged.

    Architecture, or widths; pool x [P, ...], y int [P], of which the first `judged` are the records
    judged and unlearned, forgotten and unseen ones alike; of the rest each model trains on
    `rest_size` at random, half when None. forget_size: as many as the request under audit has.
    sets: how many forget sets each model is unlearned with, one at a time from the same
    trained weights; more need fewer trained models. `progress` is called with (done, total).
    Memory holds one group of trained models and one unlearned model. The same arguments give the
    same result if `unlearn` does.

    Raises ValueError as `unlearning_roles` does, when records or labels do not fit, and, naming the
    shadow model, when `unlearn` raises or answers with anything but finite logits [B, C].
    Source of the design: Hayes et al. 2024; the balance over records is ours.
    """
    recipe = Recipe() if recipe is None else recipe
    kind = as_architecture(architecture)
    features, labels = training_arrays(kind, x, y)
    records = np.asarray(x)
    if not 2 <= judged <= len(labels):
        raise ValueError(f"judged must lie in 2..{len(labels)}, found {judged}")
    role = unlearning_roles(shadows, judged, forget_size, seed, sets=sets)
    mask = np.concatenate(
        [role[::sets] != NEVER, _drawn(shadows, len(labels) - judged, rest_size, seed)], axis=1
    )
    signals = np.empty(role.shape, dtype=np.float32)
    count = _Count(progress, len(role))
    trained = trained_groups(kind, features, labels, mask, recipe, seed, count.trained)
    for number, layers, complement in _in_pairs(trained):
        model = Trained(kind, layers, complement, recipe, number, seed)
        others = judged + np.flatnonzero(~mask[number, judged:])
        unseen = Labelled(records[others], labels[others])
        for row in range(number * sets, (number + 1) * sets):
            kept = mask[number].copy()
            kept[:judged] &= role[row] != UNLEARNED
            forgotten = np.flatnonzero(role[row] == UNLEARNED)
            try:
                predict = unlearn(
                    model,
                    Labelled(records[forgotten], labels[forgotten]),
                    Labelled(records[kept], labels[kept]),
                    unseen,
                )
                signals[row] = _signals(predict, records[:judged], labels[:judged], kind.classes)
            except Exception as error:  # the caller's method may raise anything
                told = f"{type(error).__name__}: {error}"
                raise ValueError(f"unlearning shadow model {number} failed: {told}") from error
            count.unlearned()
    return UnlearnedShadows(signals, role)


def unlearning_roles(
    shadows: int, judged: int, forget_size: int, seed: int, *, sets: int = 1
) -> NDArray[np.int8]:
    """Return what each record is to each unlearned shadow model, int8 [shadows · sets, judged].

    Every record is never seen (0) in exactly half of the rows; in the others it is unlearned (1) or
    kept (2). Each row unlearns exactly `forget_size` records, those of one shadow model are
    distinct over its sets, and records that were unlearned least so far come first. Raises
    ValueError on an odd number of shadow models, forget sets that half of the records cannot hold,
    or so few that a record would be unlearned less than twice.
    """
    if forget_size < 1 or sets < 1:
        raise ValueError(f"forget_size and sets must be at least 1, found {forget_size} and {sets}")
    if sets * forget_size > judged // 2:
        raise ValueError(
            f"{sets} forget set(s) of {forget_size} do not fit in the half of {judged} judged "
            "records that a shadow model trains on"
        )
    trained = paired_masks(shadows, judged, seed)
    generator = np.random.default_rng([seed, 1])
    role = np.where(trained, np.int8(KEPT), np.int8(NEVER)).repeat(sets, axis=0)
    times = np.zeros(judged, dtype=np.int64)
    for k, mine in enumerate(trained):
        records = generator.permutation(np.flatnonzero(mine))
        least = records[np.argsort(times[records], kind="stable")][: sets * forget_size]
        times[least] += 1
        rows = k * sets + np.arange(sets).repeat(forget_size)
        role[rows, generator.permutation(least)] = UNLEARNED
    if times.min() < LEAST_UNLEARNED:
        raise ValueError(
            f"{len(role)} unlearned models with {forget_size} record(s) each are too few for "
            f"{judged} judged records: each is to be unlearned at least {LEAST_UNLEARNED} times, "
            f"which takes about {rows_needed(judged, forget_size, LEAST_UNLEARNED)}, of at least "
            f"{2 * LEAST_UNLEARNED} shadow models"
        )
    return role


def rows_needed(judged: int, forget_size: int, times: int) -> int:
    """Return how many unlearned models it takes to unlearn every record this many times."""
    return -(-judged * times // forget_size)


def _drawn(shadows: int, rest: int, size: int | None, seed: int) -> BoolArray:
    """Return which shadow trains on which record of the rest of the pool, bool [shadows, rest]."""
    size = rest // 2 if size is None else size
    if not 0 <= size <= rest:
        raise ValueError(f"rest_size must lie in 0..{rest}, found {size}")
    generator = np.random.default_rng([seed, 2])
    first = np.arange(rest) < size
    return generator.permuted(np.tile(first, (shadows, 1)), axis=1)


def _in_pairs(groups: Iterator[tuple[slice, Any]]) -> Iterator[tuple[int, Layers, Layers]]:
    """Yield each network's number, its layers and those of the network on the other half."""
    waiting = None
    for rows, group in groups:
        for number in range(rows.start, rows.stop):
            layers = group.layers(number - rows.start)
            if waiting is None:
                waiting = layers
                continue
            yield number - 1, waiting, layers
            yield number, layers, waiting
            waiting = None


def _signals(predict: Predict, x: NDArray[Any], y: IntArray, classes: int) -> Float32Array:
    """Return φ [N] of what a model answers, asked block by block; ValueError on a bad answer."""
    result = np.empty(len(y), dtype=np.float32)
    for start in range(0, len(y), QUERY_RECORDS):
        part = slice(start, start + QUERY_RECORDS)
        logits = np.asarray(predict(x[part]))
        if logits.shape != (len(y[part]), classes):
            raise ValueError(
                f"the unlearned model must answer with logits {(len(y[part]), classes)}, "
                f"found {logits.shape}"
            )
        phi = rescaled_logit(logits, y[part])
        if np.abs(phi).max() > np.finfo(np.float32).max:
            raise ValueError("the unlearned model's logits are beyond what float32 holds")
        result[part] = phi
    return result


class _Count:
    """Training steps and unlearned models as one count of steps."""

    def __init__(self, progress: Progress | None, rows: int) -> None:
        self._progress, self._rows = progress, rows
        self._steps, self._total, self._done = 0, 0, 0

    def trained(self, done: int, total: int) -> None:
        self._steps, self._total = done, total
        self._tell()

    def unlearned(self) -> None:
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._steps + self._done, self._total + self._rows)
