"""Certificates on MNIST: made, verified, against one float64 pass, and for 10,000 records.

    python benchmarks/certificates.py [--records 1000] [--many 10000] [--runs 5] [--out results.md]

The 784-256-256-10 network of VNN-COMP 2021, `redirect`, radius 0.05. The float64 pass computes the
logits and the Jacobian of every class for the same records in plain numpy, without any bound: what
a certificate costs at the very least. Each step runs in a process of its own. Needs the shared
data (AUDITKIT_SHARED, or ../shared from the project's root).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import in_child, with_memory
from shared_data import DENSE, SHARED, mnist

from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import load_submission
from auditkit.certificate.verify import verify_submission
from auditkit.network.graph import Dense
from auditkit.network.read import load_network
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records

RADIUS = 0.05
MADE, VERIFIED, RATIO = 20, 5, 10  # seconds, seconds, times the float64 pass
MANY_SECONDS, MANY_MEGABYTES = 60, 2048
BATCH = 200  # records whose Jacobians are in memory at once: [200, 10, 784] float64


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000, help="0 leaves the large case out")
    parser.add_argument("--runs", type=int, default=5, help="medians are over this many")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        name, count, folder = args.step
        step = STEPS[name]
        print(json.dumps(with_memory(lambda: step(int(count), Path(folder)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        text = run(Path(folder), args.records, args.many, args.runs)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def run(folder: Path, count: int, many: int, runs: int) -> str:
    """Return the table as Markdown."""

    def measured(step: str, size: int, times: int = runs) -> dict[str, Any]:
        found = [
            in_child(Path(__file__), "--step", step, str(size), str(folder)) for _ in range(times)
        ]
        numbers = ("seconds", "processor", "megabytes", "claims")
        return found[0] | {
            key: statistics.median(f[key] for f in found) for key in numbers if key in found[0]
        }

    made, verified, bare = (measured(step, count) for step in ("make", "verify", "pass"))
    rows = [
        f"| {count} made, s | {made['seconds']:.2f} | ≤ {MADE} |",
        f"| {count} verified, s | {verified['seconds']:.2f} | ≤ {VERIFIED} |",
        f"| of it the check of claims, s | {verified['claims']:.2f} | |",
        f"| the float64 pass, s | {bare['seconds']:.2f} | |",
        f"| verified over the pass | {verified['seconds'] / bare['seconds']:.1f} | ≤ {RATIO} |",
        f"| the same in processor time | {verified['processor'] / bare['processor']:.1f} | |",
        f"| claims proved, of these narrower | {made['proved']}, {made['narrower']} | |",
        f"| not passed | {verified['open']} | |",
        f"| memory added by verification, MB | {verified['megabytes']:.0f} | |",
    ]
    if many:
        made, verified = measured("make", many, 1), measured("verify", many, 1)
        rows += [
            f"| {many} made, s | {made['seconds']:.1f} | |",
            f"| memory added by making, MB | {made['megabytes']:.0f} | |",
            f"| {many} verified, s | {verified['seconds']:.1f} | ≤ {MANY_SECONDS} |",
            f"| of it the check of claims, s | {verified['claims']:.1f} | |",
            f"| memory added by verification, MB | {verified['megabytes']:.0f} "
            f"| ≤ {MANY_MEGABYTES} |",
            f"| claims proved, of these narrower | {made['proved']}, {made['narrower']} | |",
            f"| not passed | {verified['open']} | |",
        ]
    head = [f"| {DENSE}, median of {runs} | measured | target |", "| --- | ---: | --- |"]
    return "\n".join([*head, *rows])


def records(count: int) -> Records:
    """Return random MNIST training images, the same ones every time."""
    train = mnist("train", (784,), (0.0, 1.0))
    network = load_network(SHARED / "models" / DENSE)
    chosen = train.take(np.random.default_rng(0).permutation(len(train))[:count])
    return Records(chosen.x.reshape(-1, *network.input_shape), chosen.y)


def make(count: int, folder: Path) -> dict[str, Any]:
    """Make the submission."""
    network, forget = load_network(SHARED / "models" / DENSE), records(count)
    settings = resolve_settings("redirect", radius=RADIUS)
    with Clock() as clock:
        made = make_submission(network, forget, settings, folder / f"{count}", replace=True)
    return {**clock.times, "proved": made.claims, "narrower": made.narrower}


def verify(count: int, folder: Path) -> dict[str, Any]:
    """Verify it with the auditor's own list; `claims` are the checker's own seconds."""
    submission, forget = load_submission(folder / f"{count}"), records(count)
    with timed_claims() as spent, Clock() as clock:
        result = verify_submission(submission, forget=forget)
    shortfall = [c.id for c in result.checks if c.outcome.value not in ("pass", "not_run")]
    return {**clock.times, "claims": sum(spent), "open": ", ".join(shortfall) or "none"}


def float64_pass(count: int, folder: Path) -> dict[str, Any]:
    """Compute logits and all class Jacobians with the network's weights in float64."""
    network, x = load_network(SHARED / "models" / DENSE), records(count).x.astype(np.float64)
    layers = [node.operator for node in network.nodes if isinstance(node.operator, Dense)]
    weights = [layer.weight.astype(np.float64) for layer in layers]
    biases = [layer.bias.astype(np.float64) for layer in layers]
    with Clock() as clock:
        for start in range(0, len(x), BATCH):
            value, active = x[start : start + BATCH].reshape(-1, weights[0].shape[1]), []
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                value = value @ weight.T + bias
                active.append(value > 0)
                value *= active[-1]
            logits = value @ weights[-1].T + biases[-1]
            gradient = weights[-1][None] * active[-1][:, None]
            for weight, on in zip(weights[-2:0:-1], active[-2::-1], strict=True):
                gradient = gradient.reshape(-1, len(weight)) @ weight
                gradient = gradient.reshape(len(value), -1, weight.shape[1]) * on[:, None]
            jacobian = gradient.reshape(-1, len(weights[0])) @ weights[0]
            assert jacobian.shape == (logits.size, weights[0].shape[1])
    return clock.times


class Clock:
    """Wall and processor seconds of what runs in the context."""

    def __enter__(self) -> Clock:
        self._started = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, processor = self._started
        self.times = {
            "seconds": time.perf_counter() - wall,
            "processor": time.process_time() - processor,
        }


class timed_claims(list[float]):
    """Collect the seconds of every call of the checker while the context lasts."""

    def __enter__(self) -> timed_claims:
        from auditkit.certificate import case

        self._inner = case.check_patch

        def timed(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            found = self._inner(*arguments, **options)
            self.append(time.perf_counter() - started)
            return found

        case.check_patch = timed
        return self

    def __exit__(self, *_: object) -> None:
        from auditkit.certificate import case

        case.check_patch = self._inner


STEPS: dict[str, Callable[[int, Path], dict[str, Any]]] = {
    "make": make,
    "verify": verify,
    "pass": float64_pass,
}


if __name__ == "__main__":
    main()
