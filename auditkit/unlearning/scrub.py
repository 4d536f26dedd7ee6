"""SCRUB: away from the original on forgotten records, close to it on retained ones, in turns.

Kurmanji, Triantafillou, Hayes, Triantafillou (Towards unbounded machine unlearning, NeurIPS 2023).
The student starts as the original, which is the teacher. Epochs over the forgotten records that
maximise the KL divergence from the teacher alternate with epochs over the retained ones that
minimise α · KL + γ · cross-entropy; after `most_max` of the former only the latter go on. Ours is
that an epoch on retained records comes first: a student that equals its teacher has no gradient to
follow away from it, and without dropout or augmentation rounding would decide the first step. What
decides it now is chance all the same: on few seeds it leads deeper into the label that was to be
forgotten, and the result says so.

Rewinding (SCRUB+R, for privacy): maximising may overshoot, and an error that is too high gives a
record away. Of the states after each epoch the one is taken whose error on the forgotten records is
nearest to that of the last state on unseen records of the same labels. It is done for a subset
where unseen records are given. For a class and a backdoor the error shall be as high as can be.

The authors' published settings are α 0.001 and γ 0.99 (or 0.5 and 1 on small sets), temperature 4,
2 to 5 maximising of 3 to 10 epochs, a learning rate of 5e-4 that falls tenfold on the way, and
batches of 16 to 512 forgotten and 64 to 128 retained records. Of these we take the ones below, and
bound the batches of one maximising epoch where a class or a trigger goes, so that a large request
is not pushed further than a small one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from auditkit.unlearning.interface import Method, Scenario, Task, Unlearned
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import (
    Recipe,
    batches,
    largest_of,
    optimizer_of,
    step,
    tensors,
)


@dataclass(frozen=True)
class Settings:
    """All `epochs` minimise, `most_max` maximise first, from the second on.

    The learning rate falls to a tenth at epoch `decay_at`.

    A maximising epoch has `max_batches` at most. `alpha` and `gamma` weigh divergence and
    cross-entropy on retained records.
    """

    epochs: int = 10
    most_max: int = 5
    learning_rate: float = 5e-4
    forget_batch: int = 32
    max_batches: int = 1000
    retain_batch: int = 64
    alpha: float = 0.001
    gamma: float = 0.99
    temperature: float = 4.0
    decay_at: int = 8
    rewind: bool = True

    def __post_init__(self) -> None:
        _ = self.recipe
        if not 0 <= self.most_max < self.epochs or min(self.forget_batch, self.max_batches) < 1:
            raise ValueError("most_max must lie in 0..epochs − 1, batches have at least 1")
        weights = (self.temperature, self.alpha, self.gamma)
        if not all(map(math.isfinite, weights)) or self.temperature <= 0 or min(weights) < 0:
            raise ValueError("temperature must be positive, alpha and gamma not below 0")

    @property
    def recipe(self) -> Recipe:
        """Optimiser and batches of retained records: Adam."""
        return Recipe(self.epochs, self.learning_rate, self.retain_batch)


def run(task: Task, settings: Settings) -> Unlearned:
    """Alternate between the two kinds of epoch; then rewind where that is done."""
    kept = task.kept
    student = Trainable(task.network, largest=largest_of(task.forget, kept), passes=task.passes)
    teacher_forgets = torch.tensor(student.logits(task.forget.x))
    teacher_keeps = torch.tensor(student.logits(kept.x))
    forgotten, retained = tensors(student, task.forget), tensors(student, kept)
    generator = np.random.default_rng([task.seed, 84])
    optimizer = optimizer_of(student, settings.recipe)
    states = [student.copy()]
    for epoch in range(settings.epochs):
        if epoch == settings.decay_at:
            for group in optimizer.param_groups:
                group["lr"] /= 10
        if 1 <= epoch <= settings.most_max:
            every = batches(len(forgotten[0]), settings.forget_batch, generator)
            for rows in islice(every, settings.max_batches):
                apart = divergence(student(forgotten[0][rows]), teacher_forgets[rows], settings)
                step(optimizer, -apart)
        for rows in batches(len(retained[0]), settings.retain_batch, generator):
            answers = student(retained[0][rows])
            near = divergence(answers, teacher_keeps[rows], settings)
            right = F.cross_entropy(answers, retained[1][rows])
            step(optimizer, settings.alpha * near + settings.gamma * right)
        states.append(student.copy())
        task.tell(epoch + 1, settings.epochs)
    chosen, goal = _rewound(task, states, settings)
    error = _error(states[chosen], *forgotten)
    notes = {"epoch": chosen, "forgotten_error": error}
    if goal is not None:
        notes["unseen_error"] = goal
    return Unlearned(states[chosen].network(), notes=notes)


def divergence(answers: Tensor, teacher: Tensor, settings: Settings) -> Tensor:
    """Return T² · KL(teacher ‖ student) at temperature T, the mean over records.

    answers, teacher: logits [B, C]. Source: Hinton, Vinyals, Dean 2015, as the authors use it.
    """
    t = settings.temperature
    return (
        t
        * t
        * F.kl_div(
            F.log_softmax(answers / t, dim=1), (teacher / t).softmax(dim=1), reduction="batchmean"
        )
    )


def _rewound(task: Task, states: list[Trainable], settings: Settings) -> tuple[int, float | None]:
    """Return which state is taken, and the error on unseen records that it was chosen by.

    The state before the first epoch is the original, and is never taken.
    """
    last = len(states) - 1
    if not settings.rewind or task.scenario is not Scenario.SUBSET or task.holdout is None:
        return last, None
    same = task.holdout.take(np.isin(task.holdout.y, task.forget.y))
    if not len(same):
        return last, None
    goal = _error(states[last], *tensors(states[last], same))
    forgotten = tensors(states[last], task.forget)
    errors = [_error(state, *forgotten) for state in states[1:]]
    return 1 + int(np.argmin([abs(e - goal) for e in errors])), goal


def _error(model: Trainable, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float((model(x).argmax(dim=1) != y).float().mean())


METHOD = Method(
    name="scrub",
    title="SCRUB: a student that disobeys its teacher on the forgotten records",
    source="Kurmanji, Triantafillou, Hayes, Triantafillou: Towards unbounded machine unlearning. "
    "NeurIPS 2023, arXiv 2302.09880",
    scenarios=tuple(Scenario),
    needs=("retain",),
    uses=("holdout",),
    defaults=Settings(),
    run=run,
    by_scenario={
        Scenario.CLASS: {"alpha": 0.5, "gamma": 1.0, "max_batches": 3},
        Scenario.BACKDOOR: {
            "alpha": 0.5,
            "gamma": 1.0,
            "learning_rate": 1e-3,
            "forget_batch": 16,
            "max_batches": 3,
        },
    },
)
