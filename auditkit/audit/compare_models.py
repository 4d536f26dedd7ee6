"""Two networks unlearned from one original: the owner's, and the auditor's own or recomputed one.

A method that trains gives another network with every seed, and in other hands. Equal weights say
that the stated method gave the owner's network; different ones say nothing, unless the owner's
answers at the forgotten records lie further off than another seed explains.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from auditkit.audit.unlearn_again import cannot_unlearn_again, unlearn_again, unusual_settings
from auditkit.certificate.claim import StatedMethod
from auditkit.certificate.history import active_records, request_faults
from auditkit.certificate.identity import record_digests
from auditkit.certificate.intervals import share_interval
from auditkit.certificate.judge_files import binding
from auditkit.certificate.submission import UnlearnedSubmission
from auditkit.certificate.unlearned_submission import delivered_digest
from auditkit.errors import UsageError
from auditkit.network.digest import semantic_digest
from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.records import Records
from auditkit.results import CheckResult, Outcome, Result, Severity, not_run, shown

if TYPE_CHECKING:
    from auditkit.unlearning.interface import UnlearnedModel

F64 = NDArray[np.float64]

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "compare.gates": "The same gates as the request calls for",
        "compare.specification": "The same method, scenario and request",
        "compare.weights": "The network that the stated method gives",
        "compare.outputs": "Difference of the unlearned networks at records",
    }
)
SEEDS = 4  # networks that are made again: with the stated seed, and with others
FURTHER = 0.05  # total variation in the mean, by which the owner's must lie further off than any
NEEDS_RECORDS = "the forgotten records are withheld: give them with --forget"


@dataclass(frozen=True, eq=False)
class Other:
    """What the owner's network is compared with.

    `network` was made by `method`; `same_request` says whether for the same records, None where
    that is not known. Where it was recomputed, `again` are the same with other seeds, and `weak`
    says why its settings may do little, empty when they are the method's own and met its goal.
    """

    network: Network
    method: StatedMethod
    same_request: bool | None
    again: tuple[Network, ...] = ()
    weak: str = ""


def compare_models(
    owner: UnlearnedSubmission,
    other: Other,
    *,
    forget: Records | None,
    retain: Records | None,
    columns: tuple[str, str],
) -> Result:
    """Return what is judged and what is shown of two unlearned networks of one original."""
    digests = [owner.unlearned_digest, delivered_digest(other.network, owner.domain)]
    groups = {"forgotten": forget, "retained": retain}
    given = {name: records for name, records in groups.items() if records is not None}
    with np.errstate(all="ignore"):
        apart = {
            name: _Apart.of(owner.unlearned, other.network, records)
            for name, records in given.items()
        }
        checks = (
            not_run(
                "compare.gates", TITLES["compare.gates"], "unlearned networks have no gates",
                required=False,
            ),
            _specification(owner, other),
            _weights(owner, other, forget, digests),
            _outputs(apart),
        )  # fmt: skip
    methods = [owner.claim.method, other.method]
    rows = [
        _row("Method", [m.name for m in methods]),
        _row("Scenario", [m.scenario for m in methods]),
        _row("Seed", [m.seed for m in methods]),
        *(_row(f"Outputs at {name} records", [None, None], a.told) for name, a in apart.items()),
        _row("Digest of the unlearned network", digests),
    ]
    sentence = "; ".join(c.reason for c in checks[1:3]) + "."
    sentence = sentence[0].upper() + sentence[1:]
    return Result(checks, {"columns": list(columns), "rows": rows, "sentence": sentence})


def compare_with_submission(
    owner: UnlearnedSubmission,
    auditor: UnlearnedSubmission,
    *,
    forget: Records | None,
    retain: Records | None,
) -> Result:
    """Compare with a submission of the auditor's; UsageError when it is for another network."""
    if semantic_digest(owner.network) != semantic_digest(auditor.network):
        raise UsageError(
            str(auditor.directory),
            expected="a submission for the owner's network",
            found="one for another network (semantic digests differ)",
            remedy="unlearn the same model, or have it recomputed",
        )
    records = next((r for r in (forget, auditor.forget, owner.forget) if r is not None), None)
    other = Other(auditor.unlearned, auditor.claim.method, _same_request(owner, auditor, forget))
    return compare_models(owner, other, forget=records, retain=retain, columns=("owner", "auditor"))


def recompute_and_compare(
    owner: UnlearnedSubmission,
    forget: Records | None,
    retain: Records | None,
    holdout: Records | None,
    *,
    order_seed: int | None = None,
) -> Result:
    """Unlearn the original again as the claim says, with its seed and with others, and compare.

    With `order_seed`, that the auditor gave for first weights and order of a retraining, in place
    of the claim's seed. Not run where the method cannot be carried out. Raises UsageError when it
    lacks records, or is no retraining and an order was given.
    """
    from auditkit.unlearning.interface import Refused

    method = owner.claim.method
    if order_seed is not None and method.name != "retrain":
        raise UsageError(
            "--order-seed",
            expected="a claim of retraining, whose order it is",
            found=f"one of {method.name[:60]}",
            remedy="leave it out",
        )
    if forget is None:
        return _nothing_compared(NEEDS_RECORDS)
    if why := cannot_unlearn_again(method):
        return _nothing_compared(why)

    def made(number: int) -> UnlearnedModel:
        order = None if order_seed is None else (order_seed + number) % (1 << 32)
        return unlearn_again(
            method, owner.network, forget, retain, holdout, method.seed + number, order_seed=order
        )

    try:
        first = made(0)
        if first.network is None:
            return _nothing_compared("the stated method gives a patch and no network")
        again = [
            made(number).network
            for number in range(1, SEEDS)
            # of equal weights other seeds say nothing more
            if delivered_digest(first.network, owner.domain) != owner.unlearned_digest
        ]
    except Refused as refusal:
        raise UsageError(
            "compare --recompute",
            expected="what the stated method takes",
            found=str(refusal),
            remedy="give the records as they were given to the owner's method",
        ) from refusal
    except ValueError as error:
        return _nothing_compared(f"the stated method gave no network: {error}")
    unusual = ", ".join(unusual_settings(method))
    weak = (unusual and f"it states {unusual}", first.unlearned.shortfall)
    other = Other(
        first.network,
        method,
        {Outcome.PASS: True, Outcome.FAIL: False}.get(_bound(owner, forget)),
        tuple(network for network in again if network is not None),
        "; ".join(part for part in weak if part),
    )
    return compare_models(
        owner, other, forget=forget, retain=retain, columns=("owner", "recomputed")
    )


def _nothing_compared(why: str) -> Result:
    return Result(tuple(not_run(name, title, why) for name, title in TITLES.items()))


@dataclass(frozen=True, eq=False)
class _Apart:
    """How far two networks are apart at records: labels that agree, total variation [N]."""

    alike: int
    variation: F64

    @staticmethod
    def of(one: Network, other: Network, records: Records) -> _Apart:
        a, b = (
            softmax(logits(n, records.x.astype(n.dtype)).astype(np.float64), axis=1)
            for n in (one, other)
        )
        variation = np.asarray(np.abs(a - b).sum(axis=1) / 2, dtype=np.float64)
        return _Apart(int((a.argmax(axis=1) == b.argmax(axis=1)).sum()), variation)

    @property
    def told(self) -> str:
        n = len(self.variation)
        return (
            f"{self.alike} of {n} labels agree; total variation {self.variation.mean():.3g} "
            "in the mean"
        )

    def figures(self) -> dict[str, Any]:
        n = len(self.variation)
        finite = bool(np.isfinite(self.variation).all())
        total = float(np.clip(self.variation, 0, 1).sum()) if finite else None
        return {
            "n": n,
            "labels_agree": self.alike / n,
            "labels_agree_interval": share_interval(self.alike, n),
            "total_variation": None if total is None else total / n,
            "total_variation_interval": None if total is None else share_interval(total, n),
        }


def _specification(owner: UnlearnedSubmission, other: Other) -> CheckResult:
    name, mine, theirs = "compare.specification", owner.claim.method, other.method
    pairs = (
        ("method", mine.name, theirs.name),
        ("scenario", mine.scenario, theirs.scenario),
    )
    different = [what for what, a, b in pairs if a != b]
    if other.same_request is False:
        different.append("request")
    if different:
        told = f"the two were made otherwise: another {', another '.join(different)}"
        return CheckResult(name, TITLES[name], Outcome.FAIL, told)
    if other.same_request is None:
        told = "the same method and scenario; whether the same records were asked for is not known"
        return CheckResult(name, TITLES[name], Outcome.INCONCLUSIVE, told)
    told = "the same method, scenario and request, as the owner states them"
    if dict(mine.settings) != dict(theirs.settings):
        told += "; the settings differ"
    return CheckResult(name, TITLES[name], Outcome.PASS, told)


def _weights(
    owner: UnlearnedSubmission, other: Other, forget: Records | None, digests: Sequence[str]
) -> CheckResult:
    """Equal weights are the same network; of others only answers that are far off say anything."""
    name = "compare.weights"
    if digests[0] == digests[1]:
        told = "the weights are equal, bit for bit"
        if other.weak:
            told += f"; whether what was stated does enough is open: {other.weak}"
        outcome = Outcome.INCONCLUSIVE if other.weak else Outcome.PASS
        return CheckResult(name, TITLES[name], outcome, told)
    told = "the weights differ, as those of two honest runs may"
    figures: dict[str, Any] = {"severity": Severity.LIMITATION}
    if not other.again or forget is None:
        return CheckResult(name, TITLES[name], Outcome.INCONCLUSIVE, told, **figures)
    made = (other.network, *other.again)
    mine = [float(_Apart.of(owner.unlearned, m, forget).variation.mean()) for m in made]
    among = np.zeros((len(made), len(made)))
    for i, j in itertools.combinations(range(len(made)), 2):
        among[i, j] = among[j, i] = _Apart.of(made[i], made[j], forget).variation.mean()
    far, usual = float(np.mean(mine)), float(among.sum(axis=1).max() / (len(made) - 1))
    if not np.isfinite([far, usual]).all():
        told += "; a network answers forgotten records with nan or infinity"
        return CheckResult(name, TITLES[name], Outcome.INCONCLUSIVE, told, **figures)
    figures |= {
        "observed": far - usual,
        "threshold": FURTHER,
        "n": len(forget),
        "evidence": {"owner": far, "furthest_seed": usual, "seeds": len(made)},
    }
    told += (
        f"; at the forgotten records the owner's lies {far:.3g} off in total variation, the "
        f"furthest of {len(made)} seeds {usual:.3g}"
    )
    further = far > usual + FURTHER
    if further:
        told += ": more than seeds explain, though other data or another implementation might"
    outcome = Outcome.FAIL if further else Outcome.INCONCLUSIVE
    return CheckResult(name, TITLES[name], outcome, told, **figures)


def _outputs(apart: Mapping[str, _Apart]) -> CheckResult:
    name = "compare.outputs"
    if not apart:
        return not_run(name, TITLES[name], NEEDS_RECORDS, required=False, severity=Severity.INFO)
    told = "; ".join(f"{group}: {a.told}" for group, a in apart.items())
    evidence = {group: a.figures() for group, a in apart.items()}
    return shown(name, TITLES[name], told, evidence=evidence)


def _bound(side: UnlearnedSubmission, forget: Records | None) -> Outcome:
    """Return whether files, records and the claim's list of requests hang together."""
    return binding(side, forget, "claim", request_faults(side.requests)).outcome


def _same_request(
    owner: UnlearnedSubmission, auditor: UnlearnedSubmission, forget: Records | None
) -> bool | None:
    """Return whether both claims are about the same records; None where that cannot be known.

    What a submission holds as forgotten records counts as far as its claim's keyed digests say the
    same.
    """
    bound = [_bound(side, forget) for side in (owner, auditor)]
    if Outcome.FAIL in bound:
        return False
    asked = [frozenset(active_records(side.requests)) for side in (owner, auditor)]
    if asked[0] == asked[1]:
        return True
    if Outcome.INCONCLUSIVE in bound:
        return None
    if forget is not None:  # both are bound to it
        return True
    if owner.forget is None or auditor.forget is None:
        return None
    one, other = (set(record_digests(s.forget, b"equal")) for s in (owner, auditor) if s.forget)
    return one == other


def _row(name: str, values: Sequence[Any], note: str | None = None) -> dict[str, Any]:
    return {"name": name, "values": list(values), "note": note}
