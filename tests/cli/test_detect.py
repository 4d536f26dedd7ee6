"""`auditkit detect` at the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from auditkit.network.write_onnx import network_to_onnx
from auditkit.records import Records, read_records, write_records
from auditkit.unlearning.backdoor import choose_trigger, poison
from auditkit.unlearning.training import train_from_scratch
from tests.unlearning.conftest import RECIPE, TARGET, dense, split

from .conftest import Auditkit


def _files(folder: Path, train: Records) -> tuple[object, ...]:
    (folder / "m.onnx").write_bytes(
        network_to_onnx(train_from_scratch(dense(), train, RECIPE, seed=0))
    )
    write_records(folder / "train.npz", train)
    return ("--model", folder / "m.onnx", "--train", folder / "train.npz")


def test_suspects_and_the_rest_are_written(tmp_path: Path, auditkit: Auditkit) -> None:
    train, _ = split()
    bad, rows = poison(train, choose_trigger(train, TARGET), 0.08, 0)
    files, out, rest = _files(tmp_path, bad), tmp_path / "s.npz", tmp_path / "r.npz"
    done = auditkit("detect", *files, "--out", out, "--rest", rest)
    assert done.code == 0, done.err
    assert f"class {TARGET}: " in done.out and "suspects written to" in done.out
    suspects, others = read_records(out), read_records(rest)
    assert set(suspects.y) == {TARGET} and len(suspects) + len(others) == len(bad)
    stamped = {row.tobytes() for row in bad.x[rows]}
    assert sum(row.tobytes() in stamped for row in suspects.x) > 0.8 * len(rows)


def test_nothing_is_written_where_none_is_found(tmp_path: Path, auditkit: Auditkit) -> None:
    files, out = _files(tmp_path, split()[0]), tmp_path / "s.npz"
    rest = tmp_path / "r.npz"
    done = auditkit("detect", *files, "--out", out, "--rest", rest)
    assert done.code == 0 and done.out.startswith("none found")
    assert "does not show that there is none" in done.out
    assert not out.exists() and not rest.exists()
    said = json.loads(auditkit("detect", *files, "--out", out, "--label", "3", "--json").out)
    assert (said["suspects"], said["out"]) == (0, None)
    assert [c["label"] for c in said["classes"]] == [3]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--label", "11"), "11, which none of them has"),
        (("--recipe", "epochs"), "NAME=VALUE"),
        (("--recipe", "epochs=0"), "epochs and batch_size must be at least 1"),
        (("--recipe", "pace=1"), "not 'pace'"),
        (("--recipe", "learning_rate=1e30"), "the loss became"),
        (("--domain", "2", "1"), "a lower and a higher"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    more: tuple[str, ...], said: str, tmp_path: Path, auditkit: Auditkit
) -> None:
    train = split()[0].take(np.arange(60))
    (tmp_path / "m.onnx").write_bytes(network_to_onnx(dense()))
    write_records(tmp_path / "t.npz", train)
    out = tmp_path / "s.npz"
    files = ("--model", tmp_path / "m.onnx", "--train", tmp_path / "t.npz", "--out", out)
    done = auditkit("detect", *files, *more)
    assert done.code == 2 and said in done.err, done.err
    assert done.err.count("\n") == 1 and not out.exists()
