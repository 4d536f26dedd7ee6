"""An audit from plan to record: complete, the same bytes again, and silent about the records."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from auditkit.audit.run import run_audit
from auditkit.certificate.submission import Submission
from auditkit.errors import UsageError
from auditkit.records import Records, write_records
from auditkit.results import Outcome
from tests.certificate.conftest import World, small_world

PLAN = """\
submission = "submission"
forget = "forget.npz"
retain = "retain.npz"
holdout = "holdout.npz"
train = "train.npz"
policy = {{ excess_reach = 0.5 }}
{extra}
[compare]
[threats]
[attack]
shadows = 4
recipe = {{ epochs = 2, batch_size = 64 }}
"""


def case(folder: Path, world: World, *, extra: str = "", **settings: object) -> Submission:
    """Write a submission, the auditor's records and a plan into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    submission = world.submit(folder / "submission", **settings)
    retain, holdout = world.others.take(range(150)), world.others.take(range(150, 300))
    train = Records(
        np.concatenate([world.forget.x, retain.x]), np.concatenate([world.forget.y, retain.y])
    )
    listed = dataclasses.replace(world.forget, key=b"k" * 32)
    for name, records in (
        ("forget", listed),
        ("retain", retain),
        ("holdout", holdout),
        ("train", train),
    ):
        write_records(folder / f"{name}.npz", records)
    (folder / "audit.toml").write_text(PLAN.format(extra=extra))
    return submission


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    case(folder, small_world(7, records=30))
    run_audit(folder / "audit.toml", folder / "out")
    return folder


def read(path: Path) -> dict:
    return json.loads(path.read_bytes())


def test_a_redirected_request_passes_and_says_what_it_does_not_show(audited: Path):
    record = read(audited / "out" / "record.json")
    failed = [c["id"] for c in record["checks"] if c["required"] and c["outcome"] != "pass"]
    assert record["outcome"] == "pass", failed
    assert record["verdict"]["outputs_redirected"]["outcome"] == "pass"
    assert record["verdict"]["information_removed"]["outcome"] != "pass"
    ids = [check["id"] for check in record["checks"]]
    assert {"certificate.region", "compare.gates", "attack.cohort", "threats.strippable"} <= set(
        ids
    )
    assert len(ids) == len(set(ids))
    attacks = [c for c in record["checks"] if c["id"].startswith("attack.")]
    assert attacks
    assert not any(c["required"] or c["severity"] == "failure" for c in attacks)


def test_the_same_inputs_give_the_same_bytes(audited: Path, tmp_path: Path):
    run_audit(audited / "audit.toml", tmp_path / "again")
    first = (audited / "out" / "record.json").read_bytes()
    assert (tmp_path / "again" / "record.json").read_bytes() == first
    run = read(audited / "out" / "run.json")
    assert run["record_sha256"] == hashlib.sha256(first).hexdigest()


def test_no_record_leaves_a_trace(audited: Path):
    forget = np.load(audited / "forget.npz")["x"]
    out = audited / "out"
    public = [(out / name).read_text() for name in ("record.json", "run.json", "report.html")]
    raw = (audited / "submission" / "forget.npz").read_bytes()
    traces = [hashlib.sha256(raw).hexdigest()]
    for row in forget:
        data = row.tobytes()
        traces += [
            base64.b64encode(data).decode()[:32],
            data.hex()[:32],
            hashlib.sha256(data).hexdigest(),
            f"{row[0]:.6g}, {row[1]:.6g}",
            f"{float(row[0])}",
        ]
    for text in public:
        assert not [trace for trace in traces if trace in text]


def test_erased_is_judged_as_such(tmp_path: Path):
    case(tmp_path, small_world(7, records=30), extra='assertion = "erased"')
    said: list[str] = []
    result = run_audit(tmp_path / "audit.toml", tmp_path / "out", say=said.append)
    record = read(tmp_path / "out" / "record.json")
    assert said == record["methods"]["power"] and "PASS is impossible" in said[0]
    assert record["methods"]["sample_sizes"]["tier"] == "C"
    assert result.check("threats.strippable").outcome is Outcome.FAIL
    assert result.outcome is Outcome.FAIL


def test_erasure_never_passes_on_what_was_not_examined(tmp_path: Path):
    case(tmp_path, small_world(7, records=30))
    plan = 'submission = "submission"\nassertion = "erased"\nthreats = false\nattack = false\n'
    (tmp_path / "audit.toml").write_text(plan)
    result = run_audit(tmp_path / "audit.toml", tmp_path / "out")
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.check("audit.erasure").outcome is Outcome.INCONCLUSIVE


def test_a_missing_file_of_the_callers_own_stops_the_audit(audited: Path, tmp_path: Path):
    shutil.copytree(audited, tmp_path / "case")
    plan = tmp_path / "case" / "audit.toml"
    text = plan.read_text().replace("[compare]", '[compare]\nreference_model = "missing.onnx"')
    plan.write_text(text)
    with pytest.raises(UsageError, match=r"missing\.onnx"):
        run_audit(plan, tmp_path / "out")


def test_one_record_is_enough_for_an_audit(tmp_path: Path):
    case(tmp_path, small_world(5, records=1))
    result = run_audit(tmp_path / "audit.toml", tmp_path / "out")
    assert result.check("certificate.region").outcome is Outcome.PASS
    small = result.check("attack.small-request")
    assert small.evidence["records"][0]["after"] in (
        "exposed",
        "consistent with never seen",
        "not measurably memorised",
        "undecidable here",
    )
    assert result.outcome is Outcome.PASS


def test_a_tampered_submission_still_gets_a_record_and_a_report(audited: Path, tmp_path: Path):
    shutil.copytree(audited, tmp_path / "case")
    patch = tmp_path / "case" / "submission" / "patch.safetensors"
    data = bytearray(patch.read_bytes())
    data[3] ^= 255
    patch.write_bytes(bytes(data))
    result = run_audit(tmp_path / "case" / "audit.toml", tmp_path / "out")
    assert result.outcome is Outcome.FAIL
    record = read(tmp_path / "out" / "record.json")
    [binding] = [c for c in record["checks"] if c["id"] == "submission.binding"]
    assert "patch.safetensors" in binding["reason"]
    assert (tmp_path / "out" / "report.html").stat().st_size > 1000


def test_a_missing_file_of_the_owners_is_inconclusive(audited: Path, tmp_path: Path):
    shutil.copytree(audited, tmp_path / "case")
    (tmp_path / "case" / "submission" / "patched.onnx").unlink()
    result = run_audit(tmp_path / "case" / "audit.toml", tmp_path / "out")
    assert result.exit_code == 3


@pytest.mark.parametrize(
    "text",
    [
        "= nonsense",
        "forget = 'x'",
        "submission = 1",
        "submission = 's'\nunknown = 2",
        "submission = 's'\nassertion = 'gone'",
        "submission = 's'\nseed = -1",
        "submission = 's'\nseed = 18446744073709551617",
        "submission = 's'\nauditor = 5",
        "submission = 's'\nrequired = ['certificate.regoin']",
        "submission = 's'\nrequired = []",
        "submission = 's'\n[attack]\n",
        "submission = 's'\ntier = 'Z'",
        "submission = 's'\ntier = 'A'",
        "submission = 's'\ntier = 'C'",
        "submission = 's'\ntier = 'B'\ntrain = 't'",
        "submission = 's'\nholdout = 'h'\n[attack]\nretrain = 3",
        "submission = 's'\nholdout = 'h'\ntrain = 't'\n[attack]\nretrain = -1",
    ],
)
def test_a_bad_plan_is_the_callers_mistake(tmp_path: Path, text: str):
    plan = tmp_path / "audit.toml"
    plan.write_text(text)
    with pytest.raises(UsageError, match=r"audit\.toml"):
        run_audit(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()
