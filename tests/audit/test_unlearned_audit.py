"""An audit of a network that was unlearned by another method than a patch, from plan to report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attacks import shadows
from auditkit.audit.plan import read_plan
from auditkit.audit.record import weight_change
from auditkit.audit.record_words import references
from auditkit.audit.run import run_audit, run_plan
from auditkit.audit.unlearn_again import cannot_unlearn_again, method_again, unlearn_again
from auditkit.audit.unlearned_run import train_unlearned_run
from auditkit.audit.verdict import verdict
from auditkit.certificate.claim import StatedGuarantee, StatedMethod
from auditkit.certificate.submission import UnlearnedSubmission, write_unlearned_submission
from auditkit.errors import ExitCode, UsageError
from auditkit.network.write_onnx import network_to_onnx
from auditkit.records import Records, write_records
from auditkit.results import Outcome, Result, overall
from auditkit.unlearning.registry import method_named
from tests.certificate.unlearned.conftest import Digits, digits, records_of, submission
from tests.certificate.unlearned.test_verify import backdoored, without

__all__ = ["backdoored", "digits", "submission"]  # fixtures

torch = pytest.importorskip("torch")

RECIPE = shadows.Recipe(epochs=20, batch_size=64, learning_rate=0.01)


def both(case: Digits) -> Records:
    x, y = (np.concatenate([getattr(r, k) for r in (case.forget, case.retain)]) for k in "xy")
    return records_of(x, y)


def plan(folder: Path, case: Digits, more: str = "", attack: str = "", **files: Records) -> Path:
    groups = {
        "forget": case.forget,
        "retain": case.retain,
        "holdout": case.unseen.take(range(200)),
        **files,
    }
    lines = ['submission = "submission"']
    for name, records in groups.items():
        write_records(folder / f"{name}.npz", records)
        lines.append(f'{name} = "{name}.npz"')
    text = "\n".join([*lines, more, "[attack]", 'names = ["loss", "patch-support"]', attack])
    (folder / "audit.toml").write_text(text)
    return folder / "audit.toml"


def audited(folder: Path, path: Path) -> tuple[Result, dict[str, Any], str]:
    result = run_audit(path, folder / "out")
    record = json.loads((folder / "out/record.json").read_text())
    return result, record, (folder / "out/report.html").read_text()


@pytest.fixture(scope="module")
def honest(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("audit")
    digits.submit(
        folder / "submission",
        guarantee=StatedGuarantee(1e5, 1e-5, {"bound": 400.0, "sigma": 1.0}),
        reached=False,
        shortfall="the two-sample test still rejects",
    )
    (folder / "reference.onnx").write_bytes(network_to_onnx(digits.retrained))
    return folder, audited(folder, plan(folder, digits))


def test_it_is_inconclusive_at_best(honest: tuple[Path, Any]):
    result, record, _ = honest[1]
    assert result.exit_code is ExitCode.INCONCLUSIVE
    ids = [check["id"] for check in record["checks"]]
    assert len(ids) == len(set(ids))
    assert ids.count("audit.erasure") == 1
    assert not any(i.startswith(("patch.", "certificate.", "limits.", "compare.")) for i in ids)
    assert record["verdict"]["outputs_redirected"]["outcome"] == "not_run"
    assert record["verdict"]["information_removed"]["outcome"] != "pass"
    support = result.check("attack.patch-support")
    assert support.outcome is Outcome.NOT_RUN
    assert "no patch" in support.reason


def test_the_record_says_how_it_was_unlearned(honest: tuple[Path, Any]):
    _, record, _ = honest[1]
    assert record["subject"]["patch"] is None
    stated = record["subject"]["unlearning"]
    assert (stated["method"], stated["scenario"]) == ("retrain", "subset")
    assert stated["settings"] == {"epochs": 60}
    assert stated["guarantee"]["epsilon"] == 1e5
    assert stated["reached"] is False
    assert stated["weight_change"] > 0.1
    roles = {row["role"]: row for row in record["inputs"]}
    assert roles["unlearned"]["semantic"] not in (None, roles["model"]["semantic"])
    assert record["methods"]["settings"]["unlearning"]["seed"] == 0


def test_nothing_is_said_of_a_patch_that_is_not_there(honest: tuple[Path, Any]):
    _, record, page = honest[1]
    said = json.dumps([record["must_not_conclude"], record["may_conclude"], record["compliance"]])
    for text in (said, page):
        assert "a patch leaves the original weights" not in text
        assert "the patched network" not in text
        assert "original weights are still in" not in text
        assert "recomputed patch" not in text
    assert "Unlearning method, as the owner states it" in page
    assert "the two-sample test still rejects" in page
    assert "What this certificate cannot say" not in page


def test_references_are_those_of_what_was_checked(honest: tuple[Path, Any]):
    record = honest[1][1]
    stated = method_named(record["subject"]["unlearning"]["method"]).source
    assert record["references"][0].startswith(stated)
    assert not any("PRUNE" in line for line in record["references"])
    assert references("model", "a method of their own") == references("model", None)
    assert any("PRUNE" in line for line in references("patch", None))


def test_a_loss_of_accuracy_refutes_no_assertion(digits: Digits, tmp_path: Path):
    digits.submit(tmp_path / "submission", unlearned=without(digits.retrained, [1, 2]))
    found = run_plan(read_plan(plan(tmp_path, digits, "[threats]\nnames = []")))
    loss = next(c for c in found.checks if c.id == "utility.retained")
    assert (loss.outcome, loss.required) == (Outcome.FAIL, False)
    assert "utility" not in verdict(found.checks, found.assertion, found.kind)["sentence"]
    asked = 'required = ["utility.retained"]'
    found = run_plan(read_plan(plan(tmp_path, digits, asked)))
    assert overall(found.checks) is Outcome.FAIL
    assert "utility.retained" in verdict(found.checks, found.assertion, found.kind)["sentence"]


def test_the_same_inputs_give_the_same_record(honest: tuple[Path, Any]):
    folder, _ = honest
    before = (folder / "out/record.json").read_bytes()
    audited(folder, folder / "audit.toml")
    assert (folder / "out/record.json").read_bytes() == before


def test_the_plan_decides_what_is_required(honest: tuple[Path, Any], digits: Digits):
    folder, _ = honest
    required = 'required = ["submission.binding", "unlearning.changed", "utility.retained"]'
    found = run_plan(read_plan(plan(folder, digits, required)))
    assert overall(found.checks) is Outcome.PASS
    said = verdict(found.checks, found.assertion, found.kind)
    assert said["information_removed"]["outcome"] == "inconclusive"
    asked = 'required = ["audit.erasure"]\nassertion = "redirected"'
    found = run_plan(read_plan(plan(folder, digits, asked)))
    assert overall(found.checks) is Outcome.INCONCLUSIVE
    said = verdict(found.checks, found.assertion, found.kind)
    assert said["outputs_redirected"]["outcome"] == "inconclusive"
    with pytest.raises(UsageError, match="required"):
        read_plan(plan(folder, digits, 'required = ["unlearning.proved"]'))


def test_a_network_that_was_left_as_it_was_fails(digits: Digits, tmp_path: Path):
    digits.submit(tmp_path / "submission", unlearned=digits.original)
    found = run_plan(read_plan(plan(tmp_path, digits)))
    assert overall(found.checks) is Outcome.FAIL
    assert "unlearning.changed" in verdict(found.checks, found.assertion, "model")["sentence"]


def test_a_trigger_in_the_plan(digits: Digits, backdoored: Any, tmp_path: Path):
    network, bad, stamped = backdoored
    case = replace(digits, forget=bad, retain=digits.retain.take(range(192, 640)))
    case.submit(tmp_path / "submission", network=network, scenario="backdoor")
    (tmp_path / "reference.onnx").write_bytes(network_to_onnx(digits.original))
    attack = 'references = ["reference.onnx"]'
    found = run_plan(read_plan(plan(tmp_path, case, attack=attack, trigger=stamped)))
    [check] = [c for c in found.checks if c.id == "unlearning.trigger"]
    assert (check.outcome, check.required) == (Outcome.PASS, True)


def test_a_recomputed_network_in_the_plan(digits: Digits, tmp_path: Path):
    method = StatedMethod("retrain", "subset", {"epochs": 5}, 0)
    made = digits.submit(tmp_path / "submission")
    claim = replace(made.claim, method=method)
    write_unlearned_submission(
        made.directory, digits.original, digits.retrained, claim, digits.forget, replace=True
    )
    result, record, page = audited(tmp_path, plan(tmp_path, digits, attack="[compare]"))
    assert result.check("compare.specification").outcome is Outcome.PASS
    assert result.check("compare.weights").outcome is not Outcome.PASS
    assert record["comparison"]["columns"] == ["owner", "recomputed"]
    assert "against recomputed unlearned network" in page


def test_a_changed_submission_still_gets_a_record(digits: Digits, tmp_path: Path):
    folder = digits.submit(tmp_path / "submission").directory
    (folder / "unlearned.onnx").write_bytes(b"nothing of the kind")
    result, record, page = audited(tmp_path, plan(tmp_path, digits))
    assert result.exit_code is ExitCode.FAILED
    assert record["verdict"]["outputs_redirected"]["outcome"] == "not_run"
    assert "the patched network" not in page


def test_shadow_models_are_unlearned_by_the_stated_method(
    submission: UnlearnedSubmission, digits: Digits
):
    method = StatedMethod("retrain", "subset", {"epochs": 2}, 0)
    stated = replace(submission, claim=replace(submission.claim, method=method))
    forget, unseen = digits.forget.take(range(40)), digits.unseen.take(range(40))
    made, why = train_unlearned_run(stated, both(digits), forget, unseen, 8, RECIPE, 0, None)
    assert made is not None, why
    assert made.signals.shape == (8, 80)
    assert np.isfinite(made.signals).all()


METHODS = {
    "an unknown one": (StatedMethod("magic", "subset", {}, 0), "one of"),
    "one that needs a history": (StatedMethod("sisa", "subset", {}, 0), "training left behind"),
    "another scenario": (StatedMethod("unsir", "subset", {}, 0), "not one for"),
    "an unknown setting": (StatedMethod("retrain", "subset", {"luck": 1}, 0), "settings"),
    "far too much": (StatedMethod("retrain", "subset", {"epochs": 10**9}, 0), "20 times"),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods_that_are_not_carried_out(submission: UnlearnedSubmission, digits: Digits, name):
    method, reason = METHODS[name]
    assert reason in cannot_unlearn_again(method)
    stated = replace(submission, claim=replace(submission.claim, method=method))
    unseen = digits.unseen.take(range(100))
    made, why = train_unlearned_run(
        stated, both(digits), digits.forget, unseen, 14, RECIPE, 0, None
    )
    assert made is None
    assert reason in why
    with pytest.raises(ValueError, match=reason[:12]):
        unlearn_again(method, digits.original, digits.forget, digits.retain, None, 0)


def test_a_backdoor_has_no_forget_sets(submission: UnlearnedSubmission, digits: Digits):
    method = StatedMethod("retrain", "backdoor", {}, 0)
    stated = replace(submission, claim=replace(submission.claim, method=method))
    made, why = train_unlearned_run(
        stated, both(digits), digits.forget, digits.unseen, 14, RECIPE, 0, None
    )
    assert (made, "poisoned" in why) == (None, True)


def test_each_shadow_model_has_a_seed_of_its_own(submission: UnlearnedSubmission, digits: Digits):
    """Two models of the same weights that are unlearned of the same records still differ."""
    kind = shadows.Architecture.fully_connected((64, 16, 10))
    layers = shadows.train_one(kind, digits.retain.x, digits.retain.y, RECIPE, 1)
    method = StatedMethod("retrain", "subset", {"epochs": 2}, 0)
    submission = replace(submission, claim=replace(submission.claim, method=method))
    forgotten, kept = digits.retain.take(range(60)), digits.retain.take(range(60, 640))
    unlearn, x = method_again(submission), digits.unseen.x[:20]

    def answers(number: int) -> np.ndarray:
        trained = shadows.Trained(kind, layers, layers, RECIPE, number, 0)
        parts = (shadows.Labelled(r.x, r.y) for r in (forgotten, kept, digits.unseen))
        return np.asarray(unlearn(trained, *parts)(x))

    assert np.array_equal(answers(0), answers(0))
    assert not np.allclose(answers(0), answers(1))


def test_the_weights_change_is_that_of_all_weights(digits: Digits):
    assert weight_change(digits.original, digits.original) == 0
    found = weight_change(digits.original, digits.retrained)
    assert found is not None
    assert 0.1 < found < 10
    narrow = replace(digits.retrained, nodes=digits.retrained.nodes[:1])
    assert weight_change(digits.original, narrow) is None
