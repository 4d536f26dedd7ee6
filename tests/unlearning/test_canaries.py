"""Canaries: three kinds drawn alike, committed to, and read as strictly as any file."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit.errors import EvidenceError
from auditkit.files import sha256_hex
from auditkit.records import Records, read_records, write_records
from auditkit.unlearning.canaries import (
    KINDS,
    PLACED,
    Canaries,
    Role,
    make_canaries,
    read_canaries,
    write_canaries,
)
from auditkit.unlearning.interface import Refused
from auditkit.unlearning.scenario_files import Setup, write_scenario
from auditkit.unlearning.training import PRACTICE
from tests.unlearning.conftest import split


def canaries(kind: str = "trigger", count: int = 4) -> Canaries:
    return make_canaries(split()[1], count, 10, seed=3, kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kinds_differ_by_lot_alone_and_come_back(kind: str, tmp_path: Path) -> None:
    made = canaries(kind)
    assert Counter(made.roles) == dict.fromkeys(Role, 4)
    for number in range(12):
        mine = made.records.take(made.canary == number)
        assert len(set(mine.y.tolist())) == 1, "a canary brings about one label"
        flat = mine.x.reshape(len(mine), -1)
        assert kind == "outlier" or ((flat == flat[0]).all(axis=0)).sum() >= 12, "the mark"
    assert len(made.placed(*Role)) == 12 * (PLACED if kind == "trigger" else 1)
    assert made.placed(Role.CONTROL).key is None
    path = tmp_path / "canaries.npz"
    write_canaries(path, made)
    assert sha256_hex(path.read_bytes()) == made.commitment
    back = read_canaries(path, (8, 8), 10, commitment=made.commitment)
    assert back.roles == made.roles and back.commitment == made.commitment
    np.testing.assert_array_equal(back.canary, made.canary)
    np.testing.assert_array_equal(back.reaction, made.reaction)
    with pytest.raises(EvidenceError, match="SHA-256"):
        read_canaries(path, commitment="0" * 64)


def test_another_salt_is_another_commitment() -> None:
    one = make_canaries(split()[1], 2, 10, seed=3, salt=b"a")
    other = make_canaries(split()[1], 2, 10, seed=3, salt=b"b")
    np.testing.assert_array_equal(one.records.x, other.records.x)
    assert one.commitment != other.commitment


@pytest.mark.parametrize(
    "change", [{"count": 0}, {"count": 10**7}, {"classes": 1}, {"kind": "x"}, {"placed": 10**4}]
)
def test_what_cannot_be_made_is_refused(change: dict[str, Any]) -> None:
    given: dict[str, Any] = {"count": 2, "classes": 10, **change}
    with pytest.raises(ValueError):
        make_canaries(split()[1], given.pop("count"), given.pop("classes"), seed=0, **given)


def renamed(records: Records, **names: Any) -> Records:
    return replace(records, **names)


BAD: dict[str, Any] = {
    "no id": lambda r: replace(r, id=None),
    "no subject": lambda r: replace(r, subject=None),
    "no key": lambda r: replace(r, key=None),
    "role": lambda r: replace(r, subject=("guest-0", *r.subject[1:])),
    "part": lambda r: replace(r, id=("stamped-0", *r.id[1:])),
    "two roles": lambda r: replace(
        r, subject=(f"{'control' if r.subject[1] != 'control-0' else 'announced'}-0",
                    *r.subject[1:])
    ),
    "a number left out": lambda r: replace(r, subject=tuple(f"control-{1}" for _ in r.subject)),
    "never asked for": lambda r: r.take(["placed" in str(n) for n in r.id]),
    "never placed": lambda r: r.take(["placed" not in str(n) for n in r.id]),
    "a huge number": lambda r: replace(r, subject=("control-9999999", *r.subject[1:])),
}  # fmt: skip


@pytest.mark.parametrize("change", BAD)
def test_other_files_are_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "canaries.npz"
    write_records(path, BAD[change](canaries().records))
    with pytest.raises(EvidenceError) as caught:
        read_canaries(path)
    assert str(caught.value).isprintable()


def test_a_scenario_places_them_where_nobody_sees_it(tmp_path: Path) -> None:
    setup = Setup(
        trained=300, unseen=200, hidden=(24,), canaries=3, recipe=replace(PRACTICE, epochs=2)
    )
    written = write_scenario(tmp_path / "s", "subset", read_records("digits"), setup)
    made = read_canaries(tmp_path / "s" / "canaries.npz", (8, 8), 10, commitment=written.canaries)
    forget, train, unseen = (
        read_records(tmp_path / "s" / f"{n}.npz", (8, 8), 10)
        for n in ("forget", "train", "holdout")
    )
    rows = {r.tobytes() for r in forget.x}
    placed = made.placed(Role.ANNOUNCED, Role.UNANNOUNCED)
    assert all(r.tobytes() in rows for r in placed.x)
    assert not any(r.tobytes() in rows for r in made.placed(Role.CONTROL).x)
    assert len(train) == 300 + len(placed) and len(unseen) == 150
    assert written.canaries is not None and written.canaries in "\n".join(written.lines())
    with pytest.raises(Refused):
        few = replace(setup, unseen=5)
        write_scenario(tmp_path / "few", "subset", read_records("digits"), few)
