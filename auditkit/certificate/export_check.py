"""Is the delivered patched.onnx what model and patch make? Only equal bytes prove it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.submission import PatchSubmission
from auditkit.errors import EvidenceError
from auditkit.refusal import refuse
from auditkit.second_opinion import run_onnx

NEIGHBOURS = 8
RANDOM_INPUTS = 1000
TOLERANCE = 1e-3  # of the size of the logits: far beyond what float32 rounding does


@dataclass(frozen=True, eq=False)
class ExportFinding:
    """Whether the bytes agree; if not, what a search for disagreement found.

    `largest` is the greatest difference of a logit over `inputs` inputs, relative to the size of
    the logits; `witness` an input on which the two differ beyond tolerance.
    """

    same_bytes: bool
    largest: float | None = None
    inputs: int = 0
    where: str = ""
    witness: NDArray[np.float32] | None = None
    error: str = ""


def examine_export(
    submission: PatchSubmission, records: NDArray[np.float32] | None, seed: int
) -> ExportFinding:
    """Compare the delivered export with our own: by bytes, else by search for disagreement."""
    if submission.export_is_canonical:
        return ExportFinding(same_bytes=True)
    probes = dict(search_inputs(submission, records, seed))
    count = sum(len(x) for x in probes.values())
    try:
        gaps = differences(submission, probes)
    except EvidenceError as error:
        return ExportFinding(False, error=str(error))
    largest, where, witness = 0.0, "", None
    for (name, x), gap in zip(probes.items(), gaps, strict=True):
        index = int(gap.argmax())
        if gap[index] > largest:
            largest, where = float(gap[index]), name
            witness = x[index] if largest > TOLERANCE else None
    return ExportFinding(False, largest, count, where, witness)


def differences(
    submission: PatchSubmission, sets: Mapping[str, NDArray[np.float32]]
) -> list[NDArray[np.float64]]:
    """Return for each set of inputs [N, *input_shape] the largest difference of a logit [N].

    Relative to the size of the logits on that set; the file is run once. Raises EvidenceError when
    it gives no logits of this shape.
    """
    x = np.concatenate(list(sets.values()))
    theirs = run_onnx(submission.exported, x.astype(submission.network.dtype), "patched.onnx")
    ours = submission.patched.logits(x).astype(np.float64)
    if theirs.shape != ours.shape:
        refuse("patched.onnx", f"outputs {list(ours.shape)}", f"{list(theirs.shape)}", "ask for it")
    gap, found, start = np.abs(theirs - ours).max(axis=1), [], 0
    for part in sets.values():
        rows = slice(start, start + len(part))
        found.append(gap[rows] / max(1.0, float(np.abs(ours[rows]).max(initial=0.0))))
        start += len(part)
    return found


def search_inputs(
    submission: PatchSubmission, records: NDArray[np.float32] | None, seed: int
) -> list[tuple[str, NDArray[np.float32]]]:
    """Return named sets of inputs on which two versions of a network may well differ."""
    settings = submission.certificate.settings
    low, high = settings.domain.lower, settings.domain.upper
    generator = np.random.default_rng([seed, 16])
    shape = submission.network.input_shape
    sets = []
    if records is not None and len(records):
        x = records.astype(np.float32)
        sets.append(("the forgotten records", x))
        near = np.repeat(x[:200], NEIGHBOURS, axis=0)
        step = generator.normal(0, 0.01 * (high - low), size=near.shape)
        sets.append(("their neighbourhood", np.clip(near + step, low, high).astype(np.float32)))
        far = np.repeat(x[:200], 2, axis=0)
        step = generator.uniform(-0.3, 0.3, size=far.shape) * (high - low)
        sets.append(("further around them", np.clip(far + step, low, high).astype(np.float32)))
    uniform = generator.uniform(low, high, size=(RANDOM_INPUTS, *shape))
    corners = np.where(generator.random((RANDOM_INPUTS, *shape)) < 0.5, low, high)
    sets.append(("random inputs", uniform.astype(np.float32)))
    sets.append(("corners of the domain", corners.astype(np.float32)))
    return sets
