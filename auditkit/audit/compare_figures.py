"""What a comparison shows without judging it: offsets, outputs, bounds, sizes, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.audit.compare_gates import GateMatch
from auditkit.audit.compare_regions import region_bounds
from auditkit.certificate.identity import record_digests
from auditkit.certificate.submission import PatchSubmission
from auditkit.network.evaluate import logits
from auditkit.patch.gates import GateTable, Patch
from auditkit.patch.tensors import patch_to_bytes
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, Severity, not_run, shown

Sides = tuple[PatchSubmission, PatchSubmission]
Keys = tuple[bytes, bytes] | None

GROUPS_LISTED = 200

TITLES = {
    "compare.gates": "The same gates as the request calls for",
    "compare.specification": "Both patches meet the specification",
    "compare.offsets": "Difference of the offsets",
    "compare.outputs": "Difference of the patched networks at records",
    "compare.regions": "Bound on their difference over the claimed regions",
    "compare.size": "Size of the patches",
}


def offsets(sides: Sides, match: GateMatch, records: Records | None) -> CheckResult:
    """Show, for every stored group of the owner's, the largest difference to its counterpart."""
    theirs, ours = (side.patch.table for side in sides)
    if not match.pairs:
        return _missing("compare.offsets", "the patches have no gate in common")
    if not (isinstance(theirs, GateTable) and isinstance(ours, GateTable)):
        return _offsets_at_records(sides, match, records)
    groups: dict[int, list[tuple[int, int]]] = {}
    for one, other in match.pairs:
        pair = (int(theirs.group[one]), int(ours.group[other]))
        groups.setdefault(int(theirs.source[pair[0]]), []).append(pair)
    rows, worst, compared = [], 0.0, 0
    for source, pairs in sorted(groups.items()):
        both = np.array(pairs)
        alike = theirs.kind_output[both[:, 0]] == ours.kind_output[both[:, 1]]
        gap = np.abs(theirs.offset[both[:, 0]] - ours.offset[both[:, 1]]).max(axis=1)[alike]
        counterpart = sides[1].patch.groups[int(ours.source[both[0, 1]])]
        mine = sides[0].patch.groups[source]
        largest = float(gap.max()) if len(gap) else None
        worst, compared = max(worst, largest or 0.0), compared + int(alike.sum())
        rows.append(
            {
                "group": mine.name,
                "counterpart": counterpart.name,
                "gates": len(pairs),
                "largest_difference": largest,
                "kinds": [mine.kind.value, counterpart.kind.value],
                "bound": [mine.bound, counterpart.bound],
                "sharpness": [mine.sharpness, counterpart.sharpness],
                "dead_zone": [mine.dead_zone, counterpart.dead_zone],
            }
        )
    if not compared:
        return _missing("compare.offsets", "the offsets of common gates are of different kinds")
    return _shown(
        "compare.offsets",
        f"offsets of {compared} common gate(s) differ by up to {worst:.3g}",
        observed=worst,
        n=compared,
        evidence={"groups": rows[:GROUPS_LISTED], "groups_compared": len(rows)},
    )


def _offsets_at_records(sides: Sides, match: GateMatch, records: Records | None) -> CheckResult:
    """Show how far offsets of different forms are apart at the records whose gates they share.

    An affine offset is compared with a constant one where both are meant to act.
    """
    if records is None:
        return _missing("compare.offsets", "the forgotten records are withheld")
    there = []
    for one, other in match.pairs:
        common = sorted(set(match.touched[one]) & set(match.served[other]))
        there.append(common[0] if common else -1)
    index = np.array(there, dtype=np.int64)
    known = np.flatnonzero(index >= 0)
    if not len(known):
        return _missing("compare.offsets", "no common gate is open at a common record")
    values = [
        offsets_at(side, gates[known], records.x[index[known]])
        for side, gates in zip(sides, np.array(match.pairs, dtype=np.int64).T, strict=True)
    ]
    gap = np.abs(values[0] - values[1]).max(axis=1)
    worst = float(gap.max())
    return _shown(
        "compare.offsets",
        f"offsets of {len(known)} common gate(s) differ by up to {worst:.3g} at their records",
        observed=worst,
        n=len(known),
        evidence={"median_difference": float(np.median(gap)), "at": "the records"},
    )


def offsets_at(
    side: PatchSubmission, gates: NDArray[np.int64], x: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return what gate `gates[i]` adds [N, C] when fully open at `x[i]`."""
    table = side.patch.table
    group = table.group[gates]
    if not isinstance(table, GateTable):
        return table.offsets(group, x.astype(np.float64))
    bound = table.bound[group][:, None]
    before = logits(side.network, x.astype(np.float64))
    output = table.kind_output[group][:, None]
    p = np.where(output, table.offset[group] - before, table.offset[group])
    return np.asarray(np.clip(p, -bound, bound))


def outputs(sides: Sides, records: Records | None, retain: Records | None) -> CheckResult:
    """Show how far the two patched networks are apart at forgotten and at other records."""
    figures: dict[str, Any] = {}
    told, worst, total = [], 0.0, 0
    for kind, given in (("forgotten", records), ("other", retain)):
        if given is None:
            continue
        one, other = (side.patched.logits(given.x).astype(np.float64) for side in sides)
        gap = np.abs(one - other).max(axis=1)
        labels = int((one.argmax(axis=1) != other.argmax(axis=1)).sum())
        figures[kind] = {
            "largest_difference": float(gap.max()),
            "median_difference": float(np.median(gap)),
            "other_labels": labels,
            "n": len(given),
        }
        worst, total = max(worst, float(gap.max())), total + len(given)
        told.append(f"up to {gap.max():.3g} at {len(given)} {kind} records, {labels} other labels")
    if not told:
        return _missing("compare.outputs", "no records were given")
    return _shown(
        "compare.outputs",
        "logits differ by " + "; by ".join(told),
        observed=worst,
        n=total,
        evidence=figures,
    )


def regions(sides: Sides, records: Records | None, keys: Keys) -> CheckResult:
    """Show a bound, proved and not sampled, on the difference over each claimed region."""
    if records is None or keys is None:
        return _missing("compare.regions", "the forgotten records or the key of a list is withheld")
    found = region_bounds(*sides, records, keys)
    reasons = "; ".join(f"{why}: {n}" for why, n in found.unbounded.items())
    if not len(found.bound):
        return _missing("compare.regions", f"no region can be compared: {reasons}")
    digests = record_digests(records, keys[0])
    finite = np.isfinite(found.bound)
    worst = float(found.bound.max())
    told = f"no logit differs by more than {worst:.3g} on {len(found.bound)} claimed region(s)"
    if found.cross_talk.any():
        told += f"; on {int(found.cross_talk.sum())} of them other gates' reach is included"
    if reasons:
        told += f"; not bounded: {reasons}"
    return _shown(
        "compare.regions",
        told,
        observed=worst,
        n=len(found.bound),
        evidence={
            "bound_median": float(np.median(found.bound)),
            "bounded": int(finite.sum()),
            "with_cross_talk": int(found.cross_talk.sum()),
            "unbounded": found.unbounded,
            "records": [
                {"record": digests[record], "radius": float(radius), "bound": float(bound)}
                for record, radius, bound in zip(
                    found.record, found.radius, found.bound, strict=True
                )
            ],
        },
    )


def size(sides: Sides, records: Records | None) -> CheckResult:
    """Show bytes, gates, groups, and how much either patch adds at most."""
    figures = [_figures(side, records) for side in sides]
    names = {name: [figure[name] for figure in figures] for name in figures[0]}
    one, other = figures
    told = f"{one['gates']} gate(s) in {one['groups']} group(s), {one['bytes']} bytes, "
    told += f"against {other['gates']} in {other['groups']}, {other['bytes']} bytes"
    return _shown("compare.size", told, observed=[one["bytes"], other["bytes"]], evidence=names)


def table_rows(sides: Sides, checks: Sequence[CheckResult]) -> list[dict[str, Any]]:
    """Return the comparison property by property: a value for each side, and a note."""
    by_id = {check.id: check for check in checks}
    figures = by_id["compare.size"].evidence
    met = by_id["compare.specification"].evidence
    settings = [side.certificate.settings for side in sides]
    notes = {name: _note(check) for name, check in by_id.items()}
    gates = by_id["compare.gates"]
    return [
        _row("Specification", [s.spec.value for s in settings]),
        _row("Scope", [s.scope.value for s in settings]),
        _row("Form", ["gated" if isinstance(s.patch, Patch) else "explicit" for s in sides]),
        _row("Margin", [s.margin for s in settings]),
        _row("Met at the records", met["point"]),
        _row("Met on the claimed regions", met["region"]),
        _row("Gates", figures["gates"], gates.reason if gates.outcome is Outcome.FAIL else None),
        _row("Groups", figures["groups"]),
        _row("Largest offset", figures["largest_offset"], notes["compare.offsets"]),
        _row("Largest change at a forgotten record", figures["largest_change"]),
        _row("Labels changed at forgotten records", figures["labels_changed"]),
        _row("Largest bound K", figures["bound"]),
        _row("Least sharpness n", figures["sharpness"]),
        _row("Largest dead zone", figures["dead_zone"]),
        _row("Bytes of the patch", figures["bytes"]),
        _row("Outputs at the records", [None, None], notes["compare.outputs"]),
        _row("Outputs on the claimed regions", [None, None], notes["compare.regions"]),
        _row("Digest of the network", [side.network_digest for side in sides]),
    ]


def sentence(checks: Sequence[CheckResult]) -> str:
    """Return the comparison in a sentence."""
    by_id = {check.id: check for check in checks}
    gates, met = by_id["compare.gates"], by_id["compare.specification"]
    words = []
    if gates.outcome is Outcome.PASS:
        words.append("The owner's patch has the gates that the request calls for")
    else:
        words.append(f"The owner's patch differs from the one made for the request: {gates.reason}")
    if met.outcome is Outcome.PASS:
        words.append("both patches meet the specification")
    else:
        words.append(met.reason)
    offset = by_id["compare.offsets"]
    if offset.observed is not None:
        same = offset.observed == 0
        words.append("offsets agree" if same else f"offsets differ by up to {offset.observed:.3g}")
    return "; ".join(words) + "."


def _figures(side: PatchSubmission, records: Records | None) -> dict[str, Any]:
    table = side.patch.table
    if isinstance(table, GateTable):
        constant, values = ~table.kind_output, table.offset
    else:
        constant, values = ~np.any(table.slope, axis=(1, 2)), table.shift
    clipped = np.clip(values, -table.bound[:, None], table.bound[:, None])[constant]
    change = labels = None
    if records is not None:
        before = logits(side.network, records.x.astype(side.network.dtype))
        after = side.patched.logits(records.x)
        change = float(np.abs(after.astype(np.float64) - before).max())
        labels = int((before.argmax(axis=1) != after.argmax(axis=1)).sum())
    return {
        "bytes": len(patch_to_bytes(side.patch)),
        "gates": side.patch.gates,
        "groups": len(table.source),
        "largest_offset": _most(clipped) if constant.any() else None,
        "largest_change": change,
        "labels_changed": labels,
        "bound": _most(table.bound),
        "sharpness": float(table.sharpness.min()),
        "dead_zone": _most(table.dead_zone),
    }


def _most(values: NDArray[np.float64]) -> float:
    return float(np.abs(values).max(initial=0.0))


def _row(name: str, values: Sequence[Any], note: str | None = None) -> dict[str, Any]:
    return {"name": name, "values": list(values), "note": note}


def _note(check: CheckResult) -> str | None:
    return None if check.outcome is Outcome.NOT_RUN else check.reason


def _shown(name: str, reason: str, **figures: Any) -> CheckResult:
    return shown(name, TITLES[name], reason, **figures)


def _missing(name: str, reason: str) -> CheckResult:
    return not_run(name, TITLES[name], reason, required=False, severity=Severity.INFO)
