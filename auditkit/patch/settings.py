"""What a patch is asked to do: the settings an owner declares and an auditor recomputes from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from auditkit.patch.gates import MOST_BANDS


class Spec(StrEnum):
    """What the outputs shall be on a forgotten record's region."""

    REDIRECT = "redirect"
    NEUTRALISE = "neutralise"
    REFERENCE = "reference"


class Scope(StrEnum):
    """Which gates share an offset: none, those of a cluster, or all of a class."""

    POINT = "point"
    CLUSTER = "cluster"
    CLASS = "class"


class Method(StrEnum):
    """How a class is removed: by patches on its records, or by shifting its logit everywhere."""

    PRUNE = "prune"
    SUPPRESS = "suppress"


@dataclass(frozen=True)
class Domain:
    """The input box [lower, upper] of every feature."""

    lower: float = 0.0
    upper: float = 1.0

    @property
    def width(self) -> float:
        return self.upper - self.lower


DEFAULT_MARGIN = {Spec.REDIRECT: 0.1, Spec.NEUTRALISE: 0.01, Spec.REFERENCE: 0.01}
GREATEST_MARGIN = 1e6  # beyond it float32 has nothing left for the logits
DEFAULT_RADIUS_SHARE = 0.01  # of the domain's width
DEFAULT_SHARPNESS = 100.0  # over the typical size of a pre-activation


@dataclass(frozen=True)
class Settings:
    """A patch request; nothing is left to a default but the sharpness, which needs a network.

    `radius` is in the ∞-norm in input units, infinite for the whole region. `margin` is the least
    lead of the target logit (redirect) or the greatest deviation of a logit from its target
    (neutralise, reference). `bands` is how many bands narrow each gate. Raises ValueError when a
    setting is impossible.
    """

    spec: Spec
    scope: Scope
    method: Method
    domain: Domain
    radius: float
    margin: float
    sharpness: float | None
    clusters: int | None = None
    target_class: int | None = None
    bands: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        lower, upper = self.domain.lower, self.domain.upper
        # of finite width, so that every step within it is a number
        if not (math.isfinite(upper - lower) and lower < upper):
            raise ValueError(f"the domain [{lower}, {upper}] is not an interval of finite width")
        if not self.radius > 0:
            raise ValueError(f"the radius {self.radius} is not positive")
        if not 0 < self.margin <= GREATEST_MARGIN:
            raise ValueError(f"the margin {self.margin} is not in (0, {GREATEST_MARGIN:g}]")
        if self.sharpness is not None and not (
            math.isfinite(self.sharpness) and self.sharpness > 0
        ):
            raise ValueError(f"the sharpness {self.sharpness} is not positive")
        if self.scope is Scope.CLUSTER and self.spec is Spec.REFERENCE:
            raise ValueError("cluster scope shares one offset: it takes redirect or neutralise")
        if self.scope is Scope.CLASS and self.target_class is None:
            raise ValueError("class scope needs a target class")
        if self.scope is not Scope.CLASS and self.target_class is not None:
            raise ValueError("a target class needs class scope")
        if self.method is Method.SUPPRESS and self.scope is not Scope.CLASS:
            raise ValueError("suppress needs class scope")
        if not 0 <= self.bands <= MOST_BANDS:
            raise ValueError(f"{self.bands} bands, not 0 to {MOST_BANDS}")
        if self.clusters is not None and self.clusters < 1:
            raise ValueError(f"{self.clusters} clusters")

    def resolved(self, typical_activation: float) -> Settings:
        """Return the settings with a sharpness: a power of two near the default share."""
        if self.sharpness is not None:
            return replace(self, sharpness=float(np.float32(self.sharpness)))
        exponent = math.log2(DEFAULT_SHARPNESS / (typical_activation or 1.0))
        return replace(self, sharpness=2.0 ** min(max(round(exponent), -60), 60))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; an infinite radius is the string "inf"."""
        values = asdict(self)
        values["domain"] = [self.domain.lower, self.domain.upper]
        values["radius"] = "inf" if math.isinf(self.radius) else self.radius
        return {k: v.value if isinstance(v, StrEnum) else v for k, v in values.items()}

    @staticmethod
    def from_json(values: dict[str, Any]) -> Settings:
        """Read what `to_json` wrote; ValueError, TypeError or KeyError on anything else."""
        if set(values) != set(Settings.__dataclass_fields__):
            raise ValueError(f"has fields {sorted(values)}")
        lower, upper = values["domain"]
        radius = math.inf if values["radius"] == "inf" else _number(values["radius"])
        return Settings(
            spec=Spec(values["spec"]),
            scope=Scope(values["scope"]),
            method=Method(values["method"]),
            domain=Domain(_number(lower), _number(upper)),
            radius=radius,
            margin=_number(values["margin"]),
            sharpness=_number(values["sharpness"]),
            clusters=_whole(values["clusters"]),
            target_class=_whole(values["target_class"]),
            bands=_whole(values["bands"]) or 0,
            seed=_whole(values["seed"]) or 0,
        )


def resolve_settings(
    spec: str = "redirect",
    scope: str = "point",
    *,
    method: str = "prune",
    domain: Domain | None = None,
    radius: float | None = None,
    margin: float | None = None,
    sharpness: float | None = None,
    clusters: int | None = None,
    target_class: int | None = None,
    bands: int = 0,
    seed: int = 0,
) -> Settings:
    """Return settings with the documented defaults filled in; ValueError when impossible."""
    domain = domain or Domain()
    return Settings(
        spec=Spec(spec),
        scope=Scope(scope),
        method=Method(method),
        domain=domain,
        radius=DEFAULT_RADIUS_SHARE * domain.width if radius is None else float(radius),
        margin=DEFAULT_MARGIN[Spec(spec)] if margin is None else float(margin),
        sharpness=None if sharpness is None else float(sharpness),
        clusters=clusters,
        target_class=target_class,
        bands=bands,
        seed=seed,
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is not a number")
    return float(value)


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value
