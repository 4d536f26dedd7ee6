"""The distance to the faces of a region, where it can be worked out by hand."""

from __future__ import annotations

import numpy as np

from auditkit.certificate.inner_radius import RECORDS, sampled_inner_radius
from auditkit.certificate.verify import verify_submission
from auditkit.network.evaluate import pattern
from auditkit.network.graph import Dense, Relu
from tests.certificate.conftest import Submission
from tests.oracle.networks import chain


def test_distance_to_the_nearest_face() -> None:
    # 2 x₁ + x₂ = 1 and x₁ - x₂ = 0: at (0.9, 0.1) these are 0.9 / 3 and 0.8 / 2 away
    weight = np.array([[2.0, 1.0], [1.0, -1.0], [0.0, 0.0]])
    operators = [Dense(weight, np.array([-1.0, 0.0, 5.0])), Relu()]
    network = chain((2,), [*operators, Dense(np.ones((2, 3)), np.zeros(2))], np.float64)
    x = np.array([[0.9, 0.1]])
    radius = sampled_inner_radius(network, x, pattern(network, x), 0)
    np.testing.assert_allclose(radius, [0.3], rtol=1e-12)


def test_a_face_through_the_record_is_no_distance_away() -> None:
    operators = [Dense(np.eye(2), np.zeros(2)), Relu(), Dense(np.eye(2), np.zeros(2))]
    network = chain((2,), operators, np.float64)
    x = np.array([[0.0, 0.5]])
    assert sampled_inner_radius(network, x, pattern(network, x), 0).tolist() == [0.0]


def test_verification_reports_it(honest: Submission) -> None:
    checks = {c.id: c for c in verify_submission(honest).checks}
    evidence = checks["patch.support"].evidence
    assert 0 < evidence["inner_radius_sampled"] <= RECORDS
    assert 0 < evidence["inner_radius_min_at_most"] <= evidence["inner_radius_median_at_most"]
