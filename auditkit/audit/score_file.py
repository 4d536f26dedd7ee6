"""scores.csv: membership scores that somebody else computed (access tier A)."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from auditkit import limits
from auditkit.files import read_bytes
from auditkit.refusal import refuse

GROUPS = ("forgotten", "retained", "unseen")
PHASES = ("before", "after")
COLUMNS = ("id", "subject", "group", "phase", "score")


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores by group and phase."""

    values: dict[tuple[str, str], NDArray[np.float64]]

    def has(self, phase: str) -> bool:
        """Return whether both forgotten and unseen records have scores in this phase."""
        return all(len(self.values.get((g, phase), ())) for g in ("forgotten", "unseen"))

    def of(self, phase: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the scores of forgotten and of unseen records."""
        return self.values["forgotten", phase], self.values["unseen", phase]


def read_scores(path: Path) -> ScoreTable:
    """Read a table of scores; EvidenceError when it is not one."""
    data = read_bytes(path, limit=limits.RECORDS_BYTES, what="scores")
    try:
        table = pd.read_csv(io.BytesIO(data), dtype={"id": str, "subject": str})
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        refuse(str(path), "a CSV file", str(error).split("\n")[0][:120], "write it as CSV")
    missing = [c for c in ("id", "group", "phase", "score") if c not in table.columns]
    if missing:
        refuse(str(path), f"columns {', '.join(COLUMNS)}", f"no {', '.join(missing)}", "add them")
    for column, allowed in (("group", GROUPS), ("phase", PHASES)):
        bad = sorted({str(v) for v in table[column]} - set(allowed))
        if bad:
            refuse(str(path), f"{column} among {', '.join(allowed)}", bad[0][:40], "correct it")
    scores = pd.to_numeric(table["score"], errors="coerce").to_numpy(np.float64)
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        refuse(str(path), "a finite score in every row", f"none in row {row + 2}", "correct it")
    if table.duplicated(["id", "group", "phase"]).any():
        refuse(str(path), "one score a record and phase", "a record twice", "keep one of them")
    return ScoreTable(
        {
            (group, phase): scores[
                ((table["group"] == group) & (table["phase"] == phase)).to_numpy()
            ]
            for group in GROUPS
            for phase in PHASES
        }
    )
