"""`auditkit scenario` at the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditkit.cli import scenario as command
from auditkit.unlearning.scenarios import KINDS

from .conftest import Auditkit

QUICK = ("--trained", 200, "--unseen", 100, "--architecture", "12", "--recipe", "epochs=2")


def test_help_knows_every_kind() -> None:
    assert command.KINDS == KINDS


def test_same_seed_same_bytes(tmp_path: Path, auditkit: Auditkit) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        done = auditkit("scenario", "class", *QUICK, "--out", folder, "--seed", seed, "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["counts"]["train"] == 200
    found = [
        {p.relative_to(f).as_posix(): p.read_bytes() for p in f.rglob("*") if p.is_file()}
        for f in folders
    ]
    assert found[0] == found[1] and "sisa/history.safetensors" in found[0]
    assert found[0]["model.onnx"] != found[2]["model.onnx"]


def test_an_existing_folder_is_replaced_only_when_told(tmp_path: Path, auditkit: Auditkit) -> None:
    out = tmp_path / "s"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert auditkit("scenario", "subset", *QUICK, "--out", out).code == 2
    assert (out / "mine.txt").is_file()
    assert auditkit("scenario", "subset", *QUICK, "--out", out, "--replace").code == 0
    assert not (out / "mine.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("order",), "invalid choice"),
        (("subset", "--architecture", "96,x"), "'96,x'"),
        (("subset", "--architecture", "0"), "'0'"),
        (("subset", "--recipe", "pace=3"), "not 'pace'"),
        (("subset", "--recipe", "epochs=0"), "at least 1"),
        (("subset", "--recipe", "learning_rate=1e30"), "nan"),
        (("class", "--label", 12), "class 12"),
        (("subset", "--data", "nowhere.npz"), "nowhere.npz"),
    ],
)
def test_a_mistake_is_said_in_one_line(
    arguments: tuple[object, ...], said: str, tmp_path: Path, auditkit: Auditkit
) -> None:
    done = auditkit("scenario", *arguments, "--out", tmp_path / "s")
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "s").exists()
