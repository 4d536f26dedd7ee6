"""One attack's scores as the figures a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from attacks.statistics.advantage import Advantage, membership_advantage
from attacks.statistics.auc import AucEstimate, auc_estimate
from attacks.statistics.epsilon import EpsilonBound, epsilon_lower_bound
from attacks.statistics.roc import Refused, RocCurve, TprAtFpr, roc_curve, tpr_at_fpr

FPRS = (0.01, 0.001)


@dataclass(frozen=True)
class Evaluation:
    """AUC, true-positive rates at low false-positive rates (or why not), the curve, and more.

    advantage: at thresholds that other records chose, or why not. epsilon: the lower bound by
    Clopper-Pearson at planned ranks; `descriptive` unless inclusion was randomised.
    """

    auc: AucEstimate
    tprs: tuple[TprAtFpr | Refused, ...]
    roc: RocCurve
    advantage: Advantage | Refused
    epsilon: EpsilonBound


def evaluate(
    members: ArrayLike,
    non_members: ArrayLike,
    *,
    fprs: Sequence[float] = FPRS,
    confidence: float = 0.95,
    inclusion_randomised: bool = False,
) -> Evaluation:
    """Return the figures of one attack from its scores, higher meaning member.

    Members [M], non-members [N]; inclusion_randomised: a lot decided who is a member, as with
    canaries and never with a deletion request. Raises ValueError on an empty group or nan.
    """
    return Evaluation(
        auc_estimate(members, non_members, confidence),
        tuple(tpr_at_fpr(members, non_members, fpr, confidence) for fpr in fprs),
        roc_curve(members, non_members, confidence=confidence),
        membership_advantage(members, non_members, confidence),
        epsilon_lower_bound(
            members,
            non_members,
            confidence=confidence,
            inclusion_randomised=inclusion_randomised,
        ),
    )
