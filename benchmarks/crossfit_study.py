"""Do intervals hold for attacks that fit something? Simulation without any difference to find.

    python benchmarks/crossfit_study.py [--repeats 300]

Forgotten and unseen records are drawn alike. A 95 % interval of the AUC should cover 0.5 in 95 of
100 samples, and the AUC average 0.5. For comparison, the usual cross-fit of a classifier of
forgotten against unseen records, whose scores are not independent.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from attacks import crossfit, learned, quantile
from attacks.statistics import auc_estimate

FORGOTTEN, UNSEEN, KNOWN, CLASSES = 100, 700, 800, 5
Scores = NDArray[np.float64]


def world(seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return logits, labels and records of forgotten, unseen and known records, in this order."""
    rng = np.random.default_rng([seed, 1])
    n = FORGOTTEN + UNSEEN + KNOWN
    records, labels = rng.random((n, 8)), rng.integers(0, CLASSES, n)
    logits = 2 * rng.normal(size=(n, CLASSES)) + (1 + 3 * records[:, :1]) * np.eye(CLASSES)[labels]
    logits[FORGOTTEN + UNSEEN :] += 2 * np.eye(CLASSES)[labels[FORGOTTEN + UNSEEN :]]
    return logits, labels, records


def by_quantile(seed: int, variant: quantile.Variant) -> Scores:
    logits, y, x = world(seed)
    judged, unseen = slice(FORGOTTEN + UNSEEN), slice(FORGOTTEN, FORGOTTEN + UNSEEN)
    phi = learned.features(logits, y)[:, 0]
    return quantile.score(
        phi[judged], y[judged], phi[unseen], y[unseen], records=x[judged],
        population_records=x[unseen], population_rows=np.arange(FORGOTTEN, FORGOTTEN + UNSEEN),
        variant=variant, seed=seed,
    )  # fmt: skip


def by_known_members(seed: int) -> Scores:
    logits, y, _ = world(seed)
    judged, unseen = slice(FORGOTTEN + UNSEEN), slice(FORGOTTEN, FORGOTTEN + UNSEEN)
    known = slice(FORGOTTEN + UNSEEN, None)
    rows = np.arange(FORGOTTEN, FORGOTTEN + UNSEEN)
    return learned.score(
        logits[judged], y[judged], logits[unseen], y[unseen], logits[known], y[known], rows,
        seed=seed,
    )  # fmt: skip


def in_turn(seed: int) -> Scores:
    logits, y, _ = world(seed)
    unseen = np.arange(FORGOTTEN + UNSEEN) >= FORGOTTEN
    return learned.score_direct(logits[: unseen.size], y[: unseen.size], unseen, seed=seed)


def usual_cross_fit(seed: int) -> Scores:
    logits, y, _ = world(seed)
    unseen = np.arange(FORGOTTEN + UNSEEN) >= FORGOTTEN
    x = learned.features(logits[: unseen.size], y[: unseen.size])
    fold = crossfit.stratified_folds(unseen, 5, seed)
    fit, scores = learned.classifier("logistic", seed), np.empty(unseen.size)
    for number in range(5):
        rest = fold != number
        scores[~rest] = fit(x[rest], (~unseen[rest]).astype(np.int64))(x[~rest])
    return scores


STUDIES: dict[str, Callable[[int], Scores]] = {
    "quantile, pinball": lambda seed: by_quantile(seed, "pinball"),
    "quantile, gaussian": lambda seed: by_quantile(seed, "gaussian"),
    "learned, known members": by_known_members,
    "learned, direct, in turn": in_turn,
    "the same, usual cross-fit": usual_cross_fit,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=300)
    repeats = parser.parse_args().repeats
    print(f"{FORGOTTEN} forgotten and {UNSEEN} unseen records, {repeats} samples\n")
    print("| attack | mean AUC | its spread | mean standard error | coverage |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, study in STUDIES.items():
        found = []
        for seed in range(repeats):
            scores = study(seed)
            area = auc_estimate(scores[:FORGOTTEN], scores[FORGOTTEN:])
            found.append((area.auc, area.standard_error, area.lower <= 0.5 <= area.upper))
        areas, errors, covered = np.array(found, dtype=float).T
        print(
            f"| {name} | {areas.mean():.4f} | {areas.std():.4f} | {errors.mean():.4f} | "
            f"{covered.mean():.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
