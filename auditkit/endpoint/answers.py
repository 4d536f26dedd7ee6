"""What an endpoint answers: logits, probabilities or labels, with as many digits as it gives."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import EvidenceError
from auditkit.strict_json import parse_json

F64 = NDArray[np.float64]

SUM_TOLERANCE = 0.1
"""How far probabilities may sum to something else than 1: ten of them rounded to two digits, and
more where there are more of them or fewer digits."""
SAID = 400
"""Characters that are kept of an answer that contradicts: enough to show it, however long it is."""

LOOKED_AT = 1 << 20
"""Bytes of an answer that is not strict JSON, up to which it is read again for nan and infinity:
eight inputs of 6000 classes with all digits, and half a second of work."""


class Kind(StrEnum):
    """What the numbers of an answer are; its name is the member of the answer that has them."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LABELS = "labels"


class Failure(StrEnum):
    """Why a query has no answer that can be used."""

    UNREACHABLE = "unreachable"
    CERTIFICATE = "certificate"
    CLOSED = "connection-closed"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    TOO_LARGE = "too-large"
    REDIRECT = "redirect"
    RATE_LIMITED = "rate-limited"
    STATUS = "http-status"
    MALFORMED = "malformed"
    COUNT = "other-count"
    SHAPE = "wrong-shape"
    VALUES = "impossible-values"
    KIND = "other-kind"
    NOT_ASKED = "not-asked"


CONTRADICTIONS = frozenset({Failure.SHAPE, Failure.VALUES, Failure.KIND})
"""Failures that are answers: no network of these classes says that, or not after what it said.
Another number of rows is none of them: it may answer some of the inputs, and nobody knows which."""


class BadAnswer(Exception):
    """An answer that cannot be used; `failure` says why.

    Where that is one of CONTRADICTIONS, `rows` are the inputs of the request at which it is, and
    `said` is the first of these answers in words, of at most SAID characters.
    """

    def __init__(self, failure: Failure, rows: Sequence[int] = (), said: str = "") -> None:
        super().__init__(failure.value)
        self.failure, self.rows, self.said = failure, tuple(rows), said


_TOKENS = re.compile(
    rb'"(?:[^"\\]|\\.)*+"|-?(?:NaN|Infinity)|-?[0-9]++(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?',
    re.DOTALL,
)


def parse_answer(data: bytes, limit: int) -> Any:
    """Return the values of a JSON answer, None for each that is nan, infinite or beyond float64.

    So that these are seen as answers, which they are in Python's JSON. BadAnswer when the rest is
    not strict JSON of at most `limit` bytes, or with such numbers of at most LOOKED_AT.
    """
    try:
        return parse_json(data, "answer", limit=limit)
    except EvidenceError:
        if len(data) > min(limit, LOOKED_AT):
            raise BadAnswer(Failure.MALFORMED) from None
    try:  # "null" is longer than "NaN"
        return parse_json(_TOKENS.sub(_finite, data), "answer", limit=2 * len(data))
    except EvidenceError:
        raise BadAnswer(Failure.MALFORMED) from None


def _finite(match: re.Match[bytes]) -> bytes:
    token = match.group()
    if token.startswith(b'"') or math.isfinite(float(token)):
        return token
    return b"null"


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


def read_answer(document: Any, count: int, classes: int | None = None) -> tuple[Kind, F64]:
    """Return kind and outputs [count, C] (labels [count, 1]) of a parsed answer.

    C is `classes` if that is known, else as most rows have it. Members besides the one that has the
    outputs are ignored. BadAnswer when there is not exactly one such member, when it has another
    shape, or when its numbers are none of that kind.
    """
    if not isinstance(document, dict):
        raise BadAnswer(Failure.MALFORMED)
    named = [kind for kind in Kind if kind.value in document]
    if len(named) != 1:
        raise BadAnswer(Failure.MALFORMED)
    kind, rows = named[0], document[named[0].value]
    if not isinstance(rows, list) or len(rows) != count:
        raise BadAnswer(Failure.COUNT)
    if kind is Kind.LABELS:
        _refuse(Failure.VALUES, rows, [type(r) is int and 0 <= r < 1 << 31 for r in rows])
        return kind, np.array(rows, dtype=np.float64)[:, None]
    widths = [len(row) if isinstance(row, list) else 0 for row in rows]
    width = Counter(widths).most_common(1)[0][0] if classes is None else classes
    _refuse(Failure.SHAPE, rows, [found == max(2, width) for found in widths])
    _refuse(Failure.VALUES, rows, [all(type(v) in (int, float) for v in r) for r in rows])
    try:
        outputs = np.array(rows, dtype=np.float64)
    except OverflowError:
        outputs = np.array([[_float(v) for v in row] for row in rows], dtype=np.float64)
    with np.errstate(all="ignore"):
        good = np.asarray(np.isfinite(outputs).all(axis=1))
        if kind is Kind.PROBABILITIES:
            good &= ((outputs >= 0) & (outputs <= 1)).all(axis=1)
            good &= np.abs(outputs.sum(axis=1) - 1) <= _sum_tolerance(outputs)
    _refuse(Failure.VALUES, rows, [bool(fine) for fine in good])
    return kind, outputs


def _refuse(failure: Failure, rows: Sequence[Any], good: Sequence[bool]) -> None:
    bad = [number for number, fine in enumerate(good) if not fine]
    if bad:
        raise BadAnswer(failure, bad, in_words(rows[bad[0]]))


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number beyond float64
        return math.inf


def _sum_tolerance(outputs: F64) -> float:
    """Return how far rows [N, C] may sum to something else than 1, as far as they are rounded."""
    finite = outputs[np.isfinite(outputs)]
    digits = next((d for d in (0, 1) if np.array_equal(finite, np.round(finite, d))), 2)
    return max(SUM_TOLERANCE, 0.5 * 10.0**-digits * outputs.shape[1])


def in_words(answer: Any) -> str:
    """Return the beginning of one answer, printable and at most SAID characters long."""
    if not isinstance(answer, list):
        return _item(answer)
    told = ", ".join(_item(value) for value in answer[:8])
    return f"{len(answer)} values: {told}{', ...' if len(answer) > 8 else ''}"[:SAID]


def _item(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
    if value is None:
        return "nothing or no finite number"
    return ascii(value[:40] if isinstance(value, str) else value)[:42]
