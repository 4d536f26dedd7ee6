"""What is not a record is refused in one line that says what to do."""

from __future__ import annotations

import json

import pytest

import reports

NAN = float("nan")

BROKEN = [
    ("schema", "auditkit/record/v2", "field schema: expected auditkit/record/v1"),
    ("title", 3, "field title: expected text, found 3"),
    ("outcome", "ok", "field outcome: expected pass or fail or inconclusive, found 'ok'"),
    ("verdict", {}, "field verdict.sentence: expected a value, found nothing"),
    ("checks", {}, "field checks: expected a list, found an object"),
    ("checks", [{}], "field checks[0].id: expected a value, found nothing"),
    ("checks", [3], "field checks[0]: expected an object, found 3"),
    ("inputs", [{"role": "model"}], "field inputs[0].name"),
    ("charts", [{"id": "c", "kind": "pie", "title": "t"}], "field charts[0].kind"),
    ("charts", [{"id": "c", "kind": "roc", "title": "t"}], "field charts[0].series"),
    ("assertion", {"kind": "gone"}, "field assertion.kind"),
    ("compliance", [{"frame": "f", "item": "i", "scope": "yes"}], "field compliance[0].scope"),
    ("reproduce", "auditkit", "field reproduce: expected a list"),
]


@pytest.mark.parametrize(("name", "value", "message"), BROKEN)
def test_broken_records(record, name, value, message):
    record[name] = value
    with pytest.raises(reports.RecordError) as caught:
        reports.render(record)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("document", [None, [], "text", 3, {}])
def test_not_a_record_at_all(document):
    with pytest.raises(reports.RecordError):
        reports.render(document)


@pytest.mark.parametrize("field", ["id", "title", "outcome", "required", "severity", "reason"])
def test_broken_checks(minimal, field):
    minimal["checks"][0][field] = 3.5
    with pytest.raises(reports.RecordError, match=rf"field checks\[0\].{field}"):
        reports.render(minimal)


@pytest.mark.parametrize(
    ("claimed", "check"),
    [
        ("pass", {"outcome": "fail"}),
        ("inconclusive", {"outcome": "fail"}),
        ("pass", {"outcome": "inconclusive"}),
        ("pass", {"outcome": "not_run"}),
        ("pass", {"required": False}),
    ],
)
def test_no_outcome_better_than_the_checks(minimal, claimed, check):
    minimal["checks"][0] |= check
    minimal["outcome"] = claimed
    with pytest.raises(reports.RecordError, match="what the checks support"):
        reports.render(minimal)


def test_a_stricter_outcome_is_the_auditors_right(minimal):
    minimal["outcome"] = "inconclusive"
    reports.render(minimal)


def test_a_failed_limitation_does_not_fail_an_audit(minimal):
    limitation = minimal["checks"][0] | {
        "id": "attack.loss",
        "outcome": "fail",
        "severity": "limitation",
        "required": False,
    }
    minimal["checks"].append(limitation)
    assert "attack.loss" in reports.render(minimal)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b"[" * 200_000, "expected JSON"),
        (b'{"schema": "auditkit/result/v1"}', "auditkit/record/v1"),
    ],
    ids=["empty", "cut", "encoding", "nan", "twice", "deep", "result"],
)
def test_broken_files(tmp_path, content, message):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(reports.RecordError, match=r"record\.json") as caught:
        reports.write_report(path, tmp_path / "report.html")
    assert message in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_missing_file(tmp_path):
    with pytest.raises(reports.RecordError, match="No such file"):
        reports.write_report(tmp_path / "record.json", tmp_path / "report.html")


def test_a_failed_write_leaves_the_old_report(minimal, tmp_path):
    path, out = tmp_path / "record.json", tmp_path / "report.html"
    out.write_text("old")
    path.write_text(json.dumps(minimal | {"title": None}))
    with pytest.raises(reports.RecordError):
        reports.write_report(path, out)
    assert out.read_text() == "old"
