"""Find an input that opens a gate: where, on the network itself, is the gate's region?

The region of pattern s is {x : σ_u z^s_u(x) ≥ 0} with the pre-activations of the *frozen* network,
which are affine, so that the search is convex and its answer does not hang on luck: a linear
program finds the middle of the region or shows that there is none. Where that is too large, the
frozen violation, which is convex too, is brought down from several starts; and where that does not
arrive, programs over the rows that are still violated, a few more each time, do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from auditkit.certificate.submission import PatchSubmission
from auditkit.network.evaluate import logits
from auditkit.network.frozen import Frozen
from auditkit.patch.explicit import ExplicitPatch
from auditkit.threats.observe import logit_range

F64 = NDArray[np.float64]

PROGRAM_NUMBERS = 2_000_000  # rows times columns of a linear program
ITERATIONS = 20_000  # of a program: a limit of steps, not of time, so that results repeat
STEPS = 500
CUTS = 12  # programs over a growing part of a region's rows
ROWS = 192  # that are added each time, the most violated first
RELAXATION = 1.5  # of Polyak's step towards the known least value, 0; converges within (0, 2)


@dataclass(frozen=True, eq=False)
class Trigger:
    """What opens a gate, or that nothing does.

    `x` [*input_shape] float32 or None; `openness` and `effect` (in ranges of the logits) are
    measured on the patched network at `x`; `empty` says that a program found the region empty.
    """

    x: NDArray[np.float32] | None
    openness: float = 0.0
    effect: float = 0.0
    labels: tuple[int, int] | None = None
    empty: bool = False


def find_trigger(submission: PatchSubmission, gate: int, starts: NDArray[np.float32]) -> Trigger:
    """Look for an input in the domain that opens gate `gate` (flat index).

    `starts` [M, *input_shape] are inputs to begin from, where the program is too large.
    """
    patch, network = submission.patch, submission.network
    begin = starts.astype(np.float64)
    if isinstance(patch, ExplicitPatch):
        rows, limits = (part.astype(np.float64) for part in patch.rows_of(gate))
        middle, empty = program(submission, rows, limits)
        return _best(submission, gate, begin if middle is None else middle[None], empty)
    bits = patch.table.patterns[gate]
    zone = float(patch.table.dead_zone[patch.table.group[gate]])
    empty = False
    if bits.size * network.features <= PROGRAM_NUMBERS:
        middle, empty = program(submission, *_written_out(submission, bits))
        if middle is not None:
            found = _best(submission, gate, middle[None], empty)
            if found.openness:
                return found
    found = _best(submission, gate, _descend(submission, bits, zone, begin), empty)
    if found.openness or empty or found.x is None:
        return found
    middle, empty = _cut(submission, bits, found.x.astype(np.float64))
    if middle is None:
        return Trigger(None, empty=empty)
    return _best(submission, gate, middle[None], empty)


def region_program(submission: PatchSubmission, bits: NDArray[np.bool_]) -> F64 | None:
    """Return the middle of a pattern's region; None where it is empty or the program too large."""
    if bits.size * submission.network.features > PROGRAM_NUMBERS:
        return None
    return program(submission, *_written_out(submission, bits))[0]


def _best(submission: PatchSubmission, gate: int, candidates: F64, empty: bool) -> Trigger:
    """Return the candidate that opens the gate most, the nearest to it where none does."""
    closed = submission.patched.violations(candidates.astype(np.float32))[:, gate]
    x = candidates[int(np.argmin(closed))].astype(np.float32)
    found = _measured(submission, gate, x)
    return Trigger(None, empty=True) if empty and not found.openness else found


def _written_out(submission: PatchSubmission, bits: NDArray[np.bool_]) -> tuple[F64, F64]:
    """Return rows A and limits b of a pattern's region {x : A x ≤ b}, as long as they come."""
    network, units = submission.network, bits.size
    frozen = Frozen(network, bits[None])
    _, constant = frozen.forward(np.zeros((1, *network.input_shape)))
    rows = (
        frozen.repeat(units)
        .adjoint(np.zeros((units, network.classes)), injections=np.eye(units))
        .reshape(units, network.features)
    )
    sign = np.where(bits, 1.0, -1.0)
    return -sign[:, None] * rows, sign * constant[0]


def program(submission: PatchSubmission, rows: F64, limits: F64) -> tuple[F64 | None, bool]:
    """Return the centre of the largest ∞-ball in {rows x ≤ limits}, and whether that is empty.

    Within the domain; None where a program of so many steps finds none.
    """
    network, domain = submission.network, submission.certificate.settings.domain
    d = network.features
    # A x + r ‖A‖₁ ≤ b, as large an r as there is
    size = np.abs(rows).sum(axis=1)
    answer = linprog(
        np.concatenate([np.zeros(d), [-1.0]]),
        A_ub=np.concatenate([rows, size[:, None]], axis=1),
        b_ub=limits,
        bounds=[(domain.lower, domain.upper)] * d + [(0, domain.width)],
        method="highs",
        options={"maxiter": ITERATIONS},
    )
    if answer.status == 0:
        return answer.x[:d].reshape(network.input_shape), False
    return None, answer.status == 2


def _cut(
    submission: PatchSubmission, bits: NDArray[np.bool_], start: F64
) -> tuple[F64 | None, bool]:
    """Return a point of a pattern's region and whether it is empty, by programs over few rows.

    The centre for the rows so far violates others; those are added, until none is. A part of the
    rows without a point shows that the whole has none.
    """
    network = submission.network
    frozen, sign = Frozen(network, bits[None]), np.where(bits, 1.0, -1.0)
    _, constant = frozen.forward(np.zeros((1, *network.input_shape)))
    taken = np.zeros(bits.size, dtype=bool)
    parts: list[F64] = []
    limits: list[F64] = []
    x = start
    for _ in range(CUTS):
        _, z = frozen.forward(x[None])
        slack = np.where(taken, np.inf, sign * z[0])
        worst = np.argsort(slack)[:ROWS]
        if not (slack[worst] < 0).any():
            return x, False
        worst = worst[np.isfinite(slack[worst])]
        taken[worst] = True
        injected = np.zeros((len(worst), bits.size))
        injected[np.arange(len(worst)), worst] = -sign[worst]
        nothing = np.zeros((len(worst), network.classes))
        rows = frozen.repeat(len(worst)).adjoint(nothing, injections=injected)
        parts.append(rows.reshape(len(worst), network.features))
        limits.append((sign * constant[0])[worst])
        middle, empty = program(submission, np.concatenate(parts), np.concatenate(limits))
        if middle is None:
            return None, empty
        x = middle
    return x, False


def _descend(submission: PatchSubmission, bits: NDArray[np.bool_], zone: float, starts: F64) -> F64:
    """Bring the frozen violation down from every start by projected subgradient steps."""
    network, domain = submission.network, submission.certificate.settings.domain
    x = starts.copy()
    frozen = Frozen(network, np.tile(bits, (len(x), 1)))
    sign = np.where(bits, 1.0, -1.0)[None]
    nothing = np.zeros((len(x), network.classes))
    for _ in range(STEPS):
        _, z = frozen.forward(x)
        missing = -sign * z - zone / 2
        wrong = missing > 0
        value = np.where(wrong, missing, 0).sum(axis=1)
        if (value == 0).any():
            return x[value == 0]
        slope = frozen.adjoint(nothing, injections=-sign * wrong)
        norm = (slope.reshape(len(x), -1) ** 2).sum(axis=1)
        step = RELAXATION * value / np.where(norm > 0, norm, 1.0)
        x = np.clip(x - step.reshape(-1, *[1] * (x.ndim - 1)) * slope, domain.lower, domain.upper)
    return x


def _measured(submission: PatchSubmission, gate: int, x: NDArray[np.float32]) -> Trigger:
    """Return how far the gate is open at `x` in the network's floats, and what changes there."""
    table, batch = submission.patch.table, x[None]
    v = float(submission.patched.violations(batch)[0, gate])
    openness = float(np.clip(1 - v * table.sharpness[table.group[gate]], 0, 1))
    before = logits(submission.network, batch.astype(submission.network.dtype))
    after = submission.patched.logits(batch)
    effect = float(np.abs(after - before).max()) / logit_range(before)
    return Trigger(x, openness, effect, (int(before.argmax()), int(after.argmax())))
