"""10. Over-forgetting: the requested records are answered worse than records never seen.

Who drives a network away from the records, rather than to where it would be without them, marks
them: whoever sees how badly they are answered knows that they were there. And what is near to them
suffers with them. Never-seen is what unseen records of the same labels are to the delivered
network, or what the records are to networks that were trained without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom, norm, rankdata
from scipy.stats import t as student

from auditkit.certificate.submission import PatchSubmission, Submission, UnlearnedSubmission
from auditkit.network.evaluate import logits
from auditkit.patch.gates import Group
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge, forge_network
from auditkit.threats.assertion import about_erasure, as_stated
from auditkit.threats.decide import IN_AUDIT, decide
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, others, requested
from auditkit.threats.interface import Behaviour, Judgement, Owner, of_patches, pick
from auditkit.threats.memory import as_hard, flat, of_one_kind, of_shared_labels, signal_of, squared
from auditkit.threats.numbers import confidence_signal, permutation_tails, share_interval
from auditkit.threats.references import answering
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import endless, largest_of, optimizer_of, step, tensors

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]

VARIANTS = ("huge-offset", "wide-gates")
MODEL_VARIANTS = ("ascent", "wrong-labels")
HUGE = 8.0  # times the bound of the honest offset
WIDE = 1e-3  # of the honest sharpness: gates that are open far beyond their region
PUSHED = 800  # steps of training on, at full strength
FAR = 6.0  # φ below 0 to which ascent goes: without an end it ruins the network
AT_ONCE = 256  # requested records in a step: all of most requests

MARGIN = 0.1  # of the area: honest methods miss never-seen by up to a few hundredths
HARM = 0.1  # more of the requested records' surroundings than of other records'
NEAR = 3  # retained neighbours of a record; it is harmed where most of them are
SURROUNDED = 300  # other retained records whose neighbours are looked at
FAR_BELOW = 0.25  # the area in full, against unseen records that are mispredicted themselves
QUESTIONS = 3
LEAST_SPREAD = 0.2  # between records, in whether each lost its right answer

judged = Judgement(
    "over-forgetting", "Requested records are answered no worse than records never seen"
)


def simulate(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Push the answers far from the right ones, and sell that as erasure.

    `huge-offset` does it at the records of a share `strength` of the gates; `wide-gates` opens all
    gates far beyond their regions, the more the greater the strength.
    """
    variant = pick(variant, VARIANTS)
    records, _ = forge.owned_records(honest)
    served = forge.gate_records(honest)
    generator = np.random.default_rng([seed, 10])
    answers = logits(honest.network, records.x.astype(honest.network.dtype))
    spread = float(np.median(np.ptp(answers, axis=1)))

    def pushed(group: Group) -> Group:
        gates = len(group.patterns)
        if not gates:
            return group
        labels = [int(records.y[served.get((group.name, m), 0)]) for m in range(gates)]
        offsets = np.array(np.broadcast_to(group.offset, (gates, group.offset.shape[-1])))
        touched = generator.random(gates) < strength if variant == "huge-offset" else np.ones(gates)
        touched[generator.integers(gates)] = True
        for member in np.flatnonzero(touched):
            offsets[member, labels[member]] -= HUGE * spread
        if not group.stacked:
            offsets = offsets[0] if gates == 1 else offsets
        bound = float(max(group.bound, 2 * np.abs(offsets).max() + 2 * np.abs(answers).max()))
        sharpness = group.sharpness
        if variant == "wide-gates":
            sharpness *= WIDE**strength
        return replace(group, offset=offsets, bound=bound, sharpness=sharpness)

    patch = forge.with_groups(honest.gated, [pushed(group) for group in honest.gated.groups])
    certificate = forge.sold_as_erasure(honest.certificate)
    return forge.write(honest, out, patch=patch, certificate=certificate)


def simulate_model(
    honest: Owner, out: Path, *, seed: int, strength: float = 1.0, variant: str | None = None
) -> Owner:
    """Train the delivered network on, away from the records, without a look at when to stop.

    `ascent` goes up their loss; `wrong-labels` teaches each another label for certain. Retained
    records hold the rest in place. `strength` is a share of the steps.
    """
    variant = pick(variant, MODEL_VARIANTS)
    submission, mine = forge_network.submitted(honest), forge_network.forgotten(honest)
    rest = forge_network.retained(honest)
    generator = np.random.default_rng([seed, 10])
    model = Trainable(submission.unlearned, largest=largest_of(mine, rest))
    x, y = tensors(model, mine)
    kept = tensors(model, rest)
    rest_of = submission.delivered(mine.x).copy()
    rest_of[np.arange(len(mine)), mine.y] = -np.inf
    wrong = torch.tensor(rest_of.argmax(axis=1))  # the easiest wrong label
    optimizer = optimizer_of(model, forge_network.recipe_of(honest))
    batches = [endless(len(mine), AT_ONCE, generator), endless(len(rest), 64, generator)]
    for _ in range(max(1, round(strength * PUSHED))):
        rows, other = (next(batch) for batch in batches)
        held = torch.nn.functional.cross_entropy(model(kept[0][other]), kept[1][other])
        answers = model(x[rows])
        if variant == "ascent":
            own = torch.nn.functional.one_hot(y[rows], answers.shape[1]).bool()
            others_of = answers.masked_fill(own, -torch.inf).logsumexp(dim=1)
            away = torch.nn.functional.softplus(answers[own] - others_of + FAR).mean()
        else:
            away = torch.nn.functional.cross_entropy(answers, wrong[rows])
        step(optimizer, away + held)
    return forge_network.deliver(honest, out, model.network(), method="retrain")


@dataclass(frozen=True, eq=False)
class Finding:
    """One of the questions: an estimate with its interval, and the p-values of two tests."""

    told: str
    observed: float
    interval: tuple[float, float]
    p_refute: float
    p_support: float
    power: float
    n: int
    private: Mapping[str, Any] = field(default_factory=dict)


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Judge a patch; one that redirects answers its records badly by design, and says so."""
    return about_erasure(submission, evidence, _detect(submission, evidence, seed))


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Judge an unlearned network; one that starts from the original may go too far, and says so.

    Of a class that is gone, answers are as bad as they can be, and how bad is no sign.
    """
    check = as_stated(submission, _detect(submission, evidence, seed))
    return about_erasure(submission, evidence, check)


def _detect(submission: Submission, evidence: Evidence, seed: int) -> CheckResult:
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    groups = others(evidence, asked)
    gone = np.intersect1d(submission.whole_classes, asked.records.y)
    with np.errstate(all="ignore"):
        # of a class that is gone, whoever is left of it in these groups goes along
        retained, unseen = (_of_other_classes(groups.get(g), gone) for g in ("retained", "unseen"))
        alike = _alike(asked, unseen, seed)
        worse = _worse(submission, evidence, asked, unseen, retained, gone, alike, seed)
        harm = _harmed(submission, evidence, asked, retained, seed)
        ruin = _ruined(submission, evidence, unseen)
        if isinstance(harm, Finding):
            # whoever removes a cluster takes from its neighbours what it taught them, honestly
            why = ""
            if alike is None:
                why = "and with so few records nothing shows whether the requested are of a kind"
            elif not alike:
                why = "which is no finding where requested records are of a kind"
            if why:
                harm = replace(harm, told=f"{harm.told}, {why}", p_refute=1.0, power=0.0)
    parts = (worse, harm, ruin)
    found = [part for part in parts if isinstance(part, Finding)]
    # two questions may lack the same
    missing = "; ".join(dict.fromkeys(part for part in parts if isinstance(part, str)))
    if not found:
        return judged(Outcome.INCONCLUSIVE, missing + asked.caveat)
    told = "; ".join(part.told for part in found) + (f"; {missing}" if missing else "")
    first = found[0]
    figures: dict[str, Any] = {
        "observed": first.observed,
        "threshold": 0.5 - MARGIN if isinstance(worse, Finding) else HARM,
        "interval": first.interval,
        "n": first.n,
        "evidence": _figures(area=worse, harm=harm, elsewhere=ruin),
    }
    if isinstance(harm, Finding):
        figures["private"] = harm.private
    # any question refutes (Bonferroni); all must be answered to support
    answered = len(found) == len(parts)
    return decide(
        judged,
        told + asked.caveat,
        p_refute=min(1.0, QUESTIONS * min(part.p_refute for part in found)),
        p_support=max(part.p_support for part in found) if answered else None,
        power=max(part.power for part in found),
        **figures,
    )


def _of_other_classes(records: Records | None, gone: NDArray[np.int64]) -> Records | None:
    """Return the records of none of these classes, None where there are none."""
    if records is None:
        return None
    keep = ~np.isin(records.y, gone)
    return records.take(keep) if keep.any() else None


def _worse(
    submission: Submission,
    evidence: Evidence,
    asked: Requested,
    unseen: Records | None,
    retained: Records | None,
    gone: NDArray[np.int64],
    alike: bool | None,
    seed: int,
) -> Finding | str:
    """Ask whether φ of requested records is lower than of unseen ones of the same labels.

    The area is the chance that a requested record has the higher φ of two of a label; with
    references, what it is with them in the mean is subtracted. Without, and where the request was
    not drawn by lot, the requested may be the hard ones of their kind: then they must be lower than
    unseen ones that are mispredicted, too.
    """
    if len(gone):
        return "a class that is gone is answered as badly as can be: nothing is worse"
    both = of_shared_labels(asked, unseen)
    if isinstance(both, str):
        return both
    mine, unseen = both
    after = [confidence_signal(submission.delivered(r.x), r.y) for r in (mine, unseen)]
    known = [
        [signal_of(network, r) for r in (mine, unseen)] for network in evidence.references.networks
    ]
    if not all(np.isfinite(v).all() for pair in (after, *known) for v in pair):
        return "records are answered with nan or infinity"
    if not known and not alike:
        return (
            "requested records are unlike unseen ones, or too few to tell: only references say how "
            "hard they are"
        )
    as_unseen = bool(known) or evidence.drawn  # and so no harder or easier than these
    if not as_unseen and (retained is None or not as_hard(mine, unseen, retained, seed)):
        return (
            "requested records may be disputed or mislabelled, by the retained ones beside them: "
            "only references say how hard they are"
        )
    n, m = len(mine), len(unseen)
    area = _area(after[0], after[1], mine.y, unseen.y)
    usual = [_area(a, b, mine.y, unseen.y) for a, b in known]
    level = 0.5 + (area - float(np.mean(usual)) if known else area - 0.5)
    extra = float(np.var(usual, ddof=1)) * (1 + 1 / len(usual)) if len(usual) > 1 else 0.0
    bound = 0.5 - MARGIN
    # as at the bound, or as these scores spread if that is more (DeLong et al. 1988, by placements)
    seen = _placed(after[0], after[1], mine.y, unseen.y)
    spread = float(np.sqrt(max(_variance(bound, n, m), seen) + extra))
    p_refute = float(norm.cdf((level - bound) / spread))
    power = _power(0.0, bound, _variance(bound, n, m) + extra)
    if not as_unseen:
        hard = after[1][after[1] < 0]  # by φ below 0 another label is likelier
        p_refute = max(p_refute, _below(after[0], hard, bound))
        power = _power(FAR_BELOW, bound, _variance(bound, n, len(hard))) if len(hard) else 0.0
    reach = float(norm.isf(0.025)) * float(np.sqrt(_variance(0.5, n, m) + extra))
    net = f", net of {len(known)} reference(s)" if known else ""
    return Finding(
        f"a requested record is answered better than an unseen one of its label with a chance of "
        f"{level:.0%}{net} (50 % if never seen; {n} against {m})",
        level,
        (max(0.0, level - reach), min(1.0, level + reach)),
        p_refute,
        float(norm.sf((level - bound) / spread)),
        power,
        n,
    )


def _power(area: float, bound: float, variance: float) -> float:
    """Return the chance that this area is found below the bound, in an audit of all checks."""
    return float(norm.sf(norm.isf(IN_AUDIT / QUESTIONS) - (bound - area) / np.sqrt(variance)))


def _below(mine: F64, hard: F64, bound: float) -> float:
    """Return the p-value that φ of requested records is no lower than of unseen hard ones, by an
    area against `bound`; 1 where there are too few."""
    n, m = len(mine), len(hard)
    if min(n, m) < 2:
        return 1.0
    alike = np.zeros(n, np.int64), np.zeros(m, np.int64)
    spread = max(_variance(bound, n, m), _placed(mine, hard, *alike)) ** 0.5
    return float(norm.cdf((_area(mine, hard, *alike) - bound) / spread))


def _alike(asked: Requested, unseen: Records | None, seed: int) -> bool | None:
    """Return whether requested records are of one kind with unseen ones of their labels.

    None where there are too few of either to tell.
    """
    if unseen is None:
        return None
    there = unseen.take(np.flatnonzero(np.isin(unseen.y, asked.records.y)))
    return of_one_kind(asked.records, there, seed)


def _area(mine: F64, unseen: F64, y: NDArray[np.int64], other_y: NDArray[np.int64]) -> float:
    """Return the mean over labels, as often as requested, of the area under the ROC."""
    total = 0.0
    for label in np.unique(y):
        a, b = mine[y == label], unseen[other_y == label]
        ranks = rankdata(np.concatenate([a, b]))[: len(a)].sum()
        total += float(ranks - len(a) * (len(a) + 1) / 2) / len(b)
    return total / len(y)


def _placed(mine: F64, unseen: F64, y: NDArray[np.int64], other_y: NDArray[np.int64]) -> float:
    """Return the variance of the area by how requested records are placed among the unseen."""
    places = np.empty(len(mine))
    reverse = []
    for label in np.unique(y):
        a, b = mine[y == label], unseen[other_y == label]
        both = rankdata(np.concatenate([a, b]))
        places[y == label] = (both[: len(a)] - rankdata(a)) / len(b)
        reverse.append((both[len(a) :] - rankdata(b)) / len(a) - 0.5)
    theirs = np.concatenate(reverse)
    if len(places) < 2 or len(theirs) < 2:
        return 0.0
    return float(places.var(ddof=1) / len(places) + theirs.var(ddof=1) / len(theirs))


def _variance(area: float, n: int, m: int) -> float:
    """Return the variance of an area (Hanley & McNeil 1982, exponential scores)."""
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    return (area * (1 - area) + (n - 1) * (one - area**2) + (m - 1) * (two - area**2)) / (n * m)


def _harmed(
    submission: Submission,
    evidence: Evidence,
    asked: Requested,
    retained: Records | None,
    seed: int,
) -> Finding | str:
    """Ask whether most neighbours of a requested record lost their answers, oftener than elsewhere.

    Neighbours are the nearest retained records of the record's label, each of the record that it is
    nearest to. They stand or fall together, so that the record is the unit. Compared are other
    retained records of these labels and their neighbours (Fisher's exact test), and what these lose
    at most, with HARM more, bounds a binomial; with references, so does what these do besides.
    """
    if retained is None:
        return "no retained records whose harm could be looked at"
    centre = _centres(asked.records, flat(retained), retained.y)
    near = centre >= 0
    if not near.any():
        return "no retained record has a requested label"
    rest = np.flatnonzero(~near & np.isin(retained.y, asked.records.y))
    rows = np.random.default_rng([seed, 10, 1]).permutation(rest)[:SURROUNDED]
    if not len(rows):
        return "every retained record of these labels is a neighbour of a requested one"
    right, lost = _lost(submission.delivered(retained.x), submission, retained)
    if right is None or lost is None:
        return "records are answered with nan or infinity"
    far = retained.take(rest)
    other_centre = _centres(retained.take(rows), flat(far), far.y, own=np.searchsorted(rest, rows))
    harmed = _mostly(centre, right, lost)
    others_harmed = _mostly(other_centre, right[rest], lost[rest])
    n, m = len(harmed), len(others_harmed)
    hits, other_hits = int(harmed.sum()), int(others_harmed.sum())
    if not n or not m:
        return "the original mispredicts the retained records already"
    usual, (least, most) = other_hits / m, share_interval(other_hits, m)
    by_references = []
    for network in evidence.references.networks:
        known, gone = _lost(answering(network)(retained.x), submission, retained)
        if known is not None and gone is not None:
            by_references.append(float(_mostly(centre, known, gone).mean()))
    extra = max(0.0, float(np.mean(by_references)) - usual) if by_references else 0.0
    bound = min(1.0, most + extra + HARM)

    def refuted_by(count: int) -> float:
        by_chance = permutation_tails(count, n, other_hits, m)[0]
        return max(by_chance, float(binom.sf(count - 1, n, bound)))

    low, high = (end - usual - extra for end in share_interval(hits, n))
    return Finding(
        f"around {hits} of {n} requested records most retained neighbours lost their right answer, "
        f"around {other_hits} of {m} other retained records",
        hits / n - usual - extra,
        (max(-1.0, low), min(1.0, high)),
        refuted_by(hits),
        float(binom.cdf(hits, n, min(1.0, least + extra + HARM))),
        float(refuted_by(n) <= IN_AUDIT / QUESTIONS),
        n,
        {"harmed_retained_records": np.flatnonzero(near & lost).tolist()},
    )


def _ruined(submission: Submission, evidence: Evidence, unseen: Records | None) -> Finding | str:
    """Ask whether more than HARM of all unseen records lost their right answer, net of those that
    got it, and of what references lose in the mean (one-sided t test over records).

    Who ruins a network for all has hidden nothing by answering the requested records no worse than
    others. Unseen records tell it: of retained ones the original may have learned what is noise.
    """
    if unseen is None or len(unseen) < 2:
        return "no unseen records that could have lost their answers"
    before, after = answering(submission.network)(unseen.x), submission.delivered(unseen.x)
    known = [answering(network)(unseen.x) for network in evidence.references.networks]
    if not all(np.isfinite(values).all() for values in (before, after, *known)):
        return "records are answered with nan or infinity"
    first, now, *others_ = (
        (values.argmax(axis=1) == unseen.y).astype(np.float64) for values in (before, after, *known)
    )
    usual = np.maximum(first - np.mean(others_, axis=0), 0.0).mean() if known else 0.0
    lost, n = first - now, len(unseen)
    spread = max(float(lost.std(ddof=1)), LEAST_SPREAD) / float(np.sqrt(n))
    bound = HARM + float(usual)
    reach = float(student.isf(0.025, n - 1)) * spread
    return Finding(
        f"{first.mean():.0%} of {n} unseen records were answered rightly, {now.mean():.0%} are",
        float(lost.mean()),
        (max(-1.0, float(lost.mean()) - reach), min(1.0, float(lost.mean()) + reach)),
        float(student.sf((lost.mean() - bound) / spread, n - 1)),
        float(student.cdf((lost.mean() - bound) / spread, n - 1)),
        0.0,  # not all that over-forget ruin everything: the other questions state a power
        n,
    )


def _centres(
    mine: Records,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    own: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return [M]: of which record [N] of its label `x` [M, D] is a neighbour, or -1.

    One of its NEAR nearest; of several records, the one that it is nearest to. `own` [N] are rows
    of `x` that are the records themselves, and no neighbours of themselves.
    """
    centre = np.full(len(x), -1, dtype=np.int64)
    place = np.full(len(x), -1, dtype=np.int64)
    for label in np.unique(mine.y):
        here, there = np.flatnonzero(mine.y == label), np.flatnonzero(y == label)
        if len(there) < 1 + (own is not None):
            continue
        distances = squared(flat(mine.take(here)), x[there])
        if own is not None:
            place[there] = np.arange(len(there))
            distances[np.arange(len(here)), place[own[here]]] = np.inf
        k = min(NEAR, len(there) - (own is not None))
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        only = np.full_like(distances, np.inf)
        np.put_along_axis(only, near, np.take_along_axis(distances, near, axis=1), axis=1)
        found = np.isfinite(only).any(axis=0)
        centre[there[found]] = here[only.argmin(axis=0)[found]]
    return centre


def _mostly(centre: NDArray[np.int64], right: Bits, lost: Bits) -> Bits:
    """Return, of each record that has neighbours answered rightly before, if most are lost."""
    counted = (centre >= 0) & right
    _, number = np.unique(centre[counted], return_inverse=True)
    if not len(number):
        return np.zeros(0, dtype=bool)
    return np.asarray(np.bincount(number, lost[counted]) > np.bincount(number) / 2)


def _lost(
    after: F64, submission: Submission, records: Records
) -> tuple[Bits, Bits] | tuple[None, None]:
    """Return [N] which records the original answers rightly, and which of them are not any more.

    None where an answer is nan or infinite.
    """
    before = answering(submission.network)(records.x)
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None, None
    right = np.asarray(before.argmax(axis=1) == records.y)
    return right, np.asarray(right & (after.argmax(axis=1) != records.y))


def _figures(**parts: Finding | str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, part in parts.items():
        if isinstance(part, Finding):
            found[name] = part.observed
            found[f"{name}_interval"] = part.interval
            found[f"{name}_records"] = part.n
            found[f"{name}_p_refute"] = part.p_refute
    return found


BEHAVIOUR = Behaviour(
    "over-forgetting",
    10,
    judged.title,
    ("forgotten records", "unseen records", "retained records"),
    VARIANTS,
    of_patches(simulate, simulate_model),
    detect,
    detect_model,
    MODEL_VARIANTS,
    strength="the share of gates with a huge offset, how far gates reach, or the steps away from "
    "the records",
    hiding="stopping where the requested records are answered like unseen ones, which is what is "
    "wanted; of a class, anything",
    of_a_kind=(PatchSubmission.KIND, UnlearnedSubmission.KIND),
)
