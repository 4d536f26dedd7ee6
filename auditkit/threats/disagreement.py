"""Inputs at which a delivered file and our own export of the same patch may differ.

Records and random inputs find what is common. What is rare has to be looked for: in constants of
the file that our export does not have, and by search inside it (`search_onnx`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.export_check import TOLERANCE, differences
from auditkit.certificate.submission import PatchSubmission
from auditkit.errors import EvidenceError
from auditkit.network.units import unit_layout
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.export import patched_to_onnx
from auditkit.search_onnx import constants_beyond, promising
from auditkit.threats.trigger import PROGRAM_NUMBERS, program, region_program

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Sets = dict[str, F32]

WHAT = "patched.onnx"
HUGE = 1e12  # beyond it a constant is no input and no row of a polytope
MOST_ROWS = 48  # of one constant that are taken for inputs
MOST_PATTERNS = 8  # activation patterns whose regions are looked for
MOST_PAIRS = 8  # of a matrix with a vector that may go with it
STARTS = 160  # inputs of each kind that the search in the file begins from


@dataclass(frozen=True, eq=False)
class Disagreement:
    """The largest difference of a logit found so far, relative to the logits' size, and where."""

    largest: float
    where: str
    inputs: int
    witness: F32 | None

    def or_at(self, submission: PatchSubmission, sets: Sets) -> Disagreement:
        """Return the larger of this and what is found at `sets`, all in one run of the file.

        Raises EvidenceError when the file gives no logits of this shape there.
        """
        found = replace(self, inputs=self.inputs + sum(map(len, sets.values())))
        for (name, x), gap in zip(sets.items(), differences(submission, sets), strict=True):
            index = int(gap.argmax())
            if gap[index] > found.largest:
                witness = x[index] if gap[index] > TOLERANCE else found.witness
                found = replace(found, largest=float(gap[index]), where=name, witness=witness)
        return found


def searched(submission: PatchSubmission, sets: Sets, seed: int) -> Sets:
    """Return further inputs: those that the file itself names, and those that a search in it finds.

    `sets` are the inputs that are tried anyway. What cannot be read or run adds nothing.
    """
    own = patched_to_onnx(submission.network, submission.patch)
    found: Sets = {}
    try:
        named = from_constants(submission, constants_beyond(submission.exported, own, WHAT))
    except EvidenceError:
        named = np.zeros((0, *submission.network.input_shape), np.float32)
    if len(named):
        found["an input that the file itself names"] = named
    starts = np.concatenate([named[:STARTS], *(x[:STARTS] for x in sets.values())])
    domain = submission.certificate.settings.domain
    try:
        given = starts.astype(submission.network.dtype)
        bounds = (domain.lower, domain.upper)
        further = promising(submission.exported, own, given, bounds, seed, WHAT)
    except EvidenceError:
        return found
    found["an input found by search in the file"] = further.astype(np.float32)
    return found


def from_constants(submission: PatchSubmission, constants: list[NDArray[Any]]) -> F32:
    """Return inputs [M, *input_shape] in the domain that a file's further constants point to.

    A constant as large as an input may be one, scaled or not, or weights: then the corners at which
    it is greatest and least. A matrix with a vector is a polytope: its middle. Bits, one for each
    unit, are an activation pattern: a point of its region.
    """
    network, domain = submission.network, submission.certificate.settings.domain
    d = network.features
    floats = [c for c in constants if c.dtype == np.float64 and 0 < np.abs(c).max(initial=0) < HUGE]
    parts = [np.zeros((0, d))]
    for constant in floats:
        rows = _rows(constant, d)
        if rows is None:
            continue
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_ROWS).astype(int))]
        low, high = chosen.min(axis=1, keepdims=True), chosen.max(axis=1, keepdims=True)
        unit = (chosen - low) / np.where(high > low, high - low, 1.0)
        corner = np.where(chosen > 0, domain.upper, domain.lower)
        other = domain.upper + domain.lower - corner
        parts += [chosen, domain.lower + unit * domain.width, corner, other]
    parts += _middles(submission, floats)
    parts += _in_regions(submission, constants)
    flat = np.clip(np.concatenate(parts), domain.lower, domain.upper)
    return flat.reshape(-1, *network.input_shape).astype(np.float32)


def _rows(constant: F64, d: int) -> F64 | None:
    """Return a constant as rows of `d` numbers, if its shape allows it."""
    if constant.size == d:
        return constant.reshape(1, d)
    if constant.ndim > 1 and constant.shape[0] == d:
        return constant.reshape(d, -1).T
    trailing = 1
    for size in reversed(constant.shape):
        trailing *= size
        if trailing == d:
            return constant.reshape(-1, d)
    return None


def _middles(submission: PatchSubmission, floats: list[F64]) -> list[F64]:
    """Return middles of polytopes: any matrix of rows with any vector of as many numbers."""
    d = submission.network.features
    found: list[F64] = []
    pairs = [
        (rows, vector.reshape(-1))
        for matrix in floats
        if (rows := _rows(matrix, d)) is not None and len(rows) > 1
        for vector in floats
        if vector.size == len(rows) and len(rows) * d <= PROGRAM_NUMBERS
    ]
    for rows, vector in pairs[:MOST_PAIRS]:
        for sign in (1.0, -1.0):
            solved = np.linalg.lstsq(rows, sign * vector, rcond=None)[0]
            found.append(np.asarray(solved[None], np.float64))
            for side in (1.0, -1.0):
                middle, _ = program(submission, side * rows, side * sign * vector)
                if middle is not None:
                    found.append(middle.reshape(1, d))
    return found


def _in_regions(submission: PatchSubmission, constants: list[NDArray[Any]]) -> list[F64]:
    """Return a point in the region of every activation pattern that the patch does not have."""
    patch, network = submission.patch, submission.network
    if isinstance(patch, ExplicitPatch):
        return []
    units = unit_layout(network).count
    known = {row.tobytes() for row in patch.table.patterns}
    known |= {row.tobytes() for row in ~patch.table.patterns}
    found: list[F64] = []
    for constant in constants:
        if constant.dtype != np.uint8 or constant.max(initial=0) > 1:
            continue
        rows = _rows(constant, units)
        for bits in () if rows is None else rows.astype(bool):
            if bits.tobytes() in known or len(found) == MOST_PATTERNS:
                continue
            known |= {bits.tobytes(), (~bits).tobytes()}
            for either in (bits, ~bits):
                middle = region_program(submission, either)
                if middle is not None:
                    found.append(middle.reshape(1, -1))
    return found
