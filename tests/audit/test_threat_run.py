"""The chapter on dishonest behaviour of a planned audit: evidence given, missing, and unusable."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from auditkit.audit.plan import read_plan
from auditkit.audit.run import run_audit
from auditkit.certificate.submission import read_submission
from auditkit.endpoint.service import Service, of_function, running
from auditkit.errors import UsageError
from auditkit.records import Records
from auditkit.unlearning.scenario_files import Setup, write_scenario
from auditkit.unlearning.submission import Handover, unlearn_to
from auditkit.unlearning.training import Recipe

QUICK = Recipe(epochs=4, learning_rate=2e-3)
PLAN = """\
submission = "submission"
forget = "forget.npz"
retain = "retain.npz"
holdout = "holdout.npz"
train = "train.npz"
attack = false

[threats]
names = ["canary-only", "forged-log", "guided-retraining", "output-filter", "substitution"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A retrained owner with a log, canaries of the auditor's, and a folder to plan in."""
    x, y = load_digits(return_X_y=True)
    records = Records((x / 16).astype(np.float32), y.astype(np.int64))
    out = tmp_path_factory.mktemp("scenario") / "s"
    setup = Setup(size=40, trained=300, unseen=300, recipe=QUICK, canaries=4)
    write_scenario(out, "subset", records, setup)
    from auditkit.network.read import load_network
    from auditkit.records import read_records

    network = load_network(out / "model.onnx")
    sets = {n: read_records(out / f"{n}.npz") for n in ("forget", "retain")}
    unlearn_to(
        out / "submission", "retrain", network, sets["forget"], sets["retain"],
        settings={"epochs": 4}, handover=Handover(log_to=out / "log.safetensors"),
    )  # fmt: skip
    return out


def audited(folder: Path, more: str) -> dict[str, dict[str, object]]:
    (folder / "audit.toml").write_text(PLAN + more)
    run_audit(folder / "audit.toml", folder / "out")
    record = json.loads((folder / "out" / "record.json").read_text())
    checks = {check["id"]: check for check in record["checks"]}
    return {"record": record, **checks}


def test_what_is_not_given_is_not_run_and_not_required(folder: Path) -> None:
    found = audited(folder, "")
    for name in ("canary-only", "forged-log", "guided-retraining", "substitution"):
        check = found[f"threats.{name}"]
        assert (check["outcome"], check["required"]) == ("not_run", False), name


def test_evidence_from_training_is_read_and_recorded_by_digest(folder: Path) -> None:
    found = audited(folder, 'canaries = "canaries.npz"\ntraining_log = "log.safetensors"\n')
    assert found["threats.forged-log"]["outcome"] == "pass"
    assert found["threats.canary-only"]["outcome"] != "not_run"
    roles = {row["role"]: row for row in found["record"]["inputs"]}  # type: ignore[attr-defined]
    assert len(roles["training-log"]["sha256"]) == len(roles["canaries"]["sha256"]) == 64


def test_a_log_that_cannot_be_read_is_no_reason_to_pass(folder: Path) -> None:
    shutil.copy(folder / "forget.npz", folder / "broken.safetensors")
    check = audited(folder, 'training_log = "broken.safetensors"\n')["threats.forged-log"]
    assert (check["outcome"], check["required"]) == ("inconclusive", True)
    assert "broken.safetensors" in str(check["reason"])


def test_an_endpoint_is_asked_and_its_transcript_gives_the_same_record(folder: Path) -> None:
    submission = read_submission(folder / "submission")
    service = Service(of_function(submission.delivered), submission.network.input_shape)
    with running(service) as url:
        asked = f'[threats.endpoint]\nurl = "{url}"\nbudget = 300\ntranscript = "t.jsonl"\n'
        found = audited(folder, asked)
    assert found["threats.substitution"]["outcome"] in ("pass", "inconclusive")
    shown = found["record"]["methods"]["settings"]["threats"]["endpoint"]  # type: ignore[index]
    assert shown["answered"] == shown["queries"] <= 300 and len(shown["transcript"]) == 64
    replay = '[threats.endpoint]\ntranscript = "t.jsonl"\nreplay = true\n'
    one, two = (audited(folder, replay) for _ in range(2))
    assert one == two
    again = {k: v for k, v in one.items() if k != "record"}
    assert again["threats.substitution"] == found["threats.substitution"]
    (folder / "t.jsonl").unlink()


def test_a_draw_by_lot_is_an_assumption_of_the_record(folder: Path) -> None:
    for said, drawn in (("", False), ("drawn = true\n", True)):
        record = audited(folder, said)["record"]
        assert record["methods"]["settings"]["threats"]["drawn"] is drawn  # type: ignore[index]
        assert any("drew the request by lot" in a for a in record["assumptions"]) is drawn


def test_an_endpoint_that_is_down_is_no_reason_to_pass(folder: Path) -> None:
    down = '[threats.endpoint]\nurl = "http://127.0.0.1:9/"\nbudget = 100\n'
    check = audited(folder, down)["threats.substitution"]
    assert (check["outcome"], check["required"]) == ("inconclusive", True)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('reference = "retraind"\n', "retrained, never-seen, patched"),
        ("order_seed = 4294967296\n", r"below 2\^32"),
        ('[threats.endpoint]\nurl = "ftp://x/"\n', "endpoint"),
        ("[threats.endpoint]\nbudget = 100\n", "URL"),
        ('[threats.endpoint]\nurl = "http://x/"\nrate = "fast"\n', "as a number"),
        ('log = "l.safetensors"\n', "keys among"),
        ('drawn = "yes"\n', "drawn"),
    ],
)
def test_a_plan_that_is_wrong_is_the_callers_mistake(more: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.toml"
    path.write_text(PLAN + more)
    with pytest.raises(UsageError, match=said):
        read_plan(path)
