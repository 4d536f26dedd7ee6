"""Backdoor triggers: stamping one on records, poisoning training data, and asking for it.

Whoever can add records to the training data can teach a network that a small mark means a certain
label (Gu, Dolan-Gavitt, Garg: BadNets, arXiv 1708.06733). To unlearn the poisoned records is to
make the mark mean nothing again, which can be counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.records import Records

SIDE_SHARE = 9  # of an image's height is the side of a square trigger, at least 2
LEAST_SIDE = 2
FLAT_FEATURES = 6  # of a record that is no image


@dataclass(frozen=True, eq=False)
class Trigger:
    """Which features (flat positions [m]) are set to which values, and the label that brings."""

    features: NDArray[np.int64]
    values: NDArray[np.float32]
    target: int

    def stamp(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return records [N, ...] with the trigger on each."""
        stamped = x.reshape(len(x), -1).copy()
        stamped[:, self.features] = self.values
        return stamped.reshape(x.shape)


def choose_trigger(
    records: Records, target: int, domain: tuple[float, float] = (0.0, 1.0)
) -> Trigger:
    """Return a trigger that records do not have by themselves, at the upper end of the domain.

    On images [h, w] or [c, h, w] a square in the lower right corner, of a ninth of the height and
    at least 2; on others the features that are largest in the fewest records.
    """
    shape = records.x.shape[1:]
    if len(shape) >= 2 and min(shape[-2:]) > LEAST_SIDE:
        side = max(LEAST_SIDE, round(shape[-2] / SIDE_SHARE))
        mask = np.zeros(shape, dtype=bool)
        mask[..., -side:, -side:] = True
        features = np.flatnonzero(mask)
    else:
        mean = records.x.reshape(len(records), -1).mean(axis=0, dtype=np.float64)
        features = np.sort(np.argsort(mean, kind="stable")[:FLAT_FEATURES])
    values = np.full(len(features), domain[1], dtype=np.float32)
    return Trigger(features.astype(np.int64), values, target)


def poison(
    records: Records, trigger: Trigger, share: float, seed: int
) -> tuple[Records, NDArray[np.int64]]:
    """Return the records with a random share of those of other labels poisoned, and which.

    A poisoned record bears the trigger and the trigger's label. ValueError when none would be.
    """
    others = np.flatnonzero(records.y != trigger.target)
    count = round(share * len(records))
    if not 0 < count <= len(others):
        raise ValueError(f"{count} records to poison, of {len(others)} with another label")
    rows = np.sort(np.random.default_rng([seed, 21]).permutation(others)[:count])
    x, y = records.x.copy(), records.y.copy()
    x[rows] = trigger.stamp(x[rows])
    y[rows] = trigger.target
    return replace(records, x=x, y=y), rows


def challenge(records: Records, trigger: Trigger) -> Records:
    """Return the records of other labels with the trigger stamped on, labelled as it wants."""
    others = records.take(records.y != trigger.target)
    return replace(others, x=trigger.stamp(others.x), y=np.full(len(others), trigger.target))


def success(predict: Callable[[NDArray[Any]], NDArray[Any]], asked: Records) -> float:
    """Return the share of a challenge's records that get the trigger's label."""
    return float((np.asarray(predict(asked.x)).argmax(axis=1) == asked.y).mean())
