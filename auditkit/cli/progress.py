"""Progress on stderr: a bar on a terminal, elsewhere a line now and then, both with the time left.

Only what takes more than two seconds gets a bar, and more than half a minute a line.
"""

from __future__ import annotations

import argparse
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

DELAY_SECONDS = 2.0
LINE_SECONDS = 30.0


class Progress:
    """Called with (done, total) by whatever takes long; `stage` names what is being done.

    A new bar starts when the total changes or the count falls. With --quiet it does nothing.
    """

    def __init__(self, stage: str, *, shown: bool, terminal: bool) -> None:
        self._stage = stage
        self._shown = shown
        self._terminal = terminal
        self._bar: tqdm[None] | None = None
        self._lines: Lines | None = None

    @classmethod
    def of(cls, args: argparse.Namespace, stage: str) -> Progress:
        """Return the progress of a command with these options."""
        return cls(stage, shown=not args.quiet, terminal=sys.stderr.isatty())

    def __call__(self, done: int, total: int) -> None:
        """Say that `done` of `total` steps are done."""
        if not self._shown:
            return
        if not self._terminal:
            lines = self._lines
            if lines is None or lines.total != total or done < lines.done:
                lines = self._lines = Lines(self._stage, done, total)
            lines.show(done)
            return
        bar = self._bar
        if bar is None or bar.total != total or done < bar.n:
            self._close()
            bar = self._bar = self._open(total)
        bar.update(done - bar.n)

    def say(self, line: str) -> None:
        """Show one line, for what is about to take long."""
        if self._shown:
            self._close()
            _print(f"{self._stage}: {line}")

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
        self._lines = None
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class Lines:
    """A line of its own every half minute, for a log that nobody watches all the time."""

    def __init__(self, stage: str, done: int, total: int) -> None:
        self.stage, self.done, self.total = stage, done, total
        self._first, self._started = done, time.monotonic()
        self._due = self._started + LINE_SECONDS

    def show(self, done: int) -> None:
        """Say how far it is, when a line is due."""
        self.done = done
        now = time.monotonic()
        if now < self._due or done >= self.total or done <= self._first:
            return
        self._due = now + LINE_SECONDS
        left = (now - self._started) * (self.total - done) / (done - self._first)
        share = f"{100 * done // self.total} %"
        _print(f"{self.stage}: {done} of {self.total} steps ({share}), about {duration(left)} left")


def duration(seconds: float) -> str:
    """Return a time in words, as exact as an estimate is."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _print(line: str) -> None:
    # what is said may quote the name of a folder
    text = "".join(ch if ch.isprintable() else "?" for ch in line)
    print(text, file=sys.stderr, flush=True)
