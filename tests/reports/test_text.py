"""Numbers and strings as a reader sees them."""

from __future__ import annotations

import pytest

from reports.text import apart, brief, inert, interval, number, scalar, shorten


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (7, "7"),
        (-3, "−3"),
        (9800, "9800"),
        (85002, "85_002"),
        (-1234567, "−1_234_567"),
        (0.0, "0"),
        (1.0, "1"),
        (0.1, "0.1"),
        (0.123456, "0.1235"),
        (-0.5, "−0.5"),
        (12345.6, "12346"),
        (0.00021, "0.00021"),
        (1e-5, "1×10⁻⁵"),
        (2.4e-11, "2.4×10⁻¹¹"),
        (-1.23456e9, "−1.235×10⁹"),
        (float("nan"), "not a number"),
        (float("inf"), "∞"),
        (float("-inf"), "−∞"),
        (10**40, "10" + "_000" * 13),
    ],
)
def test_number(value, shown):
    assert number(value) == shown.replace("_", "\u202f")  # a narrow space between thousands


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "none"), (True, "yes"), (False, "no"), ("inf", "∞"), ("text", "text"), (3, "3")],
)
def test_scalar(value, shown):
    assert scalar(value) == shown


def test_exact_keeps_every_digit():
    assert scalar(20260714, exact=True) == "20260714"
    assert scalar(0.123456789, exact=True) == "0.123456789"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([], "none"),
        ({}, "none"),
        ([1, 2], "1, 2"),
        (list(range(11)), "11 values from 0 to 10, median 5"),
        ([True, False] * 5, "10 values: 5 yes, 5 no"),
        (["x"] * 50, "50 entries"),
        ([{}], "1 entry"),
        ({"a": 1, "b": [1, 2]}, "a: 1; b: 1, 2"),
        ({str(k): k for k in range(8)}, "0: 0; 1: 1; 2: 2; 3: 3; 4: 4; 5: 5; and 2 more"),
    ],
)
def test_brief(value, shown):
    assert brief(value) == shown


@pytest.mark.parametrize(
    ("bounds", "shown"),
    [
        (None, None),
        ([0.1, 0.25], "[0.1, 0.25]"),
        ([None, 0.25], "[open, 0.25]"),
        ([-1, "inf"], "[−1, ∞]"),
    ],
)
def test_interval(bounds, shown):
    assert interval(bounds) == shown


def test_what_differs_reads_differently():
    assert apart(0.0500001, 0.05) == ("0.0500001", "0.05")
    assert apart(0.05, 0.05) == ("0.05", "0.05")
    assert apart("a", None) == ("a", "none")


def test_inert_keeps_what_people_write():
    text = "Zürich, 健康診断, مرحبا, naïve\nsecond line"
    assert inert(text) == text


def test_inert_cuts_and_says_so():
    assert inert("a" * 12, 10) == "aaaaaaaaaa… [2 more characters]"


def test_shorten():
    assert shorten("a\n b", 10) == "a b"
    assert shorten("abcdef", 4) == "abc…"
