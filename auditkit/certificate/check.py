"""The checker: does the patched network do on the claimed sets what the claims say?

With `region`, `arithmetic` and the network traversal this is the trusted base. It is pure numpy,
with python-flint's integers where float64 leaves a claim in doubt; it reads no file, runs no solver
and believes nothing of the owner's: from the network, the gates, the records and the auditor's
floors it derives bounds of its own, and a claim is PROVED only where an outward-rounded bound says
so. Every comparison is written so that NaN proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from auditkit.network.deployed import FloatProfile
from auditkit.network.exact_region import ExactPiece, ExactSample
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Network
from auditkit.network.integers import TooWideError
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.network.region import (
    Box,
    Piece,
    Sample,
    deployed_errors,
    least_bound,
    record_batches,
    unit_ranges,
)
from auditkit.network.rigorous import UNIT, Ball, Enclosure, enlarge, gamma, sum_down, sum_up
from auditkit.patch.gates import GateTable, Patch

F64 = NDArray[np.float64]
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]
Packed = NDArray[np.uint8]
Rounded = Callable[[F64, F64], F64]

PAIRS_AT_ONCE = 512
EXACT_NUMBERS = 400_000  # of a batch's Jacobians; each takes ten times what a float takes


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


class Doubt(IntEnum):
    """Where a claim is open only because float64 rounds."""

    NONE = 0
    RECORD = 1
    SET = 2


@dataclass(frozen=True, eq=False)
class Findings:
    """What the checker derived of each claim; slack is what is left beyond the margin.

    `exact` marks what exact arithmetic decided, `too_wide` what it was wanted for but whose
    numbers are too wide; what `doubt` remains then is left.
    """

    support: Verdicts  # the pattern is the record's
    gate_open: Verdicts  # v = 0 at the record, and no other group is surely open there
    point: Verdicts
    point_slack: F64
    region: Verdicts
    region_slack: F64
    deployed: Verdicts
    deployed_slack: F64
    crossing: Index  # groups that could not be shown to be closed on the whole set
    crossed: Packed  # [N, M] as bits: which
    lead: F64  # [N, C] upper bound on f_j - f_target, or on |q - f_j|, over the set
    error: F64  # the deployed error of a logit, at most
    unit_error: F64  # and of a pre-activation
    doubt: NDArray[np.int8]
    exact: Bits
    too_wide: Bits

    @staticmethod
    def join(parts: list[Findings]) -> Findings:
        return Findings(
            *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Findings))
        )

    def put(self, rows: Index, others: Findings) -> None:
        """Take over what `others` say of the claims `rows`."""
        for field in fields(Findings):
            getattr(self, field.name)[rows] = getattr(others, field.name)


Numbers = tuple[type[Sample] | type[ExactSample], type[Piece] | type[ExactPiece]]
FLOAT64: Numbers = (Sample, Piece)
EXACT_AT_RECORD: Numbers = (ExactSample, Piece)
EXACT: Numbers = (ExactSample, ExactPiece)


def check_claims(
    network: Network,
    patch: Patch,
    claims: Claims,
    lower: float,
    upper: float,
    multipliers: Multipliers | None = None,
    *,
    exact: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Check every claim on the domain box [lower, upper]; records outside it prove nothing.

    `multipliers`, whose records are the claims by number, can only sharpen the bounds. `exact`
    numbers decide all claims (True), none (False), or those that float64 leaves open for its
    rounding alone (None). `progress` is told how many steps of how many are done. Raises
    ValueError when claims of both kinds of offset are mixed, or a claim is of the other kind than
    its group.
    """
    outputs = patch.table.kind_output[patch.table.group[claims.gate]]
    if not ((claims.target < 0) == outputs).all() or len(set(outputs.tolist())) > 1:
        raise ValueError("claims and the kinds of their offsets do not agree")

    def run(rows: Index, numbers: Numbers, crossed: Packed | None = None) -> Findings:
        offered = None if multipliers is None else multipliers.among(rows)
        batch = _Batch(network, patch, claims.take(rows), lower, upper, numbers, offered)
        return batch.findings(crossed)

    everyone = np.arange(len(claims))
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow proves nothing, see above
        found = Findings.join(
            [run(everyone[part], FLOAT64) for part in record_batches(network, len(claims))]
        )
        if exact:
            found.doubt[_sensible(claims, lower, upper)] = Doubt.SET
        for doubt, numbers in ((Doubt.RECORD, EXACT_AT_RECORD), (Doubt.SET, EXACT)):
            asked = np.flatnonzero(found.doubt == doubt)
            if exact is False or not len(asked):
                continue
            for part in record_batches(network, len(asked), EXACT_NUMBERS):
                rows = asked[part]
                try:
                    found.put(rows, run(rows, numbers, found.crossed[rows]))
                except TooWideError:
                    found.too_wide[rows] = True
                if progress:
                    progress(part.stop, len(asked))
    return found


def _sensible(claims: Claims, lower: float, upper: float) -> Bits:
    """Return which claims say something, about a record within the domain."""
    flat = claims.x.reshape(len(claims), int(np.prod(claims.x.shape[1:])))
    inside: Bits = np.all((flat >= lower) & (flat <= upper), axis=1)
    return inside & (claims.radius > 0) & (claims.margin > 0)


def gates_in_doubt(
    network: Network,
    patch: Patch,
    claims: Claims,
    lower: float,
    upper: float,
    multipliers: Multipliers | None = None,
    *,
    at_most: int,
) -> list[DoubtfulGates]:
    """Return for each claim the gates of other groups not shown to be closed on its set.

    Of a claim with more than `at_most` such gates none is returned.
    """
    result: list[DoubtfulGates] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for part in record_batches(network, len(claims)):
            rows = np.arange(len(claims))[part]
            offered = None if multipliers is None else multipliers.among(rows)
            batch = _Batch(network, patch, claims.take(rows), lower, upper, FLOAT64, offered)
            piece = Piece.at(network, batch.bits, batch.box)
            _, unit_error = deployed_errors(network, batch.box, batch.profile)
            doubtful = batch.doubtful_gates(piece, unit_error, at_most=at_most)
            room = batch.room(piece, unit_error)
            for row in range(len(doubtful)):
                gates = np.flatnonzero(doubtful[row])
                if len(gates) > at_most:
                    gates = gates[:0]
                zone = patch.table.dead_zone[patch.table.group[gates]]
                wanted = batch.wanted(room, np.full(len(gates), row), gates)
                result.append(DoubtfulGates(gates, wanted, unit_error[row] + zone.max(initial=0.0)))
    return result


@dataclass(frozen=True, eq=False)
class DoubtfulGates:
    """Gates [K] of which it was asked in vain whether Σ (σ_u z_u - cost_u) ≥ 1/n over `wanted`."""

    gates: Index
    wanted: Bits
    cost: F64


class _Batch:
    def __init__(
        self,
        network: Network,
        patch: Patch,
        claims: Claims,
        lower: float,
        upper: float,
        numbers: Numbers,
        multipliers: Multipliers | None,
    ) -> None:
        self.network, self.claims, self.table = network, claims, patch.table
        self.sample_type, self.piece_type = numbers
        self.multipliers = multipliers
        self.group = self.table.group[claims.gate]
        self.bits = self.table.patterns[claims.gate]
        self.inside = _sensible(claims, lower, upper)
        self.box = Box.around(claims.x, claims.radius, lower, upper)
        self.profile = FloatProfile.of(network.dtype)

    def findings(self, crossed: Packed | None) -> Findings:
        # 1. The record itself: true pre-activations and logits, within bounds.
        sample = self.sample_type.at(self.network, self.claims.x)
        logits, z = sample.logits, sample.units
        support = self._support(z)
        zero = np.zeros_like(z.lower)
        at_record = self._not_closed(violation_floor(self.table, z.lower, z.upper, zero))
        gate_open, opened = self._gate_open(z)

        # 2. The claim at the record.
        cross = self._cross_talk(at_record, logits)
        if self._outputs:
            point_slack, point_excess = self._output_slack(logits, cross)
        else:
            ahead = sample.lead(self.claims.target)
            point_slack = self._redirect_slack(self._others(ahead.upper), cross)
            point_excess = self._redirect_excess(self._others(ahead.lower), cross)
        # both bounds take the group's offset for granted
        point = verdicts((point_slack >= 0) & opened, (point_excess > 0) & opened)

        # 3. The affine piece of the gate's pattern, and every bound over the claimed set.
        piece = self.piece_type.at(self.network, self.bits, self.box)
        sharper = self._sharper(piece)
        ranges = self._ranges(piece, sharper)
        error, unit_error = deployed_errors(self.network, self.box, self.profile)
        if isinstance(piece, Piece) and crossed is None:
            crossed = np.packbits(self._crossing(piece, unit_error), axis=1)
        # in float64 once and for all: the error of deployed floats, charged there, is never less
        assert crossed is not None, "float64 comes first"
        crossing = np.unpackbits(crossed, axis=1, count=len(self.table.source)).astype(bool)
        stays_open, runs_open = self._stays_in_bands(unit_error)
        cross = self._cross_talk(crossing, ranges)
        if self._outputs:
            lead = self._deviation(ranges)
            region_slack, _ = self._output_slack(ranges, cross)
        else:
            lead = piece.lead_bounds(self.claims.target)
            if sharper is not None:
                lead = least_bound(lead, sharper.lead_bounds(self.claims.target, self.multipliers))
            region_slack = self._redirect_slack(lead, cross)
        proved = (region_slack >= 0) & (support == Verdict.PROVED) & (gate_open == Verdict.PROVED)
        proved &= stays_open
        refuted = (point == Verdict.REFUTED) & (support == Verdict.PROVED)
        region = verdicts(proved, refuted)

        # 4. The same where the network runs in its own floats.
        slack = self._deployed_slack(ranges, lead, error, crossing)
        zone = self.table.dead_zone[self.group]
        runs = (slack >= 0) & (unit_error.max(axis=1, initial=0.0) <= zone) & proved
        runs &= runs_open & _representable(self.table, self.network.dtype)
        deployed = verdicts(runs, region == Verdict.REFUTED)

        # 5. What is open for float64's rounding alone.
        doubt = np.zeros(len(slack), dtype=np.int8)
        open_point = (point == Verdict.UNPROVED) & opened & ~at_record.any(axis=1)
        undecided = (support == Verdict.UNPROVED) | (gate_open == Verdict.UNPROVED)
        if isinstance(sample, Sample):
            doubt[self.inside & (undecided | open_point)] = Doubt.RECORD
        if isinstance(piece, Piece):
            near = 8 * piece.doubt() + 64 * UNIT * (
                ranges.magnitude.max(axis=1) + self._offset_size
            )
            close = (region == Verdict.UNPROVED) & ~(region_slack <= -near)
            close |= (region == Verdict.PROVED) & (slack < 0) & (slack > -near)
            close &= (support == Verdict.PROVED) & (gate_open == Verdict.PROVED)
            doubt[self.inside & (doubt == Doubt.NONE) & close] = Doubt.SET
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
            crossed=crossed,
            lead=lead,
            error=error.max(axis=1),
            unit_error=unit_error.max(axis=1, initial=0.0),
            doubt=doubt,
            exact=np.full(len(slack), self.sample_type is ExactSample),
            too_wide=np.zeros(len(slack), dtype=bool),
        )

    @property
    def _offset_size(self) -> F64:
        """Return [N]: the size of what the patch adds at the record."""
        size: F64 = (
            np.abs(self.table.offset[self.group]).max(axis=1) + np.abs(self._always(sum_up)).max()
        )
        return size

    def _sharper(self, piece: Piece | ExactPiece) -> Piece | None:
        """Return the piece in float64, for bounds by multipliers, if there are any."""
        if self.multipliers is None or not len(self.multipliers):
            return None
        return piece if isinstance(piece, Piece) else Piece.at(self.network, self.bits, self.box)

    def _ranges(self, piece: Piece | ExactPiece, sharper: Piece | None) -> Ball | Enclosure:
        """Return every logit's range over the set, the tighter of what both pieces say."""
        if sharper is None:
            return piece.logit_bounds()
        ours = sharper.logit_bounds(self.multipliers)
        if sharper is piece:
            return ours
        theirs = piece.logit_bounds()
        return Enclosure(
            least_bound(-theirs.lower, -ours.lower) * -1.0, least_bound(theirs.upper, ours.upper)
        )

    @property
    def _outputs(self) -> bool:
        return bool((self.claims.target < 0).all())

    def _support(self, z: Ball | Enclosure) -> Verdicts:
        least, most = self._outside(z)
        return verdicts(np.all(most <= 0, axis=1), np.any(least > 0, axis=1))

    def _outside(self, z: Ball | Enclosure) -> tuple[F64, F64]:
        """Return bounds [N, H] on -σ_u z_u, from below and from above."""
        lower, upper = z.lower, z.upper
        return np.where(self.bits, -upper, lower), np.where(self.bits, -lower, upper)

    def _gate_open(self, z: Ball | Enclosure) -> tuple[Verdicts, Bits]:
        """Is the violation exactly 0 at the record (also as bits), and of no other group's gate?"""
        least, most = self._outside(z)
        zone = self.table.dead_zone[self.group][:, None]
        opened, closed = np.all(most <= zone, axis=1), np.any(least > zone, axis=1)
        within, beyond = self._bands(z.lower, z.upper)
        opened, closed = opened & within, closed | beyond
        ceiling = violation_ceiling(self.table, z.lower, z.upper)
        also = (ceiling == 0) & (self.table.group[None] != self.group[:, None])
        return verdicts(opened & ~also.any(axis=1), closed | also.any(axis=1)), opened

    def _bands(self, lower: F64, upper: F64) -> tuple[Bits, Bits]:
        """Return [N]: whether units in [lower, upper] are surely in all bands, and out of one."""
        rows, gate = np.arange(len(lower)), self.claims.gate
        within, beyond = np.ones(len(rows), bool), np.zeros(len(rows), bool)
        for band in self.table.bands:
            unit, center, width = band.unit[gate], band.center[gate], band.width[gate]
            low, high = lower[rows, unit], upper[rows, unit]
            farthest = np.maximum(high - center, center - low)
            nearest = np.maximum(low - center, center - high)
            within &= np.nextafter(farthest, np.inf) <= width
            beyond |= np.nextafter(nearest, -np.inf) > width
        return within, beyond

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

    def _stays_in_bands(self, unit_error: F64) -> tuple[Bits, Bits]:
        """Return [N]: whether the own gate's bands hold on the whole set, in reals and deployed."""
        if not self.table.bands:
            everywhere = np.ones(len(self.bits), dtype=bool)
            return everywhere, everywhere
        # in float64 whatever decides the rest: a band is never as narrow as float64's rounding
        lower, upper = unit_ranges(Frozen(self.network, self.bits), self.box)
        deployed = (
            np.nextafter(lower - unit_error, -np.inf),
            np.nextafter(upper + unit_error, np.inf),
        )
        return self._bands(lower, upper)[0], self._bands(*deployed)[0]

    def _crossing(self, piece: Piece, unit_error: F64) -> Bits:
        """Return [N, M]: groups not shown to be closed on the whole claimed set, in any floats."""
        return self._by_group(self.doubtful_gates(piece, unit_error))

    def doubtful_gates(self, piece: Piece, unit_error: F64, *, at_most: int | None = None) -> Bits:
        """Return [N, G]: gates of other groups not shown to be closed on the whole set.

        Gates that seem nearest come first. Where more than `at_most` of them are in doubt around a
        record, or without it one in a group, the others there are left in doubt unseen.
        """
        lower, upper = piece.unit_ranges()
        floor = violation_floor(self.table, lower, upper, unit_error)
        group, sharpness = self.table.group, self.table.sharpness[self.table.group]
        doubtful = ~(floor * sharpness >= self._need()) & (group[None] != self.group[:, None])
        rows, gates = np.nonzero(doubtful)
        few, place = 0, rows * len(self.table.source) + group[gates]
        if at_most is not None:
            few, place = at_most, rows
        order = np.lexsort((floor[rows, gates], place))
        rows, gates, place = rows[order], gates[order], place[order]
        nearest = np.arange(len(place)) - np.searchsorted(place, place) <= few
        self._close(doubtful, piece, unit_error, rows[nearest], gates[nearest])
        left = np.bincount(place[nearest], weights=doubtful[rows[nearest], gates[nearest]])
        rest = ~nearest & (left[place] <= few)
        self._close(doubtful, piece, unit_error, rows[rest], gates[rest])
        return np.asarray(doubtful)

    def _need(self) -> float:
        """Return what n v must reach: deployed sums of H terms and the product with n round too."""
        return float((1 + gamma(2 * self.bits.shape[1] + 8, self.profile.unit)) ** 2)

    def _close(
        self, doubtful: Bits, piece: Piece, unit_error: F64, rows: Index, gates: Index
    ) -> None:
        """Strike from `doubtful` [N, G] those pairs of `rows` and `gates` shown to be closed."""
        sharpness, need = self.table.sharpness[self.table.group], self._need()
        room = self.room(piece, unit_error)
        for start in range(0, len(rows), PAIRS_AT_ONCE):
            r, g = rows[start : start + PAIRS_AT_ONCE], gates[start : start + PAIRS_AT_ONCE]
            wanted = self.wanted(room, r, g)
            cost = unit_error + self.table.dead_zone[self.table.group[g]].max(initial=0.0)
            closed = piece.sum_floor(r, wanted, cost) * sharpness[g] >= need
            if self.multipliers is not None:
                found = self.multipliers.find(Objective.GATE, r, g)
                some = np.flatnonzero((found >= 0) & ~closed)
                if len(some):
                    offered = self.multipliers.dense(found[some])
                    least = piece.sum_floor(r[some], wanted[some], cost, offered)
                    closed[some] = least * sharpness[g[some]] >= need
            doubtful[r[closed], g[closed]] = False

    def room(self, piece: Piece, unit_error: F64) -> F64:
        """Return [N, H]: how far σ_u z_u is above its deployed error at the record, about."""
        return -self._outside(piece.units)[1] - unit_error

    def wanted(self, room: F64, rows: Index, gates: Index) -> Bits:
        """Return the units [K, H] whose sum shall show that gate k is closed around record k.

        Any subset of the differing units gives a bound; those that help at the record do.
        """
        zone = self.table.dead_zone[self.table.group[gates]][:, None]
        differs = self.bits[rows] != self.table.patterns[gates]
        return np.asarray(differs & (room[rows] > zone))

    def _always(self, add: Rounded) -> F64:
        """Return [C]: what groups without a gate add everywhere, rounded as `add` does."""
        total = np.zeros(self.network.classes)
        for shift in _clipped(self.table)[self.table.always]:
            total = add(total, shift)
        return total

    def _cross_talk(self, groups: Bits, ranges: Ball | Enclosure) -> tuple[F64, F64]:
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

    def _others(self, values: F64) -> F64:
        """Return `values` [N, C] with the target label left out of any maximum."""
        values[np.arange(len(values)), self.claims.target] = -np.inf
        return values

    def _deviation(self, ranges: Ball | Enclosure) -> F64:
        """Return [N, C]: how far a logit may be from the target vector q."""
        q = self.table.offset[self.group]
        return np.nextafter(np.maximum(ranges.upper - q, q - ranges.lower), np.inf)

    def _redirect_slack(self, lead: F64, cross: tuple[F64, F64]) -> F64:
        """Return what is left of the margin, at least, if f_j - f_target is at most `lead`."""
        low, high = cross
        swing = sum_up(high, -low[np.arange(len(lead)), self.claims.target][:, None])
        worst = self._with_patch(lead, swing, sum_up, sum_down).max(axis=1)
        return sum_down(-worst, -self.claims.margin)

    def _redirect_excess(self, lead: F64, cross: tuple[F64, F64]) -> F64:
        """Return how far the margin is missed, at least, if f_j - f_target is at least `lead`."""
        low, high = cross
        swing = sum_down(low, -high[np.arange(len(lead)), self.claims.target][:, None])
        worst = self._with_patch(lead, swing, sum_down, sum_up).max(axis=1)
        return sum_down(worst, self.claims.margin)

    def _with_patch(self, lead: F64, swing: F64, add: Rounded, opposite: Rounded) -> F64:
        """Add the group's own offset and cross-talk, rounded as `add` does."""
        own = _clipped(self.table)[self.group]
        at_target = opposite(own, self._always(opposite))[np.arange(len(lead)), self.claims.target]
        gain = add(add(own, self._always(add)), -at_target[:, None])
        return self._others(add(add(lead, gain), swing))

    def _output_slack(self, ranges: Ball | Enclosure, cross: tuple[F64, F64]) -> tuple[F64, F64]:
        """The same for offsets of kind OUTPUT: F is f moved towards q by at most K."""
        q = self.table.offset[self.group]
        low, high = cross
        over = sum_up(sum_up(self._moved(ranges.upper, sum_up), high), -q)
        under = sum_up(q, -sum_down(self._moved(ranges.lower, sum_down), low))
        worst = np.maximum(over, under).max(axis=1)
        over = sum_down(sum_down(self._moved(ranges.lower, sum_down), low), -q)
        under = sum_down(q, -sum_up(self._moved(ranges.upper, sum_up), high))
        sure = np.maximum(over, under).max(axis=1)
        return sum_down(self.claims.margin, -worst), sum_down(sure, -self.claims.margin)

    def _moved(self, f: F64, add: Rounded) -> F64:
        """Return f + clip(q - f, -K, K), which never falls as f rises, rounded as `add` does."""
        bound = self.table.bound[self.group][:, None]
        moved = np.clip(self.table.offset[self.group], add(f, -bound), add(f, bound))
        return add(moved, self._always(add))

    def _deployed_slack(
        self, ranges: Ball | Enclosure, lead: F64, error: F64, crossing: Bits
    ) -> F64:
        always = np.abs(_clipped(self.table)[self.table.always])
        # other groups of kind OUTPUT see the deployed logits
        cross = self._cross_talk(crossing, ranges.widened(error))
        low, high = cross
        added = np.abs(self.table.offset[self.group]) + always.sum(axis=0)
        size = ranges.magnitude + added + high - low + error
        # offset, sum and each shift round once, any other group that may be open at most five times
        steps = 4 + len(always) + 5 * crossing.sum(axis=1)[:, None]
        each = steps * self.profile.unit
        share = np.where(each < 0.5, each / (1 - np.minimum(each, 0.5)), np.inf)
        rounding = enlarge(size * share, int(steps.max(initial=0)) + 8)
        total = np.where(2 * size < self.profile.greatest, error + rounding, np.inf)
        if self._outputs:
            slack, _ = self._output_slack(ranges.widened(total), cross)
            return down(slack - rounding.max(axis=1))
        slack = self._redirect_slack(lead, cross)
        rows = np.arange(len(total))
        return down(slack - (total.max(axis=1) + total[rows, self.claims.target]))


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
    for band in table.bands:
        low, high = lower[:, band.unit], upper[:, band.unit]
        farthest = np.nextafter(np.maximum(high - band.center, band.center - low), np.inf)
        ceiling += np.maximum(farthest - band.width, 0)
    return ceiling


def _representable(table: GateTable, dtype: np.dtype[np.floating]) -> bool:
    """Whether the deployed network has the patch's numbers as they are."""
    numbers = [table.offset, table.bound, table.sharpness, table.dead_zone]
    numbers += [v for band in table.bands for v in (band.center, band.width)]
    return all(bool((v.astype(dtype) == v).all()) for v in numbers)


def _clipped(table: GateTable) -> F64:
    bound = table.bound[:, None]
    return np.clip(table.offset, -bound, bound)


def verdicts(proved: Bits, refuted: Bits) -> Verdicts:
    """Return REFUTED where that is shown, else PROVED where that is, else UNPROVED."""
    result = np.where(refuted, Verdict.REFUTED, Verdict.UNPROVED)
    return np.where(proved & ~refuted, Verdict.PROVED, result).astype(np.int8)


def down(values: F64) -> F64:
    """Return floats surely below results of a few roundings."""
    return np.nextafter(values - 8 * UNIT * np.abs(values), -np.inf)
