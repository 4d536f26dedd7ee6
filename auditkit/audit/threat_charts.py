"""Chart of the chapter on dishonest behaviour: how far a change reaches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auditkit.results import CheckResult

SECTION = "threats"


def threat_charts(checks: Iterable[CheckResult], radius: float | None) -> list[dict[str, Any]]:
    """Return the curve of threats.point-patch where it was measured; `radius` is the claimed one.

    `radius` is in input units.
    """
    return [
        _reach(check, points, radius)
        for check in checks
        if check.id == "threats.point-patch" and (points := check.evidence.get("curve"))
    ]


def _reach(
    check: CheckResult, points: list[dict[str, Any]], radius: float | None
) -> dict[str, Any]:
    x = [point["distance"] for point in points]
    left = [point["change_left"] for point in points]
    markers = []
    if radius is not None and x[0] <= radius <= x[-1]:
        markers.append({"x": radius, "label": "claimed radius"})
    kept = {
        "label": "answered as before",
        "y": [point["as_before"] for point in points],
        "lower": [point["interval"][0] for point in points],
        "upper": [point["interval"][1] for point in points],
    }
    change = {"label": "change that is left (median)", "y": left}
    drawn = [kept] if None in left else [kept, change]
    return {
        "id": "threats-point-patch",
        "section": SECTION,
        "kind": "curve",
        "title": "How far what changed at the records reaches",
        "description": f"Copies of {check.n} requested records at each distance. Answered as "
        "before: the share of records most of whose copies keep the original's label, with 95 % "
        "band. Change that is left: of what moved the record's own logits.",
        "x_label": "distance from the record (∞-norm)",
        "y_label": "share",
        "x": x,
        "log_x": True,
        "shares": all(value <= 1 for series in drawn for value in series["y"]),
        "markers": markers,
        "series": drawn,
    }
