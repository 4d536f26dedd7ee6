"""Results on stdout: a table for people, or the JSON that the interfaces describe.

Every outcome is a symbol and a word, and a colour only where a terminal wants one. Texts come from
hostile files too, so that nothing unprintable is passed on to a terminal.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from auditkit.errors import ExitCode
from auditkit.results import CheckResult, Outcome, Result, Severity, dump_json

MOST_COLUMNS = 100

_WORDS = {
    Outcome.PASS: ("✓", "+", "PASS", "32"),
    Outcome.FAIL: ("✗", "x", "FAIL", "31"),
    Outcome.INCONCLUSIVE: ("?", "?", "INCONCLUSIVE", "33"),
    Outcome.NOT_RUN: ("–", "-", "NOT RUN", "2"),
}
_SHOWN = ("•", "*", "SHOWN", "36")  # measured, and neither passed nor failed
_TOGETHER = 3  # checks that were not run for one reason make one entry from here on
_WORD_COLUMNS = 2 + max(len(word) for _, _, word, _ in _WORDS.values())


def show_result(
    result: Result, args: argparse.Namespace, command: str, *, first: Sequence[str] = ()
) -> int:
    """Print the result as asked for and return its exit code.

    first: ids of checks that people shall see before all others. An inconclusive result has one
    line on stderr besides, saying what kept it from passing.
    """
    if args.json:
        show_json(result.to_json())
    elif not args.quiet:
        print("\n".join(result_lines(result, first=first)))
    if result.exit_code is ExitCode.INCONCLUSIVE:
        print(f"auditkit: {command} is inconclusive: {_obstacle(result)}", file=sys.stderr)
    return int(result.exit_code)


def show_lines(lines: Sequence[str], document: Any, args: argparse.Namespace) -> int:
    """Print lines for people, or the document as JSON; exit code 0."""
    if args.json:
        show_json(document)
    elif not args.quiet:
        print("\n".join(printable(line) for line in lines))
    return int(ExitCode.DONE)


def show_json(document: Any) -> None:
    """Print a document as JSON with sorted keys."""
    print(dump_json(document), end="")


def result_lines(
    result: Result, *, width: int | None = None, first: Sequence[str] = ()
) -> list[str]:
    """Return the table of a result: the verdict, then every check with its reason.

    Checks come in order, those named in `first` before the others. What nobody required and was
    not run for one and the same reason stands together at the end.
    """
    columns = width or min(MOST_COLUMNS, shutil.get_terminal_size((MOST_COLUMNS, 24)).columns)
    name_columns = max((len(check.id) for check in result.checks), default=0)
    lines = [f"{badge(result.outcome)}  {_tally(result)}", ""]
    together = _together(result.checks)
    alone = [c for c in result.checks if not any(c in checks for checks in together.values())]
    for check in sorted(alone, key=lambda c: c.id not in first):
        lines += _check_lines(check, name_columns, columns)
    for reason, checks in together.items():
        name = f"{len(checks)} checks"
        parts = ["Not required", reason, ", ".join(check.id for check in checks)]
        lines += _entry(_WORDS[Outcome.NOT_RUN], name, parts, name_columns, columns)
    return lines


def _together(checks: Sequence[CheckResult]) -> dict[str, list[CheckResult]]:
    """Return by reason the checks that were not run and that one entry is enough for."""
    found: dict[str, list[CheckResult]] = {}
    for check in checks:
        if check.outcome is Outcome.NOT_RUN and not check.required:
            found.setdefault(check.reason, []).append(check)
    return {reason: same for reason, same in found.items() if len(same) >= _TOGETHER}


def badge(outcome: Outcome, *, columns: int = 0) -> str:
    """Return symbol and word of an outcome, coloured where stdout is a terminal that wants it."""
    return _badge(_WORDS[outcome], columns)


def _badge(words: tuple[str, str, str, str], columns: int) -> str:
    symbol, plain_symbol, word, colour = words
    text = f"{symbol if _encodes(symbol) else plain_symbol} {word}".ljust(columns)
    return f"\x1b[{colour}m{text}\x1b[0m" if _colours() else text


def printable(text: str) -> str:
    """Return `text` without what could steer a terminal."""
    return "".join(ch if ch.isprintable() else "?" for ch in text)


def _check_lines(check: CheckResult, name_columns: int, width: int) -> list[str]:
    notes = []
    if not check.required and not _is_shown(check):
        notes.append("not required")
    if check.outcome is Outcome.FAIL and check.severity is not Severity.FAILURE:
        notes.append(check.severity.value)
    title = check.title + (f" ({', '.join(notes)})" if notes else "")
    words = _SHOWN if _is_shown(check) else _WORDS[check.outcome]
    return _entry(words, check.id, [title, check.reason, _figures(check)], name_columns, width)


def _entry(
    words: tuple[str, str, str, str], name: str, parts: list[str], name_columns: int, width: int
) -> list[str]:
    first = f"{_badge(words, _WORD_COLUMNS)}  {printable(name).ljust(name_columns)}  "
    indent = " " * (_WORD_COLUMNS + name_columns + 4)
    room = max(30, width - len(indent))
    body = [
        row
        for part in parts
        if part
        for row in textwrap.wrap(printable(part), room, break_on_hyphens=False)
    ]
    return [first + body[0], *(indent + row for row in body[1:])]


def _is_shown(check: CheckResult) -> bool:
    """Whether a check says what was measured and judges nothing."""
    return check.outcome is Outcome.PASS and check.severity is Severity.INFO and not check.required


def _figures(check: CheckResult) -> str:
    """Return what was observed, with its interval, sample size and threshold."""
    if check.observed is None or isinstance(check.observed, (Mapping, list, tuple)):
        return ""
    parts = [f"observed {_value(check.observed)}"]
    if check.interval is not None:
        parts[0] += f" [{_value(check.interval[0])}, {_value(check.interval[1])}]"
    if check.n is not None:
        parts.append(f"n = {check.n}")
    if check.threshold is not None and not isinstance(check.threshold, (Mapping, list, tuple)):
        parts.append(f"threshold {_value(check.threshold)}")
    return ", ".join(parts)


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tally(result: Result) -> str:
    names = {Outcome.PASS: "passed", Outcome.FAIL: "failed", Outcome.NOT_RUN: "not run"}
    shown = sum(_is_shown(check) for check in result.checks)
    counts = {o: sum(check.outcome is o for check in result.checks) for o in Outcome}
    counts[Outcome.PASS] -= shown
    parts = [f"{n} {names.get(o, o.value)}" for o, n in counts.items() if n]
    parts += [f"{shown} shown"] if shown else []
    total = f"{len(result.checks)} check{'s' if len(result.checks) != 1 else ''}"
    return f"{total}: " + (", ".join(parts) or "none ran")


def _obstacle(result: Result) -> str:
    """Return the first check that keeps the result from passing, in one line."""
    missing = [c for c in result.checks if c.required and c.outcome is not Outcome.PASS]
    if not missing:
        return "no required check ran"
    first = missing[0]
    state = "was not run" if first.outcome is Outcome.NOT_RUN else f"is {first.outcome.value}"
    more = f" (and {len(missing) - 1} more required checks)" if len(missing) > 1 else ""
    return printable(f"{first.id} {state}: {first.reason}{more}")


def _colours() -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty()


def _encodes(symbol: str) -> bool:
    try:
        symbol.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
