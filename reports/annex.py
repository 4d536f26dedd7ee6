"""The confidential annex: what identifies a record, for those who may see it.

It is a document of its own and never part of a record or of a report that is handed round.
"""

from __future__ import annotations

import base64
import itertools
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reports.errors import RecordError
from reports.text import brief, inert_json, is_number, number, scalar
from reports.view import Rows

MAX_SIDE = 1024  # pixels; a picture of a record, not a photograph
MAX_VALUES = 2_000
BARS = (240, 48)  # pixels: width and height of values that are no picture

_REMEDY = "write each picture as a list of equal rows"

Pixels = list[list[tuple[int, ...]]]


@dataclass(frozen=True)
class AnnexRecord:
    """One record: why it is shown, and its picture or its values."""

    id: str
    reason: str
    image: str | None
    image_size: tuple[int, int]
    values: str
    values_rest: int


@dataclass(frozen=True)
class Pair:
    """A record and what was reconstructed of it, as two pictures of `size` pixels."""

    id: str
    reason: str
    kind: str
    original: str
    reconstruction: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Annex:
    """A whole annex; `checks` are the details that a check keeps out of the record."""

    title: str
    records: tuple[AnnexRecord, ...]
    checks: tuple[tuple[str, Rows], ...]
    pairs: tuple[Pair, ...]


def build_annex(annex: dict[str, Any]) -> Annex:
    """Return the view of a validated annex; RecordError for a picture that is not a rectangle."""
    clean = inert_json(annex)
    return Annex(
        title=clean.get("title") or "Confidential annex",
        records=tuple(_record(item, i) for i, item in enumerate(clean.get("records") or [])),
        checks=tuple((c["id"], tuple(_rows(c["private"], ""))) for c in clean.get("checks") or []),
        pairs=tuple(_pair(item, i) for i, item in enumerate(clean.get("pairs") or [])),
    )


def _rows(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Yield every value of a nested object in full, one row for each list of scalars."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _rows(item, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value[:MAX_VALUES]):
            yield from _rows(item, f"{name}[{index}]")
    elif isinstance(value, list):
        rest = len(value) - MAX_VALUES
        shown = ", ".join(scalar(item, exact=True) for item in value[:MAX_VALUES])
        yield name, shown + (f", and {rest} more" if rest > 0 else "")
    else:
        yield name, brief(value, exact=True)


def _record(item: dict[str, Any], index: int) -> AnnexRecord:
    image = item.get("image")
    values = item.get("values") or []
    shown = [scalar(v, exact=True) if not isinstance(v, list | dict) else brief(v) for v in values]
    return AnnexRecord(
        id=scalar(item["id"], exact=True),
        reason=item.get("reason") or "not stated",
        image=picture(image, f"annex: field records[{index}].image") if image else None,
        image_size=(len(image[0]), len(image)) if image else (0, 0),
        values=", ".join(shown[:MAX_VALUES]),
        values_rest=max(0, len(shown) - MAX_VALUES),
    )


def _pair(item: dict[str, Any], index: int) -> Pair:
    """Return a pair on one scale, the domain's, so that the two can be compared by eye."""
    name, shape = f"annex: field pairs[{index}]", item.get("shape")
    low, high = (float(v) if is_number(v) else math.nan for v in item["range"])
    if not low < high:
        raise RecordError(
            f"{name}.range", expected="a range [low, high]", found=repr(item["range"])[:40],
            remedy=_REMEDY,
        )  # fmt: skip
    sides = []
    for side in ("original", "reconstruction"):
        values = [
            min(1.0, max(0.0, (float(v) - low) / (high - low))) if is_number(v) else 0.0
            for v in item[side]
        ]
        sides.append(_image(values, shape, f"{name}.{side}") if shape else _bars(values))
    first, second = sides
    return Pair(
        id=scalar(item["id"], exact=True),
        reason=item["reason"],
        kind="a picture" if shape else "bars, one for each feature",
        original=_png(first),
        reconstruction=_png(second),
        size=(len(first[0]), len(first)),
    )


def _image(values: list[float], shape: list[int], name: str) -> Pixels:
    """Return values in C order of shape [channels, height, width] as pixels."""
    channels, height, width = shape
    fits = channels in (1, 3) and 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE
    if not fits or channels * height * width != len(values):
        raise RecordError(
            name,
            expected=f"1 or 3 channels of at most {MAX_SIDE} a side",
            found=f"{number(len(values))} values of shape {shape}"[:80],
            remedy=_REMEDY,
        )
    size = height * width
    return [
        [
            tuple(round(255 * values[c * size + y * width + x]) for c in range(channels))
            for x in range(width)
        ]
        for y in range(height)
    ]


def _bars(values: list[float]) -> Pixels:
    """Return values in [0, 1] as black bars on white; more than fit are averaged."""
    width, height = BARS
    columns = min(width, len(values)) or 1
    edges = [len(values) * k // columns for k in range(columns + 1)]
    means = [sum(values[a:b]) / (b - a) if b > a else 0.0 for a, b in itertools.pairwise(edges)]
    tops = [round(height * means[x * columns // width]) for x in range(width)]
    return [
        [(0,) if height - y <= tops[x] else (255,) for x in range(width)] for y in range(height)
    ]


def picture(rows: list[list[Any]], name: str) -> str:
    """Return a grey picture `[height][width]` as a data address; 0 is black and 1 is white.

    Values outside [0, 1] are scaled by their own range.
    """
    width = len(rows[0])
    if not width or any(len(row) != width for row in rows) or max(width, len(rows)) > MAX_SIDE:
        raise RecordError(
            name,
            expected=f"rows of one length, at most {MAX_SIDE} a side",
            found=f"{number(len(rows))} rows",
            remedy=_REMEDY,
        )
    finite = [float(v) for row in rows for v in row if is_number(v)]
    low, high = min(0.0, *finite, 0.0), max(1.0, *finite, 1.0)
    return _png(
        [
            [
                (round(255 * ((float(v) if is_number(v) else low) - low) / (high - low)),)
                for v in row
            ]
            for row in rows
        ]
    )


def _png(pixels: Pixels) -> str:
    """Return rows of pixels, each of one number (grey) or three (colour), as a data address."""
    colour = 2 if len(pixels[0][0]) == 3 else 0
    raw = b"".join(b"\0" + bytes(v for pixel in row for v in pixel) for row in pixels)
    size = struct.pack(">IIBBBBB", len(pixels[0]), len(pixels), 8, colour, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", size)
        + _chunk(b"IDAT", zlib.compress(raw, 9))
        + _chunk(b"IEND", b"")
    )
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
