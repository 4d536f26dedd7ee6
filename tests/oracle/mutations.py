"""Patches made as an owner makes them, and what a dishonest or careless owner makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Claims
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.network.scale import typical_activation
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.patch.generate import Request, make_patch
from auditkit.patch.settings import resolve_settings

Generator = np.random.Generator
Submitted = tuple[Patch, Claims]
Mutation = Callable[[Patch, Claims, Generator], Submitted]


def honest(network: Network, x: NDArray[np.float64], rng: Generator) -> Submitted | None:
    """Return a patch and its claims as the generator makes them; None where it declines."""
    spec = str(rng.choice(["redirect", "redirect", "neutralise", "reference"]))
    scope = "point" if spec == "reference" else str(rng.choice(["point", "cluster"]))
    radius = float(rng.choice([1e-6, 0.001, 0.02, np.inf]))
    settings = resolve_settings(spec, scope, radius=radius, margin=0.05, clusters=2)
    settings = settings.resolved(typical_activation(network, 0.0, 1.0))
    y = logits(network, x).argmax(axis=1)
    targets = rng.normal(size=(len(x), network.classes) if spec == "reference" else network.classes)
    try:
        made = make_patch(
            network,
            Request(x.astype(network.dtype), y),
            settings,
            targets=None if spec == "redirect" else targets,
        )
    except ValueError:
        return None
    assigned = made.assignment
    served = np.flatnonzero(assigned.member >= 0)
    gates = [made.patch.find(assigned.group[i], int(assigned.member[i])) for i in served]
    claims = Claims(
        x[served],
        np.array(gates, np.int64),
        np.full(len(served), radius),
        np.full(len(served), settings.margin),
        assigned.target[served],
    )
    return made.patch, claims


def _change(patch: Patch, **change: float) -> Patch:
    numbers: dict[str, Any] = {name: float(np.float32(value)) for name, value in change.items()}
    return replace(patch, groups=tuple(replace(group, **numbers) for group in patch.groups))


def _more(patch: Patch, kind: OffsetKind, patterns: NDArray[np.bool_], offset: object) -> Patch:
    first = patch.groups[0]
    values = np.asarray(offset, np.float32)
    bound = float(np.abs(values).max())
    extra = Group("~more", kind, patterns, values, bound, first.sharpness, first.dead_zone)
    return replace(patch, groups=(*patch.groups, extra))


def flipped(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """One bit of every pattern is another."""
    groups = []
    for group in patch.groups:
        patterns = group.patterns.copy()
        if patterns.size:
            patterns[:, rng.integers(patterns.shape[1])] ^= True
        groups.append(replace(group, patterns=patterns))
    return replace(patch, groups=tuple(groups)), claims


def swapped(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """Every gate of a stack has the offset of the next one."""
    groups = [
        replace(g, offset=np.roll(g.offset, 1, axis=0)) if g.stacked else g for g in patch.groups
    ]
    return replace(patch, groups=tuple(groups)), claims


def other_gates(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """Each claim names the gate of the next record."""
    return patch, replace(claims, gate=np.roll(claims.gate, 1), target=np.roll(claims.target, 1))


def other_targets(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """A redirect claim names the next label."""
    shifted = np.where(claims.target >= 0, (claims.target + 1) % patch.classes, -1)
    return patch, replace(claims, target=shifted)


def weaker(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """Offsets fall short by less than anyone sees."""
    short = np.float32(1 - 2.0 ** -int(rng.integers(2, 20)))
    groups = tuple(replace(g, offset=g.offset * short) for g in patch.groups)
    return replace(patch, groups=groups), claims


def twin(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """A second group opens where the first does and takes back what it adds."""
    offset = -np.atleast_2d(patch.groups[0].offset)[0]
    return _more(patch, OffsetKind.CONSTANT, patch.groups[0].patterns[:1], offset), claims


def neighbour(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """Another group has a gate one bit away, on a region that may touch."""
    patterns = patch.groups[0].patterns[:1].copy()
    if patterns.size:
        patterns[0, rng.integers(patterns.shape[1])] ^= True
    kind = [OffsetKind.CONSTANT, OffsetKind.OUTPUT][rng.integers(2)]
    return _more(patch, kind, patterns, rng.normal(size=patch.classes) * 5), claims


def everywhere(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """A group without a gate shifts every output."""
    none = patch.groups[0].patterns[:0]
    return _more(patch, OffsetKind.ALWAYS, none, rng.normal(size=patch.classes)), claims


def outside(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """The records lie outside the domain."""
    return patch, replace(claims, x=claims.x + 1.5)


def swapped_records(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """Each claim is told of the next record."""
    return patch, replace(claims, x=np.roll(claims.x, 1, axis=0))


def cancelling(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """Shifts without a gate that cancel, but for what float64 drops."""
    none = patch.groups[0].patterns[:0]
    huge = np.float32(2.0 ** int(rng.integers(20, 100)))
    signs = rng.choice([-1.0, 1.0], size=patch.classes)
    for name, size in (("~a", huge), ("~b", -huge), ("~c", rng.normal(size=patch.classes))):
        values = np.asarray(size * signs, np.float32)
        bound = float(np.abs(values).max())
        extra = Group(name, OffsetKind.ALWAYS, none, values, bound, 1.0, 0.0)
        patch = replace(patch, groups=(*patch.groups, extra))
    if rng.integers(2):  # the group's own offset cancels the first shift
        first = patch.groups[0]
        values = (first.offset - huge * np.float32(signs)).astype(np.float32)
        bound = max(first.bound, float(np.abs(values).max()))
        others = tuple(g for g in patch.groups[1:] if g.name != "~b")
        patch = replace(patch, groups=(replace(first, offset=values, bound=bound), *others))
    return patch, claims


def more_members(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """The first group has a second gate, one bit away, and its first one twice."""
    first = patch.groups[0]
    extra = first.patterns[:1].copy()
    if extra.size:
        extra[0, rng.integers(extra.shape[1])] ^= True
    patterns = np.concatenate([first.patterns, extra, first.patterns[:1]])
    offset = first.offset
    if first.stacked:
        offset = np.concatenate([offset, -offset[:1], offset[:1]])
    changed = replace(first, patterns=patterns, offset=offset)
    gate = claims.gate + 2 * (claims.gate >= len(first.patterns))
    return replace(patch, groups=(changed, *patch.groups[1:])), replace(claims, gate=gate)


def keen(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """The claims promise a little more than the patch was made for."""
    factor = 1 + 2.0 ** -int(rng.integers(1, 24))
    return patch, replace(claims, margin=claims.margin * factor)


def zeros(patch: Patch, claims: Claims, rng: Generator) -> Submitted:
    """Offsets of ±0: the patch does nothing."""
    signed = tuple(
        replace(g, offset=np.where(g.offset < 0, -0.0, 0.0).astype(np.float32))
        for g in patch.groups
    )
    return replace(patch, groups=signed), claims


MUTATIONS: dict[str, Mutation] = {
    "honest": lambda p, c, r: (p, c),
    "flipped": flipped,
    "swapped": swapped,
    "other gates": other_gates,
    "other targets": other_targets,
    "weaker": weaker,
    "twin": twin,
    "neighbour": neighbour,
    "everywhere": everywhere,
    "outside": outside,
    "swapped records": swapped_records,
    "cancelling": cancelling,
    "more members": more_members,
    "keen": keen,
    "zeros": zeros,
    "denormal numbers": lambda p, c, r: (_change(p, dead_zone=1e-45, sharpness=1e-44), c),
    "huge radius": lambda p, c, r: (p, replace(c, radius=np.full(len(c), 1.7e308))),
    "tiny margin": lambda p, c, r: (p, replace(c, margin=np.full(len(c), 5e-324))),
    "no bound": lambda p, c, r: (_change(p, bound=0.0), c),
    "small bound": lambda p, c, r: (_change(p, bound=p.groups[0].bound * 0.9), c),
    "great bound": lambda p, c, r: (_change(p, bound=1e38), c),
    "blunt": lambda p, c, r: (_change(p, sharpness=1e-6), c),
    "sharp": lambda p, c, r: (_change(p, sharpness=1e30), c),
    "no dead zone": lambda p, c, r: (_change(p, dead_zone=0.0), c),
    "wide dead zone": lambda p, c, r: (_change(p, dead_zone=100.0), c),
    "infinite radius": lambda p, c, r: (p, replace(c, radius=np.full(len(c), np.inf))),
    "tiny radius": lambda p, c, r: (p, replace(c, radius=np.full(len(c), 1e-300))),
    "no radius": lambda p, c, r: (p, replace(c, radius=np.full(len(c), np.nan))),
    "no margin": lambda p, c, r: (p, replace(c, margin=np.full(len(c), np.nan))),
}
