"""2. Lazy: only part of the request was carried out.

Every requested record is examined, so that the share found is that of the request and not an
estimate; the interval says what it tells about the owner's practice. One record that was left as
it was refutes "all of them", unless its neighbour's gate is in the way and the owner says so.

Of an unlearned network no single record tells. Where the method is one whose network never saw the
records, they are to it like any unseen ones (`memory`); the share that is left is a mixture's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.openness import fully_open
from auditkit.certificate.submission import PatchSubmission, UnlearnedSubmission
from auditkit.patch.settings import Spec
from auditkit.records import Records, joined
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge, forge_network
from auditkit.threats.decide import decide
from auditkit.threats.evidence import WITHHELD, Evidence, Requested, requested
from auditkit.threats.interface import Behaviour, Judgement, Owner, of_patches, pick
from auditkit.threats.memory import exact, remembered
from auditkit.threats.numbers import share_interval
from auditkit.threats.observe import (
    Observation,
    acts_everywhere,
    nearness,
    observe,
    touching,
)
from auditkit.threats.relabelling import relabelled

VARIANTS = ("dropped-claims", "borrowed-gates")
MODEL_VARIANTS = ("left-in",)
TOLERATED = 0.2  # of what was known; less is not to be had from some hundreds of records
EXCUSE = "the gate of another record, with an answer of its own, is open there"

judged = Judgement("lazy", "Every requested record was unlearned, not only a part of them")


def simulate(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Leave out the gates of a share `strength` of the records; at least one gate stays.

    `dropped-claims` lists those records as unclaimed, with a reason an honest owner might have;
    `borrowed-gates` has their claims point at gates of other records.
    """
    variant = pick(variant, VARIANTS)
    gates = sorted(forge.gate_records(honest))
    if len(gates) < 2:
        raise ValueError("one gate: leaving it out is neglecting, not laziness")
    count = min(len(gates) - 1, max(1, round(strength * len(gates))))
    chosen = np.random.default_rng([seed, 2]).permutation(len(gates))[:count]
    doomed = {gates[i] for i in chosen}
    patch, place = forge.drop_gates(honest.gated, doomed)
    left = [gate for gate in gates if gate not in doomed]
    claims, unclaimed = [], dict(honest.certificate.unclaimed)
    for index, claim in enumerate(honest.certificate.claims):
        gate = (claim.group, claim.member if claim.member is not None else -1)
        if gate in doomed:
            if variant == "dropped-claims":
                unclaimed[str(claim.record)] = EXCUSE
                continue
            gate = left[index % len(left)]
        claims.append(replace(claim, group=gate[0], member=place.get(gate, claim.member)))
    certificate = replace(honest.certificate, unclaimed=unclaimed)
    certificate = forge.active_groups(certificate, {group.name for group in patch.groups})
    return forge.write(honest, out, patch=patch, certificate=forge.restated(certificate, claims))


def simulate_model(
    honest: Owner, out: Path, *, seed: int, strength: float = 1.0, variant: str | None = None
) -> Owner:
    """Retrain with a share `strength` of the request left in, all but one record at most."""
    pick(variant, MODEL_VARIANTS)
    mine = forge_network.forgotten(honest)
    if len(mine) < 2:
        raise ValueError("one record: leaving it in is neglecting, not laziness")
    left = forge_network.some(len(mine), strength, [seed, 2], most=len(mine) - 1)
    kept = joined(forge_network.retained(honest), mine.take(left))
    network = forge_network.retrained(honest, kept, seed)
    return forge_network.deliver(honest, out, network, method="retrain")


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Ask of each requested record: is a gate open at it, and is it answered as promised?"""
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    seen = observe(submission, asked.records)
    if not seen.readable.all():
        reason = f"{int((~seen.readable).sum())} records are answered with nan or infinity"
        return judged(Outcome.INCONCLUSIVE, reason)
    x = asked.records.x
    served = (nearness(submission, x) < 1) | fully_open(submission, x).any(axis=1)
    if acts_everywhere(submission):
        served[:] = True
    done = served & seen.met
    excused = ~done & _excusable(submission, asked, served)
    alike = ~done & ~excused & _alike(submission, asked, seen)
    left = ~done & ~excused & ~alike
    n, count = len(asked), int(done.sum())
    figures = {
        "observed": count / n,
        "threshold": 1.0,
        "interval": share_interval(count, n),
        "n": n,
        "evidence": {
            "unlearned": count,
            "without_gate": int((~served).sum()),
            "answered_as_before": int((~seen.met).sum()),
            "excused": int(excused.sum()),
            "target_like_the_original": int(alike.sum()),
            "already_mispredicted": int((~seen.measurable).sum()),
            "not_unlearned": asked.named(~done),
        },
        "private": {"not_unlearned": np.flatnonzero(~done).tolist()}
        | _subjects(asked.records, left),
    }
    told = f"{count} of {n} requested records are unlearned{asked.caveat}"
    if left.any():
        told += f"; {int(left.sum())} were left as they were"
        return judged(Outcome.FAIL, told, **figures)
    if alike.any():
        told += (
            f"; {int(alike.sum())} are sent to an output so close to the original one that nothing "
            "can be told"
        )
    if excused.any():
        told += (
            f"; {int(excused.sum())} lie at the edge of another record's region, where one offset "
            "cannot serve both, and the owner makes no claim for them"
        )
    if excused.any() or alike.any():
        return judged(Outcome.INCONCLUSIVE, told, **figures)
    return judged(Outcome.PASS, told, **figures)


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Ask how much of the request a network still knows that is said never to have seen it.

    Of any other method the records whose outputs changed are counted, which decides nothing: one
    that touches a few units leaves the outputs at some records as they are.
    """
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    seen = relabelled(submission, asked, evidence)
    if seen.unreadable:
        reason = f"{seen.unreadable} records are answered with nan or infinity"
        return judged(Outcome.INCONCLUSIVE, reason)
    if not exact(submission):
        told = (
            f"{seen.told}{asked.caveat}; what an approximate method leaves is not laziness, and "
            "which records were unlearned, outputs do not tell: against shadow models see "
            "attack.exposure and attack.small-request"
        )
        return judged(Outcome.INCONCLUSIVE, told, **seen.decides_nothing())
    left = remembered(submission, evidence, asked, seed)
    if isinstance(left, str) or left.doubt:
        why = left if isinstance(left, str) else left.doubt
        told = f"{seen.told}{asked.caveat}; {why}"
        return judged(Outcome.INCONCLUSIVE, told, **seen.decides_nothing())
    return decide(
        judged,
        left.told + asked.caveat,
        p_refute=left.p_more,
        p_support=left.p_less_left(TOLERATED),
        power=left.power,
        threshold=TOLERATED,
        **left.figures(),
    )


def _alike(submission: PatchSubmission, asked: Requested, seen: Observation) -> NDArray[np.bool_]:
    """Return [N]: records that are patched, by their own open gate, to hardly another output.

    On a network that answers alike for all records of a label that is what an honest target is.
    """
    if seen.redirects or not submission.export_is_canonical:
        return np.zeros(len(asked), dtype=bool)
    claimed = {claim.record for claim in submission.certificate.claims}
    stated = np.array([d in claimed for d in asked.digests], dtype=bool)
    if not len(stated):
        return np.zeros(len(asked), dtype=bool)
    return stated & fully_open(submission, asked.records.x).any(axis=1)


def _excusable(
    submission: PatchSubmission, asked: Requested, served: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return [N]: records without a claim, and rightly so.

    Two outputs cannot be had where two records' gates touch, so that under `reference` one of them
    goes without; under any other specification they share an offset.
    """
    certificate = submission.certificate
    stated = np.array([d in certificate.unclaimed for d in asked.digests], dtype=bool)
    if certificate.settings.spec is not Spec.REFERENCE or not stated.any():
        return np.zeros(len(asked), dtype=bool)
    crowd = touching(submission, asked.records)
    return stated & np.isin(crowd, crowd[served])


def _subjects(records: Records, left: NDArray[np.bool_]) -> dict[str, list[str]]:
    if records.subject is None:
        return {}
    return {"subjects_left": sorted({str(records.subject[i]) for i in np.flatnonzero(left)})}


BEHAVIOUR = Behaviour(
    "lazy",
    2,
    judged.title,
    ("forgotten records",),
    VARIANTS,
    of_patches(simulate, simulate_model),
    detect,
    detect_model,
    MODEL_VARIANTS,
    strength="the share of requested records that are left as they were",
    hiding="leaving out records whose answers a reference would not change either, or "
    "records that the auditor does not know were requested; of a network, naming an approximate "
    "method, or a network that generalises so well that it knows unseen records as well",
    of_a_kind=(UnlearnedSubmission.KIND,),
)
