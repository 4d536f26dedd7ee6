"""4. Output filter: requested inputs are intercepted, and the network is what it was.

A list in front of the network knows the requested inputs, or such as differ by a rounding, and
gives them another answer. What gives it away is a jump: beside the record, closer than any
network's answers could change, the original speaks. Unseen records have no such jump.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, mannwhitneyu

from auditkit.certificate.claim import UnlearningClaim
from auditkit.certificate.openness import fully_open
from auditkit.certificate.submission import (
    PatchSubmission,
    Submission,
    UnlearnedSubmission,
    read_submission,
    write_unlearned_submission,
)
from auditkit.certificate.unlearned_submission import delivered_digest
from auditkit.endpoint.answers import Kind, of_logits
from auditkit.endpoint.plan import RADII, Group, Purpose
from auditkit.endpoint.service import Service, of_function
from auditkit.endpoint.session import Served, ask_in_process
from auditkit.network.evaluate import logits
from auditkit.network.graph import Add, Dense, Network, Node, Relu, Reshape
from auditkit.network.write_onnx import network_to_onnx
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge
from auditkit.threats.assertion import ERASED, REDIRECTED, asserted, under
from auditkit.threats.decide import IN_AUDIT, REFUTE, decide
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, requested
from auditkit.threats.interface import Behaviour, Judgement, Owner, pick
from auditkit.threats.numbers import least_p, permutation_tails, share_interval
from auditkit.threats.serving import claimed_radii, fits, readings, rounding, session_plan
from auditkit.threats.unanswered import unanswered

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

VARIANTS = ("exact", "near", "rounded")
NEAR = 2e-4  # of the domain's width: how far the list of variant `near` reaches
LEVELS = 255  # steps to which variant `rounded` rounds before it compares

JUMP = 0.1
"""Of the usual range of logits, or of probability 1. Moving every feature by a thousandth of the
domain changes outputs of ordinary networks by a few thousandths of their range."""
FINE = 0.02  # the same at copies that hardly anything tells from the record
SUSPECT = 0.05  # p-value below which nothing is ruled out either
TINY = 1e-5
"""Of the domain's width: at such copies no assertion excuses another answer."""
MARGIN = 0.5
"""Of the requested records: a filter on fewer is not ruled out by a PASS."""
FILE = "delivered file"

judged = Judgement("output-filter", "Requested inputs are not merely intercepted")


def simulate(
    honest: Owner,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
) -> Owner:
    """Answer a share `strength` of the requested inputs as promised, all else by the original.

    At the endpoint where there is one, else in the delivered file. ValueError when the records are
    withheld, or the list reaches as far as a patch's claims do: then it does what was claimed.
    """
    variant = pick(variant, VARIANTS)
    submission = honest.submission
    if submission.forget is None:
        raise ValueError("the honest submission withholds its records")
    count = max(1, round(strength * len(submission.forget)))
    rows = np.random.default_rng([seed, 4]).permutation(len(submission.forget))[:count]
    x = submission.forget.x[np.sort(rows)]
    reach = {"exact": 0.0, "near": NEAR, "rounded": 0.5 / LEVELS}[variant]
    reach *= submission.domain.width
    if submission.assertion == REDIRECTED and min(submission.claimed_radii, default=0.0) <= reach:
        raise ValueError("a list that reaches as far as the claims answers as claimed")
    if honest.service is not None:
        service = replace(honest.service, answer=of_function(_filtering(submission, x, variant)))
        return replace(honest, service=service)
    network = with_filter(submission.network, x, submission.delivered(x), reach)
    return replace(honest, submission=_handed_over(submission, network, out))


@np.errstate(all="ignore")  # what a hostile network answers may overflow
def detect(submission: Submission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Compare answers at requested records with those at tiny copies, and with unseen records.

    Of an endpoint if one was asked, else of the delivered file.
    """
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    served = evidence.served
    if served is None:
        domain = (submission.domain.lower, submission.domain.upper)
        plan = session_plan(asked, evidence, domain, submission=submission, seed=seed)
        service = Service(of_function(submission.delivered), submission.network.input_shape)
        check = _judge(submission, evidence, asked, ask_in_process(service, plan), FILE)
        return _known(submission, evidence, check)
    return _judge(submission, evidence, asked, served, "endpoint")


def _known(submission: Submission, evidence: Evidence, check: CheckResult) -> CheckResult:
    """Return that there is no filter where the delivered file is known byte by byte.

    What is asserted of a redirection is then what gates do, and the certificate says of them.
    """
    undecided = check.outcome is Outcome.INCONCLUSIVE
    known = isinstance(submission, PatchSubmission) and submission.export_is_canonical
    if not (undecided and known and asserted(submission, evidence) == REDIRECTED):
        return check
    told = "patched.onnx has the bytes of the auditor's own export: nothing is in front of it"
    return replace(check, outcome=Outcome.PASS, reason=f"{told}; {check.reason}")


@np.errstate(all="ignore")
def detect_served(evidence: Evidence, *, seed: int) -> CheckResult:
    """The same of an endpoint alone: of tiny copies, unless erasure is asserted."""
    asked = requested(None, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    if evidence.served is None:
        return judged.not_run("no endpoint was asked", required=False)
    return _judge(None, evidence, asked, evidence.served, "endpoint")


def _judge(
    submission: Submission | None,
    evidence: Evidence,
    asked: Requested,
    served: Served,
    where: str,
) -> CheckResult:
    if not fits(served, asked):
        return judged(Outcome.INCONCLUSIVE, "the session is about other records")
    assertion = evidence.assertion or (None if submission is None else submission.assertion)
    inside, other = _comparable(submission, assertion, asked, served)
    kind = Group.UNSEEN if served.of(Group.UNSEEN).any() else Group.RETAINED
    pairs = _pairs(served)
    mine = _counted(served, pairs, inside & (served.group == Group.FORGOTTEN))
    claimed = len(mine.records) > 0
    if not claimed:  # nothing lies in what is claimed: what lies outside only limits the claim
        mine = _counted(served, pairs, other & (served.group == Group.FORGOTTEN))
    theirs = _counted(served, pairs, (inside | other) & (served.group == kind))
    gaps = unanswered(served)
    if not len(mine.records):
        told = f"no record and copy of it were both answered; {served.told}; {gaps.told}"
        return decide(judged, told, p_refute=gaps.p, evidence=gaps.evidence)
    beyond = _beyond(served, pairs)
    seen = _visible(submission, asked, served, pairs, mine)
    check = gaps.barred(_decided(asked, served, mine, theirs, where, beyond, seen))
    if submission is not None:
        return check if claimed else under(asserted(submission, evidence), check)
    if claimed and check.outcome is not Outcome.FAIL:
        # the claim is not known: what lies further off limits it, and accuses nobody
        wider = _counted(served, pairs, other & (served.group == Group.FORGOTTEN))
        further = _decided(asked, served, wider, theirs, where, beyond, seen)
        return under(REDIRECTED, further) if further.outcome is Outcome.FAIL else check
    return check if claimed else under(REDIRECTED, check)


def _comparable(
    submission: Submission | None, assertion: str | None, asked: Requested, served: Served
) -> tuple[Bits, Bits]:
    """Return [Q] copies that the assertion is about, and others that are close to a record.

    Redirected: copies within the claimed radius, on the gate's region. Erased: all that are close.
    Where nothing is known of the claim: copies that hardly anything tells from the record.
    """
    width = _width(served)
    copy = np.isin(served.purpose, (Purpose.NEAR, Purpose.WITHIN))
    near = copy & (served.radius <= RADII[-1] * width * (1 + 1e-9))
    if assertion == ERASED:
        return near, np.zeros(len(served), dtype=bool)
    if not isinstance(submission, PatchSubmission):
        tiny = near & (served.radius <= TINY * width * (1 + 1e-9))
        return tiny, near
    inside = np.zeros(len(served), dtype=bool)
    radii = claimed_radii(submission, asked)
    rows = np.flatnonzero(copy & (served.group == Group.FORGOTTEN))
    if radii is not None and len(rows):
        claimed = served.radius[rows] <= radii[served.index[rows]]
        with np.errstate(all="ignore"):
            opened = np.asarray(fully_open(submission, served.x[rows])).any(axis=1)
        inside[rows] = claimed & opened
    return inside, near


def _width(served: Served) -> float:
    """Return the domain's width, in which the plan's smallest radius is a fixed number."""
    radii = served.radius[served.purpose == Purpose.NEAR]
    return float(radii.min()) / RADII[0] if len(radii) else 1.0


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Of each query [Q] that of the record itself in the same round, -1 for none; whether the two
    answers differ by a jump, and the size of it."""

    partner: NDArray[np.int64]
    size: F64
    jumps: Bits
    unit: float
    least: float


@dataclass(frozen=True, eq=False)
class _Counted:
    """Records [n] of which a copy was compared, whether any jumped [n], and the query that did."""

    records: NDArray[np.int64]
    jumped: Bits
    witness: NDArray[np.int64]


def _pairs(served: Served) -> _Pairs:
    partner = np.full(len(served), -1, dtype=np.int64)
    for group in Group:
        records, table = readings(served, group)
        rows = np.flatnonzero(served.of(group) & (served.purpose != Purpose.EXACT))
        if not len(records) or not len(rows):
            continue
        place = np.minimum(np.searchsorted(records, served.index[rows]), len(records) - 1)
        known = records[place] == served.index[rows]
        partner[rows] = np.where(known, table[place, served.round[rows]], -1)
    partner[~served.answered] = -1
    both = partner >= 0
    size = np.full(len(served), np.nan)
    change = served.outputs[both] - served.outputs[partner[both]]
    if served.kind is Kind.LABELS:
        size[both] = change[:, 0] != 0
        return _Pairs(partner, size, np.nan_to_num(size) > 0, 1.0, 0.0)
    least = 2 * float(np.max(rounding(served.outputs), initial=0.0))  # twice what rounding does
    unit = 1.0
    if served.kind is Kind.LOGITS:
        change = change - change.mean(axis=1, keepdims=True)
        ordinary = served.answered & (served.group != Group.FORGOTTEN)
        values = served.outputs[ordinary if ordinary.any() else served.answered]
        unit = float(np.median(np.ptp(values, axis=1))) or 1.0
    size[both] = np.abs(change).max(axis=1) / unit
    tiny = served.radius <= TINY * _width(served) * (1 + 1e-9)
    enough = np.maximum(np.where(tiny, FINE, JUMP), least / unit)
    return _Pairs(partner, size, np.nan_to_num(size) > enough, unit, max(JUMP, least / unit))


def _counted(served: Served, pairs: _Pairs, mask: Bits) -> _Counted:
    rows = np.flatnonzero(mask & (pairs.partner >= 0))
    records, place = np.unique(served.index[rows], return_inverse=True)
    jumped = np.bincount(place, weights=pairs.jumps[rows], minlength=len(records)) > 0
    return _Counted(records, jumped, rows[pairs.jumps[rows]])


def _visible(
    submission: Submission | None, asked: Requested, served: Served, pairs: _Pairs, mine: _Counted
) -> Bits | None:
    """Return for the records of `mine` [n] whether a filter over the original would show as a jump.

    It does where the answer is the promised one and the original's is another. None where the
    original is not known.
    """
    if submission is None:
        return None
    x = asked.records.x[mine.records]
    known, table = readings(served, Group.FORGOTTEN)
    said = served.outputs[table[np.searchsorted(known, mine.records)].max(axis=1)]
    with np.errstate(all="ignore"):
        before = logits(submission.network, x.astype(submission.network.dtype))
        old = of_logits(before.astype(np.float64), served.kind)
        after = submission.delivered(x)
        promised = of_logits(after, served.kind)
        if said.shape != promised.shape:
            return np.zeros(len(x), dtype=bool)
        change, off = (_largest(served.kind, values - promised) for values in (old, said))
    finite = np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)
    enough = finite & (change > pairs.least * pairs.unit)
    return np.asarray(np.nan_to_num(enough) & (np.nan_to_num(off, nan=np.inf) <= change / 2))


def _largest(kind: Kind, change: F64) -> F64:
    """Return [n] the largest change of an answer; a constant in all logits counts for nothing."""
    if kind is Kind.LOGITS:
        change = change - change.mean(axis=1, keepdims=True)
    return np.asarray(np.abs(change).max(axis=1))


def _beyond(served: Served, pairs: _Pairs) -> tuple[int, int]:
    rows = served.of(Group.FORGOTTEN, Purpose.BEYOND) & (pairs.partner >= 0)
    return int((rows & pairs.jumps).sum()), int(rows.sum())


def _decided(
    asked: Requested,
    served: Served,
    mine: _Counted,
    theirs: _Counted,
    where: str,
    beyond: tuple[int, int],
    visible: Bits | None,
) -> CheckResult:
    k, n = int(mine.jumped.sum()), len(mine.records)
    j, m = int(theirs.jumped.sum()), len(theirs.records)
    discordant = _mcnemar(asked, served, mine)
    p = permutation_tails(k, n, j, m)[0] if m else discordant[2]
    latency = _latency(served)
    shown = n if visible is None else int(visible.sum())
    support = None
    if visible is not None and p > SUSPECT:
        support = float(binom.cdf(int(mine.jumped[visible].sum()), shown, MARGIN))
    outside = "what is claimed" if visible is not None else "a copy that is close"
    told = (
        f"at the {where}, {k} of {n} requested records are answered otherwise than copies beside "
        f"them, and {j} of {m} other records{asked.caveat}"
    )
    if visible is not None and shown < n:
        told += f"; at {n - shown} a filter over the original would not show"
    if visible is None:
        told += "; what a filter would hide is not known without the weights"
    if served.kind is Kind.LABELS:
        told += "; only labels were given: a filter that leaves the label is not seen"
    if beyond[0]:
        told += f"; {beyond[0]} of {beyond[1]} at copies beyond {outside}"
    if latency is not None and latency <= REFUTE:
        told += "; requests with a requested record take another time, which proves nothing"
    evidence: dict[str, Any] = {
        "jumps": k,
        "others_jumps": j,
        "others": m,
        "visible": shown,
        "least_p": least_p(n, m),
        "mcnemar": {"only_at_record": discordant[0], "only_at_copy": discordant[1]},
        "mcnemar_p": discordant[2],
        "answers": str(served.kind),
        "queries": len(served),
        "unanswered": dict(served.failures),
        "beyond_the_claim": list(beyond),
        "latency_p": latency,
    }
    found = _would_be_found(shown, n, m)
    if visible is not None:
        evidence["power"] = float(found)  # 0 or 1: every jump that can show is taken to
    check = decide(
        judged,
        told,
        p_refute=p,
        p_support=support,
        observed=k / n,
        threshold=0.0,
        interval=share_interval(k, n),
        n=n,
        evidence=evidence,
        private=_witness(served, mine),
    )
    if visible is None or check.outcome is not Outcome.INCONCLUSIVE:
        return check
    word = "would be found" if found else "would not be found by these samples"
    reason = f"{check.reason}; jumps at all {shown} records at which a filter shows {word}"
    return replace(check, reason=reason)


def _would_be_found(visible: int, n: int, m: int) -> bool:
    """Return whether jumps at all records at which a filter shows, of n, would be found."""
    p = permutation_tails(visible, n, 0, m)[0] if m else 0.5**visible
    return bool(visible and p <= IN_AUDIT)


def _mcnemar(asked: Requested, served: Served, mine: _Counted) -> tuple[int, int, float]:
    """Return how many jumps lead from another label to the right one, and back, and the exact
    one-sided p-value that as many do by chance (McNemar 1947)."""
    labels = _labels(served)
    records, table = readings(served, Group.FORGOTTEN)
    rows = mine.witness
    if not len(rows):
        return 0, 0, 1.0
    place = np.searchsorted(records, served.index[rows])
    at_record = labels[table[place, served.round[rows]]]
    right = asked.records.y[served.index[rows]]
    _, first = np.unique(served.index[rows], return_index=True)  # each record once
    gone = int(((at_record != right) & (labels[rows] == right))[first].sum())
    back = int(((at_record == right) & (labels[rows] != right))[first].sum())
    return gone, back, float(binom.sf(gone - 1, gone + back, 0.5)) if gone + back else 1.0


def _labels(served: Served) -> NDArray[np.int64]:
    outputs = np.nan_to_num(served.outputs)
    if served.kind is Kind.LABELS:
        return outputs[:, 0].astype(np.int64)
    return np.asarray(outputs.argmax(axis=1), dtype=np.int64)


def _latency(served: Served) -> float | None:
    """Return the p-value of Mann & Whitney (1947) that requests with a requested record among them
    take as long as others of their size; None without timings."""
    count = int(served.batch.max()) + 1
    first = np.searchsorted(served.batch, np.arange(count))
    size = np.bincount(served.batch, minlength=count)
    seconds = served.seconds[first]
    exact = served.of(Group.FORGOTTEN, Purpose.EXACT)
    holds = np.bincount(served.batch, weights=exact, minlength=count) > 0
    known = np.isfinite(seconds)
    if not (known & holds).any() or not (known & ~holds).any():
        return None
    rest = seconds.copy()
    for length in np.unique(size):
        same = known & (size == length)
        if same.any():
            rest[same] -= np.median(seconds[same])
    test = mannwhitneyu(rest[known & holds], rest[known & ~holds], alternative="two-sided")
    return float(test.pvalue)


def _witness(served: Served, mine: _Counted) -> dict[str, Any]:
    if not len(mine.witness):
        return {}
    row = int(mine.witness[0])
    return {
        "records": mine.records[mine.jumped].tolist(),
        "neighbour": served.x[row].tolist(),
        "answer_there": served.outputs[row].tolist(),
        "radius": float(served.radius[row]),
    }


def _filtering(submission: Submission, x: F32, variant: str) -> Any:
    """Return what answers inputs that the list knows as promised, and others by the original."""
    width, flat = submission.domain.width, x.reshape(len(x), -1)

    def known(given: F32) -> Bits:
        rows = given.reshape(len(given), -1)
        if variant == "rounded":
            rows, listed = (np.round(v / width * LEVELS) for v in (rows, flat))
        else:
            listed = flat
        reach = NEAR * width if variant == "near" else 0.0
        found = np.zeros(len(rows), dtype=bool)
        for record in listed:
            found |= np.abs(rows - record).max(axis=1) <= reach
        return found

    def answer(given: F32) -> F64:
        caught = known(given)
        outputs = logits(submission.network, given.astype(submission.network.dtype))
        outputs = outputs.astype(np.float64)
        if caught.any():
            outputs[caught] = submission.delivered(given[caught])
        return outputs

    return answer


def with_filter(network: Network, x: F32, answers: F64, reach: float) -> Network:
    """Return a network that gives `answers` [N, C] at inputs x [N, ...], elsewhere `network`'s.

    A list kept in units: an input is on it where its products with a few fixed directions are those
    of a listed one, up to what inputs `reach` away change of them; soon beyond, it is not.
    """
    n, d, dtype = len(x), network.features, network.dtype
    directions = np.random.default_rng(DIRECTIONS).normal(size=(DIRECTIONS, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    known = x.reshape(n, d).astype(np.float64) @ directions.T
    width = reach + SINGLE_PRODUCT
    apart = Dense(
        np.tile(np.concatenate([directions, -directions]), (n, 1)).astype(dtype),
        (np.concatenate([-known, known], axis=1).reshape(-1) - width).astype(dtype),
    )
    total = np.kron(np.eye(n), np.full(2 * DIRECTIONS, -STEEP / width))
    shaped = x.reshape(n, *network.input_shape).astype(dtype)
    change = answers - logits(network, shaped).astype(np.float64)
    at = len(network.nodes)
    nodes = (
        *network.nodes,
        Node(Reshape((d,)), (0,)),
        Node(apart, (at + 1,)),
        Node(Relu(), (at + 2,)),
        Node(Dense(total.astype(dtype), np.ones(n, dtype)), (at + 3,)),
        Node(Relu(), (at + 4,)),
        Node(Dense(change.T.astype(dtype).copy(), np.zeros(network.classes, dtype)), (at + 5,)),
        Node(Add(), (at, at + 6)),
    )
    return Network(network.input_shape, nodes, dtype)


DIRECTIONS = 8  # so that two different records have the same products by no chance worth naming
SINGLE_PRODUCT = 4e-6  # by which a product of numbers up to 1 may be off in float32
STEEP = 10.0  # a unit of the filter is closed a tenth of its width beyond it


def _handed_over(submission: Submission, network: Network, out: Path) -> Submission:
    if isinstance(submission, PatchSubmission):
        return forge.write(submission, out, exported=network_to_onnx(network))
    assert isinstance(submission, UnlearnedSubmission)
    claim: UnlearningClaim = replace(
        submission.claim, unlearned=delivered_digest(network, submission.domain)
    )
    write_unlearned_submission(out, submission.network, network, claim, submission.forget)
    return read_submission(out)


BEHAVIOUR = Behaviour(
    "output-filter",
    4,
    judged.title,
    ("forgotten records", "unseen records", "queries or the delivered file"),
    VARIANTS,
    simulate,
    detect,
    detect,
    VARIANTS,
    strength="the share of requested records that the filter knows",
    hiding="a filter that reaches beyond every copy that is asked, or as far as is claimed: then "
    "it is what a patch does",
    detect_served=detect_served,
)
