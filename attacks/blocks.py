"""Matrices of signals read a few records at a time, on all cores.

A matrix [K, N] of shadow signals may be larger than memory: it stays where it is, mapped from disk
or not, in the precision it has, and blocks of its columns that fit the processor's cache are taken
to float64 one after another. What is computed of a record depends on its own column alone, in the
order of the shadow models, so results do not depend on the blocks.

IN and OUT are told apart by products with 0 and 1, not by selection: a choice by a random mask
costs ten times as much.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.arrays import BoolArray, FloatArray, member_counts

BLOCK_VALUES = 1 << 16  # of one block in float64: 512 KB, a few of which a core keeps close
CORES = os.cpu_count() or 1

Work = Callable[[slice, list[FloatArray]], tuple[FloatArray, ...]]


def by_record(work: Work, shadows: int, records: int, *, buffers: int) -> tuple[FloatArray, ...]:
    """Return what `work` gives for each block of records, put together: float64 [N] each.

    `work` is called with slices of 0..N-1 and as many arrays [K, block] to write to, from several
    threads; a slice is of a single record only when there is one record.
    """
    # numpy adds up a lone column pairwise and a column beside others in order; so none is alone.
    width = max(2, BLOCK_VALUES // shadows)
    edges = np.linspace(0, records, max(1, records // width) + 1).astype(int)
    parts = [slice(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    widest = max(part.stop - part.start for part in parts)

    def run(first: int) -> list[tuple[FloatArray, ...]]:
        # Memory once for all blocks of a thread: the system clears every new page.
        memory = np.empty((buffers, shadows * widest))
        pieces = []
        for part in parts[first::threads]:
            n = part.stop - part.start
            pieces.append(work(part, [m[: shadows * n].reshape(shadows, n) for m in memory]))
        return pieces

    threads = min(CORES, len(parts))
    if threads == 1:
        found = [run(0)]
    else:
        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(run, range(threads)))
    in_order = [found[i % threads][i // threads] for i in range(len(parts))]
    return tuple(np.concatenate(column) for column in zip(*in_order, strict=True))


@dataclass(frozen=True)
class Moments:
    """Per record, over some shadow models: how many, their mean, and the sum of the squared
    deviations from it (mean and squares 0 where there are none). All float64 [N].
    """

    count: FloatArray
    mean: FloatArray
    squares: FloatArray

    @property
    def deviations(self) -> float:
        """Variance of all signals about their record's own mean, dividing by their number."""
        return float(self.squares.sum() / self.count.sum())

    @property
    def centre(self) -> float:
        """Mean of all signals."""
        return float((self.count * self.mean).sum() / self.count.sum())

    @property
    def spread(self) -> float:
        """Variance of all signals about their common mean, dividing by their number."""
        between = self.count * (self.mean - self.centre) ** 2
        return float((self.squares.sum() + between.sum()) / self.count.sum())


def moments(signals: NDArray[Any], mask: BoolArray) -> tuple[Moments, Moments]:
    """Return the moments of the signals of the shadow models with, and without, each record.

    Signals [K, N] of any floating type, mask bool [K, N]. Deviations are taken from the means in a
    second pass over each block, so nothing cancels.
    """
    shadows = signals.shape[0]

    def work(part: slice, memory: list[FloatArray]) -> tuple[FloatArray, ...]:
        outside, chosen, inside = memory
        np.copyto(outside, signals[:, part])
        np.copyto(chosen, mask[:, part])
        count = np.add.reduce(chosen, axis=0)
        np.multiply(outside, chosen, out=inside)
        outside -= inside  # exactly the signal or 0
        mean_in, squares_in = _about_the_mean(inside, chosen, count)
        np.subtract(1.0, chosen, out=chosen)
        mean_out, squares_out = _about_the_mean(outside, chosen, shadows - count)
        return count, mean_in, squares_in, shadows - count, mean_out, squares_out

    found = by_record(work, *signals.shape, buffers=3)
    return Moments(*found[:3]), Moments(*found[3:])


def _about_the_mean(
    values: FloatArray, chosen: FloatArray, count: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return mean and squares of the chosen values, the others being 0; overwrites the values."""
    mean = np.add.reduce(values, axis=0) / np.maximum(count, 1.0)
    values -= mean
    values *= chosen
    return mean, np.einsum("kn,kn->n", values, values)


def medians(signals: NDArray[Any], mask: BoolArray, *, inside: bool) -> FloatArray:
    """Return the median signal of the shadow models with or without each record, float64 [N].

    Signals [K, N], mask bool [K, N] with at least one such model for every record.
    """
    count = member_counts(mask)
    if not inside:
        count = signals.shape[0] - count

    def work(part: slice, memory: list[FloatArray]) -> tuple[FloatArray, ...]:
        (values,) = memory
        np.copyto(values, signals[:, part])
        np.copyto(values, np.inf, where=mask[:, part] != inside)
        values.sort(axis=0)
        low = np.take_along_axis(values, (count[None, part] - 1) // 2, axis=0)[0]
        high = np.take_along_axis(values, count[None, part] // 2, axis=0)[0]
        return (low + (high - low) / 2.0,)

    return by_record(work, *signals.shape, buffers=1)[0]
