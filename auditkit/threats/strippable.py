"""6. Strippable or missing patch: the network underneath is the one that remembers.

Whoever holds a patched network holds the original, and a patch that is delivered but changes
nothing, or is not in the deployed file at all, need not even be taken off.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from auditkit.certificate.submission import PatchSubmission
from auditkit.network.evaluate import logits
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge
from auditkit.threats.assertion import asserted, under
from auditkit.threats.evidence import Evidence, Requested, requested
from auditkit.threats.evidence import others as others_of
from auditkit.threats.interface import Behaviour, Judgement, of_patches, pick
from auditkit.threats.numbers import auc, confidence_signal, share_interval
from auditkit.threats.observe import NEGLIGIBLE, Observation, delivered, observe, redirects

VARIANTS = ("sold-as-erasure", "ineffective", "not-loaded")

NOTHING = 1e-4  # of the range of logits: less than any target that differs, more than rounding

judged = Judgement("strippable", "The patch is there, works, and cannot simply be taken off")


def simulate(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Call a patch an erasure; or ship tensors that do nothing; or a file that leaves them out.

    `strength` is the share of the gates that do nothing, or are left out of the file; what is
    called an erasure is called so in whole.
    """
    match pick(variant, VARIANTS):
        case "sold-as-erasure":
            certificate = forge.sold_as_erasure(honest.certificate)
            return forge.write(honest, out, certificate=certificate)
        case "ineffective":
            patch, certificate = forge.without_effect(honest, strength, [seed, 6])
            return forge.write(honest, out, patch=patch, certificate=certificate)
        case _:
            return forge.write(honest, out, exported=forge.export_without(honest, strength, seed))


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Is the patch there and effective; and what does the network say without it?"""
    asked = requested(submission, evidence)
    table = submission.patch.table
    figures: dict[str, object] = {
        "gates": submission.patch.gates,
        "groups": len(table.source),
        "groups_without_bound": int((table.bound == 0).sum()),
        "network": submission.network_digest,
    }
    if asked is None:
        if (table.bound == 0).all():
            return judged(Outcome.FAIL, "no group of the patch can add anything", evidence=figures)
        told = "the original weights are in the submission: the patch can be taken off; what that "
        told += "reveals was not measured, since the forgotten records are withheld"
        return under(asserted(submission, evidence), judged(Outcome.FAIL, told, evidence=figures))
    missing = _missing(submission, asked, figures)
    if missing:
        return judged(Outcome.FAIL, missing, evidence=figures, n=len(asked))
    return under(asserted(submission, evidence), _stripped(submission, asked, evidence, figures))


def _missing(submission: PatchSubmission, asked: Requested, figures: dict[str, object]) -> str:
    """Return why the patch is as good as absent, or nothing."""
    x = asked.records.x.astype(submission.network.dtype)
    before = logits(submission.network, x).astype(np.float64)
    patched = submission.patched.logits(x).astype(np.float64)
    effect = Observation(before, patched, asked.records.y, redirects=False).effect
    effective = effect > NEGLIGIBLE
    figures["effective_at"] = int(effective.sum())
    claims = {claim.record for claim in submission.certificate.claims}
    claimed = np.zeros(len(asked), dtype=bool)
    claimed[: len(asked.digests)] = [digest in claims for digest in asked.digests]
    # a gate that leaves its own record as it was may still catch a neighbour
    meant, who = (claimed, "claimed") if claimed.any() else (~claimed, "requested")
    least = NEGLIGIBLE if redirects(submission) else NOTHING
    if not (effect[meant] > least).any():
        right = before[meant].argmax(axis=1) == asked.records.y[meant]
        # nothing was to be changed at records that are mispredicted anyway
        if right.any() or not submission.patch.gates:
            return f"patch tensors are present but change none of {int(meant.sum())} {who} records"
    if not effective.any():
        return ""
    if submission.export_is_canonical:
        figures["loaded"] = "same bytes as the auditor's export"
        return ""
    there = delivered(submission, asked.records.x)
    to_original = np.abs(there - before).max(axis=1)[effective]
    to_patched = np.abs(there - patched).max(axis=1)[effective]
    loaded = int((to_patched < to_original).sum())
    figures["loaded"] = f"at {loaded} of {len(to_patched)} records where it matters"
    if loaded == len(to_patched):
        return ""
    if loaded:
        missing = f"at {len(to_patched) - loaded} of {len(to_patched)} requested records"
        return f"patched.onnx answers as the network without its patch {missing}"
    return "patched.onnx answers as the network without its patch: the patch is not loaded"


def _stripped(
    submission: PatchSubmission, asked: Requested, evidence: Evidence, figures: dict[str, object]
) -> CheckResult:
    """Say what the network under the patch still answers, and how well membership shows in it."""
    seen = observe(submission, asked.records)
    known = int((seen.before.argmax(axis=1) == asked.records.y).sum())
    unseen = others_of(evidence, asked).get("unseen")
    told = "the original weights are in the submission: the patch can be taken off, and "
    told += f"the core then answers {known} of {len(asked)} requested records as before"
    if unseen is not None and min(len(asked), len(unseen)) >= 2:
        after = observe(submission, unseen)
        for name, members, rest in (
            ("core", seen.before, after.before),
            ("patched", seen.after, after.after),
        ):
            area, interval = auc(
                confidence_signal(members, asked.records.y), confidence_signal(rest, unseen.y)
            )
            figures[f"auc_{name}"], figures[f"auc_{name}_interval"] = area, list(interval)
            figures["unseen"] = len(unseen)
        told += (
            f"; membership inference on it sees what it saw before (AUC {figures['auc_core']:.3f} "
            f"against {len(unseen)} unseen records)"
        )
    return judged(
        Outcome.FAIL,
        told,
        observed=known / len(asked),
        interval=share_interval(known, len(asked)),
        n=len(asked),
        evidence=figures,
    )


BEHAVIOUR = Behaviour(
    "strippable",
    6,
    judged.title,
    ("the submission", "forgotten and unseen records"),
    VARIANTS,
    of_patches(simulate),
    detect,
    strength="the share of the patch's gates that do nothing, or that the delivered file leaves "
    "out",
    hiding="nothing hides it while the original weights are handed over; to deliver another "
    "network",
)
