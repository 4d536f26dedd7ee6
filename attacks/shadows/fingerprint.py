"""What scores of shadow models were made with, in parts that can be named when they differ.

Two runs with equal parts give the same bytes. Sources and versions are among them, and what of the
machine may turn a rounding: a score that another version of the training made is another score.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from attacks.arrays import BoolArray, Float32Array, IntArray
    from attacks.shadows.architecture import Architecture
    from attacks.shadows.recipe import Recipe

Parts = dict[str, Any]  # values of JSON

FORMAT = 2  # of the folder
SHOWN_DIFFERENCES = 4
ORDER = (
    *("format", "architecture", "recipe", "seed", "records", "scored", "query"),
    *("versions", "code", "machine", "batches_per_epoch"),
)


def fingerprint(
    architecture: Architecture,
    recipe: Recipe,
    seed: int,
    pool: tuple[Float32Array, IntArray],
    scored: int,
    query: tuple[Float32Array, IntArray] | None,
    batches: int,
    device: str,
    threaded: bool,
) -> Parts:
    """Return everything but the masks that could change a score, as named JSON values.

    pool, query: records float32 [N, d] with labels int64 [N]; scored: of how many records at the
    head of the pool signals are kept; batches: of an epoch; device: "cpu"
    or "cuda"; threaded: whether the number of threads may turn a rounding.
    """
    widths = architecture.widths
    return {
        "format": FORMAT,
        "architecture": repr(architecture) if widths is None else "-".join(map(str, widths)),
        "recipe": {name: _plain(value) for name, value in asdict(recipe).items()},
        "seed": int(seed),
        "records": _records(*pool),
        "scored": int(scored),
        "query": None if query is None else _records(*query),
        "batches_per_epoch": int(batches),
        "machine": _machine(device, threaded),
        "versions": _versions(),
        "code": _code(),
    }


def masks_digest(member_mask: BoolArray) -> str:
    """Return the SHA-256 of a member mask bool [K, N], in hexadecimal."""
    digest = hashlib.sha256(repr(member_mask.shape[1]).encode())
    for row in member_mask:
        digest.update(np.packbits(row).tobytes())
    return digest.hexdigest()


def encode(document: Any) -> bytes:
    """Return the one encoding of JSON values that a fingerprint is taken of."""
    return (
        json.dumps(document, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    ).encode()


def digest_of(document: Any) -> str:
    """Return the SHA-256 of JSON values, in hexadecimal."""
    return hashlib.sha256(encode(document)).hexdigest()


def differences(wanted: Parts, found: Parts) -> tuple[str, str] | None:
    """Return the parts that differ, once as wanted and once as found; None when none does."""
    a, b = _flat(wanted), _flat(found)
    # in the order a caller would look: what was asked for, then where it ran
    names = [name for name in {**a, **b} if a.get(name) != b.get(name)]
    names.sort(key=lambda name: ORDER.index(name.split(".")[0]))
    if not names:
        return None
    more = len(names) - SHOWN_DIFFERENCES
    rest = f" and {more} more" if more > 0 else ""
    names = names[:SHOWN_DIFFERENCES]
    return (
        ", ".join(f"{name} {_shown(a.get(name))}" for name in names) + rest,
        ", ".join(f"{name} {_shown(b.get(name))}" for name in names) + rest,
    )


def _flat(parts: Parts) -> Parts:
    found: Parts = {}
    for name, value in parts.items():
        inner = value if isinstance(value, dict) else {"": value}
        found.update({f"{name}.{key}".rstrip("."): inner[key] for key in inner})
    return found


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return f"{text[:12]}…" if digest else text[:200]


def _records(x: Float32Array, y: IntArray) -> Parts:
    digest = hashlib.sha256(repr(x.shape).encode())
    digest.update(np.ascontiguousarray(x, dtype="<f4").data)
    digest.update(np.ascontiguousarray(y, dtype="<i8").data)
    return {"count": len(y), "features": int(x.shape[1]), "sha256": digest.hexdigest()}


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _versions() -> Parts:
    import scipy
    import torch

    return {"numpy": np.__version__, "scipy": scipy.__version__, "torch": torch.__version__}


def _machine(device: str, threaded: bool) -> Parts:
    """Return what of this machine may turn a rounding; torch is imported."""
    import torch

    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads() if threaded else 1,
        "matmul_precision": torch.get_float32_matmul_precision(),
    }


def _code() -> str:
    """Return the SHA-256 of the sources that make a score: no one has to remember a version."""
    folder = Path(__file__).parent
    sources = [
        *sorted(folder.glob("*.py")),
        *(folder.parent / name for name in ("arrays.py", "signals.py")),
    ]
    digest = hashlib.sha256()
    for path in sources:
        data = path.read_bytes()
        digest.update(f"{path.name} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def array_digest(values: NDArray[Any]) -> str:
    """Return the SHA-256 of a contiguous array's bytes, which may lie in a file."""
    return hashlib.sha256(values.data).hexdigest()
