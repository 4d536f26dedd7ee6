"""What the delivered network is compared with, as the auditor's plan allows.

What an honest network would answer at a record that it forgot cannot be read off the network. It is
what networks say that never saw the record, or what this network says of records that it never saw,
or, of a patch, what the auditor's own patch of the same network does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.network.evaluate import logits
from auditkit.network.graph import Network
from auditkit.patch.patched import AnyPatched

Answer = Callable[[NDArray[Any]], NDArray[np.float64]]
"""Records [N, *input_shape] to logits [N, C]."""


class ReferenceKind(StrEnum):
    """Which references a plan allows."""

    RETRAINED = "retrained"
    NEVER_SEEN = "never-seen"
    PATCHED = "patched"


@dataclass(frozen=True, eq=False)
class References:
    """References of one kind.

    `networks` never saw the forgotten records: given, or retrained by the auditor. `patched` is the
    original with the auditor's own patch. With `never-seen` there are neither: unseen records stand
    for what a network says of records that it does not know.
    """

    kind: ReferenceKind = ReferenceKind.NEVER_SEEN
    networks: tuple[Network, ...] = ()
    patched: AnyPatched | None = None

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Return the references as functions of records; none of kind `never-seen`."""
        if self.patched is not None:
            return (lambda x: np.asarray(self.patched.logits(x), np.float64),)  # type: ignore[union-attr]
        return tuple(answering(network) for network in self.networks)


def answering(network: Network) -> Answer:
    """Return a network as a function of records, which may have another shape."""

    def answer(x: NDArray[Any]) -> NDArray[np.float64]:
        shaped = x.reshape(len(x), *network.input_shape).astype(network.dtype)
        return np.asarray(logits(network, shaped), dtype=np.float64)

    return answer
