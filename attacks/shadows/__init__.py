"""Shadow models: networks trained like the target on random halves of the records.

They show what the target's output on a record looks like when the record was in the training set
and when it was not. torch is imported when training starts, not with this package.
"""

from attacks.shadows.architecture import Architecture
from attacks.shadows.evaluate import forward
from attacks.shadows.groups import group_slices
from attacks.shadows.masks import paired_masks
from attacks.shadows.recipe import Recipe
from attacks.shadows.score_matrix import ScoreMatrixError, StoredScores, read_scores
from attacks.shadows.training import (
    Shadows,
    train_one,
    train_shadows,
    trained_groups,
    training_arrays,
)
from attacks.shadows.unlearned import (
    Labelled,
    Trained,
    Unlearn,
    UnlearnedShadows,
    unlearn_shadows,
    unlearning_roles,
)

__all__ = [
    "Architecture",
    "Labelled",
    "Recipe",
    "ScoreMatrixError",
    "Shadows",
    "StoredScores",
    "Trained",
    "Unlearn",
    "UnlearnedShadows",
    "forward",
    "group_slices",
    "paired_masks",
    "read_scores",
    "train_one",
    "train_shadows",
    "trained_groups",
    "training_arrays",
    "unlearn_shadows",
    "unlearning_roles",
]
