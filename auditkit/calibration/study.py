"""Many worlds: run in parallel, kept as they end, and gone on with after an interruption."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

import auditkit
from auditkit.calibration.owners import KINDS
from auditkit.calibration.trials import Design, Row, run_world
from auditkit.errors import UsageError
from auditkit.files import sha256_hex, write_atomic
from auditkit.records import Records
from auditkit.results import plain

Progress = Callable[[int, int], None]

ROWS = "rows.jsonl"
SCHEMA = "auditkit/calibration/v1"

FROZEN_BEFORE = 4000
"""Worlds of lower seeds are those that were looked at while the checks were made; rates are of
others."""

LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch", "onnxruntime")
APART = ("cli/", "explain/", "calibration/page.py", "calibration/summary.py", "audit/threat_rates")
"""Sources on which no row depends."""

DESIGN = ("worlds", "first_seed", "honest", "behaviours")
ROW = ("data", "world", "owner", "behaviour", "variant", "strength")


@dataclass(frozen=True)
class Study:
    """Rows of trials with the design that they follow."""

    header: Mapping[str, Any]
    rows: tuple[Row, ...]


def run_study(
    data: Mapping[str, Records],
    design: Design,
    out: Path,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Study:
    """Run what is missing of a study and return all of it.

    Rows are kept in `out`/rows.jsonl after every world, under a header with design, data, sources
    and libraries; a file of others is a UsageError. More worlds may be added. Worlds are mapped by
    joblib, by whatever backend the caller has chosen (`joblib.parallel_config`); rows do not depend
    on how many run at once.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _bad(out, "a folder to write to", error.strerror or "an error") from None
    path = out / ROWS
    header = _header(data, design)
    rows = _read(path, header)
    done = {(row["data"], row["world"]) for row in rows}
    seeds = range(design.first, design.first + design.worlds)
    waiting = [(name, seed) for seed in seeds for name in data if (name, seed) not in done]
    found = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(run_world)(name, data[name], seed, design) for name, seed in waiting
    )
    for count, made in enumerate(found, 1):
        rows += made
        _write(path, header, rows)
        if progress is not None:
            progress(count, len(waiting))
    return Study(header, tuple(_in_order(rows)))


def read_study(path: Path) -> Study:
    """Return a study that was run; UsageError when the file is none."""
    try:
        header, *rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        if header.get("schema") != SCHEMA:
            raise ValueError(f"schema {header.get('schema')!r}"[:60])
        if not isinstance(header["data"], dict) or not set(DESIGN) <= set(header["design"]):
            raise ValueError("a header without data and design")
        for row in rows:
            if not set(ROW) <= set(row) or row["owner"] not in (None, *KINDS):
                raise ValueError("a row without its parts, or of an unknown owner")
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise _bad(path, "the rows of a calibration", str(error)[:120]) from None
    return Study(header, tuple(_in_order(rows)))


def _header(data: Mapping[str, Records], design: Design) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "version": auditkit.__version__,
        "sources": _sources(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "design": design.to_json(),
        "data": {name: _digest(records) for name, records in sorted(data.items())},
    }


@cache
def _sources() -> str:
    """Return a digest of what decides a row: the package without its commands and pages."""
    digest = hashlib.sha256()
    root = Path(auditkit.__file__).parent
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(APART):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _digest(records: Records) -> str:
    parts = (records.x.astype("<f4").tobytes(), records.y.astype("<i8").tobytes())
    return sha256_hex(b"".join(parts))


def _read(path: Path, header: Mapping[str, Any]) -> list[Row]:
    if not path.exists():
        return []
    found = read_study(path)
    different = [k for k in header if _bound(found.header, k) != _bound(header, k)]
    if different:
        raise _bad(path, "rows of this design, data and code, to go on with", f"other {different}")
    return list(found.rows)


def _bound(header: Mapping[str, Any], key: str) -> Any:
    """Return what rows depend on: not on how many worlds there are."""
    value = plain(header.get(key))
    return {k: v for k, v in value.items() if k != "worlds"} if key == "design" else value


def _write(path: Path, header: Mapping[str, Any], rows: Iterable[Row]) -> None:
    lines = [header, *_in_order(rows)]
    write_atomic(path, "".join(json.dumps(plain(line)) + "\n" for line in lines).encode())


def _in_order(rows: Iterable[Row]) -> list[Row]:
    def place(row: Row) -> tuple[str, ...]:
        keys = ("data", "world", "behaviour", "owner", "variant", "strength")
        return tuple(f"{row[key] or '':>8}" for key in keys)

    return sorted(rows, key=place)


def _bad(path: Path, expected: str, found: str) -> UsageError:
    return UsageError(
        str(path), expected=expected, found=found, remedy="name another folder with --out"
    )
