"""14. Substitution, rollback, deferral, audit-aware serving: not what was audited answers.

What was audited is a file. What users meet is a service, and nothing binds the one to the other but
what the service answers. Each answer is a challenge: the committed network gives it, within the
rounding that the service shows and the floats it may compute in, or something else was served.
Where only coarser floats than float32 explain the answers, it takes a pattern to tell a lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from auditkit.certificate.submission import Submission
from auditkit.endpoint.answers import Kind
from auditkit.endpoint.plan import ROUNDS, Group, Purpose
from auditkit.endpoint.service import Service
from auditkit.endpoint.session import Served
from auditkit.network.graph import Convolution, Dense, Network, Node
from auditkit.results import CheckResult, Outcome
from auditkit.threats.decide import P_REFUTE, REFUTE, SUPPORT, decide
from auditkit.threats.evidence import WITHHELD, Evidence, requested
from auditkit.threats.interface import Behaviour, Judgement, Owner, pick
from auditkit.threats.numbers import share_interval
from auditkit.threats.references import answering
from auditkit.threats.serving import (
    apart,
    coarse_answers,
    coarse_error,
    disagree,
    fits,
    logit_error,
    probabilities,
    readings,
    rounding,
)
from auditkit.threats.unanswered import unanswered

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

VARIANTS = ("substituted", "rollback", "deferred", "audit-aware", "drift")
SWITCH = 2 / 3  # of the session that the original is served, by who switches at full strength
RECOGNISED = 1e-5  # of the domain's width, within which an audit-aware service knows a record
DRIFT = 0.02  # of a layer's typical weight: a drift in full, which a pass rules out

PROBES = 3  # inputs near a query at which the committed network is run for its sensitivity
PROBE = 1e-6  # of the domain's width: what other floats make of an input, and more
MARGIN = 0.5
"""Of the answers that tell the models apart: an owner who exchanges fewer is not ruled out."""
COMPARED = 300  # answers in the two-sample test, whose cost is quadratic
PERMUTED = 999
COINCIDENT = 10
"""Answers that are the original's, as no coarser floats would have them, to be taken for its own:
by chance one of two classes is that close in about a tenth of the cases."""

judged = Judgement("substitution", "What answers at the endpoint is what was audited")
NO_ENDPOINT = "no endpoint was asked: nothing says that what was audited is what is served"
UNASKED = f"{WITHHELD}; without them no endpoint can be asked what this check compares"


def simulate(
    honest: Owner,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
) -> Owner:
    """Serve something else than what was handed over; nothing is written to `out`.

    `strength` is the share of inputs (substituted, audit-aware) or of two thirds of the time
    (rollback, deferred) that is answered by the original, or the size of the weights' drift.
    """
    variant = pick(variant, VARIANTS)
    submission = honest.submission
    if variant == "audit-aware" and submission.forget is None:
        raise ValueError("the honest submission withholds its records")
    before = answering(submission.network)
    if variant == "drift":
        moved = _drift(submission, DRIFT * strength, seed)

        def answer(x: F32, elapsed: F64) -> F64:
            return submission.delivered(x) + moved(x)
    else:
        chosen = _chooses(submission, variant, strength, seed)

        def answer(x: F32, elapsed: F64) -> F64:
            old = chosen(x, elapsed)[:, None]
            return np.where(old, before(x), submission.delivered(x))

    shape = submission.network.input_shape
    service = honest.service or Service(answer, shape)
    return replace(honest, service=replace(service, answer=answer))


@np.errstate(all="ignore")  # what a hostile network answers may overflow
def detect(submission: Submission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Challenge every answer with what the committed network says, and weigh what has none."""
    served, asked = evidence.served, requested(submission, evidence)
    if asked is None:
        return judged(Outcome.INCONCLUSIVE, UNASKED)
    if served is None:
        return judged.not_run(NO_ENDPOINT, required=False)
    if not fits(served, asked):
        return judged(Outcome.INCONCLUSIVE, "the session is about other records")
    check = _challenged(submission, served, asked.caveat, seed)
    if check.outcome is Outcome.FAIL:
        return check
    gaps = unanswered(served)
    figures = {**check.evidence, **gaps.evidence, "contradictions": served.contradictions}
    odd = np.flatnonzero(served.contradicted)
    # a network that itself gives no numbers there contradicts nobody
    if len(odd) and np.isfinite(submission.delivered(served.x[odd])).all(axis=1).any():
        told = f"an answer that the committed network does not give: {served.said}; {check.reason}"
        shown = {"input": served.x[odd[0]].tolist()}
        return replace(check, outcome=Outcome.FAIL, reason=told, evidence=figures, private=shown)
    check = replace(check, evidence={**figures, P_REFUTE: gaps.p})
    if gaps.p <= REFUTE:
        told = f"{gaps.told}: who knows what is asked may leave it out; {check.reason}"
        return replace(check, outcome=Outcome.FAIL, reason=told)
    return gaps.barred(check)


def _challenged(submission: Submission, served: Served, caveat: str, seed: int) -> CheckResult:
    """Compare the answers that there are with those of the committed network."""
    committed = submission.delivered(served.x)
    old = answering(submission.network)(served.x)
    sensitivity = _sensitivity(submission, served.x, committed, seed)
    error = logit_error(committed, sensitivity)
    if not served.answered.any():
        return judged(Outcome.INCONCLUSIVE, f"nothing to compare: {served.told}")
    compared = served.answered & np.isfinite(committed).all(axis=1) & np.isfinite(error)
    if not compared.any():
        return judged(Outcome.INCONCLUSIVE, "the committed network answers with nan or infinity")
    wrong = compared & disagree(served, committed, error)
    step = rounding(served.outputs)
    tells = compared & np.isfinite(old).all(axis=1)
    tells &= apart(served.kind, committed, old, error, step)
    exact = served.of(Group.FORGOTTEN, Purpose.EXACT)
    elsewhere = tells & ~exact
    rounds = [int((elsewhere & (served.round == r)).sum()) for r in range(ROUNDS)]
    count, n = int(wrong.sum()), int(compared.sum())
    like_old = wrong & ~disagree(served, old, logit_error(old, error))
    evidence_: dict[str, Any] = {
        "answers": str(served.kind),
        "queries": len(served),
        "unanswered": dict(served.failures),
        "disagree": count,
        "disagree_by_round": [int((wrong & (served.round == r)).sum()) for r in range(ROUNDS)],
        "disagree_at_requested": int((wrong & exact).sum()),
        "as_the_original": int(like_old.sum()),
        "tell_apart": int(tells.sum()),
        "tell_apart_by_round_elsewhere": rounds,
        "rounding": float(np.max(step, initial=0.0)),
        "two_sample_p": _two_sample(served, committed, step, seed),
        "rounds_p": rounds_differ(served)[0],
    }
    figures: dict[str, Any] = {
        "observed": count / n,
        "threshold": 0.0,
        "interval": share_interval(count, n),
        "n": n,
        "evidence": evidence_,
    }
    told = f"{served.told}{caveat}"
    if count:
        told += f"; {count} of {n} answers are not those of the committed network in float32"
        if like_old.sum() == count:
            told += ", but all are those of the original"
        coarse = coarse_answers(submission, served.x, seed)
        beyond = wrong & disagree(served, committed, np.fmax(error, coarse_error(coarse)))
        evidence_["disagree_beyond_coarse_floats"] = int(beyond.sum())
        figures["private"] = _witness(served, committed, beyond if beyond.any() else wrong)
        if beyond.any():
            told += f", {int(beyond.sum())} of them in no floats that are in use"
        by_round = evidence_["disagree_by_round"]
        exchanged = _exchanged(
            by_round, [int((compared & (served.round == r)).sum()) for r in range(ROUNDS)]
        )
        if 0 in by_round and (beyond.any() or exchanged):
            told += f"; by round {by_round}, so that what answers was exchanged"
        original = _original_s(served, like_old, wrong, old, coarse, step)
        if beyond.any() or exchanged or original:
            return judged(Outcome.FAIL, told, **figures)
        told += "; coarser floats (TF32, float16, bfloat16) or a small drift would explain them all"
        return judged(Outcome.INCONCLUSIVE, told, **figures)
    told += f"; all {n} answers that can be compared are those of the committed network"
    if not tells.any():
        told += (
            "; the original would have given the same ones, so that nothing can be told: it takes "
            "answers with more digits, or records at which the two networks differ"
        )
        return judged(Outcome.INCONCLUSIVE, told, **figures)
    moved = committed + _drift(submission, DRIFT, seed)(served.x)
    adrift = compared & np.isfinite(moved).all(axis=1)
    adrift &= apart(served.kind, committed, moved, error, step)
    by_drift = [int((adrift & (served.round == r)).sum()) for r in range(ROUNDS)]
    evidence_["tell_drift_by_round"] = by_drift
    evidence_["p_support"] = MARGIN ** min(*rounds, *by_drift)
    told += f"; the original would have been told by {int(tells.sum())}, elsewhere than at the "
    told += f"requested records by {rounds} in the rounds, and weights that drifted by {DRIFT:.0%} "
    told += f"by {by_drift}"
    if served.kind is Kind.LABELS:
        most = share_interval(0, n)[1]
        told += f"; labels tell nothing of a network that gives others to fewer than {most:.2%}"
    if evidence_["p_support"] <= SUPPORT:
        return judged(Outcome.PASS, told, **figures)
    told += f"; it takes {_needed()} in each round to rule out that either answers half of the time"
    if min(by_drift) < _needed() <= min(rounds):
        told += ", and answers with more digits to tell a drift"
    return judged(Outcome.INCONCLUSIVE, told, **figures)


@np.errstate(all="ignore")
def detect_served(evidence: Evidence, *, seed: int) -> CheckResult:
    """Ask of an endpoint alone whether its answers stay what they were in the first round.

    They may, and still be another model's than any that was promised: that is never a pass.
    """
    served, asked = evidence.served, requested(None, evidence)
    if asked is None:
        return judged(Outcome.INCONCLUSIVE, UNASKED)
    if served is None:
        return judged.not_run(NO_ENDPOINT, required=False)
    if not fits(served, asked):
        return judged(Outcome.INCONCLUSIVE, "the session is about other records")
    p, more, fewer = rounds_differ(served)
    told = (
        f"{served.told}; the answers to {more} records differ more between rounds than within the "
        f"first, to {fewer} less; no network was committed to that they could be compared with"
    )
    gaps = unanswered(served)
    p = min(1.0, 2 * min(p, gaps.p))
    if gaps.told:
        told += f"; {gaps.told}"
    return decide(
        judged,
        told,
        p_refute=p,
        observed=more,
        n=more + fewer,
        evidence={
            "answers": str(served.kind),
            "queries": len(served),
            "unanswered": dict(served.failures),
            "change_within_a_round": _unsteady(served),
            "contradictions": served.contradictions,
            **gaps.evidence,
        },
    )


def rounds_differ(served: Served) -> tuple[float, int, int]:
    """Return the p-value that answers change no more between rounds than within one, with counts.

    For each record, two readings of the first round and one of a later: if nothing was exchanged
    the three are exchangeable, and the later differs more from the first than the second does at
    most as often as less, so that the sign test is exact or conservative (ties are dropped). Of two
    later rounds the smaller p-value counts, doubled (Bonferroni).
    """
    best = (1.0, 0, 0)
    for later in range(1, ROUNDS):
        more = fewer = 0
        for group in Group:
            first, second, third = _three(served, group, later)
            if not len(first):
                continue
            between, within = (_distance(served, first, rows) for rows in (third, second))
            more += int((between > within).sum())
            fewer += int((between < within).sum())
        p = float(binom.sf(more - 1, more + fewer, 0.5)) if more + fewer else 1.0
        best = min(best, (min(1.0, (ROUNDS - 1) * p), more, fewer))
    return best


def _three(served: Served, group: Group, later: int) -> tuple[NDArray[np.int64], ...]:
    """Return queries [n]: first and second of a record in the first round, and one in a later."""
    rows = np.flatnonzero(served.of(group, Purpose.EXACT) & served.answered & (served.round == 0))
    records, start, count = np.unique(served.index[rows], return_index=True, return_counts=True)
    twice = np.flatnonzero(count >= 2)
    order = np.argsort(served.index[rows], kind="stable")
    place = np.searchsorted(served.index[rows][order], records[twice])
    first, second = rows[order[place]], rows[order[place + 1]] if len(place) else rows[:0]
    known, table = readings(served, group)
    third = table[np.searchsorted(known, records[twice]), later] if len(twice) else rows[:0]
    there = third >= 0
    return first[there], second[there], third[there]


def _distance(served: Served, one: NDArray[np.int64], other: NDArray[np.int64]) -> F64:
    """Return [n] how far apart answers are, 0 within what float32 may make of an equal input.

    One service computes repeats alike. If its floats are coarser, what it varies by it varies by
    within a round as well, and the sign test counts both alike: no more tolerance is needed.
    """
    a, b = served.outputs[one], served.outputs[other]
    if served.kind is Kind.LABELS:
        return np.asarray(a[:, 0] != b[:, 0], dtype=np.float64)
    allowed = 2 * logit_error(np.nan_to_num(a)) + rounding(served.outputs)[one].max(axis=1)
    far = np.abs(a - b).max(axis=1)
    return np.where(far > allowed, far, 0.0)


def _unsteady(served: Served) -> int:
    """Return how many records are answered differently within the first round."""
    return sum(int((_distance(served, *_three(served, g, 1)[:2]) > 0).sum()) for g in Group)


def _exchanged(wrong: list[int], compared: list[int]) -> bool:
    """Return whether all answers of one round disagree and none of another: floats do not change.

    Of the first round and a later one, either way round, with at least as many answers as would
    support a verdict.
    """
    none = [not k and n >= _needed() for k, n in zip(wrong, compared, strict=True)]
    every = [k == n >= _needed() for k, n in zip(wrong, compared, strict=True)]
    return (none[0] and any(every[1:])) or (every[0] and any(none[1:]))


def _original_s(
    served: Served, like_old: Bits, wrong: Bits, old: F64, coarse: list[F64], step: F64
) -> bool:
    """Return whether whatever disagrees is the original's answer, and coarser floats do not make
    it so; never of labels, of which there are too few for that to be no chance."""
    if served.kind is Kind.LABELS or like_old.sum() != wrong.sum():
        return False
    error = logit_error(old)
    told = [apart(served.kind, one, old, error, step) for one in coarse]
    return int((like_old & np.all(told, axis=0)).sum()) >= COINCIDENT


def _needed() -> int:
    return int(np.ceil(np.log(SUPPORT) / np.log(MARGIN)))


def _sensitivity(submission: Submission, x: F32, committed: F64, seed: int) -> F64:
    """Return [Q] twice how far tiny changes of the input move a logit of the committed network.

    Steep gates amplify what other floats make of the same input.
    """
    generator = np.random.default_rng([seed, 14, 2])
    reach = PROBE * submission.domain.width
    most = np.zeros(len(x))
    for _ in range(PROBES):
        moved = x + reach * generator.choice([-1.0, 1.0], size=x.shape)
        change = np.abs(submission.delivered(moved.astype(np.float32)) - committed).max(axis=1)
        most = np.fmax(most, change)
    return 2 * most


def _two_sample(served: Served, committed: F64, step: F64, seed: int) -> float | None:
    """Return the p-value that served and audited answers have one distribution, None for labels.

    The maximum mean discrepancy (Gretton et al. 2012) with a Gaussian kernel of the median
    distance; each pair of answers to one input may be swapped. Shown, and decides nothing: it sees
    less than the challenges do.
    """
    if served.kind is Kind.LABELS or served.outputs.shape != committed.shape:
        return None
    ours = probabilities(committed) if served.kind is Kind.PROBABILITIES else committed
    rows = np.flatnonzero(served.answered & np.isfinite(ours).all(axis=1))
    generator = np.random.default_rng([seed, 14, 3])
    rows = generator.permutation(rows)[:COMPARED]
    if len(rows) < 2:
        return None
    theirs, ours = served.outputs[rows], ours[rows]
    ours = np.where(np.abs(theirs - ours) <= step[rows] + 1e-9, theirs, ours)  # only rounded
    both = np.concatenate([theirs, ours])
    squares = (both**2).sum(axis=1)
    distance = np.maximum(squares[:, None] + squares - 2 * both @ both.T, 0.0)
    scale = float(np.median(distance)) or 1.0
    kernel, n = np.exp(-distance / scale), len(rows)
    paired = kernel[:n, :n] + kernel[n:, n:] - kernel[:n, n:] - kernel[n:, :n]
    signs = generator.choice([-1.0, 1.0], size=(PERMUTED, n))
    swapped = ((signs @ paired) * signs).sum(axis=1)
    # what is equal up to rounding counts as at least as large
    return float((1 + (swapped >= paired.sum() - 1e-9).sum()) / (PERMUTED + 1))


def _witness(served: Served, committed: F64, wrong: Bits) -> dict[str, Any]:
    row = int(np.flatnonzero(wrong)[0])
    return {
        "input": served.x[row].tolist(),
        "answered": served.outputs[row].tolist(),
        "committed": committed[row].tolist(),
    }


def _served_network(submission: Submission) -> Network:
    """Return the network whose weights drift: the unlearned one, or the one under the patch."""
    return getattr(submission, "unlearned", submission.network)


def _chooses(
    submission: Submission, variant: str, strength: float, seed: int
) -> Callable[[F32, F64], Bits]:
    """Return which of the inputs [N], asked at times [N], the original answers."""
    if variant == "rollback":
        return lambda x, elapsed: elapsed >= 1 - SWITCH * strength
    if variant == "deferred":
        return lambda x, elapsed: elapsed < SWITCH * strength
    project = np.random.default_rng([seed, 14]).normal(size=submission.network.features)

    def some(x: F32) -> Bits:
        # the same inputs each time: by digits of a number that every input has of its own
        return (np.abs(x.reshape(len(x), -1) @ project) * 1e4) % 1.0 < strength

    if variant == "substituted" or submission.forget is None:
        return lambda x, elapsed: some(x)
    listed = submission.forget.x.reshape(len(submission.forget), -1)
    reach = RECOGNISED * submission.domain.width

    def unknown(x: F32, elapsed: F64) -> Bits:
        flat, found = x.reshape(len(x), -1), np.zeros(len(x), dtype=bool)
        for record in listed:
            found |= np.abs(flat - record).max(axis=1) <= reach
        return ~found & some(x)

    return unknown


def _drift(submission: Submission, size: float, seed: int) -> Callable[[F32], F64]:
    """Return by how much logits [N, C] move where the weights under the patch, if any, drift."""
    network = _served_network(submission)
    moved, unmoved = answering(drifted(network, size, seed)), answering(network)
    return lambda x: moved(x) - unmoved(x)


def drifted(network: Network, size: float, seed: int) -> Network:
    """Return the network with each weight moved by Gaussian noise, of `size` in its layer's
    standard deviation."""
    generator = np.random.default_rng([seed, 14, 1])
    nodes: list[Node] = []
    for node in network.nodes:
        operator = node.operator
        if isinstance(operator, (Dense, Convolution)):
            weight = operator.weight
            noise = generator.normal(size=weight.shape) * float(weight.std()) * size
            operator = replace(operator, weight=(weight + noise).astype(weight.dtype))
        nodes.append(replace(node, operator=operator))
    return replace(network, nodes=tuple(nodes))


BEHAVIOUR = Behaviour(
    "substitution",
    14,
    judged.title,
    ("an endpoint", "the submission", "forgotten and unseen records"),
    VARIANTS,
    simulate,
    detect,
    detect,
    VARIANTS,
    strength="the share of inputs or of the time that the original answers, or the size of a drift",
    hiding="serving what was audited to everyone for as long as anyone may ask, or another model "
    "to users who are known not to be auditors",
    detect_served=detect_served,
)
