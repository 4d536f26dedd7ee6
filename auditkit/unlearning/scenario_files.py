"""A deletion request to practise on, as a folder: the trained network and all that either side has.

An auditor who wants to know what a method does, or whether an audit would notice, needs a case in
which everything is known: what was trained on, what is to go, what training left behind, and a
model that never saw it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from auditkit.files import directory_atomic, write_atomic
from auditkit.network.evaluate import logits
from auditkit.network.graph import Dense, Network, Node, Relu, Reshape
from auditkit.network.write_onnx import network_to_onnx
from auditkit.records import Records, write_records
from auditkit.results import plain
from auditkit.unlearning.backdoor import success
from auditkit.unlearning.canaries import (
    PLACED,
    REACTIONS,
    Canaries,
    Role,
    make_canaries,
    write_canaries,
)
from auditkit.unlearning.history import (
    ShardCheckpoints,
    UpdateLog,
    content_digests,
    write_history,
)
from auditkit.unlearning.interface import Progress, Refused
from auditkit.unlearning.logged import together, train_logged
from auditkit.unlearning.scenarios import Request, make_request
from auditkit.unlearning.shards import make_plan, train_shards
from auditkit.unlearning.training import PRACTICE, Recipe, train_from_scratch

MOST_TRAINED, MOST_UNSEEN = 4000, 2000  # unless said
SHARDS, SLICES = 5, 3
HIDDEN = (96, 48)
POOL = 4  # one in so many unseen records may be made into canaries
QUICK_ATTACKS = ("loss", "margin", "modified-entropy", "entropy", "confidence")

Stage = Callable[[str], None]


@dataclass(frozen=True)
class Setup:
    """How a request is made and its network trained; counts that are None follow from the data.

    size, label: as for `make_request`; trained, unseen: how many records for either; hidden: units
    of each hidden layer; domain: lowest and highest value of a feature; canaries: of each role.
    """

    size: int | None = None
    label: int | None = None
    trained: int | None = None
    unseen: int | None = None
    hidden: tuple[int, ...] = HIDDEN
    recipe: Recipe = PRACTICE
    domain: tuple[float, float] = (0.0, 1.0)
    seed: int = 0
    canaries: int = 0


@dataclass(frozen=True)
class Written:
    """What was written: counts of records, and shares answered rightly by model and group.

    trigger: the share of challenges that get the trigger's label, by model; None without a trigger.
    canaries: the SHA-256 of canaries.npz; None without canaries.
    """

    out: Path
    kind: str
    architecture: tuple[int, ...]
    counts: dict[str, int]
    accuracy: dict[str, dict[str, float]]
    trigger: dict[str, float] | None = None
    label: int | None = None
    canaries: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(plain({**self.__dict__, "out": str(self.out)}))

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        n = self.counts
        words = {
            "model": "the model",
            "reference-model": "a reference without them",
            "sisa": "SISA",
        }
        what = {
            "class": f"of class {self.label} ",
            "backdoor": f"poisoned to bring about class {self.label} ",
        }.get(self.kind, "")
        lines = [
            f"{self.out}: {self.kind}, {n['forget']} record(s) {what}to forget of {n['train']}",
            f"networks: {'-'.join(map(str, self.architecture))}; {n['holdout']} unseen records",
        ]
        if n["repeated"]:
            lines.append(f"{n['repeated']} records with the features of another were left out")
        for name, shares in self.accuracy.items():
            said = ", ".join(f"{share:.1%} {group}" for group, share in shares.items())
            lines.append(f"{words[name]} answers rightly: {said}")
        if self.trigger is not None:
            said = ", ".join(f"{share:.1%} {words[name]}" for name, share in self.trigger.items())
            lines.append(f"unseen records with the trigger get its label: {said}")
        if self.canaries is not None:
            lines.append(f"canaries, for the auditor alone: {self.out}/canaries.npz")
            lines.append(f"its SHA-256, to be published before training: {self.canaries}")
        lines.append(f"the plan of an audit of {self.out}/submission: {self.out}/audit.toml")
        return lines


@dataclass(frozen=True, eq=False)
class _Trained:
    model: Network
    reference: Network
    shards: Network
    log: UpdateLog
    checkpoints: ShardCheckpoints


def write_scenario(
    out: Path,
    kind: str,
    records: Records,
    setup: Setup,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    stage: Stage | None = None,
) -> Written:
    """Train networks on records, make a request of this kind, and write all of it to `out`.

    `stage` is told what is being trained. Raises Refused when the records have no such request, or
    are too few; Diverged when training becomes nan; UsageError when `out` cannot be written. Then
    nothing is written.
    """
    train, holdout, repeated = split(records, setup)
    request = make_request(
        kind, train, holdout,
        seed=setup.seed, size=setup.size, label=setup.label, domain=setup.domain,
    )  # fmt: skip
    classes = int(records.y.max()) + 1
    canaries = None
    if setup.canaries:
        request, canaries = plant(request, classes, setup)
    with directory_atomic(out, replace=overwrite) as folder:
        made = _train(request, classes, setup, progress, stage)
        _write(folder, request, made)
        write_atomic(folder / "audit.toml", plan_text(request, setup).encode())
        if canaries is not None:
            write_canaries(folder / "canaries.npz", canaries)
    models = {"model": made.model, "reference-model": made.reference, "sisa": made.shards}
    groups = {"forgotten": request.forget, "retained": request.retain, "unseen": request.holdout}
    return Written(
        out,
        kind,
        (int(np.prod(train.x.shape[1:])), *setup.hidden, classes),
        {
            "train": len(request.train),
            "forget": len(request.forget),
            "retain": len(request.retain),
            "holdout": len(request.holdout),
            "repeated": repeated,
        },
        {
            name: {group: _right(network, r) for group, r in groups.items()}
            for name, network in models.items()
        },
        None
        if request.asked is None
        else {
            name: success(lambda x, n=network: logits(n, x), request.asked)  # type: ignore[misc]
            for name, network in models.items()
        },
        int(request.forget.y[0]) if kind in ("class", "backdoor") else None,
        None if canaries is None else canaries.commitment,
    )


def plant(request: Request, classes: int, setup: Setup) -> tuple[Request, Canaries]:
    """Place canaries in the training records and in the request; a few unseen records are used up.

    Refused where records have an id or a subject, which canaries would not, or are too few.
    """
    if request.train.id is not None or request.train.subject is not None:
        raise Refused("canaries have neither id nor subject, and these records do")
    order = np.random.default_rng([setup.seed, 52]).permutation(len(request.holdout))
    cut = max(len(order) // POOL, PLACED + REACTIONS)
    pool, unseen = np.sort(order[:cut]), np.sort(order[cut:])
    if not len(unseen):
        raise Refused(f"{len(order)} unseen records are too few to make canaries of")
    try:
        canaries = make_canaries(
            request.holdout.take(pool), setup.canaries, classes,
            seed=setup.seed, domain=setup.domain,
        )  # fmt: skip
    except ValueError as error:
        raise Refused(str(error)) from None
    placed = canaries.placed(Role.ANNOUNCED, Role.UNANNOUNCED)
    x, y = (np.concatenate([getattr(request.train, k), getattr(placed, k)]) for k in ("x", "y"))
    chosen = np.concatenate([request.chosen, np.ones(len(placed), dtype=bool)])
    mixed = np.random.default_rng([setup.seed, 53]).permutation(len(y))
    train = replace(request.train, x=x, y=y).take(mixed)
    made = replace(request, train=train, chosen=chosen[mixed], holdout=request.holdout.take(unseen))
    return made, canaries


def split(records: Records, setup: Setup) -> tuple[Records, Records, int]:
    """Return training and unseen records, drawn at random, and how many repeated ones were left.

    A person's records are on one side. Features that occur twice are used once: an unseen record
    that was also trained on would be none. Refused when the records do not suffice.
    """
    different = without_repeats(records)
    left = len(different)
    order = together(different, np.random.default_rng([setup.seed, 42]))
    trained = min(left // 2, MOST_TRAINED) if setup.trained is None else setup.trained
    unseen = min(left - trained, MOST_UNSEEN) if setup.unseen is None else setup.unseen
    if trained < 2 or unseen < 1 or trained + unseen > left:
        raise Refused(f"{left} different records do not give {trained} to train on, {unseen} not")
    train, rest = different.take(order[:trained]), order[trained:]
    if different.subject is not None:
        known = set(train.subject or ())
        rest = rest[[different.subject[i] not in known for i in rest]]
    if (len(rest) < unseen and setup.unseen is not None) or not len(rest):
        raise Refused(f"{len(rest)} records of persons not trained on, {unseen} wanted")
    return train, different.take(rest[:unseen]), len(records) - left


def without_repeats(records: Records) -> Records:
    """Return the records, the first of those that have the same features."""
    same = replace(records, y=np.zeros_like(records.y))
    _, first = np.unique(content_digests(same), axis=0, return_index=True)
    return records.take(np.sort(first))


def dense_network(shape: Sequence[int], hidden: Sequence[int], classes: int) -> Network:
    """Return the fully connected architecture with these hidden layers; its weights are zero."""
    features = int(np.prod(shape))
    nodes = [Node(Reshape((features,)), (0,))] if len(shape) > 1 else []
    widths = (features, *hidden, classes)
    for index, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        if index:
            nodes.append(Node(Relu(), (len(nodes),)))
        dense = Dense(np.zeros((b, a), np.float32), np.zeros(b, np.float32))
        nodes.append(Node(dense, (len(nodes),)))
    return Network(tuple(shape), tuple(nodes), np.dtype(np.float32))


def plan_text(request: Request, setup: Setup) -> str:
    """Return the plan (TOML) of an audit of what is handed over in `submission` beside it."""
    low, high = setup.domain
    trigger = 'trigger = "trigger.npz"\n' if request.asked is not None else ""
    recipe = setup.recipe
    return f"""\
# The auditor's plan. Paths are relative to this file.
title = {json.dumps(f"Practice: {request.kind}")}
submission = "submission"
assertion = "erased"
forget = "forget.npz"
retain = "retain.npz"
holdout = "holdout.npz"
{trigger}seed = {setup.seed}

# Attacks without shadow models take seconds. For the stronger ones write train = "train.npz"
# above, leave names out and say how many shadow models: shadows = 64.
[attack]
names = {json.dumps(list(QUICK_ATTACKS))}
references = ["reference-model.onnx"]

[attack.recipe]
epochs = {recipe.epochs}
learning_rate = {recipe.learning_rate}
batch_size = {recipe.batch_size}
weight_decay = {recipe.weight_decay}
optimizer = {json.dumps(recipe.optimizer)}
momentum = {recipe.momentum}

[threats]

[policy]
domain = [{low!r}, {high!r}]
"""


def _train(
    request: Request, classes: int, setup: Setup, progress: Progress | None, stage: Stage | None
) -> _Trained:
    def say(name: str) -> None:
        if stage is not None:
            stage(name)

    train, recipe, seed = request.train, setup.recipe, setup.seed
    blank = dense_network(train.x.shape[1:], setup.hidden, classes)
    say("the model")
    model, log = train_logged(blank, train, recipe, seed, progress=progress)
    say("a reference")
    reference = train_from_scratch(blank, request.retain, recipe, seed + 1, progress=progress)
    say("shards")
    largest = max(map(abs, setup.domain))
    plan = make_plan(train, recipe, seed, shards=SHARDS, slices=SLICES, largest=largest)
    shards, checkpoints = train_shards(blank, train, plan, progress=progress)
    return _Trained(model, reference, shards, log, checkpoints)


def _write(folder: Path, request: Request, made: _Trained) -> None:
    for name in ("forget", "retain", "holdout", "train"):
        write_records(folder / f"{name}.npz", getattr(request, name))
    if request.asked is not None:
        write_records(folder / "trigger.npz", request.asked)
        # forget.npz is what the owner knows, which detection may replace; this stays the truth.
        write_records(folder / "poisoned.npz", request.forget)
    write_atomic(folder / "model.onnx", network_to_onnx(made.model))
    write_atomic(folder / "reference-model.onnx", network_to_onnx(made.reference))
    write_history(folder / "history.safetensors", made.log)
    (folder / "sisa").mkdir()
    write_atomic(folder / "sisa" / "model.onnx", network_to_onnx(made.shards))
    write_history(folder / "sisa" / "history.safetensors", made.checkpoints)


def _right(network: Network, records: Records) -> float:
    return float((logits(network, records.x).argmax(axis=1) == records.y).mean())
