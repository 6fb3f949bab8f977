"""A sink for people: a line for each result, a progress bar on a terminal, and a summary at the end."""

from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TimeElapsedColumn
from rich.text import Text

from penstock.services.live_screen import LiveScreen, outcome_table, result_line
from penstock.services.outcomes import Outcomes
from penstock.services.pinger.model import PingResult

__all__ = ["Screen", "line_of"]


class Screen(LiveScreen):
    """Shows results: on a terminal in colour and cut to its width, into a pipe plain and whole.

    Args:
        total: results that will come; None when nobody knows.
    """

    def __init__(self, total: int | None) -> None:
        super().__init__(total, BarColumn(), TaskProgressColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    def show(self, result: PingResult) -> None:
        """Takes one result."""
        self.show_line(line_of(result, self.width))

    def conclude(self, outcomes: Outcomes, wall: float, *, interrupted: bool) -> None:
        """Prints the summary of a run that took `wall` seconds."""
        self.out.print()
        self.out.print(outcome_table(outcomes))
        self.out.print(
            f"{outcomes.total:,} in {wall:.2f} s, {outcomes.failed:,} failed{latency_of(outcomes)}"
        )
        if interrupted:
            self.out.print("Interrupted: what was in progress has no row.")


def line_of(result: PingResult, width: int | None = None) -> Text:
    """One line: time (UTC), status, latency, URL and, when it failed, why.

    Args:
        result: what to show.
        width: cells to fit into, where the URL gives way first; None for all of it.
    """
    return result_line(result.url, result, width)


def latency_of(outcomes: Outcomes) -> str:
    """Percentiles of the answers, or nothing where there were none."""
    half, most = outcomes.percentile_ms(0.5), outcomes.percentile_ms(0.99)
    return "" if half is None or most is None else f"; answers p50 {half:g} ms, p99 {most:g} ms"
