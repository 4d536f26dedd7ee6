"""Training that writes down by how much every batch moved the weights.

Graves, Nagisetty, Ganesh (Amnesiac machine learning, AAAI 2021) keep the update of every batch of
every epoch and which records were in it. So that memory does not grow with the epochs, here a
record stays in the same batch throughout, only the order of the batches changes: then the sum of a
batch's updates over all epochs is all that is ever subtracted, and all that is kept. That is our
choice, as is keeping a person's records together, so that a person's request touches few batches.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from auditkit.network.digest import semantic_digest
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.unlearning.history import UpdateLog, content_digests
from auditkit.unlearning.interface import Refused
from auditkit.unlearning.trainable import Passes
from auditkit.unlearning.training import (
    Progress,
    Recipe,
    fresh,
    largest_of,
    one_thread,
    optimizer_of,
    step,
    tensors,
)
from auditkit.unlearning.weights import weights_of


def together(records: Records, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the indices of records in random order, those of one person next to each other."""
    order = generator.permutation(len(records))
    if records.subject is None:
        return order
    numbers = {name: n for n, name in enumerate(dict.fromkeys(records.subject))}
    rank = generator.permutation(len(numbers))
    person = np.array([rank[numbers[name]] for name in records.subject])
    return order[np.argsort(person[order], kind="stable")]


def train_logged(
    network: Network,
    records: Records,
    recipe: Recipe,
    seed: int,
    *,
    progress: Progress | None = None,
    passes: Passes | None = None,
) -> tuple[Network, UpdateLog]:
    """Return the architecture trained from new random weights, and the log of its updates.

    Diverged when the loss becomes nan. An update is what the optimiser did with a batch: with
    momentum it carries something of the batches before, which no log can tell apart.
    """
    model = fresh(network, seed, largest=largest_of(records), passes=passes)
    x, y = tensors(model, records)
    generator = np.random.default_rng([seed, 13])
    order = together(records, generator)
    parts = [
        order[start : start + recipe.batch_size]
        for start in range(0, len(order), recipe.batch_size)
    ]
    trained = model.network()
    updates = np.zeros((len(parts), len(weights_of(trained))))
    optimizer = optimizer_of(model, recipe)
    done = 0
    with one_thread():
        before = weights_of(trained)
        for _ in range(recipe.epochs):
            for number in generator.permutation(len(parts)):
                rows = torch.as_tensor(parts[number])
                step(optimizer, F.cross_entropy(model(x[rows]), y[rows]))
                trained = model.network()
                after = weights_of(trained)
                updates[number] += after.astype(np.float64) - before
                before = after
                done += 1
                if progress is not None:
                    progress(done, len(parts) * recipe.epochs)
    batch = np.empty(len(records), np.int32)
    for number, rows_of in enumerate(parts):
        batch[rows_of] = number
    log = UpdateLog(
        semantic_digest(trained), content_digests(records), batch, updates.astype(np.float32)
    )
    return trained, log


def undone(network: Network, log: UpdateLog, forget: Records) -> tuple[NDArray[np.float64], int]:
    """Return the weights [P] without the updates of batches with forgotten records, and how many.

    Refused when the log does not know one of the records. (Graves et al.: the weights are the first
    ones plus all updates but those of the batches with forgotten records.)
    """
    known = [row.tobytes() for row in log.records]
    wanted = {row.tobytes() for row in content_digests(forget)}
    if missing := len(wanted - set(known)):
        raise Refused(f"{missing} of the forgotten records are not among the logged ones")
    touched = np.unique(log.batch[[digest in wanted for digest in known]])
    total = log.updates[touched].sum(axis=0, dtype=np.float64)
    return weights_of(network).astype(np.float64) - total, len(touched)
