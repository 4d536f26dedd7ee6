"""Charts and table of what a certificate cannot say, from the checks that measured it."""

from __future__ import annotations

from typing import Any

from auditkit.results import CheckResult, Result

SECTION = "limits"
NOISE = {"gaussian": "Gaussian, standard deviation", "uniform": "Uniform, ∞-norm radius"}


def shown_charts(verified: Result, radius: float | None, width: float) -> list[dict[str, Any]]:
    """Return what can be drawn; `radius` is the claimed one, `width` the domain's."""
    return _curve(verified, radius, width) + _accused(verified)


def _curve(verified: Result, radius: float | None, width: float) -> list[dict[str, Any]]:
    check = verified.check("limits.neighbourhood")
    if check.observed is None:
        return []
    levels = check.evidence["levels"]
    markers = []
    if radius is not None and levels[0] <= radius / width <= levels[-1]:
        markers.append({"x": radius / width, "label": "claimed radius"})
    return [
        {
            "id": "limits-neighbourhood",
            "section": SECTION,
            "kind": "curve",
            "title": "Noisy copies that keep the original answer",
            "description": f"Copies of {check.n} forgotten records, "
            f"{check.evidence['copies_of_each']} of each at every point, clipped to the domain. "
            "Bands: 95 %, by record. The nearer to 1, the less of the neighbourhood is forgotten.",
            "x_label": "noise, as a share of the domain's width",
            "y_label": "share answered as by the original",
            "x": levels,
            "log_x": True,
            "shares": True,
            "markers": markers,
            "series": [
                {
                    "label": label,
                    "y": check.evidence[kind]["retained"],
                    "lower": check.evidence[kind]["lower"],
                    "upper": check.evidence[kind]["upper"],
                }
                for kind, label in NOISE.items()
            ],
        }
    ]


def _accused(verified: Result) -> list[dict[str, Any]]:
    evidence = verified.check("limits.deletion-list").evidence
    if "forgotten" not in evidence:
        return []
    bars = [("forgotten", evidence["true_positive_rate"], evidence["true_positive_interval"])]
    for kind in ("retained", "unseen"):
        if kind in evidence:
            told = evidence[kind]
            bars.append((kind, told["false_positive_rate"], told["false_positive_interval"]))
    return [
        {
            "id": "limits-deletion-list",
            "section": SECTION,
            "kind": "bars",
            "title": "Records at which a gate is fully open",
            "description": "The same test on each set, by whoever holds the patch. Lines: 95 %. "
            "The wider the gap, the better the patch serves as a list of who was forgotten.",
            "y_label": "share of the records",
            "categories": [name for name, _, _ in bars],
            "series": [
                {
                    "label": "gate fully open",
                    "values": [share for _, share, _ in bars],
                    "lower": [interval[0] for _, _, interval in bars],
                    "upper": [interval[1] for _, _, interval in bars],
                }
            ],
        }
    ]


def shown_tables(verified: Result) -> list[dict[str, Any]]:
    """Return one table: each share with its interval and its sample size."""
    rows = [
        *_region_rows(verified.check("limits.regions")),
        *_list_rows(verified.check("limits.deletion-list")),
        *_reconstruction_rows(verified.check("limits.reconstruction")),
    ]
    if not rows:
        return []
    return [
        {
            "id": "limits",
            "section": SECTION,
            "title": "What else the patch reaches, and what it gives away",
            "description": "Shares with exact 95 % intervals. Distances are 2-norms, medians, "
            "to two digits.",
            "columns": ["Measure", "Value", "From", "To", "n"],
            "rows": rows,
        }
    ]


def _region_rows(check: CheckResult) -> list[list[Any]]:
    evidence = check.evidence
    if "forgotten" not in evidence:
        return []
    rows = [
        [
            "Distinct regions of the forgotten records",
            evidence["regions_of_the_forgotten"], None, None, evidence["forgotten"],
        ]
    ]  # fmt: skip
    for kind in ("retained", "unseen"):
        if kind in evidence:
            told = evidence[kind]
            for name, words in (("fully_open", "fully"), ("at_all_open", "at least partly")):
                rows.append(
                    [
                        f"{kind.capitalize()} records with a gate {words} open",
                        told[f"{name}_share"], *told[f"{name}_interval"], told["n"],
                    ]
                )  # fmt: skip
    return rows


def _list_rows(check: CheckResult) -> list[list[Any]]:
    evidence = check.evidence
    if "forgotten" not in evidence:
        return []
    rows = [
        [
            "Forgotten records that a fully open gate finds (true-positive rate)",
            evidence["true_positive_rate"], *evidence["true_positive_interval"],
            evidence["forgotten"],
        ]
    ]  # fmt: skip
    for kind in ("retained", "unseen"):
        if kind in evidence:
            told = evidence[kind]
            rows.append(
                [
                    f"{kind.capitalize()} records that it accuses (false-positive rate)",
                    told["false_positive_rate"], *told["false_positive_interval"], told["n"],
                ]
            )  # fmt: skip
    return rows


def _reconstruction_rows(check: CheckResult) -> list[list[Any]]:
    evidence, n = check.evidence, check.n
    if "reconstructed" not in evidence:
        return []
    rows = [
        ["Distance of a reconstruction to its record", evidence["distance"], None, None, n],
        [
            "Distance of a guess without the patch",
            evidence["distance_of_a_guess_without_the_patch"], None, None, n,
        ],
    ]  # fmt: skip
    if "identified" in evidence:
        assert check.interval is not None
        rows += [
            [
                "Distance of the nearest other forgotten record",
                evidence["distance_of_the_nearest_other_forgotten_record"], None, None, n,
            ],
            ["Records identified by their reconstruction", check.observed, *check.interval, n],
            ["The same by chance", evidence["chance"], None, None, evidence["candidates"]],
        ]  # fmt: skip
    return rows
