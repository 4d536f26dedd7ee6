"""Which records the attacks judge, and whether they may: disjoint, each once, of the right kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.decision.class_deletion import deleted_classes, of_classes
from auditkit.certificate.submission import Submission
from auditkit.errors import UsageError
from auditkit.records import Records


@dataclass(frozen=True, eq=False)
class Judged:
    """Forgotten and unseen records as they are judged, and retained ones as their control.

    classes: those the request empties, () when it is no deletion of classes; then `holdout` has
    records of these alone. left_out: how many records of each group were not used, with the reason.
    problem: why nothing can be judged, empty when something can.
    """

    forget: Records
    holdout: Records
    retain: Records | None
    classes: tuple[int, ...]
    left_out: dict[str, int]
    problem: str


def judged_records(
    submission: Submission,
    forget: Records,
    holdout: Records,
    retain: Records | None,
    train: Records | None,
) -> Judged:
    """Return the records to judge.

    Raises UsageError when unseen records are among those trained on: then they are not unseen. When
    they are among the records of the owner's own list, that is a problem of the evidence.
    """
    left_out: dict[str, int] = {}
    forget = _once(forget, "forgotten records given twice", left_out)
    holdout = _once(holdout, "unseen records given twice", left_out)
    owners = submission.forget is not None and _same(forget, submission.forget)
    problem = ""
    found = _in_common(holdout, forget)
    if found and owners:
        problem = (
            f"{found} of {len(holdout)} unseen records are on the owner's list of forgotten ones: "
            "one of the two is wrong"
        )
    elif found:
        raise _not_unseen(found, len(holdout), "forgotten")
    for name, group in (("training", train), ("retained", retain)):
        found = 0 if group is None else _in_common(holdout, group)
        if found:
            raise _not_unseen(found, len(holdout), name)
    if retain is not None:
        retain = _without(retain, forget, "retained records that are forgotten", left_out)
    wrong = 0 if train is None else _otherwise_labelled(forget, train)
    if wrong and not problem:
        problem = (
            f"{wrong} of {len(forget)} forgotten records have another label in the training "
            "records: one of the two is wrong"
        )
    declared = bool(submission.whole_classes)
    kept = retain if train is None else _without(train, forget, "", {})
    classes = deleted_classes(
        forget.y,
        None if kept is None else kept.y,
        unseen_labels=holdout.y if train is None else None,  # what is retained is a sample
        declared=declared,
    )
    if classes and not problem:
        try:
            chosen = of_classes(holdout.y, classes)
            if len(chosen) < len(holdout):
                left_out["unseen records of other classes"] = len(holdout) - len(chosen)
            holdout = holdout.take(chosen)
        except ValueError as error:
            problem = str(error)
    return Judged(forget, holdout, retain, classes, left_out, problem)


def contents(records: Records) -> list[bytes]:
    """Return each record's features as bytes: what tells whether two are the same."""
    # adding 0 makes -0 and 0 the same
    return [row.tobytes() for row in np.ascontiguousarray(records.x.astype("<f4") + 0.0)]


def _once(records: Records, what: str, left_out: dict[str, int]) -> Records:
    """Return the records without repetitions: a copy is no further evidence.

    The same content under another label or of another person stays.
    """
    subjects = records.subject or (None,) * len(records)
    seen: dict[object, int] = {}
    for index, key in enumerate(zip(contents(records), records.y.tolist(), subjects, strict=True)):
        seen.setdefault(key, index)
    if len(seen) == len(records):
        return records
    left_out[what] = len(records) - len(seen)
    return records.take(list(seen.values()))


def _same(forget: Records, listed: Records) -> bool:
    return set(contents(forget)) <= set(contents(listed))


def _in_common(a: Records, b: Records) -> int:
    known = set(contents(b))
    return sum(row in known for row in contents(a))


def _otherwise_labelled(records: Records, train: Records) -> int:
    """Return how many records are among those trained on, but under other labels only.

    An attack asks how sure the model is of a label; with one that was never trained on it finds
    nothing, whatever the model remembers.
    """
    labels: dict[bytes, set[int]] = {}
    for row, label in zip(contents(train), train.y.tolist(), strict=True):
        labels.setdefault(row, set()).add(label)
    pairs = zip(contents(records), records.y.tolist(), strict=True)
    return sum(label not in labels.get(row, {label}) for row, label in pairs)


def _without(
    records: Records, others: Records, what: str, left_out: dict[str, int]
) -> Records | None:
    known = set(contents(others))
    keep: NDArray[np.bool_] = np.array([row not in known for row in contents(records)])
    if keep.all():
        return records
    left_out[what] = int((~keep).sum())
    return records.take(keep) if keep.any() else None


def _not_unseen(found: int, count: int, name: str) -> UsageError:
    return UsageError(
        "the unseen records (holdout)",
        expected="records that the model never saw",
        found=f"{found} of {count} among the {name} records",
        remedy="leave these out: forgotten records are judged against unseen ones",
    )
