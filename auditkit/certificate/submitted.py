"""What every submission has in common, whichever way its network was made to forget.

An owner hands over the original network, what was delivered in its place, a statement that binds
every file, and the list of requests. The rest of an audit reads these and asks of the delivered
network only what it answers, so that a patch and a network unlearned by another method are audited
alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.certificate.in_toto import statement_problem
from auditkit.certificate.request import Request
from auditkit.errors import EvidenceError, ExitCode
from auditkit.files import files_in, read_bytes, sha256_hex
from auditkit.network.digest import semantic_digest
from auditkit.network.graph import Network
from auditkit.network.native import network_from_native
from auditkit.network.read_onnx import network_from_onnx
from auditkit.network.simplify import simplify
from auditkit.patch.settings import Domain
from auditkit.records import Records, checked
from auditkit.records_files import read_npz

F64 = NDArray[np.float64]
Inputs = NDArray[np.float32]

FORGET = "forget.npz"
MODELS = ("model.onnx", "model.safetensors", "model.json")


class TamperError(EvidenceError):
    """A file is not the one that the statement binds."""

    exit_code = ExitCode.FAILED


@dataclass(frozen=True)
class Problem:
    """A way in which the files of a submission do not hang together."""

    file: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, eq=False, kw_only=True)
class Submission(ABC):
    """A submission whose files could be read; `problems` says what does not hang together.

    `network` is the original; `files` gives the SHA-256 of each file, the statement's included.
    """

    KIND: ClassVar[str]  # "patch", or "model" where another method gave another network

    directory: Path
    network: Network
    forget: Records | None
    files: Mapping[str, str]
    problems: tuple[Problem, ...]

    @property
    @abstractmethod
    def assertion(self) -> str:
        """What the owner asserts: "redirected" or "erased"."""

    @property
    @abstractmethod
    def assertion_radius(self) -> float | None:
        """Within which radius outputs are said to be redirected; None where nothing is said."""

    @property
    @abstractmethod
    def domain(self) -> Domain:
        """The input box of every feature."""

    @property
    @abstractmethod
    def requests(self) -> tuple[Request, ...]:
        """The deletion requests, in order."""

    @property
    @abstractmethod
    def whole_classes(self) -> tuple[int, ...]:
        """The classes that are stated to be forgotten as a whole, in order; () for none."""

    @property
    @abstractmethod
    def claimed_radii(self) -> tuple[float, ...]:
        """The radius of each claim about a record, possibly infinite; () where none is made."""

    @property
    @abstractmethod
    def answers_as_reference(self) -> bool:
        """Whether only the forgotten records are answered as a reference network answers them."""

    @abstractmethod
    def delivered(self, x: Inputs) -> F64:
        """Return logits [N, C] of what was delivered at `x` [N, *input_shape]."""

    @abstractmethod
    def openness(self, x: Inputs) -> F64 | None:
        """Return [N] how far gates are open at `x`, or None where there are no gates."""

    @abstractmethod
    def settings_json(self) -> dict[str, Any]:
        """Return what the owner states of how it was made, as JSON values."""

    @cached_property
    def network_digest(self) -> str:
        """The semantic digest of the original network on its domain."""
        return network_digest(self.network, self.domain)

    def record_key(self, listed: Records | None) -> bytes | None:
        """Return the key of the records' digests: that of the auditor's list, else the owner's."""
        keys = [r.key for r in (listed, self.forget) if r is not None and r.key is not None]
        return keys[0] if keys else None


def network_digest(network: Network, domain: Domain) -> str:
    """Return the semantic digest of a network on a domain, as statements name it."""
    return semantic_digest(network, (domain.lower, domain.upper))


Stated = TypeVar("Stated")


@dataclass(frozen=True, eq=False)
class Contents(Generic[Stated]):
    """The files of a submission as they were read, and what its statement says.

    `data` has every listed file but the statement itself, which is `raw`; `problems` grows while
    the files are understood.
    """

    directory: Path
    name: str
    statement: Stated
    raw: bytes
    data: dict[str, bytes]
    problems: list[Problem]

    @property
    def files(self) -> dict[str, str]:
        """The SHA-256 of each file."""
        digests = {name: sha256_hex(content) for name, content in self.data.items()}
        return {self.name: sha256_hex(self.raw), **digests}

    def place(self, name: str) -> str:
        """Return how a file is called in messages."""
        return str(self.directory / name)

    def only(self, known: set[str], needed: tuple[str, ...]) -> None:
        """Note a file that no submission of this kind has; EvidenceError where one is missing."""
        unknown = sorted(set(self.data) - known)
        if unknown:
            self.problems.append(
                Problem(unknown[0], "a file that a submission has", "an unknown one")
            )
        for name in needed:
            if name not in self.data:
                raise EvidenceError(
                    str(self.directory),
                    expected=f"{name} among the files",
                    found="none",
                    remedy="ask the owner for the complete submission",
                )

    def network(self) -> Network:
        """Return the original network; EvidenceError where there is none, or more than one."""
        present = [name for name in MODELS if name in self.data]
        if present == ["model.onnx"]:
            return network_from_onnx(self.data["model.onnx"], self.place("model.onnx"))
        if present == ["model.safetensors", "model.json"]:
            document, tensors = self.data["model.json"], self.data["model.safetensors"]
            return simplify(network_from_native(document, tensors, self.place("model")))
        raise EvidenceError(
            str(self.directory),
            expected="one model: model.onnx, or model.safetensors with model.json",
            found=", ".join(present) or "none",
            remedy="ask the owner for the complete submission",
        )

    def compare_network(self, network: Network, domain: Domain, stated: str, floats: str) -> None:
        """Note where the original is not the network that the statement names."""
        digest = network_digest(network, domain)
        if digest != stated:
            self.problems.append(Problem("model", f"a network of semantic digest {stated}", digest))
        if floats != network.dtype.name:
            self.problems.append(
                Problem(self.name, f"floats of the network, {network.dtype}", floats)
            )

    def forgotten(self, network: Network, domain: Domain) -> Records | None:
        """Return the owner's list of records; EvidenceError where they do not fit the network."""
        if FORGET not in self.data:
            return None
        what = self.place(FORGET)
        raw = read_npz(self.data[FORGET], what)
        bounds = (domain.lower, domain.upper)
        return checked(raw, what, network.input_shape, network.classes, bounds)


def statement_in(directory: Path, names: tuple[str, ...]) -> str:
    """Return which of these statements the directory has; EvidenceError unless just one."""
    present = {path.name for path in files_in(directory, what="submission")}
    found = [name for name in names if name in present]
    if len(found) == 1:
        return found[0]
    raise EvidenceError(
        str(directory),
        expected=f"a submission with {' or '.join(names)}, and not both",
        found="both" if found else ", ".join(sorted(present)[:8]) or "an empty directory",
        remedy="give the directory that the owner handed over",
    )


def read_contents(
    directory: Path, statement: str, parse: Callable[[bytes, str], tuple[Stated, Mapping[str, str]]]
) -> Contents[Stated]:
    """Read every file that the statement lists, and note what is not as it was written.

    `parse` returns what the statement says and the files that it lists. Raises TamperError when a
    listed file is missing and the list was changed, EvidenceError when one is missing or refused.
    """
    names = {path.name for path in files_in(directory, what="submission")}
    what = statement.removesuffix(".json")
    raw = read_bytes(directory / statement, limit=limits.JSON_BYTES, what=what, submitted=True)
    said, listed = parse(raw, str(directory / statement))
    problems = []
    changed = statement_problem(raw)
    if changed:
        problems.append(Problem(statement, f"a {what} as it was written", changed))
    data: dict[str, bytes] = {}
    for name in sorted(names - {statement}):
        if name not in listed:
            problems.append(Problem(name, f"only files that the {what} lists", "one more"))
            continue
        data[name] = read_bytes(
            directory / name, limit=limits.MODEL_BYTES, what=name, submitted=True
        )
        digest = sha256_hex(data[name])
        if digest != listed[name]:
            problems.append(Problem(name, f"SHA-256 {listed[name]}", digest))
    for name in sorted(set(listed) - names):
        raise_tampered(directory, problems)  # a changed list explains what is missing
        raise EvidenceError(
            str(directory / name),
            expected=f"a file that the {what} lists",
            found="none",
            remedy="ask the owner for the complete submission",
        )
    return Contents(directory, statement, said, raw, data, problems)


def raise_tampered(
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
