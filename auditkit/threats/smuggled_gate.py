"""15. Smuggled gate: among the gates of a request, one that nobody asked for.

It changes the answer on inputs of the owner's choice: a backdoor that arrives with a deletion.
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
from auditkit.patch.gates import Group, OffsetKind
from auditkit.patch.settings import Method
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, requested
from auditkit.threats.evidence import others as others_of
from auditkit.threats.interface import Behaviour, Judgement, of_patches, pick
from auditkit.threats.trigger import find_trigger

VARIANTS = ("among-the-others", "own-group")
SEARCHED = 8  # gates for which an input is looked for; the rest are counted
STARTS = 8

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
    """Add a gate at an input far from any record, in a stack of gates or a group of its own."""
    variant = pick(variant, VARIANTS)
    network, domain = honest.network, honest.certificate.settings.domain
    generator = np.random.default_rng([seed, 15])
    x = np.where(generator.random((1, *network.input_shape)) < 0.5, domain.lower, domain.upper)
    bits = pattern(network, x.astype(np.float64))
    target = (int(logits(network, x.astype(np.float64)).argmax()) + 1) % network.classes
    groups = list(honest.gated.groups)
    stacks = [i for i, g in enumerate(groups) if g.stacked and g.kind is OffsetKind.CONSTANT]
    if variant == "among-the-others" and stacks:
        group = groups[stacks[0]]
        offset = _towards(target, network.classes, group.bound)
        groups[stacks[0]] = replace(
            group,
            patterns=np.concatenate([group.patterns, bits]),
            offset=np.concatenate([group.offset, offset[None]]),
        )
        return forge.write(honest, out, patch=forge.with_groups(honest.gated, groups))
    like = groups[0]
    bound = 4.0 * max(group.bound for group in groups)
    name = f"{like.name[:50]}-more"
    added = Group(
        name,
        OffsetKind.CONSTANT,
        bits,
        _towards(target, network.classes, bound),
        bound,
        like.sharpness,
        like.dead_zone,
    )
    first, *rest = honest.certificate.requests
    certificate = replace(
        honest.certificate, requests=(replace(first, groups=(*first.groups, name)), *rest)
    )
    patch = forge.with_groups(honest.gated, [*groups, added])
    return forge.write(honest, out, patch=patch, certificate=certificate)


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
    witnesses, effects, redirected, empty = [], [], 0, 0
    for gate in stray[:SEARCHED]:
        found = find_trigger(submission, int(gate), pool[np.argsort(closed[:, gate])[:STARTS]])
        empty += found.empty
        if found.x is None or not found.openness:
            continue
        effects.append(found.effect)
        redirected += found.labels is not None and found.labels[0] != found.labels[1]
        witnesses.append({"gate": int(gate), "input": found.x.tolist()})
    searched = min(len(stray), SEARCHED)
    told = f"{len(stray)} of {submission.patch.gates} gate(s) open at no requested record"
    told += f"; of {searched} examined, an input that opens it was found for {len(witnesses)}"
    if redirected:
        told += f", and the label changes there for {redirected}"
    if empty:
        told += f"; {empty} have no region in the domain at all"
    figures["evidence"] = {
        "searched": searched,
        "triggers": len(witnesses),
        "labels_changed": redirected,
        "empty_regions": empty,
        "largest_effect": max(effects, default=None),
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
    strength="the share of the bound K that the smuggled gate may add",
    hiding="a gate that is also fully open at a requested record, which then acts there and "
    "nowhere else",
)
