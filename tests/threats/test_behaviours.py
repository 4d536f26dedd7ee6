"""One table for all behaviours: each is caught when simulated, and an honest owner never is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import Submission, read_submission
from auditkit.patch.settings import resolve_settings
from auditkit.results import CheckResult, Outcome, Severity, dump_json
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Behaviour, Owner
from auditkit.threats.registry import BEHAVIOURS, chosen, run_on
from auditkit.threats.serving import with_session
from tests.threats.conftest import Digits, Make

Gather = Callable[[Submission], Evidence]

CHEATS = [
    pytest.param(behaviour, variant, spec, id=f"{behaviour.name}-{variant}-{spec}")
    for behaviour in BEHAVIOURS
    for variant in behaviour.variants
    for spec in ("redirect", "reference")
    if not (behaviour.name == "patch-bait" and spec == "reference")  # the same file either way
    if behaviour.name != "canary-only"  # whose canaries are placed before training
]


def failed(checks: list[CheckResult]) -> list[str]:
    return [
        check.id
        for check in checks
        if check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE
    ]


@pytest.mark.parametrize(("behaviour", "variant", "spec"), CHEATS)
def test_a_cheat_at_full_strength_is_caught(
    behaviour: Behaviour,
    variant: str,
    spec: str,
    make: Make,
    evidence: Gather,
    digits: Digits,
    tmp_path: Path,
) -> None:
    honest = make(spec)
    out = tmp_path / "cheat"
    try:
        owner = Owner(honest, retain=digits.retain)
        cheater = behaviour.simulate(owner, out, seed=1, variant=variant)
        cheat = cheater.submission
    except ValueError:
        assert (variant, spec) == ("own-label", "reference")
        return
    if variant != "wrong-digest":
        assert not cheat.problems, "the owner restates digests"
    found = with_session(cheater.service, cheat, evidence(honest), seed=0)
    [check] = run_on(cheat, found, [behaviour.name], 0)
    assert check.outcome is Outcome.FAIL, check.reason
    assert check.severity is Severity.FAILURE and check.required


@pytest.mark.parametrize("seed", range(20))
def test_an_honest_owner_is_never_accused(seed: int, make: Make, evidence: Gather) -> None:
    spec = ("redirect", "reference", "neutralise")[seed % 3]
    scope = "cluster" if seed % 6 in (2, 3) else "point"
    honest = make(spec, scope, seed=seed + 1, records=(1, 5, 24, 40)[seed % 4])
    checks = run_on(honest, evidence(honest), [], seed)
    assert failed(checks) == []
    assert {c.id for c in checks} == {behaviour.id for behaviour in BEHAVIOURS}


def test_an_honest_owner_is_cleared_where_that_is_possible(make: Make, evidence: Gather) -> None:
    honest = make("redirect")
    outcomes = {c.id: c.outcome for c in run_on(honest, evidence(honest), [], 0)}
    for name in ("strippable", "point-patch", "head-only", "fragile"):
        assert outcomes.pop(f"threats.{name}") is Outcome.FAIL, "a limitation of every patch"
    # without references, answers as bad as those of mispredicted records may be honest
    assert outcomes.pop("threats.over-forgetting") is Outcome.INCONCLUSIVE
    for name in ("canary-only", "forged-log", "guided-retraining", "substitution"):
        assert outcomes.pop(f"threats.{name}") is Outcome.NOT_RUN, "it needs more than files"
    assert set(outcomes.values()) == {Outcome.PASS}


def test_a_suppressed_class_is_not_mistaken_for_a_cheat(digits: Digits, tmp_path: Path) -> None:
    mine = digits.forget.take(digits.forget.y == digits.forget.y[0])
    settings = resolve_settings(
        scope="class", method="suppress", target_class=int(mine.y[0]), seed=0
    )
    make_submission(digits.network, mine, settings, tmp_path / "s", key=b"k" * 32)
    submission = read_submission(tmp_path / "s")
    found = Evidence(forget=mine, retain=digits.retain, holdout=digits.holdout)
    assert failed(run_on(submission, found, [], 0)) == []


def test_records_that_are_withheld_are_a_reason_not_to_run(
    make: Make, digits: Digits, tmp_path: Path
) -> None:
    honest = replace(make("redirect"), forget=None)
    outcomes = {c.id: c.outcome for c in run_on(honest, Evidence(holdout=digits.holdout), [], 0)}
    without = ("neglecting", "lazy", "deceiving", "point-patch", "over-forgetting", "smuggled-gate")
    for name in without:
        assert outcomes[f"threats.{name}"] is Outcome.NOT_RUN
    assert outcomes["threats.invalid-certificate"] is Outcome.INCONCLUSIVE
    assert outcomes["threats.patch-bait"] is Outcome.PASS


def test_the_same_inputs_give_the_same_result_and_no_record_in_it(
    make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    [behaviour] = chosen(["smuggled-gate"])
    cheat = behaviour.simulate(Owner(honest), tmp_path / "cheat", seed=1).submission
    first, second = (run_on(cheat, evidence(honest), [], 5) for _ in range(2))
    texts = [dump_json([c.to_json() for c in checks]) for checks in (first, second)]
    assert texts[0] == texts[1]
    [check] = run_on(cheat, evidence(honest), ["smuggled-gate"], 5)
    witness = np.array(check.private["triggers"][0]["input"], np.float32)
    assert cheat.patched.openness(witness[None])[0] > 0
    assert check.evidence["triggers"] == 1, "the annex has the input, the result a count"
    assert "private" not in texts[0] and str(check.private["triggers"][0]["input"]) not in texts[0]
