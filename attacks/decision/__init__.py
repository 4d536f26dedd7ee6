"""From scores to a verdict: what may be said of a cohort, and what of one person's records."""

from attacks.decision.calibration import Calibration, shadow_calibration
from attacks.decision.cohort import (
    AttackScores,
    AttackVerdict,
    CohortPlan,
    CohortVerdict,
    decide_cohort,
)
from attacks.decision.comparability import Comparability, compare_groups
from attacks.decision.exposure import ExposureTable, exposure_table
from attacks.decision.planning import SMALL_REQUEST, Decidability, what_can_be_decided
from attacks.decision.small_request import (
    RecordVerdict,
    SmallRequestVerdict,
    SubjectVerdict,
    decide_small_request,
)
from attacks.decision.verdict import Answer, Verdict

__all__ = [
    "SMALL_REQUEST",
    "Answer",
    "AttackScores",
    "AttackVerdict",
    "Calibration",
    "CohortPlan",
    "CohortVerdict",
    "Comparability",
    "Decidability",
    "ExposureTable",
    "RecordVerdict",
    "SmallRequestVerdict",
    "SubjectVerdict",
    "Verdict",
    "compare_groups",
    "decide_cohort",
    "decide_small_request",
    "exposure_table",
    "shadow_calibration",
    "what_can_be_decided",
]
