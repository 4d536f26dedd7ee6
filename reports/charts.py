"""Charts of a record, drawn as SVG with the same bytes every time.

A series differs from the next by colour, by line or hatch and by marker, so that a chart also
reads in grey. Small sizes are drawn, so that letters stay legible on a narrow screen.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reports import svg
from reports.chart_data import MAX_POINTS, floats, thin
from reports.text import number, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#005A8C", "#A63D00", "#595959", "#7A5200")
_TINTS = ("#C6DCE9", "#F0D0BF", "#DDDDDD", "#EADBB8")  # of the colours, for bars
_INK = "#1F2328"
_RULE = "#D5D9DE"
_DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_MARKERS = ("o", "s", "^", "D")
_HATCHES = ("", "///", "...", "xxx")
_WIDTH = 5.9  # inches of 72 units, of which a chart on a page of the report is about as wide
_HEIGHT = 3.8
_MAX_CATEGORIES = 40
_MAX_SERIES = 8

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "auditkit",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "font.size": 12,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": "#6B7280",
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": _RULE,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "hatch.linewidth": 0.7,
    "lines.linewidth": 1.8,
}


def draw(chart: dict[str, Any], prefix: str) -> str:
    """Return the SVG element of a chart whose strings are inert; `prefix` is for identifiers."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    painters: dict[str, Callable[[Axes, dict[str, Any]], None]] = {
        "roc": _roc,
        "histogram": _histogram,
        "curve": _curve,
        "bars": _bars,
        "strip": _strip,
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about letters that the measuring font lacks
        matplotlib.rcdefaults()  # whatever a style file on this machine says
        matplotlib.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(_WIDTH, _height(chart)), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        painters[chart["kind"]](axes, chart)
        _legend(figure, axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=72)
    described = chart.get("description") or f"Chart of kind {chart['kind']}."
    return svg.inline(buffer.getvalue(), prefix, chart["title"], described)


def _height(chart: dict[str, Any]) -> float:
    if chart["kind"] != "bars":
        return _HEIGHT
    rows = min(len(chart["categories"]), _MAX_CATEGORIES) * max(1, len(chart["series"]))
    return max(2.4, 1.2 + 0.3 * rows)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        wide = max(len(label) for label in labels)
        columns = 3 if wide <= 14 else 2 if wide <= 26 else 1
        figure.legend(handles, labels, loc="outside upper left", ncols=columns, borderaxespad=0.2)


def _label(text: str | None, limit: int = 48) -> str:
    return shorten(text or "", limit)


def _line_style(index: int) -> dict[str, Any]:
    return {"color": COLOURS[index % 4], "linestyle": _DASHES[(index + index // 4) % 4]}


def _band(axes: Axes, x: list[float], series: dict[str, Any], picked: list[int], i: int) -> None:
    low, high = floats(series.get("lower")), floats(series.get("upper"))
    if len(low) == len(high) == len(x):
        axes.fill_between(
            [x[k] for k in picked],
            [low[k] for k in picked],
            [high[k] for k in picked],
            color=COLOURS[i % 4],
            alpha=0.16,
            linewidth=0,
        )


def _upright(axes: Axes, where: Any, text: str, level: int = 0) -> None:
    """Draw a vertical line at `where`, named on the side that has more room."""
    at = floats([where])[0]
    log = axes.get_xscale() == "log"
    if math.isnan(at) or (log and at <= 0):
        return
    axes.axvline(at, color=_INK, linewidth=1, linestyle=(0, (3, 3)))
    low, high = axes.get_xlim()
    middle = math.sqrt(low * high) if log else (low + high) / 2
    axes.annotate(
        _label(text, 32),
        (at, 0.97 - 0.09 * level),
        xycoords=("data", "axes fraction"),
        xytext=(5 if at < middle else -5, 0),
        textcoords="offset points",
        ha="left" if at < middle else "right",
        va="top",
        fontsize=11,
    )


def _plain_numbers(axes: Axes, which: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(float(value))))
    axis.set_minor_formatter(NullFormatter())


def _roc(axes: Axes, chart: dict[str, Any]) -> None:
    curves = [(s, floats(s["fpr"]), floats(s["tpr"])) for s in chart["series"][:_MAX_SERIES]]
    seen = [v for _, fpr, tpr in curves for v in (*fpr, *tpr) if v > 0]
    floor = max(1e-5, min(0.1, *seen)) if seen else 1e-3
    floor = 10.0 ** math.floor(math.log10(floor))
    axes.plot([floor, 1], [floor, 1], color="#6B7280", linewidth=1, linestyle=(0, (1, 2)))
    for i, (series, fpr, tpr) in enumerate(curves):
        size = min(len(fpr), len(tpr))
        x = [max(v, floor) for v in fpr[:size]]
        picked = thin(x, MAX_POINTS, log=True)
        clipped = {
            **series,
            "lower": [max(v, floor) for v in floats(series.get("lower"))],
            "upper": [max(v, floor) for v in floats(series.get("upper"))],
        }
        _band(axes, x, clipped, picked, i)
        axes.plot(
            [x[k] for k in picked],
            [max(tpr[k], floor) for k in picked],
            label=_label(series["label"]),
            drawstyle="steps-post",
            **_line_style(i),
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(floor, 1)
    axes.set_ylim(floor, 1.05)
    axes.set_xlabel("False-positive rate")
    axes.set_ylabel("True-positive rate")
    _plain_numbers(axes, "x")
    _plain_numbers(axes, "y")


def _histogram(axes: Axes, chart: dict[str, Any]) -> None:
    edges = floats(chart["edges"])
    for i, series in enumerate(chart["series"][:_MAX_SERIES]):
        counts = [0.0 if math.isnan(v) else v for v in floats(series["counts"])]
        counts = (counts + [0.0] * len(edges))[: max(0, len(edges) - 1)]
        total = sum(counts)
        shares = [v / total if total else 0.0 for v in counts]
        if not shares:
            continue
        style = _line_style(i)
        if i == 0:
            axes.stairs(shares, edges, fill=True, color=style["color"], alpha=0.14, linewidth=0)
        label = f"{_label(series['label'], 36)} (n={number(int(total))})"
        axes.stairs(shares, edges, label=label, linewidth=1.6, **style)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(_label(chart.get("x_label"), 60))
    axes.set_ylabel("Share of the group")
    _plain_numbers(axes, "x")
    _plain_numbers(axes, "y")


def _curve(axes: Axes, chart: dict[str, Any]) -> None:
    x = floats(chart["x"])
    log = bool(chart.get("log_x")) and any(v > 0 for v in x)
    for i, series in enumerate(chart["series"][:_MAX_SERIES]):
        y = (floats(series["y"]) + [math.nan] * len(x))[: len(x)]
        picked = [k for k in thin(x, MAX_POINTS, log=log) if not log or x[k] > 0]
        _band(axes, x, series, picked, i)
        axes.plot(
            [x[k] for k in picked],
            [y[k] for k in picked],
            label=_label(series["label"]),
            marker=_MARKERS[i % 4] if len(picked) <= 30 else None,
            markersize=5,
            **_line_style(i),
        )
    if log:
        axes.set_xscale("log")
    if chart.get("shares"):
        axes.set_ylim(-0.02, 1.02)  # the whole range of a share, so that little looks little
    for i, marker in enumerate((chart.get("markers") or [])[:4]):
        _upright(axes, marker["x"], marker["label"], i)
    axes.set_xlabel(_label(chart.get("x_label"), 60))
    axes.set_ylabel(_label(chart.get("y_label"), 48))
    _plain_numbers(axes, "x")
    _plain_numbers(axes, "y")


def _bars(axes: Axes, chart: dict[str, Any]) -> None:
    categories = chart["categories"][:_MAX_CATEGORIES]
    all_series = chart["series"][:_MAX_SERIES]
    step = 0.8 / max(1, len(all_series))
    for i, series in enumerate(all_series):
        values = (floats(series["values"]) + [math.nan] * len(categories))[: len(categories)]
        at = [k + (i - (len(all_series) - 1) / 2) * step for k in range(len(categories))]
        axes.barh(
            at,
            [0.0 if math.isnan(v) else v for v in values],
            height=step * 0.86,
            label=_label(series["label"]),
            facecolor=_TINTS[i % 4],
            edgecolor=COLOURS[i % 4],
            linewidth=1.2,
            hatch=_HATCHES[i % 4],
        )
        low, high = floats(series.get("lower")), floats(series.get("upper"))
        if len(low) == len(high) == len(values):
            axes.hlines(at, low, high, color=_INK, linewidth=1.4)
            axes.plot([*low, *high], [*at, *at], "|", color=_INK, markersize=7)
    axes.set_yticks(range(len(categories)), [_label(c, 30) for c in categories])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(_label(chart.get("y_label"), 60))
    _plain_numbers(axes, "x")


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
        _upright(axes, threshold["value"], threshold["label"])
    axes.set_xlabel(_label(chart.get("x_label"), 60))
    axes.set_ylabel("Records, in order of value")
    _plain_numbers(axes, "x")
    _plain_numbers(axes, "y")
