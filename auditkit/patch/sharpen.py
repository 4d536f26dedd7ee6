"""Find multipliers that sharpen bounds over regions, and points that show how sharp they are.

Outside the trusted base. A linear program where it fits, dual ascent where it does not; and no
more objectives than matter: of many bounds the greatest decides, so the greatest is sharpened
until it stays the greatest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from auditkit.network.frozen import Frozen
from auditkit.network.graph import Network
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.network.region import Box, Piece, record_batches
from auditkit.parallel import side_by_side
from auditkit.patch.multipliers_ascent import ascend
from auditkit.patch.multipliers_lp import RegionProgram, uncertain_units

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

PROGRAM_ENTRIES = 20_000_000  # units that may flip, times features: beyond it dual ascent
WAVE = 16  # groups of records looked at together, and linear programs kept
AT_ONCE = 2  # programs of a group, the greatest bounds first: few, for one may settle the rest
RAYS = 32  # records of a group that are looked at for what its bound is at least
GREATEST = 1e30  # multiplier, so that float32 holds it
RETREAT = 1 - 2.0**-30  # of a step towards a face or a side of the box: its end is surely inside


@dataclass(frozen=True, eq=False)
class Found:
    """For K objectives: multipliers float32 [K, H], and the bound `above` [K] that they give.

    `step` [K, *shape] leads from the record to a point of the region where `below` [K] is reached;
    both values in plain floats.
    """

    multipliers: NDArray[np.float32]
    above: F64
    step: F64
    below: F64


class Sharpener:
    """Bounds over the regions of N patterns within their boxes."""

    def __init__(self, network: Network, bits: Bits, box: Box) -> None:
        self.network, self.bits, self.box = network, bits, box
        self._programs: OrderedDict[int, RegionProgram] = OrderedDict()

    @cached_property
    def by_program(self) -> Bits:
        """Which of the N regions are small enough for a linear program."""
        if self.bits.shape[1] * self.network.features <= PROGRAM_ENTRIES:
            return np.ones(len(self.bits), dtype=bool)
        unsure = [
            uncertain_units(self.network, self.bits[rows], boxes(self.box, rows)).sum(axis=1)
            for rows in record_batches(self.network, len(self.bits))
        ]
        return np.asarray(np.concatenate(unsure) * self.network.features <= PROGRAM_ENTRIES)

    def solve(
        self,
        rows: Index,
        on_logits: F64,
        on_units: F64 | None = None,
        enough: F64 | None = None,
        beyond: F64 | None = None,
    ) -> Found:
        """Maximise on_logits [K, C] · f + on_units [K, H] · z over the regions of `rows` [K].

        Linear programs stop where a bound is at most `enough` [K], or a point reaches `beyond` [K].
        """
        if not len(rows):
            return Rows.join([], self.bits.shape[1], self.network.input_shape).found
        if on_units is None:
            on_units = np.zeros((len(rows), self.bits.shape[1]))
        multipliers = np.zeros((len(rows), self.bits.shape[1]))
        step = np.zeros((len(rows), *self.network.input_shape))
        program = self.by_program[rows]
        if enough is None:
            enough = np.full(len(rows), -np.inf)
        if beyond is None:
            beyond = np.full(len(rows), np.inf)
        for start in range(0, int((~program).sum()), 64):
            some = np.flatnonzero(~program)[start : start + 64]
            multipliers[some], step[some] = ascend(
                self.network,
                self.bits[rows[some]],
                boxes(self.box, rows[some]),
                on_logits[some],
                on_units[some],
            )

        def one(row: int) -> None:
            here = self._program(row)
            for place in np.flatnonzero(rows == row):
                multipliers[place], step[place] = here.maximise(
                    on_logits[place], on_units[place], enough[place], beyond[place]
                )

        # HiGHS lets go of the interpreter while it solves; rows are written apart
        side_by_side(one, np.unique(rows[program]).tolist())
        kept = np.clip(np.nan_to_num(multipliers), 0, GREATEST).astype(np.float32)
        return self._measured(rows, on_logits, on_units, kept, step)

    def towards_corner(self, rows: Index, on_logits: F64) -> Found:
        """Go towards the best corner of the box, as far as the region does: no multipliers."""
        frozen, box = Frozen(self.network, self.bits[rows]), boxes(self.box, rows)
        gradient = frozen.adjoint(on_logits)
        corner = np.where(gradient > 0, box.step_upper, box.step_lower)
        nothing = np.zeros(self.bits[rows].shape)
        return self._measured(rows, on_logits, nothing, nothing.astype(np.float32), corner)

    def _program(self, row: int) -> RegionProgram:
        if row not in self._programs:
            here = boxes(self.box, np.array([row]))
            made = RegionProgram(self.network, self.bits[row], here)
            self._programs[row] = made
            while len(self._programs) > WAVE:
                self._programs.popitem(last=False)
        return self._programs[row]

    def _measured(
        self,
        rows: Index,
        on_logits: F64,
        on_units: F64,
        multipliers: NDArray[np.float32],
        step: F64,
    ) -> Found:
        bits, box = self.bits[rows], boxes(self.box, rows)
        frozen, sign = Frozen(self.network, bits), np.where(bits, 1.0, -1.0)
        f, z = frozen.forward(box.x)
        here = (on_logits * f).sum(axis=1) + (on_units * z).sum(axis=1)
        gradient = frozen.adjoint(on_logits, injections=on_units + sign * multipliers)
        corner = np.where(gradient > 0, box.step_upper, box.step_lower)
        above = here + (multipliers * sign * z).sum(axis=1)
        above += (gradient * corner).reshape(len(rows), -1).sum(axis=1)
        logits, slope = frozen.forward(step, constant=False)
        with np.errstate(all="ignore"):
            room = np.maximum(sign * z, 0) / np.maximum(-sign * slope, 0)
        room = np.where(sign * slope < 0, room, np.inf).min(axis=1, initial=np.inf)
        share = np.minimum(room, 1.0) * RETREAT
        gain = (on_logits * logits).sum(axis=1) + (on_units * slope).sum(axis=1)
        share = np.where(gain > 0, share, 0.0)
        return Found(
            multipliers,
            above,
            step * share.reshape(-1, *[1] * (step.ndim - 1)),
            here + share * gain,
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """What was found: row k for record `record[k]` and column `column[k]`."""

    record: Index
    column: Index
    found: Found

    @staticmethod
    def join(parts: list[Rows], width: int, shape: tuple[int, ...]) -> Rows:
        nobody = np.zeros(0, dtype=np.int64)
        empty = Found(
            np.zeros((0, width), np.float32), np.zeros(0), np.zeros((0, *shape)), np.zeros(0)
        )
        parts = [Rows(nobody, nobody, empty), *parts]
        names = ("multipliers", "above", "step", "below")
        return Rows(
            np.concatenate([p.record for p in parts]),
            np.concatenate([p.column for p in parts]),
            Found(*(np.concatenate([getattr(p.found, n) for p in parts]) for n in names)),
        )


def reached_by_rays(
    sharpener: Sharpener,
    bound: F64,
    objective: Callable[[Index, Index], F64],
    constant: F64,
    group: Index,
) -> F64:
    """Return [N]: what the greatest of the bounds in each record's group is at least."""
    top = bound.argmax(axis=1)
    likely = _leaders(bound.max(axis=1), group, RAYS)
    reached = np.full(int(group.max(initial=-1)) + 1, -np.inf)
    for start in range(0, len(likely), 256):
        some = likely[start : start + 256]
        found = sharpener.towards_corner(some, objective(some, top[some]))
        value = found.below + constant[some, top[some]]
        np.maximum.at(reached, group[some], value)
    return np.asarray(reached[group])


def sharpen_greatest(
    sharpener: Sharpener,
    bound: F64,
    objective: Callable[[Index, Index], F64],
    constant: F64,
    group: Index,
    limit: F64,
) -> tuple[Rows, F64]:
    """Sharpen the greatest of `bound` [N, O] in each group of records until it stays the greatest.

    Column o of record n bounds objective(n, o) · f + constant[n, o]; records of one `group` [N]
    look for one greatest value, and what is at most `limit` [N] is good enough. Returns the rows
    that were found and the bounds [N, O] that they give in plain floats.
    """
    bound, done = bound.copy(), np.zeros(bound.shape, dtype=bool)
    names, place = np.unique(group, return_inverse=True)
    reached = np.full(len(names), -np.inf)
    order = np.argsort(place, kind="stable")
    first = np.searchsorted(place[order], np.arange(len(names) + WAVE))
    parts: list[Rows] = []
    for start in range(0, len(names), WAVE):
        groups = min(WAVE, len(names) - start)
        mine = order[first[start] : first[start + groups]]
        while True:
            top = bound[mine].argmax(axis=1)
            greatest = bound[mine, top]
            enough = np.maximum(reached[place[mine]], limit[mine])
            go = ~done[mine, top] & ~(greatest <= enough)
            mine, top = mine[go], top[go]
            if not len(mine):
                break
            # of each group the greatest, which no other can make needless; one for each thread
            now = _leaders(greatest[go], place[mine], max(1, AT_ONCE // groups))
            active, column = mine[now], top[now]
            shift = constant[active, column]
            sufficient = np.maximum(reached[place[active]], limit[active]) - shift
            found = sharpener.solve(active, objective(active, column), enough=sufficient)
            value = found.above + shift
            bound[active, column] = np.fmin(bound[active, column], value)
            done[active, column] = True
            np.maximum.at(reached, place[active], bound[active, column])
            parts.append(Rows(active, column, found))
    return Rows.join(parts, sharpener.bits.shape[1], sharpener.network.input_shape), bound


def _leaders(value: F64, group: Index, count: int) -> Index:
    """Return where, in each group, the `count` greatest values are."""
    ranked = np.lexsort((-value, group))
    inside = group[ranked]
    return np.asarray(ranked[np.arange(len(value)) - np.searchsorted(inside, inside) < count])


class Sharpened:
    """Rows of multipliers for records 0 … N-1, gathered; those of a record may be replaced."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._rows: dict[tuple[int, int, int], NDArray[np.float32]] = {}

    def forget(self, records: Index) -> None:
        """Drop what is known of these records."""
        gone = set(records.tolist())
        self._rows = {key: row for key, row in self._rows.items() if key[0] not in gone}

    def add(self, record: Index, objective: Index, index: Index, rows: NDArray[np.float32]) -> None:
        """Keep rows [K, H] of multipliers that are not all 0."""
        for key, row in zip(
            zip(record.tolist(), objective.tolist(), index.tolist(), strict=True), rows, strict=True
        ):
            if row.any():
                self._rows[key] = row

    def has(self, records: Index) -> Bits:
        """Return of which records anything is known."""
        return np.isin(records, list({record for record, _, _ in self._rows}))

    def of(self, records: Index) -> Multipliers:
        """Return the multipliers of `records`, counted by their place there."""
        place: dict[int, list[int]] = {}
        for number, record in enumerate(records.tolist()):
            place.setdefault(record, []).append(number)
        keys = [
            (number, objective, index, row)
            for (record, objective, index), row in self._rows.items()
            for number in place.get(record, ())
        ]
        if not keys:
            return Multipliers.none(self.width)
        numbers, objectives, indices, rows = zip(*keys, strict=True)
        return Multipliers.of(
            self.width, np.array(numbers), np.array(objectives), np.array(indices), rows
        )


def lead_objective(classes: int, target: Index) -> Callable[[Index, Index], F64]:
    """Return the objectives f_j - f_target, column j, for records with these targets."""

    def objective(record: Index, column: Index) -> F64:
        seeds = np.zeros((len(record), classes))
        seeds[np.arange(len(record)), column] = 1.0
        seeds[np.arange(len(record)), target[record]] -= 1.0
        return seeds

    return objective


def logit_objective(classes: int) -> Callable[[Index, Index], F64]:
    """Return the objectives f_j, column j, and -f_j, column C + j."""

    def objective(record: Index, column: Index) -> F64:
        seeds = np.zeros((len(record), classes))
        seeds[np.arange(len(record)), column % classes] = np.where(column < classes, 1.0, -1.0)
        return seeds

    return objective


def logit_columns(classes: int, column: Index) -> tuple[Index, Index]:
    """Return objective and class of columns of `logit_objective`."""
    kind = np.where(column < classes, int(Objective.UPPER), int(Objective.LOWER))
    return kind, column % classes


def boxes(box: Box, rows: Index | slice) -> Box:
    """Return the boxes of some records."""
    return Box(box.x[rows], box.step_lower[rows], box.step_upper[rows])


def lead_bounds(
    network: Network, bits: Bits, box: Box, target: Index, multipliers: Multipliers | None = None
) -> F64:
    """Return upper bounds [N, C] on f_j - f_target over each set; -inf at the target."""

    def bound(rows: slice) -> F64:
        offered = multipliers and multipliers.among(np.arange(len(bits))[rows])
        piece = Piece.at(network, bits[rows], boxes(box, rows))
        return piece.lead_bounds(target[rows], offered)

    return np.concatenate(side_by_side(bound, record_batches(network, len(bits))))


def deviation_bounds(
    network: Network, bits: Bits, box: Box, q: F64, multipliers: Multipliers | None = None
) -> F64:
    """Return upper bounds [N, 2 C] on f_j - q_j and q_j - f_j over each set, for q [N, C]."""

    def bound(rows: slice) -> F64:
        piece = Piece.at(network, bits[rows], boxes(box, rows))
        offered = multipliers and multipliers.among(np.arange(len(bits))[rows])
        reach = piece.logit_bounds(offered)
        return np.concatenate([reach.upper - q[rows], q[rows] - reach.lower], axis=1)

    return np.concatenate(side_by_side(bound, record_batches(network, len(bits))))
