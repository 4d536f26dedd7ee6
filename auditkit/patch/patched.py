"""The patched network F = f + Σ_groups h, evaluated exactly as its definition says.

Only gates that are at least partly open cost anything beyond two matrix products, because a closed
group contributes exactly 0 (|p| ≤ K by clipping).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from auditkit.network.evaluate import evaluate, logits
from auditkit.network.graph import Array, Network
from auditkit.patch.explicit import AnyPatch, ExplicitPatch, violations
from auditkit.patch.gates import Patch


@dataclass(frozen=True, eq=False)
class PatchedNetwork:
    """A network with a patch in gated form; ValueError when they do not fit each other."""

    network: Network
    patch: Patch

    def __post_init__(self) -> None:
        if self.patch.classes != self.network.classes:
            raise ValueError(f"{self.patch.classes} classes, the network {self.network.classes}")

    def logits(self, x: Array, *, batch: int = 2048) -> Array:
        """Return patched logits [N, C] of `x` [N, *input_shape] in the network's dtype."""
        x = x.astype(self.network.dtype, copy=False)
        result = np.zeros((len(x), self.network.classes), dtype=self.network.dtype)
        for start in range(0, len(x), batch):
            out, z = evaluate(self.network, x[start : start + batch])
            result[start : start + batch] = self._patched(out, z)
        return result

    def violations(self, x: Array, *, batch: int = 2048) -> Array:
        """Return v [N, G] of every gate at `x`; exactly 0 where a gate is fully open."""
        x = x.astype(self.network.dtype, copy=False)
        result = np.zeros((len(x), self.patch.gates), dtype=self.network.dtype)
        for start in range(0, len(x), batch):
            _, z = evaluate(self.network, x[start : start + batch])
            result[start : start + batch] = self._violations(z)
        return result

    def openness(self, x: Array, *, batch: int = 2048) -> Array:
        """Return [N]: 1 - t of the most open group at each record, 0 where all are closed."""
        table = self.patch.table
        result = np.zeros(len(x))
        if not self.patch.gates:
            return result
        sharpness = table.sharpness[table.group]
        for start in range(0, len(x), batch):
            v = self.violations(x[start : start + batch])
            result[start : start + batch] = np.clip(1 - (v * sharpness).min(axis=1), 0, 1)
        return result

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
        return v

    def _patched(self, logits: Array, z: Array) -> Array:
        table, dtype = self.patch.table, logits.dtype
        out = logits.copy()
        if self.patch.gates:
            sharpness = table.sharpness[table.group].astype(dtype)
            closed = self._violations(z) * sharpness
            rows, gates = np.nonzero(closed < 1)
            pairs, inverse = np.unique(
                np.stack([rows, table.group[gates]]), axis=1, return_inverse=True
            )
            t = np.ones(pairs.shape[1], dtype=dtype)
            np.minimum.at(t, inverse.reshape(-1), closed[rows, gates])
            np.add.at(out, pairs[0], self._contribution(pairs[1], logits[pairs[0]], t))
        for group in np.flatnonzero(table.always):
            shift = self._contribution(np.array([group]), logits[:1], np.zeros(1, dtype=dtype))
            out = out + shift
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
