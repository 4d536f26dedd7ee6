"""Hold what the checker says of claims against the exact oracle and against floats that ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from auditkit.certificate.check import Claims, Findings, Verdict, check_claims
from auditkit.network.evaluate import evaluate
from auditkit.network.graph import Network
from auditkit.network.write_onnx import network_to_onnx
from auditkit.patch.export import patched_to_onnx
from auditkit.patch.gates import Patch
from auditkit.patch.patched import PatchedNetwork
from tests.network.onnx_models import run
from tests.oracle.exact import (
    ClaimedSet,
    ExactNetwork,
    Numbers,
    exact,
    holds,
    in_region,
    patched,
    shortfall,
    violations,
)

RANDOM_POINTS = 2

Checker = Callable[[Network, Patch, Claims, float, float], Findings]
"""What is judged: `check_claims`, or a variant of it that takes more (proofs, exact arithmetic)."""


@dataclass
class Tally:
    """How many claims there were, and what became of those that are true."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, true: bool, verdict: int) -> None:
        self.counts[what] += 1
        if true:
            self.counts[f"{what} true"] += 1
            self.counts[f"{what} true unproved"] += verdict != Verdict.PROVED
        elif verdict == Verdict.REFUTED:
            self.counts[f"{what} refuted"] += 1

    def lines(self) -> list[str]:
        lines = []
        for what in ("support", "point", "region", "deployed"):
            true, missed = self.counts[f"{what} true"], self.counts[f"{what} true unproved"]
            lines.append(
                f"{what}: {self.counts[what]} claims, {true} true or not refuted by the oracle, "
                f"{missed} of them unproved ({missed / max(true, 1):.1%}), "
                f"{self.counts[f'{what} refuted']} refuted"
            )
        return lines


def examine(
    network: Network,
    patch: Patch,
    claims: Claims,
    rng: np.random.Generator,
    tally: Tally,
    *,
    domain: tuple[float, float] = (0.0, 1.0),
    onnx: bool = False,
    checker: Checker = check_claims,
) -> Findings:
    """Check claims, and assert that no verdict contradicts the oracle or the floats."""
    findings = checker(network, patch, claims, *domain)
    oracle = ExactNetwork(network)
    worst = [
        _examine_one(network, patch, oracle, claims, findings, row, rng, tally, domain, onnx)
        for row in range(len(claims))
    ]
    _sharpen(network, patch, claims, worst, tally, domain, checker)
    return findings


def _sharpen(
    network: Network,
    patch: Patch,
    claims: Claims,
    worst: list[dict[str, Fraction]],
    tally: Tally,
    domain: tuple[float, float],
    checker: Checker,
) -> None:
    """Claim again, one float more than what was measured at the worst point: never proved."""
    rows, margins, kinds = [], [], []
    for row, measured in enumerate(worst):
        for kind, value in measured.items():
            margin = beyond(value, int(claims.target[row]))
            if margin > 0 and np.isfinite(margin):
                rows.append(row)
                margins.append(margin)
                kinds.append(kind)
    if not rows:
        return
    sharper = replace(claims.take(np.array(rows, np.int64)), margin=np.array(margins))
    findings = checker(network, patch, sharper, *domain)
    for place, kind in enumerate(kinds):
        assert getattr(findings, kind)[place] != Verdict.PROVED, f"{kind}: beyond the exact margin"
    tally.counts["sharpened claims"] += len(kinds)


def beyond(measured: Fraction, target: int) -> float:
    """Return the margin nearest to what was measured of which the claim is false."""
    try:
        margin = float(measured)
    except OverflowError:
        return np.inf
    while holds(measured, target, margin):
        margin = float(np.nextafter(margin, np.inf if target >= 0 else -np.inf))
    return margin


def _examine_one(
    network: Network,
    patch: Patch,
    oracle: ExactNetwork,
    claims: Claims,
    findings: Findings,
    row: int,
    rng: np.random.Generator,
    tally: Tally,
    domain: tuple[float, float],
    onnx: bool,
) -> dict[str, Fraction]:
    """Judge one claim; return the worst margin or deviation that was measured of each kind."""
    x = exact(claims.x[row])
    gate, target, margin = int(claims.gate[row]), int(claims.target[row]), claims.margin[row]
    bits = patch.table.patterns[gate]
    low, high = (Fraction(bound) for bound in domain)
    if not (claims.radius[row] > 0 and margin > 0 and all(low <= v <= high for v in x)):
        verdicts = (findings.point[row], findings.region[row], findings.deployed[row])
        assert set(verdicts) == {Verdict.UNPROVED}, "a verdict on a claim that says nothing"
        tally.counts["empty claims"] += 1
        return {}
    logits, units = oracle(x)

    # What is exactly true at the record.
    member = in_region(units, bits)
    verdict = findings.support[row]
    assert (verdict != Verdict.PROVED) or member, "support proved of a pattern not the record's"
    assert (verdict != Verdict.REFUTED) or not member, "support refuted of the record's own pattern"
    tally.add("support", member, verdict)
    v = violations(patch, units)
    others = [v[g] for g in range(len(v)) if patch.table.group[g] != patch.table.group[gate]]
    verdict = findings.gate_open[row]
    assert (verdict != Verdict.PROVED) or v[gate] == 0, "a gate proved open that is not"
    assert (verdict != Verdict.REFUTED) or v[gate] > 0 or 0 in others, "an open gate refuted"
    output = patched(patch, logits, units)
    worst = {"point": shortfall(patch, gate, target, output)}
    truth = holds(worst["point"], target, margin)
    verdict = findings.point[row]
    assert (verdict != Verdict.PROVED) or truth, "a false claim proved at the record"
    assert (verdict != Verdict.REFUTED) or not truth, "a true claim refuted at the record"
    tally.add("point", truth and v[gate] == 0, verdict)

    # The claimed set.
    region, deployed = findings.region[row], findings.deployed[row]
    assert deployed != Verdict.PROVED or region == Verdict.PROVED
    assert region != Verdict.REFUTED or (member and not truth), "a region refuted without a witness"
    if not member:
        assert region != Verdict.PROVED, "a region proved for a record outside it"
        return worst
    pieces = oracle.piece(bits)
    claimed = ClaimedSet.of(x, float(claims.radius[row]), domain, pieces[1], bits)
    points = [x, *_candidates(network, claimed, pieces[0], claims, target, rng)]
    measured = [worst["point"]]
    for y in points[1:]:
        f, z = oracle(y)
        assert in_region(z, bits) and claimed.contains(y), "the oracle left the claimed set"
        assert f == [_at(form, y) for form in pieces[0]], "the frozen piece is not the network"
        measured.append(shortfall(patch, gate, target, patched(patch, f, z)))
    worst["region"] = min(measured) if target >= 0 else max(measured)
    refuted = not holds(worst["region"], target, margin)
    assert region != Verdict.PROVED or not refuted, "a region proved that a point refutes"
    tally.add("region", not refuted, region)

    # The same points as floats.
    floats: Any = np.array([[float(c) for c in y] for y in points]).astype(network.dtype)
    inward = np.array([[float(c) for c in x]]) + 0.9990234375 * (
        floats.astype(np.float64) - np.array([[float(c) for c in x]])
    )
    floats = np.concatenate([floats, inward.astype(network.dtype)])
    near = [
        all(a <= c <= b for a, c, b in zip(claimed.lower, exact(y), claimed.upper, strict=True))
        for y in floats
    ]
    floats = floats[near].reshape(-1, *network.input_shape)
    with np.errstate(all="ignore"):
        ran: Any = evaluate(network, floats)
    for y, f_ran, z_ran in zip(floats, *ran, strict=True):
        f, u = oracle(exact(y))
        _within(f_ran, f, findings.error[row], "a logit")
        _within(z_ran, u, findings.unit_error[row], "a pre-activation")
    tally.counts["float points"] += len(floats)
    answers = []
    inside = np.array([claimed.contains(exact(y)) for y in floats])
    with np.errstate(all="ignore"):
        answers.append(PatchedNetwork(network, patch).logits(floats[inside]))
    if onnx and inside.any():
        for y, f_ran in zip(floats, run(network_to_onnx(network), floats), strict=True):
            _within(f_ran, oracle(exact(y))[0], findings.error[row], "a logit of onnxruntime")
        answers.append(run(patched_to_onnx(network, patch), floats[inside]))
        tally.counts["runs of onnxruntime"] += 1
    finite = all(bool(np.isfinite(answer).all()) for answer in answers)
    good = finite
    if finite:
        each = [shortfall(patch, gate, target, exact(v)) for answer in answers for v in answer]
        worst["deployed"] = min(each) if target >= 0 else max(each)
        good = holds(worst["deployed"], target, margin)
    assert deployed != Verdict.PROVED or good, "proved deployed, and floats that ran disagree"
    tally.add("deployed", good and not refuted, deployed)
    return worst


def _candidates(
    network: Network,
    claimed: ClaimedSet,
    forms: np.ndarray,
    claims: Claims,
    target: int,
    rng: np.random.Generator,
) -> list[Numbers]:
    """Return points of the claimed set where a claim is most likely to fail."""
    goals: list[Numbers] = []
    points: list[Numbers] = []
    for j in range(network.classes):
        objectives = [forms[j] - forms[target]] if target >= 0 else [forms[j], -forms[j]]
        for objective in objectives:
            if j == target or not any(objective[:-1]):
                continue
            corner = [
                high if slope > 0 else low if slope < 0 else v
                for slope, v, low, high in zip(
                    objective, claimed.x, claimed.lower, claimed.upper, strict=False
                )
            ]
            goals.append(corner)
            best = claimed.maximise(objective) if rng.random() < 0.5 else None
            if best is not None:
                points.append(best)
    # towards other records, where other gates may open
    goals += [exact(other) for other in claims.x[:3] if exact(other) != claimed.x]
    low = np.array([float(v) for v in claimed.lower])
    high = np.array([float(v) for v in claimed.upper])
    goals += [exact(low + rng.random(len(low)) * (high - low)) for _ in range(RANDOM_POINTS)]
    return points + [claimed.towards(goal) for goal in goals]


def _at(form: np.ndarray, y: Numbers) -> Fraction:
    return sum((a * b for a, b in zip(form, y, strict=False) if a), form[-1])


def _within(ran: np.ndarray, real: Numbers, error: float, what: str) -> None:
    if not np.isfinite(error):
        return
    for a, b in zip(ran, real, strict=True):
        assert np.isfinite(a), f"{what} overflowed where an error of {error:g} was promised"
        assert abs(Fraction(float(a)) - b) <= Fraction(float(error)), (
            f"{what} is off by {float(abs(Fraction(float(a)) - b)):g}, promised {error:g}"
        )
