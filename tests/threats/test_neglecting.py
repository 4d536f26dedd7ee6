"""Nothing was done, and when that cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from auditkit.certificate.submission import Submission
from auditkit.results import Outcome
from auditkit.threats import forge
from auditkit.threats.evidence import Evidence
from auditkit.threats.neglecting import detect, simulate
from auditkit.threats.references import References
from tests.threats.conftest import Digits, Make, trained

Gather = Callable[[Submission], Evidence]


def test_a_reference_that_says_the_same_leaves_nothing_to_forget(
    make: Make, evidence: Gather, digits: Digits, tmp_path: Path
) -> None:
    honest = make("redirect")
    cheat = simulate(honest, tmp_path / "cheat", seed=0)
    known = replace(
        evidence(honest), assertion="erased", references=References(networks=(digits.network,))
    )
    check = detect(cheat, known, seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE and "nothing measurable" in check.reason
    redirected = replace(known, assertion="redirected")
    assert detect(cheat, redirected, seed=0).outcome is Outcome.FAIL, "another answer was promised"


def test_a_reference_that_says_something_else_changes_nothing(
    make: Make, evidence: Gather, digits: Digits, tmp_path: Path
) -> None:
    honest = make("redirect")
    cheat = simulate(honest, tmp_path / "cheat", seed=0)
    poor = trained(digits.holdout.x[:40], digits.holdout.y[:40], 1, hidden=(8,))
    check = detect(
        cheat, replace(evidence(honest), references=References(networks=(poor,))), seed=0
    )
    assert check.outcome is Outcome.FAIL


def test_a_constant_added_to_all_logits_is_nothing(
    make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    groups = [replace(g, offset=np.full_like(g.offset, g.bound)) for g in honest.patch.groups]
    patch = forge.with_groups(honest.patch, groups)
    cheat = forge.write(honest, tmp_path / "cheat", patch=patch)
    check = detect(cheat, evidence(honest), seed=0)
    assert check.outcome is Outcome.FAIL and check.evidence["with_open_gate"] == 24


def test_outputs_changed_by_next_to_nothing_are_not_taken_for_forgetting(
    make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("reference")
    still, _ = forge.without_effect(honest)
    nudged = [
        replace(g, offset=g.offset + 0.4 * np.eye(10, dtype=np.float32)[0]) for g in still.groups
    ]
    cheat = forge.write(honest, tmp_path / "cheat", patch=forge.with_groups(still, nudged))
    check = detect(cheat, evidence(honest), seed=0)
    assert check.evidence["changed"] == 24, "each changes by more than nothing"
    assert check.outcome is Outcome.INCONCLUSIVE and "another record" in check.reason
    assert detect(honest, evidence(honest), seed=0).outcome is Outcome.PASS
