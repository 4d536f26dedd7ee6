"""Each hole of a patch certificate, submitted: one thing is wrong, and the right checks say so.

Every submission here is complete: its digests agree, its export is made of its patch, its records
are the requested ones. `not_passed` is compared with the exact set of required checks that may not
pass, so that a hole that a check overlooks, and a check that cries wolf, are both found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit.certificate.policy import Policy
from auditkit.certificate.submission import (
    Submission,
    load_submission,
    read_submission,
    write_submission,
)
from auditkit.certificate.verify import verify_directory, verify_submission
from auditkit.errors import EvidenceError
from auditkit.network.digest import semantic_digest
from auditkit.network.evaluate import logits, pattern
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.patch.settings import Domain
from auditkit.patch.tensors import patch_to_bytes
from auditkit.records import Records
from auditkit.results import Outcome
from auditkit.tensors import read_safetensors, write_safetensors
from tests.certificate.conftest import World, small_world
from tests.certificate.test_verify import resettle, restate, rewrite

WRONG_AT_THE_RECORD = {"certificate.point", "certificate.region", "certificate.deployed"}
ON_THE_REGION = {"certificate.region", "certificate.deployed"}


def not_passed(submission: Submission, world: World, **policy: Any) -> set[str]:
    result = verify_submission(
        submission, forget=world.forget, retain=world.others, policy=Policy(**policy)
    )
    return {c.id for c in result.checks if c.required and c.outcome is not Outcome.PASS}


@pytest.fixture(scope="module")
def alone() -> World:
    """A world of one request for one record: no other gate can explain anything."""
    return small_world(5, records=1)


@pytest.fixture(scope="module")
def good(alone: World, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    submission = alone.submit(tmp_path_factory.mktemp("good") / "s")
    assert not_passed(submission, alone) == set()
    return submission


def patched_with(h: Submission, **changes: Any) -> dict[str, Any]:
    """Change every group, past what `Group` refuses: the file may hold anything."""
    groups = []
    for group in h.patch.groups:
        changed = dataclasses.replace(group)
        for name, value in changes.items():
            object.__setattr__(changed, name, value)
        groups.append(changed)
    return {"patch": Patch(tuple(groups), h.patch.classes, h.patch.units)}


def with_group(h: Submission, group: Group) -> dict[str, Any]:
    """Add a group, owed to the same request."""
    [request] = h.certificate.requests
    listed = dataclasses.replace(request, groups=(*request.groups, group.name))
    return {
        "patch": Patch((*h.patch.groups, group), h.patch.classes, h.patch.units),
        "certificate": dataclasses.replace(h.certificate, requests=(listed,)),
    }


def weaker_settings(h: Submission, claims: dict[str, Any], **settings: Any) -> dict[str, Any]:
    certificate = resettle(h, **settings)["certificate"]
    stated = tuple(dataclasses.replace(c, **claims) for c in certificate.claims)
    radius = claims.get("radius", certificate.assertion_radius)
    certificate = dataclasses.replace(certificate, claims=stated, assertion_radius=radius)
    network = semantic_digest(
        h.network, (certificate.settings.domain.lower, certificate.settings.domain.upper)
    )
    return {"certificate": dataclasses.replace(certificate, network=network)}


def twin(h: Submission) -> Group:
    """A second group at the record that takes back what the first adds."""
    first = h.patch.groups[0]
    return dataclasses.replace(first, name="twin", offset=-np.atleast_2d(first.offset)[:1])


Change = Callable[[Submission], dict[str, Any]]
CHANGES: dict[str, tuple[Change, set[str]]] = {
    "tiny sharpness, as the settings say": (
        lambda h: {**patched_with(h, sharpness=2.0**-20), **resettle(h, sharpness=2.0**-20)},
        {"certificate.locality"},
    ),
    "a dead zone as wide as the units": (
        lambda h: patched_with(h, dead_zone=0.5),
        {"certificate.locality"},
    ),
    "too small a bound": (
        lambda h: patched_with(h, bound=h.patch.groups[0].bound / 64),
        WRONG_AT_THE_RECORD,
    ),
    "no bound": (lambda h: patched_with(h, bound=0.0), WRONG_AT_THE_RECORD),
    "two gates on one region": (
        lambda h: with_group(h, twin(h)),
        {"patch.support", "certificate.separation", *WRONG_AT_THE_RECORD},
    ),
    "a target that is the record's own label": (
        lambda h: restate(h, target=int(h.forget.y[0])),  # type: ignore[union-attr]
        {"certificate.point", "certificate.canonical", "patch.support", *ON_THE_REGION}
        | {"certificate.separation"},
    ),
    "offsets the other way": (
        lambda h: patched_with(h, offset=-h.patch.groups[0].offset),
        {"certificate.canonical", *WRONG_AT_THE_RECORD},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_thing_is_wrong(good: Submission, alone: World, tmp_path: Path, name: str) -> None:
    change, caught = CHANGES[name]
    made = rewrite(good, tmp_path / "s", **change(good))
    assert not_passed(made, alone) == caught


EVERY_CLAIM = {"patch.support", "certificate.separation", "certificate.canonical"}
EVERY_CLAIM |= WRONG_AT_THE_RECORD
FLOORS: dict[str, tuple[dict[str, Any], dict[str, Any], set[str], dict[str, Any]]] = {
    # name: (settings, claims, what the default policy does not pass, the policy that passes it)
    "tiny radius": ({"radius": 1e-9}, {"radius": 1e-9}, EVERY_CLAIM, {"least_radius": 0.0}),
    "tiny margin": (
        {"margin": 2.0**-10},
        {"margin": 2.0**-10},
        {"certificate.region"},
        {"least_margin": 0.0},
    ),
    "tiny domain": (
        {"domain": Domain(0.0, 0.9999)},
        {},
        {"certificate.region"},
        {"domain": (0.0, 0.9999)},
    ),
}


@pytest.mark.parametrize("name", FLOORS)
def test_true_of_almost_nothing(alone: World, tmp_path: Path, name: str) -> None:
    """Made honestly from weak settings: true, canonical, complete, and worth nothing."""
    settings, claims, caught, policy = FLOORS[name]
    made = alone.submit(tmp_path / "s", **settings)
    assert not_passed(made, alone, **policy) == set()
    assert all(getattr(c, k) == v for c in made.certificate.claims for k, v in claims.items())
    assert not_passed(made, alone) == caught


@pytest.mark.parametrize(
    "changes",
    [{"sharpness": v} for v in (0.0, -0.0, -64.0, np.nan, np.inf)]
    + [{"bound": v} for v in (-1.0, np.nan, np.inf)]
    + [{"dead_zone": v} for v in (-1e-6, np.nan, np.inf)]
    + [{"offset": np.full((1, 4), v, np.float32)} for v in (np.nan, np.inf)],
)
def test_numbers_that_make_no_gate(good: Submission, tmp_path: Path, changes: dict) -> None:
    with pytest.raises(EvidenceError, match=r"patch\.safetensors .*points"):
        rewrite(good, tmp_path / "s", **patched_with(good, **changes))
    with pytest.raises(EvidenceError, match=r"patch\.safetensors .*points"):
        verify_directory(tmp_path / "s")


# Holes in the network that the owner hands over.


def with_layers(network: Network, *layers: tuple[np.ndarray, np.ndarray]) -> Network:
    nodes: list[Node] = []
    for number, (weight, bias) in enumerate(layers):
        if number:
            nodes.append(Node(Relu(), (len(nodes),)))
        nodes.append(Node(Dense(np.float32(weight), np.float32(bias)), (len(nodes),)))
    return Network(network.input_shape, tuple(nodes), network.dtype)


def layers_of(network: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    operators = [n.operator for n in network.nodes if isinstance(n.operator, Dense)]
    return [(o.weight.copy(), o.bias.copy()) for o in operators]


def with_units(
    world: World, weight: Any, bias: Any, reach: float, x: np.ndarray | None = None
) -> World:
    """Add units to the first layer, each of which reaches all of the next by `reach`."""
    (w0, b0), (w1, b1), *rest = layers_of(world.network)
    weight = np.atleast_2d(np.asarray(weight, np.float32))
    first = (np.concatenate([w0, weight]), np.concatenate([b0, np.float32(bias)]))
    then = np.concatenate([w1, np.full((len(w1), len(weight)), reach, np.float32)], axis=1)
    network = with_layers(world.network, first, (then, b1), *rest)
    forget = world.forget if x is None else Records(x, logits(network, x).argmax(axis=1))
    return World(network, forget, world.others)


def with_bit(h: Submission, place: int, value: bool, name: str = "points") -> Patch:
    [group] = h.patch.groups
    patterns = group.patterns.copy()
    patterns[:, place] = value
    changed = dataclasses.replace(group, name=name, patterns=patterns)
    return Patch((changed,), h.patch.classes, h.patch.units)


def test_rescaled_units(alone: World, good: Submission, tmp_path: Path) -> None:
    """The same network in units a million times smaller: the declared sharpness is now nothing."""
    small = np.float32(2.0**-20)
    (w0, b0), (w1, b1), (w2, b2) = layers_of(alone.network)
    network = with_layers(
        alone.network, (w0 * small, b0 * small), (w1, b1 * small), (w2 / small, b2)
    )
    world = World(network, alone.forget, alone.others)
    np.testing.assert_array_equal(
        logits(network, alone.others.x), logits(alone.network, alone.others.x)
    )
    declared = good.certificate.settings.sharpness
    made = world.submit(tmp_path / "s", sharpness=declared)
    assert not_passed(made, world) == {"certificate.locality"}
    assert not_passed(world.submit(tmp_path / "h"), world) == set()  # measured in its own units


def test_a_pattern_with_bits_for_units_that_reach_nothing(alone: World, tmp_path: Path) -> None:
    """Units behind weights of 0 could hem a region in; a pattern has no bit for them."""
    near = np.eye(12, dtype=np.float32)
    x = alone.forget.x[0]
    world = with_units(alone, near, -x + np.float32(1e-6), reach=0.0)
    honest = world.submit(tmp_path / "h")
    assert honest.patch.units == alone.submit(tmp_path / "a").patch.units
    [group] = honest.patch.groups
    longer = np.concatenate([group.patterns, np.ones((1, 12), bool)], axis=1)
    patch = Patch((dataclasses.replace(group, patterns=longer),), 4, honest.patch.units + 12)
    (tmp_path / "h" / "patch.safetensors").write_bytes(patch_to_bytes(patch))
    with pytest.raises(EvidenceError, match=r"patch\.safetensors"):
        load_submission(tmp_path / "h")


def test_one_region_under_two_names(alone: World, tmp_path: Path) -> None:
    """A unit that is 0 everywhere may be written either way: two gates, one region."""
    world = with_units(alone, np.zeros(12), [0.0], reach=1.0)
    honest = world.submit(tmp_path / "h")
    assert not_passed(honest, world) == set()
    place = len(layers_of(alone.network)[0][1])
    renamed = rewrite(honest, tmp_path / "r", patch=with_bit(honest, place, value=True))
    assert not_passed(renamed, world) == set()  # the other name is as good
    [first] = honest.patch.groups
    other = dataclasses.replace(
        with_bit(honest, place, value=True).groups[0], name="again", offset=-first.offset
    )
    made = rewrite(honest, tmp_path / "s", **with_group(honest, other))
    assert not_passed(made, world) == {
        "patch.support", "certificate.separation", *WRONG_AT_THE_RECORD
    }  # fmt: skip


def test_an_infeasible_pattern(alone: World, tmp_path: Path) -> None:
    """No input turns the unit on, but within the dead zone its gate is open at the record."""
    world = with_units(alone, np.zeros(12), [-(2.0**-14)], reach=1.0)
    honest = world.submit(tmp_path / "h")
    assert not_passed(honest, world) == set()
    place = len(layers_of(alone.network)[0][1])
    flipped = with_bit(honest, place, value=True)
    [group] = flipped.groups
    wide = dataclasses.replace(group, dead_zone=2.0**-13)
    made = rewrite(honest, tmp_path / "s", patch=Patch((wide,), 4, honest.patch.units))
    assert not_passed(made, world) == {"patch.support", *ON_THE_REGION}


def test_two_gates_that_meet_at_the_record(alone: World, tmp_path: Path) -> None:
    """Both gates are open at a record within the dead zone of a face; each group has an answer."""
    x = alone.forget.x.copy()
    x[0, 0] = 0.5 - 2.0**-22
    axis = np.eye(12, dtype=np.float32)[:1]
    world = with_units(alone, axis, [-0.5], reach=2.0**-10, x=x)
    honest = world.submit(tmp_path / "h")
    place = len(layers_of(alone.network)[0][1])
    beyond = dataclasses.replace(
        with_bit(honest, place, value=True).groups[0],
        name="beyond",
        offset=-honest.patch.groups[0].offset,
    )
    made = rewrite(honest, tmp_path / "s", **with_group(honest, beyond))
    assert honest.patch.groups[0].dead_zone > 2.0**-22
    assert verify_submission(made).check("patch.support").outcome is Outcome.FAIL
    assert not_passed(made, world) == {
        "patch.support", "certificate.separation", *WRONG_AT_THE_RECORD
    }  # fmt: skip


def test_a_flat_pattern(alone: World, tmp_path: Path) -> None:
    """x₀ ≤ 0 and -x₀ ≤ 0 at a record with x₀ = 0: a claim about a face of the box, no more."""
    x = alone.forget.x.copy()
    x[0, 0] = 0.0
    axis = np.eye(12, dtype=np.float32)[:1]
    world = with_units(alone, np.concatenate([axis, -axis]), [0.0, 0.0], reach=2.0**-10, x=x)
    honest = world.submit(tmp_path / "h")
    assert not_passed(honest, world) == set()
    place = len(layers_of(alone.network)[0][1])
    [group] = honest.patch.groups
    patterns = group.patterns.copy()
    patterns[:, place : place + 2] = False  # either bit is right of itself, both 0 are flat
    patch = Patch((dataclasses.replace(group, patterns=patterns),), 4, honest.patch.units)
    made = rewrite(honest, tmp_path / "s", patch=patch)
    assert not_passed(made, world) == {"patch.support"}


def test_sums_that_overflow_in_deployed_floats(alone: World, tmp_path: Path) -> None:
    """A unit beyond float32 that the next layer scales away: real numbers never notice."""
    (w0, b0), (w1, b1), (w2, b2) = layers_of(alone.network)
    great = np.full((1, 12), 3e38, np.float32)
    first = (np.concatenate([w0, great]), np.concatenate([b0, np.float32([0.0])]))
    then = np.concatenate([w1, np.full((len(w1), 1), 1e-42, np.float32)], axis=1)
    world = World(with_layers(alone.network, first, (then, b1), (w2, b2)), alone.forget,
                  alone.others)  # fmt: skip
    with np.errstate(all="ignore"):
        assert not np.isfinite(logits(world.network, world.forget.x)).all()
    good = alone.submit(tmp_path / "h")
    bits = pattern(world.network, world.forget.x.astype(np.float64))
    [group] = good.patch.groups
    patch = Patch((dataclasses.replace(group, patterns=bits),), 4, bits.shape[1])
    network = semantic_digest(world.network, (0.0, 1.0))
    write_submission(
        tmp_path / "s", world.network, patch,
        dataclasses.replace(good.certificate, network=network), good.forget,
    )  # fmt: skip
    made = read_submission(tmp_path / "s")
    assert not made.problems
    # what the settings give cannot be computed again either: no float32 margin is enough
    assert not_passed(made, world) == {"certificate.deployed", "certificate.canonical"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_with_numbers_that_are_not_finite(
    good: Submission, tmp_path: Path, value: float
) -> None:
    files = {n: (good.directory / n).read_bytes() for n in ("model.json", "model.safetensors")}
    tensors, _ = read_safetensors(files["model.safetensors"], "model")
    name = sorted(tensors)[0]
    tensors = {**tensors, name: tensors[name].copy()}
    tensors[name].flat[0] = value
    files["model.safetensors"] = write_safetensors(tensors)
    write_submission(
        tmp_path / "s", good.network, good.patch, good.certificate, good.forget, model_files=files
    )
    with pytest.raises(EvidenceError, match=r"model\.safetensors"):
        verify_directory(tmp_path / "s")


# A class suppressed everywhere.


@pytest.fixture(scope="module")
def suppressed(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Submission]:
    world = small_world(3, records=40)
    label = int(np.bincount(world.forget.y).argmax())
    ours = World(world.network, world.forget.take(world.forget.y == label), world.others)
    out = tmp_path_factory.mktemp("suppressed") / "s"
    made = ours.submit(out, scope="class", method="suppress", target_class=label)
    result = verify_submission(made, forget=ours.forget)
    assert result.outcome is Outcome.PASS
    return ours, made


def test_shifts_that_cancel_but_for_rounding(
    suppressed: tuple[World, Submission], tmp_path: Path
) -> None:
    """2⁸⁰ and -2⁸⁰ around two shifts that cancel: summed in floats they seem to be enough."""
    world, honest = suppressed
    [group] = honest.patch.groups
    label = honest.certificate.settings.target_class
    enough = -float(group.offset[label])

    def shift(name: str, value: float) -> Group:
        offset = np.zeros(4, np.float32)
        offset[label] = value
        return Group(name, OffsetKind.ALWAYS, group.patterns, offset, abs(float(np.float32(value))),
                     group.sharpness, 0.0)  # fmt: skip

    values = {"a": -(2.0**80), "b": enough, "c": 2.0**80, "d": -enough}
    groups = tuple(shift(name, value) for name, value in values.items())
    [request] = honest.certificate.requests
    listed = dataclasses.replace(request, groups=tuple(values))
    made = rewrite(
        honest, tmp_path / "s", patch=Patch(groups, 4, honest.patch.units),
        certificate=dataclasses.replace(honest.certificate, requests=(listed,)),
    )  # fmt: skip
    result = verify_submission(made, forget=world.forget)
    for check in WRONG_AT_THE_RECORD:
        assert result.check(check).outcome is Outcome.INCONCLUSIVE


def test_a_margin_that_deployed_floats_do_not_have(
    suppressed: tuple[World, Submission], tmp_path: Path
) -> None:
    """Beside a great shift that another takes back, float32 has nothing left of the logit."""
    _, honest = suppressed
    [group] = honest.patch.groups
    label, great = honest.certificate.settings.target_class, np.float32(2.0**40)
    back = dataclasses.replace(group, name="back", offset=np.zeros(4, np.float32))
    back.offset[label] = great
    more = dataclasses.replace(group, offset=group.offset.copy())
    more.offset[label] -= great
    groups = [dataclasses.replace(g, bound=float(2 * great)) for g in (more, back)]
    again = dataclasses.replace(group, name="again")
    [request] = honest.certificate.requests
    groups.append(again)
    listed = dataclasses.replace(request, groups=tuple(g.name for g in groups))
    made = rewrite(
        honest, tmp_path / "s", patch=Patch(tuple(groups), 4, honest.patch.units),
        certificate=dataclasses.replace(honest.certificate, requests=(listed,)),
    )  # fmt: skip
    result = verify_submission(made)
    assert result.check("certificate.region").outcome is Outcome.PASS
    assert result.check("certificate.deployed").outcome is Outcome.INCONCLUSIVE


def test_a_class_that_the_network_does_not_have(
    suppressed: tuple[World, Submission], tmp_path: Path
) -> None:
    _, honest = suppressed
    claims = tuple(dataclasses.replace(c, target=99) for c in honest.certificate.claims)
    settings = dataclasses.replace(honest.certificate.settings, target_class=99)
    certificate = dataclasses.replace(honest.certificate, claims=claims, settings=settings)
    result = verify_submission(rewrite(honest, tmp_path / "s", certificate=certificate))
    assert result.check("certificate.region").outcome is Outcome.FAIL
    assert "class 99 of 4" in result.check("certificate.region").reason
