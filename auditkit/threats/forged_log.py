"""12. Forged training log: a log of a training that did not make the delivered network.

A log can be made up. What gives it away is going it again: from each checkpoint, the stated
batches must lead to the next one. How far an honest replay may miss is measured on the spot, by
replays whose sums are rounded otherwise, for another machine rounds otherwise too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binom
from torch import Tensor
from torch.nn import functional as F

from auditkit.certificate.submission import PatchSubmission, UnlearnedSubmission
from auditkit.certificate.unlearned_submission import delivered_digest
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.records import Records, joined
from auditkit.results import CheckResult, Outcome
from auditkit.threats.decide import decide
from auditkit.threats.evidence import Evidence
from auditkit.threats.forge_network import deliver, trainable
from auditkit.threats.interface import LOG, Behaviour, Judgement, Owner, pick
from auditkit.threats.logged_training import (
    OF_A_PATCH,
    SAME,
    Logged,
    as_planned,
    drawn_from_seed,
    fits,
    logged,
    unlooked,
)
from auditkit.unlearning.replay import (
    State,
    Trainer,
    log_of,
    network_at,
    train_with_log,
    trained_weights,
)
from auditkit.unlearning.trainable import Diverged, Trainable
from auditkit.unlearning.training import (
    Recipe,
    endless,
    fresh,
    largest_of,
    one_thread,
    train_from_scratch,
)
from auditkit.unlearning.training_log import NOBODY, TrainingLog, batch_table, digest_table
from auditkit.unlearning.weights import weights_of

F64 = NDArray[np.float64]

MODEL_VARIANTS = ("replaced-batches", "interpolated", "foreign-end")

FACTOR = 30.0
"""How much farther than the floor a replayed stretch may end from the logged checkpoint. Of 480
stretches on digits, gone with numpy's matrix products in place of torch's, all but one ended at
most 2 times as far; the nearest forgeries measured were thousands of times as far."""
GROSS = 0.02
"""Of what a stretch moves: what no rounding explains. Where it turns a unit on or off for a record,
a replay ends up to 0.0034 of the way off (1,200 stretches of two data sets), far beyond a floor
where none turned."""
TURNED = 4 / 27
"""Bound of the chance that the logged stretch turned a unit and neither replay that the floor is
made of did: p (1 - p)² is at most that, whatever the chance p of one turning."""
USUAL = 0.05
"""Level at which stretches beyond the floor are more than turned units explain: then no PASS."""
RESOLUTION = 2.0**-23
"""Of the norm of a vector: the least floor, one unit in the last place of float32."""
WORTH = 0.05
"""Of the way from the first to the last checkpoint: all tolerances together must be less for the
log to show anything, or errors within them could make up a training."""
STEPS, PASSES = 20_000, 2_000_000
"""Most steps and records (each counted as often as it is used) that are replayed."""
NEAR = 0.5
"""Of the original's norm: weights drawn at random are farther away, by √2 or more, unless they are
those that the original's own training started from and did not get far from."""
KNOWING = 0.5  # of the way from the largest class's share to all answers right
CANDIDATES = 64  # retained records among which a forger looks for substitutes

judged = Judgement("forged-log", "The delivered network comes from the training that was logged")


def simulate(
    honest: Owner, out: Path, *, seed: int, strength: float = 1.0, variant: str | None = None
) -> Owner:
    """Deliver a network that learned forgotten records, with a log that does not say so.

    `replaced-batches` trains on a share `strength` of them and names, for each, the retained record
    that serves the gradient best; `interpolated` makes up that share of the checkpoints, on the way
    to a network trained on everything; `foreign-end` moves the last checkpoint and the delivered
    network that far towards such a network.
    """
    variant = pick(variant, MODEL_VARIANTS)
    submission, retain, forget, recipe = trainable(honest)
    key = submission.record_key(None)
    if key is None:
        raise ValueError("the submission withholds its record key")
    network = submission.unlearned
    if variant == "replaced-batches":
        count = max(1, round(strength * len(forget)))
        kept = forget.take(np.random.default_rng([seed, 12]).permutation(len(forget))[:count])
        made, log = _replaced(network, retain, kept, recipe, seed, key)
        return replace(deliver(honest, out, made), training=log)
    _, log = train_with_log(network, retain, recipe, seed, key)
    everything = train_from_scratch(network, joined(retain, forget), recipe, seed + 1)
    end = trained_weights(network, everything, log.largest)
    weights = log.weights.copy()
    if variant == "foreign-end":
        weights[-1] += (strength * (end - weights[-1])).astype(weights.dtype)
    else:
        last = len(weights) - 1
        begin = last - max(1, round(strength * last))
        way = ((np.arange(begin, last + 1) - begin) / (last - begin))[:, None]
        weights[begin:] = (1 - way) * weights[begin] + way * end
    forged = replace(log, weights=weights)
    made = network_at(network, forged, -1)
    return replace(deliver(honest, out, made), training=forged)


def _replaced(
    network: Network, retain: Records, kept: Records, recipe: Recipe, seed: int, key: bytes
) -> tuple[Network, TrainingLog]:
    """Train on retained and kept records; log retained ones alone, chosen by their gradients.

    Thudi et al. 2022: a step on one batch is passed off as a step on another whose mean gradient is
    close. Batches have the sizes that an honest log has.
    """
    everyone = joined(retain, kept)
    sizes = (batch_table(len(retain), recipe, seed) >= 0).sum(axis=1)
    generator = np.random.default_rng([seed, 121])
    stream = (int(row) for rows in endless(len(everyone), 1, generator) for row in rows)
    trained = np.full((len(sizes), int(sizes.max())), -1, np.int32)
    for step, size in enumerate(sizes):
        trained[step, :size] = [next(stream) for _ in range(size)]
    start = fresh(network, seed, largest=largest_of(everyone))
    made, log = log_of(network, everyone, digest_table(everyone, key), trained, recipe, seed, start)
    stated = trained.copy()
    trainer = Trainer(network, everyone, recipe, log.largest)
    trainer.load(State(log.weights[0], log.moments[0]), 0)
    with one_thread():
        for step, row in enumerate(trained):
            rows = row[row >= 0].astype(np.int64)
            wrong = np.flatnonzero(rows >= len(retain))
            if len(wrong):
                pool = generator.permutation(len(retain))[:CANDIDATES]
                stated[step, wrong] = pool[_substitutes(trainer, rows[wrong], pool)]
            trainer.go(rows)
    log = replace(log, records=digest_table(retain, key), batches=stated)
    return made, log


def _substitutes(
    trainer: Trainer, rows: NDArray[np.int64], pool: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return places in the pool whose gradients add up to about those of `rows`, greedily."""
    gradients = _each_gradient(trainer, np.concatenate([rows, pool]))
    owed, offered = gradients[: len(rows)].sum(dim=0), gradients[len(rows) :]
    squares = (offered**2).sum(dim=1)
    chosen = []
    for _ in rows:
        best = int((squares - 2 * (offered @ owed)).argmin())
        chosen.append(best)
        owed = owed - offered[best]
    return np.array(chosen, np.int64)


def _each_gradient(trainer: Trainer, rows: NDArray[np.int64]) -> Tensor:
    """Return the gradient [n, P] of each record's loss."""
    model: Trainable = trainer.model
    weights = [w.detach() for w in model.weights]

    def loss(given: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x[None], given), y[None])

    index = torch.as_tensor(rows)
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    parts = each(weights, trainer.x[index], trainer.y[index])
    return torch.cat([part.reshape(len(rows), -1) for part in parts], dim=1)


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Return that a patch has no log."""
    return judged.not_run(OF_A_PATCH, required=False)


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Compare what the log says with itself and the submission, then replay its stretches."""
    found = logged(submission, evidence)
    if isinstance(found, str):
        return unlooked(judged, evidence, found)
    with np.errstate(all="ignore"):
        facts, private = _facts(submission, found)
    if facts:
        told = "; ".join(facts) + found.asked.caveat
        return judged(Outcome.FAIL, told, observed=len(facts), threshold=0, private=private)
    if found.unclear is not None:
        return judged(Outcome.INCONCLUSIVE, found.unclear)
    return _replayed(submission, found, seed)


def _facts(submission: UnlearnedSubmission, found: Logged) -> tuple[list[str], dict[str, Any]]:
    """Return what contradicts the log with certainty, and what shows it."""
    log, facts, private = found.log, list[str](), dict[str, Any]()
    if not fits(submission, log):
        return ["the log is of a network of another size"], private
    total = len(log.batches)
    planned = log.recipe.epochs * -(-len(log.records) // log.recipe.batch_size)
    if log.steps[0] != 0 or log.steps[-1] != total:
        facts.append(f"checkpoints are missing: the first after {log.steps[0]} steps, the last")
        facts[-1] += f" after {log.steps[-1]} of {total}"
    if total != planned:
        facts.append(f"{total} steps are logged, and the recipe takes {planned}")
    elif not as_planned(log):
        facts.append("the batches have other sizes than the recipe gives them")
    # a step from weights that are no numbers has no loss, and training ends there
    broken = ~np.isfinite(log.weights).all(axis=1) | np.isnan(log.moments).any(axis=(1, 2))
    if broken[:-1].any():
        facts.append(f"{int(broken[:-1].sum())} checkpoints are no numbers, and training went on")
        private["broken_checkpoints"] = np.flatnonzero(broken[:-1])[:1000].tolist()
    if not _ends_in(submission, log):
        facts.append("the last checkpoint is not the delivered network")
    seen = found.forgotten & found.used & ~found.copied
    if seen.any():
        steps = np.flatnonzero((seen[log.batches] & (log.batches != NOBODY)).any(axis=1))
        facts.append(f"{int(seen.sum())} forgotten records are in {len(steps)} of the batches")
        private["steps_with_forgotten_records"] = steps[:1000].tolist()
    if found.foreign is not None and (found.foreign & found.used).any():
        count = int((found.foreign & found.used).sum())
        facts.append(f"{count} records in the batches are no training records")
        private["foreign_records"] = np.flatnonzero(found.foreign & found.used)[:1000].tolist()
    if found.sure and (found.missing or found.surplus):
        facts.append(found.unlike)
    if log.moments[0].any():
        facts.append("the optimiser has a past before the first step")
    if _near(_flat_original(submission, log), log.weights[0]) and _knows(submission, found):
        facts.append("training starts from the original network, not from random weights")
    return facts, private


def _flat_original(submission: UnlearnedSubmission, log: TrainingLog) -> F64 | None:
    """Return the original's weights as training sees them; None of another architecture."""
    if len(weights_of(submission.network)) != log.weights.shape[1]:
        return None
    weights = trained_weights(submission.unlearned, submission.network, log.largest)
    return weights.astype(np.float64)


def _knows(submission: UnlearnedSubmission, found: Logged) -> bool:
    """Whether the first weights answer known records of the log as nothing untrained does."""
    rows = np.unique(found.places[found.known & ~found.forgotten])
    if not len(rows):
        return False
    records = found.records.take(rows)
    try:
        start = network_at(submission.unlearned, found.log, 0)
    except Diverged:
        return False
    with np.errstate(all="ignore"):
        answers = logits(start, records.x.astype(start.dtype)).argmax(axis=1)
    usual = float(np.bincount(records.y).max() / len(records))
    return bool((answers == records.y).mean() >= usual + KNOWING * (1 - usual))


def _near(original: F64 | None, weights: NDArray[Any]) -> bool:
    if original is None:
        return False
    distance = np.linalg.norm(weights.astype(np.float64) - original)
    return bool(distance <= NEAR * np.linalg.norm(original))


def _ends_in(submission: UnlearnedSubmission, log: TrainingLog) -> bool:
    """Return whether the last checkpoint makes the delivered network, up to how it is written."""
    try:
        last = network_at(submission.unlearned, log, -1)
    except Diverged:
        return False
    if delivered_digest(last, submission.domain) == submission.unlearned_digest:
        return True
    mine, theirs = weights_of(last).astype(np.float64), weights_of(submission.unlearned)
    return bool(np.abs(mine - theirs).max() <= SAME * np.abs(theirs).max())


@dataclass(frozen=True)
class Stretch:
    """One replayed stretch: how far its replay ended from the logged checkpoint, against the floor.

    ratio: the distance over the floor, share: over how far the replay went, of weights or of a
    moment, whichever is more; distance, floor: of the weights; moved: how far they went.
    """

    ratio: float
    share: float
    distance: float
    floor: float
    moved: float

    @property
    def off(self) -> bool:
        """Whether it ended farther from the checkpoint than rounding usually leads."""
        return not self.ratio <= FACTOR

    @property
    def gross(self) -> bool:
        """Whether it ended farther than any rounding leads."""
        return self.off and not self.share <= GROSS


def _replayed(submission: UnlearnedSubmission, found: Logged, seed: int) -> CheckResult:
    """Replay the log's stretches, all of them where that is not too much."""
    log = found.log
    chosen = _chosen(log, seed)
    count = len(log.steps) - 1
    if not chosen:
        reason = "no stretch between two checkpoints is short enough to replay"
        return judged(Outcome.INCONCLUSIVE, reason)
    with np.errstate(all="ignore"):
        stretches = _stretches(submission, found, chosen, seed)
    off, gross = sum(s.off for s in stretches), sum(s.gross for s in stretches)
    told = (
        f"{len(stretches)} of {count} stretches between checkpoints were replayed; {off} end "
        f"farther from the log than rounding leads, at most {max(s.share for s in stretches):.2g} "
        f"of what they move{found.asked.caveat}"
    )
    figures = _figures(submission, found, chosen, stretches)
    if gross:
        return judged(Outcome.FAIL, f"{told}; {gross} by more than any rounding", **figures)
    p = float(binom.sf(off - 1, len(stretches), TURNED)) if off else 1.0
    result = decide(judged, told, p_refute=p, **figures)
    if result.outcome is Outcome.FAIL:
        return result
    doubts = _doubts(figures["evidence"], p)
    if doubts:
        return replace(result, reason=f"{result.reason}; {'; '.join(doubts)}")
    return replace(result, outcome=Outcome.PASS, reason=told)


def _figures(
    submission: UnlearnedSubmission, found: Logged, chosen: list[int], stretches: list[Stretch]
) -> dict[str, Any]:
    """Return what a result shows: the largest distance as a share of what its stretch moves."""
    log, count = found.log, len(found.log.steps) - 1
    way = float(np.linalg.norm(log.weights[-1].astype(np.float64) - log.weights[0]))
    slack = sum(max(FACTOR * s.floor, s.distance) for s in stretches) * count / len(stretches)
    evidence = {
        "stretches": count,
        "replayed": len(stretches),
        "steps": len(log.batches),
        "beyond_rounding": sum(s.off for s in stretches),
        "largest_ratio_to_floor": max(s.ratio for s in stretches),
        "largest_distance": max(s.distance for s in stretches),
        "median_distance": float(np.median([s.distance for s in stretches])),
        "largest_floor": max(s.floor for s in stretches),
        "median_floor": float(np.median([s.floor for s in stretches])),
        "median_movement": float(np.median([s.moved for s in stretches])),
        "tolerance_of_the_way": slack / way if way else None,
        "first_weights_from_seed": drawn_from_seed(submission.unlearned, log),
    }
    return {
        "observed": max(s.share for s in stretches),
        "threshold": GROSS,
        "n": len(stretches),
        "evidence": evidence,
        "private": {
            "stretches_beyond_rounding": [
                index for index, s in zip(chosen, stretches, strict=True) if s.off
            ]
        },
    }


def _doubts(evidence: dict[str, Any], p: float) -> list[str]:
    """Return why a log that replays does not show that the network was trained so."""
    doubts = []
    if evidence["replayed"] < evidence["stretches"]:
        doubts.append("the other stretches were too many to replay")
    if p <= USUAL:
        doubts.append("that is more than rounding would explain")
    slack = evidence["tolerance_of_the_way"]
    if slack is None or not slack <= WORTH:
        doubts.append("the steps lead nowhere, or rounding so far that others could hide in it")
    if not evidence["first_weights_from_seed"]:
        doubts.append(
            "the first weights are not those that the stated seed draws: they may be of a network "
            "that was trained before"
        )
    return doubts


def _chosen(log: TrainingLog, seed: int) -> list[int]:
    """Return the stretches to replay: all, or as many in random order as the limits allow."""
    records = np.concatenate([[0], np.cumsum((log.batches >= 0).sum(axis=1))])
    steps, passes = np.diff(log.steps), np.diff(records[log.steps])
    order = np.arange(len(steps))
    if steps.sum() > STEPS or passes.sum() > PASSES:
        order = np.random.default_rng([seed, 12]).permutation(len(steps))
    fit = (np.cumsum(steps[order]) <= STEPS) & (np.cumsum(passes[order]) <= PASSES)
    return sorted(order[fit].tolist())


def _stretches(
    submission: UnlearnedSubmission, found: Logged, chosen: list[int], seed: int
) -> list[Stretch]:
    """Replay each stretch as it is, with rows in another order, and in float64.

    The floor is how far these three end from each other; a stretch that diverges as it is, ends
    nowhere near the log.
    """
    log = found.log
    plain, exact = found.trainer(submission), found.trainer(submission, exact=True)
    generator = np.random.default_rng([seed, 122])
    stretches = []
    for index in chosen:
        begin, end = int(log.steps[index]), int(log.steps[index + 1])
        start = State(log.weights[index], log.moments[index])
        rows = [found.rows(step) for step in range(begin, end)]
        others = [generator.permutation(part) for part in rows]
        ends = [
            _run(trainer, start, begin, batches)
            for trainer, batches in ((plain, rows), (plain, others), (exact, rows))
        ]
        if ends[0] is None:
            # the logged steps cannot be taken, and the log goes on to a checkpoint
            stretches.append(Stretch(np.inf, np.inf, np.inf, 0.0, 0.0))
            continue
        logged_end = _vectors(State(log.weights[index + 1], log.moments[index + 1]))
        distance = _distances(ends[0], logged_end)
        floor = RESOLUTION * np.linalg.norm(ends[0], axis=1)
        for end_of in ends[1:]:
            # where rounding alone makes a training diverge, it leads anywhere
            apart = np.inf if end_of is None else _distances(ends[0], end_of)
            floor = np.maximum(floor, apart)
        moved = _distances(ends[0], _vectors(start))
        figures = (distance[0], floor[0], moved[0])
        ratio, share = _most(distance, floor), _most(distance, moved)
        stretches.append(Stretch(ratio, share, *map(float, figures)))
    return stretches


def _most(distance: F64, of: F64) -> float:
    """Return the largest quotient; 0 where nothing is apart, infinite of nothing or of nan."""
    quotient = np.where(distance == 0, 0.0, distance / of)
    return float(quotient.max()) if np.isfinite(quotient).all() else float("inf")


def _run(trainer: Trainer, start: State, done: int, batches: list[NDArray[np.int64]]) -> F64 | None:
    """Return where the steps lead; None where a loss or a weight is no number."""
    trainer.load(start, done)
    try:
        trainer.run(batches)
    except Diverged:
        return None
    end = _vectors(trainer.state())
    return None if np.isnan(end).any() else end


def _vectors(state: State) -> F64:
    """Return weights and moments [1 + M, P] as float64."""
    return np.concatenate([state.weights[None], state.moments]).astype(np.float64)


def _distances(a: F64, b: F64) -> F64:
    return np.asarray(np.linalg.norm(a - b, axis=1), dtype=np.float64)


BEHAVIOUR = Behaviour(
    "forged-log",
    12,
    judged.title,
    (LOG, "retained records", "forgotten records"),
    (),
    simulate,
    detect,
    detect_model,
    model_variants=MODEL_VARIANTS,
    strength="the share of the forgotten records that were trained on, of the checkpoints that are "
    "made up, or of the way to another network",
    hiding="other batches whose gradients agree to the last bits (none are known for networks "
    "that learn), or a log so short that only its ends can be compared",
)
