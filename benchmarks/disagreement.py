"""How small a planted disagreement does the search for one find?

    python benchmarks/disagreement.py [--data digits|location30] [--seeds 20] [--out results.md]

The delivered patched.onnx answers as certified except in one ball (∞-norm) of a declared radius, a
share of the domain's width: near a requested record, at a random point of the domain, or at a
corner of it. The ball is written into the file in three ways. `plain`: ReLU units and the centre as
a constant. `masked`: the centre is a sum of random constants. `steps`: masked, and of comparisons
instead of ReLU units, so that outside nothing tells the way. For each is said how many of so many
files `threats.patch-bait` refutes, with the exact 95 % interval (Clopper & Pearson 1934); the
others it leaves inconclusive, and a file that passes stops the run. Location-30 needs the shared
data (AUDITKIT_SHARED, or ../shared from the project's root).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import get_args

import numpy as np
from unlearning_cases import SETTINGS, data

from auditkit.certificate.identity import derived_key
from auditkit.certificate.make import make_submission
from auditkit.certificate.submission import PatchSubmission, read_patched
from auditkit.network.graph import Network
from auditkit.patch.settings import resolve_settings
from auditkit.records import Records
from auditkit.results import Outcome
from auditkit.threats import forge
from auditkit.threats.evidence import Evidence
from auditkit.threats.numbers import share_interval
from auditkit.threats.patch_bait import Encoding, detect, place, planted
from auditkit.unlearning.training import train_from_scratch

RADII = (0.01, 0.1, 0.3)
PLACES = ("near", "anywhere", "corner")
REQUESTED = 24


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", choices=("digits", "location30"), default="digits")
    parser.add_argument("--seeds", type=int, default=20, help="files for each row")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = table(args.data, args.seeds, Path(folder))
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


def table(name: str, seeds: int, folder: Path) -> str:
    """Return the table as Markdown."""
    setting = SETTINGS[name]
    train, unseen, _ = data(name, 0)
    network = train_from_scratch(setting.architecture, train, setting.recipe, 0)
    owners = [owner(network, train, unseen, seed, folder) for seed in range(seeds)]
    command = f"python benchmarks/disagreement.py --data {name} --seeds {seeds}"
    lines = [
        f"Made by `{command}`.",
        "",
        f"| {name}: file | ball | radius | refuted | 95 % interval | s, median | s, most |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for encoding in get_args(Encoding):
        for where in PLACES:
            for radius in RADII:
                found, seconds = 0, []
                for seed, (honest, evidence) in enumerate(owners):
                    generator = np.random.default_rng([seed, 16, 4])
                    centre = place(honest, where, generator)
                    exported = planted(honest, centre, radius, encoding)
                    with tempfile.TemporaryDirectory(dir=folder) as out:
                        bait = forge.write(honest, Path(out) / "bait", exported=exported)
                    started = time.perf_counter()
                    check = detect(bait, evidence, seed=seed)
                    seconds.append(time.perf_counter() - started)
                    assert check.outcome is not Outcome.PASS, "a file of other bytes passed"
                    found += check.outcome is Outcome.FAIL
                low, high = share_interval(found, seeds)
                print(name, encoding, where, radius, found, file=sys.stderr, flush=True)
                lines.append(
                    f"| {encoding} | {where} | {radius} | {found} of {seeds} "
                    f"| {low:.2f} to {high:.2f} "
                    f"| {statistics.median(seconds):.2f} | {max(seconds):.2f} |"
                )
    return "\n".join(lines)


def owner(
    network: Network, train: Records, unseen: Records, seed: int, folder: Path
) -> tuple[PatchSubmission, Evidence]:
    """Return an honest submission for a random request, and what an auditor has."""
    order = np.random.default_rng([seed, 43]).permutation(len(train))
    forget, retain = train.take(order[:REQUESTED]), train.take(order[REQUESTED:])
    out = folder / f"honest-{seed}"
    settings = resolve_settings("redirect", seed=seed)
    make_submission(network, forget, settings, out, key=derived_key(seed, forget))
    honest = read_patched(out)
    return honest, Evidence(forget=honest.forget, retain=retain, holdout=unseen)


if __name__ == "__main__":
    main()
