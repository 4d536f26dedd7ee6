"""A deletion request as a submission states it: who is to be forgotten, by keyed digest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auditkit import limits
from auditkit.certificate.in_toto import fields, hex_digest, short_text


@dataclass(frozen=True)
class Request:
    """A deletion request: its records by keyed digest, the groups that serve it, its state.

    `groups` are of gates; a model that was unlearned without a patch has none.
    """

    id: str
    records: tuple[str, ...]
    groups: tuple[str, ...]
    status: str
    parent: str | None


def request_json(request: Request, *, grouped: bool) -> dict[str, Any]:
    """Return a request as it is written, with its groups of gates or without."""
    written: dict[str, Any] = {
        "id": request.id,
        "records": list(request.records),
        "status": request.status,
        "parent": request.parent,
    }
    return {**written, "groups": list(request.groups)} if grouped else written


def parse_requests(values: Sequence[Any], *, grouped: bool) -> tuple[Request, ...]:
    """Read the list of requests; raises one of in_toto.MALFORMED."""
    if not isinstance(values, list) or len(values) > limits.REQUESTS:
        found = f"{len(values)} requests" if isinstance(values, list) else type(values).__name__
        raise ValueError(f"at most {limits.REQUESTS} requests in a list, not {found}")
    return tuple(_request(value, grouped) for value in values)


def _request(r: dict[str, Any], grouped: bool) -> Request:
    fields(r, {"id", "records", "status", "parent"} | ({"groups"} if grouped else set()))
    if r["status"] not in ("active", "withdrawn"):
        raise ValueError(f"request status {r['status']!r}"[:80])
    return Request(
        id=short_text(r["id"]),
        records=tuple(hex_digest(d) for d in r["records"]),
        groups=tuple(short_text(g) for g in r.get("groups", ())),
        status=r["status"],
        parent=None if r["parent"] is None else short_text(r["parent"]),
    )
