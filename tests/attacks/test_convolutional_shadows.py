"""Shadow models of any chain of layers: as torch trains them one by one, whatever the group."""

import numpy as np
import pytest

from attacks import Recipe, shadows
from attacks.shadows.architecture import Architecture, Conv, Dense, Flatten, Pool, Relu

torch = pytest.importorskip("torch")
ensemble = pytest.importorskip("attacks.shadows.ensemble")

RNG = np.random.default_rng(5)
Y = RNG.integers(0, 3, 41)
GRAY, COLOUR = (1, 9, 8), (9, 7, 6)

CASES = {
    "max pool, then ReLU": (GRAY, (Conv(4), Pool("max"), Relu(), Conv(5, (2, 2)), Flatten())),
    "ReLU, then max pool": (GRAY, (Conv(9), Relu(), Pool("max"), Flatten(), Dense(7), Relu())),
    "average pool": (GRAY, (Conv(9, (2, 3)), Relu(), Pool("average", (3, 2), (2, 1)), Flatten())),
    "overlapping max pool": (COLOUR, (Conv(8), Relu(), Pool("max", (3, 3), (1, 2)), Flatten())),
    "stride and padding": (
        COLOUR,
        (Conv(8, (3, 3), (2, 1), (1, 2)), Relu(), Conv(10, (2, 3), (1, 2), (1, 0)), Flatten()),
    ),
    "pooling and ReLU of the records": (GRAY, (Relu(), Pool("average"), Conv(3), Flatten())),
    "ReLU of the records": (GRAY, (Relu(), Flatten(), Dense(6), Relu())),
}


def _case(name):
    shape, layers = CASES[name]
    x = RNG.normal(size=(len(Y), *shape)).astype(np.float32)
    x[:, :, :4] = 0.0  # equal numbers: ties of the maximum
    return Architecture(shape, (*layers, Dense(3))), x


def _as_torch(architecture, generator):
    """Build the network from torch's own layers, with the draws of network k."""
    parts = []
    for layer, before in zip(architecture.layers, architecture.shapes, strict=False):
        match layer:
            case Dense(outputs):
                parts.append(torch.nn.Linear(before[0], outputs))
                shape, order = (before[0], outputs), (1, 0)
            case Conv(channels, kernel, stride, padding):
                parts.append(torch.nn.Conv2d(before[0], channels, kernel, stride, padding))
                shape, order = (*kernel, before[0], channels), (3, 2, 0, 1)
            case Pool("max", kernel, stride):
                parts.append(torch.nn.MaxPool2d(kernel, stride))
            case Pool("average", kernel, stride):
                parts.append(torch.nn.AvgPool2d(kernel, stride))
            case Relu():
                parts.append(torch.nn.ReLU())
            case Flatten():
                parts.append(torch.nn.Flatten())
        if isinstance(layer, (Dense, Conv)):
            fan_in = int(np.prod(shape[:-1]))
            bound = np.float32(fan_in**-0.5)
            draw = generator.random((fan_in, shape[-1]), dtype=np.float32).reshape(shape)
            weight = ((2 * draw - 1) * bound).transpose(order)
            parts[-1].weight.data = torch.from_numpy(weight.copy())
            draw = generator.random((1, shape[-1]), dtype=np.float32)
            parts[-1].bias.data = torch.from_numpy(((2 * draw - 1) * bound)[0])
    return torch.nn.Sequential(*parts)


def _one_by_one(architecture, x, k, members, recipe, seed):
    """Train network k alone with autograd; returns its parameters and its logits."""
    generator = np.random.default_rng([seed, k])
    model = _as_torch(architecture, generator)
    adam = recipe.optimizer == "adam"
    kind, more = (torch.optim.Adam, {}) if adam else (torch.optim.SGD, {"momentum": 0.9})
    optimiser = kind(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **more
    )
    records, y = torch.from_numpy(x), torch.from_numpy(Y)
    steps = -(-members.size // recipe.batch_size)
    for _ in range(recipe.epochs):
        order = generator.permutation(members)
        for s in range(steps):
            rows = order[s * order.size // steps : (s + 1) * order.size // steps]
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(records[rows]), y[rows]).backward()
            optimiser.step()
    with torch.no_grad():
        return [p.detach().numpy() for p in model.parameters()], model(records).numpy()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", CASES)
def test_equals_training_one_after_another(name, optimizer):
    architecture, x = _case(name)
    recipe = Recipe(3, 0.003, 8, 1e-3, optimizer)
    mask = np.zeros((3, len(Y)), dtype=bool)
    for k, size in enumerate((24, 17, 20)):
        mask[k, RNG.permutation(len(Y))[:size]] = True
    features, labels = shadows.training_arrays(architecture, x, Y)
    together = ensemble.train(architecture, features, labels, mask, recipe, seed=7)
    logits = together.logits(features)
    for k in range(3):
        expected, outputs = _one_by_one(architecture, x, k, np.flatnonzero(mask[k]), recipe, 7)
        layers = together.layers(k)
        found = [part for layer in layers for part in layer]
        assert [a.shape for a in found] == [b.shape for b in expected]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=5e-5)
        np.testing.assert_allclose(logits[k], outputs, atol=1e-3)
        alone = shadows.forward(layers, x, architecture)
        np.testing.assert_allclose(alone, logits[k], atol=1e-5)


def test_the_gradient_goes_to_the_first_of_equal_maxima():
    # One image of equal numbers: autograd and the chain must choose the same place.
    architecture = Architecture(GRAY, (Conv(9), Relu(), Pool("max"), Flatten(), Dense(3)))
    x = np.ones((len(Y), *GRAY), dtype=np.float32)
    mask = np.ones((1, len(Y)), dtype=bool)
    recipe = Recipe(2, 0.01, 20)
    features, labels = shadows.training_arrays(architecture, x, Y)
    layers = ensemble.train(architecture, features, labels, mask, recipe, 3).layers(0)
    expected, _ = _one_by_one(architecture, x, 0, np.arange(len(Y)), recipe, 3)
    for a, b in zip([p for layer in layers for p in layer], expected, strict=True):
        np.testing.assert_allclose(a, b, atol=5e-5)


def test_forward_refuses_parameters_of_another_network():
    architecture, x = _case("average pool")
    layers = shadows.train_one(architecture, x, Y, Recipe(1), seed=0)
    with pytest.raises(ValueError, match="architecture must be given"):
        shadows.forward(layers, x)
    with pytest.raises(ValueError, match="layers have weights of shapes"):
        shadows.forward(layers[::-1], x, architecture)


def test_learns_digits_as_images():
    data = pytest.importorskip("sklearn.datasets").load_digits()
    x, y = (data.images[:, None] / 16).astype(np.float32), data.target
    architecture = Architecture(
        (1, 8, 8),
        (Conv(8, padding=(1, 1)), Relu(), Pool("max"), Conv(16), Relu(), Flatten(), Dense(10)),
    )
    order = RNG.permutation(len(y))
    train, test = order[:1200], order[1200:]
    kept = []
    mask = shadows.paired_masks(4, 1200, seed=0)
    features, labels = shadows.training_arrays(architecture, x[train], y[train])
    groups = shadows.trained_groups(
        architecture, features, labels, mask, Recipe(25, 0.005, 60), seed=1, device="cpu"
    )
    for _, trained in groups:
        flat, _ = shadows.training_arrays(architecture, x[test], y[test])
        kept += list((trained.logits(flat).argmax(2) == y[test]).mean(1))
    assert len(kept) == 4 and min(kept) > 0.93
