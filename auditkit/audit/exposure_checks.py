"""Single records and people, by shadow models: small requests, and who stands out in a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attacks.decision.calibration import Calibration, shadow_calibration
from attacks.decision.exposure import (
    ExposureTable,
    confirmed_p_values,
    exposure_table,
    out_shadows_for_rank,
)
from attacks.decision.never_seen import OutModels, Tail
from attacks.decision.planning import out_shadows_needed
from attacks.decision.small_request import SmallRequestVerdict, decide_small_request
from attacks.decision.verdict import Answer, Verdict
from attacks.signals import rescaled_logit
from attacks.statistics.multiple import benjamini_hochberg, holm
from auditkit.audit.shadow_run import ShadowRun
from auditkit.certificate.identity import keyed_bytes, record_digests
from auditkit.results import CheckResult, Outcome, not_run

if TYPE_CHECKING:
    from auditkit.audit.membership import AttackPlan, Groups

SMALL = "small-request"
SMALL_TITLE = "Each record of a small request, judged by itself"
EXPOSURE = "exposure"
EXPOSURE_TITLE = "Single records and people that stand out"

PHASES = ("before", "after")
RATE = 0.05  # expected share of those called exposed by luck
MOST_ROWS = 100  # in a record: the most exposed first
NOTICEABLE = 0.8  # share of records a model that saw them would have shown


@dataclass(frozen=True, eq=False)
class Signals:
    """φ of one network, and of the shadow models, on forgotten and on unseen records."""

    forgotten: NDArray[np.float64]
    unseen: NDArray[np.float64]

    @classmethod
    def of(cls, groups: Groups, phase: str) -> Signals:
        return cls(*groups.split(rescaled_logit(groups.outputs[phase], groups.y)))


@dataclass(frozen=True, eq=False)
class Exposed:
    """Who stands out before and after, and whether the shadow models may say so."""

    tables: Mapping[str, ExposureTable]
    calibration: Mapping[str, Calibration]
    confirmed: int  # records exposed after without an assumption about tails

    @property
    def p_values(self) -> NDArray[np.float64] | None:
        """P-values after, for the rule of cohorts; None where they do not hold."""
        return None if self.unfit else self.tables["after"].p_values

    @property
    def people(self) -> int:
        """How many persons stand out after, by all their records together."""
        return 0 if self.unfit else sum(row.exposed for row in self.tables["after"].subjects)

    @property
    def unfit(self) -> str:
        """Why nothing may be concluded from the shadow models, empty when something may."""
        return unfit(self.calibration)


def unfit(found: Mapping[str, Calibration]) -> str:
    """Return why nothing may be concluded from the shadow models, empty when something may."""
    for phase in PHASES:
        if found[phase].calibrated is not True:
            which = "original" if phase == "before" else "delivered"
            return f"{which} network: {found[phase].reason}"
    return ""


def find_exposed(groups: Groups, run: ShadowRun) -> Exposed:
    """Return the exposure of every forgotten record and person of a cohort."""
    n = len(groups.forget)
    shadows, mask = run.signals[:, :n], run.member_mask[:, :n]
    tables, checked = {}, {}
    confirmed = 0
    for phase in PHASES:
        signals = Signals.of(groups, phase)
        table = exposure_table(
            signals.forgotten, shadows, mask, subjects=groups.forget.subject, rate=RATE
        )
        tables[phase] = table
        checked[phase] = shadow_calibration(
            signals.unseen,
            run.signals[:, n:],
            run.member_mask[:, n:],
            level=table.threshold,
            tail=table.tail,
        )
        unseen = unseen_p_values(run, n, signals, table.tail)
        confirmed = int(table.exposed.sum())
        if table.tail != "rank":
            p = confirmed_p_values(table.p_values, unseen)
            confirmed = int((benjamini_hochberg(p) <= RATE + 1e-12).sum())
    return Exposed(tables, checked, confirmed)  # of the last phase, after


def unseen_p_values(
    run: ShadowRun, forgotten: int, signals: Signals, tail: Tail
) -> NDArray[np.float64]:
    """Return the p-values of the unseen records among the models that did not train on them."""
    outside = ~run.member_mask[:, forgotten:]
    shadows = np.asarray(run.signals[:, forgotten:], dtype=np.float64)
    return OutModels(shadows, outside, tail).p_values(signals.unseen)


def exposure_check(
    groups: Groups, run: ShadowRun, found: Exposed, comparable: bool | None
) -> CheckResult:
    """Return whom of a cohort the delivered network treats as it would treat who it has seen.

    It is not required: where it stands in the way of a PASS, the rule for cohorts says so.
    """
    after, before = found.tables["after"], found.tables["before"]
    why = found.unfit
    records = int(after.exposed.sum())
    people = sum(row.exposed for row in after.subjects)
    share = after.noticeable(NOTICEABLE)
    who = f"{records} record(s)" + (f" and {people} person(s)" if after.subjects else "")
    if why:
        outcome, reason = Outcome.INCONCLUSIVE, why
    elif (records or people) and after.assumption and not (found.confirmed and comparable):
        outcome = Outcome.INCONCLUSIVE
        reason = (
            f"{who} stand out, but only if tails are what they are taken for: as many unseen "
            "records do, or they are not comparable"
        )
    elif records or people:
        outcome = Outcome.FAIL
        reason = f"{who} exposed: the answer is too sure for a model that never saw them"
    elif share >= NOTICEABLE:
        outcome = Outcome.PASS
        reason = f"nobody stands out; at {share:.0%} of the records a model that saw them would"
    else:
        outcome = Outcome.INCONCLUSIVE
        reason = (
            f"nobody stands out, but a model that saw them would at {share:.0%} of the records only"
        )
    names = keyed_records(groups)
    people_names = keyed_subjects(groups)
    order = sorted(range(len(after.subjects)), key=lambda i: after.subjects[i].p_value)
    return CheckResult(
        f"attack.{EXPOSURE}",
        EXPOSURE_TITLE,
        outcome,
        reason + (f"; assuming {after.assumption}" if after.assumption and not why else ""),
        required=False,
        observed=records,
        threshold=0,
        n=len(groups.forget),
        evidence={
            "records": [
                {
                    "record": names[row.index],
                    "p": row.p_value,
                    "q": row.q_value,
                    "exposed": row.exposed,
                    "power": row.power,
                }
                for row in after.rows(MOST_ROWS)
            ],
            "subjects": [
                {
                    "subject": people_names[i],
                    "p": after.subjects[i].p_value,
                    "q": after.subjects[i].q_value,
                    "exposed": after.subjects[i].exposed,
                    "records": len(after.subjects[i].records),
                }
                for i in order[:MOST_ROWS]
            ],
            "shadows": run.shadows,
            "rate": after.rate,
            "assumption": after.assumption,
            "exposed_records": records,
            "exposed_subjects": people,
            "confirmed_records": found.confirmed,
            "exposed_before": int(before.exposed.sum()),
            "records_in_all": len(groups.forget),
            "subjects_in_all": len(after.subjects),
            "noticeable": share,
            "out_shadows_for_ranks": out_shadows_for_rank(len(groups.forget), after.rate),
            "calibration": calibration_rows(found.calibration),
        },
    )


def small_request_check(
    groups: Groups,
    run: ShadowRun | None,
    why: str,
    plan: AttackPlan,
    comparable: bool | None,
) -> CheckResult:
    """Return the four-way answer for each record and person of a small request."""
    if run is None:
        return not_run(f"attack.{SMALL}", SMALL_TITLE, why)
    by_record = {phase: _small(groups, run, plan, phase, "record") for phase in PHASES}
    by_person = by_record
    several = _several(groups)
    if several:
        by_person = {phase: _small(groups, run, plan, phase, "subject") for phase in PHASES}
    checked = _small_calibration(groups, run, by_record["after"], plan)
    doubt = unfit(checked)
    after, people = by_record["after"], by_person["after"]
    exposed = sum(r.answer is Answer.EXPOSED for r in after.records)
    failed = [v for v in (after, people) if v.verdict is Verdict.FAIL]
    outcome, reason = Outcome.INCONCLUSIVE, doubt or people.reason
    confirmed = comparable is not False and _confirmed(groups, run, after)
    if failed and not doubt and after.assumption and not confirmed:
        reason = (
            f"{failed[-1].reason}, but only if tails are what they are taken for: unseen records "
            "do not confirm it"
        )
    elif failed and not doubt:
        outcome, reason = Outcome.FAIL, failed[-1].reason

    def said(answer: Answer) -> str:
        return (Answer.UNDECIDABLE if doubt else answer).value

    return CheckResult(
        f"attack.{SMALL}",
        SMALL_TITLE,
        outcome,
        reason + (f"; assuming {after.assumption}" if after.assumption and not doubt else ""),
        observed=None if doubt else exposed,
        threshold=0,
        n=len(groups.forget),
        evidence={
            "records": [
                {
                    "record": name,
                    "before": said(b.answer),
                    "after": said(a.answer),
                    "p": a.p_adjusted,
                    "power": a.power,
                }
                for name, b, a in zip(
                    keyed_records(groups), by_record["before"].records, after.records, strict=True
                )
            ],
            "subjects": [
                {
                    "subject": name,
                    "after": said(person.answer),
                    "records": len(person.records),
                }
                for name, person in zip(keyed_subjects(groups), people.subjects, strict=True)
            ],
            "people_judged_together": several,
            "shadows": run.shadows,
            "alpha": plan.alpha,
            "before": doubt or by_record["before"].reason,
            "not_concluded": doubt,
            "assumption": after.assumption,
            "calibration": calibration_rows(checked),
        },
    )


def _confirmed(groups: Groups, run: ShadowRun, after: SmallRequestVerdict) -> bool:
    """Whether a record is exposed by its rank among unseen records too, whatever tails are."""
    n = len(groups.forget)
    signals = Signals.of(groups, "after")
    unseen = unseen_p_values(run, n, signals, "normal" if after.assumption else "rank")
    p = confirmed_p_values([r.p_value for r in after.records], unseen)
    return bool((holm(p) <= after.alpha + 1e-12).any())


def _several(groups: Groups) -> bool:
    """Whether somebody has more than one record."""
    subjects = groups.forget.subject
    return subjects is not None and len(set(subjects)) < len(subjects)


def _level(groups: Groups, plan: AttackPlan) -> float:
    """Return the level for records, and for people, which are judged beside them."""
    return plan.alpha / 2.0 if _several(groups) else plan.alpha


def _small_tail(groups: Groups, run: ShadowRun, plan: AttackPlan) -> Tail:
    needed = out_shadows_needed(len(groups.forget), _level(groups, plan))
    # one OUT model has no spread to take a tail from
    return "rank" if run.shadows // 2 >= needed or run.shadows < 4 else "normal"


def _small(
    groups: Groups, run: ShadowRun, plan: AttackPlan, phase: str, unit: str
) -> SmallRequestVerdict:
    n = len(groups.forget)
    return decide_small_request(
        Signals.of(groups, phase).forgotten,
        run.signals[:, :n],
        run.member_mask[:, :n],
        subjects=groups.forget.subject,
        unit="subject" if unit == "subject" else "record",
        tail=_small_tail(groups, run, plan),
        alpha=_level(groups, plan),
    )


def _small_calibration(
    groups: Groups, run: ShadowRun, after: SmallRequestVerdict, plan: AttackPlan
) -> dict[str, Calibration]:
    n = len(groups.forget)
    return {
        phase: shadow_calibration(
            Signals.of(groups, phase).unseen,
            run.signals[:, n:],
            run.member_mask[:, n:],
            level=after.alpha / n,
            tail=_small_tail(groups, run, plan),
        )
        for phase in PHASES
    }


def calibration_rows(found: Mapping[str, Calibration]) -> dict[str, Any]:
    """Return the calibration before and after as plain values."""
    return {
        phase: {
            "calibrated": c.calibrated,
            "reason": c.reason,
            "distance": c.distance,
            "usual_distance": c.usual_distance,
            "p": c.p_value,
            "false_alarms": c.false_alarms,
            "level": c.level,
            "n_unseen": c.n_unseen,
        }
        for phase, c in found.items()
    }


def keyed_records(groups: Groups) -> tuple[str, ...]:
    """Return a name for each forgotten record that only who has the key can link to it."""
    key = groups.key
    if key is None:
        return tuple(map(str, range(len(groups.forget))))
    return record_digests(groups.forget, key)


def keyed_subjects(groups: Groups) -> list[str]:
    """Return a name for each person, in order of first appearance, that tells nobody who it is."""
    subjects = groups.forget.subject
    people = dict.fromkeys(range(len(groups.forget)) if subjects is None else subjects)
    if subjects is None or groups.key is None:
        return [f"person {number + 1}" for number in range(len(people))]
    return [keyed_bytes(str(name).encode(), groups.key)[:16] for name in people]
