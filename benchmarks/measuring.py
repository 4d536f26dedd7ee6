"""One step in a process of its own: how long it takes and how much memory it adds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def in_child(script: Path, *arguments: str) -> dict[str, Any]:
    """Run `script` with `arguments` in a fresh interpreter and return the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def with_memory(step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run `step` and add `megabytes`: how far peak resident memory rose above what was there."""
    before = _status("VmRSS")
    result = step()
    return {**result, "megabytes": (_status("VmHWM") - before) / 1024}


def _status(field: str) -> int:
    # The high-water mark of this program alone: getrusage would count what started it.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}")


def _environment() -> dict[str, str]:
    import os

    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}
