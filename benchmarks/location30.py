"""Location-30: members exposed before, at the records hidden after, in their neighbourhood not.

    python benchmarks/location30.py [--shadows 64] [--out results.md]

A 446-256-30 network is trained to fit half of the 5,010 users; 500 of them are to be forgotten by a
`reference` patch whose answers come from a model trained without them. Every attack runs against
the users it never saw, before and after. Needs the shared data (AUDITKIT_SHARED, or ../shared from
the project's root). No row of the data is written anywhere.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from shared_data import users

from attacks.shadows import Recipe, train_one
from auditkit.audit.membership import AttackPlan, attack_submission
from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import load_submission
from auditkit.certificate.verify import verify_submission
from auditkit.network.graph import Dense, Network, Node, Relu
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records

RECIPE = Recipe(epochs=30, learning_rate=1e-3, batch_size=64)
HIDDEN, CLASSES, FORGOTTEN = 256, 30, 500


def main() -> None:
    """Run the case and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shadows", type=int, default=64)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = run(Path(folder) / "submission", args.shadows)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def run(out: Path, shadows: int) -> str:
    """Return the tables as Markdown."""
    everyone = users()
    order = np.random.default_rng(0).permutation(len(everyone))
    train, unseen = np.split(order, [len(order) // 2])
    forget, keep = np.split(train, [FORGOTTEN])
    network, reference = (
        trained(everyone.take(rows), seed) for rows, seed in ((train, 0), (keep, 1))
    )
    started = time.perf_counter()
    made = make_submission(
        network,
        everyone.take(forget),
        resolve_settings("reference"),
        out,
        reference_network=reference,
    )
    patched = time.perf_counter() - started
    submission = load_submission(out)
    retained = everyone.take(keep)
    started = time.perf_counter()
    verified = verify_submission(submission, retain=retained, holdout=everyone.take(unseen))
    checked = time.perf_counter() - started
    started = time.perf_counter()
    found = attack_submission(
        submission,
        AttackPlan(shadows=shadows, recipe=RECIPE),
        forget=submission.forget,
        holdout=everyone.take(unseen),
        retain=retained,
        train=everyone.take(train),
        references=(reference,),
    )
    attacked = time.perf_counter() - started
    lines = [f"- {line}" for line in made.lines()[1:]]
    lines += [
        f"- patch {patched:.1f} s, verification {checked:.1f} s, attacks with {shadows} shadow "
        f"models {attacked:.0f} s",
        *(f"- `{c.id}`: {c.outcome.value}. {c.reason}" for c in verified.checks if c.id in SHOWN),
        "",
    ]
    for table in found.tables:
        lines += [
            "| " + " | ".join(table["columns"]) + " |",
            "| --- " * len(table["columns"]) + "|",
        ]
        lines += ["| " + " | ".join(map(cell, row)) + " |" for row in table["rows"]] + [""]
    lines += [f"- `{c.id}`: {c.outcome.value}. {c.reason}" for c in found.checks]
    return "\n".join(lines)


SHOWN = ("certificate.region", "certificate.locality", "certificate.deployed", "utility.retained")


def trained(records: Records, seed: int) -> Network:
    """Train a 446-256-30 network."""
    widths = (records.x.shape[1], HIDDEN, CLASSES)
    first, last = train_one(widths, records.x, records.y, RECIPE, seed)
    nodes = (Node(Dense(*first), (0,)), Node(Relu(), (1,)), Node(Dense(*last), (2,)))
    return Network((records.x.shape[1],), nodes, np.dtype(np.float32))


def cell(value: object) -> str:
    """Return a table cell; a refused rate is a dash."""
    if isinstance(value, str) and value.startswith("refused"):
        return "refused"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
