"""A progress bar on stderr, only on a terminal and only for what takes more than two seconds."""

from __future__ import annotations

import argparse
import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

DELAY_SECONDS = 2.0


class Progress:
    """Called with (done, total) by whatever takes long; `stage` names what is being done.

    A new bar starts when the total changes or the count falls. Without a terminal, or with
    --quiet, it does nothing.
    """

    def __init__(self, stage: str, *, shown: bool) -> None:
        self._stage = stage
        self._shown = shown
        self._bar: tqdm[None] | None = None

    @classmethod
    def of(cls, args: argparse.Namespace, stage: str) -> Progress:
        """Return the progress bar for a command with these options."""
        return cls(stage, shown=not args.quiet and sys.stderr.isatty())

    def __call__(self, done: int, total: int) -> None:
        """Say that `done` of `total` steps are done."""
        if not self._shown:
            return
        bar = self._bar
        if bar is None or bar.total != total or done < bar.n:
            self._close()
            bar = self._bar = self._open(total)
        bar.update(done - bar.n)

    def stage(self, name: str) -> None:
        """Name what comes next."""
        self._close()
        self._stage = name

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _open(self, total: int) -> tqdm[None]:
        from tqdm import tqdm

        return tqdm(
            total=total, desc=self._stage, file=sys.stderr, delay=DELAY_SECONDS, leave=False
        )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
