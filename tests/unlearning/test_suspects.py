"""Poisoned records are found, and a network that nobody poisoned raises no alarm."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.unlearning.backdoor import choose_trigger, poison
from auditkit.unlearning.suspects import LEAST_EXCESS, find_suspects, persistence
from auditkit.unlearning.training import train_from_scratch
from tests.unlearning.conftest import ARCHITECTURES, RECIPE, TARGET, dense, make_example, split


@cache
def poisoned(kind: str) -> tuple[Network, Records, NDArray[np.int64]]:
    """A network trained on records of which 8 % are poisoned, the records, and which."""
    train, _ = split()
    bad, rows = poison(train, choose_trigger(train, TARGET), 0.08, 0)
    return train_from_scratch(ARCHITECTURES[kind](), bad, RECIPE, seed=0), bad, rows


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_poisoned_records_are_found_and_hardly_another(kind: str) -> None:
    network, train, rows = poisoned(kind)
    found = find_suspects(network, train, RECIPE)
    assert [c.label for c in found.alarms] == [TARGET]
    right = np.isin(np.flatnonzero(found.suspects), rows)
    assert right.mean() > 0.9 and right.sum() > 0.8 * len(rows)
    (alarm,) = found.alarms
    assert alarm.share - alarm.control >= LEAST_EXCESS
    assert alarm.disputed == found.suspects.sum() <= alarm.persistent <= alarm.records


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_a_network_that_was_not_poisoned_raises_no_alarm(kind: str) -> None:
    train, _ = split()
    e = make_example(kind, "subset")
    found = find_suspects(e.network, train, RECIPE)
    assert not found.alarms and not found.suspects.any()
    assert [c.label for c in found.classes] == list(range(10))


def test_one_class_may_be_looked_at_alone() -> None:
    network, train, _ = poisoned("dense")
    assert not find_suspects(network, train, RECIPE, label=7).suspects.any()
    found = find_suspects(network, train, RECIPE, label=TARGET)
    assert len(found.classes) == 1 and found.suspects.any()
    assert set(train.y[found.suspects]) == {TARGET}


def test_wrong_labels_alone_are_not_taken_for_a_trigger() -> None:
    """Mislabelled records are learned one by one and do not carry their label with them."""
    train, _ = split()
    y = train.y.copy()
    wrong = np.random.default_rng(0).permutation(np.flatnonzero(y != TARGET))[:72]
    y[wrong] = TARGET
    network = train_from_scratch(dense(), replace(train, y=y), RECIPE, seed=0)
    assert not find_suspects(network, replace(train, y=y), RECIPE).alarms


def test_a_trigger_persists_at_another_domain_too() -> None:
    train, _ = split()
    wide = replace(train, x=(20 * train.x - 5).astype(np.float32))
    bad, rows = poison(wide, choose_trigger(wide, TARGET, (-5.0, 15.0)), 0.08, 0)
    network = train_from_scratch(dense(), bad, RECIPE, seed=0)
    kept = persistence(network, bad, seed=0, domain=(-5.0, 15.0))
    chosen = np.isin(np.arange(len(bad)), rows)
    assert np.median(kept[chosen]) > 0.9 > 0.6 > np.median(kept[~chosen])
