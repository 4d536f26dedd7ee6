"""Distribution matching: what is compared with what, the distance, and that a miss is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance_nd

from auditkit.unlearning import distribution_matching as dm
from auditkit.unlearning.interface import Refused, Scenario, Task
from auditkit.unlearning.registry import unlearn
from tests.unlearning.conftest import TARGET, make_example


def _task(scenario: str) -> Task:
    e = make_example("dense", scenario)
    return Task(e.network, e.forget, e.retain, e.holdout, e.scenario, 0)


def test_unseen_records_are_used_once_each_and_of_the_right_labels() -> None:
    for scenario in Scenario:
        task = _task(scenario)
        parts = dm.split(task)
        labels = np.concatenate([parts.fit.y, parts.stop.y, parts.final.y])
        rows = np.concatenate(
            [p.x.reshape(len(p), -1) for p in (parts.fit, parts.stop, parts.final)]
        )
        assert len(np.unique(rows, axis=0)) == len(rows)
        if scenario is Scenario.SUBSET:
            assert set(labels) == set(task.forget.y)
        else:
            assert TARGET not in labels and len(set(labels)) == 9


def test_the_sliced_distance_in_one_dimension_is_that_of_the_samples() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 1)), rng.normal(1.0, 2.0, size=(40, 1))
    one, other, along = torch.tensor(a), torch.tensor(b), torch.ones((1, 1)).double()
    found = dm.sliced_distance(one, other, along)
    # in one dimension the optimal coupling sorts both sides
    assert float(found) == pytest.approx(float(((np.sort(a, 0) - np.sort(b, 0)) ** 2).mean()))
    assert (
        float(dm.sliced_distance(torch.tensor(a), torch.tensor(a), torch.ones((1, 1)).double()))
        == 0
    )


def test_partners_are_of_the_stratum_and_no_one_is_drawn_twice_before_all_are() -> None:
    mine, theirs = np.repeat([0, 1], [7, 3]), np.repeat([0, 1, 2], [4, 5, 9])
    chunks, drawn = dm.partners(mine, theirs, np.random.default_rng(0))
    assert (theirs[drawn] == mine).all()
    assert sorted(np.concatenate(chunks).tolist()) == list(range(10))
    assert np.bincount(drawn[:7], minlength=4)[:4].max() == 2
    assert len(set(drawn[7:].tolist())) == 3


def test_what_a_trigger_taught_is_matched_away() -> None:
    e = make_example("dense", "backdoor")
    made = unlearn(
        "distribution-matching", e.network, e.forget, e.retain, e.holdout, scenario="backdoor"
    )
    assert e.asked is not None
    assert (made.predict(e.asked.x).argmax(axis=1) == TARGET).mean() < 0.05
    assert (made.predict(e.retain.x).argmax(axis=1) == e.retain.y).mean() > 0.95
    # closer to unseen records than the original was, by somebody else's distance
    others = e.holdout.take(e.holdout.y != TARGET)
    rows = np.random.default_rng(0).permutation(len(others))[: len(e.forget)]

    def apart(predict: object) -> float:
        z, w = predict(e.forget.x), predict(others.x[rows])  # type: ignore[operator]
        return float(wasserstein_distance_nd(z[:40], w[:40]))

    from auditkit.network.evaluate import logits

    assert apart(made.predict) < 0.6 * apart(lambda x: logits(e.network, x))


def test_a_test_that_still_rejects_is_said() -> None:
    e = make_example("dense", "class")
    settings = {"rounds": 1, "steps": 3}
    made = unlearn(
        "distribution-matching", e.network, e.forget, e.retain, e.holdout, settings=settings
    )
    assert not made.reached and "still rejects" in made.unlearned.shortfall
    assert made.unlearned.notes["p_final"] < 0.05


def test_too_few_unseen_records_are_refused() -> None:
    e = make_example("dense", "subset")
    with pytest.raises(Refused, match="unseen records"):
        unlearn(
            "distribution-matching", e.network, e.forget, e.retain, e.holdout.take(np.arange(2))
        )
