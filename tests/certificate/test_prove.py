"""What is claimed: the widest radius that is proved, and none that nobody would accept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auditkit.certificate.make import make_submission
from auditkit.certificate.policy import Policy
from auditkit.certificate.prove import widest_radius
from auditkit.errors import UsageError
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records
from tests.certificate.conftest import KEY, small_world


@dataclass
class UpTo:
    """A prover that proves claims [N] within their own radius and no further."""

    radius: np.ndarray
    asked: float = 0.02

    @property
    def claims(self) -> Any:
        return SimpleNamespace(radius=np.full(len(self.radius), self.asked))

    def proves(self, rows: np.ndarray, radius: np.ndarray) -> np.ndarray:
        return radius <= self.radius[rows]


def test_no_claim_is_made_that_the_usual_policy_calls_worthless() -> None:
    least = Policy().least_radius
    settings = resolve_settings("redirect", "point", seed=0, radius=0.02)
    provable = np.array([1.0, 0.012, 0.0007, 0.0004, 0.0])
    found = widest_radius(UpTo(provable), settings)  # type: ignore[arg-type]
    assert found.tolist() == [0.02, 0.01, 0.000625, 0.0, 0.0]
    assert found[found > 0].min() >= least > 0.02 / 64
    narrow = resolve_settings("redirect", "point", seed=0, radius=0.0003)
    asked = UpTo(np.array([0.0002, 0.0004]), 0.0003)
    assert widest_radius(asked, narrow).tolist() == [0.0, 0.0003], "who asks for less gets that"  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", ["redirect", "neutralise", "reference"])
def test_records_outside_of_the_domain_are_refused(spec: str, tmp_path: Path) -> None:
    world = small_world()
    x = world.forget.x.copy()
    x[0, 0] = 3.0
    beyond = Records(x, world.forget.y)
    with pytest.raises(UsageError, match="1 of 6 beyond it"):
        make_submission(
            world.network, beyond, resolve_settings(spec), tmp_path / "s",
            reference=world.others, key=KEY,
        )  # fmt: skip
    assert not (tmp_path / "s").exists()
