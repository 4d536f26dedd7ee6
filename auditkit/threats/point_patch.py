"""5. Point patch: only the records and what is next to them answer otherwise, sold as erasure.

That a neighbour gets the answer it always got shows nothing: a retrained network answers most
forgotten records rightly. What a change of weights cannot do is end: it moves outputs at a record
and at its neighbours by like amounts. A patch, or a network with a bump added at each record, moves
them at the record and not at all a little way off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from auditkit.certificate.openness import fully_open
from auditkit.certificate.submission import PatchSubmission, Submission, UnlearnedSubmission
from auditkit.network.evaluate import logits, pattern
from auditkit.network.graph import Add, Dense, Network, Node, Relu, Reshape
from auditkit.patch.settings import Spec
from auditkit.records import Records, joined
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge, forge_network
from auditkit.threats.assertion import REDIRECTED, about_erasure, as_stated
from auditkit.threats.decide import P_REFUTE, REFUTE, SUPPORT
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, others, requested
from auditkit.threats.interface import Behaviour, Judgement, Owner, of_patches, pick
from auditkit.threats.memory import flat, squared
from auditkit.threats.numbers import permutation_tails, share_interval
from auditkit.threats.observe import NEGLIGIBLE, logit_range

F64 = NDArray[np.float64]
F32 = NDArray[np.float32]
Bits = NDArray[np.bool_]

VARIANTS = ("sold-as-erasure", "overstated-radius")
MODEL_VARIANTS = ("narrow",)
OVERSTATED = 0.3  # of the domain's width: the radius asserted at full strength
DIRECTIONS = 12  # random ones, along which the distance to a record is told
LEAST_WIDTH = 0.05  # of the distance to the nearest other record

RADII = (0.003, 0.01, 0.03, 0.1, 0.3)  # of the domain's width, in the ∞-norm
STEPS = (0.25, 0.5, 0.75, 1.0)  # of the way to an unseen neighbour
COPIES = 8  # of a record at each radius
NEIGHBOURS = 3  # nearest unseen records of its label
LOOKED_AT = 100  # records
VANISHED = 0.02  # of the change at the record: what rounding and coincidence leave
FADED = 0.1  # of the change at the record: by far less than a change of weights fades
MOSTLY = 0.5  # of the records at which something changed
LEAST = 8  # of these: that a change ends at one of a few may be how that one lies
TOLERATED = 0.1  # of the records: with fewer the behaviour is refuted
ELSEWHERE = 1e12  # added to a squared distance: another label counts after every neighbour
ROUNDING = 1e-4  # of an output: what float32 adds to a stated margin

judged = Judgement("point-patch", "What changed at the records changed around them as well")


def simulate(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Say more of an honest patch than it does: that it erases, or that it reaches far.

    The radius asserted beyond the claims grows with `strength`; a patch sold as erasure serves a
    share `strength` of the records.
    """
    certificate = honest.certificate
    if pick(variant, VARIANTS) == "overstated-radius":
        width = certificate.settings.domain.width
        claimed = max((c.radius for c in certificate.claims), default=0.0)
        said = replace(
            certificate,
            assertion=REDIRECTED,
            assertion_radius=claimed + strength * OVERSTATED * width,
        )
        return forge.write(honest, out, certificate=said)
    gates = sorted(forge.gate_records(honest))
    kept = forge_network.some(len(gates), strength, [seed, 5], most=len(gates))
    doomed = set(gates) - {gates[i] for i in kept}
    patch, place = forge.drop_gates(honest.gated, doomed)
    claims = [
        replace(c, member=place.get((c.group, c.member if c.member is not None else -1), c.member))
        for c in certificate.claims
        if (c.group, c.member) not in doomed
    ]
    said = forge.sold_as_erasure(certificate)
    said = forge.active_groups(said, {group.name for group in patch.groups})
    return forge.write(honest, out, patch=patch, certificate=forge.restated(said, claims))


def simulate_model(
    honest: Owner, out: Path, *, seed: int, strength: float = 1.0, variant: str | None = None
) -> Owner:
    """Deliver the original with a bump at each record that takes its label away.

    `strength` is how wide the bumps are, of the distance to the nearest other record.
    """
    pick(variant, MODEL_VARIANTS)
    submission, mine = forge_network.submitted(honest), forge_network.forgotten(honest)
    everyone = [mine, *(r for r in (honest.retain, honest.unseen) if r is not None)]
    network = with_bumps(submission.network, mine, joined(*everyone), strength, seed)
    return forge_network.deliver(honest, out, network, method="retrain")


def with_bumps(
    network: Network, records: Records, everyone: Records, width: float, seed: int
) -> Network:
    """Return the network plus a bump b(x) = max(0, 1 - Σ_k |⟨u_k, x - x_i⟩| / w_i) at each record.

    Units of two more layers: |t| is the sum of two ReLUs. Each bump takes from the record's label
    as much as makes the runner-up win. w_i is `width` times the sum at the nearest of `everyone`.
    """
    generator = np.random.default_rng([seed, 5, 1])
    dtype, size, n = network.dtype, network.features, len(records)
    ways = generator.normal(size=(DIRECTIONS, size)) / np.sqrt(size)
    here, there = flat(records) @ ways.T, flat(everyone) @ ways.T
    reach = np.array([_second(np.abs(there - row).sum(axis=1)) for row in here])
    reach = np.maximum(reach * max(width, LEAST_WIDTH), 1e-6)
    # first layer: ± ⟨u_k, x⟩ ∓ ⟨u_k, x_i⟩ for each record and direction
    first = np.tile(np.concatenate([ways, -ways]), (n, 1))
    shift = -np.concatenate([here, -here], axis=1).reshape(-1)
    # second layer: 1 - the sum of its own units, over its width
    own = np.kron(np.eye(n), np.ones((1, 2 * DIRECTIONS))) / -reach[:, None]
    answers = logits(network, records.x.astype(dtype)).astype(np.float64)
    rows = np.arange(n)
    rest = answers.copy()
    rest[rows, records.y] = -np.inf
    lead = answers[rows, records.y] - rest.max(axis=1)
    taken = np.zeros((network.classes, n))
    taken[records.y, rows] = -(np.maximum(lead, 0) + 0.2 * logit_range(answers))
    nodes = list(network.nodes)
    end = len(nodes)
    source = 0
    if len(network.input_shape) > 1:
        nodes.append(Node(Reshape((size,)), (0,)))
        source = len(nodes)
    for weight, bias in ((first, shift), (own, np.ones(n)), (taken, np.zeros(network.classes))):
        nodes.append(Node(Dense(weight.astype(dtype), bias.astype(dtype)), (source,)))
        if weight is not taken:
            nodes.append(Node(Relu(), (len(nodes),)))
        source = len(nodes)
    nodes.append(Node(Add(), (end, source)))
    return Network(network.input_shape, tuple(nodes), dtype)


def _second(distances: F64) -> float:
    """Return the least distance that is not that of the record itself."""
    away = distances[distances > 1e-6]
    return float(away.min()) if len(away) else 1.0


@dataclass(frozen=True, eq=False)
class Curve:
    """What happens at [N] records and around them, at [S] distances.

    `change` [N] is by how much the logits move at the record, over their range; `around` [N, S] the
    median of that over its copies there; `as_before` [N, S] whether most copies keep their label.
    """

    change: F64
    around: F64
    as_before: Bits

    @property
    def measured(self) -> Bits:
        """Return [N]: whether enough changes at the record to ask how far it reaches."""
        return self.change > NEGLIGIBLE

    def faded(self, share: float) -> Bits:
        """Return [N]: whether at the farthest distance less than this share of it is left."""
        return self.measured & (self.around[:, -1] <= share * self.change)


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Refute what is claimed within a radius, and ask whether the change ends beyond it."""
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    with np.errstate(all="ignore"):
        broken = _broken(submission, asked, seed)
        if broken is not None:
            return broken
        return about_erasure(submission, evidence, _judge(submission, evidence, asked, seed))


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Ask whether what changed at the records ends a little way off, as no new training does."""
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    check = as_stated(submission, _judge(submission, evidence, asked, seed))
    return about_erasure(submission, evidence, check)


def _judge(submission: Submission, evidence: Evidence, asked: Requested, seed: int) -> CheckResult:
    """Compare how the change fades around requested records with how it does around others."""
    unseen = others(evidence, asked).get("unseen")
    rows = np.random.default_rng([seed, 5]).permutation(len(asked))[:LOOKED_AT]
    mine = asked.records.take(np.sort(rows))
    width = submission.domain.width
    balls = _balls(submission, mine, seed)
    ways = None if unseen is None else _towards(submission, mine, unseen)
    curves = [balls] if ways is None else [balls, ways]
    if not all(np.isfinite(part).all() for c in curves for part in (c.change, c.around)):
        return judged(Outcome.INCONCLUSIVE, "records are answered with nan or infinity")
    where = f"{RADII[-1] * width:g} away (∞-norm)"
    where += "" if ways is None else " or at their nearest unseen neighbours"
    less, nothing = (np.any([c.faded(s) for c in curves], axis=0) for s in (FADED, VANISHED))
    n, faded, gone = int(balls.measured.sum()), int(less.sum()), int(nothing.sum())
    figures: dict[str, Any] = {
        "observed": faded / n if n else None,
        "threshold": MOSTLY,
        "interval": share_interval(faded, n) if n else None,
        "n": n,
        "evidence": {
            "curve": _points(balls, np.array(RADII) * width),
            "towards_neighbours": [] if ways is None else _points(ways, np.array(STEPS)),
            "changed": n,
            "faded": faded,
            "vanished": gone,
        },
    }
    told = f"the change at {faded} of {n} requested records has faded at {where}, at {gone} to "
    told += f"nothing{asked.caveat}"
    if not n:
        reason = f"outputs changed at none of {len(mine)} requested records{asked.caveat}"
        return judged(Outcome.INCONCLUSIVE, reason, **figures)
    if faded >= MOSTLY * n:
        figures["private"] = _witness(submission, mine, balls, ways, unseen, seed)
    if n >= LEAST and gone >= MOSTLY * n:
        return judged(Outcome.FAIL, told, **figures)
    p_support = float(binom.cdf(faded, n, TOLERATED))
    figures["evidence"]["p_support"] = p_support
    if unseen is not None and faded >= MOSTLY * n:
        hits, total = _elsewhere(submission, unseen, seed)
        p = permutation_tails(faded, n, hits, total)[0]
        figures["evidence"][P_REFUTE] = p
        told += f"; around unseen records at {hits} of {total} (p = {p:.2g})"
        outcome = Outcome.FAIL if p <= REFUTE else Outcome.INCONCLUSIVE
        return judged(outcome, told, **figures)
    if p_support <= SUPPORT:
        return judged(Outcome.PASS, f"{told} (p = {p_support:.2g})", **figures)
    told += f"; fewer than {TOLERATED:.0%} are not shown with so few records (p = {p_support:.2g})"
    return judged(Outcome.INCONCLUSIVE, told, **figures)


def _broken(submission: PatchSubmission, asked: Requested, seed: int) -> CheckResult | None:
    """Return a failure with an input within the claimed set that breaks the claim, or None.

    The set of a claim is the record's linear region within the radius: where the region is the
    same and a gate is fully open, the answer must be as promised. A radius that is asserted beyond
    every claim has no region to hide behind: there any answer as before breaks it.
    """
    certificate = submission.certificate
    claims = {c.record: c for c in certificate.claims if c.record is not None}
    rows = np.array([i for i, d in enumerate(asked.digests) if d in claims], dtype=np.int64)
    rows = rows[:LOOKED_AT]
    if not len(rows):
        return None
    mine = asked.records.take(rows)
    radii = np.array([claims[asked.digests[i]].radius for i in rows])
    width = submission.domain.width
    x = _ball(submission, mine, np.minimum(radii, width), seed)
    before, after = _both(submission, x)
    own = pattern(submission.network, mine.x.astype(np.float64))
    there = pattern(submission.network, x.reshape(-1, *mine.x.shape[1:]).astype(np.float64))
    inside = (there.reshape(len(mine), COPIES, -1) == own[:, None]).all(axis=2)
    opened = fully_open(submission, x.reshape(-1, *mine.x.shape[1:]))
    opened = opened.reshape(len(mine), COPIES, -1) & fully_open(submission, mine.x)[:, None]
    inside &= opened.any(axis=2) & np.isfinite(after).all(axis=2)  # nan is judged after
    if certificate.settings.spec is Spec.REDIRECT:
        wrong = inside & (after.argmax(axis=2) == mine.y[:, None])
    else:
        centre = submission.delivered(mine.x)[:, None]
        margins = np.array([claims[asked.digests[i]].margin for i in rows])[:, None]
        moved = np.abs(after - centre).max(axis=2)
        wrong = inside & (moved > 2 * margins + ROUNDING * (1 + np.abs(centre).max(axis=2)))
    if wrong.any():
        told = f"{int(wrong.sum())} of {int(inside.sum())} neighbours within the claimed set of "
        told += f"{int(wrong.any(axis=1).sum())} records are not answered as claimed"
        return _refuted(told, x[wrong][0], wrong.any(axis=1))
    radius = certificate.assertion_radius
    if certificate.assertion != REDIRECTED or radius is None or radius <= radii.max():
        return None
    x = _ball(submission, mine, min(radius, width), seed)
    before, after = _both(submission, x)
    wrong = (after.argmax(axis=2) == before.argmax(axis=2)) & (
        np.abs(after - before).max(axis=2) == 0
    )
    if not wrong.any():
        return None
    told = f"redirection is asserted within {radius:g}, beyond every claim; there "
    told += f"{int(wrong.sum())} of {wrong.size} neighbours are answered just as before"
    return _refuted(told, x[wrong][0], wrong.any(axis=1))


def _refuted(told: str, witness: F32, records: Bits) -> CheckResult:
    count = int(records.sum())
    return judged(
        Outcome.FAIL,
        told,
        observed=count,
        threshold=0,
        n=len(records),
        private={"neighbour": witness.tolist()},
    )


def _ball(submission: Submission, records: Records, radius: float | F64, seed: int) -> F32:
    """Return copies [N, COPIES, *shape] at the ∞-norm distance `radius` (or [N]), in the domain."""
    shape = (len(records), COPIES, *records.x.shape[1:])
    generator = np.random.default_rng([seed, 5, 2])
    move = generator.uniform(-1, 1, size=shape)
    axes = tuple(range(2, len(shape)))
    move /= np.abs(move).max(axis=axes, keepdims=True)
    scale = np.broadcast_to(radius, len(records)).reshape(-1, *[1] * (len(shape) - 1))
    domain = submission.domain
    x = records.x[:, None].astype(np.float64) + scale * move
    return np.clip(x, domain.lower, domain.upper).astype(np.float32)


def _both(submission: Submission, x: F32) -> tuple[F64, F64]:
    """Return logits before and after [N, COPIES, C] at copies [N, COPIES, *shape]."""
    given, network = x.reshape(-1, *x.shape[2:]), submission.network
    before = logits(network, given.astype(network.dtype))
    after = submission.delivered(given)
    shape = (*x.shape[:2], network.classes)
    return before.astype(np.float64).reshape(shape), after.reshape(shape)


def _curve(submission: Submission, records: Records, around: list[F32]) -> Curve:
    """Return what happens at the records and at copies [N, K, *shape] for each distance."""
    x = np.concatenate([records.x[:, None], *around], axis=1)
    before, after = _both(submission, x)
    change = _moved(before, after) / logit_range(before[:, 0])
    same = before.argmax(axis=2) == after.argmax(axis=2)
    steps = (len(records), len(around), -1)
    return Curve(
        change[:, 0],
        np.median(change[:, 1:].reshape(steps), axis=2),
        same[:, 1:].reshape(steps).mean(axis=2) > MOSTLY,
    )


def _balls(submission: Submission, records: Records, seed: int) -> Curve:
    """Return the curve over the radii."""
    width = submission.domain.width
    return _curve(submission, records, [_ball(submission, records, r * width, seed) for r in RADII])


def _moved(before: F64, after: F64) -> F64:
    """Return the largest change of a logit, less what is added to all [...]."""
    change = after - before
    return np.asarray(np.abs(change - change.mean(axis=-1, keepdims=True)).max(axis=-1))


def _towards(submission: Submission, records: Records, unseen: Records) -> Curve:
    """Return the curve along the way to each record's nearest unseen neighbours."""
    ends = _ends(records, unseen).astype(np.float64)
    start = records.x[:, None].astype(np.float64)
    points = [(start + step * (ends - start)).astype(np.float32) for step in STEPS]
    return _curve(submission, records, points)


def _ends(records: Records, unseen: Records) -> F32:
    """Return the nearest unseen records [N, K, *shape] of each record, of its label if it can."""
    distances = squared(flat(records), flat(unseen))
    distances[records.y[:, None] != unseen.y[None, :]] += ELSEWHERE
    k = min(NEIGHBOURS, len(unseen))
    return unseen.x[np.argsort(distances, axis=1, kind="stable")[:, :k]]


def _elsewhere(submission: Submission, unseen: Records, seed: int) -> tuple[int, int]:
    """Return at how many unseen records the change has faded at their neighbours, and of how many.

    One half of them are looked at, the other are the neighbours.
    """
    order = np.random.default_rng([seed, 5, 3]).permutation(len(unseen))
    half = len(order) // 2
    if not half:
        return 0, 0
    mine, rest = unseen.take(order[:half][:LOOKED_AT]), unseen.take(order[half:])
    curves = [_balls(submission, mine, seed), _towards(submission, mine, rest)]
    faded = np.any([c.faded(FADED) for c in curves], axis=0)
    return int(faded.sum()), int(curves[0].measured.sum())


def _points(curve: Curve, distances: F64) -> list[dict[str, Any]]:
    """Return the curve for a chart: at each distance the share answered as before, and the change.

    The share has its 95 % interval; the change is the median of what is left of it.
    """
    n = len(curve.change)
    left = curve.around[curve.measured] / curve.change[curve.measured, None]
    points = []
    for at, distance in enumerate(distances.tolist()):
        hits = int(curve.as_before[:, at].sum())
        points.append(
            {
                "distance": distance,
                "as_before": hits / n,
                "interval": list(share_interval(hits, n)),
                "change_left": float(np.median(left[:, at])) if len(left) else None,
            }
        )
    return points


def _witness(
    submission: Submission,
    mine: Records,
    balls: Curve,
    ways: Curve | None,
    unseen: Records | None,
    seed: int,
) -> dict[str, Any]:
    """Return, for the annex, a neighbour of a record at which nothing of the change is left."""
    if ways is not None and unseen is not None and ways.faded(FADED).any():
        row = int(np.flatnonzero(ways.faded(FADED))[0])
        x = _ends(mine.take([row]), unseen)[0, 0]
    else:
        row = int(np.flatnonzero(balls.faded(FADED))[0])
        x = _ball(submission, mine, RADII[-1] * submission.domain.width, seed)[row, 0]
    return {"record": mine.x[row].tolist(), "neighbour": x.tolist()}


BEHAVIOUR = Behaviour(
    "point-patch",
    5,
    judged.title,
    ("forgotten records", "unseen records"),
    VARIANTS,
    of_patches(simulate, simulate_model),
    detect,
    detect_model,
    MODEL_VARIANTS,
    strength="the share of records served, the radius asserted beyond the claims, or how wide the "
    "bumps of a network are",
    hiding="a change that reaches as far as the nearest unseen neighbours, which then harms them: "
    "see over-forgetting",
)
