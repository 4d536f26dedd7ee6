"""scores.csv: membership scores, or outputs, that somebody else computed (access tier A)."""

from __future__ import annotations

import io
import re
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
MOST = 1e30  # of a score or logit: beyond it differences are lost or infinite
LOGIT = re.compile(r"logit_(0|[1-9][0-9]*)")


@dataclass(frozen=True, eq=False)
class Part:
    """The records of one group in one phase, ordered by id.

    id, subject: strings [N], subject None where nobody has several records; score float64 [N],
    logits float64 [N, C] and labels int64 [N] where the file has them.
    """

    id: NDArray[np.str_]
    subject: NDArray[np.str_] | None
    score: NDArray[np.float64] | None
    logits: NDArray[np.float64] | None
    labels: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores and outputs by group and phase; a part that the file does not have is empty."""

    parts: dict[tuple[str, str], Part]

    def has(self, phase: str) -> bool:
        """Return whether both forgotten and unseen records are there in this phase."""
        return all(len(self.parts[group, phase]) for group in ("forgotten", "unseen"))

    def of(self, phase: str) -> tuple[Part, Part]:
        """Return forgotten and unseen records."""
        return self.parts["forgotten", phase], self.parts["unseen", phase]

    @property
    def paired(self) -> bool:
        """Whether forgotten and unseen records are the same before and after."""
        return self.has("before") and all(
            np.array_equal(a.id, b.id)
            for a, b in zip(self.of("before"), self.of("after"), strict=True)
        )


def read_scores(path: Path) -> ScoreTable:
    """Read a table of scores or logits; EvidenceError when it is not one.

    Columns id, group, phase; score, or logit_0 to logit_{C-1} with label, or both; subject where
    people have several records.
    """
    data = read_bytes(path, limit=limits.RECORDS_BYTES, what="scores")
    try:
        table = pd.read_csv(io.BytesIO(data), dtype={"id": str, "subject": str}, index_col=False)
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        refuse(str(path), "a CSV file", str(error).split("\n")[0][:120], "write it as CSV")
    logits = _logit_columns(table, path)
    wanted = ["id", "group", "phase", *(["label"] if logits else ["score"])]
    missing = [c for c in wanted if c not in table.columns]
    if missing:
        expected = f"columns {', '.join(COLUMNS)}, or logit_0, logit_1, ... and label for score"
        refuse(str(path), expected, f"no {', '.join(missing)}", "add them")
    if len(table) == 0:
        refuse(str(path), "a row for each record and phase", "none", "add them")
    for column, allowed in (("group", GROUPS), ("phase", PHASES)):
        bad = sorted({str(v) for v in table[column]} - set(allowed))
        if bad:
            refuse(str(path), f"{column} among {', '.join(allowed)}", bad[0][:40], "correct it")
    if table["id"].isna().any():
        refuse(str(path), "an id in every row", _first(table["id"].isna()), "name every record")
    if table.duplicated(["id", "group", "phase"]).any():
        refuse(str(path), "one row a record and phase", "a record twice", "keep one of them")
    scores = _numbers(table, ["score"], path)[:, 0] if "score" in table.columns else None
    outputs = _numbers(table, logits, path) if logits else None
    labels = _labels(table, len(logits), path) if logits else None
    subject = _subjects(table)
    order = np.argsort(table["id"].to_numpy(dtype=str), kind="stable")

    def part(group: str, phase: str) -> Part:
        inside = ((table["group"] == group) & (table["phase"] == phase)).to_numpy()
        rows = order[inside[order]]
        return Part(
            table["id"].to_numpy(dtype=str)[rows],
            None if subject is None else subject[rows],
            None if scores is None else scores[rows],
            None if outputs is None else outputs[rows],
            None if labels is None else labels[rows],
        )

    return ScoreTable({(group, phase): part(group, phase) for group in GROUPS for phase in PHASES})


def _logit_columns(table: pd.DataFrame, path: Path) -> list[str]:
    found = [c for c in table.columns if str(c).startswith("logit")]
    numbers = sorted(int(m[1]) for c in found if (m := LOGIT.fullmatch(str(c))))
    if found and (numbers != list(range(len(found))) or not 2 <= len(found) <= limits.CLASSES):
        given = ", ".join(map(str, found[:4]))
        refuse(str(path), "columns logit_0, logit_1, ... one for each class", given, "name them so")
    return [f"logit_{number}" for number in numbers]


def _numbers(table: pd.DataFrame, columns: list[str], path: Path) -> NDArray[np.float64]:
    values = table[columns].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = ~(np.abs(values) <= MOST).all(axis=1)  # not for NaN either
    if bad.any():
        what = "score" if columns == ["score"] else "logit"
        refuse(str(path), f"a finite {what} in every row", _first(bad), "correct it")
    return np.asarray(values, dtype=np.float64)


def _labels(table: pd.DataFrame, classes: int, path: Path) -> NDArray[np.int64]:
    values = pd.to_numeric(table["label"], errors="coerce").to_numpy(np.float64)
    bad = ~np.isin(values, np.arange(classes))
    if bad.any():
        expected = f"a label from 0 to {classes - 1} in every row"
        refuse(str(path), expected, _first(bad), "correct it")
    if (table.assign(label=values).groupby(["group", "id"])["label"].nunique() > 1).any():
        refuse(str(path), "one label a record", "a record with two", "correct it")
    return values.astype(np.int64)


def _subjects(table: pd.DataFrame) -> NDArray[np.str_] | None:
    """Return whose record each row is, None where nobody has several; unnamed ones stand alone."""
    if "subject" not in table.columns:
        return None
    own = "record " + table["group"] + " " + table["id"]
    people = ("person " + table["subject"]).where(table["subject"].notna(), own)
    records = pd.DataFrame({"record": own, "person": people}).drop_duplicates()
    if records["person"].nunique() == len(records):
        return None
    return np.asarray(people.to_numpy(dtype=str))


def _first(bad: pd.Series | NDArray[np.bool_]) -> str:
    return f"none in row {int(np.flatnonzero(np.asarray(bad))[0]) + 2}"
