"""A sink for people at a terminal: a line for each result, or live figures, and a summary at the end."""

import asyncio
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskProgressColumn
from rich.table import Column
from rich.text import Text

from penstock.services.live_screen import LiveScreen
from penstock.services.pinger.in_flight import spark_line
from penstock.services.pinger.model import PingResult
from penstock.services.pinger.summary import Recorder, RunSummary
from penstock.services.pinger.words import (
    Line,
    colour_of,
    conclusion,
    head_of,
    headline,
    in_figures,
    load_lines,
    outcome_lines,
    phase_lines,
    remark_of,
    target_lines,
)

__all__ = ["LoadScreen", "Screen", "line_of"]

LOAD_REFRESH = 0.25
SPARK_WIDTH = 12


class Screen(LiveScreen):
    """Shows results: on a terminal in colour and cut to its width, into a pipe plain and whole.

    Args:
        total: results that will come; None when nobody knows.
        recorder: what the bar tells of; None for nothing besides the count.
    """

    def __init__(self, total: int | None, recorder: Recorder | None = None) -> None:
        told: list[ProgressColumn] = [] if recorder is None else [RunColumn(recorder)]
        super().__init__(total, BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), *told)

    def show(self, result: PingResult) -> None:
        """Takes one result."""
        self.show_line(line_of(result, self.width))

    def conclude(self, summary: RunSummary) -> None:
        """Prints the summary of a run."""
        print_lines(self.out, conclusion(summary, self.width))


class LoadScreen:
    """Shows the figures of a run while it goes on, four times a second, and no line for each result.

    Args:
        recorder: watches the run.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._summary: Callable[[], RunSummary] = recorder.summary
        self.out = Console(highlight=False)
        self._drawn_on = self.out if self.out.is_terminal else Console(stderr=True, highlight=False)

    def show(self, result: PingResult) -> None:
        """Takes one result; the recorder has counted it."""

    async def keep_fresh(self) -> None:
        """Draws until it is cancelled."""
        with Live(console=self._drawn_on, auto_refresh=False, transient=True) as live:
            while True:
                await asyncio.sleep(LOAD_REFRESH)
                live.update(self._picture(), refresh=True)

    def conclude(self, summary: RunSummary) -> None:
        """Prints the summary of a run."""
        print_lines(self.out, conclusion(summary, self.out.width if self.out.is_terminal else None))

    def _picture(self) -> Group:
        summary, width = self._summary(), self._drawn_on.width
        lines = [*outcome_lines(summary.overall)]
        if len(summary.targets) > 1:
            lines += [Line(""), *target_lines(summary, width)]
        spark = spark_line(list(summary.in_flight), max(width - 30, 10))
        lines += [Line(""), Line(headline(summary))]
        lines += [Line(text) for text in (*load_lines(summary), *phase_lines(summary.overall))]
        lines.append(Line(f"in flight {spark} {summary.in_flight[-1]:,}"))
        room = max(self._drawn_on.height - 2, 3)
        return Group(*(cut(line, width) for line in lines[-room:]))


class RunColumn(ProgressColumn):
    """The words behind the bar: how many are in flight, with their past, and how many failed."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(Column(no_wrap=True))
        self._recorder = recorder

    def render(self, task: Task) -> Text:
        """Told ten times a second."""
        recorder = self._recorder
        counts = recorder.in_flight.most(recorder.clock())
        rate = f"  {in_figures(recorder.rate)}/s" if recorder.rate is not None else ""
        failed = f"  {recorder.overall.failed:,} failed" if recorder.overall.failed else ""
        return Text(f"{spark_line(counts, SPARK_WIDTH)} {recorder.in_flight.now:,} in flight{rate}{failed}")


def line_of(result: PingResult, width: int | None = None) -> Text:
    """One line: time (UTC), status, latency, URL and, when it is not simply good, why.

    Args:
        result: what to show.
        width: cells to fit into, where the URL gives way first; None for all of it.
    """
    when, status, latency = head_of(result)
    style, remark = colour_of(result), remark_of(result)
    line = Text(f"{when}  ").append(status, style=style).append(f"  {latency}  ")
    asked = Text(result.url)
    if width is not None:
        room = width - line.cell_len
        asked.truncate(max(room - len(remark) - 2 * bool(remark), room // 2), overflow="ellipsis")
    line.append_text(asked)
    if remark:
        line.append(f"  {remark}", style=style)
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return line


def print_lines(out: Console, lines: list[Line]) -> None:
    """Prints the lines; those that are wider than a terminal go on in the next one."""
    for line in lines:
        out.print(Text(line.text, style=line.style), soft_wrap=not out.is_terminal)


def cut(line: Line, width: int) -> Text:
    text = Text(line.text, style=line.style)
    text.truncate(width, overflow="ellipsis")
    return text
