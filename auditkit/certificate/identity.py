"""Who a claim is about, without saying so: keyed digests of records.

A digest that anyone could compute would tell whoever can guess a record whether it was forgotten.
The key stays with requester and auditor.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import numpy as np

from auditkit.records import Records

KEY_BYTES = 32


def random_key() -> bytes:
    """Return a new key."""
    return secrets.token_bytes(KEY_BYTES)


def derived_key(seed: int, records: Records) -> bytes:
    """Return a key that depends on seed and records alone: for reproducible runs on public data."""
    digest = hashlib.sha256(f"auditkit record key {seed}".encode())
    digest.update(np.ascontiguousarray(records.x, dtype="<f4").tobytes())
    digest.update(np.ascontiguousarray(records.y, dtype="<i8").tobytes())
    return digest.digest()


def record_digests(records: Records, key: bytes) -> tuple[str, ...]:
    """Return the keyed digest (HMAC-SHA256, hex) of each record's features and label."""
    x = np.ascontiguousarray(records.x, dtype="<f4").reshape(len(records), -1)
    y = np.ascontiguousarray(records.y, dtype="<i8")
    return tuple(
        hmac.new(key, row.tobytes() + label.tobytes(), hashlib.sha256).hexdigest()
        for row, label in zip(x, y, strict=True)
    )


def keyed_bytes(data: bytes, key: bytes) -> str:
    """Return the keyed digest of a file that holds records."""
    return hmac.new(key, data, hashlib.sha256).hexdigest()
