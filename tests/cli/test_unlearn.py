"""`auditkit unlearn` at the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from auditkit.cli import unlearn as command
from auditkit.unlearning.interface import Scenario
from auditkit.unlearning.registry import METHODS

from .conftest import CLASSES, Auditkit, some_records


@pytest.fixture
def files(model: Path, tmp_path: Path) -> tuple[object, ...]:
    """Options that name model and records."""
    options: list[object] = ["--model", model]
    for seed, (name, count) in enumerate((("forget", 6), ("retain", 30), ("holdout", 30))):
        path = tmp_path / f"{name}.npz"
        np.savez(path, x=some_records(count, seed), y=np.arange(count) % CLASSES)
        options += [f"--{name}", path]
    return tuple(options)


def test_help_knows_every_method() -> None:
    assert tuple(METHODS) == command.METHODS
    assert tuple(Scenario) == command.SCENARIOS


def test_a_submission_is_made_and_named(
    files: tuple[object, ...], tmp_path: Path, auditkit: Auditkit
) -> None:
    out = tmp_path / "unlearned"
    done = auditkit("unlearn", "retrain", *files, "--set", "epochs=2", "--out", out, "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["method"], said["scenario"], said["settings"]["epochs"]) == (
        "retrain", "subset", 2,
    )  # fmt: skip
    names = {path.name for path in out.iterdir()}
    assert names == {"model.onnx", "unlearned.onnx", "claim.json", "forget.npz"}
    again = auditkit("unlearn", "retrain", *files, "--out", out)
    assert again.code == 2 and "a folder with files in it" in again.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("retrian",), "did you mean retrain?"),
        (("retrain", "--set", "epochs"), "NAME=VALUE"),
        (("retrain", "--set", "pace=3"), "not 'pace'"),
        (("retrain", "--scenario", "class"), "retained records have class"),
        (("prune", "--scenario", "backdoor"), "prune does subset, class, not backdoor"),
        (("sisa",), "needs what training left behind"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...],
    said: str,
    files: tuple[object, ...],
    tmp_path: Path,
    auditkit: Auditkit,
) -> None:
    out = tmp_path / "none"
    name, *rest = arguments
    done = auditkit("unlearn", name, *files, *rest, "--out", out)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1
    assert not out.exists()
