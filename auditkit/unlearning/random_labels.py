"""Random labels: further training in which the forgotten records have wrong labels.

Golatkar, Achille, Soatto (Eternal sunshine of the spotless net, CVPR 2020) name it among their
baselines: fine-tune with the labels of the forgotten records drawn anew, so that the network learns
that they mean nothing. Labels are drawn once, among the other classes: those that stay, when a
class is forgotten. A network that never saw a record is usually right about it; one that was
taught a wrong label is not, and that can give the record away. Number of epochs and learning rate
are our choice, by the accuracies on digits, Location-30 and MNIST.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.unlearning.interface import Method, Refused, Scenario, Task, Unlearned
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import Recipe, fit, largest_of, tensors


@dataclass(frozen=True)
class Settings:
    """Further training on forgotten records with drawn labels and retained ones with theirs."""

    epochs: int = 6
    learning_rate: float = 1e-3
    batch_size: int = 64

    def __post_init__(self) -> None:
        _ = self.recipe

    @property
    def recipe(self) -> Recipe:
        """The same as a recipe: Adam."""
        return Recipe(self.epochs, self.learning_rate, self.batch_size)


def run(task: Task, settings: Settings) -> Unlearned:
    """Draw the labels and train on."""
    kept = task.kept
    model = Trainable(task.network, largest=largest_of(task.forget, kept), passes=task.passes)
    x, y = tensors(model, task.forget)
    x_kept, y_kept = tensors(model, kept)
    drawn = torch.tensor(drawn_labels(task))
    fit(
        model,
        torch.cat([x, x_kept]),
        torch.cat([drawn, y_kept]),
        settings.recipe,
        task.seed,
        progress=task.progress,
    )
    with torch.no_grad():
        still = float((model(x).argmax(dim=1) == y).float().mean())
    return Unlearned(model.network(), notes={"still_labelled": still})


def drawn_labels(task: Task) -> NDArray[np.int64]:
    """Return a label [N] for each forgotten record: another one, uniform among the allowed."""
    labels = np.unique(task.kept.y)
    if task.scenario is not Scenario.SUBSET:
        labels = np.setdiff1d(labels, task.classes)
    if not len(np.setdiff1d(labels, task.forget.y[:1])):
        raise Refused("random labels need another class to draw from")
    generator = np.random.default_rng([task.seed, 82])
    drawn = generator.choice(labels, len(task.forget))
    while (same := drawn == task.forget.y).any():
        drawn[same] = generator.choice(labels, int(same.sum()))
    return drawn.astype(np.int64)


METHOD = Method(
    name="random-labels",
    title="Random labels: further training with wrong labels for the forgotten records",
    source="Golatkar, Achille, Soatto: Eternal sunshine of the spotless net. CVPR 2020",
    scenarios=tuple(Scenario),
    needs=("retain",),
    defaults=Settings(),
    run=run,
)
