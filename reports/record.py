"""What a record and its confidential annex must look like before they are rendered.

Optional parts may be absent and fields that are not named here are let through. A record
that claims more than its checks support is refused, not rendered.
"""

from __future__ import annotations

from typing import Any

from reports.errors import RecordError
from reports.schema import (
    Mismatch,
    Shape,
    anything,
    boolean,
    fields,
    integer,
    list_of,
    mapping,
    maybe,
    number,
    one_of,
    text,
)

RECORD_SCHEMA = "auditkit/record/v1"

OUTCOMES = ("pass", "fail", "inconclusive")
CHECK_OUTCOMES = (*OUTCOMES, "not_run")
SEVERITIES = ("failure", "limitation", "info")
CHART_SECTIONS = ("certificate", "limits", "membership", "comparison", "threats")

_points = list_of(maybe(number))
_band = {"lower": maybe(_points), "upper": maybe(_points)}
_chart_head: dict[str, Shape] = {"id": text, "kind": text, "title": text}
_chart_more: dict[str, Shape] = {
    "section": text,
    "description": maybe(text),
    "x_label": maybe(text),
    "y_label": maybe(text),
}

CHART_SHAPES: dict[str, Shape] = {
    "roc": fields(
        {
            "series": list_of(
                fields(
                    {"label": text, "fpr": _points, "tpr": _points},
                    {**_band, "role": maybe(one_of("reference"))},
                )
            )
        },
        {"resolvable": maybe(number)},
    ),
    "intervals": fields(
        {
            "categories": list_of(text),
            "series": list_of(fields({"label": text, "values": _points}, _band)),
        },
        {
            "zone": maybe(
                fields({"label": text, "centre": _points, "lower": _points, "upper": _points})
            )
        },
    ),
    "p-values": fields(
        {"values": _points, "rate": number},
        {"exposed": maybe(integer), "least": maybe(number), "total": maybe(integer)},
    ),
    "histogram": fields(
        {"edges": _points, "series": list_of(fields({"label": text, "counts": _points}))}
    ),
    "curve": fields(
        {"x": _points, "series": list_of(fields({"label": text, "y": _points}, _band))},
        {
            "log_x": maybe(boolean),
            "shares": maybe(boolean),
            "markers": maybe(list_of(fields({"x": number, "label": text}))),
            "guides": maybe(list_of(fields({"y": number, "label": text}))),
        },
    ),
    "bars": fields(
        {
            "categories": list_of(text),
            "series": list_of(fields({"label": text, "values": _points}, _band)),
        }
    ),
    "strip": fields(
        {"values": _points},
        {"threshold": maybe(fields({"value": number, "label": text}))},
    ),
}


def chart(value: Any, path: str) -> None:
    """Accept a chart of a known kind."""
    fields(_chart_head, _chart_more)(value, path)
    one_of(*CHART_SHAPES)(value["kind"], f"{path}.kind")
    CHART_SHAPES[value["kind"]](value, path)


_check = fields(
    {
        "id": text,
        "title": text,
        "outcome": one_of(*CHECK_OUTCOMES),
        "required": boolean,
        "severity": one_of(*SEVERITIES),
        "reason": text,
    },
    {
        "observed": anything,
        "threshold": anything,
        "interval": maybe(list_of(maybe(number), 2)),
        "n": maybe(integer),
        "evidence": maybe(mapping),
    },
)
_maybe_count = maybe(integer)
_membership = fields(
    {},
    {
        "tier": maybe(one_of("A", "B", "C")),
        "unknown": maybe(text),
        "groups": maybe(
            fields(
                {},
                dict.fromkeys(("forgotten", "people", "unseen", "retained"), _maybe_count),
            )
        ),
        "references": _maybe_count,
        "comparable": maybe(boolean),
        "comparability": maybe(text),
        "shadows": maybe(
            fields({"models": integer}, {"pool": _maybe_count, "recipe": maybe(mapping)})
        ),
        "no_shadows": maybe(text),
        "attacks": maybe(
            fields(
                {},
                {
                    "ran": _maybe_count,
                    "judged": _maybe_count,
                    "skipped": maybe(list_of(fields({"title": text, "reason": text}))),
                },
            )
        ),
        "rule": maybe(fields({}, {name: maybe(number) for name in ("margin", "alpha", "fpr")})),
        "cohort": maybe(boolean),
        "resolvable_fpr": maybe(number),
        "power": maybe(list_of(text)),
    },
)
_rate = maybe(list_of(number, 4))  # hits, n and the ends of the interval
_threat = fields(
    {
        "number": integer,
        "name": text,
        "title": text,
        "tested": boolean,
        "outcome": one_of(*CHECK_OUTCOMES),
    },
    {
        "id": text,
        "reason": maybe(text),
        "severity": maybe(one_of(*SEVERITIES)),
        **dict.fromkeys(("p", "p_adjusted", "p_support", "power"), maybe(number)),
        "interval": maybe(list_of(maybe(number), 2)),
        "n": _maybe_count,
        **dict.fromkeys(("hiding", "references"), maybe(text)),
        "needs": maybe(list_of(text)),
        "rates": maybe(fields({}, {"false_alarm": _rate, "power": _rate, "data": maybe(text)})),
    },
)
_line = fields({"outcome": one_of(*CHECK_OUTCOMES), "sentence": text})
_texts = maybe(list_of(text))

RECORD = fields(
    {
        "schema": one_of(RECORD_SCHEMA),
        "title": text,
        "outcome": one_of(*OUTCOMES),
        "verdict": fields(
            {"sentence": text, "outputs_redirected": _line, "information_removed": _line}
        ),
        "checks": list_of(_check),
    },
    {
        "tool": maybe(
            fields({"name": text}, {"version": maybe(text), "libraries": maybe(mapping)})
        ),
        "auditor": maybe(text),
        "assertion": maybe(
            fields(
                {"kind": one_of("redirected", "erased")},
                {"radius": maybe(number), "by": maybe(text)},
            )
        ),
        "subject": maybe(
            fields(
                {},
                {
                    "kind": maybe(one_of("patch", "model")),
                    **dict.fromkeys(("network", "patch", "unlearning", "request"), maybe(mapping)),
                },
            )
        ),
        "inputs": maybe(
            list_of(
                fields(
                    {"role": text, "name": text},
                    {
                        "sha256": maybe(text),
                        "semantic": maybe(text),
                        "keyed": maybe(text),
                        "note": maybe(text),
                    },
                )
            )
        ),
        "comparison": maybe(
            fields(
                {
                    "columns": list_of(text),
                    "rows": list_of(
                        fields({"name": text, "values": list_of(anything)}, {"note": maybe(text)})
                    ),
                },
                {"sentence": maybe(text)},
            )
        ),
        "membership": maybe(_membership),
        "threats": maybe(list_of(_threat)),
        "undetectable": _texts,
        "charts": maybe(list_of(chart)),
        "tables": maybe(
            list_of(
                fields(
                    {
                        "id": text,
                        "title": text,
                        "columns": list_of(text),
                        "rows": list_of(list_of(anything)),
                    },
                    {"section": text, "description": maybe(text), "total": _maybe_count},
                )
            )
        ),
        "not_examined": _texts,
        "assumptions": _texts,
        "may_conclude": _texts,
        "must_not_conclude": _texts,
        "methods": maybe(
            fields(
                {},
                {
                    "settings": maybe(mapping),
                    "seeds": maybe(mapping),
                    "sample_sizes": maybe(mapping),
                    "power": _texts,
                    "plan_digest": maybe(text),
                },
            )
        ),
        "reproduce": _texts,
        "references": _texts,
        "compliance": maybe(
            list_of(
                fields(
                    {"frame": text, "item": text, "scope": one_of("in", "out", "partly")},
                    {"note": maybe(text)},
                )
            )
        ),
    },
)

ANNEX = fields(
    {},
    {
        "title": maybe(text),
        "records": maybe(
            list_of(
                fields(
                    {"id": anything},
                    {
                        "reason": maybe(text),
                        "image": maybe(list_of(list_of(number))),
                        "values": maybe(list_of(anything)),
                    },
                )
            )
        ),
        "checks": maybe(list_of(fields({"id": text, "private": mapping}))),
        "pairs": maybe(
            list_of(
                fields(
                    {
                        "id": anything,
                        "reason": text,
                        "range": list_of(number, 2),
                        "original": list_of(number),
                        "reconstruction": list_of(number),
                    },
                    {"shape": maybe(list_of(integer, 3))},
                )
            )
        ),
    },
)


def supported_outcome(checks: list[dict[str, Any]]) -> str:
    """Return the best outcome that these checks support together."""
    if any(c["outcome"] == "fail" and c["severity"] == "failure" for c in checks):
        return "fail"
    required = [c for c in checks if c["required"]]
    passed = bool(required) and all(c["outcome"] == "pass" for c in required)
    return "pass" if passed else "inconclusive"


def validate_record(record: Any, name: str = "record") -> None:
    """Raise RecordError unless `record` has the schema and claims no more than its checks."""
    _compare(record, RECORD, name, "render a record that `auditkit audit` or `demo` wrote")
    best = supported_outcome(record["checks"])
    order = ("fail", "inconclusive", "pass")
    if order.index(record["outcome"]) > order.index(best):
        raise RecordError(
            f"{name}: field outcome",
            expected=f"{best}, which is what the checks support",
            found=repr(record["outcome"]),
            remedy="run the audit again; a record is not to be edited",
        )
    _agrees(record, name)


def _agrees(record: dict[str, Any], name: str) -> None:
    """Raise RecordError where the chapter on behaviours says another outcome than a check."""
    outcomes = {check["id"]: check["outcome"] for check in record["checks"]}
    for index, row in enumerate(record.get("threats") or []):
        there = outcomes.get(row.get("id", ""), "not_run")
        if row["outcome"] != there or row["tested"] != (there != "not_run"):
            raise RecordError(
                f"{name}: field threats[{index}].outcome",
                expected=f"{there}, which is what the check says",
                found=repr(row["outcome"]),
                remedy="run the audit again; a record is not to be edited",
            )


def validate_annex(annex: Any, name: str = "annex") -> None:
    """Raise RecordError unless `annex` is a confidential annex."""
    _compare(annex, ANNEX, name, "use the annex.json that was written beside the record")


def _compare(document: Any, shape: Shape, name: str, remedy: str) -> None:
    try:
        shape(document, "")
    except Mismatch as mismatch:
        subject = f"{name}: field {mismatch.path}" if mismatch.path else name
        raise RecordError(
            subject, expected=mismatch.expected, found=mismatch.found, remedy=remedy
        ) from None
