"""One attack's scores as the figures a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from attacks.statistics.auc import AucEstimate, auc_estimate
from attacks.statistics.roc import Refused, RocCurve, TprAtFpr, roc_curve, tpr_at_fpr

FPRS = (0.01, 0.001)


@dataclass(frozen=True)
class Evaluation:
    """AUC, true-positive rates at low false-positive rates (or why not), and the curve."""

    auc: AucEstimate
    tprs: tuple[TprAtFpr | Refused, ...]
    roc: RocCurve


def evaluate(
    members: ArrayLike,
    non_members: ArrayLike,
    *,
    fprs: Sequence[float] = FPRS,
    confidence: float = 0.95,
) -> Evaluation:
    """Return the figures of one attack from its scores, higher meaning member.

    Members [M], non-members [N]. Raises ValueError on an empty group or nan.
    """
    return Evaluation(
        auc_estimate(members, non_members, confidence),
        tuple(tpr_at_fpr(members, non_members, fpr, confidence) for fpr in fprs),
        roc_curve(members, non_members, confidence=confidence),
    )
