"""A history comes back as it was, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit.errors import EvidenceError
from auditkit.network.graph import Network
from auditkit.tensors import read_safetensors, write_safetensors
from auditkit.unlearning.history import (
    ShardCheckpoints,
    UpdateLog,
    content_digests,
    read_history,
    write_history,
)
from auditkit.unlearning.logged import train_logged
from auditkit.unlearning.shards import make_plan, train_shards
from auditkit.unlearning.training import Recipe, fresh
from tests.unlearning.conftest import dense, split

RECIPE = Recipe(epochs=2, learning_rate=0.5, weight_decay=1.0, optimizer="sgd", momentum=0.0)


def log() -> tuple[Network, UpdateLog]:
    return train_logged(dense(), split()[0].take(range(200)), RECIPE, seed=0)


def shards() -> tuple[Network, ShardCheckpoints]:
    train = split()[0].take(range(200))
    return train_shards(dense(), train, make_plan(train, RECIPE, 1 << 62, shards=2, slices=3))


def test_a_log_comes_back_as_it_was(tmp_path: Path) -> None:
    network, history = log()
    write_history(tmp_path / "h.safetensors", history)
    back = read_history(tmp_path / "h.safetensors", network)
    assert isinstance(back, UpdateLog) and back.network == history.network
    for name in ("records", "batch", "updates"):
        np.testing.assert_array_equal(getattr(back, name), getattr(history, name))


def test_shards_come_back_as_they_were(tmp_path: Path) -> None:
    network, history = shards()
    write_history(tmp_path / "h.safetensors", history)
    back = read_history(tmp_path / "h.safetensors", network)
    assert isinstance(back, ShardCheckpoints)
    np.testing.assert_array_equal(back.checkpoints, history.checkpoints)
    for name in ("shards", "slices", "recipe", "seed", "largest"):
        assert getattr(back.plan, name) == getattr(history.plan, name)
    for name in ("records", "count", "shard", "slice"):
        np.testing.assert_array_equal(getattr(back.plan, name), getattr(history.plan, name))


@pytest.mark.parametrize("make", [log, shards])
def test_the_history_of_another_network_is_refused(tmp_path: Path, make: Any) -> None:
    _, history = make()
    write_history(tmp_path / "h.safetensors", history)
    with pytest.raises(EvidenceError, match="expected the history of this network"):
        read_history(tmp_path / "h.safetensors", fresh(dense(), 5).network())


CHANGES: dict[str, tuple[Any, dict[str, Any], dict[str, str], str]] = {
    "schema": (log, {}, {"schema": "x"}, "schema"),
    "kind": (log, {}, {"kind": "x"}, "of updates or of shards"),
    "tensor missing": (log, {"batch": None}, {}, "the tensors"),
    "tensor too many": (log, {"more": np.zeros(1)}, {}, "the tensors"),
    "digests": (log, {"records": np.zeros((200, 31), np.uint8)}, {}, "tensor records"),
    "batch dtype": (log, {"batch": np.zeros(200, np.int64)}, {}, "tensor batch"),
    "batch without records": (log, {"batch": np.zeros(200, np.int32)}, {}, "every batch"),
    "parameters": (log, {"updates": np.zeros((4, 7), np.float32)}, {}, "tensor updates"),
    "scalar": (log, {"updates": np.float32(1)}, {}, "single number"),
    "shard": (shards, {"shard": np.full(200, 2, np.int32)}, {}, "that there are"),
    "slice": (shards, {"slice": np.full(200, -1, np.int32)}, {}, "that there are"),
    "count": (shards, {"count": np.zeros(200, np.int32)}, {}, "each content once"),
    "twice": (shards, {"records": np.zeros((200, 32), np.uint8)}, {}, "each content once"),
    "how": (shards, {}, {"how": "{}"}, "a description"),
    "no json": (shards, {}, {"how": "{"}, "a description"),
    "half a pair": (shards, {}, {"how": '"\\ud800"'}, "a description"),
    "seed": (shards, {}, {"how": "seed -1"}, "a description"),
    "largest": (shards, {}, {"how": "largest 0"}, "a description"),
    "recipe": (shards, {}, {"how": "epochs 0"}, "a description"),
    "types": (shards, {}, {"how": "epochs text"}, "a description"),
    "shards": (shards, {}, {"how": "shards 3"}, "no mean of 3 networks"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_else_is_refused_with_what_is_wrong(tmp_path: Path, change: str) -> None:
    make, tensors, words, message = CHANGES[change]
    network, history = make()
    path = tmp_path / "h.safetensors"
    write_history(path, history)
    kept, said = read_safetensors(path.read_bytes(), "h")
    kept.update(tensors)
    path.write_bytes(
        write_safetensors(
            {k: v for k, v in kept.items() if v is not None},
            {**said, **{k: _edited(said.get(k, ""), v) for k, v in words.items()}},
        )
    )
    with pytest.raises(EvidenceError, match=message):
        read_history(path, network)


@pytest.mark.parametrize("make", [log, shards])
def test_a_changed_or_missing_byte_ends_in_a_refusal_or_in_a_whole_history(
    tmp_path: Path, make: Any
) -> None:
    network, history = make()
    path = tmp_path / "h.safetensors"
    write_history(path, history)
    data = path.read_bytes()
    generator = np.random.default_rng(0)
    header = int.from_bytes(data[:8], "little") + 8
    for at in [*generator.integers(0, header, 30), *generator.integers(header, len(data), 10)]:
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x21]) + data[at + 1 :])
        try:
            read_history(path, network)
        except EvidenceError:
            continue
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(EvidenceError):
        read_history(path, network)


def test_digests_know_content_and_label_and_nothing_else() -> None:
    train = split()[0].take(range(4))
    digests = content_digests(train)
    assert len({row.tobytes() for row in digests}) == 4
    y = train.y.copy()
    y[0] += 1
    relabelled = content_digests(type(train)(-0.0 + train.x, y))
    assert (relabelled[1:] == digests[1:]).all() and (relabelled[0] != digests[0]).any()


def _edited(how: str, change: str) -> str:
    """Return a description with one value changed, or the text that takes its place."""
    edits = {
        "seed -1": (f'"seed":"{1 << 62}"', '"seed":"-1"'),
        "largest 0": ('"largest":1', '"largest":0'),
        "epochs 0": ('"epochs":2', '"epochs":0'),
        "epochs text": ('"epochs":2', '"epochs":"2"'),
        "shards 3": ('"shards":2', '"shards":3'),
    }
    if change not in edits:
        return change
    assert edits[change][0] in how
    return how.replace(*edits[change])
