"""Nothing was done, and when that cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from auditkit.certificate.submission import Submission
from auditkit.network.graph import Dense, Network, Node
from auditkit.results import Outcome
from auditkit.threats import forge
from auditkit.threats.evidence import Evidence
from auditkit.threats.layers import one_layer
from auditkit.threats.neglecting import detect, detect_model, simulate, simulate_model
from auditkit.threats.references import References
from tests.threats.conftest import Digits, Make, trained
from tests.threats.networks import case

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


def softmax_regression(x: np.ndarray, y: np.ndarray) -> Network:
    """Return the network of a convex problem, solved."""
    model = LogisticRegression(C=0.1, max_iter=2000, tol=1e-8).fit(x, y)
    layer = Dense(model.coef_.astype(np.float32), model.intercept_.astype(np.float32))
    return Network((64,), (Node(layer, (0,)),), np.dtype(np.float32))


def test_an_honest_retraining_of_one_layer_moves_little_and_is_not_accused(tmp_path: Path) -> None:
    given = case(wrong=0.0)
    x, y = (np.concatenate([getattr(given.forget, k), getattr(given.retain, k)]) for k in "xy")
    one = replace(
        given,
        network=softmax_regression(x, y),
        forget=given.forget.take([0]),
        retrained=softmax_regression(x[1:], y[1:]),
        references=tuple(softmax_regression(x[1:], y[1:]) for _ in range(2)),
    )
    for references in (False, True):
        evidence = one.evidence(references=references)
        out = tmp_path / str(references)
        check = detect_model(one.submit(out), evidence, seed=0)
        assert check.outcome is Outcome.INCONCLUSIVE, check.reason
    assert one_layer(one.network) and not one_layer(given.network)


def test_a_little_noise_is_found_against_references_or_at_rounding_level(tmp_path: Path) -> None:
    given = case()
    one = replace(given, forget=given.forget.take([0]))  # too few for any p-value
    noisy = simulate_model(one.owner(tmp_path / "h"), tmp_path / "n", seed=1, variant="noise")
    alone = detect_model(noisy.submission, one.evidence(), seed=0)  # type: ignore[arg-type]
    assert alone.outcome is Outcome.INCONCLUSIVE, "a small move alone is no proof"
    check = detect_model(noisy.submission, one.evidence(references=True), seed=0)  # type: ignore[arg-type]
    assert check.outcome is Outcome.FAIL and "retrained by the auditor" in check.reason
    same = simulate_model(one.owner(tmp_path / "g"), tmp_path / "r", seed=1, variant="rescaled")
    assert detect_model(same.submission, one.evidence(), seed=0).outcome is Outcome.FAIL  # type: ignore[arg-type]
