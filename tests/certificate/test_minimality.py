"""certificate.minimality: our own patches are as small as they can be, inflated ones are not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.check import Claims
from auditkit.certificate.lower_bound import change_needed
from auditkit.certificate.policy import Policy
from auditkit.certificate.submission import Submission
from auditkit.certificate.verify import verify_submission
from auditkit.network.evaluate import pattern
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.results import CheckResult, Outcome
from tests.certificate.conftest import World, small_world
from tests.certificate.test_verify import regroup, rewrite
from tests.oracle.exact import ExactNetwork, exact


def judged(submission: Submission, policy: Policy | None = None) -> CheckResult:
    return verify_submission(submission, policy=policy).check("certificate.minimality")


@pytest.mark.parametrize("radius", [0.01, 0.1, np.inf])
@pytest.mark.parametrize("spec", ["redirect", "neutralise", "reference"])
def test_our_own_patches_are_minimal(world: World, tmp_path: Path, spec: str, radius: float):
    check = judged(world.submit(tmp_path / "s", spec, radius=radius))
    assert check.outcome is Outcome.PASS, check.reason
    assert check.n == len(check.evidence["groups"]) > 0
    for group in check.evidence["groups"]:
        assert group["change_at_most"] - group["needed_at_least"] <= group["allowed_excess"]


def test_groups_that_share_an_offset_are_minimal(tmp_path: Path):
    world = small_world(3, records=40)
    for settings in ({"scope": "cluster", "clusters": 6}, {"scope": "cluster", "clusters": 1}):
        submission = world.submit(tmp_path / "s", **settings)
        assert any(len(g.patterns) > 1 and not g.stacked for g in submission.patch.groups)
        assert judged(submission).outcome is Outcome.PASS


@pytest.mark.parametrize("radius", [0.01, np.inf])
def test_an_inflated_offset_is_proved_larger_than_needed(
    world: World, tmp_path: Path, radius: float
):
    honest = world.submit(tmp_path / "s", radius=radius)
    groups = tuple(
        dataclasses.replace(g, offset=g.offset * np.float32(1.2), bound=g.bound * 1.25)
        for g in honest.patch.groups
    )
    large = dataclasses.replace(honest.patch, groups=groups)
    inflated = {"patch": large, "proofs": honest.proofs}
    check = judged(rewrite(honest, tmp_path / "large", **inflated))
    assert check.outcome is Outcome.FAIL, check.reason
    assert "larger than needed" in check.reason
    # the rest of the claims holds, and an auditor may allow more
    assert not check.required
    generous = judged(rewrite(honest, tmp_path / "again", **inflated), Policy(excess_size=0.3))
    assert generous.outcome is Outcome.PASS


@pytest.mark.parametrize("spec", ["neutralise", "reference"])
def test_a_target_far_from_what_the_claim_asks_is_not_minimal(
    world: World, tmp_path: Path, spec: str
):
    """For outputs the change is q - f, whatever K is; a second group that adds more is too much."""
    honest = world.submit(tmp_path / "s", spec)
    bound = judged(rewrite(honest, tmp_path / "k", patch=regroup(honest.patch, bound=50.0)))
    assert bound.outcome is Outcome.PASS
    offset = np.full(honest.patch.classes, 0.2 * float(np.abs(honest.patch.table.offset).max()))
    none = np.zeros((0, honest.patch.units), bool)
    more = Group(
        "more", OffsetKind.ALWAYS, none, offset.astype(np.float32), float(offset[0] + 1), 64.0, 0.0
    )
    patch = Patch((*honest.patch.groups, more), honest.patch.classes, honest.patch.units)
    assert judged(rewrite(honest, tmp_path / "more", patch=patch)).outcome is not Outcome.PASS


def test_nothing_is_shown_where_gates_are_not_the_records(world: World, tmp_path: Path):
    honest = world.submit(tmp_path / "s")
    groups = []
    for group in honest.patch.groups:
        patterns = group.patterns.copy()
        patterns[:, :3] ^= True
        groups.append(dataclasses.replace(group, patterns=patterns))
    patch = dataclasses.replace(honest.patch, groups=tuple(groups))
    check = judged(rewrite(honest, tmp_path / "flipped", patch=patch))
    assert check.outcome is Outcome.INCONCLUSIVE, check.reason


def test_witnesses_stay_out_of_the_record(honest: Submission):
    check = judged(honest)
    assert len(check.private["witnesses"]) == len(check.evidence["groups"])
    public = json.dumps(check.to_json())
    for witness in check.private["witnesses"]:
        assert witness["record"] not in public
        assert not any(repr(v) in public for v in np.ravel(witness["input"]))


def test_a_witness_counts_only_inside_the_claimed_set(world: World, honest: Submission):
    rng = np.random.default_rng(0)
    x = world.forget.x.astype(np.float64)
    bits = pattern(world.network, x)
    gates = np.array([np.flatnonzero((honest.patch.table.patterns == b).all(1))[0] for b in bits])
    target = np.full(len(x), 1)
    claims = Claims(x, gates, np.full(len(x), 0.02), np.full(len(x), 0.1), target)
    oracle = ExactNetwork(world.network)
    counted = 0
    for scale in (0.0, 1e-4, 0.01, 0.0199999, 0.02, 0.0200001, 0.5):
        points = x + scale * rng.choice([-1.0, 1.0], size=x.shape)
        needed = change_needed(world.network, honest.patch, claims, points, 0.0, 1.0)
        for row in np.flatnonzero(np.isfinite(needed)):
            counted += 1
            point = exact(points[row])
            assert all(0 <= v <= 1 for v in point)
            assert max(abs(a - b) for a, b in zip(point, exact(x[row]), strict=True)) <= 0.02
            logits, units = oracle(point)
            assert all((z >= 0) if b else (z <= 0) for z, b in zip(units, bits[row], strict=True))
            lead = max(v for j, v in enumerate(logits) if j != 1) - logits[1]
            assert needed[row] <= (lead + exact([0.1])[0]) / 2
    assert counted >= len(x)
    outside = change_needed(world.network, honest.patch, claims, x + 2, 0.0, 1.0)
    assert (outside == -np.inf).all()
    nothing = change_needed(world.network, honest.patch, claims, x * np.nan, 0.0, 1.0)
    assert (nothing == -np.inf).all()
