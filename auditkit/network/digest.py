"""An identifier of the network itself, whatever file it came from.

The digest covers everything that changes an output: the input's shape, the operators in order with
all their parameters, the exact weights, the dtype, and the input domain where one is given. Every
part is preceded by its length, so that no two networks have the same encoding.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from auditkit.files import canonical_json
from auditkit.network.graph import Network
from auditkit.network.native import describe_layers

Domain = tuple[ArrayLike, ArrayLike]


def semantic_digest(network: Network, domain: Domain | None = None) -> str:
    """Return the SHA-256 of the network's meaning in hexadecimal.

    `domain` is (lowest, highest), each a number or an array that broadcasts to the input's shape;
    it is taken in float64.
    """
    layers, tensors = describe_layers(network)
    document = {
        "dtype": network.dtype.name,
        "input_shape": list(network.input_shape),
        "layers": layers,
    }
    digest = hashlib.sha256()
    _add(digest, b"auditkit/network/v1")
    _add(digest, canonical_json(document))
    for name in sorted(tensors):
        tensor = tensors[name]
        _add(digest, canonical_json([name, tensor.dtype.name, list(tensor.shape)]))
        _add(digest, tensor.astype(tensor.dtype.newbyteorder("<")).tobytes())
    for bound in domain or ():
        full = np.broadcast_to(np.asarray(bound, np.float64), network.input_shape)
        _add(digest, full.astype("<f8").tobytes())
    return digest.hexdigest()


def _add(digest: Any, part: bytes) -> None:
    digest.update(len(part).to_bytes(8, "little"))
    digest.update(part)
