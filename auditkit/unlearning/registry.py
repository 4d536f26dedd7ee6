"""The unlearning methods by name, and running one on a request.

What can be refused is refused before anything is trained, and what comes out is looked at before
it is called unlearned: a method that diverged or changed nothing gives no model.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from auditkit.certificate.judge_unlearned import ROUNDING
from auditkit.certificate.model_case import Answers
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.unlearning import (
    amnesiac,
    bad_teacher,
    certified_newton,
    distribution_matching,
    forgetting_networks,
    gradient_ascent,
    prune,
    random_labels,
    retrain,
    scrub,
    sisa,
    unsir,
)
from auditkit.unlearning.interface import (
    Diverged,
    Logging,
    Method,
    Progress,
    Refused,
    Scenario,
    Task,
    UnlearnedModel,
)
from auditkit.unlearning.training import one_thread

if TYPE_CHECKING:
    from auditkit.unlearning.history import History

_ALL = (
    retrain.METHOD,
    prune.METHOD,
    distribution_matching.METHOD,
    unsir.METHOD,
    certified_newton.METHOD,
    forgetting_networks.METHOD,
    gradient_ascent.METHOD,
    random_labels.METHOD,
    scrub.METHOD,
    bad_teacher.METHOD,
    amnesiac.METHOD,
    sisa.METHOD,
)
METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _ALL})

COLLAPSED = 0.5  # of the accuracy on retained records that the original had
STILL_LABELLED = 0.05  # of the forgotten records of a class or a backdoor may keep their label


def unlearn(
    name: str,
    network: Network,
    forget: Records,
    retain: Records | None = None,
    holdout: Records | None = None,
    *,
    scenario: Scenario | str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    history: History | None = None,
    progress: Progress | None = None,
    logging: Logging | None = None,
) -> UnlearnedModel:
    """Make a network forget records by the named method.

    `retain` are training records that stay, `holdout` records that it never saw. `scenario` is
    worked out from labels when None (`scenario_of`); `settings` change the method's defaults;
    with `logging`, what comes back has the log of training.
    Raises Refused when the method does not claim the scenario, lacks what it needs, or the records
    contradict each other; Diverged when it left the numbers, or the network as it was.
    """
    method = method_named(name)
    kind = scenario_of(forget, retain) if scenario is None else Scenario(scenario)
    chosen = method.settings(kind, settings)
    refuse(method, kind, network, forget, retain, holdout, history)
    if logging is not None and method is not retrain.METHOD:
        raise Refused(f"only retrain trains from random weights and logs it, not {name}")
    task = Task(network, forget, retain, holdout, kind, seed, history, progress, logging=logging)
    begun = time.perf_counter()
    try:
        with np.errstate(all="ignore"), one_thread():
            unlearned = method.run(task, chosen)
    except Diverged as error:
        remedy = "; lower its learning rate" if hasattr(chosen, "learning_rate") else ""
        raise Diverged(f"{name} diverged: {error}{remedy}") from None
    seconds = time.perf_counter() - begun
    made = UnlearnedModel(
        method=name,
        scenario=kind,
        settings=asdict(chosen),
        seed=seed,
        unlearned=unlearned,
        original=network,
        used=_used(method, task),
        passes=task.passes.count,
        seconds=seconds,
    )
    return _looked_at(made, task)


def method_named(name: str) -> Method:
    """Return a method; Refused for a name that there is none of."""
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise Refused(f"one of {', '.join(METHODS)}, not {name[:60]!r}{meant}")
    return METHODS[name]


def scenario_of(forget: Records, retain: Records | None) -> Scenario:
    """Return CLASS when the retained records have none of the forgotten labels, else SUBSET.

    That records are poisoned cannot be seen from their labels: that scenario must be named.
    """
    if retain is None or not len(retain):
        return Scenario.SUBSET
    kept = set(np.unique(retain.y).tolist())
    emptied = [label for label in np.unique(forget.y).tolist() if label not in kept]
    return Scenario.CLASS if len(emptied) == len(np.unique(forget.y)) else Scenario.SUBSET


def refuse(
    method: Method,
    scenario: Scenario,
    network: Network,
    forget: Records,
    retain: Records | None,
    holdout: Records | None,
    history: History | None,
) -> None:
    """Raise Refused with the reason when the method cannot do this."""
    if scenario not in method.scenarios:
        claimed = ", ".join(method.scenarios)
        why = method.refuses.get(scenario, "its authors did not build it for that")
        raise Refused(f"{method.name} does {claimed}, not {scenario}: {why}")
    if not len(forget):
        raise Refused("there are no records to forget")
    given = {"retain": retain, "holdout": holdout}
    words = {"retain": "retained", "holdout": "unseen"}
    for part, records in given.items():
        if part in method.needs and (records is None or not len(records)):
            raise Refused(
                f"{method.name} needs {words[part]} records (--{part}), and there are none"
            )
        if records is not None and not len(records):
            raise Refused(f"there are no {words[part]} records in what was given (--{part})")
        if records is not None and (found := _common(forget, records)):
            raise Refused(f"{found} of the forgotten records are among the {words[part]} ones")
    if retain is not None and holdout is not None and (found := _common(holdout, retain)):
        raise Refused(f"{found} of the unseen records are among the retained ones")
    if "history" in method.needs and history is None:
        raise Refused(f"{method.name} needs what training left behind (--history)")
    if "history" in method.needs and history is not None:
        from auditkit.unlearning.history import belongs_to

        if not belongs_to(history, network):
            raise Refused("the history is that of another network")
    if retain is not None:
        _refuse_labels(scenario, forget, retain)
    for name, records in {"forgotten": forget, "retained": retain, "unseen": holdout}.items():
        if records is not None and records.y.max() >= network.classes:
            raise Refused(
                f"{name} records have the label {records.y.max()}, the network {network.classes} "
                "classes"
            )


def _refuse_labels(scenario: Scenario, forget: Records, retain: Records) -> None:
    kept, asked = set(np.unique(retain.y).tolist()), np.unique(forget.y).tolist()
    if scenario is Scenario.CLASS and (left := [c for c in asked if c in kept]):
        raise Refused(
            f"a class is forgotten as a whole, but retained records have class {left[0]} too"
        )
    if scenario is Scenario.SUBSET and (gone := [c for c in asked if c not in kept]):
        raise Refused(
            f"no retained record has class {gone[0]}: that is a whole class, not a subset "
            "(--scenario class)"
        )


def _common(a: Records, b: Records) -> int:
    """Return how many records of `a` are in `b`, label and all."""
    return int(np.isin(_rows(a), _rows(b)).sum())


def _rows(records: Records) -> NDArray[np.void]:
    """Return each record's features and label as one value; equal where the records are."""
    x = np.ascontiguousarray(records.x.reshape(len(records), -1) + 0.0, dtype="<f4")  # -0 is 0
    y = np.ascontiguousarray(records.y, dtype="<i8")[:, None]
    both = np.concatenate([x.view(np.uint8), y.view(np.uint8)], axis=1)
    return both.view(np.dtype((np.void, both.shape[1]))).reshape(-1)


def _used(method: Method, task: Task) -> dict[str, int | bool]:
    parts = {*method.needs, *method.uses}
    sizes = {"retain": task.retain, "holdout": task.holdout}
    found: dict[str, int | bool] = {"forget": len(task.forget)}
    for name, records in sizes.items():
        found[name] = 0 if records is None or name not in parts else len(records)
    found["history"] = "history" in parts and task.history is not None
    return found


def _looked_at(made: UnlearnedModel, task: Task) -> UnlearnedModel:
    """Return the result, its shortfall completed; Diverged when it is none."""
    forget, kept = task.forget, task.retain
    before, after = made.before(forget.x), made.predict(forget.x)
    answers = after if kept is None else np.concatenate([after, made.predict(kept.x)])
    if not np.isfinite(answers).all():
        raise Diverged(f"{made.method} diverged: it answers with nan or infinity")
    # as an audit would find it (`unlearning.changed`); a patch is the audit's to judge
    change = Answers(before.astype(np.float64), after.astype(np.float64), forget.y).effect
    if made.network is not None and (change <= ROUNDING).all():
        raise Diverged(f"{made.method} left the network as it was, up to rounding")
    told = [made.unlearned.shortfall]
    labelled = _right(after, forget)
    if task.scenario is not Scenario.SUBSET and labelled > STILL_LABELLED:
        told.append(f"{labelled:.1%} of the forgotten records keep their label")
    if kept is not None:
        was, now = _right(made.before(kept.x), kept), _right(answers[len(forget) :], kept)
        if now < COLLAPSED * was:
            told.append(f"retained records: {now:.1%} right, {was:.1%} before; it fell apart")
    shortfall = "; ".join(part for part in told if part)
    return replace(made, unlearned=replace(made.unlearned, shortfall=shortfall))


def _right(answers: NDArray[Any], records: Records) -> float:
    return float((answers.argmax(axis=1) == records.y).mean())
