"""Each way in which a gated patch could be claimed to do what it does not (certificates.md §3)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from auditkit.certificate.check import Claims, Findings, Verdict, check_claims
from auditkit.certificate.check_explicit import RowHints, check_explicit_claims
from auditkit.network.evaluate import evaluate, pattern
from auditkit.network.frozen import Frozen
from auditkit.network.graph import (
    AveragePool,
    Dense,
    Network,
    Node,
    Operator,
    Relu,
    Reshape,
    Scale,
)
from auditkit.network.region import Box, Piece
from auditkit.network.rigorous import RIGOROUS, Ball
from auditkit.network.scale import typical_activation
from auditkit.patch.explicit import ExplicitGroup, ExplicitPatch
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.patch.patched import PatchedNetwork
from tests.oracle.exact import ExactNetwork, exact, holds, patched, shortfall

CONSTANT, OUTPUT, ALWAYS = OffsetKind.CONSTANT, OffsetKind.OUTPUT, OffsetKind.ALWAYS
ZONE = 2.0**-18


def f32(*values: Any) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def chain(shape: tuple[int, ...], *operators: Operator) -> Network:
    nodes = tuple(Node(operator, (i,)) for i, operator in enumerate(operators))
    return Network(shape, nodes, np.dtype(np.float32))


def ramp(factor: float = 1.0) -> Network:
    """Two units, x0 - 1/2 and x1 - 1/4, that the logits take as they are."""
    first = Dense(f32([factor, 0], [0, factor]), f32(-factor / 2, -factor / 4))
    last = Dense(f32([1 / factor, 0], [0, 1 / factor]), f32(0, 0))
    return chain((2,), first, Relu(), last)


def group(name: str, patterns: Any, offset: Any, **change: Any) -> Group:
    kind = change.pop("kind", CONSTANT)
    numbers = {"bound": 4.0, "sharpness": 64.0, "dead_zone": ZONE, **change}
    return Group(name, kind, np.array(patterns, dtype=bool), f32(*offset), **numbers)


def patch(*groups: Group) -> Patch:
    return Patch(groups, len(groups[0].offset.T), groups[0].patterns.shape[1])


def claim(x: Any, gate: Any = 0, target: Any = 1, radius: float = 0.01, margin: float = 0.1) -> Any:
    x = np.atleast_2d(np.asarray(x, dtype=float))
    n = len(x)
    spread = [np.broadcast_to(np.asarray(v), n) for v in (gate, target)]
    return Claims(x, spread[0], np.full(n, radius), np.full(n, margin), spread[1])


def check(network: Network, groups: Any, claims: Claims) -> Findings:
    return check_claims(network, patch(*groups), claims, 0.0, 1.0)


INSIDE = [0.9, 0.8]  # pattern 11; logits .4 and .55
OFFSET = [-1.0, 1.0]


def test_a_good_patch_is_proved() -> None:
    found = check(ramp(), [group("a", [[1, 1]], OFFSET)], claim(INSIDE))
    for verdicts in (found.support, found.gate_open, found.point, found.region, found.deployed):
        assert list(verdicts) == [Verdict.PROVED]


def test_a_gate_that_is_closed_at_its_record_proves_nothing_there() -> None:
    # The offset would do; but this gate's region is elsewhere, so that F = f at the record.
    found = check(ramp(), [group("a", [[0, 0]], OFFSET)], claim(INSIDE, margin=0.5))
    assert list(found.support) == list(found.gate_open) == [Verdict.REFUTED]
    assert Verdict.PROVED not in {*found.point, *found.region, *found.deployed}
    # Nor is a claim refuted by an offset that is not added: without it, the label leads by .15.
    found = check(ramp(), [group("a", [[0, 0]], [1, -1])], claim(INSIDE))
    assert list(found.point) == list(found.region) == [Verdict.UNPROVED]


def test_a_wide_dead_zone_does_not_make_the_region_the_records() -> None:
    groups = [group("a", [[0, 1]], [2.0, -2.0], dead_zone=1.0)]
    found = check(ramp(), groups, claim(INSIDE))
    assert (found.gate_open[0], found.support[0]) == (Verdict.PROVED, Verdict.REFUTED)
    assert found.point[0] == Verdict.REFUTED
    assert found.region[0] == Verdict.UNPROVED  # the record is no witness: it is not in the region


def test_two_gates_at_one_record() -> None:
    groups = [group("a", [[1, 1]], OFFSET), group("b", [[1, 1]], [1.0, -1.0])]
    found = check(ramp(), groups, claim(INSIDE))
    assert found.gate_open[0] == Verdict.REFUTED
    assert found.region[0] != Verdict.PROVED
    members = [replace(groups[0], patterns=np.array([[1, 1], [1, 1]], dtype=bool))]
    assert check(ramp(), members, claim(INSIDE)).region[0] == Verdict.PROVED


def test_records_of_one_region_cannot_have_two_outputs() -> None:
    stack = group("a", [[1, 1], [1, 1]], [[0.0, 0.0], [1.0, 1.0]], kind=OUTPUT)
    x = [INSIDE, [0.95, 0.85]]
    claims = claim(x, gate=[0, 1], target=-1, margin=0.01)
    found = check(ramp(), [stack], claims)
    assert Verdict.PROVED not in {*found.region, *found.point}
    # A duplicate is served by the gate of the other: judged by v = 0, not by whose bits they are.
    claims = claim([INSIDE, [0.95, 0.85]], gate=[0, 0], target=-1, margin=0.01)
    assert set(check(ramp(), [replace(stack, patterns=stack.patterns[:1], offset=stack.offset[:1])],
                     claims).region) == {Verdict.PROVED}  # fmt: skip


def test_an_offset_beyond_the_bound_is_the_clipped_one() -> None:
    found = check(ramp(), [group("a", [[1, 1]], [-50.0, 50.0], bound=0.0)], claim(INSIDE, margin=1))
    assert found.point[0] == Verdict.REFUTED
    found = check(ramp(), [group("a", [[1, 1]], [9.0, 9.0], bound=0.1, kind=OUTPUT)],
                  claim(INSIDE, target=-1))  # fmt: skip
    assert found.point[0] == Verdict.REFUTED


@pytest.mark.parametrize("sharpness", [1e-6, 1.0])
def test_a_blunt_gate_of_a_neighbour_counts(sharpness: float) -> None:
    groups = [group("a", [[1, 1]], OFFSET), group("b", [[0, 0]], [4, -4], sharpness=sharpness)]
    found = check(ramp(), groups, claim(INSIDE))
    assert found.crossing[0] == 1
    assert found.region[0] == Verdict.UNPROVED
    sharp = [groups[0], replace(groups[1], sharpness=64.0)]
    assert check(ramp(), sharp, claim(INSIDE)).crossing[0] == 0


def test_rescaled_units_are_measured() -> None:
    plain, small = ramp(), ramp(2.0**-20)
    x = np.array([INSIDE])
    np.testing.assert_allclose(evaluate(plain, x)[0], evaluate(small, x)[0])
    ratio = typical_activation(plain, 0, 1) / typical_activation(small, 0, 1)
    assert ratio == pytest.approx(2.0**20)
    # The same sharpness opens every gate of the rescaled network to the neighbours.
    groups = [
        group("a", [[1, 1]], OFFSET, dead_zone=2.0**-40),
        group("b", [[0, 0]], [4, -4], dead_zone=2.0**-40),
    ]
    assert check(small, groups, claim(INSIDE)).crossing[0] == 1


def test_the_claimed_set_may_leave_the_separated_part() -> None:
    groups = [group("a", [[1, 1]], OFFSET), group("b", [[0, 1]], [4.0, -4.0])]
    near = check(ramp(), groups, claim(INSIDE, radius=0.3))
    assert near.region[0] == Verdict.PROVED
    far = check(ramp(), groups, claim(INSIDE, radius=np.inf))  # touches the other region
    assert (far.crossing[0], far.region[0]) == (1, Verdict.UNPROVED)


@pytest.mark.parametrize(
    "change",
    [{"bound": -1.0}, {"bound": np.inf}, {"sharpness": 0.0}, {"sharpness": np.nan},
     {"sharpness": np.inf}, {"dead_zone": -1e-9}, {"dead_zone": np.nan}, {"offset": [np.nan, 0]}],
)  # fmt: skip
def test_numbers_that_make_the_formula_meaningless(change: dict[str, Any]) -> None:
    offset = change.pop("offset", OFFSET)
    with pytest.raises(ValueError, match="group a"):
        group("a", [[1, 1]], offset, **change)


@pytest.mark.parametrize("x", [[1.5, 0.8], [-1e-12, 0.8], [np.nan, 0.8], [np.inf, 0.8]])
def test_records_outside_the_domain(x: list[float]) -> None:
    found = check(ramp(), [group("a", [[1, 1]], OFFSET)], claim(x))
    assert {*found.point, *found.region, *found.deployed} == {Verdict.UNPROVED}


@pytest.mark.parametrize("radius", [0.0, -1.0, np.nan])
@pytest.mark.parametrize("margin", [0.1, 0.0, np.nan])
def test_claims_of_nothing(radius: float, margin: float) -> None:
    claims = claim(INSIDE, radius=radius, margin=margin)
    found = check(ramp(), [group("a", [[1, 1]], OFFSET)], claims)
    assert {*found.point, *found.region, *found.deployed} == {Verdict.UNPROVED}


def test_claims_of_the_wrong_kind() -> None:
    for kind, target in ((OUTPUT, 1), (CONSTANT, -1)):
        with pytest.raises(ValueError, match="kinds"):
            check(ramp(), [group("a", [[1, 1]], OFFSET, kind=kind)], claim(INSIDE, target=target))
    mixed = [group("a", [[1, 1]], OFFSET), group("b", [[0, 0]], OFFSET, kind=OUTPUT)]
    with pytest.raises(ValueError, match="kinds"):
        check(ramp(), mixed, claim([INSIDE, [0.1, 0.1]], gate=[0, 1], target=[1, -1]))


# What the deployed floats do, beyond what real numbers do.


def test_no_dead_zone_is_not_proved_deployed() -> None:
    found = check(ramp(), [group("a", [[1, 1]], OFFSET, dead_zone=0.0)], claim(INSIDE))
    assert (found.region[0], found.deployed[0]) == (Verdict.PROVED, Verdict.UNPROVED)


def test_numbers_that_float32_does_not_have() -> None:
    for change in ({"dead_zone": 1e-5}, {"bound": 4.1}, {"sharpness": 64.1}):
        found = check(ramp(), [group("a", [[1, 1]], OFFSET, **change)], claim(INSIDE))
        assert (found.region[0], found.deployed[0]) == (Verdict.PROVED, Verdict.UNPROVED)


def test_shifts_that_cancel_in_real_numbers_only() -> None:
    none = np.zeros((0, 2), dtype=bool)
    huge = 2.0**26
    groups = [
        group("a", [[1, 1]], OFFSET),
        group("b", none, [huge, huge], kind=ALWAYS, bound=huge),
        group("c", none, [-huge, -huge], kind=ALWAYS, bound=huge),
    ]
    found = check(ramp(), groups, claim(INSIDE))
    ran = PatchedNetwork(ramp(), patch(*groups)).logits(f32(INSIDE))[0]
    assert ran[1] - ran[0] < 0.1  # everything was rounded away
    assert (found.region[0], found.deployed[0]) == (Verdict.PROVED, Verdict.UNPROVED)
    # The sum of the shifts itself is exact: 1e30 - 1e30 + 1 is 1.
    parts = [[0, 1e30], [0, -1e30], [3, 0]]
    groups = [group("a", [[1, 1]], OFFSET)]
    groups += [group(f"s{i}", none, p, kind=ALWAYS, bound=2e30) for i, p in enumerate(parts)]
    assert check(ramp(), groups, claim(INSIDE)).point[0] == Verdict.REFUTED


def test_outputs_that_overflow() -> None:
    network = chain((2,), Dense(f32([1, 0], [0, 1]), f32(0, 3e38)), Relu(),
                    Dense(f32([1, 0], [0, 1]), f32(0, 0)))  # fmt: skip
    groups = [group("a", [[1, 1]], [0.0, 3e38], bound=3e38, dead_zone=2.0**110)]
    found = check(network, groups, claim(INSIDE, margin=1e37))
    with np.errstate(over="ignore"):
        assert np.isinf(PatchedNetwork(network, patch(*groups)).logits(f32(INSIDE))).any()
    assert (found.region[0], found.deployed[0]) == (Verdict.PROVED, Verdict.UNPROVED)


def test_average_pools_whose_sum_overflows() -> None:
    network = chain(
        (1, 2, 2),
        Scale("multiply", f32(2e38).reshape(())),
        AveragePool((2, 2), (2, 2)),
        Reshape((1,)),
        Scale("divide", f32(1e38).reshape(())),
        Dense(f32([0], [1]), f32(0, 0)),
        Relu(),
        Dense(f32([1, 0], [0, 1]), f32(0, 0)),
    )
    x = np.full((1, 1, 2, 2), 0.75)
    with np.errstate(all="ignore"):
        assert not np.isfinite(evaluate(network, x.astype(np.float32))[0]).all()
    kept = pattern(network, x)
    groups = [group("a", kept, OFFSET[: network.classes], dead_zone=1.0)]
    claims = Claims(x, np.array([0]), np.array([0.01]), np.array([0.1]), np.array([1]))
    found = check(network, groups, claims)
    assert (found.region[0], found.deployed[0]) == (Verdict.PROVED, Verdict.UNPROVED)


def test_deployed_logits_pass_through_the_offsets_of_others() -> None:
    """Where two gates that aim at outputs are open, F = q + q' - f: an error of f is one of F."""
    rng = np.random.default_rng(3)
    weight = f32([1, 0, 0], [0, 1, 0], [0, 0, 1])
    network = chain(
        (3,),
        Dense(weight, f32(-0.5, 0, 0)),
        Relu(),
        Dense(f32([0, 9999.7, -9999.3], [1e-3, 0, 0]), f32(0, 0)),
    )
    groups = [
        group("a", [[1, 1, 1]], [0.0, 0.0], kind=OUTPUT, bound=64.0),
        group("b", [[0, 1, 1]], [0.0, 0.0], kind=OUTPUT, bound=64.0),
    ]
    both = patch(*groups)
    radius = 3 * 2.0**-19
    steps = np.array([[-1, 1, -1], [-1, -1, 1]]) * radius
    oracle, proved = ExactNetwork(network), 0
    for _ in range(40):
        x = np.round(np.array([0.5 + radius, *(0.5 + 0.4 * rng.random(2))]) * 2**19) / 2**19
        x[2] = np.round((x[1] * 9999.7 / 9999.3 + rng.normal() * 1e-4) * 2**19) / 2**19
        claims = claim(x, target=-1, radius=radius)
        slack = check_claims(network, both, claims, 0.0, 1.0).deployed_slack
        claims = replace(claims, margin=claims.margin - slack + 1e-12)  # the least that is proved
        found = check_claims(network, both, claims, 0.0, 1.0)
        proved += int(found.deployed[0] == Verdict.PROVED)
        corners = (x + steps).astype(np.float32)
        for y, ran in zip(corners, PatchedNetwork(network, both).logits(corners), strict=True):
            assert all(z >= 0 for z in oracle(exact(y))[1])
            good = holds(shortfall(both, 0, -1, exact(ran)), -1, claims.margin[0])
            assert good or found.deployed[0] != Verdict.PROVED
    assert proved > 20


def test_great_cross_talk_is_rounded_outwards() -> None:
    """Margins close to 1e10 of which float64 drops the last bits."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        q = rng.normal(size=2)
        groups = [
            group("a", [[1, 1]], q, kind=OUTPUT),
            group("b", [[0, 1]], rng.normal(size=2) * 1e10, bound=3e10, sharpness=1e-9),
        ]
        both, x = patch(*groups), rng.random(2) / 4 + 0.6
        logits, units = ExactNetwork(ramp())(exact(x))
        worst = shortfall(both, 0, -1, patched(both, logits, units))
        margin = float(worst)
        if Fraction(margin) >= worst:
            margin = float(np.nextafter(margin, 0))
        found = check(ramp(), groups, claim(x, target=-1, margin=margin))
        assert found.point[0] != Verdict.PROVED


def test_offsets_that_cancel_shifts_everywhere_are_rounded_outwards() -> None:
    """Own offset and shift cancel; what float64 dropped of the shift is a share of the shift."""
    none, big = np.zeros((0, 2), dtype=bool), 2.0**40
    groups = [
        group("a", [[1, 1]], [0.0, -big], bound=2 * big),
        group("b", none, [0.0, big], kind=ALWAYS, bound=2 * big),
        group("c", none, [0.0, 0.25], kind=ALWAYS),
        group("d", none, [0.0, -(2.0**-20)], kind=ALWAYS),
    ]
    every = patch(*groups)
    worst = shortfall(every, 0, 1, patched(every, *ExactNetwork(ramp())(exact(INSIDE))))
    for share in (2.0**-22, 2.0**-21):
        found = check(ramp(), groups, claim(INSIDE, margin=float(worst) + share))
        assert Verdict.PROVED not in {*found.point, *found.region, *found.deployed}
    found = check(ramp(), groups, claim(INSIDE, margin=float(worst) / 2))
    assert found.point[0] == Verdict.PROVED


def test_shifts_beyond_all_floats_are_no_number_of_a_deployed_network() -> None:
    """Of real numbers the target leads by more than any float; floats overflow on the way."""
    none = np.zeros((0, 2), dtype=bool)
    huge = {"kind": ALWAYS, "bound": 1.7e308}
    groups = [group("a", [[1, 1]], OFFSET)]
    groups += [
        replace(group(f"s{i}", none, [0, 0], **huge), offset=np.array([0, 1.7e308]))
        for i in range(2)
    ]
    found = check(ramp(), groups, claim(INSIDE))
    assert {*found.point, *found.region} == {Verdict.PROVED}
    assert {*found.deployed} == {Verdict.UNPROVED}
    against = check(ramp(), groups, claim(INSIDE, target=0))
    assert {*against.point, *against.region, *against.deployed} == {Verdict.REFUTED}


def test_units_beyond_all_floats_have_no_sign() -> None:
    """∞ ± ∞ is not at least 0: a sign that overflow hides supports no pattern."""
    there = [Scale("multiply", f32(1e38, 1)) for _ in range(9)]
    back = [Scale("multiply", f32(1e-38, 1)) for _ in range(9)]
    # about x₀ - 2 x₁ and its opposite, in numbers of which the first passes 1e308 on its way
    network = chain(
        (2,), *there, *back, Dense(f32([1, -2], [-1, 2]), f32(0, 0)), Relu(),
        Dense(f32([1, 0], [0, 1]), f32(0, 0)),
    )  # fmt: skip
    assert ExactNetwork(network)(exact([0.5, 0.5]))[1][0] < 0
    for bits in ([1, 0], [0, 1], [0, 0], [1, 1]):
        asked = (patch(group("a", [bits], OFFSET)), claim([0.5, 0.5]))
        found = check_claims(network, *asked, 0.0, 1.0, exact=False)
        assert found.support[0] == Verdict.UNPROVED
        assert {*found.point, *found.region, *found.deployed} == {Verdict.UNPROVED}
        # exact numbers see the sign: x₀ - 2 x₁ < 0
        found = check_claims(network, *asked, 0.0, 1.0)
        assert found.support[0] == (Verdict.PROVED if bits == [0, 1] else Verdict.REFUTED)


def test_units_beyond_all_floats_have_no_sign_where_rows_are_written_out() -> None:
    there = [Scale("multiply", f32(1e38).reshape(())) for _ in range(9)]
    back = [Scale("multiply", f32(1e-38).reshape(())) for _ in range(9)]
    # x - 1 by way of what no float holds: below 0 in truth, and ∞ ± ∞ in floats
    network = chain((2,), *there, *back, Dense(f32([1, 0], [0, 1]), f32(-1, -1)), Relu(),
                    Dense(f32([1, 0], [0, 1]), f32(0, 0)))  # fmt: skip
    assert ExactNetwork(network)(exact([0.5, 0.5]))[1][0] < 0
    stated = ExplicitGroup(
        "a", f32([-1, 0], [0, -1]), f32(0, 0), np.array([0, 2]), f32([0, 0], [0, 0]),
        f32(*OFFSET[:2]), 100.0, 100.0,
    )  # fmt: skip
    asked = claim([0.5, 0.5])
    nothing = RowHints(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2)))
    found, rows = check_explicit_claims(
        network, ExplicitPatch((stated,), 2, 2), asked, 0.0, 1.0, lambda task: nothing
    )
    assert rows.tied.all()
    assert {*found.support, *found.region, *found.deployed} == {Verdict.UNPROVED}


def test_a_unit_that_overflows_on_its_way_closes_no_gate() -> None:
    """Scaled up beyond 1e308 and down to 1e-9: a float of ∞ is no violation of a billion."""
    there = [Scale("multiply", f32(1e38).reshape(())) for _ in range(9)]
    back = [Scale("multiply", f32(1e-38).reshape(())) for _ in range(9)]
    network = chain(
        (1,), *there, *back, Scale("multiply", f32(1e-9).reshape(())), Relu(),
        Dense(f32([1], [2]), f32(0, 0)),
    )  # fmt: skip
    _, z = evaluate(network, Ball.exact(np.array([[0.5]])), RIGOROUS)
    assert not z.lower[0, 0] > 1e-8
    bits = np.ones((1, 1), dtype=bool)
    box = Box.around(np.array([[0.5]]), np.array([0.1]), 0.0, 1.0)
    assert not Piece.at(network, bits, box).unit_ranges()[0][0, 0] > 1e-8
    seeds = Ball.exact(np.array([[1.0, 0.0]]))
    gradient = Frozen(network, bits).adjoint(seeds, RIGOROUS)
    assert not gradient.lower[0, 0] > 1e-8
