"""A log of training: the training it logs is the usual one, and it comes back as it was."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit.errors import EvidenceError
from auditkit.network.graph import Network
from auditkit.tensors import read_safetensors, write_safetensors
from auditkit.unlearning.replay import (
    State,
    Trainer,
    content_order,
    first_weights,
    network_at,
    train_with_log,
)
from auditkit.unlearning.training import Recipe, train_from_scratch
from auditkit.unlearning.training_log import (
    TrainingLog,
    as_names,
    digest_table,
    read_training_log,
    write_training_log,
)
from auditkit.unlearning.weights import weights_of
from tests.unlearning.conftest import convolutional, dense, split

KEY = b"k" * 32
RECIPES = {
    "adam": Recipe(epochs=3, learning_rate=2e-3, weight_decay=1e-4),
    "sgd": Recipe(epochs=3, learning_rate=0.05, optimizer="sgd"),
    "plain": Recipe(epochs=3, learning_rate=0.1, optimizer="sgd", momentum=0.0),
}
FIELDS = ("records", "batches", "steps", "weights", "moments")


@cache
def example(name: str = "adam") -> tuple[Network, TrainingLog]:
    return train_with_log(dense(), split()[0].take(range(150)), RECIPES[name], 5, KEY, every=4)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("architecture", [dense, convolutional])
def test_it_is_the_usual_training(name: str, architecture: Any) -> None:
    records = split()[0].take(range(150))
    network, log = train_with_log(architecture(), records, RECIPES[name], 5, KEY, every=4)
    usual = train_from_scratch(architecture(), records, RECIPES[name], 5)
    np.testing.assert_array_equal(weights_of(network), weights_of(usual))
    np.testing.assert_array_equal(weights_of(network_at(network, log, -1)), weights_of(network))
    np.testing.assert_array_equal(first_weights(network, log), log.weights[0])
    assert log.steps.tolist() == [0, 4, 8, 9] and len(log.batches) == 9
    assert not log.moments[0].any()
    used = np.bincount(log.batches[log.batches >= 0], minlength=150)
    assert (used == 3).all()


@pytest.mark.parametrize("name", RECIPES)
def test_a_stretch_is_replayed_to_the_last_bit(name: str) -> None:
    network, log = example(name)
    records = split()[0].take(range(150))
    trainer = Trainer(network, records, log.recipe, log.largest)
    for index in (1, 0):
        trainer.load(State(log.weights[index], log.moments[index]), int(log.steps[index]))
        trainer.run(log.rows(s) for s in range(log.steps[index], log.steps[index + 1]))
        end = trainer.state()
        np.testing.assert_array_equal(end.weights, log.weights[index + 1])
        np.testing.assert_array_equal(end.moments, log.moments[index + 1])


def test_the_auditors_order_leaves_no_choice() -> None:
    records = split()[0].take(range(150))
    shuffled = records.take(np.random.default_rng(1).permutation(150))
    logs = [train_with_log(dense(), r, RECIPES["sgd"], 5, KEY, order_seed=9)[1]
            for r in (records, shuffled)]  # fmt: skip
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(logs[0], name), getattr(logs[1], name))
    # nothing of the owner's has a say: another key and another seed give the same training
    network, other = train_with_log(dense(), records, RECIPES["sgd"], 6, b"x", order_seed=9)
    for name in FIELDS[1:]:
        np.testing.assert_array_equal(getattr(logs[0], name), getattr(other, name))
    assert other.seed == logs[0].seed == 9
    np.testing.assert_array_equal(first_weights(network, other), other.weights[0])
    ordered = records.take(content_order(records))
    np.testing.assert_array_equal(logs[0].records, digest_table(ordered, KEY))
    assert content_order(shuffled).tolist() != content_order(records).tolist()


@pytest.mark.parametrize("name", RECIPES)
def test_a_log_comes_back_as_it_was_in_the_same_bytes(name: str, tmp_path: Path) -> None:
    network, log = example(name)
    write_training_log(tmp_path / "a.safetensors", log)
    back = read_training_log(tmp_path / "a.safetensors", network)
    assert (back.recipe, back.seed, back.largest) == (log.recipe, log.seed, log.largest)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(back, field), getattr(log, field))
    write_training_log(tmp_path / "b.safetensors", back)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


TABLE = example()[1].batches
CHANGES: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "schema": ({}, {"schema": "x"}, "schema"),
    "more words": ({}, {"more": "x"}, "schema"),
    "tensor missing": ({"steps": None}, {}, "the tensors"),
    "tensor too many": ({"more": np.zeros(1)}, {}, "the tensors"),
    "scalar": ({"steps": np.int64(0)}, {}, "a row a record"),
    "flat batches": ({"batches": TABLE.reshape(-1)}, {}, "a row a record"),
    "digests": ({"records": np.zeros((150, 31), np.uint8)}, {}, "tensor records"),
    "dtype": ({"batches": TABLE.astype(np.int64)}, {}, "tensor batches"),
    "parameters": ({"weights": np.zeros((4, 7), np.float32)}, {}, "tensor weights"),
    "moments": ({"moments": np.zeros((4, 1, 11386), np.float32)}, {}, "tensor moments"),
    "no steps": ({"batches": TABLE[:0]}, {}, "steps"),
    "empty batch": ({"batches": np.full_like(TABLE, -1)}, {}, "a record in every batch"),
    "gap": ({"batches": TABLE[:, ::-1]}, {}, "a record in every batch"),
    "row": ({"batches": np.where(TABLE == 0, 150, TABLE)}, {}, "records that are listed"),
    "below": ({"batches": np.where(TABLE == -1, -2, TABLE)}, {}, "records that are listed"),
    "backwards": ({"steps": np.array([0, 8, 4, 9])}, {}, "ever more"),
    "beyond": ({"steps": np.array([0, 4, 8, 10])}, {}, "ever more"),
    "negative": ({"steps": np.array([-1, 4, 8, 9])}, {}, "ever more"),
    "batch too large": ({}, {"how": '"batch_size":64 "batch_size":63'}, "batches of at most 63"),
    "no json": ({}, {"how": "{"}, "a description"),
    "half a pair": ({}, {"how": '"\\ud800"'}, "a description"),
    "list": ({}, {"how": "[]"}, "a description"),
    "seed": ({}, {"how": '"seed":"5" "seed":5'}, "a description"),
    "largest": ({}, {"how": '"largest":1 "largest":0'}, "a description"),
    "huge": ({}, {"how": '"largest":1 "largest":1e300'}, "a description"),
    "recipe": ({}, {"how": '"epochs":3 "epochs":0'}, "a description"),
    "rate": ({}, {"how": '"momentum":0.9 "momentum":-1'}, "a description"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_else_is_refused_with_what_is_wrong(tmp_path: Path, change: str) -> None:
    network, log = example()
    path = tmp_path / "l.safetensors"
    write_training_log(path, log)
    kept, said = read_safetensors(path.read_bytes(), "l")
    tensors, words, message = CHANGES[change]
    kept.update(tensors)
    for name, value in words.items():
        old, _, new = value.partition(" ")
        said[name] = said[name].replace(old, new) if new else value
    path.write_bytes(write_safetensors({k: v for k, v in kept.items() if v is not None}, said))
    with pytest.raises(EvidenceError, match=message):
        read_training_log(path, network)


def test_a_changed_or_missing_byte_ends_in_a_refusal_or_in_a_whole_log(tmp_path: Path) -> None:
    network, log = example("plain")
    path = tmp_path / "l.safetensors"
    write_training_log(path, log)
    data = path.read_bytes()
    generator = np.random.default_rng(0)
    header = int.from_bytes(data[:8], "little") + 8
    for at in [*generator.integers(0, header, 60), *generator.integers(header, len(data), 20)]:
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x21]) + data[at + 1 :])
        try:
            read_training_log(path, network)
        except EvidenceError as error:
            assert str(error).isprintable()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(EvidenceError):
        read_training_log(path, network)


def test_a_log_says_nothing_without_the_key() -> None:
    records = split()[0].take(range(4))
    assert not (digest_table(records, KEY) == digest_table(records, b"x")).all(axis=1).any()
    log = replace(example()[1], records=digest_table(split()[0].take(range(150)), b"x"))
    assert not np.isin(as_names(log.records), as_names(example()[1].records)).any()
