"""Shadow models: networks trained like the target on random halves of the records.

They show what the target's output on a record looks like when the record was in the training set
and when it was not. torch is imported when training starts, not with this package.
"""

from attacks.shadows.architecture import Architecture
from attacks.shadows.masks import paired_masks
from attacks.shadows.recipe import Recipe
from attacks.shadows.training import Shadows, forward, train_one, train_shadows, trained_groups
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
    "Shadows",
    "Trained",
    "Unlearn",
    "UnlearnedShadows",
    "forward",
    "paired_masks",
    "train_one",
    "train_shadows",
    "trained_groups",
    "unlearn_shadows",
    "unlearning_roles",
]
