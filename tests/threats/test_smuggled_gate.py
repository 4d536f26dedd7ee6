"""A gate that nobody asked for is found, with an input that opens it, wherever it is hidden."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.identity import derived_key
from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import PatchSubmission, Submission, read_patched
from auditkit.network.graph import Convolution, Dense, MaxPool, Network, Node, Relu, Reshape
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records
from auditkit.results import Outcome
from auditkit.threats import trigger
from auditkit.threats.evidence import Evidence
from auditkit.threats.smuggled_gate import VARIANTS, detect, simulate
from auditkit.threats.trigger import find_trigger
from tests.threats.conftest import Digits, Make

Gather = Callable[[Submission], Evidence]
KINDS = [
    *(("redirect", "point"), ("redirect", "cluster"), ("reference", "point")),
    *(("neutralise", "point"), ("neutralise", "cluster")),
]


def shown(cheat: PatchSubmission, honest: PatchSubmission, evidence: Evidence) -> np.ndarray:
    """Return the input that the check keeps, after trying it on the patched network."""
    check = detect(cheat, evidence, seed=0)
    assert check.outcome is Outcome.FAIL and check.evidence["triggers"] == 1, check.reason
    x = np.array(check.private["triggers"][0]["input"], np.float32)
    assert ((x >= 0) & (x <= 1)).all()
    assert cheat.patched.openness(x[None])[0] > 0
    apart = cheat.patched.logits(x[None]) - honest.patched.logits(x[None])
    assert np.abs(apart).max() > 0
    return x


@pytest.mark.parametrize("seed", range(30))
def test_a_gate_far_from_every_record_is_found_with_its_trigger(
    seed: int, make: Make, evidence: Gather, digits: Digits, tmp_path: Path
) -> None:
    spec = ("redirect", "reference", "neutralise")[seed % 3]
    honest = make(spec, seed=seed % 6)
    cheat = simulate(honest, tmp_path / "c", seed=seed, variant="far", others=digits.retain)
    x = shown(cheat, honest, evidence(honest))
    known = np.concatenate([r.x for r in (honest.forget, digits.retain, digits.holdout)])
    distance = np.abs(known - x[None]).reshape(len(known), -1).max(axis=1).min()
    assert distance >= 0.8, "of a domain of width 1"
    check = detect(cheat, evidence(honest), seed=0)
    assert check.evidence["farthest_from_any_record"] == pytest.approx(distance)
    at_records = cheat.patched.logits(honest.forget.x) - honest.patched.logits(honest.forget.x)
    assert np.abs(at_records).max() == 0, "for the records the patch is right"


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("spec", "scope"), KINDS)
def test_wherever_it_is_hidden(
    variant: str, spec: str, scope: str, make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make(spec, scope)
    cheat = simulate(honest, tmp_path / "c", seed=1, variant=variant)
    assert cheat.patch.gates == honest.patch.gates + 1
    shown(cheat, honest, evidence(honest))


def test_a_disguised_gate_looks_much_like_a_requested_one(make: Make, tmp_path: Path) -> None:
    honest = make("redirect")
    cheat = simulate(honest, tmp_path / "c", seed=1, variant="disguised")
    known = {row.tobytes() for row in honest.patch.table.patterns}
    [added] = [row for row in cheat.patch.table.patterns if row.tobytes() not in known]
    bits = (honest.patch.table.patterns != added).sum(axis=1)
    assert 0 < bits.min() <= 12, "of 192"


@pytest.mark.parametrize("strength", [0.05, 0.5, 1.0])
def test_strength_is_what_it_adds(
    strength: float, make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    cheat = simulate(honest, tmp_path / "c", seed=1, strength=strength, variant="own-group")
    full = simulate(honest, tmp_path / "f", seed=1, variant="own-group")
    sizes = [
        max(np.abs(g.offset).max() for g in s.patch.groups if g.name.endswith("-more"))
        for s in (cheat, full)
    ]
    assert sizes[0] == pytest.approx(strength * sizes[1], rel=1e-6)
    shown(cheat, honest, evidence(honest))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_patch_in_explicit_form_hides_none_either(
    variant: str, digits: Digits, tmp_path: Path
) -> None:
    forget = digits.forget.take(np.arange(6))
    make_submission(
        digits.network, forget, resolve_settings("redirect"), tmp_path / "s",
        key=derived_key(0, forget), form="explicit",
    )  # fmt: skip
    honest = read_patched(tmp_path / "s")
    evidence = Evidence(forget=honest.forget, retain=digits.retain)
    assert detect(honest, evidence, seed=0).outcome is Outcome.PASS
    shown(simulate(honest, tmp_path / "c", seed=1, variant=variant), honest, evidence)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[PatchSubmission, Evidence]:
    """An honest patch of a convolutional network with max pooling."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)

    layers = (
        Convolution(normal(6, 1, 3, 3), normal(6) / 9), Relu(), MaxPool((2, 2), (2, 2)),
        Convolution(normal(8, 6, 3, 3), normal(8) / 9), Relu(), Reshape((128,)),
        Dense(normal(24, 128), normal(24) / 9), Relu(), Dense(normal(5, 24), normal(5) / 9),
    )  # fmt: skip
    nodes = tuple(Node(layer, (i,)) for i, layer in enumerate(layers))
    network = Network((1, 14, 14), nodes, np.dtype(np.float32))
    x = rng.random((6, 1, 14, 14)).astype(np.float32)
    forget = Records(x, network_labels(network, x))
    out = tmp_path_factory.mktemp("images") / "s"
    key = derived_key(0, forget)
    make_submission(network, forget, resolve_settings("redirect"), out, key=key)
    honest = read_patched(out)
    return honest, Evidence(forget=honest.forget)


def network_labels(network: Network, x: np.ndarray) -> np.ndarray:
    from auditkit.network.evaluate import logits

    return logits(network, x.astype(np.float64)).argmax(axis=1).astype(np.int64)


@pytest.mark.parametrize("way", ["program", "descent", "cuts"])
@pytest.mark.parametrize("variant", ["far", "disguised"])
def test_images_are_searched_in_every_way(
    way: str,
    variant: str,
    images: tuple[PatchSubmission, Evidence],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest, evidence = images
    if way != "program":
        monkeypatch.setattr(trigger, "PROGRAM_NUMBERS", 0)
    if way == "cuts":
        monkeypatch.setattr(trigger, "STEPS", 0)
    cheat = simulate(honest, tmp_path / "c", seed=1, variant=variant)
    shown(cheat, honest, evidence)


def test_cuts_show_that_a_region_is_empty(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trigger, "PROGRAM_NUMBERS", 0)
    honest = make("redirect")
    group = honest.patch.groups[0]
    patch = replace(honest.patch, groups=(replace(group, patterns=~group.patterns),))
    found = find_trigger(replace(honest, patch=patch), 0, honest.forget.x[:2])
    assert found.x is None and found.empty


def test_an_honest_owner_is_cleared(make: Make, evidence: Gather) -> None:
    for spec, scope in KINDS:
        honest = make(spec, scope)
        assert detect(honest, evidence(honest), seed=0).outcome is Outcome.PASS
