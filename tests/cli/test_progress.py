"""Progress: on a terminal, on stderr, for what takes long, and nowhere else."""

from __future__ import annotations

import argparse
import sys

import pytest

from auditkit.cli import progress
from auditkit.cli.progress import Progress


def _work(quiet: bool = False) -> None:
    with Progress.of(argparse.Namespace(quiet=quiet), "attack") as bar:
        for done in range(1, 4):
            bar(done, 3)
        bar.stage("threats")
        bar(1, 2)
        bar(1, 5)


def _pretend_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)


def test_nothing_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    _work()
    assert capsys.readouterr() == ("", "")


def test_nothing_for_what_is_quick(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _pretend_terminal(monkeypatch)
    _work()
    assert capsys.readouterr() == ("", "")


def test_a_bar_with_the_stage_for_what_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _pretend_terminal(monkeypatch)
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0.0)
    _work()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "attack" in captured.err and "threats" in captured.err
    _work(quiet=True)
    assert capsys.readouterr() == ("", "")
