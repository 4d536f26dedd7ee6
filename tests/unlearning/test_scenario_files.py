"""Requests to practise on: what is written is what it says, and nobody is on two sides."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.audit.plan import read_plan
from auditkit.network.evaluate import logits
from auditkit.network.read import load_network
from auditkit.records import Records, read_records
from auditkit.unlearning.history import ShardCheckpoints, UpdateLog, content_digests, read_history
from auditkit.unlearning.interface import Refused
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.scenario_files import Setup, split, write_scenario
from auditkit.unlearning.scenarios import KINDS
from auditkit.unlearning.training import PRACTICE

QUICK = Setup(
    trained=300, unseen=200, hidden=(24,), recipe=replace(PRACTICE, epochs=6, learning_rate=0.01)
)


def digests(records: Records) -> set[bytes]:
    return {row.tobytes() for row in content_digests(records)}


def read(folder: Path, name: str) -> Records:
    return read_records(folder / f"{name}.npz", (8, 8), 10)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_hangs_together(kind: str, tmp_path: Path) -> None:
    out = tmp_path / kind
    written = write_scenario(out, kind, read_records("digits"), QUICK)
    parts = {name: digests(read(out, name)) for name in ("train", "forget", "retain", "holdout")}
    assert parts["forget"] | parts["retain"] == parts["train"] and parts["forget"]
    assert not parts["forget"] & parts["retain"] and not parts["train"] & parts["holdout"]
    assert written.counts["forget"] == len(parts["forget"])
    plan = read_plan(out / "audit.toml")
    assert plan.submission == out / "submission" and plan.assertion == "erased"
    assert all(path.is_file() for path in (*plan.records.values(), *plan.references))
    assert ("trigger" in plan.records) == (kind == "backdoor")
    network = load_network(out / "model.onnx")
    seen = read(out, "train")
    right = float((logits(network, seen.x).argmax(axis=1) == seen.y).mean())
    groups = written.accuracy["model"]
    parts_of = (len(parts["forget"]), len(parts["retain"]))
    said = np.average([groups["forgotten"], groups["retained"]], weights=parts_of)
    assert right == pytest.approx(said, abs=1e-3) and right > 0.6


def test_the_histories_are_those_of_the_models(tmp_path: Path) -> None:
    out = tmp_path / "s"
    write_scenario(out, "subset", read_records("digits"), replace(QUICK, size=20))
    network, shards = load_network(out / "model.onnx"), load_network(out / "sisa" / "model.onnx")
    log = read_history(out / "history.safetensors", network)
    checkpoints = read_history(out / "sisa" / "history.safetensors", shards)
    assert isinstance(log, UpdateLog) and isinstance(checkpoints, ShardCheckpoints)
    forget, retain = read(out, "forget"), read(out, "retain")
    for method, model, history in (("amnesiac", network, log), ("sisa", shards, checkpoints)):
        made = unlearn(method, model, forget, retain, history=history)
        assert made.used["history"] is True


def test_a_trigger_works_on_the_model_and_not_on_the_reference(tmp_path: Path) -> None:
    out = tmp_path / "s"
    setup = replace(QUICK, recipe=replace(PRACTICE, epochs=25), label=4)
    written = write_scenario(out, "backdoor", read_records("digits"), setup)
    trigger = read(out, "trigger")
    assert set(trigger.y.tolist()) == {4} and written.label == 4
    assert digests(read(out, "poisoned")) == digests(read(out, "forget"))
    shares = {
        name: float((logits(load_network(out / f"{name}.onnx"), trigger.x).argmax(1) == 4).mean())
        for name in ("model", "reference-model")
    }
    assert shares["model"] > 0.8 and shares["reference-model"] < 0.1
    assert written.trigger is not None
    assert written.trigger["model"] == pytest.approx(shares["model"], abs=0.01)


def test_nobody_is_on_two_sides() -> None:
    x = np.random.default_rng(0).random((60, 4), np.float32)
    x[40:] = x[:20]  # the same features again, some with another label
    subject = tuple(f"p{i % 12}" for i in range(60))
    records = Records(x, np.arange(60) % 3, None, subject)
    train, holdout, repeated = split(records, Setup(trained=18))
    assert (len(train), repeated) == (18, 20)
    assert train.subject is not None and holdout.subject is not None
    assert not set(train.subject) & set(holdout.subject)
    assert len(np.unique(np.concatenate([train.x, holdout.x]), axis=0)) == 18 + len(holdout)


def test_too_much_is_refused_and_nothing_written(tmp_path: Path) -> None:
    digits = read_records("digits")
    for setup, said in (
        (Setup(trained=1700, unseen=200), "do not give"),
        (Setup(size=900), "to forget of"),
        (Setup(label=11), "class 11"),
    ):
        kind = "class" if setup.label else "subset"
        with pytest.raises(Refused, match=said):
            write_scenario(tmp_path / "s", kind, digits, setup)
    assert not list(tmp_path.iterdir())


def test_the_plan_carries_the_domain(tmp_path: Path) -> None:
    domain = (-1.0, 1.0)
    records = read_records("digits", domain=domain)
    write_scenario(tmp_path / "s", "backdoor", records, replace(QUICK, domain=domain))
    values = tomllib.loads((tmp_path / "s" / "audit.toml").read_text())
    assert values["policy"]["domain"] == [-1.0, 1.0]
    x = read_records(tmp_path / "s" / "train.npz", domain=domain).x
    assert float(x.min()) == -1.0
