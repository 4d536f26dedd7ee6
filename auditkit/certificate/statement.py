"""certificate.json: an in-toto Statement v1 that binds every file and carries the claims.

It is in canonical form (RFC 8785) and carries a digest of itself without that field, so that any
changed byte is noticed. It proves nothing by itself: every claim in it is checked again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from auditkit import limits
from auditkit.files import canonical_json, parse_json, sha256_hex
from auditkit.patch.settings import Settings
from auditkit.refusal import refuse

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:auditkit:patch-certificate:v1"
_HEX = re.compile(r"[0-9a-f]{64}")
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
class Request:
    """A deletion request: its records by keyed digest, the groups that serve it, its state."""

    id: str
    records: tuple[str, ...]
    groups: tuple[str, ...]
    status: str
    parent: str | None


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
    statement = _statement(certificate)
    statement["predicate"]["digest"] = _own_digest(statement)
    return canonical_json(statement)


def parse_statement(data: bytes, what: str = "certificate.json") -> Certificate:
    """Read certificate.json; EvidenceError when it is malformed.

    Whether it is canonical and matches its own digest is `statement_problem`'s to say.
    """
    document = parse_json(data, what)
    try:
        return _certificate(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        found = f"{type(error).__name__}: {error}"[:200]
        refuse(what, "a patch certificate as interfaces describe it", found, _REMEDY)


def statement_problem(data: bytes, what: str = "certificate.json") -> str | None:
    """Return what shows that the bytes were changed after they were written, or None."""
    document = parse_json(data, what)
    try:
        stated = document["predicate"].pop("digest")
    except (KeyError, TypeError, AttributeError):
        return "it carries no digest of itself"
    if stated != _own_digest(document):
        return f"its digest of itself is {str(stated)[:64]!r}, computed {_own_digest(document)!r}"
    document["predicate"]["digest"] = stated
    if canonical_json(document) != data:
        return "it is not in canonical form (RFC 8785)"
    return None


def _own_digest(statement: dict[str, Any]) -> str:
    return sha256_hex(canonical_json(statement))


def _statement(certificate: Certificate) -> dict[str, Any]:
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": digest}}
            for name, digest in sorted(certificate.files.items())
        ],
        "predicateType": PREDICATE,
        "predicate": {
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
            "requests": [
                {
                    "id": r.id,
                    "records": list(r.records),
                    "groups": list(r.groups),
                    "status": r.status,
                    "parent": r.parent,
                }
                for r in certificate.requests
            ],
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
        },
    }


def _certificate(document: dict[str, Any]) -> Certificate:
    _fields(document, {"_type", "subject", "predicateType", "predicate"})
    if document["_type"] != STATEMENT or document["predicateType"] != PREDICATE:
        raise ValueError(f"types {document['_type']!r}, {document['predicateType']!r}")
    p = document["predicate"]
    _fields(
        p,
        {"assertion", "network", "domain", "deployment", "settings", "groups", "requests"}
        | {"claims", "unclaimed", "digest"},
    )
    _fields(p["assertion"], {"kind", "radius"})
    _fields(p["deployment"], {"floats"})
    files: dict[str, str] = {}
    for subject in document["subject"]:
        _fields(subject, {"name", "digest"})
        _fields(subject["digest"], {"sha256"})
        name = _text(subject["name"])
        if name in files or "/" in name or "\\" in name or name.startswith("."):
            raise ValueError(f"subject {name[:60]!r}")
        files[name] = _hex(subject["digest"]["sha256"])
    settings = Settings.from_json(p["settings"])
    if [float(v) for v in p["domain"]] != [settings.domain.lower, settings.domain.upper]:
        raise ValueError(f"domain {p['domain']} beside settings of another")
    if len(p["requests"]) > limits.REQUESTS:
        raise ValueError(f"{len(p['requests'])} requests")
    requests = tuple(_request(r) for r in p["requests"])
    for g in p["groups"]:
        _fields(g, {"name", "request"})
    listed = [(g["name"], g["request"]) for g in p["groups"]]
    if sorted(listed) != sorted((g, r.id) for r in requests for g in r.groups):
        raise ValueError("groups and requests do not agree")
    if p["assertion"]["kind"] not in ("redirected", "erased"):
        raise ValueError(f"assertion {p['assertion']['kind']!r}")
    for item in p["unclaimed"]:
        _fields(item, {"record", "reason"})
    return Certificate(
        assertion=p["assertion"]["kind"],
        assertion_radius=_radius_in(p["assertion"]["radius"], optional=True),
        network=_hex(p["network"]),
        floats=_text(p["deployment"]["floats"]),
        settings=settings,
        requests=requests,
        claims=tuple(_claim(c) for c in p["claims"]),
        unclaimed={_hex(u["record"]): _text(u["reason"]) for u in p["unclaimed"]},
        files=files,
    )


def _request(r: dict[str, Any]) -> Request:
    _fields(r, {"id", "records", "groups", "status", "parent"})
    if r["status"] not in ("active", "withdrawn"):
        raise ValueError(f"request status {r['status']!r}")
    return Request(
        id=_text(r["id"]),
        records=tuple(_hex(d) for d in r["records"]),
        groups=tuple(_text(g) for g in r["groups"]),
        status=r["status"],
        parent=None if r["parent"] is None else _text(r["parent"]),
    )


def _claim(c: dict[str, Any]) -> Claim:
    _fields(c, {"claim", "record", "group", "member", "radius", "margin", "target"})
    if c["claim"] not in ("region", "suppressed"):
        raise ValueError(f"claim {c['claim']!r}")
    if (c["claim"] == "region") == (c["record"] is None or c["member"] is None):
        raise ValueError("a region claim names a record and a gate, a suppression neither")
    radius = _radius_in(c["radius"], optional=False)
    assert radius is not None
    return Claim(
        kind=c["claim"],
        record=None if c["record"] is None else _hex(c["record"]),
        group=_text(c["group"]),
        member=None if c["member"] is None else _whole(c["member"]),
        radius=radius,
        margin=_number(c["margin"]),
        target=None if c["target"] is None else _whole(c["target"]),
    )


def _fields(value: Any, names: set[str]) -> None:
    if not isinstance(value, dict) or set(value) != names:
        found = sorted(value) if isinstance(value, dict) else type(value).__name__
        raise ValueError(f"expected fields {sorted(names)}, found {found}")


def _hex(value: Any) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError(f"{str(value)[:70]!r} is not a SHA-256 digest in hex")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 200:
        raise ValueError(f"{str(value)[:60]!r} is not a short text")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{str(value)[:40]!r} is not a number")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{str(value)[:40]!r} is not a count")
    return value


def _radius_in(value: Any, *, optional: bool) -> float | None:
    if value is None and optional:
        return None
    return math.inf if value == "inf" else _number(value)


def _radius_out(radius: float | None) -> float | str | None:
    return "inf" if radius is not None and math.isinf(radius) else radius
