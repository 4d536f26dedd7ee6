"""Gradient ascent: away from what the forgotten records taught, held back by the retained ones.

The oldest of the baselines (NegGrad; Golatkar, Achille, Soatto: Eternal sunshine of the spotless
net, CVPR 2020): steps up the loss of the forgotten records. The loss has no upper end, so that
ascent alone ruins a network; Kurmanji et al. (NeurIPS 2023) add the loss of retained records with a
weight near 1 (NegGrad+, 0.95 or more in their search), which is the default here where there are
retained records.

When to stop is our choice, for the authors fix a number of epochs: for a subset, when the forgotten
records are no surer than unseen ones of the same labels, if there are any; for a class or a
backdoor, when next to none is answered with its label any more. Gradients are clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from auditkit.records import Records
from auditkit.unlearning.interface import Method, Refused, Scenario, Task, Unlearned
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import Recipe, endless, largest_of, optimizer_of, step, tensors

CHECK = 3  # steps between looks at the stopping rule
LEFT = 0.01  # of the forgotten records may still get their label, of a class or a backdoor


@dataclass(frozen=True)
class Settings:
    """`weight` is that of the retained loss, 1 − `weight` that of the ascent; `steps` at most.

    `clip` bounds the norm of a gradient.
    """

    steps: int = 300
    learning_rate: float = 1e-3
    batch_size: int = 64
    weight: float = 0.95
    clip: float = 1.0

    def __post_init__(self) -> None:
        _ = self.recipe
        if not 0.0 <= self.weight < 1.0 or self.steps < 1 or not self.clip > 0:
            raise ValueError("weight must lie in [0, 1), steps be at least 1 and clip above 0")

    @property
    def recipe(self) -> Recipe:
        """Optimiser and batches: Adam."""
        return Recipe(1, self.learning_rate, self.batch_size)


def run(task: Task, settings: Settings) -> Unlearned:
    """Step up the forgotten loss and down the retained one until the stopping rule holds."""
    model = Trainable(
        task.network, largest=largest_of(task.forget, task.retain), passes=task.passes
    )
    generator = np.random.default_rng([task.seed, 81])
    x, y = tensors(model, task.forget)
    kept = None if task.retain is None or not len(task.retain) else tensors(model, task.retain)
    goal = Goal(task, model)
    mine = endless(len(x), settings.batch_size, generator)
    theirs = None if kept is None else endless(len(kept[0]), settings.batch_size, generator)
    optimizer = optimizer_of(model, settings.recipe)
    if goal.reached(model):
        raise Refused(f"by its stopping rule there is nothing to do: {goal.met()}")
    done = 0
    while done < settings.steps and not goal.reached(model):
        for _ in range(min(CHECK, settings.steps - done)):
            rows = next(mine)
            loss = -F.cross_entropy(model(x[rows]), y[rows])
            if kept is not None and theirs is not None:
                other = next(theirs)
                down = F.cross_entropy(model(kept[0][other]), kept[1][other])
                loss = (1.0 - settings.weight) * loss + settings.weight * down
            step(optimizer, loss, clip=settings.clip)
            done += 1
            task.tell(done, settings.steps)
    missed = "" if goal.reached(model) else f"after {done} steps {goal.missing(model)}"
    return Unlearned(model.network(), shortfall=missed, notes={"steps": done})


class Goal:
    """When forgotten records look forgotten: as unsure as unseen ones, or no longer labelled."""

    def __init__(self, task: Task, model: Trainable) -> None:
        self.forget = tensors(model, task.forget)
        self.subset = task.scenario is Scenario.SUBSET
        self.unseen = _alike(model, task.forget, task.holdout) if self.subset else None

    def reached(self, model: Trainable) -> bool:
        """Whether it holds; a subset without unseen records has none but the number of steps."""
        with torch.no_grad():
            if not self.subset:
                return self._labelled(model) <= LEFT
            if self.unseen is None:
                return False
            return self._loss(model, self.forget) >= self._unseen_loss(model)

    def met(self) -> str:
        """Return what it is that holds, in words."""
        if self.subset:
            return "the forgotten records are no surer than unseen ones"
        return "hardly a forgotten record gets its label"

    def missing(self, model: Trainable) -> str:
        """Return what is missing, in words."""
        with torch.no_grad():
            if not self.subset:
                return f"{self._labelled(model):.1%} of the forgotten records get their label"
            if self.unseen is None:
                return "nothing shows that it is enough: there are no unseen records"
            mine, theirs = self._loss(model, self.forget), self._unseen_loss(model)
            return f"forgotten records have the loss {mine:.3g}, unseen ones {theirs:.3g}"

    def _labelled(self, model: Trainable) -> float:
        x, y = self.forget
        return float((model(x).argmax(dim=1) == y).float().mean())

    def _unseen_loss(self, model: Trainable) -> float:
        assert self.unseen is not None
        return self._loss(model, self.unseen)

    @staticmethod
    def _loss(model: Trainable, records: tuple[Tensor, ...]) -> float:
        x, y, *weight = records
        losses = F.cross_entropy(model(x), y, reduction="none")
        return float((losses * weight[0]).sum()) if weight else float(losses.mean())


def _alike(
    model: Trainable, forget: Records, holdout: Records | None
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return unseen records of the forgotten labels, weighted to the same share of each label."""
    if holdout is None:
        return None
    labels, counts = np.unique(forget.y, return_counts=True)
    shares = dict(zip(labels.tolist(), (counts / len(forget)).tolist(), strict=True))
    there = holdout.take(np.isin(holdout.y, labels))
    if not len(there):
        return None
    of_label = {label: int((there.y == label).sum()) for label in shares}
    weights = np.array([shares[int(v)] / of_label[int(v)] for v in there.y])
    weights /= weights.sum()
    return (*tensors(model, there), torch.tensor(weights, dtype=model.dtype))


METHOD = Method(
    name="gradient-ascent",
    title="Gradient ascent on the forgotten records, with descent on retained ones",
    source="Golatkar, Achille, Soatto: Eternal sunshine of the spotless net. CVPR 2020; Kurmanji, "
    "Triantafillou, Hayes, Triantafillou: Towards unbounded machine unlearning. NeurIPS 2023",
    scenarios=tuple(Scenario),
    needs=(),
    uses=("retain", "holdout"),
    defaults=Settings(),
    run=run,
    by_scenario={Scenario.CLASS: {"weight": 0.97}, Scenario.BACKDOOR: {"weight": 0.99}},
)
