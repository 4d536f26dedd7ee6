"""What an owner could arrange so that an attack finds nothing must never be a PASS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attacks.interface import CannotJudge
from auditkit.audit import membership
from auditkit.audit.membership import AttackPlan, Groups, Membership, attack_submission
from auditkit.audit.score_audit import attack_scores
from auditkit.audit.shadow_masks import units
from auditkit.certificate.submission import Submission
from auditkit.patch.settings import Spec
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, overall
from tests.certificate.conftest import World, small_world

CHEAP = {name: membership.attacks.REGISTRY[name] for name in ("loss", "margin", "lira-online")}


@pytest.fixture(scope="module")
def world() -> World:
    return small_world(7, records=30)


@pytest.fixture(scope="module")
def submission(world: World, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    return world.submit(tmp_path_factory.mktemp("sound") / "submission")


def attacked(submission: Submission, world: World, **more: object) -> Membership:
    plan = AttackPlan(shadows=2 if "train" in more else 0)
    options = {"forget": world.forget, "holdout": world.others.take(range(150))} | more
    return attack_submission(submission, plan, **options)


def check(found: Membership, name: str) -> CheckResult:
    [one] = [c for c in found.checks if c.id == f"attack.{name}"]
    return one


def joined(*parts: Records) -> Records:
    return Records(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))


def refuse(evidence: object) -> None:
    raise CannotJudge("all answers are the same")


def test_an_attack_that_could_run_and_did_not_stands_in_the_way(
    submission: Submission, world: World, monkeypatch: pytest.MonkeyPatch
):
    broken = CHEAP | {"margin": replace(CHEAP["margin"], function=refuse)}
    monkeypatch.setattr(membership.attacks, "REGISTRY", broken)
    found = attacked(submission, world)
    assert check(found, "margin").outcome is Outcome.NOT_RUN and check(found, "margin").required
    # what the access does not allow is another matter
    assert not check(found, "lira-online").required
    assert (
        "margin"
        in membership._cohort(AttackPlan(), *_passing(), False, None, {}, {}, {"margin"}, {}).reason
    )


def _passing() -> tuple[object, object]:
    rng = np.random.default_rng(0)
    scores = membership.AttackScores("loss", rng.normal(size=600), rng.normal(size=5000))
    comparable = membership.Comparability(True, "", 0.05, ())
    good = membership._cohort(
        AttackPlan(), {"loss": scores}, comparable, False, None, {}, {}, set(), {}
    )
    assert good is not None and good.verdict == "pass"
    return {"loss": scores}, comparable


def test_no_pass_for_want_of_shadow_models_that_the_submission_prevents(
    submission: Submission, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(membership.attacks, "REGISTRY", CHEAP)
    monkeypatch.setattr(membership, "architecture_of", lambda network: None)
    random = np.random.default_rng(0)
    monkeypatch.setattr(membership, "delivered", lambda s, x: random.normal(size=(len(x), 4)))
    train = joined(world.forget, world.others.take(range(150, 300)))
    found = attacked(submission, world, train=train)
    assert check(found, "lira-online").outcome is Outcome.NOT_RUN
    assert check(found, "lira-online").required
    assert "planned and not run: lira-online" in check(found, "cohort").reason


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["a record", "a copy"])
def test_answers_that_are_no_numbers_decide_nothing(
    submission: Submission,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    value: float,
    where: str,
):
    known = {row.tobytes() for row in (*world.forget.x, *world.others.x)}
    honest = membership.delivered

    def answers(owners: Submission, x: np.ndarray) -> np.ndarray:
        outputs = honest(owners, x)
        apart = np.array([row.tobytes() not in known for row in x.astype(np.float32)])
        outputs[int(np.argmax(apart)) if where == "a copy" and apart.any() else 3, 0] = value
        return outputs if where == "a record" or apart.any() else honest(owners, x)

    monkeypatch.setattr(membership, "delivered", answers)
    found = attacked(submission, world)
    assert {c.outcome for c in found.checks} == {Outcome.NOT_RUN}
    assert overall(found.checks) is Outcome.INCONCLUSIVE
    assert "nan or infin" in found.checks[0].reason


def test_labels_that_were_never_trained_on_are_noticed(submission: Submission, world: World):
    train = joined(world.forget, world.others.take(range(150, 300)))
    wrong = Records(world.forget.x, (world.forget.y + (np.arange(30) < 5)) % 4)
    found = attacked(submission, world, forget=wrong, train=train)
    assert {c.outcome for c in found.checks} == {Outcome.NOT_RUN}
    assert "5 of 30 forgotten records have another label" in found.checks[0].reason


def test_copies_under_other_names_are_no_further_evidence(submission: Submission, world: World):
    one = world.forget
    x = one.x.copy()
    x[:, 0] = 0.0
    again = x.copy()
    again[:, 0] = -0.0
    subject = tuple(f"person {i}" for i in range(60))
    twice = Records(np.concatenate([x, again]), np.r_[one.y, one.y], subject=subject)
    numbers = units((twice,))
    assert np.array_equal(numbers[:30], numbers[30:])
    groups = Groups(submission, twice, world.others.take(range(60)), None, ())
    assert groups.people is not None
    forgotten, unseen = groups.people
    assert np.unique(forgotten).size == 30 and np.unique(unseen).size == 60
    alone = Groups(submission, one, world.others.take(range(60)), None, ())
    assert alone.people is None


def test_scores_without_an_attack_that_their_logits_allow_never_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    registry = {name: CHEAP[name] for name in ("loss", "margin")}
    rng = np.random.default_rng(1)
    rows = [
        {"id": f"{group} {i}", "group": group, "phase": "after", "label": 0}
        | {f"logit_{c}": rng.normal() for c in range(3)}
        for group, count in (("forgotten", 800), ("unseen", 4000))
        for i in range(count)
    ]
    path = tmp_path / "scores.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    monkeypatch.setattr(membership.attacks, "REGISTRY", registry)
    assert attack_scores(path).outcome is Outcome.PASS
    registry["margin"] = replace(registry["margin"], function=refuse)
    found = attack_scores(path)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "planned and not run: margin" in found.check("attack.cohort").reason


@pytest.mark.parametrize(("spec", "outcome"), [("reference", "inconclusive"), ("redirect", "fail")])
def test_less_sure_than_unseen_is_no_failure_of_a_patch_to_a_reference(
    submission: Submission, world: World, monkeypatch: pytest.MonkeyPatch, spec: str, outcome: str
):
    monkeypatch.setattr(membership.attacks, "REGISTRY", {"loss": CHEAP["loss"]})
    settings = replace(submission.certificate.settings, spec=Spec(spec))
    changed = replace(submission, certificate=replace(submission.certificate, settings=settings))
    found = attacked(changed, world)
    assert check(found, "loss").evidence["finding"] == "over-forgotten"
    assert check(found, "loss").outcome == outcome == check(found, "cohort").outcome
    if spec == "reference":
        assert "fewer training records" in check(found, "cohort").reason
        assert "fewer training records" in check(found, "loss").reason


def test_records_that_all_hang_together_train_no_shadow_models(
    submission: Submission, world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(membership.attacks, "REGISTRY", CHEAP)
    train = joined(world.forget, world.others.take(range(150, 300)))
    forget = replace(world.forget, subject=("one",) * 30)
    holdout = replace(world.others.take(range(60)), subject=("one",) * 60)
    found = attacked(submission, world, forget=forget, holdout=holdout, train=train)
    assert "cannot be trained: halves need" in check(found, "lira-online").reason
    assert overall(found.checks) is Outcome.INCONCLUSIVE
