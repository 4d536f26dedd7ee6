"""Membership inference on arrays: can what a model was trained on be told from what it says?

One module per attack, `REGISTRY` with all of them behind one signature, `statistics` for numbers
with their uncertainty, `decision` for what follows from them, `shadows` for the models the stronger
attacks need. Arrays and callables in, frozen results out; nothing here knows where they come from.
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
