"""Charts: thinned, the same every time, without inline style, and never empty-handed."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

import reports
from reports.chart_data import MAX_POINTS, MAX_ROWS, data_table, floats, thin
from reports.charts import draw


def charts(record):
    """Return the charts of a record by kind."""
    return {chart["kind"]: chart for chart in record["charts"]}


KINDS = ["roc", "histogram", "curve", "bars", "strip", "intervals", "p-values"]


@pytest.mark.parametrize("kind", KINDS)
def test_drawing_is_well_formed_and_repeatable(record, kind):
    chart = charts(record)[kind]
    drawn = draw(chart, "c")
    assert drawn == draw(chart, "c")
    root = ET.fromstring(drawn)
    for element in root.iter():
        assert "style" not in element.attrib
        assert element.tag not in ("style", "script", "metadata", "image", "foreignObject")
    assert root[0].text == chart["title"]
    assert root[1].text == chart["description"]
    assert len(drawn) < 40_000


@pytest.mark.parametrize("kind", KINDS)
def test_data_table_is_rectangular_and_short(record, kind):
    table = data_table(charts(record)[kind])
    assert 1 <= len(table.rows) <= MAX_ROWS + 4
    assert all(len(row) == len(table.columns) for row in table.rows)


@pytest.mark.parametrize(
    "empty",
    [
        {"kind": "roc", "series": []},
        {"kind": "roc", "series": [{"label": "a", "fpr": [], "tpr": []}]},
        {"kind": "roc", "series": [{"label": "a", "fpr": [0, 0], "tpr": [0, 0]}]},
        {"kind": "histogram", "edges": [], "series": [{"label": "a", "counts": []}]},
        {"kind": "histogram", "edges": [0, 1], "series": [{"label": "a", "counts": [0]}]},
        {"kind": "curve", "x": [], "series": [], "log_x": True},
        {
            "kind": "curve",
            "x": [0, 1],
            "series": [{"label": "a", "y": [None, "inf"]}],
            "log_x": True,
        },
        {"kind": "curve", "x": [0], "series": [], "markers": [{"x": "nan", "label": "m"}]},
        {"kind": "bars", "categories": [], "series": []},
        {"kind": "bars", "categories": ["a"], "series": [{"label": "s", "values": [None]}]},
        {"kind": "strip", "values": []},
        {"kind": "strip", "values": ["nan", None], "threshold": {"value": 0, "label": "t"}},
        {"kind": "strip", "values": [1e300, -1e300]},
    ],
)
def test_empty_and_odd_charts(minimal, empty):
    minimal["charts"] = [{"id": "x", "section": "threats", "title": "t", **empty}]
    assert "<figure" in reports.render(minimal)


@pytest.mark.parametrize("kind", KINDS)
def test_dollars_are_not_formulas(record, kind):
    chart = charts(record)[kind]
    chart["x_label"] = chart["y_label"] = "$\\bad{ x"
    for series in chart.get("series", []):
        series["label"] = "$a_{"
    draw(chart, "c")


def test_thin_keeps_the_ends_and_the_limit():
    x = [k / 5000 for k in range(5001)]
    for log in (False, True):
        picked = thin(x, MAX_POINTS, log=log)
        assert picked[0] == 0
        assert picked[-1] == 5000
        assert len(picked) <= MAX_POINTS
        assert picked == sorted(set(picked))


def test_thin_is_even_on_the_axis_that_is_drawn():
    x = [10 ** (-4 + 4 * k / 9999) for k in range(10_000)]
    picked = [x[k] for k in thin(x, MAX_POINTS, log=True)]
    assert sum(v < 0.01 for v in picked) == pytest.approx(MAX_POINTS / 2, abs=3)


def test_thin_of_what_does_not_ascend():
    assert len(thin([1.0, 0.0] * 500, 20)) <= 20
    assert len(thin([0.0] * 500, 20, log=True)) <= 20


def test_floats():
    assert floats([1, "inf", None, 0.5])[0] == 1.0
    assert math.isnan(floats(["inf"])[0])
    assert floats(None) == []
