"""Claims decided by exact numbers: never against the oracle, never less than float64 decides."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from auditkit.certificate.check import Claims, Findings, Verdict, check_claims
from auditkit.network.graph import (
    AveragePool,
    Convolution,
    Dense,
    MaxPool,
    Network,
    Relu,
    Reshape,
)
from auditkit.patch.gates import Group, OffsetKind, Patch
from tests.oracle.cases import generator
from tests.oracle.exact import ExactNetwork, exact, in_region
from tests.oracle.judge import Tally, beyond, examine
from tests.oracle.mutations import MUTATIONS, honest
from tests.oracle.networks import FAMILIES, STYLES, chain, claims_for, handmade, records, weights


def decided_alike(floats: Findings, exactly: Findings) -> None:
    """What float64 proves or refutes, exact numbers do too."""
    for kind in ("support", "point", "region"):
        ours, theirs = getattr(exactly, kind), getattr(floats, kind)
        known = theirs != Verdict.UNPROVED
        if kind == "region":  # another gate that just touches the record opens only exactly
            known &= exactly.gate_open != Verdict.REFUTED
        np.testing.assert_array_equal(ours[known], theirs[known])
    slack = (exactly.point_slack < floats.point_slack) & exactly.exact
    assert not slack.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_random_claims(family: str, style: str, dtype: Any) -> None:
    rng = generator("exact", family, style, dtype.__name__)
    network = FAMILIES[family](weights(style, dtype, rng), dtype, rng)
    x = records(network, 3, rng)
    patch = handmade(network, x, rng)
    for claims in claims_for(patch, x, rng):
        exactly = examine(
            network, patch, claims, rng, Tally(), checker=partial(check_claims, exact=True)
        )
        floats = check_claims(network, patch, claims, 0.0, 1.0, exact=False)
        by_need = check_claims(network, patch, claims, 0.0, 1.0)
        assert exactly.exact.all() and not floats.exact.any()
        decided_alike(floats, exactly)
        decided_alike(floats, by_need)
        assert (exactly.support != Verdict.UNPROVED).all()
        np.testing.assert_array_equal(by_need.support, exactly.support)


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutated_claims(name: str) -> None:
    for number, family in enumerate(FAMILIES):
        rng = generator("exact", name, family)
        style = ("integers", "zeros", "mixed", "normal")[number]
        network = FAMILIES[family](weights(style, np.float32, rng), np.float32, rng)
        submitted = honest(network, records(network, 3, rng), rng)
        if submitted is None or not len(submitted[1]):
            continue
        patch, claims = MUTATIONS[name](*submitted, rng)
        examine(network, patch, claims, rng, Tally(), checker=partial(check_claims, exact=True))


def redirect(network: Network, x: Any, radius: float = 1e-3) -> tuple[Patch, Claims]:
    """Return a patch that gives each record label 0 by far, and the claims."""
    bits = np.asarray([[z > 0 for z in ExactNetwork(network)(exact(row))[1]] for row in x])
    offset = np.zeros(network.classes, np.float32)
    offset[0] = 1024.0
    group = Group("g", OffsetKind.CONSTANT, bits, offset, 2048.0, 2.0**20, 0.0)
    count = len(x)
    claims = Claims(
        x=x.astype(np.float64),
        gate=np.arange(count),
        radius=np.full(count, radius),
        margin=np.full(count, 0.5),
        target=np.zeros(count, dtype=np.int64),
    )
    return Patch((group,), network.classes, bits.shape[1]), claims


def on_faces() -> tuple[Network, Any]:
    """Records that integer weights put exactly on faces, by sums that float64 cannot be sure of."""
    rng = np.random.default_rng(3)
    first = rng.integers(-3, 4, size=(5, 4)).astype(np.float32)
    x = rng.integers(0, 9, size=(4, 4)) / 8
    bias = (
        -(first @ x.T).T[np.arange(5) % 4, np.arange(5)].astype(np.float32)
    )  # z_u(x_(u mod 4)) = 0
    last = rng.integers(-2, 3, size=(3, 5)).astype(np.float32)
    layers = [Dense(first, bias), Relu(), Dense(last, np.zeros(3, np.float32))]
    return chain((4,), layers, np.float32), x


def flat_images() -> tuple[Network, Any]:
    """Images that are flat but for a corner: most comparisons of the pool tie, all at bit 0."""
    rng = np.random.default_rng(4)
    filters = rng.normal(size=(3, 1, 3, 3)).astype(np.float32)
    last = rng.normal(size=(3, 27)).astype(np.float32)
    layers = [
        Convolution(filters, rng.normal(size=3).astype(np.float32)),
        MaxPool((2, 2), (2, 2)),
        AveragePool((1, 1), (1, 1)),
        Reshape((27,)),
        Dense(last, np.zeros(3, np.float32)),
    ]
    x = np.full((3, 1, 8, 8), np.float32(0.1), dtype=np.float64)
    x[:, 0, :2, :2] = rng.random((3, 2, 2)).astype(np.float32)
    return chain((1, 8, 8), layers, np.float32), x


@pytest.mark.parametrize("made", [on_faces, flat_images])
def test_ties_are_decided(made: Any) -> None:
    network, x = made()
    patch, claims = redirect(network, x)
    oracle = ExactNetwork(network)
    units = [oracle(exact(row))[1] for row in x]
    assert all(0 in z for z in units)
    assert all(in_region(z, bits) for z, bits in zip(units, patch.table.patterns, strict=True))
    floats = check_claims(network, patch, claims, 0.0, 1.0, exact=False)
    assert (floats.support == Verdict.UNPROVED).all() and not floats.exact.any()
    found = check_claims(network, patch, claims, 0.0, 1.0)
    assert found.exact.all() and not found.doubt.any()
    for kind in ("support", "gate_open", "point", "region"):
        assert (getattr(found, kind) == Verdict.PROVED).all(), kind
    # a bit the other way at a tie is the region on the other side of the face: just as true
    turned = patch.table.patterns.copy()
    row, unit = 0, units[0].index(0)
    turned[row, unit] ^= True
    group = replace(patch.groups[0], patterns=turned)
    other = check_claims(network, Patch((group,), 3, turned.shape[1]), claims, 0.0, 1.0)
    assert other.support[0] == Verdict.PROVED
    # and one where there is no tie is not
    turned[row, unit] ^= True
    unit = next(u for u, z in enumerate(units[0]) if z)
    turned[row, unit] ^= True
    group = replace(patch.groups[0], patterns=turned)
    other = check_claims(network, Patch((group,), 3, turned.shape[1]), claims, 0.0, 1.0)
    assert other.support[0] == Verdict.REFUTED and other.region[0] != Verdict.PROVED
    examine(network, patch, claims.take(slice(1)), np.random.default_rng(0), Tally())


def test_a_margin_that_is_met_exactly() -> None:
    network, x = on_faces()
    patch, claims = redirect(network, x, radius=0.125)
    found = check_claims(network, patch, claims, 0.0, 1.0, exact=True)
    # what is left beyond the margin is a float: claim it too, and then one float more
    met = claims.margin + found.region_slack
    last = check_claims(network, patch, replace(claims, margin=met), 0.0, 1.0)
    assert (last.region == Verdict.PROVED).all() and (last.region_slack == 0).all()
    above = np.nextafter(met, np.inf)
    over = check_claims(network, patch, replace(claims, margin=above), 0.0, 1.0)
    assert (over.region == Verdict.UNPROVED).all()  # it is a bound over a box, not over the region
    floats = check_claims(network, patch, replace(claims, margin=met), 0.0, 1.0, exact=False)
    assert (floats.region == Verdict.UNPROVED).all()
    at_record = claims.margin + found.point_slack
    last = check_claims(network, patch, replace(claims, margin=at_record), 0.0, 1.0)
    assert (last.point == Verdict.PROVED).all()
    above = np.nextafter(at_record, np.inf)
    over = check_claims(network, patch, replace(claims, margin=above), 0.0, 1.0)
    assert (over.point == Verdict.REFUTED).all()


def test_only_what_rounding_leaves_open_is_asked_again() -> None:
    rng = np.random.default_rng(5)
    network = FAMILIES["dense"](weights("normal", np.float32, rng), np.float32, rng)
    x = records(network, 6, np.random.default_rng(2))
    patch, claims = redirect(network, x)
    steps: list[tuple[int, int]] = []
    far = replace(claims, margin=np.where(np.arange(6) % 2, 1e6, 0.5))
    found = check_claims(network, patch, far, 0.0, 1.0, progress=lambda *s: steps.append(s))
    assert not found.exact.any() and not steps
    np.testing.assert_array_equal(found.support, np.full(6, Verdict.PROVED))
    everything = check_claims(
        network, patch, far, 0.0, 1.0, exact=True, progress=lambda *s: steps.append(s)
    )
    assert everything.exact.all() and steps[-1] == (6, 6)


def test_a_network_without_units() -> None:
    network = chain(
        (2,), [Dense(np.eye(3, 2, dtype=np.float32), np.ones(3, np.float32))], np.float32
    )
    x = np.array([[0.25, 0.5]])
    patch, claims = redirect(network, x, radius=np.inf)
    found = check_claims(network, patch, claims, 0.0, 1.0, exact=True)
    assert found.exact.all() and found.region[0] == Verdict.PROVED
    assert found.region_slack[0] == 1024 + 0 - 1 - 0.5  # x_0 = 0, x_1 = 1


def test_records_that_say_nothing_are_left_alone() -> None:
    network, x = on_faces()
    patch, claims = redirect(network, x)
    outside = claims.x.copy()
    outside[0, 0], outside[1, 0] = np.nan, 7.0
    radius = claims.radius.copy()
    radius[2] = 0.0
    found = check_claims(
        network, patch, replace(claims, x=outside, radius=radius), 0.0, 1.0, exact=True
    )
    assert found.exact.tolist() == [False, False, False, True]
    assert (found.region[:3] == Verdict.UNPROVED).all() and found.region[3] == Verdict.PROVED


def test_numbers_too_wide_are_said_to_be() -> None:
    rng = np.random.default_rng(6)
    wide = 2.0 ** rng.integers(-500, 500, size=(3, 3))
    layers: list[Any] = []
    for _ in range(40):
        layers += [Dense(wide, np.zeros(3)), Relu()]
    network = chain((3,), [*layers, Dense(wide, np.zeros(3))], np.float64)
    x = np.array([[0.25, 0.5, 0.75]])
    bits = np.ones((1, 120), dtype=bool)
    group = Group("g", OffsetKind.CONSTANT, bits, np.ones(3, np.float32), 1.0, 1.0, 0.0)
    claims = Claims(x, np.zeros(1, np.int64), np.ones(1), np.ones(1), np.zeros(1, np.int64))
    for choice in (True, None):
        found = check_claims(network, Patch((group,), 3, 120), claims, 0.0, 1.0, exact=choice)
        assert found.too_wide.all() and not found.exact.any()
        assert found.region[0] == found.support[0] == Verdict.UNPROVED


def test_what_overflows_float64_is_proved() -> None:
    big, small = np.diag([2.0**900] * 3), np.diag([2.0**-900] * 3)
    layers: list[Any] = []
    for weight in (big, big, small, small):
        layers += [Dense(weight, np.zeros(3)), Relu()]
    network = chain((3,), [*layers, Dense(np.eye(3), np.zeros(3))], np.float64)
    x = np.array([[0.25, 0.5, 0.75]])
    patch, claims = redirect(network, x, radius=0.125)
    floats = check_claims(network, patch, claims, 0.0, 1.0, exact=False)
    assert floats.support[0] == floats.region[0] == Verdict.UNPROVED
    found = check_claims(network, patch, claims, 0.0, 1.0)
    assert found.support[0] == found.point[0] == found.region[0] == Verdict.PROVED
    assert found.region_slack[0] == 1024 + 0.125 - 0.875 - 0.5
    assert found.deployed[0] == Verdict.UNPROVED  # its own floats do overflow
    worst = ExactNetwork(network)(exact(x))[0]
    assert beyond(worst[2] - worst[0], 0) == np.nextafter(0.5, 1)


def test_a_box_beyond_all_floats_is_left_open() -> None:
    """A step to the end of such a domain has no number, and exact arithmetic has none either."""
    rng = generator("unbounded")
    network = FAMILIES["dense"](weights("normal", np.float64, rng), np.float64, rng)
    patch, claims = redirect(network, records(network, 3, rng))
    greatest = float(np.finfo(float).max)
    claims = replace(claims, x=claims.x - 1.0, radius=np.full(len(claims), np.inf))
    patch = redirect(network, claims.x)[0]
    found = check_claims(network, patch, claims, -2.0, greatest, exact=True)
    assert found.too_wide.all() and not found.exact.any()
    assert (found.region != Verdict.PROVED).all()
