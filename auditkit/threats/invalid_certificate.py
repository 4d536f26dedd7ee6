"""7. Invalid certificate: it states what does not hold, or what is true of nothing.

Nothing in a certificate is believed: verification derives every claim anew, and this check says
what that amounts to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from auditkit.certificate.policy import Policy
from auditkit.certificate.statement import Certificate
from auditkit.certificate.submission import PatchSubmission, Submission, UnlearnedSubmission
from auditkit.certificate.verify import verify_submission
from auditkit.files import sha256_hex
from auditkit.network.scale import typical_activation
from auditkit.patch.gates import Group, Patch
from auditkit.patch.settings import Spec
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, Result
from auditkit.threats import forge
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Behaviour, Judgement, of_patches, pick

RESTS_ON = (
    "submission.binding",
    "patch.support",
    "certificate.point",
    "certificate.region",
    "certificate.locality",
    "certificate.separation",
    "certificate.canonical",
    "certificate.deployed",
)

judged = Judgement("invalid-certificate", "Every statement of the certificate holds")

Forged = tuple[Patch, Certificate]


def detect(submission: PatchSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """Combine what verification found of the statements: one refuted fails, all proved passes."""
    result = evidence.verification or verified(submission, evidence, seed)
    checks = [check for check in result.checks if check.id in RESTS_ON]
    outcomes = {check.id: check.outcome.value for check in checks}
    failed = [c for c in checks if c.outcome is Outcome.FAIL and not _only_reach(c)]
    doubtful = [check for check in checks if check.outcome is not Outcome.PASS]
    figures = {
        "observed": len(checks) - len(doubtful),
        "threshold": len(RESTS_ON),
        "n": len(RESTS_ON),
        "evidence": {"checks": outcomes},
    }
    if failed:
        return judged(Outcome.FAIL, "; ".join(f"{c.id}: {c.reason}" for c in failed[:3]), **figures)
    if doubtful or len(checks) < len(RESTS_ON):
        first = f": {doubtful[0].id}: {doubtful[0].reason}" if doubtful else ""
        told = (
            f"{len(checks) - len(doubtful)} of {len(RESTS_ON)} checks pass, no statement is refuted"
        )
        return judged(Outcome.INCONCLUSIVE, told + first, **figures)
    return judged(Outcome.PASS, "every statement was derived anew and holds", **figures)


def detect_model(submission: UnlearnedSubmission, evidence: Evidence, *, seed: int) -> CheckResult:
    """An unlearned network has no certificate; that its files fit its claim is asked."""
    result = evidence.verification or verified(submission, evidence, seed)
    binding = result.check("submission.binding")
    if binding.outcome is Outcome.FAIL:
        return judged(Outcome.FAIL, f"{binding.id}: {binding.reason}")
    reason = "an unlearned network has no certificate, and its claim nothing that can be proved"
    return judged.not_run(reason, required=False)


def _only_reach(check: CheckResult) -> bool:
    """Whether a check fails for gates that are sharp but catch many other records.

    How far gates reach is measured and judged by verification; no certificate states it, so that
    it is no false statement of the owner's. Blunt gates are: they make locality true of nothing.
    """
    if check.id != "certificate.locality":
        return False
    floor = Policy().least_sharpness
    sharp = check.evidence.get("relative_sharpness", 0.0) >= floor
    return bool(sharp and check.evidence.get("relative_dead_zone", np.inf) * floor <= 1)


def verified(submission: Submission, evidence: Evidence, seed: int) -> Result:
    """Return the verification of a submission with the auditor's records and default policy."""
    return verify_submission(
        submission,
        forget=evidence.forget,
        retain=evidence.retain,
        holdout=evidence.holdout,
        seed=seed,
        measure=False,
    )


def simulate(
    honest: PatchSubmission,
    out: Path,
    *,
    seed: int,
    strength: float = 1.0,
    variant: str | None = None,
    others: Records | None = None,
) -> PatchSubmission:
    """State something false, or true of nothing.

    `strength` is the share of claims that are touched. What all claims share goes that far, on a
    logarithmic scale, from what is honest to what is void; a wrong digest is wrong in whole.
    """
    patch, certificate = _FORGERIES[pick(variant, VARIANTS)](honest, seed, strength)
    return forge.write(honest, out, patch=patch, certificate=certificate)


def _towards(honest: float, void: float, strength: float) -> float:
    """Return the number a share `strength` of the way from `honest` to `void`, in logarithms."""
    return float(honest * (void / honest) ** strength)


def _wrong_rows(honest: PatchSubmission, seed: int, strength: float) -> Forged:
    """Flip one bit in eight of a pattern: rows that are not true of the record."""
    generator = np.random.default_rng([seed, 7])
    touched = forge.a_share(forge.all_gates(honest.gated), strength, [seed, 7, 1])

    def flipped(group: Group) -> Group:
        mine = np.array([(group.name, m) in touched for m in range(len(group.patterns))], bool)
        flips = generator.random(group.patterns.shape) < 0.125
        return replace(group, patterns=group.patterns ^ (flips & mine[:, None]))

    return forge.with_groups(honest.gated, [flipped(g) for g in honest.gated.groups]), (
        honest.certificate
    )


def _own_label(honest: PatchSubmission, seed: int, strength: float) -> Forged:
    """Redirect records to the label they have: nothing changes, and the claim is easily met."""
    records, _ = forge.owned_records(honest)
    if honest.certificate.settings.spec is not Spec.REDIRECT:
        raise ValueError("only a redirection has a target label")
    patch, certificate = forge.without_effect(honest, strength, [seed, 7])
    served = forge.gate_records(honest, certificate)
    idle = {
        (group.name, m)
        for group in patch.groups
        for m in range(len(group.patterns))
        if not (group.offset[m] if group.stacked else group.offset).any()
    }
    claims = [
        replace(c, target=int(records.y[served[c.group, c.member]]))
        if c.member is not None and (c.group, c.member) in idle
        else c
        for c in certificate.claims
    ]
    return patch, forge.restated(certificate, claims)


def _negative_margin(honest: PatchSubmission, seed: int, strength: float) -> Forged:
    claims = list(honest.certificate.claims)
    count = max(1, round(strength * len(claims)))
    for index in np.random.default_rng([seed, 7]).permutation(len(claims))[:count].tolist():
        claims[index] = replace(claims[index], margin=-1.0)
    return honest.gated, forge.restated(honest.certificate, claims)


def _loose_margin(honest: PatchSubmission, seed: int, strength: float) -> Forged:
    """Promise next to nothing, and keep it."""
    records, digests = forge.owned_records(honest)
    settings = honest.certificate.settings
    void = 1e-6 if settings.spec is Spec.REDIRECT else 1e3
    margin = _towards(settings.margin or void, void, strength)
    return forge.remake(honest, records, digests, replace(settings, margin=margin))


def _tiny_radius(honest: PatchSubmission, seed: int, strength: float) -> Forged:
    records, digests = forge.owned_records(honest)
    settings = honest.certificate.settings
    width = settings.domain.width
    radius = _towards(min(settings.radius, width) or width, 1e-7 * width, strength)
    return forge.remake(honest, records, digests, replace(settings, radius=radius))


def _small_bound(honest: PatchSubmission, seed: int, strength: float) -> Forged:
    """Take K so small that clipping leaves a fraction of every offset."""
    groups = [
        replace(g, bound=float(np.float32(g.bound * (1 - 0.95 * strength))))
        for g in honest.gated.groups
    ]
    return forge.with_groups(honest.gated, groups), honest.certificate


def _wrong_digest(honest: PatchSubmission, seed: int, strength: float) -> Forged:
    """Name another network than the one that was delivered."""
    other = sha256_hex(f"another network {seed}".encode())
    return honest.gated, replace(honest.certificate, network=other)


def _tiny_sharpness(honest: PatchSubmission, seed: int, strength: float) -> Forged:
    """Let the gates close so slowly that they are open everywhere."""
    sharp = honest.certificate.settings.sharpness or 1.0
    sharpness = float(np.float32(_towards(sharp, 1e-5 * sharp, strength)))
    groups = [replace(g, sharpness=sharpness) for g in honest.gated.groups]
    settings = replace(honest.certificate.settings, sharpness=sharpness)
    return forge.with_groups(honest.gated, groups), replace(honest.certificate, settings=settings)


def _wide_dead_zone(honest: PatchSubmission, seed: int, strength: float) -> Forged:
    """Overlook violations as large as a pre-activation is."""
    domain = honest.certificate.settings.domain
    typical = typical_activation(honest.network, domain.lower, domain.upper)
    groups = [
        replace(g, dead_zone=float(np.float32(_towards(g.dead_zone or typical, typical, strength))))
        for g in honest.gated.groups
    ]
    return forge.with_groups(honest.gated, groups), honest.certificate


_FORGERIES: dict[str, Callable[[PatchSubmission, int, float], Forged]] = {
    "wrong-rows": _wrong_rows,
    "own-label": _own_label,
    "negative-margin": _negative_margin,
    "loose-margin": _loose_margin,
    "small-bound": _small_bound,
    "wrong-digest": _wrong_digest,
    "tiny-radius": _tiny_radius,
    "tiny-sharpness": _tiny_sharpness,
    "wide-dead-zone": _wide_dead_zone,
}
VARIANTS = tuple(_FORGERIES)

BEHAVIOUR = Behaviour(
    "invalid-certificate",
    7,
    judged.title,
    ("the submission", "forgotten records"),
    VARIANTS,
    of_patches(simulate),
    detect,
    detect_model,
    strength="the share of claims that are touched; what all claims share goes that far, on a "
    "logarithmic scale, from what is honest to what is void",
    hiding="a flaw in the checker: every claim is derived anew, in rigorous arithmetic",
)
