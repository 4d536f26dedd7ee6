"""Multipliers of every kind, good and bad, against the exact oracle: none proves what is false."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from auditkit.certificate.check import Claims, Findings, Verdict, check_claims
from auditkit.network.evaluate import pattern
from auditkit.network.graph import Network
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.network.region import Box, Piece
from auditkit.patch.gates import Patch
from auditkit.patch.sharpen import Sharpener
from tests.oracle.exact import ExactNetwork, exact
from tests.oracle.judge import Tally, examine
from tests.oracle.mutations import MUTATIONS, honest
from tests.oracle.networks import FAMILIES, claims_for, handmade, records, weights

Generator = np.random.Generator
Rows = NDArray[np.float64]


def good(network: Network, patch: Patch, claims: Claims) -> Multipliers:
    """Return the multipliers that a prover finds for every objective of every claim."""
    box = Box.around(claims.x, claims.radius, 0.0, 1.0)
    bits = patch.table.patterns[claims.gate]
    count, classes, gates = len(claims), patch.classes, patch.gates
    keys, logits, units = [], [], []
    for row in range(count):
        for j in range(classes):
            for kind in (Objective.UPPER, Objective.LOWER):
                seed = np.zeros(classes)
                seed[j] = 1.0 if kind is Objective.UPPER else -1.0
                if claims.target[row] >= 0:
                    seed[claims.target[row]] -= seed[j]
                keys.append((row, int(kind), j))
                logits.append(seed)
                units.append(np.zeros(patch.units))
        for gate in range(gates):
            differs = bits[row] != patch.table.patterns[gate]
            keys.append((row, int(Objective.GATE), gate))
            logits.append(np.zeros(classes))
            units.append(np.where(bits[row], -1.0, 1.0) * differs)
    with np.errstate(all="ignore"):
        found = Sharpener(network, bits, box).solve(
            np.array([k[0] for k in keys]), np.array(logits), np.array(units)
        )
    record, objective, index = (np.array(column) for column in zip(*keys, strict=True))
    return Multipliers.of(patch.units, record, objective, index, list(found.multipliers))


def spoil(rows: Rows, how: str, rng: Generator) -> Rows:
    """Return multipliers [K, H] as a careless or dishonest owner has them."""
    somewhere = rng.random(rows.shape) < 0.3
    match how:
        case "negative":
            return np.where(somewhere, -rows - 1, rows)
        case "all negative":
            return -np.abs(rng.normal(size=rows.shape)) * 10
        case "huge":
            return np.where(somewhere, 1e300, rows)
        case "greatest":
            return np.where(somewhere, np.finfo(float).max, rows)
        case "tiny":
            return np.where(somewhere, 5e-324, rows)
        case "nan":
            return np.where(somewhere, np.nan, rows)
        case "infinite":
            return np.where(somewhere, rng.choice([-np.inf, np.inf], size=rows.shape), rows)
        case "other units":
            return np.roll(rows, 1, axis=1)
        case "other rows":
            return np.roll(rows, 1 + int(rng.integers(5)), axis=0)
        case "random":
            return rng.exponential(size=rows.shape) * 10.0 ** rng.integers(-6, 6, rows.shape)
        case "scaled":
            return rows * 10.0 ** float(rng.integers(-3, 4))
    return rows


WAYS = ("good", "negative", "all negative", "huge", "greatest", "tiny", "nan", "infinite")
WAYS += ("other units", "other rows", "random", "scaled")
TALLIES = {way: Tally() for way in WAYS}


def with_proofs(
    how: str, rng: Generator
) -> Callable[[Network, Patch, Claims, float, float], Findings]:
    """Return a checker that is handed multipliers for whatever claims it is asked about."""

    def checker(
        network: Network, patch: Patch, claims: Claims, lower: float, upper: float
    ) -> Findings:
        usable = np.where(claims.radius > 0, claims.radius, 1e-3)
        offer = good(network, patch, Claims(claims.x, claims.gate, usable, usable, claims.target))
        rows = np.zeros((len(offer), patch.units))
        for k in range(len(offer)):
            span = slice(offer.start[k], offer.start[k + 1])
            rows[k, offer.units[span]] = offer.values[span]
        with np.errstate(all="ignore"):
            spoilt = list(spoil(rows, how, rng))
        offer = Multipliers.of(patch.units, offer.record, offer.objective, offer.index, spoilt)
        plain = check_claims(network, patch, claims, lower, upper)
        found = check_claims(network, patch, claims, lower, upper, offer)
        for name in ("region", "deployed"):  # whatever is offered, it costs nothing
            lost = (getattr(plain, name) == Verdict.PROVED) & (
                getattr(found, name) != Verdict.PROVED
            )
            assert not lost.any(), f"{name}: multipliers unproved a claim"
        return found

    return checker


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
