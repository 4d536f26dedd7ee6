"""Charts of the membership chapter, as data for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import attacks
from attacks.decision.cohort import AttackScores
from attacks.statistics.roc import resolvable_fpr
from auditkit.audit.membership_figures import AttackFigures, chosen

if TYPE_CHECKING:
    from auditkit.audit.membership import Groups

SECTION = "membership"
MOST_REFERENCES = 5  # drawn; the tables give the mean of all
PHASES = {"before": "before unlearning", "after": "after unlearning"}

Sets = list[tuple[str, NDArray[Any]]]


def charts(
    groups: Groups,
    figures: tuple[AttackFigures, ...],
    before: dict[str, AttackScores | None],
    after: dict[str, AttackScores],
    curve: attacks.neighbourhood.NeighbourhoodCurve,
    margin: float | None,
) -> tuple[dict[str, Any], ...]:
    """Return areas, curves, histograms and the neighbourhood.

    `margin` is that of the cohort's rule, None where no cohort is judged.
    """
    made = [_areas(figures, margin)] if figures else []
    picked = chosen(figures)
    made += [_roc(found, reason) for found, reason in picked]
    if picked:
        made += _score_histograms(picked[0][0], before, after)
    made += _signal_histograms(groups)
    made.append(_curve(groups, curve))
    return tuple(made)


def _areas(figures: tuple[AttackFigures, ...], margin: float | None) -> dict[str, Any]:
    series = []
    for phase, label in PHASES.items():
        found = [getattr(f, phase) for f in figures]
        series.append(
            {
                "label": label,
                "values": [None if e is None else e.auc.auc for e in found],
                "lower": [None if e is None else e.auc.lower for e in found],
                "upper": [None if e is None else e.auc.upper for e in found],
            }
        )
    n = figures[0].after.auc
    text = (
        f"Dots: area under the curve, {n.n_members} forgotten against {n.n_non_members} unseen "
        "records. Lines: 95 % intervals, each for itself. At 0.5 an attack guesses; below, what "
        "was hidden too well can be found."
    )
    made: dict[str, Any] = {
        "id": "auc",
        "section": SECTION,
        "kind": "intervals",
        "title": "Every attack, before and after",
        "x_label": "area under the curve (0.5 is guessing)",
        "categories": [f.title for f in figures],
        "series": series,
    }
    if margin is not None:
        judged = [None if f.tells_requests else f.reference_auc for f in figures]
        made["zone"] = {
            "label": f"reference ± {margin:g}",
            "centre": judged,
            "lower": [None if v is None else v - margin for v in judged],
            "upper": [None if v is None else v + margin for v in judged],
        }
        text += (
            " Shaded: the reference of each attack and the margin around it. What decides is the "
            "test in the table: it knows that both are measured on the same records."
            if figures[0].references
            else " Shaded: the reference, a model that tells nothing, and the margin around it."
        )
    deleted = [f.title for f in figures if f.tells_requests]
    if deleted:
        text += f" Tells who was deleted, and has no before: {', '.join(deleted)}."
    return {**made, "description": text}


def _roc(found: AttackFigures, reason: str) -> dict[str, Any]:
    series = []
    for phase, label in PHASES.items():
        evaluation: attacks.Evaluation | None = getattr(found, phase)
        if evaluation is not None:
            roc = evaluation.roc
            series.append(
                {
                    "label": label,
                    "fpr": list(roc.fpr),
                    "tpr": list(roc.tpr),
                    "lower": list(roc.lower),
                    "upper": list(roc.upper),
                }
            )
    total = len(found.references)
    for reference in found.references[:MOST_REFERENCES]:
        shown = "" if total == 1 else f" ({min(total, MOST_REFERENCES)} of {total})"
        series.append(
            {
                "label": f"retrained{shown}",
                "role": "reference",
                "fpr": list(reference.roc.fpr),
                "tpr": list(reference.roc.tpr),
            }
        )
    n = found.after.roc
    resolvable = resolvable_fpr(n.n_non_members) if n.n_non_members > 3 else 1.0
    return {
        "id": f"roc-{found.name}",
        "section": SECTION,
        "kind": "roc",
        "title": f"{found.title}: who is found at which cost",
        "description": f"{n.n_members} forgotten, {n.n_non_members} unseen records; bands: "
        "pointwise 95 %. Dotted: guessing. Shaded: fewer than three false alarms are to be "
        f"expected, the rate itself is not resolved. Rates of 0 stand where an axis says 0. This "
        f"attack was {reason}.",
        "resolvable": resolvable,
        "series": series,
    }


def _score_histograms(
    found: AttackFigures,
    before: dict[str, AttackScores | None],
    after: dict[str, AttackScores],
) -> list[dict[str, Any]]:
    """Return one histogram a phase of the scores of an attack, with the same bars."""
    phases: dict[str, Sets] = {}
    for phase, scores in (("before", before.get(found.name)), ("after", after[found.name])):
        if scores is not None:
            phases[phase] = [
                ("forgotten", np.asarray(scores.forgotten)),
                ("unseen", np.asarray(scores.unseen)),
            ]
    return _histograms(
        "score",
        phases,
        lambda phase: f"Scores of {found.title}, {PHASES[phase]}",
        "The higher, the more likely a member. Forgotten records to the right of the unseen ones "
        "are recognised.",
        "score of the attack",
    )


def _signal_histograms(groups: Groups) -> list[dict[str, Any]]:
    phases: dict[str, Sets] = {}
    for phase in PHASES:
        signal = attacks.signals.rescaled_logit(groups.outputs[phase], groups.y)
        forgotten, unseen = groups.split(signal)
        sets = [("forgotten", forgotten), ("unseen", unseen)]
        if groups.retain is not None and len(groups.retain):
            outputs = groups.models[phase](groups.retain.x)
            sets.append(("retained", attacks.signals.rescaled_logit(outputs, groups.retain.y)))
        phases[phase] = sets
    return _histograms(
        "signal",
        phases,
        lambda phase: f"How sure the network is of the true label, {PHASES[phase]}",
        "The rescaled logit of the true label, log p / (1 − p). Groups that look alike cannot be "
        "told apart by this signal.",
        "rescaled logit of the true label",
    )


def _histograms(
    name: str, phases: dict[str, Sets], title: Any, description: str, x_label: str
) -> list[dict[str, Any]]:
    edges = bar_edges([values for sets in phases.values() for _, values in sets])
    return [
        {
            "id": f"{name}-{phase}",
            "section": SECTION,
            "kind": "histogram",
            "title": title(phase),
            "description": f"{description} The outermost bars hold what lies beyond.",
            "x_label": x_label,
            "edges": edges.tolist(),
            "series": [
                {
                    "label": label,
                    "counts": np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0].tolist(),
                }
                for label, v in sets
            ],
        }
        for phase, sets in phases.items()
    ]


def bar_edges(groups: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Return round edges of bars for all groups together [B + 1], about 14 to 30 bars.

    A few outermost values lie beyond. Round, so that no edge is the value of a single record.
    Source of the number of bars: Rice's rule, twice the cube root of the size, of the smallest.
    """
    pooled = np.concatenate([g[np.isfinite(g)] for g in groups])
    if not len(pooled):
        return np.array([0.0, 1.0])
    low, lower, upper, high = np.percentile(pooled, [0.5, 25.0, 75.0, 99.5])
    if upper > lower:  # a long tail must not press all others into two bars
        low = max(low, lower - 3.0 * (upper - lower))
        high = min(high, upper + 3.0 * (upper - lower))
    wanted = int(np.clip(round(2.0 * min(len(g) for g in groups) ** (1 / 3)), 14, 30))
    span = float(high - low)
    if not span > 1e-6 * max(1.0, abs(float(low))):
        span = max(1.0, abs(float(low)))  # all the same: one bar in the middle
        low, high = low - span / 2, high + span / 2
    unit = 10.0 ** np.floor(np.log10(span / wanted))
    step = unit * min((1, 2, 2.5, 5, 10), key=lambda m: abs(np.log(m * unit * wanted / span)))
    first, last = int(np.floor(low / step)), int(np.ceil(high / step))
    return np.asarray(np.arange(first, max(last, first + 1) + 1) * step, dtype=np.float64)


def _curve(groups: Groups, curve: attacks.neighbourhood.NeighbourhoodCurve) -> dict[str, Any]:
    radii = [radius for radius in groups.submission.claimed_radii if np.isfinite(radius)]
    points = curve.points
    series: list[dict[str, Any]] = [
        {
            "label": "answers as before",
            "y": [p.retention for p in points],
            "lower": [p.lower for p in points],
            "upper": [p.upper for p in points],
        }
    ]
    guides = []
    if all(p.auc is not None for p in points):
        areas = [p.auc for p in points if p.auc is not None]
        series.append(
            {
                "label": "AUC of an attack",
                "y": [a.auc for a in areas],
                "lower": [a.lower for a in areas],
                "upper": [a.upper for a in areas],
            }
        )
        guides.append({"y": 0.5, "label": "0.5: the attack guesses"})
    return {
        "id": "neighbourhood",
        "section": SECTION,
        "kind": "curve",
        "title": "Around the forgotten records, after unlearning",
        "description": "Copies of the forgotten records with uniform noise: how many still get the "
        "answer they got before, and how well an attack tells them from copies of unseen records. "
        f"{curve.n_records} forgotten, {curve.n_unseen} unseen records, {curve.copies} copies of "
        "each, 95 % intervals by record. At 0: the records themselves.",
        "x_label": "greatest change of a feature",
        "y_label": "share; AUC",
        "log_x": True,
        "shares": True,
        "x": [p.radius for p in points],
        "series": series,
        "guides": guides,
        "markers": [{"x": min(radii), "label": "least certified radius"}] if radii else [],
    }
