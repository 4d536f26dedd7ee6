"""Bands and forms, submitted: what a certificate says of its gates is what the patch has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from auditkit.audit.compare_regions import region_bounds
from auditkit.certificate.check import Verdict
from auditkit.certificate.check_explicit import check_explicit_claims
from auditkit.certificate.make import make_submission
from auditkit.certificate.matching import match_claims
from auditkit.certificate.policy import Policy
from auditkit.certificate.row_hints import find_hints
from auditkit.certificate.statement import parse_statement, statement_bytes
from auditkit.certificate.submission import (
    Submission,
    load_submission,
    read_submission,
    write_submission,
)
from auditkit.errors import EvidenceError
from auditkit.network.evaluate import pattern
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.export import patched_to_onnx
from auditkit.patch.gates import Bands, Patch
from auditkit.patch.patched import ExplicitNetwork
from auditkit.patch.region_rows import region_of
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records
from tests.audit.test_compare import as_float64
from tests.certificate.conftest import KEY, World, small_world
from tests.certificate.test_submitted_holes import not_passed
from tests.certificate.test_verify import resettle, rewrite

ON_THE_SET = {"certificate.region", "certificate.deployed"}
EVERY_CLAIM = {"patch.support", "certificate.point", "certificate.separation", *ON_THE_SET}


@pytest.fixture(scope="module")
def crowd() -> World:
    return small_world(4)


@pytest.fixture(scope="module")
def narrow(crowd: World, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    made = crowd.submit(tmp_path_factory.mktemp("narrow") / "s", bands=3, radius=0.002)
    assert not_passed(made, crowd) == set()
    return made


@pytest.fixture(scope="module")
def written_out(crowd: World, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    out = tmp_path_factory.mktemp("rows") / "s"
    make_submission(crowd.network, crowd.forget, resolve_settings(), out, key=KEY, form="explicit")
    made = load_submission(out)
    assert not_passed(made, crowd) == set()
    return made


def with_bands(made: Submission, change: Callable[[Bands], Bands | None]) -> Patch:
    groups = []
    for group in made.gated.groups:
        assert group.bands is not None
        groups.append(dataclasses.replace(group, bands=change(group.bands)))
    return Patch(tuple(groups), made.gated.classes, made.gated.units)


def scaled(factor: float) -> Callable[[Bands], Bands]:
    return lambda b: dataclasses.replace(b, width=(b.width * factor).astype(np.float32))


def signed(made: Submission, out: Path, **parts: object) -> Submission:
    """Write a submission again with other parts and without proofs, digests restated."""
    write_submission(
        out,
        made.network,
        parts.get("patch", made.patch),  # type: ignore[arg-type]
        parts.get("certificate", made.certificate),  # type: ignore[arg-type]
        made.forget,
        exported=parts.get("exported"),  # type: ignore[arg-type]
    )
    return read_submission(out)


def test_bands_that_cut_the_ball(narrow: Submission, crowd: World, tmp_path: Path) -> None:
    made = rewrite(narrow, tmp_path / "s", patch=with_bands(narrow, scaled(0.97)))
    assert not_passed(made, crowd) == ON_THE_SET
    # one more float at either end does no harm, and is another patch than the one exported
    wider = with_bands(narrow, scaled(1 + 2.0**-23))
    assert not_passed(rewrite(narrow, tmp_path / "w", patch=wider), crowd) == set()
    other = signed(narrow, tmp_path / "o", exported=patched_to_onnx(narrow.network, wider))
    assert "patch.export" in not_passed(other, crowd)


def test_settings_of_other_bands(
    narrow: Submission, written_out: Submission, crowd: World, tmp_path: Path
) -> None:
    made = rewrite(narrow, tmp_path / "s", **resettle(narrow, bands=5))
    assert not_passed(made, crowd) == {"certificate.canonical"}
    made = rewrite(narrow, tmp_path / "n", patch=with_bands(narrow, lambda b: None))
    assert not_passed(made, crowd) == {"certificate.canonical"}
    made = signed(written_out, tmp_path / "r", **resettle(written_out, bands=2))
    assert not_passed(made, crowd) == {"certificate.canonical"}


def test_a_certificate_of_another_form(
    narrow: Submission, written_out: Submission, crowd: World, tmp_path: Path
) -> None:
    for mine, other in ((narrow, written_out), (written_out, narrow)):
        made = signed(mine, tmp_path / type(other.patch).__name__, patch=other.patch)
        assert not_passed(made, crowd) >= EVERY_CLAIM


@pytest.mark.parametrize("factor", [0.5, 1e-4, 1e4, 2.0**-120])
def test_rows_of_another_length(
    factor: float, written_out: Submission, crowd: World, tmp_path: Path
) -> None:
    assert isinstance(written_out.patch, ExplicitPatch)
    size = np.float32(factor)
    groups = tuple(
        dataclasses.replace(g, rows=g.rows * size, limits=g.limits * size)
        for g in written_out.patch.groups
    )
    patch = dataclasses.replace(written_out.patch, groups=groups)
    assert "patch.support" in not_passed(signed(written_out, tmp_path / "s", patch=patch), crowd)


@pytest.mark.parametrize("radius", [0.03, np.inf])
def test_a_claim_holds_where_rows_cut_in_too(radius: float, tmp_path: Path) -> None:
    """Within the tolerance of stated rows a gate may close a little: the margin must bear it."""
    world = small_world(5)
    settings = resolve_settings(sharpness=1024.0, radius=radius)
    make_submission(world.network, world.forget, settings, tmp_path / "s", key=KEY, form="explicit")
    made = load_submission(tmp_path / "s")
    assert isinstance(made.patch, ExplicitPatch)
    groups = tuple(
        dataclasses.replace(g, limits=g.limits - np.float32(8e-6)) for g in made.patch.groups
    )
    patch = dataclasses.replace(made.patch, groups=groups)
    claims = match_claims(made, world.forget, KEY, Policy()).claims
    precise = ExplicitNetwork(as_float64(world.network), patch)
    least = np.full(len(claims), np.inf)  # lead of the target that was seen on the claimed set
    for i, bits in enumerate(pattern(world.network, claims.x)):
        region, target = region_of(world.network, bits), claims.target[i]
        low = np.clip(claims.x[i] - claims.radius[i], 0, 1)
        high = np.clip(claims.x[i] + claims.radius[i], 0, 1)
        for ahead in np.delete(region.slope, target, axis=0) - region.slope[target]:
            ball = np.stack([low, high], axis=1)  # where another label comes nearest
            best = linprog(-ahead, A_ub=region.rows, b_ub=region.limits - 1e-12, bounds=ball)
            if best.x is not None:
                answer = precise.logits(best.x[None])[0]
                least[i] = min(least[i], answer[target] - np.delete(answer, target).max())
    for more in (1e-6, 1e-4, 1e-3):
        keen = dataclasses.replace(claims, margin=np.maximum(least + more, 1e-9))
        found, rows = check_explicit_claims(world.network, patch, keen, 0.0, 1.0, find_hints)
        assert (found.support == Verdict.PROVED).any() and (rows.wrong == 0).all()
        assert (found.region != Verdict.PROVED).all()
        assert (found.deployed != Verdict.PROVED).all()
    found, _ = check_explicit_claims(world.network, made.patch, claims, 0.0, 1.0, find_hints)
    assert (found.deployed == Verdict.PROVED).all()


def test_a_domain_wider_than_all_floats(narrow: Submission, tmp_path: Path) -> None:
    made = signed(narrow, tmp_path / "s")
    path = made.directory / "certificate.json"
    data = path.read_bytes().replace(b'"domain":[0.0,1.0]', b'"domain":[-1e308,1e308]')
    data = data.replace(b'"domain":[0,1]', b'"domain":[-1e308,1e308]')
    assert data != path.read_bytes()
    with pytest.raises(EvidenceError, match="finite width"):
        parse_statement(data)
    assert statement_bytes(made.certificate) == path.read_bytes()


def test_one_input_under_two_labels(crowd: World, tmp_path: Path) -> None:
    """Two records, one region: they go to a label that neither has, or one of them nowhere."""
    x = np.concatenate([crowd.forget.x, crowd.forget.x[:1]])
    y = np.concatenate([crowd.forget.y, (crowd.forget.y[:1] + 1) % 4])
    world = World(crowd.network, Records(x, y), crowd.others)
    made = world.submit(tmp_path / "s")
    assert not_passed(made, world) == set()
    own = made.patched.logits(x).argmax(axis=1)
    assert own[0] == own[-1] and own[0] not in (y[0], y[-1])
    each = world.submit(tmp_path / "r", spec="reference")
    assert len(each.certificate.unclaimed) == 1
    assert not_passed(each, world) >= ON_THE_SET


def test_no_bound_where_bands_may_close_a_gate(
    narrow: Submission, crowd: World, tmp_path: Path
) -> None:
    """Two patches with the same gates but for their bands differ by a whole offset in between."""
    wide = crowd.submit(tmp_path / "w", radius=0.002)
    cut = rewrite(narrow, tmp_path / "c", patch=with_bands(narrow, scaled(0.25)))
    keys = (KEY, KEY)
    assert np.isfinite(region_bounds(narrow, wide, crowd.forget, keys).bound).all()
    found = region_bounds(cut, wide, crowd.forget, keys)
    assert len(found.bound) and np.isinf(found.bound).all()
    rng = np.random.default_rng(0)
    x = np.repeat(crowd.forget.x, 500, axis=0)
    x = np.clip(x + rng.uniform(-0.002, 0.002, x.shape), 0, 1).astype(np.float32)
    assert np.abs(cut.patched.logits(x) - wide.patched.logits(x)).max() > 0.5
