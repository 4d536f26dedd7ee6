"""The auditor's folder for scores of shadow models: where it may be, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

from attacks.shadows import ScoreMatrixError
from auditkit.errors import ToolError, UsageError


@runtime_checkable
class Speaker(Protocol):
    """Progress that takes lines, too."""

    def say(self, line: str) -> None:
        """Show one line."""


def speech(progress: Callable[[int, int], None] | None) -> Callable[[str], None] | None:
    """Return where a line about what is to be trained goes; None when nobody wants to read it."""
    return progress.say if isinstance(progress, Speaker) else None


def refuse_within(cache: Path | None, submission: Path) -> None:
    """Raise UsageError when the folder would be among the owner's files, which are all bound."""
    if cache is not None and cache.resolve().is_relative_to(submission.resolve()):
        raise UsageError(
            str(cache),
            expected="a folder of your own for the scores of shadow models",
            found="one within the submission",
            remedy="name another folder",
        )


@contextmanager
def own_folder() -> Iterator[None]:
    """Turn what is wrong with the folder into an error of the caller's, a full disk into ours."""
    try:
        yield
    except ScoreMatrixError as error:
        kind = ToolError if error.no_room else UsageError
        raise kind(
            error.subject, expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
