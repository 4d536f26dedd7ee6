"""From what the checker found of each claim to one outcome a check."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate import judge_rows
from auditkit.certificate.case import Case
from auditkit.certificate.check import Verdict
from auditkit.certificate.history import active, derive_patch
from auditkit.certificate.inner_radius import sampled_inner_radius
from auditkit.certificate.judge_rows import NOTHING, OFFSET_TOLERANCE
from auditkit.certificate.matching import policy_faults
from auditkit.network.evaluate import logits
from auditkit.network.interior import has_interior
from auditkit.network.interval import deployed_size, shift_rounding
from auditkit.network.relaxation import lead_ceiling
from auditkit.patch.gates import Group, OffsetKind
from auditkit.patch.settings import Method, Settings, Spec
from auditkit.results import CheckResult, Outcome, not_run


def support(case: Case) -> CheckResult:
    """The pattern of each gate is its record's, and the gate is fully open there."""
    name, title = "patch.support", "Each gate opens on the true region of its record"
    refused = _cannot(case, name, title)
    if refused:
        return refused
    findings = case.findings
    assert findings is not None and case.matched is not None
    # what rows enclose is judged with them
    solid = np.ones(len(findings.support), bool) if case.rows is not None else _solid(case)
    both = np.where(
        (findings.support == Verdict.REFUTED) | (findings.gate_open == Verdict.REFUTED),
        Verdict.REFUTED,
        np.where(solid, np.minimum(findings.support, findings.gate_open), Verdict.UNPROVED),
    )
    if case.rows is not None:
        told = "the gate's rows are those of the record's region, and its gate alone is open there"
        return judge_rows.explained(case, _judged(case, name, title, both, told))
    return _judged(
        case,
        name,
        title,
        both,
        "the gate's pattern is the record's own, its region is not flat, and its gate alone is "
        "fully open there",
        evidence={
            "least_dead_zone_use": float(findings.unit_error.max(initial=0.0)),
            "not_shown_to_have_an_interior": int((~solid).sum()),
            **_inner_radius(case),
        },
    )


def _solid(case: Case) -> NDArray[np.bool_]:
    """Return, per claim, whether the claimed set is shown to have an interior."""
    assert case.matched is not None
    claims, submission = case.matched.claims, case.submission
    domain, bits = submission.certificate.settings.domain, submission.gated.table.patterns
    return has_interior(
        submission.network, bits[claims.gate], claims.x, claims.radius, domain.lower, domain.upper
    )


def _inner_radius(case: Case) -> dict[str, Any]:
    """Return how near the nearest face is to a sample of records, at most."""
    assert case.matched is not None
    claims = case.matched.claims
    bits = case.submission.gated.table.patterns[claims.gate]
    radii = sampled_inner_radius(case.submission.network, claims.x, bits, case.seed)
    return {
        "inner_radius_sampled": len(radii),
        "inner_radius_median_at_most": float(np.median(radii)) if len(radii) else None,
        "inner_radius_min_at_most": float(radii.min()) if len(radii) else None,
    }


def point(case: Case) -> CheckResult:
    """At the record, the patched network meets the specification with its margin."""
    name, title = "certificate.point", "The specification is met at the records"
    refused = _cannot(case, name, title)
    if refused:
        return refused
    assert case.findings is not None
    return _judged(
        case,
        name,
        title,
        case.findings.point,
        _specification(case.submission.certificate.settings) + " at the record",
        slack=case.findings.point_slack,
    )


def region(case: Case) -> CheckResult:
    """On the claimed sets too, and the claims are not below the auditor's floors."""
    name, title = "certificate.region", "The specification is met on the claimed regions"
    faults = policy_faults(case.submission, case.policy)
    if case.matched is not None:
        faults += judge_rows.faults(case)
        faults += [f"{n} × {fault}" for fault, n in sorted(Counter(case.matched.faults).items())]
    if faults:
        return CheckResult(
            name,
            title,
            Outcome.FAIL,
            "; ".join(faults[:5]),
            evidence={"faults": faults[:50]},
            threshold=_floors(case),
        )
    refused = _cannot(case, name, title)
    if refused:
        return refused
    findings, matched = case.findings, case.matched
    assert findings is not None and matched is not None
    radius, settings = matched.claims.radius, case.submission.certificate.settings
    narrower = int((radius < settings.radius).sum())
    told = f"{_specification(settings)} on the region within {float(radius.min()):g} of the record"
    if narrower:
        told += f" or more, {narrower} within less than the {settings.radius:g} of the settings"
    return _judged(
        case,
        name,
        title,
        findings.region,
        told,
        slack=findings.region_slack,
        threshold=_floors(case),
        evidence={
            "radius_min": float(radius.min()),
            "radius_median": float(np.median(radius)),
            "narrower_than_settings": narrower,
        },
    )


def deployed(case: Case) -> CheckResult:
    """The same claims for the network as its own floats compute it."""
    name, title = "certificate.deployed", "The claims hold in deployed floats"
    refused = _cannot(case, name, title)
    if refused:
        return refused
    assert case.findings is not None
    floats = case.submission.network.dtype.name
    return _judged(
        case,
        name,
        title,
        case.findings.deployed,
        f"the claims hold in {floats}, round to nearest, sums in any order, no TF32 or bfloat16",
        slack=case.findings.deployed_slack,
        evidence={
            "logit_error_max": float(case.findings.error.max(initial=0.0)),
            "unit_error_max": float(case.findings.unit_error.max(initial=0.0)),
        },
    )


def separation(case: Case) -> CheckResult:
    """Other groups are closed all over the claimed sets, or what they may add is in the claim."""
    name, title = "certificate.separation", "Other gates are closed on the claimed regions"
    refused = _cannot(case, name, title)
    if refused:
        return refused
    findings = case.findings
    assert findings is not None
    crossed = findings.crossing > 0
    verdicts = np.where(crossed & (findings.region != Verdict.PROVED), 0, 1).astype(np.int8)
    return _judged(
        case,
        name,
        title,
        verdicts,
        "every other group is closed on the claimed set, or its cross-talk is in the proved claim",
        evidence={
            "with_cross_talk": int(crossed.sum()),
            "groups_crossing_max": int(findings.crossing.max(initial=0)),
        },
    )


def canonical(case: Case) -> CheckResult:
    """The offsets are the ones that the stated settings give when they are computed again."""
    name, title = "certificate.canonical", "Offsets are those the settings give"
    refused = _cannot(case, name, title)
    if refused:
        return refused
    if case.rows is not None:
        return judge_rows.canonical(case, name, title)
    settings, patch = case.submission.certificate.settings, case.submission.gated
    table = patch.table
    evidence: dict[str, Any] = {"bound": sorted(set(table.bound.tolist()))[:10]}
    wrong = [
        f"group {group.name} has sharpness {group.sharpness:g}, the settings {settings.sharpness}"
        for group in patch.groups
        if group.sharpness != settings.sharpness
    ]
    for group in patch.groups:
        stated = group.bands.unit.shape[1] if group.bands else 0
        asked = min(settings.bands, patch.units) if len(group.patterns) else 0
        if stated != asked:
            wrong.append(f"group {group.name} has {stated} bands a gate, the settings {asked}")
    if settings.method is Method.SUPPRESS:
        note = "a suppressed class: its shift is judged by the region claim"
        differences = np.zeros(0)
    elif settings.spec is Spec.REDIRECT:
        try:
            differences = _offset_differences(case)
        except (ValueError, OverflowError) as error:
            differences = np.zeros(0)
            wrong.append(f"these settings give no patch for these records: {error}")
        note = "every offset agrees with its recomputation from records, region and margin"
    else:
        differences = np.zeros(0)
        note = (
            "the offset of this specification is its target vector; where that vector comes from "
            "is the owner's word here, and compared by recomputation"
        )
        assert case.matched is not None
        idle = _already_there(case)
        evidence["target_source"] = "the owner's word"
        evidence["target_is_what_the_original_says"] = idle
        if idle == len(case.matched.claims):
            wrong.append("every target is what the original network says anyway: nothing changes")
        elif idle:
            return CheckResult(
                name,
                title,
                Outcome.INCONCLUSIVE,
                f"{idle} target(s) are what the original network says anyway; {note}",
                observed=idle,
                threshold=0,
                n=len(table.source),
                evidence=evidence,
            )
    tolerance = OFFSET_TOLERANCE
    if differences.size and not (differences <= tolerance).all():
        wrong.append(
            f"{int((~(differences <= tolerance)).sum())} offset(s) differ by up to "
            f"{float(np.nanmax(differences)):.3g}"
        )
    return CheckResult(
        name,
        title,
        Outcome.FAIL if wrong else Outcome.PASS,
        "; ".join(wrong[:5]) if wrong else note,
        observed=float(differences.max()) if differences.size else None,
        threshold=tolerance,
        n=len(table.source),
        evidence=evidence,
    )


def _already_there(case: Case) -> int:
    """Return how many targets q are, within margin or 1 % of the logits' range, f at the record."""
    matched, submission = case.matched, case.submission
    assert matched is not None
    before = logits(submission.network, matched.claims.x)
    table = submission.gated.table
    gap = np.abs(before - table.offset[table.group[matched.claims.gate]]).max(axis=1)
    near = np.maximum(matched.claims.margin, NOTHING * np.ptp(before, axis=1))
    return int((gap <= near).sum())


def _offset_differences(case: Case) -> NDArray[np.float64]:
    """Return, per claim, the largest relative difference to the offset of a recomputed patch."""
    matched, submission = case.matched, case.submission
    assert matched is not None
    table, records = submission.gated.table, matched.records
    made = derive_patch(
        submission.network,
        submission.certificate.requests,
        records,
        matched.digests,
        submission.certificate.settings,
        None,
    )
    expected = np.full((len(records), submission.network.classes), np.nan)
    for index, (group, member) in enumerate(
        zip(made.assignment.group, made.assignment.member, strict=True)
    ):
        gate = made.patch.find(group, int(member))
        if gate is not None:
            expected[index] = made.patch.table.offset[made.patch.table.group[gate]]
    stated = table.offset[table.group[matched.claims.gate]]
    gap = np.abs(expected[matched.record] - stated).max(axis=1)
    return np.asarray(gap / (1 + np.abs(stated).max(axis=1)))


def _cannot(case: Case, name: str, title: str) -> CheckResult | None:
    """Return the result of a check that cannot judge single claims, or None."""
    settings = case.submission.certificate.settings
    if settings.method is Method.SUPPRESS:
        return _suppressed(case, name, title)
    if case.matched is None:
        return not_run(name, title, case.why_no_records)
    if case.findings is None:
        return CheckResult(
            name,
            title,
            Outcome.INCONCLUSIVE,
            "no claim about a requested record can be checked",
            observed=0,
            threshold=case.matched.requested,
            n=case.matched.requested,
        )
    return None


def _suppressed(case: Case, name: str, title: str) -> CheckResult:
    """Judge a suppressed class: its logit is shifted everywhere, which one bound covers."""
    submission = case.submission
    settings, patch = submission.certificate.settings, submission.patch
    label = settings.target_class
    assert label is not None
    faults = policy_faults(submission, case.policy)
    stated = [c for c in submission.certificate.claims if c.kind == "suppressed"]
    if [(c.target, c.margin) for c in stated] != [(label, settings.margin)]:
        faults.append(f"the certificate does not claim just that class {label} is suppressed")
    if label >= submission.network.classes:
        faults.append(f"class {label} of {submission.network.classes} classes")
    shifts: list[float] = []
    for group in patch.groups:
        kept = np.arange(patch.classes) != label
        if not isinstance(group, Group):
            faults.append(f"group {group.name} has gates, and class suppression has none")
        elif group.kind is not OffsetKind.ALWAYS or group.stacked or group.offset[kept].any():
            faults.append(f"group {group.name} does something else than to lower class {label}")
        elif not faults:
            shifts.append(min(-float(group.offset[label]), group.bound))
    # exactly, then rounded once: shifts may cancel
    shift = float(np.nextafter(math.fsum(shifts), -np.inf))
    if faults:
        return CheckResult(name, title, Outcome.FAIL, "; ".join(faults[:5]))
    if name in ("patch.support", "certificate.separation", "certificate.canonical"):
        reason = f"no gate: the logit of class {label} is lowered by {shift:g} everywhere"
        return CheckResult(name, title, Outcome.PASS, reason, observed=shift)
    domain = settings.domain
    ceiling = lead_ceiling(submission.network, label, domain.lower, domain.upper)
    need = ceiling.bound + settings.margin
    if name == "certificate.deployed":
        largest = deployed_size(submission.network, domain.lower, domain.upper)
        need += 2 * ceiling.error + shift_rounding(submission.network.dtype, largest, shifts)
    need = float(np.nextafter(need * (1 + 2.0**-50), np.inf))  # sums of a few floats, rounded up
    proved = shift * (1 - 2.0**-50) >= need
    return CheckResult(
        name,
        title,
        Outcome.PASS if proved else Outcome.INCONCLUSIVE,
        f"class {label} is {'never' if proved else 'not shown never to be'} predicted anywhere in "
        "the domain, and no other prediction changes; its logit survives, shifted, so attacks on "
        "scores see what they saw",
        observed=shift,
        threshold=need,
        evidence={"bound": ceiling.method, "lead_at_most": ceiling.bound},
    )


def _judged(
    case: Case,
    name: str,
    title: str,
    verdicts: NDArray[Any],
    statement: str,
    *,
    slack: NDArray[np.float64] | None = None,
    threshold: Any = None,
    evidence: dict[str, Any] | None = None,
) -> CheckResult:
    """Combine per-claim verdicts: one refuted fails, one unproved or missing is inconclusive."""
    matched = case.matched
    assert matched is not None
    proved = int((verdicts == Verdict.PROVED).sum())
    refuted = int((verdicts == Verdict.REFUTED).sum())
    missing, requested = len(matched.missing), matched.requested
    if refuted:
        outcome = Outcome.FAIL
    elif matched.faults or missing or proved < len(verdicts):
        outcome = Outcome.INCONCLUSIVE
    else:
        outcome = Outcome.PASS
    parts = [f"{proved} of {requested} proved: {statement}"]
    if refuted:
        parts.append(f"{refuted} refuted")
    if len(verdicts) - proved - refuted:
        parts.append(f"{len(verdicts) - proved - refuted} unproved")
    if missing:
        parts.append(f"{missing} requested record(s) without a claim")
    assert case.findings is not None
    exactly, too_wide = int(case.findings.exact.sum()), int(case.findings.too_wide.sum())
    if exactly:
        parts.append(f"{exactly} of {len(verdicts)} by exact arithmetic")
    if too_wide:
        parts.append(f"{too_wide} whose numbers are too wide for exact arithmetic")
    figures: dict[str, Any] = {
        "proved": proved,
        "refuted": refuted,
        "unproved": len(verdicts) - proved - refuted,
        "without_claim": missing,
        "by_exact_arithmetic": exactly,
        "too_wide_for_exact_arithmetic": too_wide,
        **(evidence or {}),
    }
    labels = [Verdict(int(v)).name.lower() for v in verdicts]
    rows = [
        {"record": matched.digests[matched.record[i]], "verdict": label}
        | ({} if slack is None else {"slack": float(slack[i])})
        for i, label in enumerate(labels)
    ]
    if slack is not None and len(slack):
        figures["slack_min"] = float(slack.min())
        figures["slack_median"] = float(np.median(slack))
    requests = active(case.submission.certificate.requests)
    if len(requests) > 1:
        held = {row["record"] for row in rows if row["verdict"] == "proved"}
        figures["requests"] = {
            r.id: {"proved": sum(d in held for d in r.records), "records": len(r.records)}
            for r in requests
        }
    figures["records"] = rows
    return CheckResult(
        name,
        title,
        outcome,
        "; ".join(parts),
        observed=proved,
        threshold=requested if threshold is None else threshold,
        n=requested,
        evidence=figures,
    )


def _specification(settings: Settings) -> str:
    if settings.spec is Spec.REDIRECT:
        return f"the target label leads by at least {settings.margin:g}"
    return f"every logit is within {settings.margin:g} of its target"


def _floors(case: Case) -> dict[str, Any]:
    policy = case.policy
    return {
        "specifications": list(policy.specifications),
        "domain": list(policy.domain),
        "least_radius": policy.least_radius * (policy.domain[1] - policy.domain[0]),
        "least_margin": policy.least_margin,
        "greatest_deviation": policy.greatest_deviation,
    }
