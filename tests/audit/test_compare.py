"""The owner's patch beside the auditor's: gates and specification judged, the rest shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from auditkit.audit.compare import compare, compare_directories, recompute
from auditkit.audit.compare_regions import region_bounds
from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import Submission, TamperError, load_submission
from auditkit.errors import ExitCode, UsageError
from auditkit.network.evaluate import pattern
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records, write_records
from auditkit.results import Outcome, Severity
from auditkit.threats.interface import Owner
from auditkit.threats.registry import chosen

KEY = b"a key for tests".ljust(32, b".")


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """A random network with an honest redirection, and records of both kinds."""

    network: Network
    forget: Records
    retain: Records
    unseen: Records
    owner: Submission


def random_network(seed: int = 0) -> Network:
    generator = np.random.default_rng(seed)
    nodes: list[Node] = []
    for before, after in ((12, 40), (40, 40), (40, 5)):
        if nodes:
            nodes.append(Node(Relu(), (len(nodes),)))
        weight = generator.normal(0, 1.5 / np.sqrt(before), (after, before)).astype(np.float32)
        bias = generator.normal(0, 0.3, after).astype(np.float32)
        nodes.append(Node(Dense(weight, bias), (len(nodes),)))
    return Network((12,), tuple(nodes), np.dtype(np.float32))


def submit(network: Network, forget: Records, out: Path, **settings: object) -> Submission:
    reference = settings.pop("reference", None)
    resolved = resolve_settings(**settings)  # type: ignore[arg-type]
    make_submission(network, forget, resolved, out, key=KEY, reference=reference)  # type: ignore[arg-type]
    return load_submission(out)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    generator = np.random.default_rng(1)
    network = random_network()
    x = generator.random((320, 12)).astype(np.float32)
    y = generator.integers(0, 5, 320)
    records = Records(x, y)
    forget = records.take(range(10))
    owner = submit(network, forget, tmp_path_factory.mktemp("owner") / "s")
    return World(
        network, forget, records.take(range(10, 160)), records.take(range(160, 320)), owner
    )


def test_a_recomputed_patch_is_the_owners(world: World) -> None:
    own = recompute(world.owner, world.forget)
    result = compare(world.owner, own, retain=world.retain, seed=0)
    assert result.outcome is Outcome.PASS
    assert result.check("compare.gates").evidence["same_bits"] == world.owner.patch.gates
    for name in ("offsets", "outputs", "regions"):
        shown = result.check(f"compare.{name}")
        assert shown.observed == 0 and not shown.required and shown.severity is Severity.INFO
    assert result.details["columns"] == ["owner", "recomputed"]
    assert all(len(row["values"]) == 2 for row in result.details["rows"])
    assert "has the gates that the request calls for" in result.details["sentence"]


def test_submissions_with_keys_of_their_own_are_compared(world: World, tmp_path: Path) -> None:
    """Two parties draw two keys; the records are what they have in common."""
    settings = resolve_settings()
    make_submission(world.network, world.forget, settings, tmp_path / "s", key=b"other".ljust(32))
    other = load_submission(tmp_path / "s")
    for one, two in ((world.owner, other), (other, world.owner)):
        result = compare(one, two, retain=None, seed=0)
        assert result.outcome is Outcome.PASS
        assert result.check("compare.specification").observed == len(world.forget)


def test_an_extra_gate_fails(world: World, tmp_path: Path) -> None:
    [behaviour] = chosen(["smuggled-gate"])
    cheat = behaviour.simulate(Owner(world.owner), tmp_path / "cheat", seed=0).submission
    result = compare(cheat, recompute(cheat, world.forget), retain=None, seed=0)
    check = result.check("compare.gates")
    assert check.outcome is Outcome.FAIL and result.exit_code is ExitCode.FAILED
    assert (check.evidence["missing"], check.evidence["extra"]) == (0, 1)
    assert check.evidence["extra_at_no_record"] == 1


def test_a_missing_gate_fails_and_names_its_record_by_digest(world: World, tmp_path: Path) -> None:
    [behaviour] = chosen(["lazy"])
    cheat = behaviour.simulate(
        Owner(world.owner), tmp_path / "cheat", seed=0, strength=0.1
    ).submission
    result = compare(cheat, recompute(cheat, world.forget), retain=None, seed=0)
    check = result.check("compare.gates")
    assert check.outcome is Outcome.FAIL
    assert (check.evidence["missing"], check.evidence["extra"]) == (1, 0)
    [digest] = check.evidence["records_without_their_gate"]
    assert digest in cheat.certificate.unclaimed


def test_the_auditors_list_decides_which_gates_are_called_for(world: World, tmp_path: Path) -> None:
    write_records(tmp_path / "forget.npz", world.forget.take(range(8)))
    result = compare_directories(
        world.owner.directory, None, recompute=True, reference=None, reference_network=None,
        forget=tmp_path / "forget.npz", retain=None, seed=0,
    )  # fmt: skip
    assert result.check("compare.gates").evidence["extra"] == 2


def test_a_patch_without_effect_does_not_meet_the_specification(
    world: World, tmp_path: Path
) -> None:
    [behaviour] = chosen(["neglecting"])
    cheat = behaviour.simulate(Owner(world.owner), tmp_path / "cheat", seed=0).submission
    result = compare(cheat, recompute(cheat, world.forget), retain=None, seed=0)
    assert result.check("compare.gates").outcome is Outcome.PASS
    assert result.check("compare.specification").outcome is Outcome.FAIL
    assert result.check("compare.offsets").observed > 0


def test_offsets_of_other_margins_are_shown_and_not_judged(world: World, tmp_path: Path) -> None:
    other = submit(world.network, world.forget, tmp_path / "wide", margin=1.0)
    result = compare(world.owner, other, retain=world.retain, seed=0)
    assert result.outcome is Outcome.PASS
    assert result.check("compare.offsets").observed > 0.1


@pytest.mark.parametrize("case", ["margin", "cross-talk", "other-shells", "reference"])
def test_no_sample_is_beyond_the_bound(case: str, world: World, tmp_path: Path) -> None:
    """Corners and random points of each claimed set, evaluated in float64."""
    given: dict[str, object] = {"margin": 1.0, "radius": 0.02}
    mine, theirs = dict(given), {"radius": 0.02}
    if case in ("cross-talk", "other-shells"):  # so far out that other gates reach in
        far = {"radius": 0.3, "sharpness": 8.0, "scope": "cluster", "clusters": 10}
        mine, theirs = ({**d, **far} for d in (mine, theirs))
    if case == "other-shells":
        theirs["sharpness"] = 30.0
    if case == "reference":
        y = np.arange(160) % 5
        one = Records(world.unseen.x, y)
        two = Records(world.unseen.x[::-1].copy(), y)
        mine = {"spec": "reference", "reference": one}
        theirs = {"spec": "reference", "reference": two}
    a = submit(world.network, world.forget, tmp_path / "a", **mine)
    b = submit(world.network, world.forget, tmp_path / "b", **theirs)
    found = region_bounds(a, b, world.forget, (KEY, KEY))
    assert len(found.bound) == 10 and np.isfinite(found.bound).all()
    assert found.cross_talk.any() == (case in ("cross-talk", "other-shells"))
    precise = [dataclasses.replace(s.patched, network=as_float64(s.network)) for s in (a, b)]
    generator = np.random.default_rng(2)
    for record, radius, bound in zip(found.record, found.radius, found.bound, strict=True):
        x = world.forget.x[record].astype(np.float64)
        steps = generator.uniform(-1, 1, (4000, 12))
        steps[::2] = np.sign(steps[::2])
        steps *= generator.random((4000, 1)) ** 2
        near = np.concatenate([x[None], np.clip(x + radius * steps, 0, 1)])
        near = near[same_region(precise[0].network, near, x)]
        gap = np.abs(precise[0].logits(near) - precise[1].logits(near)).max()
        assert gap <= bound * (1 + 1e-9) + 1e-9
        if not found.cross_talk.any() and case == "margin":
            assert gap >= bound * (1 - 1e-6), "constant offsets differ by just that"


def as_float64(network: Network) -> Network:
    def widened(node: Node) -> Node:
        operator = node.operator
        if isinstance(operator, Dense):
            operator = Dense(operator.weight.astype(float), operator.bias.astype(float))
        return Node(operator, node.inputs)

    return Network(network.input_shape, tuple(map(widened, network.nodes)), np.dtype(np.float64))


def same_region(network: Network, near: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return which of `near` are in the linear region of `x`."""
    return (pattern(network, near) == pattern(network, x[None])).all(axis=1)


def test_another_network_is_the_callers_mistake(world: World, tmp_path: Path) -> None:
    other = submit(random_network(7), world.forget, tmp_path / "other")
    with pytest.raises(UsageError, match="another network") as caught:
        compare_directories(
            world.owner.directory, other.directory, recompute=False, reference=None,
            reference_network=None, forget=None, retain=None, seed=0,
        )  # fmt: skip
    assert caught.value.exit_code is ExitCode.USAGE


def test_two_directories_are_compared_under_their_names(world: World) -> None:
    result = compare_directories(
        world.owner.directory, world.owner.directory, recompute=False, reference=None,
        reference_network=None, forget=None, retain=None, seed=0,
    )  # fmt: skip
    assert result.outcome is Outcome.PASS and result.details["columns"] == ["owner", "auditor"]


def test_a_submission_that_was_tampered_with_fails_and_the_auditors_own_is_usage(
    world: World, tmp_path: Path
) -> None:
    [behaviour] = chosen(["invalid-certificate"])
    bad = behaviour.simulate(
        Owner(world.owner), tmp_path / "bad", seed=0, variant="wrong-digest"
    ).submission
    options = {"recompute": False, "reference": None, "reference_network": None}
    options |= {"forget": None, "retain": None, "seed": 0}
    with pytest.raises(TamperError):
        compare_directories(bad.directory, world.owner.directory, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        compare_directories(world.owner.directory, bad.directory, **options)  # type: ignore[arg-type]


def test_withheld_records_leave_a_recomputation_not_run(world: World, tmp_path: Path) -> None:
    out = tmp_path / "withheld"
    make_submission(
        world.network, world.forget, resolve_settings(), out, key=KEY,
        withhold_to=tmp_path / "forget.npz",
    )  # fmt: skip
    options = {"recompute": True, "reference": None, "reference_network": None}
    options |= {"retain": None, "seed": 0}
    result = compare_directories(out, None, forget=None, **options)  # type: ignore[arg-type]
    assert {c.outcome for c in result.checks} == {Outcome.NOT_RUN}
    assert result.exit_code is ExitCode.INCONCLUSIVE
    result = compare_directories(out, None, forget=tmp_path / "forget.npz", **options)  # type: ignore[arg-type]
    assert result.outcome is Outcome.PASS


def test_a_recomputation_of_a_reference_needs_one(world: World, tmp_path: Path) -> None:
    unseen = Records(world.unseen.x, np.arange(160) % 5)
    owner = submit(world.network, world.forget, tmp_path / "s", spec="reference", reference=unseen)
    with pytest.raises(UsageError, match="--reference"):
        compare_directories(
            owner.directory, None, recompute=True, reference=None, reference_network=None,
            forget=None, retain=None, seed=0,
        )  # fmt: skip
