"""From an unlearned model to what the owner hands over, and to a few lines that say what was done.

A weight change is handed over as unlearned.onnx with claim.json; a patch as a patch with its
certificate, which says more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit.certificate.claim import StatedGuarantee, StatedMethod, StatedUse
from auditkit.certificate.history import new_request
from auditkit.certificate.identity import random_key, record_digests
from auditkit.certificate.make import make_submission
from auditkit.certificate.unlearned_submission import make_claim, write_unlearned_submission
from auditkit.network.graph import Network
from auditkit.patch.settings import Domain
from auditkit.records import Records, write_records
from auditkit.results import plain
from auditkit.unlearning import prune
from auditkit.unlearning.interface import (
    Logging,
    Progress,
    Refused,
    Scenario,
    Task,
    UnlearnedModel,
)
from auditkit.unlearning.registry import refuse, scenario_of, unlearn
from auditkit.unlearning.training_log import write_training_log

if TYPE_CHECKING:
    from auditkit.unlearning.history import History

WORDS = {"forget": "forgotten", "retain": "retained", "holdout": "unseen"}


@dataclass(frozen=True)
class Made:
    """What was written, for people and programs; accuracies by group, before and after."""

    out: Path
    kind: str
    method: str
    scenario: str
    settings: Mapping[str, Any]
    records: int
    accuracy: Mapping[str, tuple[float, float]]
    passes: float | None
    seconds: float | None
    reached: bool
    shortfall: str
    guarantee: Mapping[str, Any] | None
    notes: Mapping[str, Any]
    details: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(plain({**dataclasses.asdict(self), "out": str(self.out)}))

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        lines = [
            f"{self.out}: {self.records} record(s) unlearned by {self.method} ({self.scenario})",
            *self.details,
        ]
        lines += [
            f"{WORDS[group]} records answered rightly: {before:.1%} before, {after:.1%} after"
            for group, (before, after) in self.accuracy.items()
        ]
        if self.passes is not None and self.seconds is not None:
            lines.append(
                f"cost: {self.passes:.0f} passes over a record (forward and backward), "
                f"{self.seconds:.1f} s"
            )
        if self.guarantee is not None:
            lines.append(
                f"stated: ({self.guarantee['epsilon']:.3g}, {self.guarantee['delta']:g})-unlearning"
                + (", which says nothing" if self.guarantee["epsilon"] > MEANINGFUL else "")
            )
        if not self.reached:
            lines.append(f"NOT REACHED: {self.shortfall}")
        return lines


MEANINGFUL = 10.0  # an ε above it bounds no one's certainty: e^10 is 22,000


@dataclass(frozen=True)
class Handover:
    """What is said of a submission, and what of it is handed over.

    `assertion` is "erased" when None, "redirected" of a patch. With `withhold_to` the forgotten
    records and their key are written there and not into the submission, with `log_to` the log of
    training, in the order of `order_seed` where the auditor gave one.
    """

    domain: Domain = dataclasses.field(default_factory=Domain)
    assertion: str | None = None
    key: bytes | None = None
    model_files: Mapping[str, bytes] | None = None
    withhold_to: Path | None = None
    replace: bool = False
    log_to: Path | None = None
    order_seed: int | None = None


def unlearn_to(
    out: Path,
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
    handover: Handover | None = None,
    progress: Progress | None = None,
) -> Made:
    """Unlearn by the named method and write the submission to `out`.

    Arguments as for `registry.unlearn`. Raises Refused and Diverged as that does, UsageError when
    `out` cannot be written; then nothing is written.
    """
    handover = handover or Handover()
    if name == prune.METHOD.name:
        if handover.log_to or handover.order_seed is not None:
            raise Refused("a patch is not trained: there is no log to write")
        domain = handover.domain
        changes = {"lower": domain.lower, "upper": domain.upper, **(settings or {})}
        kind = scenario_of(forget, retain) if scenario is None else Scenario(scenario)
        task = Task(network, forget, retain, holdout, kind, seed)
        return _patched(out, task, changes, handover)
    keyed = dataclasses.replace(forget, key=handover.key or forget.key or random_key())
    made = unlearn(
        name, network, forget, retain, holdout, scenario=scenario, settings=settings, seed=seed,
        history=history, progress=progress, logging=_logging(handover, keyed),
    )  # fmt: skip
    assert made.network is not None
    claim = make_claim(
        network,
        made.network,
        (new_request(record_digests(keyed, keyed.key or b""), None),),
        StatedMethod(made.method, made.scenario.value, dict(made.settings), seed),
        domain=handover.domain,
        classes=_classes(made.scenario, forget),
        used=StatedUse(
            int(made.used["retain"]), int(made.used["holdout"]), bool(made.used["history"])
        ),
        guarantee=_stated(made),
        reached=made.reached,
        shortfall=made.unlearned.shortfall[:MOST_SAID],
        assertion=handover.assertion or "erased",
    )
    write_unlearned_submission(
        out, network, made.network, claim, None if handover.withhold_to else keyed,
        model_files=handover.model_files, replace=handover.replace,
    )  # fmt: skip
    if handover.withhold_to:
        write_records(handover.withhold_to, keyed)
    if handover.log_to and made.unlearned.log is not None:
        write_training_log(handover.log_to, made.unlearned.log)
    stated = made.unlearned.guarantee
    return Made(
        out=out,
        kind="model",
        method=made.method,
        scenario=made.scenario.value,
        settings=dict(made.settings),
        records=len(forget),
        accuracy=_accuracies(made, forget, retain, holdout),
        passes=made.passes,
        seconds=made.seconds,
        reached=made.reached,
        shortfall=made.unlearned.shortfall,
        guarantee=None if stated is None else dataclasses.asdict(stated),
        notes=dict(made.unlearned.notes),
    )


def _logging(handover: Handover, keyed: Records) -> Logging | None:
    """Return how training is to be logged; Refused for an order that nothing would show."""
    if handover.log_to is None:
        if handover.order_seed is not None:
            raise Refused("an order is checked by the log of training: write one (--log)")
        return None
    return Logging(keyed.key or b"", handover.order_seed)


MOST_SAID = 200  # characters of a shortfall in a claim


def _patched(out: Path, task: Task, changes: Mapping[str, Any], handover: Handover) -> Made:
    """Write a patch as `auditkit patch` does, with the settings of the method."""
    method, forget = prune.METHOD, task.forget
    chosen = method.settings(task.scenario, changes)
    refuse(method, task.scenario, task.network, forget, task.retain, task.holdout, None)
    written = make_submission(
        task.network,
        forget,
        prune.patch_settings(task, chosen),
        out,
        reference=task.holdout,
        assertion=handover.assertion or "redirected",
        key=handover.key,
        model_files=handover.model_files,
        withhold_to=handover.withhold_to,
        replace=handover.replace,
    )
    missing = len(forget) - written.claims
    whole = chosen.scope == "class" and chosen.method == "suppress"
    shortfall = "" if whole or not missing else f"no claim for {missing} of {len(forget)} records"
    return Made(
        out=out,
        kind="patch",
        method=method.name,
        scenario=task.scenario.value,
        settings=dataclasses.asdict(chosen),
        records=len(forget),
        accuracy={},
        passes=None,
        seconds=None,
        reached=not shortfall,
        shortfall=shortfall,
        guarantee=None,
        notes={},
        details=tuple(written.lines()[1:]),
    )


def _classes(scenario: Scenario, forget: Records) -> tuple[int, ...]:
    return tuple(sorted(set(forget.y.tolist()))) if scenario is Scenario.CLASS else ()


def _stated(made: UnlearnedModel) -> StatedGuarantee | None:
    found = made.unlearned.guarantee
    if found is None:
        return None
    return StatedGuarantee(found.epsilon, found.delta, dict(found.premises))


def _accuracies(
    made: UnlearnedModel, forget: Records, retain: Records | None, holdout: Records | None
) -> dict[str, tuple[float, float]]:
    """Return the share answered rightly before and after, by group of records."""
    found = {}
    for name, records in (("forget", forget), ("retain", retain), ("holdout", holdout)):
        if records is None or not len(records):
            continue
        before = made.before(records.x).argmax(axis=1)
        after = made.predict(records.x).argmax(axis=1)
        found[name] = (
            float((before == records.y).mean()),
            float((after == records.y).mean()),
        )
    return found
