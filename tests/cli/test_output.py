"""A result for people and for programs."""

from __future__ import annotations

import argparse
import json
import sys

import pytest

from auditkit.cli.output import badge, result_lines, show_result
from auditkit.results import CheckResult, Outcome, Result, Severity, not_run

PASSED = CheckResult("a.first", "First", Outcome.PASS, "all is well", observed=0.25, n=40,
                     interval=(0.125, 0.5), threshold=0.75)  # fmt: skip
FAILED = CheckResult("a.second", "Second", Outcome.FAIL, "it is not", observed={"rows": 3})
SKIPPED = not_run("a.third", "Third", "no records were given " * 12)
LIMIT = CheckResult(
    "a.fourth", "Fourth", Outcome.FAIL, "known", severity=Severity.LIMITATION, required=False
)


def _args(**more: bool) -> argparse.Namespace:
    return argparse.Namespace(**{"json": False, "quiet": False, **more})


def test_every_outcome_is_symbol_and_word() -> None:
    lines = result_lines(Result((PASSED, FAILED, SKIPPED)), width=80)
    text = "\n".join(lines)
    assert lines[0] == "✗ FAIL  3 checks: 1 passed, 1 failed, 1 not run"
    assert "✓ PASS" in text and "– NOT RUN" in text
    assert "observed 0.25 [0.125, 0.5], n = 40, threshold 0.75" in text
    assert max(map(len, lines)) <= 80


def test_a_limitation_is_named_so() -> None:
    assert any(
        "Fourth (not required, limitation)" in line for line in result_lines(Result((LIMIT,)))
    )


def test_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert badge(Outcome.PASS) == "\x1b[32m✓ PASS\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "")
    assert badge(Outcome.FAIL).startswith("\x1b[31m")
    monkeypatch.setenv("NO_COLOR", "1")
    assert badge(Outcome.PASS) == "✓ PASS"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert badge(Outcome.FAIL) == "✗ FAIL"


def test_nothing_hostile_reaches_the_terminal() -> None:
    check = CheckResult("a.b", "T\x1b[2Jitle", Outcome.PASS, "r\u202eeason\nnext\x07")
    text = "".join(result_lines(Result((check,))))
    assert all(ch.isprintable() for ch in text)


@pytest.mark.parametrize(
    ("checks", "code"), [((PASSED,), 0), ((PASSED, FAILED), 1), ((PASSED, SKIPPED), 3), ((), 3)]
)
def test_exit_codes_and_the_line_that_says_why(
    checks: tuple[CheckResult, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_result(Result(checks), _args(quiet=True), "verify") == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert (captured.err == "") == (code in (0, 1))
    if code == 3:
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("auditkit: verify is inconclusive: ")


def test_json_is_the_whole_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    odd = CheckResult("a.odd", "Odd", Outcome.PASS, "r", observed=float("nan"))
    show_result(Result((PASSED, odd)), _args(json=True), "verify")
    document = json.loads(capsys.readouterr().out, parse_constant=lambda name: pytest.fail(name))
    assert document["schema"] == "auditkit/result/v1"
    assert document["outcome"] == "pass"
    assert [check["id"] for check in document["checks"]] == ["a.first", "a.odd"]


def test_what_was_not_run_for_one_reason_stands_together() -> None:
    alike = tuple(not_run(f"a.x{i}", "X", "no model", required=False) for i in range(3))
    other = not_run("a.y", "Y", "no data", required=False)
    needed = not_run("a.z", "Z", "no model")
    lines = result_lines(Result((PASSED, *alike, other, needed)), width=80)
    text = "\n".join(lines)
    assert text.count("no model") == 2  # once for the three, once for the required one
    assert "a.x0, a.x1, a.x2" in lines[-1] and "3 checks" in text
    assert "a.y" in text and "a.z" in text


def test_what_matters_most_can_come_first() -> None:
    lines = result_lines(Result((PASSED, FAILED)), width=80, first=("a.second",))
    assert [line.split()[2] for line in lines[2:] if "a." in line] == ["a.second", "a.first"]
