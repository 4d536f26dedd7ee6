"""UNSIR: a class is overwritten by noise that is learned from the network, not by its records.

Whoever must delete a class may have deleted its records already. Noise that the network takes for
anything but the class stands in for them: trained on it under the class's label, beside a few
retained records, the network loses what the label meant (impair); trained on the retained records
alone it recovers the rest (repair).

The authors' code (github.com/vikram2000b/Fast-Machine-Unlearning, CIFAR-10) learns 256 inputs of
noise a class in 40 Adam steps at 0.1, uses 1000 retained records of each class, shows the noise
0.64 times as often as those, and takes one epoch at 0.02 to impair and one at 0.01 to repair, in
batches of 256: 71 and 32 steps. Kept here are the noise, its share and the 71 steps to impair. Ours
are the batches of 64, since one epoch of small data is too few steps; 150 steps to repair; and
rates of 0.01 and 0.002, at which the classes that stay come closest to retraining.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from auditkit.records import Records
from auditkit.unlearning.interface import Method, Progress, Scenario, Task, Unlearned
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import Recipe, fit, largest_of, step, tensors


@dataclass(frozen=True)
class Settings:
    """How noise is learned and trained on; ValueError on values that do nothing.

    noise_records, noise_steps, noise_rate, penalty: how much noise a class gets, and the Adam steps
    in which it is learned. per_class: retained records of each class that are used. noise_share:
    how often noise is shown to impair, for each class, as a share of those retained records.
    impair_steps, repair_steps: as many whole epochs as make at least so many. The rates are Adam's.
    """

    noise_records: int = 256
    noise_steps: int = 40
    noise_rate: float = 0.1
    penalty: float = 0.1
    per_class: int = 1000
    noise_share: float = 0.64
    batch_size: int = 64
    impair_steps: int = 71
    impair_rate: float = 0.01
    repair_steps: int = 150
    repair_rate: float = 0.002

    def __post_init__(self) -> None:
        counts = (
            self.noise_records, self.noise_steps, self.per_class, self.batch_size,
            self.impair_steps, self.repair_steps,
        )  # fmt: skip
        if min(counts) < 1:
            raise ValueError("counts of records, steps and epochs must be at least 1")
        rates = (self.noise_rate, self.noise_share, self.impair_rate, self.repair_rate)
        if not all(math.isfinite(rate) and rate > 0.0 for rate in rates):
            raise ValueError("rates and noise_share must be positive")
        if not (math.isfinite(self.penalty) and self.penalty >= 0.0):
            raise ValueError("penalty must not be below 0")


def run(task: Task, settings: Settings) -> Unlearned:
    """Learn noise for every class to forget, train on it and retained records, then repair.

    The forgotten records give their labels alone. The method does not know the domain of the
    inputs: `noise_range` in the notes says where the noise lay.
    """
    generator = np.random.default_rng([task.seed, 51])
    kept = few_of_each(task.kept, settings.per_class, generator)
    scale = largest_of(kept)
    model = Trainable(task.network, largest=scale, passes=task.passes)
    x, y = tensors(model, kept)
    shown = math.ceil(settings.noise_share * len(kept))
    mixed = len(x) + shown * len(task.classes)
    impair = _recipe(settings.impair_steps, settings.impair_rate, mixed, settings)
    repair = _recipe(settings.repair_steps, settings.repair_rate, len(x), settings)
    lengths = [settings.noise_steps] * len(task.classes)
    lengths += [_steps(impair, mixed), _steps(repair, len(x))]
    told = [_told(task, sum(lengths[:i]), sum(lengths)) for i in range(len(lengths))]

    noise = {
        label: learn_noise(model, label, scale, settings, task.seed, told[i])
        for i, label in enumerate(task.classes)
    }
    chosen = [n[generator.integers(len(n), size=shown)] for n in noise.values()]
    labels = [torch.full((shown,), label) for label in noise]
    inputs, wanted = torch.cat([x, *chosen]), torch.cat([y, *labels])
    fit(model, inputs, wanted, impair, task.seed, progress=told[-2])
    impaired = _accuracy(model, kept)
    fit(model, x, y, repair, task.seed + 1, progress=told[-1])

    return Unlearned(
        model.network(),
        notes={
            "retained_records_used": len(kept),
            "retained_accuracy_impaired": impaired,
            "retained_accuracy_repaired": _accuracy(model, kept),
            "noise_range": [
                min(float(n.min()) for n in noise.values()),
                max(float(n.max()) for n in noise.values()),
            ],
        },
    )


def _recipe(steps: int, rate: float, records: int, settings: Settings) -> Recipe:
    """Return a recipe of as many whole epochs as it takes to make at least so many steps."""
    epochs = math.ceil(steps / math.ceil(records / settings.batch_size))
    return Recipe(epochs, rate, settings.batch_size)


def _steps(recipe: Recipe, records: int) -> int:
    return recipe.epochs * math.ceil(records / recipe.batch_size)


def _told(task: Task, before: int, total: int) -> Progress:
    """Return what a part of the run tells its progress to, when `before` steps came before it."""
    return lambda done, _: task.tell(before + done, total)


def few_of_each(records: Records, count: int, generator: np.random.Generator) -> Records:
    """Return at most `count` records of every class, drawn at random, in their old order."""
    order = generator.permutation(len(records))
    rows = [order[records.y[order] == label][:count] for label in np.unique(records.y)]
    return records.take(np.sort(np.concatenate(rows)))


def learn_noise(
    model: Trainable,
    label: int,
    scale: float,
    settings: Settings,
    seed: int,
    progress: Progress | None = None,
) -> Tensor:
    """Return noise [noise_records, *input_shape] that the model takes for other classes.

    It maximises the cross entropy of the label less the penalty on its mean squared norm, from a
    normal start; its unit is `scale`, the greatest absolute number of the records. The weights stay
    what they are.
    """
    start = np.random.default_rng([seed, 52, label])
    shape = (settings.noise_records, *model.original.input_shape)
    noise = torch.tensor(start.standard_normal(shape), dtype=model.dtype, requires_grad=True)
    labels = torch.full((settings.noise_records,), label)
    optimizer = torch.optim.Adam([noise], lr=settings.noise_rate)
    model.requires_grad_(False)
    for done in range(1, settings.noise_steps + 1):
        norm = noise.flatten(1).square().sum(dim=1).mean()
        step(optimizer, settings.penalty * norm - F.cross_entropy(model(noise * scale), labels))
        if progress is not None:
            progress(done, settings.noise_steps)
    model.requires_grad_(True)
    return noise.detach() * scale


def _accuracy(model: Trainable, records: Records) -> float:
    return float((model.logits(records.x).argmax(axis=1) == records.y).mean())


METHOD = Method(
    name="unsir",
    title="UNSIR: learned noise in place of a class",
    source="Tarun, Chundawat, Mandal, Kankanhalli: Fast yet effective machine unlearning. "
    "arXiv 2111.08947, 2021",
    scenarios=(Scenario.CLASS,),
    needs=("retain",),
    defaults=Settings(),
    run=run,
    refuses={
        Scenario.SUBSET: "its noise takes the place of a class, and the class is to stay",
        Scenario.BACKDOOR: "its noise takes the place of a class, and the trigger's label is one "
        "that is to stay",
    },
)
