"""What is asked in a session, and in which order, so that no position gives an audit query away.

Unseen records are asked exactly as requested ones are: as they are, several times, and at copies
of each radius. What an owner could see of a query is its input; whether a requested record is
treated otherwise is then a matter of counting, because an honest model knows no difference.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit import limits

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Ints = NDArray[np.int64]

RADII = (1e-6, 1e-5, 1e-4, 1e-3, 3e-3)
"""Of the domain's width: from what only float32 tells apart to almost an 8-bit step."""
ROUNDS = 3
"""Every record is asked in each; answers that hold for one and not for another were exchanged."""
READINGS = (0, 0, 1, 2)
"""Rounds in which a record is asked as it is: twice in the first, to know what repeats do."""
WITHIN_SHARE = 0.9
"""Of the claimed radius, for a copy in the claimed set."""
BEYOND_RADIUS = 0.03
"""Of the domain's width, for a copy outside, or three claimed radii where that is more."""
ORDINARY_SHARE = 0.15
"""Of the queries: records and copies of records that are asked once, as anybody's are."""
EACH = len(READINGS) + len(RADII) + 2


class Group(IntEnum):
    """Whose record it is, or a copy of whose."""

    FORGOTTEN = 0
    UNSEEN = 1
    RETAINED = 2


class Purpose(IntEnum):
    """What a query is: the record itself, or a copy of it at some radius."""

    EXACT = 0
    NEAR = 1
    WITHIN = 2
    BEYOND = 3


@dataclass(frozen=True, eq=False)
class SessionPlan:
    """Queries in the order in which they are asked; all arrays have one entry a query.

    `x` [Q, *input_shape]; `group` and `purpose` as above; `index` of the record in its group;
    `round`; `radius` of the copy in input units, 0 for the record itself; `batch` ascending.
    """

    x: F32
    group: Ints
    purpose: Ints
    index: Ints
    round: Ints
    radius: F64
    batch: Ints

    def __len__(self) -> int:
        return len(self.x)

    def of(self, group: Group, *purposes: Purpose) -> NDArray[np.bool_]:
        """Return [Q]: which queries are of a group, and of these purposes if any are named."""
        mask = self.group == group
        return mask & np.isin(self.purpose, purposes) if purposes else mask


def plan_session(
    forgotten: F32,
    unseen: F32 | None,
    retained: F32 | None,
    *,
    domain: tuple[float, float],
    claimed: F64 | None = None,
    budget: int,
    seed: int,
) -> SessionPlan:
    """Return at most `budget` queries about requested records, unseen and retained ones.

    `claimed` [N] is within which radius each requested record is said to be answered alike, in
    input units; nan where nothing is said. ValueError when the budget is less than one record
    takes.
    """
    if budget < EACH:
        raise ValueError(f"{budget} queries, and one record takes {EACH}")
    generator = np.random.default_rng([seed, 4, 14])
    width = domain[1] - domain[0]
    controls = unseen if unseen is not None else retained
    kind = Group.UNSEEN if unseen is not None else Group.RETAINED
    room = max(1, int(budget * (1 - ORDINARY_SHARE)) // EACH)
    others = 0 if controls is None else min(len(controls), max(room // 2, room - len(forgotten)))
    mine = min(len(forgotten), room - others if room > 1 else 1)
    others = min(others, room - mine)
    radii = np.full(len(forgotten), np.nan) if claimed is None else np.asarray(claimed, np.float64)
    usual = float(np.nanmedian(radii)) if np.isfinite(radii).any() else np.nan
    chosen = np.sort(generator.permutation(len(forgotten))[:mine])
    parts = [
        _subjects(Group.FORGOTTEN, forgotten, chosen, radii[chosen], domain, generator),
    ]
    if controls is not None and others:
        rows = np.sort(generator.permutation(len(controls))[:others])
        reach = np.full(others, usual)
        parts.append(_subjects(kind, controls, rows, reach, domain, generator))
    left = budget - sum(len(part["x"]) for part in parts)
    for group, records in ((Group.RETAINED, retained), (Group.UNSEEN, unseen)):
        if records is None or left < 1:
            continue
        taken = np.zeros(len(records), dtype=bool)
        if group is kind and others:
            taken[rows] = True
        free = generator.permutation(np.flatnonzero(~taken))
        free = free[: left if group is Group.UNSEEN or unseen is None else -(-left // 2)]
        if len(free):
            parts.append(_ordinary(group, records, free, width, domain, generator))
            left -= len(free)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((generator.random(len(whole["x"])), whole["round"]))
    whole = {name: values[order] for name, values in whole.items()}
    return SessionPlan(batch=_batches(whole["round"], generator), **whole)


def _subjects(
    group: Group,
    records: F32,
    rows: Ints,
    claimed: F64,
    domain: tuple[float, float],
    generator: np.random.Generator,
) -> dict[str, NDArray[Any]]:
    """Return all queries about records `rows`, record by record in blocks of one purpose."""
    x, n, width = records[rows], len(rows), domain[1] - domain[0]
    reach = np.where(np.isfinite(claimed), claimed, 0.0)
    blocks = [(Purpose.EXACT, np.zeros(n), np.full(n, number)) for number in READINGS]
    blocks += [
        (Purpose.NEAR, np.full(n, r * width), generator.integers(0, ROUNDS, n)) for r in RADII
    ]
    beyond = np.maximum(BEYOND_RADIUS * width, 3 * reach)
    for purpose, radius in ((Purpose.WITHIN, WITHIN_SHARE * reach), (Purpose.BEYOND, beyond)):
        if (radius > 0).all():
            blocks.append((purpose, radius, generator.integers(0, ROUNDS, n)))
    queries = [
        x if purpose is Purpose.EXACT else perturbed(x, radius, domain, generator)
        for purpose, radius, _ in blocks
    ]
    return {
        "x": np.concatenate(queries),
        "group": np.full(n * len(blocks), group, dtype=np.int64),
        "purpose": np.repeat([int(purpose) for purpose, _, _ in blocks], n),
        "index": np.tile(rows, len(blocks)),
        "round": np.concatenate([number for _, _, number in blocks]).astype(np.int64),
        "radius": np.concatenate([radius for _, radius, _ in blocks]),
    }


def _ordinary(
    group: Group,
    records: F32,
    rows: Ints,
    width: float,
    domain: tuple[float, float],
    generator: np.random.Generator,
) -> dict[str, NDArray[Any]]:
    """Return one query about each of the records `rows`: itself, or a copy of it."""
    n = len(rows)
    radius = np.where(generator.random(n) < 0.5, 0.0, generator.choice(RADII, n) * width)
    copies = perturbed(records[rows], radius, domain, generator)
    return {
        "x": np.where(_each(radius > 0, copies), copies, records[rows]),
        "group": np.full(n, group, dtype=np.int64),
        "purpose": np.where(radius > 0, int(Purpose.NEAR), int(Purpose.EXACT)),
        "index": np.asarray(rows, dtype=np.int64),
        "round": generator.integers(0, ROUNDS, n),
        "radius": radius,
    }


def perturbed(
    x: F32, radius: F64, domain: tuple[float, float], generator: np.random.Generator
) -> F32:
    """Return copies of `x` [N, *input_shape] in which every feature is moved by `radius` [N].

    Up or down by chance, and inwards where the domain ends.
    """
    low, high = domain
    move = _each(radius, x) * generator.choice([-1.0, 1.0], size=x.shape)
    there = x + move
    there = np.where((there < low) | (there > high), x - move, there)
    return np.clip(there, low, high).astype(np.float32)


def _each(values: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(-1, *([1] * (like.ndim - 1)))


def _batches(rounds: Ints, generator: np.random.Generator) -> Ints:
    """Return [Q] the number of the request that a query goes into: few each, of one round."""
    sizes = generator.integers(1, limits.ENDPOINT_BATCH + 1, size=len(rounds))
    batch = np.repeat(np.arange(len(sizes)), sizes)[: len(rounds)]
    starts = np.flatnonzero(np.diff(batch, prepend=-1) | np.diff(rounds, prepend=-1))
    number = np.zeros(len(rounds), dtype=np.int64)
    number[starts[1:]] = 1
    return np.cumsum(number)


COLUMNS = tuple(field.name for field in fields(SessionPlan) if field.name not in ("x", "batch"))
"""What a transcript says of each query besides its input."""
