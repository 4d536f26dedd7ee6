"""Shadow models: networks trained like the target on random halves of the records.

They show what the target's output on a record looks like when the record was in the training set
and when it was not. Masks come in pairs of complementary halves, so that every record is in exactly
half of the shadow models and none lacks either side.

torch is imported when training starts, not with this module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import BoolArray, Float32Array, IntArray, integer_labels
from attacks.recipe import Recipe

if TYPE_CHECKING:
    from attacks.ensemble import Ensemble, Layers

Progress = Callable[[int, int], None]

# Parameters trained together: larger groups save calls, but fall out of the processor's cache.
GROUP_PARAMETERS = 2_000_000
GROUP_BATCH_FLOATS = 1 << 24  # one gathered batch of all networks of a group: 64 MB


@dataclass(frozen=True)
class Shadows:
    """Signals of shadow models, as the attacks read them.

    pool: φ float32 [K, N] of the records of the pool. member_mask: bool [K, N], whether shadow k
    trained on record n. query: φ float32 [K, M] of records no shadow trained on, None without them.
    """

    pool: Float32Array
    member_mask: BoolArray
    query: Float32Array | None
    widths: tuple[int, ...]
    recipe: Recipe
    seed: int


def paired_masks(
    n_shadows: int, n_records: int, seed: int, *, subjects: ArrayLike | None = None
) -> BoolArray:
    """Return which shadow trains on which record, bool [K, N], every record in exactly K/2.

    Shadows 2j and 2j+1 take complementary random halves. With subjects [N] (any identifiers) the
    halves are of subjects, so that all records of a person are in or out together. Raises
    ValueError on an odd number of shadows, fewer than 2, or fewer than 2 records or subjects.
    """
    if n_shadows < 2 or n_shadows % 2:
        raise ValueError(f"the number of shadow models must be even and at least 2, is {n_shadows}")
    unit: NDArray[Any] = np.arange(n_records)
    if subjects is not None:
        names = np.asarray(subjects)
        if names.shape != (n_records,):
            raise ValueError(f"subjects must have shape ({n_records},), found {names.shape}")
        unit = np.unique(names, return_inverse=True)[1]
    n_units = int(unit.max()) + 1 if n_records else 0
    if n_units < 2:
        raise ValueError(f"halves need at least 2 records or subjects, found {n_units}")
    generator = np.random.default_rng(seed)
    mask = np.zeros((n_shadows, n_units), dtype=np.bool_)
    for j in range(0, n_shadows, 2):
        mask[j, generator.permutation(n_units)[: n_units // 2]] = True
        mask[j + 1] = ~mask[j]
    return mask[:, unit]


def train_shadows(
    widths: Sequence[int],
    x: NDArray[Any],
    y: ArrayLike,
    *,
    shadows: int,
    recipe: Recipe | None = None,
    seed: int = 0,
    member_mask: BoolArray | None = None,
    query: tuple[NDArray[Any], ArrayLike] | None = None,
    progress: Progress | None = None,
) -> Shadows:
    """Train shadow models on halves of the pool and return their φ on pool and query records.

    widths: (inputs, hidden..., classes). x [N, ...] flattened, y int [N]; member_mask bool [K, N]
    replaces the paired halves; query a pair of records and labels outside the pool. `progress` is
    called with (done, total) batches. The same arguments give the same result. Raises ValueError
    when shapes, labels or masks do not fit.
    """
    recipe = Recipe() if recipe is None else recipe
    features, labels = training_arrays(widths, x, y)
    other = None if query is None else training_arrays(widths, *query)
    if member_mask is None:
        mask = paired_masks(shadows, len(labels), seed)
    else:
        mask = np.asarray(member_mask, dtype=np.bool_)
    if mask.shape != (shadows, len(labels)):
        raise ValueError(f"member_mask must be {(shadows, len(labels))}, found {mask.shape}")
    pool = np.empty(mask.shape, dtype=np.float32)
    outside = None if other is None else np.empty((shadows, len(other[1])), dtype=np.float32)
    for rows, trained in trained_groups(widths, features, labels, mask, recipe, seed, progress):
        pool[rows] = trained.signals(features, labels)
        if outside is not None and other is not None:
            outside[rows] = trained.signals(*other)
    return Shadows(pool, mask, outside, tuple(widths), recipe, seed)


def trained_groups(
    widths: Sequence[int],
    x: Float32Array,
    y: IntArray,
    member_mask: BoolArray,
    recipe: Recipe,
    seed: int,
    progress: Progress | None = None,
) -> Iterator[tuple[slice, Ensemble]]:
    """Train the networks of the mask group by group, yielding each group's rows and networks.

    Records as `training_arrays` returns them. Memory is bounded by the group: what is needed of a
    group must be taken before the next. Raises ValueError on a network without enough records.
    """
    from attacks import ensemble

    k = len(member_mask)
    if member_mask.sum(axis=1).min() < 1:
        raise ValueError("every shadow model needs at least one training record")
    per_batch = recipe.batch_size * max(widths)
    size = min(GROUP_PARAMETERS // ensemble.parameters(widths), GROUP_BATCH_FLOATS // per_batch)
    groups = [slice(a, min(k, a + max(1, size))) for a in range(0, k, max(1, size))]
    # of all networks, so that a network does not depend on the group it falls into
    batches = ensemble.batches_per_epoch(member_mask, recipe.batch_size)
    done, total = 0, recipe.epochs * batches * len(groups)

    def count() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    for rows in groups:
        trained = ensemble.train(
            widths,
            x,
            y,
            member_mask[rows],
            recipe,
            seed,
            first=rows.start,
            batches=batches,
            on_step=count,
        )
        yield rows, trained


def train_one(
    widths: Sequence[int],
    x: NDArray[Any],
    y: ArrayLike,
    recipe: Recipe | None = None,
    seed: int = 0,
    *,
    progress: Progress | None = None,
) -> Layers:
    """Train a single network on all records: a target, or a retrained reference.

    Arguments as for `train_shadows`; returns (weight [out, in], bias [out]) float32 per layer, with
    ReLU between. Raises ValueError when shapes or labels do not fit.
    """
    features, labels = training_arrays(widths, x, y)
    everything = np.ones((1, len(labels)), dtype=np.bool_)
    recipe = Recipe() if recipe is None else recipe
    [(_, trained)] = trained_groups(widths, features, labels, everything, recipe, seed, progress)
    return trained.layers(0)


def training_arrays(
    widths: Sequence[int], x: NDArray[Any], y: ArrayLike
) -> tuple[Float32Array, IntArray]:
    """Return records float32 [N, d] and labels int64 [N], checked against the architecture.

    Raises ValueError when the widths are not at least two positive numbers, the records are not
    finite or of another width, or a label is out of range.
    """
    if len(widths) < 2 or min(widths) < 1 or widths[-1] < 2:
        raise ValueError(
            f"widths must be inputs, hidden layers and at least 2 classes: {tuple(widths)}"
        )
    array = np.asarray(x)
    if len(array) == 0:
        raise ValueError("there are no records")
    features = np.ascontiguousarray(array.reshape(len(array), -1), dtype=np.float32)
    if features.shape[1] != widths[0]:
        raise ValueError(f"records have {features.shape[1]} features, the network {widths[0]}")
    if not np.isfinite(features).all():
        raise ValueError("records hold values that are nan or infinite")
    return features, integer_labels(y, "labels", len(array), widths[-1])


def forward(layers: Layers, x: NDArray[Any]) -> Float32Array:
    """Return the logits float32 [N, C] of one network on records [N, ...], without torch."""
    h = np.asarray(x, dtype=np.float32).reshape(len(x), -1)
    for i, (weight, bias) in enumerate(layers):
        h = h @ weight.T + bias
        if i < len(layers) - 1:
            h = np.maximum(h, 0.0)
    return np.asarray(h, dtype=np.float32)
