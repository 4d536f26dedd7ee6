"""Multipliers λ ≥ 0 that an owner offers for bounds over claimed sets. Part of the trusted base.

On R(s) every σ_u z_u is at least 0, so for any finite λ ≥ 0 an objective is at most itself plus
Σ λ_u σ_u z_u, and that sum has its greatest value over a box in closed form (certificates.md §4).
Nothing here is believed: a number that is negative or not finite counts as 0, a good λ sharpens a
bound, and a bad one is no better than none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Index = NDArray[np.int64]

GREATEST = 2**30  # number of a record, a class or a gate


class Objective(IntEnum):
    """What a row of multipliers bounds over the claimed set of one record."""

    UPPER = 0  # f_j - f_target from above, or f_j where the claim has no target
    LOWER = 1  # f_j from below
    GATE = 2  # the violation of another gate from below


@dataclass(frozen=True, eq=False)
class Multipliers:
    """K rows over H units, row k for record `record[k]` and objective `(objective, index)[k]`.

    `index` is a class or a flat gate. Row k has `values` at `units` from `start[k]` to
    `start[k + 1]`, all other multipliers are 0. Rows are in ascending order of record, objective
    and index, and none comes twice; ValueError otherwise, or where an array does not fit.
    """

    width: int
    record: Index
    objective: Index
    index: Index
    start: Index
    units: Index
    values: F64

    def __post_init__(self) -> None:
        rows = len(self.record)
        if len(self.objective) != rows or len(self.index) != rows or len(self.start) != rows + 1:
            raise ValueError("rows of multipliers of different numbers")
        if len(self.units) != len(self.values):
            raise ValueError(f"{len(self.units)} units for {len(self.values)} multipliers")
        if rows and min(self.record.min(), self.index.min()) < 0:
            raise ValueError("a record or an index below 0")
        if rows and max(self.record.max(), self.index.max()) >= GREATEST:
            raise ValueError(f"a record or an index beyond {GREATEST}")
        if rows and not np.isin(self.objective, list(Objective)).all():
            raise ValueError("an objective that there is not")
        if (
            self.start[0] != 0
            or self.start[-1] != len(self.units)
            or (np.diff(self.start) < 0).any()
        ):
            raise ValueError("row offsets that do not cover the multipliers in order")
        if len(self.units) and not (self.units.min() >= 0 and self.units.max() < self.width):
            raise ValueError(f"a unit that is none of {self.width}")
        inside = np.ones(len(self.units), dtype=bool)
        inside[self.start[:-1][np.diff(self.start) > 0]] = False
        if (np.diff(self.units, prepend=-1)[inside] <= 0).any():
            raise ValueError("units of a row that are not in ascending order")
        steps = [np.diff(column) for column in (self.record, self.objective, self.index)]
        ahead = np.zeros(max(rows - 1, 0), dtype=bool)
        for step in reversed(steps):
            ahead = (step > 0) | ((step == 0) & ahead)
        if not ahead.all():
            raise ValueError("rows that are not in ascending order, or come twice")

    @staticmethod
    def none(width: int) -> Multipliers:
        """Return no rows at all."""
        no = np.zeros(0, dtype=np.int64)
        return Multipliers(width, no, no, no, np.zeros(1, dtype=np.int64), no, np.zeros(0))

    @staticmethod
    def of(
        width: int,
        record: Index,
        objective: Index,
        index: Index,
        rows: Sequence[NDArray[np.floating]],
    ) -> Multipliers:
        """Return multipliers from dense `rows` [K] of [H], in order; the last of equals stays."""
        last = {key: k for k, key in enumerate(zip(record, objective, index, strict=True))}
        order = np.array([last[key] for key in sorted(last)], dtype=np.int64)
        units = [np.flatnonzero(rows[k]) for k in order]
        return Multipliers(
            width,
            record[order].astype(np.int64),
            objective[order].astype(np.int64),
            index[order].astype(np.int64),
            np.cumsum([0, *map(len, units)]).astype(np.int64),
            np.concatenate([np.zeros(0, dtype=np.int64), *units]),
            np.concatenate([np.zeros(0), *(rows[k][u] for k, u in zip(order, units, strict=True))]),
        )

    def __len__(self) -> int:
        return len(self.record)

    def among(self, records: Index) -> Multipliers:
        """Return the rows of `records`, in ascending order, counted by their place in it."""
        chosen = np.flatnonzero(np.isin(self.record, records))
        return self.rows(chosen, np.searchsorted(records, self.record[chosen]).astype(np.int64))

    def rows(self, chosen: Index, record: Index) -> Multipliers:
        """Return the rows `chosen` [K] as those of `record` [K]; ValueError when out of order."""
        length = np.diff(self.start)[chosen]
        entries = np.repeat(self.start[chosen] - np.cumsum(length) + length, length)
        entries = entries + np.arange(len(entries))
        return Multipliers(
            self.width,
            record,
            self.objective[chosen],
            self.index[chosen],
            np.concatenate([[0], np.cumsum(length)]).astype(np.int64),
            self.units[entries],
            self.values[entries],
        )

    def where(self, objective: Objective) -> Index:
        """Return the rows of one objective."""
        return np.flatnonzero(self.objective == objective)

    def find(self, objective: Objective, record: Index, index: Index) -> Index:
        """Return the row [K] for each `record` and `index` [K], -1 where there is none."""
        wanted = (record * len(Objective) + int(objective)) * GREATEST + index
        place = np.searchsorted(self._keys, wanted)
        there = np.append(self._keys, -1)[place] == wanted
        return np.where(there, place, -1)

    def dense(self, chosen: Index) -> F64:
        """Return rows [K, H], 0 for row -1 and for whatever is not a positive finite number."""
        result = np.zeros((len(chosen), self.width))
        for place, row in enumerate(chosen.tolist()):
            if row >= 0:
                span = slice(self.start[row], self.start[row + 1])
                result[place, self.units[span]] = self.values[span]
        return np.where(np.isfinite(result) & (result > 0), result, 0.0)

    @cached_property
    def _keys(self) -> Index:
        """One number a row, ascending as the rows are."""
        return (self.record * len(Objective) + self.objective) * GREATEST + self.index
