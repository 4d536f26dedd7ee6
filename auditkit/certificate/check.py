"""The checker: does the patched network do on the claimed sets what the claims say?

With `region`, `arithmetic` and the network traversal this is the trusted base. It is pure numpy,
reads no file, runs no solver and believes nothing of the owner's: from the network, the gates, the
records and the auditor's floors it derives bounds of its own, and a claim is PROVED only where an
outward-rounded bound says so. Every comparison is written so that NaN proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from auditkit.network.deployed import FloatProfile
from auditkit.network.evaluate import evaluate
from auditkit.network.graph import Network
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.network.region import Box, Piece, deployed_errors, record_batches
from auditkit.network.rigorous import RIGOROUS, UNIT, Ball, enlarge, gamma
from auditkit.patch.gates import GateTable, Patch

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]

PAIRS_AT_ONCE = 512


class Verdict(IntEnum):
    """What is known of a claim: nothing either way, that it holds, or that it does not."""

    UNPROVED = 0
    PROVED = 1
    REFUTED = 2


Verdicts = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Claims:
    """N claims: at record `x` [N, *shape] the gate [N] holds, within `radius` [N], by `margin` [N].

    `target` [N] is the label that a redirected record shall get, -1 where the offset is of kind
    OUTPUT and the target is the group's own vector q. `gate` indexes the patch's flat gates.
    """

    x: F64
    gate: Index
    radius: F64
    margin: F64
    target: Index

    def __len__(self) -> int:
        return len(self.gate)

    def take(self, rows: slice | Index) -> Claims:
        return Claims(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Findings:
    """What the checker derived of each claim; slack is what is left beyond the margin."""

    support: Verdicts  # the pattern is the record's
    gate_open: Verdicts  # v = 0 at the record, and no other group is surely open there
    point: Verdicts
    point_slack: F64
    region: Verdicts
    region_slack: F64
    deployed: Verdicts
    deployed_slack: F64
    crossing: Index  # groups that could not be shown to be closed on the whole set
    lead: F64  # [N, C] upper bound on f_j - f_target, or on |q - f_j|, over the set
    error: F64  # the deployed error of a logit, at most
    unit_error: F64  # and of a pre-activation

    @staticmethod
    def join(parts: list[Findings]) -> Findings:
        return Findings(
            *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Findings))
        )


def check_claims(
    network: Network,
    patch: Patch,
    claims: Claims,
    lower: float,
    upper: float,
    multipliers: Multipliers | None = None,
) -> Findings:
    """Check every claim on the domain box [lower, upper]; records outside it prove nothing.

    `multipliers`, whose records are the claims by number, can only sharpen the bounds. Raises
    ValueError when claims of both kinds of offset are mixed, or a claim is of the other kind than
    its group.
    """
    outputs = patch.table.kind_output[patch.table.group[claims.gate]]
    if not ((claims.target < 0) == outputs).all() or len(set(outputs.tolist())) > 1:
        raise ValueError("claims and the kinds of their offsets do not agree")
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow proves nothing, see above
        return Findings.join(
            [
                _Batch(network, patch, claims.take(rows), lower, upper, offered).findings()
                for rows, offered in _batches(network, len(claims), multipliers)
            ]
        )


def gates_in_doubt(
    network: Network,
    patch: Patch,
    claims: Claims,
    lower: float,
    upper: float,
    multipliers: Multipliers | None = None,
) -> list[Doubt]:
    """Return for each claim the gates of other groups not shown to be closed on its set."""
    result: list[Doubt] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for rows, offered in _batches(network, len(claims), multipliers):
            batch = _Batch(network, patch, claims.take(rows), lower, upper, offered)
            piece = Piece.at(network, batch.bits, batch.box)
            _, unit_error = deployed_errors(network, batch.box, batch.profile)
            doubtful = batch.doubtful_gates(piece, unit_error)
            for row in range(len(doubtful)):
                gates = np.flatnonzero(doubtful[row])
                zone = patch.table.dead_zone[patch.table.group[gates]][:, None]
                wanted = batch.wanted(piece, unit_error, np.full(len(gates), row), gates)
                result.append(Doubt(gates, wanted, unit_error[row] + zone.max(initial=0.0)))
    return result


@dataclass(frozen=True, eq=False)
class Doubt:
    """Gates [K] of which it was asked in vain whether Σ (σ_u z_u - cost_u) ≥ 1/n over `wanted`."""

    gates: Index
    wanted: Bits
    cost: F64


def _batches(
    network: Network, count: int, multipliers: Multipliers | None
) -> Iterator[tuple[slice, Multipliers | None]]:
    for rows in record_batches(network, count):
        yield rows, multipliers and multipliers.between(rows.start, rows.stop)


class _Batch:
    def __init__(
        self,
        network: Network,
        patch: Patch,
        claims: Claims,
        lower: float,
        upper: float,
        multipliers: Multipliers | None,
    ) -> None:
        self.network, self.claims, self.table = network, claims, patch.table
        self.multipliers = multipliers
        self.group = self.table.group[claims.gate]
        self.bits = self.table.patterns[claims.gate]
        flat = claims.x.reshape(len(claims), -1)
        self.inside = np.all((flat >= lower) & (flat <= upper), axis=1)
        self.inside &= (claims.radius > 0) & (claims.margin > 0)
        self.box = Box.around(claims.x, claims.radius, lower, upper)
        self.profile = FloatProfile.of(network.dtype)

    def findings(self) -> Findings:
        # 1. The record itself: true pre-activations and logits, each with its radius.
        logits, z = evaluate(self.network, Ball.exact(self.claims.x), RIGOROUS)
        support = self._support(z)
        zero = np.zeros_like(z.center)
        at_record = self._not_closed(violation_floor(self.table, z.lower, z.upper, zero))
        gate_open, opened = self._gate_open(z)

        # 2. The claim at the record.
        cross = self._cross_talk(at_record, logits)
        if self._outputs:
            lead = self._deviation(logits)
            point_slack, point_excess = self._output_slack(logits, cross)
        else:
            lead, least = self._differences(logits)
            point_slack = self._redirect_slack(lead, cross)
            point_excess = self._redirect_excess(least, cross)
        # both bounds take the group's offset for granted
        point = _verdicts((point_slack >= 0) & opened, (point_excess > 0) & opened)

        # 3. The affine piece of the gate's pattern, and every bound over the claimed set.
        piece = Piece.at(self.network, self.bits, self.box)
        ranges = piece.logit_bounds(self.multipliers)
        error, unit_error = deployed_errors(self.network, self.box, self.profile)
        crossing = self._crossing(piece, unit_error)
        cross = self._cross_talk(crossing, ranges)
        if self._outputs:
            lead = self._deviation(ranges)
            region_slack, _ = self._output_slack(ranges, cross)
        else:
            lead = piece.lead_bounds(self.claims.target, self.multipliers)
            region_slack = self._redirect_slack(lead, cross)
        proved = (region_slack >= 0) & (support == Verdict.PROVED) & (gate_open == Verdict.PROVED)
        refuted = (point == Verdict.REFUTED) & (support == Verdict.PROVED)
        region = _verdicts(proved, refuted)

        # 4. The same where the network runs in its own floats.
        slack = self._deployed_slack(ranges, lead, error, crossing)
        zone = self.table.dead_zone[self.group]
        runs = (slack >= 0) & (unit_error.max(axis=1, initial=0.0) <= zone) & proved
        runs &= _representable(self.table, self.network.dtype)
        deployed = _verdicts(runs, region == Verdict.REFUTED)
        return Findings(
            support=support,
            gate_open=gate_open,
            point=np.where(self.inside, point, Verdict.UNPROVED).astype(np.int8),
            point_slack=point_slack,
            region=np.where(self.inside, region, Verdict.UNPROVED).astype(np.int8),
            region_slack=region_slack,
            deployed=np.where(self.inside, deployed, Verdict.UNPROVED).astype(np.int8),
            deployed_slack=slack,
            crossing=crossing.sum(axis=1),
            lead=lead,
            error=error.max(axis=1),
            unit_error=unit_error.max(axis=1, initial=0.0),
        )

    @property
    def _outputs(self) -> bool:
        return bool((self.claims.target < 0).all())

    def _support(self, z: Ball) -> Verdicts:
        signed = np.where(self.bits, z.center, -z.center)
        return _verdicts(np.all(signed >= z.radius, axis=1), np.any(signed < -z.radius, axis=1))

    def _gate_open(self, z: Ball) -> tuple[Verdicts, Bits]:
        """Is the violation exactly 0 at the record (also as bits), and of no other group's gate?"""
        signed = np.where(self.bits, z.center, -z.center)
        zone = self.table.dead_zone[self.group][:, None]
        most = np.nextafter(z.radius - signed, np.inf)
        least = np.nextafter(-signed - z.radius, -np.inf)
        opened, closed = np.all(most <= zone, axis=1), np.any(least > zone, axis=1)
        ceiling = violation_ceiling(self.table, z.lower, z.upper)
        also = (ceiling == 0) & (self.table.group[None] != self.group[:, None])
        return _verdicts(opened & ~also.any(axis=1), closed | also.any(axis=1)), opened

    def _not_closed(self, floor: F64) -> Bits:
        """Return [N, M]: groups other than the record's own that may be open."""
        closed = floor * (self.table.sharpness[self.table.group] * (1 - 8 * UNIT)) >= 1
        return self._by_group(~closed)

    def _by_group(self, gates: Bits) -> Bits:
        groups = np.zeros((len(gates), len(self.table.source)), dtype=bool)
        rows, columns = np.nonzero(gates)
        groups[rows, self.table.group[columns]] = True
        groups[np.arange(len(groups)), self.group] = False
        return groups

    def _crossing(self, piece: Piece, unit_error: F64) -> Bits:
        """Return [N, M]: groups not shown to be closed on the whole claimed set, in any floats."""
        return self._by_group(self.doubtful_gates(piece, unit_error))

    def doubtful_gates(self, piece: Piece, unit_error: F64) -> Bits:
        """Return [N, G]: gates of other groups not shown to be closed on the whole set."""
        lower, upper = piece.unit_ranges()
        floor = violation_floor(self.table, lower, upper, unit_error)
        # deployed sums of H terms and the product with n round too
        need = (1 + gamma(2 * lower.shape[1] + 8, self.profile.unit)) ** 2
        sharpness = self.table.sharpness[self.table.group]
        doubtful = ~(floor * sharpness >= need) & (self.table.group[None] != self.group[:, None])
        rows, gates = np.nonzero(doubtful)
        for start in range(0, len(rows), PAIRS_AT_ONCE):
            r, g = rows[start : start + PAIRS_AT_ONCE], gates[start : start + PAIRS_AT_ONCE]
            wanted = self.wanted(piece, unit_error, r, g)
            cost = unit_error + self.table.dead_zone[self.table.group[g]].max(initial=0.0)
            offered = None
            if self.multipliers is not None:
                found = self.multipliers.find(Objective.GATE, r, g)
                offered = self.multipliers.dense(found) if (found >= 0).any() else None
            closed = piece.sum_floor(r, wanted, cost, offered) * sharpness[g] >= need
            doubtful[r[closed], g[closed]] = False
        return np.asarray(doubtful)

    def wanted(self, piece: Piece, unit_error: F64, rows: Index, gates: Index) -> Bits:
        """Return the units [K, H] whose sum shall show that gate k is closed around record k.

        Any subset of the differing units gives a bound; those that help at the record do.
        """
        bits = self.bits[rows]
        signed = np.where(bits, piece.units.center[rows], -piece.units.center[rows])
        zone = self.table.dead_zone[self.table.group[gates]][:, None]
        differs = bits != self.table.patterns[gates]
        return np.asarray(differs & (signed > unit_error[rows] + zone))

    def _always(self) -> F64:
        """Return [C]: what groups without a gate add everywhere."""
        shifts = _clipped(self.table)[self.table.always]
        return np.array([math.fsum(column) for column in shifts.T])  # rounded once

    def _cross_talk(self, groups: Bits, ranges: Ball) -> tuple[F64, F64]:
        """Return bounds [N, C] on what doubtful groups add: each between 0 and its offset."""
        low = np.zeros((len(groups), self.network.classes))
        high = np.zeros_like(low)
        rows, index = np.nonzero(groups & ~self.table.always[None])
        offset, bound = self.table.offset[index], self.table.bound[index][:, None]
        output = self.table.kind_output[index][:, None]
        least = np.where(output, np.nextafter(offset - ranges.upper[rows], -np.inf), offset)
        most = np.where(output, np.nextafter(offset - ranges.lower[rows], np.inf), offset)
        np.add.at(low, rows, np.clip(np.minimum(least, 0), -bound, 0))
        np.add.at(high, rows, np.clip(np.maximum(most, 0), 0, bound))
        terms = int(groups.sum(axis=1).max(initial=0)) + 2
        return -enlarge(-low, terms), enlarge(high, terms)

    def _differences(self, logits: Ball) -> tuple[F64, F64]:
        """Return bounds [N, C] on f_j - f_target at the record: the greatest and the least."""
        rows = np.arange(len(logits.center))
        own = logits[rows, self.claims.target]
        lead = RIGOROUS.subtract(logits, Ball(own.center[:, None], own.radius[:, None]))
        return self._others(lead.upper), self._others(lead.lower)

    def _others(self, values: F64) -> F64:
        """Return `values` [N, C] with the target label left out of any maximum."""
        values[np.arange(len(values)), self.claims.target] = -np.inf
        return values

    def _deviation(self, ranges: Ball) -> F64:
        """Return [N, C]: how far a logit may be from the target vector q."""
        q = self.table.offset[self.group]
        return np.nextafter(np.maximum(ranges.upper - q, q - ranges.lower), np.inf)

    def _redirect_slack(self, lead: F64, cross: tuple[F64, F64]) -> F64:
        """Return what is left of the margin, at least, if f_j - f_target is at most `lead`."""
        low, high = cross
        swing = high - low[np.arange(len(lead)), self.claims.target][:, None]
        worst = self._with_patch(lead, swing, 1.0).max(axis=1)
        return _down(-worst - self.claims.margin)

    def _redirect_excess(self, lead: F64, cross: tuple[F64, F64]) -> F64:
        """Return how far the margin is missed, at least, if f_j - f_target is at least `lead`."""
        low, high = cross
        swing = low - high[np.arange(len(lead)), self.claims.target][:, None]
        return _down(self._with_patch(lead, swing, -1.0).max(axis=1) + self.claims.margin)

    def _with_patch(self, lead: F64, swing: F64, away: float) -> F64:
        """Add the group's own offset and cross-talk, rounded up (`away` 1) or down (-1)."""
        added = _clipped(self.table)[self.group] + self._always()
        gain = added - added[np.arange(len(lead)), self.claims.target][:, None]
        doubt = 16 * UNIT * (np.abs(lead) + 2 * np.abs(added).max(axis=1)[:, None] + np.abs(swing))
        return self._others(lead + gain + swing + away * doubt)

    def _output_slack(self, ranges: Ball, cross: tuple[F64, F64]) -> tuple[F64, F64]:
        """The same for offsets of kind OUTPUT: F is f moved towards q by at most K."""
        least, most = self._moved(ranges.lower, ranges.upper)
        q = self.table.offset[self.group]
        low, high = cross
        doubt = 8 * UNIT * (np.abs(least) + np.abs(most) + np.abs(q) + high - low)
        worst = (np.maximum(most + high - q, q - least - low) + doubt).max(axis=1)
        sure = (np.maximum(least + low - q, q - most - high) - doubt).max(axis=1)
        return _down(self.claims.margin - worst), _down(sure - self.claims.margin)

    def _moved(self, lower: F64, upper: F64) -> tuple[F64, F64]:
        """Bound f + clip(q - f, -K, K), which never falls as f rises, for f in [lower, upper]."""
        q, bound = self.table.offset[self.group], self.table.bound[self.group][:, None]
        always = self._always()

        def move(f: F64, away: float) -> F64:
            step = np.clip(q - f, -bound, bound)
            moved = np.where(np.abs(q - f) <= bound * (1 - 4 * UNIT), q, f + step) + always
            return moved + away * 8 * UNIT * (np.abs(f) + np.abs(q) + bound + np.abs(always))

        return move(lower, -1.0), move(upper, 1.0)

    def _deployed_slack(self, ranges: Ball, lead: F64, error: F64, crossing: Bits) -> F64:
        always = np.abs(_clipped(self.table)[self.table.always])
        # other groups of kind OUTPUT see the deployed logits
        cross = self._cross_talk(crossing, Ball(ranges.center, enlarge(ranges.radius + error, 1)))
        low, high = cross
        added = np.abs(self.table.offset[self.group]) + always.sum(axis=0)
        size = ranges.magnitude + added + high - low + error
        # offset, sum and each shift round once, any other group that may be open at most five times
        steps = 4 + len(always) + 5 * crossing.sum(axis=1)[:, None]
        rounding = enlarge(
            size * steps * gamma(1, self.profile.unit) * 1.001, int(steps.max(initial=0)) + 8
        )
        total = np.where(2 * size < self.profile.greatest, error + rounding, np.inf)
        if self._outputs:
            widened = Ball(ranges.center, ranges.radius + total)
            slack, _ = self._output_slack(widened, cross)
            return _down(slack - rounding.max(axis=1))
        slack = self._redirect_slack(lead, cross)
        rows = np.arange(len(total))
        return _down(slack - (total.max(axis=1) + total[rows, self.claims.target]))


def violation_floor(table: GateTable, lower: F64, upper: F64, slack: F64) -> F64:
    """Return lower bounds [N, G] of every gate's violation for units in [lower, upper] [N, H].

    `slack` [N, H] is what deployed floats may take from each term.
    """
    floor = np.zeros((len(lower), len(table.group)))
    zones = table.dead_zone[table.group]
    for zone in np.unique(zones):
        gates = np.flatnonzero(zones == zone)
        ones = table.patterns[gates].T.astype(np.float64)
        cost = (slack + zone) * (1 + 4 * UNIT)
        floor[:, gates] = np.maximum(-upper - cost, 0) @ ones + np.maximum(lower - cost, 0) @ (
            1 - ones
        )
    return floor * (1 - gamma(2 * lower.shape[1] + 8))


def violation_ceiling(table: GateTable, lower: F64, upper: F64) -> F64:
    """Return [N, G]: 0 only where a gate is surely fully open; else something positive."""
    ceiling = np.zeros((len(lower), len(table.group)))
    zones = table.dead_zone[table.group]
    for zone in np.unique(zones):
        gates = np.flatnonzero(zones == zone)
        ones = table.patterns[gates].T.astype(np.float64)
        ceiling[:, gates] = np.maximum(-lower - zone, 0) @ ones + np.maximum(upper - zone, 0) @ (
            1 - ones
        )
    return ceiling


def _representable(table: GateTable, dtype: np.dtype[np.floating]) -> bool:
    """Whether the deployed network has the patch's numbers as they are."""
    numbers = (table.offset, table.bound, table.sharpness, table.dead_zone)
    return all(bool((v.astype(dtype) == v).all()) for v in numbers)


def _clipped(table: GateTable) -> F64:
    bound = table.bound[:, None]
    return np.clip(table.offset, -bound, bound)


def _verdicts(proved: Bits, refuted: Bits) -> Verdicts:
    result = np.where(refuted, Verdict.REFUTED, Verdict.UNPROVED)
    return np.where(proved & ~refuted, Verdict.PROVED, result).astype(np.int8)


def _down(values: F64) -> F64:
    """Return floats surely below results of a few roundings."""
    return np.nextafter(values - 8 * UNIT * np.abs(values), -np.inf)
