"""Requests in order: what each is called, what must hold of the list, whom each gate is owed to.

The core network never changes. A patch is a function of the core, the settings and the set of
active requests; the list says how it came about. A request is named by a digest of its records'
keyed digests and of its parent's name, so that a changed list does not fit its own names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.openness import fully_open
from auditkit.certificate.request import Request
from auditkit.certificate.statement import Certificate
from auditkit.certificate.submission import PatchSubmission
from auditkit.files import canonical_json, sha256_hex
from auditkit.network.graph import Network
from auditkit.patch.generate import Made as MadePatch
from auditkit.patch.generate import Request as PatchRequest
from auditkit.patch.history import make_history, multipliers_of
from auditkit.patch.region_rows import ExplicitMade
from auditkit.patch.settings import Settings, Spec
from auditkit.records import Records

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

ID_DIGITS = 16


def request_id(records: Sequence[str], parent: str | None) -> str:
    """Return the id of the request for `records` (keyed digests) that follows `parent`."""
    content = {"parent": parent, "records": sorted(records)}
    return f"request-{sha256_hex(canonical_json(content))[:ID_DIGITS]}"


def new_request(records: Sequence[str], parent: str | None) -> Request:
    """Return an active request for `records`, each once, its groups still to be known."""
    distinct = tuple(dict.fromkeys(records))
    return Request(request_id(distinct, parent), distinct, (), "active", parent)


def active(requests: Sequence[Request]) -> tuple[Request, ...]:
    """Return the requests that are in force."""
    return tuple(request for request in requests if request.status == "active")


def active_records(requests: Sequence[Request]) -> tuple[str, ...]:
    """Return the keyed digests of all active requests' records, each once, in order."""
    return tuple(dict.fromkeys(d for request in active(requests) for d in request.records))


def request_faults(requests: Sequence[Request]) -> list[str]:
    """Return what contradicts itself in the list of requests."""
    faults = []
    seen: set[str] = set()
    previous = None
    for request in requests:
        name = request.id
        if name in seen:
            faults.append(f"two requests are called {name}")
        seen.add(name)
        if request.parent != previous:
            faults.append(f"{name} names {request.parent} as its parent, it follows {previous}")
        if name != request_id(request.records, request.parent):
            faults.append(f"{name} is not the name that its records and its parent give")
        if not request.records or len(set(request.records)) != len(request.records):
            faults.append(f"{name} lists no record, or one twice")
        if len(set(request.groups)) != len(request.groups):
            faults.append(f"{name} lists a group twice")
        if request.status != "active" and request.groups:
            faults.append(f"{name} is withdrawn and still has groups")
        previous = name
    return faults


def history_faults(certificate: Certificate) -> list[str]:
    """Return what contradicts itself in the list of requests, and what claims do not fit it."""
    faults = request_faults(certificate.requests)
    served: dict[str, set[str]] = {}
    for request in active(certificate.requests):
        for digest in request.records:
            served.setdefault(digest, set()).update(request.groups)
    stray = sum(digest not in served for digest in certificate.unclaimed)
    foreign = 0
    for claim in certificate.claims:
        if claim.record is not None:
            stray += claim.record not in served
            foreign += claim.record in served and claim.group not in served[claim.record]
    if stray:
        faults.append(f"{stray} claim(s), or reasons for none, about records in no active request")
    if foreign:
        faults.append(f"{foreign} claim(s) on a group of another request than the record's")
    return faults


def derive_patch(
    network: Network,
    requests: Sequence[Request],
    records: Records,
    digests: Sequence[str],
    settings: Settings,
    targets: F64 | None,
) -> MadePatch:
    """Return the patch that the active requests give; the assignment is that of `records` [N].

    `digests` [N] are keyed; requests may name records that are not there, which are left out.
    `targets` are [N, C] for `reference`, [C] for `neutralise`. Raises ValueError when the requests
    cannot be met.
    """
    first = {digest: row for row, digest in reversed(list(enumerate(digests)))}
    union = np.array(sorted(first.values()), dtype=np.int64)
    place = {digests[row]: index for index, row in enumerate(union.tolist())}
    members = [
        np.array([place[d] for d in request.records if d in place], dtype=np.int64)
        for request in active(requests)
    ]
    made = make_history(
        network,
        PatchRequest(records.x[union].astype(network.dtype), records.y[union]),
        [rows for rows in members if len(rows)],
        [digests[row] for row in union.tolist()],
        settings,
        targets[union] if settings.spec is Spec.REFERENCE and targets is not None else targets,
    )
    if len(union) == len(records):
        return made
    spread = [place[digest] for digest in digests]  # a record that is given twice has one gate
    assigned = made.assignment
    assignment = replace(
        assigned,
        group=tuple(assigned.group[i] for i in spread),
        member=assigned.member[spread],
        target=assigned.target[spread],
        reason=tuple(assigned.reason[i] for i in spread),
    )
    multipliers = made.multipliers and multipliers_of(made.multipliers, np.array(spread))
    return replace(made, assignment=assignment, multipliers=multipliers)


def with_groups(
    requests: Sequence[Request], made: MadePatch | ExplicitMade, digests: Sequence[str]
) -> tuple[Request, ...]:
    """Return the requests, the active ones with the groups that serve a record of theirs."""
    present = {group.name for group in made.patch.groups}
    serving = {
        digest: name
        for digest, name in zip(digests, made.assignment.group, strict=True)
        if name in present
    }
    return tuple(
        replace(r, groups=tuple(sorted({serving[d] for d in r.records if d in serving})))
        if r.status == "active"
        else replace(r, groups=())
        for r in requests
    )


@dataclass(frozen=True, eq=False)
class Owed:
    """Which gates [G] some active request accounts for, and what lists of groups do not.

    A gate is accounted for where it is fully open at a record of a request that lists its group;
    `idle` names (request, group) where no gate of the listed group is.
    """

    gates: Bits
    idle: tuple[tuple[str, str], ...]


def owed_gates(submission: PatchSubmission, records: Records, digests: Sequence[str]) -> Owed:
    """Return which gates are owed to a request for some of `records` [N] of keyed `digests`."""
    table = submission.patch.table
    stored = table.source[table.group]
    index = {name: number for number, name in enumerate(g.name for g in submission.patch.groups)}
    ungated = set(table.source[table.always].tolist())
    opened = fully_open(submission, records.x)
    rows: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        rows.setdefault(digest, []).append(row)
    owed = np.zeros(len(stored), dtype=bool)
    idle = []
    for request in active(submission.certificate.requests):
        mine = [row for digest in request.records for row in rows.get(digest, ())]
        here = np.asarray(opened[mine].any(axis=0))
        for name in request.groups:
            number = index.get(name)
            gates = np.flatnonzero(stored == number) if number is not None else np.zeros(0, int)
            owed[gates] |= here[gates]
            if not here[gates].any() and not (number in ungated and mine):
                idle.append((request.id, name))
    return Owed(owed, tuple(idle))


def history_rows(requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Return each request in counts, for people: nothing that tells a record."""
    return [
        {"id": r.id, "status": r.status, "records": len(r.records), "groups": len(r.groups)}
        for r in requests
    ]
