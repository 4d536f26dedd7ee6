"""The command line as such: help, usage errors, streams, and what happens when things break."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditkit.cli import main as cli
from auditkit.errors import EvidenceError, UsageError

from .conftest import Auditkit

COMMANDS = tuple(cli.COMMANDS)
HEAVY = ("numpy", "scipy", "torch", "sklearn", "pandas", "matplotlib", "onnx", "tqdm", "jinja2")


def _python(code: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **more
    )  # type: ignore[call-overload, no-any-return]


def _one_line(text: str) -> str:
    assert text.startswith("auditkit: ")
    assert text.count("\n") == 1 and text.endswith("\n")
    return text


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    done = _python(
        "import sys\n"
        "from auditkit.cli.main import main\n"
        f"code = main({arguments!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(code)"
    )
    assert done.returncode == 0
    assert done.stdout.startswith("usage: auditkit")
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_of_the_command(name: str, auditkit: Auditkit) -> None:
    done = auditkit(name, "--help")
    assert f"Example:\n  auditkit {name}" in done.out
    for option in ("--json", "--quiet", "--seed"):
        assert option in done.out


def test_the_overview_lists_every_command_and_the_exit_codes(auditkit: Auditkit) -> None:
    out = auditkit("--help").out
    assert all(f"\n  {name} " in out for name in COMMANDS)
    assert "Exit codes: 0" in out


def test_version(auditkit: Auditkit) -> None:
    assert auditkit("--version").out.startswith("auditkit ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected one"),
        (["verfy"], "did you mean verify?"),
        (["--json", "verify"], "found '--json'"),
        (["verify"], "SUBMISSION"),
        (["verify", "x", "--bogus"], "--bogus"),
        (["verify", "x", "--seed", "-1"], "whole number"),
        (["verify", "x", "--see", "1"], "--see"),
        (["patch", "--out", "o"], "--model"),
        (["compare", "a"], "either AUDITOR or --recompute"),
        (["compare", "a", "b", "--recompute"], "found both"),
        (["attack"], "either SUBMISSION or --scores"),
        (["attack", "s"], "--holdout"),
        (["attack", "s", "--holdout", "h", "--margin", "0.7"], "--margin"),
        (["attack", "s", "--holdout", "h", "--attack", "magic"], "'magic'"),
        (["threats", "s"], "--holdout"),
        (["audit", "plan.toml"], "--out"),
        (["report"], "RECORD.json"),
        (["explain", "certificate.regoin"], "did you mean certificate.region"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(
    arguments: list[str], said: str, auditkit: Auditkit
) -> None:
    done = auditkit(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert said in _one_line(done.err)


def _command_raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(args: object) -> int:
        raise error

    monkeypatch.setattr("auditkit.cli.explain.run", run)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("two\nlines"), 3, "ValueError: two lines"),
        (RecursionError(), 3, "RecursionError"),
        (MemoryError(), 3, "MemoryError"),
        (EvidenceError("f", expected="a", found="b\x1b[2J", remedy="c"), 3, "found b?[2J; c"),
        (UsageError("f", expected="a", found="b", remedy="c"), 2, "f: expected a, found b; c"),
    ],
)
def test_whatever_breaks_is_one_line(
    error: Exception,
    code: int,
    said: str,
    auditkit: Auditkit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AUDITKIT_DEBUG", raising=False)
    _command_raising(error, monkeypatch)
    done = auditkit("explain")
    assert (done.code, done.out) == (code, "")
    assert said in _one_line(done.err)


def test_a_traceback_only_on_request(auditkit: Auditkit, monkeypatch: pytest.MonkeyPatch) -> None:
    _command_raising(ValueError("broken"), monkeypatch)
    monkeypatch.setenv("AUDITKIT_DEBUG", "1")
    assert "Traceback" in auditkit("explain").err


def test_an_interrupt_ends_quietly(auditkit: Auditkit, monkeypatch: pytest.MonkeyPatch) -> None:
    _command_raising(KeyboardInterrupt(), monkeypatch)
    done = auditkit("explain")
    assert done.code == 130
    assert done.err == "\nauditkit: interrupted\n"


def test_a_reader_that_leaves_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "auditkit", "explain"],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.stderr == ""
    assert done.returncode == 141


def test_a_terminal_without_unicode_gets_ascii() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    code = "from auditkit.cli.main import main; main(['explain', 'certificate.region'])"
    done = _python(code, env=environment)
    assert done.returncode == 0
    assert done.stdout.isascii()


def test_module_and_installed_command_are_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "auditkit", "nothing"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    script = Path(sys.executable).with_name("auditkit")
    if script.exists():
        other = subprocess.run([script, "nothing"], capture_output=True, text=True, timeout=60)
        assert (other.returncode, other.stderr) == (2, done.stderr)


def test_explain_as_json(auditkit: Auditkit) -> None:
    listed = json.loads(auditkit("explain", "--json").out)
    assert "certificate.region" in listed["checks"]
    page = json.loads(auditkit("explain", "certificate.region", "--json").out)
    assert page["page"].startswith("# ")
    assert auditkit("explain", "--quiet").out == ""
