"""Find what the checker of explicit patches asks for: multipliers, and inputs that refute.

Cheap first: a stated row that is a multiple of a true one needs one multiplier, a row that the box
implies none. Only what is left takes a linear program. None of this is believed by the checker.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check_explicit import RowHints, RowTask
from auditkit.patch.programs import Polytope

F64 = NDArray[np.float64]
Index = NDArray[np.int64]

INWARDS = 1 - 1e-6  # a vertex of a program is on faces: a step towards the record is not


def find_hints(task: RowTask) -> RowHints:
    """Return multipliers for all that can be shown and witnesses for what cannot hold."""
    lengths = np.sqrt((task.true**2).sum(axis=1))
    sizes = np.sqrt((task.stated**2).sum(axis=1))
    # how alike a true row [H] and a stated one [m] are in direction: 1 when they are multiples
    alike = _divided(task.true, lengths) @ _divided(task.stated, sizes).T
    true, beyond = _implied(
        task.true, task.true_at, task.stated, task.stated_at, alike, lengths, sizes,
        task.domain, task.outwards * lengths,
    )  # fmt: skip
    stated, within = _implied(
        task.stated, task.stated_at, task.true, task.true_at, alike.T, sizes, lengths,
        task.claimed, np.full(len(sizes), task.inwards),
    )  # fmt: skip
    return RowHints(true, stated, _claim(task), beyond, within)


def _implied(
    rows: F64,
    rows_at: F64,
    given: F64,
    given_at: F64,
    alike: F64,
    lengths: F64,
    sizes: F64,
    box: tuple[F64, F64],
    tolerance: F64,
) -> tuple[F64, F64 | None]:
    """Return multipliers [R, G] with which the given rows imply each row, and a step that shows
    that they do not, if one was met."""
    multipliers = np.zeros((len(rows), len(given)))
    if not len(rows):
        return multipliers, None
    left = np.flatnonzero(~(_bounds(rows, rows_at, box) <= 0.5 * tolerance))
    if len(left) and len(given):
        match = np.argmax(alike[left], axis=1)
        factor = np.where(
            alike[left, match] > 0, lengths[left] / np.maximum(sizes[match], 1e-30), 0
        )
        rest = rows[left] - factor[:, None] * given[match]
        bound = _bounds(rest, rows_at[left] - factor * given_at[match], box)
        good = bound <= 0.9 * tolerance[left]
        multipliers[left[good], match[good]] = factor[good]
        left = left[~good]
    if not len(left):
        return multipliers, None
    polytope = Polytope(given, -given_at, *box)
    for row in left:
        answer = polytope.maximise(rows[row])
        if answer is None:
            continue
        multipliers[row] = answer.multipliers
        if answer.value + rows_at[row] > 1.01 * tolerance[row]:
            # the next rows would be examined for nothing: one input is enough
            return multipliers, answer.x * INWARDS
    return multipliers, None


def _claim(task: RowTask) -> F64:
    """Return multipliers [R, H] of true rows for each row of the claim that needs some."""
    multipliers = np.zeros((len(task.lead), len(task.true)))
    bound = _bounds(task.lead, task.lead_at, task.claimed)
    moved = np.any(task.lead != 0, axis=1)
    left = np.flatnonzero(~(bound < 0) & moved)
    if len(left):
        polytope = Polytope(task.true, -task.true_at, *task.claimed)
        for row in left:
            answer = polytope.maximise(task.lead[row])
            if answer is not None:
                multipliers[row] = answer.multipliers
    return multipliers


def _bounds(rows: F64, at: F64, box: tuple[F64, F64]) -> F64:
    """Return the greatest value [R] of rows · δ + at for δ in the box."""
    low, high = box
    return np.asarray(np.maximum(rows, 0) @ high + np.minimum(rows, 0) @ low + at)


def _divided(rows: F64, lengths: F64) -> F64:
    return rows / np.where(lengths > 0, lengths, 1.0)[:, None]
