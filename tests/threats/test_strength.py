"""A simulation's strength is what its behaviour says it is, and more of it is more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.submission import PatchSubmission, Submission
from auditkit.results import Outcome
from auditkit.threats import (
    deceiving,
    forge,
    invalid_certificate,
    lazy,
    neglecting,
    strippable,
)
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Owner
from auditkit.threats.observe import nearness, observe
from auditkit.threats.registry import BEHAVIOURS
from tests.threats.conftest import Digits, Make

Gather = Callable[[Submission], Evidence]
RECORDS = 24
STRENGTHS = (0.25, 0.5, 1.0)


def untouched(cheat: PatchSubmission, honest: PatchSubmission) -> int:
    """Return at how many requested records the patch changes no label."""
    assert honest.forget is not None
    return int((~observe(cheat, honest.forget).met).sum())


def test_every_behaviour_says_what_strength_is_and_what_hiding_takes() -> None:
    for behaviour in BEHAVIOURS:
        assert len(behaviour.strength) > 20 and len(behaviour.hiding) > 20, behaviour.name


@pytest.mark.parametrize("variant", neglecting.VARIANTS)
@pytest.mark.parametrize("scope", ["point", "cluster"])
def test_neglecting_leaves_a_share_of_the_gates_idle(
    variant: str, scope: str, make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect", scope)
    before = untouched(honest, honest)
    for strength in STRENGTHS:
        out = tmp_path / f"{strength}"
        cheat = neglecting.simulate(honest, out, seed=1, strength=strength, variant=variant)
        assert not cheat.problems
        found = untouched(cheat, honest) - before
        if scope == "point":
            assert found == round(strength * RECORDS)
        else:
            assert 0 < found <= RECORDS
        if strength < 1:
            check = lazy.detect(cheat, evidence(honest), seed=0)
            assert check.outcome is Outcome.FAIL, "what is done in part is laziness"
        else:
            assert neglecting.detect(cheat, evidence(honest), seed=0).outcome is Outcome.FAIL


@pytest.mark.parametrize("strength", STRENGTHS)
def test_deceiving_swaps_a_share_of_the_records(
    strength: float, make: Make, digits: Digits, tmp_path: Path
) -> None:
    honest = make("redirect")
    assert honest.forget is not None
    cheat = deceiving.simulate(
        honest, tmp_path / "c", seed=1, strength=strength, others=digits.retain
    )
    served = nearness(cheat, honest.forget.x) < 1
    assert int((~served).sum()) == round(strength * RECORDS)


@pytest.mark.parametrize("variant", ["ineffective", "not-loaded"])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_strippable_leaves_a_share_without_effect(
    variant: str, strength: float, make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    cheat = strippable.simulate(honest, tmp_path / "c", seed=1, strength=strength, variant=variant)
    found = untouched(cheat, honest) - untouched(honest, honest)
    assert found == round(strength * RECORDS)
    check = strippable.detect(cheat, evidence(honest), seed=0)
    assert check.outcome is Outcome.FAIL
    severe = variant == "not-loaded" or strength == 1.0
    assert (check.severity.value == "failure") == severe


@pytest.mark.parametrize("variant", invalid_certificate.VARIANTS)
def test_an_invalid_certificate_goes_further_with_strength(
    variant: str, make: Make, tmp_path: Path
) -> None:
    honest = make("redirect")
    seen = []
    for strength in STRENGTHS:
        out = tmp_path / f"{strength}"
        cheat = invalid_certificate.simulate(
            honest, out, seed=1, strength=strength, variant=variant
        )
        seen.append(_far(cheat, honest, variant))
    assert seen == sorted(seen) and seen[0] > 0
    assert variant == "wrong-digest" or seen[0] < seen[1] < seen[2]


def _far(cheat: PatchSubmission, honest: PatchSubmission, variant: str) -> float:
    claims = zip(
        sorted(cheat.certificate.claims, key=lambda c: c.record or ""),
        sorted(honest.certificate.claims, key=lambda c: c.record or ""),
        strict=True,
    )
    match variant:
        case "wrong-rows":
            rows = cheat.patch.table.patterns != honest.patch.table.patterns
            return float(rows.any(axis=1).sum())
        case "own-label":
            return float(sum(a.target != b.target for a, b in claims))
        case "negative-margin":
            return float(sum(a.margin != b.margin for a, b in claims))
        case "loose-margin":
            return honest.certificate.settings.margin / cheat.certificate.settings.margin - 1
        case "tiny-radius":
            return honest.certificate.settings.radius / cheat.certificate.settings.radius - 1
        case "small-bound":
            return float(honest.patch.table.bound.max() - cheat.patch.table.bound.max())
        case "tiny-sharpness":
            return float(honest.patch.table.sharpness.max() / cheat.patch.table.sharpness.max() - 1)
        case "wide-dead-zone":
            return float(cheat.patch.table.dead_zone.max() - honest.patch.table.dead_zone.max())
    return float(cheat.certificate.network != honest.certificate.network)


def test_gates_set_apart_do_what_they_did(make: Make) -> None:
    for spec, scope in (("redirect", "point"), ("reference", "point"), ("neutralise", "cluster")):
        honest = make(spec, scope)
        doomed = forge.a_share(forge.all_gates(honest.gated), 0.4, [1])
        patch, certificate, names = forge.set_apart(honest.gated, honest.certificate, doomed)
        assert names and patch.gates == honest.patch.gates
        from auditkit.patch.patched import PatchedNetwork

        again = PatchedNetwork(honest.network, patch)
        assert honest.forget is not None
        x = honest.forget.x
        assert np.allclose(again.logits(x), honest.patched.logits(x), atol=1e-4)
        for claim in certificate.claims:
            assert patch.find(claim.group, claim.member or 0) is not None
    owner = Owner(make("redirect"))
    assert owner.others is None
