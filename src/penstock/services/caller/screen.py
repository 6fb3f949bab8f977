"""A sink for people: a line for each row, a bar that tells the pace, and a summary at the end."""

from collections import deque
from math import ceil, floor

from rich.filesize import decimal
from rich.progress import BarColumn, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from penstock.services.caller.flow import Flow
from penstock.services.caller.model import Call
from penstock.services.caller.pace import Pace
from penstock.services.caller.summary import Summary
from penstock.services.live_screen import LiveScreen, outcome_table, result_line

__all__ = ["Screen", "line_of"]

RATE_WINDOW = 5.0  # seconds over which "the rate now" is taken, more where the limit is below one a second
SAMPLES = 50


class Screen(LiveScreen):
    """Shows rows: on a terminal in colour and cut to its width, into a pipe plain and whole.

    Args:
        total: rows that will come; None when nobody knows.
        pace: the limit.
        flow: what the run is doing.
        summary: what has been counted.
    """

    def __init__(self, total: int | None, pace: Pace, flow: Flow, summary: Summary) -> None:
        super().__init__(total, BarColumn(bar_width=None), PaceColumn(pace, flow, summary), expand=True)
        self._pace, self._flow, self._summary = pace, flow, summary

    def show(self, call: Call) -> None:
        """Takes one row."""
        self.show_line(line_of(call, self.width))

    def conclude(self, *, interrupted: bool) -> None:
        """Prints the summary of a run that has just ended."""
        self.out.print()
        self.out.print(outcome_table(self._summary))
        for line in conclusion(self._pace, self._flow, self._summary):
            self.out.print(line, soft_wrap=not self.out.is_terminal)  # a terminal wraps within words
        if interrupted:
            self.out.print("Interrupted: what was in progress has no row.")


def line_of(call: Call, width: int | None = None) -> Text:
    """One line: time (UTC), status, latency, method, URL and, when it failed, why.

    Args:
        call: what to show.
        width: cells to fit into, where the URL gives way first; None for all of it. A bad line is shown
            whole: what is wrong with it stands at its end, and perhaps in no file.
    """
    if not call.method:
        return result_line(f"line {call.line}", call, None)
    return result_line(f"{call.method} {call.url}", call, width)


def conclusion(pace: Pace, flow: Flow, summary: Summary) -> list[str]:
    """What there is to say about a run besides its outcomes."""
    seconds = max(flow.seconds, 1e-9)
    again = f", {summary.repeated:,} of them again" if summary.repeated else ""
    lines = [
        f"{summary.total:,} requests in {seconds:.2f} s, {summary.failed:,} failed, "
        f"{decimal(summary.size)} read",
        f"sent {flow.sent:,}{again}, {in_figures(flow.sent / seconds)}/s; "
        f"the limit is {in_figures(pace.rate)}/s, burst {pace.burst:,}",
        f"busiest second: {flow.most_in_a_second:,} of {floor(pace.burst + pace.rate):,} allowed",
    ]
    half, many, most = (summary.percentile_ms(share) for share in (0.5, 0.95, 0.99))
    if half is not None:
        lines.append(f"latency p50 {half:g} ms, p95 {many:g} ms, p99 {most:g} ms")
    if summary.total:
        lines.append(
            f"waited for the limit: {summary.waited / summary.total:.2f} s on average, "
            f"{summary.longest_wait:.2f} s at most"
        )
    lines.append(held_back(flow, seconds))
    return lines


def held_back(flow: Flow, seconds: float) -> str:
    """Which bound it was that requests waited for, by the share of the time."""
    limited, full, computing = flow.limited / seconds, flow.full / seconds, flow.computing / seconds
    words = f"held back by the limit {limited:.0%} of the time, by --concurrency {flow.slots} {full:.0%}"
    if computing > max(limited, 0.5):  # slots fill up with answers that nobody has read yet
        return f"{words}, by the processor here {min(computing, 1):.0%}"
    if full > max(limited, 0.5):
        return f"{words}: slow answers, more at once may go faster"
    if limited + full < 0.5:
        return f"{words}: else the computer was busy, or requests were few"
    return words


class PaceColumn(ProgressColumn):
    """The words behind the bar: how far, how fast, how many at once, how many failed, how long yet."""

    def __init__(self, pace: Pace, flow: Flow, summary: Summary) -> None:
        super().__init__(Column(no_wrap=True))  # so the bar is what gives way
        self._pace, self._flow, self._summary = pace, flow, summary
        self._window = max(RATE_WINDOW, RATE_WINDOW / pace.rate)
        self._samples = deque([(0.0, 0)], maxlen=SAMPLES)

    def render(self, task: Task) -> Text:
        """Told ten times a second."""
        total = "" if task.total is None else f"/{task.total:,.0f}"
        parts = [
            f"{task.completed:,.0f}{total}",
            f"{in_figures(self._rate_now())} of {in_figures(self._pace.rate)}/s",
            f"{self._flow.in_flight:,} in flight",
            f"{self._summary.failed:,} failed",
        ]
        if task.total is not None:
            parts.append(f"{in_clock_words(self._seconds_left(task.total - task.completed))} left")
        return Text("  ".join(parts), no_wrap=True)

    def _rate_now(self) -> float:
        now, sent = self._flow.seconds, self._flow.sent
        if now - self._samples[-1][0] >= self._window / SAMPLES:
            self._samples.append((now, sent))
        then, sent_then = self._samples[0]
        return (sent - sent_then) / max(now - then, 1.0)

    def _seconds_left(self, requests: float) -> float:
        done, passed = self._summary.total, self._flow.seconds
        average = done / passed if done and passed else self._pace.rate
        return requests / min(average, self._pace.rate)


def in_figures(number: float) -> str:
    """Three digits, or all that stand before the point: `0.05`, `4.98`, `12,345`."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def in_clock_words(seconds: float) -> str:
    """`0:07`, `12:34`, `1:02:03`."""
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
