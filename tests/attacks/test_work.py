"""What is said before models are trained: how many, on what, for how long."""

from time import perf_counter

import numpy as np
import pytest

from attacks import Recipe, shadows
from attacks.shadows import work
from attacks.shadows.architecture import Architecture, as_architecture
from attacks.shadows.work import announcement, duration

pytest.importorskip("torch")

RNG = np.random.default_rng(2)
X = RNG.random((3000, 40)).astype(np.float32)
Y = RNG.integers(0, 5, 3000)


def test_a_long_training_is_announced_with_an_estimate_of_its_time():
    kind = as_architecture((40, 64, 5))
    recipe = Recipe(epochs=70, batch_size=25)
    mask = shadows.paired_masks(8, 3000, 0)
    said = announcement("references", kind, X, Y, mask, recipe, device="cpu")
    assert said.startswith("8 references (40-64-5): 70 epochs on 1500 of 3000 records each; about ")
    assert said.endswith(" s, an estimate")
    groups = shadows.group_slices(kind, recipe, 8, "cpu")
    seconds = work._estimated_seconds(kind, X, Y, mask, recipe, groups, "cpu")
    begun = perf_counter()
    for _ in shadows.trained_groups(kind, X, Y, mask, recipe, 0, device="cpu"):
        pass
    took = perf_counter() - begun
    assert took / 4 < seconds < 4 * took + 1.0  # the machine may be busy with other things


def test_a_short_training_is_not_measured():
    kind = Architecture.fully_connected((40, 5))
    mask = shadows.paired_masks(2, 3000, 0)
    said = announcement("shadow models", kind, X, Y, mask, Recipe(1))
    assert said == "2 shadow models (40-5): 1 epochs on 1500 of 3000 records each"
    assert announcement("shadow models", kind, X, Y, mask, Recipe(50), [], "2 of 2 found").endswith(
        "records each; 2 of 2 found, 0 to train"
    )


def test_many_epochs_on_few_records_are_measured_too():
    kind = as_architecture((40, 5))
    mask = shadows.paired_masks(2, 30, 0)
    said = announcement("shadow models", kind, X[:30], Y[:30], mask, Recipe(4100), device="cpu")
    assert said.startswith("2 shadow models (40-5): 4100 epochs on 15 of 30 records each; about ")


def test_the_estimate_changes_no_score():
    options = {"shadows": 4, "recipe": Recipe(30, batch_size=10), "seed": 1, "device": "cpu"}
    said = []
    told = shadows.train_shadows((40, 8, 5), X, Y, scored=50, say=said.append, **options)
    assert "an estimate" in said[0]
    plain = shadows.train_shadows((40, 8, 5), X, Y, scored=50, **options)
    np.testing.assert_array_equal(told.pool, plain.pool)
    assert told.pool.shape == told.member_mask.shape == (4, 50)


@pytest.mark.parametrize(
    ("seconds", "said"), [(7.4, "7 s"), (89.9, "90 s"), (1230, "20 min"), (9000, "2.5 h")]
)
def test_times_in_words(seconds, said):
    assert duration(seconds) == said
