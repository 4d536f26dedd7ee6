"""Charts and tables of single records and people, from the checks that judged them.

Records and people stand under keyed names alone: whoever can guess a record learns nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from auditkit.results import CheckResult, Outcome

SECTION = "membership"
EXPOSURE = "attack.exposure"
SMALL = "attack.small-request"
MOST_ROWS = 50  # the most exposed; the record has more of them
NAME = 16  # characters of a keyed digest, enough to tell records of one request apart

Row = Mapping[str, Any]


def exposure_charts(checks: Iterable[CheckResult]) -> list[dict[str, Any]]:
    """Return the p-values of all records in order of size, with the limit of false discoveries."""
    check = _check(checks, EXPOSURE)
    rows = [] if check is None else _rows(check, "records")
    values = [p for row in rows if (p := _number(row.get("p"))) is not None]
    if check is None or not values:
        return []
    rate = _number(check.evidence.get("rate")) or 0.05
    exposed = sum(bool(row.get("exposed")) for row in rows)
    total = int(_number(check.evidence.get("records_in_all")) or len(values))
    return [
        {
            "id": "exposure",
            "section": SECTION,
            "kind": "p-values",
            "title": "Single records: who stands out",
            "description": f"The {len(values)} smallest p-values of {total} forgotten records "
            "having never been seen, in order of size. Records that were never seen lie along the "
            "dotted line. Exposed are those up to the last below the dashed one, so that "
            f"{100 * rate:g} % of them at most are expected to be mistakes; here {exposed}."
            f"{_assuming(check)}",
            "values": sorted(values),
            "rate": rate,
            "exposed": exposed,
            "total": total,
            "least": _number(check.evidence.get("least_p")),
        }
    ]


def exposure_tables(checks: Iterable[CheckResult]) -> list[dict[str, Any]]:
    """Return records and people, the most exposed first."""
    checks = tuple(checks)
    made: list[dict[str, Any]] = []
    found = _check(checks, EXPOSURE)
    if found is not None:
        made.append(
            _table(
                "exposure",
                "Exposure of single records",
                "p: of never having been seen. q: the share of mistakes among all records up to "
                "this one. Power: the chance that a model that saw it is noticed."
                f"{_assuming(found)}",
                _rows(found, "records"),
                {
                    "record": "record (keyed)",
                    "p": "p",
                    "q": "q",
                    "exposed": "exposed",
                    "power": "power",
                },
                found.evidence.get("records_in_all"),
            )
        )
        made.append(
            _table(
                "exposure-people",
                "Exposure of people",
                "All records of a person together.",
                _rows(found, "subjects"),
                {
                    "subject": "person (keyed)",
                    "records": "records",
                    "p": "p",
                    "q": "q",
                    "exposed": "exposed",
                },
                found.evidence.get("subjects_in_all"),
            )
        )
    small = _check(checks, SMALL)
    if small is not None:
        made.append(
            _table(
                "small-request",
                "Each record of the request",
                "p: of never having been seen, after Holm's correction over the request. Power: "
                "the share of models that saw the record and would be noticed; with little of it "
                f"no answer is possible. {small.evidence.get('shadows', 0)} shadow models."
                f"{_assuming(small)}",
                _rows(small, "records"),
                {
                    "record": "record (keyed)",
                    "before": "before",
                    "after": "after",
                    "p": "p",
                    "power": "power",
                },
            )
        )
        made.append(
            _table(
                "small-request-people",
                "Each person of the request",
                "A person is exposed by any one of their records.",
                _rows(small, "subjects"),
                {"subject": "person (keyed)", "records": "records", "after": "after"},
            )
        )
    return [table for table in made if table["rows"]]


def _check(checks: Iterable[CheckResult], name: str) -> CheckResult | None:
    return next((c for c in checks if c.id == name and c.evidence), None)


def _rows(check: CheckResult, name: str) -> list[Row]:
    rows = check.evidence.get(name)
    return (
        [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list | tuple) else []
    )


def _table(
    name: str,
    title: str,
    description: str,
    rows: list[Row],
    columns: dict[str, str],
    total: Any = None,
) -> dict[str, Any]:
    """Return the first rows, exposed ones before others and small p-values before large ones."""
    kept = {key: head for key, head in columns.items() if any(key in row for row in rows)}
    first = next(iter(columns))
    ordered = sorted(rows, key=_urgency)[:MOST_ROWS]
    cells = [
        [str(row.get(key))[:NAME] if key == first else row.get(key) for key in kept]
        for row in ordered
    ]
    return {
        "id": name,
        "section": SECTION,
        "title": title,
        "description": description,
        "columns": list(kept.values()),
        "rows": cells,
        "total": max(len(rows), int(_number(total) or 0)),
    }


def _urgency(row: Row) -> tuple[bool, float, str]:
    p = _number(row.get("p"))
    return (
        not _exposed(row),
        math.inf if p is None else p,
        str(row.get("record", row.get("subject"))),
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _assuming(check: CheckResult) -> str:
    """Return on what the p-values rest, and why nothing follows from them where nothing does."""
    assumption = check.evidence.get("assumption")
    said = f" Assuming {assumption}." if assumption else ""
    named = any(_exposed(row) for row in _rows(check, "records"))
    doubtful = named and check.outcome is Outcome.INCONCLUSIVE
    return said + (f" Nothing is concluded from this: {check.reason}." if doubtful else "")


def _exposed(row: Row) -> bool:
    return bool(row.get("exposed")) or row.get("after") == "exposed"
