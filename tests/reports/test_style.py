"""Colours of the style sheet and of the charts, by computed contrast (WCAG 2.2, 1.4.3)."""

from __future__ import annotations

import importlib.resources
import itertools
import re

import pytest

from reports.charts import COLOURS

CSS = importlib.resources.files("reports").joinpath("style.css").read_text(encoding="utf-8")
NAMED = dict(re.findall(r"--([a-z-]+): (#[0-9A-F]{6});", CSS))
INKS = ["ink", "muted", "pass", "fail", "inconclusive", "not-run", "link"]
PAPERS = ["paper", "tint", "tint-pass", "tint-fail", "tint-inconclusive"]


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour written #RRGGBB."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("ink", "paper"), list(itertools.product(INKS, PAPERS)))
def test_text(ink, paper):
    assert contrast(NAMED[ink], NAMED[paper]) >= 4.5


@pytest.mark.parametrize("colour", COLOURS)
def test_chart_colours(colour):
    assert contrast(colour, "#FFFFFF") >= 4.5


def test_every_colour_is_named_once():
    assert set(INKS) | set(PAPERS) | {"rule", "rule-strong"} == set(NAMED)
    rules = [line for line in CSS.split("}", 1)[1].splitlines() if not line.startswith("#")]
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b", "\n".join(rules).replace("#sign-off", ""))


def test_the_sheet_loads_nothing():
    assert "url(" not in CSS
    assert "@import" not in CSS
    assert "</" not in CSS
