"""Charts of a record, drawn as SVG with the same bytes every time.

Here are the kinds that any check may use; those of membership inference are in `charts_attacks`.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reports import charts_attacks, svg
from reports.chart_data import MAX_POINTS, floats, thin
from reports.chart_style import (
    COLOURS,
    HATCHES,
    HEIGHT,
    INK,
    MARKERS,
    MAX_CATEGORIES,
    MAX_SERIES,
    SETTINGS,
    TINTS,
    WIDE,
    WIDTH,
    band,
    caption,
    line_style,
    log_axis,
    plain_numbers,
    upright,
)
from reports.text import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(chart: dict[str, Any], prefix: str) -> str:
    """Return the SVG element of a chart whose strings are inert; `prefix` is for identifiers."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    painters: dict[str, Callable[[Axes, dict[str, Any]], None]] = {
        "roc": charts_attacks.roc,
        "intervals": charts_attacks.intervals,
        "p-values": charts_attacks.p_values,
        "histogram": _histogram,
        "curve": _curve,
        "bars": _bars,
        "strip": _strip,
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about letters that the measuring font lacks
        matplotlib.rcdefaults()  # whatever a style file on this machine says
        matplotlib.rcParams.update(SETTINGS)
        figure = Figure(figsize=_size(chart), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        painters[chart["kind"]](axes, chart)
        _legend(figure, axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=72)
    described = chart.get("description") or f"Chart of kind {chart['kind']}."
    return svg.inline(buffer.getvalue(), prefix, chart["title"], described)


def _size(chart: dict[str, Any]) -> tuple[float, float]:
    if chart["kind"] not in ("bars", "intervals"):
        return WIDTH, HEIGHT
    rows = min(len(chart["categories"]), MAX_CATEGORIES)
    series = max(1, len(chart["series"]))
    if chart["kind"] == "bars":
        return WIDTH, max(2.4, 1.2 + 0.3 * rows * series)
    return WIDE, max(2.4, 1.4 + (0.16 + 0.14 * series) * rows)


def is_wide(chart: dict[str, Any]) -> bool:
    """Return whether a chart takes the whole width of a page."""
    return chart["kind"] == "intervals"


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        wide = max(len(label) for label in labels)
        columns = 3 if wide <= 14 else 2 if wide <= 26 else 1
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderaxespad=0.2)


def _histogram(axes: Axes, chart: dict[str, Any]) -> None:
    edges = floats(chart["edges"])
    if any(math.isnan(v) for v in edges):
        edges = []  # a bar without a place is not drawn
    for i, series in enumerate(chart["series"][:MAX_SERIES]):
        counts = [0.0 if math.isnan(v) else v for v in floats(series["counts"])]
        counts = (counts + [0.0] * len(edges))[: max(0, len(edges) - 1)]
        total = sum(counts)
        shares = [v / total if total else 0.0 for v in counts]
        if not shares:
            continue
        style = line_style(i)
        if i == 0:
            axes.stairs(shares, edges, fill=True, color=style["color"], alpha=0.14, linewidth=0)
        name = f"{caption(series['label'], 36)} (n={number(int(total))})"
        axes.stairs(shares, edges, label=name, linewidth=1.6, **style)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(caption(chart.get("x_label"), 60))
    axes.set_ylabel("Share of the group")
    plain_numbers(axes, "x")
    plain_numbers(axes, "y")


def _curve(axes: Axes, chart: dict[str, Any]) -> None:
    x = floats(chart["x"])
    log = bool(chart.get("log_x")) and any(v > 0 for v in x)
    shown = [v for v in x if v > 0 or not (log or math.isnan(v))]
    zero = min(shown) / 3 if log and 0.0 in x else None
    for i, series in enumerate(chart["series"][:MAX_SERIES]):
        y = (floats(series["y"]) + [math.nan] * len(x))[: len(x)]
        picked = [k for k in thin(x, MAX_POINTS, log=log) if not log or x[k] > 0]
        band(axes, x, series, picked, i)
        look: dict[str, Any] = {
            "marker": MARKERS[i % 4] if len(picked) <= 30 else None,
            "markersize": 5,
            **line_style(i),
        }
        axes.plot(
            [x[k] for k in picked], [y[k] for k in picked], label=caption(series["label"]), **look
        )
        if zero is not None:  # a point of its own: no line leads to it on this axis
            _at_zero(axes, zero, x.index(0.0), y, series, {**look, "marker": MARKERS[i % 4]})
    if log:
        log_axis(axes, "x", min(shown), max(shown), zero)
    if chart.get("shares"):
        axes.set_ylim(-0.02, 1.02)  # the whole range of a share, so that little looks little
    for guide in (chart.get("guides") or [])[:4]:
        level = floats([guide["y"]])[0]
        if not math.isnan(level):
            axes.axhline(level, color=INK, linewidth=1, linestyle=(0, (1, 2)))
            axes.annotate(
                caption(guide["label"], 48),
                (1.0, level),
                xycoords=("axes fraction", "data"),
                xytext=(0, -3),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=11,
            )
    for i, marker in enumerate((chart.get("markers") or [])[:4]):
        upright(axes, marker["x"], marker["label"], i)
    axes.set_xlabel(caption(chart.get("x_label"), 60))
    axes.set_ylabel(caption(chart.get("y_label"), 48))
    if not log:
        plain_numbers(axes, "x")
    plain_numbers(axes, "y")


def _at_zero(
    axes: Axes, at: float, k: int, y: list[float], series: dict[str, Any], look: dict[str, Any]
) -> None:
    low, high = floats(series.get("lower")), floats(series.get("upper"))
    if len(low) == len(high) == len(y):
        axes.vlines([at], [low[k]], [high[k]], color=look["color"], alpha=0.4, linewidth=4)
    axes.plot([at], [y[k]], **look)


def _bars(axes: Axes, chart: dict[str, Any]) -> None:
    categories = chart["categories"][:MAX_CATEGORIES]
    all_series = chart["series"][:MAX_SERIES]
    step = 0.8 / max(1, len(all_series))
    for i, series in enumerate(all_series):
        values = (floats(series["values"]) + [math.nan] * len(categories))[: len(categories)]
        at = [k + (i - (len(all_series) - 1) / 2) * step for k in range(len(categories))]
        axes.barh(
            at,
            [0.0 if math.isnan(v) else v for v in values],
            height=step * 0.86,
            label=caption(series["label"]),
            facecolor=TINTS[i % 4],
            edgecolor=COLOURS[i % 4],
            linewidth=1.2,
            hatch=HATCHES[i % 4],
        )
        low, high = floats(series.get("lower")), floats(series.get("upper"))
        if len(low) == len(high) == len(values):
            axes.hlines(at, low, high, color=INK, linewidth=1.4)
            axes.plot([*low, *high], [*at, *at], "|", color=INK, markersize=7)
    axes.set_yticks(range(len(categories)), [caption(c, 30) for c in categories])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(caption(chart.get("y_label"), 60))
    plain_numbers(axes, "x")


def _strip(axes: Axes, chart: dict[str, Any]) -> None:
    values = sorted(v for v in floats(chart["values"]) if not math.isnan(v))
    threshold = chart.get("threshold")
    limit = floats([threshold["value"]])[0] if threshold else math.nan
    picked = sorted({round(k * (len(values) - 1) / 199) for k in range(200)} if values else ())
    ranks = [k + 1 for k in picked]
    for colour, marker, keep in (
        (COLOURS[0], "o", lambda v: not v < limit),
        (COLOURS[1], "X", lambda v: v < limit),
    ):
        points = [(values[k], r) for k, r in zip(picked, ranks, strict=True) if keep(values[k])]
        if points:
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, linestyle="none", marker=marker, color=colour, markersize=5)
    if threshold:
        upright(axes, threshold["value"], threshold["label"])
    axes.set_xlabel(caption(chart.get("x_label"), 60))
    axes.set_ylabel("Records, in order of value")
    plain_numbers(axes, "x")
    plain_numbers(axes, "y")
