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
