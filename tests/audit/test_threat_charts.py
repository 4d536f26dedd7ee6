"""The curve of how far a change reaches: what the check measured, and nothing where it did not."""

from __future__ import annotations

import pytest

from auditkit.audit.threat_charts import threat_charts
from auditkit.results import CheckResult, Outcome
from auditkit.threats.evidence import Evidence
from auditkit.threats.point_patch import RADII, detect
from reports.charts import draw
from tests.threats.conftest import Digits, Make, digits, make

__all__ = ["digits", "make"]


def test_the_chart_is_what_the_check_measured(make: Make, digits: Digits) -> None:
    honest = make("redirect")
    check = detect(honest, Evidence(honest.forget, digits.retain, digits.holdout), seed=0)
    [chart] = threat_charts([check], honest.assertion_radius)
    width = honest.domain.width
    assert chart["x"] == pytest.approx([radius * width for radius in RADII])
    kept, left = chart["series"]
    assert kept["y"][0] < 0.1 < 0.9 < left["y"][0], "at the record itself the patch acts"
    assert kept["y"][-1] > 0.5 > left["y"][-1], "far off it does not"
    assert all(a <= y <= b for a, y, b in zip(kept["lower"], kept["y"], kept["upper"], strict=True))
    assert [marker["label"] for marker in chart["markers"]] == ["claimed radius"]
    assert "<svg" in draw(chart, "c")


def test_nothing_is_drawn_of_what_was_not_measured() -> None:
    bare = CheckResult("threats.point-patch", "t", Outcome.FAIL, "r")
    other = CheckResult("threats.lazy", "t", Outcome.PASS, "r", evidence={"curve": [{}]})
    assert threat_charts([bare, other], 0.1) == threat_charts([], None) == []


def test_where_nothing_changed_only_the_labels_are_drawn() -> None:
    points = [
        {"distance": d, "as_before": 1.0, "interval": [0.9, 1.0], "change_left": None}
        for d in (0.1, 0.2)
    ]
    check = CheckResult(
        "threats.point-patch", "t", Outcome.INCONCLUSIVE, "r", evidence={"curve": points}, n=3
    )
    [chart] = threat_charts([check], 5.0)
    assert [series["label"] for series in chart["series"]] == ["answered as before"]
    assert chart["markers"] == [] and "<svg" in draw(chart, "c")
