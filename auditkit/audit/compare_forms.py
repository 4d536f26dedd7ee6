"""By how much can two patched networks differ where at least one has its regions written out?

On the part of R(s) ∩ ball that is in both gates each side adds its own affine offset; their
difference is affine too, with its extremes over the box in closed form. Groups that the checker
does not show to be closed come on top, each between 0 and its bound.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Claims, Findings, Verdict
from auditkit.certificate.checking import check_patch
from auditkit.certificate.matching import Matched
from auditkit.certificate.submission import PatchSubmission
from auditkit.network.evaluate import pattern
from auditkit.network.region import Box, Piece, record_batches
from auditkit.network.rigorous import RIGOROUS, Ball, enlarge, gamma
from auditkit.patch.gates import WIDEST, GateTable, Patch

F64 = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Differences:
    """Of records `record` [N]: no logit differs by more than `bound` [N] within `radius` [N]."""

    record: Index
    radius: F64
    bound: F64
    cross_talk: NDArray[np.bool_]
    unbounded: dict[str, int]


def across_forms(
    sides: tuple[PatchSubmission, PatchSubmission], matches: tuple[Matched, Matched], count: int
) -> Differences:
    """Bound the difference on every region that both of two patches claim, of `count` records."""
    place = {int(record): row for row, record in enumerate(matches[1].record)}
    rows = [(row, place[int(r)]) for row, r in enumerate(matches[0].record) if int(r) in place]
    pairs = np.array(rows, dtype=np.int64).reshape(-1, 2)
    why = Counter({"not claimed by both": count - len(pairs)})
    redirects = [bool((m.claims.target >= 0).all()) for m in matches]
    if redirects[0] != redirects[1]:
        why["the specifications are different"] = len(pairs)
        pairs = pairs[:0]
    if not len(pairs):
        none = np.zeros(0)
        told = {reason: n for reason, n in why.items() if n}
        return Differences(none.astype(np.int64), none, none, none > 0, told)
    x = matches[0].claims.x[pairs[:, 0]]
    bits = pattern(sides[0].network, x)
    good = np.ones(len(pairs), dtype=bool)
    for side, match, chosen in zip(sides, matches, pairs.T, strict=True):
        if isinstance(side.patch, Patch):
            stated = side.patch.table.patterns[match.claims.gate[chosen]]
            good &= (stated == bits).all(axis=1)
    why["a gate's pattern is not the record's"] = int((~good).sum())
    pairs, x, bits = pairs[good], x[good], bits[good]
    radius = np.minimum(
        matches[0].claims.radius[pairs[:, 0]], matches[1].claims.radius[pairs[:, 1]]
    )
    bound, crossing = np.zeros(len(pairs)), np.zeros(len(pairs), dtype=bool)
    for part in record_batches(sides[0].network, len(pairs)):
        if len(pairs[part]):
            claims = [
                replace(match.claims.take(chosen[part]), radius=radius[part])
                for match, chosen in zip(matches, pairs.T, strict=True)
            ]
            box = Box.around(x[part], radius[part], *_domain(sides[0]))
            piece = Piece.at(sides[0].network, bits[part], box)
            bound[part], crossing[part] = _difference(sides, claims, piece)
    kept = matches[0].record[pairs[:, 0]]
    return Differences(kept, radius, bound, crossing, {k: n for k, n in why.items() if n})


def _difference(
    sides: tuple[PatchSubmission, PatchSubmission], claims: list[Claims], piece: Piece
) -> tuple[F64, NDArray[np.bool_]]:
    """Return the greatest difference of a logit [N], and where other gates may be open."""
    lines = [_added(side, c, piece) for side, c in zip(sides, claims, strict=True)]
    gradient = RIGOROUS.subtract(lines[0][0], lines[1][0])
    value = RIGOROUS.subtract(lines[0][1], lines[1][1])
    least, greatest = piece.box.extremes(gradient)
    total = np.maximum(-(value.lower + least), value.upper + greatest)
    crossing = np.zeros(len(total), dtype=bool)
    for side, c, (_, _, lost) in zip(sides, claims, lines, strict=True):
        found, _ = check_patch(side.network, side.patch, c, *_domain(side))
        table = side.patch.table
        reach = np.sort(np.where(table.always, 0.0, table.bound))[::-1]
        sums = np.concatenate([[0.0], np.cumsum(reach)])
        everywhere = table.bound[table.always].sum()
        total = total + sums[found.crossing][:, None] + lost + everywhere
        if isinstance(table, GateTable):
            total[perhaps_cut(table, c.gate, found)] = np.inf
        crossing |= found.crossing > 0
    total = enlarge(total, 64)
    return np.where(np.isnan(total), np.inf, total).max(axis=1), crossing


def perhaps_cut(table: GateTable, gate: Index, found: Findings) -> NDArray[np.bool_]:
    """Return [N]: where bands narrow a claim's gate and may do so on the claimed set."""
    narrowed = np.zeros(len(gate), dtype=bool)
    for band in table.bands:
        narrowed |= band.width[gate] < WIDEST
    return np.asarray(narrowed & (found.region != Verdict.PROVED))


def _added(side: PatchSubmission, claims: Claims, piece: Piece) -> tuple[Ball, Ball, F64]:
    """Return an open gate's offset as gradient [N, C, *shape] and value [N, C] at the records, and
    by how much [N, C] clipping to [-K, K] may change it on the boxes."""
    table, shape = side.patch.table, piece.jacobian.center.shape
    group = table.group[claims.gate]
    bound = table.bound[group][:, None]
    if isinstance(table, GateTable):
        output = table.kind_output[group]
        constant = np.clip(table.offset[group], -bound, bound)
        used = output.astype(np.float64)[:, None]
        held = Ball.exact(np.where(output[:, None], table.offset[group], constant))
        back = Ball(piece.logits.center * used, piece.logits.radius * used)
        start = RIGOROUS.subtract(held, back)
        used = used.reshape(-1, *[1] * (len(shape) - 1))
        line = Ball(-piece.jacobian.center * used, piece.jacobian.radius * used)
    else:
        flat = claims.x.reshape(len(claims), -1)
        slope, shift = table.slope[group], table.shift[group]
        size = np.einsum("ncd,nd->nc", np.abs(slope), np.abs(flat)) + np.abs(shift)
        value = np.einsum("ncd,nd->nc", slope, flat) + shift
        start = Ball(value, enlarge(size * gamma(flat.shape[1] + 2), 4))
        line = Ball.exact(slope.reshape(shape))
    least, greatest = piece.box.extremes(line)
    beyond = np.maximum(-(start.lower + least), start.upper + greatest) - bound
    return line, start, np.where(beyond <= 0, 0.0, np.nextafter(beyond, np.inf))


def _domain(side: PatchSubmission) -> tuple[float, float]:
    domain = side.certificate.settings.domain
    return domain.lower, domain.upper
