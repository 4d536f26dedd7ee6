"""Fixtures of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with MNIST, Location-30 and foreign networks, which the project does not carry."""
    folder = Path(os.environ.get("AUDITKIT_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}: set AUDITKIT_SHARED to its place")
    return folder
