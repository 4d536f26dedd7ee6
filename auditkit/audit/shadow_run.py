"""Shadow models for a submission: the audited architecture, trained on halves of known records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.shadows import Recipe, train_shadows
from attacks.shadows import architecture as learned
from attacks.shadows.architecture import Architecture
from auditkit.audit.membership_input import contents
from auditkit.audit.shadow_cache import own_folder, speech
from auditkit.audit.shadow_masks import shadow_masks, units
from auditkit.network.graph import (
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Operator,
    Pad,
    Relu,
    Reshape,
    Scale,
    Shape,
    Transpose,
)
from auditkit.network.numbers import PLAIN
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

UNTRAINABLE = (
    "shadow models are trained for chains of fully connected, convolution (ungrouped, undilated), "
    "pooling (unpadded) and ReLU layers only"
)

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


def architecture_of(network: Network) -> Architecture | None:
    """Return what shadow models of this network look like; None where none can be trained.

    A chain of dense, convolution, pooling and ReLU layers. What comes before them (`prepared`) is
    done to the records and not learned.
    """
    first = _prepared(network)
    layers: list[learned.Layer] = []
    for index in range(first, len(network.nodes)):
        node = network.nodes[index]
        layer = _layer(node.operator, network.shapes[index], network.shapes[index + 1])
        if layer is None or node.inputs != (index,):
            return None
        layers.append(layer)
    try:
        found = Architecture(network.shapes[first], tuple(layers))
    except ValueError:  # a form of padding that shadow models do not have
        return None
    return found if found.parameters else None


def prepared(network: Network, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return records [N, ...] as the first layer that learns reads them, another shape or scale.

    Reshaping, transposing, scaling and padding before the first layer are the network's own.
    """
    x = x.reshape(len(x), *network.input_shape).astype(network.dtype)
    for node in network.nodes[: _prepared(network)]:
        x = PLAIN.affine(node.operator, x, constant=True)
    return x.astype(np.float32)


def dense_widths(network: Network) -> tuple[int, ...] | None:
    """Return (inputs, hidden..., classes) of a fully connected ReLU network, None for another."""
    found = architecture_of(network)
    return None if found is None else found.widths


def _prepared(network: Network) -> int:
    """Return how many nodes of a chain come before the first layer."""
    for index, node in enumerate(network.nodes):
        if node.inputs != (index,) or not isinstance(
            node.operator, (Reshape, Transpose, Scale, Pad)
        ):
            return index
    return len(network.nodes)


def _layer(operator: Operator, before: Shape, after: Shape) -> learned.Layer | None:
    """Return the layer that learns what an operator computes, None where there is none."""
    match operator:
        case Relu():
            return learned.Relu()
        case Dense() if len(before) == 1:
            return learned.Dense(after[0])
        case Convolution(weight, _, strides, pads, (1, 1), 1) if pads[:2] == pads[2:]:
            return learned.Conv(weight.shape[0], weight.shape[2:], strides, pads[:2])
        case MaxPool(kernel, strides, (0, 0, 0, 0), (1, 1)):
            return learned.Pool("max", kernel, strides)
        case AveragePool(kernel, strides, (0, 0, 0, 0)):
            return learned.Pool("average", kernel, strides)
        case Reshape(shape) if len(shape) == 1:
            return learned.Flatten()
    return None


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
    are as many as make a shadow model's training set as large as the audited model's. None when a
    forgotten record is not among the training records. cache: a folder that keeps the scores;
    UsageError when it is not one of this very run.
    """
    kind = architecture_of(network)
    assert kind is not None
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
    with own_folder():
        run = train_shadows(
            kind,
            _scaled(prepared(network, x)),
            y,
            shadows=shadows,
            recipe=recipe,
            seed=seed,
            member_mask=mask,
            progress=progress,
            cache=cache,
            say=speech(progress),
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


def _scaled(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return records divided by their largest number, so that training converges at any scale.

    The same for all shadow models, in effect a first layer of theirs that is fixed.
    """
    largest = float(np.abs(x).max())
    return x / np.float32(largest) if largest > 0.0 else x


def _others(train: Records, forget: Records) -> NDArray[np.int64] | None:
    """Return the training records that are not to be forgotten; None when some are missing."""
    wanted, rows = set(contents(forget)), contents(train)
    if not wanted <= set(rows):
        return None
    return np.array([i for i, row in enumerate(rows) if row not in wanted], dtype=np.int64)
