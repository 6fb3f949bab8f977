"""A sink for pipes and files: whole lines without colours, and a summary at the end."""

import asyncio
import sys

from penstock.services.pinger.model import PingResult
from penstock.services.pinger.summary import RunSummary
from penstock.services.pinger.words import conclusion, line_of

__all__ = ["PlainScreen"]


class PlainScreen:
    """Shows results as plain lines on standard output, each at once.

    Args:
        log: whether there is a line for each result.
    """

    def __init__(self, *, log: bool = True) -> None:
        self.log = log

    def show(self, result: PingResult) -> None:
        """Takes one result."""
        if self.log:
            print(line_of(result), flush=True)  # noqa: T201 - it is what this is for

    async def keep_fresh(self) -> None:
        """Nothing to draw."""
        await asyncio.Event().wait()

    def conclude(self, summary: RunSummary) -> None:
        """Prints the summary of a run."""
        for line in conclusion(summary):
            print(line.text)  # noqa: T201
        sys.stdout.flush()
