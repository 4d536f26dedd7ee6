"""Single records and people in a cohort, and whether the shadow models may speak of them."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.stats import false_discovery_control, kstest, t

from attacks.decision import exposure_table, shadow_calibration
from attacks.decision.calibration import LEAST_UNSEEN
from attacks.decision.exposure import out_shadows_for_rank
from attacks.shadows import paired_masks


def world(n=200, shadows=64, gap=8.0, seen=(), seed=0, subjects=None, common=0.0):
    """Return target, shadows, mask: N(0, 1), `gap` more where seen; `common`: shared by a model."""
    rng = np.random.default_rng(seed)
    mask = paired_masks(shadows, n, seed, subjects=subjects)
    shared = common * rng.normal(size=(shadows + 1, 1))
    values = rng.normal(size=(shadows + 1, n)) + shared
    return values[0] + gap * np.isin(np.arange(n), seen), values[1:] + gap * mask, mask


@pytest.mark.parametrize("tail", ["rank", "normal"])
def test_every_figure_by_hand(tail):
    target, shadows, mask = world(n=12, shadows=20, gap=5.0, seen=(2, 5, 6, 9), seed=4)
    target[0] = shadows[~mask[:, 0], 0][3]  # a tie
    table = exposure_table(target, shadows, mask, tail=tail, rate=0.3)

    def p_value(value, out):
        if tail == "rank":
            return (1 + sum(o >= value for o in out)) / (len(out) + 1)
        scale = np.std(out, ddof=1) * np.sqrt(1 + 1 / len(out))
        return t.sf((value - np.mean(out)) / scale, len(out) - 1)

    ins = [shadows[mask[:, n], n] for n in range(12)]
    outs = [shadows[~mask[:, n], n] for n in range(12)]
    p = [p_value(target[n], outs[n]) for n in range(12)]
    np.testing.assert_allclose(table.p_values, p)
    np.testing.assert_allclose(table.q_values, false_discovery_control(p))
    assert table.exposed.tolist() == [q <= 0.3 for q in false_discovery_control(p)]
    level = 0.3 * table.exposed.sum() / 12
    assert table.exposed.any() and table.threshold == pytest.approx(level)
    assert table.exposed.tolist() == [value <= level for value in p]
    power = [np.mean([p_value(v, outs[n]) <= level for v in ins[n]]) for n in range(12)]
    np.testing.assert_allclose(table.power, power)
    first = table.rows(1)[0]
    assert first.p_value == min(table.p_values) and (first.n_in, first.n_out) == (10, 10)
    json.dumps([dataclasses.asdict(row) for row in table.rows()], allow_nan=False)


def test_ranks_where_they_reach_and_else_a_labelled_tail():
    assert out_shadows_for_rank(200) == 3999 and out_shadows_for_rank(1) == 19
    few = exposure_table(*world(n=200, shadows=64, seen=(7, 8)))
    assert few.tail == "normal" and "normally distributed" in few.assumption
    assert np.flatnonzero(few.exposed).tolist() == [7, 8] and few.noticeable() > 0.9
    many = exposure_table(*world(n=10, shadows=400, seen=(7,)))
    assert many.tail == "rank" and many.assumption == ""
    assert np.flatnonzero(many.exposed).tolist() == [7]
    assert not exposure_table(*world(n=10, shadows=4, seen=(7,)), tail="rank").exposed.any()


def test_people_add_up_with_masks_by_person_and_else_pay_for_every_record():
    subjects = np.repeat(np.arange(40), 8)
    seen = range(8)
    weak = {"n": 320, "shadows": 200, "gap": 1.6, "seen": seen, "seed": 1}
    together = exposure_table(*world(**weak, subjects=subjects), subjects=subjects)
    assert together.exposed.sum() <= 1
    assert [row.subject for row in together.subjects if row.exposed] == ["0"]
    assert {row.combined for row in together.subjects} == {"mean"}
    assert together.subjects[3].records == tuple(range(24, 32))
    apart = exposure_table(*world(**weak), subjects=subjects)
    assert {row.combined for row in apart.subjects} == {"bonferroni"}
    for row in apart.subjects:
        expected = min(1.0, 8 * apart.p_values[list(row.records)].min())
        assert row.p_value == pytest.approx(expected)


@pytest.mark.parametrize("tail", ["rank", "normal"])
def test_false_discoveries_stay_below_the_rate(tail):
    shares, any_at_null = [], []
    for seed in range(200):
        n, shadows = (30, 1200) if tail == "rank" else (100, 64)
        seen = range(5) if seed % 2 else ()
        target, signals, mask = world(n=n, shadows=shadows, gap=5.0, seen=seen, seed=seed)
        exposed = exposure_table(target, signals, mask, tail=tail).exposed
        if seed % 2:
            shares.append(exposed[5:].sum() / max(1, exposed.sum()))
        else:
            any_at_null.append(exposed.any())
    assert np.mean(shares) <= 0.05 + 3 * np.std(shares) / np.sqrt(len(shares))
    assert np.mean(any_at_null) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(any_at_null))


def test_persons_p_values_are_those_of_one_more_model():
    subjects = np.repeat(np.arange(3), 4)
    p = []
    for seed in range(300):
        case = world(n=12, shadows=18, gap=1.0, seed=seed, subjects=subjects)
        p += [row.p_value for row in exposure_table(*case, subjects=subjects, tail="rank").subjects]
    # ranks among nine OUT models: even on 1/10, 2/10, ..., 1
    counts = np.bincount(np.rint(np.array(p) * 10).astype(int), minlength=11)[1:]
    assert counts.sum() == 900
    assert ((counts - 90) ** 2 / 90).sum() < 27.9  # chi-squared, nine degrees, 0.1 %


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"member_mask": np.ones((4, 2), bool)}, "too few OUT"),
        ({"member_mask": np.zeros((4, 2), bool)}, "too few IN"),
        ({"target": [np.nan, 0.0]}, "target holds"),
        ({"subjects": ["a"]}, "subjects must name 2"),
        ({"rate": 1.0}, "rate"),
        ({"tail": "fat"}, "tail must be"),
        ({"member_mask": np.array([[1, 1], [1, 1], [1, 1], [0, 0]]), "tail": "normal"}, "at least"),
    ],
)
def test_refuses(change, message):
    mask = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool)
    arguments = {"target": [0.0, 0.0], "shadows": np.zeros((4, 2)), "member_mask": mask} | change
    with pytest.raises(ValueError, match=message):
        exposure_table(**arguments)


def test_constant_signals_expose_nobody():
    mask = paired_masks(20, 30, 0)
    for tail in ("rank", "normal"):
        table = exposure_table(np.zeros(30), np.zeros((20, 30)), mask, tail=tail)
        assert not table.exposed.any() and np.isfinite(table.q_values).all()


def test_calibration_asks_what_a_model_of_the_same_kind_shows():
    # models differ from one another as a whole: independent values would look far from even
    rejected, independent = [], []
    for seed in range(200):
        target, shadows, mask = world(n=300, shadows=40, gap=2.0, seed=seed, common=0.4)
        rejected.append(shadow_calibration(target, shadows, mask).calibrated is False)
        ranks = ((~mask) & (shadows >= target)).sum(axis=0)
        independent.append(kstest((ranks + 0.5) / 21, "uniform").pvalue <= 0.05)
    assert np.mean(rejected) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    assert np.mean(independent) > 0.5


@pytest.mark.parametrize("shadows", [12, 64])
@pytest.mark.parametrize("wrong", [lambda x: x + 1.0, lambda x: x - 1.0, lambda x: 2.5 * x])
def test_calibration_notices_another_recipe(wrong, shadows):
    target, signals, mask = world(n=300, shadows=shadows, common=0.2)
    found = shadow_calibration(wrong(target), signals, mask)
    assert found.calibrated is False and "recipe" in found.reason
    assert shadow_calibration(target, signals, mask).calibrated is True


def test_calibration_notices_a_tail_that_does_not_hold():
    target, shadows, mask = world(n=1000, shadows=64)
    target[:8] = 9.0
    found = shadow_calibration(target, shadows, mask, level=1e-4, tail="normal")
    assert found.calibrated is False and found.false_alarms == 8 and "tail" in found.reason
    target, shadows, mask = world(n=1000, shadows=64)
    fine = shadow_calibration(target, shadows, mask, level=1e-4, tail="normal")
    assert fine.calibrated is True and fine.level == 1e-4


def test_calibration_of_too_little_says_so():
    found = shadow_calibration(*world(n=LEAST_UNSEEN - 1))
    assert found.calibrated is None and "at least 20" in found.reason
    assert shadow_calibration(*world(n=50, shadows=4)).calibrated is None
    ties = shadow_calibration(np.zeros(50), np.zeros((20, 50)), paired_masks(20, 50, 0))
    assert ties.calibrated is True and np.isfinite(ties.distance)
    json.dumps(dataclasses.asdict(ties), allow_nan=False)
