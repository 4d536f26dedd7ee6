"""Errors keep what they say."""

from __future__ import annotations

import pickle

from auditkit.errors import UsageError


def test_an_error_of_another_process_is_the_same_error() -> None:
    error = UsageError("file", expected="a", found="b", remedy="c")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is UsageError and str(again) == str(error)
