"""Another file than the one that was certified."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from auditkit.certificate.export_check import examine_export
from auditkit.certificate.submission import Submission
from auditkit.errors import EvidenceError
from auditkit.network.graph import Dense
from auditkit.patch.export import patched_to_onnx
from auditkit.results import Outcome, dump_json
from auditkit.search_onnx import constants_beyond, promising
from auditkit.second_opinion import run_onnx
from auditkit.threats import forge
from auditkit.threats.disagreement import from_constants
from auditkit.threats.evidence import Evidence
from auditkit.threats.patch_bait import detect, place, planted, simulate
from tests.threats.conftest import Digits, Make

Gather = Callable[[Submission], Evidence]


def test_other_bytes_of_the_same_meaning_are_inconclusive(
    make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    model = onnx.load_from_string(honest.exported)
    model.producer_name = "another exporter"
    other = forge.write(honest, tmp_path / "other", exported=model.SerializeToString())
    check = detect(other, evidence(honest), seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE and check.n is not None and check.n > 2000


def test_a_file_that_does_not_run_is_no_proof_of_bait(
    make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    broken = forge.write(honest, tmp_path / "broken", exported=b"not a network")
    assert detect(broken, evidence(honest), seed=0).outcome is Outcome.INCONCLUSIVE


def test_a_slight_change_is_shown_by_an_input_for_the_annex(
    make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    cheat = simulate(honest, tmp_path / "cheat", seed=0, strength=0.2, variant="bias-changed")
    check = detect(cheat, evidence(honest), seed=0)
    assert check.outcome is Outcome.FAIL and "witness" in check.private
    assert "witness" not in check.to_json()["evidence"]


def _metadata(model: Any) -> None:
    entry = model.metadata_props.add()
    entry.key, entry.value = "audited", "yes"


def _renamed(model: Any) -> None:
    for node in model.graph.node:
        node.name += "-x"


def _reordered(model: Any) -> None:
    """Exchange the first two neighbours that do not depend on each other."""
    nodes = list(model.graph.node)
    for i, (one, other) in enumerate(zip(nodes, nodes[1:], strict=False)):
        if not set(one.output) & set(other.input):
            nodes[i], nodes[i + 1] = other, one
            break
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _unused(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "spare"))


def _opset(model: Any) -> None:
    model.opset_import[0].version -= 1


def _rerouted(model: Any, node: Callable[[str], list[Any]]) -> None:
    for old in model.graph.node:
        old.output[:] = ["before" if name == "logits" else name for name in old.output]
    model.graph.node.extend(node("before"))


def _identity(model: Any) -> None:
    _rerouted(model, lambda before: [helper.make_node("Identity", [before], ["logits"])])


def _branch(model: Any) -> None:
    """Add a sum that comes to nothing."""
    _rerouted(
        model,
        lambda before: [
            helper.make_node("Sub", [before, before], ["nothing"]),
            helper.make_node("Add", [before, "nothing"], ["logits"]),
        ],
    )


def _constant(model: Any) -> None:
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[0] = array.dtype.type(array.reshape(-1)[0] + 1)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


MUTATIONS = [_metadata, _renamed, _reordered, _unused, _opset, _identity, _branch, _constant]


@pytest.mark.parametrize("change", MUTATIONS)
def test_a_file_of_other_bytes_never_passes(
    change: Callable[[Any], None], make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    model = onnx.load_from_string(honest.exported)
    change(model)
    data = model.SerializeToString()
    assert data != honest.exported
    other = forge.write(honest, tmp_path / "other", exported=data)
    check = detect(other, evidence(honest), seed=0)
    assert check.outcome is not Outcome.PASS
    assert not examine_export(other, other.forget.x, 0).same_bytes
    if change is not _constant:
        assert check.outcome is Outcome.INCONCLUSIVE, "the same function under other bytes"


@pytest.mark.parametrize("spec", ["redirect", "reference", "neutralise"])
def test_rounding_is_not_taken_for_bait(
    spec: str, make: Make, evidence: Gather, tmp_path: Path
) -> None:
    """The same function with its units in another order: every sum is rounded otherwise."""
    honest = make(spec)
    nodes, orders, start = list(honest.network.nodes), [], 0
    dense = [i for i, node in enumerate(nodes) if isinstance(node.operator, Dense)]
    for here, there in itertools.pairwise(dense):
        layer, following = nodes[here].operator, nodes[there].operator
        assert isinstance(layer, Dense) and isinstance(following, Dense)
        order = np.random.default_rng(here).permutation(len(layer.bias))
        moved = replace(layer, weight=layer.weight[order], bias=layer.bias[order])
        after = replace(following, weight=np.ascontiguousarray(following.weight[:, order]))
        nodes[here], nodes[there] = (
            replace(nodes[here], operator=moved),
            replace(nodes[there], operator=after),
        )
        orders.append(order + start)
        start += len(order)
    units = np.concatenate(orders)
    groups = [replace(g, patterns=g.patterns[:, units]) for g in honest.gated.groups]
    patch = forge.with_groups(honest.gated, groups)
    exported = patched_to_onnx(replace(honest.network, nodes=tuple(nodes)), patch)
    other = forge.write(honest, tmp_path / "other", exported=exported)
    check = detect(other, evidence(honest), seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE and 0 < check.observed < 2e-4


@pytest.mark.parametrize("encoding", ["plain", "masked"])
@pytest.mark.parametrize("where", ["near", "anywhere", "corner"])
def test_a_small_ball_is_found_by_what_the_file_gives_away(
    where: str, encoding: Any, make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    centre = place(honest, where, np.random.default_rng(3))
    exported = planted(honest, centre, 0.01, encoding)
    bait = forge.write(honest, tmp_path / "bait", exported=exported)
    check = detect(bait, evidence(honest), seed=0)
    assert check.outcome is Outcome.FAIL
    witness = np.array(check.private["witness"], np.float32)
    apart = run_onnx(exported, witness[None], "x") - bait.patched.logits(witness[None])
    assert np.abs(apart).max() > 1e-2, "the input shows it"
    assert str(check.private["witness"][0]) not in dump_json(check.to_json()["evidence"])


def test_the_planted_ball_is_where_it_is_said_to_be(make: Make) -> None:
    honest = make("redirect")
    centre = place(honest, "anywhere", np.random.default_rng(0))
    way = np.random.default_rng(1).choice([-1.0, 1.0], len(centre))
    x = (centre + np.array([0.0, 0.009, 0.02])[:, None] * way).astype(np.float32)
    for encoding in ("plain", "masked", "steps"):
        apart = run_onnx(planted(honest, centre, 0.01, encoding), x, "x") - run_onnx(  # type: ignore[arg-type]
            honest.exported, x, "x"
        )
        size = np.abs(apart).max(axis=1)
        assert (size[:2] > 0.5).all() and size[2] == 0, encoding


def test_constants_of_the_file_become_inputs(make: Make) -> None:
    honest = make("redirect")
    centre = place(honest, "anywhere", np.random.default_rng(0))
    exported = planted(honest, centre, 0.01)
    further = constants_beyond(exported, honest.exported, "x")
    assert any(c.size == 64 and np.allclose(c, centre.astype(np.float32)) for c in further)
    assert constants_beyond(honest.exported, honest.exported, "x") == []
    inputs = from_constants(honest, further)
    assert np.abs(inputs.reshape(-1, 64) - centre).max(axis=1).min() < 1e-6
    assert ((inputs >= 0) & (inputs <= 1)).all()


def test_a_polytope_and_a_pattern_in_a_file_become_inputs_too(make: Make) -> None:
    honest = make("redirect")
    centre = place(honest, "anywhere", np.random.default_rng(0))
    eye = np.eye(64)
    rows, limits = np.concatenate([eye, -eye]), np.concatenate([centre + 0.01, 0.01 - centre])
    inputs = from_constants(honest, [rows, limits]).reshape(-1, 64)
    assert np.abs(inputs - centre).max(axis=1).min() < 1e-5
    stranger = make("redirect", seed=5)
    bits = stranger.patch.table.patterns[:3].astype(np.uint8)
    inputs = from_constants(honest, [bits])
    assert (stranger.patched.violations(inputs).min(axis=0)[:3] == 0).all()


def test_a_file_that_lies_about_itself_ends_in_no_traceback(make: Make, evidence: Gather) -> None:
    honest = make("redirect")
    for data in (b"", b"not a network", honest.exported[:-7], honest.exported + b"\x00"):
        with pytest.raises(EvidenceError):
            promising(data, honest.exported, honest.forget.x, (0.0, 1.0), 0, "x")
    for data in (b"not a network", honest.exported[:-7]):
        with pytest.raises(EvidenceError):
            constants_beyond(data, honest.exported, "x")


def test_an_odd_constant_is_no_input_and_no_error(make: Make) -> None:
    odd = [
        np.full(64, 1e300), np.zeros((0, 64)), np.zeros((3, 0)), np.full((64, 2), -1e300),
        np.float64(3.0).reshape(()), np.full((1, 192), 2, np.uint8),
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        inputs = from_constants(make("redirect"), odd)
    assert np.isfinite(inputs).all() and ((inputs >= 0) & (inputs <= 1)).all()


@pytest.mark.parametrize("variant", ["unpatched", "gate-removed", "bias-changed", "planted-corner"])
def test_strength_scales_what_is_delivered(
    variant: str, make: Make, digits: Digits, tmp_path: Path
) -> None:
    honest = make("redirect")
    probes = np.concatenate([honest.forget.x, digits.holdout.x])
    sizes = []
    for strength in (0.1, 0.5, 1.0):
        cheat = simulate(
            honest, tmp_path / f"{strength}", seed=0, strength=strength, variant=variant
        )
        if variant == "planted-corner":
            corner = place(honest, "corner", np.random.default_rng([0, 16]))
            steps = np.linspace(0, 0.5, 200)[:, None]
            probes = (corner + steps * np.where(corner > 0.5, -1, 1)).astype(np.float32)
        apart = np.abs(cheat.delivered(probes) - honest.delivered(probes)).max(axis=1)
        sizes.append(float(apart.sum()))
    assert 0 < sizes[0] < sizes[1] < sizes[2]
