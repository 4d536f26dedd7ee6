"""Every attack by its name, listed explicitly: what is not here is not run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attacks.base import BASE
from attacks.bavaria import BAVARIA
from attacks.difference import DIFFERENCE
from attacks.iam import IAM
from attacks.interface import Attack
from attacks.label_only import AUGMENTATION, BOUNDARY, GAP
from attacks.learned import DIRECT, LEARNED
from attacks.lira import OFFLINE, ONLINE
from attacks.neighbourhood import NEIGHBOURHOOD
from attacks.patch_support import PATCH_SUPPORT
from attacks.population import POPULATION
from attacks.quantile import QUANTILE
from attacks.reference import REFERENCE_RANK
from attacks.rmia import RMIA
from attacks.ruli import RULI
from attacks.thresholds import CONFIDENCE, ENTROPY, LOSS, MARGIN, MODIFIED_ENTROPY
from attacks.u_lira import U_LIRA

_ALL = (
    LOSS,
    CONFIDENCE,
    ENTROPY,
    MODIFIED_ENTROPY,
    MARGIN,
    POPULATION,
    QUANTILE,
    LEARNED,
    DIRECT,
    GAP,
    AUGMENTATION,
    BOUNDARY,
    NEIGHBOURHOOD,
    ONLINE,
    OFFLINE,
    RMIA,
    REFERENCE_RANK,
    BASE,
    BAVARIA,
    PATCH_SUPPORT,
    U_LIRA,
    RULI,
    IAM,
    DIFFERENCE,
)

REGISTRY: Mapping[str, Attack] = MappingProxyType({attack.name: attack for attack in _ALL})


def attack(name: str) -> Attack:
    """Return the attack of this name; ValueError, listing the names, when there is none."""
    try:
        return REGISTRY[name]
    except KeyError:
        raise ValueError(f"no attack is called {name!r}; there are {', '.join(REGISTRY)}") from None
