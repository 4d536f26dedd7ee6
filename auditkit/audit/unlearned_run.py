"""Shadow models of a submission that are unlearned by the owner's own method.

What the audited model answers on a forgotten record is compared with what the same method makes of
models whose history is known. A patch is made again from the submission's settings, for every
shadow model and a forget set of its own; another method is the one that the claim names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.arrays import NEVER
from attacks.decision.calibration import shadow_calibration
from attacks.interface import Predict
from attacks.shadows import (
    Labelled,
    Recipe,
    Trained,
    Unlearn,
    UnlearnedShadows,
    unlearn_shadows,
)
from attacks.shadows.unlearned import rows_needed
from auditkit.audit.shadow_cache import speech
from auditkit.audit.shadow_masks import others, units
from auditkit.audit.shadow_network import (
    UNTRAINABLE,
    Reading,
    architecture_of,
    as_network,
    read_for_training,
)
from auditkit.audit.unlearn_again import cannot_unlearn_again, method_again
from auditkit.certificate.submission import PatchSubmission, Submission, UnlearnedSubmission
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.network.scale import typical_activation
from auditkit.parallel import single_products
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.generate import Request, make_patch
from auditkit.patch.patched import patched_network
from auditkit.patch.settings import Settings, Spec
from auditkit.records import Records

Progress = Callable[[int, int], None]

TIMES = 4  # that each judged record is unlearned at the least
KEPT_OUT = 10  # one in so many of the other records is left to methods that want unseen ones,
MOST_KEPT_OUT = 200  # and no more than it takes for a mean: the others are wanted for training
MOST_SHADOWS = 64
MOST_UNLEARNED = 256  # models; a patch at points takes 0.1 to 0.5 s
MOST_BY_METHOD = 128  # by another method, which trains: 0.5 to 5 s for a small network
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
    method: str | None = None,
) -> tuple[UnlearnedShadows | None, str]:
    """Return unlearned shadow models' φ of forgotten, then unseen records; else None and why not.

    Forget sets are as large as the request and drawn from both groups, as many of them a shadow
    model as it takes to unlearn every record `TIMES` times; a person's records stay together. Other
    training records make a shadow model's training set as large as the audited model's, where there
    are enough.
    """
    kind = architecture_of(submission.network)
    if kind is None:
        return None, UNTRAINABLE
    if submission.whole_classes:
        return None, "a request for a whole class has no forget sets drawn at random"
    if isinstance(submission, UnlearnedSubmission) and (why := _no_method(submission)):
        return None, why
    judged = len(forget) + len(holdout)
    models = min(shadows + shadows % 2, MOST_SHADOWS)
    needed = rows_needed(judged, len(forget), TIMES)
    sets = -(-needed // models)
    most = most_models(submission)
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
    rest = others(train, forget)
    if rest is None:
        return None, "not all forgotten records are among the training records (--train)"
    x = np.concatenate([forget.x, holdout.x, train.x[rest]])
    y = np.concatenate([forget.y, holdout.y, train.y[rest]])
    read, reading = read_for_training(submission.network, (x,))
    kept_out = min(-(-len(rest) // KEPT_OUT), MOST_KEPT_OUT)
    try:
        made = unlearn_shadows(
            kind,
            read,
            y,
            METHODS[method or submission.KIND](submission, reading),
            rest_size=max(0, min(len(train) - judged // 2, len(rest) - kept_out)),
            judged=judged,
            subjects=units((forget, holdout)),
            as_given=x,
            forget_size=len(forget),
            shadows=models,
            sets=sets,
            recipe=recipe,
            seed=seed,
            progress=progress,
            say=speech(progress),
        )
    except ValueError as error:
        return None, str(error)
    return made, ""


def most_models(submission: Submission) -> int:
    """Return how many models may be unlearned as the submission's was: what that takes decides."""
    if isinstance(submission, UnlearnedSubmission):
        return MOST_BY_METHOD
    if isinstance(submission, PatchSubmission) and submission.of_regions:
        return MOST_OF_REGIONS
    return MOST_UNLEARNED


def _no_method(submission: UnlearnedSubmission) -> str:
    """Return why shadow models cannot be unlearned as the claim says, empty when they can."""
    method = submission.claim.method
    if method.scenario == "backdoor":
        return "poisoned records are of one kind: no forget sets are drawn at random in their place"
    return cannot_unlearn_again(method)


def patch_again(submission: Submission, reading: Reading | None = None) -> Unlearn:
    """Return the submission's way of patching, as a method for any network.

    Its settings are those of the certificate as resolved. `neutralise` answers with the mean logits
    of records that the network did not see; `reference` with those of the shadow model that trained
    on the other half of the judged records. A patch in explicit form is made as patterns, whose
    gates are open at the same records. reading: how the shadow models read records, as they are
    when None; the patch is made for the network that takes them as they are.
    """
    if not isinstance(submission, PatchSubmission):
        raise ValueError("only a submission of a patch can be patched again")
    settings = submission.certificate.settings
    if isinstance(submission.patch, ExplicitPatch):
        settings = replace(settings, sharpness=None)  # not over distances to rows
    dtype = submission.network.dtype

    def unlearn(
        trained: Trained, forgotten: Labelled, retained: Labelled, unseen: Labelled
    ) -> Predict:
        network = as_network(trained.architecture, trained.layers, dtype, reading)

        def shaped(x: NDArray[Any]) -> NDArray[Any]:
            return x.reshape(len(x), *network.input_shape).astype(dtype)

        domain = settings.domain
        resolved = settings.resolved(typical_activation(network, domain.lower, domain.upper))
        other = as_network(trained.architecture, trained.complement, dtype, reading)
        targets = _targets(resolved, network, other, shaped(forgotten.x), shaped(unseen.x))
        with single_products():
            request = Request(shaped(forgotten.x), forgotten.y)
            made = make_patch(network, request, resolved, targets=targets)
        patched = patched_network(network, made.patch)
        return lambda x: patched.logits(shaped(x))

    return unlearn


def _targets(
    settings: Settings,
    network: Network,
    other: Network,
    forgotten: NDArray[Any],
    unseen: NDArray[Any],
) -> NDArray[np.float64] | None:
    """Return what the outputs shall become: [C], [N, C], or None for redirect."""
    if settings.spec is Spec.REDIRECT:
        return None
    if settings.spec is Spec.REFERENCE:
        return logits(other, forgotten.astype(np.float64))
    if not len(unseen):
        raise ValueError("neutralise needs training records that are not to be forgotten")
    return np.asarray(logits(network, unseen.astype(np.float64)).mean(axis=0))


METHODS: Mapping[str, Callable[[Submission, Reading], Unlearn]] = MappingProxyType(
    {"patch": patch_again, "model": method_again}
)
"""By the submission's kind, how it unlearns."""


def unlike_the_audited(made: UnlearnedShadows, forgotten: int, unseen: ArrayLike) -> str:
    """Return why nothing that these shadow models miss counts, empty when it does.

    unseen: φ of the delivered network on the unseen records, which follow the `forgotten` ones in
    `made`. To these the delivered network is one more unlearned model that never saw them. The
    forget sets of one model are not independent: its first stands for it.
    """
    signals, role = made.signals[:: made.sets, forgotten:], made.role[:: made.sets, forgotten:]
    found = shadow_calibration(unseen, signals, role != NEVER)
    return "" if found.calibrated else f"unlearned shadow models: {found.reason}"
