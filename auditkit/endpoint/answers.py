"""What an endpoint answers: logits, probabilities or labels, with as many digits as it gives."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

SUM_TOLERANCE = 0.1
"""How far probabilities may sum to something else than 1: ten of them rounded to two digits."""


class Kind(StrEnum):
    """What the numbers of an answer are; its name is the member of the answer that has them."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LABELS = "labels"


class Failure(StrEnum):
    """Why a query has no answer."""

    UNREACHABLE = "unreachable"
    CLOSED = "connection-closed"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    TOO_LARGE = "too-large"
    REDIRECT = "redirect"
    RATE_LIMITED = "rate-limited"
    STATUS = "http-status"
    MALFORMED = "malformed"
    SHAPE = "wrong-shape"
    VALUES = "impossible-values"
    KIND = "other-kind"
    NOT_ASKED = "not-asked"


class BadAnswer(Exception):
    """An answer that cannot be used; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.value)
        self.failure = failure


def of_logits(logits: F64, kind: Kind, digits: int | None = None) -> F64:
    """Return logits [N, C] as what an endpoint says: [N, C], or labels [N, 1].

    `digits` is to how many decimal places numbers are rounded.
    """
    values = np.asarray(logits, dtype=np.float64)
    if kind is Kind.LABELS:
        return values.argmax(axis=1)[:, None].astype(np.float64)
    if kind is Kind.PROBABILITIES:
        shifted = np.exp(values - values.max(axis=1, keepdims=True))
        values = shifted / shifted.sum(axis=1, keepdims=True)
    return values if digits is None else np.round(values, digits)


def answer_json(outputs: F64, kind: Kind) -> dict[str, Any]:
    """Return outputs [N, C] (labels [N, 1]) as the member of an answer."""
    if kind is Kind.LABELS:
        return {kind.value: outputs[:, 0].astype(np.int64).tolist()}
    return {kind.value: outputs.tolist()}


def read_answer(document: Any, count: int) -> tuple[Kind, F64]:
    """Return kind and outputs [count, C] (labels [count, 1]) of a parsed answer.

    Members besides the one that has the outputs are ignored. BadAnswer when there is not exactly
    one such member, when it has another shape, or when its numbers are none of that kind.
    """
    if not isinstance(document, dict):
        raise BadAnswer(Failure.MALFORMED)
    named = [kind for kind in Kind if kind.value in document]
    if len(named) != 1:
        raise BadAnswer(Failure.MALFORMED)
    kind, rows = named[0], document[named[0].value]
    if not isinstance(rows, list) or len(rows) != count:
        raise BadAnswer(Failure.SHAPE)
    if kind is Kind.LABELS:
        if not all(type(row) is int for row in rows):
            raise BadAnswer(Failure.VALUES)
        if not all(0 <= row < 1 << 31 for row in rows):
            raise BadAnswer(Failure.VALUES)
        return kind, np.array(rows, dtype=np.float64)[:, None]
    width = len(rows[0]) if isinstance(rows[0], list) else 0
    if width < 2 or not all(isinstance(row, list) and len(row) == width for row in rows):
        raise BadAnswer(Failure.SHAPE)
    if not all(type(value) in (int, float) for row in rows for value in row):
        raise BadAnswer(Failure.VALUES)
    try:
        outputs = np.array(rows, dtype=np.float64)
    except (OverflowError, ValueError):  # a whole number beyond float64
        raise BadAnswer(Failure.VALUES) from None
    if outputs.shape != (count, width) or not np.isfinite(outputs).all():
        raise BadAnswer(Failure.VALUES)
    if kind is Kind.PROBABILITIES:
        wrong = (outputs < 0).any() or (outputs > 1).any()
        if wrong or (np.abs(outputs.sum(axis=1) - 1) > SUM_TOLERANCE).any():
            raise BadAnswer(Failure.VALUES)
    return kind, outputs
