"""An output filter and a substituted model, at an endpoint, in a file, and by queries alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditkit.certificate.submission import PatchSubmission, Submission
from auditkit.endpoint.answers import Kind
from auditkit.endpoint.plan import Group
from auditkit.endpoint.service import Service, of_function
from auditkit.network import linear
from auditkit.results import CheckResult, Outcome, Severity
from auditkit.second_opinion import run_onnx
from auditkit.threats import output_filter, substitution
from auditkit.threats.evidence import Evidence
from auditkit.threats.interface import Owner
from auditkit.threats.references import answering
from auditkit.threats.registry import BEHAVIOURS, run_withheld
from auditkit.threats.serving import rounding, with_session
from tests.threats.conftest import Make

Gather = Callable[[Submission], Evidence]
ANSWERS = [(Kind.LOGITS, None), (Kind.LOGITS, 1), (Kind.PROBABILITIES, 3), (Kind.LABELS, None)]


def service(submission: Submission, kind: Kind = Kind.LOGITS, digits: int | None = None) -> Service:
    """An honest one, which runs the delivered file itself where there is a patch."""

    def answer(x: np.ndarray) -> np.ndarray:
        if isinstance(submission, PatchSubmission):
            return run_onnx(submission.exported, x, "patched.onnx")
        return submission.delivered(x)

    return Service(of_function(answer), submission.network.input_shape, kind, digits)


def both(submission: Submission, known: Evidence, seed: int = 0) -> list[CheckResult]:
    return [m.detect(submission, known, seed=seed) for m in (output_filter, substitution)]


@pytest.mark.parametrize(("kind", "places"), ANSWERS)
@pytest.mark.parametrize("spec", ["redirect", "reference", "neutralise"])
def test_an_honest_service_is_not_accused(
    spec: str, kind: Kind, places: int | None, make: Make, evidence: Gather
) -> None:
    for seed in (1, 2):
        honest = make(spec, seed=seed)
        known = with_session(service(honest, kind, places), honest, evidence(honest), seed=seed)
        checks = both(honest, known, seed)
        assert all(check.outcome is not Outcome.FAIL for check in checks), checks
        if spec == "redirect":
            # labels alone do not show that weights have drifted
            last = Outcome.INCONCLUSIVE if kind is Kind.LABELS else Outcome.PASS
            assert [check.outcome for check in checks] == [Outcome.PASS, last]
        for module in (output_filter, substitution):
            alone = module.detect_served(known, seed=seed)
            assert alone.outcome is not Outcome.PASS, "what was committed to is not known"
            assert alone.outcome is not Outcome.FAIL or alone.severity is Severity.LIMITATION


def cut(values: np.ndarray, bits: int) -> np.ndarray:
    """Round float32 to a mantissa of fewer bits by its bytes, not as the product does."""
    unit = 1 << (23 - bits)
    whole = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.int64)
    return ((whole + unit // 2) // unit * unit).astype(np.uint32).view(np.float32)


def in_coarse_floats(answer: Callable[[np.ndarray], np.ndarray], bits: int) -> Callable[..., Any]:
    """Run what answers with both operands of each layer rounded, between layers, too."""
    product = linear._product

    def coarse(x: np.ndarray) -> np.ndarray:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(linear, "_product", lambda a, b: product(cut(a, bits), cut(b, bits)))
            return answer(x)

    return coarse


@pytest.mark.parametrize(("kind", "places"), ANSWERS)
@pytest.mark.parametrize("bits", [10, 7], ids=["TF32", "bfloat16"])
@pytest.mark.parametrize("spec", ["redirect", "reference"])
def test_an_honest_service_in_coarser_floats_is_not_accused(
    spec: str, bits: int, kind: Kind, places: int | None, make: Make, evidence: Gather
) -> None:
    honest = make(spec)
    coarse = of_function(in_coarse_floats(honest.delivered, bits))
    served = Service(coarse, (64,), kind, places)
    known = with_session(served, honest, evidence(honest), seed=0)
    check = substitution.detect(honest, known, seed=0)
    assert check.outcome is not Outcome.FAIL, check.reason
    if kind is Kind.LOGITS and places is None:
        assert check.outcome is Outcome.INCONCLUSIVE and "coarser floats" in check.reason
        assert check.evidence["disagree"] > 1000, "float32 alone does not explain it"
    assert substitution.detect_served(known, seed=0).outcome is not Outcome.FAIL


def test_the_original_in_coarser_floats_is_found(make: Make, evidence: Gather) -> None:
    honest = make("redirect")
    old = in_coarse_floats(answering(honest.network), 10)
    known = with_session(Service(of_function(old), (64,)), honest, evidence(honest), seed=0)
    check = substitution.detect(honest, known, seed=0)
    assert check.outcome is Outcome.FAIL
    assert 0 < check.evidence["disagree_beyond_coarse_floats"] < check.evidence["disagree"]


@pytest.mark.parametrize("last", [False, True], ids=["always", "after the first round"])
@pytest.mark.parametrize("other", ["drift", "the original"])
def test_a_small_change_is_told_from_floats_by_its_pattern(
    other: str, last: bool, make: Make, evidence: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = make("redirect")
    moved = answering(substitution.drifted(honest.network, 0.002, 1))
    unmoved = answering(honest.network)

    def answer(x: np.ndarray, elapsed: np.ndarray) -> np.ndarray:
        old = (elapsed >= 0.5)[:, None] if last else True
        return honest.delivered(x) + np.where(old, moved(x) - unmoved(x), 0.0)

    if other == "the original":  # all but what was delivered: an unlearning that moved little
        monkeypatch.setattr(
            substitution, "answering", lambda net: lambda x: answer(x, np.ones(len(x)))
        )
    known = with_session(Service(answer, (64,)), honest, evidence(honest), seed=0)
    check = substitution.detect(honest, known, seed=0)
    assert check.evidence["disagree_beyond_coarse_floats"] == 0
    if other == "the original" or last:
        assert check.outcome is Outcome.FAIL, check.reason
        assert "p_refute" not in check.evidence
    else:
        assert check.outcome is Outcome.INCONCLUSIVE and "small drift" in check.reason
    assert ("exchanged" in check.reason) == last


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("whose", ["committed", "the original"])
def test_rows_that_are_not_finite_count_for_nothing(
    whose: str, kind: Kind, make: Make, evidence: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = make("redirect")
    known = with_session(service(honest, kind), honest, evidence(honest), seed=0)
    assert substitution.detect(honest, known, seed=0).evidence["disagree"] == 0
    delivered, first = type(honest).delivered, answering(honest.network)
    if whose == "committed":  # where the two differ, and nowhere else

        def partly(self: PatchSubmission, x: np.ndarray) -> np.ndarray:
            out = delivered(self, x)
            return np.where((np.abs(out - first(x)) > 1e-3).any(axis=1)[:, None], np.nan, out)

        monkeypatch.setattr(type(honest), "delivered", partly)
    else:

        def overflows(x: np.ndarray) -> np.ndarray:
            out = first(x)
            out[:, 0] = np.inf
            return out

        monkeypatch.setattr(substitution, "answering", lambda network: overflows)
    check = substitution.detect(honest, known, seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE, check.reason
    assert check.evidence["tell_apart"] == 0 and check.n is not None
    assert f"all {check.n} answers that can be compared" in check.reason
    assert (check.n < 2000) == (whose == "committed")
    if whose == "committed":
        assert output_filter.detect(honest, known, seed=0).outcome is not Outcome.PASS


def test_withheld_records_are_not_an_endpoint_that_nobody_planned(make: Make) -> None:
    check = substitution.detect(replace(make("redirect"), forget=None), Evidence(), seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE and check.required
    assert "withheld" in check.reason and "no endpoint was asked" not in check.reason
    assert substitution.detect_served(Evidence(), seed=0).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("variant", output_filter.VARIANTS)
@pytest.mark.parametrize(("kind", "places"), ANSWERS)
def test_a_filter_at_the_endpoint_is_found(
    variant: str, kind: Kind, places: int | None, make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    owner = Owner(honest, service=service(honest, kind, places))
    cheat = output_filter.simulate(owner, tmp_path, seed=1, variant=variant)
    known = with_session(cheat.service, honest, evidence(honest), seed=0)
    filtered, substituted = both(honest, known)
    assert filtered.outcome is Outcome.FAIL and filtered.severity is Severity.FAILURE
    assert filtered.evidence["p_refute"] <= 0.001
    assert substituted.outcome is Outcome.FAIL, "the original is served everywhere else"
    # the witness is beside a requested record and is answered as the original does
    near = np.array(filtered.private["neighbour"], np.float32)
    assert np.abs(honest.forget.x - near).max(axis=1).min() <= filtered.private["radius"] + 1e-7


def test_a_filter_on_few_records_is_neither_found_nor_ruled_out(make: Make, evidence: Gather):
    honest = make("redirect")
    owner = Owner(honest, service=service(honest))
    cheat = output_filter.simulate(owner, Path(), seed=1, strength=0.05, variant="exact")
    known = with_session(cheat.service, honest, evidence(honest), seed=0)
    check = output_filter.detect(honest, known, seed=0)
    assert check.evidence["jumps"] == 1
    assert check.outcome is not Outcome.FAIL
    assert check.evidence["power"] == 0
    assert "jumps at all 1 records at which a filter shows would not be found" in check.reason
    assert "chance of" not in check.reason, "it is not a probability"


def test_a_patch_sold_as_erasure_is_a_filter(make: Make, evidence: Gather) -> None:
    honest = make("redirect", records=24)
    known = replace(evidence(honest), assertion="erased")
    wide = output_filter.detect(honest, known, seed=0)
    assert wide.outcome is Outcome.FAIL and wide.severity is Severity.FAILURE
    assert output_filter.detect(honest, evidence(honest), seed=0).outcome is Outcome.PASS


@pytest.mark.parametrize("variant", substitution.VARIANTS)
@pytest.mark.parametrize(("kind", "places"), ANSWERS)
def test_another_model_is_found(
    variant: str, kind: Kind, places: int | None, make: Make, evidence: Gather, tmp_path: Path
) -> None:
    honest = make("redirect")
    owner = Owner(honest, service=service(honest, kind, places))
    cheat = substitution.simulate(owner, tmp_path, seed=1, variant=variant)
    known = with_session(cheat.service, honest, evidence(honest), seed=0)
    check = substitution.detect(honest, known, seed=0)
    if variant == "drift" and kind is Kind.LABELS:
        told = "labels tell nothing" in check.reason or "small drift" in check.reason
        assert told or check.outcome is Outcome.FAIL
        return
    assert check.outcome is Outcome.FAIL, check.reason
    assert "p_refute" not in check.evidence, "certain"
    witness = np.array(check.private["input"], np.float32)[None]
    said, committed = np.array(check.private["answered"]), check.private["committed"]
    assert np.allclose(honest.delivered(witness)[0], committed, atol=1e-6)
    if kind is Kind.LOGITS:
        assert np.abs(said - committed).max() > 10.0 ** -(places or 4)


@pytest.mark.parametrize("variant", ["rollback", "deferred"])
def test_an_exchange_shows_by_queries_alone(variant: str, make: Make, evidence: Gather) -> None:
    honest = make("redirect")
    owner = Owner(honest, service=service(honest, Kind.PROBABILITIES, 3))
    cheat = substitution.simulate(owner, Path(), seed=1, variant=variant)
    known = with_session(cheat.service, honest, evidence(honest), seed=0)
    check = substitution.detect_served(known, seed=0)
    assert check.outcome is Outcome.FAIL and check.evidence["p_refute"] <= 0.001


def test_answers_that_always_vary_are_no_exchange(make: Make, evidence: Gather) -> None:
    """The level of the sign test: a service that adds noise to each answer, 200 sessions."""
    honest = make("redirect")
    noise = np.random.default_rng(0)

    def answer(x: np.ndarray, elapsed: np.ndarray) -> np.ndarray:
        return noise.normal(size=(len(x), 10))

    noisy = Service(answer, honest.network.input_shape)
    ps = [
        substitution.rounds_differ(
            with_session(noisy, honest, evidence(honest), budget=400, seed=seed).served  # type: ignore[arg-type]
        )[0]
        for seed in range(200)
    ]
    assert np.mean(np.array(ps) <= 0.05) <= 0.1
    assert min(ps) > 1e-5


def test_one_label_for_everything_is_not_the_network_s(make: Make, evidence: Gather) -> None:
    honest = make("redirect")
    constant = Service(of_function(lambda x: np.zeros((len(x), 10))), (64,), Kind.LABELS)
    known = with_session(constant, honest, evidence(honest), seed=0)
    assert substitution.detect(honest, known, seed=0).outcome is Outcome.FAIL


def test_where_both_networks_agree_nothing_is_told(
    make: Make, evidence: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = make("redirect")
    known = with_session(service(honest), honest, evidence(honest), seed=0)
    # an original that is the delivered network
    monkeypatch.setattr(substitution, "answering", lambda network: honest.delivered)
    check = substitution.detect(honest, known, seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE and "it takes answers" in check.reason


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: np.full((len(x), 10), np.nan),
        lambda x: np.full((len(x), 10), np.inf),
        lambda x: np.full((len(x), 10), 1e308),
        lambda x: np.zeros((len(x), 3)),
        lambda x: np.where(np.arange(len(x))[:, None] % 2, np.nan, np.zeros((len(x), 10))),
    ],
    ids=["nan", "infinity", "huge", "three classes", "half"],
)
def test_nonsense_is_no_traceback(answer, make: Make, evidence: Gather) -> None:
    honest = make("redirect")
    for kind in Kind:
        strange = Service(of_function(answer), (64,), kind)
        known = with_session(strange, honest, evidence(honest), seed=0)
        for check in both(honest, known):
            assert check.outcome is not Outcome.PASS
        for check in run_withheld(known, [], 0):
            assert check.outcome is not Outcome.PASS


def test_a_session_about_other_records_decides_nothing(make: Make, evidence: Gather) -> None:
    honest, other = make("redirect"), make("redirect", seed=3)
    known = with_session(service(other), other, evidence(other), seed=0)
    moved = replace(evidence(honest), served=known.served)
    for check in both(honest, moved):
        assert check.outcome is Outcome.INCONCLUSIVE and "other records" in check.reason


def test_without_an_endpoint_and_without_weights(make: Make, evidence: Gather) -> None:
    honest = make("redirect")
    check = substitution.detect(honest, evidence(honest), seed=0)
    assert check.outcome is Outcome.NOT_RUN and not check.required
    known = with_session(service(honest), honest, evidence(honest), seed=0)
    checks = {c.id: c for c in run_withheld(known, [], 0)}
    assert set(checks) == {behaviour.id for behaviour in BEHAVIOURS}
    for name, check in checks.items():
        if name not in ("threats.output-filter", "threats.substitution"):
            assert check.outcome is Outcome.NOT_RUN and not check.required
            assert "withheld" in check.reason


def test_the_p_value_is_fisher_s(make: Make, evidence: Gather) -> None:
    honest = make("redirect")
    owner = Owner(honest, service=service(honest))
    cheat = output_filter.simulate(owner, Path(), seed=1, strength=0.2, variant="exact")
    known = with_session(cheat.service, honest, evidence(honest), seed=0)
    check = output_filter.detect(honest, known, seed=0)
    k, n, m = (check.evidence["jumps"], check.n, check.evidence["others"])
    assert check.evidence["others_jumps"] == 0 and n is not None
    assert check.evidence["p_refute"] == pytest.approx(comb(n, k) / comb(n + m, k))


@pytest.mark.parametrize("places", [0, 1, 3, 6])
def test_rounding_is_read_off_the_answers(places: int) -> None:
    values = np.random.default_rng(0).normal(scale=10, size=(200, 5))
    assert (np.abs(np.round(values, places) - values) <= rounding(np.round(values, places))).all()
    assert rounding(np.round(values, places)).max() < 11 * 10.0**-places
    cut = np.trunc(values * 10**places) / 10**places
    assert (np.abs(cut - values) <= rounding(cut) * (1 + 1e-9)).all(), "or cut off"
    three = np.array([[float(f"{v:.3g}") for v in row] for row in values])
    assert (np.abs(three - values) <= rounding(three)).all()
    assert rounding(values).max() == 0


@pytest.mark.parametrize("unit", [1 / 255, 0.05, 1 / 3])
@pytest.mark.parametrize("whole", [np.round, np.floor])
def test_answers_on_any_grid_are_taken_for_rounded(unit: float, whole: Any) -> None:
    values = np.random.default_rng(1).dirichlet(np.ones(5), size=300)
    served = whole(values / unit) * unit
    assert (np.abs(served - values) <= rounding(served) * (1 + 1e-6)).all()
    assert rounding(served).max() == pytest.approx(unit)
    assert rounding(served.astype(np.float32).astype(np.float64)).max() == pytest.approx(unit)
    assert rounding(values.astype(np.float32).astype(np.float64)).max() == 0


def test_latency_alone_never_accuses(make: Make, evidence: Gather) -> None:
    honest = make("redirect")
    listed = {row.tobytes() for row in honest.forget.x}

    def seconds(x: np.ndarray) -> np.ndarray:
        return np.array([0.01 if row.tobytes() in listed else 0.001 for row in x])

    slow = replace(service(honest), seconds=seconds)
    known = with_session(slow, honest, evidence(honest), seed=0)
    check = output_filter.detect(honest, known, seed=0)
    assert check.evidence["latency_p"] < 1e-6
    assert check.outcome is Outcome.PASS and "proves nothing" in check.reason
    assert known.served is not None and known.served.of(Group.FORGOTTEN).any()
