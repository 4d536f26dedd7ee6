"""The checker against the exact oracle: nothing false is proved, nothing true is refuted."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from tests.oracle.judge import Tally, examine
from tests.oracle.networks import FAMILIES, STYLES, claims_for, handmade, records, weights

TALLY = Tally()
ROUNDS = 4


def generator(*names: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(names).encode()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_random_claims(family: str, style: str, dtype: type) -> None:
    for number in range(ROUNDS):
        rng = generator(family, style, dtype.__name__, number)
        network = FAMILIES[family](weights(style, dtype, rng), dtype, rng)
        x = records(network, 3, rng)
        patch = handmade(network, x, rng)
        for claims in claims_for(patch, x, rng):
            onnx = dtype == np.float32 and number == 0
            examine(network, patch, claims, rng, TALLY, onnx=onnx)


def test_shares(capsys: pytest.CaptureFixture[str]) -> None:
    """Print how often a true claim stays unproved; nothing is asserted of it."""
    with capsys.disabled():
        print("", *TALLY.lines(), dict(TALLY.counts), sep="\n  ")
