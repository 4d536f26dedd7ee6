"""SISA gives exactly what training without the forgotten records would have given."""

from __future__ import annotations

import numpy as np
import pytest

from auditkit.network.digest import semantic_digest
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.network.read_onnx import network_from_onnx
from auditkit.network.write_onnx import network_to_onnx
from auditkit.unlearning.ensemble import branches_of, ensemble
from auditkit.unlearning.history import ShardCheckpoints
from auditkit.unlearning.interface import Refused
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.shards import (
    epochs_of,
    first_touched,
    make_plan,
    retrain_shards,
    train_shards,
    without,
)
from auditkit.unlearning.training import Recipe, fresh
from tests.unlearning.conftest import (
    ARCHITECTURES,
    RECIPE,
    convolutional,
    dense,
    joined,
    make_remembered,
    split,
)

SHORT = Recipe(epochs=4, learning_rate=2e-3)


def history_of(kind: str, scenario: str) -> ShardCheckpoints:
    history = make_remembered("sisa", kind, scenario).history
    assert isinstance(history, ShardCheckpoints)
    return history


@pytest.mark.parametrize(
    ("kind", "scenario"), [("dense", "class"), ("dense", "backdoor"), ("convolutional", "subset")]
)
def test_the_result_is_that_of_a_training_that_never_had_the_records(
    kind: str, scenario: str
) -> None:
    e = make_remembered("sisa", kind, scenario)
    unlearned = unlearn("sisa", e.network, e.forget, e.retain, scenario=scenario, history=e.history)
    shuffled = e.retain.take(np.random.default_rng(0).permutation(len(e.retain)))
    plan = without(history_of(kind, scenario).plan, e.forget)
    never, _ = train_shards(ARCHITECTURES[kind](), shuffled, plan)
    assert unlearned.network is not None
    assert semantic_digest(unlearned.network) == semantic_digest(never)
    assert semantic_digest(never) != semantic_digest(e.network)


def test_only_what_came_after_the_first_forgotten_record_is_trained_again() -> None:
    e, history = make_remembered("sisa", "dense", "subset"), history_of("dense", "subset")
    train, plan = joined(e.forget, e.retain), history.plan
    last = [n for n in range(len(train)) if first_touched(plan, train.take([n])).sum() == 8]
    rest = np.setdiff1d(np.arange(len(train)), last[:1])
    result = unlearn(
        "sisa",
        e.network,
        train.take(last[:1]),
        train.take(rest),
        history=history,
        scenario="subset",
    )
    assert result.unlearned.notes["trained_slices"] == 1  # of 9: the last of one shard
    assert result.passes < 0.5 * len(train) * RECIPE.epochs / plan.shards
    _, after = retrain_shards(e.network, history, train.take(last[:1]), train.take(rest))
    changed = (after.checkpoints != history.checkpoints).any(axis=2)
    assert changed.sum() == 1 and changed[:, -1].any()


def test_a_second_request_starts_from_the_history_of_the_first() -> None:
    train, _ = split()
    plan = make_plan(train, SHORT, 3, shards=2, slices=2)
    network, history = train_shards(dense(), train, plan)
    once, history = retrain_shards(network, history, train.take([0, 1]), train.take(range(2, 900)))
    twice, _ = retrain_shards(once, history, train.take([2, 3]), train.take(range(4, 900)))
    never, _ = train_shards(dense(), train.take(range(4, 900)), without(plan, train.take(range(4))))
    assert semantic_digest(twice) == semantic_digest(never)


def test_the_same_record_twice_is_in_one_place_and_either_may_go() -> None:
    train, _ = split()
    doubled = train.take([*range(100), 7])
    plan = make_plan(doubled, SHORT, 0, shards=2, slices=2)
    assert plan.count.sum() == 101 and len(plan.records) == 100
    network, history = train_shards(dense(), doubled, plan)
    after, _ = retrain_shards(network, history, train.take([7]), train.take(range(100)))
    never, _ = train_shards(dense(), train.take(range(100)), without(plan, train.take([7])))
    assert semantic_digest(after) == semantic_digest(never)


def test_records_other_than_those_trained_on_are_refused() -> None:
    e = make_remembered("sisa", "dense", "subset")
    with pytest.raises(Refused, match="2 of the forgotten records are not among"):
        unlearn("sisa", e.network, e.holdout.take([0, 1]), e.retain, history=e.history)
    with pytest.raises(Refused, match="together are not those of the history"):
        unlearn("sisa", e.network, e.forget, e.retain.take(range(700)), history=e.history)
    log = make_remembered("amnesiac", "dense", "subset")
    with pytest.raises(Refused, match="needs the checkpoints of shards"):
        unlearn("sisa", log.network, e.forget, e.retain, history=log.history)


def test_fewer_records_than_places_are_refused() -> None:
    with pytest.raises(Refused, match="5 different records in 3 shards of 2 slices"):
        make_plan(split()[0].take(range(5)), SHORT, 0, shards=3, slices=2)


@pytest.mark.parametrize("architecture", [dense, convolutional])
def test_an_ensemble_is_the_mean_of_its_branches_and_survives_its_file(
    architecture: type[Network],
) -> None:
    branches = [fresh(architecture(), seed).network() for seed in range(3)]
    network = ensemble(branches)
    x = split()[1].x[:50]
    mean = np.mean([logits(b, x) for b in branches], axis=0)
    np.testing.assert_allclose(logits(network, x), mean, atol=1e-6)
    back = network_from_onnx(network_to_onnx(network), isolated=False)
    assert semantic_digest(back) == semantic_digest(network)
    found = branches_of(back, 3)
    assert [semantic_digest(b) for b in found] == [semantic_digest(b) for b in branches]
    with pytest.raises(ValueError, match="no mean of 2"):
        branches_of(back, 2)
    with pytest.raises(ValueError, match="one architecture"):
        ensemble([branches[0], fresh(dense(hidden=(5,)), 0).network()])


def test_slices_cost_together_what_training_at_once_would() -> None:
    plan = make_plan(split()[0], Recipe(epochs=40), 0, shards=3, slices=4)
    epochs = epochs_of(plan)
    assert epochs == [16, 16, 16, 16]
    share = sum(n * (k + 1) / 4 for k, n in enumerate(epochs))
    assert share == 40
