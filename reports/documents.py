"""JSON files read strictly, and the digests by which a report refers to them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from reports.errors import RecordError
from reports.schema import describe

# A record of a thousand forgotten records is about 2 MB; what is larger was not made by an audit.
MAX_FILE_BYTES = 64 * 1024 * 1024


def read_json(path: Path) -> tuple[Any, str]:
    """Return the document in a JSON file and the SHA-256 of the file's bytes, in hex.

    Duplicate keys, NaN, infinity and files over MAX_FILE_BYTES raise RecordError.
    """
    remedy = "give the JSON file that the audit wrote"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        found = error.strerror or type(error).__name__
        raise RecordError(
            str(path), expected="a readable file", found=found, remedy=remedy
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise RecordError(
            str(path), expected=f"at most {MAX_FILE_BYTES} bytes", found="more", remedy=remedy
        )
    try:
        document = json.loads(
            data.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        found = str(error) if not isinstance(error, RecursionError) else "too deep a nesting"
        raise RecordError(str(path), expected="JSON in UTF-8", found=found, remedy=remedy) from None
    return document, hashlib.sha256(data).hexdigest()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {describe(twice)} twice in one object")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name}, which JSON does not have")


def record_bytes(record: dict[str, Any]) -> bytes:
    """Return a record as the bytes of its record.json: sorted keys, two-space indent."""
    body = json.dumps(record, indent=2, sort_keys=True, allow_nan=False)
    return (body + "\n").encode("utf-8")


def canonical_digest(value: Any) -> str:
    """Return the SHA-256, in hex, of a JSON value with sorted keys and no white space."""
    body = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(body.encode("ascii")).hexdigest()
