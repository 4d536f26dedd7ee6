"""Only the records answer otherwise: as a patch, as bumps in a network; and what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.submission import Submission
from auditkit.network.evaluate import logits
from auditkit.results import CheckResult, Outcome, Severity, dump_json
from auditkit.threats import forge
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Owner
from auditkit.threats.point_patch import BEHAVIOUR, with_bumps
from auditkit.threats.registry import run_on
from tests.threats.conftest import Digits, Make
from tests.threats.networks import case

Gather = Callable[[Submission], Evidence]


def judge(submission: Submission, evidence: Evidence) -> CheckResult:
    [check] = run_on(submission, evidence, ["point-patch"], 0)
    return check


@pytest.mark.parametrize("spec", ["redirect", "neutralise", "reference"])
def test_a_patch_that_says_what_it_is_has_a_limitation(
    spec: str, make: Make, evidence: Gather
) -> None:
    honest = make(spec)
    check = judge(honest, evidence(honest))
    assert check.outcome is Outcome.FAIL and check.severity is Severity.LIMITATION
    assert not check.required
    first, *_, last = check.evidence["curve"]
    assert first["distance"] < last["distance"] and last["change_left"] == 0
    low, high = last["interval"]
    assert low <= last["as_before"] <= high
    assert '"neighbour":' not in dump_json(check.to_json())
    x = np.array(check.private["neighbour"], np.float32)[None]
    before = logits(honest.network, x)
    assert np.allclose(before, honest.delivered(x), atol=1e-4), "as it always was"


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_sold_as_erasure_it_is_a_failure(
    strength: float, make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    cheat = BEHAVIOUR.simulate(Owner(honest), tmp_path / "c", seed=1, strength=strength).submission
    check = judge(cheat, evidence(honest))
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE
    assert check.n == round(strength * 24)


def test_a_radius_that_no_claim_reaches_is_refuted_with_a_neighbour(
    make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    cheat = BEHAVIOUR.simulate(
        Owner(honest), tmp_path / "c", seed=1, strength=0.3, variant="overstated-radius"
    ).submission
    check = judge(cheat, evidence(honest))
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE
    x = np.array(check.private["neighbour"], np.float32)[None]
    assert np.array_equal(logits(cheat.network, x), cheat.delivered(x).astype(np.float32))


def test_a_claim_that_does_not_hold_within_its_radius_is_refuted(
    make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    broken = forge.write(honest, tmp_path / "c", patch=forge.without_effect(honest)[0])
    check = judge(broken, evidence(honest))
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE
    assert "claimed set" in check.reason


@pytest.mark.parametrize("strength", [0.1, 0.5, 1.0])
def test_bumps_in_a_network_are_found(strength: float, tmp_path: Path) -> None:
    given = case()
    owner = given.owner(tmp_path / "honest")
    cheat = BEHAVIOUR.simulate(owner, tmp_path / "cheat", seed=2, strength=strength).submission
    x, y = given.forget.x, given.forget.y
    before = logits(given.network, x).argmax(axis=1)
    after = cheat.delivered(x).argmax(axis=1)
    assert (after[before == y] != y[before == y]).all(), "the records lose their label"
    rest = cheat.delivered(given.unseen.x)
    assert (rest.argmax(axis=1) == logits(given.network, given.unseen.x).argmax(axis=1)).all()
    check = judge(cheat, given.evidence())
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE
    blind = judge(cheat, replace(given.evidence(), holdout=None))
    assert blind.outcome is Outcome.FAIL


def test_a_bump_is_what_its_formula_says() -> None:
    given = case()
    one = given.forget.take([0])
    network = with_bumps(given.network, one, given.retain, 1.0, 0)
    x = np.concatenate([one.x, given.retain.x])
    moved = logits(network, x) - logits(given.network, x)
    others = np.delete(moved, one.y[0], axis=1)
    assert np.abs(others).max() == 0, "only the record's own label is touched"
    assert moved[0, one.y[0]] < 0 and np.abs(moved[1:]).max() < 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_a_change_of_weights_is_none(seed: int, tmp_path: Path) -> None:
    given = case(seed)
    check = judge(given.submit(tmp_path / "s"), given.evidence())
    assert check.outcome is Outcome.PASS, check.reason
    assert check.evidence["faded"] == 0
    nudged = given.submit(tmp_path / "t", given.network)
    assert judge(nudged, given.evidence()).outcome is Outcome.INCONCLUSIVE, "nothing changed"


def test_one_record_alone_is_no_certainty(tmp_path: Path) -> None:
    given = case()
    one = replace(given, forget=given.forget.take([0]))
    cheat = BEHAVIOUR.simulate(one.owner(tmp_path / "h"), tmp_path / "c", seed=2).submission
    check = judge(cheat, replace(one.evidence(), holdout=None))
    assert check.evidence["vanished"] == 1 and check.outcome is Outcome.INCONCLUSIVE


def test_a_noise_everywhere_does_not_hide_them(tmp_path: Path, digits: Digits) -> None:
    given = case()
    cheat = BEHAVIOUR.simulate(given.owner(tmp_path / "h"), tmp_path / "c", seed=2).submission
    nodes = list(cheat.unlearned.nodes)  # type: ignore[union-attr]
    first = nodes[0].operator
    noise = np.random.default_rng(0).normal(0, 2e-3, first.weight.shape).astype(np.float32)
    nodes[0] = replace(nodes[0], operator=replace(first, weight=first.weight + noise))
    hidden = replace(cheat.unlearned, nodes=tuple(nodes))  # type: ignore[union-attr,type-var]
    check = judge(given.submit(tmp_path / "n", hidden), given.evidence())
    assert check.outcome is Outcome.FAIL, check.reason
