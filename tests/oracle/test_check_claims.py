"""The checker against the exact oracle: nothing false is proved, nothing true is refuted."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracle.cases import Case, mutated_case, random_case
from tests.oracle.judge import Tally, examine
from tests.oracle.mutations import MUTATIONS
from tests.oracle.networks import EVERY_FAMILY, STYLES

TALLIES = {"random": Tally(), "honest": Tally(), "mutated": Tally()}
ROUNDS = 2


def judge(case: Case | None, *, onnx: bool) -> None:
    if case is None:
        return
    for claims in case.claims:
        runs = onnx and case.network.dtype == np.float32
        examine(case.network, case.patch, claims, case.rng, TALLIES[case.kind], onnx=runs)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_random_claims(family: str, style: str, dtype: type) -> None:
    for number in range(ROUNDS):
        judge(random_case(family, style, dtype, number), onnx=number == 0)


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutated_claims(name: str) -> None:
    for family in EVERY_FAMILY:
        for number in range(2):
            judge(mutated_case(name, family, number), onnx=number == 0)


@pytest.mark.parametrize("family", EVERY_FAMILY)
def test_honest_claims(family: str) -> None:
    for number in range(2, 8):
        judge(mutated_case("honest", family, number), onnx=number == 4)


def test_shares(capsys: pytest.CaptureFixture[str]) -> None:
    """Print how often a true claim stays unproved; nothing is asserted of it."""
    with capsys.disabled():
        for name, tally in TALLIES.items():
            print(f"\n{name} patches", *tally.lines(), sep="\n  ")
