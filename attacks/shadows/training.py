"""Training shadow models and taking their signals, group by group."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import BoolArray, Float32Array, IntArray, integer_labels
from attacks.shadows.architecture import Architecture, as_architecture
from attacks.shadows.fingerprint import fingerprint
from attacks.shadows.masks import paired_masks
from attacks.shadows.recipe import Recipe
from attacks.shadows.score_matrix import ScoreMatrix, stored_matrix

if TYPE_CHECKING:
    from attacks.shadows.ensemble import Ensemble, Layers

Progress = Callable[[int, int], None]

# Parameters trained together: larger groups save calls, but fall out of the processor's cache.
GROUP_PARAMETERS = 2_000_000
GROUP_BATCH_FLOATS = 1 << 24  # one gathered batch of all networks of a group: 64 MB
SIGNAL_FLOATS = 1 << 24  # signals of a group that are taken at once: 64 MB


@dataclass(frozen=True)
class Shadows:
    """Signals of shadow models, as the attacks read them.

    pool: φ float32 [K, N] of the records of the pool; in a file and read-only when the scores are
    kept in a folder. member_mask: bool [K, N], whether shadow k
    trained on record n. query: φ float32 [K, M] of records no shadow trained on, None without them.
    """

    pool: Float32Array
    member_mask: BoolArray
    query: Float32Array | None
    architecture: Architecture
    recipe: Recipe
    seed: int


def train_shadows(
    architecture: Architecture | Sequence[int],
    x: NDArray[Any],
    y: ArrayLike,
    *,
    shadows: int,
    recipe: Recipe | None = None,
    seed: int = 0,
    member_mask: BoolArray | None = None,
    query: tuple[NDArray[Any], ArrayLike] | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Shadows:
    """Train shadow models on halves of the pool and return their φ on pool and query records.

    Architecture, or widths (inputs, hidden..., classes) of a fully connected one; x [N, ...],
    reshaped to its input, y int [N]; member_mask bool [K, N] replaces the paired halves; query a
    pair of records and labels outside the pool. `progress` is called with (done, total) batches,
    `say` with one line before the first. The same arguments give the same result. cache: a folder
    that keeps the scores, see `score_matrix`: a run that ended early goes on from it, one for more
    shadow models starts from it, and the signals come back as memory-mapped files. Raises
    ValueError when shapes, labels or masks do not fit, ScoreMatrixError when the folder does not.
    """
    recipe = Recipe() if recipe is None else recipe
    kind = as_architecture(architecture)
    features, labels = training_arrays(kind, x, y)
    other = None if query is None else training_arrays(kind, *query)
    if member_mask is None:
        mask = paired_masks(shadows, len(labels), seed)
    else:
        mask = np.asarray(member_mask, dtype=np.bool_)
    if mask.shape != (shadows, len(labels)):
        raise ValueError(f"member_mask must be {(shadows, len(labels))}, found {mask.shape}")
    groups = group_slices(kind, recipe, shadows)
    with _matrix(kind, recipe, seed, (features, labels), other, mask, groups, cache) as matrix:
        if say is not None:
            say(_announcement(kind, recipe, mask, matrix))
        for rows, trained in trained_groups(
            kind, features, labels, mask, recipe, seed, progress, groups=matrix.missing
        ):
            _take(trained, matrix.pool[rows], features, labels)
            if matrix.query is not None and other is not None:
                _take(trained, matrix.query[rows], *other)
            matrix.keep(rows)
        pool, outside = matrix.result()
    return Shadows(pool, mask, outside, kind, recipe, seed)


def _matrix(
    architecture: Architecture,
    recipe: Recipe,
    seed: int,
    pool: tuple[Float32Array, IntArray],
    query: tuple[Float32Array, IntArray] | None,
    mask: BoolArray,
    groups: Sequence[slice],
    cache: Path | None,
) -> AbstractContextManager[ScoreMatrix]:
    """Return where the scores go: memory, or the folder."""
    more = None if query is None else len(query[1])
    if cache is None:
        return nullcontext(ScoreMatrix(mask.shape[0], mask.shape[1], more, groups))
    from attacks.shadows import ensemble

    batches = ensemble.batches_per_epoch(mask, recipe.batch_size)
    parts = fingerprint(architecture, recipe, seed, pool, query, batches)
    return stored_matrix(cache, parts, mask, more, groups)


def _take(trained: Ensemble, out: Float32Array, x: Float32Array, y: IntArray) -> None:
    """Write the signals [K, N] of one group into `out`, in blocks of records."""
    step = max(1, SIGNAL_FLOATS // len(out))
    for start in range(0, len(y), step):
        part = slice(start, start + step)
        out[:, part] = trained.signals(x[part], y[part])


def _announcement(
    architecture: Architecture, recipe: Recipe, mask: BoolArray, matrix: ScoreMatrix
) -> str:
    """Return in one line what is about to be trained."""
    k, n = mask.shape
    widths = architecture.widths
    kind = "convolutional" if widths is None else "-".join(map(str, widths))
    left = sum(rows.stop - rows.start for rows in matrix.missing)
    note = f"; {matrix.note}, {left} to train" if matrix.note else ""
    return (
        f"{k} shadow models ({kind}): {recipe.epochs} epochs on {round(mask.sum() / k)} of {n} "
        f"records each{note}"
    )


def trained_groups(
    architecture: Architecture,
    x: Float32Array,
    y: IntArray,
    member_mask: BoolArray,
    recipe: Recipe,
    seed: int,
    progress: Progress | None = None,
    *,
    groups: Sequence[slice] | None = None,
) -> Iterator[tuple[slice, Ensemble]]:
    """Train the networks of the mask group by group, yielding each group's rows and networks.

    Records as `training_arrays` returns them. Memory is bounded by the group: what is needed of a
    group must be taken before the next. groups: those of `group_slices` that are to be trained, all
    when None; a group comes out the same whichever others are trained. Raises ValueError on a
    network without enough records.
    """
    from attacks.shadows import ensemble

    if groups is None:
        groups = group_slices(architecture, recipe, len(member_mask))
    if member_mask.sum(axis=1).min() < 1:
        raise ValueError("every shadow model needs at least one training record")
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
            widths_of(architecture),
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


def group_slices(architecture: Architecture, recipe: Recipe, shadows: int) -> list[slice]:
    """Return which networks are trained together: rows of the member mask, in order.

    The same for the same arguments, whatever memory is free at the moment, so that a run that was
    interrupted finds its groups again.
    """
    per_batch = recipe.batch_size * max(map(math.prod, architecture.shapes))
    size = min(GROUP_PARAMETERS // architecture.parameters, GROUP_BATCH_FLOATS // per_batch)
    step = max(1, size)
    return [slice(a, min(shadows, a + step)) for a in range(0, shadows, step)]


def train_one(
    architecture: Architecture | Sequence[int],
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
    kind = as_architecture(architecture)
    features, labels = training_arrays(kind, x, y)
    everything = np.ones((1, len(labels)), dtype=np.bool_)
    recipe = Recipe() if recipe is None else recipe
    [(_, trained)] = trained_groups(kind, features, labels, everything, recipe, seed, progress)
    return trained.layers(0)


def training_arrays(
    architecture: Architecture, x: NDArray[Any], y: ArrayLike
) -> tuple[Float32Array, IntArray]:
    """Return records float32 [N, d] and labels int64 [N], checked against the architecture.

    Raises ValueError when the records are not finite or of another size, or a label is out of
    range.
    """
    array = np.asarray(x)
    if len(array) == 0:
        raise ValueError("there are no records")
    features = np.ascontiguousarray(array.reshape(len(array), -1), dtype=np.float32)
    if features.shape[1] != architecture.features:
        raise ValueError(
            f"records have {features.shape[1]} features, the network {architecture.features}"
        )
    if not np.isfinite(features).all():
        raise ValueError("records hold values that are nan or infinite")
    return features, integer_labels(y, "labels", len(array), architecture.classes)


def widths_of(architecture: Architecture) -> tuple[int, ...]:
    """Return the widths of a fully connected architecture; ValueError on another."""
    if architecture.widths is None:
        raise ValueError("only fully connected networks can be trained")
    return architecture.widths


def forward(layers: Layers, x: NDArray[Any]) -> Float32Array:
    """Return the logits float32 [N, C] of one network on records [N, ...], without torch."""
    h = np.asarray(x, dtype=np.float32).reshape(len(x), -1)
    for i, (weight, bias) in enumerate(layers):
        h = h @ weight.T + bias
        if i < len(layers) - 1:
            h = np.maximum(h, 0.0)
    return np.asarray(h, dtype=np.float32)
