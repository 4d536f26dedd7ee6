"""Distribution matching: forgotten records are answered as records never seen are.

Chen, Zhang, Mi, Huang, Li: *Fast yet versatile machine unlearning for deep neural networks*
(Neural Networks 190, 2025, 107648). Its full text was not available. From its abstract: the network
is fine-tuned until the distribution of its predictions on the forgotten data matches that on unseen
third-party data, nothing of training has to be stored, and records, classes and backdoor triggers
can be forgotten.
The rest is our choice:

- *Divergence*: the energy distance between the logits of forgotten and of unseen records (Székely,
  Rizzo 2004), the one that the test looks at. Where two samples are of one distribution it pulls at
  neither, unlike a coupling of single records, whose least distance is large by chance and which
  teaches forgotten records as many wrong answers. Of a subset the log-odds of the label count
  besides, as their squared 2-Wasserstein distance: in one dimension the k-th greatest belongs to
  the k-th greatest (Villani, Optimal transport, 2009). They are what membership inference looks at.
- *Which unseen records*: of a subset those of the same label, label by label. Of a class and of a
  backdoor those of all other labels together, since the forgotten labels are to mean nothing there.
- *Who moves*: in a subset the forgotten records alone. A class is one cloud of answers that has to
  become nine, and there unseen answers come to meet it; of a backdoor a little, for unseen records
  would learn the trigger's label.
- *When to stop*: unseen records are in three parts. Half are matched with. After each round, in
  which learning rate and matching fall, an energy test on a quarter asks whether logits differ, and
  for a subset whether the log-odds of the label do; both p-values must reach `enough`, well above
  the level, so that a test that is asked again and again does not end the search by luck. The last
  quarter is tested once, after the repair, at `level`: rejection is the method's shortfall. For a
  class and a backdoor next to no forgotten record may keep its label, which no test would notice.
- *Utility*: cross-entropy on retained records, or where there are none on the unseen ones, in every
  step, and a last round in which it counts most.

What does not come out well: with hundreds of forgotten records that are of another kind than the
unseen ones, a class or a cluster, the test still rejects after all rounds, as it does of a
retrained network; the result says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from auditkit.records import Records
from auditkit.unlearning.interface import Method, Refused, Scenario, Task, Unlearned
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import Recipe, endless, largest_of, optimizer_of, step, tensors
from auditkit.unlearning.two_sample import energy_test

FIT, STOP, FINAL = range(3)
PATTERN = (FIT, STOP, FIT, FINAL)  # of the unseen records of a label, in random order
LEAST_FACTOR = 0.05  # of the learning rate at the end of a round
PERMUTATIONS = 199
LEFT = 0.02  # of the forgotten records of a class or a backdoor may keep their label
LEAST = 1e-12  # spread of answers, where all are one


@dataclass(frozen=True)
class Settings:
    """`rounds` at most, of `steps` each, and a last one of `repair` steps.

    `keep` retained records go with each forgotten one. `matching` weighs the divergence against the
    cross-entropy; over a round it falls to the share `floor`, where it is throughout the repair.
    `mutual` is the share of the pull of the energy distance that unseen records feel.
    """

    rounds: int = 8
    steps: int = 20
    repair: int = 60
    learning_rate: float = 5e-3
    batch_size: int = 64
    keep: int = 2
    matching: float = 4.0
    floor: float = 0.1
    mutual: float = 0.0
    enough: float = 0.1
    level: float = 0.05

    def __post_init__(self) -> None:
        _ = self.recipe
        if min(self.rounds, self.steps, self.repair, self.keep) < 1:
            raise ValueError("rounds, steps, repair and keep must be at least 1")
        if not 0 < self.level <= self.enough < 1:
            raise ValueError("0 < level ≤ enough < 1 is needed")
        if not (0 <= self.floor <= 1 and 0 <= self.mutual <= 1) or not self.matching > 0:
            raise ValueError("floor and mutual must be in [0, 1], matching positive")

    @property
    def recipe(self) -> Recipe:
        """Optimiser and batches of forgotten records: Adam."""
        return Recipe(1, self.learning_rate, self.batch_size)


@dataclass(frozen=True, eq=False)
class Unseen:
    """Unseen records to match with, to stop by and for the last test."""

    fit: Records
    stop: Records
    final: Records


def run(task: Task, settings: Settings) -> Unlearned:
    """Fine-tune round by round until the test on the stopping part is satisfied."""
    unseen = split(task)
    model = Trainable(
        task.network,
        largest=largest_of(task.forget, task.retain, task.holdout),
        passes=task.passes,
    )
    optimizer = optimizer_of(model, settings.recipe)
    matcher = Matcher(task, model, unseen.fit, settings)
    found = [p_value(task, model, unseen.stop, 0)]
    for number in range(settings.rounds):
        _round(task, matcher, optimizer, settings, number)
        found.append(p_value(task, model, unseen.stop, number + 1))
        if found[-1] >= settings.enough and labelled(task, model) <= LEFT:
            break
    _round(task, matcher, optimizer, settings, len(found) - 1, repair=True)
    last = p_value(task, model, unseen.final, settings.rounds + 1)
    missed = ""
    if last < settings.level:
        missed = (
            f"the two-sample test still rejects (p = {last:.3f}): forgotten records are not "
            "answered as unseen ones"
        )
    notes = {"rounds": len(found) - 1, "p_before": found[0], "p_stop": found[-1], "p_final": last}
    return Unlearned(model.network(), shortfall=missed, notes=notes)


def _round(
    task: Task,
    matcher: Matcher,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    number: int,
    *,
    repair: bool = False,
) -> None:
    """Take the steps of a round, learning rate and matching falling; of a repair mostly utility."""
    matcher.renew()
    count = settings.repair if repair else settings.steps
    total = settings.rounds * settings.steps + settings.repair
    for index in range(count):
        left = 1.0 - index / count
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * max(left, LEAST_FACTOR)
        share = settings.floor if repair else max(left, settings.floor)
        step(optimizer, matcher.loss(share))
        task.tell(number * settings.steps + index + 1, total)


def split(task: Task) -> Unseen:
    """Return the unseen records that count, in three parts; Refused where there are too few."""
    of_forgotten = np.isin(task.unseen.y, task.forget.y)
    subset = task.scenario is Scenario.SUBSET
    records = task.unseen.take(of_forgotten if subset else ~of_forgotten)
    order = np.random.default_rng([task.seed, 61]).permutation(len(records))
    part = np.zeros(len(records), dtype=np.int64)
    for label in np.unique(records.y):
        rows = order[records.y[order] == label]
        part[rows] = np.resize(PATTERN, len(rows))
    fit, stop, final = (records.take(part == which) for which in (FIT, STOP, FINAL))
    words = "the forgotten labels" if subset else "other labels than the forgotten ones"
    if not len(final):
        raise Refused(f"it needs at least {len(PATTERN)} unseen records of a label, of {words}")
    missing = sorted(set(task.forget.y.tolist()) - set(fit.y.tolist())) if subset else []
    if missing:
        raise Refused(f"it needs unseen records of class {missing[0]}, and there are none")
    return Unseen(fit, stop, final)


def strata(task: Task, records: Records) -> NDArray[np.int64]:
    """Return within what records are compared: their label in a subset, else all as one."""
    if task.scenario is Scenario.SUBSET:
        return records.y
    return np.zeros(len(records), np.int64)


def p_value(task: Task, model: Trainable, records: Records, seed: int) -> float:
    """Return the p-value of the energy test between forgotten records and these.

    In a subset twice the lesser of that of the logits and that of the log-odds of the label.
    """
    groups = (strata(task, task.forget), strata(task, records))
    mine, theirs = model.logits(task.forget.x), model.logits(records.x)
    found = [energy_test(mine, theirs, groups, permutations=PERMUTATIONS, seed=seed).p_value]
    if task.scenario is Scenario.SUBSET:
        sides = ((mine, task.forget.y), (theirs, records.y))
        one, other = (
            log_odds(torch.as_tensor(z, dtype=torch.float64), torch.tensor(np.array(y))).numpy()
            for z, y in sides
        )
        found.append(energy_test(one, other, groups, permutations=PERMUTATIONS, seed=seed).p_value)
    return min(1.0, min(found) * len(found))


def labelled(task: Task, model: Trainable) -> float:
    """Return the share of forgotten records that keep the label of a class or a backdoor.

    So few that a two-sample test cannot tell may be a trigger that still works; 0 in a subset,
    whose labels stay.
    """
    if task.scenario is Scenario.SUBSET:
        return 0.0
    return float((model.logits(task.forget.x).argmax(axis=1) == task.forget.y).mean())


class Matcher:
    """The loss of a step: cross-entropy on kept records, and the distance of the answers."""

    def __init__(self, task: Task, model: Trainable, fit: Records, settings: Settings) -> None:
        self.model, self.settings = model, settings
        self.x, self.y = tensors(model, task.forget)
        self.unseen, unseen_y = tensors(model, fit)
        self.kept = tensors(model, task.retain if task.retain is not None else fit)
        self.mine = torch.tensor(strata(task, task.forget))
        self.theirs = torch.tensor(strata(task, fit))
        generator = np.random.default_rng([task.seed, 62])
        size = settings.batch_size
        self.batches = endless(len(self.x), size, generator)
        self.unseen_batches = endless(len(self.unseen), size, generator)
        self.kept_batches = endless(len(self.kept[1]), settings.keep * size, generator)
        self.goals: Tensor | None = None
        if task.scenario is Scenario.SUBSET:
            with torch.no_grad():
                odds = log_odds(model(self.x), self.y)
                unseen_odds = log_odds(model(self.unseen), unseen_y)
            self.goals = quantiles_of(odds, self.y, unseen_odds, unseen_y)
            self.variance = unseen_odds.var(correction=0).clamp(min=LEAST)

    def renew(self) -> None:
        """Look at what the network answers to unseen records now."""
        with torch.no_grad():
            self.said = self.model(self.unseen)
            self.spread = apart(self.said, self.said, self.theirs, self.theirs).mean()
            self.spread = self.spread.clamp(min=LEAST)

    def loss(self, share: float) -> Tensor:
        """Return the loss of one batch; `share` is how much of the weight of the distance counts.

        Where unseen records feel nothing, all of them are looked at, as they were answered when the
        round began; otherwise as many as there are forgotten ones.
        """
        rows, others = next(self.batches), next(self.kept_batches)
        mutual = self.settings.mutual
        drawn = next(self.unseen_batches) if mutual else np.arange(0)
        x = torch.cat([self.x[rows], self.unseen[drawn], self.kept[0][others]])
        mine, theirs, kept = self.model(x).split([len(rows), len(drawn), len(others)])
        of_mine, of_theirs = self.mine[rows], self.theirs
        if mutual:
            theirs = mutual * theirs + (1.0 - mutual) * theirs.detach()
            of_theirs = self.theirs[drawn]
        else:
            theirs = self.said
        distance = 2.0 * apart(mine, theirs, of_mine, of_theirs).mean()
        distance = distance - apart(mine, mine, of_mine, of_mine).mean()
        if mutual:  # otherwise this part is what it is
            distance = distance - apart(theirs, theirs, of_theirs, of_theirs).mean()
        moved = distance / self.spread
        if self.goals is not None:
            away = log_odds(mine, self.y[rows]) - self.goals[rows]
            moved = moved + (away**2).mean() / self.variance
        right = F.cross_entropy(kept, self.kept[1][others])
        return right + share * self.settings.matching * moved


def apart(one: Tensor, other: Tensor, of_one: Tensor, of_other: Tensor) -> Tensor:
    """Return the mean distance [N] of each answer to those of its stratum on the other side.

    one [N, C], other [M, C], of_one [N] and of_other [M] their strata. Where both sides are the
    same tensor no answer counts against itself. 0 where there is none to compare with.
    """
    distances = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")
    same = (of_one[:, None] == of_other).to(one.dtype)
    if one is other:
        same.fill_diagonal_(0.0)
    return (distances * same).sum(dim=1) / same.sum(dim=1).clamp(min=1.0)


def quantiles_of(mine: Tensor, labels: Tensor, theirs: Tensor, of_theirs: Tensor) -> Tensor:
    """Return for each of mine [N] the number that its rank has in theirs [M], label by label.

    The k-th least of n of a label belongs to the quantile (k − ½)/n of theirs, between two of which
    numbers are interpolated.
    """
    goals = torch.empty_like(mine)
    for label in labels.unique():
        rows = torch.nonzero(labels == label)[:, 0]
        level = (torch.arange(len(rows), dtype=mine.dtype) + 0.5) / len(rows)
        goals[rows[mine[rows].argsort()]] = torch.quantile(theirs[of_theirs == label], level)
    return goals


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log p_y − log Σ p_other [N] of logits [N, C]."""
    rest = logits.scatter(1, labels[:, None], -torch.inf).logsumexp(dim=1)
    return logits.gather(1, labels[:, None])[:, 0] - rest


METHOD = Method(
    name="distribution-matching",
    title="Distribution matching: forgotten records answered as unseen ones",
    source="Chen, Zhang, Mi, Huang, Li: Fast yet versatile machine unlearning for deep neural "
    "networks. Neural Networks 190 (2025) 107648",
    scenarios=tuple(Scenario),
    needs=("holdout",),
    uses=("retain",),
    defaults=Settings(),
    by_scenario={
        Scenario.CLASS: {"learning_rate": 1e-2, "floor": 0.4, "mutual": 1.0, "enough": 0.2},
        Scenario.BACKDOOR: {"learning_rate": 1e-2, "floor": 0.4, "mutual": 0.3, "enough": 0.2},
    },
    run=run,
)
