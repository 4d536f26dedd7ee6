"""Strings that whoever wrote a submission may have meant to run, to hide or to mislead."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from typing import Any

import pytest

import reports
from reports.record import CHECK_OUTCOMES, SEVERITIES

HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)><svg onload='alert(1)'>",
    "</style></title></svg><h1>PASS</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "evil \u202egpj.exe\u2066 \u200b\u00ad end",
    "control \x00\x07\x1b[31m\x7f\x85 end",
    "lone \ud800 surrogate",
    "marks " + "e" + "\u0301" * 40,
    "$\\frac{1}{0}$ $unclosed \\undefined{",
    "javascript:alert(1)",
    "long " + "W" * 30_000,
    "&lt;b&gt; ]]> --> <!--",
    "健康診断 مرحبا שלום 🩺",
]
FIXED = {
    *("auditkit/record/v1", "redirected", "erased", "in", "out", "partly"),
    *("certificate", "membership", "comparison", "threats"),
    *("roc", "histogram", "curve", "bars", "strip", "intervals", "p-values", "reference", "C"),
    *CHECK_OUTCOMES,
    *SEVERITIES,
}


def poisoned(value: Any, poison: str) -> Any:
    """Return a record with every free string replaced and odd keys in every open object."""
    if isinstance(value, str):
        # a chapter whose rows fit no check is refused: see test_threats
        return value if value in FIXED or value.startswith("threats.") else poison
    if isinstance(value, list):
        return [poisoned(item, poison) for item in value]
    if isinstance(value, dict):
        return {key: poisoned(item, poison) for key, item in value.items()}
    return value


@pytest.mark.parametrize("poison", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_strings_are_inert(record, page, parse, poison):
    bad = poisoned(record, poison)
    bad["charts"] = bad["charts"][3:4]  # the other kinds are drawn in test_charts
    bad["subject"]["network"][poison] = poison
    bad["methods"]["settings"] = {poison: {poison: [poison] * 40}}
    bad["checks"][0]["evidence"] = {poison: poison, "list": [poison] * 100}
    source = reports.render(bad)
    found = parse(source)
    honest = {(e["tag"], *e["attrs"]) for e in page.elements}
    assert {(e["tag"], *e["attrs"]) for e in found.elements} <= honest
    assert not found.all("script")
    for ch in source:
        assert ch == "\n" or ch.isprintable() or ch in "\t\u202f"
    assert len(source.encode()) < 3_000_000


def test_hidden_characters_are_named(record):
    record["inputs"][0]["name"] = "model\u202exnno.exe"
    source = reports.render(record)
    assert "model[U+202E]xnno.exe" in source


def test_digests_are_of_what_the_record_says(minimal):
    minimal["checks"][0]["reason"] = "hidden \u202e"
    before = reports.render(minimal)
    minimal["checks"][0]["reason"] = "hidden [U+202E]"
    after = reports.render(minimal)
    assert before != after


@pytest.mark.parametrize("poison", HOSTILE, ids=range(len(HOSTILE)))
def test_exports_stay_well_formed(record, poison):
    bad = poisoned(record, poison)
    rows = list(csv.reader(io.StringIO(reports.findings_csv(bad))))
    assert {len(row) for row in rows} == {13}
    ET.fromstring(reports.junit_xml(bad))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_spreadsheets_see_no_formula(record, start):
    record["checks"][3]["title"] = start + "1+1"
    row = list(csv.reader(io.StringIO(reports.findings_csv(record))))[1]
    assert row[1].startswith("'" + start)
