"""Inputs that open a gate: found where there are any, by either way of looking."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from auditkit.threats import forge, trigger
from auditkit.threats.trigger import find_trigger
from tests.threats.conftest import Make


@pytest.mark.parametrize("numbers", [trigger.PROGRAM_NUMBERS, 0], ids=["program", "descent"])
def test_every_gate_of_an_honest_patch_can_be_opened(
    numbers: int, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trigger, "PROGRAM_NUMBERS", numbers)
    honest = make("redirect")
    starts = np.random.default_rng(0).random((8, 64)).astype(np.float32)
    for gate in range(5):
        found = find_trigger(honest, gate, starts)
        assert found.x is not None and found.openness > 0 and found.effect > 0
        assert ((found.x >= 0) & (found.x <= 1)).all()


def test_a_pattern_that_no_input_has_is_shown_to_have_no_region(make: Make) -> None:
    honest = make("redirect")
    group = honest.patch.groups[0]
    patch = forge.with_groups(honest.patch, [dataclasses.replace(group, patterns=~group.patterns)])
    submission = dataclasses.replace(honest, patch=patch)
    found = find_trigger(submission, 0, honest.forget.x[:2])  # type: ignore[union-attr]
    assert found.x is None and found.empty
