"""15. Smuggled gate: among the gates of a request, one that nobody asked for.

It changes the answer on inputs of the owner's choice: a backdoor that arrives with a deletion. A
gate is data, and its region can be computed: where it is opened is found, not guessed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.history import active, owed_gates
from auditkit.certificate.openness import fully_open
from auditkit.certificate.submission import PatchSubmission
from auditkit.network.evaluate import logits, pattern
from auditkit.patch.explicit import AnyPatch, ExplicitGroup, ExplicitPatch
from auditkit.patch.gates import WIDEST, Bands, Group, OffsetKind, Patch
from auditkit.patch.region_rows import region_of
from auditkit.patch.settings import Method
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, requested
from auditkit.threats.evidence import others as others_of
from auditkit.threats.interface import Behaviour, Judgement, of_patches, pick
from auditkit.threats.trigger import find_trigger

F32 = NDArray[np.float32]
Bits = NDArray[np.bool_]

VARIANTS = ("among-the-others", "own-group", "far", "disguised")
SEARCHED = 8  # gates for which an input is looked for; the rest are counted
STARTS = 8
CORNERS = 256  # of the domain, among which one is looked for
LOUD = 4.0  # times the largest bound of the patch: what a group of its own may add
AJAR = 1.0  # n · v below it: a gate is not closed
WALK = np.geomspace(1e-4, 0.5, 40)  # of the domain's width: steps away from a record

judged = Judgement("smuggled-gate", "No gate acts where nobody asked for it")


def simulate(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Add a gate that no record opens; `strength` is the share of the bound K that it adds.

    It opens at a random corner of the domain, in a stack of gates (`among-the-others`) or in a
    group of its own; at the corner farthest from every record (`far`); or in a region beside that
    of a requested record (`disguised`), of which it differs by a few bits and which may be tiny. A
    patch in explicit form gets its polytope, in a group of its own.
    """
    variant = pick(variant, VARIANTS)
    generator = np.random.default_rng([seed, 15])
    x = _place(honest, variant, others, generator)
    network = honest.network
    target = (int(logits(network, x.astype(np.float64)).argmax()) + 1) % network.classes
    name: str | None
    patch: AnyPatch
    if isinstance(honest.patch, ExplicitPatch):
        name, patch = _explicit(honest, honest.patch, x, target, strength)
    else:
        name, patch = _gated(honest, honest.patch, variant, x, target, strength)
    certificate = honest.certificate
    if name is not None:
        first, *rest = certificate.requests
        listed = replace(first, groups=(*first.groups, name))
        certificate = replace(certificate, requests=(listed, *rest))
    return forge.write(honest, out, patch=patch, certificate=certificate)


def _place(
    honest: PatchSubmission, variant: str, others: Records | None, generator: np.random.Generator
) -> F32:
    """Return the input [1, *input_shape] at which the gate is to open."""
    domain, shape = honest.certificate.settings.domain, honest.network.input_shape
    known, _ = forge.owned_records(honest)
    if variant == "disguised":
        return _beside(honest, known, generator)
    # of any share of features at the upper end: some regions reach over half of the domain
    share = generator.random((CORNERS, *[1] * len(shape)))
    corners = np.where(generator.random((CORNERS, *shape)) < share, domain.upper, domain.lower)
    corners = corners.astype(np.float32)
    corners = corners[_unserved(honest, known, corners)]
    if not len(corners):
        raise ValueError("every corner that was tried lies in a requested record's region")
    if variant != "far":
        return corners[:1]
    everyone = known.x if others is None else np.concatenate([known.x, others.x])
    flat = everyone.reshape(len(everyone), -1)
    nearest = [np.abs(flat - c.reshape(1, -1)).mean(axis=1).min() for c in corners]
    return corners[[int(np.argmax(nearest))]]


def _unserved(honest: PatchSubmission, known: Records, x: F32) -> Bits:
    """Return [N]: whether no gate of the patch is ajar at x, and no record has its pattern."""
    network, table = honest.network, honest.patch.table
    shut = honest.patched.violations(x).min(axis=1) * float(table.sharpness.max()) >= AJAR
    theirs = {row.tobytes() for row in pattern(network, known.x.astype(np.float64))}
    mine = pattern(network, x.astype(np.float64))
    return np.asarray(shut & [row.tobytes() not in theirs for row in mine], dtype=bool)


def _beside(honest: PatchSubmission, known: Records, generator: np.random.Generator) -> F32:
    """Return the first input on a walk away from a record, in the domain, where its gate is shut.

    A gate made there is shut at the record too, or nearly so. Raises ValueError when no walk leaves
    the record's region.
    """
    domain, network = honest.certificate.settings.domain, honest.network
    for row in generator.permutation(len(known)).tolist():
        x = known.x[row].astype(np.float64)
        way = np.where(generator.random(x.shape) < 0.5, -1.0, 1.0)
        steps = WALK.reshape(-1, *[1] * x.ndim) * domain.width
        walk = np.clip(x[None] + steps * way[None], domain.lower, domain.upper)
        away = honest.patched.violations(walk.astype(np.float32)).min(axis=1)
        table = honest.patch.table
        shut = away * float(table.sharpness.max()) >= AJAR
        other = (pattern(network, walk) != pattern(network, x[None])).any(axis=1)
        if (shut & other).any():
            return walk[[int(np.argmax(shut & other))]].astype(np.float32)
    raise ValueError("no region beside a record's own: the network is too small to hide a gate")


def _gated(
    honest: PatchSubmission, patch: Patch, variant: str, x: F32, target: int, strength: float
) -> tuple[str | None, Patch]:
    """Return the patch with one gate more, and the name of its group where that is new."""
    network, groups = honest.network, list(patch.groups)
    bits = pattern(network, x.astype(np.float64))
    stacks = [i for i, g in enumerate(groups) if g.stacked]
    if variant != "own-group" and stacks:
        group = groups[stacks[0]]
        offset = strength * _towards(target, network.classes, group.bound)
        if group.kind is OffsetKind.OUTPUT:  # which states outputs, and adds what is missing
            offset = offset + logits(network, x.astype(np.float64))[0].astype(np.float32)
        bands = group.bands and Bands(
            np.concatenate([group.bands.unit, group.bands.unit[:1]]),
            np.concatenate([group.bands.center, group.bands.center[:1]]),
            np.concatenate([group.bands.width, np.full_like(group.bands.width[:1], WIDEST)]),
        )
        groups[stacks[0]] = replace(
            group,
            patterns=np.concatenate([group.patterns, bits]),
            offset=np.concatenate([group.offset, offset[None].astype(np.float32)]),
            bands=bands,
        )
        return None, forge.with_groups(patch, groups)
    like = next((g for g in groups if len(g.patterns)), None)
    if like is None:
        raise ValueError("a patch without gates: there is none to hide among")
    bound = LOUD * max(group.bound for group in groups)
    name = f"{like.name[:50]}-more"
    added = Group(
        name,
        OffsetKind.CONSTANT,
        bits,
        strength * _towards(target, network.classes, bound),
        bound,
        like.sharpness,
        like.dead_zone,
    )
    return name, forge.with_groups(patch, [*groups, added])


def _explicit(
    honest: PatchSubmission, patch: ExplicitPatch, x: F32, target: int, strength: float
) -> tuple[str, ExplicitPatch]:
    """Return the patch with the polytope of one region more."""
    network = honest.network
    region = region_of(network, pattern(network, x.astype(np.float64))[0])
    like = patch.groups[0]
    bound = LOUD * max(group.bound for group in patch.groups)
    name = f"{like.name[:50]}-more"
    added = ExplicitGroup(
        name,
        region.rows.astype(np.float32),
        region.limits.astype(np.float32),
        np.array([0, len(region.limits)], np.int64),
        np.zeros_like(like.slope),
        strength * _towards(target, network.classes, bound),
        bound,
        like.sharpness,
    )
    return name, ExplicitPatch((*patch.groups, added), patch.classes, patch.features)


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Every gate must be fully open at a requested record; show an input that opens any other."""
    unknown = _unlisted(submission)
    if unknown:
        return judged(
            Outcome.FAIL,
            f"{len(unknown)} group(s) belong to no active request, or act everywhere unasked",
            observed=len(unknown),
            threshold=0,
        )
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    if asked.digests:
        owed = owed_gates(submission, asked.records, asked.digests).gates
    else:
        owed = np.asarray(fully_open(submission, asked.records.x).any(axis=0))
    stray = np.flatnonzero(~owed)
    figures: dict[str, Any] = {"observed": len(stray), "threshold": 0, "n": submission.patch.gates}
    if not len(stray):
        told = f"each of {submission.patch.gates} gate(s) is fully open at a requested record"
        return judged(Outcome.PASS, told + asked.caveat, **figures)
    return _exposed(submission, evidence, asked, stray, figures, seed)


def _exposed(
    submission: PatchSubmission,
    evidence: Evidence,
    asked: Requested,
    stray: NDArray[np.int64],
    figures: dict[str, Any],
    seed: int,
) -> CheckResult:
    """Look for inputs that open the gates that nobody asked for."""
    pool = _pool(submission, evidence, asked, seed)
    closed = submission.patched.violations(pool)
    known = [asked.records.x, *(r.x for r in others_of(evidence, asked).values())]
    witnesses, effects, away, redirected, empty = [], [], [], 0, 0
    for gate in stray[:SEARCHED]:
        found = find_trigger(submission, int(gate), pool[np.argsort(closed[:, gate])[:STARTS]])
        empty += found.empty
        if found.x is None or not found.openness:
            continue
        effects.append(found.effect)
        away.append(min(_distance(found.x, records) for records in known))
        redirected += found.labels is not None and found.labels[0] != found.labels[1]
        witnesses.append({"gate": int(gate), "input": found.x.tolist()})
    searched = min(len(stray), SEARCHED)
    told = f"{len(stray)} of {submission.patch.gates} gate(s) open at no requested record"
    told += f"; of {searched} examined, an input that opens it was found for {len(witnesses)}"
    if redirected:
        told += f", and the label changes there for {redirected}"
    if away:
        told += f"; the nearest record is {max(away):.2g} away from one (∞-norm)"
    if empty:
        told += f"; {empty} have no region in the domain at all"
    figures["evidence"] = {
        "searched": searched,
        "triggers": len(witnesses),
        "labels_changed": redirected,
        "empty_regions": empty,
        "largest_effect": max(effects, default=None),
        "farthest_from_any_record": max(away, default=None),
    }
    figures["private"] = {"gates": stray.tolist(), "triggers": witnesses}
    return judged(Outcome.FAIL, told + asked.caveat, **figures)


def _unlisted(submission: PatchSubmission) -> list[str]:
    """Return groups that no active request names, or that need no gate without being asked to."""
    certificate = submission.certificate
    listed = {g for r in active(certificate.requests) for g in r.groups}
    everywhere = certificate.settings.method is Method.SUPPRESS
    return [
        g.name
        for g in submission.patch.groups
        if g.name not in listed or (g.kind is OffsetKind.ALWAYS and not everywhere)
    ]


def _pool(
    submission: PatchSubmission, evidence: Evidence, asked: Requested, seed: int
) -> NDArray[np.float32]:
    """Return inputs from which a search may start: records of every kind, and random ones."""
    domain = submission.certificate.settings.domain
    generator = np.random.default_rng([seed, 15])
    size = (64, *submission.network.input_shape)
    random = generator.uniform(domain.lower, domain.upper, size=size).astype(np.float32)
    known = [records.x[:500] for records in others_of(evidence, asked).values()]
    return np.concatenate([random, asked.records.x[:500], *known])


def _distance(x: F32, records: F32) -> float:
    """Return how far the nearest of `records` [N, *input_shape] is from `x`, in the ∞-norm."""
    return float(np.abs(records - x[None]).reshape(len(records), -1).max(axis=1).min())


def _towards(target: int, classes: int, bound: float) -> NDArray[np.float32]:
    offset = np.full(classes, -bound, dtype=np.float32)
    offset[target] = bound
    return offset


BEHAVIOUR = Behaviour(
    "smuggled-gate",
    15,
    judged.title,
    ("forgotten records",),
    VARIANTS,
    of_patches(simulate),
    detect,
    strength="the share of the bound K that the smuggled gate adds to the logits where it opens",
    hiding="a gate whose region also holds a requested record, so that it acts at that record and "
    "in its region and nowhere else; or a backdoor in the original network, which is not judged",
)
