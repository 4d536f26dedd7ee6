"""Certified Newton: second derivatives, the step against closed forms, and what ε it states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor
from torch.nn import functional as F

from auditkit.network.graph import Convolution, Dense, Network, Node, Reshape
from auditkit.unlearning import curvature
from auditkit.unlearning.certified_newton import METHOD, Settings, guarantee_of
from auditkit.unlearning.interface import Refused, Scenario, Task
from auditkit.unlearning.registry import unlearn
from auditkit.unlearning.trainable import Trainable
from auditkit.unlearning.training import one_thread, tensors
from tests.unlearning.conftest import make_example, split


@pytest.fixture(autouse=True)
def quickly() -> Iterator[None]:
    """As where methods are run by name."""
    with one_thread():
        yield


def doubled(network: Network) -> Network:
    """The network in float64, where finite differences can be told from rounding."""
    nodes = []
    for node in network.nodes:
        operator = node.operator
        if isinstance(operator, (Dense, Convolution)):
            weight, bias = operator.weight.astype(np.float64), operator.bias.astype(np.float64)
            operator = replace(operator, weight=weight, bias=bias)
        nodes.append(Node(operator, node.inputs))
    return Network(network.input_shape, tuple(nodes), np.dtype(np.float64))


def at(model: Trainable, weights: NDArray[np.float64], x: Tensor, y: Tensor) -> NDArray[np.float64]:
    """The gradient where the weights are these."""
    values = torch.tensor(weights)
    with torch.no_grad():
        for weight, part in zip(
            model.weights, values.split([w.numel() for w in model.weights]), strict=True
        ):
            weight.copy_(part.reshape(weight.shape))
    return curvature.gradient(model, x, y).numpy()


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_a_product_with_the_hessian_is_the_change_of_the_gradient(kind: str) -> None:
    e = make_example(kind, "subset")
    model = Trainable(doubled(e.network))
    x, y = tensors(model, e.retain.take(np.arange(60)))
    weights = torch.cat([w.detach().reshape(-1) for w in model.weights]).numpy()
    direction = np.random.default_rng(0).standard_normal(len(weights))
    direction /= np.linalg.norm(direction)
    product = curvature.hessian_product(model, x, y, torch.tensor(direction)).numpy()
    step = 1e-6
    change = at(model, weights + step * direction, x, y) - at(
        model, weights - step * direction, x, y
    )
    assert np.linalg.norm(product) > 1e-3
    np.testing.assert_allclose(product, change / (2 * step), rtol=1e-4, atol=1e-6)


def test_both_differentiations_are_counted() -> None:
    e = make_example("dense", "subset")
    model = Trainable(e.network)
    x, y = tensors(model, e.retain)
    size = sum(w.numel() for w in model.weights)
    curvature.hessian_product(model, x, y, torch.zeros(size))
    assert model.passes.count == 2 * len(x)


def positive(size: int, seed: int) -> NDArray[np.float64]:
    root = np.random.default_rng(seed).standard_normal((size, size))
    return root @ root.T / size + 0.3 * np.eye(size)


def test_the_recursion_solves_a_quadratic_problem() -> None:
    matrix, vector = positive(12, 0), np.random.default_rng(1).standard_normal(12)
    a = torch.tensor(matrix)
    solved, _ = curvature.inverse_product(
        lambda _: lambda v: a @ v, torch.tensor(vector), scale=6.0, steps=2000, samples=1, seed=0
    )
    np.testing.assert_allclose(solved.numpy(), np.linalg.solve(matrix, vector), rtol=1e-8)


def test_a_recursion_that_grows_starts_again_with_a_larger_scale() -> None:
    matrix, vector = 50.0 * positive(12, 0), np.random.default_rng(1).standard_normal(12)
    a = torch.tensor(matrix)
    solved, scale = curvature.inverse_product(
        lambda _: lambda v: a @ v, torch.tensor(vector), scale=6.0, steps=2000, samples=1, seed=0
    )
    assert scale > 50.0
    np.testing.assert_allclose(solved.numpy(), np.linalg.solve(matrix, vector), rtol=1e-6)
    with pytest.raises(ArithmeticError):
        curvature.inverse_product(
            lambda _: lambda v: -v, torch.tensor(vector), scale=1.0, steps=50, samples=1, seed=0
        )


def test_extreme_eigenvalues_are_those_of_the_matrix() -> None:
    matrix = positive(30, 2) - np.eye(30)
    values = np.linalg.eigvalsh(matrix)
    a, start = torch.tensor(matrix), curvature.random_direction(30, torch.float64, 0)
    found = curvature.extreme_eigenvalues(lambda v: a @ v, start, 30)
    np.testing.assert_allclose(found, (values[0], values[-1]), rtol=1e-6)
    least, greatest = curvature.extreme_eigenvalues(lambda v: a @ v, start, 8)
    assert least <= values[0] + 0.05 and greatest >= values[-1] - 0.05


def linear_task() -> Task:
    """A task on a linear softmax network in float64, whose Hessian can be written down."""
    train, _ = split()
    rng = np.random.default_rng(3)
    nodes = (
        Node(Reshape((64,)), (0,)),
        Node(Dense(rng.normal(size=(10, 64)) * 0.1, rng.normal(size=10) * 0.1), (1,)),
    )
    network = Network((8, 8), nodes, np.dtype(np.float64))
    return Task(
        network,
        train.take(np.arange(20)),
        train.take(np.arange(20, 120)),
        None,
        Scenario.SUBSET,
        seed=0,
    )


def flat(network: Network | None) -> NDArray[np.float64]:
    assert network is not None
    return np.concatenate([w.detach().numpy().ravel() for w in Trainable(network).weights])


def test_the_step_is_the_closed_form_where_there_is_one() -> None:
    task = linear_task()
    exact = Settings(damping=0.5, sigma=1e-13, samples=1, steps=3000, batch_size=10**6)
    made = METHOD.run(task, exact)
    model = Trainable(task.network)
    x, y = tensors(model, task.kept)

    def loss(weights: Tensor) -> Tensor:
        return F.cross_entropy(model(x, [weights[:640].reshape(10, 64), weights[640:]]), y)

    weights = torch.tensor(flat(task.network))
    hessian = torch.autograd.functional.hessian(loss, weights).numpy()
    slope = torch.autograd.functional.jacobian(loss, weights).numpy()
    wanted = flat(task.network) - np.linalg.solve(hessian + 0.5 * np.eye(650), slope)
    np.testing.assert_allclose(flat(made.network), wanted, atol=1e-9)
    assert made.notes["relative_residual"] < 1e-8
    assert made.guarantee is not None
    assert made.guarantee.premises["least_eigenvalue"] <= np.linalg.eigvalsh(hessian)[0] + 1e-2


def test_the_weights_are_drawn_back_into_the_ball() -> None:
    task = linear_task()
    radius = float(np.linalg.norm(flat(task.network)))
    large = Settings(damping=1e-3, sigma=1e-9, norm_constraint=radius, steps=400)
    made = METHOD.run(task, large)
    assert made.notes["drawn_back"]
    assert np.linalg.norm(flat(made.network)) == pytest.approx(radius)


def test_noise_of_the_stated_size_is_added() -> None:
    task = linear_task()
    quiet, loud = (flat(METHOD.run(task, Settings(sigma=sigma)).network) for sigma in (1e-9, 0.5))
    assert (loud - quiet).std() == pytest.approx(0.5, rel=0.1)


def test_what_is_stated_of_a_network_certifies_nothing_and_says_so() -> None:
    e = make_example("dense", "subset")
    made = unlearn("certified-newton", e.network, e.forget, e.retain, seed=1)
    guarantee = made.unlearned.guarantee
    assert guarantee is not None
    assert made.unlearned.notes["epsilon_classical"] > 1e4
    assert guarantee.epsilon > made.unlearned.notes["epsilon_classical"]
    assert "certifies nothing" in made.unlearned.shortfall
    kept = (made.predict(e.retain.x).argmax(axis=1) == e.retain.y).mean()
    assert kept >= 0.95


def test_the_bound_follows_from_the_premises() -> None:
    constants = Settings(hessian_lipschitz=2.0, retrained_gradient=0.1)
    stated = guarantee_of(constants, 5.0, 0.5, -0.1, residual=0.2)
    bound = (2 * 5.0 * (2.0 * 5.0 + 0.5) + 0.1 + 0.2) / 0.4
    assert stated.premises["bound"] == pytest.approx(bound)


@pytest.mark.parametrize("sigma", [1e-2, 1.0, 1e2, 1e4, 1e6])
def test_the_stated_epsilon_is_true_of_gaussian_noise(sigma: float) -> None:
    stated = guarantee_of(Settings(sigma=sigma), 5.0, 0.5, -0.1, residual=0.2)
    ratio, epsilon = stated.premises["bound"] / sigma, stated.epsilon
    # Balle and Wang, theorem 8: the δ that this ε takes, exactly
    first = norm.cdf(ratio / 2 - epsilon / ratio)
    delta = first - np.exp(epsilon + norm.logcdf(-ratio / 2 - epsilon / ratio))
    assert delta <= stated.delta * (1 + 1e-3)
    classical = ratio * np.sqrt(2 * np.log(1.25 / stated.delta))
    assert epsilon >= classical
    if classical <= 1.0:
        assert epsilon == pytest.approx(classical)


@pytest.mark.parametrize("bad", [{"sigma": 0.0}, {"delta": 1.0}, {"steps": 0}, {"damping": -1.0}])
def test_settings_that_certify_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(Refused, match="settings of certified-newton"):
        METHOD.settings(Scenario.SUBSET, bad)
