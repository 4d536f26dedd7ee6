"""Charts of membership inference: rates on logarithmic axes, areas with intervals, p-values.

A rate of 0 has no place on a logarithmic axis. It is drawn where the axis says 0 and not left out:
what an attack finds without any false alarm is what a reader most wants to know.
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from reports.chart_data import MAX_POINTS, corners, floats, spread_ranks
from reports.chart_style import (
    COLOURS,
    INK,
    MARKERS,
    MAX_CATEGORIES,
    MAX_SERIES,
    band,
    caption,
    line_style,
    log_axis,
    plain_numbers,
)
from reports.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHADE = "#E4E7EB"  # of a part of a chart that is to be read with care, or as a margin
GUESS = "#6B7280"
ROC_POINTS = 64  # of one curve; three of them with bands share a chart
LEAST_P = 1e-12  # smaller p-values are drawn here; no decision depends on how much smaller


def roc(axes: Axes, chart: dict[str, Any]) -> None:
    """Draw true-positive rates over false-positive rates, both on logarithmic axes."""
    curves = []
    for series in chart["series"][:MAX_SERIES]:
        fpr, tpr = floats(series["fpr"]), floats(series["tpr"])
        size = min(len(fpr), len(tpr))
        curves.append((series, fpr[:size], tpr[:size]))
    [limit] = floats([chart.get("resolvable")])
    across = _positive([v for _, fpr, _ in curves for v in fpr] + [limit])
    upward = _positive([v for _, _, tpr in curves for v in tpr])
    x_zero, y_zero = across / 2, upward / 2
    if limit > 0:
        axes.axvspan(
            x_zero / 2,
            limit,
            color=SHADE,
            linewidth=0,
            zorder=0,
            label=f"below {number(limit, 2)}: not resolved",
        )
    start = max(x_zero, y_zero)
    axes.plot([start, 1], [start, 1], color=GUESS, linewidth=1, linestyle=(0, (1, 2)))
    named: set[str] = set()
    own = 0
    for series, fpr, tpr in curves:
        reference = series.get("role") == "reference"
        name = caption(series["label"])
        x = [v if math.isnan(v) else max(v, x_zero) for v in fpr]
        y = [v if math.isnan(v) else max(v, y_zero) for v in tpr]
        picked = corners(x, ROC_POINTS)
        if not reference:
            clipped = {
                "lower": [max(v, y_zero / 2) for v in floats(series.get("lower"))],
                "upper": [max(v, y_zero / 2) for v in floats(series.get("upper"))],
                "step": "post",
            }
            band(axes, x, clipped, picked, own)
        look = line_style((0, 1, 3)[own % 3])
        if reference:
            look = {**line_style(2), "linewidth": 1.0}
        axes.plot(
            [x[k] for k in picked],
            [y[k] for k in picked],
            label="_" + name if name in named else name,
            drawstyle="steps-post",
            **look,
        )
        named.add(name)
        own += not reference
    log_axis(axes, "x", across, 1.0, x_zero)
    log_axis(axes, "y", upward, 1.0, y_zero)
    axes.set_xlabel("False-positive rate")
    axes.set_ylabel("True-positive rate")


def _positive(values: list[float]) -> float:
    """Return the least positive number, within what an axis can show."""
    return min([0.1, *(max(v, 1e-8) for v in values if v > 0)])


def intervals(axes: Axes, chart: dict[str, Any]) -> None:
    """Draw an estimate with its interval per row and series, beside the zone of each row."""
    categories = chart["categories"][:MAX_CATEGORIES]
    rows = range(len(categories))
    zone = chart.get("zone")
    if zone:
        low, high = _row_values(zone["lower"], rows), _row_values(zone["upper"], rows)
        kept = [k for k in rows if high[k] >= low[k]]
        axes.barh(
            kept,
            [high[k] - low[k] for k in kept],
            left=[low[k] for k in kept],
            height=0.94,
            color=SHADE,
            linewidth=0,
            label=caption(zone["label"]),
        )
        centre = _row_values(zone["centre"], rows)
        axes.vlines(centre, [k - 0.47 for k in rows], [k + 0.47 for k in rows], GUESS, linewidth=1)
    every = chart["series"][:MAX_SERIES]
    step = 0.62 / max(1, len(every))
    for i, series in enumerate(every):
        at = [k + (i - (len(every) - 1) / 2) * step for k in rows]
        values = _row_values(series["values"], rows)
        low, high = _row_values(series.get("lower"), rows), _row_values(series.get("upper"), rows)
        colour = COLOURS[i % 4]
        axes.hlines(at, low, high, color=colour, linewidth=1.8)
        axes.plot(
            values,
            at,
            linestyle="none",
            marker=MARKERS[i % 4],
            markersize=6,
            color=colour,
            markerfacecolor=colour if i == 0 else "#FFFFFF",
            markeredgewidth=1.5,
            label=caption(series["label"]),
        )
    axes.set_yticks(rows, [_two_lines(name) for name in categories])
    axes.set_ylim(len(categories) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(caption(chart.get("x_label"), 60))
    plain_numbers(axes, "x")


def _two_lines(name: str) -> str:
    return "\n".join(textwrap.wrap(name, 26, max_lines=2, placeholder="…"))


def _row_values(values: Any, rows: range) -> list[float]:
    return (floats(values) + [math.nan] * len(rows))[: len(rows)]


def p_values(axes: Axes, chart: dict[str, Any]) -> None:
    """Draw p-values in order of size against their share of the records, on logarithmic axes."""
    found = sorted(v for v in floats(chart["values"]) if v >= 0)
    n = max(1, len(found), int(chart.get("total") or 0))
    [rate], [least] = floats([chart["rate"]]), floats([chart.get("least")])
    exposed = min(len(found), int(chart.get("exposed") or 0))
    bottom = max(LEAST_P, min([*found[:1], rate / n if rate > 0 else 1.0, 0.5 / n]))
    shares = [1.0 / n, 1.0]
    axes.plot(shares, shares, color=GUESS, linewidth=1.2, linestyle=(0, (1, 2)), label="never seen")
    if rate > 0:
        axes.plot(
            shares,
            [rate * v for v in shares],
            color=INK,
            linewidth=1.2,
            linestyle=(0, (5, 2)),
            label=f"limit ({number(100 * rate, 2)} % false)",
        )
    if least > 0:
        bottom = max(LEAST_P, min(bottom, least))
        axes.axhline(least, color=GUESS, linewidth=1.2, label="least p possible here")
    picked = spread_ranks(len(found), MAX_POINTS)
    for colour, marker, name, keep in (
        (COLOURS[0], "o", "not exposed", [k for k in picked if k >= exposed]),
        (COLOURS[1], "X", "exposed", [k for k in picked if k < exposed]),
    ):
        if keep:
            axes.plot(
                [(k + 1) / n for k in keep],
                [max(found[k], bottom) for k in keep],
                linestyle="none",
                marker=marker,
                markersize=5,
                color=colour,
                label=name,
            )
    log_axis(axes, "x", min(0.5, 1.0 / n), 1.0)
    log_axis(axes, "y", min(0.5, bottom), 1.0)
    axes.set_xlabel(f"Rank, as a share of {number(n)}")
    axes.set_ylabel("p-value")
