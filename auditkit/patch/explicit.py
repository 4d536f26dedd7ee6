"""A patch in explicit form: every gate a polytope that is written out, as REASSURE and PRUNE do.

The violation of a member with rows A, b is v(x) = Σ_i ReLU(A_i x - b_i), and a group's offset is
affine, p(x) = clip(C x + d, -K, K). From there on the formula is that of `gates`: closedness
t = min(1, n · min v), contribution h = ReLU(p - K t) - ReLU(-p - K t). Rows are meant to have
Euclidean length 1, so that a violation is a distance; x is flattened in C order.

Sources: Fu and Li, ICLR 2022 (arXiv 2110.07682); Li, Wang, Yuan and Zhang, arXiv 2505.06520.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from auditkit.network.graph import Array
from auditkit.patch.gates import Patch

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

NUMBERS_AT_ONCE = 1 << 25  # of rows times inputs, so that memory stays bounded


class AffineKind(StrEnum):
    """What an explicit group adds where it is fully open: C x + d."""

    AFFINE = "affine"


@dataclass(frozen=True, eq=False)
class ExplicitGroup:
    """Polytopes that share an affine offset.

    `rows` A float32 [m, d] and `limits` b [m] of all members, stacked; `members` int64 [P + 1] says
    where each begins and ends; `slope` C float32 [classes, d], `shift` d [classes]; `bound` is K,
    `sharpness` n. Raises ValueError when shapes do not fit, a member has no row, or a number makes
    the formula meaningless (K < 0, n ≤ 0, not finite).
    """

    name: str
    rows: F32
    limits: F32
    members: Index
    slope: F32
    shift: F32
    bound: float
    sharpness: float

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            raise ValueError(f"group {self.name}: {fault}")

    def _fault(self) -> str | None:
        arrays: dict[str, tuple[NDArray[Any], int, type]] = {
            "A": (self.rows, 2, np.float32),
            "b": (self.limits, 1, np.float32),
            "members": (self.members, 1, np.int64),
            "C": (self.slope, 2, np.float32),
            "d": (self.shift, 1, np.float32),
        }
        for name, (array, axes, dtype) in arrays.items():
            if array.dtype != dtype or array.ndim != axes:
                return f"{name} is {array.dtype} {list(array.shape)}, not {np.dtype(dtype)}"
            if dtype is np.float32 and not np.isfinite(array).all():
                return f"{name} has a number that is not finite"
        count = len(self.rows)
        if len(self.limits) != count:
            return f"{count} rows A with {len(self.limits)} limits b"
        if self.slope.shape != (len(self.shift), self.rows.shape[1]):
            found = f"C {list(self.slope.shape)} with d {list(self.shift.shape)}"
            return f"{found} for {self.rows.shape[1]} features"
        ends = self.members
        if len(ends) < 2 or ends[0] != 0 or ends[-1] != count or not (ends[1:] > ends[:-1]).all():
            return f"members {ends[:6].tolist()} are not increasing offsets from 0 to {count}"
        if not (math.isfinite(self.bound) and math.isfinite(self.sharpness)):
            return "a number that is not finite"
        if self.bound < 0 or self.sharpness <= 0:
            return f"K, n = {[self.bound, self.sharpness]}"
        return None

    @property
    def gates(self) -> int:
        return len(self.members) - 1

    @property
    def kind(self) -> AffineKind:
        """The kind of offset, as gated groups have one."""
        return AffineKind.AFFINE

    @property
    def dead_zone(self) -> float:
        """None: what deployed floats need is in b."""
        return 0.0

    @property
    def units_of(self) -> int:
        """How many groups, in the sense of the formula, this stands for."""
        return 1


@dataclass(frozen=True, eq=False)
class ExplicitTable:
    """All gates and groups of an explicit patch: G gates, M groups.

    `group` [G] and `member` [G] say where a gate belongs, `source` [M] is the index of the stored
    group; `slope` [M, C, d], `shift` [M, C], `bound` and `sharpness` [M]. `dead_zone` [M] is 0 and
    `always` [M] false: the explicit form has neither.
    """

    group: Index
    member: Index
    source: Index
    slope: F64
    shift: F64
    bound: F64
    sharpness: F64
    dead_zone: F64
    always: Bits

    def offsets(self, group: Index, x: F64) -> F64:
        """Return p [N, C] of `group` [N] at records `x` [N, ...]."""
        flat = x.reshape(len(x), -1).astype(np.float64)
        value = np.einsum("ncd,nd->nc", self.slope[group], flat) + self.shift[group]
        bound = self.bound[group][:, None]
        return np.asarray(np.clip(value, -bound, bound))


@dataclass(frozen=True, eq=False)
class ExplicitPatch:
    """Explicit groups over `classes` logits and `features` inputs, kept by name.

    Raises ValueError when names repeat or a group is for another number of classes or features.
    """

    groups: tuple[ExplicitGroup, ...]
    classes: int
    features: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(sorted(self.groups, key=lambda g: g.name)))
        names = [group.name for group in self.groups]
        if not names:
            raise ValueError("no group")
        if len(set(names)) != len(names):
            raise ValueError(f"group names repeat: {names}")
        for group in self.groups:
            if group.rows.shape[1] != self.features:
                raise ValueError(
                    f"group {group.name}: rows of {group.rows.shape[1]} numbers, "
                    f"the network has {self.features} features"
                )
            if len(group.shift) != self.classes:
                raise ValueError(
                    f"group {group.name}: offset for {len(group.shift)} classes, "
                    f"the network has {self.classes}"
                )

    @property
    def gates(self) -> int:
        return sum(group.gates for group in self.groups)

    @cached_property
    def table(self) -> ExplicitTable:
        """The same patch in flat arrays, but for the rows."""
        groups = self.groups
        counts = [g.gates for g in groups]
        zero = np.zeros(len(groups))
        return ExplicitTable(
            group=np.repeat(np.arange(len(groups)), counts).astype(np.int64),
            member=np.concatenate([np.arange(n) for n in counts]).astype(np.int64),
            source=np.arange(len(groups)),
            slope=np.stack([g.slope for g in groups]).astype(np.float64),
            shift=np.stack([g.shift for g in groups]).astype(np.float64),
            bound=np.array([g.bound for g in groups]),
            sharpness=np.array([g.sharpness for g in groups]),
            dead_zone=zero,
            always=zero > 0,
        )

    def rows_of(self, gate: int) -> tuple[F32, F32]:
        """Return A [m, d] and b [m] of a flat gate."""
        group = self.groups[int(self.table.group[gate])]
        member = int(self.table.member[gate])
        part = slice(int(group.members[member]), int(group.members[member + 1]))
        return group.rows[part], group.limits[part]

    def find(self, name: str, member: int) -> int | None:
        """Return the flat gate index of a stored group's member, or None."""
        start, count = self._places.get(name, (0, 0))
        return start + member if 0 <= member < count else None

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        counts = [group.gates for group in self.groups]
        starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
        return {g.name: (s, n) for g, s, n in zip(self.groups, starts, counts, strict=False)}


AnyPatch: TypeAlias = Patch | ExplicitPatch


def violations(group: ExplicitGroup, x: Array) -> Array:
    """Return v [N, P] of a group's members at `x` [N, d], in the dtype of `x`."""
    rows = group.rows.T.astype(x.dtype, copy=False)
    limits = group.limits.astype(x.dtype, copy=False)
    result = np.zeros((len(x), group.gates), dtype=x.dtype)
    step = max(1, NUMBERS_AT_ONCE // len(group.limits))
    for start in range(0, len(x), step):
        excess = x[start : start + step] @ rows
        excess -= limits
        np.maximum(excess, 0, out=excess)
        result[start : start + step] = np.add.reduceat(excess, group.members[:-1], axis=1)
    return result


def typical_distance(patch: ExplicitPatch, x: Array) -> F64:
    """Return [G]: the median over a gate's rows of the mean |A_i x - b_i| at inputs `x` [N, ...].

    What a sharpness is measured against: rows scaled down, or far from everything, make it small
    or large without any region being another.
    """
    flat = x.reshape(len(x), -1).astype(np.float64)
    result = np.zeros(patch.gates)
    for gate in range(patch.gates):
        rows, limits = patch.rows_of(gate)
        result[gate] = np.median(np.abs(flat @ rows.T.astype(np.float64) - limits).mean(axis=0))
    return result
