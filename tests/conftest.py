"""Fixtures of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # workers have a core each, and so have what they start
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with MNIST, Location-30 and foreign networks, which the project does not carry."""
    folder = Path(os.environ.get("AUDITKIT_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}: set AUDITKIT_SHARED to its place")
    return folder
