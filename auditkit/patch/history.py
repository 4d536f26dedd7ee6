"""The patch of several requests over one network: a function of the set of requests.

Each request is patched as if it were alone, so that its groups are the same whichever others come
or go. Only where a gate of one request is open, or nearly, at a record of another can they not be
kept apart: F is continuous, and two open gates add up. Records that hang together like this are
taken out of the groups of their own requests and patched once, in groups that serve all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from auditkit.network.graph import Network
from auditkit.network.multipliers import Multipliers
from auditkit.patch.gates import Group, Patch
from auditkit.patch.generate import NEAR, TOUCHING, Assignment, Made, Request, make_patch
from auditkit.patch.patched import PatchedNetwork
from auditkit.patch.settings import Method, Settings, Spec

F64 = NDArray[np.float64]
Index = NDArray[np.int64]

BATCH = 1024
TAG_DIGITS = 12


@dataclass(frozen=True, eq=False)
class _Part:
    """The patch of the union's records `rows`, of which it serves `staying` [rows]."""

    rows: Index
    made: Made
    staying: NDArray[np.bool_]


def make_history(
    network: Network,
    union: Request,
    members: Sequence[Index],
    names: Sequence[str],
    settings: Settings,
    targets: F64 | None = None,
) -> Made:
    """Return one patch for several requests; the assignment is that of the union's records.

    `union` are N distinct records, `names` [N] are what they are called, and `members` the indices
    of each request's records, in its order; a record may be in several. `targets` are as for
    `make_patch`, [N, C] for `reference`. Group names start with a digest of the names of the
    records that were patched together, so that `names` must not be guessable where the group names
    are not to tell whom they serve. The result depends neither on the order of the requests nor on
    records that are in none. Raises ValueError when a request cannot be met.
    """
    if settings.method is Method.SUPPRESS:  # one shift for the class, whoever asked for it
        everyone = np.unique(np.concatenate([np.zeros(0, np.int64), *members]))
        made = make_patch(network, _take(union, everyone), settings)
        return _joined([_Part(everyone, made, np.ones(len(everyone), bool))], len(union.x))
    parts = [_patched(network, union, rows, names, settings, targets) for rows in members]
    if not parts:
        raise ValueError("there is no record to forget")
    owners: list[tuple[int, ...]] = [(0,)] * len(union.x)
    if len(parts) > 1:
        owners = _owners(network, union, parts, names, settings)
    parts = [
        replace(part, staying=np.array([owners[row] == (mine,) for row in part.rows], bool))
        for mine, part in enumerate(parts)
    ]
    for together in sorted({who for who in owners if len(who) > 1}):
        served = {  # in the patch of a request where one region has one answer, some have no gate
            int(row)
            for mine in together
            for row, member in zip(
                parts[mine].rows, parts[mine].made.assignment.member, strict=True
            )
            if member >= 0 and owners[row] == together
        }
        rows = np.array(sorted(served, key=lambda row: names[row]), dtype=np.int64)
        if len(rows):
            parts.append(_patched(network, union, rows, names, settings, targets))
    return _joined(parts, len(union.x))


def _take(union: Request, rows: Index) -> Request:
    return Request(union.x[rows], union.y[rows])


def _patched(
    network: Network,
    union: Request,
    rows: Index,
    names: Sequence[str],
    settings: Settings,
    targets: F64 | None,
) -> _Part:
    """Patch the records `rows` as if there were no others."""
    wanted = targets[rows] if settings.spec is Spec.REFERENCE and targets is not None else targets
    together = "".join(sorted(names[row] for row in rows))
    tag = hashlib.sha256(together.encode()).hexdigest()[:TAG_DIGITS]
    made = make_patch(network, _take(union, rows), settings, targets=wanted, prefix=f"{tag}-")
    return _Part(rows, made, np.ones(len(rows), bool))


def _owners(
    network: Network,
    union: Request,
    parts: Sequence[_Part],
    names: Sequence[str],
    settings: Settings,
) -> list[tuple[int, ...]]:
    """Return for each record whose it is: the requests that it hangs together with."""
    near = TOUCHING if settings.spec is Spec.REFERENCE else NEAR
    everyone = {int(row) for part in parts for row in part.rows}
    used = np.array(sorted(everyone, key=lambda row: names[row]), dtype=np.int64)
    rows, gates = [], []
    first = len(union.x)
    for part in parts:
        table = part.made.patch.table
        sharpness = table.sharpness[table.group]
        alone = PatchedNetwork(network, part.made.patch)
        for start in range(0, len(used), BATCH):
            chosen = used[start : start + BATCH]
            row, gate = np.nonzero(alone.violations(union.x[chosen]) * sharpness < near)
            rows.append(chosen[row])
            gates.append(gate + first)
        first += part.made.patch.gates
    here, there = np.concatenate(rows), np.concatenate(gates)
    links = csr_array((np.ones(len(here), bool), (here, there)), shape=(first, first))
    _, label = connected_components(links, directed=False)
    asked: dict[int, set[int]] = {}
    for mine, part in enumerate(parts):
        for number in np.unique(label[part.rows]).tolist():
            asked.setdefault(number, set()).add(mine)
    return [tuple(sorted(asked.get(int(number), ()))) for number in label[: len(union.x)]]


def _joined(parts: Sequence[_Part], count: int) -> Made:
    """Return the gates that serve a staying record, and where each record's gate is."""
    names, member = [""] * count, np.full(count, -1, dtype=np.int64)
    target = np.full(count, -1, dtype=np.int64)
    reason = ["no request asks for it"] * count
    groups: list[Group] = []
    found: list[Multipliers] = []
    for part in parts:
        source = np.full(count, -1)  # which of the part's records the patch has from here
        assigned = part.made.assignment
        serving: dict[str, list[int]] = {}
        for index in np.flatnonzero(part.staying & (assigned.member >= 0)).tolist():
            serving.setdefault(assigned.group[index], []).append(int(assigned.member[index]))
        place: dict[tuple[str, int], int] = {}
        for group in part.made.patch.groups:
            kept = np.unique(np.array(serving.get(group.name, ()), dtype=np.int64))
            place.update({(group.name, int(old)): new for new, old in enumerate(kept)})
            if len(kept):
                groups.append(group.only(kept))
            elif not len(group.patterns):
                groups.append(group)
        for index in np.flatnonzero(part.staying | (assigned.member < 0)).tolist():
            row, where = int(part.rows[index]), (assigned.group[index], int(assigned.member[index]))
            if member[row] < 0:
                names[row], member[row] = where[0], place.get(where, -1)
                target[row], reason[row] = assigned.target[index], assigned.reason[index]
                source[row] = index
        if part.made.multipliers is not None:
            found.append(multipliers_of(part.made.multipliers, source))
    patch = Patch(tuple(groups), parts[0].made.patch.classes, parts[0].made.patch.units)
    assignment = Assignment(tuple(names), member, target, tuple(reason))
    return Made(patch, assignment, _side_by_side(found))


def multipliers_of(multipliers: Multipliers, source: Index) -> Multipliers:
    """Return the rows of record `source[i]` as those of record i, none where it is -1."""
    first, stop = (np.searchsorted(multipliers.record, source + more) for more in (0, 1))
    length = np.where(source >= 0, stop - first, 0)
    chosen = np.repeat(first - np.cumsum(length) + length, length) + np.arange(length.sum())
    return multipliers.rows(chosen, np.repeat(np.arange(len(source)), length))


def _side_by_side(parts: Sequence[Multipliers]) -> Multipliers | None:
    """Return the rows of all parts, which speak of different records."""
    if not parts:
        return None
    record = np.concatenate([m.record for m in parts])
    ends = np.cumsum([0, *(len(m.units) for m in parts)])
    starts = [m.start[:-1] + end for m, end in zip(parts, ends[:-1], strict=True)]
    order = np.argsort(record, kind="stable")
    length = np.concatenate([np.diff(m.start) for m in parts])[order]
    start = np.concatenate(starts)[order]
    entries = np.repeat(start - np.cumsum(length) + length, length) + np.arange(length.sum())
    return Multipliers(
        parts[0].width,
        record[order],
        np.concatenate([m.objective for m in parts])[order],
        np.concatenate([m.index for m in parts])[order],
        np.concatenate([[0], np.cumsum(length)]).astype(np.int64),
        np.concatenate([m.units for m in parts])[entries],
        np.concatenate([m.values for m in parts])[entries],
    )
