"""Amnesiac unlearning: take back the updates of batches with forgotten records, then repair.

Graves, Nagisetty, Ganesh, *Amnesiac machine learning*, AAAI 2021, with the authors' code for MNIST
(github.com/lmgraves/AmnesiacML). There the class to forget has 100 records only, so that a tenth of
the batches hold any; subtracting their updates is followed by ten epochs on the retained records,
as many as training had, with Adam at 1e-3 and batches of 64, though the first epoch brings back
nearly all that was lost. We repair until the network is as right on retained records as it was,
but for one point, and not longer, at 2e-3, which needed half the epochs of 1e-3 on three data sets.

It is no exact method: updates of later batches were made from weights that the forgotten records
had moved, and stay. Where nearly every batch has a forgotten record, nearly everything is taken
back, and the repair is training from scratch; `notes` say how many batches were undone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch.nn import functional as F

from auditkit.records import Records
from auditkit.unlearning.history import UpdateLog
from auditkit.unlearning.interface import Method, Refused, Scenario, Task, Unlearned
from auditkit.unlearning.logged import undone
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import Recipe, batches, largest_of, optimizer_of, step, tensors
from auditkit.unlearning.weights import with_weights


@dataclass(frozen=True)
class Settings:
    """How the network is repaired on retained records after updates were taken back (Adam).

    epochs: at most; loss: of accuracy on retained records at which it is repaired.
    """

    epochs: int = 40
    learning_rate: float = 2e-3
    batch_size: int = 64
    loss: float = 0.01

    def __post_init__(self) -> None:
        self.recipe()
        if not 0.0 <= self.loss < 1.0:
            raise ValueError(f"loss must be a share below 1, found {self.loss:g}")

    def recipe(self) -> Recipe:
        """Return it as a recipe of training; ValueError on values that train nothing."""
        return Recipe(self.epochs, self.learning_rate, self.batch_size)


def run(task: Task, settings: Settings) -> Unlearned:
    """Subtract the updates of every batch with a forgotten record, then train on retained ones."""
    log = task.history
    if not isinstance(log, UpdateLog):
        raise Refused("amnesiac needs the log of updates, and this history is of shards")
    kept = task.kept
    weights, undoing = undone(task.network, log, task.forget)
    model = Trainable(
        with_weights(task.network, weights),
        largest=largest_of(kept, task.forget),
        passes=task.passes,
    )
    wanted = _right(Trainable(task.network, passes=task.passes), kept) - settings.loss
    epochs, reached = _repair(task, model, kept, settings, wanted)
    notes = {
        "batches": len(log.updates),
        "undone": undoing,
        "share": undoing / len(log.updates),
        "repair_epochs": epochs,
    }
    short = ""
    if reached < wanted:
        told = f"{reached:.1%} right after {epochs} epochs of repair, {wanted:.1%} wanted"
        short = f"retained records: {told}"
    return Unlearned(model.network(), shortfall=short, notes=notes)


def _repair(
    task: Task, model: Trainable, kept: Records, settings: Settings, wanted: float
) -> tuple[int, float]:
    """Train on retained records, one epoch at least; return how many, and the accuracy then."""
    generator = np.random.default_rng([task.seed, 16])
    optimizer = optimizer_of(model, settings.recipe())
    x, y = tensors(model, kept)
    reached = 0.0
    for epoch in range(settings.epochs):
        for rows in batches(len(x), settings.batch_size, generator):
            step(optimizer, F.cross_entropy(model(x[rows]), y[rows]))
        task.tell(epoch + 1, settings.epochs)
        reached = _right(model, kept)
        if reached >= wanted:
            return epoch + 1, reached
    return settings.epochs, reached


def _right(model: Trainable, records: Records) -> float:
    return float((model.logits(records.x).argmax(axis=1) == records.y).mean())


METHOD = Method(
    name="amnesiac",
    title="Amnesiac unlearning: updates of the forgotten records' batches taken back",
    source="Graves, Nagisetty, Ganesh: Amnesiac machine learning. AAAI 2021",
    scenarios=tuple(Scenario),
    needs=("retain", "history"),
    defaults=Settings(),
    run=run,
)
