"""Charts and tables of the membership chapter, as data for the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import attacks
from attacks.decision.cohort import AttackScores
from auditkit.audit.membership_checks import figures
from auditkit.audit.shadow_run import ShadowRun

if TYPE_CHECKING:
    from auditkit.audit.membership import Groups

SECTION = "membership"
PREFERRED = ("lira-online", "rmia", "loss")  # the strongest that could run gets the chart


def charts(
    groups: Groups,
    before: dict[str, AttackScores | None],
    after: dict[str, AttackScores],
    curve: attacks.neighbourhood.NeighbourhoodCurve,
    run: ShadowRun | None,
) -> tuple[dict[str, Any], ...]:
    """Return the ROC, the signal histograms and the neighbourhood curve."""
    made = []
    name = next((n for n in PREFERRED if n in after), None)
    if name is not None:
        made.append(_roc(name, before[name], after[name]))
    made.append(_histogram(groups, "before"))
    made.append(_histogram(groups, "after"))
    made.append(_curve(groups, curve))
    return tuple(made)


def _roc(name: str, before: AttackScores | None, after: AttackScores) -> dict[str, Any]:
    series = []
    for label, scores in (("before", before), ("after", after)):
        if scores is None:
            continue
        roc = attacks.evaluate(scores.forgotten, scores.unseen).roc
        series.append(
            {
                "label": label,
                "fpr": list(roc.fpr),
                "tpr": list(roc.tpr),
                "lower": list(roc.lower),
                "upper": list(roc.upper),
            }
        )
    title = attacks.REGISTRY[name].title
    return {
        "id": "roc",
        "section": SECTION,
        "kind": "roc",
        "title": f"{title}: forgotten against unseen records",
        "description": "True-positive rate over false-positive rate on logarithmic axes, with a "
        "pointwise 95 % band. On the diagonal the attack knows nothing.",
        "series": series,
    }


def _histogram(groups: Groups, phase: str) -> dict[str, Any]:
    n = len(groups.forget)
    signal = attacks.signals.rescaled_logit(groups.outputs[phase], groups.y)
    sets = [("forgotten", signal[:n]), ("unseen", signal[n:])]
    if groups.retain is not None:
        outputs = groups.models[phase](groups.retain.x)
        sets.append(("retained", attacks.signals.rescaled_logit(outputs, groups.retain.y)))
    pooled = np.concatenate([values for _, values in sets])
    low, high = np.percentile(pooled, [0.5, 99.5])
    edges = np.linspace(low, high + 1e-9 + 1e-9 * abs(high), 31)
    return {
        "id": f"signal-{phase}",
        "section": SECTION,
        "kind": "histogram",
        "title": f"How sure the network is of the true label, {phase} the patch",
        "description": "The rescaled logit of the true label, log p / (1 - p); the outermost bars "
        "hold what lies beyond. Groups that look alike cannot be told apart by this signal.",
        "x_label": "rescaled logit of the true label",
        "edges": edges.tolist(),
        "series": [
            {
                "label": label,
                "counts": np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0].tolist(),
            }
            for label, v in sets
        ],
    }


def _curve(groups: Groups, curve: attacks.neighbourhood.NeighbourhoodCurve) -> dict[str, Any]:
    certificate = groups.submission.certificate
    radii = [claim.radius for claim in certificate.claims if np.isfinite(claim.radius)]
    points = curve.points
    series: list[dict[str, Any]] = [
        {
            "label": "answers as before the patch",
            "y": [p.retention for p in points],
            "lower": [p.lower for p in points],
            "upper": [p.upper for p in points],
        }
    ]
    if all(p.auc is not None for p in points):
        areas = [p.auc for p in points if p.auc is not None]
        series.append(
            {
                "label": "attack AUC (0.5 knows nothing)",
                "y": [a.auc for a in areas],
                "lower": [a.lower for a in areas],
                "upper": [a.upper for a in areas],
            }
        )
    return {
        "id": "neighbourhood",
        "section": SECTION,
        "kind": "curve",
        "title": "Around the forgotten records, after the patch",
        "description": "Copies of the forgotten records with uniform noise: how many still get the "
        "answer they got before the patch, and how well an attack tells them from copies of unseen "
        f"records. {curve.n_records} records, {curve.copies} copies each, 95 % intervals.",
        "x_label": "greatest change of a feature",
        "y_label": "share, AUC",
        "log_x": False,
        "x": [p.radius for p in points],
        "series": series,
        "markers": [{"x": min(radii), "label": "least certified radius"}] if radii else [],
    }


def tables(
    before: dict[str, AttackScores | None],
    after: dict[str, AttackScores],
    count: int,
    curve: attacks.neighbourhood.NeighbourhoodCurve,
) -> tuple[dict[str, Any], ...]:
    """Return all attacks with AUC and rates, and the neighbourhood curve, as tables."""
    rows = []
    for name, scores in after.items():
        for phase, values in (("before", figures(before[name])), ("after", figures(scores))):
            if values:
                rows.append(
                    [
                        attacks.REGISTRY[name].title,
                        phase,
                        values["auc"],
                        *values["auc_interval"],
                        values["tpr_at_1%"],
                        values["tpr_at_0.1%"],
                    ]
                )
    around = [
        [p.radius, p.retention, p.lower, p.upper, None if p.auc is None else p.auc.auc]
        for p in curve.points
    ]
    return (
        {
            "id": "attacks",
            "section": SECTION,
            "title": "Every attack, before and after",
            "description": f"{count} forgotten records against unseen ones; 95 % intervals.",
            "columns": ["attack", "phase", "AUC", "from", "to", "TPR at 1 %", "TPR at 0.1 %"],
            "rows": rows,
        },
        {
            "id": "neighbourhood",
            "section": SECTION,
            "title": "Around the forgotten records",
            "description": "Share of noisy copies answered as before, and attack AUC.",
            "columns": ["radius", "as before", "from", "to", "attack AUC"],
            "rows": around,
        },
    )
