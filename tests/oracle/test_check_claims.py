"""The checker against the exact oracle: nothing false is proved, nothing true is refuted."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from tests.oracle.judge import Tally, examine
from tests.oracle.mutations import MUTATIONS, honest
from tests.oracle.networks import FAMILIES, STYLES, claims_for, handmade, records, weights

TALLIES = {"random": Tally(), "honest": Tally(), "mutated": Tally()}
ROUNDS = 2


def generator(*names: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(names).encode()))


def random_claims(family: str, style: str, dtype: type, number: int) -> None:
    rng = generator(family, style, dtype.__name__, number)
    network = FAMILIES[family](weights(style, dtype, rng), dtype, rng)
    x = records(network, 3, rng)
    patch = handmade(network, x, rng)
    for claims in claims_for(patch, x, rng):
        onnx = dtype == np.float32 and number == 0
        examine(network, patch, claims, rng, TALLIES["random"], onnx=onnx)


def mutated_claims(name: str, family: str, number: int) -> None:
    rng = generator(name, family, number)
    dtype = np.float32 if number % 2 == 0 else np.float64
    style = ("normal", "zeros", "integers", "mixed")[int(rng.integers(4))]
    network = FAMILIES[family](weights(style, dtype, rng), dtype, rng)
    submitted = honest(network, records(network, 3, rng), rng)
    if submitted is None or not len(submitted[1]):
        return
    patch, claims = MUTATIONS[name](*submitted, rng)
    tally = TALLIES["honest" if name == "honest" else "mutated"]
    examine(network, patch, claims, rng, tally, onnx=dtype == np.float32 and number % 4 == 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_random_claims(family: str, style: str, dtype: type) -> None:
    for number in range(ROUNDS):
        random_claims(family, style, dtype, number)


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutated_claims(name: str) -> None:
    for family in FAMILIES:
        for number in range(2):
            mutated_claims(name, family, number)


@pytest.mark.parametrize("family", FAMILIES)
def test_honest_claims(family: str) -> None:
    for number in range(2, 8):
        mutated_claims("honest", family, number)


def test_shares(capsys: pytest.CaptureFixture[str]) -> None:
    """Print how often a true claim stays unproved; nothing is asserted of it."""
    with capsys.disabled():
        for name, tally in TALLIES.items():
            print(f"\n{name} patches", *tally.lines(), sep="\n  ")
