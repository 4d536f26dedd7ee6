"""The membership chapter: what it says, what its charts and tables show, and never a nan."""

from __future__ import annotations

import copy
import math
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reports
from reports import words
from reports.chart_data import MAX_POINTS, corners, data_table, spread_ranks
from reports.charts import draw
from reports.text import figure
from tests.reports.conftest import Page
from tests.reports.example import passing_record

NOT_RUN = {
    "id": "attack.loss",
    "title": "Loss threshold",
    "outcome": "not_run",
    "required": False,
    "severity": "limitation",
    "reason": "the forgotten records are withheld",
}
COHORT = {
    **NOT_RUN,
    "id": "attack.cohort",
    "title": "All attacks together",
    "outcome": "inconclusive",
    "reason": "undecided: loss",
}


def chapter(record: dict[str, Any]) -> str:
    """Return the text of the chapter, without white space that does not show."""
    page = Page(reports.render(record))
    [found] = [e for e in page.all("section") if e["attrs"].get("id") == "membership"]
    return " ".join(found["text"].split())


def drawn_text(chart: dict[str, Any]) -> list[str]:
    """Return the words and numbers written in a drawing."""
    root = ET.fromstring(draw(chart, "c"))
    return [(e.text or "").strip() for e in root.iter() if e.tag == "text"]


def test_no_chapter_without_attacks(minimal):
    assert 'id="membership"' not in reports.render(minimal)


def test_the_chapter_says_what_was_available_and_what_stays_unknown(record):
    said = chapter(record)
    assert words.TIERS["C"] in said
    assert words.TIER_UNKNOWN["C"].split(",")[0] in said
    for part in (
        "350 forgotten (of 214 people), 300 unseen, 4000 retained",
        "1 model retrained",
        "64 models, each trained on half of 4650 records. Recipe: epochs 30, optimizer adam.",
        "2 ran, 2 of them judged together",
        "1 did not run",
        "margin on AUC 0.05",
        "A chance of 80 % takes 310 forgotten records.",
        "No training set was supplied",
    ):
        assert part in said


@pytest.mark.parametrize("tier", ["A", "B", "C"])
def test_every_tier_has_words(minimal, tier):
    minimal["membership"] = {"tier": tier}
    said = chapter(minimal)
    assert f"Tier {tier}" in said
    assert words.TIER_UNKNOWN[tier][:40] in said
    minimal["membership"]["unknown"] = "whatever was done elsewhere"
    assert "whatever was done elsewhere" in chapter(minimal)


def test_no_attack_that_ran(minimal):
    minimal["checks"].append(NOT_RUN)
    said = chapter(minimal)
    assert words.MEMBERSHIP_WITHOUT in said
    assert NOT_RUN["reason"] in said


def test_a_small_request_says_that_there_is_no_cohort(minimal):
    minimal["membership"] = {"tier": "B", "cohort": False, "no_shadows": "none were asked for"}
    said = chapter(minimal)
    assert words.NO_COHORT in said
    assert "None: none were asked for." in said


def test_answers_lead_to_their_finding(minimal, parse):
    minimal["checks"].append(COHORT)
    minimal["outcome"] = "pass"  # it is not required
    page = parse(reports.render(minimal))
    [link] = [e for e in page.all("a") if "attack.cohort" in e["text"]]
    target = page.by_id(link["attrs"]["href"].removeprefix("#"))
    assert COHORT["reason"] in target["text"]


def test_evidence_of_what_decides_is_never_closed(minimal, parse):
    failed = {**COHORT, "outcome": "fail", "evidence": {"a": 1}}
    open_question = {**COHORT, "id": "attack.x", "evidence": {"a": 1}}
    required = {**open_question, "id": "attack.y", "required": True}
    minimal["checks"] += [failed, open_question, required]
    minimal["outcome"] = "inconclusive"
    page = parse(reports.render(minimal))
    cards = " ".join(e["text"] for e in page.by_class("finding"))
    assert COHORT["id"] in cards and "attack.y" in cards and "attack.x" not in cards
    [folded] = page.by_class("undecided")
    assert "attack.x" in folded["text"] and words.REMEDY_UNDECIDED in " ".join(
        folded["text"].split()
    )


def test_rows_that_begin_alike_stand_under_one_heading(record, parse):
    page = parse(reports.render(record))
    spans = [e["text"] for e in page.all("th") if e["attrs"].get("rowspan") == "2"]
    assert spans == ["LiRA offline", "loss"]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ({"value": 0.5181142, "interval": [0.4606, 0.57508]}, "0.518 [0.461, 0.575]"),
        ({"value": 0.00012, "interval": [0.0001, 0.00019]}, "0.000120 [0.000100, 0.000190]"),
        ({"value": -0.0004, "interval": [-0.2, 0.2]}, "0.000 [−0.200, 0.200]"),
        ({"value": 1.0, "interval": [1.0, 1.0]}, "1.000 [1.000, 1.000]"),
        ({"value": 2.25}, "2.250"),
        ({"value": 0.5, "interval": [None, 0.7]}, "0.500 [–, 0.700]"),
        ({"value": None, "interval": [0.1, 0.2]}, "–"),
        ({"value": "nan", "interval": ["nan", "inf"]}, "–"),
        ({"value": math.nan, "interval": None}, "–"),
        ({"value": 1e300, "interval": [0, 1]}, "1×10³⁰⁰ [0.000, 1.000]"),
        ({"needs": 3000}, "refused: needs 3000"),
        (None, "–"),
        ("nan", "–"),
        (math.nan, "–"),
        (0.25, "0.25"),
        (True, "yes"),
        ("exposed", "exposed"),
    ],
)
def test_cells(cell, shown):
    assert figure(cell) == shown


ROC = {
    "kind": "roc",
    "title": "t",
    "series": [
        {"label": "after", "fpr": [0, 0, 0.01, 0.01, 1], "tpr": [0, 0.2, 0.2, 0.5, 1]},
        {"label": "retrained", "role": "reference", "fpr": [0, 1], "tpr": [0, 1]},
        {"label": "retrained", "role": "reference", "fpr": [0, 1], "tpr": [0, 1]},
    ],
    "resolvable": 0.03,
}


def test_what_is_found_without_a_false_alarm_is_drawn_and_in_the_table():
    written = drawn_text(ROC)
    assert written.count("0") == 2  # a place for 0 on either axis
    rows = [row for row in data_table({**ROC, "series": ROC["series"][:1]}).rows if row[1] == "0"]
    assert rows == [("after", "0", "0.2")]


def test_a_rate_that_is_not_resolved_is_marked_and_references_are_named_once():
    written = drawn_text(ROC)
    assert "below 0.03: not resolved" in written
    assert written.count("retrained") == 1
    assert not any("not resolved" in t for t in drawn_text({**ROC, "resolvable": None}))


def test_corners_keep_the_upper_end_of_every_step():
    x = [0.0, 0.0, 0.0, 0.1, 0.1, 0.5, math.nan, 1.0, 1.0]
    assert corners(x, 100) == [2, 4, 5, 8]
    many = [k // 7 / 1000 for k in range(7001)]
    picked = corners(many, MAX_POINTS)
    assert len(picked) <= MAX_POINTS
    assert picked[0] == 6
    assert all(k == 7000 or many[k + 1] > many[k] for k in picked)


def test_the_first_ranks_are_all_kept():
    assert spread_ranks(3, 10) == [0, 1, 2]
    picked = spread_ranks(100_000, 200)
    assert len(picked) <= 200
    assert picked[:8] == list(range(8))
    assert picked[-1] == 99_999


def test_p_values_are_shares_of_all_records():
    chart = {"kind": "p-values", "title": "t", "values": [1e-6, 0.2], "rate": 0.05, "exposed": 1}
    assert {"exposed", "not exposed", "limit (5 % false)"} <= set(drawn_text(chart))
    assert "Rank, as a share of 2" in drawn_text(chart)
    assert "Rank, as a share of 900" in drawn_text({**chart, "total": 900})
    assert data_table({**chart, "total": 100}).rows[0] == ("1", "1×10⁻⁶", "0.0005")


def test_a_radius_of_zero_has_a_place_on_a_logarithmic_axis():
    chart = {
        "kind": "curve",
        "title": "t",
        "x": [0, 0.001, 0.1],
        "log_x": True,
        "series": [{"label": "a", "y": [0.25, 0.5, 0.75], "lower": [0.2] * 3, "upper": [0.9] * 3}],
        "guides": [{"y": 0.5, "label": "guessing"}, {"y": "nan", "label": "lost"}],
        "markers": [{"x": 0.01, "label": "certified"}],
    }
    written = drawn_text(chart)
    assert "0" in written
    assert "guessing" in written
    assert "certified" in written
    assert "lost" not in written
    assert "0" not in drawn_text({**chart, "x": [0.0001, 0.001, 0.1]})


ODD = st.one_of(
    st.none(),
    st.sampled_from(["nan", "inf", "-inf"]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0, 1),
    st.integers(-3, 10**6),
)
LISTS = st.lists(ODD, max_size=7)
REAL = st.sampled_from([0.05, 0.0, -1.0, 1e-300, "nan", "inf", "-inf", math.nan, 7])


@st.composite
def charts(draw_from: Any) -> dict[str, Any]:
    """A chart of any kind with numbers that no honest audit gives."""
    kind = draw_from(st.sampled_from(["roc", "histogram", "curve", "intervals", "p-values"]))
    chart: dict[str, Any] = {"id": "c", "kind": kind, "section": "membership", "title": "t"}

    def series(*names: str) -> list[dict[str, Any]]:
        made = []
        for index in range(draw_from(st.integers(0, 3))):
            values = {name: draw_from(LISTS) for name in names}
            band = {"lower": draw_from(LISTS), "upper": draw_from(LISTS)}
            made.append({"label": f"s{index}", **values, **band})
        return made

    if kind == "roc":
        return {**chart, "series": series("fpr", "tpr"), "resolvable": draw_from(REAL)}
    if kind == "histogram":
        edges = sorted(draw_from(st.lists(st.floats(-1e6, 1e6), max_size=7, unique=True)))
        return {**chart, "edges": draw_from(st.just(edges) | LISTS), "series": series("counts")}
    if kind == "curve":
        marks = {"markers": [{"x": draw_from(REAL), "label": "m"}]}
        guides = {"guides": [{"y": draw_from(REAL), "label": "g"}]}
        log = {"log_x": draw_from(st.booleans())}
        return {**chart, "x": draw_from(LISTS), "series": series("y"), **marks, **guides, **log}
    if kind == "intervals":
        zone = {name: draw_from(LISTS) for name in ("centre", "lower", "upper")}
        names = ["a", "b b" * 20, ""][: draw_from(st.integers(0, 3))]
        zoned = {"zone": {"label": "z", **zone}} if draw_from(st.booleans()) else {}
        return {**chart, "categories": names, "series": series("values"), **zoned}
    more = {"exposed": draw_from(st.integers(-2, 9)), "total": draw_from(st.integers(-2, 99))}
    return {
        **chart, "values": draw_from(LISTS), "rate": draw_from(REAL), "least": draw_from(REAL),
        **more,
    }  # fmt: skip


def test_an_axis_of_all_the_magnitudes_there_are():
    chart = {"kind": "curve", "title": "t", "x": [0, 5e-324, 1.0, 1.6e308], "log_x": True}
    draw({**chart, "series": [{"label": "a", "y": [0.1, 0.2, 0.3, 0.4]}]}, "c")
    draw({**chart, "x": [1.0, 1.6e302], "series": []}, "c")


NAN = re.compile(r"\bnan\b|\binf\b|not a number|∞", re.IGNORECASE)


@settings(max_examples=150, deadline=None)
@given(charts())
def test_a_chart_never_shows_a_nan(chart):
    record = passing_record()
    reports.record.validate_record({**record, "charts": [chart]})
    assert not NAN.search(draw(chart, "c"))
    table = data_table(chart)
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert not any(NAN.search(cell) for row in table.rows for cell in row)


FIGURE = st.one_of(st.none(), st.just("nan"), st.floats(-9, 9), st.floats(-1e300, 1e300))
CELL = st.one_of(  # a number that JSON has no literal for is refused before
    FIGURE,
    st.fixed_dictionaries({"value": FIGURE}, optional={"interval": st.lists(FIGURE, max_size=3)}),
    st.fixed_dictionaries({"needs": st.integers(0, 10**9)}),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(CELL, min_size=0, max_size=4), max_size=4))
def test_a_table_never_shows_a_nan(rows):
    record = copy.deepcopy(passing_record())
    record["tables"] = [
        {"id": "t", "section": "membership", "title": "t", "columns": list("abc"), "rows": rows}
    ]
    page = Page(reports.render(record))
    [section] = [e for e in page.all("section") if e["attrs"].get("id") == "membership"]
    assert not NAN.search(section["text"])


def test_a_table_says_how_many_rows_there_are_in_all(minimal):
    table = {"id": "t", "section": "membership", "title": "t", "columns": ["a"], "rows": [["x"]]}
    minimal["tables"] = [{**table, "total": 700}]
    assert "the first 1 rows; 699 more are not shown" in chapter(minimal)
    minimal["tables"] = [table]
    assert "not shown" not in chapter(minimal)
