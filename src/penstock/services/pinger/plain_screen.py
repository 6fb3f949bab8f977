"""A sink for pipes and files: whole lines without colours, and a summary at the end."""

import asyncio

from penstock.services.pinger.model import PingResult
from penstock.services.pinger.summary import RunSummary
from penstock.services.pinger.words import conclusion, line_of
from penstock.services.row_files import Naming

__all__ = ["PlainScreen"]


class PlainScreen:
    """Shows results as plain lines on standard output, each at once.

    Args:
        log: whether there is a line for each result.
    """

    def __init__(self, *, log: bool = True) -> None:
        self.log = log
        self._naming = Naming("standard output")

    def show(self, result: PingResult) -> None:
        """Takes one result."""
        if self.log:
            with self._naming:
                print(line_of(result), flush=True)  # noqa: T201 - it is what this is for

    async def keep_fresh(self) -> None:
        """Nothing to draw."""
        await asyncio.Event().wait()

    def conclude(self, summary: RunSummary) -> None:
        """Prints the summary of a run."""
        with self._naming:
            lines = "\n".join(line.text for line in conclusion(summary))
            print(lines, flush=True)  # noqa: T201 - and nowhere, when standard output is closed
