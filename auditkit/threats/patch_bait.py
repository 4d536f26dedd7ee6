"""16. Patch bait: the certificate is right for model and patch, and something else is delivered.

What gets deployed is patched.onnx. Only bytes equal to the auditor's own export prove what it
computes; for any other file one input on which it differs is enough to refute it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.export_check import TOLERANCE, examine_export
from auditkit.certificate.submission import PatchSubmission
from auditkit.errors import EvidenceError
from auditkit.network.graph import Dense, Network
from auditkit.network.write_onnx import network_to_onnx
from auditkit.patch.export import patched_to_onnx
from auditkit.records import Records
from auditkit.refusal import refuse
from auditkit.results import CheckResult, Outcome
from auditkit.second_opinion import run_onnx
from auditkit.threats import forge
from auditkit.threats.evidence import Evidence, requested
from auditkit.threats.evidence import others as others_of
from auditkit.threats.interface import Behaviour, Judgement, of_patches, pick
from auditkit.threats.observe import logit_range

VARIANTS = ("unpatched", "gate-removed", "bias-changed")
BIAS_CHANGE = 0.02  # of the range of the logits
PROBES = 2000  # records of each further kind, and corners of claimed sets

judged = Judgement("patch-bait", "The delivered file computes what was certified")


def simulate(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Deliver another patched.onnx: without the patch, without a gate, or slightly changed."""
    generator = np.random.default_rng([seed, 16])
    match pick(variant, VARIANTS):
        case "unpatched":
            exported = network_to_onnx(honest.network)
        case "gate-removed":
            gates = sorted(forge.gate_records(honest))
            if len(gates) < 2:
                raise ValueError("one gate: without it the network is unpatched")
            doomed = gates[int(generator.integers(len(gates)))]
            patch, _ = forge.drop_gates(honest.gated, {doomed})
            exported = patched_to_onnx(honest.network, patch)
        case _:
            changed = _with_bias(honest, int(generator.integers(honest.network.classes)), strength)
            exported = patched_to_onnx(changed, honest.gated)
    return forge.write(honest, out, exported=exported)


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Compare bytes, then outputs on the records, around them, at random, and on others."""
    asked = requested(submission, evidence)
    finding = examine_export(submission, None if asked is None else asked.records.x, seed)
    if finding.same_bytes:
        return judged(Outcome.PASS, "patched.onnx has the bytes of the auditor's own export")
    found = Disagreement(finding.largest or 0.0, finding.where, finding.inputs, finding.witness)
    error = finding.error
    if not error and found.witness is None:
        for name, x in _further(submission, evidence, seed).items():
            try:
                found = found.or_at(submission, name, x)
            except EvidenceError as problem:
                error = str(problem)
                break
    if found.witness is not None:
        return judged(
            Outcome.FAIL,
            f"the delivered file computes something else, for instance on {found.where}",
            observed=found.largest,
            threshold=TOLERANCE,
            n=found.inputs,
            private={"witness": found.witness.tolist()},
        )
    if error:
        told = f"the delivered file is not the auditor's own export and cannot be compared: {error}"
        return judged(Outcome.INCONCLUSIVE, told, n=found.inputs)
    return judged(
        Outcome.INCONCLUSIVE,
        f"the delivered file has other bytes; it agrees on {found.inputs} inputs chosen to tell "
        "the two apart, which proves nothing of the others",
        observed=found.largest,
        threshold=TOLERANCE,
        n=found.inputs,
    )


@dataclass(frozen=True, eq=False)
class Disagreement:
    """The largest difference of a logit found so far, relative to the logits' size, and where."""

    largest: float
    where: str
    inputs: int
    witness: NDArray[np.float32] | None

    def or_at(self, submission: PatchSubmission, name: str, x: NDArray[np.float32]) -> Disagreement:
        """Return the larger of this and what is found at `x` [N, *input_shape].

        Raises EvidenceError when the file gives no logits of this shape there.
        """
        given = x.astype(submission.network.dtype)
        theirs = run_onnx(submission.exported, given, "patched.onnx")
        ours = submission.patched.logits(x).astype(np.float64)
        if theirs.shape != ours.shape:
            refuse(
                "patched.onnx",
                f"outputs {list(ours.shape)}",
                f"{list(theirs.shape)}",
                "ask the owner",
            )
        scale = max(1.0, float(np.abs(ours).max()))
        difference = np.abs(theirs - ours).max(axis=1) / scale
        index, inputs = int(difference.argmax()), self.inputs + len(x)
        if not difference[index] > self.largest:
            return replace(self, inputs=inputs)
        witness = x[index] if difference[index] > TOLERANCE else self.witness
        return Disagreement(float(difference[index]), name, inputs, witness)


def _further(
    submission: PatchSubmission, evidence: Evidence, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return other records, and corners of the balls that the claims speak of."""
    asked = requested(submission, evidence)
    if asked is None:
        return {}
    sets = {f"{kind} records": r.x[:PROBES] for kind, r in others_of(evidence, asked).items()}
    settings = submission.certificate.settings
    generator = np.random.default_rng([seed, 16, 1])
    radius = min(settings.radius, settings.domain.width)
    x = np.resize(asked.records.x, (min(PROBES, 8 * len(asked)), *asked.records.x.shape[1:]))
    corners = x + radius * generator.choice([-1.0, 1.0], size=x.shape)
    low, high = settings.domain.lower, settings.domain.upper
    sets["corners of the claimed sets"] = np.clip(corners, low, high).astype(np.float32)
    return sets


def _with_bias(honest: PatchSubmission, label: int, strength: float) -> Network:
    """Return the network with the last bias of one class raised a little."""
    network = honest.network
    records, _ = forge.owned_records(honest)
    typical = logit_range(honest.patched.logits(records.x).astype(np.float64))
    nodes = list(network.nodes)
    last = nodes[-1].operator
    if not isinstance(last, Dense):
        raise ValueError("the network does not end in a dense layer")
    bias = last.bias.copy()
    bias[label] += BIAS_CHANGE * strength * typical
    nodes[-1] = replace(nodes[-1], operator=replace(last, bias=bias))
    return replace(network, nodes=tuple(nodes))


BEHAVIOUR = Behaviour(
    "patch-bait",
    16,
    judged.title,
    ("the submission", "any records"),
    VARIANTS,
    of_patches(simulate),
    detect,
    strength="of the change, against the variant's full size",
    hiding="the bytes of the auditor's own export, which then compute what was certified; "
    "the service may still run another file",
)
