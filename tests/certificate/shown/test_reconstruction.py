"""From a gate alone to something near the record, and to the right record among others."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from auditkit.certificate.case import Case, prepare
from auditkit.certificate.policy import Policy
from auditkit.certificate.shown.checks import shown_checks
from auditkit.certificate.shown.reach import measure_reach
from auditkit.certificate.shown.reconstruction import (
    Reconstructions,
    pictures,
    reconstruct_records,
)
from auditkit.network.evaluate import logits
from auditkit.records import Records, read_records
from tests.certificate.conftest import World, small_world

FORGOTTEN = 60


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Records]:
    """A request on real pictures; the network need not be a good one to give them away."""
    network = small_world(4, widths=(64, 96, 48, 10)).network
    x = read_records("digits").x.reshape(-1, 64)
    x = x[np.random.default_rng(0).permutation(len(x))]
    everything = Records(x, logits(network, x).argmax(axis=1).astype(np.int64))
    others = everything.take(range(FORGOTTEN, 800))
    world = World(network, everything.take(range(FORGOTTEN)), others)
    submission = world.submit(tmp_path_factory.mktemp("digits") / "s")
    return prepare(submission, world.forget, None, others, Policy(), 0), others


def reconstructed(case: Case) -> Reconstructions:
    found = reconstruct_records(case, measure_reach(case))
    assert found is not None
    return found


def test_records_are_identified_far_beyond_chance(digits: tuple[Case, Records]):
    found = reconstructed(digits[0])
    assert len(found.record) == 10
    assert found.candidates == FORGOTTEN
    # a guess would be right once in 60: four or more of ten by chance is less than 2 in 100,000
    assert found.found.sum() >= 4
    assert np.median(found.distance) < 0.8 * np.median(found.from_start)


def test_without_other_records_no_step_leads_away_from_the_record(digits: tuple[Case, Records]):
    case = dataclasses.replace(digits[0], holdout=None)
    found = reconstructed(case)
    assert found.start == "the middle of the domain"
    assert np.all(found.distance < found.from_start)
    assert found.found.sum() >= 4


def test_what_is_found_lies_in_the_gate_and_in_the_domain(digits: tuple[Case, Records]):
    case, _ = digits
    found = reconstructed(case)
    assert found.made.min() >= 0
    assert found.made.max() <= 1
    v = case.submission.patched.violations(found.made.astype(np.float32))
    gate = case.submission.patched.violations(found.original.astype(np.float32)).argmin(axis=1)
    n = case.submission.patch.table.sharpness[0]
    assert (v[np.arange(len(v)), gate] * n < 1).mean() >= 0.8  # at least partly open


def test_pictures_show_records_and_the_public_part_does_not(digits: tuple[Case, Records]):
    case, _ = digits
    found = reconstructed(case)
    [check] = [c for c in shown_checks(case) if c.id == "limits.reconstruction"]
    pairs = check.private["pictures"]
    assert [pair["shape"] for pair in pairs] == [[1, 8, 8]] * 10
    assert np.allclose(pairs[0]["original"], found.original[0], atol=1e-3)
    public = str(check.to_json())
    exact = (*found.distance, *found.from_start, *found.from_other)
    assert not [v for v in exact if f"{v:.6g}" in public]
    for name in ("distance", "ratio_to_the_guess"):
        assert check.evidence[name] == float(f"{check.evidence[name]:.2g}")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((784,), [1, 28, 28]),
        ((784, 1), [1, 28, 28]),
        ((64,), [1, 8, 8]),
        ((1, 5, 7), [1, 5, 7]),
        ((3, 4, 4), [3, 4, 4]),
        ((28, 28, 1), [1, 28, 28]),
        ((12,), None),
        ((4,), None),
        ((5, 4, 4), None),
    ],
)
def test_inputs_that_can_be_looked_at(hand_made, shape, expected):
    from auditkit.certificate.shown.reconstruction import _picture_shape

    found = _picture_shape(shape)
    assert (None if found is None else list(found)) == expected


def test_a_gate_that_opens_at_nobody_is_not_reconstructed(hand_made):
    from tests.certificate.shown.conftest import at

    case = hand_made(at(0.1, 0.2))
    assert reconstruct_records(case, measure_reach(case)) is None


def test_copies_of_a_record_are_one_candidate(hand_made):
    from tests.certificate.shown.conftest import at

    twice = at(0.6, 0.6)
    twice = dataclasses.replace(twice, x=np.repeat(twice.x[:1], 2, axis=0))
    case = hand_made(twice)
    found = reconstructed(case)
    assert found.candidates == 1
    assert found.found.all()
    assert len(pictures(case, found)) == 2
    [check] = [c for c in shown_checks(case) if c.id == "limits.reconstruction"]
    assert check.observed is None  # nobody to be told from
