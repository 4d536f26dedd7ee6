"""PRUNE's published algorithm beside gated patches: seconds and bytes for each record.

    python benchmarks/published.py [--records 3] [--batch 100] [--only NETWORK] [--out results.md]

Two networks: 600-256-20, trained here on random binary records of twenty kinds (the size of the
papers' Purchase network), and mnist-net_256x2.onnx from the shared data (AUDITKIT_SHARED, or
../shared from the project's root), left out where that is not there. Every method patches the
same records one by one, with claims within 0.01, and is verified; the gated form also does a batch.
Medians over records; ratios are of one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from shared_data import DENSE, SHARED, mnist

from attacks.shadows import Recipe, train_one
from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import load_submission
from auditkit.certificate.verify import verify_submission
from auditkit.network.evaluate import logits, pattern
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.network.read import load_network
from auditkit.patch.published import scaled_offset, without_redundant
from auditkit.patch.region_rows import region_of
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records

FEATURES, HIDDEN, CLASSES = 600, 256, 20
BINARY, DIGITS = "600-256-20", "mnist-net_256x2"
RECIPE = Recipe(epochs=15, learning_rate=1e-3, batch_size=64)
FORMS = ("published", "explicit", "gated")


@dataclass(frozen=True)
class Timed:
    """What one submission took: seconds to make and to verify, bytes, and what verify said."""

    make: float
    verify: float
    size: float
    outcome: str


def main() -> None:
    """Run the cases and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=3, help="records patched one by one")
    parser.add_argument("--batch", type=int, default=100, help="records of the gated batch")
    parser.add_argument("--only", choices=(BINARY, DIGITS), help="one network")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    args = parser.parse_args()
    parts = []
    for name, case in ((BINARY, binary), (DIGITS, digits)):
        if args.only in (None, name):
            found = case(args.batch)
            if found is not None:
                parts.append(compared(name, *found, args.records))
    text = "\n\n".join(parts)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def binary(batch: int) -> tuple[Network, Records]:
    """Return a network trained on random binary records, and `batch` of those to forget."""
    generator = np.random.default_rng(0)
    likely = generator.beta(0.3, 0.9, (CLASSES, FEATURES))
    y = generator.integers(0, CLASSES, 4000)
    x = (generator.random((len(y), FEATURES)) < likely[y]).astype(np.float32)
    first, last = train_one((FEATURES, HIDDEN, CLASSES), x, y, RECIPE, 0)
    nodes = (Node(Dense(*first), (0,)), Node(Relu(), (1,)), Node(Dense(*last), (2,)))
    return Network((FEATURES,), nodes, np.dtype(np.float32)), Records(x[:batch], y[:batch])


def digits(batch: int) -> tuple[Network, Records] | None:
    """Return the shared MNIST network and training images that it classifies rightly."""
    path = SHARED / "models" / DENSE
    if not path.exists():
        return None
    network = load_network(path)
    records = mnist("train", network.input_shape)
    order = np.random.default_rng(0).permutation(len(records))[: 2 * batch]
    records = records.take(order)
    right = logits(network, records.x).argmax(axis=1) == records.y
    return network, records.take(np.flatnonzero(right)[:batch])


def compared(name: str, network: Network, records: Records, count: int) -> str:
    """Return the table of one network as Markdown."""
    one_by_one = {
        form: [timed(network, records.take([i]), form) for i in range(count)] for form in FORMS
    }
    whole = [timed(network, records.take([i]), "gated", np.inf) for i in range(count)]
    batch = timed(network, records, "gated")
    rows = {
        "published algorithm": median(one_by_one["published"]),
        "gated, written out as rows": median(one_by_one["explicit"]),
        "gated, one record at a time": median(one_by_one["gated"]),
        "gated, whole region (radius ∞)": median(whole),
        f"gated, {len(records)} records at once": Timed(
            batch.make / len(records),
            batch.verify / len(records),
            batch.size / len(records),
            batch.outcome,
        ),
    }
    slowest = rows["published algorithm"]
    lines = [
        f"**{name}**: medians over {count} record(s), each on its own",
        "",
        "| method | make, s/record | verify, s/record | both | times faster | bytes/record "
        "| verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for method, t in rows.items():
        both = t.make + t.verify
        faster = (slowest.make + slowest.verify) / both
        lines.append(
            f"| {method} | {t.make:.4f} | {t.verify:.4f} | {both:.4f} | {faster:,.1f} | "
            f"{t.size:,.0f} | {t.outcome} |"
        )
    return "\n".join([*lines, "", stages(network, records, count)])


def timed(network: Network, records: Records, form: str, radius: float | None = None) -> Timed:
    """Make and verify a submission for `records`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "submission"
        started = time.perf_counter()
        settings = resolve_settings("redirect", radius=radius)
        made = make_submission(network, records, settings, out, form=form)
        patched = time.perf_counter()
        submission = load_submission(out)
        result = verify_submission(submission, forget=submission.forget)
        done = time.perf_counter()
    unproved = f", {made.records - made.claims} without a claim" if made.unclaimed else ""
    narrower = f", {made.narrower} narrower" if made.narrower else ""
    told = result.outcome.value + unproved + narrower
    return Timed(patched - started, done - patched, made.patch_bytes, told)


def median(runs: list[Timed]) -> Timed:
    """Return the medians, and every verdict that there was."""
    return Timed(
        *(float(np.median([getattr(r, f) for r in runs])) for f in ("make", "verify", "size")),
        outcome=", ".join(sorted({r.outcome for r in runs})),
    )


def stages(network: Network, records: Records, count: int) -> str:
    """Return how long the published algorithm takes for what, in medians."""
    spent, kept = [], []
    for i in range(count):
        bits = pattern(network, records.x[i : i + 1].astype(np.float64))[0]
        clock = [time.perf_counter()]
        region = region_of(network, bits)
        clock.append(time.perf_counter())
        fewer = without_redundant(region, 0.0, 1.0)
        clock.append(time.perf_counter())
        label = int((records.y[i] + 1) % network.classes)
        scaled_offset(fewer, label, 0.1, 0.0, 1.0)
        clock.append(time.perf_counter())
        spent.append(np.diff(clock))
        kept.append((len(fewer.limits), len(region.limits)))
    seconds = np.median(spent, axis=0)
    rows = " and ".join(f"{a} of {b}" for a, b in kept[:3])
    return (
        f"Of the published algorithm: region {seconds[0]:.3f} s, redundant rows "
        f"{seconds[1]:.2f} s (kept {rows}), programs for the offset {seconds[2]:.2f} s."
    )


if __name__ == "__main__":
    main()
