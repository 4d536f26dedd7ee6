"""Shadow models for a submission: the audited architecture, trained on halves of known records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.shadows import Recipe, train_shadows
from auditkit.audit.shadow_masks import shadow_masks, units
from auditkit.network.graph import Dense, Network, Relu, Reshape, Transpose
from auditkit.records import Records

__all__ = ["Recipe", "ShadowRun", "dense_widths", "train_shadow_run"]

MOST_IN_POOL = 6000  # beyond it a random part of the other training records is used


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


def dense_widths(network: Network) -> tuple[int, ...] | None:
    """Return (inputs, hidden..., classes) of a fully connected ReLU network, None for another."""
    widths = [network.features]
    expect_relu = False
    for index, node in enumerate(network.nodes):
        match node.operator:
            case Reshape() | Transpose() if len(widths) == 1:
                continue
            case Dense(weight) if not expect_relu and len(network.shapes[index + 1]) == 1:
                widths.append(weight.shape[0])
                expect_relu = True
            case Relu() if expect_relu:
                expect_relu = False
            case _:
                return None
    return tuple(widths) if expect_relu and len(widths) > 1 else None


def train_shadow_run(
    network: Network,
    train: Records,
    forget: Records,
    holdout: Records,
    shadows: int,
    recipe: Recipe | None,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> ShadowRun | None:
    """Train shadow models on halves of forgotten and unseen records, and other training records.

    Both groups are in half of the shadows each, so that every one of their records has shadow
    models with and without it; all records of a person are in or out together. Of the others there
    are as many as make a shadow model's training set as large as the audited model's. None when a
    forgotten record is not among the training records.
    """
    widths = dense_widths(network)
    assert widths is not None
    rest = _others(train, forget)
    if rest is None:
        return None
    generator = np.random.default_rng([seed, 64])
    room = max(0, MOST_IN_POOL - len(forget) - len(holdout))
    if len(rest) > room:
        rest = np.sort(generator.permutation(rest)[:room])
    x = np.concatenate([forget.x, holdout.x, train.x[rest]])
    y = np.concatenate([forget.y, holdout.y, train.y[rest]])
    recipe = recipe or Recipe()
    judged = len(forget) + len(holdout)
    shadows += shadows % 2
    mask = shadow_masks(shadows, units((forget, holdout)), len(rest), len(train), seed)
    run = train_shadows(
        widths,
        x.reshape(len(x), -1),
        y,
        shadows=shadows,
        recipe=recipe,
        seed=seed,
        member_mask=mask,
        progress=progress,
    )
    return ShadowRun(
        run.pool[:, :judged],
        run.member_mask[:, :judged],
        len(run.pool),
        len(x),
        recipe,
        len(forget),
        float(mask.sum(axis=1).mean()),
        len(train),
    )


def _others(train: Records, forget: Records) -> NDArray[np.int64] | None:
    """Return the training records that are not to be forgotten; None when some are missing."""
    wanted = {row.tobytes() for row in forget.x}
    rows = [row.tobytes() for row in train.x]
    if not wanted <= set(rows):
        return None
    return np.array([i for i, row in enumerate(rows) if row not in wanted], dtype=np.int64)
