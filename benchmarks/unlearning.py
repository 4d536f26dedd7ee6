"""Every unlearning method in every scenario, measured against retraining.

    python benchmarks/unlearning.py [--data digits location30 mnist] [--seeds 5] [--jobs 2]
        [--methods NAME…] [--results benchmarks/results/unlearning.jsonl] [--docs docs]

Each line of the results is one method on one request and seed: what is there already is not run
again, so that a run that was killed goes on, and another seed adds to it. Tables and figures are
made from the results alone (`--tables`). Needs the shared data (AUDITKIT_SHARED, or ../shared from
the project's root); with `--data digits` it needs none.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from joblib import Parallel, delayed
from unlearning_cases import SETTINGS, Case, make_case, sharded_case
from unlearning_measures import Judge, accuracy, apart, relearning, shadow_scores
from unlearning_tables import write_documents

from auditkit.network.evaluate import logits
from auditkit.unlearning.interface import Diverged, Refused, Scenario, UnlearnedModel
from auditkit.unlearning.registry import METHODS, unlearn

Row = dict[str, Any]
Key = tuple[str, str, int, str]
ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "unlearning.jsonl"
MIB = 1024.0


def main() -> None:
    """Run what is missing and write results, tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--kinds", nargs="+", help="which requests (default: all of each data set)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    parser.add_argument("--tables", action="store_true", help="only make tables and figures")
    args = parser.parse_args()
    rows = read_rows(args.results)
    if not args.tables:
        groups = [
            (name, kind, seed)
            for seed in range(args.seeds)
            for name in args.data
            for kind in SETTINGS[name].kinds
            if args.kinds is None or kind in args.kinds
        ]
        run_groups(groups, args.methods, rows, args.results, args.jobs)
    write_documents(list(rows.values()), args.docs)


def run_groups(
    groups: list[tuple[str, str, int]],
    methods: list[str],
    rows: dict[Key, Row],
    path: Path,
    jobs: int,
) -> None:
    """Measure what the rows lack, one request and seed after another, keeping each as it ends."""
    waiting = []
    for name, kind, seed in groups:
        wanted = [m for m in methods if missing(rows.get((name, kind, seed, m)), name, m)]
        if wanted:
            waiting.append((name, kind, seed, wanted))
    began = time.perf_counter()
    found = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(measure_group)(*group) for group in waiting
    )
    for done, made in enumerate(found, 1):
        for row in made:
            rows[key_of(row)] = row
        write_rows(path, rows)
        left = (time.perf_counter() - began) / done * (len(waiting) - done)
        first = made[0]
        told = f"{first['data']} {first['kind']} seed {first['seed']}: {len(made)} method(s)"
        print(f"{done}/{len(waiting)} {told}, about {left / 60:.0f} min left", flush=True)


def missing(row: Row | None, name: str, method: str) -> bool:
    """Whether a method has still to be run: there is no row, or one of other settings."""
    if row is None:
        return True
    return bool(row["settings"] != _settings(name, Scenario(row["scenario"]), method))


def measure_group(name: str, kind: str, seed: int, methods: list[str]) -> list[Row]:
    """Return the rows of some methods on one request: made once, with two retrained references."""
    case = make_case(name, kind, seed)
    ensemble = sharded_case(case) if "sisa" in methods else None
    shadows = shadow_scores(case) if case.request.scenario is Scenario.SUBSET else None
    judge = Judge(case, shadows)
    retrained = [attempt(case, "retrain", seed + 1000 * (i + 1)) for i in range(2)]
    before = judge.figures(_original(case))
    rows = []
    for method in methods:
        own = ensemble if method == "sisa" and ensemble is not None else case
        head = {
            "data": name,
            "kind": kind,
            "seed": seed,
            "method": method,
            "scenario": case.request.scenario.value,
            "records": len(case.request.forget),
        }
        if method == "retrain":
            made, megabytes = retrained[0]
        else:
            made, megabytes = attempt(own, method, seed)
        if isinstance(made, str):
            chosen = _settings(name, case.request.scenario, method)
            rows.append({**head, "settings": chosen, "refused": made})
            continue
        start = before if own is case else Judge(own, shadows).figures(_original(own))
        rows.append({**head, **figures(own, judge, made, megabytes, retrained, start)})
    return rows


def attempt(case: Case, method: str, seed: int) -> tuple[UnlearnedModel | str, float | None]:
    """Return the unlearned model and by how many MiB memory rose, or why there is none."""
    request = case.request
    with peak_memory() as peak:
        try:
            made = unlearn(
                method, case.network, request.forget, request.retain, request.holdout,
                scenario=request.scenario,
                settings=_changes(case.setting.name, method),
                seed=seed,
                history=case.history,
            )  # fmt: skip
        except (Refused, Diverged) as error:
            return str(error), None
    return made, peak()


def figures(
    case: Case,
    judge: Judge,
    made: UnlearnedModel,
    megabytes: float | None,
    retrained: list[tuple[UnlearnedModel | str, float | None]],
    before: Row,
) -> Row:
    """Return everything measured of one unlearned model."""
    (first, memory), (second, _) = retrained
    assert isinstance(first, UnlearnedModel) and isinstance(second, UnlearnedModel)
    reference = second if made is first else first
    request = case.request
    after = judge.figures(made.predict)
    # a patch leaves the network as it was: whoever takes it off has nothing to learn again
    network = case.network if made.network is None else made.network
    return {
        "settings": dict(made.settings),
        "reached": made.reached,
        "shortfall": made.unlearned.shortfall,
        "notes": {k: v for k, v in made.unlearned.notes.items() if _simple(v)},
        "guarantee": None if made.unlearned.guarantee is None else asdict(made.unlearned.guarantee),
        "before": before,
        "after": after,
        "retrained": {
            "retained": accuracy(first.predict, request.retain),
            "unseen": accuracy(first.predict, judge.of_kept_classes),
        },
        "apart": {
            "forgotten": apart(made.predict, reference.predict, request.forget),
            "unseen": apart(made.predict, reference.predict, judge.of_kept_classes),
        },
        "relearning": relearning(case, network),
        "passes": made.passes,
        "passes_ratio": made.passes / first.passes,
        "seconds": made.seconds,
        "seconds_ratio": made.seconds / first.seconds,
        "megabytes": megabytes,
        "memory_ratio": None if not megabytes or not memory else megabytes / memory,
    }


def _simple(value: object) -> bool:
    return isinstance(value, bool | int | float | str)


def _original(case: Case) -> Callable[[Any], Any]:
    shape = case.network.input_shape
    return lambda x: logits(case.network, x.reshape(len(x), *shape).astype(case.network.dtype))


def _changes(name: str, method: str) -> dict[str, Any]:
    """Return what is the data set's own in a method's settings: how networks are retrained."""
    return asdict(SETTINGS[name].recipe) if method == "retrain" else {}


def _settings(name: str, scenario: Scenario, method: str) -> dict[str, Any]:
    return asdict(METHODS[method].settings(scenario, _changes(name, method)))


class peak_memory:
    """How many MiB resident memory rises at most above where it stood, None where unknown."""

    def __enter__(self) -> Callable[[], float | None]:
        gc.collect()
        self._before = self._reset()
        return self._risen

    def __exit__(self, *_: object) -> None:
        pass

    def _risen(self) -> float | None:
        if self._before is None:
            return None
        return (_status("VmHWM") - self._before) / MIB

    @staticmethod
    def _reset() -> int | None:
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # the mark falls to what is there now
            return _status("VmRSS")
        except (OSError, AttributeError):
            return None


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise OSError(field)


def key_of(row: Row) -> Key:
    """Return what a row is about."""
    return row["data"], row["kind"], row["seed"], row["method"]


def read_rows(path: Path) -> dict[Key, Row]:
    """Return the rows of an earlier run."""
    if not path.exists():
        return {}
    return {key_of(row): row for row in map(json.loads, _lines(path))}


def _lines(path: Path) -> Iterator[str]:
    return (line for line in path.read_text().splitlines() if line.strip())


def write_rows(path: Path, rows: dict[Key, Row]) -> None:
    """Write all rows, sorted, at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_suffix(".part")
    text = "".join(json.dumps(_rounded(rows[k]), sort_keys=True) + "\n" for k in sorted(rows))
    building.write_text(text)
    building.replace(path)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
