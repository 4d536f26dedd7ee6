"""The owner's side: state the claims that the checker will accept, with the widest radius.

The prover believes nothing of its own either: it asks the checker, and where a claim does not hold
at the radius that was asked for, because another gate cannot be shown to be closed so far out, it
claims less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Claims, Verdict
from auditkit.certificate.checking import check_patch
from auditkit.certificate.statement import Claim
from auditkit.network.graph import Network
from auditkit.patch.generate import Made
from auditkit.patch.region_rows import ExplicitMade
from auditkit.patch.settings import Method, Settings
from auditkit.records import Records

HALVINGS = 6


@dataclass(frozen=True)
class Proved:
    """Claims that the checker accepts, and the records for which there is none, with the reason."""

    claims: tuple[Claim, ...]
    unclaimed: dict[str, str]


def prove(
    network: Network,
    made: Made | ExplicitMade,
    records: Records,
    digests: tuple[str, ...],
    settings: Settings,
) -> Proved:
    """Return the claims for `records` [N], named by their keyed `digests`."""
    if settings.method is Method.SUPPRESS:
        assert settings.target_class is not None
        claim = Claim(
            "suppressed",
            None,
            made.assignment.group[0],
            None,
            math.inf,
            settings.margin,
            settings.target_class,
        )
        return Proved((claim,), {})
    assignment = made.assignment
    found = [
        made.patch.find(group, int(member))
        for group, member in zip(assignment.group, assignment.member, strict=True)
    ]
    gates = np.array([-1 if gate is None else gate for gate in found], dtype=np.int64)
    served = np.flatnonzero(gates >= 0)
    claims = Claims(
        x=records.x[served].astype(np.float64),
        gate=gates[served],
        radius=np.full(len(served), settings.radius),
        margin=np.full(len(served), settings.margin),
        target=assignment.target[served],
    )
    radius = widest_radius(network, made, claims, settings)
    stated: dict[str, Claim] = {}
    unclaimed: dict[str, str] = {}
    for position, index in enumerate(served):
        digest = digests[index]
        if not radius[position] > 0:
            unclaimed[digest] = "another gate cannot be shown to be closed near it"
            continue
        stated[digest] = Claim(
            "region",
            digest,
            assignment.group[index],
            int(assignment.member[index]),
            float(radius[position]),
            settings.margin,
            None if assignment.target[index] < 0 else int(assignment.target[index]),
        )
    for index in np.flatnonzero(gates < 0):
        unclaimed[digests[index]] = assignment.reason[index]
    ordered = tuple(stated[d] for d in dict.fromkeys(digests) if d in stated)
    return Proved(ordered, {d: r for d, r in unclaimed.items() if d not in stated})


def widest_radius(
    network: Network, made: Made | ExplicitMade, claims: Claims, settings: Settings
) -> NDArray[np.float64]:
    """Return for each claim the radius asked for, or the largest halving that is proved, or 0."""
    lower, upper = settings.domain.lower, settings.domain.upper
    radius = np.minimum(claims.radius, upper - lower)
    radius = np.where(np.isinf(claims.radius), np.inf, radius)
    best = np.zeros(len(claims))
    open_rows = np.arange(len(claims))
    for _ in range(HALVINGS + 1):
        if not len(open_rows):
            break
        asked = replace(claims.take(open_rows), radius=radius[open_rows])
        found, _ = check_patch(network, made.patch, asked, lower, upper)
        good = (found.region == Verdict.PROVED) & (found.deployed == Verdict.PROVED)
        best[open_rows[good]] = radius[open_rows[good]]
        open_rows = open_rows[~good]
        radius[open_rows] = np.minimum(radius[open_rows], upper - lower) / 2
    return best
