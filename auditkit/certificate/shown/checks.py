"""The measurements as checks that never pass or fail anything.

Each is of severity INFO and never required. Distances between records are rounded to two digits,
because a distance to public records, in full, would test a guess at a record as a digest does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from auditkit.certificate.case import Case
from auditkit.certificate.intervals import share_interval
from auditkit.certificate.shown.neighbourhood import LEVELS, SHOWN_LEVEL, retention_curve
from auditkit.certificate.shown.reach import Opened, Reach, measure_reach
from auditkit.certificate.shown.reconstruction import pictures, reconstruct_records
from auditkit.results import CheckResult, Severity, not_run, shown

SHOWN = {
    "limits.neighbourhood": "How often noisy copies keep the original answer",
    "limits.regions": "How many records share the regions of the forgotten ones",
    "limits.deletion-list": "How well the patch alone tells who was forgotten",
    "limits.reconstruction": "How near the patch alone leads to a forgotten record",
}
MOST_GATES = 10  # named one by one
CROWDED = (1, 2, 10, 100)  # other records at a gate, at least


def shown_checks(case: Case) -> list[CheckResult]:
    """Return the four measurements, not run where no record or no key was given."""
    if case.records is None or case.key is None or not len(case.records):
        return [_missing(name, case.why_no_records) for name in SHOWN]
    reach = measure_reach(case)
    return [
        _neighbourhood(case),
        _regions(case, reach),
        _deletion_list(case, reach),
        _reconstruction(case, reach),
    ]


def shown_not_run(reason: str) -> list[CheckResult]:
    """Return the four, not run for this reason."""
    return [_missing(name, reason) for name in SHOWN]


def _neighbourhood(case: Case) -> CheckResult:
    name = "limits.neighbourhood"
    curve = retention_curve(case)
    if curve is None:
        return _missing(name, "the networks' outputs at noisy copies are not all finite")
    at = LEVELS.index(SHOWN_LEVEL)
    share, interval = curve.retained["gaussian"][at], curve.intervals["gaussian"][at]
    return _shown(
        name,
        f"{share:.0%} of noisy copies of forgotten records (Gaussian, standard deviation "
        f"{SHOWN_LEVEL:g} of the domain's width) still get the original network's answer; "
        f"of the records themselves {curve.at_records:.0%}",
        observed=share,
        interval=interval,
        n=curve.records,
        evidence={
            "levels": list(curve.levels),
            "gaussian": _series(curve.retained["gaussian"], curve.intervals["gaussian"]),
            "uniform": _series(curve.retained["uniform"], curve.intervals["uniform"]),
            "at_the_records": curve.at_records,
            "records": curve.records,
            "of_records": len(case.records) if case.records is not None else 0,
            "copies_of_each": curve.copies,
        },
    )


def _series(share: list[float], interval: list[tuple[float, float]]) -> dict[str, Any]:
    return {
        "retained": share,
        "lower": [low for low, _ in interval],
        "upper": [high for _, high in interval],
    }


def _regions(case: Case, reach: Reach) -> CheckResult:
    sizes = np.bincount(reach.region)
    sizes = sizes[sizes > 0]
    evidence: dict[str, Any] = {
        "forgotten": len(reach.region),
        "regions_of_the_forgotten": len(sizes),
        "most_forgotten_in_one_region": int(sizes.max()),
        "gates": case.submission.patch.gates,
    }
    told = f"{len(reach.region)} forgotten record(s) lie in {len(sizes)} region(s)"
    observed, interval, n = None, None, 0
    if not case.submission.patch.gates:
        told += "; the patch has no gate"
    elif not reach.others:
        told += "; how many others lie there was not measured: give --retain"
    else:
        caught = np.zeros(case.submission.patch.gates, dtype=np.int64)
        hits = 0
        for kind, opened in reach.others.items():
            evidence[kind] = _openings(opened)
            caught += opened.count
            hits, n = hits + int(opened.fully.sum()), n + len(opened.fully)
        observed, interval = hits / n, share_interval(hits, n)
        crowded = int((caught > 0).sum())
        evidence["gates_open_at_others"] = {
            f"at_least_{least}": int((caught >= least).sum()) for least in CROWDED
        }
        evidence["most_crowded"] = _most_crowded(case, reach, caught)
        told += (
            f"; a gate is fully open at {hits} of {n} other records, "
            f"and {crowded} of {len(caught)} gate(s) at one or more of them"
        )
        if crowded:
            told += f" (at most {int(caught.max())})"
    return _shown(
        "limits.regions", told, observed=observed, interval=interval, n=n or None, evidence=evidence
    )


def _openings(opened: Opened) -> dict[str, Any]:
    fully, partly, n = int(opened.fully.sum()), int(opened.partly.sum()), len(opened.fully)
    return {
        "n": n,
        "fully_open": fully,
        "fully_open_share": fully / n,
        "fully_open_interval": list(share_interval(fully, n)),
        "at_all_open": partly,
        "at_all_open_share": partly / n,
        "at_all_open_interval": list(share_interval(partly, n)),
    }


def _most_crowded(case: Case, reach: Reach, caught: np.ndarray) -> list[dict[str, Any]]:
    """Name the gates that catch most others, by group and member alone."""
    patch = case.submission.patch
    order = np.argsort(-caught, kind="stable")[:MOST_GATES]
    return [
        {
            "group": patch.groups[patch.table.source[patch.table.group[gate]]].name,
            "member": int(patch.table.member[gate]),
            **{kind: int(opened.count[gate]) for kind, opened in reach.others.items()},
        }
        for gate in order
        if caught[gate]
    ]


def _deletion_list(case: Case, reach: Reach) -> CheckResult:
    name = "limits.deletion-list"
    if not case.submission.patch.gates:
        return _missing(name, "the patch has no gate: it names a class and no record")
    found, n = int(reach.forgotten.fully.sum()), len(reach.forgotten.fully)
    evidence: dict[str, Any] = {
        "true_positives": found,
        "forgotten": n,
        "true_positive_rate": found / n,
        "true_positive_interval": list(share_interval(found, n)),
    }
    told = []
    for kind, opened in reach.others.items():
        wrong, of = int(opened.fully.sum()), len(opened.fully)
        evidence[kind] = {
            "false_positives": wrong,
            "n": of,
            "false_positive_rate": wrong / of,
            "false_positive_interval": list(share_interval(wrong, of)),
        }
        told.append(f"{wrong} of {of} {kind} ones")
    accused = "accuses " + " and ".join(told) if told else "was tried on no others: give --retain"
    return _shown(
        name,
        f"whoever holds the patch and asks at which records a gate is fully open finds {found} of "
        f"{n} forgotten records; the same test {accused}",
        observed=found / n,
        interval=share_interval(found, n),
        n=n,
        evidence=evidence,
    )


def _reconstruction(case: Case, reach: Reach) -> CheckResult:
    name = "limits.reconstruction"
    if not case.submission.patch.gates:
        return _missing(name, "the patch has no gate: it holds no record's region")
    found = reconstruct_records(case, reach)
    if found is None:
        return _missing(name, "no gate is fully open at a forgotten record")
    n, right = len(found.record), int(found.found.sum())
    nearer = int((found.distance < found.from_other).sum())
    ratio = _rounded(np.median(found.distance / np.maximum(found.from_start, 1e-300)))
    guess = "the mean of other records" if found.start != "the middle of the domain" else "it"
    evidence: dict[str, Any] = {
        "reconstructed": n,
        "started_from": found.start,
        "distance": _rounded(np.median(found.distance)),
        "distance_of_a_guess_without_the_patch": _rounded(np.median(found.from_start)),
        "ratio_to_the_guess": ratio,
        "candidates": found.candidates,
    }
    told = (
        f"from its gate alone, starting from {found.start}, a record was approached to "
        f"{ratio:g} of its distance from {guess} (median of {n})"
    )
    observed, interval = None, None
    if found.candidates > 1:
        observed, interval = right / n, share_interval(right, n)
        evidence["identified"] = right
        evidence["chance"] = 1 / found.candidates
        evidence["nearer_than_any_other_forgotten_record"] = nearer
        evidence["distance_of_the_nearest_other_forgotten_record"] = _rounded(
            np.median(found.from_other)
        )
        told += (
            f"; the forgotten record nearest to what was found is the right one {right} times of "
            f"{n}, where chance is 1 in {found.candidates}"
        )
    return _shown(
        name,
        told,
        observed=observed,
        interval=interval,
        n=n,
        evidence=evidence,
        private={"pictures": pictures(case, found)},
    )


def _rounded(value: Any) -> float:
    """Return two digits of a distance: enough to read and too few to recognise a record by."""
    return float(f"{float(value):.2g}")


def _shown(name: str, reason: str, **figures: Any) -> CheckResult:
    return shown(name, SHOWN[name], reason, **figures)


def _missing(name: str, reason: str) -> CheckResult:
    return not_run(name, SHOWN[name], reason, required=False, severity=Severity.INFO)
