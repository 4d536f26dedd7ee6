"""From the rows of a study to rates: false alarms, power, and which targets are missed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from auditkit.calibration.owners import KINDS
from auditkit.calibration.rates import Rate, rate, roc
from auditkit.calibration.study import Study
from auditkit.calibration.trials import FULL, UNSUSPICIOUS, Row
from auditkit.certificate.submission import PatchSubmission, UnlearnedSubmission
from auditkit.results import Outcome
from auditkit.threats.decide import IN_AUDIT
from auditkit.threats.interface import Behaviour
from auditkit.threats.registry import BEHAVIOURS

MOST_FALSE_ALARMS = 0.01
"""Of the honest owners, for one check: the upper end of the interval must not be above it."""
MOST_FALSE_AUDITS = 0.05
"""Of the honest owners, for all checks of an audit together."""
LEAST_POWER = 0.95
"""Of the owners who cheat in full, and whose check does not itself say that its samples cannot show
it: the lower end of the interval must not be below it."""


WAYS = ("patches", "networks")
"""What an owner hands over: a patch, or a network that was unlearned otherwise."""


@dataclass(frozen=True)
class Target:
    """What was to be reached, whether it was, and by which rate."""

    what: str
    rate: Rate
    reached: bool
    of_power: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"what": self.what, **self.rate.to_json(), "reached": self.reached}


class Summary:
    """The rates of a study. Trials that could not be had, as their owner refused, are not in it."""

    def __init__(self, study: Study) -> None:
        self.header = study.header
        self.rows = [row for row in study.rows if "refused" not in row]
        self.refused = [row for row in study.rows if "refused" in row]
        self.honest = [row for row in self.rows if row["behaviour"] is None]
        self.exact = [row for row in self.honest if KINDS[row["owner"]].exact]
        self.cheats = [row for row in self.rows if row["behaviour"] is not None]

    @property
    def behaviours(self) -> list[Behaviour]:
        """The behaviours of the study, in the order of the threat model."""
        named = set(self.header["design"]["behaviours"])
        return [behaviour for behaviour in BEHAVIOURS if behaviour.name in named]

    @property
    def data(self) -> list[str]:
        """The names of the data sets."""
        return sorted(self.header["data"])

    def false_alarms(
        self, behaviour: Behaviour, data: str | None = None, way: str | None = None
    ) -> Rate:
        """Return how many honest owners whose assertion is true one check accuses, where it ran."""
        found = (
            _of(row, behaviour)
            for row in self.exact
            if data in (None, row["data"]) and way in (None, way_of(row))
        )
        return rate(_accused(check) for check in found if check is not None)

    def false_audits(self, data: str | None = None) -> Rate:
        """Return how many honest owners any check of their audit accuses."""
        return rate(
            any(_accused(check) for check in row["checks"].values())
            for row in self.exact
            if data in (None, row["data"])
        )

    def power(
        self,
        behaviour: Behaviour,
        strength: float = FULL,
        data: str | None = None,
        variant: str | None = None,
        way: str | None = None,
        reference: str | None = None,
    ) -> Rate:
        """Return how many who cheat so are found by the check for it, as one of an audit's."""
        found = [
            _of(row, behaviour)
            for row in self.cheats
            if row["behaviour"] == behaviour.name
            and row["strength"] == strength
            and data in (None, row["data"])
            and variant in (None, row["variant"])
            and way in (None, way_of(row))
            and reference in (None, row["reference"])
        ]
        return rate(check is not None and _found(check) for check in found)

    def ways(self, behaviour: Behaviour) -> list[str]:
        """Return whether a behaviour was simulated on patches, on networks, or on both."""
        seen = {way_of(row) for row in self.cheats if row["behaviour"] == behaviour.name}
        return [way for way in WAYS if way in seen]

    def power_where_stated(self, behaviour: Behaviour, way: str | None = None) -> Rate:
        """Return the power at full strength of those checks that state one of `LEAST_POWER`.

        What states none is counted: a check that rests on no sample, knows no power of its own, or
        did not run.
        """
        found = [
            _of(row, behaviour)
            for row in self.cheats
            if row["behaviour"] == behaviour.name
            and row["strength"] == FULL
            and way in (None, way_of(row))
        ]
        counted = [c for c in found if c is None or c.get("power", 1.0) >= LEAST_POWER]
        return rate(check is not None and _found(check) for check in counted)

    def missed(self, behaviour: Behaviour) -> dict[tuple[str, str, str], list[Row]]:
        """Return by way, variant and data the cheats in full that its check does not find."""
        found: dict[tuple[str, str, str], list[Row]] = {}
        for row in self.cheats:
            if row["behaviour"] == behaviour.name and row["strength"] == FULL:
                check = _of(row, behaviour)
                if check is None or not _found(check):
                    where = (way_of(row), row["variant"], row["data"])
                    found.setdefault(where, []).append(row)
        return dict(sorted(found.items()))

    @property
    def references(self) -> list[str]:
        """The kinds of references that auditors had."""
        return sorted({row["reference"] for row in self.cheats})

    def strengths(self, behaviour: Behaviour) -> list[float]:
        """Return the strengths that were simulated, the least first."""
        return sorted({r["strength"] for r in self.cheats if r["behaviour"] == behaviour.name})

    def variants(self, behaviour: Behaviour) -> list[str]:
        """Return the variants that were simulated, in the behaviour's own order."""
        known = (*behaviour.variants, *behaviour.model_variants)
        seen = {r["variant"] for r in self.cheats if r["behaviour"] == behaviour.name}
        return [variant for variant in dict.fromkeys(known) if variant in seen]

    def undecided(self, behaviour: Behaviour) -> Mapping[str, Rate]:
        """Return of honest owners whose check ran how many it passed, and left undecided."""
        found = [c for row in self.exact if (c := _of(row, behaviour)) is not None]
        return {
            name: rate(check["outcome"] == outcome for check in found)
            for name, outcome in (("passed", Outcome.PASS), ("undecided", Outcome.INCONCLUSIVE))
        }

    def curve(self, behaviour: Behaviour, way: str) -> tuple[Any, Any]:
        """Return false-alarm rate and power in full over all thresholds on the check's score.

        What did not run is below all.
        """
        bad = [
            check["score"] if check is not None else UNSUSPICIOUS
            for row in self.cheats
            if row["behaviour"] == behaviour.name and row["strength"] == FULL and way_of(row) == way
            for check in (_of(row, behaviour),)
        ]
        good = [
            check["score"]
            for row in self.exact
            if way_of(row) == way and (check := _of(row, behaviour)) is not None
        ]
        return roc(bad, good)

    def worlds_with_alarms(self) -> Rate:
        """Return in how many worlds any honest owner is accused: worlds are independent."""
        alarmed: dict[tuple[str, int], bool] = {}
        for row in self.exact:
            world = (row["data"], row["world"])
            accused = any(_accused(check) for check in row["checks"].values())
            alarmed[world] = alarmed.get(world, False) or accused
        return rate(alarmed.values())

    def not_had(self, behaviour: Behaviour, way: str) -> int:
        """Return how many cheats in full could not be had of their owner, or from its world."""
        return sum(
            row["behaviour"] == behaviour.name and row["strength"] == FULL and way_of(row) == way
            for row in self.refused
            if row["owner"] is not None
        )

    def of_methods(self) -> dict[str, dict[str, Rate]]:
        """Return by method whose erasure is not exact how many of its owners each check refutes."""
        names = dict.fromkeys(r["owner"] for r in self.honest if not KINDS[r["owner"]].exact)
        return {
            name: {
                b.name: rate(
                    _accused(check)
                    for row in self.honest
                    if row["owner"] == name and (check := _of(row, b)) is not None
                )
                for b in self.behaviours
            }
            for name in names
        }

    def targets(self) -> list[Target]:
        """Return the three kinds of targets with what was reached."""
        found = []
        for behaviour in self.behaviours:
            alarms = self.false_alarms(behaviour)
            if alarms.n:
                good = alarms.interval[1] <= MOST_FALSE_ALARMS
                found.append(Target(f"false alarms of {behaviour.name}", alarms, good))
            for way in self.ways(behaviour):
                power = self.power_where_stated(behaviour, way)
                good = power.interval[0] >= LEAST_POWER
                what = f"power of {behaviour.name} on {way}"
                found.append(Target(what, power, good, of_power=True))
        audits = self.false_audits()
        good = audits.interval[1] <= MOST_FALSE_AUDITS
        first = [Target("false alarms of an audit", audits, good)]
        worlds = self.worlds_with_alarms()
        good = worlds.interval[1] <= MOST_FALSE_AUDITS
        first.append(Target("worlds with any false alarm", worlds, good))
        return [*first, *found]

    def alarms_said(self, most: int = 20) -> list[str]:
        """Return what was said where an honest owner was accused, one line each."""
        lines = []
        for row in self.exact:
            for name, check in row["checks"].items():
                if _accused(check):
                    where = f"{row['data']} {row['world']} {row['owner']}"
                    lines.append(f"{where}: {name}: {check['reason']}")
        return lines[:most]

    def to_json(self) -> dict[str, Any]:
        """Return all rates as plain JSON values."""
        return {
            **self.header,
            "honest": {
                "asserting_what_is_true": len(self.exact),
                "by_other_methods": len(self.honest) - len(self.exact),
                "could_not_be_had": len([r for r in self.refused if r["behaviour"] is None]),
            },
            "audit": self._by_data(self.false_audits),
            "worlds_with_false_alarms": self.worlds_with_alarms().to_json(),
            "checks": {b.id: self._check_json(b) for b in self.behaviours},
            "methods": {
                method: {name: found.to_json() for name, found in rates.items() if found.n}
                for method, rates in self.of_methods().items()
            },
            "targets": [target.to_json() for target in self.targets()],
            "false_alarms_said": self.alarms_said(),
        }

    def quoted(self) -> dict[str, Any]:
        """Return by kind of submission and behaviour the rates that a report quotes.

        Of each hits, n and the ends of the interval; what was not tried is left out.
        """
        data = f"simulated on {', '.join(self.data)}, in full"
        found: dict[str, Any] = {}
        for way, kind in zip(WAYS, (PatchSubmission.KIND, UnlearnedSubmission.KIND), strict=True):
            found[kind] = {}
            for b in self.behaviours:
                rates = {
                    "false_alarm": self.false_alarms(b, way=way),
                    "power": self.power(b, way=way),
                }
                shown = {name: [r.hits, r.n, *r.interval] for name, r in rates.items() if r.n}
                if shown:
                    found[kind][b.name] = {**shown, "data": data}
        return found

    def _check_json(self, behaviour: Behaviour) -> dict[str, Any]:
        return {
            "false_alarms": self._by_data(lambda d: self.false_alarms(behaviour, d)),
            "honest": {name: r.to_json() for name, r in self.undecided(behaviour).items()},
            "power": {
                way: self._by_data(lambda d, w=way: self.power(behaviour, data=d, way=w))  # type: ignore[misc]
                for way in self.ways(behaviour)
            },
            "could_not_be_had": {way: self.not_had(behaviour, way) for way in self.ways(behaviour)},
            "power_where_stated": {
                way: self.power_where_stated(behaviour, way).to_json()
                for way in self.ways(behaviour)
            },
            "by_reference": {
                kind: {
                    way: self.power(behaviour, way=way, reference=kind).to_json()
                    for way in self.ways(behaviour)
                }
                for kind in self.references
            },
            "by_strength": {
                f"{s:g}": self.power(behaviour, s).to_json() for s in self.strengths(behaviour)
            },
            "by_variant": {
                v: self._by_data(lambda d, v=v: self.power(behaviour, FULL, d, v))  # type: ignore[misc]
                for v in self.variants(behaviour)
            },
        }

    def _by_data(self, measure: Callable[[str | None], Rate]) -> dict[str, Any]:
        whole = {"all": measure(None).to_json()}
        return whole | {name: measure(name).to_json() for name in self.data}


def way_of(row: Row) -> str:
    """Return what the owner of a trial hands over."""
    return WAYS[0] if KINDS[row["owner"]].patch else WAYS[1]


def _of(row: Row, behaviour: Behaviour) -> Mapping[str, Any] | None:
    """Return what the check for a behaviour found of a trial, None where it did not run."""
    check: Mapping[str, Any] | None = row["checks"].get(behaviour.id)
    return check


def _found(check: Mapping[str, Any]) -> bool:
    """Whether a check accuses, and would in an audit of all, whatever the other p-values are.

    By the bound of Bonferroni, which Holm's adjustment never falls short of.
    """
    return _accused(check) and check["score"] >= -math.log10(IN_AUDIT)


def _accused(check: Mapping[str, Any]) -> bool:
    return bool(check["outcome"] == Outcome.FAIL and not check.get("limitation"))
