"""Every method in every scenario that it claims, on dense and convolutional networks; no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from auditkit.network.digest import semantic_digest
from auditkit.records import Records
from auditkit.unlearning.interface import Diverged, Refused, Scenario, UnlearnedModel
from auditkit.unlearning.registry import METHODS, unlearn
from tests.unlearning.conftest import Example, make_example, make_remembered

CLAIMED = [
    (name, scenario, kind)
    for name, method in METHODS.items()
    for scenario in method.scenarios
    for kind in ("dense", "convolutional")
]
Maker = Callable[[str, str], Example]


def run(name: str, e: Example, **changes: object) -> UnlearnedModel:
    """Run a method on an example, with its history and the network of it where it needs one."""
    network, history = e.network, None
    if "history" in METHODS[name].needs:
        remembered = make_remembered(name, e.kind, e.scenario)
        network, history = remembered.network, remembered.history
    return unlearn(
        name, network, e.forget, e.retain, e.holdout, scenario=e.scenario, seed=1, history=history,
        **changes,  # type: ignore[arg-type]
    )  # fmt: skip


@cache
def made(name: str, scenario: Scenario, kind: str) -> UnlearnedModel:
    return run(name, make_example(kind, scenario))


@pytest.mark.parametrize(("name", "scenario", "kind"), CLAIMED)
def test_it_runs_where_it_claims_and_gives_another_network(
    name: str, scenario: Scenario, kind: str
) -> None:
    e, result = make_example(kind, scenario), made(name, scenario, kind)
    answers = result.predict(e.holdout.x)
    assert answers.shape == (len(e.holdout), 10) and np.isfinite(answers).all()
    assert result.passes > 0 or name == "prune"
    assert result.used["forget"] == len(e.forget)
    if result.network is not None:
        assert semantic_digest(result.network) != semantic_digest(result.original)
    else:
        assert result.unlearned.patch is not None


@pytest.mark.parametrize(
    ("name", "scenario", "kind"), [c for c in CLAIMED if c[1] is not Scenario.SUBSET]
)
def test_the_label_goes_and_the_others_stay(name: str, scenario: Scenario, kind: str) -> None:
    e, result = make_example(kind, scenario), made(name, scenario, kind)
    labelled, kept = (
        (result.predict(r.x).argmax(axis=1) == r.y).mean() for r in (e.forget, e.retain)
    )
    assert labelled < 0.8 and kept > 0.8
    assert result.reached == (labelled <= 0.05)


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_network(name: str) -> None:
    scenario = METHODS[name].scenarios[0]
    first, again = made(name, scenario, "dense"), run(name, make_example("dense", scenario))
    if first.network is None or again.network is None:
        x = make_example("dense", scenario).holdout.x
        np.testing.assert_array_equal(first.predict(x), again.predict(x))
    else:
        assert semantic_digest(first.network) == semantic_digest(again.network)


@pytest.mark.parametrize("name", METHODS)
def test_what_it_does_not_claim_is_refused_with_the_reason(name: str) -> None:
    for scenario in set(Scenario) - set(METHODS[name].scenarios):
        with pytest.raises(Refused, match=f"{name} does .*, not {scenario}: "):
            run(name, make_example("dense", scenario))


@pytest.mark.parametrize("name", METHODS)
def test_what_it_needs_and_is_not_given_is_refused(name: str) -> None:
    e = make_example("dense", METHODS[name].scenarios[0])
    for part in ("retain", "holdout"):
        with pytest.raises(Refused, match="records"):
            run(name, replace(e, **{part: e.retain.take([])}))
    if "retain" in METHODS[name].needs:
        with pytest.raises(Refused, match="needs retained records"):
            run(name, replace(e, retain=e.retain.take([])))
    if "holdout" in METHODS[name].needs:
        with pytest.raises(Refused, match="needs unseen records"):
            unlearn(name, e.network, e.forget, e.retain, None, scenario=e.scenario)
    if "history" in METHODS[name].needs:
        with pytest.raises(Refused, match="needs what training left behind"):
            unlearn(name, e.network, e.forget, e.retain, e.holdout, scenario=e.scenario)


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if "history" in m.needs])
def test_the_history_of_another_network_is_refused(name: str) -> None:
    e = make_example("dense", "subset")
    history = make_remembered(name, "dense", "subset").history
    with pytest.raises(Refused, match="another network"):
        unlearn(name, e.network, e.forget, e.retain, scenario="subset", history=history)


@pytest.mark.parametrize("name", ["random-labels", "bad-teacher", "scrub", "gradient-ascent"])
def test_steps_that_change_nothing_give_no_model(name: str) -> None:
    """The weights are other ones, the network is what it was: so would an audit find it."""
    e = make_example("dense", "class")
    with pytest.raises(Diverged, match="as it was, up to rounding"):
        run(name, e, settings={"learning_rate": 1e-9})


@pytest.mark.parametrize("scale", [0.7, 255.0])
def test_the_scale_of_the_records_does_not_hide_that_nothing_was_done(scale: float) -> None:
    e = make_example("dense", "class")
    others = e.holdout.y != e.forget.y[0]
    never = Records(e.holdout.x[others] * scale, np.full(int(others.sum()), e.forget.y[0]))
    kept = Records(e.retain.x * scale, e.retain.y)
    with pytest.raises(Refused, match="nothing to do"):
        unlearn("gradient-ascent", e.network, never.take(np.arange(5)), kept, scenario="class")
