"""Shadow models of a submission that are unlearned by the owner's own method.

What the audited model answers on a forgotten record is compared with what the same method makes of
models whose history is known. A method is known here by its name; a patch is made again from the
submission's settings, for every shadow model and a forget set of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.interface import Predict
from attacks.shadows import (
    Architecture,
    Labelled,
    Recipe,
    Trained,
    Unlearn,
    UnlearnedShadows,
    unlearn_shadows,
)
from attacks.shadows import architecture as kinds
from attacks.shadows.unlearned import rows_needed
from auditkit.audit.shadow_run import MOST_IN_POOL, _others, dense_widths
from auditkit.certificate.submission import Submission
from auditkit.network.evaluate import logits
from auditkit.network.graph import (
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Node,
    Operator,
    Relu,
    Reshape,
)
from auditkit.network.scale import typical_activation
from auditkit.parallel import single_products
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.generate import Request, make_patch
from auditkit.patch.patched import patched_network
from auditkit.patch.settings import Scope, Settings, Spec
from auditkit.records import Records

Progress = Callable[[int, int], None]

TIMES = 4  # that each judged record is unlearned at the least
KEPT_OUT = 10  # one in so many of the other records is left to methods that want unseen ones
MOST_SHADOWS = 64
MOST_UNLEARNED = 256  # models; a patch at points takes 0.1 to 0.5 s
MOST_OF_REGIONS = 32  # where a patch is proved on whole regions and takes 3 to 15 s


def train_unlearned_run(
    submission: Submission,
    train: Records,
    forget: Records,
    holdout: Records,
    shadows: int,
    recipe: Recipe | None,
    seed: int,
    progress: Progress | None,
    *,
    method: str = "patch",
) -> tuple[UnlearnedShadows | None, str]:
    """Return unlearned shadow models' φ of forgotten, then unseen records; else None and why not.

    Forget sets are as large as the request and drawn from both groups, as many of them a shadow
    model as it takes to unlearn every record `TIMES` times. Other training records make a shadow
    model's training set as large as the audited model's, where there are enough.
    """
    widths = dense_widths(submission.network)
    if widths is None:
        return None, "shadow models are trained for fully connected networks only"
    settings = submission.certificate.settings
    if settings.scope is Scope.CLASS:
        return None, "a request for a whole class has no forget sets drawn at random"
    judged = len(forget) + len(holdout)
    models = min(shadows + shadows % 2, MOST_SHADOWS)
    needed = rows_needed(judged, len(forget), TIMES)
    sets = -(-needed // models)
    most = MOST_UNLEARNED if np.isfinite(settings.radius) else MOST_OF_REGIONS
    room = judged // 2 // len(forget)  # forget sets in the half that a shadow model trained on
    if not room:
        return None, (
            f"forget sets of {len(forget)} records do not fit in half of {judged} judged records: "
            "give at least as many unseen records as forgotten ones"
        )
    if sets > room:
        least = max(2 * TIMES, -(-needed // room))
        return None, (
            f"with {models} shadow models {judged} records cannot each be unlearned {TIMES} times: "
            f"ask for at least {least + least % 2}"
        )
    if models * sets > most:
        return None, (
            f"to unlearn each of {judged} records {TIMES} times, {len(forget)} at once, takes "
            f"{models * sets} unlearned models, more than {most}: give fewer unseen records"
        )
    rest = _others(train, forget)
    if rest is None:
        return None, "not all forgotten records are among the training records (--train)"
    places = max(0, MOST_IN_POOL - judged)
    rest = np.sort(np.random.default_rng([seed, 64]).permutation(rest)[:places])
    x = np.concatenate([forget.x, holdout.x, train.x[rest]])
    y = np.concatenate([forget.y, holdout.y, train.y[rest]])
    kept_out = -(-len(rest) // KEPT_OUT)
    try:
        made = unlearn_shadows(
            widths,
            x.reshape(len(x), -1),
            y,
            METHODS[method](submission),
            rest_size=max(0, min(len(train) - judged // 2, len(rest) - kept_out)),
            judged=judged,
            forget_size=len(forget),
            shadows=models,
            sets=sets,
            recipe=recipe,
            seed=seed,
            progress=progress,
        )
    except ValueError as error:
        return None, str(error)
    return made, ""


def patch_again(submission: Submission) -> Unlearn:
    """Return the submission's way of patching, as a method for any network.

    Its settings are those of the certificate as resolved. `neutralise` answers with the mean logits
    of records that the network did not see; `reference` with those of the shadow model that trained
    on the other half of the judged records. A patch in explicit form is made as patterns, whose
    gates are open at the same records.
    """
    settings = submission.certificate.settings
    if isinstance(submission.patch, ExplicitPatch):
        settings = replace(settings, sharpness=None)  # not over distances to rows
    dtype = submission.network.dtype

    def unlearn(
        trained: Trained, forgotten: Labelled, retained: Labelled, unseen: Labelled
    ) -> Predict:
        network = as_network(trained.architecture, trained.layers, dtype)

        def shaped(x: NDArray[Any]) -> NDArray[Any]:
            return x.reshape(len(x), *network.input_shape).astype(dtype)

        domain = settings.domain
        resolved = settings.resolved(typical_activation(network, domain.lower, domain.upper))
        targets = _targets(resolved, network, trained, shaped(forgotten.x), shaped(unseen.x))
        with single_products():
            request = Request(shaped(forgotten.x), forgotten.y)
            made = make_patch(network, request, resolved, targets=targets)
        patched = patched_network(network, made.patch)
        return lambda x: patched.logits(shaped(x))

    return unlearn


def _targets(
    settings: Settings,
    network: Network,
    trained: Trained,
    forgotten: NDArray[Any],
    unseen: NDArray[Any],
) -> NDArray[np.float64] | None:
    """Return what the outputs shall become: [C], [N, C], or None for redirect."""
    if settings.spec is Spec.REDIRECT:
        return None
    if settings.spec is Spec.REFERENCE:
        other = as_network(trained.architecture, trained.complement, network.dtype)
        return logits(other, forgotten.astype(np.float64))
    if not len(unseen):
        raise ValueError("neutralise needs training records that are not to be forgotten")
    return np.asarray(logits(network, unseen.astype(np.float64)).mean(axis=0))


METHODS: Mapping[str, Callable[[Submission], Unlearn]] = MappingProxyType({"patch": patch_again})
"""By name, how a submission of this kind unlearns; what is not here cannot be shadowed."""


def as_network(architecture: Architecture, layers: Any, dtype: np.dtype[Any]) -> Network:
    """Return a trained shadow model as a network; layers are (weight, bias) of those that have."""
    weights = iter(layers)
    nodes: list[Node] = []
    for layer, after in zip(architecture.layers, architecture.shapes[1:], strict=True):
        operator: Operator
        match layer:
            case kinds.Relu():
                operator = Relu()
            case kinds.Flatten():
                operator = Reshape(after)
            case kinds.Dense():
                weight, bias = next(weights)
                operator = Dense(weight.astype(dtype), bias.astype(dtype))
            case kinds.Conv():
                weight, bias = next(weights)
                pads = (*layer.padding, *layer.padding)
                operator = Convolution(weight.astype(dtype), bias.astype(dtype), layer.stride, pads)
            case kinds.Pool():
                pool = MaxPool if layer.kind == "max" else AveragePool
                operator = pool(layer.kernel, layer.stride)
        nodes.append(Node(operator, (len(nodes),)))
    return Network(architecture.input_shape, tuple(nodes), dtype)
