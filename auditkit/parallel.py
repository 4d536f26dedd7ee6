"""Side by side on all cores: parts of one computation on arrays, in threads.

numpy lets other threads run while it computes. A matrix product's own threads are held to one
meanwhile: on small products they cost more than they give, and on a busy machine far more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import cache
from typing import TypeVar

from threadpoolctl import ThreadpoolController

T = TypeVar("T")
P = TypeVar("P")

CORES = os.cpu_count() or 1


def side_by_side(run: Callable[[P], T], parts: Iterable[P]) -> list[T]:
    """Return what `run` gives for each part, in order; numpy's error state is the caller's."""
    with single_products(), ThreadPoolExecutor(CORES) as pool:
        tasks = [pool.submit(copy_context().run, run, part) for part in parts]
        return [task.result() for task in tasks]


def even_slices(count: int, most: int) -> Iterator[slice]:
    """Yield slices of at most `most` that keep all cores busy for as long as each other."""
    parts = CORES * -(-count // (CORES * most))
    size = max(1, -(-count // max(1, parts)))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def single_products() -> AbstractContextManager[object]:
    """Hold the threads of matrix products to one, in all of the process."""
    return _controller().limit(limits=1)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
