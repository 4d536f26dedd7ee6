"""The files that records come in, each read without executing or inflating what it should not.

numpy archives are parsed here; tables (CSV, Parquet) by pandas and pyarrow in a child process,
which answers with a numpy archive; IDX is sixteen bytes and then the pixels.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.files import read_bytes, refuse
from auditkit.isolation import run_isolated

if TYPE_CHECKING:
    from auditkit.records import Domain, Records

Raw = dict[str, NDArray[Any]]

EMBEDDED = ("digits", "breast-cancer")
_MEMBERS = ("x", "y", "id", "subject", "key")
_ACCEPTED = ".npz, .csv, .csv.gz, .parquet, an IDX pair, digits or breast-cancer"
_IDX = re.compile(r"images[-.]idx3-ubyte(\.gz)?$")
_NPY_HEADER_BYTES = 10_000
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|=]?[a-zA-Z]\d{0,6})', 'fortran_order': (True|False), "
    rb"'shape': \(((?: ?\d{1,18},?)*)\),? ?\}\s*"
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip entry can have


def read_raw(path: Path | str, domain: Domain | None, *, submitted: bool) -> tuple[Raw, str]:
    """Return the arrays of a file of records by name, and what to call it in messages."""
    path = Path(path)
    if str(path) in EMBEDDED:
        return _embedded(str(path), domain), str(path)
    if path.is_dir():
        path = _idx_in(path)
    what, name = f"records {path.name}", path.name.lower()
    if _IDX.search(name):
        return _idx_pair(path, domain, what, submitted), what
    kind = next((k for k in (".npz", ".csv", ".csv.gz", ".parquet") if name.endswith(k)), None)
    data = read_bytes(path, limit=limits.RECORDS_BYTES, what="records", submitted=submitted)
    if kind is None:
        refuse(what, _ACCEPTED, f"the name {path.name[-40:]!r}", "convert it")
    if kind == ".npz":
        return read_npz(data, what), what
    if kind == ".csv.gz":
        data = inflate(data, what)
    form = b"parquet" if kind == ".parquet" else b"csv"
    label = what.encode("utf-8", "replace")
    payload = form + b"\n" + len(label).to_bytes(8, "little") + label + data
    return read_npz(run_isolated("auditkit.records_tables", payload, what=what), what), what


def inflate(data: bytes, what: str) -> bytes:
    """Return the contents of gzip data, within the limits on size and ratio."""
    most = min(
        limits.INFLATED_BYTES,
        max(limits.DECOMPRESSION_FREE, len(data) * limits.DECOMPRESSION_RATIO),
    )
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            inflated = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        refuse(what, "whole gzip data", f"{type(error).__name__}", "compress it again")
    if len(inflated) > most:
        refuse(what, f"at most {most} bytes inflated", "more", "give it uncompressed")
    return inflated


def read_npz(data: bytes, what: str) -> Raw:
    """Return the arrays of a numpy archive; EvidenceError on any member but those of records."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(entries, what)
            return {entry.filename[:-4]: _npy(_inflated(archive, entry), what) for entry in entries}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        refuse(what, "a numpy archive", f"a broken one ({type(error).__name__})", "save it again")
    except (ValueError, RuntimeError, OverflowError) as error:
        refuse(
            what, "a numpy archive", f"a malformed one ({type(error).__name__})", "save it again"
        )


def _check_entries(entries: list[zipfile.ZipInfo], what: str) -> None:
    names = [entry.filename for entry in entries]
    for entry in entries:
        subject = f"{what} member {entry.filename[:80]!r}"
        if entry.filename not in {f"{name}.npy" for name in _MEMBERS}:
            refuse(subject, f"the arrays {', '.join(_MEMBERS)}", "another", "remove it")
        if names.count(entry.filename) > 1:
            refuse(subject, "each array once", "it twice", "save it again")
        if entry.flag_bits & 0x1:
            refuse(subject, "no encryption", "encryption", "save it again")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            found = f"compression method {entry.compress_type}"
            refuse(subject, "stored or deflated data", found, "save it with numpy")
        if entry.file_size > max(
            limits.DECOMPRESSION_FREE, entry.compress_size * limits.DECOMPRESSION_RATIO
        ):
            expected = f"at most {limits.DECOMPRESSION_RATIO} times its compressed size"
            refuse(subject, expected, f"{entry.file_size} bytes", "save it uncompressed")
    if sum(entry.file_size for entry in entries) > limits.INFLATED_BYTES:
        refuse(what, f"at most {limits.INFLATED_BYTES} bytes inflated", "more", "split it")


def _inflated(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        return file.read(entry.file_size + 1)


def _npy(data: bytes, what: str) -> NDArray[Any]:
    # numpy's own reader evaluates the header as Python source and makes the array it promises.
    size = {1: 2, 2: 4}.get(data[6] if len(data) > 12 else 0)
    if data[:6] != b"\x93NUMPY" or size is None:
        refuse(what, "arrays in numpy format 1.0 or 2.0", "another", "save it again with numpy")
    start = 8 + size + int.from_bytes(data[8 : 8 + size], "little")
    header = _NPY_HEADER.fullmatch(data[8 + size : min(start, _NPY_HEADER_BYTES)])
    if header is None:
        refuse(what, "arrays with a numpy header", "another", "save it again with numpy")
    descr, fortran, axes = (part.decode("ascii") for part in header.groups())
    if descr.lstrip("<>|=")[0] not in "biufU":
        refuse(what, "arrays of numbers or strings", f"{descr}", "save it without objects")
    dtype = np.dtype(descr)
    shape = tuple(int(n) for n in axes.split(",") if n.strip())
    count = math.prod(shape)  # Python's integers: checked before anything of this size is made
    if dtype.itemsize == 0 or count * dtype.itemsize != len(data) - start:
        found = f"{len(data) - start} bytes for {list(shape)[:16]}"
        refuse(what, "as many bytes as the shape says", found, "save it again")
    array = np.frombuffer(data, dtype, offset=start)
    return array.reshape(shape, order="F" if fortran == "True" else "C")


def arrays_of(records: Records) -> Raw:
    """Return the arrays that a file of these records holds."""
    arrays: Raw = {"x": records.x, "y": records.y}
    for name in ("id", "subject"):
        names = getattr(records, name)
        if names is not None:
            arrays[name] = np.asarray(names)
    if records.key is not None:
        arrays["key"] = np.frombuffer(records.key, np.uint8)
    return arrays


def npz_bytes(arrays: Raw) -> bytes:
    """Return a numpy archive of `arrays`, always the same bytes (no times, no compression)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in _MEMBERS:
            if name in arrays:
                entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
                entry.create_system = 3  # as written on Unix, wherever this runs
                entry.external_attr = 0o644 << 16
                with archive.open(entry, "w", force_zip64=True) as file:
                    array = np.ascontiguousarray(arrays[name])
                    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
                    np.lib.format.write_array(file, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _idx_in(folder: Path) -> Path:
    try:
        found = sorted(p for p in folder.iterdir() if _IDX.search(p.name))
    except OSError as error:
        refuse(f"folder {folder.name}", "a readable folder", f"{error.strerror}", "check it")
    if len(found) != 1:
        expected = "one file …images-idx3-ubyte"
        refuse(f"folder {folder.name}", expected, f"{len(found)}", "name the file itself")
    return found[0]


def _idx_pair(path: Path, domain: Domain | None, what: str, submitted: bool) -> Raw:
    labels = path.with_name(re.sub(r"images([-.])idx3", r"labels\1idx1", path.name))
    pixels, (count, height, width) = _idx(path, 3, what, submitted)
    y, (others,) = _idx(labels, 1, f"records {labels.name}", submitted)
    if others != count:
        refuse(what, f"{count} labels beside it", f"{others}", "give the labels of these images")
    low, high = (np.asarray(b, np.float64) for b in domain) if domain else (0.0, 1.0)
    if np.ndim(low) or np.ndim(high):
        refuse(what, "one domain for all pixels", "one for each", "scale them into an .npz")
    # Pixels are 256 values: scaled once each in float64, then rounded once.
    scaled = _scaled(np.arange(256) / 255, low, high)
    return {"x": scaled[pixels.reshape(count, height, width)], "y": y.astype(np.int64)}


def _idx(
    path: Path, axes: int, what: str, submitted: bool
) -> tuple[NDArray[np.uint8], tuple[int, ...]]:
    data = read_bytes(path, limit=limits.RECORDS_BYTES, what="records", submitted=submitted)
    if path.suffix == ".gz":
        data = inflate(data, what)
    start = 4 + 4 * axes
    if len(data) < start or data[:4] != bytes([0, 0, 8, axes]):
        refuse(what, f"IDX bytes of {axes} axes", f"a start {data[:4].hex()}", "check the file")
    sizes = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes))
    if math.prod(sizes) != len(data) - start:
        found = f"{len(data) - start} for {list(sizes)}"
        refuse(what, f"{math.prod(sizes)} bytes of values", found, "copy it again")
    return np.frombuffer(data, np.uint8, offset=start), sizes


def _embedded(name: str, domain: Domain | None) -> Raw:
    from sklearn import datasets

    if name == "digits":
        x, y = datasets.load_digits(return_X_y=True)
        unit = x.reshape(-1, 8, 8) / 16
    else:
        x, y = datasets.load_breast_cancer(return_X_y=True)
        unit = (x - x.min(axis=0)) / (x.max(axis=0) - x.min(axis=0))
    low, high = (np.asarray(b, np.float64) for b in domain) if domain else (0.0, 1.0)
    return {"x": _scaled(unit, low, high), "y": y.astype(np.int64)}


def _scaled(unit: NDArray[Any], low: Any, high: Any) -> NDArray[np.float32]:
    """Return [0, 1] as float32 within [low, high]; rounding must not leave the domain."""
    x = (low + (high - low) * unit).astype(np.float32)
    x = np.where(x > high, np.nextafter(x, np.float32(-np.inf)), x)
    return np.asarray(np.where(x < low, np.nextafter(x, np.float32(np.inf)), x), np.float32)
