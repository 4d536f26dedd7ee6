"""Shadow models for a submission: the audited architecture, trained on halves of known records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.shadows import Recipe, train_shadows
from auditkit.audit.shadow_cache import own_folder, speech
from auditkit.audit.shadow_masks import others, shadow_masks, units
from auditkit.audit.shadow_network import (
    UNTRAINABLE,
    architecture_of,
    dense_widths,
    prepared,
    read_for_training,
)
from auditkit.network.graph import Network
from auditkit.records import Records

__all__ = [
    "UNTRAINABLE",
    "Recipe",
    "ShadowRun",
    "architecture_of",
    "dense_widths",
    "prepared",
    "train_shadow_run",
]


@dataclass(frozen=True, eq=False)
class ShadowRun:
    """φ float32 [K, F + U] of forgotten, then unseen records, and who trained on them.

    trained_on: on how many records a shadow model trained, on average; as_many_as: on how many the
    audited model did.
    """

    signals: NDArray[np.float32]
    member_mask: NDArray[np.bool_]
    shadows: int
    pool: int
    recipe: Recipe
    forgotten: int
    trained_on: float
    as_many_as: int


def train_shadow_run(
    network: Network,
    train: Records,
    forget: Records,
    holdout: Records,
    shadows: int,
    recipe: Recipe | None,
    seed: int,
    progress: Callable[[int, int], None] | None,
    cache: Path | None = None,
) -> ShadowRun | None:
    """Train shadow models on halves of forgotten and unseen records, and other training records.

    Both groups are in half of the shadows each, so that every one of their records has shadow
    models with and without it; all records of a person are in or out together. Of the others there
    are as many as make a shadow model's training set as large as the audited model's. Of
    these others no signals are taken. None when a forgotten record is not among the training
    records. cache: a folder that keeps the scores;
    UsageError when it is not one of this very run.
    """
    kind = architecture_of(network)
    assert kind is not None
    rest = others(train, forget)
    if rest is None:
        return None
    x, _ = read_for_training(network, (forget.x, holdout.x, train.x[rest]))
    y = np.concatenate([forget.y, holdout.y, train.y[rest]])
    recipe = recipe or Recipe()
    judged = len(forget) + len(holdout)
    shadows += shadows % 2
    mask = shadow_masks(shadows, units((forget, holdout)), len(rest), len(train), seed)
    with own_folder():
        run = train_shadows(
            kind,
            x,
            y,
            shadows=shadows,
            recipe=recipe,
            seed=seed,
            member_mask=mask,
            scored=judged,
            progress=progress,
            cache=cache,
            say=speech(progress),
        )
    return ShadowRun(
        run.pool,
        run.member_mask,
        len(run.pool),
        len(x),
        recipe,
        len(forget),
        float(mask.sum(axis=1).mean()),
        len(train),
    )
