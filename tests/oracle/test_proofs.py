"""Multipliers of every kind, good and bad, against the exact oracle: none proves what is false."""

from __future__ import annotations

import zlib
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from auditkit.certificate.check import Claims, Verdict, check_claims
from auditkit.network.evaluate import pattern
from auditkit.network.region import Box, Piece
from tests.oracle.exact import ExactNetwork, exact
from tests.oracle.judge import Tally, examine
from tests.oracle.mutations import MUTATIONS, honest
from tests.oracle.networks import FAMILIES, claims_for, handmade, records, weights
from tests.oracle.offers import WAYS, good, with_proofs

Generator = np.random.Generator

TALLIES = {way: Tally() for way in WAYS}


def generator(*names: object) -> Generator:
    return np.random.default_rng(zlib.crc32(repr(names).encode()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", WAYS)
def test_no_proof_proves_what_is_false(how: str, family: str) -> None:
    rng = generator(how, family)
    style = str(rng.choice(["normal", "zeros", "integers", "mixed", "scaled", "denormal"]))
    network = FAMILIES[family](weights(style, np.float64, rng), np.float64, rng)
    x = records(network, 3, rng)
    for claims in claims_for(patch := handmade(network, x, rng), x, rng):
        examine(network, patch, claims, rng, TALLIES[how], checker=with_proofs(how, rng))


@pytest.mark.parametrize("how", WAYS)
def test_no_proof_helps_a_patch_that_was_tampered_with(how: str) -> None:
    for family in FAMILIES:
        rng = generator("mutated", how, family)
        style = str(rng.choice(["normal", "zeros", "integers", "mixed"]))
        network = FAMILIES[family](weights(style, np.float64, rng), np.float64, rng)
        submitted = honest(network, records(network, 3, rng), rng)
        if submitted is not None and len(submitted[1]):
            name = list(MUTATIONS)[int(rng.integers(len(MUTATIONS)))]
            patch, claims = MUTATIONS[name](*submitted, rng)
            examine(network, patch, claims, rng, TALLIES[how], checker=with_proofs(how, rng))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_bound_is_above_every_exact_value(family: str) -> None:
    """Whatever λ, objective and box: the bound is at least what the oracle finds in the set."""
    for number in range(4):
        rng = generator("ceiling", family, number)
        network = FAMILIES[family](weights("mixed", np.float64, rng), np.float64, rng)
        x = records(network, 3, rng)
        with np.errstate(all="ignore"):
            bits = pattern(network, x)
        box = Box.around(x, rng.choice([1e-3, 0.1, np.inf], size=3), 0.0, 1.0)
        piece = Piece.at(network, bits, box)
        rows = rng.integers(3, size=12)
        on_logits = rng.integers(-1, 2, size=(12, network.classes)).astype(float)
        on_units = rng.integers(-1, 2, size=(12, bits.shape[1])).astype(float)
        offered = rng.exponential(size=on_units.shape) * 10.0 ** rng.integers(-9, 9, on_units.shape)
        with np.errstate(all="ignore"):
            bound = piece.ceiling(rows, on_logits, on_units, offered)
        oracle = ExactNetwork(network)
        for k, row in enumerate(rows):
            forms, units = oracle.piece(bits[row])
            low, high = x[row] + box.step_lower[row], x[row] + box.step_upper[row]
            for y in (x[row], *(low + rng.random(x.shape[1:]) * (high - low) for _ in range(3))):
                point = exact(np.clip(y, 0, 1))
                z = [_at(form, point) for form in units]
                if any((v < 0) if bit else (v > 0) for v, bit in zip(z, bits[row], strict=True)):
                    continue
                f = [_at(form, point) for form in forms]
                value = sum(Fraction(c) * v for c, v in zip(on_logits[k], f, strict=True))
                value += sum(Fraction(c) * v for c, v in zip(on_units[k], z, strict=True))
                assert not np.isfinite(bound[k]) or Fraction(float(bound[k])) >= value


def test_a_claim_that_only_multipliers_prove() -> None:
    """The share of claims on whole regions that multipliers prove, and the box alone does not."""
    alone = offered = total = 0
    for number in range(12):
        rng = generator("needed", number)
        network = FAMILIES["dense"](weights("normal", np.float64, rng), np.float64, rng)
        submitted = honest(network, records(network, 3, rng), rng)
        if submitted is None or not len(submitted[1]):
            continue
        patch, claims = submitted
        claims = Claims(
            claims.x, claims.gate, np.full(len(claims), np.inf), claims.margin, claims.target
        )
        total += len(claims)
        alone += int((check_claims(network, patch, claims, 0.0, 1.0).region == 1).sum())
        found = check_claims(network, patch, claims, 0.0, 1.0, good(network, patch, claims))
        offered += int((found.region == Verdict.PROVED).sum())
    assert offered > alone, (alone, offered, total)


def test_shares(capsys: pytest.CaptureFixture[str]) -> None:
    """Print how often a true claim stays unproved; nothing is asserted of it."""
    with capsys.disabled():
        for way in ("good", "random"):
            print(f"\n{way} multipliers", *TALLIES[way].lines(), sep="\n  ")


def _at(form: NDArray[np.object_], y: list[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(form, y, strict=False) if a), form[-1])
