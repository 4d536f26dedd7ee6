"""What the plan allows the delivered network to be compared with, and what happens without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auditkit.audit.threat_references import ReferencePlan, threat_references
from auditkit.certificate.submission import PatchSubmission, read_submission
from auditkit.errors import UsageError
from auditkit.records import Records
from auditkit.threats.references import ReferenceKind
from auditkit.unlearning.submission import unlearn_to
from auditkit.unlearning.training import Recipe
from tests.threats.conftest import Digits, Make, digits, make

__all__ = ["digits", "make"]  # fixtures
QUICK = Recipe(epochs=3)


@pytest.fixture
def patch(make: Make) -> PatchSubmission:
    made = make("redirect")
    assert isinstance(made, PatchSubmission)
    return made


def everything(case: Digits) -> Records:
    x, y = (np.concatenate([getattr(r, n) for r in (case.forget, case.retain)]) for n in "xy")
    return Records(x, y)


def test_without_networks_unseen_records_stand_in(patch: PatchSubmission) -> None:
    found, why = threat_references(patch, ReferencePlan())
    assert found.kind is ReferenceKind.NEVER_SEEN and not found.answers and not why


def test_networks_that_are_given_are_taken(patch: PatchSubmission, digits: Digits) -> None:
    found, _ = threat_references(patch, ReferencePlan(), given=[digits.network])
    assert found.kind is ReferenceKind.RETRAINED and len(found.networks) == 1
    found, _ = threat_references(
        patch, ReferencePlan(ReferenceKind.NEVER_SEEN), given=[digits.network]
    )
    assert not found.networks, "the plan did not allow them"


def test_references_are_trained_without_the_forgotten_records(
    patch: PatchSubmission, digits: Digits
) -> None:
    plan = ReferencePlan(retrain=2, recipe=QUICK)
    once, again = (
        threat_references(patch, plan, train=everything(digits), forget=digits.forget, seed=3)[0]
        for _ in range(2)
    )
    x = digits.holdout.x
    one, two = (answer(x) for answer in once.answers)
    assert not np.allclose(one, two), "two starts"
    assert np.array_equal(one, again.answers[0](x)), "the same seed, the same networks"
    # labels of retained records that are wrong everywhere would be learned; of forgotten ones not
    y = everything(digits).y.copy()
    y[: len(digits.forget)] = (y[: len(digits.forget)] + 1) % 10
    other = Records(everything(digits).x, y)
    mine = Records(digits.forget.x, y[: len(digits.forget)])
    third, _ = threat_references(patch, plan, train=other, forget=mine, seed=3)
    assert np.array_equal(third.answers[0](x), one), "what is forgotten has no part in it"


def test_what_the_auditor_should_give_is_the_auditors_mistake(
    patch: PatchSubmission, digits: Digits
) -> None:
    for plan, more in (
        (ReferencePlan(ReferenceKind.RETRAINED), {}),
        (ReferencePlan(retrain=1), {}),
        (ReferencePlan(retrain=1), {"train": digits.retain, "forget": digits.forget}),
    ):
        with pytest.raises(UsageError):
            threat_references(patch, plan, **more)
    with pytest.raises(ValueError, match="nothing to retrain"):
        ReferencePlan(ReferenceKind.PATCHED, retrain=1)


def test_the_auditors_own_patch_does_what_an_honest_one_does(
    patch: PatchSubmission, digits: Digits
) -> None:
    plan = ReferencePlan(ReferenceKind.PATCHED)
    found, why = threat_references(patch, plan, forget=digits.forget)
    assert not why
    [answer] = found.answers
    assert np.allclose(answer(digits.forget.x), patch.delivered(digits.forget.x))


def test_an_owner_without_a_patch_leaves_the_auditor_with_unseen_records(
    digits: Digits, tmp_path: Path
) -> None:
    unlearn_to(
        tmp_path / "s", "retrain", digits.network, digits.forget, digits.retain,
        settings={"epochs": 1},
    )  # fmt: skip
    plan = ReferencePlan(ReferenceKind.PATCHED)
    found, why = threat_references(read_submission(tmp_path / "s"), plan)
    assert found.kind is ReferenceKind.NEVER_SEEN and "no patch" in why
