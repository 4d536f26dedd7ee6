"""What is asked of an endpoint about a submission, and how an answer is compared with another.

An honest service rounds, computes in other floats, or gives labels only. None of that may be taken
for a lie, so that every comparison has the tolerance that the answers themselves show to be needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.submission import PatchSubmission, Submission
from auditkit.endpoint.answers import Kind
from auditkit.endpoint.plan import Group, Purpose, SessionPlan, plan_session
from auditkit.endpoint.service import Service
from auditkit.endpoint.session import Served, ask_in_process
from auditkit.network.evaluate import logits as of_network
from auditkit.network.graph import Array, Convolution, Dense
from auditkit.patch.patched import patched_network
from auditkit.threats.evidence import Evidence, Requested, others, requested

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

BUDGET = 2000
"""Queries of a session unless told otherwise: some 85 requested records and as many others."""
SINGLE = 1e-4
"""Relative error of logits that another computation in float32 may have."""
COARSE_BITS = (10, 7)
"""Of the mantissa: TF32, which GPUs usually convolve in, and float16 have 10, bfloat16 has 7."""
CUT = 10  # bits of TF32, whose operands may be cut off; the others are rounded to the nearest
COARSER = 4.0
"""By how much coarse floats may move a logit beyond what was measured: a service rounds what is
between layers, too, and sums in another order, which for a few layers does less than this."""
LEAST_GRID, MOST_OF_GRID, OFF_GRID = 1e-5, 4096, 1e-3  # a finer grid is none of a service's
MOST_DIGITS = 9
"""Decimal digits beyond which an answer was not rounded: float32 has no more."""


def session_plan(
    asked: Requested,
    evidence: Evidence,
    domain: tuple[float, float],
    *,
    submission: Submission | None = None,
    budget: int = BUDGET,
    seed: int,
) -> SessionPlan:
    """Return what to ask about these records; ValueError when the budget is too small for one."""
    known = others(evidence, asked)
    unseen, retained = known.get("unseen"), known.get("retained")
    return plan_session(
        asked.records.x,
        None if unseen is None else unseen.x,
        None if retained is None else retained.x,
        domain=domain,
        claimed=None if submission is None else claimed_radii(submission, asked),
        budget=budget,
        seed=seed,
    )


def with_session(
    service: Service | None,
    submission: Submission,
    evidence: Evidence,
    *,
    budget: int = BUDGET,
    seed: int,
) -> Evidence:
    """Return the evidence with what a simulated owner's service says in a session, in this process.

    The same evidence where there is no service, or where the records are withheld.
    """
    asked = requested(submission, evidence)
    if service is None or asked is None:
        return evidence
    domain = (submission.domain.lower, submission.domain.upper)
    plan = session_plan(asked, evidence, domain, submission=submission, budget=budget, seed=seed)
    return replace(evidence, served=ask_in_process(service, plan, submission.network.classes))


def claimed_radii(submission: Submission, asked: Requested) -> F64 | None:
    """Return [N] within which radius each record is claimed to be answered alike; nan for none.

    At most the domain's width, and None where the submission makes no claims of records.
    """
    if not isinstance(submission, PatchSubmission):
        return None
    stated = {c.record: c.radius for c in submission.certificate.claims if c.record is not None}
    if not stated:
        return None
    most = submission.domain.width
    least = min(stated.values())  # where the records' digests are not known
    radii = [stated.get(d, np.nan) for d in asked.digests] or [least] * len(asked)
    return np.clip(np.array(radii, dtype=np.float64), 0.0, most)


def fits(served: Served, asked: Requested) -> bool:
    """Return whether a session is about these records: a transcript may be of another request."""
    x = asked.records.x
    rows = np.flatnonzero(served.of(Group.FORGOTTEN, Purpose.EXACT))
    index = served.index[rows]
    if served.x.shape[1:] != x.shape[1:] or not len(rows) or index.max() >= len(x):
        return False
    return bool(np.array_equal(served.x[rows], x[index]))


def rounding(outputs: F64) -> F64:
    """Return [Q, C] how far each answer may be from what was rounded to it.

    A unit of the last decimal place, or of the last significant digit, that any answer has, or of
    the grid that all lie on, whichever is more: all ways of rounding are in use, and digits are cut
    off, too. 0 where answers have all digits of floats.
    """
    values = np.abs(outputs[np.isfinite(outputs)])
    if not values.size:
        return np.zeros(outputs.shape)
    places = next((d for d in range(MOST_DIGITS) if _rounded(values, d)), None)
    step = max(0.0 if places is None else 10.0**-places, _grid(values))
    some = values[values > 0]
    exponent = np.floor(np.log10(some)) if some.size else np.zeros(0)
    scaled = some / 10.0**exponent
    digits = next((d for d in range(7) if _rounded(scaled, d)), None)
    if digits is None or not some.size:
        return np.full(outputs.shape, step)
    with np.errstate(all="ignore"):
        mine = np.floor(np.log10(np.abs(outputs)))
    mine = np.where(np.isfinite(mine), mine, exponent.min())
    return np.asarray(np.maximum(step, 10.0 ** (mine - digits)))


def _grid(values: F64) -> float:
    """Return the unit of which all values are multiples, such as 1/255; 0 where there is none."""
    distinct = np.unique(values)
    apart_by = np.diff(distinct, prepend=0.0)
    apart_by = apart_by[apart_by > LEAST_GRID]
    if not apart_by.size or len(distinct) > MOST_OF_GRID:
        return 0.0
    count = np.round(distinct[-1] / apart_by.min())
    unit = float(distinct[-1] / count) if count else 0.0
    if not unit or np.abs(distinct / unit - np.round(distinct / unit)).max() > OFF_GRID:
        return 0.0
    return unit


def _rounded(values: F64, digits: int) -> bool:
    return bool(np.allclose(values, np.round(values, digits), rtol=1e-12, atol=1e-13))


def logit_error(logits: F64, sensitivity: F64 | float = 0.0) -> F64:
    """Return [Q] by how much a logit of an honest service may differ from ours.

    Relative to the record's largest logit, or the usual one where that is more; `sensitivity` [Q]
    is what tiny changes of the input do.
    """
    size = np.abs(logits).max(axis=1)
    usual = float(np.median(size[np.isfinite(size)])) if np.isfinite(size).any() else 0.0
    return SINGLE * np.maximum(size, usual) + sensitivity


def coarse_answers(submission: Submission, x: F32, seed: int) -> list[F64]:
    """Return what the committed weights answer at x [Q, ...] in coarser floats, [Q, C] each.

    Weights and inputs are rounded to the mantissas of COARSE_BITS: to the nearest, as is
    usual, and at random, because one rounding may by luck leave an answer, or a gate, alone.
    First comes the answer without any rounding, which the others are to be compared with.
    """
    given, answers = x.astype(submission.network.dtype), [_answers(submission, None, x)]
    for bits in COARSE_BITS:
        generator = np.random.default_rng([seed, 14, bits])

        def at_random(v: Array, generator: np.random.Generator = generator) -> Array:
            return np.floor(v + generator.random(v.shape))

        for whole in (np.round, at_random, *((np.trunc,) if bits == CUT else ())):
            rounded = partial(_rounded_to, bits=bits, whole=whole)
            answers.append(_answers(submission, rounded, rounded(given)))
    return answers


def coarse_error(answers: list[F64]) -> F64:
    """Return [Q] by how much a logit of an honest service in coarser floats may differ from ours.

    COARSER times what rounding was measured to do here, or usually does, whichever is more; of
    what `coarse_answers` returns. Infinite where rounding gives nothing finite.
    """
    exact = answers[0]
    moved = np.max([np.abs(one - exact).max(axis=1) for one in answers[1:]], axis=0)
    size = np.abs(exact).max(axis=1)
    share = (moved / size)[np.isfinite(moved) & np.isfinite(size) & (size > 0)]
    usual = float(np.median(share)) if share.size else 0.0
    error = COARSER * np.fmax(moved, usual * size)
    return np.where(np.isfinite(moved), error, np.inf)


def _answers(submission: Submission, rounded: Callable[[Array], Array] | None, x: Array) -> F64:
    patch = submission.patch if isinstance(submission, PatchSubmission) else None
    network = getattr(submission, "unlearned", submission.network)
    if rounded is not None:
        nodes = []
        for node in network.nodes:
            operator = node.operator
            if isinstance(operator, (Dense, Convolution)):
                operator = replace(operator, weight=rounded(operator.weight))
            nodes.append(replace(node, operator=operator))
        network = replace(network, nodes=tuple(nodes))
    if patch is not None:
        return np.asarray(patched_network(network, patch).logits(x), dtype=np.float64)
    return np.asarray(of_network(network, x.astype(network.dtype)), dtype=np.float64)


def _rounded_to(values: Array, *, bits: int, whole: Callable[[Array], Array]) -> Array:
    """Return values with `bits` of mantissa after the first, made whole numbers of units so."""
    mantissa, exponent = np.frexp(values)
    units = whole(np.ldexp(mantissa, bits + 1))
    rounded = np.ldexp(units, exponent - bits - 1).astype(values.dtype)
    return np.where(np.isfinite(rounded), rounded, values)


def disagree(served: Served, logits: F64, error: F64) -> Bits:
    """Return [Q]: answers that a network of these logits [Q, C] ± `error` [Q] cannot have given.

    A change of δ in each logit changes no probability by more than δ / 2.
    """
    answered = served.answered & np.isfinite(logits).all(axis=1)
    if served.kind is Kind.LABELS:
        said = np.nan_to_num(served.outputs[:, 0]).astype(np.int64)
        inside = said < logits.shape[1]
        own = logits[np.arange(len(said)), np.where(inside, said, 0)]
        return np.asarray(answered & (~inside | (logits.max(axis=1) - own > 2 * error)))
    if served.outputs.shape[1] != logits.shape[1]:
        return answered
    given, allowed = logits, error[:, None]
    if served.kind is Kind.PROBABILITIES:
        given, allowed = probabilities(logits), error[:, None] / 2
    allowed = allowed + rounding(served.outputs) * (1 + 1e-6)
    beyond = np.abs(served.outputs - given) > allowed
    return np.asarray(answered & beyond.any(axis=1))


def apart(kind: Kind, one: F64, other: F64, error: F64, step: F64) -> Bits:
    """Return [Q]: queries at which two networks of logits [Q, C] would be told by this service.

    `error` [Q] and `step` [Q, C] are what each answer may differ by.
    """
    if kind is Kind.LABELS:
        gap = np.sort(one, axis=1), np.sort(other, axis=1)
        sure = [g[:, -1] - g[:, -2] > 2 * error for g in gap]
        return np.asarray(sure[0] & sure[1] & (one.argmax(axis=1) != other.argmax(axis=1)))
    if step.shape != one.shape:
        return np.zeros(len(one), dtype=bool)
    half = 1.0
    if kind is Kind.PROBABILITIES:
        one, other, half = probabilities(one), probabilities(other), 0.5
    differs = np.abs(one - other) > 2 * (half * error[:, None] + step)
    return np.asarray(differs.any(axis=1))


def probabilities(logits: F64) -> F64:
    """Return the softmax [Q, C] of logits."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def readings(served: Served, group: Group) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the records of a group [n], and [n, rounds] the first answered query of each round
    that asked for it as it is, -1 where there is none."""
    rows = np.flatnonzero(served.of(group, Purpose.EXACT) & served.answered)
    records, place = np.unique(served.index[rows], return_inverse=True)
    table = np.full((len(records), int(served.round.max()) + 1), -1, dtype=np.int64)
    table[place[::-1], served.round[rows[::-1]]] = rows[::-1]
    return records, table
