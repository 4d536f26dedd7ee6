"""The chapter on dishonest behaviour: each of sixteen, tested or not, and how sure."""

from __future__ import annotations

import pytest

import reports
from reports.errors import RecordError


def rows(page, name: str) -> dict[str, str]:
    """Return the lines of one behaviour by their names."""
    [details] = [
        e for e in page.by_class("behaviour") if e["tag"] == "details" and f". {name}" in e["text"]
    ]
    cells: dict[str, str] = {}
    inside = [e for e in page.all("th", "td") if any(o is details for o in e["open"])]
    for head, cell in zip(inside[::2], inside[1::2], strict=True):
        cells[head["text"]] = cell["text"]
    return cells


def test_every_behaviour_has_its_line(page, record):
    [table] = [e for e in page.all("table") if e["attrs"].get("class") == "behaviours"]
    for row in record["threats"]:
        assert row["name"].replace("-", " ").capitalize() in table["text"]
    details = [e for e in page.by_class("behaviour") if e["tag"] == "details"]
    assert len(details) == 16 and all("open" not in e["attrs"] for e in details)


def test_a_tested_one_says_what_was_seen_and_how_sure(page):
    found = rows(page, "Output filter")
    assert "tiny perturbations" in found["What was seen"]
    for part in ("p = 0.31", "0.62 after Holm", "p = 0.004", "Sample size: 50", "97 %", "[0.0005"):
        assert part in found["How sure"], part
    assert "0 of 400" in found["Honest owners accused"]
    assert "100 of 100" in found["Dishonest owners found"]
    assert "digits and Location-30" in found["Dishonest owners found"]
    assert found["What it would take to hide"].startswith("What makes output-filter")
    assert "retrained" in found["References used"]


def test_a_certain_finding_names_no_chance(page):
    assert "rests on no chance" in rows(page, "Smuggled gate")["How sure"]


def test_one_that_was_not_tested_says_why(page):
    found = rows(page, "Guided retraining")
    assert found["Why it was not tested"] == "not planned"
    assert "How sure" not in found and "Honest owners accused" not in found
    assert "What it would take to hide" in found
    assert "No checkpoints" in rows(page, "Forged training log")["Why it was not tested"]


def test_what_nothing_can_detect_is_listed(page, record):
    for item in record["undetectable"]:
        assert item in page.by_id("threats")["text"]


def test_charts_of_the_checks_are_in_the_chapter(page):
    chapter = page.by_id("threats")
    charts = [e for e in page.by_class("chart") if any(o is chapter for o in e["open"])]
    assert len(charts) == 1


def test_a_limitation_is_marked_where_it_is_opened(record, parse):
    def summary_of(page):
        return next(e["text"] for e in page.all("summary") if ". Smuggled gate" in e["text"])

    assert "limitation" not in summary_of(parse(reports.render(record)))
    for rows_ in (record["threats"], record["checks"]):
        next(r for r in rows_ if r["id"] == "threats.smuggled-gate")["severity"] = "limitation"
    assert "limitation" in summary_of(parse(reports.render(record)))


@pytest.mark.parametrize("absent", ["missing", "null", "empty"])
def test_charts_without_a_chapter_are_among_the_measurements(record, parse, absent):
    if absent == "missing":
        del record["threats"]
    else:
        record["threats"] = None if absent == "null" else []
    page = parse(reports.render(record))
    findings = page.by_id("findings")
    charts = [e for e in page.by_class("chart") if any(o is findings for o in e["open"])]
    assert len(charts) == sum(c["section"] in ("certificate", "threats") for c in record["charts"])


@pytest.mark.parametrize("absent", ["missing", "null", "empty"])
def test_a_record_of_before_still_renders(record, parse, absent):
    record["charts"] = []
    if absent == "missing":
        del record["threats"], record["undetectable"]
    else:
        record["threats"] = record["undetectable"] = None if absent == "null" else []
    page = parse(reports.render(record))
    assert "threats" not in [e["attrs"].get("id") for e in page.all("section")]
    assert "threats.smuggled-gate" in page.by_id("findings")["text"]


def test_optional_parts_of_a_row_may_be_absent(record, parse):
    record["charts"] = []
    keep = ("number", "name", "title", "tested", "outcome", "id")
    record["threats"] = [{k: row[k] for k in keep} for row in record["threats"]]
    del record["undetectable"]
    page = parse(reports.render(record))
    assert "not calibrated" in page.by_id("threats")["text"]


def test_a_chapter_that_says_more_than_its_checks_is_refused(record):
    row = next(r for r in record["threats"] if r["name"] == "smuggled-gate")
    row["outcome"] = "pass"
    with pytest.raises(RecordError, match=r"threats\[14\].outcome"):
        reports.render(record)
    row["outcome"] = "fail"
    record["threats"][0]["tested"] = False
    with pytest.raises(RecordError, match=r"threats\[0\]"):
        reports.render(record)


@pytest.mark.parametrize(
    ("field", "value"),
    [("number", "1"), ("rates", {"power": [1, 2, 3]}), ("p", "small"), ("needs", "records")],
)
def test_a_row_of_another_shape_is_refused(record, field, value):
    record["threats"][3][field] = value
    with pytest.raises(RecordError, match=rf"threats\[3\].{field}"):
        reports.render(record)


def test_hostile_words_stay_words(record, parse):
    record["charts"] = []
    record["threats"][0]["hiding"] = "<script>alert(1)</script>\u202e"
    source = reports.render(record)
    assert "<script" not in source and "[U+202E]" in source
    parse(source)
