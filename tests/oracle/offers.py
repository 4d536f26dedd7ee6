"""Multipliers as a good, a careless or a dishonest owner offers them, for whatever is claimed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.check import Claims, Findings, Verdict, check_claims
from auditkit.network.graph import Network
from auditkit.network.multipliers import Multipliers, Objective
from auditkit.network.region import Box
from auditkit.patch.gates import Patch
from auditkit.patch.sharpen import Sharpener
from tests.oracle.judge import Checker

Generator = np.random.Generator
Rows = NDArray[np.float64]
Index = NDArray[np.int64]


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


def misname(offer: Multipliers, how: str, rng: Generator) -> tuple[Index, Index, Index]:
    """Return the record, objective and index [K] that the rows are said to be for."""
    record, objective, index = offer.record, offer.objective, offer.index
    match how:
        case "other records":
            record = rng.permutation(record.max(initial=0) + 1)[record]
        case "no such record":
            record = np.where(rng.random(len(record)) < 0.5, record + 2**20, record)
        case "other objectives":
            objective = (objective + rng.integers(1, len(Objective), len(record))) % len(Objective)
        case "other indices":
            index = rng.integers(0, 2 * (index.max(initial=0) + 1), len(index))
        case "no such index":
            index = np.where(rng.random(len(index)) < 0.5, 2**30 - 1, index)
    return record, objective, index


WAYS = ("good", "negative", "all negative", "huge", "greatest", "tiny", "nan", "infinite")
WAYS += ("other units", "other rows", "random", "scaled")
WAYS += ("other records", "no such record", "other objectives", "other indices", "no such index")


def with_proofs(how: str, rng: Generator, exact: bool | None = None) -> Checker:
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
        keys = misname(offer, how, rng)
        offer = Multipliers.of(patch.units, *keys, spoilt)
        plain = check_claims(network, patch, claims, lower, upper, exact=exact)
        found = check_claims(network, patch, claims, lower, upper, offer, exact=exact)
        for name in ("region", "deployed"):  # whatever is offered, it costs nothing
            lost = (getattr(plain, name) == Verdict.PROVED) & (
                getattr(found, name) != Verdict.PROVED
            )
            assert not lost.any(), f"{name}: multipliers unproved a claim"
        return found

    return checker
