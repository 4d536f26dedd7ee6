"""Every attack on two networks that remember what they saw, with 64 shadow models.

    python benchmarks/membership.py [location30] [mnist1000] [--shadows 64] [--out results.md]

Location-30: 446-256-30, trained to fit half of the 5,010 users. MNIST-1000: a small convolutional
network trained to fit 1,000 images, and 1,000 others it never saw. A fifth of the members is handed
to the attack as known members and not judged. Times are of the attack alone; that of the shadow
models is said apart. Needs the shared data (AUDITKIT_SHARED, or ../shared from the project's root).
No row of the data is written anywhere.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import attacks
from attacks.shadows import Architecture, Recipe, train_shadows
from attacks.shadows.architecture import Conv, Dense, Flatten, Pool, Relu
from attacks.statistics import TprAtFpr

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.location30 import SHARED, users

SMALL_CONVOLUTIONAL = Architecture(
    (1, 28, 28),
    (
        *(Conv(16, padding=(1, 1)), Relu(), Pool("max")),
        *(Conv(32, padding=(1, 1)), Relu(), Pool("max")),
        *(Flatten(), Dense(64), Relu(), Dense(10)),
    ),
)


@dataclass(frozen=True, eq=False)
class Case:
    """Records of a pool, which of them the target trained on, and how it is trained."""

    title: str
    x: NDArray[np.float32]
    y: NDArray[np.int64]
    member: NDArray[np.bool_]
    architecture: Architecture
    recipe: Recipe


def location30() -> Case:
    """Return Location-30 with half of the users as members."""
    everyone = users()
    member = np.zeros(len(everyone), dtype=bool)
    member[np.random.default_rng(0).permutation(len(everyone))[: len(everyone) // 2]] = True
    return Case(
        "Location-30, 446-256-30",
        everyone.x,
        everyone.y,
        member,
        Architecture.fully_connected((446, 256, 30)),
        Recipe(epochs=30, learning_rate=1e-3, batch_size=64),
    )


def mnist1000() -> Case:
    """Return 2,000 images of MNIST, 1,000 of them members."""
    from auditkit.records import read_records

    folder = SHARED / "data" / "mnist"
    images = read_records(folder / "train-images-idx3-ubyte.gz")
    rows = np.random.default_rng(0).permutation(len(images))[:2000]
    chosen = images.take(rows)
    return Case(
        "MNIST-1000, small convolutional network",
        chosen.x.reshape(-1, 1, 28, 28),
        chosen.y,
        np.arange(2000) < 1000,
        SMALL_CONVOLUTIONAL,
        Recipe(epochs=40, learning_rate=1e-3, batch_size=50),
    )


CASES: dict[str, Callable[[], Case]] = {"location30": location30, "mnist1000": mnist1000}


def run(case: Case, shadows: int) -> str:
    """Return the table of all attacks on the target of a case, as Markdown."""
    started = time.perf_counter()
    target = trained(case)
    alone = time.perf_counter() - started
    members, others = np.flatnonzero(case.member), np.flatnonzero(~case.member)
    known, judged_members = np.split(members, [len(members) // 5])
    judged = np.concatenate([judged_members, others])
    started = time.perf_counter()
    found = train_shadows(
        case.architecture, case.x, case.y, shadows=shadows, recipe=case.recipe, seed=1
    )
    together = time.perf_counter() - started
    outputs, n = target(case.x[judged]), len(judged_members)
    evidence = attacks.Evidence(
        logits=outputs,
        labels=case.y[judged],
        population_logits=outputs[n:],
        population_labels=case.y[others],
        population_records=case.x[others],
        population_rows=np.arange(n, len(judged)),
        known_logits=target(case.x[known]),
        known_labels=case.y[known],
        shadows=found.pool[:, judged],
        member_mask=found.member_mask[:, judged],
        records=case.x[judged],
        predict=target,
        radius=0.03,
    )
    right = {
        name: float((target(case.x[rows]).argmax(1) == case.y[rows]).mean())
        for name, rows in (("members", members), ("others", others))
    }
    lines = [
        f"## {case.title}",
        "",
        f"{n} members and {len(others)} others judged; accuracy {right['members']:.1%} and "
        f"{right['others']:.1%}. Target trained in {alone:.1f} s, {shadows} shadow models in "
        f"{together:.1f} s.",
        "",
        "| attack | access | AUC | 95 % interval | TPR at 1 % | 95 % interval | TPR at 0.1 % | "
        "seconds |",
        "| --- " * 8 + "|",
    ]
    for name, attack in attacks.REGISTRY.items():
        if evidence.lacks(attack.needs):
            continue
        started = time.perf_counter()
        scores = attack.score(evidence)
        seconds = time.perf_counter() - started
        figures = attacks.evaluate(scores[:n], scores[n:])
        area, rates = figures.auc, figures.tprs
        cells = [
            f"`{name}`", attack.tier.value, f"{area.auc:.3f}", f"{area.lower:.3f}–{area.upper:.3f}",
            *rate_cells(rates[0]), rate_cells(rates[1])[0], f"{seconds:.2f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


def rate_cells(rate: Any) -> tuple[str, str]:
    """Return a true-positive rate and its interval, or that the sample cannot tell."""
    if not isinstance(rate, TprAtFpr):
        return "refused", f"needs {rate.needed}"
    return f"{rate.tpr:.3f}", f"{rate.lower:.3f}–{rate.upper:.3f}"


def trained(case: Case) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Train the target on the members and return it as a function of records."""
    everyone = np.where(case.member)[0]
    mask = np.ones((1, len(everyone)), dtype=bool)
    from attacks.shadows.training import trained_groups, training_arrays

    x, y = training_arrays(case.architecture, case.x[everyone], case.y[everyone])
    [(_, ensemble)] = trained_groups(case.architecture, x, y, mask, case.recipe, 0)

    def predict(records: NDArray[Any]) -> NDArray[Any]:
        parts = np.array_split(np.asarray(records, dtype=np.float32), max(1, len(records) // 2048))
        return np.concatenate([ensemble.logits(p.reshape(x[: len(p)].shape))[0] for p in parts])

    return predict


def main() -> None:
    """Run the cases that are named, or both, and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--shadows", type=int, default=64)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    args = parser.parse_args()
    started = time.perf_counter()
    tables = [run(CASES[name](), args.shadows) for name in args.cases or CASES]
    took = time.perf_counter() - started
    text = "\n\n".join([*tables, f"{os.cpu_count()} cores, {took:.0f} s in all."])
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
