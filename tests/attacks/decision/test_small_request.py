"""The rule for one person's records: four answers, in their order."""

import dataclasses
import json

import numpy as np
import pytest

from attacks.decision import Answer, Verdict, decide_small_request
from attacks.shadows import paired_masks


def _world(n=1, shadows=128, gap=6.0, seen=(), seed=0, subjects=None):
    """Return target, shadows, mask where having seen a record adds `gap` to N(0, 1)."""
    rng = np.random.default_rng(seed)
    pool = max(n, 2)
    names = None if subjects is None else np.array([*subjects, *"~" * (pool - n), "-"])
    mask = paired_masks(shadows, pool + (names is not None), seed, subjects=names)[:, :n]
    target = rng.normal(size=n) + gap * np.isin(np.arange(n), seen)
    return target, rng.normal(size=(shadows, n)) + gap * mask, mask


@pytest.mark.parametrize(
    ("world", "answer", "verdict"),
    [
        ({"seen": (0,)}, Answer.EXPOSED, Verdict.FAIL),
        ({}, Answer.CONSISTENT, Verdict.INCONCLUSIVE),
        ({"gap": 0.0, "seed": 1}, Answer.NOT_MEMORISED, Verdict.INCONCLUSIVE),
        ({"gap": 1.0}, Answer.UNDECIDABLE, Verdict.INCONCLUSIVE),
        ({"gap": 0.0, "shadows": 8}, Answer.UNDECIDABLE, Verdict.INCONCLUSIVE),
        ({"shadows": 8, "seen": (0,)}, Answer.UNDECIDABLE, Verdict.INCONCLUSIVE),
        ({"shadows": 2}, Answer.UNDECIDABLE, Verdict.INCONCLUSIVE),
    ],
)
def test_one_record(world, answer, verdict):
    result = decide_small_request(*_world(**world))
    assert (result.records[0].answer, result.verdict) == (answer, verdict), result
    assert [s.answer for s in result.subjects] == [answer]
    json.dumps(dataclasses.asdict(result), allow_nan=False)


def test_p_value_counts_ties_and_itself():
    shadows = np.array([[1.0], [2.0], [2.0], [3.0], [9.0]])
    mask = np.array([[0], [0], [0], [0], [1]], dtype=bool)
    assert decide_small_request([2.0], shadows, mask).records[0].p_value == 4 / 5
    assert decide_small_request([3.5], shadows, mask).records[0].p_value == 1 / 5


def test_twenty_records_need_399_models_without_them():
    world = _world(n=20, shadows=2 * 399, gap=9.0, seen=(4,))
    result = decide_small_request(*world)
    assert result.verdict is Verdict.FAIL
    assert [r.index for r in result.records if r.answer is Answer.EXPOSED] == [4]
    short = decide_small_request(*_world(n=20, shadows=2 * 398, gap=9.0, seen=(4,)))
    assert {r.answer for r in short.records} == {Answer.UNDECIDABLE}
    assert "at least 399" in short.records[0].reason


def test_normal_tail_needs_fewer_and_says_what_it_assumes():
    result = decide_small_request(*_world(n=20, shadows=64, gap=9.0, seen=(4,)), tail="normal")
    assert result.verdict is Verdict.FAIL and "normally distributed" in result.assumption
    assert result.records[3].answer is Answer.CONSISTENT


def test_persons_answer_is_the_worst_of_their_records():
    target, shadows, mask = _world(n=3, shadows=300, gap=8.0, seen=(1,))
    result = decide_small_request(target, shadows, mask, subjects=["a", "a", "b"])
    assert [(s.subject, s.answer, s.records) for s in result.subjects] == [
        ("a", Answer.EXPOSED, (0, 1)),
        ("b", Answer.CONSISTENT, (2,)),
    ]


def test_records_of_one_person_add_up():
    subjects = ["a"] * 12
    weak = _world(n=12, shadows=160, gap=1.5, seen=range(12), subjects=subjects, seed=2)
    by_record = decide_small_request(*weak, subjects=subjects)
    assert by_record.verdict is Verdict.INCONCLUSIVE
    together = decide_small_request(*weak, subjects=subjects, unit="subject")
    assert together.verdict is Verdict.FAIL and len(together.records) == 1
    never = _world(n=12, shadows=160, gap=1.5, subjects=subjects, seed=2)
    answer = decide_small_request(*never, subjects=subjects, unit="subject").subjects[0].answer
    assert answer is Answer.CONSISTENT


def test_false_alarms_stay_below_the_level():
    alarms = [
        decide_small_request(*_world(n=3, shadows=130, seed=s)).verdict is Verdict.FAIL
        for s in range(300)
    ]
    assert np.mean(alarms) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"member_mask": np.ones((4, 1), bool)}, "too few OUT"),
        ({"member_mask": np.zeros((4, 1), bool)}, "too few IN"),
        ({"target": [np.nan]}, "target holds"),
        ({"alpha": 0.0}, "alpha"),
        ({"tail": "fat"}, "tail must be"),
        ({"subjects": ["a", "b"]}, "subjects must name 1"),
        (
            {"target": np.zeros(21), "shadows": np.zeros((4, 21)), "member_mask": np.eye(4, 21)},
            "at most 20",
        ),
        (
            {
                "target": np.zeros(2),
                "shadows": np.zeros((2, 2)),
                "member_mask": np.eye(2),
                "subjects": ["a", "a"],
                "unit": "subject",
            },
            "halves of subjects",
        ),
    ],
)
def test_refuses(change, message):
    mask = np.array([[1], [1], [0], [0]], dtype=bool)
    arguments = {"target": [0.0], "shadows": np.zeros((4, 1)), "member_mask": mask} | change
    with pytest.raises(ValueError, match=message):
        decide_small_request(**arguments)
