"""patched.onnx computes what the library computes, and patch.safetensors carries every bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from auditkit.errors import EvidenceError
from auditkit.network.evaluate import evaluate
from auditkit.network.units import unit_layout
from auditkit.patch.export import patched_to_onnx
from auditkit.patch.gates import Group, OffsetKind, Patch
from auditkit.patch.patched import PatchedNetwork
from auditkit.patch.tensors import patch_from_bytes, patch_to_bytes
from auditkit.tensors import read_safetensors, write_safetensors
from tests.network.onnx_models import run
from tests.oracle.networks import FAMILIES
from tests.patch.test_patched import SEEDS, made


@pytest.mark.parametrize("family", FAMILIES)
def test_the_export_is_the_library(family: str) -> None:
    for seed in SEEDS:
        network, x, patch = made(family, seed, np.float32)
        # float32 errors of a violation are multiplied by K n: as sharp as patches are, not more
        patch = replace(
            patch, groups=tuple(replace(g, sharpness=min(g.sharpness, 4.0)) for g in patch.groups)
        )
        rng = np.random.default_rng(seed)
        x = np.concatenate([x, rng.random((20, *network.input_shape))]).astype(np.float32)
        data = patched_to_onnx(network, patch)
        assert data == patched_to_onnx(network, patch)
        ours, theirs = PatchedNetwork(network, patch).logits(x), run(data, x)
        scale = 1 + np.abs(ours).max() + patch.table.bound.max()
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-4 * scale)
        assert theirs.dtype == np.float32


@pytest.mark.parametrize("family", FAMILIES)
def test_the_export_of_mixed_groups(family: str) -> None:
    """Several zones, kinds, members and a group without a gate, all in one file."""
    network, x, _ = made(family, 0, np.float32)
    _, z = evaluate(network, x.astype(np.float32))
    bits = z > 0
    units = bits.shape[1]
    vector = np.array([1.0, -2.0, 0.5], np.float32)

    def group(name: str, kind: OffsetKind, patterns: Any, offset: Any, zone: float) -> Group:
        return Group(name, kind, patterns, np.asarray(offset, np.float32), 4.0, 2.0, zone)

    groups = (
        group("a", OffsetKind.CONSTANT, bits[:2], vector, 0.0),
        group("b", OffsetKind.OUTPUT, bits[2:3], vector + 1, 2.0**-8),
        group("c", OffsetKind.OUTPUT, ~bits[1:4], np.stack([vector] * 3), 2.0**-12),
        group("d", OffsetKind.CONSTANT, ~bits[:3], -vector, 2.0**-8),
        group("e", OffsetKind.ALWAYS, np.zeros((0, units), bool), vector, 0.0),
        group("f", OffsetKind.ALWAYS, np.zeros((0, units), bool), 9 * vector, 0.0),
    )
    rng = np.random.default_rng(5)
    probes = np.concatenate([x, rng.random((30, *network.input_shape))]).astype(np.float32)
    for some in (groups, groups[:1], groups[1:2], groups[2:4], groups[4:], groups[::2]):
        patch = Patch(some, network.classes, units)
        ours = PatchedNetwork(network, patch).logits(probes)
        theirs = run(patched_to_onnx(network, patch), probes)
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4 * (1 + np.abs(z).max()))


def test_float64_is_exported_too() -> None:
    network, x, patch = made("dense", 0)
    found = run(patched_to_onnx(network, patch), x)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, PatchedNetwork(network, patch).logits(x), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_tensors_carry_every_bit(family: str) -> None:
    for seed in SEEDS:
        network, _, patch = made(family, seed, np.float32)
        data = patch_to_bytes(patch)
        again = patch_from_bytes(data, network)
        assert patch_to_bytes(again) == data
        assert {g.name for g in again.groups} == {g.name for g in patch.groups}
        by_name = {g.name: g for g in again.groups}
        for group in patch.groups:
            twin = by_name[group.name]
            np.testing.assert_array_equal(twin.patterns, group.patterns)
            np.testing.assert_array_equal(twin.offset, group.offset)
            assert twin.offset.shape == group.offset.shape
            for field in ("kind", "bound", "sharpness", "dead_zone"):
                assert getattr(twin, field) == getattr(group, field)


def test_spare_bits_and_other_damage_are_refused() -> None:
    network, _, patch = made("dense", 1, np.float32)
    units = unit_layout(network).count
    assert units % 8, "this test needs spare bits"
    gated = replace(patch, groups=patch.groups[:1])
    tensors, metadata = read_safetensors(patch_to_bytes(gated), "patch")
    stem = "groups/g0"

    def changed(name: str, value: Any) -> bytes:
        return write_safetensors({**tensors, f"{stem}/{name}": value}, metadata)

    packed = tensors[f"{stem}/patterns"].copy()
    packed[0, -1] |= 1
    wider = np.concatenate([tensors[f"{stem}/patterns"]] * 2, axis=1)
    for data, text in [
        (changed("patterns", packed), "spare bit"),
        (changed("patterns", wider), "patterns uint8"),
        (changed("bound", np.float32(-1)), "K, n"),
        (changed("sharpness", np.float32(np.inf)), "finite"),
        (changed("dead_zone", np.float64(0.5)), "float32"),
        (changed("bound", np.ones(2, np.float32)), "float32"),
        (changed("more", np.float32(1)), "groups/NAME/FIELD"),
        (write_safetensors(tensors, {**metadata, "kind/g0": "free"}), "kind"),
        (write_safetensors(tensors, {"schema": metadata["schema"]}), "kind"),
        (write_safetensors(tensors, {**metadata, "schema": "x"}), "schema"),
        (write_safetensors({}, {"schema": metadata["schema"]}), "group"),
    ]:
        with pytest.raises(EvidenceError, match=text):
            patch_from_bytes(data, network)
