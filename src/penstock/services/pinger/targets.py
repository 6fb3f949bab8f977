"""Where URLs come from: read when they are needed, line by line, in bounded memory."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator

from yarl import URL

from penstock.errors import InvalidValue
from penstock.services.pinger.model import Target

__all__ = ["MAX_URL", "InvalidUrl", "checked_url", "count_targets", "read_targets"]

MAX_URL = 8192
"""Characters of a URL; longer lines are cut there while they are read, and refused."""

CHUNK_BYTES = 65_536


class InvalidUrl(InvalidValue):
    """A text is no URL that can be pinged."""


def checked_url(text: str) -> URL:
    """The http or https URL that `text` is.

    Raises:
        InvalidUrl: it is none; the message says why.
    """
    if len(text) > MAX_URL:
        raise InvalidUrl(f"longer than {MAX_URL} characters")
    if not text.isprintable() or " " in text:
        raise InvalidUrl("holds a space or a control character")
    try:
        url = URL(text)
    except ValueError as error:
        raise InvalidUrl(str(error)[:200]) from None
    if url.scheme not in ("http", "https"):
        raise InvalidUrl("must start with http:// or https://")
    if not url.raw_host:
        raise InvalidUrl("no host")
    if url.port == 0:
        raise InvalidUrl("port must be 1 to 65535, got 0")
    return url


async def read_targets(fd: int) -> AsyncGenerator[Target, None]:
    """The targets of a file, pipe or terminal: one a line, without blank lines and `#` comments.

    While a pipe or terminal is silent, the event loop goes on; nothing is read ahead but one chunk.

    Args:
        fd: open for reading; stays open.
    """
    lines = LineSplitter()
    while chunk := await _read_when_ready(fd):
        for target in lines.targets_in(chunk):
            yield target
    for target in lines.targets_in(b"\n"):  # the last line may lack its end
        yield target


def count_targets(path: str) -> int:
    """How many targets `read_targets` finds in a regular file."""
    lines = LineSplitter()
    with open(path, "rb") as file:
        count = sum(
            sum(1 for _ in lines.targets_in(chunk)) for chunk in iter(lambda: file.read(CHUNK_BYTES), b"")
        )
    return count + sum(1 for _ in lines.targets_in(b"\n"))


class LineSplitter:
    """Cuts chunks of bytes into lines, and lines into targets; holds one line of bounded size."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._number = 0

    def targets_in(self, chunk: bytes) -> Iterator[Target]:
        """The targets on the lines that end in this chunk."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._extend(end)
            self._number += 1
            text = self._line.decode("utf-8", "replace").removeprefix("\ufeff").strip()
            self._line.clear()
            if text and not text.startswith("#"):
                yield Target(text, self._number)
        self._extend(rest)

    def _extend(self, part: bytes) -> None:
        self._line += part[: 4 * MAX_URL + 1 - len(self._line)]  # a character has at most four bytes


async def _read_when_ready(fd: int) -> bytes:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    try:
        loop.add_reader(fd, _set_ready, ready)
    except (PermissionError, NotImplementedError):  # epoll refuses regular files: they are always ready
        return os.read(fd, CHUNK_BYTES)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
    return os.read(fd, CHUNK_BYTES)


def _set_ready(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
