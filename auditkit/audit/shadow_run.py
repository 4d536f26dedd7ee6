"""Shadow models for a submission: the audited architecture, trained on halves of known records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from attacks.shadows import Recipe, ScoreMatrixError, train_shadows
from auditkit.errors import ToolError, UsageError
from auditkit.network.graph import Dense, Network, Relu, Reshape, Transpose
from auditkit.records import Records

__all__ = ["Recipe", "ShadowRun", "dense_widths", "train_shadow_run"]

MOST_IN_POOL = 6000  # beyond it a random part of the other training records is used


@runtime_checkable
class Speaker(Protocol):
    """Progress that takes lines, too."""

    def say(self, line: str) -> None:
        """Show one line."""


@dataclass(frozen=True, eq=False)
class ShadowRun:
    """φ float32 [K, F + U] of forgotten, then unseen records, and who trained on them."""

    signals: NDArray[np.float32]
    member_mask: NDArray[np.bool_]
    shadows: int
    pool: int
    recipe: Recipe
    forgotten: int


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
    cache: Path | None = None,
) -> ShadowRun | None:
    """Train shadow models on halves of forgotten, unseen and other training records.

    Both groups are in half of the shadows each, so that every one of their records has shadow
    models with and without it. None when a forgotten record is not among the training records.
    cache: a folder that keeps the scores; UsageError when it is not one of this very run.
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
    with _own_folder():
        run = train_shadows(
            widths,
            x.reshape(len(x), -1),
            y,
            shadows=shadows + shadows % 2,
            recipe=recipe,
            seed=seed,
            progress=progress,
            cache=cache,
            say=progress.say if isinstance(progress, Speaker) else None,
        )
    return ShadowRun(
        run.pool[:, :judged],
        run.member_mask[:, :judged],
        len(run.pool),
        len(x),
        recipe,
        len(forget),
    )


def refuse_within(cache: Path | None, submission: Path) -> None:
    """Raise UsageError when the folder would be among the owner's files, which are all bound."""
    if cache is not None and cache.resolve().is_relative_to(submission.resolve()):
        raise UsageError(
            str(cache),
            expected="a folder of your own for the scores of shadow models",
            found="one within the submission",
            remedy="name another folder",
        )


@contextmanager
def _own_folder() -> Iterator[None]:
    """Turn what is wrong with the folder of scores into an error of the caller's."""
    try:
        yield
    except ScoreMatrixError as error:
        kind = ToolError if error.no_room else UsageError
        raise kind(
            error.subject, expected=error.expected, found=error.found, remedy=error.remedy
        ) from error


def _others(train: Records, forget: Records) -> NDArray[np.int64] | None:
    """Return the training records that are not to be forgotten; None when some are missing."""
    wanted = {row.tobytes() for row in forget.x}
    rows = [row.tobytes() for row in train.x]
    if not wanted <= set(rows):
        return None
    return np.array([i for i, row in enumerate(rows) if row not in wanted], dtype=np.int64)
