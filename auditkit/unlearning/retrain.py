"""Retraining: the same recipe from new random weights, without the forgotten records.

It is what every other method is measured against, and what an owner who has the time should do.
"""

from __future__ import annotations

from auditkit.unlearning.interface import Method, Scenario, Task, Unlearned
from auditkit.unlearning.replay import train_with_log
from auditkit.unlearning.training import PRACTICE, Recipe, train_from_scratch


def run(task: Task, settings: Recipe) -> Unlearned:
    """Train the architecture on the retained records alone."""
    if task.logging is None:
        network = train_from_scratch(
            task.network, task.kept, settings, task.seed, progress=task.progress, passes=task.passes
        )
        return Unlearned(network)
    network, log = train_with_log(
        task.network, task.kept, settings, task.seed, task.logging.key,
        order_seed=task.logging.order_seed, progress=task.progress, passes=task.passes,
    )  # fmt: skip
    return Unlearned(network, log=log)


METHOD = Method(
    name="retrain",
    title="Retraining without the forgotten records",
    source="the reference of the field; Cao, Yang: Towards making systems forget with machine "
    "unlearning. IEEE S&P 2015",
    scenarios=tuple(Scenario),
    needs=("retain",),
    defaults=PRACTICE,
    run=run,
)
