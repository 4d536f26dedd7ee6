"""13. Gradient-guided retraining: retained records alone, in batches that imitate the forgotten.

Such a log replays, and no forgotten record is in it. What may give it away are the choices: an
honest batch is drawn by chance from the records that its epoch has not yet used, so that the cosine
of its gradient with the forgotten records' ranks anywhere among those of other batches drawn from
the same records. Who could choose the seed after looking at what it gives has left no trace: only
a seed that the auditor gave beforehand rules that out. It draws first weights and batches over all
retained records in an order of their content, so that only the recipe is left to choose.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.certificate.submission import PatchSubmission, UnlearnedSubmission
from auditkit.records import joined
from auditkit.results import CheckResult, Outcome
from auditkit.threats.decide import IN_AUDIT, decide
from auditkit.threats.evidence import Evidence
from auditkit.threats.forge_network import deliver, trainable
from auditkit.threats.interface import LOG, Behaviour, Judgement, Owner, pick
from auditkit.threats.logged_training import (
    OF_A_PATCH,
    Logged,
    as_planned,
    drawn_from_seed,
    fits,
    logged,
    unlooked,
)
from auditkit.unlearning.replay import State, Trainer, content_order, log_of
from auditkit.unlearning.trainable import Diverged
from auditkit.unlearning.training import fresh, largest_of, one_thread
from auditkit.unlearning.training_log import NOBODY, TrainingLog, batch_table, digest_table

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

MODEL_VARIANTS = ("within-epochs", "free-choice")
CANDIDATES = 4
"""Batches among which a guiding owner chooses at each step; with 4 the best ranks at 4/5."""
SAMPLED = 80
"""Steps that are looked at: all guided among 4 are found, half of them with a chance of 94 %."""
OTHERS = 19
"""Other batches that each is compared with."""
GUIDED = 0.5
"""Share of guided steps that `p_support` refutes."""
STEPS, PASSES = 20_000, 4_000_000  # most steps and records that are replayed

judged = Judgement(
    "guided-retraining", "Nothing but the recipe could be chosen to imitate what was forgotten"
)


def simulate(
    honest: Owner, out: Path, *, seed: int, strength: float = 1.0, variant: str | None = None
) -> Owner:
    """Retrain on retained records, a share `strength` of the steps with the best of 4 batches.

    Best is the highest cosine with the gradient of the forgotten records (after Zhang et al. 2024).
    `within-epochs` uses each record once an epoch; `free-choice` draws from all retained ones.
    """
    variant = pick(variant, MODEL_VARIANTS)
    submission, retain, forget, recipe = trainable(honest)
    key = submission.record_key(None)
    if key is None:
        raise ValueError("the submission withholds its record key")
    table = batch_table(len(retain), recipe, seed)
    generator = np.random.default_rng([seed, 13])
    trainer = Trainer(submission.unlearned, joined(retain, forget), recipe, largest_of(retain))
    start = fresh(submission.unlearned, seed, largest=largest_of(retain))
    weights = np.concatenate([w.detach().numpy().ravel() for w in start.weights])
    trainer.load(State(weights, np.zeros((len(trainer.state().moments), len(weights)))), 0)
    forgotten = np.arange(len(retain), len(retain) + len(forget))
    epoch = len(table) // recipe.epochs
    guided = generator.random(len(table)) < strength
    with one_thread():
        for step in range(len(table)):
            size = int((table[step] != NOBODY).sum())
            end = (step // epoch + 1) * epoch
            left = table[step:end][table[step:end] != NOBODY].astype(np.int64)
            if guided[step] and end - step > 1:
                source = left if variant == "within-epochs" else np.arange(len(retain))
                offers = [generator.permutation(source)[:size] for _ in range(CANDIDATES)]
                chosen = offers[int(np.argmax(_cosines(trainer, forgotten, offers)))]
                table[step, :size] = chosen
                if variant == "within-epochs":
                    _refill(
                        table[step + 1 : end], generator.permutation(np.setdiff1d(left, chosen))
                    )
            trainer.go(table[step, :size].astype(np.int64))
    digests = digest_table(retain, key)
    network, log = log_of(submission.unlearned, retain, digests, table, recipe, seed, start)
    return replace(deliver(honest, out, network), training=log)


def _refill(rest: NDArray[np.int32], rows: I64) -> None:
    """Put these rows into the batches that an epoch still has, of the sizes that they have."""
    rest[rest != NOBODY] = rows


def _cosines(trainer: Trainer, forgotten: I64, batches: list[I64]) -> F64:
    """Return for each batch the cosine of its gradient with that of the forgotten records."""
    wanted = trainer.gradient(forgotten)
    found = torch.stack([trainer.gradient(rows) for rows in batches])
    norms = found.norm(dim=1) * wanted.norm()
    cosines: F64 = torch.where(norms > 0, found @ wanted / norms, 0.0).double().numpy()
    return cosines


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Return that a patch has no log."""
    return judged.not_run(OF_A_PATCH, required=False)


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Look at the order of the records, then at how well batches imitate the forgotten ones."""
    found = logged(submission, evidence)
    if isinstance(found, str):
        return unlooked(judged, evidence, found)
    if not fits(submission, found.log):
        reason = "the log is of a network of another size: see threats.forged-log"
        return judged(Outcome.INCONCLUSIVE, reason)
    if evidence.order_seed is not None:
        return _ordered(submission, found, evidence.order_seed)
    if not as_planned(found.log):
        reason = "the batches are not as many, or not as large, as the recipe has them: see "
        return judged(Outcome.INCONCLUSIVE, reason + "threats.forged-log")
    uneven = _uneven(found.log)
    if uneven:
        return judged(
            Outcome.FAIL,
            f"in {uneven} of {found.log.recipe.epochs} epochs a record is used more than once or "
            "not at all: the records were chosen, not shuffled",
            observed=uneven,
            threshold=0,
        )
    if found.sure and (found.missing or found.surplus):
        return _chosen_records(found)
    if found.unclear is not None:
        return judged(Outcome.INCONCLUSIVE, found.unclear)
    return _ranked(submission, found, seed)


def _ordered(submission: UnlearnedSubmission, found: Logged, order_seed: int) -> CheckResult:
    """Compare records, first weights and batches with those that the auditor's seed gives."""
    log = found.log
    if found.asked.owners_word:
        reason = (
            "which records were to stay is the owner's word: give what was requested (--forget)"
        )
        return judged(Outcome.INCONCLUSIVE, reason)
    if found.missing or found.surplus:
        return _chosen_records(found) if found.sure else judged(Outcome.INCONCLUSIVE, found.unlike)
    if len(log.records) != len(found.retained):
        reason = found.unclear or "the log lists requested records of which there are copies"
        return judged(Outcome.INCONCLUSIVE, reason)
    wrong = len(log.batches)
    if as_planned(log):
        order = found.retained[content_order(found.records.take(found.retained))]
        wanted = batch_table(len(order), log.recipe, order_seed)
        # records of the same content have the same place and may stand for each other
        alike = (order[wanted] == found.places[log.batches]) | (wanted == NOBODY)
        wrong = int((~alike.all(axis=1)).sum())
    figures: dict[str, Any] = {"observed": wrong, "threshold": 0, "n": len(log.batches)}
    if wrong:
        told = f"{wrong} of {len(log.batches)} batches are not those of the auditor's seed"
        return judged(Outcome.FAIL, told, **figures)
    if log.steps[0] != 0:
        reason = "the first checkpoint is missing: see threats.forged-log"
        return judged(Outcome.INCONCLUSIVE, reason, **figures)
    stated = replace(log, seed=order_seed)
    if not drawn_from_seed(submission.unlearned, stated) or log.moments[0].any():
        told = "training does not start from the first weights that the auditor's seed draws"
        return judged(Outcome.FAIL, told, **figures)
    if log.largest != largest_of(found.records.take(found.retained)):
        told = "the stated scale of the records is not that of the retained ones"
        return judged(Outcome.FAIL, told, **figures)
    told = (
        "the records are all the retained ones, every batch and the first weights are those that "
        "the auditor's seed gives: only the recipe was the owner's to choose, and after how many "
        "trials, unless it was fixed beforehand as well"
    )
    return judged(Outcome.PASS, told, **figures)


def _chosen_records(found: Logged) -> CheckResult:
    """Return that the log's list of records is not that of the retained ones."""
    return judged(
        Outcome.FAIL,
        f"{found.unlike}: the records were chosen{found.asked.caveat}",
        observed=found.missing + found.surplus,
        threshold=0,
    )


def _uneven(log: TrainingLog) -> int:
    """Return in how many epochs some record is not used exactly once, of a log as planned."""
    count = len(log.records)
    used = np.sort(log.batches.reshape(log.recipe.epochs, -1), axis=1)[:, -count:]
    return int((used != np.arange(count)).any(axis=1).sum())


def _ranked(submission: UnlearnedSubmission, found: Logged, seed: int) -> CheckResult:
    """Rank the batches of sampled steps among others that the epoch could have used there."""
    log = found.log
    generator = np.random.default_rng([seed, 13])
    each = len(log.batches) // log.recipe.epochs
    steps = np.arange(len(log.batches))
    steps = steps[(steps % each != each - 1) & (steps >= log.steps[0])] if each else steps[:0]
    steps = np.sort(generator.permutation(steps)[:SAMPLED])
    if not len(steps):
        return judged(Outcome.INCONCLUSIVE, "an epoch has one batch: there is nothing to choose")
    needed = int(steps[-1]) + 1
    if needed > STEPS or int((log.batches[:needed] != NOBODY).sum()) > PASSES:
        return judged(Outcome.INCONCLUSIVE, "the log has too many steps to be replayed")
    try:
        with np.errstate(all="ignore"), one_thread():
            ranks, ahead = _ranks(submission, found, steps, each, generator)
    except Diverged as error:
        return judged(Outcome.INCONCLUSIVE, f"the replay diverged: {error}")
    total, law = int(ranks.sum()), _chance(len(ranks))
    p_refute = float(law[total:].sum())
    share = float((ranks + 0.5).mean() / (OTHERS + 1))
    told = (
        f"the gradients of {len(ranks)} batches rank at {share:.2f} among those of other batches "
        f"by their cosine with the forgotten records'; 0.50 is chance{found.asked.caveat}"
    )
    result = decide(
        judged,
        told,
        p_refute=min(1.0, p_refute),
        power=_power(len(ranks)),
        observed=share,
        threshold=0.5,
        interval=_interval(ranks),
        n=len(ranks),
        evidence={
            "sampled_steps": len(ranks),
            "others_per_step": OTHERS,
            "mean_cosine_less_others": ahead,
            "p_guided": float(_chance(len(ranks), GUIDED)[: total + 1].sum()),
        },
    )
    if result.outcome is not Outcome.INCONCLUSIVE:
        return result
    reason = (
        f"{result.reason}; without an order that the auditor gave before training (--order-seed), "
        "a choice among many trainings leaves no trace"
    )
    return replace(result, reason=reason)


def _ranks(
    submission: UnlearnedSubmission,
    found: Logged,
    steps: I64,
    each: int,
    generator: np.random.Generator,
) -> tuple[I64, float]:
    """Return how many other batches each sampled one is ahead of, and the mean of by how much.

    Given all steps before, an honest batch is any subset of the records that are left of its epoch
    with the same chance: then each rank is uniform on 0..OTHERS, whatever the ranks before were.
    """
    log, trainer = found.log, found.trainer(submission)
    wanted = set(steps.tolist())
    starts = {int(step): index for index, step in enumerate(log.steps)}
    ranks, ahead = list[int](), list[float]()
    for step in range(int(log.steps[0]), int(steps[-1]) + 1):
        if step in starts:
            index = starts[step]
            trainer.load(State(log.weights[index], log.moments[index]), step)
        rows = found.rows(step)
        if step in wanted:
            rest = log.batches[step : (step // each + 1) * each]
            left = rest[rest != NOBODY].astype(np.int64)
            others = [generator.permutation(left)[: len(rows)] for _ in range(OTHERS)]
            batches = [rows, *(found.places[other] for other in others)]
            cosines = _cosines(trainer, found.forget_rows, batches)
            if not np.isfinite(cosines).all():
                raise Diverged("a gradient is not finite")
            below = int((cosines[1:] < cosines[0]).sum())
            ties = int((cosines[1:] == cosines[0]).sum())
            ranks.append(below + int(generator.integers(0, ties + 1)))
            ahead.append(float(cosines[0] - cosines[1:].mean()))
        trainer.go(rows)
    return np.array(ranks, np.int64), float(np.mean(ahead))


def _chance(count: int, guided: float = 0.0) -> F64:
    """Return the law of a sum of `count` ranks, each guided among `CANDIDATES` with this chance."""
    places = np.arange(OTHERS + 2) / (OTHERS + 1)
    one = np.diff((1 - guided) * places + guided * places**CANDIDATES)
    law = np.ones(1)
    for _ in range(count):
        law = np.convolve(law, one)
    return law


def _interval(ranks: I64) -> tuple[float, float]:
    """Return a 95 % interval of the mean place in [0, 1]: ranks are independent, and many."""
    places = (ranks + 0.5) / (OTHERS + 1)
    reach = 1.96 * float(places.std()) / len(places) ** 0.5
    return max(0.0, float(places.mean()) - reach), min(1.0, float(places.mean()) + reach)


def _power(count: int) -> float:
    """Return the chance of refuting honesty if every step were guided."""
    tails = np.cumsum(_chance(count)[::-1])[::-1]
    return float(_chance(count, 1.0)[tails <= IN_AUDIT].sum())


BEHAVIOUR = Behaviour(
    "guided-retraining",
    13,
    judged.title,
    (LOG, "retained records", "forgotten records"),
    (),
    simulate,
    detect,
    detect_model,
    model_variants=MODEL_VARIANTS,
    strength="the share of the steps whose batch is the best of 4",
    hiding="choosing among whole trainings and not among batches; where the auditor gave a seed "
    "before training and has all records, among recipes, unless the recipe was fixed as well",
)
