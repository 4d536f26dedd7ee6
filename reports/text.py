"""Strings and numbers as a reader should see them: nothing invisible, no false precision.

Whoever wrote a string in a submission may have meant it to mislead: characters that reverse the
direction of what follows, that take no room, or that pile up over the line above. They are shown
by their code point instead.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Any

MAX_TEXT = 4_000  # characters of one string in a report; the record itself has the rest
MAX_MARKS = 3  # combining marks on one letter; no language needs more

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MINUS = "\N{MINUS SIGN}"
_THIN = "\N{NARROW NO-BREAK SPACE}"


def inert(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` with control, direction and invisible characters named, and cut at `limit`."""
    cut = len(text) - limit
    if cut > 0:
        text = text[:limit]
    out: list[str] = []
    marks = 0
    for ch in text:
        category = unicodedata.category(ch)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if ch in "\n\t":
            out.append(ch)
        elif category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or marks > MAX_MARKS:
            out.append(f"[U+{ord(ch):04X}]")
        else:
            out.append(ch)
    if cut > 0:
        out.append(f"… [{cut} more characters]")
    return "".join(out)


def inert_json(value: Any) -> Any:
    """Return a JSON value with every string and key made inert, and keys in sorted order.

    A record in memory and the same record from its file then read the same.
    """
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, list | tuple):
        return [inert_json(item) for item in value]
    if isinstance(value, dict):
        return {inert(str(key), 200): inert_json(item) for key, item in sorted(value.items())}
    return value


def shorten(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a number (true and false are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: float, digits: int = 4) -> str:
    """Return a number with at most `digits` significant digits, whole numbers in full."""
    if isinstance(value, int):
        body = str(abs(value))
        if len(body) > 4:
            body = f"{abs(value):,}".replace(",", _THIN)
        return (_MINUS if value < 0 else "") + body
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else _MINUS + "∞"
    if value == 0:
        return "0"
    sign = _MINUS if value < 0 else ""
    size = abs(value)
    if 1e-4 <= size < 10 ** max(digits, 5):
        body = f"{size:.{digits}g}"
        if "e" in body:
            body = f"{size:.0f}"
        return sign + body
    mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{sign}{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def scalar(value: Any, *, exact: bool = False) -> str:
    """Return a JSON scalar in words; `exact` keeps every digit, as settings and seeds need."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_number(value):
        return repr(value) if exact else number(value)
    if value in ("inf", "-inf", "nan"):
        return number(float(value))
    return str(value)


def brief(value: Any, *, exact: bool = False, most: int = 6) -> str:
    """Return any JSON value on one line; a long list as its count and range."""
    if isinstance(value, dict):
        if not value:
            return "none"
        parts = [f"{k}: {brief(v, exact=exact, most=most)}" for k, v in list(value.items())[:most]]
        rest = len(value) - most
        return "; ".join(parts) + (f"; and {rest} more" if rest > 0 else "")
    if not isinstance(value, list):
        return scalar(value, exact=exact)
    if not value:
        return "none"
    if any(isinstance(item, dict | list) for item in value):
        return f"{number(len(value))} {'entry' if len(value) == 1 else 'entries'}"
    if len(value) <= most and sum(len(str(item)) for item in value) <= 160:
        return ", ".join(scalar(item, exact=exact) for item in value)
    if all(is_number(item) for item in value):
        ordered = sorted(value)
        middle = ordered[len(ordered) // 2]
        low, high = number(ordered[0]), number(ordered[-1])
        return f"{number(len(value))} values from {low} to {high}, median {number(middle)}"
    if all(isinstance(item, bool) for item in value):
        return f"{number(len(value))} values: {sum(value)} yes, {len(value) - sum(value)} no"
    return f"{number(len(value))} entries"


def figure(value: Any) -> str:
    """Return a cell of a table: a figure with its interval, why there is none, or any JSON value.

    What is not a number becomes a dash.
    """
    if isinstance(value, dict) and "needs" in value:
        return f"refused: needs {scalar(value['needs'])}"
    if isinstance(value, dict) and "value" in value:
        bounds = value.get("interval")
        if not isinstance(bounds, list) or len(bounds) != 2:
            bounds = [None, None]
        body, low, high = (_decimal(v, _decimals(bounds)) for v in (value["value"], *bounds))
        return body if body == "–" or low == high == "–" else f"{body} [{low}, {high}]"
    if value is None or _not_a_number(value):
        return "–"
    return brief(value)


def is_figure(value: Any) -> bool:
    """Return whether a cell of a table belongs in a column of numbers."""
    if isinstance(value, dict):
        return "value" in value or "needs" in value
    return value is None or is_number(value) or value in ("nan", "inf", "-inf")


def _decimals(bounds: list[Any]) -> int:
    """Return three decimals, or as many as it takes to see a narrow interval."""
    low, high = (v if is_number(v) and math.isfinite(v) else math.nan for v in bounds)
    width = abs(high - low)
    return 3 if not width > 0 else min(9, max(3, 1 - math.floor(math.log10(width))))


def _decimal(value: Any, digits: int) -> str:
    if value is None or _not_a_number(value):
        return "–"
    if not is_number(value) or not math.isfinite(value) or abs(value) >= 1e6:
        return scalar(value)
    body = f"{abs(value):.{digits}f}"
    return body if value >= 0 or float(body) == 0 else _MINUS + body


def _not_a_number(value: Any) -> bool:
    return value == "nan" or (isinstance(value, float) and math.isnan(value))


def interval(bounds: Any) -> str | None:
    """Return an interval as [low, high], or None where there is none."""
    if not bounds:
        return None
    low, high = (scalar(bound) if bound is not None else "open" for bound in bounds)
    return f"[{low}, {high}]"


def apart(observed: Any, threshold: Any) -> tuple[str, str]:
    """Return two values in words, with as many digits as it takes to tell them apart."""
    left, right = brief(observed), brief(threshold)
    if left == right and is_number(observed) and is_number(threshold) and observed != threshold:
        for digits in range(5, 18):
            left, right = number(float(observed), digits), number(float(threshold), digits)
            if left != right:
                break
    return left, right
