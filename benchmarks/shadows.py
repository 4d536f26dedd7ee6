"""Shadow models as one batched ensemble, against the same trained one after another.

    python benchmarks/shadows.py [--rounds 3] [--shadows 64] [--case NAME …] [--out results.md]

The usual way is a PyTorch loop over the networks: nn.Sequential, CrossEntropyLoss, Adam, batches by
indexing tensors in memory (no DataLoader, which would be slower), on as many threads as are fastest
for it. Both train on the same halves with the same recipe. They take turns; the table has medians,
and the median of the rounds' ratios. A rate is 6 floating-point operations a parameter (of a
convolution: a multiplication) and record, as is usual, and again without the gradient by the
records, which nobody computes; the machine's is that of torch.mm on 2048 x 2048 matrices on all
threads, measured in every round. Location-30 and MNIST need the shared data (AUDITKIT_SHARED, or
../shared from the project's root).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from shared_data import mnist, users
from sklearn.datasets import load_digits

from attacks.shadows import (
    Architecture,
    Recipe,
    group_slices,
    paired_masks,
    trained_groups,
    training_arrays,
)
from attacks.shadows.architecture import Conv, Dense, Flatten, Pool, Relu

Data = tuple[NDArray[np.float32], NDArray[np.int64]]

SMALL_IMAGES = Architecture(
    (1, 28, 28),
    (
        Conv(16), Relu(), Pool("max"), Conv(32), Relu(), Pool("max"),
        Flatten(), Dense(64), Relu(), Dense(10),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Networks to train, on what, and how much faster they are to be."""

    name: str
    architecture: Architecture
    data: Callable[[], tuple[Data, Data]]
    recipe: Recipe
    target: float | None


def digits() -> tuple[Data, Data]:
    """Return scikit-learn's digits: two thirds as the pool, the others to test on."""
    x, y = load_digits(return_X_y=True)
    return _split((x / 16).astype(np.float32), y.astype(np.int64), 1200)


def location30() -> tuple[Data, Data]:
    """Return Location-30: the pool, and 1,000 users to test on."""
    records = users()
    return _split(records.x, records.y, len(records) - 1000)


def mnist_1000() -> tuple[Data, Data]:
    """Return 1,000 MNIST images, and 2,000 to test on."""
    train, test = (mnist(part, (1, 28, 28), (0.0, 1.0)) for part in ("train", "t10k"))
    order = np.random.default_rng(0).permutation(len(train))[:1000]
    train, test = train.take(order), test.take(np.random.default_rng(1).permutation(10000)[:2000])
    return (train.x, train.y), (test.x, test.y)


def _split(x: NDArray[np.float32], y: NDArray[np.int64], pool: int) -> tuple[Data, Data]:
    order = np.random.default_rng(0).permutation(len(y))
    return (x[order[:pool]], y[order[:pool]]), (x[order[pool:]], y[order[pool:]])


CASES = {
    case.name: case
    for case in (
        Case("digits 64-64-10", Architecture.fully_connected((64, 64, 10)), digits,
             Recipe(epochs=40, learning_rate=2e-3, batch_size=64), 10.0),
        Case("Location-30 446-256-30", Architecture.fully_connected((446, 256, 30)), location30,
             Recipe(epochs=15, learning_rate=1e-3, batch_size=64), 2.0),
        Case("MNIST-1000 conv16-conv32-64-10", SMALL_IMAGES, mnist_1000,
             Recipe(epochs=15, learning_rate=1e-3, batch_size=50), None),
    )
}  # fmt: skip


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shadows", type=int, default=64)
    parser.add_argument("--case", choices=CASES, nargs="+", default=list(CASES), metavar="NAME")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    text = run([CASES[name] for name in args.case], args.shadows, args.rounds)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def run(cases: list[Case], shadows: int, rounds: int) -> str:
    """Return the table as Markdown."""
    lines = [
        f"{shadows} shadow models, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"medians of {rounds} rounds in turn",
        "",
        "| networks | records · epochs · batch | groups | one after another (threads) | batched "
        "| ratio (target) | test accuracy: one after another | batched | rate: GFLOP/s "
        "| of torch.mm | of its own products | without the records' gradient |",
        "| --- " * 12 + "|",
    ]
    lines += [_row(case, shadows, rounds) for case in cases]
    return "\n".join(lines)


def _row(case: Case, shadows: int, rounds: int) -> str:
    (pool, test), kind, recipe = case.data(), case.architecture, case.recipe
    x, y = training_arrays(kind, *pool)
    other, truth = training_arrays(kind, *test)
    mask = paired_masks(shadows, len(y), 0)
    threads = _faster_threads(kind, x, y, mask, recipe)
    usual, batched, products, own = [], [], [], []
    accuracy: tuple[list[float], list[float]] = ([], [])
    for seed in range(rounds):
        seconds, found = _one_by_one(kind, x, y, mask, recipe, seed, threads, other, truth)
        usual.append(seconds)
        accuracy[0].extend(found)
        seconds, found = _batched(kind, x, y, mask, recipe, seed, other, truth)
        batched.append(seconds)
        accuracy[1].extend(found)
        products.append(_product_rate())
        own.append(_own_product_rate(kind, recipe, shadows))
    multiplications = kind.products * int(mask.sum()) * recipe.epochs
    rates = [6e-9 * multiplications / seconds for seconds in batched]
    first = _first_products(kind) / kind.products / 3
    ratio = statistics.median([a / b for a, b in zip(usual, batched, strict=True)])
    target = "" if case.target is None else f" ({case.target:g})"
    share = statistics.median([a / b for a, b in zip(rates, products, strict=True)])
    of_own = statistics.median([a / b for a, b in zip(rates, own, strict=True)])
    return (
        f"| {case.name} | {len(y) // 2:,} · {recipe.epochs} · {recipe.batch_size} "
        f"| {len(group_slices(kind, recipe, shadows))} "
        f"| {statistics.median(usual):.1f} s ({threads}) | {statistics.median(batched):.2f} s "
        f"| {ratio:.1f}{target} | {_mean(accuracy[0])} | {_mean(accuracy[1])} "
        f"| {statistics.median(rates):.0f} | {share:.0%} of {statistics.median(products):.0f} "
        f"| {of_own:.0%} of {statistics.median(own):.0f} | {share * (1 - first):.0%} |"
    )


def _mean(values: list[float]) -> str:
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.4f} ± {error:.4f}"


def _faster_threads(
    kind: Architecture,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    mask: NDArray[np.bool_],
    recipe: Recipe,
) -> int:
    """Return on how many threads, one or all, the usual loop is faster."""
    short = Recipe(2, recipe.learning_rate, recipe.batch_size)
    times = {
        threads: min(
            _one_by_one(kind, x, y, mask[:2], short, 0, threads, x[:1], y[:1])[0] for _ in range(3)
        )
        for threads in {1, torch.get_num_threads()}
    }
    return min(times, key=lambda threads: times[threads])


def _one_by_one(
    kind: Architecture,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    mask: NDArray[np.bool_],
    recipe: Recipe,
    seed: int,
    threads: int,
    other: NDArray[np.float32],
    truth: NDArray[np.int64],
) -> tuple[float, list[float]]:
    """Return seconds of the usual loop, and each network's accuracy on other records."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    records, labels = torch.from_numpy(x).view(-1, *kind.input_shape), torch.from_numpy(y)
    unseen = torch.from_numpy(other).view(-1, *kind.input_shape)
    loss_of = torch.nn.CrossEntropyLoss()
    models = []
    start = time.perf_counter()
    for row in mask:
        members = torch.from_numpy(np.flatnonzero(row))
        model = _usual_model(kind)
        optimiser = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
        for _ in range(recipe.epochs):
            order = members[torch.randperm(len(members))]
            for rows in order.split(recipe.batch_size):
                optimiser.zero_grad()
                loss_of(model(records[rows]), labels[rows]).backward()
                optimiser.step()
        models.append(model)
    seconds = time.perf_counter() - start
    torch.set_num_threads(before)
    with torch.no_grad():
        found = [float((m(unseen).argmax(1).numpy() == truth).mean()) for m in models]
    return seconds, found


def _usual_model(kind: Architecture) -> torch.nn.Sequential:
    parts: list[torch.nn.Module] = []
    for layer, shape in zip(kind.layers, kind.shapes, strict=False):
        match layer:
            case Dense(outputs):
                parts.append(torch.nn.Linear(shape[0], outputs))
            case Conv(channels, kernel, stride, padding):
                parts.append(torch.nn.Conv2d(shape[0], channels, kernel, stride, padding))
            case Pool(_, kernel, stride):
                parts.append(torch.nn.MaxPool2d(kernel, stride))
            case Relu():
                parts.append(torch.nn.ReLU())
            case Flatten():
                parts.append(torch.nn.Flatten())
    return torch.nn.Sequential(*parts)


def _batched(
    kind: Architecture,
    x: NDArray[np.float32],
    y: NDArray[np.int64],
    mask: NDArray[np.bool_],
    recipe: Recipe,
    seed: int,
    other: NDArray[np.float32],
    truth: NDArray[np.int64],
) -> tuple[float, list[float]]:
    """Return seconds of the batched ensemble, and each network's accuracy on other records."""
    start = time.perf_counter()
    trained = [t for _, t in trained_groups(kind, x, y, mask, recipe, seed, device="cpu")]
    seconds = time.perf_counter() - start
    return seconds, [
        float(a) for t in trained for a in (t.logits(other).argmax(2) == truth).mean(1)
    ]


def _product_rate(size: int = 2048) -> float:
    """Return GFLOP/s of a large product on all threads."""
    a, b, out = (torch.rand(size, size) for _ in range(3))
    return 2e-9 * size**3 / _least_seconds(lambda: torch.mm(a, b, out=out))


def _own_product_rate(kind: Architecture, recipe: Recipe, shadows: int) -> float:
    """Return GFLOP/s of the products of a group's step alone, from and to the same arrays."""
    rows = group_slices(kind, recipe, shadows)[0]
    k, seconds, operations = rows.stop - rows.start, 0.0, 0.0
    for layer, (before, after) in zip(
        kind.layers, zip(kind.shapes, kind.shapes[1:], strict=False), strict=True
    ):
        match layer:
            case Dense(outputs):
                n, fan_in = recipe.batch_size, before[0]
            case Conv(outputs, kernel):
                n, fan_in = (
                    recipe.batch_size * after[1] * after[2],
                    before[0] * int(np.prod(kernel)),
                )
            case _:
                continue
        h, w, d = (
            torch.rand(k, n, fan_in),
            torch.rand(k, fan_in, outputs),
            torch.rand(k, n, outputs),
        )
        for a, b in ((h, w), (h.transpose(1, 2), d), (d, w.transpose(1, 2))):
            out = torch.bmm(a, b)
            seconds += _least_seconds(lambda a=a, b=b, out=out: torch.bmm(a, b, out=out))
            operations += 2.0 * k * n * fan_in * outputs
    return 1e-9 * operations / seconds


def _first_products(kind: Architecture) -> int:
    first = next(i for i, part in enumerate(kind.layers) if isinstance(part, (Dense, Conv)))
    rest = Architecture(kind.shapes[first + 1], kind.layers[first + 1 :])
    return kind.products - rest.products


def _least_seconds(call: Callable[[], object], times: int = 7) -> float:
    call()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


if __name__ == "__main__":
    main()
