"""What is asked of an endpoint about a submission, and how an answer is compared with another.

An honest service rounds, computes in other floats, or gives labels only. None of that may be taken
for a lie, so that every comparison has the tolerance that the answers themselves show to be needed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.submission import PatchSubmission, Submission
from auditkit.endpoint.answers import Kind
from auditkit.endpoint.plan import Group, Purpose, SessionPlan, plan_session
from auditkit.endpoint.service import Service
from auditkit.endpoint.session import Served, ask_in_process
from auditkit.threats.evidence import Evidence, Requested, others, requested

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

BUDGET = 2000
"""Queries of a session unless told otherwise: some 85 requested records and as many others."""
SINGLE = 1e-4
"""Relative error of logits that another computation in float32 may have."""
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
    return replace(evidence, served=ask_in_process(service, plan))


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

    Half a unit of the last decimal place, or of the last significant digit, that any answer has,
    whichever is more: both ways of rounding are in use. 0 where answers have all digits of floats.
    """
    values = np.abs(outputs[np.isfinite(outputs)])
    if not values.size:
        return np.zeros(outputs.shape)
    places = next((d for d in range(MOST_DIGITS) if _rounded(values, d)), None)
    step = 0.0 if places is None else 0.5 * 10.0**-places
    some = values[values > 0]
    exponent = np.floor(np.log10(some)) if some.size else np.zeros(0)
    scaled = some / 10.0**exponent
    digits = next((d for d in range(7) if _rounded(scaled, d)), None)
    if digits is None or not some.size:
        return np.full(outputs.shape, step)
    with np.errstate(all="ignore"):
        mine = np.floor(np.log10(np.abs(outputs)))
    mine = np.where(np.isfinite(mine), mine, exponent.min())
    return np.asarray(np.maximum(step, 0.5 * 10.0 ** (mine - digits)))


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
