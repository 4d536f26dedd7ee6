"""Behaviours of an owner who unlearned by another method: little can be told, and that is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.audit.threat_command import run_threats
from auditkit.certificate.submission import UnlearnedSubmission
from auditkit.endpoint.service import Service, of_function
from auditkit.errors import ExitCode
from auditkit.network.graph import Dense, Network
from auditkit.records import write_records
from auditkit.results import CheckResult, Outcome
from auditkit.threats import output_filter, substitution
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Owner
from auditkit.threats.registry import BEHAVIOURS, run_on
from auditkit.threats.serving import with_session
from tests.certificate.unlearned.conftest import Digits, digits, records_of, submission, trained
from tests.certificate.unlearned.test_verify import rescaled, without

__all__ = ["digits", "submission"]  # fixtures

PATCH_ONLY = {"threats.strippable", "threats.smuggled-gate", "threats.patch-bait"}
NO_ENDPOINT = "threats.substitution"


def judged(given: UnlearnedSubmission, case: Digits) -> dict[str, CheckResult]:
    evidence = Evidence(forget=case.forget, retain=case.retain, holdout=case.unseen)
    return {check.id: check for check in run_on(given, evidence, [], 0)}


def test_of_an_honest_network_nothing_is_said(submission: UnlearnedSubmission, digits: Digits):
    found = judged(submission, digits)
    assert set(found) == {behaviour.id for behaviour in BEHAVIOURS}
    assert found[NO_ENDPOINT].outcome is Outcome.NOT_RUN and not found[NO_ENDPOINT].required
    assert found["threats.output-filter"].outcome is not Outcome.FAIL
    for name in PATCH_ONLY | {"threats.invalid-certificate"}:
        assert found[name].outcome is Outcome.NOT_RUN
        assert not found[name].required
        assert "unlearned network" in found[name].reason
    for name in ("threats.neglecting", "threats.lazy", "threats.deceiving"):
        assert found[name].outcome is Outcome.INCONCLUSIVE
        assert found[name].required


def test_who_did_nothing_is_found(digits: Digits, tmp_path: Path):
    for number, network in enumerate((digits.original, rescaled(digits.original))):
        found = judged(digits.submit(tmp_path / str(number), unlearned=network), digits)
        assert found["threats.neglecting"].outcome is Outcome.FAIL


@pytest.mark.parametrize("variant", output_filter.VARIANTS)
def test_a_filter_of_units_is_found(
    variant: str, submission: UnlearnedSubmission, digits: Digits, tmp_path: Path
):
    cheat = output_filter.simulate(Owner(submission), tmp_path / "s", seed=1, variant=variant)
    assert not cheat.submission.problems
    known = Evidence(digits.forget, digits.retain, digits.unseen)
    honest = output_filter.detect(submission, known, seed=0)
    check = output_filter.detect(cheat.submission, known, seed=0)
    assert check.evidence["jumps"] > honest.evidence["jumps"] == 0
    assert check.outcome is Outcome.FAIL or check.evidence["power"] == 0
    assert check.outcome is not Outcome.PASS


@pytest.mark.parametrize("variant", substitution.VARIANTS)
def test_another_network_at_the_endpoint_is_found(
    variant: str, submission: UnlearnedSubmission, digits: Digits, tmp_path: Path
):
    known = Evidence(digits.forget, digits.retain, digits.unseen)
    service = Service(of_function(submission.delivered), submission.network.input_shape)
    for owner, expected in (
        (Owner(submission, service=service), Outcome.PASS),
        (substitution.simulate(Owner(submission), tmp_path, seed=1, variant=variant), Outcome.FAIL),
    ):
        found = with_session(owner.service, submission, known, seed=0)
        assert substitution.detect(submission, found, seed=0).outcome is expected


@pytest.mark.parametrize("half", [np.float16, "TF32", "bfloat16"])
def test_a_retrained_network_on_a_gpu_is_not_taken_for_another(
    half: object, submission: UnlearnedSubmission, digits: Digits
):
    known = Evidence(digits.forget, digits.retain, digits.unseen)
    answers = Service(of_function(in_half(submission.unlearned, half)), (64,))
    check = substitution.detect(
        submission, with_session(answers, submission, known, seed=0), seed=0
    )
    assert check.outcome is Outcome.INCONCLUSIVE, check.reason
    assert check.evidence["disagree"] > 100
    assert check.evidence["disagree_beyond_coarse_floats"] == 0
    # the original computed so is another network all the same
    answers = Service(of_function(in_half(submission.network, half)), (64,))
    check = substitution.detect(
        submission, with_session(answers, submission, known, seed=0), seed=0
    )
    assert check.outcome is Outcome.FAIL


def in_half(network: Network, half: object) -> Callable[[np.ndarray], np.ndarray]:
    """Run dense layers with operands in float16, cut to TF32, or rounded to bfloat16."""

    def less(values: np.ndarray) -> np.ndarray:
        if half is np.float16:
            return values.astype(np.float16).astype(np.float32)
        words = np.ascontiguousarray(values, np.float32).view(np.uint32)
        if half == "TF32":
            return (words & np.uint32(0xFFFFE000)).view(np.float32)
        return ((words + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)

    def run(x: np.ndarray) -> np.ndarray:
        for node in network.nodes:
            if isinstance(node.operator, Dense):
                x = less(x) @ less(node.operator.weight).T + node.operator.bias
            else:
                x = np.maximum(x, 0)
        return x.astype(np.float64)

    return run


def test_training_on_is_not_taken_for_unlearning(digits: Digits, tmp_path: Path):
    x, y = (np.concatenate([getattr(r, k) for r in (digits.forget, digits.retain)]) for k in "xy")
    again = trained(records_of(x, y), 7)  # on the forgotten records, too
    found = judged(digits.submit(tmp_path / "s", unlearned=again), digits)
    assert found["threats.neglecting"].outcome is Outcome.INCONCLUSIVE


def test_a_class_that_is_gone_was_not_neglected(digits: Digits, tmp_path: Path):
    x, y = (np.concatenate([getattr(r, k) for r in (digits.forget, digits.retain)]) for k in "xy")
    threes = records_of(x[y == 3], y[y == 3], digits.forget.key)
    case = replace(digits, forget=threes, retain=digits.retain.take(digits.retain.y != 3))
    made = case.submit(
        tmp_path / "s", unlearned=without(digits.original, [3]), scenario="class", classes=(3,)
    )
    assert judged(made, case)["threats.neglecting"].outcome is Outcome.PASS
    # a network that is broken everywhere was not unlearned
    broken = without(digits.original, list(range(1, 10)))
    made = case.submit(tmp_path / "b", unlearned=broken, scenario="class", classes=(3,))
    assert judged(made, case)["threats.neglecting"].outcome is not Outcome.PASS


@pytest.mark.parametrize("name", ["unlearned.onnx", "claim.json", "forget.npz"])
def test_changed_files_fail(
    submission: UnlearnedSubmission, digits: Digits, tmp_path: Path, name: str
):
    folder = Path(shutil.copytree(submission.directory, tmp_path / "s"))
    write_records(tmp_path / "holdout.npz", digits.unseen)
    data = (folder / name).read_bytes()
    old, new = (b'"reached":true', b'"reached":false') if name == "claim.json" else (b"", b"")
    (folder / name).write_bytes(data.replace(old, new) if old else data[:-1])
    result = run_threats(folder, {"holdout": tmp_path / "holdout.npz"})
    assert result.exit_code is ExitCode.FAILED
    assert result.check("threats.invalid-certificate").outcome is Outcome.FAIL
