"""Membership inference on arrays: can what a model was trained on be told from what it says?

Arrays and callables in, frozen results out; nothing here knows where they come from.

- An attack is a module of its name with a plain function of arrays: `lira`, `rmia`, `u_lira`, …;
  `reference` is Attack-R and `population` Attack-P, `thresholds` has those on a single signal of
  `signals`, `label_only` those that see a class alone.
- `interface` says what an attack is and what it may look at, `REGISTRY` has all of them behind one
  signature, `evaluation` turns scores into figures.
- `statistics` has numbers with their uncertainty, `decision` what follows from them, `shadows` the
  models that the stronger attacks need.
- The attacks share `arrays` (reading and refusing what callers give), `blocks` (matrices larger
  than memory), `normal` and `probabilities` (of shadow signals), `crossfit` (fits that do not judge
  what they were fitted on).
"""

from attacks import (
    base,
    bavaria,
    decision,
    difference,
    iam,
    label_only,
    learned,
    lira,
    neighbourhood,
    patch_support,
    population,
    quantile,
    reference,
    rmia,
    ruli,
    shadows,
    signals,
    statistics,
    thresholds,
    u_lira,
)
from attacks.evaluation import Evaluation, evaluate
from attacks.interface import Attack, CannotJudge, Evidence, Tier
from attacks.registry import REGISTRY, attack
from attacks.shadows.recipe import Recipe

__all__ = [
    "REGISTRY",
    "Attack",
    "CannotJudge",
    "Evaluation",
    "Evidence",
    "Recipe",
    "Tier",
    "attack",
    "base",
    "bavaria",
    "decision",
    "difference",
    "evaluate",
    "iam",
    "label_only",
    "learned",
    "lira",
    "neighbourhood",
    "patch_support",
    "population",
    "quantile",
    "reference",
    "rmia",
    "ruli",
    "shadows",
    "signals",
    "statistics",
    "thresholds",
    "u_lira",
]
