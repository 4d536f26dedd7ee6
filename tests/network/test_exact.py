"""Exact numbers are exactly those of the oracle, and are rounded outwards by less than a float."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.network import linear
from auditkit.network.evaluate import evaluate, pattern
from auditkit.network.exact import EXACT, Exact
from auditkit.network.exact_region import ExactPiece, ExactSample
from auditkit.network.frozen import Frozen
from auditkit.network.graph import (
    Add,
    AveragePool,
    Convolution,
    Dense,
    Network,
    Node,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from auditkit.network.integers import TooWideError, floats_below, integer_product, integers_of
from auditkit.network.region import Box, Piece, Sample
from auditkit.network.rigorous import Enclosure, sum_down, sum_up
from tests.oracle.exact import ExactNetwork, exact
from tests.oracle.networks import CLASSES, FAMILIES, STYLES, chain, records, weights


def windows(numbers: Any, dtype: Any, rng: np.random.Generator) -> Network:
    """Return a residual network with every option of a window, and divisors of every kind."""
    nodes = (
        Node(Scale("add", numbers(2, 1, 1)), (0,)),
        Node(Scale("divide", 1 + np.abs(numbers(2, 1, 1))), (1,)),
        Node(Convolution(numbers(4, 1, 2, 3), numbers(4), (2, 1), (1, 0, 0, 2), (1, 2), 2), (2,)),
        Node(Relu(), (3,)),
        Node(AveragePool((3, 2), (1, 1), (1, 1, 1, 0), bool(rng.integers(2))), (4,)),
        Node(Add(), (4, 5)),
        Node(Scale("multiply", numbers(4, 1, 1)), (6,)),
        Node(Transpose((1, 2, 0)), (7,)),
        Node(Reshape((3 * 3 * 4,)), (8,)),
        Node(Dense(numbers(CLASSES, 36), numbers(CLASSES)), (9,)),
    )
    return Network((2, 5, 5), nodes, np.dtype(dtype))


EVERY = {**FAMILIES, "windows": windows}


def rationals(values: Exact) -> list[Fraction]:
    """Return the numbers in C order, as they are."""
    unit = Fraction(2) ** values.exponent / values.divisor
    assert all(int(n).bit_length() <= values.bits for n in values.numbers.ravel())
    return [int(n) * unit for n in values.numbers.ravel()]


def made(family: str, style: str, dtype: Any, seed: int = 0) -> tuple[Network, Any, Any]:
    rng = np.random.default_rng([seed, len(family), len(style)])
    network = EVERY[family](weights(style, dtype, rng), dtype, rng)
    return network, records(network, 2, rng), rng


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", EVERY)
def test_networks_and_their_gradients(family: str, style: str, dtype: Any) -> None:
    for seed in range(2):
        network, x, rng = made(family, style, dtype, seed)
        oracle = ExactNetwork(network)
        logits, z = evaluate(network, Exact.of(x), EXACT)
        bits = np.asarray(z.numbers > 0, dtype=bool)
        frozen = Frozen(network, bits)
        forward = frozen.forward(Exact.of(x), EXACT)
        seeds, injections = rng.normal(size=logits.numbers.shape), rng.normal(size=bits.shape)
        back = frozen.adjoint(Exact.of(seeds), EXACT, injections=Exact.of(injections))
        for row in range(2):
            f, units = oracle(exact(x[row]))
            assert rationals(logits[row]) == f == rationals(forward[0][row])
            assert rationals(z[row]) == units == rationals(forward[1][row])
            forms, unit_forms = oracle.piece(bits[row])
            gradient = np.array(exact(seeds[row]), dtype=object) @ forms[:, :-1]
            if len(unit_forms):
                gradient = gradient + (
                    np.array(exact(injections[row]), dtype=object) @ unit_forms[:, :-1]
                )
            assert rationals(back[row]) == gradient.tolist()


def encloses(bounds: Enclosure, real: list[Fraction]) -> bool:
    """Whether the bounds are the floats next to the numbers, or the numbers themselves."""
    for low, high, value in zip(bounds.lower.ravel(), bounds.upper.ravel(), real, strict=True):
        tight = low == high or np.nextafter(low, np.inf) == high
        above = np.isinf(high) or Fraction(float(high)) >= value
        below = np.isinf(low) or Fraction(float(low)) <= value
        if not (tight and above and below):
            return False
    return True


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", EVERY)
def test_what_is_handed_out_is_rounded_once(family: str, style: str) -> None:
    network, x, rng = made(family, style, np.float32)
    oracle = ExactNetwork(network)
    target = rng.integers(network.classes, size=len(x))
    sample = ExactSample.at(network, x)
    bits = sample.units.lower > 0
    box = Box.around(x, np.array([0.1, np.inf]), 0.0, 1.0)
    piece = ExactPiece.at(network, bits, box)
    bounds, leads = piece.logit_bounds(), piece.lead_bounds(target)
    for row, k in enumerate(target):
        f, units = oracle(exact(x[row]))
        assert encloses(sample.logits[row], f) and encloses(sample.units[row], units)
        ahead = Enclosure(sample.lead(target).lower[row], sample.lead(target).upper[row])
        assert encloses(ahead, [v - f[k] for v in f])
        forms, _ = oracle.piece(bits[row])
        low, high = exact(box.step_lower[row]), exact(box.step_upper[row])

        def greatest(form: Any, low: Any = low, high: Any = high) -> Fraction:
            return sum(
                (max(g * a, g * b) for g, a, b in zip(form, low, high, strict=False)), Fraction(0)
            )

        for j in range(network.classes):
            assert rounded(bounds.upper[row, j], f[j] + greatest(forms[j]))
            assert rounded(-bounds.lower[row, j], greatest(-forms[j]) - f[j])
            if j == k:
                assert leads[row, j] == -np.inf
            else:
                assert rounded(leads[row, j], f[j] - f[k] + greatest(forms[j] - forms[k]))


def rounded(bound: float, real: Fraction) -> bool:
    """Whether `bound` is the least float that is at least `real`."""
    below = float(np.nextafter(bound, -np.inf))
    return Fraction(float(bound)) >= real and Fraction(below) < real


@pytest.mark.parametrize("family", EVERY)
def test_exact_bounds_are_within_the_float64_ones(family: str) -> None:
    network, x, rng = made(family, "normal", np.float32)
    target = rng.integers(network.classes, size=len(x))
    bits = pattern(network, x)
    box = Box.around(x, np.full(len(x), 0.3), 0.0, 1.0)
    ours, theirs = ExactPiece.at(network, bits, box), Piece.at(network, bits, box)
    assert (ours.logit_bounds().upper <= theirs.logit_bounds().upper).all()
    assert (ours.logit_bounds().lower >= theirs.logit_bounds().lower).all()
    lead = theirs.lead_bounds(target)
    assert (ours.lead_bounds(target) <= lead).all()
    other = np.arange(network.classes)[None] != target[:, None]
    looser = (lead[other] - ours.lead_bounds(target)[other]).max()
    assert looser <= 8 * theirs.doubt().max()  # or the checker would not ask again
    sample = ExactSample.at(network, x)
    assert (Sample.at(network, x).units.upper >= sample.units.upper).all()


def test_memory_stays_bounded_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    network, _, rng = made("windows", "normal", np.float32)
    x = records(network, 5, rng)
    target = np.zeros(5, dtype=np.int64)
    bits = pattern(network, x)
    box = Box.around(x, np.full(5, 0.1), 0.0, 1.0)
    whole = ExactPiece.at(network, bits, box).lead_bounds(target)
    seen: list[int] = []
    forward = linear.forward

    def watched(operator: Any, values: Any, **more: Any) -> Any:
        if values.dtype == object:
            seen.append(len(values))
        return forward(operator, values, **more)

    monkeypatch.setattr(linear, "forward", watched)
    monkeypatch.setattr("auditkit.network.exact_region.PASS_NUMBERS", 200)
    np.testing.assert_array_equal(ExactPiece.at(network, bits, box).lead_bounds(target), whole)
    assert max(seen) == 1


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=300, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=5))
def test_floats_there_and_back(values: list[float]) -> None:
    x = Exact.of(np.array(values))
    assert rationals(x) == exact(values)
    np.testing.assert_array_equal(x.lower, values)
    np.testing.assert_array_equal(x.upper, values)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(-(2**200), 2**200), st.integers(-1300, 1100), st.sampled_from([1, 3, 9, 2**70 + 1])
)
def test_the_nearest_float_below(n: int, exponent: int, divisor: int) -> None:
    found = float(floats_below(np.array([n], dtype=object), exponent, divisor)[0])
    real = Fraction(n) * Fraction(2) ** exponent / divisor
    assert found == -np.inf or Fraction(found) <= real
    with np.errstate(over="ignore"):
        above = float(np.nextafter(found, np.inf))
    assert above == np.inf or Fraction(above) > real


@settings(max_examples=300, deadline=None)
@given(FLOATS, FLOATS)
def test_sums_are_rounded_where_they_must_be(a: float, b: float) -> None:
    real = Fraction(a) + Fraction(b)
    up, down = float(sum_up(np.float64(a), b)), float(sum_down(np.float64(a), b))
    assert up == np.inf or Fraction(up) >= real
    assert down == -np.inf or Fraction(down) <= real
    if up == down:
        assert Fraction(up) == real
    elif np.isfinite([up, down]).all():
        assert Fraction(float(a + b)) != real


def test_sums_that_overflow() -> None:
    most = np.array([np.finfo(float).max])
    assert sum_up(most, most)[0] == np.inf and sum_down(-most, -most)[0] == -np.inf
    assert sum_down(most, most)[0] < np.inf and sum_up(-most, -most)[0] > -np.inf
    assert np.isnan(sum_up(np.array([np.inf]), -np.inf)[0])


def test_floats_cannot_slip_in() -> None:
    a, _ = integers_of(np.ones((1, 2)))
    for foreign in (0.5, 1.0, np.float64(2), np.int64(1)):
        b = np.array([[1], [0]], dtype=object)
        b[1, 0] = foreign
        with pytest.raises(TypeError):
            integer_product(a, b)
    with pytest.raises(TypeError):
        _ = Exact.of(np.ones(2)).numbers + 0.5
    with pytest.raises(TypeError):
        floats_below(np.array([0.5], dtype=object), 0, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Exact.of(np.array([1.0, value]))


def test_numbers_that_are_too_wide_are_refused() -> None:
    wide = np.array([[2.0**-1000, 2.0**1000]] * 2)
    layers = [Dense(wide.copy(), np.zeros(2)) for _ in range(12)]
    network = chain((2,), [*layers], np.float64)
    with pytest.raises(TooWideError):
        evaluate(network, Exact.of(np.ones((1, 2))), EXACT)
    primes = [n for n in range(3, 20000) if all(n % k for k in range(2, int(n**0.5) + 1))]
    divisors = np.array(primes, dtype=np.float64)
    with pytest.raises(TooWideError):
        EXACT.affine(Scale("divide", divisors), Exact.of(divisors[None]), constant=True)
    with pytest.raises(TooWideError):
        Exact.of(np.resize([2.0**-1000, 2.0**1000], 5_000_000))


def test_what_overflows_in_between_comes_back() -> None:
    huge = np.array([[2.0**900, 0.0], [0.0, 2.0**900]])
    layers = [Dense(huge, np.zeros(2)), Relu(), Dense(huge, np.zeros(2)), Relu()]
    layers += [
        Dense(np.linalg.inv(huge), np.zeros(2)),
        Relu(),
        Dense(np.linalg.inv(huge), np.ones(2)),
    ]
    network = chain((2,), layers, np.float64)
    x = np.array([[0.25, 0.75]])
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(Sample.at(network, x).logits.radius).any()
    sample = ExactSample.at(network, x)
    np.testing.assert_array_equal(sample.logits.lower, [[1.25, 1.75]])
    np.testing.assert_array_equal(sample.logits.upper, [[1.25, 1.75]])
    assert (sample.units.lower > 0).all() and np.isinf(sample.units.upper).any()
    piece = ExactPiece.at(
        network, sample.units.lower > 0, Box.around(x, np.array([0.125]), 0.0, 1.0)
    )
    np.testing.assert_array_equal(piece.logit_bounds().upper, [[1.375, 1.875]])
