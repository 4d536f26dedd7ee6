"""Matrices of signals read a few records at a time, on all cores.

A matrix [K, N] of shadow signals may be larger than memory: it stays where it is, mapped from disk
or not, in the precision it has, and blocks of its columns that fit the processor's cache are taken
to float64 one after another. What is computed of a record depends on its own column alone, in the
order of the shadow models, so results do not depend on the blocks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.arrays import BoolArray, FloatArray, IntArray, member_counts

BLOCK_VALUES = 1 << 18  # of one block in float64: 2 MB, what a core keeps close
CORES = os.cpu_count() or 1


def by_record(
    work: Callable[[slice], tuple[FloatArray, ...]], shadows: int, records: int
) -> tuple[FloatArray, ...]:
    """Return what `work` gives for each block of records, put together: float64 [N] each.

    `work` is called with slices that cover 0..N-1, from several threads; no slice is of a single
    record unless there is only one.
    """
    # numpy adds up a lone column pairwise and a column beside others in order; so none is alone.
    width = max(2, BLOCK_VALUES // max(1, shadows))
    edges = np.linspace(0, records, max(1, records // width) + 1).astype(int)
    parts = [slice(int(a), int(b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    if len(parts) == 1:
        return work(parts[0])
    with ThreadPoolExecutor(CORES) as pool:
        pieces = list(pool.map(work, parts))
    return tuple(np.concatenate(column) for column in zip(*pieces, strict=True))


@dataclass(frozen=True)
class Moments:
    """Per record, over the shadow models chosen: how many, their mean, and the sum of the squared
    deviations from it (mean and squares 0 where there are none). All [N].
    """

    count: IntArray
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


def moments(signals: NDArray[Any], mask: BoolArray, *, inside: bool) -> Moments:
    """Return the moments of the signals of the shadow models with (`inside`) or without the record.

    Signals [K, N] of any floating type, mask bool [K, N]. Two passes over each block in float64:
    deviations are taken from the mean, so nothing cancels.
    """
    count = member_counts(mask)
    if not inside:
        count = signals.shape[0] - count

    def work(part: slice) -> tuple[FloatArray, ...]:
        chosen = weights(mask[:, part], inside=inside)
        values = signals[:, part].astype(np.float64)
        # Products with 0 and 1: selecting by a random mask costs ten times as much.
        values *= chosen
        mean = np.add.reduce(values, axis=0) / np.maximum(count[part], 1)
        values -= mean
        values *= chosen
        return mean, np.einsum("kn,kn->n", values, values)

    mean, squares = by_record(work, *signals.shape)
    return Moments(count, mean, squares)


def medians(signals: NDArray[Any], mask: BoolArray, *, inside: bool) -> FloatArray:
    """Return the median signal of the shadow models with or without each record, float64 [N].

    Signals [K, N], mask bool [K, N] with at least one such model for every record.
    """
    count = member_counts(mask)
    if not inside:
        count = signals.shape[0] - count

    def work(part: slice) -> tuple[FloatArray, ...]:
        values = signals[:, part].astype(np.float64)
        np.copyto(values, np.inf, where=mask[:, part] != inside)
        values.sort(axis=0)
        low = np.take_along_axis(values, (count[None, part] - 1) // 2, axis=0)[0]
        high = np.take_along_axis(values, count[None, part] // 2, axis=0)[0]
        return (low + (high - low) / 2.0,)

    return by_record(work, *signals.shape)[0]


def weights(mask: BoolArray, *, inside: bool) -> FloatArray:
    """Return 1 where the mask is `inside`, else 0, in float64."""
    return mask.astype(np.float64) if inside else np.subtract(1.0, mask, dtype=np.float64)
