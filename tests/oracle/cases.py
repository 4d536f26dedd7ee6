"""Random and adversarial cases by number: a network, a patch and claims, from one seed each."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from auditkit.certificate.check import Claims
from auditkit.network.graph import Network
from auditkit.patch.gates import Patch
from tests.oracle.mutations import MUTATIONS, honest
from tests.oracle.networks import EVERY_FAMILY, STYLES, claims_for, handmade, records, weights

MUTATED_STYLES = ("normal", "zeros", "integers", "mixed", "duplicates", "dead")


@dataclass(frozen=True, eq=False)
class Case:
    """What is put to the checker; `kind` is random, honest or mutated, `name` says which."""

    kind: str
    name: str
    family: str
    style: str
    network: Network
    patch: Patch
    claims: list[Claims]
    rng: np.random.Generator


def generator(*names: object) -> np.random.Generator:
    """Return a generator that depends on the names alone."""
    return np.random.default_rng(zlib.crc32(repr(names).encode()))


def random_case(family: str, style: str, dtype: type, number: int) -> Case:
    """Return a patch with gates at records and offsets, sharpness and claims at random."""
    rng = generator(family, style, dtype.__name__, number)
    network = EVERY_FAMILY[family](weights(style, dtype, rng), dtype, rng)
    x = records(network, 3, rng)
    patch = handmade(network, x, rng)
    claims = claims_for(patch, x, rng)
    return Case("random", "random", family, style, network, patch, claims, rng)


def mutated_case(name: str, family: str, number: int) -> Case | None:
    """Return an honest patch after the mutation `name`; None where there is no honest one."""
    rng = generator(name, family, number)
    dtype = np.float32 if number % 2 == 0 else np.float64
    style = MUTATED_STYLES[int(rng.integers(len(MUTATED_STYLES)))]
    network = EVERY_FAMILY[family](weights(style, dtype, rng), dtype, rng)
    submitted = honest(network, records(network, 3, rng), rng)
    if submitted is None or not len(submitted[1]):
        return None
    patch, claims = MUTATIONS[name](*submitted, rng)
    kind = "honest" if name == "honest" else "mutated"
    return Case(kind, name, family, style, network, patch, [claims], rng)


def numbered_case(number: int) -> Case | None:
    """Return case `number` of the study: a third random, a third honest, a third mutated."""
    rng = generator("study", number)
    family = list(EVERY_FAMILY)[int(rng.integers(len(EVERY_FAMILY)))]
    kind = number % 3
    if kind == 0:
        style = STYLES[int(rng.integers(len(STYLES)))]
        return random_case(family, style, (np.float32, np.float64)[int(rng.integers(2))], number)
    name = "honest" if kind == 1 else str(rng.choice([m for m in MUTATIONS if m != "honest"]))
    return mutated_case(name, family, 1000 + number)
