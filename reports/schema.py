"""A few composable shapes with which a JSON document is compared, field by field.

A shape is called with a value and the path of the value in its document, and raises Mismatch at
the first field that differs. Fields that a shape does not name are let through, so that a newer
record can still be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Shape = Callable[[Any, str], None]

NOT_FINITE = ("nan", "inf", "-inf")  # how a record writes numbers that JSON has no literal for


class Mismatch(Exception):
    """A field is not of the expected shape."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        super().__init__(path, expected, found)
        self.path = path
        self.expected = expected
        self.found = found


def describe(value: Any) -> str:
    """Return a few words for a value that was found where another was expected."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:39] + "…")
    if isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "an object"
    return type(value).__name__


def anything(value: Any, path: str) -> None:
    """Accept every value."""


def _typed(kinds: type | tuple[type, ...], words: str, *, booleans: bool = False) -> Shape:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, kinds) or (isinstance(value, bool) and not booleans):
            raise Mismatch(path, words, describe(value))

    return check


text = _typed(str, "text")
boolean = _typed(bool, "true or false", booleans=True)
integer = _typed(int, "a whole number")
mapping = _typed(dict, "an object")


def number(value: Any, path: str) -> None:
    """Accept a number, or the name of one that is not finite."""
    if isinstance(value, bool) or not (isinstance(value, int | float) or value in NOT_FINITE):
        raise Mismatch(path, "a number", describe(value))


def maybe(shape: Shape) -> Shape:
    """Accept null, or what `shape` accepts."""

    def check(value: Any, path: str) -> None:
        if value is not None:
            shape(value, path)

    return check


def one_of(*words: str) -> Shape:
    """Accept one of a few words."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or value not in words:
            raise Mismatch(path, " or ".join(words), describe(value))

    return check


def list_of(shape: Shape, length: int | None = None) -> Shape:
    """Accept a list whose items `shape` accepts, of a given length where one is given."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise Mismatch(path, "a list", describe(value))
        if length is not None and len(value) != length:
            raise Mismatch(path, f"a list of {length}", describe(value))
        for index, item in enumerate(value):
            shape(item, f"{path}[{index}]")

    return check


def fields(required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """Accept an object with the required fields, and with the optional ones where present."""
    optional = optional or {}

    def check(value: Any, path: str) -> None:
        mapping(value, path)
        for name, shape in required.items():
            if name not in value:
                raise Mismatch(f"{path}.{name}" if path else name, "a value", "nothing")
            shape(value[name], f"{path}.{name}" if path else name)
        for name, shape in optional.items():
            if name in value:
                shape(value[name], f"{path}.{name}" if path else name)

    return check
