"""Numbers with their uncertainty: areas, rates, ε, equivalence, correction for many tests."""

from attacks.statistics.advantage import Advantage, membership_advantage
from attacks.statistics.auc import AucDifference, AucEstimate, auc, auc_difference, auc_estimate
from attacks.statistics.binomial import clopper_pearson
from attacks.statistics.bootstrap import (
    BootstrapEstimate,
    bca_auc,
    bca_auc_over_shadows,
    bca_interval,
)
from attacks.statistics.bounded import bounded_mean_interval
from attacks.statistics.clusters import Clusters
from attacks.statistics.epsilon import EpsilonBound, EpsilonMethod, epsilon_lower_bound
from attacks.statistics.equivalence import (
    Equivalence,
    equivalence_power,
    equivalence_test,
    least_members_for_pass,
    members_needed,
)
from attacks.statistics.multiple import benjamini_hochberg, holm
from attacks.statistics.population_rate import PopulationRate, population_rate
from attacks.statistics.power import (
    epsilon_power,
    exposure_power,
    greatest_epsilon,
    guesses_for_one_run,
    members_for_tpr,
    out_needed_for_exposure,
    records_for_epsilon,
    tpr_equivalence_power,
)
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
    "BootstrapEstimate",
    "Clusters",
    "EpsilonBound",
    "EpsilonMethod",
    "Equivalence",
    "PopulationRate",
    "Refused",
    "RocCurve",
    "TprAtFpr",
    "auc",
    "auc_difference",
    "auc_estimate",
    "bca_auc",
    "bca_auc_over_shadows",
    "bca_interval",
    "benjamini_hochberg",
    "bounded_mean_interval",
    "clopper_pearson",
    "epsilon_lower_bound",
    "epsilon_power",
    "equivalence_power",
    "equivalence_test",
    "exposure_power",
    "greatest_epsilon",
    "guesses_for_one_run",
    "holm",
    "least_members_for_pass",
    "members_for_tpr",
    "members_needed",
    "membership_advantage",
    "negatives_needed",
    "out_needed_for_exposure",
    "population_rate",
    "records_for_epsilon",
    "roc_curve",
    "tpr_at_fpr",
    "tpr_equivalence_power",
]
