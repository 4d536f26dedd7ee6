"""Tables of the membership chapter, as data for the report.

A cell is a text, a number, or an object: {"value", "interval"} for a figure with its interval,
{"needs": n} for one that was refused because it takes n records.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attacks
from attacks.statistics.roc import Refused, TprAtFpr
from auditkit.audit.membership_figures import AttackFigures
from auditkit.results import CheckResult, Outcome

SECTION = "membership"
RATES = ("1 %", "0.1 %")  # as of attacks.evaluation.FPRS
Row = list[Any]


def tables(
    figures: tuple[AttackFigures, ...],
    checks: Iterable[CheckResult],
    curve: attacks.neighbourhood.NeighbourhoodCurve,
) -> tuple[dict[str, Any], ...]:
    """Return all attacks with their figures and findings, and the neighbourhood curve."""
    around = [
        [
            p.radius,
            _figure(p.retention, p.lower, p.upper),
            None if p.auc is None else _figure(p.auc.auc, p.auc.lower, p.auc.upper),
        ]
        for p in curve.points
    ]
    return (
        *([_attacks(figures, {c.id: c for c in checks})] if figures else []),
        {
            "id": "neighbourhood",
            "section": SECTION,
            "title": "Around the forgotten records",
            "description": "Share of noisy copies answered as before, and AUC of an attack on the "
            f"copies; {curve.n_records} forgotten and {curve.n_unseen} unseen records, 95 % "
            "intervals.",
            "columns": ["radius", "as before", "AUC"],
            "rows": around,
        },
    )


def _attacks(figures: tuple[AttackFigures, ...], checks: dict[str, CheckResult]) -> dict[str, Any]:
    rates = [i for i in range(len(RATES)) if _resolved(figures, i)]
    paired = any(f.difference is not None for f in figures)
    rows: list[Row] = []
    for found in figures:
        if found.before is not None:
            rows.append(_row(found, "before", found.before, rates, paired))
        rows.append(_row(found, "after", found.after, rates, paired))
        rows[-1][-1] = _finding(checks.get(f"attack.{found.name}"))
        if found.references:
            rows.append(_reference_row(found, rates, paired))
    n = figures[0].after.auc
    lost = [
        f"The rate at {RATES[i]} false alarms is refused: it takes {rate.needed} unseen records."
        for i, rate in enumerate(figures[0].after.tprs)
        if isinstance(rate, Refused)
    ]
    epsilon = figures[0].after.epsilon
    delta = f"{epsilon.delta:.0e}".replace("e-0", "e-")
    text = [
        f"{n.n_members} forgotten and {n.n_non_members} unseen records, 95 % intervals.",
        *lost,
        "TPR: at the threshold with that rate among all unseen records, which is itself estimated."
        if rates
        else "",
        "Advantage: true less false-positive rate at a threshold that other records chose.",
        f"ε: a lower bound at δ = {delta}, 0 where nothing is shown"
        + ("; descriptive, no lot decided who was trained on." if epsilon.descriptive else "."),
    ]
    if paired:
        text.append(
            "Difference: AUC after less that of the retrained models, on the same records, with "
            "the interval that the verdict on the AUC rests on."
        )
    columns = [
        *("attack", "phase", "AUC"),
        *(f"TPR at {RATES[i]} FPR" for i in rates),
        *("advantage", "ε ≥"),
        *(["difference"] if paired else []),
        "finding",
    ]
    return {
        "id": "attacks",
        "section": SECTION,
        "title": "Every attack in figures",
        "description": " ".join(filter(None, text)),
        "columns": columns,
        "rows": rows,
    }


def _resolved(figures: tuple[AttackFigures, ...], index: int) -> bool:
    return any(isinstance(f.after.tprs[index], TprAtFpr) for f in figures)


def _row(
    found: AttackFigures, phase: str, told: attacks.Evaluation, rates: list[int], paired: bool
) -> Row:
    gap = found.difference if phase == "after" else None
    advantage = told.advantage
    return [
        found.title,
        phase,
        _figure(told.auc.auc, told.auc.lower, told.auc.upper),
        *(_rate(told.tprs[i]) for i in rates),
        {"needs": advantage.needed}
        if isinstance(advantage, Refused)
        else _figure(advantage.advantage, advantage.lower, advantage.upper),
        {"value": told.epsilon.epsilon},
        *([gap and _figure(gap.difference, gap.lower, gap.upper)] if paired else []),
        None,
    ]


def _reference_row(found: AttackFigures, rates: list[int], paired: bool) -> Row:
    """Return the row of one retrained model, or of the mean of several, without an interval."""
    if len(found.references) == 1:
        return _row(found, "retrained", found.references[0], rates, paired)
    means: Row = []
    for i in rates:
        known = [r.tpr for e in found.references if isinstance(r := e.tprs[i], TprAtFpr)]
        means.append({"value": sum(known) / len(known)} if known else None)
    return [
        found.title,
        f"retrained, mean of {len(found.references)}",
        {"value": found.reference_auc},
        *means,
        None,
        None,
        *([None] if paired else []),
        None,
    ]


def _rate(rate: TprAtFpr | Refused) -> dict[str, Any]:
    if isinstance(rate, Refused):
        return {"needs": rate.needed}
    return _figure(rate.population_tpr, rate.population_lower, rate.population_upper)


def _figure(value: float | None, lower: float | None, upper: float | None) -> dict[str, Any]:
    return {"value": value, "interval": [lower, upper]}


def _finding(check: CheckResult | None) -> str:
    if check is None or check.outcome is Outcome.NOT_RUN:
        return "not judged"
    return str(check.evidence.get("finding") or check.outcome.value)
