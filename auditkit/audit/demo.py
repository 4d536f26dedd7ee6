"""The whole story on real data: one owner who is honest about redirection, one who cheats.

A network is trained, a deletion request comes, the owner patches the network so that it answers at
the forgotten records as a model does that never saw them, and an auditor checks. The second owner
hands over the same certificate with a gate more than was asked for and an export that leaves
forgotten records as they were.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attacks.shadows import Recipe, train_one
from auditkit.audit.run import run_audit
from auditkit.certificate.identity import derived_key
from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import load_patch_submission
from auditkit.errors import UsageError, callers_own
from auditkit.files import directory_atomic, write_atomic
from auditkit.network.evaluate import logits
from auditkit.network.graph import Dense, Network, Node, Relu, Reshape
from auditkit.network.write_onnx import network_to_onnx
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records, read_records, write_records
from auditkit.threats.interface import Owner
from auditkit.threats.registry import chosen

Progress = Callable[[int, int], None]

FORGOTTEN = 100
TRAINED = 900
UNSEEN = 700
HIDDEN = (192, 96)
RECIPE = Recipe(epochs=60, learning_rate=2e-3, batch_size=64)
SHADOWS = 24
CHEATS = ("smuggled-gate", "patch-bait")


@dataclass(frozen=True, eq=False)
class Data:
    """Disjoint sets of records; `forget` and `retain` together are what was trained on."""

    forget: Records
    retain: Records
    holdout: Records

    @property
    def train(self) -> Records:
        return Records(
            np.concatenate([self.forget.x, self.retain.x]),
            np.concatenate([self.forget.y, self.retain.y]),
        )


def run_demo(
    out: Path, *, data: str = "digits", seed: int = 0, progress: Progress | None = None
) -> list[str]:
    """Write the demo to `out` and return what to tell the user, line by line.

    `data` is "digits" or a folder with MNIST-style IDX files. Raises UsageError when `out` exists
    and is not an earlier demo, or the data are too few.
    """
    _refuse_other(out)
    records = _split(data, seed)
    with directory_atomic(out, replace=True) as folder:
        lines = _tell(folder, out, records, seed, progress)
    return lines


def _tell(folder: Path, out: Path, data: Data, seed: int, progress: Progress | None) -> list[str]:
    network = train_network(data.train, seed)
    reference = train_network(data.retain, seed + 1)
    sets = folder / "data"
    sets.mkdir()
    for name in ("forget", "retain", "holdout", "train"):
        write_records(sets / f"{name}.npz", getattr(data, name))
    write_atomic(sets / "reference-model.onnx", network_to_onnx(reference))
    accuracy = {
        name: float((logits(network, r.x).argmax(axis=1) == r.y).mean())
        for name, r in (("trained on", data.train), ("unseen", data.holdout))
    }
    settings = resolve_settings("reference", seed=seed)
    made = make_submission(
        network,
        data.forget,
        settings,
        folder / "submission",
        reference_network=reference,
        key=derived_key(seed, data.forget),
    )
    _write_plan(
        folder,
        "Demo: an owner who is honest about redirection",
        seed,
        f"""\
shadows = {SHADOWS}

[attack.recipe]
epochs = {RECIPE.epochs}
learning_rate = {RECIPE.learning_rate}
batch_size = {RECIPE.batch_size}
""",
    )
    honest = run_audit(folder / "audit.toml", folder, progress=progress)

    cheat = folder / "dishonest"
    cheat.mkdir()
    submission = load_patch_submission(folder / "submission")
    step = Owner(submission, unseen=data.holdout)
    for index, name in enumerate(CHEATS):
        last = index == len(CHEATS) - 1
        place = cheat / ("submission" if last else f"step-{index}")
        [behaviour] = chosen([name])
        step = behaviour.simulate(step, place, seed=seed)
    for index in range(len(CHEATS) - 1):
        shutil.rmtree(cheat / f"step-{index}")
    quick = 'names = ["loss", "margin", "neighbourhood", "patch-support"]\n'
    _write_plan(cheat, "Demo: an owner who cheats", seed, quick, data="../data")
    caught = run_audit(cheat / "audit.toml", cheat, progress=progress)

    failed = [c for c in caught.checks if c.outcome.value == "fail" and c.severity == "failure"]
    return [
        f"Trained a {network.features}-{'-'.join(map(str, HIDDEN))}-{network.classes} network: "
        f"{accuracy['trained on']:.1%} on what it was trained on, {accuracy['unseen']:.1%} unseen.",
        f"{len(data.forget)} of its {len(data.train)} training records are to be forgotten.",
        *made.lines()[1:],
        "",
        f"Honest owner: {honest.outcome.value.upper()}. {honest.details['sentence']}",
        f"  Outputs redirected:  {honest.details['outputs_redirected']['outcome'].upper()}. "
        f"{honest.details['outputs_redirected']['sentence']}",
        f"  Information removed: {honest.details['information_removed']['outcome'].upper()}. "
        f"{honest.details['information_removed']['sentence']}",
        f"  Report: {out / 'report.html'}",
        "",
        f"Owner who cheats: {caught.outcome.value.upper()}. {caught.details['sentence']}",
        *(f"  {check.id}: {check.reason}" for check in failed),
        f"  Report: {out / 'dishonest' / 'report.html'}",
    ]


def train_network(records: Records, seed: int) -> Network:
    """Train the demo's network on records, from scratch."""
    features = int(np.prod(records.x.shape[1:]))
    classes = int(records.y.max()) + 1
    layers = train_one((features, *HIDDEN, classes), records.x, records.y, RECIPE, seed)
    shape = records.x.shape[1:]
    nodes: list[Node] = []
    if len(shape) > 1:
        nodes.append(Node(Reshape((features,)), (0,)))
    for weight, bias in layers:
        if nodes and isinstance(nodes[-1].operator, Dense):
            nodes.append(Node(Relu(), (len(nodes),)))
        nodes.append(Node(Dense(weight, bias), (len(nodes),)))
    return Network(tuple(shape), tuple(nodes), np.dtype(np.float32))


def _split(data: str, seed: int) -> Data:
    with callers_own():
        records = read_records(data)
    generator = np.random.default_rng([seed, 42])
    order = generator.permutation(len(records))
    wanted = TRAINED + UNSEEN
    if len(records) < wanted:
        raise UsageError(
            f"--data {data}",
            expected=f"at least {wanted} records",
            found=f"{len(records)}",
            remedy="give more, or leave it at digits",
        )
    forget, retain, holdout = np.split(order[:wanted], [FORGOTTEN, TRAINED])
    return Data(records.take(forget), records.take(retain), records.take(holdout))


def _write_plan(folder: Path, title: str, seed: int, attack: str, data: str = "data") -> None:
    plan = f"""\
# The auditor's plan. Paths are relative to this file.
title = "{title}"
submission = "submission"
forget = "{data}/forget.npz"
retain = "{data}/retain.npz"
holdout = "{data}/holdout.npz"
train = "{data}/train.npz"
seed = {seed}

[compare]
recompute = true
reference_model = "{data}/reference-model.onnx"

[threats]

[attack]
references = ["{data}/reference-model.onnx"]
margin = 0.05
{attack}"""
    write_atomic(folder / "audit.toml", plan.encode())


def _refuse_other(out: Path) -> None:
    """Replace an earlier demo, nothing else."""
    if not out.exists():
        return
    if out.is_dir() and ((out / "audit.toml").is_file() or not any(out.iterdir())):
        return
    raise UsageError(
        str(out),
        expected="a new directory, or that of an earlier demo",
        found="something else",
        remedy="name another with --out",
    )
