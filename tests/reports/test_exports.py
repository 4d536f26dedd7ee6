"""The findings as a table, the checks as a test report."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET

import pytest

import reports
from reports.documents import canonical_digest


def test_findings_table(record):
    rows = list(csv.DictReader(io.StringIO(reports.findings_csv(record))))
    expected = [c for c in record["checks"] if c["outcome"] != "pass"]
    assert [row["id"] for row in rows] == [c["id"] for c in expected]
    lira = next(row for row in rows if row["id"] == "attack.lira-offline")
    assert float(lira["observed"]) == 0.731
    assert (float(lira["interval_low"]), float(lira["interval_high"])) == (0.684, 0.778)
    assert lira["n"] == "350"
    assert lira["required"] == "false"
    by_id = {c["id"]: c for c in expected}
    assert all(row["evidence_sha256"] == canonical_digest(by_id[row["id"]]) for row in rows)


def test_test_report(record):
    root = ET.fromstring(reports.junit_xml(record))
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert len(cases) == len(record["checks"]) + 1
    assert root.get("tests") == str(len(cases))
    kinds = {name: [child.tag for child in case] for name, case in cases.items()}
    assert kinds["certificate.point"] == []
    assert kinds["patch.scope"] == ["failure"]
    assert kinds["certificate.region"] == ["error"]
    assert kinds["attack.lira-offline"] == ["skipped"]
    assert kinds["attack.rmia"] == ["skipped"]
    assert kinds["threats.head-only-concealment"] == ["error"]
    assert kinds["audit.outcome"] == ["failure"]
    assert root.get("failures") == "3"
    assert root.get("errors") == "2"


@pytest.mark.parametrize(("outcome", "tag"), [("pass", None), ("inconclusive", "error")])
def test_pipelines_are_green_on_pass_only(minimal, outcome, tag):
    minimal["outcome"] = outcome
    root = ET.fromstring(reports.junit_xml(minimal))
    case = next(c for c in root.iter("testcase") if c.get("name") == "audit.outcome")
    assert [child.tag for child in case] == ([tag] if tag else [])


@pytest.mark.parametrize("export", [reports.findings_csv, reports.junit_xml])
def test_exports_are_repeatable_and_refuse(record, export):
    assert export(record) == export(record)
    with pytest.raises(reports.RecordError):
        export({"schema": "auditkit/record/v1"})
