"""A patch takes a pattern a record, its own target where it has one, and little else."""

from __future__ import annotations

import numpy as np
import pytest

from auditkit.patch.generate import Request, make_patch
from auditkit.patch.settings import resolve_settings
from auditkit.patch.tensors import patch_to_bytes
from tests.certificate.conftest import small_world

A_GROUP = 700  # names, shapes and three numbers of a group, in safetensors


@pytest.mark.parametrize("spec", ["redirect", "neutralise", "reference"])
def test_bytes_a_record(spec: str) -> None:
    world = small_world(seed=2, records=400)
    settings = resolve_settings(spec, sharpness=256.0)
    classes = world.network.classes
    targets = {
        "redirect": None,
        "neutralise": np.zeros(classes),
        "reference": np.random.default_rng(0).normal(size=(400, classes)),
    }[spec]
    made = make_patch(
        world.network, Request(world.forget.x, world.forget.y), settings, targets=targets
    )
    own = 4 * classes if spec == "reference" else 0
    each = (made.patch.units + 7) // 8 + own
    assert len(made.patch.groups) <= classes
    assert len(patch_to_bytes(made.patch)) <= 400 * each + classes * A_GROUP
