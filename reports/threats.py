"""The chapter on dishonest behaviour in words: what was looked for, what was seen, how sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reports.text import interval, is_number, number

_NO_P = {
    "fail": "It rests on no chance: it follows from what was delivered and examined.",
    "pass": "It rests on no p-value: what was delivered was examined as a whole.",
    "inconclusive": "No test gave a p-value.",
}

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Line:
    """One behaviour; `p`, `n` and `power` are for the table, `rows` say all of it."""

    anchor: str
    number: str
    name: str
    title: str
    outcome: str
    tested: bool
    limitation: bool
    p: str
    n: str
    power: str
    rows: Rows


@dataclass(frozen=True)
class Chapter:
    """All behaviours of the threat model, and what nothing can detect."""

    lines: tuple[Line, ...]
    tested: int
    undetectable: tuple[str, ...]
    calibrated: bool


def chapter(record: dict[str, Any]) -> Chapter | None:
    """Return the chapter of a validated record, None where the record has none."""
    rows = record.get("threats") or []
    if not rows:
        return None
    lines = tuple(_line(row, index) for index, row in enumerate(rows, 1))
    return Chapter(
        lines,
        sum(line.tested for line in lines),
        tuple(record.get("undetectable") or ()),
        any(row.get("rates") for row in rows),
    )


def _line(row: dict[str, Any], index: int) -> Line:
    p = row.get("p") if row.get("p_adjusted") is None else row["p_adjusted"]
    return Line(
        anchor=f"behaviour-{index}",
        number=str(row["number"]),
        name=row["name"].replace("-", " "),
        title=row["title"],
        outcome=row["outcome"],
        tested=row["tested"],
        limitation=row["outcome"] == "fail" and row.get("severity") == "limitation",
        p="–" if p is None or not is_number(p) else number(p, 2),
        n=number(row["n"]) if is_number(row.get("n")) else "–",
        power=_percent(row["power"]) if is_number(row.get("power")) else "–",
        rows=tuple(_rows(row)),
    )


def _rows(row: dict[str, Any]) -> list[tuple[str, str]]:
    seen = "What was seen" if row["tested"] else "Why it was not tested"
    rows = [(seen, row.get("reason") or "not stated")]
    if row["tested"]:
        rows.append(("How sure", _sure(row)))
    if row.get("rates"):
        rows += _calibrated(row["rates"])
    if row.get("hiding"):
        rows.append(("What it would take to hide", _sentence(row["hiding"])))
    if row.get("references"):
        rows.append(("References used", _sentence(row["references"])))
    if row.get("needs"):
        rows.append(("Evidence it needs", _sentence(", ".join(row["needs"]))))
    return rows


def _sure(row: dict[str, Any]) -> str:
    said = []
    if is_number(row.get("p")):
        told = f"If the owner is honest, this or more is seen with p = {number(row['p'], 2)}"
        if is_number(row.get("p_adjusted")):
            told += f"; {number(row['p_adjusted'], 2)} after Holm’s adjustment over this audit"
        said.append(f"{told}.")
    if is_number(row.get("p_support")):
        said.append(f"If the owner behaves so, it is seen with p = {number(row['p_support'], 2)}.")
    if not said:
        said.append(_NO_P[row["outcome"]])
    bounds = interval(row.get("interval"))
    if bounds:
        said.append(f"95 % interval of what was observed: {bounds}.")
    if is_number(row.get("n")):
        said.append(f"Sample size: {number(row['n'])}.")
    if is_number(row.get("power")):
        said.append(
            f"In full, the behaviour would be found by these samples with a chance of "
            f"{_percent(row['power'])}."
        )
    return " ".join(said)


def _calibrated(rates: dict[str, Any]) -> list[tuple[str, str]]:
    told = []
    names = (
        ("false_alarm", "Honest owners accused", "simulated honest owners"),
        ("power", "Dishonest owners found", "simulated at full strength"),
    )
    for key, title, what in names:
        if rates.get(key):
            hits, n, low, high = rates[key]
            said = f"{number(hits)} of {number(n)} {what}, 95 % interval {interval([low, high])}"
            on = f", on {rates['data']}" if rates.get("data") else ""
            told.append((title, f"{said}{on}."))
    return told


def _percent(share: float) -> str:
    return f"{number(100 * share, 3)} %"


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
