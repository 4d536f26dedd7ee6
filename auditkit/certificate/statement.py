"""certificate.json: an in-toto Statement v1 that binds every file and carries the claims.

It is in canonical form (RFC 8785) and carries a digest of itself without that field, so that any
changed byte is noticed. It proves nothing by itself: every claim in it is checked again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from auditkit.certificate.in_toto import (
    MALFORMED,
    fields,
    hex_digest,
    number,
    short_text,
    statement_of,
    statement_parts,
    whole,
)
from auditkit.certificate.request import Request, parse_requests, request_json
from auditkit.files import parse_json
from auditkit.patch.settings import Settings
from auditkit.refusal import refuse

PREDICATE = "urn:auditkit:patch-certificate:v1"
_REMEDY = "have the submission written again"


@dataclass(frozen=True)
class Claim:
    """On the region of the gate, within `radius`, the patched network meets the specification.

    `record` is a keyed digest; `group` and `member` name the gate; `target` is the label of a
    redirected record, None otherwise. `kind` is "region", or "suppressed" for a whole class, which
    has no record and no member.
    """

    kind: str
    record: str | None
    group: str
    member: int | None
    radius: float
    margin: float
    target: int | None


@dataclass(frozen=True)
class Certificate:
    """What an owner states about a submission."""

    assertion: str
    assertion_radius: float | None
    network: str
    floats: str
    settings: Settings
    requests: tuple[Request, ...]
    claims: tuple[Claim, ...]
    unclaimed: Mapping[str, str]
    files: Mapping[str, str]

    def with_files(self, files: Mapping[str, str]) -> Certificate:
        """Return the same certificate over these files (name → SHA-256)."""
        return replace(self, files=dict(files))


def statement_bytes(certificate: Certificate) -> bytes:
    """Return certificate.json."""
    return statement_of(PREDICATE, certificate.files, _predicate(certificate))


def parse_statement(data: bytes, what: str = "certificate.json") -> Certificate:
    """Read certificate.json; EvidenceError when it is malformed.

    Whether it is canonical and matches its own digest is `in_toto.statement_problem`'s to say.
    """
    document = parse_json(data, what)
    try:
        return _certificate(document)
    except MALFORMED as error:
        found = f"{type(error).__name__}: {error}"[:200]
        refuse(what, "a patch certificate as interfaces describe it", found, _REMEDY)


def _predicate(certificate: Certificate) -> dict[str, Any]:
    return {
        "assertion": {
            "kind": certificate.assertion,
            "radius": _radius_out(certificate.assertion_radius),
        },
        "network": certificate.network,
        "domain": [certificate.settings.domain.lower, certificate.settings.domain.upper],
        "deployment": {"floats": certificate.floats},
        "settings": certificate.settings.to_json(),
        "groups": [
            {"name": name, "request": request.id}
            for request in certificate.requests
            for name in request.groups
        ],
        "requests": [request_json(r, grouped=True) for r in certificate.requests],
        "claims": [
            {
                "claim": c.kind,
                "record": c.record,
                "group": c.group,
                "member": c.member,
                "radius": _radius_out(c.radius),
                "margin": c.margin,
                "target": c.target,
            }
            for c in certificate.claims
        ],
        "unclaimed": [
            {"record": record, "reason": reason}
            for record, reason in sorted(certificate.unclaimed.items())
        ],
    }


def _certificate(document: dict[str, Any]) -> Certificate:
    files, p = statement_parts(document, PREDICATE)
    fields(
        p,
        {"assertion", "network", "domain", "deployment", "settings", "groups", "requests"}
        | {"claims", "unclaimed", "digest"},
    )
    fields(p["assertion"], {"kind", "radius"})
    fields(p["deployment"], {"floats"})
    settings = Settings.from_json(p["settings"])
    if [float(v) for v in p["domain"]] != [settings.domain.lower, settings.domain.upper]:
        raise ValueError(f"domain {p['domain']} beside settings of another")
    requests = parse_requests(p["requests"], grouped=True)
    for g in p["groups"]:
        fields(g, {"name", "request"})
    listed = [(g["name"], g["request"]) for g in p["groups"]]
    if sorted(listed) != sorted((g, r.id) for r in requests for g in r.groups):
        raise ValueError("groups and requests do not agree")
    if p["assertion"]["kind"] not in ("redirected", "erased"):
        raise ValueError(f"assertion {p['assertion']['kind']!r}")
    for item in p["unclaimed"]:
        fields(item, {"record", "reason"})
    return Certificate(
        assertion=p["assertion"]["kind"],
        assertion_radius=_radius_in(p["assertion"]["radius"], optional=True),
        network=hex_digest(p["network"]),
        floats=short_text(p["deployment"]["floats"]),
        settings=settings,
        requests=requests,
        claims=tuple(_claim(c) for c in p["claims"]),
        unclaimed={hex_digest(u["record"]): short_text(u["reason"]) for u in p["unclaimed"]},
        files=files,
    )


def _claim(c: dict[str, Any]) -> Claim:
    fields(c, {"claim", "record", "group", "member", "radius", "margin", "target"})
    if c["claim"] not in ("region", "suppressed"):
        raise ValueError(f"claim {c['claim']!r}")
    if (c["claim"] == "region") == (c["record"] is None or c["member"] is None):
        raise ValueError("a region claim names a record and a gate, a suppression neither")
    radius = _radius_in(c["radius"], optional=False)
    assert radius is not None
    return Claim(
        kind=c["claim"],
        record=None if c["record"] is None else hex_digest(c["record"]),
        group=short_text(c["group"]),
        member=None if c["member"] is None else whole(c["member"]),
        radius=radius,
        margin=number(c["margin"]),
        target=None if c["target"] is None else whole(c["target"]),
    )


def _radius_in(value: Any, *, optional: bool) -> float | None:
    if value is None and optional:
        return None
    return math.inf if value == "inf" else number(value)


def _radius_out(radius: float | None) -> float | str | None:
    return "inf" if radius is not None and math.isinf(radius) else radius
