"""The part of a plan that is about dishonest behaviour: what is looked for, with what evidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from auditkit.audit.membership import AttackPlan
from auditkit.audit.plan_values import bad, known, strings, typed
from auditkit.audit.serving import Endpoint
from auditkit.audit.threat_references import ReferencePlan
from auditkit.errors import UsageError
from auditkit.threats.references import ReferenceKind
from auditkit.threats.registry import chosen
from auditkit.unlearning import training

_KEYS = {
    "names",
    "reference",
    "retrain",
    "canaries",
    "training_log",
    "order_seed",
    "endpoint",
    "drawn",
}
_ENDPOINT = {"url", "budget", "rate", "pause", "transcript", "replay"}


@dataclass(frozen=True)
class ThreatPlan:
    """Which behaviours are checked for, all for no name, and with which evidence.

    `canaries` is the auditor's file, `training_log` the owner's, `order_seed` what the auditor gave
    for the order of its records, `drawn` that the auditor drew the request by lot, `endpoint` where
    the model is served.
    """

    names: tuple[str, ...] = ()
    references: ReferencePlan = field(default_factory=ReferencePlan)
    canaries: Path | None = None
    training_log: Path | None = None
    order_seed: int | None = None
    drawn: bool = False
    endpoint: Endpoint | None = None


def threat_plan(
    path: Path, value: Any, attack: AttackPlan | None, training_records: bool
) -> ThreatPlan | None:
    """Return what `[threats]` of the plan in a file says, None for false; UsageError if it is bad.

    Networks are retrained by the recipe of the attacks, where there is one.
    """
    if value is False:
        return None
    known(path, value, _KEYS, "[threats]")
    kind, kinds = value.get("reference"), [k.value for k in ReferenceKind]
    if kind is not None and kind not in kinds:
        raise bad(path, f"threats.reference among {', '.join(kinds)}", repr(kind)[:60])
    count = typed(path, "threats.retrain", value.get("retrain", 0), int)
    if count and not training_records:
        raise bad(path, "train = FILE for the references to be retrained", "none")
    recipe = training.PRACTICE
    if attack is not None and attack.recipe is not None:
        recipe = training.Recipe(**asdict(attack.recipe))
    try:
        references = ReferencePlan(None if kind is None else ReferenceKind(kind), count, recipe)
    except ValueError as error:
        raise bad(path, "references of one kind", str(error)) from None
    names = tuple(strings(path, "threats.names", value.get("names", [])))
    try:
        chosen(names)
    except UsageError as error:
        raise bad(path, f"threats.names as {error.expected}", error.found) from None
    order = value.get("order_seed")
    if order is not None and typed(path, "threats.order_seed", order, int) >= 1 << 32:
        raise bad(path, "threats.order_seed below 2^32", repr(order)[:60])
    return ThreatPlan(
        names=names,
        references=references,
        canaries=_file(path, value, "canaries"),
        training_log=_file(path, value, "training_log"),
        order_seed=order,
        drawn=typed(path, "threats.drawn", value.get("drawn", False), bool),
        endpoint=_endpoint(path, value.get("endpoint")),
    )


def _endpoint(path: Path, value: Any) -> Endpoint | None:
    if value is None:
        return None
    known(path, value, _ENDPOINT, "[threats.endpoint]")
    again = typed(path, "threats.endpoint.replay", value.get("replay", False), bool)
    given: dict[str, Any] = {"replayed": again}
    if "url" in value:
        given["url"] = typed(path, "threats.endpoint.url", value["url"], str)
    if "budget" in value:
        given["budget"] = typed(path, "threats.endpoint.budget", value["budget"], int)
    for name in ("rate", "pause"):
        if name in value:
            given[name] = _number(path, name, value[name])
    if "transcript" in value:
        given["transcript"] = _file(path, value, "transcript", "threats.endpoint")
    try:
        return Endpoint(**given)
    except UsageError as error:
        raise bad(path, f"[threats.endpoint] with {error.expected}", error.found) from None


def _number(path: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad(path, f"threats.endpoint.{name} as a number", repr(value)[:60])
    return float(value)


def _file(path: Path, value: dict[str, Any], name: str, where: str = "threats") -> Path | None:
    """Return a file named in the plan, relative to its folder."""
    given = value.get(name)
    return None if given is None else path.parent / typed(path, f"{where}.{name}", given, str)
