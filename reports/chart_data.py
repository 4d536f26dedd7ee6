"""The numbers of a chart, thinned for drawing and as a table for those who do not look.

Nothing here draws. Numbers that are not finite become gaps.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reports.text import number, shorten

MAX_POINTS = 200  # of one curve; more cannot be told apart at the size of a report
MAX_ROWS = 24  # of the table beside a chart; the record has every point


@dataclass(frozen=True)
class Table:
    """Columns and rows of text, with a caption; `rows` are as long as `columns`."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def floats(values: Any) -> list[float]:
    """Return numbers of a record as floats; null and what is not finite become NaN."""
    out = []
    for value in values or []:
        finite = value is not None and math.isfinite(float(value))
        out.append(float(value) if finite else math.nan)
    return out


def thin(x: Sequence[float], limit: int, *, log: bool = False) -> list[int]:
    """Return at most `limit` indices into ascending `x`, evenly spread over its axis."""
    size = len(x)
    if size <= limit:
        return list(range(size))
    ends = [v for v in x if math.isfinite(v) and (v > 0 or not log)]
    ascending = all(a <= b for a, b in itertools.pairwise(x))
    if not ascending or len(ends) < 2 or ends[0] == ends[-1]:
        return sorted({round(i * (size - 1) / (limit - 1)) for i in range(limit)})
    low, high = (math.log(ends[0]), math.log(ends[-1])) if log else (ends[0], ends[-1])
    picked = {0, size - 1}
    for step in range(limit - 2):
        at = low + (high - low) * step / (limit - 3)
        picked.add(min(size - 1, bisect.bisect_left(x, math.exp(at) if log else at)))
    return sorted(picked)


def corners(x: Sequence[float], limit: int) -> list[int]:
    """Return at most `limit` indices into the steps of a curve: the last at each `x`, thinned.

    A step's upper end is what an attack achieves at that rate; drawn as steps, nothing is lost but
    points that cannot be told apart. Points without an `x` are left out.
    """
    size = len(x)
    ends = [k for k in range(size) if math.isfinite(x[k]) and (k == size - 1 or x[k + 1] != x[k])]
    return [ends[k] for k in thin([x[k] for k in ends], limit, log=True)]


def spread_ranks(size: int, limit: int) -> list[int]:
    """Return at most `limit` of the ranks 0 to size - 1, every one of the first, fewer later on."""
    if size <= limit:
        return list(range(size))
    return thin([float(k + 1) for k in range(size)], limit, log=True)


def data_table(chart: dict[str, Any]) -> Table:
    """Return the numbers of a chart as a table of at most MAX_ROWS rows."""
    builders = {
        "roc": _roc,
        "histogram": _histogram,
        "curve": _curve,
        "bars": _bars,
        "strip": _strip,
        "intervals": _intervals,
        "p-values": _p_values,
    }
    columns, rows, total = builders[chart["kind"]](chart)
    caption = f"Data of the chart “{shorten(chart['title'], 120)}”"
    if total > len(rows):
        caption += f", {len(rows)} of {number(total)} points"
    return Table(caption, tuple(columns), tuple(tuple(row) for row in rows))


def _cell(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else number(value)


def _at(values: list[float], index: int) -> float | None:
    return values[index] if index < len(values) else None


def _with_band(values: list[float], series: dict[str, Any], index: int) -> str:
    body = _cell(_at(values, index))
    if not (series.get("lower") and series.get("upper")):
        return body
    low = _cell(_at(floats(series["lower"]), index))
    high = _cell(_at(floats(series["upper"]), index))
    return f"{body} [{low}, {high}]"


def _roc(chart: dict[str, Any]) -> tuple[list[str], list[list[str]], int]:
    rows = []
    total = 0
    share = MAX_ROWS // max(1, len(chart["series"]))
    for series in chart["series"]:
        fpr, tpr = floats(series["fpr"]), floats(series["tpr"])
        total += len(fpr)
        for i in corners(fpr[: len(tpr)], max(4, share)):
            rows.append([series["label"], _cell(fpr[i]), _with_band(tpr, series, i)])
    return ["Series", "False-positive rate", "True-positive rate"], rows, total


def _histogram(chart: dict[str, Any]) -> tuple[list[str], list[list[str]], int]:
    edges = floats(chart["edges"])
    counts = [floats(series["counts"]) for series in chart["series"]]
    columns = ["From", "To", *(series["label"] for series in chart["series"])]
    bins = max(0, len(edges) - 1)
    group = max(1, math.ceil(bins / MAX_ROWS))
    rows = []
    for start in range(0, bins, group):
        stop = min(start + group, bins)
        sums = [sum(v for v in c[start:stop] if not math.isnan(v)) for c in counts]
        rows.append([_cell(edges[start]), _cell(edges[stop]), *(_cell(s) for s in sums)])
    return columns, rows, len(rows)


def _curve(chart: dict[str, Any]) -> tuple[list[str], list[list[str]], int]:
    x = floats(chart["x"])
    columns = [chart.get("x_label") or "x", *(series["label"] for series in chart["series"])]
    ys = [(floats(series["y"]), series) for series in chart["series"]]
    picked = thin(x, MAX_ROWS, log=bool(chart.get("log_x")))
    rows = [[_cell(x[i]), *(_with_band(y, series, i) for y, series in ys)] for i in picked]
    return columns, rows, len(x)


def _bars(chart: dict[str, Any]) -> tuple[list[str], list[list[str]], int]:
    columns = ["", *(series["label"] for series in chart["series"])]
    columns[0] = "Category"
    values = [(floats(series["values"]), series) for series in chart["series"]]
    rows = [
        [category, *(_with_band(v, series, i) for v, series in values)]
        for i, category in enumerate(chart["categories"][:MAX_ROWS])
    ]
    return columns, rows, len(chart["categories"])


def _strip(chart: dict[str, Any]) -> tuple[list[str], list[list[str]], int]:
    values = sorted(v for v in floats(chart["values"]) if not math.isnan(v))
    rows = [["Number of values", number(len(values))]]
    lost = len(chart["values"]) - len(values)
    if lost:
        rows.append(["Not finite, not drawn", number(lost)])
    if values:
        last = len(values) - 1
        for name, share in (
            ("Least", 0.0),
            ("Lower quartile", 0.25),
            ("Median", 0.5),
            ("Upper quartile", 0.75),
            ("Greatest", 1.0),
        ):
            rows.append([name, number(values[round(share * last)])])
    if chart.get("threshold"):
        limit = float(chart["threshold"]["value"])
        rows.append([f"Threshold ({chart['threshold']['label']})", number(limit)])
        rows.append(["Below the threshold", number(sum(v < limit for v in values))])
    return ["Figure", "Value"], rows, 0


def _intervals(chart: dict[str, Any]) -> tuple[list[str], list[list[str]], int]:
    columns = ["Row", *(series["label"] for series in chart["series"])]
    values = [(floats(series["values"]), series) for series in chart["series"]]
    zone = chart.get("zone")
    if zone:
        columns.append(zone["label"])
        values.append((floats(zone["centre"]), zone))
    rows = [
        [category, *(_with_band(v, series, i) for v, series in values)]
        for i, category in enumerate(chart["categories"][:MAX_ROWS])
    ]
    return columns, rows, len(chart["categories"])


def _p_values(chart: dict[str, Any]) -> tuple[list[str], list[list[str]], int]:
    found = sorted(v for v in floats(chart["values"]) if v >= 0)
    [rate] = floats([chart["rate"]])
    total = max(len(found), int(chart.get("total") or 0))
    rows = [
        [number(k + 1), _cell(found[k]), _cell(rate * (k + 1) / total)]
        for k in spread_ranks(len(found), MAX_ROWS)
    ]
    rows = rows or [["none", "–", "–"]]
    return ["Rank", "p-value", "Limit at this rank"], rows, total
