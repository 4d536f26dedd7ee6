"""A second request on a patched model and a withdrawal, at the terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.submission import load_submission
from auditkit.network.graph import Network
from auditkit.network.write_onnx import network_to_onnx

from .conftest import Auditkit, some_records


@pytest.fixture
def first(model: Path, forget: Path, tmp_path: Path, auditkit: Auditkit) -> Path:
    out = tmp_path / "first"
    command = ("patch", "--model", model, "--forget", forget, "--out", out)
    done = auditkit(*command, "--radius", 0.005, "--seed", 1)
    assert done.code == 0, done.err
    return out


@pytest.fixture
def more(tmp_path: Path) -> Path:
    """Two further records."""
    path = tmp_path / "more.npz"
    np.savez(path, x=some_records(2, seed=8), y=np.array([1, 0]))
    return path


@pytest.fixture
def both(first: Path, more: Path, tmp_path: Path, auditkit: Auditkit) -> Path:
    out = tmp_path / "both"
    done = auditkit("patch", "--onto", first, "--forget", more, "--out", out)
    assert (done.code, done.err) == (0, "")
    assert "5 record(s)" in done.out
    assert done.out.count("active, ") == 2
    return out


def test_a_second_request_verifies_with_the_first(
    both: Path, forget: Path, more: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    assert auditkit("verify", both).code == 0
    union = tmp_path / "union.npz"
    x = np.concatenate([some_records(3), some_records(2, seed=8)])
    np.savez(union, x=x, y=np.array([0, 1, 2, 1, 0]))
    assert auditkit("verify", both, "--forget", union).code == 0
    done = auditkit("verify", both, "--forget", more, "--json")  # the auditor's list is all of it
    outcomes = {c["id"]: c["outcome"] for c in json.loads(done.out)["checks"]}
    assert (done.code, outcomes["submission.binding"]) == (1, "fail")


def test_settings_network_and_key_are_those_of_the_submission(first: Path, both: Path) -> None:
    one, two = load_submission(first), load_submission(both)
    assert one.certificate.settings == two.certificate.settings
    assert one.network_digest == two.network_digest
    assert one.forget is not None and two.forget is not None
    assert one.forget.key == two.forget.key
    assert two.certificate.requests[0].records == one.certificate.requests[0].records
    assert two.certificate.requests[1].parent == one.certificate.requests[0].id


def test_withdrawing(both: Path, tmp_path: Path, auditkit: Auditkit) -> None:
    name = load_submission(both).certificate.requests[0].id
    out = tmp_path / "left"
    done = auditkit("patch", "--onto", both, "--withdraw", name, "--out", out, "--json")
    document = json.loads(done.out)
    assert [r["status"] for r in document["requests"]] == ["withdrawn", "active"]
    assert document["records"] == 2
    assert auditkit("verify", out).code == 0


def test_in_place(first: Path, more: Path, auditkit: Auditkit) -> None:
    command = ("patch", "--onto", first, "--forget", more, "--out", first)
    assert auditkit(*command).code == 2
    assert auditkit(*command, "--replace").code == 0
    assert len(load_submission(first).certificate.requests) == 2


def test_the_same_settings_may_be_repeated(
    first: Path, more: Path, model: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    done = auditkit(
        "patch", "--onto", first, "--forget", more, "--out", tmp_path / "s", "--model", model,
        "--spec", "redirect", "--scope", "point", "--radius", 0.005, "--seed", 1,
        "--domain", 0, 1, "--assertion", "redirected",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--spec", "neutralise"),
        ("--radius", "0.02"),
        ("--radius", "inf"),
        ("--margin", "0.3"),
        ("--sharpness", "7"),
        ("--scope", "cluster"),
        ("--seed", "2"),
        ("--assertion", "erased"),
        ("--method", "suppress"),
        ("--target-class", "1"),
    ],
)
def test_other_settings_are_refused_naming_both(
    first: Path, more: Path, tmp_path: Path, option: str, value: str, auditkit: Auditkit
) -> None:
    done = auditkit(
        "patch", "--onto", first, "--forget", more, "--out", tmp_path / "s", option, value
    )
    assert done.code == 2
    assert option in done.err and value.lstrip("0") in done.err and done.err.count("\n") == 1
    assert "as " + str(first) in done.err


def test_another_domain_or_network_is_refused(
    first: Path, more: Path, network: Network, tmp_path: Path, auditkit: Auditkit
) -> None:
    command = ("patch", "--onto", first, "--forget", more, "--out", tmp_path / "s")
    done = auditkit(*command, "--domain", 0, 2)
    assert done.code == 2 and "--domain" in done.err
    other = replace(network, nodes=network.nodes[:1])
    (tmp_path / "other.onnx").write_bytes(network_to_onnx(other))
    done = auditkit(*command, "--model", tmp_path / "other.onnx")
    assert done.code == 2 and "--model" in done.err


def test_mistakes_in_one_line(
    first: Path, more: Path, model: Path, forget: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    out = ("--out", tmp_path / "s")
    for command in (
        ("--forget", more),
        ("--onto", first),
        ("--onto", first, "--forget", more, "--withdraw", "request-1"),
        ("--onto", first, "--withdraw", "request-1"),
        ("--onto", first, "--forget", forget),
        ("--onto", tmp_path / "nowhere", "--forget", more),
        ("--model", model, "--withdraw", "request-1"),
        ("--model", model, "--forget", more, "--onto-forget", forget),
        ("--onto", first, "--forget", more, "--onto-forget", forget),
    ):
        done = auditkit("patch", *command, *out)
        assert done.code == 2, command
        assert done.err.count("\n") == 1 and "Traceback" not in done.err
    assert not (tmp_path / "s").exists()


def test_a_submission_that_was_changed_is_not_built_on(
    first: Path, more: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    data = bytearray((first / "patch.safetensors").read_bytes())
    data[-3] ^= 1
    (first / "patch.safetensors").write_bytes(data)
    done = auditkit("patch", "--onto", first, "--forget", more, "--out", tmp_path / "s")
    assert done.code == 1
    assert "patch.safetensors" in done.err and done.err.count("\n") == 1


def test_withheld_records_are_given_again(
    model: Path, forget: Path, more: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    kept, later = tmp_path / "kept.npz", tmp_path / "later.npz"
    auditkit("patch", "--model", model, "--forget", forget, "--out", one, "--withhold-to", kept)
    command = ("patch", "--onto", one, "--forget", more, "--out", two)
    assert "--onto-forget" in auditkit(*command).err
    assert "--withhold-to" in auditkit(*command, "--onto-forget", kept).err
    done = auditkit(*command, "--onto-forget", kept, "--withhold-to", later)
    assert done.code == 0, done.err
    assert not (two / "forget.npz").exists()
    assert auditkit("verify", two, "--forget", later).code == 0


def test_compare_and_audit_follow_the_history(
    both: Path, tmp_path: Path, auditkit: Auditkit
) -> None:
    done = auditkit("compare", both, "--recompute", "--json")
    assert done.code == 0, done.err
    rows = {row["name"]: row["values"] for row in json.loads(done.out)["details"]["rows"]}
    assert all(len(set(map(str, values))) == 1 for values in rows.values()), rows
    plan = tmp_path / "audit.toml"
    plan.write_text(f'submission = "{both}"\n[compare]\nrecompute = true\n')
    auditkit("audit", plan, "--out", tmp_path / "audit")
    record = json.loads((tmp_path / "audit" / "record.json").read_text())
    [table] = [t for t in record["tables"] if t["title"] == "Deletion requests"]
    names = [r.id for r in load_submission(both).certificate.requests]
    assert [row[:3] for row in table["rows"]] == [[names[0], "active", 3], [names[1], "active", 2]]
    assert record["subject"]["request"]["records"] == 5
    page = (tmp_path / "audit" / "report.html").read_text()
    assert all(name in page for name in names)
