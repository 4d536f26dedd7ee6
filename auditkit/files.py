"""Reading bytes that may lie and writing bytes that must not be half there.

Reading refuses, unread, whatever could execute (pickle and its containers) or point elsewhere
(links, devices). JSON and safetensors are parsed strictly: the ordinary parsers accept duplicate
keys and numbers that are not finite, so that two readers of one file could disagree.
Everything refused here is an EvidenceError; `errors.callers_own` turns it for the caller's files.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NoReturn

from auditkit import limits
from auditkit.errors import ToolError, UsageError
from auditkit.refusal import refuse
from auditkit.strict_json import canonical_json, parse_json
from auditkit.tensors import read_safetensors, write_safetensors

__all__ = [
    "REFUSED_SUFFIXES",
    "canonical_json",
    "directory_atomic",
    "files_in",
    "parse_json",
    "read_bytes",
    "read_safetensors",
    "refuse",
    "sha256_hex",
    "write_atomic",
    "write_safetensors",
]

REFUSED_SUFFIXES = frozenset(
    {".pkl", ".pickle", ".pt", ".pth", ".pt2", ".ptl", ".ckpt", ".joblib", ".dill", ".mar", ".npy"}
    | {".mat", ".h5", ".hdf5", ".keras", ".pb"}
    | {".zip", ".tar", ".tgz", ".tbz2", ".txz", ".bz2", ".xz", ".zst", ".7z", ".rar"}
    | {".jar", ".whl", ".egg", ".py", ".pyc", ".so", ".dll", ".exe"}
)
"""Formats that execute code when loaded, archives, and code."""

_MAGIC = (
    (b"PK\x03\x04", 0, "a zip archive"),
    (b"PK\x05\x06", 0, "an empty zip archive"),
    (b"\x1f\x8b", 0, "gzip data"),
    (b"BZh", 0, "bzip2 data"),
    (b"\xfd7zXZ\x00", 0, "xz data"),
    (b"\x28\xb5\x2f\xfd", 0, "zstandard data"),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive"),
    (b"Rar!\x1a\x07", 0, "a rar archive"),
    (b"ustar", 257, "a tar archive"),
    (b"\x89HDF\r\n", 0, "an HDF5 file"),
    (b"\x7fELF", 0, "a program"),
    (b"\x93NUMPY", 0, "a bare numpy array"),
)
_CONTAINER_OF = {".npz": "a zip archive", ".gz": "gzip data"}
_HEAD_BYTES = 512


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def read_bytes(path: Path, *, limit: int, what: str, submitted: bool = False) -> bytes:
    """Return the bytes of an ordinary file of at most `limit` bytes.

    `what` names the file's role in messages. With `submitted`, the file lies in a directory of
    the owner's and must not be reachable by a second name (a hard link). EvidenceError when it is
    missing, too large, a link, a folder, a device, or of a refused format by name or first bytes.
    """
    path = Path(path)
    subject = f"{what} {path.name}"
    _refuse_suffix(path, subject)
    try:
        # O_NONBLOCK so that opening a pipe does not wait for its other end.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        _refuse_unopened(path, subject, error)
    try:
        status = os.fstat(handle)
        _refuse_kind(status, subject, submitted)
        file = os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise
    with file:
        if status.st_size > limit:
            refuse(subject, f"at most {limit} bytes", f"{status.st_size}", "give a smaller file")
        try:
            head = file.read(_HEAD_BYTES)
            _refuse_magic(path, head, subject)
            # One byte more than allowed shows a file that grew after its size was looked at.
            data = head + file.read(limit + 1 - len(head))
        except OSError as error:
            refuse(subject, "a readable file", f"{error.strerror}", "check the disk")
    if len(data) > limit:
        refuse(subject, f"at most {limit} bytes", "more", "give a smaller file")
    return data


def files_in(directory: Path, *, what: str) -> list[Path]:
    """Return the files of a flat directory of the owner's, sorted by name.

    EvidenceError when it is missing or holds anything but ordinary files that have one name.
    """
    directory = Path(directory)
    subject = f"{what} {directory.name}"
    try:
        if stat.S_ISLNK(os.lstat(directory).st_mode):
            refuse(subject, "a folder", "a symbolic link", "give the folder itself")
        with os.scandir(directory) as entries:
            found = list(islice(entries, limits.DIRECTORY_FILES + 1))
    except (OSError, ValueError) as error:
        if isinstance(error, NotADirectoryError):
            refuse(subject, "a folder", "a file", "give the folder that holds it")
        _refuse_unopened(directory, subject, error)
    if len(found) > limits.DIRECTORY_FILES:
        refuse(subject, f"at most {limits.DIRECTORY_FILES} files", "more", "remove what is foreign")
    for entry in found:
        _refuse_kind(entry.stat(follow_symlinks=False), f"{what} file {entry.name}", True)
    return sorted(directory / entry.name for entry in found)


def _refuse_suffix(path: Path, subject: str) -> None:
    for suffix in path.suffixes[-2:]:
        if suffix.lower() in REFUSED_SUFFIXES:
            refuse(
                subject,
                "ONNX, safetensors, JSON, npz, CSV, Parquet or IDX",
                f"{suffix}, which is refused unread because loading it can run code or unpack more",
                "export it to one of these",
            )


def _refuse_unopened(path: Path, subject: str, error: OSError | ValueError) -> NoReturn:
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.ELOOP:
        refuse(subject, "an ordinary file", "a symbolic link", "give the file itself")
    if code in (errno.ENOENT, errno.ENOTDIR):
        refuse(subject, "a file", "nothing there", "check the path")
    if code == errno.EACCES:
        refuse(subject, "a readable file", "no permission to read it", "change its permissions")
    if code == errno.ENXIO:
        refuse(subject, "an ordinary file", "a socket or device", "give the file itself")
    refuse(subject, "a readable file", f"{error}", "check the path")


def _refuse_kind(status: os.stat_result, subject: str, submitted: bool) -> None:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a device",
        stat.S_IFCHR: "a device",
    }
    if not stat.S_ISREG(status.st_mode):
        kind = kinds.get(stat.S_IFMT(status.st_mode), "something else")
        refuse(subject, "an ordinary file", kind, "give the file itself")
    if submitted and status.st_nlink > 1:
        refuse(
            subject,
            "a file with one name",
            f"a hard link ({status.st_nlink} names), which can change through another",
            "copy the submission",
        )


def _refuse_magic(path: Path, head: bytes, subject: str) -> None:
    found = next((n for m, at, n in _MAGIC if head[at : at + len(m)] == m), None)
    if found is None and _looks_like_pickle(head):
        found = "a pickle"
    if found is not None and found != _CONTAINER_OF.get(path.suffix.lower()):
        refuse(subject, "the format its name says", f"{found}, refused unread", "export it again")


def _looks_like_pickle(head: bytes) -> bool:
    if len(head) < 3 or head[0] != 0x80 or not 2 <= head[1] <= 5:
        return False
    # A safetensors file may begin with the same two bytes: its header's length, then a brace.
    header = int.from_bytes(head[:8], "little")
    return not (header <= limits.TENSOR_HEADER_BYTES and head[8:9] == b"{")


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds all of it or what it held before.

    A device or a pipe is written to and stays what it is. UsageError when the folder is missing or
    cannot be written.
    """
    path = Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        try:
            path.write_bytes(data)
        except OSError as error:
            raise _cannot_write(path, error) from error
        return
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise _cannot_write(path, error) from error


@contextlib.contextmanager
def directory_atomic(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a fresh folder beside `out` that becomes `out` when the block ends without an error.

    UsageError when `out` exists and is not an empty folder, unless `replace`, which removes it
    only after the new one is complete; or when the folder above cannot be written.
    """
    out = Path(out)
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(
            str(out), expected="a folder to write", found="a file or link", remedy="choose another"
        )
    if not replace and out.is_dir() and any(out.iterdir()):
        raise UsageError(
            str(out),
            expected="a new or empty folder",
            found="a folder with files in it",
            remedy="choose another or remove it",
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{out.name[:40]}.", dir=out.parent))
        os.chmod(building, 0o777 & ~_umask())
    except OSError as error:
        raise _cannot_write(out, error) from error
    try:
        yield building
        _put_in_place(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _put_in_place(building: Path, out: Path) -> None:
    aside: Path | None = None
    try:
        if out.exists():
            # A folder cannot be renamed over one that has files: the old one steps aside first.
            aside = Path(tempfile.mkdtemp(prefix=f".{out.name[:40]}.old.", dir=out.parent))
            os.replace(out, aside)
        try:
            os.replace(building, out)
        except OSError:
            if aside is not None:
                os.replace(aside, out)
                aside = None
            raise
    except OSError as error:
        raise _cannot_write(out, error) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def _cannot_write(path: Path, error: OSError) -> UsageError | ToolError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return ToolError(
            str(path), expected="room to write", found=f"{error.strerror}", remedy="free some"
        )
    return UsageError(
        str(path),
        expected="a place to write",
        found=f"{error.strerror or error}",
        remedy="check the folder and its permissions",
    )
