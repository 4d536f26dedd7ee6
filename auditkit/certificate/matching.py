"""Which record a claim speaks of, which gate, and what nobody claimed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Claims
from auditkit.certificate.identity import record_digests
from auditkit.certificate.policy import Policy
from auditkit.certificate.statement import Claim
from auditkit.certificate.submission import PatchSubmission
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.settings import Method, Spec
from auditkit.records import Records

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Matched:
    """The claims that can be checked, aligned: claim i is about record `record[i]`.

    `faults` name what is wrong with a claim before any mathematics; `missing` are requested
    records (indices) without a claim; `unknown` counts claims about records that are not there.
    """

    records: Records
    digests: tuple[str, ...]
    claims: Claims
    record: Index
    faults: tuple[str, ...]
    missing: Index
    unknown: int
    requested: int


def match_claims(
    submission: PatchSubmission, records: Records, key: bytes, policy: Policy
) -> Matched:
    """Align the certificate's region claims with `records`, the ones that were to be forgotten."""
    certificate, patch = submission.certificate, submission.patch
    digests = record_digests(records, key)
    place: dict[str, int] = {}
    for index, digest in enumerate(digests):
        place.setdefault(digest, index)
    faults: list[str] = []
    rows: list[int] = []
    gates: list[int] = []
    chosen: list[Claim] = []
    unknown = 0
    seen: set[str] = set()
    for claim in certificate.claims:
        if claim.kind != "region":
            continue
        assert claim.record is not None and claim.member is not None
        if claim.record not in place:
            unknown += 1
            continue
        if claim.record in seen:
            faults.append("two claims about one record")
            continue
        seen.add(claim.record)
        gate = patch.find(claim.group, claim.member)
        if gate is None:
            faults.append(f"a claim names gate {claim.member} of group {claim.group}: no such gate")
            continue
        fault = _fault(claim, submission, records, place[claim.record], gate, policy)
        if fault:
            faults.append(fault)
            continue
        rows.append(place[claim.record])
        gates.append(gate)
        chosen.append(claim)
    record = np.array(rows, dtype=np.int64)
    claims = Claims(
        x=records.x[record].astype(np.float64),
        gate=np.array(gates, dtype=np.int64),
        radius=np.array([c.radius for c in chosen], dtype=np.float64),
        margin=np.array([c.margin for c in chosen], dtype=np.float64),
        target=np.array([-1 if c.target is None else c.target for c in chosen], dtype=np.int64),
    )
    claimed = {digests[i] for i in rows}
    missing = np.array([i for d, i in place.items() if d not in claimed], dtype=np.int64)
    return Matched(
        records, digests, claims, record, tuple(faults), missing, unknown, requested=len(place)
    )


def _fault(
    claim: Claim, submission: PatchSubmission, records: Records, row: int, gate: int, policy: Policy
) -> str | None:
    """Return what makes a claim worthless or contradictory, or None."""
    settings, patch = submission.certificate.settings, submission.patch
    if claim.margin != settings.margin:
        return f"a claim with margin {claim.margin} where the settings say {settings.margin}"
    if not claim.radius > 0:
        return f"a claim of radius {claim.radius}"
    if claim.radius > settings.radius:
        return f"a claim of radius {claim.radius} beyond the settings' {settings.radius}"
    floor = policy.least_radius * (policy.domain[1] - policy.domain[0])
    if claim.radius < floor:
        return f"a claim of radius {claim.radius:g}, below the policy's {floor:g}"
    # an explicit group's offset is affine, which serves either purpose
    explicit = output = isinstance(patch, ExplicitPatch)
    if not isinstance(patch, ExplicitPatch):
        output = bool(patch.table.kind_output[patch.table.group[gate]])
    if settings.spec is Spec.REDIRECT:
        if (output and not explicit) or claim.target is None:
            return "a redirect claim on a group that does not redirect"
        if claim.target >= submission.network.classes:
            return f"a target label {claim.target} of {submission.network.classes} classes"
        if claim.target == int(records.y[row]):
            return "a record redirected to its own label"
        return None
    if not output or claim.target is not None:
        return f"a {settings.spec.value} claim on a group of constant offset"
    return None


def policy_faults(submission: PatchSubmission, policy: Policy) -> list[str]:
    """Return how the certificate's settings fall below the auditor's floors."""
    settings = submission.certificate.settings
    faults = []
    proved = [c.radius for c in submission.certificate.claims if c.kind == "region"]
    asserted = submission.certificate.assertion_radius
    if submission.certificate.assertion == "redirected" and proved:
        if asserted is None:
            faults.append("redirection is asserted without a radius")
        elif asserted > min(proved):
            faults.append(
                f"redirection is asserted within {asserted:g}, claimed within {min(proved):g}"
            )
    if settings.spec.value not in policy.specifications:
        faults.append(f"specification {settings.spec.value} is not allowed")
    low, high = policy.domain
    if settings.domain.lower > low or settings.domain.upper < high:
        faults.append(
            f"the claimed domain [{settings.domain.lower:g}, {settings.domain.upper:g}] does not "
            f"contain the policy's [{low:g}, {high:g}]"
        )
    if settings.spec is Spec.REDIRECT or settings.method is Method.SUPPRESS:
        if settings.margin < policy.least_margin:
            faults.append(
                f"margin {settings.margin:g} is below the policy's {policy.least_margin:g}"
            )
    elif settings.margin > policy.greatest_deviation:
        faults.append(
            f"deviation {settings.margin:g} is above the policy's {policy.greatest_deviation:g}"
        )
    patch = submission.patch
    if settings.spec is Spec.NEUTRALISE and not isinstance(patch, ExplicitPatch):
        offsets = patch.table.offset
        if len(offsets) and (offsets != offsets[0]).any():
            faults.append("neutralise with more than one target vector")
    return faults
