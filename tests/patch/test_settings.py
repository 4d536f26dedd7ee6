"""Settings survive JSON, and impossible ones are refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from auditkit.patch.settings import (
    DEFAULT_SHARPNESS,
    Domain,
    Settings,
    resolve_settings,
)


@pytest.mark.parametrize(
    "settings",
    [
        resolve_settings(sharpness=64.0),
        resolve_settings("reference", radius=math.inf, sharpness=0.1),
        resolve_settings(
            "neutralise", "cluster", sharpness=2.0, clusters=3, seed=7, domain=Domain(-1.0, 2.5)
        ),
        resolve_settings("redirect", "class", method="suppress", target_class=0).resolved(1.0),
    ],
)
def test_json_round_trip(settings: Settings) -> None:
    assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_defaults() -> None:
    settings = resolve_settings(domain=Domain(0.0, 255.0))
    assert settings.radius == pytest.approx(2.55)
    assert settings.margin == 0.1
    assert resolve_settings("reference").margin == 0.01
    assert settings.sharpness is None


@pytest.mark.parametrize("typical", [1e-300, 0.003, 1.0, 17.0, 1e300, 0.0])
def test_the_default_sharpness_follows_the_units(typical: float) -> None:
    sharpness = resolve_settings().resolved(typical).sharpness
    assert sharpness is not None
    assert math.log2(sharpness) == int(math.log2(sharpness))
    assert 2.0**-60 <= sharpness <= 2.0**60
    if 1e-10 < typical < 1e10:
        share = sharpness * typical / DEFAULT_SHARPNESS
        assert 1 / 1.5 < share < 1.5


def test_a_given_sharpness_becomes_a_float32() -> None:
    assert resolve_settings(sharpness=0.1).resolved(5.0).sharpness == 0.10000000149011612


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"domain": Domain(1.0, 1.0)}, "interval"),
        ({"domain": Domain(0.0, math.inf)}, "interval"),
        ({"radius": 0.0}, "radius"),
        ({"radius": math.nan}, "radius"),
        ({"margin": 0.0}, "margin"),
        ({"margin": math.inf}, "margin"),
        ({"sharpness": -1.0}, "sharpness"),
        ({"sharpness": math.nan}, "sharpness"),
        ({"scope": "cluster", "spec": "reference"}, "cluster"),
        ({"scope": "class"}, "target class"),
        ({"target_class": 1}, "class scope"),
        ({"method": "suppress"}, "class scope"),
        ({"clusters": 0}, "clusters"),
        ({"spec": "forget"}, "forget"),
    ],
)
def test_impossible_settings(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        resolve_settings(**change)


@pytest.mark.parametrize(
    "change",
    [{"margin": "0.1"}, {"margin": True}, {"clusters": 2.0}, {"domain": [0]}, {"more": 1},
     {"spec": "forget"}, {"radius": "wide"}, {"radius": None}],
)  # fmt: skip
def test_json_that_is_something_else(change: dict[str, Any]) -> None:
    values = resolve_settings(sharpness=1.0).to_json() | change
    with pytest.raises((ValueError, TypeError, KeyError)):
        Settings.from_json(values)
