"""Training in shards and slices, and training again only what saw a forgotten record.

Bourtoule, Chandrasekaran, Choquette-Choo, Jia, Travers, Zhang, Lie, Papernot (Machine unlearning,
IEEE S&P 2021): each of S networks learns from one shard of the records only, slice after slice, and
its weights are kept after each slice. A record's influence begins with its slice in its shard.

Three things are our choice. The model is the mean of the shards' logits, as one network that can
be audited, where the authors take a majority vote. A slice is trained with an optimiser that starts
anew, so that weights alone are a checkpoint. And all that is random depends on places and contents,
never on who else is there, so that training again gives, number by number, what training without
the forgotten records would have given.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.unlearning.ensemble import branches_of, ensemble
from auditkit.unlearning.history import MOST_SHARDS, Plan, ShardCheckpoints, content_digests
from auditkit.unlearning.interface import Refused
from auditkit.unlearning.logged import together
from auditkit.unlearning.trainable import Passes, Trainable
from auditkit.unlearning.training import Progress, Recipe, fit, fresh, tensors
from auditkit.unlearning.weights import weights_of, with_weights


def make_plan(
    records: Records, recipe: Recipe, seed: int, *, shards: int, slices: int, largest: float = 1.0
) -> Plan:
    """Return a plan that puts each content in a place at random, a person's next to each other.

    `largest` is the greatest absolute number that a record may have, not that one has: it must not
    depend on the records. Refused when there are fewer records than places.
    """
    digests, first, count = np.unique(
        content_digests(records), axis=0, return_index=True, return_counts=True
    )
    if not 1 <= shards <= MOST_SHARDS or slices < 1 or shards * slices > len(digests):
        raise Refused(f"{len(digests)} different records in {shards} shards of {slices} slices")
    order = together(records.take(first), np.random.default_rng([seed, 14]))
    place = np.empty(len(digests), np.int64)
    place[order] = np.arange(len(digests)) * (shards * slices) // len(digests)
    return Plan(
        shards, slices, recipe, seed, largest, digests, count.astype(np.int32),
        (place // slices).astype(np.int32), (place % slices).astype(np.int32),
    )  # fmt: skip


def without(plan: Plan, forget: Records) -> Plan:
    """Return the plan of a training that never had these records; others keep their places.

    Refused when the plan does not have one of them.
    """
    gone, times = np.unique(content_digests(forget), axis=0, return_counts=True)
    at = {row.tobytes(): index for index, row in enumerate(plan.records)}
    count = plan.count.copy()
    missing = 0
    for row, number in zip(gone, times, strict=True):
        index = at.get(row.tobytes())
        if index is None or count[index] < number:
            missing += 1
        else:
            count[index] -= number
    if missing:
        raise Refused(f"{missing} of the forgotten records are not among those it trained on")
    left = count > 0
    parts = {name: getattr(plan, name)[left] for name in ("records", "shard", "slice")}
    return replace(plan, count=count[left], **parts)


def train_shards(
    network: Network,
    records: Records,
    plan: Plan,
    *,
    progress: Progress | None = None,
    passes: Passes | None = None,
) -> tuple[Network, ShardCheckpoints]:
    """Return the mean of S networks of this architecture trained by the plan, with the history.

    Refused when the records are not those of the plan; Diverged when a loss becomes nan.
    """
    empty = np.zeros((plan.shards, plan.slices, len(weights_of(network))), network.dtype)
    start = np.zeros(plan.shards, np.int64)
    return _train(network, records, plan, empty, start, progress, passes)


def retrain_shards(
    network: Network,
    history: ShardCheckpoints,
    forget: Records,
    retain: Records,
    *,
    progress: Progress | None = None,
    passes: Passes | None = None,
) -> tuple[Network, ShardCheckpoints]:
    """Return what `train_shards` would have given without the forgotten records.

    It starts from each shard's last checkpoint that never saw one. Refused when forgotten and
    retained records together are not those of the history.
    """
    plan = without(history.plan, forget)
    start = first_touched(history.plan, forget)
    branch = branches_of(network, plan.shards)[0]
    return _train(branch, retain, plan, history.checkpoints, start, progress, passes)


def first_touched(plan: Plan, forget: Records) -> NDArray[np.int64]:
    """Return for each shard [S] the first slice with a forgotten record, R where there is none."""
    gone = {row.tobytes() for row in content_digests(forget)}
    hit = np.array([row.tobytes() in gone for row in plan.records], dtype=bool)
    first = np.full(plan.shards, plan.slices, np.int64)
    np.minimum.at(first, plan.shard[hit], plan.slice[hit])
    return first


def epochs_of(plan: Plan) -> list[int]:
    """Return the epochs of each slice; all together they cost about what the recipe's would.

    A slice is trained with those before it, so that of e epochs over everything each gets
    2e / (R + 1), as in the authors' code (cleverhans-lab/machine-unlearning), and at least 1.
    """
    each = 2 * plan.recipe.epochs / (plan.slices + 1)
    return [max(1, math.floor((k + 1) * each) - math.floor(k * each)) for k in range(plan.slices)]


def _train(
    architecture: Network,
    records: Records,
    plan: Plan,
    checkpoints: NDArray[np.floating],
    start: NDArray[np.int64],
    progress: Progress | None,
    passes: Passes | None,
) -> tuple[Network, ShardCheckpoints]:
    """Train every shard from slice `start` [S] on; earlier checkpoints are taken as they are."""
    rows, places = _placed(records, plan)
    kept = checkpoints.copy()
    total, done = int((plan.slices - start).sum()), 0
    for shard in range(plan.shards):
        for part in range(int(start[shard]), plan.slices):
            if part:
                before = with_weights(architecture, kept[shard, part - 1])
            else:
                new = fresh(architecture, _seed(plan, shard, 0), largest=plan.largest)
                before = new.network()
            here = (plan.shard[places] == shard) & (plan.slice[places] <= part)
            seen = records.take(rows[here])
            kept[shard, part] = weights_of(_step(before, seen, plan, shard, part, passes))
            done += 1
            if progress is not None:
                progress(done, total)
    branches = [with_weights(architecture, last) for last in kept[:, -1]]
    return ensemble(branches), ShardCheckpoints(plan, kept)


def _step(
    before: Network, seen: Records, plan: Plan, shard: int, part: int, passes: Passes | None
) -> Network:
    """Train a shard's network on the slices up to one; without records it stays what it is."""
    if not len(seen):
        return before
    model = Trainable(before, largest=plan.largest, passes=passes)
    recipe = replace(plan.recipe, epochs=epochs_of(plan)[part])
    fit(model, *tensors(model, seen), recipe, _seed(plan, shard, part + 1))
    return model.network()


def _placed(records: Records, plan: Plan) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the records' indices in the order of the plan's contents, and each one's place."""
    found, inverse, count = np.unique(
        content_digests(records), axis=0, return_inverse=True, return_counts=True
    )
    if not (np.array_equal(found, plan.records) and np.array_equal(count, plan.count)):
        raise Refused("retained and forgotten records together are not those of the history")
    inverse = inverse.reshape(-1)
    rows = np.argsort(inverse, kind="stable")
    return rows, inverse[rows]


def _seed(plan: Plan, shard: int, step: int) -> int:
    """Return the seed of one shard's new weights (step 0) or of a slice (its number from 1)."""
    return int(np.random.SeedSequence([plan.seed, 15, shard, step]).generate_state(1)[0])
