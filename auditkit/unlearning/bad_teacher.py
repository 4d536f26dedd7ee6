"""Bad teacher: the network learns from an ignorant one about forgotten records, else from itself.

Chundawat, Tarun, Mandal, Kankanhalli (Can bad teaching induce forgetting?, AAAI 2023): the student
starts as the original. On forgotten records it imitates an incompetent teacher, the architecture
with random weights, on retained ones a competent teacher, the original; the divergence is KL at
temperature 1. The authors train one epoch on the forgotten records and 30 % of the retained ones,
with Adam at 1e-4 and batches of 256, on networks and data far larger than those of the comparison
here, where that is a dozen steps and changes nothing: our defaults have more and larger ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from auditkit.unlearning.interface import Method, Scenario, Task, Unlearned
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import Recipe, fit, fresh, largest_of


@dataclass(frozen=True)
class Settings:
    """`share` is how many of the retained records it trains on; `temperature` that of the KL."""

    epochs: int = 10
    learning_rate: float = 1e-3
    batch_size: int = 64
    share: float = 0.3
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _ = self.recipe
        if not 0.0 < self.share <= 1.0 or not self.temperature > 0:
            raise ValueError("share must lie in (0, 1] and temperature be positive")

    @property
    def recipe(self) -> Recipe:
        """The same as a recipe: Adam."""
        return Recipe(self.epochs, self.learning_rate, self.batch_size)


def run(task: Task, settings: Settings) -> Unlearned:
    """Ask both teachers once, then train the student towards their answers."""
    kept = task.kept
    largest = largest_of(task.forget, kept)
    student = Trainable(task.network, largest=largest, passes=task.passes)
    ignorant = fresh(task.network, task.seed, largest=largest, passes=task.passes)
    generator = np.random.default_rng([task.seed, 83])
    count = max(1, round(settings.share * len(kept)))
    some = kept.take(np.sort(generator.permutation(len(kept))[:count]))
    answers = np.concatenate([ignorant.logits(task.forget.x), student.logits(some.x)])
    wanted = (torch.tensor(answers) / settings.temperature).softmax(dim=1)
    x = torch.cat([student.tensor(task.forget.x), student.tensor(some.x)])

    def divergence(logits: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(
            F.log_softmax(logits / settings.temperature, dim=1), target, reduction="batchmean"
        )

    fit(student, x, wanted, settings.recipe, task.seed, loss=divergence, progress=task.progress)
    return Unlearned(student.network(), notes={"retained_used": count})


METHOD = Method(
    name="bad-teacher",
    title="Bad teacher: imitating an untrained network on the forgotten records",
    source="Chundawat, Tarun, Mandal, Kankanhalli: Can bad teaching induce forgetting? Unlearning "
    "in deep networks using an incompetent teacher. AAAI 2023",
    scenarios=(Scenario.SUBSET, Scenario.CLASS),
    needs=("retain",),
    defaults=Settings(),
    run=run,
    refuses={
        Scenario.BACKDOOR: "its authors forget records and classes; that a trigger loses its "
        "meaning is not claimed"
    },
)
