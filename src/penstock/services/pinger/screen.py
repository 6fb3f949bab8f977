"""A sink for people: a line for each result, a progress bar on a terminal, and a summary at the end."""

import asyncio
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from penstock.services.pinger.model import PingResult
from penstock.services.pinger.summary import Summary

__all__ = ["Screen", "line_of"]

REFRESH = 0.1
MOST_PENDING = 1_000


class Screen:
    """Shows results: on a terminal in colour and cut to its width, into a pipe plain and whole.

    A terminal is drawn on ten times a second and not for every result, because drawing takes about as
    long as an answer from nearby and would be timed with it.

    Args:
        total: results that will come; None when nobody knows.
    """

    def __init__(self, total: int | None) -> None:
        self._out = Console(highlight=False)
        self._pending: list[Text] = []
        self._progress = Progress(
            BarColumn(),
            TaskProgressColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._out if self._out.is_terminal else Console(stderr=True),
            auto_refresh=False,  # keep_fresh draws, without a thread
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._pings = self._progress.add_task("", total=total)

    def show(self, result: PingResult) -> None:
        """Takes one result; it appears at once in a pipe and within 0.1 s on a terminal."""
        self._progress.advance(self._pings)
        if not self._out.is_terminal:
            print(line_of(result), file=self._out.file, flush=True)
            return
        self._pending.append(line_of(result, self._out.width))
        if len(self._pending) >= MOST_PENDING:
            self._draw()

    async def keep_fresh(self) -> None:
        """Draws what is new until it is cancelled, then the rest."""
        with self._progress:
            try:
                while True:
                    await asyncio.sleep(REFRESH)
                    self._draw()
            finally:
                self._draw()

    def _draw(self) -> None:
        if self._pending:
            self._progress.console.print(Text("\n").join(self._pending), no_wrap=True, soft_wrap=True)
            self._pending.clear()
        self._progress.refresh()

    def conclude(self, summary: Summary, wall: float, *, interrupted: bool) -> None:
        """Prints the summary of a run that took `wall` seconds."""
        table = Table(box=None, pad_edge=False, header_style="")
        table.add_column("outcome")
        table.add_column("count", justify="right")
        for status, count in sorted(summary.statuses.items()):
            table.add_row(Text(f"status {status}", style=colour(status)), f"{count:,}")
        for kind, count in summary.errors.most_common():
            table.add_row(Text(kind, style=colour(0)), f"{count:,}")
        self._out.print()
        self._out.print(table)
        self._out.print(f"{summary.total:,} in {wall:.2f} s, {summary.failed:,} failed{latency_of(summary)}")
        if interrupted:
            self._out.print("Interrupted: what was in progress has no row.")


def line_of(result: PingResult, width: int | None = None) -> Text:
    """One line: time (UTC), status, latency, URL and, when it failed, why.

    Args:
        result: what to show.
        width: cells to fit into, where the URL gives way first; None for all of it.
    """
    line = Text(f"{result.rfc3339[11:]}  ")
    line.append(f"{result.status:3}", style=colour(result.status))
    line.append(f"  {result.latency_ms:9.1f} ms  ")
    tries = f"{result.attempts} tries" if result.attempts > 1 else ""
    remark = "  ".join(part for part in (result.error, tries) if part)
    url = Text(result.url)
    if width is not None:
        room = width - line.cell_len
        url.truncate(max(room - len(remark) - 2 * bool(remark), room // 2), overflow="ellipsis")
    line.append_text(url)
    if remark:
        line.append(f"  {remark}", style=colour(result.status))
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return line


def colour(status: int) -> str:
    """The style of a status; 0 is a failure."""
    return {2: "green", 3: "cyan", 4: "yellow"}.get(status // 100, "red")


def latency_of(summary: Summary) -> str:
    """Percentiles of the answers, or nothing where there were none."""
    half, most = summary.percentile_ms(0.5), summary.percentile_ms(0.99)
    return "" if half is None or most is None else f"; answers p50 {half:g} ms, p99 {most:g} ms"
