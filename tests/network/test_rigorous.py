"""The true real number is always inside."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.network.evaluate import evaluate
from auditkit.network.frozen import Frozen
from auditkit.network.graph import Dense, Operator, Scale
from auditkit.network.rigorous import RIGOROUS, Ball, enlarge, gamma, share
from tests.oracle.exact import ExactNetwork, Numbers, exact
from tests.oracle.networks import FAMILIES, STYLES, records, weights


def contains(ball: Ball, real: Any) -> bool:
    """Whether every exact number is in its ball; infinite balls hold everything."""
    for center, radius, value in zip(
        ball.center.ravel(),
        ball.radius.ravel(),
        np.ravel(np.array(real, dtype=object)),
        strict=True,
    ):
        if not (np.isfinite(center) and np.isfinite(radius)):
            continue
        if abs(Fraction(float(center)) - value) > Fraction(float(radius)):
            return False
    return True


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_networks_and_their_gradients(family: str, style: str, dtype: Any) -> None:
    rng = np.random.default_rng([len(family), len(style)])
    with np.errstate(all="ignore"):
        for _ in range(2):
            network = FAMILIES[family](weights(style, dtype, rng), dtype, rng)
            x = records(network, 2, rng)
            oracle = ExactNetwork(network)
            logits, z = evaluate(network, Ball.exact(x), RIGOROUS)
            bits = z.center > 0
            frozen = Frozen(network, bits)
            forward = frozen.forward(Ball.exact(x), RIGOROUS)
            injections = rng.normal(size=bits.shape)
            seeds = rng.normal(size=logits.center.shape)
            back = frozen.adjoint(Ball.exact(seeds), RIGOROUS, injections=Ball.exact(injections))
            for row in range(2):
                f, units = oracle(exact(x[row]))
                assert contains(logits[row], f) and contains(z[row], units)
                forms, unit_forms = oracle.piece(bits[row])
                point = [*exact(x[row]), Fraction(1)]
                assert contains(forward[0][row], forms @ np.array(point, dtype=object))
                assert contains(forward[1][row], unit_forms @ np.array(point, dtype=object))
                gradient = np.array(exact(seeds[row]), dtype=object) @ forms[:, :-1]
                if len(unit_forms):
                    gradient = gradient + (
                        np.array(exact(injections[row]), dtype=object) @ unit_forms[:, :-1]
                    )
                assert contains(back[row], gradient)


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        (Dense(np.array([[1e300 / 3, 1.0]]), np.zeros(1)), [1.23456789e-310, 0.0]),
        (Dense(np.array([[1.7e308, 0.3]]), np.zeros(1)), [3e-324, 1e-310]),
        (Scale("divide", np.array([1e300, 3e299])), [1e-20, 1e-21]),
        (Scale("divide", np.array([7.0, 1.7e308])), [5e-324, 3.0]),
        (Scale("multiply", np.array([1e-200, 1e-300])), [1e-120, 1e-20]),
    ],
)
def test_underflow_is_inside(operator: Operator, value: list[float]) -> None:
    """A second factor brings back what the first one lost."""
    x = Ball.exact(np.array([value]))
    y = RIGOROUS.affine(operator, x, constant=False)
    entries = exact(value)
    real: Numbers
    match operator:
        case Dense(weight):
            row = exact(weight)
            real = [sum((a * b for a, b in zip(row, entries, strict=True)), Fraction(0))]
        case Scale("divide", constant):
            real = [a / b for a, b in zip(entries, exact(constant), strict=True)]
        case Scale(_, constant):
            real = [a * b for a, b in zip(entries, exact(constant), strict=True)]
        case _:
            raise AssertionError
    assert contains(y[0], real)


def test_a_zero_stays_exact() -> None:
    """Dead units must not become doubtful: an exact tie is in its region."""
    weight = np.array([[0.0, 0.0], [1.0, -3.0]])
    y = RIGOROUS.affine(
        Dense(weight, np.zeros(2)), Ball.exact(np.array([[0.3, 0.7]])), constant=True
    )
    assert y.center[0, 0] == y.radius[0, 0] == 0
    assert (share(gamma(3), np.array([0.0, 5e-324, 1.0])) > 0).tolist() == [False, True, True]


def test_too_many_roundings_prove_nothing() -> None:
    assert gamma(2**24, 2.0**-24) == np.inf
    assert gamma(2**26, 2.0**-24) == np.inf
    assert 2.0**-53 < gamma(1) < 2.0**-52
    assert enlarge(np.ones(1), 1000)[0] > 1 + 2000 * 2.0**-53


FLOATS = st.floats(-1e300, 1e300)


@settings(max_examples=200, deadline=None)
@given(FLOATS, FLOATS)
def test_balls_between(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    ball = Ball.between(np.array([low]), np.array([high]))
    assert contains(ball, [Fraction(low)]) and contains(ball, [Fraction(high)])
    assert ball.lower[0] <= low and ball.upper[0] >= high
    assert ball.magnitude[0] >= max(abs(low), abs(high))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(FLOATS, st.floats(0, 1e300), st.floats(-1, 1)), min_size=4, max_size=4))
def test_steps_keep_what_is_inside(balls: list[tuple[float, float, float]]) -> None:
    center, radius, where = (np.array(column)[None] for column in zip(*balls, strict=True))
    x = Ball(center, radius)
    # a point of each ball, whatever the rounding
    real = [
        Fraction(float(c)) + Fraction(float(r)) * Fraction(float(w))
        for c, r, w in zip(center[0], radius[0], where[0], strict=True)
    ]
    half = Ball(x.center[:, :2], x.radius[:, :2]), Ball(x.center[:, 2:], x.radius[:, 2:])
    assert contains(RIGOROUS.relu(x), [max(v, Fraction(0)) for v in real])
    assert contains(RIGOROUS.larger(*half), [max(real[0], real[2]), max(real[1], real[3])])
    assert contains(RIGOROUS.add(*half), [real[0] + real[2], real[1] + real[3]])
    assert contains(RIGOROUS.subtract(*half), [real[0] - real[2], real[1] - real[3]])
    index = np.array([0, 2, 0, 2])
    sums = [real[0] + real[2], Fraction(0), real[1] + real[3]]
    assert contains(RIGOROUS.scatter(x, index, 3), sums)
