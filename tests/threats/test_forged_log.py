"""A forged log does not replay, an honest one does, whoever's arithmetic it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit.network.graph import Dense
from auditkit.results import CheckResult, Outcome, dump_json
from auditkit.threats import forged_log
from auditkit.threats.evidence import Evidence
from auditkit.threats.forge_network import deliver
from auditkit.threats.forged_log import FACTOR, GROSS, MODEL_VARIANTS, TURNED, detect_model
from auditkit.threats.interface import Owner
from auditkit.unlearning.replay import log_of, network_at, train_with_log
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import Recipe
from auditkit.unlearning.training_log import TrainingLog, batch_table
from tests.threats.conftest import Make
from tests.threats.trained_owner import KEY, RECIPES, trained_owner


def judged(owner: Owner, evidence: Evidence, **known: Any) -> CheckResult:
    submission: Any = owner.submission
    return detect_model(submission, replace(evidence, training=owner.training, **known), seed=0)


@pytest.mark.parametrize("name", RECIPES)
def test_an_honest_log_passes(name: str) -> None:
    found = judged(*trained_owner(name))
    assert found.outcome is Outcome.PASS, found.reason
    assert found.observed == 0 and found.n == 20
    assert found.evidence["tolerance_of_the_way"] < 0.01
    assert found.evidence["p_refute"] == 1


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.parametrize("variant", MODEL_VARIANTS)
@pytest.mark.parametrize("strength", [1.0, 0.02])
def test_a_forgery_is_found(name: str, variant: str, strength: float, tmp_path: Path) -> None:
    owner, evidence = trained_owner(name)
    cheat = forged_log.simulate(owner, tmp_path / "c", seed=3, strength=strength, variant=variant)
    found = judged(cheat, evidence)
    assert found.outcome is Outcome.FAIL, found.reason
    assert found.observed > GROSS and "p_refute" not in found.evidence
    assert found.private["stretches_beyond_rounding"]


def replayed_by_numpy(log: TrainingLog, owner: Owner) -> TrainingLog:
    """Return the log of the same steps as numpy takes them: other matrix products, own gradients.

    Written from the definitions of backpropagation, momentum and Adam (Kingma & Ba 2015).
    """
    submission: Any = owner.submission
    assert owner.retain is not None
    x, y, recipe = owner.retain.x, owner.retain.y, log.recipe
    shapes = [n.operator.weight.shape for n in submission.unlearned.nodes
              if isinstance(n.operator, Dense)]  # fmt: skip
    weights, moments = log.weights[0].copy(), log.moments[0].copy()
    kept = [(weights, moments.copy())]
    for step in range(len(log.batches)):
        rows, layers, at = log.rows(step), [], 0
        for a, b in shapes:
            layers.append((weights[at : at + a * b].reshape(a, b), weights[at + a * b :][:a]))
            at += a * b + a
        acts = [x[rows]]
        for depth, (w, b) in enumerate(layers):
            z = acts[-1] @ w.T + b
            acts.append(np.maximum(z, 0) if depth < len(layers) - 1 else z)
        p = np.exp(acts[-1] - acts[-1].max(axis=1, keepdims=True))
        back = p / p.sum(axis=1, keepdims=True)
        back[np.arange(len(rows)), y[rows]] -= 1
        back /= np.float32(len(rows))
        parts: list[Any] = []
        for depth in range(len(layers) - 1, -1, -1):
            parts = [(back.T @ acts[depth]).ravel(), back.sum(axis=0), *parts]
            if depth:
                back = (back @ layers[depth][0]) * (acts[depth] > 0)
        g, rate = np.concatenate(parts), np.float32(recipe.learning_rate)
        if recipe.optimizer == "adam":
            moments[0] = np.float32(0.9) * moments[0] + np.float32(0.1) * g
            moments[1] = np.float32(0.999) * moments[1] + np.float32(0.001) * g * g
            mean = moments[0] / np.float32(1 - 0.9 ** (step + 1))
            square = moments[1] / np.float32(1 - 0.999 ** (step + 1))
            weights = weights - rate * mean / (np.sqrt(square) + np.float32(1e-8))
        elif recipe.momentum:
            moments[0] = np.float32(recipe.momentum) * moments[0] + g
            weights = weights - rate * moments[0]
        else:
            weights = weights - rate * g
        if step + 1 in log.steps:
            kept.append((weights, moments.copy()))
    return replace(
        log, weights=np.stack([w for w, _ in kept]), moments=np.stack([m for _, m in kept])
    )


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_log_of_other_arithmetic_is_not_accused(name: str, seed: int, tmp_path: Path) -> None:
    owner, evidence = trained_owner(name, seed)
    assert owner.training is not None
    submission: Any = owner.submission
    log = replayed_by_numpy(owner.training, owner)
    assert not np.array_equal(log.weights, owner.training.weights), "another arithmetic"
    made = deliver(
        Owner(submission), tmp_path / "n", network_at(submission.unlearned, log, -1)
    ).submission
    found = judged(replace(owner, submission=made, training=log), evidence)
    assert found.outcome is Outcome.PASS, found.reason
    assert found.evidence["largest_distance"] > 0
    assert found.evidence["largest_ratio_to_floor"] < FACTOR


def test_the_bound_on_turned_units_is_the_largest() -> None:
    p = np.linspace(0, 1, 10001)
    assert (p * (1 - p) ** 2).max() == pytest.approx(TURNED, abs=1e-7)


def other(log: TrainingLog, **changes: Any) -> TrainingLog:
    return replace(log, **changes)


def test_what_is_certain(tmp_path: Path) -> None:
    owner, evidence = trained_owner()
    log, submission = owner.training, owner.submission
    assert log is not None and submission.forget is not None
    foreign = log.records.copy()
    foreign[0] ^= 1
    moments = log.moments.copy()
    moments[0, 0, 0] = 1
    weights = log.weights.copy()
    weights[-1] *= 1.01
    cases = {
        "the last checkpoint is not": other(log, weights=weights),
        "checkpoints are missing": other(
            log, steps=log.steps[:-1], weights=log.weights[:-1], moments=log.moments[:-1]
        ),
        "steps are logged": other(log, recipe=replace(log.recipe, epochs=21)),
        "no training records": other(log, records=foreign),
        "has a past": other(log, moments=moments),
        "checkpoints are no numbers": other(
            log, weights=np.where(np.arange(len(log.weights))[:, None] == 5, np.nan, log.weights)
        ),
        "other sizes than the recipe": other(
            log,
            batches=np.where(
                (np.arange(log.batches.shape[1]) == 63)
                & (np.arange(len(log.batches))[:, None] == 0),
                -1,
                log.batches,
            ),
        ),
        "another size": other(log, weights=log.weights[:, :-1], moments=log.moments[..., :-1]),
    }
    for words, forged in cases.items():
        found = judged(replace(owner, training=forged), evidence)
        assert found.outcome is Outcome.FAIL and words in found.reason, (words, found.reason)
        assert "p_refute" not in found.evidence
    everyone = evidence.train
    assert everyone is not None
    network, full = train_with_log(
        submission.unlearned,
        everyone,
        RECIPES["adam"],
        5,
        KEY,  # type: ignore[attr-defined]
    )
    made = deliver(Owner(submission), tmp_path / "d", network).submission
    found = judged(replace(owner, submission=made, training=full), evidence)
    assert found.outcome is Outcome.FAIL and "60 forgotten records are in" in found.reason
    assert found.private["steps_with_forgotten_records"]


def from_weights(owner: Owner, start: Any, recipe: Recipe, out: Path) -> Owner:
    """Return an owner who trains on from a network and says that it is new."""
    submission: Any = owner.submission
    assert owner.retain is not None and owner.training is not None
    table = batch_table(len(owner.retain), recipe, 1)
    network, log = log_of(
        submission.unlearned, owner.retain, owner.training.records, table, recipe, 1, start
    )
    return replace(deliver(owner, out, network), training=log)


def test_the_seed_of_the_original_s_training_is_nobody_s_fault() -> None:
    """Retraining by the same recipe and seed starts where the original started, and ends near."""
    owner, evidence = trained_owner(seed=0)
    submission: Any = owner.submission
    assert owner.training is not None and evidence.retain is not None
    start = network_at(submission.unlearned, owner.training, 0)
    near = replace(submission, network=start)
    assert forged_log._near(
        forged_log._flat_original(near, owner.training), owner.training.weights[0]
    )
    found = judged(replace(owner, submission=near), evidence)
    assert found.outcome is Outcome.PASS, found.reason


def test_a_log_that_starts_from_a_trained_network_is_none(tmp_path: Path) -> None:
    owner, evidence = trained_owner()
    submission: Any = owner.submission
    original = Trainable(submission.network)
    cheat = from_weights(owner, original, RECIPES["adam"], tmp_path / "a")
    found = judged(cheat, evidence)
    assert found.outcome is Outcome.FAIL and "starts from the original" in found.reason
    # another trained network, at a rate at which nothing can be seen to be wrong
    still = Recipe(epochs=20, learning_rate=1e-12)
    cheat = from_weights(owner, Trainable(submission.unlearned), still, tmp_path / "b")
    found = judged(cheat, evidence)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "stated seed" in found.reason and "lead nowhere" in found.reason


def test_a_made_up_state_of_the_optimiser_is_seen(tmp_path: Path) -> None:
    owner, evidence = trained_owner("sgd")
    log = owner.training
    assert log is not None
    moments = log.moments.copy()
    moments[-2] += 3 * np.abs(moments[-2]).max()
    found = judged(replace(owner, training=other(log, moments=moments)), evidence)
    assert found.outcome is Outcome.FAIL
    assert found.private["stretches_beyond_rounding"][:1] == [18]


def test_what_is_missing_is_a_reason(make: Make) -> None:
    owner, evidence = trained_owner()
    submission: Any = owner.submission
    found = detect_model(submission, replace(evidence, training=None), seed=0)
    assert found.outcome is Outcome.NOT_RUN and not found.required
    assert evidence.forget is not None and evidence.retain is not None
    nothing = replace(
        evidence, train=None, retain=evidence.retain.take(range(500)), training=owner.training
    )
    found = judged(owner, nothing)
    assert found.outcome is Outcome.INCONCLUSIVE and "40 of the log's records" in found.reason
    patch: Any = make("redirect")
    found = forged_log.detect(patch, evidence, seed=0)
    assert found.outcome is Outcome.NOT_RUN and "a patch is not trained" in found.reason
    with pytest.raises(ValueError, match="patch"):
        forged_log.simulate(Owner(patch), Path("nowhere"), seed=0)


@pytest.mark.filterwarnings("error")
def test_hostile_numbers_end_in_a_result() -> None:
    owner, evidence = trained_owner("sgd")
    log = owner.training
    assert log is not None
    for scale in (1e38, 1e-38):
        weights = log.weights.copy()
        weights[1:-1] *= np.float32(scale)
        with np.errstate(all="ignore"):
            weights = np.clip(weights, -3e38, 3e38)
        found = judged(replace(owner, training=other(log, weights=weights)), evidence)
        assert found.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE)
    fast = other(log, recipe=replace(log.recipe, learning_rate=1e30))
    assert judged(replace(owner, training=fast), evidence).outcome is not Outcome.PASS


def test_a_checkpoint_from_which_nothing_leads_on_hides_no_forgery() -> None:
    """One stretch that cannot be replayed is one that is made up, and takes no other along."""
    owner, evidence = trained_owner("sgd")
    log = owner.training
    assert log is not None
    weights = log.weights.copy()
    weights[5] *= np.float32(1e38) / np.abs(weights[5]).max()
    found = judged(replace(owner, training=other(log, weights=weights)), evidence)
    assert found.outcome is Outcome.FAIL, found.reason
    assert found.private["stretches_beyond_rounding"] == [4, 5]
    dump_json(found.to_json())


def test_the_same_inputs_give_the_same_result() -> None:
    owner, evidence = trained_owner()
    assert judged(owner, evidence).to_json() == judged(owner, evidence).to_json()
