"""The patched network F = f + Σ_groups h, evaluated exactly as its definition says.

A closed group contributes exactly 0 (|p| ≤ K by clipping), and a violation is a sum of numbers that
are not negative: what a few units alone add up to shows of nearly every input that every gate is
closed. Only the other inputs pay for all units of all gates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from auditkit.network.evaluate import evaluate, evaluate_nodes, join_units, logits
from auditkit.network.graph import Array, Network
from auditkit.network.numbers import PLAIN
from auditkit.network.units import unit_layout
from auditkit.parallel import even_slices, side_by_side
from auditkit.patch.explicit import AnyPatch, ExplicitPatch, violations
from auditkit.patch.gates import Patch

SCREEN_UNITS = 64  # to see that a gate is closed
SCREEN_MARGIN = 1.01  # in n v; more than all roundings of both sums
MOST_AT_ONCE = 2560  # inputs
SMALL = 256  # inputs that are not worth a thread
NUMBERS_AT_ONCE = 4_000_000  # of a value, or of pairs of input and gate
MOST_PAIRS = 8192  # of record and gate that are looked at one by one


@dataclass(frozen=True, eq=False)
class PatchedNetwork:
    """A network with a patch in gated form; ValueError when they do not fit each other."""

    network: Network
    patch: Patch

    def __post_init__(self) -> None:
        if self.patch.classes != self.network.classes:
            raise ValueError(f"{self.patch.classes} classes, the network {self.network.classes}")

    def logits(self, x: Array) -> Array:
        """Return patched logits [N, C] of `x` [N, *input_shape] in the network's dtype."""
        x = x.astype(self.network.dtype, copy=False)
        result = np.zeros((len(x), self.network.classes), dtype=self.network.dtype)

        def fill(rows: slice) -> None:
            out, nodes = evaluate_nodes(self.network, x[rows])
            self._add_open(out, nodes)
            result[rows] = self._shifted(out)

        self._by_batches(fill, len(x))
        return result

    def violations(self, x: Array, *, batch: int = 2048) -> Array:
        """Return v [N, G] of every gate at `x`; exactly 0 where a gate is fully open."""
        x = x.astype(self.network.dtype, copy=False)
        result = np.zeros((len(x), self.patch.gates), dtype=self.network.dtype)
        for start in range(0, len(x), batch):
            _, z = evaluate(self.network, x[start : start + batch])
            result[start : start + batch] = self._violations(z)
        return result

    def openness(self, x: Array) -> Array:
        """Return [N]: 1 - t of the most open group at each record, 0 where all are closed."""
        x = x.astype(self.network.dtype, copy=False)
        result = np.zeros(len(x))

        def fill(rows: slice) -> None:
            part = result[rows]
            _, nodes = evaluate_nodes(self.network, x[rows])
            here, _, closed = self._ajar(nodes, len(part))
            np.maximum.at(part, here, 1 - closed)

        self._by_batches(fill, len(x))
        return result

    def _by_batches(self, fill: Callable[[slice], None], count: int) -> None:
        """Fill in `count` rows, batch by batch: many at once, but no more than memory allows."""
        widest = max(self.patch.gates, *(int(np.prod(shape)) for shape in self.network.shapes))
        most = max(1, min(MOST_AT_ONCE, NUMBERS_AT_ONCE // widest))
        if count <= SMALL:
            fill(slice(0, count))
        else:
            _ = self._columns, self.patch.gates and self.patch.units and self._screen  # only once
            side_by_side(fill, even_slices(count, most))

    @cached_property
    def _columns(self) -> list[tuple[float, NDArray[np.int64], Array, Array]]:
        """For each dead zone: its gates, and their patterns as two factors [H, gates]."""
        table = self.patch.table
        zones = table.dead_zone[table.group]
        parts = []
        for zone in np.unique(zones):
            gates = np.flatnonzero(zones == zone)
            ones = table.patterns[gates].T.astype(self.network.dtype)
            parts.append((float(zone), gates, ones, 1 - ones))
        return parts

    def _violations(self, z: Array) -> Array:
        v = np.zeros((len(z), self.patch.gates), dtype=z.dtype)
        for zone, gates, ones, zeros in self._columns:
            tau = z.dtype.type(zone)
            # A sum of numbers ≥ 0 is exactly 0 just where each of them is, in any order.
            v[:, gates] = np.maximum(-z - tau, 0) @ ones + np.maximum(z - tau, 0) @ zeros
        for band in self.patch.table.bands:
            v += band.excess(z[:, band.unit])
        return v

    def _add_open(self, out: Array, nodes: list[Array]) -> None:
        """Add to `out` [N, C] what gates that are at least partly open contribute."""
        rows, gates, closed = self._ajar(nodes, len(out))
        pairs, inverse = np.unique(
            np.stack([rows, self.patch.table.group[gates]]), axis=1, return_inverse=True
        )
        t = np.ones(pairs.shape[1], dtype=out.dtype)
        np.minimum.at(t, inverse.reshape(-1), closed)
        np.add.at(out, pairs[0], self._contribution(pairs[1], out[pairs[0]], t))

    def _ajar(
        self, nodes: list[Array], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
        """Return the pairs of record and gate with n v < 1, and n v."""
        table, dtype = self.patch.table, self.network.dtype
        rows, gates = self._perhaps_open(nodes, count)
        if not len(rows):
            return rows, gates, np.zeros(0, dtype)
        here, place = np.unique(rows, return_inverse=True)
        units = [node[here] for node in nodes]
        z = join_units(unit_layout(self.network), units, PLAIN, np.zeros((len(here), 0), dtype))
        if len(rows) > MOST_PAIRS:
            closed = self._violations(z)[place, gates]
            closed *= table.sharpness[table.group[gates]].astype(dtype)
        else:
            closed = self._closed(z[place], gates)
        ajar = closed < 1
        return rows[ajar], gates[ajar], closed[ajar]

    def _perhaps_open(
        self, nodes: list[Array], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pairs of record and gate where a few units do not show the gate closed."""
        if not (self.patch.gates and self.patch.units):  # without a unit every gate is open
            rows, gates = np.indices((count, self.patch.gates))
            return rows.ravel(), gates.ravel()
        node, columns, zones = self._screen
        z = nodes[node][:, columns]
        most = np.finfo(z.dtype).max * np.finfo(z.dtype).eps
        parts = []
        for tau, weights, doubt in zones:
            # Σ over bits of 1 of (-z - τ)⁺ and over bits of 0 of (z - τ)⁺, as one product
            low, high = np.maximum(-z - tau, 0), np.maximum(z - tau, 0)
            total = high.sum(axis=1, keepdims=True)
            excess = np.concatenate([low - high, total], axis=1)
            size = doubt * (low.sum(axis=1, keepdims=True) + 2 * total)
            # a sum that overflows tells nothing, and neither does NaN
            need = np.where(size < most, SCREEN_MARGIN + size, np.nan)
            parts.append(~(excess @ weights >= need))
        perhaps = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        rows, place = np.divmod(np.flatnonzero(perhaps), self.patch.gates)
        gates = self._order[place]
        if not 0 < len(rows) <= MOST_PAIRS:
            return rows, gates
        # of the few pairs that are left, all units of the node
        kept = unit_layout(self.network).kept[list(unit_layout(self.network).spans.values())[node]]
        z = nodes[node][rows] if kept.all() else nodes[node][rows][:, kept]
        left = ~(self._closed(z, gates) >= SCREEN_MARGIN)
        return rows[left], gates[left]

    def _closed(self, z: Array, gates: NDArray[np.int64]) -> Array:
        """Return n v [pairs] of one gate each, for all units `z` [pairs, H].

        Of only the first units it is at most that, without the bands.
        """
        table, units = self.patch.table, z.shape[1]
        group = table.group[gates]
        away = np.where(table.patterns[gates, :units], -z, z)
        away -= table.dead_zone[group].astype(z.dtype)[:, None]
        v = np.maximum(away, 0, out=away).sum(axis=1)
        if units == self.patch.units:
            for band in table.bands:
                v += band.excess(z[np.arange(len(gates)), band.unit[gates]], gates)
        return np.asarray(v * table.sharpness[group].astype(z.dtype))

    @cached_property
    def _screen(self) -> tuple[int, NDArray[np.int64], list[tuple[np.floating, Array, float]]]:
        """A node, the units of it that divide the gates most evenly, and for each dead zone τ,
        the bits of its gates times n, and what rounding may do to n v for each unit of |z|.

        The first node is taken: its units are the most independent of each other.
        """
        table, layout, dtype = self.patch.table, unit_layout(self.network), self.network.dtype
        spans = list(layout.spans.values())
        counts = [int(layout.kept[span].sum()) for span in spans]
        node = next((i for i, count in enumerate(counts) if count), 0)
        share = table.patterns[:, : counts[node]].mean(axis=0)
        chosen = np.sort(np.argsort(share * (share - 1), kind="stable")[:SCREEN_UNITS])
        columns = np.flatnonzero(layout.kept[spans[node]])[chosen]
        sharpness = table.sharpness[table.group].astype(dtype)
        zones = []
        for zone, gates, ones, _ in self._columns:
            n = sharpness[gates]
            weights = np.concatenate([ones[chosen] * n, n[None]])
            doubt = 4 * (len(chosen) + 4) * float(np.finfo(dtype).eps) * float(n.max())
            zones.append((dtype.type(zone), weights, doubt))
        return node, columns, zones

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """The gates by dead zone."""
        return np.concatenate([gates for _, gates, _, _ in self._columns])

    def _shifted(self, out: Array) -> Array:
        """Return `out` [N, C] with what groups without a gate add everywhere."""
        for group in np.flatnonzero(self.patch.table.always):
            out = out + self._contribution(np.array([group]), out[:1], np.zeros(1, out.dtype))
        return out

    def _contribution(self, groups: NDArray[np.int64], logits: Array, t: Array) -> Array:
        """Return h [pairs, C] of `groups` [pairs] at `logits` [pairs, C] with closedness t."""
        table, dtype = self.patch.table, logits.dtype
        bound = table.bound[groups].astype(dtype)[:, None]
        offset = table.offset[groups].astype(dtype)
        p = np.where(table.kind_output[groups][:, None], offset - logits, offset)
        p = np.clip(p, -bound, bound)
        kt = bound * t[:, None]
        return np.maximum(p - kt, 0) - np.maximum(-p - kt, 0)


@dataclass(frozen=True, eq=False)
class ExplicitNetwork:
    """A network with a patch in explicit form; ValueError when they do not fit each other."""

    network: Network
    patch: ExplicitPatch

    def __post_init__(self) -> None:
        wanted = (self.patch.classes, self.patch.features)
        if wanted != (self.network.classes, self.network.features):
            raise ValueError(f"a patch for {wanted} classes and features, the network has others")

    def logits(self, x: Array, *, batch: int = 2048) -> Array:
        """Return patched logits [N, C] of `x` [N, *input_shape] in the network's dtype."""
        x = x.astype(self.network.dtype, copy=False)
        result = np.zeros((len(x), self.network.classes), dtype=self.network.dtype)
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            out = logits(self.network, part)
            result[start : start + batch] = self._patched(out, part.reshape(len(part), -1))
        return result

    def violations(self, x: Array, *, batch: int = 2048) -> Array:
        """Return v [N, G] of every gate at `x`; exactly 0 where a gate is fully open."""
        flat = x.astype(self.network.dtype, copy=False).reshape(len(x), -1)
        result = np.zeros((len(x), self.patch.gates), dtype=self.network.dtype)
        for start in range(0, len(x), batch):
            part = flat[start : start + batch]
            result[start : start + batch] = np.concatenate(
                [violations(group, part) for group in self.patch.groups], axis=1
            )
        return result

    def openness(self, x: Array, *, batch: int = 2048) -> Array:
        """Return [N]: 1 - t of the most open group at each record, 0 where all are closed."""
        table = self.patch.table
        closed = self.violations(x, batch=batch) * table.sharpness[table.group]
        return np.asarray(np.clip(1 - closed.min(axis=1), 0, 1), dtype=np.float64)

    def _patched(self, out: Array, flat: Array) -> Array:
        out = out.copy()
        for group in self.patch.groups:
            dtype = flat.dtype.type
            t = np.minimum(violations(group, flat).min(axis=1) * dtype(group.sharpness), dtype(1))
            rows = np.flatnonzero(t < 1)
            if not len(rows):
                continue
            bound = dtype(group.bound)
            p = flat[rows] @ group.slope.T.astype(dtype) + group.shift.astype(dtype)
            p = np.clip(p, -bound, bound)
            kt = bound * t[rows][:, None]
            out[rows] += np.maximum(p - kt, 0) - np.maximum(-p - kt, 0)
        return out


AnyPatched: TypeAlias = PatchedNetwork | ExplicitNetwork


def patched_network(network: Network, patch: AnyPatch) -> AnyPatched:
    """Return the network with its patch, whatever the patch's form."""
    if isinstance(patch, ExplicitPatch):
        return ExplicitNetwork(network, patch)
    return PatchedNetwork(network, patch)
