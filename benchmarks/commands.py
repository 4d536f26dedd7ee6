"""Time and memory of every command on real networks, and agreement with onnxruntime.

    python benchmarks/commands.py [--sizes 20 500] [--out results.md]

Needs the shared data (AUDITKIT_SHARED, or ../shared from the project's root): MNIST and two
networks made by others. Each row is one command as a whole process: wall seconds, peak resident
memory, exit code. The last table compares patched.onnx in onnxruntime with the library's patched
network.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from shared_data import DENSE, ROOT, SHARED, mnist

from auditkit.certificate.submission import load_submission
from auditkit.network.evaluate import logits
from auditkit.network.read import load_network
from auditkit.network.write_onnx import network_to_onnx
from auditkit.records import Records, write_records

CONVOLUTIONAL = "Convnet_avgpool.onnx"
CLOSE = 1e-4


def main() -> None:
    """Run the cases and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[20, 500], help="records to forget")
    parser.add_argument("--only", choices=(DENSE, CONVOLUTIONAL), help="one network")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = run(Path(folder), sizes=args.sizes, only=args.only)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


def run(folder: Path, *, sizes: list[int], only: str | None) -> str:
    """Return both tables as Markdown."""
    commands, agreements = [], []
    for model, domain in ((DENSE, (0.0, 1.0)), (CONVOLUTIONAL, (0.0, 255.0))):
        network = load_network(SHARED / "models" / model)
        train = mnist("train", network.input_shape, domain)
        unseen = mnist("t10k", network.input_shape, domain)
        # its halves are of different writers, so that a slice is not comparable with the rest
        unseen = unseen.take(np.random.default_rng(1).permutation(len(unseen)))
        order = np.random.default_rng(0).permutation(len(train))
        if only and model != only:
            continue
        here = sizes if model == DENSE else [n for n in sizes if n <= 20]
        cases = [(f"{n}", train.take(order[:n]), spec, []) for n in here for spec in SPECS]
        if model == DENSE and 500 in sizes:
            zeros = np.flatnonzero(train.y == 0)
            scope = ["--scope", "class", "--target-class", "0"]
            cases.append((f"class 0: {len(zeros)}", train.take(zeros), "redirect", scope))
            suppress = [*scope, "--method", "suppress"]
            cases.append((f"class 0: {len(zeros)}", train.take(zeros), "redirect", suppress))
        for name, forget, spec, more in cases:
            case = folder / f"{model}-{len(commands)}"
            case.mkdir()
            keep = train.take(order[1000:4000])
            keep = keep.take(keep.y != 0) if more else keep
            write_records(case / "forget.npz", forget)
            write_records(case / "retain.npz", keep)
            write_records(case / "holdout.npz", unseen.take(range(3000)))
            write_records(case / "reference.npz", unseen.take(range(3000, 10000)))
            label = f"{model} · {name} · {spec}" + (" · " + " ".join(more[-1:]) if more else "")
            commands += steps(case, model, domain, spec, more, label)
            agreements.append(agreement(case / "submission", unseen, domain, label))
            print(commands[-1], agreements[-1], sep="\n", file=sys.stderr)
    return "\n".join(
        [
            "| case | command | seconds | peak MB | exit |",
            "| --- | --- | ---: | ---: | ---: |",
            *commands,
            "",
            "Greatest difference of a logit, patched.onnx in onnxruntime against the library; in "
            "brackets the same for the bare network, then relative to its greatest logit.",
            "",
            "| case | forgotten | 10,000 others | random inputs | relative, worst |",
            "| --- | ---: | ---: | ---: | ---: |",
            *agreements,
        ]
    )


SPECS = ("redirect", "neutralise", "reference")


def steps(
    case: Path, model: str, domain: tuple[float, float], spec: str, more: list[str], label: str
) -> list[str]:
    """Run patch, verify (in both arithmetics), compare, attack, threats and audit: a row each."""
    submission = str(case / "submission")
    forget, retain = str(case / "forget.npz"), str(case / "retain.npz")
    holdout, reference = str(case / "holdout.npz"), str(case / "reference.npz")
    given = ["--reference", reference] if spec != "redirect" else []
    plan = [
        f'submission = "{submission}"\nforget = "{forget}"\nretain = "{retain}"',
        f'holdout = "{holdout}"\n[compare]',
        *([f'reference = "{reference}"'] if given else []),
    ]
    (case / "audit.toml").write_text("\n".join(plan) + "\n")
    lines = {
        "patch": [
            *("--model", str(SHARED / "models" / model), "--forget", forget, "--spec", spec),
            *("--domain", str(domain[0]), str(domain[1]), "--out", submission, "--seed", "0"),
            *given,
            *more,
        ],
        "verify": [submission, "--forget", forget, "--retain", retain],
        "compare": [submission, "--recompute", *given],
        "attack": [submission, "--holdout", holdout, "--retain", retain],
        "threats": [submission, "--holdout", holdout, "--retain", retain],
        "audit": [str(case / "audit.toml"), "--out", str(case / "audit")],
    }
    lines["verify --exact"] = lines["verify"]
    rows = []
    for command, arguments in lines.items():
        seconds, memory, code = measured([*command.split(), *arguments, "--quiet"])
        rows.append(f"| {label} | {command} | {seconds:.1f} | {memory:.0f} | {code} |")
    return rows


def measured(arguments: list[str]) -> tuple[float, float, int]:
    """Run one command; return wall seconds, peak resident megabytes and exit code."""
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "auditkit", *arguments], stdout=subprocess.DEVNULL, cwd=ROOT
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return time.perf_counter() - started, usage.ru_maxrss / 1024, child.returncode


def agreement(path: Path, unseen: Records, domain: tuple[float, float], label: str) -> str:
    """Return how far onnxruntime and the library are apart, patched and bare."""
    import onnxruntime

    submission = load_submission(path)
    sessions = [
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        for data in (submission.exported, network_to_onnx(submission.network))
    ]
    random = np.random.default_rng(1).uniform(*domain, size=(1000, *submission.network.input_shape))
    assert submission.forget is not None
    cells, relative = [], 0.0
    for x in (submission.forget.x, unseen.x, random.astype(np.float32)):
        bare = logits(submission.network, x)
        patched = submission.patched.logits(x)
        gaps = []
        for session, ours in zip(sessions, (patched, bare), strict=True):
            theirs = np.concatenate(
                [
                    session.run(None, {"input": x[start : start + 250]})[0]
                    for start in range(0, len(x), 250)
                ]
            )
            gaps.append(float(np.abs(theirs - ours).max()))
        relative = max(relative, gaps[0] / float(np.abs(bare).max()))
        cells.append(f"{gaps[0]:.1e} ({gaps[1]:.1e})")
    verdict = f"{relative:.1e}" + ("" if relative <= CLOSE else " **over 1e-4**")
    return f"| {label} | " + " | ".join(cells) + f" | {verdict} |"


if __name__ == "__main__":
    main()
