"""The words a decision may use."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What the attacks together say of "the information is gone"."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Answer(StrEnum):
    """What the shadow models say of one record or one person; only EXPOSED fails."""

    EXPOSED = "exposed"
    CONSISTENT = "consistent with never seen"
    NOT_MEMORISED = "not measurably memorised"
    UNDECIDABLE = "undecidable here"
