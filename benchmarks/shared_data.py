"""The shared data of the benchmarks: AUDITKIT_SHARED, or ../shared from the project's root."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np

from auditkit.records import Records, read_records

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("AUDITKIT_SHARED", ROOT.parent / "shared"))
DENSE = "mnist-net_256x2.onnx"


def mnist(
    part: str, shape: tuple[int, ...] | None = None, domain: tuple[float, float] = (0.0, 1.0)
) -> Records:
    """Return MNIST (`train` or `t10k`) in the network's shape and domain."""
    path = SHARED / "data" / "mnist" / f"{part}-images-idx3-ubyte.gz"
    return read_records(path, shape, 10, domain)


def users() -> Records:
    """Return the 5,010 users of Location-30: visited places, and the class from 0."""
    path = SHARED / "data" / "location30" / "bangkok.csv.gz"
    with gzip.open(path, "rt") as file:
        table = np.loadtxt(
            file, delimiter=",", converters={0: lambda s: float(s.strip('"'))}, dtype=np.float32
        )
    return Records(table[:, 1:].copy(), table[:, 0].astype(np.int64) - 1)
