"""The confidential annex: apart from the report, and marked."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import zlib

import pytest

import reports
from reports.annex import picture

ANNEX = {
    "title": "Records of request 2026-014",
    "records": [
        {"id": "r-17", "reason": "still answered as before", "image": [[0, 0.5, 1], [1, 0, 0]]},
        {"id": 18, "reason": None, "image": None, "values": [0.25, 1, "a", None, [1, 2]]},
    ],
    "checks": [
        {
            "id": "patch.scope",
            "private": {"witness": list(range(40)), "at": [[0.125]], "note": "<b>"},
        }
    ],
}


def test_a_document_of_its_own(parse):
    source = reports.render_annex(ANNEX)
    page = parse(source)
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert digest in page.all("meta")[0]["attrs"]["content"]
    assert page.all("h1")[0]["text"].startswith("CONFIDENTIAL")
    assert [e["attrs"]["src"][:22] for e in page.all("img")] == ["data:image/png;base64,"]
    assert "r-17" in source
    assert "0.25, 1, a, none, 1, 2" in source
    assert "&lt;b&gt;" in source
    assert ", ".join(map(str, range(40))) in source
    assert "0.125" in source


def test_in_a_report_only_when_given(record, parse, source):
    assert "CONFIDENTIAL" not in source
    page = parse(reports.render(record, annex=ANNEX))
    assert page.all("h2")[-1]["text"].startswith("CONFIDENTIAL")
    assert "confidential" in page.all("header")[0]["text"]


def test_written_beside_the_report(minimal, tmp_path):
    record, annex, out = (tmp_path / n for n in ("record.json", "annex.json", "annex.html"))
    record.write_text(json.dumps(minimal))
    annex.write_text(json.dumps(ANNEX))
    reports.write_annex(annex, out)
    assert out.read_text(encoding="utf-8") == reports.render_annex(ANNEX)
    reports.write_report(record, out, annex)
    assert "CONFIDENTIAL" in out.read_text(encoding="utf-8")


def test_picture_has_the_pixels():
    address = picture([[0, 0.5, 1], [1, 0, 0.25]], "x")
    data = base64.b64decode(address.split(",")[1])
    assert struct.unpack(">II", data[16:24]) == (3, 2)
    start = data.index(b"IDAT") + 4
    size = struct.unpack(">I", data[start - 8 : start - 4])[0]
    assert zlib.decompress(data[start : start + size]) == bytes([0, 0, 128, 255, 0, 255, 0, 64])


def test_picture_outside_the_unit_range_is_scaled():
    address = picture([[-1, 1], [3, "nan"]], "x")
    data = base64.b64decode(address.split(",")[1])
    start = data.index(b"IDAT") + 4
    raw = zlib.decompress(data[start:-16])
    assert raw == bytes([0, 0, 128, 0, 255, 0])


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {"records": [{}]},
        {"records": [{"id": 1, "image": [[0, 1], [0]]}]},
        {"records": [{"id": 1, "image": [[]]}]},
        {"records": [{"id": 1, "image": [["x"]]}]},
        {"checks": [{"id": "a"}]},
    ],
)
def test_broken_annexes(broken):
    with pytest.raises(reports.RecordError, match="annex"):
        reports.render_annex(broken)


def test_an_empty_annex(parse):
    assert "empty" in parse(reports.render_annex({})).all("main")[0]["text"]


PAIR = {
    "id": "record 3",
    "reason": "reconstructed from its gate alone",
    "shape": [1, 2, 3],
    "range": [0.0, 255.0],
    "original": [0, 51, 102, 153, 204, 255],
    "reconstruction": [300, -1, 0, 0, 0, 255],
}


def decoded(address: str) -> tuple[int, int, int, bytes]:
    """Width, height, kind of colour and raw rows of a picture."""
    png = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    width, height, _, colour = struct.unpack(">IIBB", png[16:26])
    [data] = re.findall(rb"IDAT(.*).{4}\x00\x00\x00\x00IEND", png, re.DOTALL)
    return width, height, colour, zlib.decompress(data)


def images(parse, *pairs) -> list[str]:
    page = parse(reports.render_annex({"title": "t", "pairs": list(pairs)}))
    return [e["attrs"]["src"] for e in page.all("img")]


def test_a_pair_is_drawn_on_the_scale_of_the_domain(parse):
    original, made = map(decoded, images(parse, PAIR))
    assert original == (3, 2, 0, b"\0\x00\x33\x66\0\x99\xcc\xff")
    assert made == (3, 2, 0, b"\0\xff\x00\x00\0\x00\x00\xff")  # clipped to the domain


def test_three_channels_are_colours(parse):
    pair = {**PAIR, "shape": [3, 1, 2]}
    width, height, colour, raw = decoded(images(parse, pair)[0])
    assert (width, height, colour) == (2, 1, 2)
    assert raw == b"\0\x00\x66\xcc\x33\x99\xff"  # red, green, blue of one pixel, then the next


def test_what_is_no_picture_is_bars(parse):
    pair = {**PAIR, "shape": None, "range": [0, 1], "original": [0, 1], "reconstruction": [1, 0]}
    width, height, _, raw = decoded(images(parse, pair)[0])
    rows = [raw[y * (width + 1) + 1 : (y + 1) * (width + 1)] for y in range(height)]
    half = width // 2
    assert set(rows) == {b"\xff" * half + b"\0" * half}
    many = {**pair, "original": [0.5] * 1000, "reconstruction": []}
    assert len(images(parse, many)) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": [1, 2, 2]},
        {"shape": [2, 1, 3]},
        {"shape": [1, 0, 0]},
        {"shape": [1, -2, -3]},
        {"range": [1, 1]},
        {"range": [0, float("nan")]},
        {"shape": [1, 1, 5000]},
    ],
)
def test_a_pair_that_is_no_picture_is_refused(wrong):
    with pytest.raises(reports.RecordError, match="pairs"):
        reports.render_annex({"pairs": [{**PAIR, **wrong}]})
