"""A line for each result, a progress bar on a terminal, and the outcomes at the end."""

import asyncio
import sys

from rich.console import Console
from rich.progress import Progress, ProgressColumn
from rich.table import Table
from rich.text import Text

from penstock.services.outcomes import Outcome, Outcomes

__all__ = ["LiveScreen", "colour", "outcome_table", "result_line"]

REFRESH = 0.1
MOST_PENDING = 1_000


class LiveScreen:
    """Shows lines: on a terminal in colour, into a pipe plain; the bar is below them or on standard error.

    A terminal is drawn on ten times a second and not for every result, because drawing takes about as
    long as an answer from nearby and would be timed with it.

    Args:
        total: results that will come; None when nobody knows.
        columns: of the progress bar.
        expand: makes the bar as wide as the terminal.
        to_stderr: shows all on standard error, because standard output is for something else.

    Attributes:
        out: where the lines go, and the summary.
    """

    def __init__(
        self, total: int | None, *columns: ProgressColumn, expand: bool = False, to_stderr: bool = False
    ) -> None:
        self.out = Console(highlight=False, stderr=to_stderr)
        self._pending: list[Text] = []
        self._progress = Progress(
            *columns,
            console=self.out if self.out.is_terminal else Console(stderr=True),
            auto_refresh=False,  # keep_fresh draws, without a thread
            transient=True,
            expand=expand,
            disable=sys.stderr is None or not sys.stderr.isatty(),
        )
        self._results = self._progress.add_task("", total=total)

    @property
    def width(self) -> int | None:
        """Cells that a line should fit into; None in a pipe, where it is whole."""
        return self.out.width if self.out.is_terminal else None

    def show_line(self, line: Text) -> None:
        """Takes the line of one result; it appears at once in a pipe and within 0.1 s on a terminal."""
        self._progress.advance(self._results)
        if not self.out.is_terminal:
            print(line, file=self.out.file, flush=True)
            return
        self._pending.append(line)
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


def result_line(what: str, result: Outcome, width: int | None) -> Text:
    """One line: time (UTC), status, latency, what was asked for and, when it failed, why.

    Args:
        what: was asked for, such as a URL.
        result: what became of it.
        width: cells to fit into, where `what` gives way first; None for all of it.
    """
    line = Text(f"{result.rfc3339[11:]}  ")
    line.append(f"{result.status:3}", style=colour(result.status))
    line.append(f"  {result.latency_ms:9.1f} ms  ")
    tries = f"{result.attempts} tries" if result.attempts > 1 else ""
    remark = "  ".join(part for part in (result.error, tries) if part)
    asked = Text(what)
    if width is not None:
        room = width - line.cell_len
        asked.truncate(max(room - len(remark) - 2 * bool(remark), room // 2), overflow="ellipsis")
    line.append_text(asked)
    if remark:
        line.append(f"  {remark}", style=colour(result.status))
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return line


def colour(status: int) -> str:
    """The style of a status; 0 is a failure."""
    return {2: "green", 3: "cyan", 4: "yellow"}.get(status // 100, "red")


def outcome_table(outcomes: Outcomes) -> Table:
    """How many there were of each status and each kind of error."""
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("outcome")
    table.add_column("count", justify="right")
    for status, count in sorted(outcomes.statuses.items()):
        table.add_row(Text(f"status {status}", style=colour(status)), f"{count:,}")
    for kind, count in outcomes.errors.most_common():
        table.add_row(Text(kind, style=colour(0)), f"{count:,}")
    return table
