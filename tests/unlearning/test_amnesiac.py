"""What the log takes back is what the batches did, and nothing of the repair hides that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from auditkit.network.evaluate import logits
from auditkit.records import Records
from auditkit.unlearning.backdoor import success
from auditkit.unlearning.history import UpdateLog
from auditkit.unlearning.interface import Refused
from auditkit.unlearning.logged import together, train_logged, undone
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.training import Recipe, fresh
from auditkit.unlearning.weights import weights_of
from tests.unlearning.conftest import dense, joined, make_example, make_remembered, split
from tests.unlearning.test_methods import made


def test_all_batches_taken_back_leave_the_weights_that_training_began_with() -> None:
    e = make_remembered("amnesiac", "dense", "subset")
    assert isinstance(e.history, UpdateLog)
    weights, batches = undone(e.network, e.history, joined(e.forget, e.retain))
    assert batches == len(e.history.updates)
    np.testing.assert_allclose(weights, weights_of(fresh(dense(), 0).network()), atol=1e-6)


def test_only_batches_with_forgotten_records_are_taken_back() -> None:
    e = make_remembered("amnesiac", "dense", "subset")
    assert isinstance(e.history, UpdateLog)
    one = e.forget.take([5])
    weights, batches = undone(e.network, e.history, one)
    assert batches == 1
    expected = weights_of(e.network) - e.history.updates[e.history.batch[5]]
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_records_that_were_not_trained_on_are_refused() -> None:
    e = make_remembered("amnesiac", "dense", "subset")
    with pytest.raises(Refused, match="3 of the forgotten records are not among"):
        unlearn("amnesiac", e.network, e.holdout.take([0, 1, 2]), e.retain, history=e.history)


def test_the_history_of_shards_is_refused() -> None:
    e = make_remembered("sisa", "dense", "subset")
    with pytest.raises(Refused, match="needs the log of updates"):
        unlearn("amnesiac", e.network, e.forget, e.retain, history=e.history)


def test_a_persons_records_are_in_as_few_batches_as_can_be() -> None:
    train, _ = split()
    people = replace(train, subject=tuple(i % 45 for i in range(len(train))))  # 20 records each
    order = together(people, np.random.default_rng(0))
    assert sorted(order) == list(range(len(train)))
    assert len(set((order % 45)[:20])) == 1
    person = people.take(np.arange(len(train)) % 45 == 7)
    network, log = train_logged(dense(), people, Recipe(epochs=2), seed=0)
    assert undone(network, log, person)[1] <= 2


def test_a_class_is_forgotten_and_a_trigger_too() -> None:
    after = made("amnesiac", make_example("dense", "class").scenario, "dense")
    e = make_example("dense", "class")
    assert accuracy(after.predict(e.forget.x), e.forget) == 0.0
    assert accuracy(after.predict(e.retain.x), e.retain) > 0.93
    e = make_remembered("amnesiac", "dense", "backdoor")
    assert e.asked is not None
    assert success(lambda x: logits(e.network, x), e.asked) > 0.9
    after = made("amnesiac", e.scenario, "dense")
    assert success(after.predict, e.asked) < 0.1
    assert after.unlearned.notes["share"] > 0.9  # hardly a batch was spared, and the record says so


def accuracy(answers: np.ndarray, records: Records) -> float:
    return float((answers.argmax(axis=1) == records.y).mean())


def test_repair_ends_when_nothing_is_lost_and_says_when_it_did_not() -> None:
    e = make_remembered("amnesiac", "dense", "subset")
    one, rest = e.forget.take([0]), joined(e.forget.take(range(1, len(e.forget))), e.retain)
    quick = unlearn("amnesiac", e.network, one, rest, scenario="subset", history=e.history)
    assert quick.unlearned.notes["repair_epochs"] < 5 and quick.reached
    short = unlearn(
        "amnesiac", e.network, e.forget, e.retain, scenario="subset", history=e.history,
        settings={"epochs": 1},
    )  # fmt: skip
    assert not short.reached and "after 1 epochs of repair" in short.unlearned.shortfall
