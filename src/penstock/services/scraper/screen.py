"""A sink for people: a line for each page, a bar that tells how the crawl stands, and a summary."""

from collections import deque
from collections.abc import Callable

from rich.filesize import decimal
from rich.progress import BarColumn, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from penstock.clock import NANOSECONDS, Clock, monotonic_ns
from penstock.services.live_screen import LiveScreen, colour, outcome_table
from penstock.services.scraper.model import Page, Progress
from penstock.services.scraper.summary import Summary

__all__ = ["Screen", "line_of"]

RATE_WINDOW = 5 * NANOSECONDS
BROKEN_SHOWN = 20
NO_TIME = " " * 13


class Screen(LiveScreen):
    """Shows pages: on a terminal in colour and cut to its width, into a pipe plain and whole.

    Args:
        progress: returns how the crawl stands.
        is_quiet: shows no lines for pages, only the bar and the summary.
        to_stderr: shows all on standard error, because standard output is for the rows.
    """

    def __init__(
        self, progress: Callable[[], Progress], *, is_quiet: bool = False, to_stderr: bool = False
    ) -> None:
        self._standing = StandingColumn(progress)
        super().__init__(None, BarColumn(bar_width=None), self._standing, expand=True, to_stderr=to_stderr)
        self._crawl = progress
        self._is_quiet = is_quiet

    def show(self, page: Page) -> None:
        """Takes one row."""
        self._standing.count()
        if not self._is_quiet:
            self.show_line(line_of(page, self.width))

    def _draw(self) -> None:
        crawl = self._crawl()  # what is known of grows with every page, and the bar with it
        known = crawl.done + crawl.queued + crawl.in_flight
        self._progress.update(self._results, completed=crawl.done, total=known or None)
        super()._draw()

    def conclude(self, summary: Summary, progress: Progress, seconds: float, notes: list[str]) -> None:
        """Prints the summary of a run.

        Args:
            summary: what was counted.
            progress: how the crawl stands at its end.
            seconds: that it took.
            notes: what else there is to say, a line each.
        """
        self.out.print()
        self.out.print(outcome_table(summary))
        for line in conclusion(summary, progress, seconds):
            self._say(line)
        for line in broken_lines(summary):
            self._say(line)
        for note in notes:
            self._say(note)

    def _say(self, line: str) -> None:
        self.out.print(Text(line), soft_wrap=not self.out.is_terminal)  # a terminal wraps within words


class StandingColumn(ProgressColumn):
    """How a crawl stands, and its pace over the last seconds.

    Args:
        progress: returns how it stands.
        clock: returns int nanoseconds.
    """

    max_refresh = None

    def __init__(self, progress: Callable[[], Progress], clock: Clock = monotonic_ns) -> None:
        super().__init__(Column(no_wrap=True))
        self._progress = progress
        self._clock = clock
        self._rows = 0
        self._samples: deque[tuple[int, int]] = deque([(clock(), 0)])

    def count(self) -> None:
        """Takes note of one row."""
        self._rows += 1

    def render(self, task: Task) -> Text:
        """The column as it is now."""
        now = self._clock()
        self._samples.append((now, self._rows))
        while len(self._samples) > 2 and now - self._samples[0][0] > RATE_WINDOW:
            self._samples.popleft()
        begin, rows = self._samples[0]
        rate = (self._rows - rows) / max((now - begin) / NANOSECONDS, 0.1)
        return Text(standing(self._progress(), rate))


def standing(progress: Progress, rate: float) -> str:
    """How a crawl stands, in a line that fits beside a short bar."""
    parts = [
        f"{progress.done:,} done",
        f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s",
        f"{progress.queued:,} queued",
        f"{progress.in_flight:,} in flight",
    ]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.hosts_waiting:
        parts.append(f"{progress.hosts_waiting:,} host{'s wait' if progress.hosts_waiting > 1 else ' waits'}")
    if progress.state == "stopping":
        parts.append("stopping")
    return "  ".join(parts)


def line_of(page: Page, width: int | None = None) -> Text:
    """One line: time (UTC), status, milliseconds, URL, and its title or what is amiss.

    Args:
        page: what to show.
        width: cells to fit into, where the remark gives way first and then the URL; None for all of it.
    """
    line = Text(f"{page.fetched_at[11:] or NO_TIME}  ")
    line.append(f"{page.status:3}", style=colour(page.status) if page.outcome != "refused" else "dim")
    line.append(f"  {page.elapsed_ms:8.1f} ms  ")
    remark = Text(
        page.error, style="dim" if page.outcome in ("refused", "duplicate") else colour(page.status)
    )
    if not page.error:
        remark = Text(page.title, style="dim")
    url = Text(page.url)
    if width is not None:
        room = width - line.cell_len
        url.truncate(max(room - remark.cell_len - 2, room * 3 // 5), overflow="ellipsis")
    line.append_text(url)
    if remark:
        line.append("  ").append_text(remark)
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return line


def conclusion(summary: Summary, progress: Progress, seconds: float) -> list[str]:
    """What there is to say about a run besides its outcomes."""
    rate = (summary.total - progress.earlier) / max(seconds, 1e-9)
    earlier = f", {progress.earlier:,} of them in earlier runs" if progress.earlier else ""
    lines = [
        f"{summary.total:,} pages{earlier}, {summary.failed:,} failed, {decimal(summary.size)} read",
        f"{seconds:.2f} s, {rate:,.1f} pages/s, {progress.hosts:,} host{'s' * (progress.hosts != 1)}",
    ]
    half, many, most = (summary.percentile_ms(share) for share in (0.5, 0.95, 0.99))
    if half is not None:
        lines.append(f"answers p50 {half:g} ms, p95 {many:g} ms, p99 {most:g} ms")
    counted = {
        "more attempts": progress.retries,
        "links that look endless were left alone": progress.traps,
        "URLs still queued": progress.queued,
    }
    lines += [f"{count:,} {words}" for words, count in counted.items() if count]
    lines += [f"gave up {host}: {why}" for host, why in summary.hosts_given_up.items()]
    return lines + [f"limit reached: {words}" for words in summary.limits]


def broken_lines(summary: Summary) -> list[str]:
    """The pages that failed, why, and where they are linked from; the first ones."""
    lines = []
    for url, reason, referrer in summary.broken[:BROKEN_SHOWN]:
        lines.append(f"failed: {url}  {reason}")
        if referrer:
            lines.append(f"    linked from {referrer}")
    more = summary.failed - min(len(summary.broken), BROKEN_SHOWN)
    if more > 0:
        lines.append(f"and {more:,} more failed: --csv, --json, --ndjson and --sqlite hold them all")
    return lines
