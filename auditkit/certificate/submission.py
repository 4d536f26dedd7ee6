"""A submission: what an owner hands over, written whole and read without believing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from auditkit import limits
from auditkit.certificate.proofs import Proofs, contradiction, proofs_from_bytes, proofs_to_bytes
from auditkit.certificate.statement import (
    Certificate,
    parse_statement,
    statement_bytes,
    statement_problem,
)
from auditkit.errors import EvidenceError, ExitCode
from auditkit.files import directory_atomic, files_in, read_bytes, sha256_hex
from auditkit.network.digest import semantic_digest
from auditkit.network.graph import Network
from auditkit.network.native import network_from_native
from auditkit.network.read_onnx import network_from_onnx
from auditkit.network.simplify import simplify
from auditkit.network.write_onnx import network_to_onnx
from auditkit.patch.explicit import AnyPatch, ExplicitPatch
from auditkit.patch.export import patched_to_onnx
from auditkit.patch.gates import Patch
from auditkit.patch.patched import AnyPatched, patched_network
from auditkit.patch.tensors import patch_from_bytes, patch_to_bytes
from auditkit.records import Records, checked
from auditkit.records_files import arrays_of, npz_bytes, read_npz
from auditkit.refusal import refuse

CERTIFICATE = "certificate.json"
PATCH = "patch.safetensors"
EXPORT = "patched.onnx"
FORGET = "forget.npz"
PROOFS = "proofs.safetensors"
MODELS = ("model.onnx", "model.safetensors", "model.json")
KNOWN = {CERTIFICATE, PATCH, EXPORT, FORGET, PROOFS, *MODELS}


class TamperError(EvidenceError):
    """A file is not the one that the certificate binds."""

    exit_code = ExitCode.FAILED


@dataclass(frozen=True)
class Problem:
    """A way in which the files of a submission do not hang together."""

    file: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, eq=False)
class Submission:
    """A submission whose files could be read; `problems` says what does not hang together."""

    directory: Path
    network: Network
    patch: AnyPatch
    certificate: Certificate
    forget: Records | None
    exported: bytes
    files: Mapping[str, str]
    problems: tuple[Problem, ...]
    proofs: Proofs | None = None

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

    def record_key(self, listed: Records | None) -> bytes | None:
        """Return the key of the records' digests: that of the auditor's list, else the owner's."""
        keys = [r.key for r in (listed, self.forget) if r is not None and r.key is not None]
        return keys[0] if keys else None

    @cached_property
    def network_digest(self) -> str:
        domain = self.certificate.settings.domain
        return semantic_digest(self.network, (domain.lower, domain.upper))


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


def load_submission(directory: Path) -> Submission:
    """Read a submission that must hang together.

    Raises TamperError when a digest or the list of files does not match, EvidenceError when a
    file is missing, malformed or refused.
    """
    directory = Path(directory)
    submission = read_submission(directory)
    _raise_tampered(directory, list(submission.problems))
    return submission


def read_submission(directory: Path) -> Submission:
    """Read a submission and note what does not hang together.

    Raises TamperError when a file that does not match its digest cannot be read either, and
    EvidenceError when a file that matches is missing, malformed or refused.
    """
    directory = Path(directory)
    present = files_in(directory, what="submission")
    names = {path.name for path in present}
    if CERTIFICATE not in names:
        found = ", ".join(sorted(names)[:8]) or "an empty directory"
        raise EvidenceError(
            str(directory),
            expected=f"a submission with {CERTIFICATE}",
            found=found,
            remedy="give the directory that the owner handed over",
        )
    raw = read_bytes(
        directory / CERTIFICATE, limit=limits.JSON_BYTES, what="certificate", submitted=True
    )
    certificate = parse_statement(raw, str(directory / CERTIFICATE))
    problems = []
    changed = statement_problem(raw)
    if changed:
        problems.append(Problem(CERTIFICATE, "a certificate as it was written", changed))
    data: dict[str, bytes] = {}
    for name in sorted(names - {CERTIFICATE}):
        if name not in certificate.files:
            problems.append(Problem(name, "only files that the certificate lists", "one more"))
            continue
        data[name] = read_bytes(
            directory / name, limit=limits.MODEL_BYTES, what=name, submitted=True
        )
        digest = sha256_hex(data[name])
        if digest != certificate.files[name]:
            problems.append(Problem(name, f"SHA-256 {certificate.files[name]}", digest))
    for name in sorted(set(certificate.files) - names):
        _raise_tampered(directory, problems)  # a changed list explains what is missing
        raise EvidenceError(
            str(directory / name),
            expected="a file that the certificate lists",
            found="none",
            remedy="ask the owner for the complete submission",
        )
    try:
        return _assemble(directory, certificate, raw, data, problems)
    except EvidenceError as error:
        _raise_tampered(directory, problems, error)  # what was changed explains it
        raise


def _raise_tampered(
    directory: Path, problems: list[Problem], cause: EvidenceError | None = None
) -> None:
    """Raise the first problem, if there is one, as the error of the file that was changed."""
    for problem in problems:
        raise TamperError(
            str(directory / problem.file),
            expected=problem.expected,
            found=problem.found,
            remedy="ask the owner for the submission as it was made",
        ) from cause


def _assemble(
    directory: Path,
    certificate: Certificate,
    raw: bytes,
    data: dict[str, bytes],
    problems: list[Problem],
) -> Submission:
    unknown = sorted(set(data) - KNOWN)
    if unknown:
        problems.append(Problem(unknown[0], "a file that a submission has", "an unknown one"))
    for name in (PATCH, EXPORT):
        if name not in data:
            raise EvidenceError(
                str(directory),
                expected=f"{name} among the files",
                found="none",
                remedy="ask the owner for the complete submission",
            )
    network = _network(directory, data)
    patch = patch_from_bytes(data[PATCH], network, str(directory / PATCH))
    settings = certificate.settings
    digest = semantic_digest(network, (settings.domain.lower, settings.domain.upper))
    if digest != certificate.network:
        problems.append(
            Problem("model", f"a network of semantic digest {certificate.network}", digest)
        )
    if certificate.floats != network.dtype.name:
        problems.append(
            Problem(CERTIFICATE, f"floats of the network, {network.dtype}", certificate.floats)
        )
    forget = None
    if FORGET in data:
        forget = checked(
            read_npz(data[FORGET], str(directory / FORGET)),
            str(directory / FORGET),
            network.input_shape,
            network.classes,
            (settings.domain.lower, settings.domain.upper),
        )
    proofs = None
    if PROOFS in data and isinstance(patch, ExplicitPatch):
        refuse(
            str(directory / PROOFS),
            "no proofs beside a patch in explicit form",
            "some",
            "have the submission written again",
        )
    if PROOFS in data and isinstance(patch, Patch):
        proofs = _proofs(data[PROOFS], certificate, patch, str(directory / PROOFS))
    return Submission(
        directory=directory,
        network=network,
        patch=patch,
        certificate=certificate,
        forget=forget,
        exported=data[EXPORT],
        files={
            CERTIFICATE: sha256_hex(raw),
            **{name: sha256_hex(content) for name, content in data.items()},
        },
        problems=tuple(problems),
        proofs=proofs,
    )


def _proofs(data: bytes, certificate: Certificate, patch: Patch, what: str) -> Proofs:
    claims = {c.record: c for c in certificate.claims if c.record is not None}
    proofs = proofs_from_bytes(data, patch, list(claims), what)
    stated = [claims[digest] for digest in proofs.records]
    targets = [-1 if c.target is None else c.target for c in stated]
    gates = [patch.find(c.group, -1 if c.member is None else c.member) for c in stated]
    own = np.array([-1 if gate is None else gate for gate in gates], dtype=np.int64)
    wrong = contradiction(proofs, np.array(targets, dtype=np.int64), own)
    if wrong:
        refuse(what, "proofs of the claims as stated", wrong, "have them written again")
    return proofs


def _network(directory: Path, data: dict[str, bytes]) -> Network:
    present = [name for name in MODELS if name in data]
    if present == ["model.onnx"]:
        return network_from_onnx(data["model.onnx"], str(directory / "model.onnx"))
    if present == ["model.safetensors", "model.json"]:
        what = str(directory / "model")
        return simplify(network_from_native(data["model.json"], data["model.safetensors"], what))
    raise EvidenceError(
        str(directory),
        expected="one model: model.onnx, or model.safetensors with model.json",
        found=", ".join(present) or "none",
        remedy="ask the owner for the complete submission",
    )
