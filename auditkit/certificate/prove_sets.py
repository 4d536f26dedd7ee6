"""The owner's side: what it takes to prove a claim over a set, tried from the cheapest up.

First the bounds over the box alone, then the multipliers that the generator has found, then those
of a search of its own: for the greatest lead or deviation, and for gates that may be open. The
checker is asked each time, and only what it needed is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import (
    Claims,
    DoubtfulGates,
    Findings,
    Verdict,
    check_claims,
    gates_in_doubt,
)
from auditkit.network.graph import Network
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.network.region import Box
from auditkit.patch.gates import Patch
from auditkit.patch.settings import Settings
from auditkit.patch.sharpen import (
    Sharpened,
    Sharpener,
    deviation_bounds,
    lead_objective,
    logit_columns,
    logit_objective,
    sharpen_greatest,
)

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

GATES_AT_MOST = 8  # other gates in doubt around one record: beyond it a smaller set is claimed
ERRORS = 4.0  # deployed errors of a logit that a bound leaves beyond the margin
ROWS_AT_ONCE = 256  # records whose gates are looked at together
BOUNDS = ("the box alone", "a linear program", "dual ascent")


class Prover:
    """Claims [N] of one kind on a patch, the multipliers known for them, and what proved each."""

    def __init__(self, network: Network, patch: Patch, claims: Claims, settings: Settings) -> None:
        self.network, self.patch, self.claims = network, patch, claims
        self.lower, self.upper = settings.domain.lower, settings.domain.upper
        self.known = Sharpened(patch.units)
        self._by = np.zeros(len(claims), dtype=np.int64)  # which of BOUNDS

    def take(self, multipliers: Multipliers, record: Index) -> None:
        """Use the generator's multipliers; claim i is about its record `record[i]` [N]."""
        rows = multipliers.dense(np.arange(len(multipliers))).astype(np.float32)
        for position, number in enumerate(record.tolist()):
            mine = np.flatnonzero(multipliers.record == number)
            self.known.add(
                np.full(len(mine), position),
                multipliers.objective[mine],
                multipliers.index[mine],
                rows[mine],
            )

    def proves(self, rows: Index, radius: F64) -> Bits:
        """Return which of the claims `rows` [K] the checker accepts at these radii [K]."""
        good, findings = self._ask(rows, radius, offered=False)
        self._by[rows[good]] = 0

        def ask(some: Index) -> None:
            if not len(some):
                return
            won, found = self._ask(rows[some], radius[some], offered=True)
            findings.put(some, found)
            good[some[won]] = True
            self._by[rows[some[won]]] = self._method(rows[some[won]], radius[some[won]])

        ask(np.flatnonzero(~good & self.known.has(rows)))
        left = np.flatnonzero(~good)
        if len(left):
            ask(left[self._search(rows[left], radius[left], findings, left)])
        return good

    def multipliers(self, rows: Index) -> Multipliers:
        """Return what the claims `rows` need, their records being all claims by number."""
        needed = rows[self._by[rows] > 0]
        found = self.known.of(needed)
        return replace(found, record=needed[found.record]) if len(found) else found

    def bound_of(self, row: int) -> str:
        """Return by which bound a claim was proved."""
        return BOUNDS[self._by[row]]

    def _ask(self, rows: Index, radius: F64, *, offered: bool) -> tuple[Bits, Findings]:
        found = check_claims(
            self.network,
            self.patch,
            self._claims(rows, radius),
            self.lower,
            self.upper,
            self.known.of(rows) if offered else None,
        )
        return (found.region == Verdict.PROVED) & (found.deployed == Verdict.PROVED), found

    def _claims(self, rows: Index, radius: F64) -> Claims:
        return replace(self.claims.take(rows), radius=radius)

    def _sharpener(self, rows: Index, radius: F64) -> Sharpener:
        box = Box.around(self.claims.x[rows], radius, self.lower, self.upper)
        bits = self.patch.table.patterns[self.claims.gate[rows]]
        return Sharpener(self.network, bits, box)

    def _method(self, rows: Index, radius: F64) -> Index:
        if not len(rows):
            return np.zeros(0, dtype=np.int64)
        return np.where(self._sharpener(rows, radius).by_program, 1, 2)

    def _search(self, rows: Index, radius: F64, findings: Findings, place: Index) -> Bits:
        """Find multipliers for claims that may hold; `findings[place]` is what is known of them.

        Returns of which [K] there are new ones.
        """
        error, crossing = findings.error[place], findings.crossing[place]
        sharpener = self._sharpener(rows, radius)
        bound, objective, constant, limit = self._objectives(
            rows, sharpener, findings.lead[place], error
        )
        found, bound = sharpen_greatest(
            sharpener, bound, objective, constant, np.arange(len(rows)), limit
        )
        if (self.claims.target[rows] < 0).all():
            kind, label = logit_columns(self.network.classes, found.column)
        else:
            kind, label = np.full(len(found.record), int(Objective.UPPER)), found.column
        self.known.add(rows[found.record], kind, label, found.found.multipliers)
        new = np.zeros(len(rows), dtype=bool)
        new[found.record] = True
        hopeful = np.flatnonzero((bound.max(axis=1) <= limit + ERRORS * error) & (crossing > 0))
        doubts = gates_in_doubt(
            self.network,
            self.patch,
            self._claims(rows[hopeful], radius[hopeful]),
            self.lower,
            self.upper,
            self.known.of(rows[hopeful]),
            at_most=GATES_AT_MOST,
        )
        found_doubts = [
            (row, doubt)
            for row, doubt in zip(hopeful.tolist(), doubts, strict=True)
            if len(doubt.gates)
        ]
        new[self._close(sharpener, rows, found_doubts)] = True
        return new

    def _objectives(
        self, rows: Index, sharpener: Sharpener, lead: F64, error: F64
    ) -> tuple[F64, Callable[[Index, Index], F64], F64, F64]:
        """Return bounds, objectives and constants for `sharpen_greatest`, and what is enough."""
        table, classes = self.patch.table, self.network.classes
        group = table.group[self.claims.gate[rows]]
        bound = table.bound[group]
        target = self.claims.target[rows]
        if (target < 0).all():
            q = table.offset[group]
            known = self.known.of(rows)
            gap = deviation_bounds(self.network, sharpener.bits, sharpener.box, q, known)
            constant = np.concatenate([-q, q], axis=1)
            return gap, logit_objective(classes), constant, bound - ERRORS * error
        added = np.clip(table.offset, -table.bound[:, None], table.bound[:, None])
        shift = added[group] + added[table.always].sum(axis=0)
        gain = shift - shift[np.arange(len(rows)), target][:, None]
        limit = -self.claims.margin[rows] - ERRORS * error
        return lead + gain, lead_objective(classes, target), gain, limit

    def _close(
        self, sharpener: Sharpener, claims: Index, doubts: list[tuple[int, DoubtfulGates]]
    ) -> list[int]:
        """Find multipliers that show other gates to be closed, row k those of `claims[k]`.

        The nearest gate first: where it stays in doubt the others do not matter. Returns the rows
        of which all gates are shown to be closed.
        """
        first, rest = [], []
        for row, doubt in doubts:
            order = np.argsort(doubt.wanted.sum(axis=1), kind="stable")
            first.append((row, doubt, order[:1]))
            rest.append((row, doubt, order[1:]))
        closed = self._closed(sharpener, claims, first)
        rest = [r for r, good in zip(rest, closed, strict=True) if good]
        closed = self._closed(sharpener, claims, rest)
        return [row for (row, _, _), good in zip(rest, closed, strict=True) if good]

    def _closed(
        self, sharpener: Sharpener, claims: Index, wanted: list[tuple[int, DoubtfulGates, Index]]
    ) -> list[bool]:
        """Return of which rows all the chosen gates are closed, and keep what shows it."""
        result: list[bool] = []
        for start in range(0, len(wanted), ROWS_AT_ONCE):
            part = wanted[start : start + ROWS_AT_ONCE]
            counts = [len(some) for _, _, some in part]
            rows = np.repeat(np.array([row for row, _, _ in part], dtype=np.int64), counts)
            gates = np.concatenate([doubt.gates[some] for _, doubt, some in part])
            units = np.concatenate([doubt.wanted[some] for _, doubt, some in part])
            cost = np.repeat(np.stack([doubt.cost for _, doubt, _ in part]), counts, axis=0)
            sign = np.where(sharpener.bits[rows], -1.0, 1.0) * units
            table = self.patch.table
            need = 1 / table.sharpness[table.group[gates]]
            need += np.where(units, cost, 0).sum(axis=1)
            nothing = np.zeros((len(rows), self.network.classes))
            found = sharpener.solve(rows, nothing, sign, -need)
            closed = -found.above >= need
            self.known.add(
                claims[rows[closed]],
                np.full(int(closed.sum()), int(Objective.GATE)),
                gates[closed],
                found.multipliers[closed],
            )
            stops = np.cumsum(counts)[:-1]
            result += [bool(mine.all()) for mine in np.split(closed, stops)]
        return result
