"""Values of a plan as they must be, or the error that says what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from auditkit.errors import UsageError


def share(path: Path, name: str, value: Any, below: float) -> float:
    """Return a number strictly between 0 and `below`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < below:
        raise bad(path, f"{name} between 0 and {below:g}", repr(value)[:60])
    return float(value)


def typed(path: Path, name: str, value: Any, kind: type) -> Any:
    """Return a value of a type; whole numbers are not below 0."""
    wrong = isinstance(value, bool) or (isinstance(value, int) and value < 0)
    if not isinstance(value, kind) or (kind is int and wrong):
        words = {str: "text", int: "a whole number", bool: "true or false"}[kind]
        raise bad(path, f"{name} as {words}", repr(value)[:60])
    return value


def strings(path: Path, name: str, value: Any) -> list[str]:
    """Return a list of texts."""
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise bad(path, f"{name} as a list of names", repr(value)[:60])
    return value


def known(path: Path, value: Any, names: set[str], where: str) -> None:
    """Refuse what is no table, and keys that there are not."""
    if not isinstance(value, dict):
        raise bad(path, f"{where} as a table", repr(value)[:60])
    unknown = sorted(set(value) - names)
    if unknown:
        raise bad(path, f"{where} with keys among {', '.join(sorted(names))}", unknown[0])


def bad(path: Path, expected: str, found: str) -> UsageError:
    """Return the error that a plan is to be corrected for."""
    return UsageError(str(path), expected=expected, found=found, remedy="correct the plan")
