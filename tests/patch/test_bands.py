"""Bands narrow a gate where its region is crowded, and never its claimed set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.check import Claims, Verdict, check_claims
from auditkit.network.evaluate import pattern
from auditkit.patch import patched
from auditkit.patch.gates import Bands, Group, OffsetKind, Patch
from auditkit.patch.generate import Made, Request, make_patch
from auditkit.patch.patched import PatchedNetwork
from auditkit.patch.settings import resolve_settings
from auditkit.patch.tensors import patch_from_bytes, patch_to_bytes
from tests.certificate.conftest import World, small_world


def made(world: World, spec: str = "redirect", radius: float = 0.01, bands: int = 3) -> Made:
    settings = resolve_settings(spec, bands=bands, radius=radius, sharpness=256.0)
    request = Request(world.forget.x, world.forget.y)
    targets = np.zeros(world.network.classes) if spec == "neutralise" else None
    return make_patch(world.network, request, settings, targets=targets)


def claims(world: World, found: Made, radius: float = 0.01) -> Claims:
    gates = [
        found.patch.find(group, int(member))
        for group, member in zip(found.assignment.group, found.assignment.member, strict=True)
    ]
    count = len(world.forget)
    return Claims(
        world.forget.x.astype(np.float64),
        np.array(gates),
        np.full(count, radius),
        np.full(count, 0.1),
        found.assignment.target,
    )


def check(world: World, found: Made, asked: Claims, patch: Patch):
    return check_claims(world.network, patch, asked, 0.0, 1.0)


@pytest.mark.parametrize("spec", ["redirect", "neutralise"])
def test_claims_hold_and_fewer_others_are_reached(spec: str) -> None:
    world = small_world(seed=3)
    wide, narrow = made(world, spec, bands=0), made(world, spec, bands=4)
    verdicts = check(world, narrow, claims(world, narrow), narrow.patch)
    assert (verdicts.region == Verdict.PROVED).all()
    assert (verdicts.deployed == Verdict.PROVED).all()
    # random points of the records' own regions, beyond the claimed balls
    generator = np.random.default_rng(0)
    x = world.forget.x[:, None] + generator.normal(0, 0.1, (len(world.forget), 2000, 12))
    x = np.clip(x, 0, 1).astype(np.float32)
    own = np.stack(
        [
            (pattern(world.network, near.astype(np.float64)) == gate).all(axis=1)
            for near, gate in zip(
                x, pattern(world.network, world.forget.x.astype(np.float64)), strict=True
            )
        ]
    )
    crowd = x[own]
    assert len(crowd) > 20
    before = PatchedNetwork(world.network, wide.patch).openness(crowd)
    after = PatchedNetwork(world.network, narrow.patch).openness(crowd)
    assert (before == 1).all()
    assert (after > 0).mean() < 0.5


def test_a_band_that_cuts_a_record_or_its_ball_is_not_proved() -> None:
    world = small_world(seed=4)
    found = made(world)
    asked = claims(world, found)
    group = found.patch.groups[0]
    assert group.bands is not None

    def with_bands(bands: Bands) -> Patch:
        groups = (replace(group, bands=bands), *found.patch.groups[1:])
        return replace(found.patch, groups=groups)

    mine = np.array([name == group.name for name in found.assignment.group])
    shifted = replace(group.bands, center=group.bands.center + 10 * group.bands.width.max())
    verdicts = check(world, found, asked, with_bands(shifted))
    assert (verdicts.gate_open[mine] == Verdict.REFUTED).all()
    assert (verdicts.region[mine] != Verdict.PROVED).all()
    assert (verdicts.region[~mine] == Verdict.PROVED).all()
    # half as wide: a record is still inside, its ball is not
    half = replace(group.bands, width=group.bands.width / 2)
    verdicts = check(world, found, asked, with_bands(half))
    assert (verdicts.gate_open[mine] == Verdict.PROVED).any()
    assert (verdicts.region[mine] != Verdict.PROVED).all()
    assert (verdicts.deployed[mine] != Verdict.PROVED).all()


def test_the_file_keeps_them(tmp_path: Path) -> None:
    world = small_world(seed=5)
    found = made(world)
    data = patch_to_bytes(found.patch)
    again = patch_from_bytes(data, world.network)
    assert patch_to_bytes(again) == data
    for ours, theirs in zip(found.patch.table.bands, again.table.bands, strict=True):
        np.testing.assert_array_equal(ours.unit, theirs.unit)
        np.testing.assert_array_equal(ours.width, theirs.width)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"width": np.full((1, 1), -1.0)}, "negative width"),
        ({"center": np.full((1, 1), np.nan)}, "not finite"),
        ({"unit": np.full((1, 1), 10**6)}, "beyond"),
        ({"unit": np.zeros((2, 1), np.int64)}, "shapes"),
        ({name: np.zeros((1, 17), np.int64) for name in ("unit", "center", "width")}, "at most 16"),
    ],
)
def test_bands_without_meaning_are_refused(change: dict[str, np.ndarray], problem: str) -> None:
    group = made(small_world(seed=6)).patch.groups[0]
    one = Bands(np.zeros((1, 1), np.int64), np.zeros((1, 1)), np.ones((1, 1)))
    with pytest.raises(ValueError, match=problem):
        replace(group, patterns=group.patterns[:1], bands=replace(one, **change))


@pytest.mark.parametrize("spec", ["redirect", "neutralise"])
def test_however_many_pairs_are_looked_at(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One product for all pairs gives what one by one gives."""
    world = small_world(seed=7)
    whole = PatchedNetwork(world.network, made(world, spec).patch)
    generator = np.random.default_rng(1)
    x = np.repeat(world.forget.x, 200, axis=0)
    x = np.clip(x + generator.normal(0, 0.03, x.shape), 0, 1).astype(np.float32)
    one_by_one, open_by = whole.logits(x), whole.openness(x)
    monkeypatch.setattr(patched, "MOST_PAIRS", 0)
    np.testing.assert_allclose(whole.logits(x), one_by_one, rtol=0, atol=2e-3)
    np.testing.assert_allclose(whole.openness(x), open_by, rtol=0, atol=1e-3)
    assert (open_by > 0).any() and (open_by == 0).any()


def test_a_group_without_a_gate_has_no_bands() -> None:
    """Nor any number of them: an array [0, B] takes no byte of the file, whatever B is."""
    none = np.zeros((0, 10**9), np.int64)
    zero = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="bands a gate for 0 gates"):
        Group("all", OffsetKind.ALWAYS, np.zeros((0, 8), bool), zero, 1.0, 1.0, 0.0,
              Bands(none, none.astype(np.float32), none.astype(np.float32)))  # fmt: skip
