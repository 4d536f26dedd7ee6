"""SISA: train again those shards that saw a forgotten record, from the slice in which they did.

Bourtoule et al., *Machine unlearning*, IEEE S&P 2021. Shards and slices are chosen when the model
is trained, not when it unlearns, so that there is nothing to set here: recipe and seeds are those
of the history. The result is the model that training without the forgotten records, with every
other record in its place, would have given: exactly, number by number. What is left of them is
their absence from the places that they had. `shards.py` says what is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

from auditkit.unlearning.history import ShardCheckpoints
from auditkit.unlearning.interface import Method, Refused, Scenario, Task, Unlearned
from auditkit.unlearning.shards import first_touched, retrain_shards


@dataclass(frozen=True)
class Settings:
    """None: what there is to choose was chosen in training."""


def run(task: Task, settings: Settings) -> Unlearned:
    """Go back to the checkpoints before the first forgotten records and train on from there."""
    history = task.history
    if not isinstance(history, ShardCheckpoints):
        raise Refused("sisa needs the checkpoints of shards, and this history is a log of updates")
    kept, plan = task.kept, history.plan
    first = first_touched(plan, task.forget)
    network, _ = retrain_shards(
        task.network, history, task.forget, kept, progress=task.progress, passes=task.passes
    )
    notes = {
        "shards": plan.shards,
        "slices": plan.slices,
        "touched_shards": int((first < plan.slices).sum()),
        "trained_slices": int((plan.slices - first).sum()),
    }
    return Unlearned(network, notes=notes)


METHOD = Method(
    name="sisa",
    title="SISA: shards that saw the forgotten records trained again from before they did",
    source="Bourtoule, Chandrasekaran, Choquette-Choo, Jia, Travers, Zhang, Lie, Papernot: Machine "
    "unlearning. IEEE S&P 2021",
    scenarios=tuple(Scenario),
    needs=("retain", "history"),
    defaults=Settings(),
    run=run,
)
