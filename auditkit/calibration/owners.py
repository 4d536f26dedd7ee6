"""Honest owners of a world's network: each does what is asked and says what is true of it.

A patch is sold as redirection and nothing more. Who retrains, or goes back to before the records
were seen, asserts erasure, and it is so. The other methods assert erasure in good faith: what they
leave behind is a fact about the method, and their figures are kept apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from auditkit.calibration.worlds import World
from auditkit.certificate.identity import derived_key
from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import read_submission
from auditkit.errors import UsageError
from auditkit.network.graph import Network
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records
from auditkit.threats.interface import Owner
from auditkit.unlearning.history import History
from auditkit.unlearning.interface import Diverged, Refused
from auditkit.unlearning.shards import make_plan, train_shards
from auditkit.unlearning.submission import Handover, unlearn_to

SHARDS, SLICES = 5, 3

Make = Callable[[World, Path, int], Owner]
"""World, where to write, and the owner's seed, to an owner; ValueError if there is none."""


@dataclass(frozen=True)
class Kind:
    """One kind of honest owner; `exact` says that what it asserts is so by construction."""

    name: str
    make: Make
    patch: bool
    exact: bool = True


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
    try:
        unlearn_to(
            out, method, network, forget, world.retain, world.given, scenario="subset",
            settings=settings, seed=seed, history=history, handover=Handover(key=forget.key),
        )  # fmt: skip
    except (Refused, Diverged) as error:
        raise ValueError(str(error)) from None
    return _owner(world, out)


def _owner(world: World, out: Path) -> Owner:
    return Owner(read_submission(out), retain=world.retain, unseen=world.given, recipe=world.recipe)


def _keyed(forget: Records, world: World) -> Records:
    key = derived_key(world.seed, forget)
    return Records(forget.x, forget.y, key=key)


def _kinds() -> tuple[Kind, ...]:
    sgd = {"optimizer": "sgd", "learning_rate": 0.05, "epochs": 40}
    return (
        Kind("patch-redirect", _patch(spec="redirect"), True),
        Kind("patch-neutralise", _patch(spec="neutralise"), True),
        Kind("patch-reference", _patch(spec="reference"), True),
        Kind("patch-cluster", _patch(spec="redirect", scope="cluster"), True),
        Kind("retrain", _unlearned("retrain"), False),
        Kind("retrain-sgd", _unlearned("retrain", **sgd), False),
        Kind("sisa", _sisa, False),
        *(
            Kind(name, _unlearned(name), False, exact=False)
            for name in (
                *("distribution-matching", "certified-newton", "forgetting-networks"),
                *("gradient-ascent", "random-labels", "scrub", "bad-teacher", "amnesiac"),
            )
        ),
    )


KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _kinds()})
"""Honest owners by name; `unsir` unlearns whole classes only, and is not among them."""


def settled(seed: int, *purpose: int) -> int:
    """Return a seed below 2^31 for one purpose of an owner's."""
    return int(np.random.default_rng([seed, 72, *purpose]).integers(1 << 31))
