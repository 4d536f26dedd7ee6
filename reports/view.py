"""The view model: a record as the sections, rows and words that the templates lay out.

Everything a template needs is decided here; templates only place it. Strings have been made
inert before they arrive, and nothing is computed that the record does not already say.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from reports import threats as dishonesty
from reports import words
from reports.chart_data import Table, data_table
from reports.charts import draw, is_wide
from reports.documents import canonical_digest
from reports.errors import RecordError
from reports.membership import Chapter, chapter
from reports.record import CHART_SECTIONS, SEVERITIES
from reports.text import (
    apart,
    brief,
    figure,
    inert_json,
    interval,
    is_figure,
    number,
    scalar,
    shorten,
)

MAX_EVIDENCE_ROWS = 20
MAX_TABLE_ROWS = 200

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Check:
    """One check, in words."""

    anchor: str
    id: str
    title: str
    outcome: str
    required: bool
    severity: str
    reason: str
    observed: str
    threshold: str
    interval: str | None
    n: str | None
    digest: str
    remedy: str
    evidence: Rows
    evidence_rest: int


@dataclass(frozen=True)
class Chart:
    """One drawn chart with its words and its numbers."""

    anchor: str
    title: str
    description: str
    svg: str
    data: Table
    wide: bool


@dataclass(frozen=True)
class RawTable:
    """One table of the appendix; `numeric` columns are set right, `omitted` rows left out.

    Rows that begin alike, one after the other, are a group under one heading.
    """

    anchor: str
    title: str
    description: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int]
    omitted: int

    @property
    def groups(self) -> list[list[tuple[str, ...]]]:
        """The rows, those of one heading together."""
        return [list(rows) for _, rows in itertools.groupby(self.rows, lambda row: row[:1])]


@dataclass(frozen=True)
class CompareRow:
    """One line of the comparison; `verdict` says whether the two sides read the same."""

    name: str
    values: tuple[str, ...]
    verdict: str
    note: str


@dataclass(frozen=True)
class View:
    """A whole report."""

    record: dict[str, Any]
    record_digest: str
    run_digest: str | None
    assertion: str
    severities: Rows
    counts: tuple[tuple[str, tuple[int, ...]], ...]
    findings: tuple[Check, ...]
    not_run: tuple[Check, ...]
    passed: tuple[Check, ...]
    limits: tuple[Check, ...]
    charts: dict[str, tuple[Chart, ...]]
    tables: tuple[RawTable, ...]
    comparison_tables: tuple[RawTable, ...]
    limits_tables: tuple[RawTable, ...]
    membership_tables: tuple[RawTable, ...]
    membership: Chapter | None
    threats: dishonesty.Chapter | None
    comparison: tuple[CompareRow, ...]
    subject: tuple[tuple[str, Rows], ...]
    settings: Rows
    seeds: Rows
    sample_sizes: Rows
    libraries: Rows
    run: Rows
    when: str | None


def build(
    record: dict[str, Any],
    *,
    record_digest: str,
    run: dict[str, Any] | None = None,
    run_digest: str | None = None,
) -> View:
    """Return the view of a validated record; digests are hex and of the files' bytes."""
    digests = [canonical_digest(check) for check in record["checks"]]
    clean = inert_json(record)
    checks = tuple(
        _check(check, digest, index)
        for index, (check, digest) in enumerate(zip(clean["checks"], digests, strict=True), 1)
    )
    methods = clean.get("methods") or {}
    tables = clean.get("tables") or []
    return View(
        record=_with_defaults(clean),
        record_digest=record_digest,
        run_digest=run_digest,
        assertion=_assertion(clean.get("assertion")),
        severities=tuple((words.SEVERITY_WORDS[s], words.SEVERITY_MEANING[s]) for s in SEVERITIES),
        counts=_counts(checks),
        findings=tuple(sorted((c for c in checks if c.outcome in _OPEN), key=_urgency)),
        not_run=tuple(sorted((c for c in checks if c.outcome == "not_run"), key=_urgency)),
        passed=tuple(c for c in checks if c.outcome == "pass" and not _is_limit(c)),
        limits=tuple(c for c in checks if _is_limit(c)),
        charts=_charts(clean.get("charts") or []),
        tables=tuple(
            _table(t, i) for i, t in enumerate(tables, 1) if t.get("section") not in _OWN_TABLES
        ),
        comparison_tables=_tables_of(tables, "comparison"),
        limits_tables=_tables_of(tables, "limits"),
        membership_tables=_tables_of(tables, "membership"),
        membership=chapter(clean, checks),
        threats=dishonesty.chapter(clean),
        comparison=_comparison(clean.get("comparison")),
        subject=_subject(clean.get("subject") or {}),
        settings=flatten(methods.get("settings") or {}, exact=True),
        seeds=flatten(methods.get("seeds") or {}, exact=True),
        sample_sizes=flatten(methods.get("sample_sizes") or {}),
        libraries=flatten((clean.get("tool") or {}).get("libraries") or {}, exact=True),
        run=flatten(inert_json(run or {}), exact=True),
        when=brief(inert_json(run["time"])) if run and "time" in run else None,
    )


_OPEN = ("fail", "inconclusive")
_OWN_TABLES = ("comparison", "limits", "membership")  # shown in their chapters, not in the appendix
_LISTS = (
    "inputs",
    "not_examined",
    "assumptions",
    "may_conclude",
    "must_not_conclude",
    "reproduce",
    "references",
    "compliance",
)


def _with_defaults(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record with every optional part present, so that templates may be strict."""
    full = dict(record)
    for name in _LISTS:
        full[name] = full.get(name) or []
    full["inputs"] = [
        {"sha256": None, "semantic": None, "keyed": None, "note": None, **item}
        for item in full["inputs"]
    ]
    full["compliance"] = [{"note": None, **item} for item in full["compliance"]]
    tool = {"name": "not stated", "version": None, **(full.get("tool") or {})}
    full["tool"] = tool
    full["auditor"] = full.get("auditor")
    full["comparison"] = (
        {"sentence": None, **full["comparison"]} if full.get("comparison") else None
    )
    full["methods"] = {"power": None, "plan_digest": None, **(full.get("methods") or {})}
    return full


def _check(check: dict[str, Any], digest: str, index: int) -> Check:
    observed, threshold = apart(check.get("observed"), check.get("threshold"))
    evidence = flatten(check.get("evidence") or {})
    n = check.get("n")
    return Check(
        anchor=f"check-{index}",
        id=check["id"],
        title=check["title"],
        outcome=check["outcome"],
        required=check["required"],
        severity=check["severity"],
        reason=check["reason"],
        observed=observed if check.get("observed") is not None else "",
        threshold=threshold if check.get("threshold") is not None else "",
        interval=interval(check.get("interval")),
        n=number(n) if n is not None else None,
        digest=digest,
        remedy=words.remedy(check),
        evidence=evidence[:MAX_EVIDENCE_ROWS],
        evidence_rest=max(0, len(evidence) - MAX_EVIDENCE_ROWS),
    )


def _is_limit(check: Check) -> bool:
    """Whether a check shows what no certificate can say; a failed one is a finding all the same."""
    return check.id.startswith("limits.") and check.outcome in ("pass", "not_run")


def _tables_of(tables: list[dict[str, Any]], section: str) -> tuple[RawTable, ...]:
    return tuple(_table(t, i) for i, t in enumerate(tables, 1) if t.get("section") == section)


def _urgency(check: Check) -> tuple[bool, bool, int]:
    return (not check.required, check.outcome != "fail", SEVERITIES.index(check.severity))


def _counts(checks: tuple[Check, ...]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple(
        (
            outcome,
            tuple(
                sum(c.severity == severity and c.outcome == outcome for c in checks)
                for severity in SEVERITIES
            ),
        )
        for outcome in words.OUTCOME_WORDS
    )


def flatten(tree: dict[str, Any], *, exact: bool = False, prefix: str = "") -> Rows:
    """Return a nested object as rows of dotted name and value; long lists become their count.

    `exact` keeps names and numbers as they are written in the record.
    """
    rows: list[tuple[str, str]] = []
    for key, value in tree.items():
        name = prefix + (key if exact else key.replace("_", " "))
        if isinstance(value, dict) and value:
            rows.extend(flatten(value, exact=exact, prefix=f"{name}."))
        else:
            rows.append((name, brief(value, exact=exact)))
    return tuple(rows)


def _charts(charts: list[dict[str, Any]]) -> dict[str, tuple[Chart, ...]]:
    grouped: dict[str, list[Chart]] = {section: [] for section in CHART_SECTIONS}
    for index, chart in enumerate(charts, 1):
        section = chart.get("section")
        prefix = f"chart-{index}"
        try:
            drawn, data = draw(chart, f"{prefix}-svg"), data_table(chart)
        except (ValueError, ArithmeticError, LookupError, RuntimeError) as error:
            raise RecordError(
                f"record: field charts[{index - 1}]",
                expected=f"numbers that can be drawn as {chart['kind']}",
                found=shorten(str(error), 120),
                remedy="run the audit again; a record is not to be edited",
            ) from error
        grouped[section if section in grouped else "threats"].append(
            Chart(
                anchor=prefix,
                title=chart["title"],
                description=chart.get("description") or "",
                svg=drawn,
                data=data,
                wide=is_wide(chart),
            )
        )
    return {section: tuple(items) for section, items in grouped.items()}


def _table(table: dict[str, Any], index: int) -> RawTable:
    width = len(table["columns"])
    rows = [(*row, *[None] * width)[:width] for row in table["rows"][:MAX_TABLE_ROWS]]
    numeric = frozenset(
        k for k in range(1, width) if rows and all(is_figure(row[k]) for row in rows)
    )
    return RawTable(
        anchor=f"table-{index}",
        title=table["title"],
        description=table.get("description") or "",
        columns=tuple(table["columns"]),
        rows=tuple(tuple(figure(cell) for cell in row) for row in rows),
        numeric=numeric,
        omitted=max(0, max(table.get("total") or 0, len(table["rows"])) - len(rows)),
    )


def _comparison(comparison: dict[str, Any] | None) -> tuple[CompareRow, ...]:
    rows = []
    for row in (comparison or {}).get("rows", []):
        width = len(comparison["columns"]) if comparison else 0
        values = (*row["values"], *[None] * width)[:width]
        shown = tuple("–" if value is None else brief(value) for value in values)
        if any(value is None for value in values):
            verdict = ""
        elif all(value == values[0] for value in values):
            verdict = "same"
        else:
            verdict = "differs" if len(set(shown)) > 1 else "same as shown"
        rows.append(CompareRow(row["name"], shown, verdict, row.get("note") or ""))
    return tuple(rows)


def _assertion(assertion: dict[str, Any] | None) -> str:
    radius = (assertion or {}).get("radius")
    return words.assertion_sentence(assertion, None if radius is None else scalar(radius))


_SUBJECT = (
    ("network", "Network", ("architecture", "inputs", "classes", "units", "parameters")),
    ("patch", "Patch", ("spec", "scope", "groups", "gates", "bytes")),
    (
        "unlearning",
        "Unlearning method, as the owner states it",
        ("method", "scenario", "classes", "settings", "seed", "used", "reached", "shortfall"),
    ),
    ("request", "Deletion request", ("records", "subjects")),
)
_MOST_SETTINGS = 40  # of a method, before the rest is only counted
_LABELS = {
    "reached": "Met its own stopping rule, if it has one",
    "used": "Records used",
    "weight_change": "Change of weights, relative, measured",
}


def _subject(subject: dict[str, Any]) -> tuple[tuple[str, Rows], ...]:
    out: list[tuple[str, Rows]] = []
    for key, title, first in _SUBJECT:
        part = subject.get(key)
        if part:
            names = [*(n for n in first if n in part), *(n for n in part if n not in first)]
            rows = (
                (
                    _LABELS.get(n, n.replace("_", " ").capitalize()),
                    brief(part[n], most=_MOST_SETTINGS),
                )
                for n in names
                if part[n] != ""
            )
            out.append((title, tuple(rows)))
        elif key == "patch" and subject and subject.get("kind") != "model":
            out.append((title, (("Patch", "none in the submission"),)))
    return tuple(out)
