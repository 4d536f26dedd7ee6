"""The results of `unlearning.py` as a page of tables and two figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student
from unlearning_cases import SETTINGS

from auditkit.unlearning.registry import METHODS

Row = dict[str, Any]
KINDS = {
    "subset": "A random subset",
    "cluster": "One cluster's records",
    "person": "One person's record",
    "class": "A whole class",
    "backdoor": "A backdoor's records",
}
NAMES = {"digits": "Digits", "location30": "Location-30", "mnist": "MNIST"}
PAGE, FIGURES = "unlearning-study.md", "images"


def write_documents(rows: list[Row], docs: Path) -> None:
    """Write the page and its figures into the folder `docs`."""
    docs.mkdir(parents=True, exist_ok=True)
    (docs / FIGURES).mkdir(exist_ok=True)
    figures = [draw_membership(rows, docs / FIGURES), draw_cost(rows, docs / FIGURES)]
    (docs / PAGE).write_text(page(rows, [f for f in figures if f]))
    print(docs / PAGE)


def interval(values: Iterable[float | None]) -> tuple[float, float, int] | None:
    """Return mean, half-width of the 95 % t-interval (0 of one value) and number of values."""
    found = np.array([v for v in values if v is not None], dtype=np.float64)
    if not len(found):
        return None
    if len(found) == 1:
        return float(found[0]), 0.0, 1
    half = student.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return float(found.mean()), float(half), len(found)


def cell(values: Iterable[float | None], scale: float = 1.0, digits: int = 1) -> str:
    """Return mean ± half-width as text, "–" where nothing was measured."""
    found = interval(values)
    if found is None:
        return "–"
    mean, half, count = found
    text = f"{mean * scale:.{digits}f}"
    return text if count == 1 else f"{text} ± {half * scale:.{digits}f}"


Column = tuple[str, Callable[[list[Row]], str]]


def _get(row: Row, *path: str) -> float | None:
    value: Any = row
    for name in path:
        value = None if value is None else value.get(name)
    return None if value is None else float(value)


def _share(*path: str) -> Callable[[list[Row]], str]:
    return lambda rows: cell((_get(r, *path) for r in rows), 100.0)


def _number(*path: str, digits: int) -> Callable[[list[Row]], str]:
    return lambda rows: cell((_get(r, *path) for r in rows), digits=digits)


def _membership(rows: list[Row]) -> str:
    auc = cell((_get(r, "after", "membership", "auc") for r in rows), digits=3)
    if auc == "–":
        return cell((_get(r, "after", "membership", "rank_p") for r in rows), digits=2)
    tried = [r["after"]["membership"] for r in rows]
    most = max(sorted({m["attack"] for m in tried}), key=[m["attack"] for m in tried].count)
    lower = min(m["interval"][0] for m in tried)
    upper = max(m["interval"][1] for m in tried)
    return f"{auc} ({most}; {lower:.2f} to {upper:.2f})"


def _p_value(rows: list[Row]) -> str:
    values = [r["after"]["two_sample_p"] for r in rows if r["after"]["two_sample_p"] is not None]
    if not values:
        return "–"
    rejected = sum(v < 0.05 for v in values)
    return f"{np.median(values):.3f} ({rejected}/{len(values)})"


def _short(rows: list[Row]) -> str:
    return f"{sum(not r['reached'] for r in rows)}/{len(rows)}"


def columns(kind: str) -> list[Column]:
    """Return the columns of a request's table."""
    found: list[Column] = [
        ("forgotten %", _share("after", "forgotten")),
        ("retained %", _share("after", "retained")),
        ("unseen %", _share("after", "unseen")),
    ]
    if kind == "class":
        found.append(("unseen of the class %", _share("after", "unseen_of_class")))
    if kind == "backdoor":
        found.append(("trigger %", _share("after", "trigger")))
    named = "rank p" if kind == "person" else "strongest attack, AUC"
    found += [
        (named, _membership),
        ("two-sample p (rejected)", _p_value),
        ("from retraining", _number("apart", "forgotten", digits=3)),
        ("relearning steps", _number("relearning", digits=0)),
        ("passes", _number("passes_ratio", digits=2)),
        ("time", _number("seconds_ratio", digits=2)),
        ("memory", _number("memory_ratio", digits=2)),
        ("falls short", _short),
    ]
    return found if kind != "person" else [c for c in found if c[0] != "two-sample p (rejected)"]


def table(rows: list[Row], data: str, kind: str) -> list[str]:
    """Return the lines of one request's table, the original first."""
    mine = [r for r in rows if (r["data"], r["kind"]) == (data, kind)]
    measured = [r for r in mine if not r.get("refused")]
    if not measured:
        return []
    seeds = sorted({r["seed"] for r in measured})
    names = columns(kind)
    records = sorted({r["records"] for r in mine})
    size = str(records[0]) if len(records) == 1 else f"{records[0]} to {records[-1]}"
    lines = [
        f"### {KINDS[kind]}",
        "",
        f"{size} record(s) forgotten; {len(seeds)} seed(s).",
        "",
        "| method | " + " | ".join(n for n, _ in names) + " |",
        "| --- |" + " ---: |" * len(names),
        _original(measured, names),
    ]
    refused = []
    for method in METHODS:
        found = [r for r in measured if r["method"] == method]
        said = [r["refused"] for r in mine if r["method"] == method and r.get("refused")]
        if found:
            cells = " | ".join(make(found) for _, make in names)
            lines.append(f"| {method} | {cells} |")
        if said:
            times = f" ({len(said)} of {len(said) + len(found)} seeds)" if found else ""
            refused.append(f"- {method}{times}: {said[0]}")
    return [*lines, "", *(["Refused:", "", *refused, ""] if refused else [])]


def _original(rows: list[Row], names: list[Column]) -> str:
    """Return the row of the original network, before anything was unlearned."""
    first = {r["seed"]: r for r in rows if r["method"] != "sisa"}
    before = [{"after": r["before"]} for r in first.values()]
    cells = []
    for name, make in names:
        known = name.endswith("%") or name in ("strongest attack, AUC", "rank p")
        known = known or name.startswith("two-sample")
        cells.append(make(before) if known else "")
    return f"| *original* | {' | '.join(cells)} |"


def page(rows: list[Row], figures: list[tuple[str, str]]) -> str:
    """Return the page as Markdown."""
    lines = [HEAD.strip(), ""]
    for figure, words in figures:
        lines += [f"![{words}]({FIGURES}/{figure})", ""]
    lines += [READING.strip(), "", *targets(rows)]
    for data in SETTINGS:
        tables = [line for kind in KINDS for line in table(rows, data, kind)]
        if tables:
            lines += [f"## {NAMES[data]}", "", described(data), "", *tables]
    lines += [*guarantees(rows), *settings(rows)]
    return "\n".join(lines).rstrip() + "\n"


def described(data: str) -> str:
    """Return what network and data a data set's tables are about."""
    setting = SETTINGS[data]
    recipe = ", ".join(f"{k} {v}" for k, v in vars(setting.recipe).items())
    shapes = " → ".join("×".join(map(str, s)) for s in dict.fromkeys(setting.architecture.shapes))
    return (
        f"{setting.trained} training records, {setting.given} unseen ones for the methods, others "
        f"for the comparison. Values of the network: {shapes}. Trained with {recipe}."
    )


def targets(rows: list[Row]) -> list[str]:
    """Return what was asked of single methods, and what was found."""
    lines = [
        "## What was asked of single methods",
        "",
        "A figure meets what was asked when its mean does; a test, when it rejects in no more than",
        "one seed. In brackets after it, the same test on the retrained model.",
        "",
        "| asked | where | found | met |",
        "|---|---|---|---|",
    ]
    none = len(lines)

    def add(asked: str, where: str, found: str, met: bool) -> None:
        lines.append(f"| {asked} | {where} | {found} | {'yes' if met else '**no**'} |")

    def of(method: str, data: str, kind: str) -> list[Row]:
        return [
            r
            for r in rows
            if (r["method"], r["data"], r["kind"]) == (method, data, kind) and not r.get("refused")
        ]

    name = "distribution-matching"
    for data in SETTINGS:
        for kind in KINDS:
            mine = of(name, data, kind)
            if not mine:
                continue
            where = f"{NAMES[data]}, {kind}"
            if kind != "person":
                found = f"{_p_value(mine)} (retrained: {_p_value(of('retrain', data, kind))})"
                rejected = sum(r["after"]["two_sample_p"] < 0.05 for r in mine)
                add(f"{name}: the two-sample test no longer rejects", where, found, rejected <= 1)
            lost = [r["retrained"]["retained"] - r["after"]["retained"] for r in mine]
            _bound(add, f"{name}: retained accuracy, points below retraining", where, lost, 1.0)
            if kind == "backdoor":
                never = {r["seed"]: r["after"]["trigger"] for r in of("retrain", data, kind)}
                more = [
                    r["after"]["trigger"] - never[r["seed"]] for r in mine if r["seed"] in never
                ]
                _bound(add, f"{name}: trigger, points above never poisoned", where, more, 2.0)
            times = [r["seconds_ratio"] for r in mine]
            ratio = cell(times, digits=2)
            add(f"{name}: time over retraining's below 1", where, ratio, float(np.mean(times)) < 1)
    for data in SETTINGS:
        mine = of("unsir", data, "class")
        if mine:
            where = f"{NAMES[data]}, class"
            left = [max(r["after"]["forgotten"], r["after"]["unseen_of_class"]) for r in mine]
            _bound(add, "unsir: forgotten class, % right", where, left, 5.0)
            lost = [r["retrained"]["unseen"] - r["after"]["unseen"] for r in mine]
            _bound(add, "unsir: the rest unseen, points below retraining", where, lost, 3.0)
            kept = [r["retrained"]["retained"] - r["after"]["retained"] for r in mine]
            _bound(add, "unsir: the rest retained, points below retraining", where, kept, 3.0)
    return [*lines, ""] if len(lines) > none else []


def _bound(
    add: Callable[[str, str, str, bool], None],
    asked: str,
    where: str,
    shares: list[float],
    most: float,
) -> None:
    """Add a figure that is asked to be at most so many points."""
    met = 100.0 * float(np.mean(shares)) <= most
    add(f"{asked}, at most {most:g}", where, cell(shares, 100.0), met)


def guarantees(rows: list[Row]) -> list[str]:
    """Return the (ε, δ) that methods state."""
    stated = [r for r in rows if r.get("guarantee")]
    if not stated:
        return []
    lines = [
        "## Stated guarantees",
        "",
        "| method | where | ε, least and greatest over seeds | δ |",
        "|---|---|---|---|",
    ]
    keys = sorted({(r["method"], r["data"], r["kind"]) for r in stated})
    for method, data, kind in keys:
        found = [
            r["guarantee"]
            for r in stated
            if (r["method"], r["data"], r["kind"]) == (method, data, kind)
        ]
        values = [g["epsilon"] for g in found]
        span = f"{min(values):.3g} to {max(values):.3g}"
        lines.append(f"| {method} | {NAMES[data]}, {kind} | {span} | {found[0]['delta']:g} |")
    return [*lines, "", "An ε above 10 bounds nobody's certainty.", ""]


def settings(rows: list[Row]) -> list[str]:
    """Return the settings that were used, by method and scenario."""
    lines = ["## Settings", "", "| method | scenario | settings |", "|---|---|---|"]
    seen: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if not row.get("refused"):
            text = json.dumps(row["settings"], sort_keys=True)
            found = seen.setdefault((row["method"], row["scenario"], text), [])
            if row["data"] not in found:
                found.append(row["data"])
    for method in METHODS:
        for (name, scenario, text), where in sorted(seen.items()):
            if name == method:
                data = "" if len(where) == len(SETTINGS) else f" ({', '.join(where)})"
                lines.append(f"| {method} | {scenario}{data} | `{text}` |")
    return [*lines, ""]


def draw_membership(rows: list[Row], folder: Path) -> tuple[str, str] | None:
    """Draw the strongest attack's AUC on a random subset, method by method, for each data set."""
    mine = [r for r in rows if r["kind"] == "subset" and not r.get("refused")]
    shown = [d for d in SETTINGS if any(r["data"] == d for r in mine)]
    if not shown:
        return None
    plt = _pyplot()
    figure, axes = plt.subplots(
        1, len(shown), figsize=(3.4 * len(shown), 4.2), sharey=True, squeeze=False
    )
    for axis, data in zip(axes[0], shown, strict=True):
        here = [r for r in mine if r["data"] == data]
        names = [m for m in METHODS if any(r["method"] == m for r in here)]
        for place, method in enumerate(names):
            found = interval(
                _get(r, "after", "membership", "auc") for r in here if r["method"] == method
            )
            if found is not None:
                axis.errorbar(
                    found[0], place, xerr=found[1], fmt="o", color="#005A8C", capsize=3, ms=4
                )
        before = interval(_get(r, "before", "membership", "auc") for r in here)
        never = interval(
            _get(r, "after", "membership", "auc") for r in here if r["method"] == "retrain"
        )
        if before:
            axis.axvline(before[0], color="#A63D00", ls="--", lw=1, label="original")
        if never:
            axis.axvspan(never[0] - never[1], never[0] + never[1], color="#595959", alpha=0.2, lw=0)
            axis.axvline(never[0], color="#595959", lw=1, label="retrained")
        axis.set_yticks(range(len(names)), names)
        axis.set_xlabel("AUC")
        axis.set_title(NAMES[data])
    axes[0][0].invert_yaxis()
    axes[0][-1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8)
    name = "unlearning-membership.svg"
    _save(figure, folder / name, "Strongest membership attack after unlearning a random subset")
    plt.close(figure)
    return name, "Strongest membership attack after unlearning a random subset, by method"


def draw_cost(rows: list[Row], folder: Path) -> tuple[str, str] | None:
    """Draw distance from retraining against time, one mark a method and request."""
    mine = [r for r in rows if not r.get("refused") and r["kind"] != "person"]
    if not mine:
        return None
    plt = _pyplot()
    figure, axis = plt.subplots(figsize=(7.0, 4.6))
    colours = plt.get_cmap("tab20")
    for index, method in enumerate(METHODS):
        points = []
        for data, kind in sorted({(r["data"], r["kind"]) for r in mine}):
            found = [r for r in mine if (r["method"], r["data"], r["kind"]) == (method, data, kind)]
            if found:
                time = float(np.median([r["seconds_ratio"] for r in found]))
                far = float(np.median([r["apart"]["forgotten"] for r in found]))
                points.append((max(time, 1e-3), far))
        if points:
            marker = "os^Dv"[index % 5]
            axis.scatter(
                *zip(*points, strict=True), label=method, color=colours(index), marker=marker, s=28
            )
    axis.set_xscale("log")
    axis.axvline(1.0, color="#595959", lw=1, ls="--")
    axis.set_xlabel("time over that of retraining")
    axis.set_ylabel("total variation from a retrained model\non the forgotten records")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    name = "unlearning-cost.svg"
    _save(figure, folder / name, "Distance from retraining against time")
    plt.close(figure)
    return name, "Distance from retraining on the forgotten records against time, by method"


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "auditkit"
    import matplotlib.pyplot as plt

    return plt


def _save(figure: Any, path: Path, title: str) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Title": title})


HEAD = """\
# Unlearning methods against retraining

    python benchmarks/unlearning.py

Every method in every scenario that it claims, on three data sets, over five seeds that draw other
records and train other networks. Cells are means with the half-width of a 95 % t-interval over
seeds. The results behind them, one line each, are in `benchmarks/results/unlearning.jsonl`.

- **retained, unseen, forgotten**: share answered with its label. After a class is forgotten,
  *unseen* are those of the other classes. A backdoor's forgotten records bear the trigger and the
  wrong label: to answer them so is to have kept it.
- **trigger**: share of unseen records of other labels that get the trigger's label when it is
  stamped on. A retrained model was never poisoned.
- **strongest attack**: of all attacks on outputs and, for subsets and clusters, on 32 (MNIST 16)
  shadow models, the one with the greatest AUC for forgotten against unseen records; in brackets the
  one that was strongest most often, and the lowest and highest end over seeds of its intervals at
  95 % over all that were tried. The strongest of many is above 0.5 by chance: *retrain* shows by
  how much. For a class unseen records are of that class, for a backdoor they bear the trigger. A
  cluster is unlike other records without any model: there only attacks count that compare a record
  with itself in shadow models. Attacks that find any difference, in either direction, do not.
  Attacks with unlearned shadow models (U-LiRA, RULI) are left to audits: they unlearn a hundred
  models for each cell.
- **rank p**: of one person's record, its rank among the shadow models that never saw it.
- **two-sample p**: median over seeds of the energy test on logits of forgotten and unseen records
  that no method was given, and how often it rejects at 5 %: within each label for subsets, against
  unseen records of all other labels for a class and a backdoor. It asks what distribution matching
  promises. A retrained model may fail it: for a class it is not what retraining does.
- **from retraining**: mean total-variation distance of the softmax answers on forgotten records
  from a second model retrained without them. The row *retrain* is how far two of these are apart.
- **relearning steps**: training steps on the forgotten records, as in training, until their mean
  loss is within 10 % and 0.01 of the original's; 300 where it takes as many or more.
- **passes, time, memory**: over those of retraining in the same process; passes are forward and
  backward passes over a record, memory the rise of the process's resident memory.
- **falls short**: runs that say so themselves: the method's own rule was missed, more than 5 % of a
  class's or a trigger's records keep their label, or retained records were lost. *random-labels*,
  *bad-teacher*, *retrain* and *sisa* have no rule for a subset and cannot fall short of one. A
  network that was never poisoned may answer more than 5 % of a backdoor's records so by itself.

*prune* changes no weight: its patch is taken off by whoever has the file, which is why relearning
takes no step. *sisa* forgets in a network of its own, an ensemble of shards.

Times are of two processes on two cores; ratios are of runs in the same process. Most settings were
chosen on these data sets, and those of *distribution-matching* on these seeds too, for the networks
are far smaller than those of the papers: what the authors used and what is ours says
`auditkit explain method.NAME`.
"""

READING = """\
## What the tables say

- On the forgotten records of subsets and classes *forgetting-networks* and *amnesiac* come nearest
  to a retrained network, or close to whatever does; of a trigger *amnesiac*, which needs the log of
  the training.
- That attacks find nothing is not that a network is like a retrained one: after *random-labels* and
  *bad-teacher* on subsets membership inference is near chance, and answers on the forgotten records
  are many times as far from retraining as two retrained networks are; on Location-30 unseen records
  pay for it.
- To pass a test is not it either. *distribution-matching* passes the two-sample test on random
  subsets of all three data sets, and the attacks that compare a record with itself in shadow models
  still see part of what was remembered. A class that it makes look like the others is answered
  unlike by any retrained network, and is learned again in half to two thirds of the steps.
- *certified-newton*, with ten times the published noise, hardly moves the network: attack, distance
  and relearning are those of the original, and the guarantee below bounds nothing.
- What was missed is in the next table. The two-sample test on clusters and on MNIST's classes
  rejects a retrained network as well: such records are unlike those they are compared with. On
  MNIST, whose networks train in ten epochs, there is little time to save.
"""
