"""A submission whose network was unlearned by another method than a patch.

There is nothing to prove here: every weight may have changed. What was delivered is a network, and
it is read as the hostile file that it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from auditkit.certificate.claim import (
    StatedGuarantee,
    StatedMethod,
    StatedUse,
    UnlearningClaim,
    claim_bytes,
    method_json,
    parse_claim,
)
from auditkit.certificate.request import Request
from auditkit.certificate.submitted import (
    F64,
    FORGET,
    MODELS,
    Contents,
    Inputs,
    Problem,
    Submission,
    network_digest,
    read_contents,
)
from auditkit.errors import UsageError
from auditkit.files import directory_atomic, sha256_hex
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.network.read_onnx import network_from_onnx
from auditkit.network.write_onnx import network_to_onnx
from auditkit.patch.settings import Domain
from auditkit.records import Records
from auditkit.records_files import arrays_of, npz_bytes
from auditkit.refusal import refuse

CLAIM = "claim.json"
UNLEARNED = "unlearned.onnx"
KNOWN = {CLAIM, UNLEARNED, FORGET, *MODELS}


@dataclass(frozen=True, eq=False, kw_only=True)
class UnlearnedSubmission(Submission):
    """A submission of another network in the original's place."""

    KIND: ClassVar[str] = "model"

    claim: UnlearningClaim
    unlearned: Network

    @property
    def assertion(self) -> str:
        return self.claim.assertion

    @property
    def assertion_radius(self) -> float | None:
        return None

    @property
    def domain(self) -> Domain:
        return self.claim.domain

    @property
    def requests(self) -> tuple[Request, ...]:
        return self.claim.requests

    @property
    def whole_classes(self) -> tuple[int, ...]:
        return self.claim.classes

    @property
    def claimed_radii(self) -> tuple[float, ...]:
        return ()

    @property
    def answers_as_reference(self) -> bool:
        return False  # what it says of retained records changed as well

    def delivered(self, x: Inputs) -> F64:
        """Return logits [N, C] of unlearned.onnx."""
        return np.asarray(logits(self.unlearned, x.astype(self.unlearned.dtype)), dtype=np.float64)

    def openness(self, x: Inputs) -> None:
        return None

    def settings_json(self) -> dict[str, Any]:
        return method_json(self.claim.method)

    @cached_property
    def unlearned_digest(self) -> str:
        """The semantic digest of the delivered network on its domain."""
        return network_digest(self.unlearned, self.domain)


def make_claim(
    network: Network,
    unlearned: Network,
    requests: tuple[Request, ...],
    method: StatedMethod,
    *,
    domain: Domain,
    classes: tuple[int, ...] = (),
    used: StatedUse | None = None,
    guarantee: StatedGuarantee | None = None,
    reached: bool = True,
    shortfall: str = "",
    assertion: str = "erased",
) -> UnlearningClaim:
    """Return the claim about these two networks, its files still to be bound."""
    return UnlearningClaim(
        assertion=assertion,
        network=network_digest(network, domain),
        unlearned=delivered_digest(unlearned, domain),
        domain=domain,
        floats=network.dtype.name,
        method=method,
        classes=classes,
        used=used or StatedUse(),
        guarantee=guarantee,
        reached=reached,
        shortfall=shortfall,
        requests=requests,
    )


def write_unlearned_submission(
    out: Path,
    network: Network,
    unlearned: Network,
    claim: UnlearningClaim,
    forget: Records | None,
    *,
    model_files: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> None:
    """Write a submission directory of an unlearned network at once: complete, or not at all.

    `model_files` are the original's files as they were given; without them the network is written
    as model.onnx. Raises UsageError when the two networks are not of the same task, or the claim
    is none that could be read again.
    """
    fault = unfit(network, unlearned)
    if fault:
        raise UsageError(
            str(out), expected=fault[0], found=fault[1], remedy="give a network of the same task"
        )
    files = dict(model_files or {"model.onnx": network_to_onnx(network)})
    files[UNLEARNED] = network_to_onnx(unlearned)
    if forget is not None:
        files[FORGET] = npz_bytes(arrays_of(forget))
    bound = claim.with_files({name: sha256_hex(data) for name, data in files.items()})
    statement = claim_bytes(bound)
    parse_claim(statement, str(out / CLAIM))  # what nobody could read is not written
    with directory_atomic(out, replace=replace) as building:
        for name, data in sorted(files.items()):
            (building / name).write_bytes(data)
        (building / CLAIM).write_bytes(statement)


def unfit(network: Network, unlearned: Network) -> tuple[str, str] | None:
    """Return what the unlearned network must have and what it has instead; None where it fits."""
    for what, wanted, found in (
        ("inputs", list(network.input_shape), list(unlearned.input_shape)),
        ("classes", network.classes, unlearned.classes),
        ("floats", network.dtype.name, unlearned.dtype.name),
    ):
        if wanted != found:
            return f"an unlearned network of {what} {wanted}, as the original", f"{found}"
    return None


def read_unlearned_submission(directory: Path) -> Contents[UnlearningClaim]:
    """Read the files of a submission of an unlearned network; see `submitted.read_contents`."""

    def parse(raw: bytes, what: str) -> tuple[UnlearningClaim, Mapping[str, str]]:
        claim = parse_claim(raw, what)
        return claim, claim.files

    return read_contents(directory, CLAIM, parse)


def assemble_unlearned(contents: Contents[UnlearningClaim]) -> UnlearnedSubmission:
    """Understand the files and note what does not hang together; EvidenceError where one is bad."""
    contents.only(KNOWN, (UNLEARNED,))
    claim = contents.statement
    network = contents.network()
    unlearned = network_from_onnx(contents.data[UNLEARNED], contents.place(UNLEARNED))
    fault = unfit(network, unlearned)
    if fault:
        refuse(contents.place(UNLEARNED), *fault, "ask the owner for the network of this task")
    beyond = [label for label in claim.classes if label >= network.classes]
    if beyond:
        expected = f"forgotten classes below {network.classes}"
        refuse(contents.place(CLAIM), expected, f"{beyond[0]}", "have the submission written again")
    contents.compare_network(network, claim.domain, claim.network, claim.floats)
    digest = network_digest(unlearned, claim.domain)
    if digest != claim.unlearned:
        expected = f"a network of semantic digest {claim.unlearned}"
        contents.problems.append(Problem(UNLEARNED, expected, digest))
    return UnlearnedSubmission(
        directory=contents.directory,
        network=network,
        forget=contents.forgotten(network, claim.domain),
        files=contents.files,
        problems=tuple(contents.problems),
        claim=claim,
        unlearned=unlearned,
    )


def delivered_digest(unlearned: Network, domain: Domain) -> str:
    """Return the semantic digest of a network as it reads from the file that is written of it."""
    read = network_from_onnx(network_to_onnx(unlearned), UNLEARNED, isolated=False)
    return network_digest(read, domain)
