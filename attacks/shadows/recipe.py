"""How a model is trained: everything about training that is not the data, in one value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Optimizer = Literal["adam", "sgd"]


@dataclass(frozen=True)
class Recipe:
    """A training recipe for classifiers under cross-entropy.

    epochs: passes over the training records. batch_size: the largest batch; an epoch is cut into
    ceil(n / batch_size) batches of equal size, give or take one. weight_decay: added to the
    gradient (L2). momentum: of sgd. Raises ValueError on values that train nothing.
    """

    epochs: int = 30
    learning_rate: float = 1e-3
    batch_size: int = 128
    weight_decay: float = 0.0
    optimizer: Optimizer = "adam"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"epochs and batch_size must be at least 1, found {self.epochs}, {self.batch_size}"
            )
        rates = (self.learning_rate, self.weight_decay, self.momentum)
        if not all(math.isfinite(rate) and rate >= 0.0 for rate in rates) or rates[0] == 0.0:
            raise ValueError(
                "learning_rate must be positive, weight_decay and momentum not below 0"
            )
        if self.optimizer not in get_args(Optimizer):
            raise ValueError(f"optimizer must be one of {get_args(Optimizer)}")
