"""What a record says, for programs: a table of its findings and a test report for pipelines.

Neither holds anything that the record does not.
"""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from typing import Any

from reports import words
from reports.documents import canonical_digest
from reports.record import validate_record
from reports.text import brief, inert, inert_json, interval

CSV_COLUMNS = (
    "id",
    "title",
    "outcome",
    "required",
    "severity",
    "observed",
    "threshold",
    "interval_low",
    "interval_high",
    "n",
    "reason",
    "remedy",
    "evidence_sha256",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def findings_csv(record: dict[str, Any]) -> str:
    """Return every check that did not pass, one row each, in the order of the record.

    Numbers keep every digit. A text that a spreadsheet would take for a formula is preceded by an
    apostrophe. RecordError where the JSON is not of the schema.
    """
    validate_record(record)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for check in record["checks"]:
        if check["outcome"] == "pass":
            continue
        low, high = check.get("interval") or (None, None)
        row = (
            *(check[name] for name in ("id", "title", "outcome", "required", "severity")),
            check.get("observed"),
            check.get("threshold"),
            low,
            high,
            check.get("n"),
            check["reason"],
            words.remedy(check),
            canonical_digest(check),
        )
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    body = inert(value) if isinstance(value, str) else json.dumps(inert_json(value), sort_keys=True)
    return "'" + body if body.startswith(_FORMULA) else body


def junit_xml(record: dict[str, Any]) -> str:
    """Return the checks as JUnit XML, with the outcome of the audit as the last test case.

    A failure is a failure; a required check that decided nothing is an error, so that a pipeline
    never takes missing evidence for success; limitations and optional checks are skipped with
    their reason. RecordError where the JSON is not of the schema.
    """
    validate_record(record)
    suites = ET.Element("testsuites", {"name": inert(record["title"])})
    groups: dict[str, list[ET.Element]] = {}
    for check in record["checks"]:
        name = inert(check["id"])
        case = ET.Element("testcase", {"classname": name.split(".")[0], "name": name})
        _verdict(case, check)
        groups.setdefault(name.split(".")[0], []).append(case)
    case = ET.Element("testcase", {"classname": "audit", "name": "audit.outcome"})
    sentence = record["verdict"]["sentence"]
    if record["outcome"] != "pass":
        kind = "failure" if record["outcome"] == "fail" else "error"
        _note(case, kind, record["outcome"], sentence)
    groups.setdefault("audit", []).append(case)
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for group, cases in groups.items():
        counts = {"tests": len(cases)}
        for total, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            counts[total] = sum(case.find(tag) is not None for case in cases)
        for total, count in counts.items():
            totals[total] += count
        suite = ET.SubElement(suites, "testsuite", {"name": group, **_strings(counts)})
        suite.extend(cases)
    suites.attrib.update(_strings(totals))
    ET.indent(suites)
    body = ET.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _verdict(case: ET.Element, check: dict[str, Any]) -> None:
    outcome, severity = check["outcome"], check["severity"]
    if outcome == "pass":
        return
    if outcome == "fail" and severity == "failure":
        kind = "failure"
    elif outcome != "fail" and check["required"]:
        kind = "error"
    else:
        kind = "skipped"
    _note(case, kind, f"{outcome} ({severity})", _detail(check))


def _note(case: ET.Element, kind: str, label: str, detail: str) -> None:
    message = f"{label}: {inert(detail.splitlines()[0] if detail else '')}"
    element = ET.SubElement(case, kind, {"message": message})
    if kind != "skipped":
        element.set("type", label.split(" ")[0])
    element.text = inert(detail)


def _detail(check: dict[str, Any]) -> str:
    parts = [check["reason"], f"{check['title']}."]
    if check.get("observed") is not None:
        parts.append(f"Observed: {brief(check['observed'])}.")
    if check.get("threshold") is not None:
        parts.append(f"Threshold: {brief(check['threshold'])}.")
    if check.get("interval"):
        parts.append(f"Interval: {interval(check['interval'])}.")
    if check.get("n") is not None:
        parts.append(f"n = {check['n']}.")
    parts.append(f"Remedy: {words.remedy(check)}")
    return "\n".join(parts)


def _strings(counts: dict[str, int]) -> dict[str, str]:
    return {name: str(count) for name, count in counts.items()}
