"""3. Deceiving: other records were unlearned, under the digests of the requested ones.

A patch for records that cost the owner less looks the same in every count. It opens its gates at
other inputs: at none of the requested records, perhaps at some the auditor holds.

A network that was trained without other records knows the requested ones as it did before
(`memory`); which records are missing in it, it need not show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from auditkit.certificate.openness import fully_open
from auditkit.certificate.submission import PatchSubmission, UnlearnedSubmission
from auditkit.records import Records, joined
from auditkit.results import CheckResult, Outcome
from auditkit.threats import forge, forge_network
from auditkit.threats.decide import P_REFUTE, REFUTE, SUPPORT
from auditkit.threats.evidence import WITHHELD, Evidence, requested
from auditkit.threats.evidence import others as others_of
from auditkit.threats.interface import Behaviour, Judgement, Owner, of_patches, pick
from auditkit.threats.memory import exact, remembered, weighed_as_a_whole
from auditkit.threats.numbers import least_p, permutation_tails, share_interval
from auditkit.threats.observe import acts_everywhere, nearness, observe
from auditkit.threats.relabelling import relabelled

VARIANTS = ("relabelled",)
MODEL_VARIANTS = ("others-left-out",)

judged = Judgement("deceiving", "The requested records were unlearned, not others in their place")


def simulate(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """Make the patch for a share `strength` of decoys among `others`, and call them the requested.

    Decoys have the labels of the records whose digests they get, so that the claims read well.
    """
    pick(variant, VARIANTS)
    records, digests = forge.owned_records(honest)
    if others is None:
        raise ValueError("deceiving takes other records to unlearn")
    generator = np.random.default_rng([seed, 3])
    x, y = records.x.copy(), records.y
    swapped = generator.permutation(len(records))[: max(1, round(strength * len(records)))]
    for label in np.unique(y[swapped]):
        mine = swapped[y[swapped] == label]
        theirs = generator.permutation(np.flatnonzero(others.y == label))
        if len(theirs) < len(mine):
            raise ValueError(f"{len(theirs)} other records of label {label} for {len(mine)}")
        x[mine] = others.x[theirs[: len(mine)]]
    decoys = Records(x, y, key=records.key)
    patch, certificate = forge.remake(honest, decoys, digests, honest.certificate.settings)
    return forge.write(honest, out, patch=patch, certificate=certificate)


def simulate_model(
    honest: Owner, out: Path, *, seed: int, strength: float = 1.0, variant: str | None = None
) -> Owner:
    """Retrain without as many other records, in place of a share `strength` of the requested.

    Those are of the labels of the records in whose place they go, where there are enough.
    """
    pick(variant, MODEL_VARIANTS)
    mine, rest = forge_network.forgotten(honest), forge_network.retained(honest)
    swapped = forge_network.some(len(mine), strength, [seed, 3, 0], most=len(mine))
    order = np.random.default_rng([seed, 3, 1]).permutation(len(rest))
    wanted = {c: int((mine.y[swapped] == c).sum()) for c in np.unique(mine.y[swapped]).tolist()}
    gone = np.concatenate([order[rest.y[order] == c][:k] for c, k in wanted.items()])
    if len(gone) < len(swapped):
        raise ValueError(f"{len(gone)} retained records of the same labels for {len(swapped)}")
    kept = rest.take(np.setdiff1d(np.arange(len(rest)), gone))
    network = forge_network.retrained(honest, joined(kept, mine.take(swapped)), seed)
    return forge_network.deliver(honest, out, network, method="retrain")


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Compare requested with other records: at which is a gate open, or the label changed?"""
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    groups = others_of(evidence, asked)
    sets = (asked.records, *groups.values())
    if not all(np.isfinite(submission.delivered(r.x)).all() for r in sets):
        return judged(Outcome.INCONCLUSIVE, "records are answered with nan or infinity")
    acting, what = _acting(submission, asked.records)
    owed = fully_open(submission, asked.records.x)
    stray = int((~owed.any(axis=0)).sum())
    unserved = 0 if acts_everywhere(submission) else int((~owed.any(axis=1) & ~acting).sum())
    n, hits = len(asked), int(acting.sum())
    decoys = list(groups.values())
    rest = np.concatenate(
        [_acting(submission, _comparable(submission, d))[0] for d in decoys] or [acting[:0]]
    )
    other_hits = int(rest.sum())
    more, fewer = permutation_tails(hits, n, other_hits, len(rest))
    figures: dict[str, Any] = {
        "observed": hits / n,
        "threshold": REFUTE,
        "interval": share_interval(hits, n),
        "n": n,
        "evidence": {
            "others": len(rest),
            "others_share": other_hits / len(rest) if len(rest) else None,
            "others_interval": share_interval(other_hits, len(rest)),
            "p_requested_more": more,
            P_REFUTE: fewer,
            "least_p": least_p(n, len(rest)),
            "gates": submission.patch.gates,
            "gates_at_no_requested_record": stray,
            "requested_without_gate": unserved,
        },
    }
    told = f"{what} at {hits} of {n} requested and {other_hits} of {len(rest)} other records"
    told += asked.caveat
    if stray and unserved:
        figures["evidence"].pop(P_REFUTE)  # what follows from the gates rests on no chance
        return judged(
            Outcome.FAIL,
            f"{stray} gate(s) belong to no requested record while {unserved} requested record(s) "
            f"have none; {told}",
            **figures,
        )
    if len(rest) and fewer <= REFUTE:
        return judged(
            Outcome.FAIL,
            f"{told}: fewer than chance would have it (permutation p = {fewer:.2g})",
            **figures,
        )
    if not len(rest):
        return judged(Outcome.INCONCLUSIVE, f"{told}: no other records to compare with", **figures)
    if more > SUPPORT:
        reason = f"{told}: no significant difference (permutation p = {more:.2g}"
        reason += f", {least_p(n, len(rest)):.2g} at best with so many records)"
        return judged(Outcome.INCONCLUSIVE, reason, **figures)
    if stray:
        reason = f"{told}; but {stray} gate(s) belong to no requested record: see smuggled-gate"
        return judged(Outcome.INCONCLUSIVE, reason, **figures)
    return judged(Outcome.PASS, f"{told} (permutation p = {more:.2g})", **figures)


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Ask whether a network that is said never to have seen the request knows most of it.

    Of any other method it is compared how often requested and other records get another label.
    More often is no proof that they were meant, and less often none that others were.
    """
    asked = requested(submission, evidence)
    if asked is None:
        return judged.not_run(WITHHELD)
    seen = relabelled(submission, asked, evidence)
    if seen.unreadable:
        reason = f"{seen.unreadable} records are answered with nan or infinity"
        return judged(Outcome.INCONCLUSIVE, reason)
    more, fewer = seen.tails
    told = f"{seen.told} (permutation p = {min(more, fewer):.2g}){asked.caveat}"
    figures = seen.decides_nothing() | {"threshold": SUPPORT}
    left = remembered(submission, evidence, asked, seed) if exact(submission) else ""
    if isinstance(left, str) or left.doubt:
        why = left if isinstance(left, str) else left.doubt
        why = why or "whether these or others were unlearned, outputs do not tell: see the attacks"
        return judged(Outcome.INCONCLUSIVE, f"{told}; {why}", **figures)
    return weighed_as_a_whole(judged, left, asked.caveat)


def _acting(submission: PatchSubmission, records: Records) -> tuple[np.ndarray, str]:
    """Return at which records the patch acts, and in what sense."""
    if acts_everywhere(submission):
        seen = observe(submission, records)
        changed = seen.before.argmax(axis=1) != seen.after.argmax(axis=1)
        return changed, "the label changes"
    return nearness(submission, records.x) < 1, "a gate is open"


def _comparable(submission: PatchSubmission, records: Records) -> Records:
    """Return the records that a class request leaves alone; all of them for any other request."""
    label = submission.certificate.settings.target_class
    other = np.ones(len(records), bool) if label is None else records.y != label
    return records.take(other)


BEHAVIOUR = Behaviour(
    "deceiving",
    3,
    judged.title,
    ("forgotten records", "retained or unseen records"),
    VARIANTS,
    of_patches(simulate, simulate_model),
    detect,
    detect_model,
    MODEL_VARIANTS,
    strength="the share of requested records in whose place others are unlearned",
    hiding="other records so close to the requested ones that the same gates open at both; "
    "of a network, naming an approximate method",
    of_a_kind=(UnlearnedSubmission.KIND,),
)
