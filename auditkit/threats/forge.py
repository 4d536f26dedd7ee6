"""What the simulations share: a submission written anew, with every digest restated.

Nothing here is given away by a digest: an owner who cheats signs what is delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from auditkit.certificate import history
from auditkit.certificate.identity import record_digests
from auditkit.certificate.patch_submission import contradicted
from auditkit.certificate.proofs import Proofs
from auditkit.certificate.prove import prove
from auditkit.certificate.statement import Certificate, Claim
from auditkit.certificate.submission import (
    MODELS,
    PatchSubmission,
    read_patched,
    write_submission,
)
from auditkit.network.evaluate import logits
from auditkit.network.write_onnx import network_to_onnx
from auditkit.patch.explicit import AnyPatch
from auditkit.patch.export import patched_to_onnx
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.patch.settings import Settings, Spec
from auditkit.records import Records
from auditkit.threats.assertion import ERASED

Gate = tuple[str, int]
"""A gate by the name of its stored group and its place there."""


def write(
    honest: PatchSubmission,
    out: Path,
    *,
    patch: AnyPatch | None = None,
    certificate: Certificate | None = None,
    exported: bytes | None = None,
) -> PatchSubmission:
    """Write the honest submission with these parts in place of its own, and read it back."""
    files = {
        name: (honest.directory / name).read_bytes() for name in MODELS if name in honest.files
    }
    write_submission(
        out,
        honest.network,
        patch or honest.patch,
        certificate or honest.certificate,
        honest.forget,
        model_files=files,
        exported=exported,
        proofs=proofs_that_fit(honest, patch, certificate),
    )
    return read_patched(out)


def proofs_that_fit(
    honest: PatchSubmission, patch: AnyPatch | None, certificate: Certificate | None
) -> Proofs | None:
    """Return the honest proofs of claims that still are what they were, of as many gates.

    None where the gates are others, so that one is said to be closed that a claim is about.
    """
    if honest.proofs is None or (patch is not None and patch.gates != honest.patch.gates):
        return None
    before = set(honest.certificate.claims)
    kept = {c.record for c in (certificate or honest.certificate).claims if c in before}
    names = honest.proofs.records
    rows = np.array([names[r] in kept for r in honest.proofs.multipliers.record], dtype=bool)
    chosen = np.flatnonzero(rows)
    multipliers = honest.proofs.multipliers
    kept_proofs = Proofs.of(names, multipliers.rows(chosen, multipliers.record[chosen]))
    new = patch or honest.patch
    assert isinstance(new, Patch)  # proofs are of gated patches
    return (
        None if contradicted(kept_proofs, certificate or honest.certificate, new) else kept_proofs
    )


def with_groups(patch: Patch, groups: Sequence[Group]) -> Patch:
    """Return a patch of these groups for the same network."""
    return Patch(tuple(groups), patch.classes, patch.units)


def owned_records(honest: PatchSubmission) -> tuple[Records, tuple[str, ...]]:
    """Return the forgotten records with their digests; ValueError when they are withheld."""
    if honest.forget is None or honest.forget.key is None:
        raise ValueError("the honest submission withholds its records or their key")
    return honest.forget, record_digests(honest.forget, honest.forget.key)


def remake(
    honest: PatchSubmission, records: Records, digests: tuple[str, ...], settings: Settings
) -> tuple[Patch, Certificate]:
    """Return patch and certificate as an owner makes them for `records`, said to be `digests`.

    Target vectors, where the specification has them, are those of the honest patch.
    """
    if settings.sharpness is None:
        raise ValueError("the sharpness is still to be resolved")
    requests, offsets = honest.certificate.requests, honest.gated.table.offset
    targets = None
    if settings.spec is Spec.NEUTRALISE:
        targets = offsets[0]
    elif settings.spec is Spec.REFERENCE:
        targets = offsets[np.arange(len(records)) % len(offsets)]
    made = history.derive_patch(honest.network, requests, records, digests, settings, targets)
    proved = prove(honest.network, made, records, digests, settings)
    certificate = replace(
        honest.certificate,
        settings=settings,
        requests=history.with_groups(requests, made, digests),
        claims=proved.claims,
        unclaimed=proved.unclaimed,
    )
    return made.patch, restated(certificate, proved.claims)


def sold_as_erasure(certificate: Certificate) -> Certificate:
    """Return the certificate under the assertion that what it redirects is erased."""
    return replace(certificate, assertion=ERASED, assertion_radius=None)


def restated(certificate: Certificate, claims: Sequence[Claim]) -> Certificate:
    """Return the certificate with these claims and the asserted radius they support."""
    radius = min((claim.radius for claim in claims), default=None)
    if certificate.assertion != "redirected":
        radius = None
    return replace(certificate, claims=tuple(claims), assertion_radius=radius)


def gate_records(
    honest: PatchSubmission, certificate: Certificate | None = None
) -> dict[tuple[str, int], int]:
    """Return for each claimed gate (group, member) the index of a record that it serves.

    As the honest certificate says, or the one given.
    """
    _, digests = owned_records(honest)
    place = {digest: index for index, digest in enumerate(digests)}
    return {
        (claim.group, claim.member): place[claim.record]
        for claim in (certificate or honest.certificate).claims
        if claim.record in place and claim.member is not None
    }


def a_share(gates: Sequence[Gate], strength: float, seed: Sequence[int]) -> set[Gate]:
    """Return a random share `strength` of gates, at least one."""
    count = min(len(gates), max(1, round(strength * len(gates))))
    order = np.random.default_rng(seed).permutation(len(gates))
    return {gates[i] for i in order[:count].tolist()}


def all_gates(patch: Patch) -> list[Gate]:
    """Return every (group, member) of a patch."""
    return [(group.name, m) for group in patch.groups for m in range(len(group.patterns))]


def set_apart(
    patch: Patch, certificate: Certificate, doomed: set[Gate]
) -> tuple[Patch, Certificate, set[str]]:
    """Return patch and certificate with some gates in groups of their own, and those groups' names.

    A group all of whose gates are meant stays as it is.
    """
    groups, apart, place = [], set(), {}
    for group in patch.groups:
        meant = [m for m in range(len(group.patterns)) if (group.name, m) in doomed]
        rest = [m for m in range(len(group.patterns)) if (group.name, m) not in doomed]
        if not meant or not rest:
            groups.append(group)
            apart |= {group.name} if meant else set()
            continue
        name = f"{group.name[:50]}-apart"
        groups += [group.only(rest), replace(group.only(meant), name=name)]
        apart.add(name)
        place.update({(group.name, old): (group.name, new) for new, old in enumerate(rest)})
        place.update({(group.name, old): (name, new) for new, old in enumerate(meant)})
    claims = []
    for claim in certificate.claims:
        gate = (claim.group, claim.member if claim.member is not None else -1)
        name, member = place.get(gate, (claim.group, claim.member))
        claims.append(replace(claim, group=name, member=member))
    new = {moved[0]: old[0] for old, moved in place.items() if moved[0] != old[0]}
    requests = tuple(
        replace(r, groups=(*r.groups, *(n for n, old in new.items() if old in r.groups)))
        for r in certificate.requests
    )
    certificate = replace(certificate, claims=tuple(claims), requests=requests)
    return with_groups(patch, groups), certificate, apart


def without_effect(
    honest: PatchSubmission, strength: float = 1.0, seed: Sequence[int] = (0,)
) -> tuple[Patch, Certificate]:
    """Return a patch of which a share of the gates changes nothing, and the certificate for it.

    Their offsets are 0, or the network's own answers.
    """
    records, _ = owned_records(honest)
    doomed = a_share(all_gates(honest.gated), strength, seed)
    patch, certificate, names = set_apart(honest.gated, honest.certificate, doomed)
    answers = logits(honest.network, records.x.astype(honest.network.dtype))
    served = gate_records(honest, certificate)
    groups = []
    for group in patch.groups:
        if group.name not in names:
            groups.append(group)
            continue
        if group.kind is not OffsetKind.OUTPUT:
            groups.append(replace(group, offset=np.zeros_like(group.offset)))
            continue
        rows = [served.get((group.name, m), 0) for m in range(len(group.patterns))]
        own = answers[rows] if group.stacked else answers[rows[0]]
        bound = group.bound if group.stacked or len(rows) == 1 else 0.0
        groups.append(replace(group, offset=own.astype(np.float32), bound=bound))
    return with_groups(patch, groups), certificate


def drop_gates(
    patch: Patch, doomed: set[tuple[str, int]]
) -> tuple[Patch, dict[tuple[str, int], int]]:
    """Return the patch without some (group, member), and each remaining one's new member."""
    groups, place = [], {}
    for group in patch.groups:
        kept = [m for m in range(len(group.patterns)) if (group.name, m) not in doomed]
        place.update({(group.name, old): new for new, old in enumerate(kept)})
        if not kept and len(group.patterns):
            continue
        groups.append(group.only(kept))
    return with_groups(patch, groups), place


def export_without(honest: PatchSubmission, strength: float, seed: int) -> bytes:
    """Return a patched.onnx in which a share of the gates is missing; all of them at 1."""
    doomed = a_share(all_gates(honest.gated), strength, [seed, 0])
    patch, _ = drop_gates(honest.gated, doomed)
    if not patch.groups:
        return network_to_onnx(honest.network)
    return patched_to_onnx(honest.network, patch)


def active_groups(certificate: Certificate, names: set[str]) -> Certificate:
    """Return the certificate with the groups that still exist, listed where they were."""
    requests = tuple(
        replace(r, groups=tuple(g for g in r.groups if g in names)) for r in certificate.requests
    )
    return replace(certificate, requests=requests)
