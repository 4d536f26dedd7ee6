"""One world's trials: honest owners under every check, and cheats under the check for theirs.

A trial is one owner before one auditor. It gives a row of plain values; a study is its rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from auditkit.audit.threat_checks import threat_checks
from auditkit.calibration.evidence import gather
from auditkit.calibration.owners import KINDS, serving, settled
from auditkit.calibration.worlds import World, make_world, with_canaries
from auditkit.errors import EvidenceError
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, Severity
from auditkit.threats.decide import P_REFUTE
from auditkit.threats.interface import CANARIES, Behaviour, Owner
from auditkit.threats.registry import BEHAVIOURS

Row = dict[str, Any]

FULL = 1.0
LESS = (0.5, 0.25, 0.1)
"""Strengths below the full one; every second world tries one of them."""

CERTAIN, UNSUSPICIOUS = 1e3, -1.0
"""Scores of suspicion: of a finding without a p-value, and of a behaviour that is refuted."""


@dataclass(frozen=True)
class Design:
    """What is tried in every world.

    honest: kinds of owners; a world has one of every kind whose assertion is true, and `each` of
    the others in turn. behaviours: names. `first` is the seed of the first world of `worlds`, the
    same for every data set.
    """

    worlds: int
    first: int
    honest: tuple[str, ...]
    each: int
    behaviours: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "worlds": self.worlds,
            "first_seed": self.first,
            "honest": list(self.honest),
            "of_other_methods_in_each_world": self.each,
            "behaviours": list(self.behaviours),
            "strengths": [FULL, *LESS],
        }


def run_world(data: str, records: Records, seed: int, design: Design) -> list[Row]:
    """Return the rows of one world; its seed decides everything in it."""
    with np.errstate(all="ignore"):
        try:
            worlds = Worlds(make_world(data, records, seed))
        except ValueError as error:
            return [{**_blank(data, seed), "refused": str(error)}]
        with tempfile.TemporaryDirectory(prefix="auditkit-") as folder:
            return [
                *_honest(worlds, design, Path(folder)),
                *_dishonest(worlds, design, Path(folder)),
            ]


class Worlds:
    """A world, and the same with canaries, which is made when it is first wanted."""

    def __init__(self, plain: World) -> None:
        self.plain = plain

    @cached_property
    def with_canaries(self) -> World:
        """The world with canaries."""
        return with_canaries(self.plain)

    def of(self, kind: str) -> World:
        """Return the world that an honest owner of this kind lives in."""
        return self.with_canaries if KINDS[kind].canaries else self.plain

    def owner(self, kind: str, out: Path, seed: int) -> Owner:
        """Return an honest owner of this kind, whose model is served; ValueError as `KINDS` do."""
        return serving(KINDS[kind].make(self.of(kind), out, seed), seed)


def _honest(worlds: Worlds, design: Design, folder: Path) -> Iterator[Row]:
    world = worlds.plain
    chosen = [name for name in design.honest if KINDS[name].exact]
    others = [name for name in design.honest if not KINDS[name].exact]
    start = (world.seed - design.first) * design.each
    chosen += [others[(start + i) % len(others)] for i in range(design.each if others else 0)]
    for place, name in enumerate(chosen):
        row = _row(world, name)
        seed = settled(world.seed, 1, place)
        try:
            owner = worlds.owner(name, folder / f"honest-{place}", seed)
        except ValueError as error:
            yield {**row, "refused": str(error)}
            continue
        yield {**row, **_judged(worlds.of(name), owner, design.behaviours, seed)}


def _dishonest(worlds: Worlds, design: Design, folder: Path) -> Iterator[Row]:
    world = worlds.plain
    honest: dict[str, Owner] = {}
    for behaviour in BEHAVIOURS:
        if behaviour.name not in design.behaviours:
            continue
        for kind, variants in _ways(world, behaviour):
            less = LESS[world.generator(3, behaviour.number).integers(len(LESS))]
            strengths = (FULL,) if world.seed % 2 else (FULL, less)
            row = _row(world, kind) | {"behaviour": behaviour.name}
            try:
                if kind not in honest:
                    honest[kind] = worlds.owner(kind, folder / kind, settled(world.seed, 3))
                place = worlds.of(kind)
            except ValueError as error:
                yield from ({**row, "strength": s, "refused": str(error)} for s in strengths)
                continue
            for strength in strengths:
                yield _cheat(place, behaviour, kind, variants, strength, honest[kind], folder)


def _cheat(
    world: World,
    behaviour: Behaviour,
    kind: str,
    variants: Sequence[str],
    strength: float,
    honest: Owner,
    folder: Path,
) -> Row:
    """Return the row of one who cheats by the first variant that can be had from this owner."""
    row = _row(world, kind) | {"behaviour": behaviour.name, "strength": strength}
    if world.generator(5, behaviour.number).integers(2):
        honest = replace(honest, service=None)  # then it is the file that cheats, where it can
    seed = settled(world.seed, 2, behaviour.number, round(1000 * strength))
    why = ""
    for place, variant in enumerate(variants):
        out = folder / f"{behaviour.name}-{kind}-{strength}-{place}"
        try:
            cheat = behaviour.simulate(honest, out, seed=seed, strength=strength, variant=variant)
        except (ValueError, EvidenceError) as error:  # or what was forged cannot even be read
            why = str(error)
            continue
        return (
            row | {"variant": variant} | _judged(world, cheat, (behaviour.name,), seed, cheat=True)
        )
    return {**row, "refused": why}


def _ways(world: World, behaviour: Behaviour) -> list[tuple[str, Sequence[str]]]:
    """Return which honest owner a cheat starts from, and its variants in random order.

    One patch and one unlearned network, where the behaviour has variants of either.
    """
    generator = world.generator(2, behaviour.number)
    placed = CANARIES in behaviour.needs
    specs = [name for name, kind in KINDS.items() if kind.patch and kind.canaries == placed]
    spec = specs[int(generator.integers(len(specs)))]
    retrained = "retrain-canaries" if placed else "retrain"
    ways = ((spec, behaviour.variants), (retrained, behaviour.model_variants))
    return [
        (kind, [variants[i] for i in generator.permutation(len(variants))])
        for kind, variants in ways
        if variants
    ]


def _row(world: World, owner: str) -> Row:
    return _blank(world.data, world.seed) | {"owner": owner}


def _blank(data: str, seed: int) -> Row:
    return {
        "data": data,
        "world": seed,
        "owner": None,
        "behaviour": None,
        "variant": None,
        "strength": None,
    }


def _judged(
    world: World, owner: Owner, names: Sequence[str], seed: int, *, cheat: bool = False
) -> Row:
    evidence = gather(world, owner, names, settled(seed, 4))
    checks = threat_checks(owner.submission, evidence, names, settled(seed, 5))
    return {
        "reference": evidence.references.kind.value,
        "checks": {
            check.id: figures(check, cheat=cheat)
            for check in checks
            if check.outcome is not Outcome.NOT_RUN
        },
    }


def figures(check: CheckResult, *, cheat: bool) -> Mapping[str, Any]:
    """Return what a study keeps of a check that ran: its reason, too, where it is wrong."""
    found: dict[str, Any] = {
        "outcome": check.outcome.value,
        "score": _rounded(suspicion(check)),
        "power": _rounded(check.evidence.get("power")),
        "limitation": check.severity is not Severity.FAILURE,
        "reason": check.reason if accuses(check) != cheat else "",
    }
    return {k: v for k, v in found.items() if not (v is None or v is False or v == "")}


def _rounded(value: Any) -> float | None:
    return round(float(value), 3) if isinstance(value, int | float) else None


def accuses(check: CheckResult) -> bool:
    """Whether a check says that the owner is dishonest; a limitation does not."""
    return check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE


def suspicion(check: CheckResult) -> float | None:
    """Return a score that is higher the more a check speaks against the owner; None if not run.

    The order of -log10 p where a verdict rests on a p-value; else what is certain is above all, and
    what is refuted below all. A limitation, however certain, is no accusation.
    """
    if check.outcome is Outcome.NOT_RUN:
        return None
    if check.outcome is Outcome.FAIL and not accuses(check):
        return 0.0
    if P_REFUTE in check.evidence:
        return float(-np.log10(max(check.evidence[P_REFUTE], 1e-300)))
    if accuses(check):
        return CERTAIN
    return UNSUSPICIOUS if check.outcome is Outcome.PASS else 0.0
