"""Another file than the one that was certified."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx

from auditkit.certificate.submission import Submission
from auditkit.results import Outcome
from auditkit.threats import forge
from auditkit.threats.evidence import Evidence
from auditkit.threats.patch_bait import detect, simulate
from tests.threats.conftest import Make

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
