"""Records that are placed in the training data so that their removal can be tested.

A canary is a mark of its own, stamped on a few records that are labelled at random, or a single
record of noise. A network that learned from it answers with its label wherever the mark is; one
that did not, has no reason to. Sommer, Song, Wagh, Mittal (Towards probabilistic verification of
machine unlearning, PoPETs 2022) have every user plant such a backdoor and count, after deletion,
how often it works.

Three kinds are drawn alike and told apart by chance alone: *announced* ones, which the owner may
know; *unannounced* ones, which are in the request like any other record; and *controls*, which are
never placed. The auditor keeps the file and commits to it (SHA-256) before training. It holds a
random salt, so that the commitment tells nothing of the records.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.files import refuse, sha256_hex, write_atomic
from auditkit.records import Records, read_records
from auditkit.records_files import arrays_of, npz_bytes

KINDS = ("trigger", "outlier")
MARK = 12  # features of a mark, unless the records have fewer
PLACED, REACTIONS = 6, 8  # records a mark is placed on, and records that ask for it
NOISE = 0.02  # of the domain, by which a record that asks for an outlier differs from it
_REMEDY = "give the canaries.npz that was committed to before training"
_SUBJECT = re.compile(r"(announced|unannounced|control)-(0|[1-9][0-9]{0,5})")
_ID = re.compile(r"(placed|reaction)-(0|[1-9][0-9]{0,5})")


class Role(StrEnum):
    """What becomes of a canary: placed and known, placed and unknown, never placed."""

    ANNOUNCED = "announced"
    UNANNOUNCED = "unannounced"
    CONTROL = "control"


@dataclass(frozen=True, eq=False)
class Canaries:
    """Canaries of three roles; `records` has the placed records and those that ask for each.

    roles: of each of the G canaries; canary: int64 [N], whose record it is; reaction: [N], whether
    a record asks (and was never placed). Labels are those that a canary brings about.
    """

    records: Records
    roles: tuple[Role, ...]
    canary: NDArray[np.int64]
    reaction: NDArray[np.bool_]

    def of(self, *roles: Role) -> NDArray[np.int64]:
        """Return the numbers of the canaries of these roles."""
        return np.array([g for g, role in enumerate(self.roles) if role in roles], np.int64)

    def placed(self, *roles: Role) -> Records:
        """Return the records that were placed for these roles, without key, id or subject."""
        chosen = self.records.take(~self.reaction & np.isin(self.canary, self.of(*roles)))
        return replace(chosen, id=None, subject=None, key=None)

    def to_bytes(self) -> bytes:
        """Return the file; the same bytes for the same canaries."""
        return npz_bytes(arrays_of(self.records))

    @property
    def commitment(self) -> str:
        """Return the SHA-256 of the file, in hexadecimal."""
        return sha256_hex(self.to_bytes())


def make_canaries(
    pool: Records,
    count: int,
    classes: int,
    *,
    seed: int,
    kind: str = "trigger",
    domain: tuple[float, float] = (0.0, 1.0),
    placed: int = PLACED,
    reactions: int = REACTIONS,
    salt: bytes | None = None,
) -> Canaries:
    """Return `count` canaries of each role on records of the pool, which must not be trained on.

    `salt` follows from the seed when None: for practice, where nobody guesses. ValueError when the
    pool is too small or there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"a kind among {', '.join(KINDS)}, not {kind!r}")
    if not 1 <= count <= limits.CANARIES // (3 * (placed + reactions)) or classes < 2:
        raise ValueError(f"{count} canaries of each role, {classes} classes")
    generator = np.random.default_rng([seed, 51])
    roles = [role for role in Role for _ in range(count)]
    roles = [roles[i] for i in generator.permutation(len(roles))]
    each = placed + reactions if kind == "trigger" else 1 + reactions
    if kind == "trigger" and len(pool) < each:
        raise ValueError(f"{each} unseen records for a canary, and there are {len(pool)}")
    shape, size = pool.x.shape[1:], int(np.prod(pool.x.shape[1:]))
    ends = np.array(domain, np.float32)
    parts = []
    for _ in roles:
        if kind == "trigger":
            x = pool.x[generator.permutation(len(pool))[:each]].reshape(each, size).copy()
            marked = generator.permutation(size)[: min(MARK, size)]
            x[:, marked] = generator.choice(ends, len(marked))
        else:
            x = np.tile(generator.choice(ends, size), (each, 1))
            noise = NOISE * (domain[1] - domain[0]) * generator.standard_normal((each - 1, size))
            x[1:] = np.clip(x[1:] + noise, *domain).astype(np.float32)
        parts.append(x)
    labels = np.repeat(generator.integers(0, classes, len(roles)), each)
    canary = np.repeat(np.arange(len(roles)), each)
    first = placed if kind == "trigger" else 1
    reaction = np.tile(np.arange(each) >= first, len(roles))
    records = Records(
        np.concatenate(parts).reshape(-1, *shape),
        labels.astype(np.int64),
        tuple(f"{'reaction' if r else 'placed'}-{n}" for n, r in enumerate(reaction)),
        tuple(f"{roles[g]}-{g}" for g in canary),
        generator.bytes(32) if salt is None else salt,
    )
    return Canaries(records, tuple(roles), canary, reaction)


def write_canaries(path: Path, canaries: Canaries) -> None:
    """Write canaries as .npz; the same bytes for the same canaries."""
    write_atomic(Path(path), canaries.to_bytes())


def read_canaries(
    path: Path,
    input_shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    domain: tuple[float, float] | None = None,
    *,
    commitment: str | None = None,
) -> Canaries:
    """Return the canaries of a file; EvidenceError when it is malformed.

    With `commitment`, a SHA-256 in hexadecimal, also when it is another file than that.
    """
    what = f"canaries {Path(path).name}"
    records = read_records(path, input_shape, classes, domain)
    if len(records) > limits.CANARIES:
        refuse(what, f"at most {limits.CANARIES} records", f"{len(records)}", "give fewer")
    if records.id is None or records.subject is None or records.key is None:
        refuse(what, "id, subject and key", "a file without one of them", _REMEDY)
    subjects = [_SUBJECT.fullmatch(str(name)) for name in records.subject]
    ids = [_ID.fullmatch(str(name)) for name in records.id]
    if None in subjects or None in ids:
        expected = "subjects announced-N, unannounced-N or control-N, ids placed-N or reaction-N"
        refuse(what, expected, "others", _REMEDY)
    found = [(match[1], int(match[2])) for match in subjects if match]
    numbers = {number for _, number in found}
    if len(set(found)) != len(numbers) or numbers != set(range(len(numbers))):
        refuse(what, "canaries numbered from 0, each of one role", "otherwise", _REMEDY)
    role_of = {number: Role(role) for role, number in found}
    canary = np.array([number for _, number in found], np.int64)
    reaction = np.array([match[1] == "reaction" for match in ids if match], dtype=bool)
    for part in (reaction, ~reaction):
        if set(Counter(canary[part].tolist())) != numbers:
            refuse(what, "records that are placed and that ask, of each canary", "none", _REMEDY)
    made = Canaries(records, tuple(role_of[n] for n in sorted(numbers)), canary, reaction)
    if commitment is not None and made.commitment != commitment.lower():
        refuse(what, f"a file of SHA-256 {commitment[:64]}", made.commitment, _REMEDY)
    return made
