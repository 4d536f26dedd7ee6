"""Scores from signals: how long the attacks with shadow models take once these are trained.

    python benchmarks/signals.py [--runs 7] [--out results.md]

Signals are drawn, not trained: the arithmetic does not care. Matrices are float32, as they are kept
on disk. Beside the time on the clock stands the processor time, which other work on the machine
leaves as it is. Each case of a million records runs in a process of its own, from matrices mapped
from disk; its peak memory is all the process ever held, mapped pages among it. The loop that is
compared with calls scipy.stats.norm for each record of a sample, and is extrapolated.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import in_child
from numpy.typing import NDArray
from scipy.stats import norm

import attacks

SHADOWS, RECORDS = 256, 50_000
FEW, POPULATION = 4, 25_000
MANY_SHADOWS, MILLION = 64, 1_000_000
SAMPLE = 500  # records of the loop that is compared with


def main() -> None:
    """Run everything and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="timings each, of which the median")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--million", nargs=2, metavar=("ATTACK", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.million:
        print(json.dumps(million(args.million[0], Path(args.million[1]))))
        return
    text = table(args.runs)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def table(runs: int) -> str:
    """Return the Markdown table."""
    lines = [
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"numpy {np.__version__}, median of {runs} runs.",
        "",
        "| what | target | on the clock | processor time |",
        "| --- | --- | --- | --- |",
    ]
    target, shadows, mask = drawn(SHADOWS, RECORDS)
    size = f"{SHADOWS} shadows × {RECORDS:,} records"
    for name, call in scores().items():
        cells = median(lambda c=call: c(target, shadows, mask), runs)
        aim = "≤ 0.2 s" if name.startswith("LiRA") and "median" not in name else ""
        lines.append(f"| {name}, {size} | {aim} | {cells} |")
    lines.append(
        f"| LiRA online, variance per record, scipy.stats.norm record by record, extrapolated from "
        f"{SAMPLE} records | | {loop(target, shadows, mask)} |"
    )
    few, z = drawn(FEW, RECORDS), drawn(FEW, POPULATION)
    for variant in ("online", "offline"):
        cells = median(lambda v=variant: attacks.rmia.score(*few, *z[:2], variant=v), runs)
        lines.append(
            f"| RMIA {variant}, {FEW} shadows × {RECORDS:,} records, population of {POPULATION:,} "
            f"| ≤ 0.1 s | {cells} |"
        )
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        for name in MILLION_ATTACKS:
            found = in_child(Path(__file__), "--million", name, folder)
            lines.append(
                f"| {name}, {MANY_SHADOWS} shadows × {MILLION:,} records from disk, with AUC and "
                f"its interval, rates, curve and histogram: peak {found['peak'] / 1024:.2f} GB "
                f"| ≤ 2 GB | {found['clock']:.2f} s | {found['processor']:.2f} s |"
            )
    return "\n".join(lines)


def scores() -> dict[str, Callable[..., Any]]:
    """Return what is timed on the large matrix, by name."""
    lira = attacks.lira.score
    return {
        "LiRA online, pooled": lira,
        "LiRA online, per record": lambda *a: lira(*a, variance="per-record"),
        "LiRA offline, one-sided": lambda *a: lira(*a, variant="offline-one-sided"),
        "LiRA online, medians": lambda *a: lira(*a, centre="median"),
        "Attack-R, linear": attacks.reference.score,
        "BASE online": attacks.base.score,
        "BaVarIA online, Student-t": attacks.bavaria.score,
    }


MILLION_ATTACKS = {
    "LiRA online": attacks.lira.score,
    "RMIA online": attacks.rmia.score,
    "Attack-R": attacks.reference.score,
    "BASE": attacks.base.score,
    "BaVarIA": attacks.bavaria.score,
}


def drawn(shadows: int, records: int, seed: int = 0) -> tuple[NDArray[Any], ...]:
    """Return target [N], signals float32 [K, N] and mask [K, N] with half of the models IN."""
    generator = np.random.default_rng([seed, shadows, records])
    mask = np.empty((shadows, records), dtype=np.bool_)
    mask[0::2] = generator.random((shadows // 2, records), dtype=np.float32) < 0.5
    mask[1::2] = ~mask[0::2]
    easy = generator.normal(2.0, 3.0, records).astype(np.float32)
    signals = generator.standard_normal((shadows, records), dtype=np.float32)
    signals += easy
    np.add(signals, 1.5, out=signals, where=mask)
    member = np.arange(records) < records // 2
    target = easy + 1.5 * member + generator.standard_normal(records)
    return target.astype(np.float64), signals, mask


def median(call: Callable[[], Any], runs: int) -> str:
    """Return the median seconds of a call as two cells, after one that does not count."""
    call()
    times = [timed(call) for _ in range(runs)]
    return " | ".join(f"{statistics.median(column):.3f} s" for column in zip(*times, strict=True))


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Return how long a call took, on the clock and of all processors together."""
    clock, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - clock, time.process_time() - processor


def loop(target: NDArray[Any], shadows: NDArray[Any], mask: NDArray[Any]) -> str:
    """Return the seconds a loop over all records would take, and check that it says the same."""
    found = np.empty(SAMPLE)

    def run() -> None:
        for i in range(SAMPLE):
            inside = shadows[mask[:, i], i].astype(np.float64)
            outside = shadows[~mask[:, i], i].astype(np.float64)
            found[i] = norm.logpdf(target[i], inside.mean(), inside.std()) - norm.logpdf(
                target[i], outside.mean(), outside.std()
            )

    seconds = timed(run)
    ours = attacks.lira.score(target, shadows, mask, variance="per-record")[:SAMPLE]
    np.testing.assert_allclose(ours, found, rtol=1e-9, atol=1e-9)
    return " | ".join(f"{s * target.size / SAMPLE:.1f} s" for s in seconds)


def save(folder: Path) -> None:
    """Write the million records to disk."""
    names = ("target", "signals", "mask")
    for name, array in zip(names, drawn(MANY_SHADOWS, MILLION), strict=True):
        np.save(folder / f"{name}.npy", array)


def million(name: str, folder: Path) -> dict[str, float]:
    """Score and summarise a million records mapped from disk; peak in MB, of the whole process."""
    target, signals, mask = (
        np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("target", "signals", "mask")
    )

    def run() -> None:
        found = MILLION_ATTACKS[name](target, signals, mask)
        members, others = np.split(found, [MILLION // 2])
        figures = attacks.evaluate(members, others)
        np.histogram(members, 100), np.histogram(others, 100)
        assert figures.auc.auc > 0.6, figures.auc

    clock, processor = timed(run)
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            peak = int(line.split()[1]) / 1024
    return {"clock": clock, "processor": processor, "peak": peak}


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
