"""What every report has, whatever the record says."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import subprocess
import sys

import pytest

import reports
from reports.documents import canonical_digest, record_bytes

SECTIONS = [
    "Verdict",
    "Subject",
    "Scope and conclusions",
    "Findings",
    "Membership inference",
    "Dishonest behaviour",
    "Owner-supplied against recomputed patch",
    "Checks that did not run",
    "Methods",
    "Reproducing this report",
    "Passed checks",
    "Sign-off",
    "Appendix",
]
OPTIONAL = [
    "tool",
    "auditor",
    "assertion",
    "subject",
    "inputs",
    "comparison",
    "membership",
    "charts",
    "tables",
    "not_examined",
    "assumptions",
    "may_conclude",
    "must_not_conclude",
    "methods",
    "reproduce",
    "references",
    "compliance",
]


def test_sections_in_order(page):
    titles = [" ".join(e["text"].split()[1:]) for e in page.all("h2")]
    assert titles == SECTIONS


def test_policy_is_first_in_head_and_has_the_hash_of_the_style(page, source):
    head = next(i for i, e in enumerate(page.elements) if e["tag"] == "head")
    policy = page.elements[head + 1]["attrs"]
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"] == f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:"


def test_nothing_runs_and_nothing_is_loaded(page, source):
    assert "<script" not in source.lower()
    assert "@import" not in source
    assert "url(http" not in source
    for element in page.elements:
        for name, value in element["attrs"].items():
            assert not name.startswith("on"), element
            assert name != "style", element
            if name in ("href", "src", "xlink:href", "action", "srcset", "data"):
                assert value is not None
                assert value.startswith(("#", "data:")), element
    assert not page.all("form", "iframe", "object", "embed", "base", "audio", "video")


def test_the_same_record_gives_the_same_bytes(record, source):
    assert reports.render(record) == source


def test_the_same_bytes_in_another_process(record, source, tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(record_bytes(record))
    code = "import sys, reports; reports.write_report(sys.argv[1], sys.argv[2])"
    root = reports.__path__[0] + "/.."
    environment = {"PYTHONHASHSEED": "3", "PYTHONPATH": root, "MPLCONFIGDIR": str(tmp_path)}
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nsvg.fonttype: path\n")
    out = tmp_path / "report.html"
    subprocess.run([sys.executable, "-c", code, path, out], env=environment, check=True)
    assert out.read_bytes().decode() == source


def test_size(source):
    assert len(source.encode()) < 500_000


def test_headings_descend_one_level_at_a_time(page):
    levels = [int(e["tag"][1]) for e in page.all("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    for before, after in itertools.pairwise(levels):
        assert after <= before + 1


def test_tables_have_captions_and_scopes(page):
    for table in page.all("table"):
        inside = [e for e in page.elements if any(o is table for o in e["open"])]
        assert any(e["tag"] == "caption" and e["text"].strip() for e in inside)
        headers = [e for e in inside if e["tag"] == "th"]
        assert headers
        assert all(e["attrs"].get("scope") in ("row", "col", "rowgroup") for e in headers)


def test_identifiers_are_unique_and_references_resolve(page):
    ids = [e["attrs"]["id"] for e in page.elements if "id" in e["attrs"]]
    assert len(ids) == len(set(ids))
    for element in page.elements:
        named = (element["attrs"].get("aria-labelledby") or "").split()
        assert all(name in ids for name in named), named
        href = element["attrs"].get("href") or ""
        if href.startswith("#"):
            assert href[1:] in ids
        for target in re.findall(r"url\(#([^)]+)\)", " ".join(map(str, element["attrs"].values()))):
            assert target in ids


def test_landmarks(page):
    assert len(page.all("main")) == 1
    assert len(page.all("nav")) == 1
    assert page.all("header")
    assert page.all("footer")


def test_charts_are_named_images_with_their_data(page):
    charts = page.by_class("chart")
    assert len(charts) == 8
    for chart in charts:
        assert chart["attrs"]["role"] == "img"
        figure = chart["open"][-1]
        assert figure["tag"] == "figure"
        inside = [e for e in page.elements if any(o is figure for o in e["open"])]
        assert {"title", "desc", "details", "table"} <= {e["tag"] for e in inside}


def test_verdict_comes_first_in_word_and_shape(page):
    verdict = page.by_class("verdict")[0]
    assert verdict["text"].split()[0] == "FAIL"
    inside = [e for e in page.elements if any(o is verdict for o in e["open"])]
    assert any(e["tag"] == "svg" for e in inside)


def test_the_two_claims_are_two_lines(page):
    claims = page.by_class("claims")[0]
    lines = [e for e in page.all("div") if e["open"] and e["open"][-1] is claims]
    texts = [" ".join(e["text"].split()) for e in lines]
    assert len(texts) == 2
    assert texts[0].startswith("Outputs redirected INCONCLUSIVE")
    assert texts[1].startswith("Information removed FAIL")


def test_findings_are_open_and_required_first(page, record):
    findings = page.by_class("finding")
    names = [e["text"] for e in page.all("code") if e["path"][-2:] == ["article", "h3"]]
    assert names == [
        "patch.scope",
        "threats.smuggled-gate",
        "certificate.region",
        "attack.lira-offline",
    ]
    [folded] = page.by_class("undecided")  # neither required nor failed
    assert "attack.loss" in folded["text"]
    assert not any("details" in e["path"] for e in findings)
    by_id = {check["id"]: check for check in record["checks"]}
    for finding, name in zip(findings, names, strict=True):
        check = by_id[name]
        assert check["title"] in finding["text"]
        assert check["reason"] in finding["text"]
        assert canonical_digest(check) in finding["text"]
        assert "Remedy." in finding["text"]
        assert f"Severity: {check['severity']}" in finding["text"]


def test_passed_checks_are_collapsed(page, record):
    passed = [e for e in page.by_class("passed") if e["tag"] == "details"]
    assert len(passed) == sum(c["outcome"] == "pass" for c in record["checks"])
    assert all("open" not in e["attrs"] for e in passed)


def test_every_check_is_told_once(page, record):
    for index, check in enumerate(record["checks"], 1):
        if check["outcome"] != "not_run":
            assert check["id"] in page.by_id(f"check-{index}")["text"]
        else:
            assert check["id"] in page.by_id("not-run")["text"]
            assert check["reason"] in page.by_id("not-run")["text"]


def test_no_single_score(source):
    assert not re.search(r"\b(overall|total|trust|compliance) score\b", source, re.IGNORECASE)


def test_sign_off_names_the_record(page, record):
    digest = hashlib.sha256(record_bytes(record)).hexdigest()
    assert digest in page.by_id("sign-off")["text"]
    assert "Detached signature" in page.by_id("sign-off")["text"]


def test_compliance_annex_is_no_determination(page):
    assert "not a determination of compliance" in page.by_id("appendix")["text"]


def test_digest_in_a_written_report_is_of_the_file(record, tmp_path):
    path, out = tmp_path / "record.json", tmp_path / "report.html"
    path.write_text(json.dumps(record))
    reports.write_report(path, out)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in out.read_text(encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["record.json", "report.html"]


def test_run_is_shown_and_bound(record, parse, tmp_path):
    run = {"time": "2026-07-14T09:00:00Z", "host": {"cpu": "16 cores"}}
    page = parse(reports.render(record, run=run))
    assert "2026-07-14T09:00:00Z" in page.by_id("methods")["text"]
    assert "2026-07-14T09:00:00Z" in page.by_id("subject")["text"]
    assert hashlib.sha256(record_bytes(run)).hexdigest() in page.by_id("sign-off")["text"]


@pytest.mark.parametrize("part", OPTIONAL)
@pytest.mark.parametrize("absent", ["missing", "null"])
def test_optional_parts_may_be_absent(record, parse, part, absent):
    if part != "charts":
        record["charts"] = []  # drawn in other tests
    if absent == "missing":
        del record[part]
    else:
        record[part] = None
    assert len(parse(reports.render(record)).all("h2")) == len(SECTIONS)


def test_optional_parts_of_parts_may_be_absent(record, parse):
    record |= {
        "charts": [],
        "tool": {"name": "auditkit"},
        "methods": {},
        "subject": {"patch": None},
    }
    record["inputs"] = [{"role": "model", "name": "model.onnx"}]
    record["assertion"] = {"kind": "erased"}
    record["comparison"] = {"columns": ["owner"], "rows": [{"name": "Gates", "values": []}]}
    record["compliance"] = [{"frame": "GDPR", "item": "Art. 17", "scope": "out"}]
    record["tables"] = [{"id": "t", "title": "T", "columns": ["a", "b"], "rows": [[1], [1, 2, 3]]}]
    parse(reports.render(record))


def test_smallest_record(minimal, parse):
    page = parse(reports.render(minimal))
    assert page.by_class("verdict")[0]["text"].split()[0] == "PASS"
    assert "No check failed" in page.by_id("findings")["text"]


@pytest.mark.parametrize(("outcome", "word"), [("inconclusive", "INCONCLUSIVE"), ("fail", "FAIL")])
def test_other_outcomes(minimal, parse, outcome, word):
    minimal["outcome"] = minimal["checks"][0]["outcome"] = outcome
    assert parse(reports.render(minimal)).by_class("verdict")[0]["text"].split()[0] == word


def test_import_is_light():
    code = "import sys, reports; print({'matplotlib', 'jinja2', 'numpy'} & set(sys.modules))"
    root = reports.__path__[0] + "/.."
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": root},
        check=True,
        capture_output=True,
        text=True,
    )
    assert out.stdout.strip() == "set()"
