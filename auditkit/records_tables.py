"""Records in tables, CSV and Parquet, parsed in the child process.

A column `label` is required, `id` and `subject` are optional, and every other column is a
feature, in the order of the file.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit import limits
from auditkit.records_files import npz_bytes
from auditkit.refusal import refuse

_SPECIAL = ("label", "id", "subject")


def answer(payload: bytes) -> bytes:
    """Return a numpy archive of the records in `payload`: the form, what to call it, the table."""
    form, _, rest = payload.partition(b"\n")
    length = int.from_bytes(rest[:8], "little")
    what = rest[8 : 8 + length].decode("utf-8", "replace")
    data = rest[8 + length :]
    return npz_bytes(_csv(data, what) if form == b"csv" else _parquet(data, what))


def _csv(data: bytes, what: str) -> dict[str, NDArray[Any]]:
    import pandas as pd

    data = data.removeprefix(b"\xef\xbb\xbf")  # spreadsheets mark UTF-8 so
    header = data[: 1 << 20].split(b"\n", 1)[0]
    if b"\0" in data[: 1 << 20]:
        refuse(what, "a table of text", "binary data", "check the file")
    names = [n.strip().strip('"') for n in header.decode("utf-8", "replace").strip().split(",")]
    _check_names(names, what)
    try:
        with warnings.catch_warnings():
            # pandas drops what a line has too much, with a warning only.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                io.BytesIO(data),
                dtype={"id": str, "subject": str},
                keep_default_na=False,  # "NA" may be a name; an empty feature is text: refused
                index_col=False,
                encoding="utf-8",
                skipinitialspace=True,
                on_bad_lines="error",
            )
    except (ValueError, pd.errors.ParserWarning) as error:
        found = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}" if str(error) else "?"
        # pandas quotes the number of the line and of its fields, never their contents.
        refuse(what, "a table with a header line and commas", found, "save it again")
    columns = {str(name): table[name].to_numpy() for name in table.columns}
    return _records(columns, what)


def _parquet(data: bytes, what: str) -> dict[str, NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data), thrift_string_size_limit=limits.MIB * 16)
        schema, rows = file.schema_arrow, file.metadata.num_rows
        _check_names(schema.names, what)
        for field in schema:
            subject = f"{what} column {field.name[:80]!r}"
            flat = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
            flat = flat or pa.types.is_boolean(field.type)
            text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
            if not flat and not (text and field.name in ("id", "subject")):
                refuse(
                    subject, "one number a record", f"{field.type}"[:80], "flatten or convert it"
                )
        if rows > limits.RECORDS or rows * len(schema.names) * 8 > limits.INFLATED_BYTES:
            found = f"{rows} rows of {len(schema.names)} columns"
            refuse(what, "a table within the limits", found, "split it")
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        refuse(what, "a Parquet file", f"a broken one ({type(error).__name__})", "save it again")
    columns: dict[str, NDArray[Any]] = {}
    for name in table.column_names:
        column = table.column(name)
        if column.null_count:
            found = f"{column.null_count} empty cells"
            refuse(
                f"{what} column {name[:80]!r}", "a value in each row", found, "fill or drop them"
            )
        columns[name] = column.to_numpy()
    return _records(columns, what)


def _check_names(names: list[str], what: str) -> None:
    if len(names) > limits.FEATURES + len(_SPECIAL):
        refuse(what, f"at most {limits.FEATURES} columns", f"{len(names)}", "split it")
    if "label" not in names:
        refuse(what, "a column label", "none", "name the column of the classes label")
    twice = len(names) - len(set(names))
    if twice:
        refuse(what, "columns of different names", f"{twice} repeated", "rename them")


def _records(columns: dict[str, NDArray[Any]], what: str) -> dict[str, NDArray[Any]]:
    features = [name for name in columns if name not in _SPECIAL]
    if not features:
        refuse(what, "columns of features", "none", "add them")
    for name in ["label", *features]:
        if columns[name].dtype.kind not in "biuf":
            found = "text or empty cells"
            subject = f"{what} column {name[:80]!r}"
            refuse(subject, "numbers", found, "convert it, or name it id or subject")
    x = np.empty((len(columns["label"]), len(features)), np.float64)
    for i, name in enumerate(features):
        x[:, i] = columns[name]
    arrays: dict[str, NDArray[Any]] = {"x": x, "y": columns["label"]}
    for name in ("id", "subject"):
        if name in columns:
            column = columns[name]
            numbers = column.dtype.kind in "iu"
            arrays[name] = column if numbers else np.asarray([str(v) for v in column], np.str_)
            if not arrays[name].dtype.itemsize:  # no rows, or only empty strings
                refuse(f"{what} column {name}", "a name in each row", "none", "fill or drop it")
    return arrays
