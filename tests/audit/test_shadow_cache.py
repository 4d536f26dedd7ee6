"""Scores of shadow models kept between audits: the same record, and a line when they do not fit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from auditkit.audit.plan import read_plan
from auditkit.audit.run import run_audit
from auditkit.cli.main import main
from auditkit.errors import ToolError, UsageError
from tests.audit.test_run import case, read
from tests.certificate.conftest import small_world

pytest.importorskip("torch")

CACHE = 'shadow_cache = "scores/here"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audit of a plan without a cache, and then the plan with one."""
    place = tmp_path_factory.mktemp("cached")
    case(place, small_world(7, records=30))
    text = (place / "audit.toml").read_text()
    run_audit(place / "audit.toml", place / "out")
    assert not (place / "scores").exists()
    (place / "audit.toml").write_text(text.replace("[attack]\n", "[attack]\n" + CACHE))
    return place


def attack(folder: Path, *more: object) -> int:
    return main(
        ["attack", str(folder / "submission")]
        + [f"--{name}={folder / name}.npz" for name in ("holdout", "retain", "train")]
        + ["--shadows", "4", "--attack", "lira-online", *map(str, more)]
    )


def test_the_record_does_not_tell_whether_scores_were_kept(folder: Path):
    plain = (folder / "out" / "record.json").read_bytes()
    for name in ("first", "second"):
        run_audit(folder / "audit.toml", folder / name)
        assert (folder / name / "record.json").read_bytes() == plain
    assert (folder / "scores" / "here" / "manifest.json").is_file()
    assert read(folder / "out" / "record.json")["methods"]["sample_sizes"]["shadows"] == 4


def test_another_seed_is_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]):
    run_audit(folder / "audit.toml", folder / "first")
    plan, out = str(folder / "audit.toml"), str(folder / "third")
    assert main(["audit", plan, "--out", out, "--seed", "5", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "seed 5" in error and "found seed 0" in error
    assert "name another folder" in error


@pytest.mark.parametrize(
    "value", ["3", '""', '["a"]', "true"], ids=["number", "empty", "list", "boolean"]
)
def test_a_cache_that_is_no_name_is_refused(value: str, folder: Path, tmp_path: Path):
    text = (folder / "audit.toml").read_text().replace('"scores/here"', value)
    (tmp_path / "audit.toml").write_text(text)
    with pytest.raises(UsageError, match=r"attack\.shadow_cache"):
        read_plan(tmp_path / "audit.toml")


def test_the_command_says_what_it_found(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    said = []
    for _ in range(2):
        assert attack(folder, "--shadow-cache", tmp_path / "scores") in (0, 1, 3)
        captured = capsys.readouterr()
        assert "shadow models (" not in captured.out
        said += [line for line in captured.err.splitlines() if "shadow models (" in line]
    assert said[0].startswith("attack: 4 shadow models (")
    assert said[0].endswith(f"records each; kept in {tmp_path / 'scores'}, 4 to train")
    assert said[1].endswith(f"4 of 4 found in {tmp_path / 'scores'}, 0 to train")
    assert attack(folder, "--shadow-cache", tmp_path / "scores", "--quiet") in (0, 1, 3)
    assert "shadow models (" not in capsys.readouterr().err


def test_a_folder_within_the_submission_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    before = sorted(os.listdir(folder / "submission"))
    (tmp_path / "elsewhere").symlink_to(folder / "submission")
    for inside in (folder / "submission" / "scores", tmp_path / "elsewhere" / "scores"):
        assert attack(folder, "--shadow-cache", inside) == 2
        assert "within the submission" in capsys.readouterr().err
    assert sorted(os.listdir(folder / "submission")) == before


def test_a_folder_of_something_else_is_the_callers_mistake(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "notes.txt").write_text("mine")
    assert attack(folder, "--quiet", "--shadow-cache", tmp_path) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "notes.txt" in error


def test_a_full_disk_is_not_the_callers_mistake(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    shutil.copytree(folder, tmp_path / "case", symlinks=True)
    shutil.rmtree(tmp_path / "case" / "scores", ignore_errors=True)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ToolError, match="room for the scores"):
        run_audit(tmp_path / "case" / "audit.toml", tmp_path / "out")
