"""Every attack on two networks that remember what they saw, with 64 shadow models.

    python benchmarks/membership.py [location30] [mnist1000] [unlearned] [--shadows 64] [--out FILE]

Location-30: 446-256-30, trained to fit half of the 5,010 users. MNIST-1000: a small convolutional
network trained to fit 1,000 images, and 1,000 others it never saw. A fifth of the members is handed
to the attack as known members and not judged. Times are of the attack alone; that of the shadow
models is said apart. Unlearned: 500 members of Location-30 are to be forgotten, by nothing at all,
by training on with the others, and by training anew without them; they are judged against 1,000
users never seen, by ordinary shadow models and by such as were unlearned the same way. Needs the
shared data (AUDITKIT_SHARED, or ../shared from the project's root).
No row of the data is written anywhere.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shared_data import mnist, users

import attacks
from attacks.interface import Predict
from attacks.shadows import (
    Architecture,
    Labelled,
    Recipe,
    Trained,
    Unlearn,
    forward,
    paired_masks,
    train_one,
    train_shadows,
    trained_groups,
    training_arrays,
    unlearn_shadows,
)
from attacks.shadows.architecture import Conv, Dense, Flatten, Pool, Relu
from attacks.statistics import TprAtFpr

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
    images = mnist("train")
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
UNLEARNED = "unlearned"
FORGOTTEN, UNSEEN, MORE_EPOCHS = 500, 1000, 5
HEAD = (
    "attack", "access", "AUC", "95 % interval", "TPR at 1 %", "95 % interval", "TPR at 0.1 %",
    "seconds",
)  # fmt: skip


def nothing(trained: Trained, forgotten: Labelled, retained: Labelled, unseen: Labelled) -> Predict:
    """Return the model as it was."""
    return lambda x: forward(trained.layers, x, trained.architecture)


def anew(trained: Trained, forgotten: Labelled, retained: Labelled, unseen: Labelled) -> Predict:
    """Return a model trained from the start on what is retained."""
    seed = 1000 + trained.number
    layers = train_one(trained.architecture, retained.x, retained.y, trained.recipe, seed)
    return lambda x: forward(layers, x, trained.architecture)


def more(trained: Trained, forgotten: Labelled, retained: Labelled, unseen: Labelled) -> Predict:
    """Return the model after some more epochs on what is retained alone."""
    import torch

    model = torch.nn.Sequential(*torch_layers(trained.layers))
    optimiser = torch.optim.Adam(model.parameters(), lr=trained.recipe.learning_rate)
    x, y = torch.from_numpy(retained.x.astype(np.float32)), torch.from_numpy(retained.y)
    generator = np.random.default_rng([trained.seed, trained.number])
    for _ in range(MORE_EPOCHS):
        for rows in np.array_split(generator.permutation(len(y)), len(y) // 64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()

    def predict(records: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            return model(torch.from_numpy(np.asarray(records, dtype=np.float32))).numpy()

    return predict


def torch_layers(layers: Any) -> list[Any]:
    """Return fully connected layers as torch's own, with ReLU between."""
    import torch

    made: list[Any] = []
    for weight, bias in layers:
        layer = torch.nn.Linear(*weight.shape[::-1])
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
        made += [layer, torch.nn.ReLU()]
    return made[:-1]


METHODS: dict[str, Unlearn] = {
    "Nothing done": nothing,
    f"{MORE_EPOCHS} more epochs on the others": more,
    "Trained anew without them": anew,
}
ASKED = ("loss", "population", "lira-online", "rmia", "bavaria", "u-lira", "ruli", "iam")


def unlearned(shadows: int) -> str:
    """Return a table for each way to unlearn on Location-30, as Markdown."""
    case = location30()
    members, others = np.flatnonzero(case.member), np.flatnonzero(~case.member)
    forget, retain = np.split(members, [FORGOTTEN])
    unseen = others[:UNSEEN]
    judged = np.concatenate([forget, unseen])
    pool = np.concatenate([judged, retain])
    x, y = case.x[pool], case.y[pool]
    mask = shadow_members(shadows, len(judged), len(pool), len(members))
    target = Trained(
        case.architecture,
        train_one(case.architecture, case.x[members], case.y[members], case.recipe, 0),
        [], case.recipe, 0, 0,
    )  # fmt: skip
    started = time.perf_counter()
    ordinary = train_shadows(
        case.architecture, x, y, shadows=shadows, recipe=case.recipe, seed=1, member_mask=mask
    )
    took = time.perf_counter() - started
    labels = case.y[judged]
    before = nothing(target, *[Labelled(case.x[:0], case.y[:0])] * 3)(case.x[judged])
    lines = [
        "## Unlearned: Location-30, 446-256-30",
        "",
        f"{FORGOTTEN} records to be forgotten of {len(members)} members, {UNSEEN} never seen; "
        f"{shadows} ordinary shadow models in {took:.1f} s.",
    ]
    for title, method in METHODS.items():
        after = method(
            target,
            Labelled(case.x[forget], case.y[forget]),
            Labelled(case.x[retain], case.y[retain]),
            Labelled(case.x[:0], case.y[:0]),
        )
        started = time.perf_counter()
        made = unlearn_shadows(
            case.architecture, x, y, method, judged=len(judged), forget_size=FORGOTTEN,
            shadows=shadows, rest_size=min(len(retain), len(members) - len(judged) // 2),
            recipe=case.recipe, seed=2,
        )  # fmt: skip
        took = time.perf_counter() - started
        outputs = np.asarray(after(case.x[judged]))
        evidence = attacks.Evidence(
            logits=outputs,
            labels=labels,
            population_logits=outputs[FORGOTTEN:],
            population_labels=labels[FORGOTTEN:],
            population_rows=np.arange(FORGOTTEN, len(judged)),
            earlier_logits=before,
            shadows=ordinary.pool[:, : len(judged)],
            member_mask=ordinary.member_mask[:, : len(judged)],
            unlearned_shadows=made.signals,
            unlearned_role=made.role,
        )
        lines += ["", f"### {title}", "", f"{shadows} shadow models unlearned in {took:.1f} s.", ""]
        lines += table(evidence, FORGOTTEN, ASKED)
    return "\n".join(lines)


def shadow_members(shadows: int, judged: int, pool: int, size: int) -> NDArray[np.bool_]:
    """Return who trains on what: half of those judged, and others up to `size` in all."""
    mask = np.zeros((shadows, pool), dtype=bool)
    mask[:, :judged] = paired_masks(shadows, judged, 3)
    rest = np.arange(pool - judged) < size - judged // 2
    mask[:, judged:] = np.random.default_rng(4).permuted(np.tile(rest, (shadows, 1)), axis=1)
    return mask


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
        *table(evidence, n, tuple(attacks.REGISTRY)),
    ]
    return "\n".join(lines)


def table(evidence: attacks.Evidence, n: int, names: Sequence[str]) -> list[str]:
    """Return a row for each attack that the evidence allows; the first n records are members."""
    lines = ["| " + " | ".join(HEAD) + " |", "| --- " * len(HEAD) + "|"]
    for name in names:
        attack = attacks.REGISTRY[name]
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
    return lines


def rate_cells(rate: Any) -> tuple[str, str]:
    """Return a true-positive rate and its interval, or that the sample cannot tell."""
    if not isinstance(rate, TprAtFpr):
        return "refused", f"needs {rate.needed}"
    return f"{rate.tpr:.3f}", f"{rate.lower:.3f}–{rate.upper:.3f}"


def trained(case: Case) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Train the target on the members and return it as a function of records."""
    rows = np.flatnonzero(case.member)
    x, y = training_arrays(case.architecture, case.x[rows], case.y[rows])
    mask = np.ones((1, len(y)), dtype=bool)
    [(_, target)] = trained_groups(case.architecture, x, y, mask, case.recipe, 0)

    def predict(records: NDArray[Any]) -> NDArray[Any]:
        flat = np.ascontiguousarray(records, dtype=np.float32).reshape(len(records), -1)
        parts = np.array_split(flat, -(-len(flat) // 2048))
        return np.concatenate([target.logits(part)[0] for part in parts])

    return predict


def main() -> None:
    """Run the cases that are named, or both, and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, UNLEARNED, []], metavar="CASE")
    parser.add_argument("--shadows", type=int, default=64)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    args = parser.parse_args()
    started = time.perf_counter()
    tables = [
        unlearned(args.shadows) if name == UNLEARNED else run(CASES[name](), args.shadows)
        for name in args.cases or (*CASES, UNLEARNED)
    ]
    took = time.perf_counter() - started
    text = "\n\n".join([*tables, f"{os.cpu_count()} cores, {took:.0f} s in all."])
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
