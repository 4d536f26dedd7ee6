"""The three families of error: the submission is bad, the caller is wrong, or we broke.

Every error says which file or value, what was expected, what was found and what to do,
so that one line on standard error is enough for whoever reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from functools import partial
from typing import Any


class ExitCode(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INCONCLUSIVE = 3


class AuditkitError(Exception):
    """Base of all errors that are reported as one line, never as a traceback."""

    exit_code = ExitCode.INCONCLUSIVE

    def __init__(self, subject: str, *, expected: str, found: str, remedy: str) -> None:
        super().__init__(subject, expected, found, remedy)
        self.subject = subject
        self.expected = expected
        self.found = found
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        # raised in another process, it is the same error here
        kept = {name: getattr(self, name) for name in ("expected", "found", "remedy")}
        return partial(type(self), **kept), (self.subject,)

    def __str__(self) -> str:
        line = f"{self.subject}: expected {self.expected}, found {self.found}; {self.remedy}"
        # A hostile file may carry line breaks or terminal escapes in a name that is quoted here.
        return "".join(ch if ch.isprintable() else "?" for ch in line)


class EvidenceError(AuditkitError):
    """Something of the owner's is missing, malformed or refused."""

    exit_code = ExitCode.INCONCLUSIVE


class UsageError(AuditkitError):
    """The caller asked for something impossible, or a file of the caller's own is bad."""

    exit_code = ExitCode.USAGE


class ToolError(AuditkitError):
    """auditkit itself, or what it runs on, broke."""

    exit_code = ExitCode.INCONCLUSIVE


@contextmanager
def callers_own() -> Iterator[None]:
    """Turn an EvidenceError raised while reading a file of the caller's own into a UsageError."""
    try:
        yield
    except EvidenceError as error:
        raise UsageError(
            error.subject, expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
