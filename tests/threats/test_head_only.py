"""The head was changed alone: found however disguised, and nobody else is accused of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.submission import UnlearnedSubmission
from auditkit.network.evaluate import logits
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.records import Records, joined
from auditkit.results import Outcome, Severity
from auditkit.threats.evidence import Evidence
from auditkit.threats.head_only import (
    MODEL_VARIANTS,
    UNMOVED,
    _explained,
    _holds_more,
    detect,
    detect_model,
    simulate_model,
)
from auditkit.threats.references import ReferenceKind, References
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.scenario_files import dense_network
from auditkit.unlearning.training import Recipe, train_from_scratch
from tests.threats.conftest import Digits, Make
from tests.threats.trained_owner import submit
from tests.threats.unlearned_owner import Trained, trained, with_unlearned


@pytest.fixture(scope="module")
def case() -> Trained:
    return trained()


@pytest.fixture(scope="module")
def honest(case: Trained, tmp_path_factory: pytest.TempPathFactory) -> UnlearnedSubmission:
    return case.submit(tmp_path_factory.mktemp("s") / "s", case.retrained(5))


@pytest.mark.parametrize("variant", MODEL_VARIANTS)
def test_it_is_found_in_every_disguise(
    variant: str, case: Trained, honest: UnlearnedSubmission, tmp_path: Path
) -> None:
    cheat = simulate_model(case.owner(honest), tmp_path / "c", seed=3, variant=variant).submission
    assert isinstance(cheat, UnlearnedSubmission) and not cheat.problems
    assert cheat.unlearned_digest != cheat.network_digest
    check = detect_model(cheat, case.evidence(), seed=0)
    assert check.outcome is Outcome.FAIL and check.severity is Severity.FAILURE
    assert "p_refute" not in check.evidence, "it is certain"
    assert check.observed <= UNMOVED and check.evidence["restored_labels"] == 1.0


def test_a_class_whose_logit_is_lowered_is_found_in_the_features(tmp_path: Path) -> None:
    case = trained(1, label=3)
    honest = case.submit(tmp_path / "s", case.retrained(5))
    cheat = simulate_model(case.owner(honest), tmp_path / "c", seed=0, variant="bias").submission
    assert not (cheat.delivered(case.forget.x).argmax(axis=1) == 3).any()
    check = detect_model(cheat, case.evidence(), seed=0)
    assert check.outcome is Outcome.FAIL
    assert check.evidence["restored_labels"] > 0.95


def test_less_strength_moves_the_features_more(
    case: Trained, honest: UnlearnedSubmission, tmp_path: Path
) -> None:
    moved = []
    for strength in (1.0, 0.9, 0.5, 0.1):
        out = tmp_path / str(strength)
        cheat = simulate_model(case.owner(honest), out, seed=3, strength=strength, variant="refit")
        check = detect_model(cheat.submission, case.evidence(), seed=0)
        moved.append(check.observed)
        assert (check.outcome is Outcome.FAIL) == (check.observed <= UNMOVED)
    assert moved == sorted(moved) and moved[0] < 1e-10 and moved[-1] > UNMOVED


@pytest.mark.parametrize("method", ["scrub", "gradient-ascent", "certified-newton", "amnesiac"])
@pytest.mark.parametrize("size", [1, 80])
def test_methods_that_start_from_the_original_are_not_accused(
    method: str, size: int, case: Trained, honest: UnlearnedSubmission
) -> None:
    forget = case.forget.take(np.arange(size))
    history = None
    if method == "amnesiac":
        method = "random-labels"  # amnesiac without a log of the training
    made = unlearn(method, case.original, forget, case.retain, case.unseen, seed=2, history=history)
    assert made.network is not None
    known = Evidence(forget, case.retain, case.unseen)
    check = detect_model(with_unlearned(honest, made.network), known, seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE, check.reason
    assert check.observed > 3 * UNMOVED


def test_the_retrained_pass_with_references_alone(
    case: Trained, honest: UnlearnedSubmission, tmp_path: Path
) -> None:
    known = case.evidence(references=3)
    check = detect_model(honest, known, seed=0)
    assert check.outcome is Outcome.PASS, check.reason
    assert detect_model(honest, case.evidence(), seed=0).outcome is Outcome.INCONCLUSIVE
    noisy = simulate_model(
        case.owner(honest), tmp_path / "c", seed=3, strength=0.1, variant="refit"
    )
    check = detect_model(noisy.submission, known, seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE, "moved a little is not forgotten"


def test_a_single_record_supports_nothing(case: Trained, honest: UnlearnedSubmission) -> None:
    assert _holds_more(np.array([9.0]), np.array([1.0]), 0) == 1.0, "all resamples are the same"
    known = replace(case.evidence(references=2), forget=case.forget.take([0]))
    assert detect_model(honest, known, seed=0).outcome is Outcome.INCONCLUSIVE


def test_of_a_patch_it_is_a_limitation_or_a_lie(make: Make, digits: Digits) -> None:
    honest = make("redirect")
    known = Evidence(honest.forget, digits.retain, digits.holdout)
    check = detect(honest, known, seed=0)
    assert check.outcome is Outcome.FAIL and check.severity is Severity.LIMITATION
    check = detect(honest, replace(known, assertion="erased"), seed=0)
    assert check.severity is Severity.FAILURE


def test_what_cannot_be_compared_decides_nothing(
    case: Trained, honest: UnlearnedSubmission
) -> None:
    huge = replace_head(case.original, 1e30)
    with np.errstate(all="ignore"):
        check = detect_model(with_unlearned(honest, deep(huge)), case.evidence(), seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE
    few = Evidence(case.forget, case.retain.take(np.arange(9)))
    assert detect_model(honest, few, seed=0).outcome is Outcome.INCONCLUSIVE
    withheld = replace(honest, forget=None)
    check = detect_model(withheld, Evidence(), seed=0)
    assert check.outcome is Outcome.NOT_RUN
    check = detect_model(withheld, Evidence(retain=case.retain), seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE and check.observed > UNMOVED


def test_an_extra_layer_at_the_end_hides_nothing(
    case: Trained, honest: UnlearnedSubmission
) -> None:
    head = replace_head(case.original, 0.5)
    turn = np.random.default_rng(0).standard_normal((10, 10)).astype(np.float32)
    extra = Node(Dense(turn, np.zeros(10, np.float32)), (len(head.nodes),))
    network = Network(head.input_shape, (*head.nodes, extra), head.dtype)
    check = detect_model(with_unlearned(honest, network), case.evidence(), seed=0)
    assert check.outcome is Outcome.FAIL


def test_the_unexplained_share_is_that_of_a_regression() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((300, 8)) * 10.0 ** generator.integers(-6, 6, 8)
    wanted = x @ generator.standard_normal((8, 3)) / np.abs(x).max() + 1.0
    wanted += 0.1 * generator.standard_normal(wanted.shape)
    inputs = np.concatenate([x / x.std(axis=0), np.ones((300, 1))], axis=1)
    theirs = inputs @ np.linalg.lstsq(inputs[:200], wanted[:200], rcond=None)[0]
    np.testing.assert_allclose(_explained(x, wanted, 200), theirs, rtol=1e-6, atol=1e-8)


def test_the_bootstrap_holds_its_level_at_the_margin() -> None:
    generator = np.random.default_rng(0)
    passed = 0
    for seed in range(200):
        theirs = generator.exponential(size=60)
        mine = 0.5 * generator.permutation(theirs) * generator.exponential(size=60)
        passed += _holds_more(mine, theirs, seed) <= 0.01
    assert passed <= 10, "2 expected of 200; a bootstrap of 60 records is somewhat liberal"
    assert _holds_more(theirs, theirs, 0) == pytest.approx(1 / 2001)


@pytest.mark.parametrize("bend", [False, True])
def test_features_that_are_linear_in_the_input_are_no_concealment(
    bend: bool, case: Trained, honest: UnlearnedSubmission
) -> None:
    """A standardising layer, then one that is learned: only the second is trained anew."""
    scale = Dense(2 * np.eye(64, dtype=np.float32), np.full(64, 9.0, np.float32))
    relu = [Node(Relu(), (1,))] if bend else []  # that never closes: inputs are above -2

    def made(seed: int) -> Network:
        head = np.random.default_rng(seed).standard_normal((10, 64)).astype(np.float32)
        last = Node(Dense(head, np.zeros(10, np.float32)), (1 + bend,))
        return Network((64,), (Node(scale, (0,)), *relu, last), np.dtype(np.float32))

    given = replace(honest, network=made(0), unlearned=made(1))
    check = detect_model(given, case.evidence(), seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE, check.reason
    assert ("a linear map" if bend else "affine in the input") in check.reason


@pytest.mark.parametrize(("inputs", "hidden"), [("one number", 64), ("a category", 256)])
def test_inputs_of_few_values_are_no_concealment(inputs: str, hidden: int) -> None:
    """Any wide layer spans all functions on them, so that honest features explain each other."""
    told = []
    for seed in range(3):
        generator = np.random.default_rng(seed)
        if inputs == "one number":
            x = generator.random((1200, 1))
            y = np.sin(6 * x[:, 0]) > 0.5
        else:
            ages, kinds = generator.integers(0, 9, 1200) / 9, generator.integers(0, 4, 1200)
            x = np.column_stack([ages, np.eye(4)[kinds]])
            y = (ages > 0.5) ^ (kinds == 0)
        y = (y ^ (generator.random(1200) < 0.1)).astype(np.int64)
        records = Records(x.astype(np.float32), y)
        train, unseen = records.take(np.arange(700)), records.take(np.arange(700, 1200))
        forget, retain = train.take(np.arange(8)), train.take(np.arange(8, 700))
        recipe = Recipe(epochs=20, learning_rate=3e-3)
        blank = dense_network(x.shape[1:], (hidden,), 2)
        original = train_from_scratch(blank, train, recipe, seed)
        honest = train_from_scratch(blank, retain, recipe, seed + 50)
        known = Evidence(forget, retain, unseen)
        check = detect_model(submit(original, honest, forget), known, seed=seed)
        assert check.outcome is not Outcome.FAIL, check.reason
        told.append("random weights explain them" in check.reason)
    assert any(told)


def test_a_training_that_hardly_left_its_start_is_no_concealment() -> None:
    case = trained(0, noise=0.1)
    records = joined(case.forget, case.retain)
    forget, retain = records.take(np.arange(5)), records.take(np.arange(5, len(records)))
    gentle = Recipe(epochs=3, learning_rate=1e-3, optimizer="sgd", momentum=0.0)
    original = train_from_scratch(case.original, records, gentle, 4)
    honest = train_from_scratch(case.original, retain, gentle, 4)
    references = tuple(train_from_scratch(case.original, retain, gentle, s) for s in (4, 5))
    known = Evidence(
        forget, retain, case.unseen, references=References(ReferenceKind.RETRAINED, references)
    )
    check = detect_model(submit_wide(original, honest, forget), known, seed=0)
    assert check.outcome is Outcome.INCONCLUSIVE, check.reason
    assert "network retrained without the records" in check.reason


def submit_wide(original: Network, unlearned: Network, forget: Records) -> UnlearnedSubmission:
    return replace(
        submit(original, unlearned, Records(forget.x.clip(0, 1), forget.y)), forget=forget
    )


def replace_head(network: Network, by: float) -> Network:
    nodes = list(network.nodes)
    operator = nodes[-1].operator
    assert isinstance(operator, Dense)
    weight = (operator.weight * np.float32(by)).astype(np.float32)
    nodes[-1] = replace(nodes[-1], operator=Dense(weight, operator.bias))
    return Network(network.input_shape, tuple(nodes), network.dtype)


def deep(network: Network) -> Network:
    """Return the network with first weights so large that features overflow."""
    nodes = list(network.nodes)
    first, second = nodes[0].operator, nodes[2].operator
    assert isinstance(first, Dense) and isinstance(second, Dense)
    nodes[0] = replace(nodes[0], operator=Dense(first.weight * np.float32(1e30), first.bias))
    nodes[2] = replace(nodes[2], operator=Dense(second.weight * np.float32(1e30), second.bias))
    made = Network(network.input_shape, tuple(nodes), network.dtype)
    with np.errstate(all="ignore"):
        assert not np.isfinite(logits(made, np.ones((1, 64), np.float32))).all()
    return made
