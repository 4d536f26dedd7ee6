"""What a patch costs at inference: the library and patched.onnx, each against the bare network.

    python benchmarks/inference.py [--records 500] [--batch 5000] [--runs 9] [--out results.md]

The 784-256-256-10 network of VNN-COMP 2021 on MNIST test images. Bare and patched take turns,
in blocks of ten calls; the table has medians, and the median of the blocks' ratios. Needs the
shared data (AUDITKIT_SHARED, or ../shared from the project's root).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from shared_data import DENSE, SHARED, mnist

from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import load_submission
from auditkit.network.evaluate import logits
from auditkit.network.read import load_network
from auditkit.network.write_onnx import network_to_onnx
from auditkit.patch.settings import resolve_settings

SETTLE = 0.2  # seconds, in which threads that wait for work give up
TARGET = 1.5  # times the bare network, in the library
CASES = [("redirect", 0), ("redirect", 4), ("neutralise", 0), ("reference", 0)]  # spec, bands


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--records", type=int, default=500, help="forgotten records")
    parser.add_argument("--batch", type=int, default=5000, help="inputs evaluated at once")
    parser.add_argument("--runs", type=int, default=9, help="blocks of ten calls each")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = run(Path(folder), args.records, args.batch, args.runs)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def run(folder: Path, records: int, batch: int, runs: int) -> str:
    """Return the table as Markdown."""
    network = load_network(SHARED / "models" / DENSE)
    train = mnist("train", network.input_shape, (0.0, 1.0))
    unseen = mnist("t10k", network.input_shape, (0.0, 1.0))
    unseen = unseen.take(np.random.default_rng(1).permutation(len(unseen)))
    forget = train.take(np.random.default_rng(0).permutation(len(train))[:records])
    x = unseen.x[:batch]
    bare_session = _session(network_to_onnx(network))
    lines = [
        f"{records} forgotten records, {len(x)} inputs; milliseconds, "
        f"medians of {runs} blocks of ten calls",
        "",
        "| patch | bytes a record | inputs with a gate ajar | library: bare | patched | ratio "
        f"(target {TARGET}) | onnxruntime: bare | patched | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for spec, bands in CASES:
        out = folder / f"{spec}-{bands}"
        made = make_submission(
            network,
            forget,
            resolve_settings(spec, bands=bands),
            out,
            reference=unseen.take(range(batch, len(unseen))),
        )
        submission = load_submission(out)
        ajar = float((submission.patched.openness(x) > 0).mean())
        library = _in_turns(
            lambda: logits(network, x), lambda s=submission: s.patched.logits(x), runs
        )
        session = _session(submission.exported)
        runtime = _in_turns(
            lambda: bare_session.run(None, {"input": x}),
            lambda s=session: s.run(None, {"input": x}),
            runs,
        )
        lines.append(
            f"| {spec}{f', {bands} bands' if bands else ''} | {made.patch_bytes / records:.1f} "
            f"| {ajar:.1%} | {_cells(library)} | {_cells(runtime)} |"
        )
    return "\n".join(lines)


def _session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def _in_turns(
    bare: Callable[[], object], patched: Callable[[], object], runs: int
) -> tuple[float, float, float]:
    """Return median milliseconds of both and the median of their ratios, block by block.

    A block is ten calls of the same: threads of the one before still wait for work in its first.
    """
    times = [(_block(bare), _block(patched)) for _ in range(runs)]
    first, second = zip(*times, strict=True)
    ratios = [b / a for a, b in times]
    return statistics.median(first), statistics.median(second), statistics.median(ratios)


def _block(call: Callable[[], object]) -> float:
    time.sleep(SETTLE)
    return statistics.median([_milliseconds(call) for _ in range(12)][2:])


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def _cells(figures: tuple[float, float, float]) -> str:
    bare, patched, ratio = figures
    return f"{bare:.1f} | {patched:.1f} | {ratio:.2f}"


if __name__ == "__main__":
    main()
