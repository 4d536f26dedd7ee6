"""What is particular to patches in explicit form: their rows, their affine offsets, their gates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.case import Case
from auditkit.certificate.check_explicit import RowFindings
from auditkit.network.evaluate import logits, pattern
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.generate import Request, deployed_margin, make_patch, measure
from auditkit.patch.published import scaled_offset
from auditkit.patch.region_rows import gated_settings, region_of
from auditkit.patch.settings import Settings, Spec
from auditkit.results import CheckResult, Outcome

NOTHING = 0.01  # of a record's logit range: a target this near changes nothing
WITNESSES = 5  # inputs for the confidential annex
OFFSET_TOLERANCE = 1e-3  # relative: another machine sums in another order
MOST_RECOMPUTED = 100  # groups whose offset is recomputed by linear programs, a second each

F64 = NDArray[np.float64]
Index = NDArray[np.int64]


def explained(case: Case, check: CheckResult) -> CheckResult:
    """Return the support check with what is wrong with the rows, and gates that nobody claims."""
    rows, matched = case.rows, case.matched
    assert rows is not None and matched is not None
    told = row_faults(rows)
    if case.exact:
        told.append("rows are judged in float64 rounded outward, not in exact arithmetic")
    idle = case.submission.patch.gates - len(set(matched.claims.gate.tolist()))
    outcome = check.outcome
    if idle:
        told.append(f"{idle} gate(s) without a claim, whose rows were compared with no region")
        outcome = Outcome.INCONCLUSIVE if outcome is Outcome.PASS else outcome
    counts = {
        "stated_rows": int(rows.stated.sum()),
        "true_rows": int(rows.true.sum()),
        "missing_rows": int(rows.missing.sum()),
        "wrong_rows": int(rows.wrong.sum()),
        "rows_of_another_length": int(rows.unnormalised.sum()),
        "reaching_beyond": int(rows.reaches_beyond.sum()),
        "falling_short": int(rows.falls_short.sum()),
        "gates_without_claim": idle,
    }
    shown = np.flatnonzero(~np.isnan(rows.witness).any(axis=1))[:WITNESSES]
    per_record = [
        row
        | {
            "stated_rows": int(rows.stated[i]),
            "missing_rows": int(rows.missing[i]),
            "wrong_rows": int(rows.wrong[i]),
        }
        for i, row in enumerate(check.evidence["records"])
    ]
    return replace(
        check,
        outcome=outcome,
        reason="; ".join([check.reason, *told]),
        evidence={**check.evidence, **counts, "records": per_record},
        private={"witnesses": rows.witness[shown].tolist()} if len(shown) else {},
    )


def row_faults(rows: RowFindings) -> list[str]:
    """Return each way in which stated rows and true ones differ, over all claims."""
    told = []
    known = rows.stated >= 0

    def counted(bad: Index, of: Index, what: str, then: str) -> None:
        index = np.flatnonzero(known & (bad > 0))
        if len(index):
            told.append(
                f"{int(bad[index].sum())} of {int(of[index].sum())} {what} at {len(index)} "
                f"record(s): {then}"
            )

    counted(
        rows.wrong, rows.stated, "stated rows are not shown to hold on the claimed region",
        "the gate may be closed on a part of it",
    )  # fmt: skip
    counted(
        rows.missing, rows.true, "true rows are neither stated nor implied by the stated ones",
        "the gate may reach beyond the region",
    )  # fmt: skip
    counted(
        rows.unnormalised, rows.stated, "stated rows are not of length 1",
        "a short row closes its gate late",
    )  # fmt: skip
    for flags, what in (
        (rows.falls_short, "a gate is closed at an input of the claimed region (witness)"),
        (rows.reaches_beyond, "a gate is fully open at an input of another region (witness)"),
        (rows.flat & known, "the record lies on a face: polytope or region may be flat"),
        (rows.tied, "the record's own pattern cannot be told from rounding"),
        (~known, "the region has too many rows to be compared"),
    ):
        if flags.any():
            told.append(f"{what} at {int(flags.sum())} record(s)")
    return told


def faults(case: Case) -> list[str]:
    """Return what makes explicit claims worthless together: one target vector that is several."""
    settings, rows = case.submission.certificate.settings, case.rows
    if rows is None or settings.spec is not Spec.NEUTRALISE:
        return []
    if float(np.ptp(rows.answer, axis=0).max(initial=0.0)) <= 2 * settings.margin:
        return []
    return ["neutralise with more than one target vector"]


def canonical(case: Case, name: str, title: str) -> CheckResult:
    """Compare affine offsets with what the settings give, where that can be computed again."""
    rows, matched, patch = case.rows, case.matched, case.submission.patch
    assert rows is not None and matched is not None and isinstance(patch, ExplicitPatch)
    settings = case.submission.certificate.settings
    wrong = [
        f"group {group.name} has sharpness {group.sharpness:g}, the settings {settings.sharpness}"
        for group in patch.groups
        if group.sharpness != settings.sharpness
    ]
    if settings.bands:
        wrong.append(
            f"the settings ask for {settings.bands} bands, which written-out rows have not"
        )
    evidence: dict[str, Any] = {"bound": sorted(set(patch.table.bound.tolist()))[:10]}
    figures: dict[str, Any] = {"threshold": OFFSET_TOLERANCE, "n": len(patch.groups)}
    if wrong:
        return CheckResult(
            name, title, Outcome.FAIL, "; ".join(wrong[:5]), evidence=evidence, **figures
        )
    if settings.spec is Spec.REDIRECT:
        outcome, told, worst = _redirects(case, patch, settings, evidence)
        figures["observed"] = worst
    else:
        outcome, told = _outputs(case, patch, evidence)
    return CheckResult(name, title, outcome, told, evidence=evidence, **figures)


def _redirects(
    case: Case, patch: ExplicitPatch, settings: Settings, evidence: dict[str, Any]
) -> tuple[Outcome, str, float | None]:
    """Compare with our own constant offset, then with that of the published algorithm."""
    matched, network = case.matched, case.submission.network
    assert matched is not None
    x, table = matched.claims.x, patch.table
    group = table.group[matched.claims.gate]
    stated = table.offsets(group, x)
    scale = 1 + np.abs(stated).max(axis=1)
    gap = np.full(len(x), np.inf)
    flat = ~np.any(table.slope, axis=(1, 2))[group]
    try:
        own = _recomputed(case, settings)
        gap[flat] = (np.abs(own - stated).max(axis=1) / scale)[flat]
    except (ValueError, OverflowError) as error:
        evidence["not_recomputed"] = str(error)
    constant = gap <= OFFSET_TOLERANCE
    done = set(group[constant].tolist())
    bits = pattern(network, x)
    bounds = measure(network, x.astype(network.dtype), settings)
    left = [g for g in np.unique(group).tolist() if g not in done]
    scaled = 0
    for g in left[:MOST_RECOMPUTED]:
        for i in np.flatnonzero(group == g):
            region = region_of(network, bits[i])
            margin = deployed_margin(settings, bounds.error[group == g])
            target = int(matched.claims.target[i])
            try:
                again = scaled_offset(
                    region, target, margin, settings.domain.lower, settings.domain.upper
                )
            except ValueError:
                continue
            value = again.slope @ x[i].reshape(-1) + again.shift
            difference = np.abs(value - stated[i]).max() / scale[i]
            tilt = np.abs(again.slope - table.slope[g]).max() / (1 + np.abs(again.slope).max())
            gap[group == g] = np.minimum(gap[group == g], max(difference, tilt))
            if max(difference, tilt) <= OFFSET_TOLERANCE:
                done.add(g)
                scaled += 1
                break
    evidence["constant_offsets_recomputed"] = len(np.unique(group)) - len(left)
    evidence["published_offsets_recomputed"] = scaled
    unknown = [g for g in np.unique(group).tolist() if g not in done]
    finite = gap[np.isfinite(gap)]
    worst = float(finite.max()) if finite.size else None
    if unknown:
        told = f"{len(unknown)} group(s) have offsets that are neither the least ones for these "
        told += "settings nor those of the published algorithm: what chose them is not known"
        return Outcome.INCONCLUSIVE, told, worst
    told = "every offset agrees with its recomputation from records, region and margin"
    if scaled:
        told = f"{scaled} offset(s) agree with the published algorithm's, which are larger than "
        told += "needed; the others with the least ones for these settings"
    return Outcome.PASS, told, worst


def _recomputed(case: Case, settings: Settings) -> F64:
    """Return, per claim, the offset [C] that a gated patch for the same request has, or NaN."""
    matched, network = case.matched, case.submission.network
    assert matched is not None
    records = matched.records
    request = Request(records.x.astype(network.dtype), records.y)
    made = make_patch(network, request, gated_settings(network, settings))
    expected = np.full((len(records), network.classes), np.nan)
    for index, (group, member) in enumerate(
        zip(made.assignment.group, made.assignment.member, strict=True)
    ):
        gate = made.patch.find(group, int(member))
        if gate is not None:
            expected[index] = made.patch.table.offset[made.patch.table.group[gate]]
    return expected[matched.record]


def _outputs(case: Case, patch: ExplicitPatch, evidence: dict[str, Any]) -> tuple[Outcome, str]:
    """An offset q - f has slope -J; where q comes from is the owner's word."""
    rows, matched, network = case.rows, case.matched, case.submission.network
    assert rows is not None and matched is not None
    claims, table = matched.claims, patch.table
    before = logits(network, claims.x)
    near = np.maximum(claims.margin, NOTHING * np.ptp(before, axis=1))
    idle = int((np.abs(before - rows.answer).max(axis=1) <= near).sum())
    evidence["target_source"] = "the owner's word"
    evidence["target_is_what_the_original_says"] = idle
    if idle == len(claims):
        return Outcome.FAIL, "every answer is what the original network says anyway"
    bits, group = pattern(network, claims.x), table.group[claims.gate]
    other = 0
    for i in range(len(claims)):
        slope = region_of(network, bits[i]).slope
        other += bool(
            np.abs(slope + table.slope[group[i]]).max()
            > OFFSET_TOLERANCE * (1 + np.abs(slope).max())
        )
    if idle:
        return Outcome.INCONCLUSIVE, f"{idle} answer(s) are what the original network says anyway"
    if other:
        told = f"{other} offset(s) do not take back the network's own slope: they are not q - f, "
        return Outcome.INCONCLUSIVE, told + "and what chose them is not known"
    told = "every offset is q - f written out; where the vectors q come from is the owner's word "
    return Outcome.PASS, told + "here, and compared by recomputation"
