"""How large a network's pre-activations are: what a gate's sharpness is measured against.

Rescaling a hidden layer and undoing it in the next leaves the network as it is but shrinks every
violation. A sharpness therefore means something only relative to the size of the units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.network.evaluate import evaluate
from auditkit.network.graph import Network

PROBES = 256


def random_inputs(network: Network, lower: float, upper: float) -> NDArray[np.float64]:
    """Return the same random inputs of the domain [lower, upper] every time.

    Each has a share of its features, between none and all, uniform and the others at the lower
    end: inputs of one density alone, such as noise, leave most units of a trained network on one
    side.
    """
    generator = np.random.default_rng(505)
    shape = (PROBES, *network.input_shape)
    density = generator.random((PROBES, *[1] * len(network.input_shape)))
    chosen = generator.random(shape) < density
    return np.where(chosen, generator.uniform(lower, upper, shape), lower)


def typical_activation(network: Network, lower: float, upper: float) -> float:
    """Return the median over units of the mean |z| at random inputs of the domain [lower, upper].

    Only units of either sign there count, if there are any: one that never changes sign tells no
    region from another, however large it is made. 0 for no units.
    """
    _, z = evaluate(network, random_inputs(network, lower, upper))
    if not z.shape[1]:
        return 0.0
    deciding = (z > 0).any(axis=0) & (z <= 0).any(axis=0)
    sizes = np.abs(z[:, deciding] if deciding.any() else z).mean(axis=0)
    return float(np.median(sizes))
