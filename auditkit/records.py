"""Records: the inputs and labels that were forgotten, retained, held out or trained on.

A set of records is frozen and has passed every check by the time it exists: finite numbers within
the input domain, whole labels, as many of each. Numbers wider than float32 are rounded to the
nearest float32, which is what the audited network is given.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from auditkit import limits
from auditkit.files import refuse

Shape = tuple[int, ...]
Domain = tuple[ArrayLike, ArrayLike]
Name = str | int


@dataclass(frozen=True, eq=False)
class Records:
    """`x` float32 [N, *shape], `y` int64 [N]; `id` and `subject` N strings or integers, or None.

    `subject` is the person a record is about, of whom there may be several records; `key` is the
    key under which the records are committed to.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    id: tuple[Name, ...] | None = None
    subject: tuple[Name, ...] | None = None
    key: bytes | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, indices: ArrayLike) -> Records:
        """Return the records at `indices` (integers, or a mask of bools) with the same key."""
        chosen = np.arange(len(self))[np.asarray(indices, None if np.size(indices) else np.int64)]
        return dataclasses.replace(
            self,
            x=_frozen(self.x[chosen]),
            y=_frozen(self.y[chosen]),
            id=None if self.id is None else tuple(self.id[i] for i in chosen),
            subject=None if self.subject is None else tuple(self.subject[i] for i in chosen),
        )

    def describe(self) -> dict[str, Any]:
        """Return counts and shapes: nothing that depends on a single record's contents."""
        return {
            "records": len(self),
            "shape": list(self.x.shape[1:]),
            "classes": len(np.unique(self.y)),
            "subjects": None if self.subject is None else len(set(self.subject)),
        }


def read_records(
    path: Path | str,
    input_shape: Shape | None = None,
    classes: int | None = None,
    domain: Domain | None = None,
    *,
    submitted: bool = False,
) -> Records:
    """Return the records at `path`, which is a file, a folder with an IDX pair, or a name.

    Files are .npz, .csv, .csv.gz, .parquet, or the images of an IDX pair (…images-idx3-ubyte,
    also .gz, labels beside it); `digits` and `breast-cancer` are scikit-learn's own data. IDX
    pixels 0 to 255 and the named sets are scaled to `domain` (lowest, highest; [0, 1] unless
    given). `input_shape` is the network's: features are reshaped to it where that keeps their
    order. EvidenceError, which never quotes a value, on whatever does not fit.
    """
    from auditkit import records_files

    raw, what = records_files.read_raw(path, domain, submitted=submitted)
    return checked(raw, what, input_shape, classes, domain)


def checked(
    raw: dict[str, Any],
    what: str,
    input_shape: Shape | None = None,
    classes: int | None = None,
    domain: Domain | None = None,
) -> Records:
    """Return the arrays `x`, `y` and optionally `id`, `subject`, `key` as records.

    `what` names them in the EvidenceError raised when a check fails.
    """
    for required in ("x", "y"):
        if raw.get(required) is None:
            refuse(what, f"an array {required}", "none", "add it")
    x = _features(np.asarray(raw["x"]), what)
    if len(x) == 0:
        refuse(what, "at least one record", "none", "give the records")
    if len(x) > limits.RECORDS or x[0].size > limits.FEATURES or x[0].size == 0:
        expected = f"at most {limits.RECORDS} records of 1 to {limits.FEATURES} features"
        refuse(what, expected, f"{len(x)} of {x[0].size}", "give fewer")
    if input_shape is not None:
        x = _reshaped(x, tuple(input_shape), what)
    y = _labels(np.asarray(raw["y"]), len(x), classes, what)
    _check_domain(x, (0.0, 1.0) if domain is None else domain, what)
    ids = _names(raw.get("id"), "id", len(x), what)
    if ids is not None:
        ((_, count),) = Counter(ids).most_common(1)
        if count > 1:
            refuse(what, "each id once", f"one of them {count} times", "give each record its own")
    subjects = _names(raw.get("subject"), "subject", len(x), what)
    return Records(_frozen(x), _frozen(y), ids, subjects, _key(raw.get("key"), what))


def joined(*sets: Records) -> Records:
    """Return all records of some sets, features and labels alone."""
    return Records(np.concatenate([s.x for s in sets]), np.concatenate([s.y for s in sets]))


def write_records(path: Path, records: Records) -> None:
    """Write the records as .npz; the same bytes for the same records."""
    from auditkit import records_files
    from auditkit.files import write_atomic

    write_atomic(Path(path), records_files.npz_bytes(records_files.arrays_of(records)))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array = np.ascontiguousarray(array)  # of an array that was just made: nobody else's changes
    array.setflags(write=False)
    return array


def _features(x: NDArray[Any], what: str) -> NDArray[np.float32]:
    if x.dtype.kind not in "fiub" or x.dtype.itemsize > 8:
        refuse(f"{what} x", "float32 numbers", f"{x.dtype.name}", "convert the features")
    if x.ndim < 2 or x.ndim > limits.TENSOR_RANK:
        refuse(f"{what} x", "an array [records, features...]", f"{x.ndim} axes", "reshape it")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = ~np.isfinite(x.reshape(len(x), -1)).all(axis=1)
        refuse(f"{what} x", "finite numbers", _where(bad, "NaN or infinity"), "correct the records")
    if x.dtype.kind in "iu" and x.size and max(abs(int(x.min())), abs(int(x.max()))) > 1 << 24:
        refuse(f"{what} x", "integers that float32 holds exactly", "larger ones", "scale them")
    with np.errstate(over="ignore"):
        rounded = x.astype(np.float32)
    if not np.isfinite(rounded).all():
        refuse(f"{what} x", "numbers within float32", "larger ones", "scale them")
    return rounded


def _reshaped(x: NDArray[np.float32], shape: Shape, what: str) -> NDArray[np.float32]:
    given = x.shape[1:]
    if given == shape:
        return x
    # Only axes of size 1 may come and go, or one side be flat: anything else, such as channels
    # last where the network wants them first, would shuffle the pixels.
    bare, wanted = [n for n in given if n > 1], [n for n in shape if n > 1]
    flat = len(bare) <= 1 or len(wanted) <= 1
    if int(np.prod(given)) != int(np.prod(shape)) or not (bare == wanted or flat):
        found = f"{list(given)}"
        refuse(f"{what} x", f"records of shape {list(shape)}", found, "give them in this shape")
    return x.reshape(len(x), *shape)


def _labels(y: NDArray[Any], count: int, classes: int | None, what: str) -> NDArray[np.int64]:
    subject = f"{what} y"
    if y.shape != (count,):
        refuse(subject, f"{count} labels", f"shape {list(y.shape)}", "give one label a record")
    if y.dtype.kind not in "iubf" or y.dtype.itemsize > 8:
        refuse(subject, "whole numbers", f"{y.dtype.name}", "number the classes from 0")
    if y.dtype.kind == "f":
        whole = np.isfinite(y) & (y == np.floor(y)) & (np.abs(y) < 1 << 53)
        if not whole.all():
            refuse(subject, "whole numbers", _where(~whole, "others"), "number the classes from 0")
    most = limits.CLASSES if classes is None else classes
    outside = (y < 0) | (y >= most)
    if outside.any():
        found = _where(outside, "others")
        refuse(subject, f"labels from 0 to {most - 1}", found, "number the classes from 0")
    return y.astype(np.int64)


def _check_domain(x: NDArray[np.float32], domain: Domain, what: str) -> None:
    low, high = (np.asarray(bound, np.float64) for bound in domain)
    try:
        low, high = np.broadcast_to(low, x.shape[1:]), np.broadcast_to(high, x.shape[1:])
    except ValueError:
        found = f"bounds {list(low.shape)} and {list(high.shape)}"
        refuse(what, f"a domain of shape {list(x.shape[1:])}", found, "give one bound a feature")
    outside = np.any(((x < low) | (x > high)).reshape(len(x), -1), axis=1)
    if outside.any():
        box = f" [{low.min():g}, {high.max():g}]"
        remedy = "scale them, or give the domain they live in"
        refuse(f"{what} x", f"records within the domain{box}", _where(outside, "others"), remedy)


def _where(bad: NDArray[np.bool_], kind: str) -> str:
    return f"{kind} in {int(bad.sum())} of {len(bad)} records, the first at {int(bad.argmax())}"


def _names(values: Any, name: str, count: int, what: str) -> tuple[Name, ...] | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != (count,) or array.dtype.kind not in "Uiu":
        found = f"{array.dtype.name} of shape {list(array.shape)}"
        refuse(f"{what} {name}", f"{count} strings or integers", found, "give one a record")
    names: Sequence[Name] = array.tolist()
    if any(isinstance(n, str) and not 1 <= len(n) <= limits.NAME_CHARACTERS for n in names):
        expected = f"names of 1 to {limits.NAME_CHARACTERS} characters"
        refuse(f"{what} {name}", expected, "an empty or longer one", "give each record one")
    return tuple(names)


def _key(values: Any, what: str) -> bytes | None:
    if values is None:
        return None
    array = np.asarray(values)
    if array.dtype != np.uint8 or array.ndim != 1 or not 1 <= array.size <= limits.KEY_BYTES:
        found = f"{array.dtype.name} of shape {list(array.shape)}"
        refuse(f"{what} key", f"1 to {limits.KEY_BYTES} bytes (uint8)", found, "leave it as it was")
    return array.tobytes()
