"""Where URLs come from: read when they are needed, line by line, in bounded memory."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from penstock.probing.request import MAX_URL
from penstock.services.line_reader import lines_of, read_lines
from penstock.services.pinger.model import Target

__all__ = ["count_targets", "read_targets"]

MAX_LINE_BYTES = 4 * MAX_URL
"""A character has at most four bytes; longer lines are cut there while they are read, and refused."""


async def read_targets(fd: int, *, until: float | None = None) -> AsyncGenerator[Target, None]:
    """The targets of a file, pipe or terminal: one a line, without blank lines and `#` comments.

    Args:
        fd: open for reading; stays open.
        until: time of the event loop from which on nothing is read or waited for; None for never.
    """
    async with aclosing(read_lines(fd, MAX_LINE_BYTES, until=until)) as lines:
        async for line in lines:
            yield Target(line.text, line.number)


def count_targets(path: str) -> int:
    """How many targets `read_targets` finds in a regular file."""
    return sum(1 for _ in lines_of(path, MAX_LINE_BYTES))
