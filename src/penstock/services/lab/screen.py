"""How far a comparison is: a bar for each pattern on a terminal, a line for each in a pipe."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from penstock.services.lab.comparison import Comparison
from penstock.services.lab.measured import Measured
from penstock.services.lab.table import table

__all__ = ["Screen"]


class Screen:
    """Shows on standard error how far a comparison is, and its figures on standard output.

    Args:
        patterns: how many there are.
    """

    def __init__(self, patterns: int) -> None:
        self._patterns = patterns
        self._begun = 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True, highlight=False),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, pattern: str, requests: int) -> None:
        """A pattern begins."""
        self._begun += 1
        name = f"{self._begun}/{self._patterns} {pattern:12}"
        self._task = self._progress.add_task(name, total=requests)

    def advance(self, done: int) -> None:
        """So many of its requests have ended."""
        self._progress.update(self._task, completed=done)

    def finish(self, measured: Measured) -> None:
        """All have."""
        self._progress.update(self._task, completed=measured.requests)
        if self._progress.disable:
            said = f"{measured.pattern}: {measured.requests:,} requests in {measured.seconds:.2f} s"
            self._progress.console.print(Text(said))

    def conclude(self, comparison: Comparison, *, interrupted: bool) -> None:
        """Prints the figures that there are."""
        out = Console(highlight=False)
        if comparison.measured:
            out.print(table(comparison))
        if interrupted:
            out.print(Text("Interrupted: the pattern in progress has no row."))
