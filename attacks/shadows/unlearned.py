"""Shadow models that were made to forget: what the audited unlearning method does to a record.

A model that unlearned a record is not one that never saw it, nor one that still knows it. Here the
method itself, whatever it is, is applied to shadow models with forget sets of their own, as large
as the request under audit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import KEPT, NEVER, UNLEARNED, BoolArray, Float32Array, IntArray
from attacks.interface import Predict
from attacks.shadows.architecture import Architecture, as_architecture
from attacks.shadows.masks import paired_masks
from attacks.shadows.recipe import Recipe
from attacks.shadows.training import Progress, trained_groups, training_arrays
from attacks.shadows.work import announcement, duration
from attacks.signals import rescaled_logit

if TYPE_CHECKING:
    from attacks.shadows.evaluate import Layers

LEAST_UNLEARNED = 2  # shadow models that unlearned a record, for a mean and a spread
LONG = 10.0  # seconds of unlearning, of which an estimate is said
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

    K is the number of shadow models times `sets`, the forget sets of each, in that order. Rows of
    one model differ by the unlearning alone: how much is known is a matter of models, not of rows.
    """

    signals: Float32Array
    role: NDArray[np.int8]
    sets: int = 1


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
    subjects: ArrayLike | None = None,
    as_given: NDArray[Any] | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> UnlearnedShadows:
    """Train shadow models on halves of the judged records, unlearn, and return φ of all judged.

    Architecture, or widths; pool x [P, ...], y int [P], of which the first `judged` are the records
    judged and unlearned, forgotten and unseen ones alike; of the rest each model trains on
    `rest_size` at random, half when None. forget_size: as many as the request under audit has.
    sets: how many forget sets each model is unlearned with, one at a time from the same
    trained weights; more need fewer trained models. subjects: of the judged records, as for
    `unlearning_roles`; a model whose half of them has fewer records trains on more of the rest.
    as_given: the pool [P, ...] as `unlearn` takes and asks it, where x was prepared for training.
    `progress` is called with (done, total), `say` with lines on how much work it is.
    Memory holds one group of trained models and one unlearned model. The same arguments give the
    same result if `unlearn` does.

    Raises ValueError as `unlearning_roles` does, when records or labels do not fit, and, naming the
    shadow model, when `unlearn` raises or answers with anything but finite logits [B, C].
    Source of the design: Hayes et al. 2024; the balance over records is ours.
    """
    recipe = Recipe() if recipe is None else recipe
    kind = as_architecture(architecture)
    features, labels = training_arrays(kind, x, y)
    records = np.asarray(x if as_given is None else as_given)
    if len(records) != len(labels):
        raise ValueError(f"as_given must hold {len(labels)} records as x, found {len(records)}")
    if not 2 <= judged <= len(labels):
        raise ValueError(f"judged must lie in 2..{len(labels)}, found {judged}")
    role = unlearning_roles(shadows, judged, forget_size, seed, sets=sets, subjects=subjects)
    trained_on = role[::sets] != NEVER
    rest = _drawn(trained_on, len(labels) - judged, rest_size, seed)
    mask = np.concatenate([trained_on, rest], axis=1)
    if say is not None:
        line = announcement("shadow models", kind, features, labels, mask, recipe)
        say(f"{line}; then {len(role)} times unlearned, up to {forget_size} records at once")
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
            begun = perf_counter()
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
            took = (perf_counter() - begun) * len(role)
            if say is not None and row == 0 and took > LONG:
                say(f"{len(role)} times unlearned: about {duration(took)}, an estimate")
    return UnlearnedShadows(signals, role, sets)


def unlearning_roles(
    shadows: int,
    judged: int,
    forget_size: int,
    seed: int,
    *,
    sets: int = 1,
    subjects: ArrayLike | None = None,
) -> NDArray[np.int8]:
    """Return what each record is to each unlearned shadow model, int8 [shadows · sets, judged].

    Every record is never seen (0) in exactly half of the rows; in the others it is unlearned (1) or
    kept (2). Each row unlearns exactly `forget_size` records, those of one shadow model are
    distinct over its sets, and records that were unlearned least so far come first. With subjects
    [judged] (any identifiers) all records of a person have one role in a row, which then unlearns
    as many people as `forget_size` records hold. Raises ValueError on an odd number of shadow
    models, forget sets that half of the records cannot hold, people with more records than a forget
    set or who fill less than half of one, or so few models that a record would be unlearned less
    than twice.
    """
    if forget_size < 1 or sets < 1:
        raise ValueError(f"forget_size and sets must be at least 1, found {forget_size} and {sets}")
    if sets * forget_size > judged // 2:
        raise ValueError(
            f"{sets} forget set(s) of {forget_size} do not fit in the half of {judged} judged "
            "records that a shadow model trains on"
        )
    trained = paired_masks(shadows, judged, seed, subjects=subjects)
    names = np.arange(judged) if subjects is None else np.asarray(subjects)
    first, unit, sizes = np.unique(
        names, return_index=True, return_inverse=True, return_counts=True
    )[1:]
    if sizes.max() > forget_size:
        raise ValueError(
            f"one person has {sizes.max()} of the judged records, more than the {forget_size} of "
            "the request: no forget set like it holds them all"
        )
    generator = np.random.default_rng([seed, 1])
    role = np.where(trained, np.int8(KEPT), np.int8(NEVER)).repeat(sets, axis=0)
    times = np.zeros(len(sizes), dtype=np.int64)
    for k, mine in enumerate(trained[:, first]):
        people = generator.permutation(np.flatnonzero(mine))
        people = people[np.argsort(times[people], kind="stable")]
        chosen = _forget_sets(sizes[people], forget_size, sets)
        times[people[chosen >= 0]] += 1
        row_of = np.full(len(sizes), -1)
        row_of[people] = chosen
        rows = row_of[unit]  # of each record
        [which] = np.nonzero(rows >= 0)
        role[k * sets + generator.permutation(sets)[rows[which]], which] = UNLEARNED
    unlearned = role == UNLEARNED
    least = int(unlearned.sum(axis=1).min())
    if 2 * least < forget_size:
        raise ValueError(
            f"people's records do not fit together: a forget set would hold {least} records where "
            f"the request has {forget_size}"
        )
    if unlearned.sum(axis=0).min() < LEAST_UNLEARNED:
        raise ValueError(
            f"{len(role)} unlearned models with {forget_size} record(s) each are too few for "
            f"{judged} judged records: each is to be unlearned at least {LEAST_UNLEARNED} times, "
            f"which takes about {rows_needed(judged, forget_size, LEAST_UNLEARNED)}, of at least "
            f"{2 * LEAST_UNLEARNED} shadow models"
        )
    return role


def _forget_sets(sizes: NDArray[np.int64], room: int, sets: int) -> NDArray[np.int64]:
    """Return into which set each of some people goes, in this order, -1 for none; sizes: records.

    Each goes into the set with the most room, if that holds all their records: where there are too
    few people the sets are about equally short.
    """
    if (sizes == 1).all():
        place = np.arange(len(sizes)) // room
        return np.where(place < sets, place, -1)
    left = np.full(sets, room)
    found = np.full(len(sizes), -1)
    for index, size in enumerate(sizes):
        emptiest = int(left.argmax())
        if left[emptiest] >= size:
            found[index] = emptiest
            left[emptiest] -= size
    return found


def rows_needed(judged: int, forget_size: int, times: int) -> int:
    """Return how many unlearned models it takes to unlearn every record this many times."""
    return -(-judged * times // forget_size)


def _drawn(judged: BoolArray, rest: int, size: int | None, seed: int) -> BoolArray:
    """Return which shadow trains on which record of the rest of the pool, bool [shadows, rest].

    judged: bool [shadows, judged], what it trains on already. `size` of the rest go to a model
    that has half of these, more or fewer to another.
    """
    size = rest // 2 if size is None else size
    if not 0 <= size <= rest:
        raise ValueError(f"rest_size must lie in 0..{rest}, found {size}")
    more = judged.shape[1] // 2 - judged.sum(axis=1)
    generator = np.random.default_rng([seed, 2])
    first = np.arange(rest) < np.clip(size + more, 0, rest)[:, None]
    return generator.permuted(first, axis=1)


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
