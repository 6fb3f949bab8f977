"""Lines of files, pipes and terminals: read when they are needed, one by one, in bounded memory."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Line", "LineSplitter", "lines_of", "read_lines"]

CHUNK_BYTES = 65_536


class Line(NamedTuple):
    """A line that says something: it is not blank and no `#` comment."""

    number: int
    """In its file, from 1."""
    raw: bytes
    """As it stands there, without its end; cut where it is longer than the splitter's bound."""
    text: str
    """The same without the space around it, and U+FFFD for what is no UTF-8."""


class LineSplitter:
    """Cuts chunks of bytes into lines; holds one line of bounded size.

    Args:
        max_bytes: of a line; one more is kept, so that who reads it sees that it is too long.
    """

    def __init__(self, max_bytes: int) -> None:
        self._bound = max_bytes + 1
        self._line = bytearray()
        self._number = 0

    def lines_in(self, chunk: bytes) -> Iterator[Line]:
        """The lines that end in this chunk."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._extend(end)
            self._number += 1
            raw = bytes(self._line)
            self._line.clear()
            text = raw.decode("utf-8", "replace").removeprefix("\ufeff").strip()
            if text and not text.startswith("#"):
                yield Line(self._number, raw, text)
        self._extend(rest)

    def _extend(self, part: bytes) -> None:
        self._line += part[: self._bound - len(self._line)]


async def read_lines(fd: int, max_bytes: int, *, until: float | None = None) -> AsyncGenerator[Line, None]:
    """The lines of a file, pipe or terminal.

    While a pipe or terminal is silent, the event loop goes on; nothing is read ahead but one chunk.

    Args:
        fd: open for reading; stays open.
        max_bytes: see LineSplitter.
        until: time of the event loop from which on nothing is read or waited for; None for never.
    """
    splitter = LineSplitter(max_bytes)
    try:
        while chunk := await _read_when_ready(fd, until):
            for line in splitter.lines_in(chunk):
                yield line
    except TimeoutError:
        return  # what it holds of a line may be the half of it
    for line in splitter.lines_in(b"\n"):  # the last line may lack its end
        yield line


def lines_of(path: str | Path, max_bytes: int) -> Iterator[Line]:
    """The lines that `read_lines` finds in a regular file."""
    splitter = LineSplitter(max_bytes)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield from splitter.lines_in(chunk)
    yield from splitter.lines_in(b"\n")


async def _read_when_ready(fd: int, until: float | None) -> bytes:
    loop = asyncio.get_running_loop()
    if until is not None and loop.time() >= until:
        raise TimeoutError
    ready = loop.create_future()
    try:
        loop.add_reader(fd, _set_ready, ready)
    except (PermissionError, NotImplementedError):  # epoll refuses regular files: they are always ready
        await asyncio.sleep(0)  # some never end, as /dev/zero: Ctrl-C and others get their turn
        return os.read(fd, CHUNK_BYTES)
    try:
        async with asyncio.timeout_at(until):
            await ready
    finally:
        loop.remove_reader(fd)
    return os.read(fd, CHUNK_BYTES)


def _set_ready(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
