"""The rule for small requests: one person, one to twenty records.

Twenty records carry no statement about a cohort, but each has shadow models of its own. The audited
model's signal takes its rank among the models that never saw the record; the models that did see it
tell whether such a rank could have been noticed at all. The answers are tried in this order:

1. *exposed*: the rank is significant after Holm over the request.
2. *consistent with never seen*: not exposed, and at least 80 % of the IN shadow models would have
   been rejected at Holm's first level, alpha / m. The test could have noticed.
3. *not measurably memorised*: not noticeable, as IN and OUT models hardly differ: the one-sided
   rank test between them finds nothing (Holm over the request), *and* the upper bound of the chance
   that an IN model scores above an OUT model lies below 0.7. The second condition is evidence; the
   first alone would also be met by having hardly any shadow models.
4. *undecidable here*: everything else, with what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import mannwhitneyu

from attacks.arrays import BoolArray, FloatArray, one_of, proportion, require_shadows, shadow_arrays
from attacks.decision.never_seen import NORMAL, OutModels, Tail, pool
from attacks.decision.planning import SMALL_REQUEST, out_shadows_needed
from attacks.decision.verdict import Answer, Verdict
from attacks.statistics.auc import auc_estimate
from attacks.statistics.binomial import clopper_pearson
from attacks.statistics.multiple import holm

Unit = Literal["record", "subject"]

POWER = 0.8
MEMORISED_AUC = 0.7  # IN above OUT more often than this would be memorisation worth naming


@dataclass(frozen=True)
class RecordVerdict:
    """The answer for one record (or, with unit "subject", for one person's records together).

    p_value: of never having been seen; p_adjusted: Holm over the request. power: share of IN
    models that would be rejected, with its interval. in_out_auc: chance that an IN model scores
    above an OUT model, with its two-sided 90 % interval.
    """

    index: int
    answer: Answer
    reason: str
    p_value: float
    p_adjusted: float
    power: float
    power_interval: tuple[float, float]
    in_out_auc: float
    in_out_interval: tuple[float, float]
    n_in: int
    n_out: int


@dataclass(frozen=True)
class SubjectVerdict:
    """The answer for one person, from the records named by their position."""

    subject: str
    answer: Answer
    records: tuple[int, ...]


@dataclass(frozen=True)
class SmallRequestVerdict:
    """FAIL when anyone is exposed, else INCONCLUSIVE: the shadow models alone give no PASS.

    assumption: what the p-values assume beyond exchangeable ranks; empty for ranks.
    """

    verdict: Verdict
    reason: str
    records: tuple[RecordVerdict, ...]
    subjects: tuple[SubjectVerdict, ...]
    alpha: float
    unit: Unit
    assumption: str


def decide_small_request(
    target: ArrayLike,
    shadows: ArrayLike,
    member_mask: ArrayLike,
    *,
    subjects: Sequence[str | int] | None = None,
    unit: Unit = "record",
    tail: Tail = "rank",
    alpha: float = 0.05,
) -> SmallRequestVerdict:
    """Return the answer for each record and each person of a small request.

    Target [N], shadows [K, N] in one signal, member_mask bool [K, N]; subjects [N], each record its
    own person when None. `unit`: what one hypothesis is about. "record": each record, a person's
    answer being the worst of their records. "subject": all records of a person by the mean of their
    standardised signals, among the shadow models that hold all or none of them; then `records`
    holds one entry per person. `tail`: "rank" counts, p = (1 + #{out >= score}) / (K_out + 1);
    "normal" takes the upper tail of a normal prediction from the OUT models, for fewer shadow
    models, and is labelled as an assumption.

    Raises ValueError on more than 20 records, arrays that do not fit, a record that all or none of
    the shadow models contain, or (unit subject) a person whom no shadow holds wholly or not at all.
    """
    proportion(alpha, "alpha")
    one_of(tail, Tail, "tail")
    one_of(unit, Unit, "unit")
    goal, signals, inside = shadow_arrays(target, shadows, member_mask)
    if goal.size > SMALL_REQUEST:
        raise ValueError(
            f"a small request has at most {SMALL_REQUEST} records, found {goal.size}: "
            "use the cohort rule"
        )
    require_shadows(inside, least_in=1, least_out=1)
    groups = _by_subject(subjects, goal.size)
    outside = ~inside
    if unit == "subject":
        goal, signals, inside, outside = _pool(goal, signals, inside, tuple(groups.values()))
    records = _judge(goal, signals, inside, outside, tail, alpha)
    people = []
    for i, (name, members) in enumerate(groups.items()):
        answers = [records[i]] if unit == "subject" else [records[r] for r in members]
        people.append(SubjectVerdict(name, _worst([a.answer for a in answers]), members))
    exposed = sum(person.answer is Answer.EXPOSED for person in people)
    if exposed:
        verdict, reason = Verdict.FAIL, f"{exposed} of {len(people)} person(s) exposed"
    else:
        verdict = Verdict.INCONCLUSIVE
        counts = {a: sum(p.answer is a for p in people) for a in Answer}
        said = ", ".join(f"{n} {a.value}" for a, n in counts.items() if n)
        reason = f"nobody is exposed ({said}); shadow models alone do not show that nothing is left"
    assumption = "" if tail == "rank" else NORMAL
    return SmallRequestVerdict(
        verdict, reason, tuple(records), tuple(people), alpha, unit, assumption
    )


def _judge(
    target: FloatArray,
    signals: FloatArray,
    inside: BoolArray,
    outside: BoolArray,
    tail: Tail,
    alpha: float,
) -> list[RecordVerdict]:
    m = target.size
    ins = [signals[inside[:, n], n] for n in range(m)]
    outs = [signals[outside[:, n], n] for n in range(m)]
    unseen = OutModels(signals, outside, tail)
    p = unseen.p_values(target)
    flagged = unseen.flagged(alpha / m)
    adjusted = holm(p)
    differ = holm([_rank_test(ins[n], outs[n]) for n in range(m)])
    needed = out_shadows_needed(m, alpha)
    verdicts = []
    for n in range(m):
        found = int(np.count_nonzero(flagged[inside[:, n], n]))
        power = found / ins[n].size
        spread = auc_estimate(ins[n], outs[n], 0.9)
        if adjusted[n] <= alpha + 1e-12:
            answer = Answer.EXPOSED
            reason = "the signal is too high for a model that never saw the record"
        elif power >= POWER:
            answer = Answer.CONSISTENT
            reason = "a model that saw the record would have been noticed, this one was not"
        elif differ[n] > alpha and spread.upper < MEMORISED_AUC:
            answer = Answer.NOT_MEMORISED
            reason = "models trained with and without the record hardly differ on it"
        else:
            answer = Answer.UNDECIDABLE
            reason = f"a model that saw the record would be noticed with chance {power:.2f} only"
            if tail == "rank" and outs[n].size < needed:
                reason = (
                    f"{outs[n].size} OUT shadow models, at least {needed} are needed to expose one "
                    f"of {m}"
                )
        verdicts.append(
            RecordVerdict(
                n,
                answer,
                reason,
                float(p[n]),
                float(adjusted[n]),
                power,
                clopper_pearson(found, ins[n].size),
                spread.auc,
                (spread.lower, spread.upper),
                ins[n].size,
                outs[n].size,
            )
        )
    return verdicts


def _rank_test(ins: FloatArray, outs: FloatArray) -> float:
    """Return the one-sided p-value that IN models score no higher than OUT models."""
    if np.ptp(np.concatenate([ins, outs])) == 0.0:
        return 1.0
    return float(min(1.0, mannwhitneyu(ins, outs, alternative="greater").pvalue))


def _by_subject(subjects: Sequence[str | int] | None, n: int) -> dict[str, tuple[int, ...]]:
    names = [str(i) for i in range(n)] if subjects is None else [str(s) for s in subjects]
    if len(names) != n:
        raise ValueError(f"subjects must name {n} records, found {len(names)}")
    groups: dict[str, tuple[int, ...]] = {}
    for i, name in enumerate(names):
        groups[name] = (*groups.get(name, ()), i)
    return groups


def _pool(
    target: FloatArray,
    signals: FloatArray,
    inside: BoolArray,
    groups: Sequence[tuple[int, ...]],
) -> tuple[FloatArray, FloatArray, BoolArray, BoolArray]:
    """Return target [S], signals [K, S] and who holds all [K, S] or none [K, S] of each person."""
    person = np.empty(target.size, dtype=np.intp)
    for number, members in enumerate(groups):
        person[list(members)] = number
    pooled = pool(target, signals, inside, person)
    if not pooled.every.any(axis=0).all() or not pooled.none.any(axis=0).all():
        raise ValueError(
            "every person needs shadow models that hold all of their records and none of them: "
            "train the shadow models on halves of subjects"
        )
    return pooled.target, pooled.signals, pooled.every, pooled.none


def _worst(answers: Sequence[Answer]) -> Answer:
    """Return the answer for a person: exposed by any record, undecidable by any left open.

    A person is *not measurably memorised* when all their records are, and otherwise *consistent
    with never seen*: those records that could have been noticed were not.
    """
    for answer in (Answer.EXPOSED, Answer.UNDECIDABLE):
        if answer in answers:
            return answer
    if all(answer is Answer.NOT_MEMORISED for answer in answers):
        return Answer.NOT_MEMORISED
    return Answer.CONSISTENT
