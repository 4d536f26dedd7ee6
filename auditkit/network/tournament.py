"""Max pooling as a balanced tournament, so that it has units and patterns like ReLU.

The maximum of a window is found in rounds of a + ReLU(b - a) over neighbours from left to right;
an odd one out moves up. Padding takes no part. Each comparison is one unit with pre-activation
b - a. Units are ordered by round, within a round by output position (channel, row, column), then
by pair. This serves patterns, gates and frozen pieces: the network itself takes the maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from auditkit.network.graph import Array, MaxPool, Shape
from auditkit.network.numbers import Arithmetic

V = TypeVar("V")
Bits = NDArray[np.bool_]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Round:
    """One round of all windows: `played` [positions, pairs] marks pairs with two players."""

    played: Bits
    odd: bool  # a last slot has no partner in this round

    @property
    def units(self) -> int:
        return int(self.played.sum())

    @property
    def slots(self) -> int:
        return 2 * self.played.shape[1] + self.odd


@dataclass(frozen=True, eq=False)
class Tournament:
    """`players` [positions, slots] are flat input indices, left-aligned, -1 where there is none."""

    players: Index
    rounds: tuple[Round, ...]
    inputs: int  # numbers in the input of the pool

    @property
    def units(self) -> int:
        return sum(r.units for r in self.rounds)


def tournament(operator: MaxPool, shape: Shape) -> Tournament:
    """Lay out the comparisons of a max pool on an input of `shape` [channels, height, width]."""
    top, left, bottom, right = operator.pads
    inputs = int(np.prod(shape))
    flat = np.arange(inputs, dtype=np.int64).reshape(shape)
    padded = np.pad(flat, [(0, 0), (top, bottom), (left, right)], constant_values=-1)
    (kh, kw), (sh, sw), (dh, dw) = operator.kernel, operator.strides, operator.dilations
    rows = _window_starts(padded.shape[1], kh, sh, dh) + np.arange(kh) * dh
    columns = _window_starts(padded.shape[2], kw, sw, dw) + np.arange(kw) * dw
    windows = padded[:, rows[:, None, :, None], columns[None, :, None, :]]
    candidates = windows.reshape(-1, kh * kw)
    order = np.argsort(candidates < 0, axis=1, kind="stable")
    players = np.take_along_axis(candidates, order, axis=1)
    count = (players >= 0).sum(axis=1)
    width = int(count.max())
    players = players[:, :width]

    rounds = []
    while width > 1:
        played = 2 * np.arange(width // 2)[None] + 1 < count[:, None]
        rounds.append(Round(played, odd=bool(width % 2)))
        count, width = (count + 1) // 2, (width + 1) // 2
    return Tournament(players, tuple(rounds), inputs)


def _window_starts(size: int, kernel: int, stride: int, dilation: int) -> Index:
    count = (size - dilation * (kernel - 1) - 1) // stride + 1
    return (np.arange(count, dtype=np.int64) * stride)[:, None]


Choose = Callable[[Round, Any, Any], Any]


def play(
    plan: Tournament, x: V, arithmetic: Arithmetic[V], choose: Choose
) -> Iterator[tuple[V, V]]:
    """Yield, round by round, the units' pre-activations [N, units] and the slots that go on.

    `choose(round, a, b)` gives the winners of each pair; the last slots are the pool's output.
    """
    seats = np.where(plan.players >= 0, plan.players, 0)
    slots = arithmetic.structural(lambda v: v.reshape(len(v), -1)[:, seats], x)
    for step in plan.rounds:
        pairs = 2 * step.played.shape[1]
        a = arithmetic.structural(lambda v, p=pairs: v[:, :, 0:p:2], slots)
        b = arithmetic.structural(lambda v, p=pairs: v[:, :, 1:p:2], slots)
        difference = arithmetic.subtract(b, a)
        units = arithmetic.structural(lambda v, s=step: v[:, s.played], difference)
        winners = choose(step, a, b)
        slots = arithmetic.structural(
            lambda w, u, v, s=step, p=pairs: np.concatenate(
                [np.where(s.played, w, u), v[:, :, p:]], axis=2
            ),
            winners,
            a,
            slots,
        )
        yield units, slots


def by_value(arithmetic: Arithmetic[V]) -> Choose:
    """Let the larger number win."""
    return lambda step, a, b: arithmetic.larger(a, b)


def by_bits(plan: Tournament, bits: Bits, arithmetic: Arithmetic[V]) -> Choose:
    """Let the bits [N, units] of a frozen pattern decide: b wins where the bit is 1."""
    won = iter(split_rounds(plan, bits))

    def choose(step: Round, a: V, b: V) -> V:
        marks = next(won)
        return arithmetic.structural(lambda u, v: np.where(marks, v, u), a, b)

    return choose


def split_rounds(plan: Tournament, columns: NDArray[Any]) -> list[NDArray[Any]]:
    """Return, for each round, [N, positions, pairs] of what `columns` [N, units] say; else 0."""
    placed, start = [], 0
    for step in plan.rounds:
        board = np.zeros((len(columns), *step.played.shape), dtype=columns.dtype)
        board[:, step.played] = columns[:, start : start + step.units]
        placed.append(board)
        start += step.units
    return placed


def adjoint(
    plan: Tournament, bits: Bits, back: V | None, injected: V | None, arithmetic: Arithmetic[V]
) -> V:
    """Return, as [N, inputs], the gradient of frozen winners `back` and units `injected`.

    `back` is [N, positions] over the pool's outputs, `injected` [N, units]; one may be None.
    """
    some = back if back is not None else injected
    assert some is not None
    positions = len(plan.players)
    slots = arithmetic.structural(
        lambda v: (
            v.reshape(len(v), positions, 1)
            if back is not None
            else np.zeros((len(v), positions, 1), dtype=v.dtype)
        ),
        some,
    )
    won = split_rounds(plan, bits)
    for number in reversed(range(len(plan.rounds))):
        step = plan.rounds[number]
        slots = arithmetic.structural(lambda v, s=step, w=won[number]: _unwind(s, w, v), slots)
        if injected is not None:
            for side, combine in ((1, arithmetic.add), (0, arithmetic.subtract)):
                share = arithmetic.structural(
                    lambda c, n=number, k=side: _seat(plan, c, n, k), injected
                )
                slots = combine(slots, share)
    valid = plan.players >= 0
    columns = arithmetic.structural(lambda v: v[:, valid], slots)
    return arithmetic.scatter(columns, plan.players[valid], plan.inputs)


def _unwind(step: Round, won: Bits, v: Array) -> Array:
    """Hand what the winners of a round received back to the slots that won."""
    pairs = step.played.shape[1]
    result = np.zeros((*v.shape[:2], step.slots), dtype=v.dtype)
    result[:, :, 0 : 2 * pairs : 2] = v[:, :, :pairs] * ~won
    result[:, :, 1 : 2 * pairs : 2] = v[:, :, :pairs] * won
    result[:, :, 2 * pairs :] = v[:, :, pairs:]
    return result


def _seat(plan: Tournament, c: Array, number: int, side: int) -> Array:
    """Place the columns of one round at the left (0) or right (1) slots of its pairs."""
    step = plan.rounds[number]
    result = np.zeros((len(c), len(plan.players), step.slots), dtype=c.dtype)
    result[:, :, side : 2 * step.played.shape[1] : 2] = split_rounds(plan, c)[number]
    return result
