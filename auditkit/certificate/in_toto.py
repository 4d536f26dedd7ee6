"""An in-toto Statement v1 in canonical form that carries a digest of itself.

A submission of either kind is bound by one such document: its subjects are the other files with
their digests. The digest of itself, of the canonical form (RFC 8785) without that field, has any
changed byte noticed. What a predicate says is read strictly: just the fields that belong there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from auditkit.errors import ToolError
from auditkit.files import canonical_json, parse_json, sha256_hex

STATEMENT = "https://in-toto.io/Statement/v1"
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What taking a document apart may raise where it is not what it must be."""
_HEX = re.compile(r"[0-9a-f]{64}")


def statement_of(predicate_type: str, files: Mapping[str, str], predicate: dict[str, Any]) -> bytes:
    """Return the statement over `files` (name → SHA-256) with its digest in the predicate."""
    statement: dict[str, Any] = {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": digest}} for name, digest in sorted(files.items())
        ],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }
    statement["predicate"]["digest"] = _own_digest(statement)
    return canonical_json(statement)


def statement_parts(document: Any, predicate_type: str) -> tuple[dict[str, str], Any]:
    """Return files (name → SHA-256) and predicate of a statement; raises one of MALFORMED."""
    fields(document, {"_type", "subject", "predicateType", "predicate"})
    if document["_type"] != STATEMENT or document["predicateType"] != predicate_type:
        raise ValueError(f"types {document['_type']!r}, {document['predicateType']!r}"[:150])
    files: dict[str, str] = {}
    for subject in document["subject"]:
        fields(subject, {"name", "digest"})
        fields(subject["digest"], {"sha256"})
        name = short_text(subject["name"])
        if name in files or "/" in name or "\\" in name or name.startswith("."):
            raise ValueError(f"subject {name[:60]!r}")
        files[name] = hex_digest(subject["digest"]["sha256"])
    return files, document["predicate"]


def statement_problem(data: bytes, what: str = "certificate.json") -> str | None:
    """Return what shows that the bytes were changed after they were written, or None."""
    document = parse_json(data, what)
    try:
        stated = document["predicate"].pop("digest")
    except (KeyError, TypeError, AttributeError):
        return "it carries no digest of itself"
    try:
        computed = _own_digest(document)
        if stated != computed:
            return f"its digest of itself is {str(stated)[:64]!r}, computed {computed!r}"
        document["predicate"]["digest"] = stated
        if canonical_json(document) == data:
            return None
    except ToolError:  # a number that no canonical form has
        pass
    return "it is not in canonical form (RFC 8785)"


def _own_digest(statement: dict[str, Any]) -> str:
    return sha256_hex(canonical_json(statement))


def fields(value: Any, names: set[str]) -> None:
    """Raise ValueError unless `value` is an object of just these fields."""
    if not isinstance(value, dict) or set(value) != names:
        found = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise ValueError(f"expected fields {sorted(names)}, found {found}")


def hex_digest(value: Any) -> str:
    """Return a SHA-256 digest in hexadecimal; ValueError for anything else."""
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError(f"{str(value)[:70]!r} is not a SHA-256 digest in hex")
    return value


def short_text(value: Any) -> str:
    """Return a text of 1 to 200 characters; ValueError for anything else."""
    if not isinstance(value, str) or not value or len(value) > 200:
        raise ValueError(f"{str(value)[:60]!r} is not a short text")
    return value


def number(value: Any) -> float:
    """Return a number in float64; TypeError or OverflowError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{str(value)[:40]!r} is not a number")
    return float(value)


def whole(value: Any) -> int:
    """Return a count, 0 or more; TypeError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{str(value)[:40]!r} is not a count")
    return value


def truth(value: Any) -> bool:
    """Return true or false; TypeError for anything else."""
    if not isinstance(value, bool):
        raise TypeError(f"{str(value)[:40]!r} is not true or false")
    return value
