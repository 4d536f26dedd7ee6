"""Which gates two patches over the same network have in common, and which only one of them has."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.openness import fully_open
from auditkit.certificate.submission import PatchSubmission
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.gates import GateTable
from auditkit.records import Records

Bits = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class GateMatch:
    """Flat gates of two patches, in pairs (owner's, auditor's); the rest by side.

    `alike` counts pairs of the same pattern bits; the others serve the same record through bits
    that differ only where a pre-activation is within the auditor's dead zone, or through a region
    that is written out. `missing` are gates
    that the owner's patch lacks, `extra` those that only it has. `served` [auditor's gates] and
    `touched` [owner's gates] list the records (indices) at which a gate is fully open.
    """

    pairs: tuple[tuple[int, int], ...]
    alike: int
    missing: tuple[int, ...]
    extra: tuple[int, ...]
    served: tuple[tuple[int, ...], ...]
    touched: tuple[tuple[int, ...], ...]


def match_gates(
    owner: PatchSubmission, auditor: PatchSubmission, records: Records | None
) -> GateMatch:
    """Pair gates by pattern bits, each once, then by the record that they serve.

    Gates whose regions are written out have no bits: they are paired by the record alone.
    """
    if isinstance(owner.patch, ExplicitPatch) or isinstance(auditor.patch, ExplicitPatch):
        return _by_record(owner, auditor, records)
    theirs, ours = owner.patch.table, auditor.patch.table
    waiting: dict[bytes, list[int]] = defaultdict(list)
    for gate, bits in reversed(list(enumerate(ours.patterns))):
        waiting[np.packbits(bits).tobytes()].append(gate)
    pairs, extra = [], []
    for gate, bits in enumerate(theirs.patterns):
        same = waiting[np.packbits(bits).tobytes()]
        if same:
            pairs.append((gate, same.pop()))
        else:
            extra.append(gate)
    alike = len(pairs)
    missing = sorted(gate for gates in waiting.values() for gate in gates)
    served, touched = _open_at(auditor, ours, records), _open_at(owner, theirs, records)
    if missing and extra:
        zone = float(ours.dead_zone.max())
        strict = replace(theirs, dead_zone=np.full_like(theirs.dead_zone, zone))
        theirs_there = _open_at(owner, strict, records)
        for gate in list(missing):
            for other in extra:
                if set(served[gate]) & set(theirs_there[other]):
                    pairs.append((other, gate))
                    missing.remove(gate)
                    extra.remove(other)
                    break
    return GateMatch(tuple(pairs), alike, tuple(missing), tuple(extra), served, touched)


def _by_record(
    owner: PatchSubmission, auditor: PatchSubmission, records: Records | None
) -> GateMatch:
    """Pair gates, each once, that are open at a common record."""
    touched, served = _open_at(owner, None, records), _open_at(auditor, None, records)
    waiting: dict[int, list[int]] = defaultdict(list)
    for gate in reversed(range(len(served))):
        for record in served[gate]:
            waiting[record].append(gate)
    pairs: list[tuple[int, int]] = []
    extra: list[int] = []
    taken: set[int] = set()
    for gate, places in enumerate(touched):
        free = [g for record in places for g in reversed(waiting[record]) if g not in taken]
        if free:
            taken.add(free[0])
            pairs.append((gate, free[0]))
        else:
            extra.append(gate)
    missing = tuple(gate for gate in range(len(served)) if gate not in taken)
    return GateMatch(tuple(pairs), 0, missing, tuple(extra), served, touched)


def everywhere(submission: PatchSubmission) -> tuple[int, ...]:
    """Return, for every group that acts without a gate, the class it lowers, in order."""
    if isinstance(submission.patch, ExplicitPatch):
        return ()
    table = submission.patch.table
    return tuple(sorted(int(row.argmin()) for row in table.offset[table.always]))


def _open_at(
    submission: PatchSubmission, table: GateTable | None, records: Records | None
) -> tuple[tuple[int, ...], ...]:
    if records is None:
        return ((),) * submission.patch.gates
    opened = fully_open(submission, records.x, table)
    return tuple(tuple(np.flatnonzero(column).tolist()) for column in opened.T)
