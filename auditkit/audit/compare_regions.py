"""By how much can two patched networks differ on the regions that both make claims about?

On R(s) ∩ ball both have the gate of s fully open, so that each adds its own known offset, and
every group that the checker shows to be closed adds exactly 0. What is left is an interval of the
other groups. Where bands may close a gate on a part of it, there is no bound. The bound holds for
the networks in exact arithmetic, not for samples.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from auditkit.audit.compare_forms import across_forms, perhaps_cut
from auditkit.certificate.check import Findings, check_claims
from auditkit.certificate.matching import Matched, match_claims
from auditkit.certificate.policy import Policy
from auditkit.certificate.submission import PatchSubmission
from auditkit.network.rigorous import enlarge
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.gates import GateTable
from auditkit.patch.settings import Method
from auditkit.records import Records

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RegionBounds:
    """For claim i, about record `record[i]`: no logit differs by more than `bound[i]` within
    `radius[i]`; `cross_talk[i]` says that other gates could not be shown to be closed there.

    `unbounded` counts why nothing is said of the other requested records.
    """

    record: NDArray[np.int64]
    radius: F64
    bound: F64
    cross_talk: NDArray[np.bool_]
    unbounded: dict[str, int]


def region_bounds(
    owner: PatchSubmission, auditor: PatchSubmission, records: Records, keys: tuple[bytes, bytes]
) -> RegionBounds:
    """Bound |F_owner - F_auditor| on every region that both claim, at the smaller radius.

    `keys` are the owner's and the auditor's, under which claims name `records`.
    """
    if Method.SUPPRESS in (s.certificate.settings.method for s in (owner, auditor)):
        return _nothing({"a suppressed class has no regions": len(records)})
    matches = [
        match_claims(submission, records, key, Policy(least_radius=0.0))
        for submission, key in zip((owner, auditor), keys, strict=True)
    ]
    if isinstance(owner.patch, ExplicitPatch) or isinstance(auditor.patch, ExplicitPatch):
        found = across_forms((owner, auditor), (matches[0], matches[1]), len(records))
        return RegionBounds(*(getattr(found, field.name) for field in fields(found)))
    theirs, ours, unbounded = _in_common(owner, auditor, matches, len(records))
    if not len(theirs):
        return _nothing(unbounded)
    radius = np.minimum(matches[0].claims.radius[theirs], matches[1].claims.radius[ours])
    checked = []
    for submission, match, rows in ((owner, matches[0], theirs), (auditor, matches[1], ours)):
        domain = submission.certificate.settings.domain
        claims = replace(match.claims.take(rows), radius=radius)
        checked.append(
            check_claims(submission.network, submission.gated, claims, domain.lower, domain.upper)
        )
    gates = matches[0].claims.gate[theirs], matches[1].claims.gate[ours]
    bound = _bound(owner, auditor, gates, (checked[0], checked[1]))
    crossing = (checked[0].crossing > 0) | (checked[1].crossing > 0)
    return RegionBounds(matches[0].record[theirs], radius, bound, crossing, unbounded)


def _nothing(why: dict[str, int]) -> RegionBounds:
    none = np.zeros(0)
    return RegionBounds(none.astype(np.int64), none, none, none.astype(bool), why)


def _in_common(
    owner: PatchSubmission, auditor: PatchSubmission, matches: list[Matched], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, int]]:
    """Return the rows of either side's claims that speak of the same region in the same way."""
    place = {int(record): row for row, record in enumerate(matches[1].record)}
    tables = owner.gated.table, auditor.gated.table
    pairs, why = [], Counter[str]()
    for row, record in enumerate(matches[0].record):
        other = place.get(int(record))
        if other is None:
            continue
        gates = matches[0].claims.gate[row], matches[1].claims.gate[other]
        kinds = [t.kind_output[t.group[g]] for t, g in zip(tables, gates, strict=True)]
        if (tables[0].patterns[gates[0]] != tables[1].patterns[gates[1]]).any():
            why["the gates have other patterns, so that the regions differ"] += 1
        elif kinds[0] != kinds[1]:
            why["the offsets are of different kinds"] += 1
        else:
            pairs.append((row, other))
    left = count - len(pairs) - sum(why.values())
    if left:
        why["not claimed by both"] = left
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1], dict(why)


def _bound(
    owner: PatchSubmission,
    auditor: PatchSubmission,
    gates: tuple[NDArray[np.int64], NDArray[np.int64]],
    found: tuple[Findings, Findings],
) -> F64:
    """Return [N] the greatest difference of a logit: own offsets, and what else may be open."""
    tables = owner.gated.table, auditor.gated.table
    own = np.zeros((len(gates[0]), owner.network.classes))
    spread = np.zeros_like(own)
    for sign, table, gate, finding in zip((1, -1), tables, gates, found, strict=True):
        group = table.group[gate]
        output = table.kind_output[group][:, None]
        value = np.where(output, table.offset[group], _constant(table)[group])
        own += sign * (value + _constant(table)[table.always].sum(axis=0))
        # an output group reaches q only where |q - f| ≤ K; `lead` bounds |q - f| on the set
        spread += np.where(output, np.maximum(0, finding.lead - table.bound[group][:, None]), 0)
        spread[perhaps_cut(table, gate, finding)] = np.inf
    shared = _shared_groups(*tables)
    if shared is not None:
        change = np.abs(tables[0].offset - tables[1].offset[shared])
        change += 2 * np.abs(tables[0].bound - tables[1].bound[shared])[:, None]
        crossing = np.minimum(found[0].crossing, found[1].crossing)
        talk = _largest(tables[0], change, tables[0].group[gates[0]], crossing)
    else:
        talk = np.zeros_like(own)
        for table, gate, finding in zip(tables, gates, found, strict=True):
            reach = np.where(table.kind_output[:, None], table.bound[:, None], _constant(table))
            talk += _largest(table, np.abs(reach), table.group[gate], finding.crossing)
    total = enlarge(np.abs(own) + spread + talk, 2 * len(tables[0].bound) + 64)
    return np.where(np.isnan(total), np.inf, total).max(axis=1)


def _constant(table: GateTable) -> F64:
    """Return [M, C] what each group of constant offset adds when it is open."""
    return np.clip(table.offset, -table.bound[:, None], table.bound[:, None])


def _shared_groups(one: GateTable, other: GateTable) -> NDArray[np.int64] | None:
    """Return for each group the other patch's group that is open wherever it is, if all have one.

    Those have the same gates and bands, sharpness and dead zone, hence the same t at every input.
    There a contribution changes by at most |Δoffset| + 2 |ΔK|, each step from one to the other
    being clipped or thresholded, which enlarges no distance.
    """

    def identities(table: GateTable) -> list[tuple[object, ...]]:
        members: list[list[bytes]] = [[] for _ in table.bound]
        for gate, group in enumerate(table.group):
            bands = [(b.unit[gate], b.center[gate], b.width[gate]) for b in table.bands]
            bits = np.packbits(table.patterns[gate]).tobytes()
            members[group].append(bits + np.array(bands, dtype=np.float64).tobytes())
        return [
            (
                tuple(sorted(members[group])),
                bool(table.kind_output[group]),
                bool(table.always[group]),
                float(table.sharpness[group]),
                float(table.dead_zone[group]),
            )
            for group in range(len(table.bound))
        ]

    places = {identity: group for group, identity in enumerate(identities(other))}
    wanted = identities(one)
    if len(places) != len(other.bound) or len(set(wanted)) != len(wanted):
        return None  # a group that is there twice
    if set(wanted) != set(places):
        return None
    return np.array([places[identity] for identity in wanted], dtype=np.int64)


def _largest(
    table: GateTable, reach: F64, own: NDArray[np.int64], crossing: NDArray[np.int64]
) -> F64:
    """Return [N, C] the sum of the `crossing` [N] largest of `reach` [M, C], the own group's out.

    Which groups cross is the checker's to know; the largest ones are as much as any of them.
    """
    result = np.zeros((len(own), reach.shape[1]))
    for row in np.flatnonzero(crossing):
        others = np.where(table.always[:, None], 0.0, reach)
        others[own[row]] = 0.0
        result[row] = np.sort(others, axis=0)[::-1][: crossing[row]].sum(axis=0)
    return result
