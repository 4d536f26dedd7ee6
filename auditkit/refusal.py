"""One call with which every reader refuses a file."""

from __future__ import annotations

from typing import NoReturn

from auditkit.errors import EvidenceError


def refuse(subject: str, expected: str, found: str, remedy: str) -> NoReturn:
    """Raise the EvidenceError that says so."""
    raise EvidenceError(subject, expected=expected, found=found, remedy=remedy)
