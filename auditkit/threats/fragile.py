"""9. Fragile suppression: the records are hidden, not forgotten, and a little brings them back.

A few small steps away from the records change the answers and leave almost everything that led to
them. Rounding the weights, pruning or noise may undo the steps; training on some of the records
brings back the others, sooner than a network that never saw them would learn them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import CensoredData, binom, logrank, norm
from scipy.stats import t as student
from torch import Tensor
from torch.nn import functional as F

from auditkit.certificate.submission import PatchSubmission, UnlearnedSubmission
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.patch.patched import patched_network
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge
from auditkit.threats.assertion import about_erasure, as_stated, asserted, under
from auditkit.threats.decide import SUPPORT, decide
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, requested
from auditkit.threats.evidence import others as others_of
from auditkit.threats.forge_network import deliver, forgotten
from auditkit.threats.interface import Behaviour, Judgement, Owner, of_patches, pick
from auditkit.threats.layers import (
    Change,
    balanced,
    change_by_layer,
    changed_weights,
    noise_of,
    pruned_of,
    rounded_to,
    same_layers,
)
from auditkit.threats.memory import of_one_kind
from auditkit.threats.numbers import permutation_tails, share_interval
from auditkit.threats.references import answering
from auditkit.unlearning.trainable import Diverged, Trainable
from auditkit.unlearning.training import largest_of, one_thread, step, tensors

Bits = NDArray[np.bool_]
Times = NDArray[np.int64]

VARIANTS = ("sold-as-erasure",)
MODEL_VARIANTS = ("small-step", "low-bits")

STEPS, RATE = 30, 0.01  # of relearning; each step changes a weight by so much of its layer's size
EARLY = 8  # steps
UNLIKE = 0.05  # level at which a network is too unlike honest ones for what is slow to be a pass
UNLIKELY = 2.0  # a log-rank statistic whose p-value is found by dealing records anew
DEALT, CHUNK = 20_000, 2_000
RELEARNED = 256  # requested records that a relearning is fed and watched with, at most
WATCHED = 1000  # unseen records, at most
MOST_LOST = 0.1  # of unseen records may lose their label where what is slow is to be a pass
COMES_BACK = 0.5  # share of suppressed records that returns where the behaviour is there
SOME = 0.25  # of suppressed records: what is suppressed and comes back so far was not forgotten
EXCESS = 0.15  # of records: by so much more an honest network of another recipe may mispredict them
LEAST_SPREAD = 0.25  # between records, in how much oftener each is mispredicted than by references
SHARE_SPREAD = 0.03  # of the share of steps, between honest networks, at least
LEAST_REFERENCES = 4  # networks whose spread says how far apart honest ones are

SUPPRESSION_RATE, MOST_STEPS = 3e-4, 600  # of the simulated owner
KEPT_WEIGHT = 0.3  # of retained records' loss, against the ascent
CELL = 0.49  # of a rounding step: further from its middle a weight may not go

judged = Judgement("fragile", "What was forgotten does not come back by itself")


def simulate_patch(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Call a patch an erasure: its gates go with the regions, which rounding weights moves."""
    pick(variant, VARIANTS)
    certificate = forge.sold_as_erasure(honest.certificate)
    return forge.write(honest, out, certificate=certificate)


def simulate_model(
    honest: Owner, out: Path, *, seed: int, strength: float = 1.0, variant: str | None = None
) -> Owner:
    """Step away from the forgotten records until a share `strength` of them is mispredicted.

    `small-step` takes as few and small steps as that needs; `low-bits` stays where rounding weights
    to 4 bits gives what it gives of the original. Retained records hold the rest of the network in
    place, where the owner has any. ValueError where hardly a record can be pushed away so.
    """
    bits = {"small-step": None, "low-bits": 4}[pick(variant, MODEL_VARIANTS)]
    forget, kept = forgotten(honest), honest.retain
    network = honest.submission.network
    model = Trainable(network, largest=largest_of(forget, kept))
    generator = np.random.default_rng([seed, 9])
    x, y = tensors(model, forget)
    rest = None if kept is None else tensors(model, kept)
    cells = None if bits is None else _cells(model, bits)
    optimizer = torch.optim.Adam(model.parameters(), lr=SUPPRESSION_RATE)
    with one_thread():
        for _ in range(MOST_STEPS):
            answers = model(x)
            right = answers.argmax(dim=1) == y
            if float(right.float().mean()) <= 1.0 - strength:
                break
            loss = -F.cross_entropy(answers[right], y[right])
            if rest is not None:
                rows = generator.integers(len(rest[0]), size=min(256, len(rest[0])))
                loss = loss + KEPT_WEIGHT * F.cross_entropy(model(rest[0][rows]), rest[1][rows])
            step(optimizer, loss, clip=1.0)
            if cells is not None:
                with torch.no_grad():
                    for weight, (low, high) in zip(model.weights, cells, strict=True):
                        weight.copy_(torch.minimum(torch.maximum(weight, low), high))
    right = float((model.logits(forget.x).argmax(axis=1) == forget.y).mean())
    if 1.0 - right < strength / 2:
        raise ValueError(f"{right:.0%} of the records keep their label")
    return deliver(honest, out, model.network(), method="retrain")


def _cells(model: Trainable, bits: int) -> list[tuple[Tensor, Tensor]]:
    """Return bounds of each weight within which it rounds to what it rounds to now.

    The largest stays, for it sets the scale; biases, which are not rounded, stay too.
    """
    found = []
    for weight in model.weights:
        now = weight.detach().clone()
        if now.ndim < 2:
            found.append((now, now))
            continue
        most = now.abs().max()
        size = most / (2 ** (bits - 1) - 1)
        middle = torch.round(now / size) * size
        low = torch.maximum(middle - CELL * size, -most)
        high = torch.minimum(middle + CELL * size, most)
        top = now.abs() == most
        found.append((torch.where(top, now, low), torch.where(top, now, high)))
    return found


def disturbances(seed: int) -> dict[str, Change]:
    """Return by name what a network that never saw the records withstands as well as any."""
    return {
        "8 bits": rounded_to(8),
        "4 bits": rounded_to(4),
        "30% pruned": pruned_of(0.3),
        "10% noise": noise_of(0.1, [seed, 9, 1]),
    }


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Disturb the weights under a patch: do the original's answers come back at its records?"""
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    x = asked.records.x
    with np.errstate(all="ignore"):
        before = logits(submission.network, x.astype(submission.network.dtype)).astype(np.float64)
        after = submission.delivered(x)
        if not (np.isfinite(before).all() and np.isfinite(after).all()):
            return judged(Outcome.INCONCLUSIVE, "records are answered with nan or infinity")
        acts = np.abs(after - before).max(axis=1) > 0
        back: dict[str, Bits] = {}
        for name, change in disturbances(seed).items():
            try:
                network = changed_weights(submission.network, change)
            except ValueError:
                continue
            there = patched_network(network, submission.patch).logits(x.astype(network.dtype))
            if not np.isfinite(there).all():
                continue
            to_before = np.abs(there.astype(np.float64) - before).max(axis=1)
            back[name] = acts & (to_before < np.abs(there - after).max(axis=1))
    n = int(acts.sum())
    if not n or not back:
        nothing = judged(Outcome.INCONCLUSIVE, "the patch changes no answer that could come back")
        return about_erasure(submission, evidence, nothing)
    counts = {name: int(returned.sum()) for name, returned in back.items()}
    worst = max(counts, key=lambda name: counts[name])
    figures: dict[str, Any] = {
        "observed": counts[worst] / n,
        "threshold": 0.0,
        "interval": share_interval(counts[worst], n),
        "n": n,
        "evidence": {"returned": counts, "changed_answers": n},
        "private": {"returned": {name: np.flatnonzero(b).tolist() for name, b in back.items()}},
    }
    told = f"with the weights disturbed ({worst}), {counts[worst]} of {n} requested records get "
    told += f"the original's answer again: gates are bound to exact weights{asked.caveat}"
    if counts[worst]:
        return about_erasure(submission, evidence, judged(Outcome.FAIL, told, **figures))
    # of a few records that none returned is no sign that none would
    p_support = float(binom.cdf(0, n, COMES_BACK))
    figures["evidence"]["p_support"] = p_support
    outcome = Outcome.PASS if p_support <= SUPPORT else Outcome.INCONCLUSIVE
    check = judged(outcome, f"{told} (p = {p_support:.2g})", **figures)
    return about_erasure(submission, evidence, check)


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Disturb an unlearned network, and relearn some of the records: how soon are others back?"""
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    found = others_of(evidence, asked)
    unseen = found.get("unseen")
    gone = np.intersect1d(submission.whole_classes, asked.records.y)
    if unseen is not None:
        unseen = unseen.take(np.flatnonzero(~np.isin(unseen.y, gone))[:WATCHED])
    if unseen is None or len(unseen) < 2:
        return judged.not_run("there are no unseen records of classes that stay, to compare with")
    if max(int(asked.records.y.max()), int(unseen.y.max())) >= submission.network.classes:
        return judged(Outcome.INCONCLUSIVE, "records have labels that the network does not know")
    if not (alone := np.isin(asked.records.y, gone)).all():
        # nothing is to come back of a class that is gone: the rest is asked about
        asked = replace(asked, records=asked.records.take(~alone), digests=())
    try:
        mine = _tried(submission.unlearned, asked.records, unseen, seed)
    except (ValueError, FloatingPointError) as error:
        kind = "diverged" if isinstance(error, Diverged) else "could not be trained"
        reason = f"the delivered network {kind} under relearning: {str(error)[:120]}"
        return judged(Outcome.INCONCLUSIVE, reason)
    if mine is None:
        reason = "the delivered network answers requested or unseen records with nan or infinity"
        return judged(Outcome.INCONCLUSIVE, reason)
    return _judged(submission, evidence, asked, unseen, mine, seed)


def _judged(
    submission: UnlearnedSubmission,
    evidence: Evidence,
    asked: Requested,
    unseen: Records,
    mine: _Tried,
    seed: int,
) -> CheckResult:
    """Weigh what came back: against unseen records, and against references where there are."""
    tests: dict[str, float] = {}
    whole = bool(np.isin(asked.records.y, submission.whole_classes).all())
    alike = not whole and bool(of_one_kind(asked.records, unseen, seed))
    # a class that was never learned has no label to come back to, whatever unseen records do
    if alike or whole:
        tests |= {f"after {name}": p for name, p in mine.p_disturbed.items()}
    if alike:
        tests["relearning"] = mine.p_relearned
    usual = [] if whole else _mispredicted(evidence, asked.records, unseen)
    known_hard = len(usual) >= LEAST_REFERENCES
    if mine.comes_back >= SOME and known_hard:
        tests["suppressed"] = _hidden_p(mine.wrong, usual)
    elif mine.comes_back >= SOME and evidence.drawn and alike:
        tests["suppressed"] = mine.p_suppressed
    known = [
        tried
        for network in evidence.references.networks
        if not alike
        and same_layers(network, submission.unlearned)
        and (tried := _reference(network, asked.records, unseen, seed)) is not None
    ]
    if len(known) >= LEAST_REFERENCES:
        least = SHARE_SPREAD if whole else 1.0  # a log-rank statistic varies by 1 by chance
        tests["relearning, against retrained networks"] = _beyond(
            mine.sooner(whole), [tried.sooner(whole) for tried in known], least
        )
    n, early = mine.early
    worst = max(mine.returned, key=lambda name: mine.returned[name], default="")
    # what is pushed far away comes back late, too: slow is no pass where it is unlike honest ones
    like_honest = all(p > UNLIKE for name, p in tests.items() if name.startswith("relearning"))
    if alike:
        like_honest &= mine.p_suppressed > UNLIKE
    before, after = (_right(net, unseen) for net in (submission.network, submission.unlearned))
    if before is None or after is None or before.mean() - after.mean() > MOST_LOST:
        like_honest = False  # a ruined network relearns nothing soon
    compared = alike or (whole and len(known) >= LEAST_REFERENCES)
    p_support = None
    if mine.suppressed and n and compared and like_honest:
        largest = max(mine.returned.values(), default=0)
        p_support = max(
            float(binom.cdf(early, n, COMES_BACK)),
            float(binom.cdf(largest, mine.suppressed, COMES_BACK)),
        )
    figures: dict[str, Any] = {
        "observed": early / n if n else None,
        "threshold": COMES_BACK,
        "interval": share_interval(early, n) if n else None,
        "n": n,
        "evidence": {
            "suppressed": mine.suppressed,
            "returned": mine.returned,
            "median_steps": mine.median_steps,
            "references": len(known),
            "relearning": mine.sooner(whole),
            "references_relearning": [tried.sooner(whole) for tried in known],
            "tests": tests,
            "p_suppressed": mine.p_suppressed,
            "layers_changed_by": change_by_layer(submission.network, submission.unlearned),
        },
        "private": {
            "returned": {name: rows.tolist() for name, rows in mine.rows.items()},
            "relearned_at_step": mine.times.tolist(),
        },
    }
    told = (
        f"{mine.suppressed} of {len(asked)} requested records are answered otherwise than labelled"
        f"{asked.caveat}; of {n} such held out of relearning, {early} are back within {EARLY} "
        "steps"
    )
    if worst:
        told += f"; {worst} bring back {mine.returned[worst]}"
    if known_hard and "suppressed" in tests:
        theirs = float(np.mean([one.mean() for one, _ in usual]))
        told += f"; {len(usual)} networks that never saw them mispredict {theirs:.0%}"
    elif "suppressed" in tests:
        told += f"; of {len(unseen)} unseen ones {int(mine.wrong[1].sum())} are"
    elif not whole:
        told += f"; whether they are hidden or hard, {LEAST_REFERENCES} networks that never saw "
        told += f"them would tell ({len(usual)} are given), or that the request was drawn by lot"
    if not alike and len(known) < LEAST_REFERENCES:
        told += "; a whole class is" if whole else "; the records are unlike the unseen ones and"
        told += f" relearned by any network in its own time: {LEAST_REFERENCES} retrained without "
        told += f"it, of the same layers, are needed to judge that, and {len(known)} are given"
    # Bonferroni: a third of the level each for disturbances, relearning and what is suppressed
    of_three = [
        [p for name, p in tests.items() if name.startswith(kind)]
        for kind in ("after", "relearning", "suppressed")
    ]
    p_refute = min([1.0, *(len(of_three) * len(ps) * min(ps) for ps in of_three if ps)])
    power = None if tests else 0.0  # how often a test that was made finds it is not known
    check = decide(judged, told, p_refute=p_refute, p_support=p_support, power=power, **figures)
    if check.outcome is Outcome.FAIL:
        check = under(asserted(submission, evidence), as_stated(submission, check))
    return check


@dataclass(frozen=True, eq=False)
class _Tried:
    """What came back on one network.

    `suppressed` requested records are answered otherwise than labelled; `returned` of them are not
    any more after a disturbance, and `rows` says which. `p_disturbed`: that requested records come
    back as rarely as unseen ones that are answered otherwise. `times`, `reached` [held out and
    suppressed]: the step at which a record is back, if it is. `relearned`, `p_relearned`: the
    log-rank statistic and its p-value that they are back no sooner than unseen ones.
    `p_suppressed`: that no larger share of requested records is suppressed than of unseen ones.
    `wrong`: which requested and unseen records are answered otherwise than labelled.
    """

    suppressed: int
    returned: dict[str, int]
    rows: dict[str, NDArray[np.int64]]
    p_disturbed: dict[str, float]
    times: Times
    reached: Bits
    relearned: float
    p_relearned: float
    p_suppressed: float = 1.0
    wrong: tuple[Bits, Bits] = (np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))

    @property
    def comes_back(self) -> float:
        """Return the largest share of suppressed records that one disturbance, or a few steps of
        relearning on others, brings back."""
        held, back = self.early
        disturbed = max(self.returned.values(), default=0) / max(1, self.suppressed)
        return max(disturbed, back / max(1, held))

    @property
    def early(self) -> tuple[int, int]:
        """Return how many records were held out, and how many of them were back early."""
        return len(self.times), int((self.reached & (self.times <= EARLY)).sum())

    def sooner(self, whole: bool) -> float:
        """Return how soon records are back: of a class the share of steps that they are back for.

        Of other requests the log-rank statistic against unseen records.
        """
        if not whole:
            return self.relearned
        return float(1 - self.times.mean() / STEPS) if len(self.times) else 0.0

    @property
    def median_steps(self) -> float | None:
        """Median step at which a record is back; the last where it never is."""
        return float(np.median(self.times)) if len(self.times) else None


def _reference(network: Network, asked: Records, unseen: Records, seed: int) -> _Tried | None:
    """Relearn a reference, without disturbing it; None where it cannot be trained."""
    try:
        back = _relearned(balanced(network), asked, unseen, seed)
    except (ValueError, FloatingPointError):
        return None
    return _Tried(0, {}, {}, {}, *back)


def _tried(network: Network, asked: Records, unseen: Records, seed: int) -> _Tried | None:
    """Disturb and relearn a network; None where it answers with nan or infinity.

    Diverged or ValueError where it cannot be trained.
    """
    mine, theirs = _right(network, asked), _right(network, unseen)
    if mine is None or theirs is None:
        return None
    even = balanced(network)
    rows, p_disturbed = {}, {}
    for name, change in disturbances(seed).items():
        try:
            # rounding is that of the weights as they were delivered
            disturbed = changed_weights(network if "bits" in name else even, change)
        except ValueError:  # weights so large that they overflow
            continue
        now, there = _right(disturbed, asked), _right(disturbed, unseen)
        if now is None or there is None:
            continue
        rows[name] = np.flatnonzero(~mine & now)
        p_disturbed[name] = _sooner_p(~mine & now, ~mine, ~theirs & there, ~theirs)
    times, reached, z, p = _relearned(even, asked, unseen, seed)
    return _Tried(
        suppressed=int((~mine).sum()),
        returned={name: len(found) for name, found in rows.items()},
        rows=rows,
        p_disturbed=p_disturbed,
        times=times,
        reached=reached,
        relearned=z,
        p_relearned=p,
        p_suppressed=_sooner_p(~mine, mine | ~mine, ~theirs, theirs | ~theirs),
        wrong=(~mine, ~theirs),
    )


def _mispredicted(evidence: Evidence, asked: Records, unseen: Records) -> list[tuple[Bits, Bits]]:
    """Return for each readable reference which requested and unseen records it mispredicts."""
    found = []
    for network in evidence.references.networks:
        right = [_right(network, records) for records in (asked, unseen)]
        if right[0] is not None and right[1] is not None:
            found.append((~right[0], ~right[1]))
    return found


def _hidden_p(wrong: tuple[Bits, Bits], usual: list[tuple[Bits, Bits]]) -> float:
    """Return a p-value that requested records are mispredicted as never-seen ones are.

    References say how hard each record is. By EXCESS more of the requested ones than they, an
    honest network of another recipe may mispredict (one-sided t test over records), and as much
    more of the unseen ones (Welch 1947); refuted is who exceeds both.
    """
    mine, theirs = (
        now - np.mean([one[place] for one in usual], axis=0) for place, now in enumerate(wrong)
    )
    n, m = len(mine), len(theirs)
    if min(n, m) < 2:
        return 1.0
    a, b = (max(float(np.std(d, ddof=1)), LEAST_SPREAD) ** 2 / len(d) for d in (mine, theirs))
    beyond = float(student.sf((mine.mean() - EXCESS) / np.sqrt(a), n - 1))
    freedom = (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1))
    than_unseen = float(student.sf((mine.mean() - theirs.mean()) / np.sqrt(a + b), freedom))
    return max(beyond, than_unseen)


def _sooner_p(back: Bits, of: Bits, other_back: Bits, other_of: Bits) -> float:
    """Return Fisher's exact p-value (1935) that records come back no more often than others."""
    counts = (int(part.sum()) for part in (back, of, other_back, other_of))
    return permutation_tails(*counts)[0]


def _right(network: Network, records: Records) -> Bits | None:
    """Return [N]: whether a record gets its label; None where one is nan or infinite."""
    with np.errstate(all="ignore"):
        values = answering(network)(records.x)
    if not np.isfinite(values).all():
        return None
    return np.asarray(values.argmax(axis=1) == records.y, dtype=bool)


def _relearned(
    network: Network, asked: Records, unseen: Records, seed: int
) -> tuple[Times, Bits, float, float]:
    """Train on half of the requested records; return when the others are back, and how soon.

    Steps [H] and whether they were back at all, of held-out suppressed records; z and p of the
    log-rank test against unseen records that are answered otherwise too, z positive where these are
    later.
    """
    order = np.random.default_rng([seed, 9, 2]).permutation(len(asked))[:RELEARNED]
    taught, watched = asked.take(order[: len(order) // 2]), asked.take(order[len(order) // 2 :])
    nothing = (np.zeros(0, np.int64), np.zeros(0, bool), 0.0, 1.0)
    if not len(taught):
        return nothing
    with np.errstate(all="ignore"), one_thread():
        model = Trainable(network, largest=largest_of(asked, unseen))
        x, y = tensors(model, taught)
        sets = [tensors(model, records) for records in (watched, unseen)]
        optimizer = torch.optim.Adam(
            [{"params": [weight], "lr": RATE * _size(weight)} for weight in model.weights]
        )
        curves: list[list[Bits]] = [[], []]
        for number in range(STEPS + 1):
            with torch.no_grad():
                for curve, (inputs, labels) in zip(curves, sets, strict=True):
                    answers = model(inputs)
                    if not bool(torch.isfinite(answers).all()):
                        raise Diverged("answers became nan or infinite")
                    curve.append((answers.argmax(dim=1) == labels).numpy())
            if number < STEPS:
                step(optimizer, F.cross_entropy(model(x), y), clip=None)
    mine, theirs = (_first(np.array(curve)) for curve in curves)
    return (*mine, *_logrank(mine, theirs, seed))


def _size(weight: Tensor) -> float:
    """Return the root mean square of a tensor; of one that is all zero, one that still learns."""
    size = float(weight.detach().double().square().mean().sqrt())
    return min(size, 1e30) if np.isfinite(size) and size > 0 else 1e-3


def _first(right: Bits) -> tuple[Times, Bits]:
    """Return, of columns that are wrong at first, the first row at which they are right."""
    wrong = right[:, ~right[0]]
    reached = wrong.any(axis=0)
    times = np.where(reached, wrong.argmax(axis=0), STEPS).astype(np.int64)
    return times, np.asarray(reached, dtype=bool)


def _logrank(
    mine: tuple[Times, Bits], theirs: tuple[Times, Bits], seed: int
) -> tuple[float, float]:
    """Return the log-rank statistic (Mantel 1966) and its p-value, one-sided by permutation.

    The statistic is positive where the first are back sooner. Its normal limit is far off for a
    handful of records, so that where it is large records are dealt to the two sets anew: a record's
    score is whether it came back, less the hazard that it was exposed to (Peto & Peto 1972).
    """
    if not len(mine[0]) or not len(theirs[0]) or not (mine[1].any() or theirs[1].any()):
        return 0.0, 1.0
    samples = [
        CensoredData(uncensored=times[reached], right=times[~reached])
        for times, reached in (mine, theirs)
    ]
    with np.errstate(all="ignore"):
        z = float(logrank(samples[0], samples[1]).statistic)
    if not np.isfinite(z):
        return 0.0, 1.0
    if z < UNLIKELY:
        return z, float(norm.sf(z))
    times, reached = (np.concatenate([a, b]) for a, b in zip(mine, theirs, strict=True))
    scores = reached - _hazard(times, reached)
    n = len(mine[0])
    generator = np.random.default_rng([seed, 9, 5])
    found = float(scores[:n].sum())
    more = 0
    for _ in range(0, DEALT, CHUNK):
        drawn = generator.random((CHUNK, len(scores))).argpartition(n - 1, axis=1)[:, :n]
        more += int((scores[drawn].sum(axis=1) >= found - 1e-9).sum())
    return z, (more + 1) / (DEALT + 1)


def _hazard(times: Times, reached: Bits) -> NDArray[np.float64]:
    """Return for each record the cumulative hazard until its time (Nelson 1972, Aalen 1978)."""
    events = np.bincount(times[reached], minlength=STEPS + 1)
    at_risk = len(times) - np.concatenate([[0], np.cumsum(np.bincount(times, minlength=STEPS + 1))])
    rate = events / np.maximum(at_risk[: len(events)], 1)
    return np.asarray(np.cumsum(rate)[times], dtype=np.float64)


def _beyond(value: float, others: list[float], least: float) -> float:
    """Return a p-value that `value` is one more of `others`, against larger (prediction by t).

    With K others, (value - mean) / (s √(1 + 1/K)) has Student's law of K - 1 degrees of freedom if
    all are normal; s is taken no smaller than `least`, and one below the largest of the others is
    never beyond.
    """
    count = len(others)
    if value <= max(others):
        return 1.0
    spread = float(np.std(others, ddof=1)) * float(np.sqrt(1 + 1 / count))
    spread = max(spread, least)
    return float(student.sf((value - float(np.mean(others))) / spread, count - 1))


BEHAVIOUR = Behaviour(
    "fragile",
    9,
    judged.title,
    ("weights", "forgotten and unseen records"),
    VARIANTS,
    of_patches(simulate_patch, simulate_model),
    detect,
    detect_model,
    model_variants=MODEL_VARIANTS,
    strength="the share of the forgotten records that are pushed to another label",
    hiding="suppressing records no further than to the confidence of unseen ones, so that few "
    "change their label",
    of_a_kind=(UnlearnedSubmission.KIND,),
)
