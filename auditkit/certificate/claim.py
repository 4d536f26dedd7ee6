"""claim.json: what an owner states who unlearned by another method than a patch.

It binds every file as a certificate does and proves as little by itself. What it says of method,
settings and data used is the owner's word; what can be looked at is the network that it names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from auditkit.certificate.in_toto import (
    MALFORMED,
    fields,
    hex_digest,
    number,
    short_text,
    statement_of,
    statement_parts,
    truth,
    whole,
)
from auditkit.certificate.request import Request, parse_requests, request_json
from auditkit.files import parse_json
from auditkit.patch.settings import Domain
from auditkit.refusal import refuse

PREDICATE = "urn:auditkit:unlearning-claim:v1"
SCENARIOS = ("subset", "class", "backdoor")
ASSERTIONS = ("erased", "redirected")
MOST_SETTINGS = 100
MOST_TEXT = 200
_REMEDY = "have the submission written again"

Setting = bool | int | float | str


@dataclass(frozen=True)
class StatedMethod:
    """How the owner says that the network was unlearned.

    `scenario` is what was to be forgotten: "subset", "class" or "backdoor". A setting that is a
    whole number reads back as int, whatever it was written as.
    """

    name: str
    scenario: str
    settings: Mapping[str, Setting]
    seed: int


@dataclass(frozen=True)
class StatedUse:
    """What the owner says the method was given: retained and unseen records, a training history."""

    retained: int = 0
    unseen: int = 0
    history: bool = False


@dataclass(frozen=True)
class StatedGuarantee:
    """An (epsilon, delta) guarantee as stated, and by name the numbers that it rests on."""

    epsilon: float
    delta: float
    premises: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class UnlearningClaim:
    """What an owner states about an unlearned network.

    `network` and `unlearned` are semantic digests on `domain`; `classes` those that are forgotten
    as a whole; `reached` whether the method met its own stopping rule, `shortfall` in what it did
    not; `files` give the SHA-256 of every other file.
    """

    assertion: str
    network: str
    unlearned: str
    domain: Domain
    floats: str
    method: StatedMethod
    classes: tuple[int, ...]
    used: StatedUse
    guarantee: StatedGuarantee | None
    reached: bool
    shortfall: str
    requests: tuple[Request, ...]
    files: Mapping[str, str] = field(default_factory=dict)

    def with_files(self, files: Mapping[str, str]) -> UnlearningClaim:
        """Return the same claim over these files (name → SHA-256)."""
        return replace(self, files=dict(files))


def claim_bytes(claim: UnlearningClaim) -> bytes:
    """Return claim.json."""
    return statement_of(PREDICATE, claim.files, _predicate(claim))


def parse_claim(data: bytes, what: str = "claim.json") -> UnlearningClaim:
    """Read claim.json; EvidenceError when it is malformed.

    Whether it is canonical and matches its own digest is `in_toto.statement_problem`'s to say.
    """
    document = parse_json(data, what)
    try:
        return _claim(document)
    except MALFORMED as error:
        found = f"{type(error).__name__}: {error}"[:200]
        refuse(what, "an unlearning claim as interfaces describe it", found, _REMEDY)


def method_json(method: StatedMethod) -> dict[str, Any]:
    """Return the stated method as it is written."""
    return {
        "name": method.name,
        "scenario": method.scenario,
        "settings": dict(method.settings),
        "seed": method.seed,
    }


def guarantee_json(guarantee: StatedGuarantee | None) -> dict[str, Any] | None:
    """Return the stated guarantee as it is written."""
    if guarantee is None:
        return None
    return {
        "epsilon": guarantee.epsilon,
        "delta": guarantee.delta,
        "premises": dict(guarantee.premises),
    }


def _predicate(claim: UnlearningClaim) -> dict[str, Any]:
    return {
        "assertion": {"kind": claim.assertion, "radius": None},
        "network": claim.network,
        "unlearned": claim.unlearned,
        "domain": [claim.domain.lower, claim.domain.upper],
        "deployment": {"floats": claim.floats},
        "method": method_json(claim.method),
        "classes": list(claim.classes),
        "used": {
            "retained": claim.used.retained,
            "unseen": claim.used.unseen,
            "history": claim.used.history,
        },
        "guarantee": guarantee_json(claim.guarantee),
        "reached": claim.reached,
        "shortfall": claim.shortfall,
        "requests": [request_json(r, grouped=False) for r in claim.requests],
    }


def _claim(document: dict[str, Any]) -> UnlearningClaim:
    files, p = statement_parts(document, PREDICATE)
    fields(
        p,
        {"assertion", "network", "unlearned", "domain", "deployment", "method", "classes", "used"}
        | {"guarantee", "reached", "shortfall", "requests", "digest"},
    )
    fields(p["assertion"], {"kind", "radius"})
    fields(p["deployment"], {"floats"})
    if p["assertion"]["kind"] not in ASSERTIONS or p["assertion"]["radius"] is not None:
        raise ValueError(f"assertion {p['assertion']!r}"[:100])
    method = _method(p["method"])
    return UnlearningClaim(
        assertion=p["assertion"]["kind"],
        network=hex_digest(p["network"]),
        unlearned=hex_digest(p["unlearned"]),
        domain=_domain(p["domain"]),
        floats=short_text(p["deployment"]["floats"]),
        method=method,
        classes=_classes(p["classes"], method.scenario),
        used=_used(p["used"]),
        guarantee=None if p["guarantee"] is None else _guarantee(p["guarantee"]),
        reached=truth(p["reached"]),
        shortfall=_text(p["shortfall"]),
        requests=parse_requests(p["requests"], grouped=False),
        files=files,
    )


def _domain(value: Any) -> Domain:
    if not isinstance(value, list):
        raise TypeError("a domain that is no list")
    lower, upper = (number(bound) for bound in value)
    if not (math.isfinite(upper - lower) and lower < upper):
        raise ValueError(f"the domain [{lower}, {upper}] is not an interval of finite width")
    return Domain(lower, upper)


def _method(m: dict[str, Any]) -> StatedMethod:
    fields(m, {"name", "scenario", "settings", "seed"})
    if m["scenario"] not in SCENARIOS:
        raise ValueError(f"scenario {m['scenario']!r}"[:80])
    settings = m["settings"]
    if not isinstance(settings, dict) or len(settings) > MOST_SETTINGS:
        raise ValueError(f"at most {MOST_SETTINGS} settings by name")
    return StatedMethod(
        name=short_text(m["name"]),
        scenario=m["scenario"],
        settings={short_text(name): _setting(value) for name, value in settings.items()},
        seed=whole(m["seed"]),
    )


def _setting(value: Any) -> Setting:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return value
    number(value)
    assert isinstance(value, (int, float))
    return value


def _classes(value: Any, scenario: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise TypeError("classes that are no list")
    classes = tuple(whole(label) for label in value)
    if list(classes) != sorted(set(classes)):
        raise ValueError("classes that are not in order, each once")
    if bool(classes) != (scenario == "class"):
        raise ValueError(f"{len(classes)} forgotten class(es) in the scenario {scenario}")
    return classes


def _used(u: dict[str, Any]) -> StatedUse:
    fields(u, {"retained", "unseen", "history"})
    return StatedUse(whole(u["retained"]), whole(u["unseen"]), truth(u["history"]))


def _guarantee(g: dict[str, Any]) -> StatedGuarantee:
    fields(g, {"epsilon", "delta", "premises"})
    if not isinstance(g["premises"], dict) or len(g["premises"]) > MOST_SETTINGS:
        raise ValueError(f"at most {MOST_SETTINGS} premises by name")
    epsilon, delta = number(g["epsilon"]), number(g["delta"])
    if epsilon < 0 or not 0 <= delta <= 1:
        raise ValueError(f"a guarantee of epsilon {epsilon:g} and delta {delta:g}")
    premises = {short_text(name): number(value) for name, value in g["premises"].items()}
    return StatedGuarantee(epsilon, delta, premises)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT:
        raise ValueError(f"a text of at most {MOST_TEXT} characters")
    return value
