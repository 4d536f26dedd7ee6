"""Amnesiac unlearning: take back the updates of batches with forgotten records, then repair.

Graves, Nagisetty, Ganesh, *Amnesiac machine learning*, AAAI 2021, with the authors'
code for MNIST (github.com/lmgraves/AmnesiacML). There the class to forget has 100 records only, so
that a tenth of the batches hold any; subtracting their updates is followed by ten epochs on the
retained records, as many as training had, with Adam at its defaults and batches of 64, and the
first epoch already brings back what was lost. We take these defaults.

It is no exact method: updates of later batches were made from weights that the forgotten records
had moved, and stay. Where nearly every batch has a forgotten record, nearly everything is taken
back, and the repair is training from scratch; `notes` say how many batches were undone.
"""

from __future__ import annotations

from dataclasses import dataclass

from auditkit.unlearning.history import UpdateLog
from auditkit.unlearning.interface import Method, Refused, Scenario, Task, Unlearned
from auditkit.unlearning.logged import undone
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import Recipe, fit, largest_of, tensors
from auditkit.unlearning.weights import with_weights


@dataclass(frozen=True)
class Settings:
    """How the network is repaired on retained records after updates were taken back (Adam)."""

    epochs: int = 10
    learning_rate: float = 1e-3
    batch_size: int = 64

    def __post_init__(self) -> None:
        self.recipe()

    def recipe(self) -> Recipe:
        """Return it as a recipe of training; ValueError on values that train nothing."""
        return Recipe(self.epochs, self.learning_rate, self.batch_size)


def run(task: Task, settings: Settings) -> Unlearned:
    """Subtract the updates of every batch with a forgotten record, then train on retained ones."""
    log = task.history
    if not isinstance(log, UpdateLog):
        raise Refused("amnesiac needs the log of updates, and this history is of shards")
    kept = task.kept
    weights, batches = undone(task.network, log, task.forget)
    back = with_weights(task.network, weights)
    model = Trainable(back, largest=largest_of(kept, task.forget), passes=task.passes)
    fit(model, *tensors(model, kept), settings.recipe(), task.seed, progress=task.progress)
    notes = {"batches": len(log.updates), "undone": batches, "share": batches / len(log.updates)}
    return Unlearned(model.network(), notes=notes)


METHOD = Method(
    name="amnesiac",
    title="Amnesiac unlearning: updates of the forgotten records' batches taken back",
    source="Graves, Nagisetty, Ganesh: Amnesiac machine learning. AAAI 2021",
    scenarios=tuple(Scenario),
    needs=("retain", "history"),
    defaults=Settings(),
    run=run,
)
