"""Two unlearned networks beside each other: equal weights, another seed, another network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auditkit.audit.compare import compare_directories
from auditkit.audit.unlearn_again import unlearn_again
from auditkit.certificate.claim import StatedMethod
from auditkit.certificate.history import new_request
from auditkit.certificate.identity import record_digests
from auditkit.certificate.submission import (
    UnlearnedSubmission,
    make_claim,
    read_submission,
    write_unlearned_submission,
)
from auditkit.errors import UsageError
from auditkit.network.graph import Network
from auditkit.patch.settings import Domain
from auditkit.records import Records, write_records
from auditkit.results import Outcome, Result, Severity
from auditkit.unlearning.submission import Handover, unlearn_to
from tests.certificate.unlearned.conftest import KEY, Digits, digits
from tests.certificate.unlearned.test_verify import without

__all__ = ["digits"]  # a fixture

pytest.importorskip("torch")

METHOD = StatedMethod("retrain", "subset", {"epochs": 20, "learning_rate": 0.01}, 5)


def stated(
    case: Digits, out: Path, unlearned: Network, method: StatedMethod, forget: Records | None = None
) -> Path:
    forget = forget or case.forget
    request = new_request(record_digests(forget, KEY), None)
    claim = make_claim(case.original, unlearned, (request,), method, domain=Domain())
    write_unlearned_submission(out, case.original, unlearned, claim, forget)
    return out


def compared(owner: Path, auditor: Path | None, case: Digits, *, retain: bool = True) -> Result:
    write_records(owner.parent / "retain.npz", case.retain)
    return compare_directories(
        owner,
        auditor,
        recompute=auditor is None,
        reference=None,
        reference_network=None,
        forget=None,
        retain=owner.parent / "retain.npz" if retain else None,
        seed=0,
    )


@pytest.fixture(scope="module")
def honest(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stated method gives, of the original as it reads from its file."""
    folder = tmp_path_factory.mktemp("honest")
    first = read_submission(stated(digits, folder / "first", digits.retrained, METHOD))
    assert first.forget is not None
    made = unlearn_again(METHOD, first.network, first.forget, digits.retain, None, METHOD.seed)
    assert made.network is not None
    return stated(digits, folder / "submission", made.network, METHOD)


def test_the_same_method_and_seed_give_the_same_weights(honest: Path, digits: Digits):
    result = compared(honest, None, digits)
    assert result.outcome is Outcome.PASS
    assert result.check("compare.gates").outcome is Outcome.NOT_RUN
    assert "bit for bit" in result.check("compare.weights").reason
    shown = result.check("compare.outputs").evidence["retained"]
    assert (shown["labels_agree"], shown["total_variation"]) == (1, 0)
    assert shown["n"] == len(digits.retain)


def test_settings_that_may_do_nothing_do_not_pass(digits: Digits, tmp_path: Path):
    idle = StatedMethod("random-labels", "subset", {"epochs": 1, "learning_rate": 1e-5}, 0)
    first = read_submission(stated(digits, tmp_path / "first", digits.retrained, idle))
    assert first.forget is not None
    made = unlearn_again(idle, first.network, first.forget, digits.retain, None, 0)
    assert made.network is not None
    result = compared(stated(digits, tmp_path / "s", made.network, idle), None, digits)
    found = result.check("compare.weights")
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "bit for bit" in found.reason and "learning_rate 1e-05 (0.001)" in found.reason


def test_a_claim_about_fewer_records_is_another_request(honest: Path, digits: Digits):
    """Its own list would say that they are all of them."""
    some = digits.forget.take(range(30))
    folder = stated(digits, honest.parent / "half", digits.retrained, METHOD, some)
    write_records(honest.parent / "all.npz", digits.forget)
    write_records(honest.parent / "kept.npz", digits.retain)
    given = {"forget": honest.parent / "all.npz", "retain": honest.parent / "kept.npz"}
    result = compare_directories(
        folder, None, recompute=True, reference=None, reference_network=None, seed=0, **given
    )
    assert result.check("compare.specification").outcome is Outcome.FAIL


def test_the_auditors_order_gives_the_owners_weights_again(
    honest: Path, digits: Digits, tmp_path: Path
) -> None:
    """Who trained in the order that was given delivers what the auditor's run gives, to the bit."""
    original = read_submission(honest).network
    records = {"forget": digits.forget, "retain": digits.retain}
    for name, held in records.items():
        write_records(tmp_path / f"{name}.npz", held)
    given: dict[str, Any] = {
        "recompute": True, "reference": None, "reference_network": None, "seed": 0,
        "forget": tmp_path / "forget.npz", "retain": tmp_path / "retain.npz",
    }  # fmt: skip
    unlearn_to(
        tmp_path / "s", "retrain", original, digits.forget, digits.retain,
        settings={"epochs": 4}, seed=3,
        handover=Handover(log_to=tmp_path / "log.safetensors", order_seed=11),
    )  # fmt: skip
    outcomes = {
        order: compare_directories(tmp_path / "s", None, order_seed=order, **given).check(
            "compare.weights"
        )
        for order in (11, 12, None)
    }
    assert outcomes[11].outcome is Outcome.PASS and "bit for bit" in outcomes[11].reason
    assert {outcomes[12].outcome, outcomes[None].outcome} == {Outcome.INCONCLUSIVE}
    with pytest.raises(UsageError, match="--recompute"):
        compare_directories(tmp_path / "s", honest, order_seed=11, **{**given, "recompute": False})


def test_an_order_is_of_a_retraining(digits: Digits, tmp_path: Path) -> None:
    other = StatedMethod("random-labels", "subset", {}, 0)
    folder = stated(digits, tmp_path / "s", digits.retrained, other)
    write_records(tmp_path / "retain.npz", digits.retain)
    with pytest.raises(UsageError, match="retraining"):
        compare_directories(
            folder, None, recompute=True, reference=None, reference_network=None, forget=None,
            retain=tmp_path / "retain.npz", order_seed=1, seed=0,
        )  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [{"learning_rate": 1e38}, {"weight_decay": 1e300}, {"batch_size": 1, "epochs": 600}],
    ids=str,
)
def test_settings_that_cannot_be_carried_out_end_nothing(
    digits: Digits, tmp_path: Path, settings: dict[str, float]
):
    method = StatedMethod("retrain", "subset", settings, 0)
    result = compared(stated(digits, tmp_path / "s", digits.retrained, method), None, digits)
    assert {c.outcome for c in result.checks} == {Outcome.NOT_RUN}


def test_another_seed_is_no_finding(honest: Path, digits: Digits, tmp_path: Path):
    submission = read_submission(honest)
    assert isinstance(submission, UnlearnedSubmission)
    other = StatedMethod(METHOD.name, METHOD.scenario, METHOD.settings, 77)
    again = stated(digits, tmp_path / "s", submission.unlearned, other)
    result = compared(again, None, digits)
    found = result.check("compare.weights")
    assert found.outcome is Outcome.INCONCLUSIVE
    assert result.outcome is Outcome.INCONCLUSIVE
    low, high = result.check("compare.outputs").evidence["forgotten"]["total_variation_interval"]
    assert 0 <= low < high < 0.5


def test_a_network_far_off_is_a_limitation(digits: Digits, tmp_path: Path):
    broken = without(digits.retrained, [0, 1, 2, 3, 4])
    result = compared(stated(digits, tmp_path / "s", broken, METHOD), None, digits)
    found = result.check("compare.weights")
    assert (found.outcome, found.severity) == (Outcome.FAIL, Severity.LIMITATION)
    assert result.outcome is Outcome.INCONCLUSIVE  # another implementation might


def test_two_submissions(honest: Path, digits: Digits, tmp_path: Path):
    assert compared(honest, honest, digits).outcome is Outcome.PASS
    other = StatedMethod("scrub", "subset", {}, 0)
    result = compared(honest, stated(digits, tmp_path / "o", digits.retrained, other), digits)
    assert result.check("compare.specification").outcome is Outcome.FAIL
    assert result.check("compare.weights").outcome is Outcome.INCONCLUSIVE
    fewer = digits.forget.take(range(50))
    request = stated(digits, tmp_path / "r", digits.retrained, METHOD, fewer)
    assert "another request" in compared(honest, request, digits).checks[1].reason


def test_what_cannot_be_compared(honest: Path, digits: Digits, tmp_path: Path):
    magic = StatedMethod("magic", "subset", {}, 0)
    result = compared(stated(digits, tmp_path / "m", digits.retrained, magic), None, digits)
    assert {c.outcome for c in result.checks} == {Outcome.NOT_RUN}
    with pytest.raises(UsageError, match="retained records"):
        compared(honest, None, digits, retain=False)
    case = Digits(digits.forget, digits.retain, digits.unseen, digits.retrained, digits.original)
    foreign = stated(case, tmp_path / "f", digits.original, METHOD)
    with pytest.raises(UsageError, match="the owner's network"):
        compared(honest, foreign, digits)
