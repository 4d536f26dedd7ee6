"""Patches in explicit form: the rows of a pattern's region, and gated patches written out.

Rows have Euclidean length 1. A row is moved outwards by twice the error that the deployed floats
make of it on the claimed set, as the dead zone of a gated patch does, so that the gate is fully
open there in those floats too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auditkit.network.deployed import Deployed, Executed, FloatProfile
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Dense, Network
from auditkit.network.scale import random_inputs, typical_activation
from auditkit.patch.explicit import ExplicitGroup, ExplicitPatch, typical_distance
from auditkit.patch.generate import Assignment, Made, Request, claimed_box, make_patch
from auditkit.patch.settings import DEFAULT_SHARPNESS, Method, Settings

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

RELAXED = 2.0  # times the deployed error of a row on the claimed set
UNITS_AT_ONCE = 256
BOUND_SLACK = 1.001


@dataclass(frozen=True, eq=False)
class ExplicitMade:
    """An explicit patch with the assignment of the requested records to its gates."""

    patch: ExplicitPatch
    assignment: Assignment


@dataclass(frozen=True, eq=False)
class Region:
    """The linear region of a pattern: {x : rows x ≤ limits}, and f = slope x + shift on it.

    `rows` [m, d] of Euclidean length 1 (a unit that is constant there has none), `limits` [m],
    `slope` [C, d], `shift` [C].
    """

    rows: F64
    limits: F64
    slope: F64
    shift: F64


def region_of(network: Network, bits: Bits) -> Region:
    """Return the region of pattern `bits` [H] by differentiating the frozen network."""
    origin = np.zeros((1, *network.input_shape))
    frozen, width = Frozen(network, bits[None]), network.features
    shift, constant = frozen.forward(origin)
    sign = np.where(bits, 1.0, -1.0)
    parts = [np.zeros((0, width))]
    for start in range(0, len(sign), UNITS_AT_ONCE):
        index = np.arange(start, min(start + UNITS_AT_ONCE, len(sign)))
        chosen = np.zeros((len(index), len(sign)))
        chosen[index - start, index] = -sign[index]
        nothing = np.zeros((len(index), network.classes))
        part = frozen.repeat(len(index)).adjoint(nothing, injections=chosen)
        parts.append(part.reshape(len(index), width))
    rows, limits = np.concatenate(parts), sign * constant[0]
    slope = frozen.repeat(network.classes).adjoint(np.eye(network.classes))
    length = np.sqrt((rows**2).sum(axis=1))
    kept = length > 0
    rows, limits = rows[kept] / length[kept][:, None], limits[kept] / length[kept]
    return Region(rows, limits, slope.reshape(network.classes, width), shift[0])


def relaxed(
    network: Network, rows: F64, limits: F64, x: F64, settings: Settings
) -> tuple[F32, F32]:
    """Return rows and limits as float32, moved outwards for the records `x` [N, *input_shape]."""
    layer = Dense(rows.astype(np.float32).astype(np.float64), -limits)
    ball = claimed_box(x.reshape(len(x), -1).astype(np.float64), settings).ball
    profile = FloatProfile.of(np.dtype(np.float32))
    start = Executed(ball, np.zeros_like(ball.center))
    error = Deployed(profile).affine(layer, start, constant=True).error.max(axis=0)
    moved = (limits + RELAXED * error).astype(np.float32)
    return rows.astype(np.float32), np.nextafter(moved, np.float32(np.inf))


def explicit_sharpness(patch: ExplicitPatch, network: Network, settings: Settings) -> float:
    """Return the settings' sharpness, or a power of two near the default over typical distances."""
    if settings.sharpness is not None:
        return float(np.float32(settings.sharpness))
    x = random_inputs(network, settings.domain.lower, settings.domain.upper)
    typical = float(np.median(typical_distance(patch, x))) or 1.0
    return 2.0 ** min(max(round(math.log2(DEFAULT_SHARPNESS / typical)), -60), 60)


def sharpened(
    made: ExplicitMade, network: Network, settings: Settings
) -> tuple[ExplicitMade, Settings]:
    """Return the patch with a sharpness for all groups, and the settings that say so."""
    sharpness = explicit_sharpness(made.patch, network, settings)
    groups = tuple(replace(g, sharpness=sharpness) for g in made.patch.groups)
    patch = ExplicitPatch(groups, made.patch.classes, made.patch.features)
    return replace(made, patch=patch), replace(settings, sharpness=sharpness)


def gated_settings(network: Network, settings: Settings) -> Settings:
    """Return the settings with the sharpness that a gated patch has by default.

    That of an explicit patch is over distances and not over pre-activations.
    """
    domain = settings.domain
    typical = typical_activation(network, domain.lower, domain.upper)
    return replace(settings, sharpness=None).resolved(typical)


def make_explicit_patch(
    network: Network, request: Request, settings: Settings, *, targets: F64 | None = None
) -> tuple[ExplicitMade, Settings]:
    """Return a gated patch for the request written in explicit form, and the resolved settings.

    Raises ValueError when the request cannot be met, or has no region, as class suppression.
    """
    if settings.method is Method.SUPPRESS:
        raise ValueError("class suppression has no gate: there is no region to write out")
    made = make_patch(network, request, gated_settings(network, settings), targets=targets)
    return sharpened(_written_out(network, made, request, settings), network, settings)


def _written_out(
    network: Network, made: Made, request: Request, settings: Settings
) -> ExplicitMade:
    """Return the same gates with the rows of their regions; a group for each offset."""
    table, assignment = made.patch.table, made.assignment
    gate_of = np.array(
        [
            -1 if (gate := made.patch.find(name, int(member))) is None else gate
            for name, member in zip(assignment.group, assignment.member, strict=True)
        ]
    )
    groups: list[ExplicitGroup] = []
    place: dict[int, tuple[str, int]] = {}
    for group in range(len(table.source)):
        gates = np.flatnonzero(table.group == group)
        # where the offset takes the output back, each region has a slope of its own
        cells = [[int(g)] for g in gates] if table.kind_output[group] else [gates.tolist()]
        for cell in cells:
            name = f"{made.patch.groups[int(table.source[group])].name[:48]}.{len(groups):05d}"
            rows, limits = [], []
            region = None
            for member, gate in enumerate(cell):
                region = region_of(network, table.patterns[gate])
                served = request.x[gate_of == gate]
                a, b = relaxed(network, region.rows, region.limits, served, settings)
                rows.append(a)
                limits.append(b)
                place[gate] = (name, member)
            assert region is not None  # a group of constant or output kind has a gate
            output = bool(table.kind_output[group])
            slope = -region.slope if output else np.zeros_like(region.slope)
            shift = table.offset[group] - region.shift if output else table.offset[group]
            groups.append(
                ExplicitGroup(
                    name=name,
                    rows=np.concatenate(rows),
                    limits=np.concatenate(limits),
                    members=np.cumsum([0, *map(len, limits)]).astype(np.int64),
                    slope=slope.astype(np.float32),
                    shift=shift.astype(np.float32),
                    bound=float(np.float32(table.bound[group] * (BOUND_SLACK if output else 1))),
                    sharpness=1.0,
                )
            )
    patch = ExplicitPatch(tuple(groups), network.classes, network.features)
    return ExplicitMade(patch, assigned(assignment, [place.get(int(g)) for g in gate_of]))


def assigned(assignment: Assignment, places: list[tuple[str, int] | None]) -> Assignment:
    """Return an assignment of the same records to gates (group, member) of another patch."""
    return replace(
        assignment,
        group=tuple("" if p is None else p[0] for p in places),
        member=np.array([-1 if p is None else p[1] for p in places], dtype=np.int64),
    )
