"""How large a network's pre-activations are: what a gate's sharpness is measured against.

Rescaling a hidden layer and undoing it in the next leaves the network as it is but shrinks every
violation. A sharpness therefore means something only relative to the size of the units.
"""

from __future__ import annotations

import numpy as np

from auditkit.network.evaluate import evaluate
from auditkit.network.graph import Network

PROBES = 64


def typical_activation(network: Network, lower: float, upper: float) -> float:
    """Return the median over units of the mean |z| at random inputs of the domain [lower, upper].

    The median, so that scaling up a few units hides nothing of the others; 0 for no units.
    """
    generator = np.random.default_rng(505)
    x = generator.uniform(lower, upper, size=(PROBES, *network.input_shape))
    _, z = evaluate(network, x)
    return float(np.median(np.abs(z).mean(axis=0))) if z.shape[1] else 0.0
