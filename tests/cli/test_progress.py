"""Progress: on stderr, for what takes long, with the time left, on a terminal and elsewhere."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator

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


def test_nothing_for_what_is_quick_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ten seconds pass from one look at the clock to the next."""
    times = itertools.count(0.0, 10.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))
    yield


@pytest.mark.usefixtures("clock")
def test_a_line_now_and_then_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress.of(argparse.Namespace(quiet=False), "attack") as bar:
        for done in range(101, 109):
            bar(done, 110)
    # what was there at the first call does not count as fast work
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "attack: 103 of 110 steps (93 %), about 2 min left",
        "attack: 106 of 110 steps (96 %), about 48 s left",
    ]


@pytest.mark.usefixtures("clock")
def test_no_line_when_asked_to_be_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress.of(argparse.Namespace(quiet=True), "attack") as bar:
        bar.say("a thousand shadow models")
        for done in range(9):
            bar(done, 10)
    assert capsys.readouterr() == ("", "")


def test_a_line_is_said_wherever_it_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        with Progress.of(argparse.Namespace(quiet=False), "attack") as bar:
            bar.say("64 shadow models in a\x1b[2Jfolder")
        assert capsys.readouterr() == ("", "attack: 64 shadow models in a?[2Jfolder\n")
        _pretend_terminal(monkeypatch)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (44.6, "45 s"),
        (59.9, "60 s"),
        (61, "1 min"),
        (7100, "118 min"),
        (9000, "2.5 h"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert progress.duration(seconds) == words
