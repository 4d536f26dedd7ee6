"""Rates with their intervals: false alarms, power, and the curve between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import roc_curve

from auditkit.threats.numbers import share_interval

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """`hits` of `n` with the exact two-sided 95 % interval (Clopper & Pearson 1934)."""

    hits: int
    n: int

    @property
    def interval(self) -> tuple[float, float]:
        """The lower and the upper end; [0, 1] where n = 0."""
        return share_interval(self.hits, self.n)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"hits": self.hits, "n": self.n, "interval": list(self.interval)}

    def text(self) -> str:
        """Return the rate in words, `3 of 400 (0.2 to 2.2 %)`; a dash for none."""
        if not self.n:
            return "–"
        low, high = self.interval
        return f"{self.hits} of {self.n} ({100 * low:.1f} to {100 * high:.1f} %)"


def rate(found: Iterable[bool]) -> Rate:
    """Return how many are true."""
    listed = [bool(f) for f in found]
    return Rate(sum(listed), len(listed))


def roc(dishonest: ArrayLike, honest: ArrayLike) -> tuple[F64, F64]:
    """Return (false-alarm rate [K], power [K]) over all thresholds on a score of suspicion.

    Higher is more suspicious. Empty where either side is.
    """
    bad, good = np.asarray(dishonest, float), np.asarray(honest, float)
    if not len(bad) or not len(good):
        return np.zeros(0), np.zeros(0)
    truth = np.concatenate([np.ones(len(bad)), np.zeros(len(good))])
    alarms, power, _ = roc_curve(truth, np.concatenate([bad, good]))
    return alarms, power
