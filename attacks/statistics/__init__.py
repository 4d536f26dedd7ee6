"""Numbers with their uncertainty: areas, rates, equivalence and the correction for many tests."""

from attacks.statistics.advantage import Advantage, membership_advantage
from attacks.statistics.auc import AucDifference, AucEstimate, auc, auc_difference, auc_estimate
from attacks.statistics.binomial import clopper_pearson
from attacks.statistics.bounded import bounded_mean_interval
from attacks.statistics.epsilon import EpsilonBound, EpsilonMethod, epsilon_lower_bound
from attacks.statistics.equivalence import (
    Equivalence,
    equivalence_power,
    equivalence_test,
    least_members_for_pass,
    members_needed,
)
from attacks.statistics.multiple import benjamini_hochberg, holm
from attacks.statistics.roc import (
    Refused,
    RocCurve,
    TprAtFpr,
    negatives_needed,
    roc_curve,
    tpr_at_fpr,
)

__all__ = [
    "Advantage",
    "AucDifference",
    "AucEstimate",
    "EpsilonBound",
    "EpsilonMethod",
    "Equivalence",
    "Refused",
    "RocCurve",
    "TprAtFpr",
    "auc",
    "auc_difference",
    "auc_estimate",
    "benjamini_hochberg",
    "bounded_mean_interval",
    "clopper_pearson",
    "epsilon_lower_bound",
    "equivalence_power",
    "equivalence_test",
    "holm",
    "least_members_for_pass",
    "members_needed",
    "membership_advantage",
    "negatives_needed",
    "roc_curve",
    "tpr_at_fpr",
]
