"""What the charts of a report share: colours, lines, markers, axes.

A series differs from the next by colour, by line or hatch and by marker, so that a chart also
reads in grey. Small sizes are drawn, so that letters stay legible on a narrow screen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from reports.chart_data import floats
from reports.text import number, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#005A8C", "#A63D00", "#595959", "#7A5200")
TINTS = ("#C6DCE9", "#F0D0BF", "#DDDDDD", "#EADBB8")  # of the colours, for bars
INK = "#1F2328"
RULE = "#D5D9DE"
DASHES = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
MARKERS = ("o", "s", "^", "D")
HATCHES = ("", "///", "...", "xxx")
WIDTH = 5.9  # inches of 72 units, of which a chart on a page of the report is about as wide
HEIGHT = 3.8
WIDE = 6.8  # of a chart that has the whole width of a page
MAX_CATEGORIES = 40
MAX_SERIES = 8

SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "auditkit",
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
    "font.size": 12,
    "font.family": "DejaVu Sans",
    "axes.edgecolor": "#6B7280",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "hatch.linewidth": 0.7,
    "lines.linewidth": 1.8,
}


def caption(text: str | None, limit: int = 48) -> str:
    """Return a text short enough to stand in a chart."""
    return shorten(text or "", limit)


def line_style(index: int) -> dict[str, Any]:
    """Return colour and dashes of the series with this number."""
    return {"color": COLOURS[index % 4], "linestyle": DASHES[(index + index // 4) % 4]}


def band(axes: Axes, x: list[float], series: dict[str, Any], picked: list[int], i: int) -> None:
    """Shade what lies between `lower` and `upper` of a series, where it has both."""
    low, high = floats(series.get("lower")), floats(series.get("upper"))
    if len(low) == len(high) == len(x):
        axes.fill_between(
            [x[k] for k in picked],
            [low[k] for k in picked],
            [high[k] for k in picked],
            color=COLOURS[i % 4],
            alpha=0.16,
            linewidth=0,
            step=series.get("step"),
        )


def upright(axes: Axes, where: Any, text: str, level: int = 0) -> None:
    """Draw a vertical line at `where`, named above the chart, where nothing else is drawn."""
    at = floats([where])[0]
    log = axes.get_xscale() == "log"
    if math.isnan(at) or (log and at <= 0):
        return
    axes.axvline(at, color=INK, linewidth=1, linestyle=(0, (3, 3)))
    low, high = axes.get_xlim()
    middle = math.sqrt(low * high) if log else (low + high) / 2
    axes.annotate(
        caption(text, 32),
        (at, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if at < middle else 3, 3 + 14 * level),
        textcoords="offset points",
        ha="left" if at < middle else "right",
        va="bottom",
        fontsize=11,
    )


def plain_numbers(axes: Axes, which: str) -> None:
    """Write the numbers of an axis as the words of the report do."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(float(value))))
    axis.set_minor_formatter(NullFormatter())


def log_axis(axes: Axes, which: str, least: float, most: float, zero: float | None = None) -> None:
    """Make an axis logarithmic from `least` to `most`; what is 0 stands at `zero`, and is named so.

    A logarithm has no place for 0. It gets one left of the least number, cut off from the others
    by the tick that says 0 there.
    """
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    scale = axes.set_xscale if which == "x" else axes.set_yscale
    limits = axes.set_xlim if which == "x" else axes.set_ylim
    axis = axes.xaxis if which == "x" else axes.yaxis
    scale("log")
    least, most = (min(max(v, 1e-140), 1e140) for v in (least, most))  # room for the edges below
    start = least if zero is None else min(max(zero, 1e-140), least)
    zero = None if zero is None else start
    room = (most / start) ** 0.02
    limits(start / room, most * room)
    places = _ticks(least, most)
    if zero is not None:
        places = [zero, *(v for v in places if v >= zero * (most / zero) ** 0.08)]
    names = ["0" if v == zero else number(v).removeprefix("1×") for v in places]
    axis.set_major_locator(FixedLocator(places))
    axis.set_major_formatter(FixedFormatter(names))
    axis.set_minor_locator(NullLocator())


def _ticks(least: float, most: float) -> list[float]:
    """Return round numbers from `least` to `most`, at most about seven."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    within = (least * (1 - 1e-9), most * (1 + 1e-9))
    every = max(1, (last - first) // 7 + 1)
    decades = [10.0**k for k in range(first, last + 1) if k % every == 0]
    decades = [v for v in decades if within[0] <= v <= within[1]]
    if len(decades) >= 3:
        return decades
    finer = [m * 10.0**k for k in range(first, last + 1) for m in (1, 2, 5)]
    return [v for v in finer if within[0] <= v <= within[1]] or [least]
