"""Charts of the certificate chapter."""

from __future__ import annotations

import math
from typing import Any

from auditkit.results import Result


def certificate_charts(verified: Result) -> list[dict[str, Any]]:
    """Return what is left of the margin at each claim, real and deployed."""
    charts = []
    for check_id, title in (
        ("certificate.region", "What is left of the margin on each claimed region"),
        ("certificate.deployed", "What is left of it in deployed floats"),
    ):
        rows = verified.check(check_id).evidence.get("records", [])
        values = sorted(row["slack"] for row in rows if math.isfinite(row.get("slack", math.inf)))
        if not values:
            continue
        charts.append(
            {
                "id": check_id.replace(".", "-"),
                "section": "certificate",
                "kind": "strip",
                "title": title,
                "description": "One point a claim: how far the proved bound is beyond the margin. "
                "Below 0 nothing is proved.",
                "x_label": "proved beyond the margin (logits)",
                "values": values,
                "threshold": {"value": 0.0, "label": "proved above"},
            }
        )
    return charts
