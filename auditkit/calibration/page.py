"""The rates of a study as a page of tables, and as two figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from auditkit.calibration.rates import Rate
from auditkit.calibration.study import FROZEN_BEFORE
from auditkit.calibration.summary import (
    LEAST_POWER,
    MOST_FALSE_ALARMS,
    MOST_FALSE_AUDITS,
    Summary,
)
from auditkit.calibration.trials import FULL
from auditkit.files import write_atomic
from auditkit.results import Outcome
from reports.chart_style import COLOURS, DASHES, MARKERS, SETTINGS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POWER_FIGURE, ROC_FIGURE = "calibration-power.svg", "calibration-roc.svg"
COLUMNS = 4  # of panels
MOST_SAID = 20  # lines of a list
LEAST_RATE = 1e-3  # at which a false-alarm rate of 0 is drawn


def page(summary: Summary, command: str) -> str:
    """Return the page of a study: how it was made, its tables and figures."""
    design, exact = summary.header["design"], len(summary.exact)
    cheats = [row for row in summary.cheats if row["strength"] == FULL]
    last = design["first_seed"] + design["worlds"] - 1
    head = f"""# The calibration study

How often the checks for dishonest behaviour are wrong themselves: made by `{command}`, which is \
what `auditkit calibrate` does, on {" and ".join(summary.data)}.

Each of {design["worlds"]} worlds of a data set (seeds {design["first_seed"]} to {last}) is a draw \
of training records, of a network, and of a request for random ones of them. In every world there \
are honest owners of each kind whose assertion is true ({exact} in all: patches of every \
specification sold as redirection; retraining, with other seeds, the original's and another \
optimiser; SISA; some with canaries among the records), and \
{design["of_other_methods_in_each_world"]} by methods that do not erase exactly and say that they \
do, whose figures are kept apart. Their models are served by another runtime than the checks use, \
as logits, probabilities to three digits or labels; who retrains hands over a log. The auditor \
compares with four networks retrained without the records in about half of the worlds, and with \
unseen records in the others; he says that the request was drawn by lot, as it was. From an honest \
owner each behaviour is simulated in full and, in every second world, at one lesser strength \
({len(cheats)} owners who cheat in full), and looked for by the check for it. \
Cheats on networks start from an honest retraining and claim one: an owner who names an \
approximate method instead is judged less, see the pages of lazy, deceiving, neglecting and fragile.

An *accusation* is a failure; a limitation is none. A cheat is *found* where the check for it \
accuses, at a p-value that would stand among those of all sixteen checks (Bonferroni). It *can be \
found* where the check, which does not know who cheats, states a power of {LEAST_POWER:.0%} or \
more with samples like these, or none: the target for power is about these, both rates are in the \
tables, and what was not found is listed below. \
{_seeds(summary)} Owners of one world share its network and records, and so do not err \
independently, as the intervals have it: {summary.worlds_with_alarms().text()} of the worlds have \
any false alarm at all, and worlds are independent.
"""
    figures = (
        f"![Power against strength](images/{POWER_FIGURE})\n\n"
        f"![Power against false alarms](images/{ROC_FIGURE})\n\n"
        "Dashed lines are the targets. A check that rests on no chance is a point in the second "
        "figure: its verdicts move with no threshold."
    )
    return f"{head}\n{tables(summary)}\n## Figures\n\n{figures}\n\n{_wrong(summary)}"


def _seeds(summary: Summary) -> str:
    """Return what is true of the seeds: whether anything was chosen by these worlds."""
    if summary.header["design"]["first_seed"] < FROZEN_BEFORE:
        return "Levels and constants may have been chosen by worlds of these seeds."
    return (
        f"Levels and constants were chosen in worlds of seeds below {FROZEN_BEFORE}, which are "
        "none of these."
    )


def _wrong(summary: Summary) -> str:
    """Return what was said where a check was wrong, so that it can be looked into."""
    said = summary.alarms_said()
    lines = ["## Honest owners who were accused", ""]
    lines += [f"- {line}" for line in said] or ["None."]
    passed = [
        f"- {row['data']} {row['world']}, {row['owner']}: {row['behaviour']} "
        f"({row['variant']}, strength {row['strength']:g}): {check.get('reason', '')}"
        for row in summary.cheats
        for check in row["checks"].values()
        if check["outcome"] == Outcome.PASS and row["strength"] == FULL
    ]
    lines += ["", "## Cheats in full that were passed", ""]
    lines += passed[:MOST_SAID] or ["None."]
    if len(passed) > MOST_SAID:
        lines.append(f"- and {len(passed) - MOST_SAID} more")
    lines += ["", "## Cheats in full that were not found", ""]
    lines.append("What the check said, of the first of each kind:")
    lines += ["", *_missed(summary)]
    return "\n".join(lines) + "\n"


def _missed(summary: Summary) -> list[str]:
    lines = []
    for behaviour in summary.behaviours:
        for (way, variant, data), rows in summary.missed(behaviour).items():
            tried = summary.power(behaviour, data=data, variant=variant, way=way).n
            check = rows[0]["checks"].get(behaviour.id, {})
            said = check.get("reason") or (
                "found, but at a p-value that would not stand among sixteen" if check else "not run"
            )
            lines.append(
                f"- {behaviour.name} ({variant}) on {way} of {data}, {len(rows)} of {tried}: {said}"
            )
    return lines or ["None."]


def tables(summary: Summary) -> str:
    """Return the tables in Markdown."""
    parts = [
        _targets(summary),
        _checks(summary),
        _references(summary),
        _strengths(summary),
        _variants(summary),
        _methods(summary),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def draw(summary: Summary, folder: Path) -> list[Path]:
    """Draw power against strength, and the curves of false alarms and power; return the files."""
    return [
        _panels(summary, folder / POWER_FIGURE, _power_panel, "Power against strength"),
        _panels(summary, folder / ROC_FIGURE, _roc_panel, "Power against false alarms"),
    ]


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"## {title}", "", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _targets(summary: Summary) -> str:
    missed = [t for t in summary.targets() if not t.reached]
    count = len(summary.targets())
    text = (
        f"Ends of 95 % intervals (Clopper-Pearson): false alarms at most {MOST_FALSE_ALARMS:.0%} "
        f"of a check and {MOST_FALSE_AUDITS:.0%} of an audit, power at least {LEAST_POWER:.0%} at "
        f"full strength, of what can be found. {count - len(missed)} of {count} are reached."
    )
    flawless = [t for t in missed if t.rate.hits == (t.rate.n if t.of_power else 0)]
    if flawless:
        text += (
            f" {len(flawless)} of the {len(missed)} that are missed have not one error, and too "
            "few trials to show it."
        )
    rows = [[t.what, t.rate.text()] for t in missed]
    return f"{_table('Targets that are missed', ['target', 'measured'], rows)}\n\n{text}"


def _checks(summary: Summary) -> str:
    rows = []
    for behaviour in summary.behaviours:
        honest = summary.undecided(behaviour)
        told = [
            summary.false_alarms(behaviour).text(),
            f"{_percent(honest['passed'])} / {_percent(honest['undecided'])}",
        ]
        for way in summary.ways(behaviour) or ["–"]:
            rows.append(
                [
                    str(behaviour.number),
                    behaviour.name,
                    *told,
                    way,
                    summary.power(behaviour, way=way).text(),
                    *(_short(summary.power(behaviour, data=d, way=way)) for d in summary.data),
                    summary.power_where_stated(behaviour, way).text(),
                    str(summary.not_had(behaviour, way)),
                ]
            )
            told = ["", ""]
    none = [""] * (5 + len(summary.data))
    rows.append(["", "any, in one audit", summary.false_audits().text(), *none])
    head = [
        *("#", "behaviour", "honest owners accused", "honest: passed / undecided", "cheats on"),
        *("found at full strength", *summary.data, "of what can be found", "not had"),
    ]
    return _table("Each check", head, rows)


def _references(summary: Summary) -> str:
    kinds = summary.references
    rows = [
        [b.name, way, *(_short(summary.power(b, way=way, reference=kind)) for kind in kinds)]
        for b in summary.behaviours
        for way in summary.ways(b)
    ]
    head = ["behaviour", "cheats on", *kinds]
    return _table("Found at full strength, by what the auditor compares with", head, rows)


def _strengths(summary: Summary) -> str:
    strengths = sorted({s for b in summary.behaviours for s in summary.strengths(b)})
    rows = [
        [b.name, b.strength or "–", *(_short(summary.power(b, s)) for s in strengths)]
        for b in summary.behaviours
    ]
    head = ["behaviour", "strength is", *(f"{s:g}" for s in strengths)]
    return _table("Found, by strength", head, rows)


def _variants(summary: Summary) -> str:
    rows = [
        [b.name, variant, *(_short(summary.power(b, FULL, name, variant)) for name in summary.data)]
        for b in summary.behaviours
        for variant in summary.variants(b)
    ]
    head = ["behaviour", "variant", *summary.data]
    return _table("Found at full strength, by variant", head, rows)


def _methods(summary: Summary) -> str:
    methods = summary.of_methods()
    if not methods:
        return ""
    shown = [b for b in summary.behaviours if any(rates[b.name].n for rates in methods.values())]
    rows = [[method, *(_short(rates[b.name]) for b in shown)] for method, rates in methods.items()]
    return _table(
        "Owners who unlearned by a method that does not erase exactly, and say that it did",
        ["method", *(b.name for b in shown)],
        rows,
    )


def _short(found: Rate) -> str:
    return f"{found.hits}/{found.n}" if found.n else "–"


def _percent(found: Rate) -> str:
    return f"{found.hits / found.n:.0%}" if found.n else "–"


Panel = Callable[[Summary, Any, "Axes"], None]


def _panels(summary: Summary, path: Path, panel: Panel, title: str) -> Path:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    behaviours = summary.behaviours
    height = -(-len(behaviours) // COLUMNS)
    with matplotlib.rc_context(SETTINGS | {"font.size": 8, "xtick.labelsize": 8}):
        figure, axes = plt.subplots(
            height, COLUMNS, figsize=(2.4 * COLUMNS, 2.1 * height), squeeze=False,
            sharey=True, layout="constrained",
        )  # fmt: skip
        for axis in axes.flat[len(behaviours) :]:
            axis.set_axis_off()
        for behaviour, axis in zip(behaviours, axes.flat, strict=False):
            axis.set_title(f"{behaviour.number} {behaviour.name}", fontsize=9)
            axis.set_ylim(-0.04, 1.04)
            panel(summary, behaviour, axis)
        figure.suptitle(title, fontsize=10)
        drawn = BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Title": title})
        plt.close(figure)
    write_atomic(path, drawn.getvalue())
    return path


def _power_panel(summary: Summary, behaviour: Any, axis: Axes) -> None:
    for place, way in enumerate(summary.ways(behaviour)):
        rates = [(x, summary.power(behaviour, x, way=way)) for x in summary.strengths(behaviour)]
        found = [(x, r.hits / r.n, *r.interval) for x, r in rates if r.n]
        if not found:
            continue
        x, y, low, high = np.array(found).T
        axis.errorbar(
            x + 0.015 * place, y, yerr=[y - low, high - y], marker=MARKERS[place], ms=4,
            ls=DASHES[place], color=COLOURS[place], capsize=3, label=way,
        )  # fmt: skip
    axis.axhline(LEAST_POWER, color=COLOURS[2], lw=0.8, ls="--")
    axis.set_xlim(0, 1.08)
    axis.set_xlabel("strength")
    axis.legend(fontsize=6, loc="lower right")


def _roc_panel(summary: Summary, behaviour: Any, axis: Axes) -> None:
    for place, way in enumerate(summary.ways(behaviour)):
        alarms, power = summary.curve(behaviour, way)
        if not len(alarms):
            continue
        axis.plot(
            [max(a, LEAST_RATE) for a in alarms], power, color=COLOURS[place],
            ls=DASHES[place], marker=MARKERS[place], ms=3, lw=1, markevery=[0, -1], label=way,
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xlim(LEAST_RATE / 1.3, 1.3)
    axis.axvline(MOST_FALSE_ALARMS, color=COLOURS[2], lw=0.8, ls="--")
    axis.set_xlabel("false alarms")
    axis.legend(fontsize=6, loc="lower right")
