"""Shadow training that is killed at every moment that matters, and resumed.

Run as a program: a process of its own, which starts others and has not used torch's threads when
it does. Prints as JSON what became of each.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from attacks import Recipe, shadows
from attacks.shadows import ensemble, fingerprint, groups, score_matrix, training
from attacks.shadows.architecture import Architecture

RNG = np.random.default_rng(4)
X = RNG.random((37, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 37)
RECIPE = Recipe(epochs=2, batch_size=10, learning_rate=0.01)
FILES = ("manifest.json", "pool.float32", "query.float32", "members.bits")

assert ensemble and fingerprint  # what a child needs is loaded before it starts


def train(folder: Path | None, progress: Callable[[int, int], None] | None = None) -> bytes:
    """Train 6 shadow models in 3 groups and return all signals as bytes."""
    groups.GROUP_BYTES = 2 * groups.network_bytes(Architecture.fully_connected((5, 8, 3)), RECIPE)
    trained = shadows.train_shadows(
        (5, 8, 3), X, Y, shadows=6, recipe=RECIPE, seed=2, query=(X[:4], Y[:4]),
        progress=progress, cache=folder,
    )  # fmt: skip
    assert trained.query is not None
    return trained.pool.tobytes() + trained.query.tobytes()


def with_events(event: Callable[[], None]) -> Callable[[int, int], None]:
    """Call `event` before and after everything that reaches the disk; return a progress hook."""

    def around(function: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **options: object) -> object:
            event()
            result = function(*arguments, **options)
            event()
            return result

        return wrapped

    for name in ("fsync", "replace", "ftruncate", "open"):
        setattr(os, name, around(getattr(os, name)))
    np.memmap.flush = around(np.memmap.flush)  # type: ignore[method-assign,assignment]
    training._take = around(training._take)  # type: ignore[assignment]
    score_matrix._digests = around(score_matrix._digests)  # type: ignore[assignment]
    return lambda done, total: event()


def child(work: Callable[[], object], kill_after: float | None = None) -> int:
    """Run `work` in a process of its own and return its exit status, -9 when it was killed."""
    number = os.fork()
    if number == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - the parent must not go on twice
            print(repr(error), file=sys.stderr)
            os._exit(1)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(number, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def killed_at(folder: Path, moment: int) -> int:
    """Train in a child that kills itself at this event."""

    def work() -> None:
        left = moment

        def event() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        hook = with_events(event)
        train(folder, hook)

    return child(work)


def count_events(folder: Path) -> int:
    """Return how many events an uninterrupted run has."""
    told = folder.with_suffix(".count")

    def work() -> None:
        count = 0

        def event() -> None:
            nonlocal count
            count += 1

        hook = with_events(event)
        train(folder, hook)
        told.write_text(str(count))

    assert child(work) == 0
    return int(told.read_text())


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in FILES]


def main(place: Path) -> None:
    torch.set_num_threads(1)
    training.workers_for = lambda *sizes: 2  # groups side by side, as on more cores
    train(None)  # whatever is loaded at first use is loaded now
    whole = place / "whole"
    events = count_events(whole)
    expected = contents(whole)
    results = []
    chosen = random.Random(5)
    # after one event is before the next: every other one will do
    for first in [*range(1, events + 1, 2), *[0] * 15]:
        folder = place / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        if first:
            statuses = [killed_at(folder, first)]
            if chosen.random() < 0.3:  # killed again while it resumes
                statuses.append(killed_at(folder, chosen.randint(1, events)))
        else:  # from outside, whenever it happens to be
            statuses = [child(partial(train, folder), chosen.random() * 0.06)]
        done = 0
        if (folder / "manifest.json").is_file():
            done = len(json.loads((folder / "manifest.json").read_bytes())["done"])
        last = child(partial(train, folder))
        left = sorted(set(os.listdir(folder)) - {*FILES, "lock"})
        results.append([statuses, done, last, contents(folder) == expected and not left])
    print(json.dumps({"events": events, "results": results}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
