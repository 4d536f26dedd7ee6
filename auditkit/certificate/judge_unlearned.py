"""Checks of a network that was unlearned by another method than a patch.

Every weight of such a network may have changed, and its outputs change everywhere: that they did is
no sign of forgetting. What can be refuted is that anything was done, that a class is gone, that a
guarantee was stated rightly, and that the network still serves.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import binom

from auditkit.certificate import judge_files
from auditkit.certificate.guarantee import CLASSICAL_LIMIT, classical_epsilon, least_epsilon
from auditkit.certificate.history import request_faults
from auditkit.certificate.intervals import share_interval
from auditkit.certificate.model_case import F64, Answers, ModelCase
from auditkit.results import CheckResult, Outcome, Severity, not_run

ROUNDING = 1e-4  # of the range of the logits: far beyond what another order of float32 sums does
STILL_THE_CLASS = 0.05  # of a forgotten class's records that may be predicted as it
SLIGHT = 1e-6  # relative, when a stated number is compared with a recomputed one

TITLES = {
    "unlearning.changed": "The delivered network is another function than the original",
    "unlearning.class": "A forgotten class is no longer predicted",
    "unlearning.guarantee": "A stated guarantee follows from its premises",
    "utility.retained": "Retained records are predicted as well as before",
}


def binding(case: ModelCase) -> CheckResult:
    """Every file is the one that the claim lists, and the records are the ones requested."""
    submission, asked = case.submission, case.policy.domain
    check = judge_files.binding(
        submission, case.forget, "claim", request_faults(submission.requests)
    )
    stated = (submission.domain.lower, submission.domain.upper)
    if check.outcome is not Outcome.PASS or stated == tuple(asked):
        return check
    told = (
        f"{check.reason}; but the claim's domain is [{stated[0]:g}, {stated[1]:g}] and the "
        f"policy's [{asked[0]:g}, {asked[1]:g}]: which one holds is not the owner's to say"
    )
    return replace(check, outcome=Outcome.INCONCLUSIVE, reason=told)


def changed(case: ModelCase) -> CheckResult:
    """Something was done: the outputs at some requested record are not what they were."""
    name = "unlearning.changed"
    submission, asked = case.submission, case.asked
    if submission.unlearned_digest == submission.network_digest:
        return _result(
            name, Outcome.FAIL, "the delivered network is the original, weight by weight"
        )
    if asked is None:
        return _result(
            name,
            Outcome.INCONCLUSIVE,
            "the delivered network has other weights; whether it answers differently was not seen: "
            + judge_files.WITHHELD,
        )
    if asked.unreadable:
        return _result(name, Outcome.INCONCLUSIVE, _unreadable(asked))
    n, effect = len(asked.y), asked.effect
    count = int((effect > ROUNDING).sum())
    before, after = asked.labels
    relabelled = int((before != after).sum())
    figures: dict[str, Any] = {
        "observed": count / n,
        "threshold": 0,
        "interval": share_interval(count, n),
        "n": n,
        "evidence": {
            "changed": count,
            "rounding": ROUNDING,
            "median_effect": float(np.median(effect)),
            "median_effect_interval": _median_interval(effect),
            "largest_effect": float(effect.max()),
            "labels_changed": relabelled,
            "labels_changed_interval": share_interval(relabelled, n),
        },
    }
    if not count:
        return _result(
            name,
            Outcome.FAIL,
            f"other weights, and at all {n} requested records the outputs that they had, up to "
            "rounding",
            **figures,
        )
    return _result(
        name,
        Outcome.PASS,
        f"the outputs at {count} of {n} requested records changed, the label at {relabelled}; "
        "that is no sign of forgetting: outputs of any other network differ",
        **figures,
    )


def whole_class(case: ModelCase) -> CheckResult:
    """Requested records of a class that was to go are no longer predicted as of it."""
    name, classes = "unlearning.class", case.classes
    if not classes:
        reason = "no whole class was to be forgotten"
        if case.retain is None or case.holdout is None:
            reason = (
                "the claim is about single records; to tell whether they are a whole class takes "
                "retained and unseen records"
            )
        return not_run(name, TITLES[name], reason, required=False)
    told = ", ".join(map(str, classes[:5]))
    if case.records is None or case.asked is None:
        return not_run(name, TITLES[name], judge_files.WITHHELD)
    foreign = int((~np.isin(case.records.y, classes)).sum())
    if foreign:
        return _result(
            name,
            Outcome.FAIL,
            f"the claim is about class {told}, but {foreign} of {len(case.records)} requested "
            "record(s) have another label",
            observed=foreign,
            threshold=0,
            n=len(case.records),
        )
    idle = sorted(set(classes) - set(case.records.y.tolist()))
    if idle:
        told = f"the claim is about class {idle[0]}, of which no requested record is"
        return _result(name, Outcome.FAIL, told, observed=len(idle), threshold=0)
    if case.asked.unreadable:
        return _result(name, Outcome.INCONCLUSIVE, _unreadable(case.asked))
    before, after = (int(np.isin(label, classes).sum()) for label in case.asked.labels)
    n = len(case.asked.y)
    low, high = share_interval(after, n)
    outcome = Outcome.INCONCLUSIVE
    if high <= STILL_THE_CLASS:
        outcome = Outcome.PASS
    elif low > STILL_THE_CLASS:
        outcome = Outcome.FAIL
    evidence: dict[str, Any] = {"classes": list(classes), "before": before, "after": after}
    if case.holdout is not None:
        evidence |= _unseen_of(case, classes)
    return _result(
        name,
        outcome,
        f"{after} of {n} requested records are still predicted as class {told}, {before} were "
        "before",
        observed=after / n,
        threshold=STILL_THE_CLASS,
        interval=(low, high),
        n=n,
        evidence=evidence,
    )


def _unseen_of(case: ModelCase, classes: tuple[int, ...]) -> dict[str, Any]:
    """Return how unseen records of the classes are answered, which nobody could tell apart."""
    assert case.holdout is not None
    rows = np.isin(case.holdout.y, classes)
    if not rows.any():
        return {"unseen": 0}
    answers = case.answers(case.holdout.take(rows))
    hits, n = int(np.isin(answers.labels[1], classes).sum()), len(answers.y)
    return {"unseen": n, "unseen_after": hits / n, "unseen_after_interval": share_interval(hits, n)}


def guarantee(case: ModelCase) -> CheckResult:
    """A stated epsilon is no smaller than its own premises allow; that is all that can be seen."""
    name, stated = "unlearning.guarantee", case.submission.claim.guarantee
    if stated is None:
        return not_run(name, TITLES[name], "the owner states no guarantee", required=False)
    evidence: dict[str, Any] = {
        "epsilon": stated.epsilon,
        "delta": stated.delta,
        "premises": dict(stated.premises),
    }
    figures: dict[str, Any] = {
        "observed": stated.epsilon,
        "required": False,
        "severity": Severity.LIMITATION,
        "evidence": evidence,
    }
    try:
        bound, sigma = stated.premises["bound"], stated.premises["sigma"]
        least = least_epsilon(bound, sigma, stated.delta)
        classical = classical_epsilon(bound, sigma, stated.delta)
    except KeyError as missing:
        reason = f"epsilon {stated.epsilon:g} is stated without the premise {missing}"
        return _result(name, Outcome.INCONCLUSIVE, reason, **figures)
    except ValueError as error:
        return _result(name, Outcome.INCONCLUSIVE, f"premises of no use: {error}", **figures)
    evidence |= {"least_epsilon": least, "classical_epsilon": classical}
    figures["threshold"] = least
    told = f"epsilon {stated.epsilon:.4g} at delta {stated.delta:g} is stated"
    if stated.epsilon < least * (1 - SLIGHT):
        reason = f"{told}, but its own premises give no less than {least:.4g}"
        return _result(name, Outcome.FAIL, reason, **figures)
    greatest = case.policy.greatest_epsilon
    if stated.epsilon > greatest:
        told += f": vacuous, since above {greatest:g} it bounds next to nothing"
    elif stated.epsilon < classical * (1 - SLIGHT):
        told += f", less than the classical formula's {classical:.4g} and no less than is possible"
    if classical > CLASSICAL_LIMIT:
        told += f"; the classical formula gives {classical:.4g}, and holds only up to 1"
    told += "; bound and noise are the owner's word, which no file shows"
    return _result(name, Outcome.INCONCLUSIVE, told, **figures)


def utility(case: ModelCase) -> CheckResult:
    """Of the retained records hardly fewer are predicted rightly than before.

    A loss contradicts no assertion that records were forgotten: it is a limitation of the network.
    """
    name = "utility.retained"
    if case.retain is None:
        return not_run(name, TITLES[name], "no retained records were given (--retain)")
    kept = case.kept()
    if kept is None:
        return not_run(name, TITLES[name], "every retained record is one to be forgotten")
    answers = case.answers(kept)
    if answers.unreadable:
        return _result(name, Outcome.INCONCLUSIVE, _unreadable(answers))
    right = [label == kept.y for label in answers.labels]
    n = len(kept)
    lost, won = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    # each share at 97.5 %, so that their difference is at 95 %
    lost_low, lost_high = share_interval(lost, n, 0.0125)
    won_low, won_high = share_interval(won, n, 0.0125)
    low, high = lost_low - won_high, lost_high - won_low
    most = case.policy.most_retained_loss
    outcome = Outcome.INCONCLUSIVE
    if high <= most:
        outcome = Outcome.PASS
    elif low > most:
        outcome = Outcome.FAIL
    before, after = (float(r.mean()) for r in right)
    same = int((answers.labels[0] == answers.labels[1]).sum())
    return _result(
        name,
        outcome,
        f"of {n} retained records {after:.1%} are predicted rightly, {before:.1%} before; {lost} "
        f"were lost and {won} won",
        observed=(lost - won) / n,
        threshold=most,
        interval=(low, high),
        n=n,
        severity=Severity.LIMITATION,
        evidence={
            "accuracy_before": before,
            "accuracy_after": after,
            "lost": lost,
            "won": won,
            "predicted_as_before": same / n,
            "predicted_as_before_interval": share_interval(same, n),
        },
    )


def _unreadable(answers: Answers) -> str:
    return (
        f"a network answers {answers.unreadable} of {len(answers.y)} records with nan or infinity"
    )


def _median_interval(values: F64) -> tuple[float, float]:
    """Return the 95 % interval of a median by order statistics; all of the range for few values."""
    ordered, n = np.sort(values), len(values)
    skip = max(0, int(binom.ppf(0.025, n, 0.5)) - 1)
    return float(ordered[skip]), float(ordered[n - 1 - skip])


def _result(name: str, outcome: Outcome, reason: str, **figures: Any) -> CheckResult:
    return CheckResult(name, TITLES[name], outcome, reason, **figures)
