"""A small random network with a request: enough for everything that is not about data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import Submission, load_submission
from auditkit.network.evaluate import logits
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.network.native import network_to_native
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records

KEY = b"k" * 32


@dataclass(frozen=True, eq=False)
class World:
    """A network, records to forget, and others; labels are what the network says."""

    network: Network
    forget: Records
    others: Records

    def submit(
        self, out: Path, spec: str = "redirect", *, native: bool = True, **settings
    ) -> Submission:
        """Make an honest submission and read it back."""
        files = None
        if native:
            document, tensors = network_to_native(self.network)
            files = {"model.json": document, "model.safetensors": tensors}
        make_submission(
            self.network,
            self.forget,
            resolve_settings(spec, **settings),
            out,
            reference=self.others if spec != "redirect" else None,
            key=KEY,
            model_files=files,
            replace=True,
        )
        return load_submission(out)


def small_world(
    seed: int = 0, records: int = 6, widths: tuple[int, ...] = (12, 24, 16, 4)
) -> World:
    """Return a world whose regions are small beside the box."""
    generator = np.random.default_rng(seed)
    nodes: list[Node] = []
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        if number:
            nodes.append(Node(Relu(), (len(nodes),)))
        weight = generator.normal(0, 2 / np.sqrt(inputs), (outputs, inputs)).astype(np.float32)
        bias = generator.normal(0, 0.5, outputs).astype(np.float32)
        bias -= weight.sum(axis=1) / 2  # so that units change sign inside the box
        nodes.append(Node(Dense(weight, bias), (len(nodes),)))
    network = Network((widths[0],), tuple(nodes), np.dtype(np.float32))
    x = generator.random((records + 300, widths[0])).astype(np.float32)
    y = logits(network, x).argmax(axis=1).astype(np.int64)
    everything = Records(x, y)
    return World(network, everything.take(range(records)), everything.take(range(records, len(x))))


@pytest.fixture(scope="session")
def world() -> World:
    return small_world()


@pytest.fixture(scope="session")
def honest(world: World, tmp_path_factory: pytest.TempPathFactory) -> Submission:
    return world.submit(tmp_path_factory.mktemp("honest") / "submission")
