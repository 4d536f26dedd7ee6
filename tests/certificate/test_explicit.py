"""Patches in explicit form: honest ones pass, and each way of being wrong is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import auditkit
from auditkit.audit.compare import compare, recompute
from auditkit.audit.compare_regions import region_bounds
from auditkit.certificate.check import Verdict
from auditkit.certificate.check_explicit import RowHints, RowTask, check_explicit_claims
from auditkit.certificate.make import make_submission
from auditkit.certificate.matching import match_claims
from auditkit.certificate.policy import Policy
from auditkit.certificate.row_hints import find_hints
from auditkit.certificate.submission import Submission, load_submission, read_submission
from auditkit.certificate.verify import verify_submission
from auditkit.errors import EvidenceError, UsageError
from auditkit.network.evaluate import logits, pattern
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Convolution, Dense, MaxPool, Network, Node, Relu, Reshape
from auditkit.patch.explicit import ExplicitPatch
from auditkit.patch.patched import ExplicitNetwork
from auditkit.patch.region_rows import Region, region_of
from auditkit.patch.settings import resolve_settings
from auditkit.patch.tensors import patch_from_bytes, patch_to_bytes
from auditkit.records import Records
from auditkit.results import Outcome, Result, Severity
from auditkit.second_opinion import run_onnx
from auditkit.tensors import read_safetensors, write_safetensors
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Owner
from auditkit.threats.registry import BEHAVIOURS, run_on
from auditkit.threats.trigger import find_trigger
from tests.certificate.conftest import KEY, World, small_world

Arrays = dict[str, dict[str, Any]]
MARGIN = 0.1
SHARPNESS = 128.0


@pytest.fixture(scope="module")
def keyed(world: World) -> World:
    return replace(world, forget=replace(world.forget, key=KEY))


def made(world: World, out: Path, form: str, spec: str = "redirect", **settings: Any) -> Submission:
    make_submission(
        world.network,
        world.forget,
        resolve_settings(spec, **settings),
        out,
        reference=None if spec == "redirect" else world.others,
        key=KEY,
        form=form,
    )
    return load_submission(out)


def verified(world: World, submission: Submission) -> Result:
    return verify_submission(submission, forget=submission.forget, retain=world.others)


def outcomes(result: Result) -> dict[str, str]:
    return {check.id: check.outcome.value for check in result.checks}


FORMS = [
    ("explicit", "redirect", {}),
    ("explicit", "redirect", {"scope": "cluster"}),
    ("explicit", "redirect", {"radius": float("inf")}),
    ("explicit", "neutralise", {}),
    ("explicit", "reference", {}),
    ("published", "redirect", {}),
    ("published", "redirect", {"scope": "cluster", "clusters": 2}),
    ("published", "redirect", {"radius": float("inf")}),
]


@pytest.mark.parametrize(("form", "spec", "settings"), FORMS)
def test_an_honest_patch_passes_and_serves(
    form: str, spec: str, settings: dict[str, Any], world: World, tmp_path: Path
) -> None:
    submission = made(world, tmp_path / "s", form, spec, **settings)
    assert isinstance(submission.patch, ExplicitPatch)
    result = verified(world, submission)
    assert result.outcome is Outcome.PASS, [c.reason for c in result.checks]
    assert submission.certificate.claims and not submission.certificate.unclaimed
    x = np.concatenate([world.forget.x, world.others.x])
    ours = submission.patched.logits(x)
    theirs = run_onnx(submission.exported, x, "patched.onnx")
    assert np.abs(ours - theirs).max() < 1e-4
    closed = submission.patched.openness(x) == 0
    assert closed.sum() > 100
    assert (ours == logits(world.network, x))[closed].all(), "bit for bit where gates are closed"


@pytest.mark.parametrize("form", ["explicit", "published"])
def test_images_and_pools_are_taken_too(form: str, tmp_path: Path) -> None:
    """Rows are over the flattened image; a tournament's comparisons are rows like any other."""
    generator = np.random.default_rng(5)

    def normal(*shape: int) -> NDArray[np.float32]:
        return generator.normal(0, 1.5 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    operators = (
        Convolution(normal(3, 1, 3, 3), normal(3)),
        Relu(),
        MaxPool((2, 2), (2, 2)),
        Reshape((12,)),
        Dense(normal(8, 12), normal(8)),
        Relu(),
        Dense(normal(3, 8), normal(3)),
    )
    nodes = tuple(Node(operator, (i,)) for i, operator in enumerate(operators))
    network = Network((1, 6, 6), nodes, np.dtype(np.float32))
    x = generator.random((203, 1, 6, 6)).astype(np.float32)
    records = Records(x, logits(network, x).argmax(axis=1).astype(np.int64))
    world = World(network, records.take(range(3)), records.take(range(3, 203)))
    submission = made(world, tmp_path / "s", form)
    result = verified(world, submission)
    for name in ("patch.support", "certificate.region", "certificate.deployed", "patch.export"):
        assert result.check(name).outcome is Outcome.PASS, result.check(name).reason


def test_the_file_holds_the_same_patch(world: World, tmp_path: Path) -> None:
    submission = made(world, tmp_path / "s", "explicit")
    data = patch_to_bytes(submission.patch)
    again = patch_from_bytes(data, world.network)
    assert patch_to_bytes(again) == data == (tmp_path / "s" / "patch.safetensors").read_bytes()
    x = world.others.x
    assert isinstance(again, ExplicitPatch)
    assert (ExplicitNetwork(world.network, again).logits(x) == submission.patched.logits(x)).all()


# Patches made elsewhere.


def regions(world: World) -> list[Region]:
    bits = pattern(world.network, world.forget.x.astype(np.float64))
    return [region_of(world.network, b) for b in bits]


def elsewhere(
    world: World, out: Path, arrays: Mapping[str, Mapping[str, Any]], **settings: Any
) -> Submission:
    asked = resolve_settings("redirect", margin=MARGIN, sharpness=SHARPNESS, **settings)
    return auditkit.submission_from_arrays(world.network, arrays, world.forget, asked, out)


def exact_arrays(world: World, margin: float = 2.0, target: int | None = None) -> Arrays:
    """A group for each record: its true rows, and a constant offset towards another label."""
    groups: Arrays = {}
    for i, region in enumerate(regions(world)):
        before = logits(world.network, world.forget.x[i : i + 1].astype(np.float64))[0]
        chosen = int((world.forget.y[i] + 1) % 4) if target is None else target
        d = np.zeros(4)
        d[chosen] = before.max() - before[chosen] + margin
        groups[f"record-{i}"] = {
            "A": region.rows, "b": region.limits + 1e-5, "d": d,
            "bound": float(np.abs(d).max()) + 1.0, "sharpness": SHARPNESS,
        }  # fmt: skip
    return groups


def test_arrays_with_true_rows_pass_but_for_what_is_not_known(keyed: World, tmp_path: Path) -> None:
    submission = elsewhere(keyed, tmp_path / "s", exact_arrays(keyed))
    result = verified(keyed, submission)
    seen = outcomes(result)
    assert seen.pop("certificate.canonical") == "inconclusive"
    assert "what chose them is not known" in result.check("certificate.canonical").reason
    # nothing changed, on too few records to say that hardly anything does
    kept = result.check("utility.retained")
    assert seen.pop(kept.id) == "inconclusive"
    assert kept.observed == 1.0 and kept.interval is not None and kept.interval[0] < 0.99
    assert not {"fail", "inconclusive"} & set(seen.values()), result.checks


def one_label(world: World) -> int:
    """Return a label for the first record that is another's own."""
    return int(world.forget.y[world.forget.y != world.forget.y[0]][0])


def released_2023(world: World) -> Arrays:
    """Arrays as PRUNE's release of 2023 makes them.

    Gradients are added up and never reset, so that every row after the first is a sum of gradients;
    every cluster is sent to the first one's new label, which some records have already; it leads
    by 0 and what rounding leaves, and not by a margin.
    """
    groups = exact_arrays(world, margin=1e-4, target=one_label(world))
    for i, group in enumerate(groups.values()):
        x = world.forget.x[i].astype(np.float64)
        bits = pattern(world.network, x[None])
        units = bits.shape[1]
        frozen = Frozen(world.network, bits).repeat(units)
        gradient = frozen.adjoint(np.zeros((units, 4)), injections=np.eye(units))
        _, z = Frozen(world.network, bits).forward(x[None])
        sign = np.where(bits[0], 1.0, -1.0)
        rows = -sign[:, None] * np.cumsum(gradient.reshape(units, -1), axis=0)
        limits = rows @ x + sign * z[0]
        length = np.maximum(np.sqrt((rows**2).sum(axis=1)), 1e-9)
        group["A"], group["b"] = rows / length[:, None], limits / length
    return groups


def test_the_defects_of_a_release_are_named_one_by_one(keyed: World, tmp_path: Path) -> None:
    submission = elsewhere(keyed, tmp_path / "s", released_2023(keyed))
    result = verified(keyed, submission)
    support = result.check("patch.support")
    rows, n = support.evidence["stated_rows"], len(keyed.forget)
    assert support.outcome is Outcome.FAIL
    assert "stated rows are not shown to hold on the claimed region" in support.reason
    assert "true rows are neither stated nor implied" in support.reason
    assert support.evidence["missing_rows"] > 0.5 * rows
    assert support.evidence["reaching_beyond"] + support.evidence["falling_short"] >= n

    region = result.check("certificate.region")
    own = int((keyed.forget.y == one_label(keyed)).sum())
    assert region.outcome is Outcome.FAIL
    assert f"{own} × a record redirected to its own label" in region.reason

    point = result.check("certificate.point")
    assert point.outcome is Outcome.FAIL
    assert f"{n - own} refuted" in point.reason
    assert point.evidence["slack_min"] == pytest.approx(-MARGIN, abs=1e-3)


def test_a_slack_gate_of_the_release_is_open_everywhere(keyed: World, tmp_path: Path) -> None:
    arrays = exact_arrays(keyed)
    for group in arrays.values():
        group["sharpness"] = 0.1
        idle = np.eye(12)  # rows that nothing violates: beside them the gate looks sharp
        group["A"] = np.concatenate([group["A"], *[idle] * 8])
        group["b"] = np.concatenate([group["b"], np.full(96, 1e5)])
    asked = resolve_settings("redirect", margin=MARGIN, sharpness=0.1)
    submission = auditkit.submission_from_arrays(
        keyed.network, arrays, keyed.forget, asked, tmp_path / "s"
    )
    assert "open far beyond" in verified(keyed, submission).check("certificate.locality").reason


def changed(arrays: Arrays, change: Callable[[dict[str, Any]], None]) -> Arrays:
    for group in arrays.values():
        change(group)
    return arrays


def _left_out(group: dict[str, Any]) -> None:
    group["A"], group["b"] = group["A"][::2], group["b"][::2]


def _tiny(group: dict[str, Any]) -> None:
    group["A"], group["b"] = group["A"] * 1e-3, group["b"] * 1e-3


def _one_tiny(group: dict[str, Any]) -> None:
    scale = np.where(np.arange(len(group["b"])) == 3, 1e-4, 1.0)
    group["A"], group["b"] = group["A"] * scale[:, None], group["b"] * scale


def _infeasible(group: dict[str, Any]) -> None:
    row = np.zeros((1, group["A"].shape[1]))
    row[0, 0] = 1.0
    group["A"] = np.concatenate([group["A"], row, -row])
    group["b"] = np.concatenate([group["b"], [0.2, -0.4]])


def _narrowed(group: dict[str, Any]) -> None:
    group["b"] = group["b"] - 0.05


def _widened(group: dict[str, Any]) -> None:
    group["b"] = group["b"] + 0.05


def _idle(group: dict[str, Any]) -> None:
    """Rows that are never violated, far away, so that a slack gate looks sharp beside them."""
    rows = len(group["b"])
    group["A"] = np.concatenate([group["A"][:1], *[np.eye(rows, 12)[:12]] * 4])
    group["b"] = np.concatenate([group["b"][:1] + 100.0, np.full(48, 1e4)])


def _everything(group: dict[str, Any]) -> None:
    group["A"], group["b"] = group["A"][:1], group["b"][:1] + 100.0


BROKEN = [
    (_left_out, "patch.support", "fully open at an input of another region (witness)"),
    (_tiny, "patch.support", "not of length 1"),
    (_tiny, "certificate.locality", "typical distance to a row"),
    (_one_tiny, "patch.support", "not of length 1"),
    (_infeasible, "patch.support", "not shown to hold on the claimed region"),
    (_narrowed, "patch.support", "not shown to hold on the claimed region"),
    (_widened, "patch.support", "neither stated nor implied"),
    (_idle, "patch.support", "neither stated nor implied"),
    (_everything, "patch.support", "fully open at an input of another region (witness)"),
]


@pytest.mark.parametrize(("change", "check", "told"), BROKEN)
def test_rows_that_are_wrong_fail(
    change: Callable[[dict[str, Any]], None], check: str, told: str, keyed: World, tmp_path: Path
) -> None:
    submission = elsewhere(keyed, tmp_path / "s", changed(exact_arrays(keyed), change))
    found = verified(keyed, submission).check(check)
    assert found.outcome is Outcome.FAIL
    assert told in found.reason
    if "witness" in told:
        for x in np.array(found.private["witnesses"]):
            gate = submission.patched.violations(x[None].astype(np.float32))
            bits = pattern(keyed.network, np.stack([x, *keyed.forget.x]).astype(np.float64))
            there = np.flatnonzero(gate[0] < 1e-4)
            assert len(there) and (bits[0] != bits[1 + there]).any(axis=1).all()


def test_a_flat_polytope_is_not_proved(keyed: World, tmp_path: Path) -> None:
    """It holds the record and next to nothing else."""
    arrays = exact_arrays(keyed)
    for i, group in enumerate(arrays.values()):
        row = np.zeros((1, 12))
        row[0, 0] = 1.0
        x = float(keyed.forget.x[i, 0])
        group["A"] = np.concatenate([group["A"], row, -row])
        group["b"] = np.concatenate([group["b"], [x, -x]])
    result = verified(keyed, elsewhere(keyed, tmp_path / "s", arrays))
    assert result.check("patch.support").outcome is not Outcome.PASS
    assert result.check("certificate.region").outcome is not Outcome.PASS


def test_a_second_gate_in_a_group_does_not_slip_through(keyed: World, tmp_path: Path) -> None:
    """One row is all it takes to be open at a requested record, and at half of all inputs."""
    arrays = exact_arrays(keyed)
    group = arrays["record-0"]
    count = len(group["b"])
    group["members"] = np.array([0, count, count + 1])
    group["A"] = np.concatenate([group["A"], group["A"][:1]])
    group["b"] = np.concatenate([group["b"], group["b"][:1] + 0.1])
    submission = elsewhere(keyed, tmp_path / "s", arrays)
    claims = tuple(
        replace(c, group=f"record-{i}", member=0, target=int((keyed.forget.y[i] + 1) % 4))
        for i, c in enumerate(submission.certificate.claims)
    )
    assert submission.patch.gates == len(keyed.forget) + 1
    result = verified(
        keyed,
        replace(submission, certificate=replace(submission.certificate, claims=claims)),
    )
    support = result.check("patch.support")
    assert support.outcome is not Outcome.PASS
    assert "1 gate(s) without a claim" in support.reason
    assert result.check("certificate.locality").outcome is Outcome.FAIL


def test_two_gates_at_one_record_are_refuted(keyed: World, tmp_path: Path) -> None:
    arrays = exact_arrays(keyed)
    arrays["twice"] = {**arrays["record-0"], "b": arrays["record-0"]["b"] + 1e-5}
    result = verified(keyed, elsewhere(keyed, tmp_path / "s", arrays))
    assert result.check("patch.support").outcome is Outcome.FAIL
    assert result.check("certificate.separation").outcome is not Outcome.PASS


def test_two_gates_on_one_face_are_not_both_proved(keyed: World, tmp_path: Path) -> None:
    """F is continuous: on the face that two regions share, two answers cannot both hold."""
    network, x = keyed.network, keyed.forget.x[0].astype(np.float64)
    generator = np.random.default_rng(4)
    for _ in range(200):
        away = x + 0.2 * generator.normal(size=12)
        steps = np.linspace(0, 1, 2001)[:, None]
        path = np.clip(x + steps * (away - x), 0, 1).astype(np.float32)
        other = (pattern(network, path) != pattern(network, path[:1])).sum(axis=1)
        first = int((other > 0).argmax())
        if other[first] == 1 and other[min(first + 20, 2000)] == 1:
            break
    pair = path[[first - 20, first + 20]] if first > 20 else path[[0, first + 20]]
    assert np.abs(pair[0] - pair[1]).max() < 0.02
    labels = logits(network, pair).argmax(axis=1).astype(np.int64)
    world = replace(keyed, forget=replace(keyed.forget.take([0, 1]), x=pair, y=labels))
    arrays = exact_arrays(world, margin=0.5)
    one, two = arrays.values()
    two["d"] = np.zeros(4)  # to another label than its neighbour
    before = logits(network, pair[1:].astype(np.float64))[0]
    label = int((labels[0] + 2) % 4)
    two["d"][label] = before.max() - before[label] + 0.5
    assert one["d"].argmax() != label
    result = verified(world, elsewhere(world, tmp_path / "s", arrays, radius=0.05))
    assert result.check("certificate.region").outcome is not Outcome.PASS
    assert result.check("certificate.separation").outcome is not Outcome.PASS


def test_too_small_a_bound_is_counted_in(keyed: World, tmp_path: Path) -> None:
    arrays = exact_arrays(keyed, margin=2.0)
    for group in arrays.values():
        group["bound"] = float(group["d"].max()) - 2.0 + 0.01
    result = verified(keyed, elsewhere(keyed, tmp_path / "s", arrays))
    assert result.check("certificate.point").outcome is Outcome.FAIL
    assert result.check("certificate.region").outcome is Outcome.FAIL


def test_a_slope_that_grows_beyond_its_bound_is_an_interval(keyed: World, tmp_path: Path) -> None:
    """Just enough at the record, and clipped near it: the claim holds there and not around."""
    arrays = exact_arrays(keyed)
    for i, group in enumerate(arrays.values()):
        target = int((keyed.forget.y[i] + 1) % 4)
        slope = np.zeros((4, 12))
        slope[target] = 1e4 * np.sign(keyed.forget.x[i] - 0.5)
        group["C"] = slope
        group["d"] = group["d"] - slope @ keyed.forget.x[i].astype(np.float64)
    result = verified(keyed, elsewhere(keyed, tmp_path / "s", arrays))
    assert result.check("certificate.region").outcome is not Outcome.PASS


# Malformed arrays.


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"A": np.full((3, 12), np.nan)}, "not finite"),
        ({"A": np.full((3, 12), 1e300)}, "not finite"),
        ({"A": np.zeros((3, 11))}, "features"),
        ({"A": np.zeros(12)}, "A is"),
        ({"b": np.zeros(2)}, "limits b"),
        ({"b": np.array([0.0, 0.0, np.inf])}, "not finite"),
        ({"members": [0, 2]}, "offsets"),
        ({"members": [0, 3, 3]}, "offsets"),
        ({"members": [0, 2, 1, 3]}, "offsets"),
        ({"members": [0.0, 1.5, 3.0]}, "cast"),
        ({"members": np.zeros(0, np.int64)}, "offsets"),
        ({"C": np.zeros((4, 11))}, "C [4, 11]"),
        ({"d": np.zeros(5)}, "classes"),
        ({"bound": -1.0}, "K, n"),
        ({"bound": np.inf}, "not finite"),
        ({"sharpness": 0.0}, "K, n"),
        ({"sharpness": 1e-60}, "K, n"),
        ({"sharpness": [1.0, 2.0]}, "reshape"),
        ({"A": "rows"}, "float"),
        ({"extra": 1}, "extra"),
    ],
)
def test_arrays_that_fit_nothing_are_refused(
    change: dict[str, Any], told: str, keyed: World, tmp_path: Path
) -> None:
    group = {
        "A": np.eye(3, 12), "b": np.ones(3), "d": np.ones(4), "bound": 1.0, "sharpness": 1.0,
    }  # fmt: skip
    with pytest.raises(UsageError) as error:
        elsewhere(keyed, tmp_path / "s", {"g": {**group, **change}})
    assert told in str(error.value)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("A", np.zeros((3, 5), np.float32)),
        ("A", np.zeros((5, 12), np.float64)),
        ("b", np.zeros((5, 1), np.float32)),
        ("members", np.array([0, 2**62, 5])),
        ("members", np.array([0, -1, 5])),
        ("members", np.array([], np.int64)),
        ("members", np.array([0, 5], np.int32)),
        ("C", np.zeros((4, 11), np.float32)),
        ("d", np.zeros(3, np.float32)),
        ("bound", np.zeros(2, np.float32)),
        ("sharpness", np.asarray(-1, np.float32)),
        ("patterns", np.zeros((1, 5), np.uint8)),
    ],
)
def test_a_malformed_file_is_refused(field: str, value: NDArray[Any], keyed: World) -> None:
    submission_arrays = {
        "groups/g/A": np.eye(5, 12, dtype=np.float32),
        "groups/g/b": np.ones(5, np.float32),
        "groups/g/members": np.array([0, 2, 5]),
        "groups/g/C": np.zeros((4, 12), np.float32),
        "groups/g/d": np.zeros(4, np.float32),
        "groups/g/bound": np.asarray(1, np.float32),
        "groups/g/sharpness": np.asarray(1, np.float32),
    }
    metadata = {"schema": "auditkit/patch/v1", "kind/g": "affine"}
    good = write_safetensors(submission_arrays, metadata)
    assert patch_from_bytes(good, keyed.network).gates == 2
    bad = write_safetensors({**submission_arrays, f"groups/g/{field}": value}, metadata)
    with pytest.raises(EvidenceError):
        patch_from_bytes(bad, keyed.network)
    tensors, _ = read_safetensors(good, "patch")
    for kind in ("constant", "always", "other"):
        with pytest.raises(EvidenceError):
            patch_from_bytes(
                write_safetensors(tensors, {**metadata, "kind/g": kind}), keyed.network
            )


EXTREME: dict[str, Callable[[dict[str, Any]], None]] = {
    "overflowing rows": lambda g: g.update(A=g["A"] * 1e38, b=g["b"] * 1e38),
    "limits beyond all": lambda g: g.update(b=np.full(len(g["b"]), 3e38)),
    "limits below all": lambda g: g.update(b=np.full(len(g["b"]), -3e38)),
    "rows of zeros": lambda g: g.update(A=g["A"] * 0, b=g["b"] * 0),
    "denormal rows": lambda g: g.update(A=g["A"] * 1e-44, b=g["b"] * 1e-44, sharpness=1e-44),
    "huge slope": lambda g: g.update(C=np.full((4, 12), 1e38)),
    "huge offset": lambda g: g.update(d=np.full(4, 3e38), bound=3e38),
    "no bound": lambda g: g.update(bound=0.0),
}


@pytest.mark.parametrize("name", EXTREME)
def test_extreme_numbers_are_judged_and_never_pass(name: str, keyed: World, tmp_path: Path) -> None:
    arrays = changed(exact_arrays(keyed), EXTREME[name])
    asked = resolve_settings("redirect", margin=MARGIN)
    submission = auditkit.submission_from_arrays(
        keyed.network, arrays, keyed.forget, asked, tmp_path / "s"
    )
    result = verified(keyed, submission)
    assert result.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE)
    with np.errstate(all="ignore"):
        evidence = Evidence(forget=keyed.forget, retain=keyed.others)
        run_on(submission, evidence, [b.name for b in BEHAVIOURS], 0)
        compare(submission, recompute(submission, keyed.forget), retain=keyed.others, seed=0)


# The finder is not believed.


def _nothing(task: RowTask) -> RowHints:
    units, rows = len(task.true), len(task.stated)
    return RowHints(
        np.zeros((units, rows)), np.zeros((rows, units)), np.zeros((len(task.lead), units))
    )


def _spoiled(factor: float) -> Callable[[RowTask], RowHints]:
    def find(task: RowTask) -> RowHints:
        honest = find_hints(task)
        far = np.full(task.true.shape[1], factor)
        return RowHints(
            honest.true * factor, honest.stated * factor, honest.lead + factor, far, far
        )

    return find


def _misshapen(task: RowTask) -> RowHints:
    return RowHints(np.ones(3), np.ones((1, 1)), np.ones((2, 2)), np.zeros(1), np.zeros((2, 2)))


def _swapped(task: RowTask) -> RowHints:
    honest = find_hints(task)
    return RowHints(honest.true[::-1], honest.stated[::-1], honest.lead[::-1])


LIARS = [
    _nothing, _misshapen, _swapped,
    *(_spoiled(f) for f in (np.nan, np.inf, -1.0, 1e30, 1e-30, 0.5, 2.0)),
]  # fmt: skip


@pytest.mark.parametrize("liar", LIARS)
def test_a_finder_can_loosen_the_checker_and_no_more(
    liar: Callable[[RowTask], RowHints], keyed: World, tmp_path: Path
) -> None:
    good = elsewhere(keyed, tmp_path / "good", exact_arrays(keyed))
    bad = elsewhere(keyed, tmp_path / "bad", changed(exact_arrays(keyed), _left_out))
    for submission in (good, bad):
        assert isinstance(submission.patch, ExplicitPatch)
        match = match_claims(submission, keyed.forget, KEY, Policy())
        found, rows = check_explicit_claims(
            keyed.network, submission.patch, match.claims, 0.0, 1.0, liar
        )
        if submission is bad:
            assert not (found.support == Verdict.PROVED).any()
            assert (rows.missing > 0).all()
        else:
            assert not (found.support == Verdict.REFUTED).any(), "nothing is wrong with the rows"
            assert not rows.falls_short.any() and not rows.reaches_beyond.any()


@pytest.mark.parametrize("seed", range(12))
def test_what_is_proved_holds_at_every_sample(seed: int, tmp_path: Path) -> None:
    """Rows moved, dropped, added and scaled at random, offsets that tilt, small K."""
    generator = np.random.default_rng(seed)
    world = small_world(seed, records=4, widths=(5, 8, 7, 4))
    world = replace(world, forget=replace(world.forget, key=KEY))
    arrays = exact_arrays(world, margin=float(generator.choice([0.1, 0.3, 1.0])))
    for group in arrays.values():
        rows = len(group["b"])
        match generator.integers(6):
            case 0:
                keep = generator.random(rows) < 0.8
                keep[0] = True
                group["A"], group["b"] = group["A"][keep], group["b"][keep]
            case 1:
                group["b"] = group["b"] + generator.normal(0, 0.02, rows)
            case 2:
                group["A"] = group["A"] + generator.normal(0, 1e-3, group["A"].shape)
            case 3:
                group["bound"] = float(generator.uniform(0.1, 3))
        if generator.random() < 0.5:
            group["C"] = generator.normal(0, 0.3, (4, 5))
    radius = float(generator.choice([0.01, 0.1, 0.4]))
    submission = elsewhere(world, tmp_path / "s", arrays, radius=radius)
    patch = submission.patch
    assert isinstance(patch, ExplicitPatch)
    match = match_claims(submission, world.forget, KEY, Policy())
    found, _ = check_explicit_claims(world.network, patch, match.claims, 0.0, 1.0, find_hints)
    for i in range(len(match.claims)):
        x = match.claims.x[i]
        steps = generator.uniform(-1, 1, (3000, 5))
        steps[::2] = np.sign(steps[::2])
        near = np.clip(x + radius * steps * generator.random((3000, 1)), 0, 1)
        near = near[(pattern(world.network, near) == pattern(world.network, x[None])).all(axis=1)]
        rows, limits = (
            part.astype(np.float64) for part in patch.rows_of(int(match.claims.gate[i]))
        )
        inside = (near @ rows.T <= limits).all(axis=1)
        target, margin = int(match.claims.target[i]), float(match.claims.margin[i])
        if found.support[i] == Verdict.PROVED:
            everywhere = generator.random((2000, 5))
            opened = (everywhere @ rows.T <= limits - 0.05).all(axis=1)
            same = pattern(world.network, everywhere) == pattern(world.network, x[None])
            assert same.all(axis=1)[opened].all(), "open in another region"
        if found.region[i] == Verdict.PROVED:
            after = in_float64(submission, near[inside])
            lead = np.delete(after - after[:, [target]], target, axis=1)
            assert (lead <= -margin + 1e-9).all()
        if found.deployed[i] == Verdict.PROVED:
            after = submission.patched.logits(near[inside].astype(np.float32)).astype(np.float64)
            kept = (near[inside].astype(np.float32) @ rows.T <= limits).all(axis=1)
            lead = np.delete(after - after[:, [target]], target, axis=1)[kept]
            assert (lead <= -margin).all()


def in_float64(submission: Submission, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the formula of the patch as it is written."""
    result = logits(submission.network, x)
    assert isinstance(submission.patch, ExplicitPatch)
    before = result.copy()
    for group in submission.patch.groups:
        rows, limits = group.rows.astype(np.float64), group.limits.astype(np.float64)
        excess = np.maximum(x @ rows.T - limits, 0)
        v = np.stack(
            [
                excess[:, a:b].sum(axis=1)
                for a, b in zip(group.members, group.members[1:], strict=False)
            ]
        ).min(axis=0)
        t = np.minimum(1, group.sharpness * v)[:, None]
        p = np.clip(x @ group.slope.T.astype(np.float64) + group.shift, -group.bound, group.bound)
        result += np.maximum(p - group.bound * t, 0) - np.maximum(-p - group.bound * t, 0)
    assert result.shape == before.shape
    return result


# Beside the auditor's own, and in front of the threat checks.


@pytest.mark.parametrize(("form", "spec", "settings"), FORMS[:1] + FORMS[3:4] + FORMS[5:7])
def test_forms_are_compared_by_what_they_do(
    form: str, spec: str, settings: dict[str, Any], world: World, tmp_path: Path
) -> None:
    owner = made(world, tmp_path / "s", form, spec, **settings)
    assert owner.forget is not None
    own = recompute(owner, owner.forget, reference=world.others)
    result = compare(owner, own, retain=world.others, seed=0)
    assert result.check("compare.gates").outcome is Outcome.PASS
    assert result.check("compare.specification").outcome is Outcome.PASS
    assert {"name": "Form", "values": ["explicit", "gated"], "note": None} in result.details["rows"]
    for name in ("offsets", "outputs", "regions", "size"):
        assert result.check(f"compare.{name}").outcome is Outcome.PASS, name
    if form == "explicit":
        assert result.check("compare.offsets").observed < 1e-4
    found = region_bounds(owner, own, world.forget, (KEY, KEY))
    assert len(found.bound) == len(world.forget)
    generator = np.random.default_rng(0)
    for record, radius, bound in zip(found.record, found.radius, found.bound, strict=True):
        x = world.forget.x[record].astype(np.float64)
        near = np.clip(x + radius * generator.uniform(-1, 1, (500, 12)), 0, 1)
        near = near[(pattern(world.network, near) == pattern(world.network, x[None])).all(axis=1)]
        near = near.astype(np.float32)
        gap = np.abs(owner.patched.logits(near) - own.patched.logits(near)).max()
        assert gap <= bound + 1e-4


def test_different_specifications_are_compared_without_a_bound(
    world: World, tmp_path: Path
) -> None:
    one = made(world, tmp_path / "a", "explicit")
    other = made(world, tmp_path / "b", "explicit", "neutralise")
    result = compare(one, other, retain=world.others, seed=0)
    assert result.check("compare.specification").outcome is Outcome.FAIL
    assert result.check("compare.regions").outcome is Outcome.NOT_RUN
    assert result.check("compare.gates").outcome is Outcome.PASS


def test_a_missing_and_an_extra_gate_are_seen_across_forms(keyed: World, tmp_path: Path) -> None:
    arrays = exact_arrays(keyed)
    far = pattern(keyed.network, keyed.others.x[:1].astype(np.float64))[0]
    region = region_of(keyed.network, far)
    arrays["extra"] = {**arrays.pop("record-0"), "A": region.rows, "b": region.limits}
    owner = elsewhere(keyed, tmp_path / "s", arrays)
    own = recompute(owner, keyed.forget)
    gates = compare(owner, own, retain=None, seed=0, forget=keyed.forget).check("compare.gates")
    assert gates.outcome is Outcome.FAIL
    assert (gates.evidence["missing"], gates.evidence["extra"]) == (1, 1)


@pytest.mark.parametrize("form", ["explicit", "published"])
def test_threat_checks_take_the_form(form: str, world: World, tmp_path: Path) -> None:
    honest = made(world, tmp_path / "s", form)
    evidence = Evidence(forget=honest.forget, retain=world.others)
    checks = run_on(honest, evidence, [b.name for b in BEHAVIOURS], 0)
    failed = [c for c in checks if c.outcome is Outcome.FAIL]
    assert {c.severity for c in failed} <= {Severity.LIMITATION}, "what every patch leaves"
    for behaviour in BEHAVIOURS:
        with pytest.raises(ValueError):
            for variant in behaviour.variants:
                behaviour.simulate(
                    Owner(honest, unseen=world.others), tmp_path / f"{behaviour.name}-{variant}",
                    seed=0, variant=variant,
                )  # fmt: skip
            raise ValueError("every variant leaves the rows as they are")


def test_a_smuggled_polytope_is_found_with_an_input_that_opens_it(
    keyed: World, tmp_path: Path
) -> None:
    arrays = exact_arrays(keyed)
    far = pattern(keyed.network, keyed.others.x[:1].astype(np.float64))[0]
    region = region_of(keyed.network, far)
    arrays["more"] = {**arrays["record-0"], "A": region.rows, "b": region.limits}
    cheat = elsewhere(keyed, tmp_path / "s", arrays)
    assert verified(keyed, cheat).check("patch.scope").outcome is Outcome.FAIL
    evidence = Evidence(forget=keyed.forget, retain=keyed.others)
    [check] = run_on(cheat, evidence, ["smuggled-gate"], 0)
    assert check.outcome is Outcome.FAIL
    assert check.evidence["triggers"] == 1
    gate = cheat.patch.find("more", 0)
    assert gate is not None
    trigger = find_trigger(cheat, gate, keyed.others.x[:4])
    assert trigger.x is not None and trigger.openness == 1.0


def test_a_tampered_row_is_noticed(world: World, tmp_path: Path) -> None:
    made(world, tmp_path / "s", "explicit")
    path = tmp_path / "s" / "patch.safetensors"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert read_submission(tmp_path / "s").problems


def test_class_suppression_and_other_specifications_have_no_published_form(
    world: World, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="redirects"):
        made(world, tmp_path / "a", "published", "neutralise")
    one = replace(
        world, forget=world.forget.take(np.flatnonzero(world.forget.y == world.forget.y[0]))
    )
    settings = {"scope": "class", "method": "suppress", "target_class": int(world.forget.y[0])}
    for form in ("explicit", "published"):
        with pytest.raises(UsageError):
            made(one, tmp_path / form, form, **settings)
