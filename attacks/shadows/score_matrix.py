"""The scores of shadow models, one row for each: in memory, or in a folder that outlives a kill.

Shadow models take hours, so their scores are worth keeping, and a score that is kept is worth
nothing unless it is known what it was made with. The folder holds

    manifest.json   what the scores were made with, and which rows are done, with their digests
    pool.float32    φ of the pool's first S records, float32 [K, S], little-endian, row by row
    query.float32   φ of the query records [K, M], when there are any
    members.bits    who trained on which record, bool [K, N], every row packed on its own
    lock            held by the process that works in the folder

A row counts once its bytes are on the disk and the manifest that names their digest is, too; the
manifest is written beside the old one and renamed over it. So whatever moment a run ends at, the
next finds rows that are whole, and trains the others. Rows are done group by group: what trains
together is kept together. The folder is confidential: it says which records were in the pool to
whoever can guess them, and how well each is remembered.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from attacks.arrays import BoolArray, Float32Array
from attacks.shadows.fingerprint import (
    Parts,
    array_digest,
    differences,
    digest_of,
    encode,
    masks_digest,
)

MANIFEST, POOL, QUERY, MEMBERS, LOCK = (
    *("manifest.json", "pool.float32", "query.float32", "members.bits", "lock"),
)
Digests = list[str | None]  # of pool and query
Done = dict[tuple[int, int], Digests]  # by first row and the one behind the last

NEW = ".new"  # a file that is being written, before it takes its name
MANIFEST_BYTES = 1 << 26
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
ANOTHER = "name another folder, or delete this one if its scores are no longer wanted"


class ScoreMatrixError(ValueError):
    """A folder of scores cannot be used: which, what was expected, what was found, what to do.

    no_room: whether the disk is full or failing, and the folder itself is not at fault.
    """

    def __init__(
        self, subject: str, *, expected: str, found: str, remedy: str, no_room: bool = False
    ) -> None:
        super().__init__(f"{subject}: expected {expected}, found {found}; {remedy}")
        self.subject, self.expected, self.found = subject, expected, found
        self.remedy, self.no_room = remedy, no_room


class ScoreMatrix:
    """Scores of K shadow models in memory, to be filled group by group.

    pool: φ float32 [K, S]. query: φ float32 [K, M], or None. missing: the groups still to be
    trained. note: what was found already, in words.
    """

    def __init__(self, shadows: int, scored: int, query: int | None, groups: Sequence[slice]):
        self.pool: Float32Array = np.empty((shadows, scored), dtype=np.float32)
        self.query: Float32Array | None = (
            None if query is None else np.empty((shadows, query), dtype=np.float32)
        )
        self.missing = list(groups)
        self.note = ""

    def keep(self, rows: slice) -> None:
        """Take note that all scores of these rows are in place."""

    def result(self) -> tuple[Float32Array, Float32Array | None]:
        """Return pool and query once nothing is missing."""
        return self.pool, self.query


class StoredScores(NamedTuple):
    """What `read_scores` finds: φ [K, S], bool [K, S], φ [K, M] or None, and the fingerprint."""

    pool: Float32Array
    member_mask: BoolArray
    query: Float32Array | None
    made_with: Parts


@contextlib.contextmanager
def stored_matrix(
    folder: Path, parts: Parts, member_mask: BoolArray, query: int | None, groups: Sequence[slice]
) -> Iterator[ScoreMatrix]:
    """Open the folder for a run, make it when it is not there, and hold it until the block ends.

    parts: `fingerprint` of the run; member_mask bool [K, N]; query: how many query records; groups:
    rows that are trained together. Raises ScoreMatrixError when the folder holds anything else than
    scores of this run or of one with fewer shadow models, is in use, or cannot be written.
    """
    folder = Path(folder)
    with _os_errors(folder):
        lock = _locked(folder)
    try:
        yield _Stored(folder, parts, member_mask, query, groups)
    finally:
        os.close(lock)  # which also unlocks


def read_scores(folder: Path) -> StoredScores:
    """Return the scores in a folder, memory-mapped, once all of them are there and whole.

    Raises ScoreMatrixError when the folder has none, is incomplete, damaged or in use.
    """
    folder = Path(folder)
    with _os_errors(folder):
        if not (folder / MANIFEST).is_file():
            _refuse(folder, "scores of shadow models", f"no {MANIFEST}", "name their folder")
        lock = _locked(folder)
        try:
            made_with, done = _read_manifest(folder)
            k, n = made_with["shadows"]["count"], made_with["records"]["count"]
            scored = made_with.get("scored", n)  # folders of the first format have all
            m = None if made_with["query"] is None else made_with["query"]["count"]
            pool, query = _mapped(folder, k, scored, m, "r")
            whole = {rows for rows in done if _digests(pool, query, slice(*rows)) == done[rows]}
            packed = np.fromfile(folder / MEMBERS, dtype=np.uint8).reshape(k, -(-n // 8))
        except (ValueError, FileNotFoundError, KeyError, TypeError, OverflowError) as error:
            if isinstance(error, ScoreMatrixError):
                raise
            _refuse(folder, "whole files", str(error), "run the training again")
        finally:
            os.close(lock)
    groups = {tuple(rows) for rows in made_with["shadows"]["groups"]}
    if whole != groups:
        missing = sum(b - a for a, b in groups - whole)
        found = f"{missing} of {k} rows missing or damaged"
        _refuse(folder, "scores of all shadow models", found, "run the training again")
    mask = np.unpackbits(packed, axis=1, count=n).astype(np.bool_)
    if masks_digest(mask) != made_with["shadows"]["masks"]:
        _refuse(folder, f"the {MEMBERS} it was made with", "others", "run the training again")
    return StoredScores(pool, mask[:, :scored], query, made_with)


class _Stored(ScoreMatrix):
    """Scores in a folder that this process has locked."""

    def __init__(
        self,
        folder: Path,
        parts: Parts,
        mask: BoolArray,
        query: int | None,
        groups: Sequence[slice],
    ) -> None:
        self._folder = folder
        self._shape: tuple[int, int, int | None] = (len(mask), int(parts["scored"]), query)
        rows = [(group.start, group.stop) for group in groups]
        own = {"count": len(mask), "masks": masks_digest(mask), "groups": rows}
        self._made_with: Parts = json.loads(encode({**parts, "shadows": own}))
        with _os_errors(folder):
            self._done: Done = self._found(mask, set(rows))
            self._fill(mask)
            pool, other = _mapped(folder, *self._shape, "r+")
            self._maps = (pool,) if other is None else (pool, other)
            self.pool, self.query = pool, other
            asked = list(self._done)
            self._done = {
                r: d for r, d in self._done.items() if _digests(pool, other, slice(*r)) == d
            }
        self.missing = [g for g in groups if (g.start, g.stop) not in self._done]
        self.note = _note(folder, len(mask), asked, list(self._done))

    def keep(self, rows: slice) -> None:
        with _os_errors(self._folder):
            for part in self._maps:
                part.flush()
            self._done[rows.start, rows.stop] = _digests(self.pool, self.query, rows)
            self._write_manifest()

    def result(self) -> tuple[Float32Array, Float32Array | None]:
        with _os_errors(self._folder):
            return _mapped(self._folder, *self._shape, "r")

    def _found(self, mask: BoolArray, groups: set[tuple[int, int]]) -> Done:
        """Return which groups the folder has by its own word; begin the folder when it is new."""
        self._done = {}
        if not (self._folder / MANIFEST).exists():
            self._write_manifest()
            return {}
        made_with, done = _read_manifest(self._folder)
        if made_with == self._made_with:
            return {rows: d for rows, d in done.items() if rows in groups}
        try:
            self._done = self._extended(made_with, done, mask, groups)
        except ScoreMatrixError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            _refuse_manifest(self._folder)
        self._write_manifest()
        return self._done

    def _extended(
        self,
        made_with: Parts,
        done: Done,
        mask: BoolArray,
        groups: set[tuple[int, int]],
    ) -> Done:
        """Return the groups that a run with more shadow models would train just the same.

        A row depends on what it was trained beside, by its rounding: a group that was cut short by
        the end of the smaller run is trained again, whole.
        """
        folder, wanted = self._folder, self._made_with
        new, old = wanted["shadows"], made_with["shadows"]
        different = differences(
            {name: part for name, part in wanted.items() if name != "shadows"},
            {name: part for name, part in made_with.items() if name != "shadows"},
        )
        if different is not None:
            _refuse(folder, f"scores made with {different[0]}", different[1], ANOTHER)
        count = old["count"]
        if new["count"] < count:
            found = f"scores of {count}"
            _refuse(folder, f"at most {new['count']} shadow models", found, ANOTHER)
        if masks_digest(mask[:count]) != old["masks"]:
            expected = f"scores made with the same masks of the first {count} shadow models"
            _refuse(folder, expected, "other masks", ANOTHER)
        kept = {rows: d for rows, d in done.items() if rows in groups}
        whole = {(a, b) for a, b in old["groups"][:-1]} <= groups
        if new["count"] == count or not whole or (done and not kept):
            expected = f"scores of {new['count']} trained {_sizes(new['groups'])} at a time"
            found = f"scores of {count} trained {_sizes(old['groups'])} at a time, which round"
            _refuse(folder, expected, f"{found} otherwise", ANOTHER)
        return kept

    def _fill(self, mask: BoolArray) -> None:
        """Give every file its size, on the disk and not only by name, and write the masks."""
        k, n, m = self._shape
        for name, columns in ((POOL, n), (QUERY, m)):
            if columns is not None:
                _reserve(self._folder / name, 4 * k * columns)
        packed = np.packbits(mask, axis=1).tobytes()
        path = self._folder / MEMBERS
        if not path.is_file() or path.read_bytes() != packed:
            _write(path, packed)

    def _write_manifest(self) -> None:
        done = [[*rows, *digests] for rows, digests in sorted(self._done.items())]
        document = {
            "made_with": self._made_with,
            "fingerprint": digest_of(self._made_with),
            "done": done,
            "done_sha256": digest_of(done),
        }
        _write(self._folder / MANIFEST, encode(document))


def _locked(folder: Path) -> int:
    """Return a descriptor that locks the folder, made when it is not there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = set(os.listdir(folder))
    foreign = sorted(names - {LOCK, MANIFEST + NEW})
    if MANIFEST not in names and foreign:
        expected = "a new or empty folder, or one with scores of shadow models"
        _refuse(folder, expected, f"{foreign[0]!r} and no {MANIFEST}", "name another folder")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(folder / LOCK, flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        remedy = "wait until it has finished, or name another folder"
        _refuse(folder, "a folder that nobody uses", "another process at work in it", remedy)
    except OSError:
        os.close(lock)
        raise
    return lock


def _read_manifest(folder: Path) -> tuple[Parts, Done]:
    """Return what the scores were made with, and the digests of each group that is done.

    Every byte is checked: a manifest is as it was written, or it is refused.
    """
    with open(folder / MANIFEST, "rb") as file:
        data = file.read(MANIFEST_BYTES + 1)
    try:
        document = json.loads(data)
        made_with, done = document["made_with"], document["done"]
        if (
            document["fingerprint"] != digest_of(made_with)
            or document["done_sha256"] != digest_of(done)
            or encode(document) != data
        ):
            raise ValueError("its digests do not match")
        int(made_with["shadows"]["count"])
        return made_with, {(a, b): [pool, query] for a, b, pool, query in done}
    except (ValueError, KeyError, TypeError, RecursionError):
        _refuse_manifest(folder)


def _refuse_manifest(folder: Path) -> NoReturn:
    expected = f"a {MANIFEST} as this program wrote it"
    _refuse(folder, expected, "one that is damaged or not its own", ANOTHER)


def _mapped(
    folder: Path, shadows: int, pool: int, query: int | None, mode: Any
) -> tuple[np.memmap[Any, Any], np.memmap[Any, Any] | None]:
    def mapped(name: str, columns: int) -> np.memmap[Any, Any]:
        return np.memmap(folder / name, dtype="<f4", mode=mode, shape=(shadows, columns))

    return mapped(POOL, pool), None if query is None else mapped(QUERY, query)


def _digests(pool: Float32Array, query: Float32Array | None, rows: slice) -> Digests:
    return [array_digest(pool[rows]), None if query is None else array_digest(query[rows])]


def _reserve(path: Path, size: int) -> None:
    """Give a file `size` bytes of the disk, so that a full disk is an error here and now.

    A write into a mapped file that finds no room would end the process without a word.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o600)
    try:
        if os.fstat(handle).st_size != size:
            os.ftruncate(handle, size)
        try:
            os.posix_fallocate(handle, 0, size)
        except (AttributeError, OSError) as error:
            # not every system and file system can promise room
            if getattr(error, "errno", None) in NO_ROOM:
                raise
        os.fsync(handle)
    finally:
        os.close(handle)
    _sync_folder(path.parent)


def _write(path: Path, data: bytes) -> None:
    """Write a file so that its name holds all of it or what it held before, after a crash too."""
    new = path.with_name(path.name + NEW)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _note(
    folder: Path, shadows: int, asked: list[tuple[int, int]], found: list[tuple[int, int]]
) -> str:
    there, damaged = sum(b - a for a, b in found), sum(b - a for a, b in set(asked) - set(found))
    note = f"{there} of {shadows} found in {folder}" if there else f"kept in {folder}"
    return note + (f", {damaged} damaged there and trained again" if damaged else "")


def _sizes(groups: list[list[int]]) -> str:
    sizes = sorted({b - a for a, b in groups})
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


def _refuse(folder: Path, expected: str, found: str, remedy: str) -> NoReturn:
    raise ScoreMatrixError(str(folder), expected=expected, found=found, remedy=remedy)


@contextlib.contextmanager
def _os_errors(folder: Path) -> Iterator[None]:
    """Say in one line which folder the operating system refused, and why."""
    try:
        yield
    except OSError as error:
        full = error.errno in NO_ROOM
        raise ScoreMatrixError(
            str(folder),
            expected="room for the scores" if full else "a folder that can be written",
            found=f"{Path(error.filename).name}: {error.strerror}"
            if error.filename is not None and error.strerror
            else str(error.strerror or error),
            remedy="free some, or name another folder" if full else "name another folder",
            no_room=full,
        ) from error
