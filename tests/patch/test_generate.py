"""Offsets are as small as they can be, and what is generated does what was asked."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.certificate.check import Claims, Verdict, check_claims
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.network.scale import typical_activation
from auditkit.patch.gates import OffsetKind
from auditkit.patch.generate import STEP, Made, Request, make_patch, redirect_offset
from auditkit.patch.patched import PatchedNetwork
from auditkit.patch.settings import resolve_settings
from tests.oracle.exact import ExactNetwork, exact, holds, patched, shortfall
from tests.oracle.networks import FAMILIES, weights

LEADS = st.lists(st.floats(-16, 16), min_size=1, max_size=5)


@settings(max_examples=300, deadline=None)
@given(LEADS, st.floats(1e-3, 10), st.integers(0, 5))
def test_redirect_offsets_meet_the_margin_and_are_least(
    leads: list[float], margin: float, place: int
) -> None:
    target = min(place, len(leads))
    lead = np.insert(np.array(leads), target, -np.inf)
    offset = redirect_offset(lead, target, margin).astype(np.float64)
    others = np.delete(lead + offset, target)
    assert (others - offset[target] <= -margin).all()
    # d_k - d_j ≥ m_j + m for all j takes max(0, max_j m_j + m) / 2 in the sup-norm at least.
    least = max(0.0, (max(leads) + margin) / 2)
    assert np.abs(offset).max() <= least * (1 + 2.0**-22) + 2 * STEP
    assert offset[target] >= 0 and (np.delete(offset, target) <= 0).all()


def test_offsets_above_16_are_rounded_outwards() -> None:
    offset = redirect_offset(np.array([-np.inf, 247.46252382331772]), 0, 9.001)
    assert float(offset[0]) - float(offset[1]) >= 247.46252382331772 + 9.001


@pytest.mark.parametrize("leads", [*itertools.product([-2.0, -0.5, 0.0, 1.5], repeat=2)])
def test_no_smaller_offset_does(leads: tuple[float, float]) -> None:
    margin, target = 0.5, 2
    offset = redirect_offset(np.array([*leads, -np.inf]), target, margin)
    grid = np.arange(-2, 2.01, 0.125)
    good = [
        max(map(abs, d))
        for d in itertools.product(grid, repeat=3)
        if all(m + d[j] - d[target] <= -margin for j, m in enumerate(leads))
    ]
    assert np.abs(offset).max() == min(good)


def network_and_records(family: str, count: int = 6) -> tuple[Network, Any, Any]:
    rng = np.random.default_rng([3, len(family)])
    network = FAMILIES[family](weights("normal", np.float32, rng), np.float32, rng)
    x = rng.random((count, *network.input_shape)).astype(np.float32)
    return network, x, logits(network, x).argmax(axis=1)


def generate(network: Network, x: Any, y: Any, spec: str, scope: str, **change: Any) -> Made:
    asked = resolve_settings(spec, scope, radius=1e-4, margin=0.05, **change)
    asked = asked.resolved(typical_activation(network, 0.0, 1.0))
    rng = np.random.default_rng(0)
    shapes = {"neutralise": (network.classes,), "reference": (len(x), network.classes)}
    targets = rng.normal(size=shapes[spec]) if spec in shapes else None
    return make_patch(network, Request(x, y), asked, targets=targets)


@pytest.mark.parametrize(
    ("spec", "scope"),
    [
        ("redirect", "point"),
        ("redirect", "cluster"),
        ("neutralise", "point"),
        ("neutralise", "cluster"),
        ("reference", "point"),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_margins_are_met_at_every_served_record(family: str, spec: str, scope: str) -> None:
    network, x, y = network_and_records(family)
    made = generate(network, x, y, spec, scope)
    oracle, assigned = ExactNetwork(network), made.assignment
    served = np.flatnonzero(assigned.member >= 0)
    assert len(served)
    assert all(bool(assigned.reason[i]) == (assigned.member[i] < 0) for i in range(len(x)))
    gates = [made.patch.find(assigned.group[i], int(assigned.member[i])) for i in served]
    for i, gate in zip(served, gates, strict=True):
        assert gate is not None
        target = int(assigned.target[i])
        output = patched(made.patch, *oracle(exact(x[i])))
        assert holds(shortfall(made.patch, gate, target, output), target, 0.05)
        assert target != y[i]
    claims = Claims(
        x[served].astype(np.float64),
        np.array(gates),
        np.full(len(served), 1e-4),
        np.full(len(served), 0.05),
        assigned.target[served],
    )
    multipliers = made.multipliers and made.multipliers.among(served)
    found = check_claims(network, made.patch, claims, 0.0, 1.0, multipliers)
    assert Verdict.REFUTED not in found.point
    clean = (found.support == Verdict.PROVED) & (found.crossing == 0)
    if spec != "redirect":  # q - f, added to f in floats, is q to within a few units of their size
        clean &= 16 * np.finfo(network.dtype).eps * found.lead.max(axis=1) < 0.05
    assert (found.deployed[clean] == Verdict.PROVED).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_class_requests(family: str) -> None:
    network, x, y = network_and_records(family, 30)
    label = int(y[0])
    mine = y == label
    made = generate(network, x[mine], y[mine], "redirect", "class", target_class=label)
    after = PatchedNetwork(network, made.patch).logits(x[mine]).argmax(axis=1)
    assert (after != label).all()
    with pytest.raises(ValueError, match="another class"):
        generate(network, x, np.where(mine, label + 1, y), "redirect", "class", target_class=label)
    # Suppression: never predicted again, and no other prediction changes.
    made = generate(
        network, x[mine], y[mine], "redirect", "class", target_class=label, method="suppress"
    )
    assert [group.kind for group in made.patch.groups] == [OffsetKind.ALWAYS]
    rng = np.random.default_rng(1)
    probes = rng.random((200, *network.input_shape)).astype(np.float32)
    before = logits(network, probes)
    after = PatchedNetwork(network, made.patch).logits(probes)
    assert (after.argmax(axis=1) != label).all()
    np.testing.assert_array_equal(np.delete(before, label, 1), np.delete(after, label, 1))


def test_requests_that_cannot_be_met() -> None:
    network, x, y = network_and_records("dense")
    with pytest.raises(ValueError, match="no record"):
        generate(network, x[:0], y[:0], "redirect", "point")
    asked = resolve_settings("redirect", "point")
    with pytest.raises(ValueError, match="sharpness"):
        make_patch(network, Request(x, y), asked)
    with pytest.raises(ValueError, match="target vectors"):
        make_patch(network, Request(x, y), resolve_settings("neutralise").resolved(1.0))
    same = np.repeat(x[:1], network.classes, axis=0)
    with pytest.raises(ValueError, match="every label"):
        generate(network, same, np.arange(network.classes), "redirect", "point")
