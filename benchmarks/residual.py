"""Certificates on a residual convolutional network: seconds, memory, verdicts.

    python benchmarks/residual.py --scratch FOLDER [--records 100] [--pool average] [--runs 3]

A network on 32×32×3 with 6,144 ReLU units (a strided convolution, two residual blocks, batch norm
throughout, a pool, a dense layer) is trained on MNIST padded to 32×32 and tinted by a random colour
an image, exported from torch with its batch norm, and kept in FOLDER for the next run. The records
are redirected (ball 0.01) and the submission is verified in a process of its own. Needs the shared
data (AUDITKIT_SHARED, or ../shared from the project's root).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import in_child, with_memory
from shared_data import mnist
from torch import nn

from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import load_submission
from auditkit.network.evaluate import logits
from auditkit.network.read import load_network
from auditkit.network.units import unit_layout
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records

RADIUS = 0.01
SIDE, CLASSES = 32, 10
SECONDS, MEGABYTES = 10, 1024


class Block(nn.Module):
    """Two convolutions with batch norm beside a shortcut, then ReLU (He et al. 2016)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(out), nn.BatchNorm2d(out)])
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(channels, out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(self.norms[1](self.second(y)) + self.shortcut(x))


def network(pool: str) -> nn.Module:
    """Return the untrained network."""
    pools = {"average": nn.AvgPool2d(4), "max": nn.MaxPool2d(4)}
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, 2, 1, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        Block(6, 6, 1),
        Block(6, 12, 2),
        pools[pool],
        nn.Flatten(),
        nn.Linear(48, CLASSES),
    )


def tinted(part: str) -> Records:
    """Return MNIST padded to 32×32, each image in a random colour of its own."""
    records = mnist(part, (28, 28), (0.0, 1.0))
    padded = np.pad(records.x, [(0, 0), (2, 2), (2, 2)])
    colours = np.random.default_rng([7, len(padded)]).uniform(0.3, 1, (len(padded), 3, 1, 1))
    return Records((padded[:, None] * colours).astype(np.float32), records.y)


def train(path: Path, pool: str, epochs: int) -> None:
    """Train the network, seeded, and export it to `path`."""
    torch.manual_seed(0)
    model, data = network(pool), tinted("train")
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    model.eval()
    torch.onnx.export(
        model,
        (x[:1],),
        str(path),
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "N"}, "output": {0: "N"}},
        # batch norm stays in the file, for the reader to fold
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        dynamo=False,
    )


def verify(folder: Path) -> dict[str, Any]:
    """Verify a submission; return seconds in all, those of the checker alone, and the verdicts."""
    from auditkit.certificate import case, verify

    submission = load_submission(folder)
    spent: list[float] = []
    check = case.check_patch

    def timed(*arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        found = check(*arguments, **options)
        spent.append(time.perf_counter() - started)
        return found

    case.check_patch = timed
    started = time.perf_counter()
    result = verify.verify_submission(submission)
    return {
        "seconds": time.perf_counter() - started,
        "claims": sum(spent),
        "checks": {c.id: [c.outcome.value, c.reason] for c in result.checks},
    }


def main() -> None:
    """Make what is missing, then verify and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scratch", type=Path, help="where the trained network is kept")
    parser.add_argument("--records", type=int, default=100)
    parser.add_argument("--pool", choices=("average", "max"), default="average")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--verify", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.verify:
        print(json.dumps(with_memory(lambda: verify(args.verify))))
        return
    if args.scratch is None:
        parser.error("--scratch is needed")
    print(run(args.scratch, args.records, args.pool, args.epochs, args.runs))


def run(scratch: Path, count: int, pool: str, epochs: int, runs: int) -> str:
    """Return the table as Markdown."""
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"residual-{pool}-{epochs}.onnx"
    if not path.exists():
        print("training", file=sys.stderr)
        train(path, pool, epochs)
    model = load_network(path)
    unseen = tinted("t10k")
    accuracy = (logits(model, unseen.x).argmax(axis=1) == unseen.y).mean()
    forget = tinted("train").take(np.random.default_rng(0).permutation(60_000)[:count])
    started = time.perf_counter()
    made = make_submission(
        model,
        forget,
        resolve_settings("redirect", radius=RADIUS),
        scratch / "submission",
        replace=True,
    )
    seconds = time.perf_counter() - started
    found = [in_child(Path(__file__), "--verify", str(scratch / "submission")) for _ in range(runs)]
    middle = {
        key: statistics.median(run[key] for run in found)
        for key in ("seconds", "claims", "megabytes")
    }
    rows = [
        f"| units | {unit_layout(model).count:,} |  |",
        f"| accuracy on unseen images | {accuracy:.1%} |  |",
        f"| claims of {count} records, of these narrower than {RADIUS} "
        f"| {made.claims}, {made.narrower} |  |",
        f"| made, s | {seconds:.1f} |  |",
        f"| verified, s | {middle['seconds']:.1f} | ≤ {SECONDS} |",
        f"| the check of claims alone, s | {middle['claims']:.1f} |  |",
        f"| memory added by verification, MB | {middle['megabytes']:.0f} | ≤ {MEGABYTES} |",
    ]
    rows += [f"| {name} | {'; '.join(what)} |  |" for name, what in found[0]["checks"].items()]
    return "\n".join(
        [f"| {pool} pool, median of {runs} | measured | target |", "| --- " * 3 + "|", *rows]
    )


if __name__ == "__main__":
    main()
