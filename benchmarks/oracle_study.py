"""The checker against exact rational arithmetic: 10,000 submissions, none may be proved wrongly.

    python benchmarks/oracle_study.py [--cases 10000] [--first 0] [--jobs 2] [--out FILE.md]

Each case is a small network with a patch and claims, made from its number: a third at random, a
third as an honest owner makes them, a third honest ones that were tampered with. The checker is
asked in turn in float64 alone, in exact arithmetic where that leaves a doubt (as `verify` does), in
exact arithmetic throughout, and with multipliers, good ones and all kinds of bad ones; --checker
takes one of these for every case. Every verdict is held against the exact oracle of tests/oracle
and against floats that ran; a case that contradicts is named by its number, and the command then
exits with 1. Every claim is also made again with one float more than what was measured at its worst
point, which must not be proved.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
if importlib.util.find_spec("flint"):  # the same numbers, faster; before the oracle is imported
    os.environ.setdefault("ORACLE_RATIONALS", "flint")

from auditkit.certificate.check import check_claims  # noqa: E402
from tests.oracle.cases import generator, numbered_case  # noqa: E402
from tests.oracle.exact import RATIONAL  # noqa: E402
from tests.oracle.judge import Checker, Tally, examine  # noqa: E402
from tests.oracle.offers import WAYS, with_proofs  # noqa: E402

WHAT = ("support", "point", "region", "deployed")


def any_proofs(rng: np.random.Generator) -> Checker:
    """Return a checker that is offered multipliers of some kind, with or without exact numbers."""
    return with_proofs(str(rng.choice(WAYS)), rng, (None, True)[int(rng.integers(2))])


CHECKERS: dict[str, Callable[[np.random.Generator], Checker]] = {
    "float64": lambda rng: partial(check_claims, exact=False),
    "by-need": lambda rng: check_claims,
    "exact": lambda rng: partial(check_claims, exact=True),
    "proofs": any_proofs,
}
"""What can be studied, by the name that --checker takes."""
IN_TURN = "in-turn"
HOW = {
    IN_TURN: "in turn in float64, in exact arithmetic by need and throughout, and with proofs",
    "float64": "in float64",
    "by-need": "in exact arithmetic by need",
    "exact": "in exact arithmetic",
    "proofs": "with proofs",
}
RUN_EVERY = 50  # cases between two whose patched.onnx is run by onnxruntime as well
CHUNK = 50


@dataclass
class Part:
    """What a range of cases gave."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Return the part as text."""
        tallies = {name: dict(tally.counts) for name, tally in self.tallies.items()}
        values = {"tallies": tallies, "kinds": dict(self.kinds), "faults": self.faults}
        return json.dumps(values, default=int)

    @staticmethod
    def from_json(text: str) -> Part:
        """Read a part that was saved."""
        values = json.loads(text)
        tallies = {name: Tally(Counter(counts)) for name, counts in values["tallies"].items()}
        return Part(tallies, Counter(values["kinds"]), values["faults"])

    def add(self, other: Part) -> None:
        for name, tally in other.tallies.items():
            self.tallies.setdefault(name, Tally()).counts.update(tally.counts)
        self.kinds.update(other.kinds)
        self.faults += other.faults


def main() -> int:
    """Run the cases and print the tables; 1 when a verdict contradicts the oracle."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--checker", choices=[IN_TURN, *CHECKERS], default=IN_TURN)
    parser.add_argument("--state", type=Path, help="keep finished ranges here, and go on from them")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    args = parser.parse_args()
    started = time.perf_counter()
    last = args.first + args.cases
    starts = range(args.first, last, CHUNK)
    work = Parallel(n_jobs=args.jobs, return_as="generator")(
        delayed(kept_or_run)(start, min(start + CHUNK, last), args.checker, args.state)
        for start in starts
    )
    total = Part()
    for done, part in enumerate(work, start=1):
        total.add(part)
        for fault in part.faults:
            print(fault, file=sys.stderr)
        print(f"\r{done} of {len(starts)} ranges", end="", file=sys.stderr)
    print(file=sys.stderr)
    text = tables(total, args, time.perf_counter() - started)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    return 1 if total.faults else 0


def kept_or_run(first: int, last: int, checker: str, state: Path | None) -> Part:
    """Return a range that is finished already, or judge it and keep it."""
    if state is None:
        return run_cases(first, last, checker)
    path = state / f"{checker}-{first}-{last}.json"
    if path.exists():
        return Part.from_json(path.read_text())
    part = run_cases(first, last, checker)
    state.mkdir(parents=True, exist_ok=True)
    building = path.with_suffix(f".{os.getpid()}")
    building.write_text(part.to_json())
    building.replace(path)
    return part


def run_cases(first: int, last: int, checker: str) -> Part:
    """Judge the cases first … last - 1."""
    part = Part()
    for number in range(first, last):
        case = numbered_case(number)
        if case is None:
            part.kinds["no patch is possible"] += 1
            continue
        part.kinds[case.kind] += 1
        part.kinds[f"mutation {case.name}"] += case.kind == "mutated"
        tally = Tally()
        # kinds of cases change with every number, so checkers with every third
        name = list(CHECKERS)[number // 3 % len(CHECKERS)] if checker == IN_TURN else checker
        asked = CHECKERS[name](generator("checker", number))
        for claims in case.claims:
            onnx = number % RUN_EVERY == 0 and case.network.dtype == np.float32
            try:
                examine(
                    case.network,
                    case.patch,
                    claims,
                    case.rng,
                    tally,
                    onnx=onnx,
                    checker=asked,
                )
            except Exception:  # noqa: BLE001 - a crash of the checker is a fault like a wrong verdict
                last_line = traceback.format_exc().strip().splitlines()[-1]
                part.faults.append(
                    f"case {number} ({case.name}, {case.family}, {name}): {last_line}"
                )
        for stem in (f"kind {case.kind}", f"family {case.family}", f"checker {name}", "all"):
            part.tallies.setdefault(stem, Tally()).counts.update(tally.counts)
    return part


def tables(total: Part, args: argparse.Namespace, seconds: float) -> str:
    """Return the study as Markdown."""
    everything = total.tallies.get("all", Tally()).counts
    impossible = total.kinds["no patch is possible"]
    lines = [
        f"`python benchmarks/oracle_study.py --first {args.first} --cases {args.cases}`: cases "
        f"{args.first} to {args.first + args.cases - 1}, each made from its number alone, checked "
        f"{HOW[args.checker]} and by the oracle in {RATIONAL.__module__}.{RATIONAL.__name__}; "
        f"{seconds:.0f} s with {args.jobs} processes, Python {platform.python_version()}, "
        f"numpy {np.__version__}.",
        "",
        f"- cases: {args.cases}, of which {total.kinds['random']} at random, "
        f"{total.kinds['honest']} honest, {total.kinds['mutated']} tampered with, and for "
        f"{impossible} the generator declines to make a patch",
        f"- claims: {everything['support'] + everything['empty claims']}; claims made again one "
        f"float beyond the exact margin, none of which may be proved: "
        f"{everything['sharpened claims']}",
        f"- inputs run as floats and held against the promised error: {everything['float points']}"
        f"; submissions run by onnxruntime as well: {everything['runs of onnxruntime']}",
        f"- **verdicts that the oracle contradicts: {len(total.faults)}**",
        *(f"  - {fault}" for fault in total.faults),
        "",
        "How often a true claim stays unproved (true: exactly so for support and point; for region "
        "and deployed, not refuted by any point or float that the oracle tried):",
        "",
        "| cases | claim | claims | proved | refuted | true | true and unproved |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in sorted(total.tallies, key=lambda n: (n != "all", not n.startswith("kind"), n)):
        counts = total.tallies[name].counts
        for what in WHAT:
            true, missed = counts[f"{what} true"], counts[f"{what} true unproved"]
            share = f"{missed / true:.1%}" if true else "none"
            lines.append(
                f"| {name} | {what} | {counts[what]} | {counts[f'{what} proved']} | "
                f"{counts[f'{what} refuted']} | {true} | {missed} ({share}) |"
            )
    lines += ["", "Why, in all cases and in honest ones:", ""]
    lines += ["| claim | reason | all | honest |", "| --- | --- | ---: | ---: |"]
    honest = total.tallies.get("kind honest", Tally()).counts
    for what in WHAT:
        stem = f"{what} unproved: "
        reasons = {key for key in everything if key.startswith(stem) and everything[key]}
        for key in sorted(reasons, key=lambda key: -everything[key]):
            reason = key.removeprefix(stem)
            lines.append(f"| {what} | {reason} | {everything[key]} | {honest[key]} |")
    mutations = {k: n for k, n in total.kinds.items() if k.startswith("mutation ") and n}
    named = ", ".join(f"{k.removeprefix('mutation ')} {mutations[k]}" for k in sorted(mutations))
    lines += ["", f"Tampered submissions by kind: {named}."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
