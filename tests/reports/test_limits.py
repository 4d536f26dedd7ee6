"""What a certificate cannot say has a section of its own and is not among what passed."""

from __future__ import annotations

import copy
from typing import Any

import reports
from reports.charts import draw

SHOWN = {
    "id": "limits.regions",
    "title": "How many records share the regions",
    "outcome": "pass",
    "required": False,
    "severity": "info",
    "reason": "a gate is open at 7 of 90 others",
}
CURVE = {
    "id": "limits-neighbourhood",
    "section": "limits",
    "kind": "curve",
    "title": "Noisy copies",
    "x": [0.001, 0.1],
    "log_x": True,
    "shares": True,
    "series": [{"label": "Gaussian", "y": [0.9, 0.95], "lower": None, "upper": None}],
}
TABLE = {
    "id": "limits",
    "section": "limits",
    "title": "What else",
    "columns": ["Measure", "Value"],
    "rows": [["share of others", 0.078]],
}


def sections(parse, record: dict[str, Any]) -> dict[str, str]:
    page = parse(reports.render(record))
    return {e["attrs"]["id"]: e["text"] for e in page.all("section") if "id" in e["attrs"]}


def with_limits(record: dict[str, Any], **check: object) -> dict[str, Any]:
    changed = copy.deepcopy(record)
    changed["checks"].append({**SHOWN, **check})
    changed["charts"] = [*(changed.get("charts") or []), CURVE]
    changed["tables"] = [*(changed.get("tables") or []), TABLE]
    return changed


def test_no_section_without_measurements(record, parse):
    assert "limits" not in sections(parse, record)


def test_measurements_are_shown_and_not_passed(record, parse):
    found = sections(parse, with_limits(record))
    assert SHOWN["reason"] in found["limits"]
    assert CURVE["title"] in found["limits"]
    assert TABLE["rows"][0][0] in found["limits"]
    assert "PASS" not in found["limits"]
    for other in ("passed", "findings", "appendix"):
        assert SHOWN["title"] not in found[other]
        assert TABLE["rows"][0][0] not in found[other]


def test_what_was_not_measured_says_why(record, parse):
    found = sections(parse, with_limits(record, outcome="not_run", reason="no key"))
    assert "Not measured: no key" in found["limits"]
    assert "no key" in found["not-run"]


def test_a_share_is_drawn_on_its_whole_range():
    drawn = draw(CURVE, "a")
    assert ">0<" in drawn.replace(" ", "")
    assert ">0<" not in draw({**CURVE, "shares": False}, "a").replace(" ", "")
