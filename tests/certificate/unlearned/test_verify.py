"""What is checked of an unlearned network, and that nothing of it ever passes by itself."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit.certificate.claim import StatedGuarantee
from auditkit.certificate.policy import MODEL_CHECKS, Policy, policy_from
from auditkit.certificate.submission import UnlearnedSubmission
from auditkit.certificate.verify import verify_directory, verify_submission
from auditkit.errors import EvidenceError, UsageError
from auditkit.network.graph import Dense, Network, Node
from auditkit.patch.settings import Domain
from auditkit.records import Records, write_records
from auditkit.results import CheckResult, Outcome, Severity
from tests.certificate.unlearned.conftest import KEY, Digits, records_of, trained


def one(submission: UnlearnedSubmission, name: str, **evidence: Any) -> CheckResult:
    return verify_submission(submission, **evidence).check(name)


def test_an_honest_network_is_inconclusive_at_best(submission: UnlearnedSubmission, digits: Digits):
    result = verify_submission(submission, forget=digits.forget, retain=digits.retain)
    assert [c.id for c in result.checks] == [*MODEL_CHECKS, "audit.erasure"]
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.check("submission.binding").outcome is Outcome.PASS
    changed = result.check("unlearning.changed")
    assert changed.outcome is Outcome.PASS
    assert changed.n == len(digits.forget)
    assert "no sign of forgetting" in changed.reason
    low, high = changed.evidence["median_effect_interval"]
    assert low <= changed.evidence["median_effect"] <= high
    assert result.check("unlearning.class").outcome is Outcome.NOT_RUN
    assert not result.check("unlearning.class").required
    assert result.check("audit.erasure").outcome is Outcome.INCONCLUSIVE
    assert "weights" not in result.check("audit.erasure").reason
    assert result.details["kind"] == "model"


def test_it_does_not_pass_as_a_redirection_either(digits: Digits, tmp_path: Path):
    result = verify_submission(digits.submit(tmp_path / "s", assertion="redirected"))
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.check("audit.redirection").outcome is Outcome.INCONCLUSIVE


def test_the_auditors_list_counts(submission: UnlearnedSubmission, digits: Digits):
    fewer = digits.forget.take(range(50))
    found = one(submission, "submission.binding", forget=fewer)
    assert found.outcome is Outcome.FAIL
    assert "10 requested record(s) are not in the auditor's list" in found.reason


def test_withheld_records_leave_it_open(digits: Digits, tmp_path: Path):
    withheld = digits.submit(tmp_path / "s", withheld=True)
    assert one(withheld, "submission.binding").outcome is Outcome.INCONCLUSIVE
    assert one(withheld, "unlearning.changed").outcome is Outcome.INCONCLUSIVE
    assert one(withheld, "unlearning.changed", forget=digits.forget).outcome is Outcome.PASS


def rescaled(network: Network) -> Network:
    """Return the same function with other weights: hidden units made larger and smaller."""
    first, relu, last = network.nodes
    scale = np.linspace(0.5, 2, 16).astype(np.float32)
    a, b = first.operator, last.operator
    assert isinstance(a, Dense)
    assert isinstance(b, Dense)
    return replace(
        network,
        nodes=(
            Node(Dense(a.weight * scale[:, None], a.bias * scale), first.inputs),
            relu,
            Node(Dense(b.weight / scale, b.bias + np.float32(1)), last.inputs),
        ),
    )


def test_the_original_is_no_unlearned_network(digits: Digits, tmp_path: Path):
    same = digits.submit(tmp_path / "same", unlearned=digits.original)
    found = one(same, "unlearning.changed")
    assert (found.outcome, found.required) == (Outcome.FAIL, True)
    disguised = digits.submit(tmp_path / "disguised", unlearned=rescaled(digits.original))
    found = one(disguised, "unlearning.changed")
    assert found.outcome is Outcome.FAIL
    assert "the outputs that they had" in found.reason
    assert found.observed == 0


def without(network: Network, classes: list[int]) -> Network:
    """Return the network with the bias of some classes far down."""
    last = network.nodes[2].operator
    assert isinstance(last, Dense)
    bias = last.bias.copy()
    bias[classes] -= 1000
    node = Node(Dense(last.weight, bias), (2,))
    return replace(network, nodes=(*network.nodes[:2], node))


@pytest.fixture(scope="module")
def threes(digits: Digits) -> Records:
    x, y = (np.concatenate([getattr(r, k) for r in (digits.forget, digits.retain)]) for k in "xy")
    return records_of(x[y == 3], y[y == 3], KEY)


def test_a_class_that_is_gone_and_one_that_is_not(digits: Digits, threes: Records, tmp_path: Path):
    case = {"forget": threes, "scenario": "class", "classes": (3,)}
    gone = digits.submit(tmp_path / "gone", unlearned=without(digits.original, [3]), **case)
    found = one(gone, "unlearning.class", holdout=digits.unseen)
    assert (found.outcome, found.observed, found.required) == (Outcome.PASS, 0, True)
    assert found.interval is not None
    assert found.interval[1] <= 0.05
    assert found.evidence["unseen_after"] == 0
    there = digits.submit(tmp_path / "there", unlearned=digits.retrained, **case)
    assert one(there, "unlearning.class").outcome is Outcome.FAIL
    few = threes.take(range(20))
    little = digits.submit(
        tmp_path / "few", unlearned=without(digits.original, [3]), **{**case, "forget": few}
    )
    assert one(little, "unlearning.class").outcome is Outcome.INCONCLUSIVE


def test_copies_of_a_record_are_no_more_evidence(digits: Digits, threes: Records, tmp_path: Path):
    few = threes.take([*range(20)] * 10)
    made = digits.submit(
        tmp_path / "s",
        unlearned=without(digits.original, [3]),
        forget=few,
        scenario="class",
        classes=(3,),
    )
    assert one(made, "unlearning.class").n == 20
    assert one(made, "unlearning.class").outcome is Outcome.INCONCLUSIVE


def test_a_class_claim_about_records_of_others(digits: Digits, tmp_path: Path):
    made = digits.submit(tmp_path / "s", scenario="class", classes=(3,))
    found = one(made, "unlearning.class")
    assert found.outcome is Outcome.FAIL
    assert "have another label" in found.reason


def test_a_claim_takes_no_retained_records_away(digits: Digits, threes: Records, tmp_path: Path):
    """Neither a class that nobody asked for, nor one of which records were retained."""
    keep = digits.retain.take(digits.retain.y != 3)
    case = {"unlearned": without(digits.original, [3, 5]), "scenario": "class"}
    more = digits.submit(tmp_path / "more", forget=threes, classes=(3, 5), **case)
    found = one(more, "unlearning.class", retain=keep)
    assert found.outcome is Outcome.FAIL and "class 5, of which no requested" in found.reason
    assert one(more, "utility.retained", retain=keep).outcome is Outcome.FAIL
    few = digits.submit(tmp_path / "few", forget=threes.take(range(6)), classes=(3,), **case)
    assert one(few, "utility.retained", retain=digits.retain).n >= len(digits.retain) - 6


def test_a_domain_of_the_owners_is_not_believed(digits: Digits, tmp_path: Path):
    made = digits.submit(tmp_path / "s", domain=Domain(-1000, 1000))
    found = one(made, "submission.binding", forget=digits.forget)
    assert found.outcome is Outcome.INCONCLUSIVE and "not the owner's to say" in found.reason


def test_a_class_request_that_is_claimed_as_a_subset(
    digits: Digits, threes: Records, tmp_path: Path
):
    made = digits.submit(tmp_path / "s", unlearned=digits.retrained, forget=threes)
    keep = digits.retain.take(digits.retain.y != 3)
    found = one(made, "unlearning.class", retain=keep, holdout=digits.unseen)
    assert (found.outcome, found.required) == (Outcome.FAIL, True)
    few = one(made, "unlearning.class", retain=keep.take(range(20)), holdout=digits.unseen)
    assert few.outcome is Outcome.NOT_RUN


GUARANTEES = {
    "possible": (StatedGuarantee(5.0, 1e-5, {"bound": 1.0, "sigma": 1.0}), Outcome.INCONCLUSIVE),
    "too small": (StatedGuarantee(4.0, 1e-5, {"bound": 1.0, "sigma": 1.0}), Outcome.FAIL),
    "less than classical": (
        StatedGuarantee(4.5, 1e-5, {"bound": 1.0, "sigma": 1.0}),
        Outcome.INCONCLUSIVE,
    ),
    "vacuous": (StatedGuarantee(1e9, 1e-5, {"bound": 100.0, "sigma": 1.0}), Outcome.INCONCLUSIVE),
    "without premises": (StatedGuarantee(0.1, 1e-5), Outcome.INCONCLUSIVE),
    "no noise": (StatedGuarantee(1.0, 1e-5, {"bound": 1.0, "sigma": 0.0}), Outcome.INCONCLUSIVE),
}


@pytest.mark.parametrize("name", GUARANTEES)
def test_a_guarantee_never_passes(digits: Digits, tmp_path: Path, name: str):
    stated, outcome = GUARANTEES[name]
    found = one(digits.submit(tmp_path / "s", guarantee=stated), "unlearning.guarantee")
    assert found.outcome is outcome
    assert (found.required, found.severity) == (False, Severity.LIMITATION)
    if name == "vacuous":
        assert "vacuous" in found.reason
        strict = Policy(greatest_epsilon=1e10)
        again = one(digits.submit(tmp_path / "s", guarantee=stated), found.id, policy=strict)
        assert "vacuous" not in again.reason
        assert "holds only up to 1" in again.reason


def poisoned(records: Records, share: float = 0.3) -> Records:
    """Return the records with a corner pixel set, so many of them, and the label 0."""
    x, y = records.x.copy(), records.y.copy()
    chosen = np.arange(len(x)) < share * len(x)
    x[chosen, 0] = x[chosen, 7] = 1.0
    y[chosen] = 0
    return records_of(x, y, KEY)


@pytest.fixture(scope="module")
def backdoored(digits: Digits) -> tuple[Network, Records, Records]:
    """A network with a backdoor, the poisoned records, and unseen ones with the trigger."""
    bad = poisoned(digits.retain)
    others = digits.unseen.take(digits.unseen.y != 0)
    return trained(bad), bad.take(range(192)), poisoned(others, 1.0)


def test_a_backdoor_that_is_gone_and_one_that_is_not(
    digits: Digits, backdoored: tuple[Network, Records, Records], tmp_path: Path
):
    network, bad, stamped = backdoored
    clean = trained(digits.retain.take(range(192, 640)), 3)
    case = {"network": network, "forget": bad, "scenario": "backdoor"}
    healed = digits.submit(tmp_path / "healed", unlearned=clean, **case)
    assert one(healed, "unlearning.trigger").outcome is Outcome.NOT_RUN
    assert one(healed, "unlearning.trigger").required
    alone = one(healed, "unlearning.trigger", trigger=stamped)
    assert alone.outcome is Outcome.INCONCLUSIVE
    assert alone.evidence["before"] > 0.9
    found = one(healed, alone.id, trigger=stamped, references=(digits.retrained, clean))
    assert found.outcome is Outcome.PASS
    idle = digits.submit(tmp_path / "idle", unlearned=rescaled(network), **case)
    assert one(idle, found.id, trigger=stamped).outcome is Outcome.FAIL
    found = one(idle, found.id, trigger=stamped, references=(digits.retrained,))
    assert found.outcome is Outcome.FAIL
    few = stamped.take(range(10))
    found = one(healed, found.id, trigger=few, references=(digits.retrained,))
    assert found.outcome is Outcome.INCONCLUSIVE


def test_records_that_show_no_trigger_pass_nothing(
    digits: Digits, backdoored: tuple[Network, Records, Records], tmp_path: Path
):
    network, bad, stamped = backdoored
    case = {"network": network, "forget": bad, "scenario": "backdoor"}
    idle = digits.submit(tmp_path / "idle", unlearned=without(network, [9]), **case)
    plain = digits.unseen.take(digits.unseen.y != 0)
    given = {
        "true labels": records_of(stamped.x, plain.y),
        "no mark": records_of(plain.x, stamped.y),
    }
    for records in given.values():
        found = one(idle, "unlearning.trigger", trigger=records, references=(digits.retrained,) * 2)
        assert found.outcome is not Outcome.PASS
    broken = without(digits.retrained, [])
    last = broken.nodes[-1]
    assert isinstance(last.operator, Dense)
    nan = replace(last.operator, weight=np.full_like(last.operator.weight, 3e38))
    broken = replace(broken, nodes=(*broken.nodes[:-1], replace(last, operator=nan)))
    found = one(idle, "unlearning.trigger", trigger=stamped, references=(broken,))
    assert (found.outcome, "nan or infinity" in found.reason) == (Outcome.INCONCLUSIVE, True)


def test_a_network_without_a_backdoor_is_not_accused(
    submission: UnlearnedSubmission, digits: Digits, backdoored: tuple[Network, Records, Records]
):
    _, _, stamped = backdoored
    found = one(submission, "unlearning.trigger", trigger=stamped)
    assert found.outcome is Outcome.INCONCLUSIVE


def test_retained_records_are_counted(digits: Digits, tmp_path: Path):
    good = digits.submit(tmp_path / "good")
    found = one(good, "utility.retained", retain=digits.retain)
    assert found.outcome is Outcome.PASS
    assert not found.required
    broken = digits.submit(tmp_path / "broken", unlearned=without(digits.original, [1, 2]))
    found = one(broken, "utility.retained", retain=digits.retain)
    assert (found.outcome, found.severity) == (Outcome.FAIL, Severity.LIMITATION)
    assert found.interval is not None
    assert found.interval[0] <= found.observed <= found.interval[1]
    few = digits.retain.take(np.flatnonzero(digits.retain.y < 3)[:5])
    assert one(broken, found.id, retain=few).outcome is not Outcome.PASS
    few = digits.retain.take(np.flatnonzero(digits.retain.y == 0)[:3])
    found = one(broken, found.id, retain=few)
    assert found.evidence["lost"] == 0 and found.outcome is Outcome.INCONCLUSIVE
    required = policy_from({"required": ["utility.retained"]}, "policy")
    result = verify_submission(good, retain=digits.retain, policy=required)
    assert [c.id for c in result.checks if c.required] == ["utility.retained", "audit.erasure"]
    # a loss refutes no assertion, but the auditor may not accept it
    assert verify_submission(broken, retain=digits.retain).outcome is Outcome.INCONCLUSIVE
    result = verify_submission(broken, retain=digits.retain, policy=required)
    assert result.outcome is Outcome.FAIL


def test_forgotten_records_among_the_retained_are_left_out(
    submission: UnlearnedSubmission, digits: Digits
):
    x, y = (np.concatenate([getattr(r, k) for r in (digits.forget, digits.retain)]) for k in "xy")
    found = one(submission, "utility.retained", retain=records_of(x, y))
    assert found.n == len(digits.retain)


def test_answers_that_are_no_numbers_pass_nothing(digits: Digits, tmp_path: Path):
    first, relu, last = digits.retrained.nodes
    huge = first.operator
    assert isinstance(huge, Dense)
    nodes = (Node(Dense(huge.weight * np.float32(1e38), huge.bias), (0,)), relu, last)
    made = digits.submit(tmp_path / "s", unlearned=replace(digits.retrained, nodes=nodes))
    result = verify_submission(made, retain=digits.retain)
    assert result.check("unlearning.changed").outcome is Outcome.INCONCLUSIVE
    assert result.check("utility.retained").outcome is Outcome.INCONCLUSIVE


def test_no_changed_file_passes(submission: UnlearnedSubmission, tmp_path: Path):
    folder = Path(shutil.copytree(submission.directory, tmp_path / "s"))
    generator = np.random.default_rng(0)
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        place = int(generator.integers(len(data)))
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(generator.integers(8))
        for changed in (bytes(flipped), data[:-1]):
            path.write_bytes(changed)
            try:
                result = verify_directory(folder)
            except EvidenceError:
                continue
            assert result.outcome is Outcome.FAIL
            assert "patch.support" not in {c.id for c in result.checks}
        path.write_bytes(data)
    assert verify_directory(folder).outcome is Outcome.INCONCLUSIVE


def test_options_that_do_not_fit(submission: UnlearnedSubmission, digits: Digits, tmp_path: Path):
    narrow = tmp_path / "narrow.npz"
    write_records(narrow, records_of(digits.unseen.x[:, :32], digits.unseen.y))
    with pytest.raises(UsageError, match="narrow"):
        verify_directory(submission.directory, trigger=narrow)
    with pytest.raises(UsageError, match="--trigger with it"):
        verify_directory(submission.directory, references=(tmp_path / "model.onnx",))
