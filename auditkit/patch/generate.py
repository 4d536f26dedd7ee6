"""Make a patch: patterns, groups, offsets, and how wide their dead zone must be.

Every number is derived from rigorous bounds over the claimed sets, so that the claims that follow
can be proved; the prover then asks the checker, which derives everything again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import KMeans

from auditkit.network.deployed import FloatProfile
from auditkit.network.evaluate import evaluate, pattern
from auditkit.network.evaluate import logits as run
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Array, Network
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.network.region import Box, deployed_errors, record_batches, unit_ranges
from auditkit.network.relaxation import lead_ceiling
from auditkit.network.step import inward_pattern
from auditkit.network.units import unit_layout
from auditkit.patch.gates import Bands, Group, OffsetKind, Patch
from auditkit.patch.patched import PatchedNetwork
from auditkit.patch.settings import Method, Scope, Settings, Spec
from auditkit.patch.sharpen import (
    Sharpened,
    Sharpener,
    boxes,
    deviation_bounds,
    lead_bounds,
    lead_objective,
    logit_columns,
    logit_objective,
    reached_by_rays,
    sharpen_greatest,
)

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

DEAD_ZONE_FACTOR = 2.0  # of the deployed error of a pre-activation on the claimed sets
SLACK_FACTOR = 4.0  # of the deployed error of a logit, added to the margin
NEAR = 8.0  # n v up to which records with one kind of answer are patched together
SHARP = 0.02  # of a size, up to which bounds over the box alone may exceed what is needed
TOUCHING = 2.0  # and those that each need an answer of their own are given up
STEP = 2.0**-20  # offsets and bounds are multiples of it: exact in float32 up to 2**4, and short


@dataclass(frozen=True, eq=False)
class Request:
    """Records `x` [N, *input_shape] in the network's dtype and labels `y` [N] to forget."""

    x: Array
    y: Index


@dataclass(frozen=True, eq=False)
class Assignment:
    """Where each record's gate is: `group` name, `member` in it, and the label it is sent to.

    A record that no gate can serve has member -1 and says why in `reason`.
    """

    group: tuple[str, ...]
    member: Index
    target: Index
    reason: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Made:
    """A patch with the assignment of the requested records to its gates.

    `multipliers` are what bounds over large sets rest on, their records those of the request.
    """

    patch: Patch
    assignment: Assignment
    multipliers: Multipliers | None = None


@dataclass(frozen=True, eq=False)
class Bounds:
    """What is known of each record's claimed set: logits [N, C], deployed errors [N].

    `unit_spread` [H] is the standard deviation of each pre-activation over the records.
    """

    bits: Bits
    logits: F64  # at the record, as the network says
    error: F64
    unit_error: F64
    unit_spread: F64


def make_patch(
    network: Network,
    request: Request,
    settings: Settings,
    *,
    targets: F64 | None = None,
    prefix: str = "",
) -> Made:
    """Return a patch that does what `settings` ask for the requested records.

    `targets` are the vectors q: [N, C] for `reference`, [C] for `neutralise`. Group names start
    with `prefix`. `settings` must be resolved. Raises ValueError when the request cannot be met.
    """
    if settings.sharpness is None:
        raise ValueError("the sharpness is still to be resolved")
    if len(request.x) == 0:
        raise ValueError("there is no record to forget")
    if settings.method is Method.SUPPRESS:
        return _suppress(network, request, settings, prefix)
    if settings.target_class is not None and (request.y != settings.target_class).any():
        raise ValueError(
            f"a class request holds records of another class than {settings.target_class}"
        )
    if unit_layout(network).count == 0:
        raise ValueError("the network has no ReLU and no max pool: it is one linear region")
    bounds = measure(network, request.x, settings)
    clusters = _clusters(network, request, bounds, settings)
    zone = _round_up(DEAD_ZONE_FACTOR * float(bounds.unit_error.max(initial=0.0)), 2.0**-30)
    if settings.spec is Spec.REDIRECT:
        return _redirect(network, request, settings, bounds, clusters, zone, prefix)
    if targets is None:
        raise ValueError(f"{settings.spec.value} needs target vectors")
    return _to_outputs(network, request, settings, bounds, clusters, zone, targets, prefix)


def measure(network: Network, x: Array, settings: Settings) -> Bounds:
    """Measure patterns, logits and deployed errors of records `x` [N, *input_shape]."""
    x64 = x.astype(np.float64)
    error, unit_error = np.zeros(len(x)), np.zeros(len(x))
    profile = FloatProfile.of(network.dtype)
    for rows in record_batches(network, len(x)):
        e, u = deployed_errors(network, claimed_box(x64[rows], settings), profile)
        error[rows], unit_error[rows] = e.max(axis=1), u.max(axis=1, initial=0.0)
    lower, upper = settings.domain.lower, settings.domain.upper
    bits = np.zeros((len(x), unit_layout(network).count), dtype=bool)
    total, square = np.zeros(bits.shape[1]), np.zeros(bits.shape[1])
    for rows in record_batches(network, len(x)):
        bits[rows] = inward_pattern(network, x64[rows], lower, upper)
        _, z = evaluate(network, x64[rows])
        total, square = total + z.sum(axis=0), square + (z**2).sum(axis=0)
    spread = np.sqrt(np.maximum(square / len(x) - (total / len(x)) ** 2, 0))
    return Bounds(bits, run(network, x64), error, unit_error, spread)


def claimed_box(x64: F64, settings: Settings) -> Box:
    """Return the boxes that the settings' radius cuts out of the domain around records."""
    radius = np.full(len(x64), settings.radius)
    return Box.around(x64, radius, settings.domain.lower, settings.domain.upper)


class Leads:
    """Upper bounds on f_j - f_target over claimed sets, sharpened where the box says too much."""

    def __init__(self, network: Network, request: Request, bits: Bits, settings: Settings) -> None:
        self.network, self.bits = network, bits
        self.box = claimed_box(request.x.astype(np.float64), settings)
        self.margin = settings.margin
        self.found = Sharpened(bits.shape[1])

    def over_sets(self, members: Index, target: Index, group: Index) -> F64:
        """Return bounds [N, C] for records `members`; -inf at the target.

        Records of one `group` [N] share an offset, whose size the greatest bound decides.
        """
        bits, box = self.bits[members], boxes(self.box, members)
        lead = lead_bounds(self.network, bits, box, target)
        self.found.forget(members)
        sharpener, zero = Sharpener(self.network, bits, box), np.zeros_like(lead)
        objective = lead_objective(self.network.classes, target)
        least = reached_by_rays(sharpener, lead, objective, zero, group)
        enough = np.maximum(least + SHARP * np.maximum(least + self.margin, 0), -self.margin)
        rows, _ = sharpen_greatest(sharpener, lead, objective, zero, group, enough)
        upper = np.full(len(rows.record), int(Objective.UPPER))
        self.found.add(members[rows.record], upper, rows.column, rows.found.multipliers)
        some = np.unique(rows.record)
        if not len(some):
            return lead
        known = self.found.of(members[some])
        lead[some] = lead_bounds(self.network, bits[some], boxes(box, some), target[some], known)
        return lead


def redirect_offset(lead: F64, target: int, margin: float) -> NDArray[np.float32]:
    """Return the offset [C] of least sup-norm that puts `target` ahead by `margin`.

    `lead` [C] bounds f_j - f_target from above. D = max(0, (max_j m_j + m) / 2) goes to the
    target, -max(0, m_j + m - D) to the others (certificates.md §2), each rounded outwards.
    """
    others = np.delete(lead, target)
    raised = _round_up(max(0.0, (float(others.max()) + margin) / 2), STEP)
    offset = np.array([-_round_up(max(0.0, float(m) + margin - raised), STEP) for m in lead])
    offset[target] = raised
    return _outward(offset)


def deployed_margin(settings: Settings, error: F64) -> float:
    """Return the margin to aim at, so that the claim survives the deployed floats."""
    return settings.margin + SLACK_FACTOR * float(error.max(initial=0.0))


def _redirect(
    network: Network,
    request: Request,
    settings: Settings,
    bounds: Bounds,
    clusters: list[Cluster],
    zone: float,
    prefix: str,
) -> Made:
    waiting = _by_target(clusters, request, bounds) if settings.scope is Scope.POINT else clusters
    leads = Leads(network, request, bounds.bits, settings)
    cells: list[tuple[Index, int, NDArray[np.float32]]] = []
    while waiting:
        again: list[Cluster] = []
        targets = [_cluster_target(c, request, bounds) for c in waiting]
        members = np.concatenate([c.members for c in waiting])
        target = np.concatenate(
            [np.full(len(c.members), k) for c, k in zip(waiting, targets, strict=True)]
        )
        lead = leads.over_sets(members, target, _sharing(waiting, settings))
        start = 0
        for cluster, k in zip(waiting, targets, strict=True):
            own = lead[start : start + len(cluster.members)]
            start += len(cluster.members)
            margin = deployed_margin(settings, bounds.error[cluster.members])
            # The representative's offset serves the cluster; whom it does not serve comes again.
            giving = own[: len(cluster.parts[0])] if settings.scope is Scope.CLUSTER else own
            offset = redirect_offset(giving.max(axis=0), k, margin)
            others = np.delete(own + offset[None] - offset[k], k, axis=1)
            served, rest = cluster.split(others.max(axis=1) <= -margin + STEP)
            cells.append((served, k, offset))
            if rest is not None:
                again.append(rest)
        waiting = again
    made = _assemble(network, request, settings, bounds, cells, OffsetKind.CONSTANT, zone, prefix)
    return replace(made, multipliers=leads.found.of(np.arange(len(request.x))))


def _sharing(clusters: list[Cluster], settings: Settings) -> Index:
    """Return for each member of the clusters which others its bound is weighed against.

    Those whose records decide an offset are weighed together, any other member by itself.
    """
    groups: list[int] = []
    for cluster in clusters:
        count = len(cluster.members)
        deciding = len(cluster.parts[0]) if settings.scope is Scope.CLUSTER else count
        first = len(groups)
        groups += [first] * deciding + list(range(first + deciding, first + count))
    return np.array(groups, dtype=np.int64)


def _to_outputs(
    network: Network,
    request: Request,
    settings: Settings,
    bounds: Bounds,
    clusters: list[Cluster],
    zone: float,
    targets: F64,
    prefix: str,
) -> Made:
    q = np.broadcast_to(targets, (len(request.x), network.classes)).astype(np.float32)
    if settings.spec is Spec.NEUTRALISE:  # one answer for all
        everyone = np.concatenate([c.members for c in clusters])
        cells = [(everyone, -1, q[0])]
    else:  # one region, one answer: of several records there, only the first can have its own
        cells = [(c.members[:1], -1, q[c.members[0]]) for c in clusters]
    chosen = np.concatenate([cell[0] for cell in cells])
    wanted = np.concatenate([np.tile(o, (len(c), 1)) for c, _, o in cells]).astype(np.float64)
    own = bounds.bits[chosen]
    box = boxes(claimed_box(request.x.astype(np.float64), settings), chosen)
    gap = deviation_bounds(network, own, box, wanted)
    found = Sharpened(own.shape[1])
    sharpener, objective = Sharpener(network, own, box), logit_objective(network.classes)
    constant = np.concatenate([-wanted, wanted], axis=1)
    together = np.zeros(len(chosen), dtype=np.int64)  # all share the bound K
    enough = (1 + SHARP) * reached_by_rays(sharpener, gap, objective, constant, together)
    rows, _ = sharpen_greatest(sharpener, gap, objective, constant, together, enough)
    kind, label = logit_columns(network.classes, rows.column)
    found.add(chosen[rows.record], kind, label, rows.found.multipliers)
    gap = deviation_bounds(network, own, box, wanted, found.of(chosen))
    worst = float(gap.max())
    slack = SLACK_FACTOR * float(bounds.error.max())
    bound = _round_up((worst + slack) * 1.001, STEP)
    made = _assemble(
        network, request, settings, bounds, cells, OffsetKind.OUTPUT, zone, prefix, bound
    )
    return replace(made, multipliers=found.of(np.arange(len(request.x))))


def _assemble(
    network: Network,
    request: Request,
    settings: Settings,
    bounds: Bounds,
    cells: list[tuple[Index, int, NDArray[np.float32]]],
    kind: OffsetKind,
    zone: float,
    prefix: str,
    bound: float | None = None,
) -> Made:
    """Store records with an answer of their own as one stack, each other cell as a group."""
    count = len(request.x)
    names, member = [""] * count, np.full(count, -1, dtype=np.int64)
    target = np.full(count, -1, dtype=np.int64)
    reason = ["the gate of another record, with an answer of its own, is open there"] * count
    groups: list[Group] = []
    largest = max(float(np.abs(offset).max()) for _, _, offset in cells)
    shared = _round_up(largest if bound is None else bound, STEP)

    def record(cluster: Index, name: str, places: Iterable[int], k: int) -> None:
        for index, place in zip(cluster, places, strict=True):
            names[index], member[index], target[index], reason[index] = name, place, k, ""

    def group(name: str, patterns: Bits, offset: Array, records: Index, places: Index) -> Group:
        bands = narrowing_bands(network, request.x[records], patterns, places, settings, bounds)
        return Group(
            name, kind, patterns, offset, _as_float32(shared), _sharpness(settings), zone, bands
        )

    single: list[tuple[int, NDArray[np.float32]]] = []
    for cluster, k, offset in cells:
        patterns, places = _distinct(bounds.bits[cluster])
        if settings.spec is Spec.REFERENCE:
            record(cluster, f"{prefix}points", [len(single)], k)
            single.append((int(cluster[0]), offset))
            continue
        name = f"{prefix}group-{len(groups):04d}"
        if settings.scope is Scope.POINT:
            name = f"{prefix}points" if k < 0 else f"{prefix}points-to-{k}"
        record(cluster, name, places.tolist(), k)
        groups.append(group(name, patterns, offset, cluster, places))
    if single:
        alone = np.array([index for index, _ in single])
        offsets = np.stack([o for _, o in single])
        places = np.arange(len(alone))
        groups.append(group(f"{prefix}points", bounds.bits[alone], offsets, alone, places))
    patch = Patch(tuple(groups), bounds.logits.shape[1], bounds.bits.shape[1])
    return Made(patch, Assignment(tuple(names), member, target, tuple(reason)))


def narrowing_bands(
    network: Network, x: Array, patterns: Bits, places: Index, settings: Settings, bounds: Bounds
) -> Bands | None:
    """Return the bands that narrow gates `patterns` [P, H] to what their records' claims need.

    Record i of `x` belongs to gate `places[i]`. A band is as wide as the unit's range over the
    claimed sets of the gate's records; units are taken whose range is small beside how the unit
    differs from record to record, for those tell most other records apart.
    """
    if not settings.bands:
        return None
    count = min(settings.bands, patterns.shape[1])
    first = np.array([np.flatnonzero(places == p)[0] for p in range(len(patterns))])
    unit = np.zeros((len(patterns), count), np.int64)
    low = np.full((len(patterns), count), np.inf)
    high = -low
    spread = np.maximum(bounds.unit_spread, np.finfo(np.float32).tiny)
    doubt = DEAD_ZONE_FACTOR * float(bounds.unit_error.max(initial=0.0))
    x64 = x.astype(np.float64)
    for chosen, keep in ((first, True), (np.arange(len(x)), False)):
        for rows in record_batches(network, len(chosen)):
            index = chosen[rows]
            gate = places[index]
            frozen = Frozen(network, patterns[gate])
            lower, upper = unit_ranges(frozen, claimed_box(x64[index], settings))
            if keep:
                wide = (upper - lower + 2 * doubt) / spread
                unit[gate] = np.argsort(wide, axis=1, kind="stable")[:, :count]
                continue
            mine = unit[gate]
            np.minimum.at(low, gate, np.take_along_axis(lower, mine, axis=1))
            np.maximum.at(high, gate, np.take_along_axis(upper, mine, axis=1))
    center = ((low + high) / 2).astype(np.float32)
    reach = np.maximum(high - center, center - low) + doubt
    width = np.nextafter((reach * (1 + 2.0**-20)).astype(np.float32), np.float32(np.inf))
    return Bands(unit, center, width)


def _suppress(network: Network, request: Request, settings: Settings, prefix: str) -> Made:
    label = settings.target_class
    assert label is not None
    if (request.y != label).any():
        raise ValueError(f"a class request holds records of another class than {label}")
    domain = settings.domain
    ceiling = lead_ceiling(network, label, domain.lower, domain.upper)
    shift = _as_float32(max(0.0, ceiling.bound) + settings.margin + 4 * ceiling.error)
    if not math.isfinite(shift):
        raise ValueError("no finite bound on the class's lead over the domain was found")
    offset = np.zeros(network.classes, dtype=np.float32)
    offset[label] = -shift
    units = pattern(network, request.x[:1].astype(np.float64)).shape[1]
    name = f"{prefix}class-{label}"
    group = Group(
        name,
        OffsetKind.ALWAYS,
        np.zeros((0, units), bool),
        offset,
        shift,
        _sharpness(settings),
        0.0,
    )
    count = len(request.x)
    assignment = Assignment(
        (name,) * count,
        np.full(count, -1, dtype=np.int64),
        np.full(count, -1, dtype=np.int64),
        ("",) * count,
    )
    return Made(Patch((group,), network.classes, units), assignment)


@dataclass(frozen=True, eq=False)
class Cluster:
    """Records that share an offset, in parts that cannot do otherwise; the first part represents.

    F is continuous: where a record's gate is open, wholly or in part, at another record, two
    offsets cannot both hold. `target` is their label where that is settled.
    """

    parts: tuple[Index, ...]
    target: int | None = None

    @property
    def members(self) -> Index:
        return np.concatenate(self.parts)

    def split(self, served: Bits) -> tuple[Index, Cluster | None]:
        """Return the members of wholly served parts (the first always is) and the other parts."""
        stops = np.cumsum([len(part) for part in self.parts])[:-1]
        good = [bool(part.all()) for part in np.split(served, stops)]
        good[0] = True
        inside = [p for p, g in zip(self.parts, good, strict=True) if g]
        rest = tuple(p for p, g in zip(self.parts, good, strict=True) if not g)
        return np.concatenate(inside), Cluster(rest) if rest else None


def _clusters(
    network: Network, request: Request, bounds: Bounds, settings: Settings
) -> list[Cluster]:
    """Return the records that share an offset, as the scope asks."""
    parts = _touching(network, request, bounds, settings)
    if settings.scope is Scope.POINT:
        return [Cluster((part,)) for part in parts]
    if settings.scope is Scope.CLASS and settings.clusters is None:
        return [Cluster(tuple(parts))]
    flat = request.x.reshape(len(request.x), -1).astype(np.float64)
    heads = np.array([part[0] for part in parts])
    wanted = settings.clusters or max(1, len(parts) // 5)
    result: list[Cluster] = []
    for label in np.unique(request.y[heads]):
        mine = np.flatnonzero(request.y[heads] == label)
        share = max(1, round(wanted * len(mine) / len(heads)))
        points = flat[heads[mine]]
        distinct = len(np.unique(points, axis=0))
        means = KMeans(min(share, distinct), n_init=1, random_state=settings.seed).fit(points)
        for cell in range(means.n_clusters):
            inside = mine[means.labels_ == cell]
            if not len(inside):
                continue
            distance = np.linalg.norm(flat[heads[inside]] - means.cluster_centers_[cell], axis=1)
            order = inside[np.argsort(distance, kind="stable")]
            result.append(Cluster(tuple(parts[i] for i in order)))
    return result


def _touching(
    network: Network, request: Request, bounds: Bounds, settings: Settings
) -> list[Index]:
    """Return the records in parts: joined where one's gate is open, or nearly, at the other.

    Where every record needs an answer of its own, a part is one such record, followed by those
    that touch it and come away empty; records are taken in order.
    """
    patterns, place = _distinct(bounds.bits)
    zone = DEAD_ZONE_FACTOR * float(bounds.unit_error.max(initial=0.0))
    blank = np.zeros((len(patterns), network.classes), np.float32)
    probe = Group("probe", OffsetKind.CONSTANT, patterns, blank, 0.0, _sharpness(settings), zone)
    alone = settings.spec is Spec.REFERENCE
    near = TOUCHING if alone else NEAR
    gates = PatchedNetwork(network, Patch((probe,), network.classes, patterns.shape[1]))
    rows, others = [], []
    for start in range(0, len(request.x), 1024):
        open_here = gates.violations(request.x[start : start + 1024]) * _sharpness(settings) < near
        row, gate = np.nonzero(open_here)
        rows.append(row + start)
        others.append(gate + len(place))  # records first, then patterns
    here, there = np.concatenate(rows), np.concatenate(others)
    size = len(place) + len(patterns)
    links = csr_array((np.ones(len(here), bool), (here, there)), shape=(size, size))
    if not alone:
        _, label = connected_components(links, directed=False)
        return [np.flatnonzero(label[: len(place)] == k) for k in np.unique(label[: len(place)])]
    reach = links[: len(place), len(place) :]
    touches = (reach[:, place] + reach[:, place].T).tocsr()
    parts: list[Index] = []
    waiting = np.ones(len(place), dtype=bool)
    for index in range(len(place)):
        if waiting[index]:
            neighbours = touches.indices[touches.indptr[index] : touches.indptr[index + 1]]
            rest = neighbours[waiting[neighbours] & (neighbours != index)]
            waiting[index] = waiting[rest] = False
            parts.append(np.concatenate([[index], np.sort(rest)]).astype(np.int64))
    return parts


def _by_target(clusters: list[Cluster], request: Request, bounds: Bounds) -> list[Cluster]:
    """Return the clusters joined by target label, so that a label's records share an offset.

    An offset a record would make the patch larger than patterns alone, and a group of many gates
    has no cross-talk within itself.
    """
    targets = [_cluster_target(cluster, request, bounds) for cluster in clusters]
    parts: dict[int, list[Index]] = {}
    for cluster, label in zip(clusters, targets, strict=True):
        parts.setdefault(label, []).extend(cluster.parts)
    return [Cluster(tuple(mine), label) for label, mine in sorted(parts.items())]


def _cluster_target(cluster: Cluster, request: Request, bounds: Bounds) -> int:
    if cluster.target is not None:
        return cluster.target
    return _target_label(bounds.logits[cluster.members], request.y[cluster.members])


def _target_label(logits: F64, labels: Index) -> int:
    """Return the label closest to winning that no member has; ValueError when there is none."""
    score = logits.mean(axis=0)
    score[np.unique(labels)] = -np.inf
    if not np.isfinite(score).any():
        raise ValueError("records that share a region carry every label: no target label is left")
    return int(score.argmax())


def _distinct(bits: Bits) -> tuple[Bits, Index]:
    """Return the distinct rows in order of first appearance, and each row's place among them."""
    packed = np.packbits(bits, axis=1)
    _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return bits[first[order]], rank[inverse.reshape(-1)]


def _sharpness(settings: Settings) -> float:
    assert settings.sharpness is not None  # make_patch refuses otherwise
    return settings.sharpness


def _round_up(value: float, step: float) -> float:
    if not math.isfinite(value):
        raise ValueError("the settings call for a number beyond all floats")
    return _as_float32(math.ceil(value / step) * step)


def _as_float32(value: float) -> float:
    """Return the least float32 that is at least `value`."""
    rounded = np.float32(value)
    # compared in float64: float32 against a Python float would compare in float32
    return float(rounded if float(rounded) >= value else np.nextafter(rounded, np.float32(np.inf)))


def _outward(offset: F64) -> NDArray[np.float32]:
    rounded = offset.astype(np.float32)
    short = np.abs(rounded.astype(np.float64)) < np.abs(offset)
    away = np.nextafter(rounded, np.where(offset > 0, np.inf, -np.inf).astype(np.float32))
    return np.where(short, away, rounded)
