"""Shadow training: balanced halves, the same result every time, and as one by one."""

from itertools import pairwise

import numpy as np
import pytest

from attacks import Recipe, shadows, signals
from attacks.shadows.architecture import Architecture, Conv, Dense, Flatten, Pool, Relu

torch = pytest.importorskip("torch")
ensemble = pytest.importorskip("attacks.shadows.ensemble")

RNG = np.random.default_rng(3)
WIDTHS = (6, 16, 8, 3)
X = RNG.random((61, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 61)
RECIPE = Recipe(epochs=4, batch_size=10, learning_rate=0.01, weight_decay=1e-3)


def _one_by_one(k: int, members: np.ndarray, recipe: Recipe, seed: int) -> list[torch.Tensor]:
    """Train network k alone with autograd and torch's own layers, from the same draws."""
    generator = np.random.default_rng([seed, k])
    parts = []
    for fan_in, fan_out in pairwise(WIDTHS):
        layer = torch.nn.Linear(fan_in, fan_out)
        for shape, parameter in (((fan_in, fan_out), layer.weight), ((1, fan_out), layer.bias)):
            draw = (2 * generator.random(shape, dtype=np.float32) - 1) * np.float32(fan_in**-0.5)
            parameter.data = torch.from_numpy(draw.T.reshape(parameter.shape).copy())
        parts += [layer, torch.nn.ReLU()]
    model = torch.nn.Sequential(*parts[:-1])
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.SGD
    more = {} if recipe.optimizer == "adam" else {"momentum": recipe.momentum}
    optimiser = kind(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, **more
    )
    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    steps = -(-members.size // recipe.batch_size)
    for _ in range(recipe.epochs):
        order = generator.permutation(members)
        for s in range(steps):
            rows = order[s * order.size // steps : (s + 1) * order.size // steps]
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return [p.detach().numpy() for p in model.parameters()]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("sizes", [(30, 30, 30), (30, 21, 27)])
def test_equals_training_one_after_another(optimizer, sizes):
    recipe = Recipe(4, 0.01, 10, 1e-3, optimizer)
    mask = np.zeros((3, len(Y)), dtype=bool)
    for k, size in enumerate(sizes):
        mask[k, RNG.permutation(len(Y))[:size]] = True
    together = ensemble.train(WIDTHS, X, Y, mask, recipe, seed=7)
    for k in range(3):
        flat = [part for layer in together.layers(k) for part in layer]
        expected = _one_by_one(k, np.flatnonzero(mask[k]), recipe, seed=7)
        for a, b in zip(flat, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-5)


def test_masks_are_complementary_pairs():
    mask = shadows.paired_masks(6, 61, seed=1)
    assert mask.shape == (6, 61)
    assert (mask.sum(axis=0) == 3).all()
    assert (mask[0::2] == ~mask[1::2]).all()
    assert set(mask.sum(axis=1)) == {30, 31}
    assert not np.array_equal(mask, shadows.paired_masks(6, 61, seed=2))


def test_masks_keep_a_person_together():
    subjects = np.repeat(["a", "b", "c", "d"], [5, 1, 2, 8])
    mask = shadows.paired_masks(4, 16, seed=0, subjects=subjects)
    for name in "abcd":
        columns = mask[:, subjects == name]
        assert (columns == columns[:, :1]).all()


def test_signals_do_not_depend_on_grouping(monkeypatch):
    seen = []
    arguments = (WIDTHS, X, Y)
    options = {"shadows": 4, "recipe": RECIPE, "seed": 5, "query": (X[:7], Y[:7])}
    whole = shadows.train_shadows(
        *arguments, **options, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1][0] == seen[-1][1] == len(seen)
    assert whole.pool.shape == (4, 61) and whole.pool.dtype == np.float32
    np.testing.assert_allclose(whole.query, whole.pool[:, :7], atol=1e-5)
    again = shadows.train_shadows(*arguments, **options)
    np.testing.assert_array_equal(whole.pool, again.pool)
    monkeypatch.setattr(shadows.groups, "GROUP_BYTES", 1)
    apart = shadows.train_shadows(*arguments, **options)
    np.testing.assert_allclose(whole.pool, apart.pool, atol=1e-3)
    assert not np.array_equal(whole.pool[0], whole.pool[1])


def test_train_one_learns_and_evaluates_without_torch():
    y = (X[:, 0] > 0.5).astype(int)
    layers = shadows.train_one((6, 16, 2), X, y, Recipe(100, 0.02, 16), seed=1)
    assert [w.shape for w, _ in layers] == [(16, 6), (2, 16)]
    assert all(w.dtype == b.dtype == np.float32 for w, b in layers)
    logits = shadows.forward(layers, X)
    assert (logits.argmax(1) == y).mean() > 0.95
    masks = np.ones((1, len(y)), dtype=bool)
    trained = ensemble.train((6, 16, 2), X, y, masks, Recipe(100, 0.02, 16), seed=1)
    expected = signals.rescaled_logit(logits, y)
    np.testing.assert_allclose(trained.signals(X, y)[0], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shadows": 3}, "even"),
        ({"architecture": (5, 3)}, "6 features, the network 5"),
        ({"architecture": (6,)}, "widths must be"),
        ({"y": Y + 1}, "labels must lie in 0..2"),
        ({"x": X * np.nan}, "nan"),
        ({"member_mask": np.ones((2, 5), dtype=bool)}, "member_mask must be"),
        ({"member_mask": np.zeros((2, 61), dtype=bool)}, "at least one training record"),
    ],
)
def test_refuses(change, message):
    arguments = {"architecture": WIDTHS, "x": X, "y": Y, "shadows": 2, "recipe": RECIPE} | change
    with pytest.raises(ValueError, match=message):
        shadows.train_shadows(**arguments)


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"learning_rate": 0.0}, {"optimizer": "lion"}])
def test_recipe_refuses(bad):
    with pytest.raises(ValueError):
        Recipe(**bad)


def test_architecture_says_its_shapes_and_refuses_what_does_not_fit():
    small = Architecture(
        (1, 8, 8), (Conv(4, padding=(1, 1)), Relu(), Pool("max"), Flatten(), Dense(3))
    )
    assert small.shapes[1:] == ((4, 8, 8), (4, 8, 8), (4, 4, 4), (64,), (3,))
    assert small.parameters == 4 * (9 + 1) + 65 * 3
    assert small.widths is None and Architecture.fully_connected(WIDTHS).widths == WIDTHS
    for layers in ((Dense(3),), (Conv(4, (9, 9)), Flatten(), Dense(3)), (Flatten(), Dense(1))):
        with pytest.raises(ValueError):
            Architecture((1, 8, 8), layers)
