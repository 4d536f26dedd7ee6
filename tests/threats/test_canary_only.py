"""Unannounced canaries give away who removes the announced ones, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import read_submission
from auditkit.network.evaluate import logits
from auditkit.patch.settings import resolve_settings
from auditkit.records import joined
from auditkit.results import CheckResult, Outcome, Severity, dump_json
from auditkit.threats import canary_only
from auditkit.threats.canary_only import MODEL_VARIANTS, Reactions, detect_model
from auditkit.threats.decide import IN_AUDIT
from auditkit.threats.evidence import Evidence, are_in, requested, without_canaries
from auditkit.threats.forge_network import deliver
from auditkit.threats.interface import Owner
from auditkit.threats.registry import run_on
from auditkit.unlearning.canaries import Role
from auditkit.unlearning.training import train_from_scratch
from tests.threats.trained_owner import KEY, trained_owner

COUNT = 20


def judged(owner: Owner, evidence: Evidence, **known: Any) -> CheckResult:
    submission: Any = owner.submission
    return detect_model(submission, replace(evidence, **known), seed=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_who_removed_all_passes(seed: int) -> None:
    found = judged(*trained_owner(seed=seed, canaries=COUNT))
    assert found.outcome is Outcome.PASS, found.reason
    assert found.evidence["p_refute"] > 0.05
    learned, controls = (
        found.evidence["learned_by_the_original"],
        found.evidence["control_reacting"],
    )
    hits = np.random.default_rng(0).binomial(COUNT, learned, 2000)
    refuted = {
        k: fisher_exact([[k, COUNT - k], [controls, COUNT - controls]], "greater").pvalue
        for k in range(COUNT + 1)
    }
    power = np.mean([refuted[k] <= IN_AUDIT for k in hits])
    assert found.evidence["power"] == pytest.approx(power, abs=0.03) and power > 0.4


@pytest.mark.parametrize("variant", MODEL_VARIANTS)
def test_who_removed_the_announced_alone_is_found(variant: str, tmp_path: Path) -> None:
    owner, evidence = trained_owner(canaries=COUNT)
    cheat = canary_only.simulate(owner, tmp_path / "c", seed=3, variant=variant)
    found = judged(cheat, evidence)
    assert found.outcome is Outcome.FAIL and found.severity is Severity.FAILURE, found.reason
    assert found.evidence["p_refute"] < 0.001
    # the input that shows it
    submission: Any = cheat.submission
    x = np.array(found.private["input"], np.float32)
    assert submission.delivered(x[None]).argmax() in range(10)
    assert str(found.private["input"][:8]) not in dump_json(found.to_json())
    hits, n = (found.evidence[f"unannounced_{k}"] for k in ("reacting", "canaries"))
    others, of = (found.evidence[f"control_{k}"] for k in ("reacting", "canaries"))
    exact = fisher_exact([[hits, n - hits], [others, of - others]], "greater").pvalue
    assert found.evidence["p_remembered"] == pytest.approx(exact)
    upper = binomtest(others, of).proportion_ci().high
    athena = binomtest(hits, n, upper, "greater").pvalue
    assert found.evidence["p_athena"] == pytest.approx(athena)


def test_a_method_that_leaves_all_alike_is_no_cheat_at_canaries(tmp_path: Path) -> None:
    owner, evidence = trained_owner(canaries=COUNT)
    submission: Any = owner.submission
    assert owner.retain is not None and owner.recipe is not None and submission.forget is not None
    everything = joined(owner.retain, submission.forget)
    network = train_from_scratch(submission.unlearned, everything, owner.recipe, 9)
    found = judged(deliver(owner, tmp_path / "a", network, method="scrub"), evidence)
    assert found.outcome is Outcome.FAIL and found.severity is Severity.LIMITATION
    assert not found.required and "contradicts erasure" in found.reason
    found = judged(deliver(owner, tmp_path / "b", network), evidence)
    assert found.outcome is Outcome.FAIL and found.severity is Severity.FAILURE
    assert "never saw" in found.reason, "who says retrain remembers nothing"


def test_canaries_that_are_left_in_part_are_not_passed(tmp_path: Path) -> None:
    owner, evidence = trained_owner(canaries=COUNT)
    half = canary_only.simulate(owner, tmp_path / "half", seed=1, strength=0.5)
    assert judged(half, evidence).outcome is not Outcome.PASS


def test_the_level_is_that_of_the_lot() -> None:
    generator = np.random.default_rng(0)
    refuted = 0
    for _ in range(600):
        reacts = generator.random(48) < generator.beta(0.5, 2)  # any rate, the same for all roles
        after = dict(zip(Role, reacts.reshape(3, 16), strict=True))
        seen = Reactions(after, after)
        p = max(seen.tail(Role.UNANNOUNCED, r) for r in (Role.CONTROL, Role.ANNOUNCED))
        refuted += p <= 0.05
    assert refuted / 600 < 0.05


def test_only_what_was_requested_is_asked_about() -> None:
    owner, evidence = trained_owner(canaries=COUNT)
    assert evidence.canaries is not None and evidence.forget is not None
    placed = evidence.canaries.placed(Role.ANNOUNCED)
    request = joined(evidence.forget.take(range(60)), placed)
    found = judged(owner, evidence, forget=request)
    assert found.outcome is Outcome.INCONCLUSIVE and "no unannounced canary" in found.reason
    assert found.required and "owner's list" not in found.reason
    found = judged(owner, evidence, canaries=None)
    assert found.outcome is Outcome.NOT_RUN and not found.required


def test_canaries_that_the_owners_list_leaves_out_are_counted() -> None:
    owner, evidence = trained_owner(canaries=COUNT)
    submission: Any = owner.submission
    assert evidence.canaries is not None
    hidden = evidence.canaries.placed(Role.UNANNOUNCED)
    listed = submission.forget.take(~are_in(submission.forget, hidden))
    cases = (
        (listed, "20 of 40 canaries"),
        (joined(listed, hidden.take(range(90))), "5 of 40 canaries"),
        (None, "withheld"),
    )
    for theirs, words in cases:
        made = replace(owner, submission=replace(submission, forget=theirs))
        found = judged(made, evidence, forget=None)
        assert found.outcome is Outcome.INCONCLUSIVE and found.required
        assert words in found.reason, found.reason


def test_an_answer_that_is_no_number_decides_nothing(tmp_path: Path) -> None:
    owner, evidence = trained_owner(canaries=COUNT)
    submission: Any = owner.submission
    nodes = list(submission.unlearned.nodes)
    for index in (0, 2):
        operator = nodes[index].operator
        nodes[index] = replace(nodes[index], operator=replace(operator, weight=np.full_like(
            operator.weight, 3e38)))  # fmt: skip
    broken = replace(submission.unlearned, nodes=tuple(nodes))
    made = replace(submission, unlearned=broken)
    found = judged(replace(owner, submission=made), evidence)
    assert found.outcome is Outcome.INCONCLUSIVE


def patched(spec: str, tmp_path: Path, assertion: str, canaries: int = 8) -> tuple[Owner, Evidence]:
    owner, evidence = trained_owner(canaries=canaries)
    network, forget = owner.submission.network, owner.submission.forget
    assert forget is not None
    settings = resolve_settings(spec, "point", seed=0)  # type: ignore[arg-type]
    make_submission(network, forget, settings, tmp_path / "p", reference=owner.unseen, key=KEY,
                    assertion=assertion)  # fmt: skip
    submission = read_submission(tmp_path / "p")
    return replace(owner, submission=submission), replace(evidence, forget=submission.forget)


@pytest.mark.parametrize("spec", ["redirect", "reference"])
def test_of_patches_the_records_themselves_are_asked(spec: str, tmp_path: Path) -> None:
    owner, evidence = patched(spec, tmp_path, "redirected")
    honest: Any = owner.submission
    found = canary_only.detect(honest, evidence, seed=0)
    assert found.outcome is Outcome.PASS, found.reason
    cheat = canary_only.simulate(owner, tmp_path / "c", seed=3)
    made: Any = cheat.submission
    found = canary_only.detect(made, evidence, seed=0)
    assert found.outcome is Outcome.FAIL and found.severity is Severity.FAILURE, found.reason


def test_canaries_that_the_original_did_not_learn_are_not_removed(tmp_path: Path) -> None:
    owner, evidence = patched("redirect", tmp_path, "redirected")
    submission: Any = owner.submission
    canaries = evidence.canaries
    assert canaries is not None
    records = canaries.records
    answers = logits(submission.network, records.x.reshape(len(records), 64)).argmax(axis=1)
    wrong = (answers + 1) % 10
    for learned in (0, 3):
        kept = np.isin(canaries.canary, canaries.of(Role.UNANNOUNCED)[:learned])
        unlearned = replace(records, y=np.where(kept, answers, wrong))
        placed = replace(canaries, records=unlearned)
        request = placed.placed(Role.ANNOUNCED, Role.UNANNOUNCED)
        found = canary_only.detect(submission, replace(evidence, canaries=placed, forget=request),
                                   seed=0)  # fmt: skip
        assert found.outcome is Outcome.INCONCLUSIVE, found.reason
        assert found.n == found.evidence["unannounced_canaries"] == learned
        assert found.evidence["p_refute"] == 1


def test_an_answer_that_is_no_number_is_not_as_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, evidence = patched("redirect", tmp_path, "redirected")
    submission: Any = owner.submission
    assert evidence.canaries is not None
    usual = canary_only.observe

    def broken(*given: Any) -> Any:
        seen = usual(*given)
        return replace(seen, after=np.full_like(seen.after, np.nan))

    monkeypatch.setattr(canary_only, "observe", broken)
    left = canary_only._left(submission, evidence.canaries)
    hits, n = left.count(Role.UNANNOUNCED)
    assert hits == n > 0


def test_a_patch_sold_as_erasure_leaves_canaries(tmp_path: Path) -> None:
    owner, evidence = patched("redirect", tmp_path, "erased", canaries=COUNT)
    submission: Any = owner.submission
    found = canary_only.detect(submission, evidence, seed=0)
    assert found.outcome is Outcome.FAIL and "a patch removes no canary" in found.reason


def test_other_checks_set_canaries_aside() -> None:
    """An honest network answers canaries worse than unseen records: that is what they are for."""
    owner, evidence = trained_owner(canaries=COUNT)
    checks = run_on(owner.submission, evidence, [], 0)
    assert not [c.id for c in checks if c.outcome is Outcome.FAIL]
    natural = without_canaries(owner.submission, replace(evidence, forget=None))
    assert natural.forget is not None and natural.canaries is None
    asked = requested(owner.submission, natural)
    assert asked is not None and asked.owners_word and len(asked) == 60
