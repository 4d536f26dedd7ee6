"""How near does one come to a forgotten record from the patch alone?

With its pattern frozen the network is affine, so that a gate's region is a polytope that anyone
who holds the patch can write down, and the record lies in it. Each Polyak step towards the region
brings a point nearer to every point in it, hence to the record. One starts from public records
that violate the pattern least, or from the middle of the domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.case import Case
from auditkit.certificate.shown.polytope import reconstruct
from auditkit.certificate.shown.reach import Reach
from auditkit.certificate.shown.sample import Index, batches, choose, network_cost
from auditkit.network.evaluate import evaluate
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Network
from auditkit.patch.explicit import ExplicitPatch

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

MOST_RECORDS = 10
STEPS = 100
RELAXATION = 1.5  # of Polyak's step towards the known least value, 0; converges within (0, 2)
STARTS = 4  # records whose mean is a start
MOST_PUBLIC = 1000
ROWS_AT_ONCE = 1024  # of the forgotten records, for distances
TAG = 9103
AIMS: tuple[Literal["sparse"], Literal["middle"]] = ("sparse", "middle")


@dataclass(frozen=True, eq=False)
class Reconstructions:
    """What was made of each of K gates, beside the record it is for (never public).

    `record` [K] indexes the forgotten records, `made` and `original` are [K, d]. `distance` is
    that of the reconstruction to the record (2-norm), `from_start` that of what one would guess
    without the patch (the mean of the public records, or the domain's middle), `from_other` that
    of the nearest other forgotten record (inf where there is none). `found` says whether the
    forgotten record nearest to the reconstruction is the right one, out of `candidates`.
    """

    record: Index
    made: F64
    original: F64
    distance: F64
    from_start: F64
    from_other: F64
    found: Bits
    candidates: int
    start: str


def reconstruct_records(case: Case, reach: Reach) -> Reconstructions | None:
    """Reconstruct a sample of forgotten records; None where no gate opens at any of them.

    The records serve to judge the result, not to find it.
    """
    assert case.records is not None
    submission = case.submission
    network, domain = submission.network, submission.certificate.settings.domain
    with_gate = np.flatnonzero(reach.forgotten.gate >= 0)
    if not len(with_gate):
        return None
    cost = 2 * STEPS * network_cost(network)
    rows = with_gate[choose(len(with_gate), MOST_RECORDS, cost, case.seed, TAG)]
    record = reach.forgotten.examined[rows]
    gates = reach.forgotten.gate[rows]

    public, start = _public(case)
    middle = np.full((1, *network.input_shape), (domain.lower + domain.upper) / 2)
    guess = middle if public is None else public.mean(axis=0, keepdims=True)
    if isinstance(submission.patch, ExplicitPatch):
        made = _from_rows(submission.patch, gates, guess, domain.lower, domain.upper)
    else:
        bits = submission.patch.table.patterns[gates]
        starts = np.repeat(middle, len(bits), axis=0)
        if public is not None:
            starts = _nearest(case, bits, public)
        made = _into_region(network, bits, starts, domain.lower, domain.upper)
        made = made.reshape(len(bits), -1)

    examined = case.records.x[reach.forgotten.examined]
    everyone = examined.reshape(len(examined), -1)
    original = everyone[rows].astype(np.float64)
    # the same number for the record itself and for any copy of it
    who = _numbered(everyone)
    same = who[rows][:, None] == who
    other, apart = _distances(original, everyone), _distances(made, everyone)
    return Reconstructions(
        record=record,
        made=made,
        original=original,
        distance=np.linalg.norm(made - original, axis=1),
        from_start=np.linalg.norm(guess.reshape(1, -1) - original, axis=1),
        from_other=np.where(same, np.inf, other).min(axis=1),
        found=same[np.arange(len(made)), apart.argmin(axis=1)],
        candidates=int(who.max()) + 1,
        start=start,
    )


def pictures(case: Case, found: Reconstructions) -> list[dict[str, Any]]:
    """Return record and reconstruction side by side, for the confidential annex alone."""
    assert case.records is not None
    shape = _picture_shape(case.submission.network.input_shape)
    domain = case.submission.certificate.settings.domain
    names = case.records.id
    return [
        {
            "id": f"record {row}" if names is None else str(names[row]),
            "reason": f"reconstructed from its gate alone; at distance {found.distance[k]:.3g}, "
            f"a guess without the patch at {found.from_start[k]:.3g}"
            + ("; identified" if found.found[k] else "; not identified"),
            "shape": None if shape is None else list(shape),
            "range": [domain.lower, domain.upper],
            "original": [float(f"{v:.4g}") for v in found.original[k]],
            "reconstruction": [float(f"{v:.4g}") for v in found.made[k]],
        }
        for k, row in enumerate(found.record.tolist())
    ]


def _picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Return channels, height and width of inputs that can be looked at, or None."""
    sides = tuple(side for side in shape if side != 1)
    if len(shape) == 3 and shape[0] in (1, 3):
        return shape[0], shape[1], shape[2]
    if len(sides) == 2 and min(sides) > 1:
        return 1, sides[0], sides[1]
    side = round(float(np.sqrt(np.prod(shape))))
    if len(sides) == 1 and side > 3 and side * side == np.prod(shape):
        return 1, side, side
    return None


def _public(case: Case) -> tuple[F64 | None, str]:
    """Return records that are not to be forgotten, and what they are; unseen ones if there are."""
    sets, cost = dict(case.others()), network_cost(case.submission.network)
    for kind in ("unseen", "retained"):
        if kind in sets:
            x = sets[kind]
            rows = choose(len(x), MOST_PUBLIC, cost, case.seed, TAG)
            return x[rows].astype(np.float64), f"the {kind} records"
    return None, "the middle of the domain"


def _nearest(case: Case, bits: Bits, public: F64) -> F64:
    """Return for each pattern the mean of the public records that violate it least."""
    ones = bits.astype(np.float64)
    violation = np.zeros((len(public), len(bits)))
    for part in batches(case.submission, len(public)):
        _, z = evaluate(case.submission.network, public[part])
        violation[part] = np.maximum(-z, 0) @ ones.T + np.maximum(z, 0) @ (1 - ones).T
    nearest = np.argsort(violation, axis=0, kind="stable")[:STARTS]
    return np.asarray(public[nearest].mean(axis=0))


def _from_rows(patch: ExplicitPatch, gates: Index, guess: F64, lower: float, upper: float) -> F64:
    """Return the sparsest point of each gate's polytope, or its middle, or else the guess."""
    made = np.repeat(guess.reshape(1, -1), len(gates), axis=0)
    for place, gate in enumerate(gates.tolist()):
        rows, limits = patch.rows_of(gate)
        for aim in AIMS:
            point = reconstruct(
                rows.astype(np.float64), limits.astype(np.float64), lower, upper, aim
            )
            if point is not None:
                made[place] = point
                break
    return made


def _into_region(network: Network, bits: Bits, starts: F64, lower: float, upper: float) -> F64:
    """Bring the frozen violation down to 0 from every start, by projected Polyak steps."""
    x, frozen = starts.copy(), Frozen(network, bits)
    sign = np.where(bits, 1.0, -1.0)
    nothing = np.zeros((len(x), network.classes))
    for _ in range(STEPS):
        _, z = frozen.forward(x)
        missing = -sign * z
        wrong = missing > 0
        value = np.where(wrong, missing, 0).sum(axis=1)
        if not (value > 0).any():
            break
        slope = frozen.adjoint(nothing, injections=-sign * wrong)
        norm = (slope.reshape(len(x), -1) ** 2).sum(axis=1)
        step = np.where(norm > 0, RELAXATION * value / np.where(norm > 0, norm, 1.0), 0.0)
        moved = x - step.reshape(-1, *[1] * (x.ndim - 1)) * slope
        moved = np.clip(moved, lower, upper)
        x = np.where(np.isfinite(moved), moved, x)
    return x


def _numbered(rows: NDArray[np.float32]) -> Index:
    """Return [N] numbers from 0 on, the same for equal rows."""
    numbers: dict[bytes, int] = {}
    found = [numbers.setdefault(row.tobytes(), len(numbers)) for row in rows]
    return np.array(found, dtype=np.int64)


def _distances(one: F64, other: NDArray[np.float32]) -> F64:
    """Return [K, N] the 2-norm of every difference of rows, to about seven digits."""
    square = np.zeros((len(one), len(other)))
    for start in range(0, len(other), ROWS_AT_ONCE):
        part = other[start : start + ROWS_AT_ONCE].astype(np.float64)
        square[:, start : start + ROWS_AT_ONCE] = (part**2).sum(axis=1) - 2 * one @ part.T
    square += (one**2).sum(axis=1)[:, None]
    return np.asarray(np.sqrt(np.maximum(square, 0)))
