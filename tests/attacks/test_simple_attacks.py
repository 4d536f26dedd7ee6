"""Attack-P and the support of a patch, on arrays that can be read."""

import numpy as np
import pytest

from attacks import patch_support, population


def test_population_rank_counts_ties_half():
    scores = population.score([0.0, 2.0, 2.5, 9.0], [1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(scores, [0.0, 0.375, 0.5, 1.0])


def test_population_refuses_nan():
    with pytest.raises(ValueError, match="population holds 1"):
        population.score([0.0], [np.nan])


def test_patch_support_is_the_openness():
    np.testing.assert_array_equal(patch_support.score([0.0, 0.25, 1.0]), [0.0, 0.25, 1.0])


@pytest.mark.parametrize("gates", [[-0.1], [1.1], [np.nan], []])
def test_patch_support_refuses(gates):
    with pytest.raises(ValueError, match="gates"):
        patch_support.score(gates)
