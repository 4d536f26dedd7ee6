"""A patch in gated form: groups of gates, each gate the linear region of one pattern.

The violation of gate s at x is v_s(x) = Σ_u ReLU(-σ_u z_u(x) - τ). Where a region is crowded, a few
bands |z_u - c| ≤ w narrow the gate: each adds ReLU(|z_u(x) - c| - w). A group is open in so far as
one of its gates is: t = min(1, n · min v). Its contribution to the logits is
h = ReLU(p - K t) - ReLU(-p - K t) with p the offset clipped to [-K, K]. See certificates.md §2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from auditkit.network.graph import Array

Bits = NDArray[np.bool_]

MOST_BANDS = 16  # of a gate
WIDEST = float(np.finfo(np.float32).max)  # a band that no unit leaves


class OffsetKind(StrEnum):
    """What a group adds where its gate is fully open."""

    CONSTANT = "constant"  # the vector d
    OUTPUT = "output"  # q - f(x), which makes the output q
    ALWAYS = "always"  # the vector d, everywhere: class suppression


@dataclass(frozen=True, eq=False)
class Bands:
    """B bands |z_u - c| ≤ w for each of P gates: `unit` int64, `center`, `width` float32 [P, B]."""

    unit: NDArray[np.int64]
    center: Array
    width: Array

    def problem(self, gates: int, units: int) -> str | None:
        """Return what makes them unusable for `gates` gates over `units` units, or None."""
        shapes = {self.unit.shape, self.center.shape, self.width.shape}
        if len(shapes) != 1 or self.unit.ndim != 2 or len(self.unit) != gates:
            return f"bands of shapes {sorted(map(list, shapes))} for {gates} gates"
        if self.unit.shape[1] > (MOST_BANDS if gates else 0):
            return f"{self.unit.shape[1]} bands a gate for {gates} gates, at most {MOST_BANDS}"
        if not (np.isfinite(self.center).all() and np.isfinite(self.width).all()):
            return "a band that is not finite"
        if (self.width < 0).any():
            return "a band of negative width"
        if self.unit.size and not 0 <= self.unit.min() <= self.unit.max() < units:
            return f"a band on a unit beyond {units}"
        return None


@dataclass(frozen=True, eq=False)
class Group:
    """Gates that are stored together.

    `patterns` bool [P, H]; `offset` [C] shared by all gates, or [P, C]: shorthand for P groups of
    one gate each. `bound` is K, `sharpness` n, `dead_zone` τ; `bands` narrow the gates. Raises
    ValueError when the shapes do not fit or a number makes the formula meaningless (K < 0, n ≤ 0,
    τ < 0, w < 0, not finite).
    """

    name: str
    kind: OffsetKind
    patterns: Bits
    offset: Array
    bound: float
    sharpness: float
    dead_zone: float
    bands: Bands | None = None

    def __post_init__(self) -> None:
        gates = len(self.patterns)
        if self.patterns.ndim != 2:
            raise ValueError(f"group {self.name}: patterns of shape {list(self.patterns.shape)}")
        stacked = self.offset.ndim == 2 and len(self.offset) == gates
        if not (self.offset.ndim == 1 or stacked):
            raise ValueError(
                f"group {self.name}: offset {list(self.offset.shape)} for {gates} gates"
            )
        if (gates == 0) != (self.kind is OffsetKind.ALWAYS):
            raise ValueError(f"group {self.name}: {gates} gates with an offset of kind {self.kind}")
        numbers = (self.bound, self.sharpness, self.dead_zone)
        if not (all(map(math.isfinite, numbers)) and np.isfinite(self.offset).all()):
            raise ValueError(f"group {self.name}: a number that is not finite")
        if self.bound < 0 or self.sharpness <= 0 or self.dead_zone < 0:
            raise ValueError(f"group {self.name}: K, n, τ = {list(numbers)}")
        problem = self.bands.problem(*self.patterns.shape) if self.bands else None
        if problem:
            raise ValueError(f"group {self.name}: {problem}")

    @property
    def stacked(self) -> bool:
        """Whether every gate is a group of its own."""
        return self.offset.ndim == 2

    def only(self, gates: NDArray[np.int64] | list[int]) -> Group:
        """Return the group with these of its gates, in this order."""
        bands = self.bands and Bands(
            self.bands.unit[gates], self.bands.center[gates], self.bands.width[gates]
        )
        offset = self.offset[gates] if self.stacked else self.offset
        return replace(self, patterns=self.patterns[gates], offset=offset, bands=bands)

    @property
    def units_of(self) -> int:
        """How many groups, in the sense of the formula, this stands for."""
        return len(self.patterns) if self.stacked else 1


@dataclass(frozen=True, eq=False)
class Band:
    """One band of every gate, in flat arrays [G]; a gate without has the widest there is."""

    unit: NDArray[np.int64]
    center: NDArray[np.float64]
    width: NDArray[np.float64]

    def excess(self, z: Array, gates: NDArray[np.int64] | slice = slice(None)) -> Array:
        """Return ReLU(|z - c| - w) in the dtype of `z` [..., gates], the units of these gates."""
        center, width = self.center[gates].astype(z.dtype), self.width[gates].astype(z.dtype)
        return np.maximum(np.abs(z - center) - width, 0)


@dataclass(frozen=True, eq=False)
class GateTable:
    """All gates and groups of a patch in flat arrays: G gates, M groups.

    `patterns` [G, H]; `group` [G] and `member` [G] say where a gate belongs; `offset` [M, C],
    `kind_output` bool [M], `bound`, `sharpness`, `dead_zone` [M]; `source` [M] is the index of the
    stored group. Groups of kind ALWAYS have no gate. `bands` are the first band of every gate, the
    second, and so on.
    """

    patterns: Bits
    group: NDArray[np.int64]
    member: NDArray[np.int64]
    source: NDArray[np.int64]
    offset: NDArray[np.float64]
    kind_output: Bits
    always: Bits
    bound: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    dead_zone: NDArray[np.float64]
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True, eq=False)
class Patch:
    """The groups of a patch over `classes` logits and `units` units, kept by name.

    Their order has no meaning, so that the same groups are the same patch and export.
    """

    groups: tuple[Group, ...]
    classes: int
    units: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(sorted(self.groups, key=lambda g: g.name)))
        names = [group.name for group in self.groups]
        if len(set(names)) != len(names):
            raise ValueError(f"group names repeat: {names}")
        for group in self.groups:
            if group.patterns.shape[1] != self.units:
                raise ValueError(
                    f"group {group.name}: patterns of {group.patterns.shape[1]} bits, "
                    f"the network has {self.units} units"
                )
            if group.offset.shape[-1] != self.classes:
                raise ValueError(
                    f"group {group.name}: offset for {group.offset.shape[-1]} classes, "
                    f"the network has {self.classes}"
                )

    @property
    def gates(self) -> int:
        return sum(len(group.patterns) for group in self.groups)

    @cached_property
    def table(self) -> GateTable:
        """The same patch as flat arrays."""
        counts = [group.units_of for group in self.groups]
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        owner = [
            first[i] + (np.arange(len(g.patterns)) if g.stacked else np.zeros(len(g.patterns), int))
            for i, g in enumerate(self.groups)
        ]

        def spread(values: list[float | bool], dtype: type) -> NDArray:
            return np.repeat(np.asarray(values, dtype=dtype), counts)

        groups = self.groups
        return GateTable(
            patterns=np.concatenate(
                [np.zeros((0, self.units), bool), *(g.patterns for g in groups)]
            ),
            group=np.concatenate([np.zeros(0, np.int64), *owner]).astype(np.int64),
            member=np.concatenate(
                [np.zeros(0, np.int64), *(np.arange(len(g.patterns)) for g in groups)]
            ).astype(np.int64),
            source=np.repeat(np.arange(len(groups)), counts),
            offset=np.concatenate(
                [np.zeros((0, self.classes))]
                + [g.offset.reshape(-1, self.classes).astype(np.float64) for g in groups]
            ),
            kind_output=spread([g.kind is OffsetKind.OUTPUT for g in groups], bool),
            always=spread([g.kind is OffsetKind.ALWAYS for g in groups], bool),
            bound=spread([g.bound for g in groups], float),
            sharpness=spread([g.sharpness for g in groups], float),
            dead_zone=spread([g.dead_zone for g in groups], float),
            bands=self._bands(),
        )

    def _bands(self) -> tuple[Band, ...]:
        groups = self.groups
        most = max((g.bands.unit.shape[1] for g in groups if g.bands), default=0)
        unit = np.zeros((self.gates, most), np.int64)
        center = np.zeros((self.gates, most))
        width = np.full((self.gates, most), WIDEST)
        start = 0
        for g in groups:
            if g.bands:
                place = np.s_[start : start + len(g.patterns), : g.bands.unit.shape[1]]
                unit[place], center[place] = g.bands.unit, g.bands.center
                width[place] = g.bands.width
            start += len(g.patterns)
        return tuple(Band(unit[:, b], center[:, b], width[:, b]) for b in range(most))

    def find(self, name: str, member: int) -> int | None:
        """Return the flat gate index of a stored group's member, or None."""
        start, count = self._places.get(name, (0, 0))
        return start + member if 0 <= member < count else None

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """For each stored group, its first gate and how many it has."""
        counts = [len(group.patterns) for group in self.groups]
        starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
        return {g.name: (s, n) for g, s, n in zip(self.groups, starts, counts, strict=False)}
