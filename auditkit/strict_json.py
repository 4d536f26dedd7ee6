"""JSON that every parser reads alike: strict in, canonical out (RFC 8785)."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import Any

import rfc8785

from auditkit import limits
from auditkit.errors import ToolError
from auditkit.refusal import refuse

_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{}]', re.DOTALL)


def parse_json(data: bytes, what: str, *, limit: int = limits.JSON_BYTES) -> Any:
    """Return the values of one JSON document.

    EvidenceError on duplicate keys, numbers that are not finite or too long, nesting deeper than
    `limits.JSON_DEPTH`, more than `limit` bytes, and anything that is not UTF-8 or not JSON.
    """
    if len(data) > limit:
        refuse(what, f"at most {limit} bytes of JSON", f"{len(data)}", "give a smaller file")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        refuse(what, "JSON in UTF-8", f"a byte that is not, at {error.start}", "encode it again")
    _refuse_depth(data, what)
    try:
        document = json.loads(
            text,
            object_pairs_hook=lambda pairs: _object(pairs, what),
            parse_constant=lambda name: refuse(
                what, "finite numbers", f"{name}, which JSON does not have", "write it again"
            ),
            parse_float=lambda digits: _number(digits, what),
        )
        # An escaped half of a surrogate pair is no character: no other encoder would write it.
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        refuse(what, "text of whole characters", "half a surrogate pair", "write it again")
    except (ValueError, RecursionError) as error:
        found = str(error).splitlines()[0] if str(error) else type(error).__name__
        refuse(what, "one JSON document", found[:200], "write it again")
    return document


def canonical_json(document: Any) -> bytes:
    """Return the one canonical encoding of `document` (RFC 8785: sorted keys, no spaces).

    ToolError when it holds what JSON cannot carry exactly: NaN, or an integer beyond 2⁵³.
    """
    try:
        return bytes(rfc8785.dumps(document))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise ToolError(
            "canonical JSON",
            expected="values that JSON carries exactly",
            found=str(error),
            remedy="this is a mistake in the calling code",
        ) from error


def _object(pairs: list[tuple[str, Any]], what: str) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        refuse(what, "each key once", f"{twice[:80]!r} twice", "write it again")
    return members


def _number(digits: str, what: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        refuse(what, "numbers within float64", f"{digits[:40]}", "write it again")
    return value


def _refuse_depth(data: bytes, what: str) -> None:
    depth = 0
    for match in _BRACKETS.finditer(data):
        token = match.group()
        if token in (b"[", b"{"):
            depth += 1
            if depth > limits.JSON_DEPTH:
                refuse(what, f"at most {limits.JSON_DEPTH} levels", "more", "flatten it")
        elif token in (b"]", b"}"):
            depth -= 1
