"""Models that never saw the forgotten records, given or retrained, and whether they may be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.decision.comparability import Comparability
from attacks.decision.references import knows_class, reference_doubts, same_networks
from attacks.shadows import Recipe, forward, trained_groups
from attacks.shadows.architecture import Architecture
from attacks.shadows.evaluate import Layers
from attacks.shadows.training import training_arrays
from attacks.shadows.work import announcement
from attacks.signals import rescaled_logit
from auditkit.audit.shadow_cache import speech
from auditkit.audit.shadow_masks import others
from auditkit.audit.shadow_network import (
    UNTRAINABLE,
    Reading,
    architecture_of,
    read_for_training,
)
from auditkit.errors import UsageError
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.records import Records

Model = Callable[[Any], Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class References:
    """Reference models as functions of records; `why_none` when some were wanted and not made."""

    models: tuple[Model, ...]
    given: int
    retrained: int
    why_none: str


def gather_references(
    network: Network,
    given: tuple[Network, ...],
    *,
    retrain: int = 0,
    train: Records | None = None,
    forget: Records | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> References:
    """Return the given references and as many retrained ones as asked for.

    Raises UsageError when a given one takes other records or has other classes than the audited
    network, or when retraining is asked for without the training records.
    """
    models = tuple(_as_function(network, model, i) for i, model in enumerate(given, 1))
    if retrain == 0:
        return References(models, len(given), 0, "")
    if train is None or forget is None:
        raise UsageError(
            "retrained references",
            expected="the training records (--train)",
            found="none",
            remedy="give them: the references are trained on those that are not forgotten",
        )
    made = _retrained(network, train, forget, retrain, recipe or Recipe(), seed, progress)
    if isinstance(made, str):
        return References(models, len(given), 0, made)
    return References((*models, *made), len(given), len(made), "")


def doubts(
    outputs: dict[str, NDArray[Any]],
    labels: NDArray[np.int64],
    forgotten: int,
    comparability: Comparability,
    classes: tuple[int, ...],
    alpha: float,
) -> tuple[str, ...]:
    """Return why references may not be used, one sentence each.

    outputs: per phase ("before", "after", "reference 1", ...) logits of forgotten, then unseen
    records; labels of the same.
    """
    named = {"before": "the original network", "after": "the delivered network"}
    unseen = [(named.get(phase, phase), values[forgotten:]) for phase, values in outputs.items()]
    same = same_networks(unseen)
    if same:
        return same
    references = {p: v for p, v in outputs.items() if p.startswith("reference")}
    if not references:
        return ()
    signals = [rescaled_logit(values, labels) for values in references.values()]
    pairs = [(s[:forgotten], s[forgotten:]) for s in signals]
    found = reference_doubts(pairs, comparability, alpha=alpha)
    if classes:
        of_class = [(p, v[forgotten:]) for p, v in references.items()]
        found += knows_class(of_class, labels[forgotten:], alpha=alpha)
    return found


def _as_function(network: Network, model: Network, number: int) -> Model:
    if model.features != network.features or model.classes != network.classes:
        raise UsageError(
            f"reference model {number}",
            expected=f"{network.features} inputs and {network.classes} classes, as the audited one",
            found=f"{model.features} and {model.classes}",
            remedy="give a model of the same task",
        )
    return lambda x: logits(model, x.reshape(len(x), *model.input_shape).astype(model.dtype))


def _retrained(
    network: Network,
    train: Records,
    forget: Records,
    count: int,
    recipe: Recipe,
    seed: int,
    progress: Progress | None,
) -> list[Model] | str:
    kind = architecture_of(network)
    if kind is None:
        return UNTRAINABLE.replace("shadow models", "references")
    keep = others(train, forget)
    if keep is None:
        return "not all forgotten records are among the training records (--train)"
    if not keep.size:
        return "nothing is left of the training records to retrain on"
    read, reading = read_for_training(network, (train.x[keep],))
    x, y = training_arrays(kind, read, train.y[keep])
    mask = np.ones((count, len(y)), dtype=np.bool_)
    say = speech(progress)
    if say is not None:
        say(announcement("references", kind, x, y, mask, recipe))
    start = int(np.random.default_rng([seed, 66]).integers(1 << 31))
    models: list[Model] = []
    for rows_of, trained in trained_groups(kind, x, y, mask, recipe, start, progress):
        networks = range(rows_of.stop - rows_of.start)
        models += [partial(_answer, trained.layers(k), kind, reading) for k in networks]
    return models


def _answer(layers: Layers, kind: Architecture, reading: Reading, x: NDArray[Any]) -> NDArray[Any]:
    return forward(layers, reading(x), kind)
