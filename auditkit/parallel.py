"""Side by side on all cores: parts of one computation on arrays, in threads.

numpy lets other threads run while it computes. A matrix product's own threads are held to one
meanwhile: on small products they cost more than they give, and on a busy machine far more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from contextvars import copy_context
from functools import cache
from typing import TypeVar

from joblib import Parallel, delayed
from threadpoolctl import ThreadpoolController

T = TypeVar("T")
P = TypeVar("P")


def side_by_side(run: Callable[[P], T], parts: Iterable[P]) -> list[T]:
    """Return what `run` gives for each part, in order; numpy's error state is the caller's."""
    with single_products():
        tasks = [delayed(copy_context().run)(run, part) for part in parts]
        return list(Parallel(n_jobs=-1, prefer="threads")(tasks))


def single_products() -> AbstractContextManager[object]:
    """Hold the threads of matrix products to one, in all of the process."""
    return _controller().limit(limits=1)


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
