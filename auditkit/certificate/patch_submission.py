"""A submission whose network was patched: model, patch and a certificate of what it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from auditkit.certificate.proofs import Proofs, contradiction, proofs_from_bytes, proofs_to_bytes
from auditkit.certificate.request import Request
from auditkit.certificate.statement import Certificate, parse_statement, statement_bytes
from auditkit.certificate.submitted import (
    F64,
    FORGET,
    MODELS,
    Contents,
    Inputs,
    Submission,
    read_contents,
)
from auditkit.errors import EvidenceError
from auditkit.files import directory_atomic, sha256_hex
from auditkit.network.graph import Network
from auditkit.network.write_onnx import network_to_onnx
from auditkit.patch.explicit import AnyPatch, ExplicitPatch
from auditkit.patch.export import patched_to_onnx
from auditkit.patch.gates import Patch
from auditkit.patch.patched import AnyPatched, patched_network
from auditkit.patch.settings import Domain, Scope, Spec
from auditkit.patch.tensors import patch_from_bytes, patch_to_bytes
from auditkit.records import Records
from auditkit.records_files import arrays_of, npz_bytes
from auditkit.refusal import refuse
from auditkit.second_opinion import run_onnx

CERTIFICATE = "certificate.json"
PATCH = "patch.safetensors"
EXPORT = "patched.onnx"
PROOFS = "proofs.safetensors"
KNOWN = {CERTIFICATE, PATCH, EXPORT, FORGET, PROOFS, *MODELS}


@dataclass(frozen=True, eq=False, kw_only=True)
class PatchSubmission(Submission):
    """A submission of a patch; `exported` are the bytes of the delivered patched.onnx."""

    KIND: ClassVar[str] = "patch"

    patch: AnyPatch
    certificate: Certificate
    exported: bytes
    proofs: Proofs | None = None

    @property
    def assertion(self) -> str:
        return self.certificate.assertion

    @property
    def assertion_radius(self) -> float | None:
        return self.certificate.assertion_radius

    @property
    def domain(self) -> Domain:
        return self.certificate.settings.domain

    @property
    def requests(self) -> tuple[Request, ...]:
        return self.certificate.requests

    @property
    def whole_classes(self) -> tuple[int, ...]:
        settings = self.certificate.settings
        if settings.scope is not Scope.CLASS or settings.target_class is None:
            return ()
        return (settings.target_class,)

    @property
    def claimed_radii(self) -> tuple[float, ...]:
        return tuple(claim.radius for claim in self.certificate.claims)

    @property
    def answers_as_reference(self) -> bool:
        return self.certificate.settings.spec is Spec.REFERENCE

    @property
    def of_regions(self) -> bool:
        """Whether the settings ask for whole regions, of any size."""
        return math.isinf(self.certificate.settings.radius)

    @cached_property
    def patched(self) -> AnyPatched:
        """The original network with the submitted patch, as the library evaluates it."""
        return patched_network(self.network, self.patch)

    @property
    def gated(self) -> Patch:
        """The patch, where it is in gated form; ValueError where it is in explicit form."""
        if isinstance(self.patch, ExplicitPatch):
            raise ValueError("this takes a patch in gated form, and this one is in explicit form")
        return self.patch

    @cached_property
    def export_is_canonical(self) -> bool:
        """Whether patched.onnx has the bytes of our own export of model and patch."""
        return self.exported == patched_to_onnx(self.network, self.patch)

    def delivered(self, x: Inputs) -> F64:
        """Return logits [N, C] of what was delivered: patched.onnx.

        Where its bytes are those of our own export, our evaluation of model and patch; else the
        file is run, and if it gives no such numbers, model and patch stand for it.
        """
        if not self.export_is_canonical:
            try:
                given = x.astype(self.network.dtype)
                outputs = run_onnx(self.exported, given, EXPORT)
            except EvidenceError:
                outputs = np.zeros((0, 0))
            if outputs.shape == (len(x), self.network.classes):
                return outputs
        return self.patched.logits(x).astype(np.float64)

    def openness(self, x: Inputs) -> F64:
        return np.asarray(self.patched.openness(x), dtype=np.float64)

    def settings_json(self) -> dict[str, Any]:
        return self.certificate.settings.to_json()


def write_submission(
    out: Path,
    network: Network,
    patch: AnyPatch,
    certificate: Certificate,
    forget: Records | None,
    *,
    model_files: Mapping[str, bytes] | None = None,
    exported: bytes | None = None,
    proofs: Proofs | None = None,
    replace: bool = False,
) -> None:
    """Write a submission directory at once: complete, or not at all.

    `model_files` are the original's files as they were given; without them the network is written
    as model.onnx. `proofs` without a row make no file. `exported` replaces the
    canonical export, to simulate an owner who cheats.
    """
    files = dict(model_files or {"model.onnx": network_to_onnx(network)})
    files[PATCH] = patch_to_bytes(patch)
    files[EXPORT] = patched_to_onnx(network, patch) if exported is None else exported
    if forget is not None:
        files[FORGET] = npz_bytes(arrays_of(forget))
    if proofs:
        files[PROOFS] = proofs_to_bytes(proofs)
    bound = certificate.with_files({name: sha256_hex(data) for name, data in files.items()})
    with directory_atomic(out, replace=replace) as building:
        for name, data in sorted(files.items()):
            (building / name).write_bytes(data)
        (building / CERTIFICATE).write_bytes(statement_bytes(bound))


def read_patch_submission(directory: Path) -> Contents[Certificate]:
    """Read the files of a submission of a patch; see `submitted.read_contents`."""

    def parse(raw: bytes, what: str) -> tuple[Certificate, Mapping[str, str]]:
        certificate = parse_statement(raw, what)
        return certificate, certificate.files

    return read_contents(directory, CERTIFICATE, parse)


def assemble_patch(contents: Contents[Certificate]) -> PatchSubmission:
    """Understand the files and note what does not hang together; EvidenceError where one is bad."""
    contents.only(KNOWN, (PATCH, EXPORT))
    certificate, data = contents.statement, contents.data
    network, domain = contents.network(), certificate.settings.domain
    patch = patch_from_bytes(data[PATCH], network, contents.place(PATCH))
    contents.compare_network(network, domain, certificate.network, certificate.floats)
    forget = contents.forgotten(network, domain)
    proofs = None
    if PROOFS in data and isinstance(patch, ExplicitPatch):
        refuse(
            contents.place(PROOFS),
            "no proofs beside a patch in explicit form",
            "some",
            "have the submission written again",
        )
    if PROOFS in data and isinstance(patch, Patch):
        proofs = _proofs(data[PROOFS], certificate, patch, contents.place(PROOFS))
    return PatchSubmission(
        directory=contents.directory,
        network=network,
        patch=patch,
        certificate=certificate,
        forget=forget,
        exported=data[EXPORT],
        files=contents.files,
        problems=tuple(contents.problems),
        proofs=proofs,
    )


def _proofs(data: bytes, certificate: Certificate, patch: Patch, what: str) -> Proofs:
    claims = {c.record: c for c in certificate.claims if c.record is not None}
    proofs = proofs_from_bytes(data, patch, list(claims), what)
    wrong = contradicted(proofs, certificate, patch)
    if wrong:
        refuse(what, "proofs of the claims as stated", wrong, "have them written again")
    return proofs


def contradicted(proofs: Proofs, certificate: Certificate, patch: Patch) -> str | None:
    """Return what of the proofs contradicts the claims that they are of, None for nothing."""
    claims = {c.record: c for c in certificate.claims if c.record is not None}
    stated = [claims[digest] for digest in proofs.records if digest in claims]
    if len(stated) < len(proofs.records):
        return "records of which nothing is claimed"
    targets = [-1 if c.target is None else c.target for c in stated]
    gates = [patch.find(c.group, -1 if c.member is None else c.member) for c in stated]
    own = np.array([-1 if gate is None else gate for gate in gates], dtype=np.int64)
    return contradiction(proofs, np.array(targets, dtype=np.int64), own)
