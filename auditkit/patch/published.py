"""PRUNE's published algorithm, as an owner whose patches can be audited and as a baseline.

From the papers (PRUNE: Li, Wang, Yuan and Zhang, arXiv 2505.06520; REASSURE: Fu and Li, ICLR 2022,
arXiv 2110.07682):
- a record's linear region is written out, one row for each ReLU, and rows that the others imply
  are removed, by one linear program each;
- the support network is 1 - min(1, n Σ_i ReLU(A_i x - b_i)): 1 on the region, 0 away from it;
- the offset is affine. With z_j = f_j - f_k for the new label k, two programs over the region give
  the range of z_j; z_j is scaled if the range is wider than what is allowed, then shifted into it,
  and the result is carried back to the logits, the sum of which stays as it was;
- K bounds |p| over the input domain;
- the new label is a random one; for many records, k-means clusters, the offset of the member
  nearest to each centroid for all of its cluster, again for those still classified as before.

Our choices: regions are differentiated row by row and correct; rows are divided by their length
and moved outwards by the error of deployed floats (`region_rows`); the lead is the settings' margin
and not 0; the new label is no member's, cluster by cluster; groups are stored as they act, where
REASSURE telescopes them (differences of offsets, each gate also open on the later regions), which
on the regions is the same and differs only where shells of several regions meet; K is the closed
form of the program over a box; HiGHS solves the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from auditkit.network.evaluate import pattern
from auditkit.network.graph import Network
from auditkit.network.units import unit_layout
from auditkit.patch.explicit import ExplicitGroup, ExplicitPatch
from auditkit.patch.generate import Assignment, Bounds, Request, deployed_margin, measure
from auditkit.patch.programs import Polytope
from auditkit.patch.region_rows import ExplicitMade, Region, region_of, relaxed, sharpened
from auditkit.patch.settings import Method, Scope, Settings, Spec

F64 = NDArray[np.float64]
Index = NDArray[np.int64]

WIDEST = 100.0  # z_j shall be in [-100, -margin], as in REASSURE's experiments
SLACK = 1e-5  # of a range: what a program's answer may be off by
REDUNDANT = 1e-7  # how far beyond its limit a removed row may reach, as a distance
ROUNDS = 50  # of clusters; each serves at least its representatives


@dataclass(frozen=True, eq=False)
class Offset:
    """p(x) = slope x + shift, slope [C, d], shift [C], with |p| ≤ bound on the domain."""

    slope: F64
    shift: F64
    bound: float


def published_patch(
    network: Network,
    request: Request,
    settings: Settings,
    *,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[ExplicitMade, Settings]:
    """Return the patch that the published algorithm gives for the request, and resolved settings.

    Raises ValueError for other specifications than `redirect`, for class suppression, for networks
    without units and when no new label is left.
    """
    if settings.spec is not Spec.REDIRECT or settings.method is Method.SUPPRESS:
        raise ValueError("the published algorithm redirects records by patches on their regions")
    if unit_layout(network).count == 0:
        raise ValueError("the network has no ReLU and no max pool: it is one linear region")
    if len(request.x) == 0:
        raise ValueError("there is no record to forget")
    bounds = measure(network, request.x, settings)
    work = _Work(network, request, settings, bounds, np.random.default_rng([settings.seed, 2505]))
    waiting, rounds = np.arange(len(request.x)), 0
    while len(waiting) and rounds < ROUNDS:
        again = [work.serve(cluster) for cluster in work.clusters(waiting)]
        progress(len(request.x) - sum(map(len, again)))
        waiting, rounds = (
            np.concatenate([*again, np.zeros(0, np.int64)]).astype(np.int64),
            rounds + 1,
        )
    return sharpened(work.made(), network, settings)


def without_redundant(region: Region, low: float, high: float) -> Region:
    """Return the region without the rows that the others imply in the box: a program each."""
    width = region.rows.shape[1]
    box = np.full(width, low), np.full(width, high)
    reach = np.maximum(region.rows, 0) @ box[1] + np.minimum(region.rows, 0) @ box[0]
    candidates = np.flatnonzero(reach > region.limits)  # the box alone implies the others
    polytope = Polytope(region.rows[candidates], region.limits[candidates], *box)
    kept: list[int] = []
    for position, row in enumerate(candidates):
        polytope.relax(position)
        answer = polytope.maximise(region.rows[row])
        if answer is None or not answer.value <= region.limits[row] + REDUNDANT:
            polytope.restore(position)
            kept.append(int(row))
    if not kept:
        kept = [0]  # the region is the whole box: a gate has at least one row
    return Region(region.rows[kept], region.limits[kept], region.slope, region.shift)


def scaled_offset(region: Region, target: int, margin: float, low: float, high: float) -> Offset:
    """Return the affine offset that puts `target` ahead by `margin` all over the region."""
    width, classes = region.rows.shape[1], len(region.shift)
    box = np.full(width, low), np.full(width, high)
    polytope = Polytope(region.rows, region.limits, *box)
    others = np.delete(np.arange(classes), target)
    slopes, shifts = np.zeros((classes, width)), np.zeros(classes)
    for j in others:
        slope = region.slope[j] - region.slope[target]
        base = region.shift[j] - region.shift[target]
        most, least = polytope.maximise(slope), polytope.maximise(-slope)
        if most is None or least is None:
            raise ValueError("a linear program over the region has no answer")
        below, above = -least.value + base, most.value + base
        spread = SLACK * (1 + above - below)
        below, above = below - spread, above + spread
        factor = min(1.0, (WIDEST - margin) / (above - below))
        after = max(0.0, factor * above + margin)  # what is to be shifted down
        slopes[j] = (factor - 1) * slope
        shifts[j] = (factor - 1) * base - after
    # back to logits: p_j - p_target as above, and Σ p = 0
    slopes -= slopes.sum(axis=0) / classes
    shifts -= shifts.sum() / classes
    reach = np.abs(slopes) @ np.full(width, (high - low) / 2)
    middle = slopes @ np.full(width, (high + low) / 2) + shifts
    bound = float((np.abs(middle) + reach).max()) * (1 + SLACK)
    return Offset(slopes, shifts, bound)


class _Work:
    """Regions, groups and who is served, as the algorithm goes along."""

    def __init__(
        self,
        network: Network,
        request: Request,
        settings: Settings,
        bounds: Bounds,
        generator: np.random.Generator,
    ) -> None:
        self.network, self.request, self.settings = network, request, settings
        self.bounds, self.generator = bounds, generator
        self.flat = request.x.reshape(len(request.x), -1).astype(np.float64)
        self.bits = pattern(network, request.x.astype(np.float64))
        self.groups: list[ExplicitGroup] = []
        self.place: dict[int, tuple[str, int, int]] = {}
        self._regions: dict[bytes, Region] = {}

    def region(self, record: int) -> Region:
        """Return the record's region without redundant rows, made once for each pattern."""
        key = np.packbits(self.bits[record]).tobytes()
        if key not in self._regions:
            whole = region_of(self.network, self.bits[record])
            domain = self.settings.domain
            self._regions[key] = without_redundant(whole, domain.lower, domain.upper)
        return self._regions[key]

    def clusters(self, waiting: Index) -> list[Index]:
        """Return the records of each cluster, the representative first."""
        if self.settings.scope is Scope.POINT:
            return self._points(waiting)
        count = min(
            self.settings.clusters or max(1, len(waiting) // 5),
            len(np.unique(self.flat[waiting], axis=0)),
        )
        means = KMeans(count, n_init=1, random_state=self.settings.seed).fit(self.flat[waiting])
        cells = []
        for cell in range(means.n_clusters):
            inside = waiting[means.labels_ == cell]
            distance = np.linalg.norm(self.flat[inside] - means.cluster_centers_[cell], axis=1)
            if len(inside):
                cells.append(inside[np.argsort(distance, kind="stable")])
        return cells

    def _points(self, waiting: Index) -> list[Index]:
        """Return the records by region: those that share one share its gate."""
        cells: dict[bytes, list[int]] = {}
        for record in waiting:
            cells.setdefault(np.packbits(self.bits[record]).tobytes(), []).append(int(record))
        return [np.array(cell, dtype=np.int64) for cell in cells.values()]

    def serve(self, cluster: Index) -> Index:
        """Make a group with the representative's offset; return whom it does not serve."""
        target = self._label(cluster)
        if target is None:  # the members have every label between them: one after the other
            cluster, rest = cluster[:1], cluster[1:]
            target = self._label(cluster)
            assert target is not None  # one record has one label, and there are two at least
        else:
            rest = np.zeros(0, np.int64)
        domain = self.settings.domain
        margin = deployed_margin(self.settings, self.bounds.error[cluster])
        offset = scaled_offset(
            self.region(int(cluster[0])), target, margin, domain.lower, domain.upper
        )
        after = self.bounds.logits[cluster] + self.flat[cluster] @ offset.slope.T + offset.shift
        lead = after - after[:, [target]]
        lead[:, target] = -np.inf
        served = lead.max(axis=1) <= -self.settings.margin
        served[0] = True
        self._store(cluster[served], target, offset)
        return np.concatenate([cluster[~served], rest])

    def _label(self, cluster: Index) -> int | None:
        free = np.setdiff1d(np.arange(self.network.classes), self.request.y[cluster])
        return int(self.generator.choice(free)) if len(free) else None

    def _store(self, served: Index, target: int, offset: Offset) -> None:
        name = f"published-{len(self.groups):05d}"
        cells = self._points(served)
        rows, limits = [], []
        for member, records in enumerate(cells):
            region = self.region(int(records[0]))
            a, b = relaxed(
                self.network, region.rows, region.limits, self.request.x[records], self.settings
            )
            rows.append(a)
            limits.append(b)
            for record in records:
                self.place[int(record)] = (name, member, target)
        bound = np.nextafter(np.float32(offset.bound * (1 + SLACK)), np.float32(np.inf))
        self.groups.append(
            ExplicitGroup(
                name=name,
                rows=np.concatenate(rows),
                limits=np.concatenate(limits),
                members=np.cumsum([0, *map(len, limits)]).astype(np.int64),
                slope=offset.slope.astype(np.float32),
                shift=offset.shift.astype(np.float32),
                bound=float(bound),
                sharpness=1.0,
            )
        )

    def made(self) -> ExplicitMade:
        """Return the patch with its assignment."""
        count = len(self.request.x)
        places = [self.place.get(i, ("", -1, -1)) for i in range(count)]
        missed = f"still classified as before after {ROUNDS} rounds of clusters"
        assignment = Assignment(
            tuple(p[0] for p in places),
            np.array([p[1] for p in places], dtype=np.int64),
            np.array([p[2] for p in places], dtype=np.int64),
            tuple("" if p[0] else missed for p in places),
        )
        patch = ExplicitPatch(tuple(self.groups), self.network.classes, self.network.features)
        return ExplicitMade(patch, assignment)
