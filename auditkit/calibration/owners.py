"""Honest owners of a world's network: each does what is asked and says what is true of it.

A patch is sold as redirection and nothing more. Who retrains, or goes back to before the records
were seen, asserts erasure, and it is so. The other methods assert erasure in good faith: what they
leave behind is a fact about the method, and their figures are kept apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.calibration.worlds import World
from auditkit.certificate.identity import derived_key
from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import (
    UNLEARNED,
    PatchSubmission,
    Submission,
    UnlearnedSubmission,
    read_submission,
)
from auditkit.endpoint.answers import Kind
from auditkit.endpoint.service import Service
from auditkit.errors import UsageError
from auditkit.network.graph import Network
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records
from auditkit.threats.interface import Owner
from auditkit.unlearning.history import History
from auditkit.unlearning.interface import Diverged, Refused
from auditkit.unlearning.shards import make_plan, train_shards
from auditkit.unlearning.submission import Handover, unlearn_to
from auditkit.unlearning.training_log import read_training_log

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

SHARDS, SLICES = 5, 3
SERVED = ((Kind.LOGITS, None), (Kind.PROBABILITIES, 3), (Kind.LABELS, None))
"""What endpoints say, and to how many decimal places."""

Make = Callable[[World, Path, int], Owner]
"""World, where to write, and the owner's seed, to an owner; ValueError if there is none."""


@dataclass(frozen=True)
class OwnerKind:
    """One kind of honest owner; `exact` says that what it asserts is so by construction.

    `canaries` says that it is one of a world with canaries.
    """

    name: str
    make: Make
    patch: bool
    exact: bool = True
    canaries: bool = False


def _patch(**settings: Any) -> Make:
    def make(world: World, out: Path, seed: int) -> Owner:
        forget = _keyed(world.forget, world)
        made = resolve_settings(seed=seed % 2**31, **settings)
        try:
            make_submission(world.network, forget, made, out, reference=world.given, key=forget.key)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return _owner(world, out)

    return make


def _unlearned(method: str, **settings: Any) -> Make:
    def make(world: World, out: Path, seed: int) -> Owner:
        return _by_method(world, out, method, world.network, world.history, seed, settings)

    return make


def _with_its_seed(world: World, out: Path, seed: int) -> Owner:
    """Retrain by the seed of the original's training, as who changes nothing else would."""
    return _by_method(world, out, "retrain", world.network, world.history, world.seed, {})


def _sisa(world: World, out: Path, seed: int) -> Owner:
    """Train the world's records in shards, and take the forgotten ones out of theirs."""
    plan = make_plan(world.train, world.recipe, seed, shards=SHARDS, slices=SLICES)
    network, checkpoints = train_shards(world.network, world.train, plan)
    return _by_method(world, out, "sisa", network, checkpoints, seed, {})


def _by_method(
    world: World,
    out: Path,
    method: str,
    network: Network,
    history: History,
    seed: int,
    settings: Mapping[str, Any],
) -> Owner:
    forget = _keyed(world.forget, world)
    log_to = out.with_suffix(".safetensors") if method == "retrain" else None
    handover = Handover(key=forget.key, log_to=log_to)
    try:
        unlearn_to(
            out, method, network, forget, world.retain, world.given, scenario="subset",
            settings=settings, seed=seed, history=history, handover=handover,
        )  # fmt: skip
    except (Refused, Diverged) as error:
        raise ValueError(str(error)) from None
    owner = _owner(world, out)
    submission = owner.submission
    if log_to is None or not isinstance(submission, UnlearnedSubmission):
        return owner
    recipe = replace(world.recipe, **settings)
    return replace(owner, recipe=recipe, training=read_training_log(log_to, submission.unlearned))


def _owner(world: World, out: Path) -> Owner:
    return Owner(
        read_submission(out), retain=world.retain, unseen=world.given, recipe=world.recipe,
        canaries=world.canaries,
    )  # fmt: skip


def serving(owner: Owner, seed: int) -> Owner:
    """Return the owner with an endpoint that serves the delivered file, in one of three kinds.

    By onnxruntime and not by the evaluation that the checks use, and with times.
    """
    generator = np.random.default_rng([seed, 73])
    kind, digits = SERVED[int(generator.integers(len(SERVED)))]
    submission = owner.submission
    run = _by_runtime(delivered_file(submission))

    def answer(x: F32, elapsed: F64) -> F64:
        return run(x.astype(submission.network.dtype))

    def seconds(x: F32) -> F64:
        return generator.lognormal(-4.0, 0.3, len(x))

    service = Service(answer, submission.network.input_shape, kind, digits, seconds)
    return replace(owner, service=service)


def delivered_file(submission: Submission) -> bytes:
    """Return the bytes of what an owner of this package's own making delivers."""
    if isinstance(submission, PatchSubmission):
        return submission.exported
    return (submission.directory / UNLEARNED).read_bytes()


def _by_runtime(data: bytes) -> Callable[[NDArray[Any]], F64]:
    """Return a network's answers as onnxruntime computes them; the file must be our own."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0], dtype=np.float64)


def _keyed(forget: Records, world: World) -> Records:
    key = derived_key(world.seed, forget)
    return Records(forget.x, forget.y, key=key)


def _kinds() -> tuple[OwnerKind, ...]:
    sgd = {"optimizer": "sgd", "learning_rate": 0.05, "epochs": 40}
    return (
        OwnerKind("patch-redirect", _patch(spec="redirect"), True),
        OwnerKind("patch-neutralise", _patch(spec="neutralise"), True),
        OwnerKind("patch-reference", _patch(spec="reference"), True),
        OwnerKind("patch-cluster", _patch(spec="redirect", scope="cluster"), True),
        OwnerKind("retrain", _unlearned("retrain"), False),
        OwnerKind("retrain-same-seed", _with_its_seed, False),
        OwnerKind("retrain-sgd", _unlearned("retrain", **sgd), False),
        OwnerKind("sisa", _sisa, False),
        OwnerKind("patch-canaries", _patch(spec="redirect"), True, canaries=True),
        OwnerKind("patch-canaries-neutralise", _patch(spec="neutralise"), True, canaries=True),
        OwnerKind("retrain-canaries", _unlearned("retrain"), False, canaries=True),
        OwnerKind("retrain-canaries-sgd", _unlearned("retrain", **sgd), False, canaries=True),
        *(
            OwnerKind(name, _unlearned(name), False, exact=False)
            for name in (
                *("distribution-matching", "certified-newton", "forgetting-networks"),
                *("gradient-ascent", "random-labels", "scrub", "bad-teacher", "amnesiac"),
            )
        ),
    )


KINDS: Mapping[str, OwnerKind] = MappingProxyType({kind.name: kind for kind in _kinds()})
"""Honest owners by name; `unsir` unlearns whole classes only, and is not among them."""


def settled(seed: int, *purpose: int) -> int:
    """Return a seed below 2^31 for one purpose of an owner's."""
    return int(np.random.default_rng([seed, 72, *purpose]).integers(1 << 31))
