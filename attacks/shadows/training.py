"""Training shadow models and taking their signals, group by group."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import BoolArray, Float32Array, IntArray, integer_labels
from attacks.shadows.architecture import Architecture, as_architecture
from attacks.shadows.device import chosen_device
from attacks.shadows.evaluate import Layers
from attacks.shadows.fingerprint import fingerprint
from attacks.shadows.groups import batches_per_epoch, group_slices, workers_for
from attacks.shadows.masks import paired_masks
from attacks.shadows.recipe import Recipe
from attacks.shadows.score_matrix import ScoreMatrix, stored_matrix
from attacks.shadows.work import announcement

if TYPE_CHECKING:
    from attacks.shadows.ensemble import Ensemble

Progress = Callable[[int, int], None]

SIGNAL_FLOATS = 1 << 24  # signals of a group that are taken at once: 64 MB


@dataclass(frozen=True)
class Shadows:
    """Signals of shadow models, as the attacks read them.

    pool: φ float32 [K, S] of the records of the pool, all or the first S that were to be scored; in
    a file and read-only when the scores are kept in a folder. member_mask: bool [K, S], whether
    shadow k trained on record n. query: φ float32 [K, M] of records no shadow trained on, None
    without them.
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
    scored: int | None = None,
    query: tuple[NDArray[Any], ArrayLike] | None = None,
    progress: Progress | None = None,
    device: str | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Shadows:
    """Train shadow models on halves of the pool and return their φ on pool and query records.

    Architecture, or widths (inputs, hidden..., classes) of a fully connected one; x [N, ...],
    reshaped to its input, y int [N]; member_mask bool [K, N] replaces the paired halves; scored:
    signals are taken of so many records at the head of the pool, the others only train, all when
    None; query a pair of records and labels outside the pool. `progress` is called with (done,
    total) batches, `say` with one line before the first, which holds a time that was estimated from
    a few steps. device: "cpu" or "cuda", None for a GPU when there is one.
    The same arguments give the same result on the same machine. cache: a folder that keeps the
    scores, see `score_matrix`: a run that ended early goes on from it, one for more shadow models
    starts from it where it can, and the signals come back as memory-mapped files. Raises ValueError
    when shapes, labels or masks do not fit, ScoreMatrixError when the folder does not.
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
    head = len(labels) if scored is None else int(scored)
    if not 1 <= head <= len(labels):
        raise ValueError(f"scored must lie in 1..{len(labels)}, found {head}")
    where = chosen_device(device)
    groups = group_slices(kind, recipe, shadows, where)
    pool_of = (features, labels)
    with _matrix(kind, recipe, seed, where, pool_of, head, other, mask, groups, cache) as held:
        if say is not None:
            what = "shadow models"
            missing = held.missing
            say(announcement(what, kind, *pool_of, mask, recipe, missing, held.note, device=where))
        finished = trained_groups(
            kind, features, labels, mask, recipe, seed, progress, groups=held.missing, device=where
        )
        with closing(finished):
            for rows, trained in finished:
                _take(trained, held.pool[rows], features[:head], labels[:head])
                if held.query is not None and other is not None:
                    _take(trained, held.query[rows], *other)
                held.keep(rows)
        pool, outside = held.result()
    return Shadows(pool, mask[:, :head], outside, kind, recipe, seed)


def _matrix(
    architecture: Architecture,
    recipe: Recipe,
    seed: int,
    device: str,
    pool: tuple[Float32Array, IntArray],
    scored: int,
    query: tuple[Float32Array, IntArray] | None,
    mask: BoolArray,
    groups: Sequence[slice],
    cache: Path | None,
) -> AbstractContextManager[ScoreMatrix]:
    """Return where the scores go: memory, or the folder."""
    more = None if query is None else len(query[1])
    if cache is None:
        return nullcontext(ScoreMatrix(mask.shape[0], scored, more, groups))
    batches = batches_per_epoch(mask, recipe.batch_size)
    # of several groups each is trained on one thread, whatever the number of cores
    alone = device == "cpu" and len(groups) == 1
    parts = fingerprint(architecture, recipe, seed, pool, scored, query, batches, device, alone)
    return stored_matrix(cache, parts, mask, more, groups)


def _take(trained: Ensemble, out: Float32Array, x: Float32Array, y: IntArray) -> None:
    """Write the signals [K, N] of one group into `out`, in blocks of records."""
    step = max(1, SIGNAL_FLOATS // len(out))
    for start in range(0, len(y), step):
        part = slice(start, start + step)
        out[:, part] = trained.signals(x[part], y[part])


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
    device: str | None = None,
) -> Generator[tuple[slice, Ensemble]]:
    """Train the networks of the mask group by group, yielding each group's rows and networks.

    Records as `training_arrays` returns them. groups: those of `group_slices` that are to be
    trained, all when None; they come in this order. Memory is bounded by the group: what is needed
    of one must be taken before the next. Where there are several groups in the whole, each is
    trained on one thread, as many beside each other as torch has threads, so that a group comes out
    the same to the byte on the same machine, whichever others are trained and on however many
    cores; a single group may use all threads. Raises ValueError on a network without enough
    records.
    """
    from attacks.shadows import ensemble

    if member_mask.sum(axis=1).min() < 1:
        raise ValueError("every shadow model needs at least one training record")
    where = chosen_device(device)
    whole = group_slices(architecture, recipe, len(member_mask), where)
    wanted = whole if groups is None else list(groups)
    # of all networks, so that a network does not depend on the group it falls into
    batches = batches_per_epoch(member_mask, recipe.batch_size)
    total = recipe.epochs * batches * len(wanted)

    def train(rows: slice, on_step: Callable[[], None]) -> Ensemble:
        return ensemble.train(
            architecture, x, y, member_mask[rows], recipe, seed,
            first=rows.start, batches=batches, device=where, on_step=on_step,
        )  # fmt: skip

    if where == "cpu" and len(whole) > 1:
        largest = max(rows.stop - rows.start for rows in whole)
        with ensemble.one_thread_each() as threads:
            workers = workers_for(architecture, recipe, largest, threads)
            yield from _side_by_side(train, wanted, workers, total, progress)
        return
    count = _counter(total, progress)
    products = 6 * architecture.products * recipe.batch_size * len(member_mask)
    for rows in wanted:
        with ensemble.threads_for(products):
            trained = train(rows, count)
        yield rows, trained


def _counter(total: int, progress: Progress | None) -> Callable[[], None]:
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return count


class _Stopped(Exception):
    """The caller wants no more groups."""


def _side_by_side(
    train: Callable[[slice, Callable[[], None]], Ensemble],
    groups: Sequence[slice],
    workers: int,
    total: int,
    progress: Progress | None,
) -> Iterator[tuple[slice, Ensemble]]:
    """Train so many groups at a time, each in a thread; `progress` is called in the caller's."""
    steps: SimpleQueue[None] = SimpleQueue()
    stop = Event()
    count = _counter(total, progress)

    def on_step() -> None:
        if stop.is_set():
            raise _Stopped
        steps.put(None)

    def report(seconds: float) -> None:
        try:
            steps.get(timeout=seconds)
            while True:
                count()
                steps.get_nowait()
        except Empty:
            pass

    waiting = deque(groups)
    running: deque[tuple[slice, Future[Ensemble]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    rows = waiting.popleft()
                    running.append((rows, pool.submit(train, rows, on_step)))
                rows, first = running[0]
                while not first.done():
                    report(0.1)
                report(0.0)
                running.popleft()
                yield rows, first.result()
        finally:
            stop.set()


def train_one(
    architecture: Architecture | Sequence[int],
    x: NDArray[Any],
    y: ArrayLike,
    recipe: Recipe | None = None,
    seed: int = 0,
    *,
    progress: Progress | None = None,
    device: str | None = None,
) -> Layers:
    """Train a single network on all records: a target, or a retrained reference.

    Arguments as for `train_shadows`; returns (weight [out, in] or [out, in, kernel height, kernel
    width], bias [out]) float32 for each layer that has parameters. Raises ValueError when shapes or
    labels do not fit.
    """
    kind = as_architecture(architecture)
    features, labels = training_arrays(kind, x, y)
    everything = np.ones((1, len(labels)), dtype=np.bool_)
    recipe = Recipe() if recipe is None else recipe
    [(_, trained)] = trained_groups(
        kind, features, labels, everything, recipe, seed, progress, device=device
    )
    return trained.layers(0)


def training_arrays(
    architecture: Architecture, x: NDArray[Any], y: ArrayLike
) -> tuple[Float32Array, IntArray]:
    """Return records float32 [N, d] and labels int64 [N], checked against the architecture.

    Raises ValueError when the records are not finite or of another size, a label is out of range,
    or the architecture has nothing to learn.
    """
    if architecture.parameters == 0:
        raise ValueError("the network has no layer that learns")
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
