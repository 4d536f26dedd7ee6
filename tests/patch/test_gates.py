"""Groups, their numbers, and the flat table of all gates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from auditkit.patch.gates import Group, OffsetKind, Patch

BITS = np.array([[1, 0, 1], [0, 0, 1]], dtype=bool)
CONSTANT, OUTPUT, ALWAYS = OffsetKind.CONSTANT, OffsetKind.OUTPUT, OffsetKind.ALWAYS


def group(name: str = "a", patterns: Any = BITS, offset: Any = (1.0, 2.0), **change: Any) -> Group:
    values: dict[str, Any] = {"kind": CONSTANT, "bound": 2.0, "sharpness": 3.0, "dead_zone": 0.5}
    values.update(change)
    kind = values.pop("kind")
    return Group(name, kind, patterns, np.asarray(offset, np.float32), **values)


def test_the_table_is_the_patch_in_flat_arrays() -> None:
    stack = group("b", offset=[[1, 2], [3, 4]], kind=OUTPUT, bound=7.0)
    patch = Patch(
        (group("a"), stack, group("c", np.zeros((0, 3), bool), kind=ALWAYS, dead_zone=0.0)), 2, 3
    )
    table = patch.table
    assert patch.gates == 4
    assert table.patterns.tolist() == [*BITS.tolist(), *BITS.tolist()]
    assert table.group.tolist() == [0, 0, 1, 2]
    assert table.member.tolist() == [0, 1, 0, 1]
    assert table.source.tolist() == [0, 1, 1, 2]
    assert table.offset.tolist() == [[1, 2], [1, 2], [3, 4], [1, 2]]
    assert table.kind_output.tolist() == [False, True, True, False]
    assert table.always.tolist() == [False, False, False, True]
    assert table.bound.tolist() == [2, 7, 7, 2]
    assert table.sharpness.tolist() == [3, 3, 3, 3]
    assert table.dead_zone.tolist() == [0.5, 0.5, 0.5, 0]
    assert [patch.find("a", 1), patch.find("b", 0), patch.find("b", 1)] == [1, 2, 3]
    assert [patch.find("b", 2), patch.find("b", -1), patch.find("c", 0), patch.find("d", 0)] == [
        None
    ] * 4


def test_one_gate_with_a_row_of_its_own_is_a_stack() -> None:
    assert group(patterns=BITS[:1], offset=[[1, 2]]).stacked
    assert not group(patterns=BITS[:1]).stacked
    assert (group().units_of, group(offset=np.ones((2, 2))).units_of) == (1, 2)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"patterns": BITS[0]}, "patterns of shape"),
        ({"offset": np.ones((3, 2))}, "offset"),
        ({"offset": np.ones((1, 2, 2))}, "offset"),
        ({"patterns": BITS[:0]}, "0 gates"),
        ({"kind": ALWAYS}, "2 gates"),
        ({"offset": [np.inf, 0]}, "not finite"),
        ({"bound": np.nan}, "not finite"),
        ({"sharpness": np.inf}, "not finite"),
        ({"bound": -1.0}, "K, n, τ"),
        ({"sharpness": 0.0}, "K, n, τ"),
        ({"dead_zone": -1.0}, "K, n, τ"),
    ],
)
def test_impossible_groups(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        group(**change)


def test_patches_fit_their_network() -> None:
    with pytest.raises(ValueError, match="repeat"):
        Patch((group(), group()), 2, 3)
    with pytest.raises(ValueError, match="3 bits"):
        Patch((group(),), 2, 4)
    with pytest.raises(ValueError, match="2 classes"):
        Patch((group(),), 3, 3)
    empty = Patch((), 2, 3)
    assert (empty.gates, empty.table.patterns.shape, empty.table.offset.shape) == (
        0,
        (0, 3),
        (0, 2),
    )
