"""Every method in every scenario that it claims, on dense and convolutional networks; no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from auditkit.network.digest import semantic_digest
from auditkit.unlearning.interface import Refused, Scenario, UnlearnedModel
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
    if "retain" in METHODS[name].needs:
        with pytest.raises(Refused, match="needs retained records"):
            run(name, replace(e, retain=e.retain.take([])))
    if "holdout" in METHODS[name].needs:
        with pytest.raises(Refused, match="needs unseen records"):
            unlearn(name, e.network, e.forget, e.retain, None, scenario=e.scenario)
    if "history" in METHODS[name].needs:
        with pytest.raises(Refused, match="needs what training left behind"):
            unlearn(name, e.network, e.forget, e.retain, e.holdout, scenario=e.scenario)
