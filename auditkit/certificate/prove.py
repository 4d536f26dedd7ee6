"""The owner's side: state the claims that the checker will accept, with the widest radius.

The prover believes nothing of its own either: it asks the checker. Where the box alone does not
prove a claim it offers multipliers, and where these do not either, say because another gate cannot
be shown to be closed so far out, it claims less.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Claims, Verdict
from auditkit.certificate.checking import check_patch
from auditkit.certificate.policy import Policy
from auditkit.certificate.proofs import Proofs
from auditkit.certificate.prove_sets import Prover
from auditkit.certificate.statement import Claim
from auditkit.network.graph import Network
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.generate import Made
from auditkit.patch.region_rows import ExplicitMade
from auditkit.patch.settings import Method, Settings
from auditkit.records import Records

HALVINGS = 6


@dataclass(frozen=True)
class Proved:
    """Claims that the checker accepts, and the records for which there is none, with the reason.

    `proofs` are the multipliers that some of them need; `bounds` counts the claims by what proves
    them.
    """

    claims: tuple[Claim, ...]
    unclaimed: dict[str, str]
    proofs: Proofs | None = None
    bounds: Mapping[str, int] = field(default_factory=dict)


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
    prover: Prover | RowProver
    if isinstance(made, ExplicitMade):
        prover = RowProver(network, made.patch, claims, settings)
    else:
        prover = Prover(network, made.patch, claims, settings)
        if made.multipliers is not None:
            prover.take(made.multipliers, served)
    radius = widest_radius(prover, settings)
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
    names = [digests[index] for index in served]
    # of records that are given twice the last is stated
    places = {name: place for place, name in enumerate(names) if name in stated}.values()
    reasons = {d: r for d, r in unclaimed.items() if d not in stated}
    if isinstance(prover, RowProver):
        return Proved(ordered, reasons)
    offered = prover.multipliers(np.array(sorted(places), dtype=np.int64))
    bounds = Counter(prover.bound_of(place) for place in places)
    return Proved(ordered, reasons, Proofs.of(names, offered), bounds)


class RowProver:
    """Claims [N] on a patch in explicit form: the checker finds what it needs by itself."""

    def __init__(
        self, network: Network, patch: ExplicitPatch, claims: Claims, settings: Settings
    ) -> None:
        self.network, self.patch, self.claims = network, patch, claims
        self.domain = settings.domain

    def proves(self, rows: NDArray[np.int64], radius: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether the checker accepts the claims `rows` [K] within `radius` [K]."""
        asked = replace(self.claims.take(rows), radius=radius)
        found, _ = check_patch(
            self.network, self.patch, asked, self.domain.lower, self.domain.upper
        )
        accepted = (found.region == Verdict.PROVED) & (found.deployed == Verdict.PROVED)
        return np.asarray(accepted)


def widest_radius(prover: Prover | RowProver, settings: Settings) -> NDArray[np.float64]:
    """Return for each claim the radius asked for, or the largest halving that is proved, or 0.

    None below what the usual policy asks for: it would be a claim of nothing.
    """
    width = settings.domain.width
    least = min(Policy().least_radius * width, settings.radius)
    radius = prover.claims.radius
    radius = np.where(np.isinf(radius), np.inf, np.minimum(radius, width))
    best = np.zeros(len(radius))
    open_rows = np.arange(len(radius))
    for _ in range(HALVINGS + 1):
        if not len(open_rows):
            break
        good = prover.proves(open_rows, radius[open_rows])
        best[open_rows[good]] = radius[open_rows[good]]
        open_rows = open_rows[~good]
        radius[open_rows] = np.minimum(radius[open_rows], width) / 2
        open_rows = open_rows[radius[open_rows] >= least]
    return best
