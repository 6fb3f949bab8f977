"""Bodies of requests as they come: in bounded room and time, and unpacked a piece at a time.

What counts is what has come, not what a client announces: to announce costs nothing. So a client takes room
from others only as far as it has sent, and for no longer than a body may take to come.
"""

import asyncio
from threading import Lock
from types import TracebackType
from typing import Self

from aiohttp import StreamReader, web

from penstock.errors import PenstockError
from penstock.services.distributor.admission import NotStored

__all__ = ["BodyRoom", "Hold", "TooSlow", "read_body"]

PIECE = 512 * 1024
"""Bytes that are read, or unpacked, at once. Left alone, aiohttp takes as many as a whole body may have."""
STEP = 64 * 1024
"""Bytes by which a hold grows that grows little by little."""


class TooSlow(PenstockError, TimeoutError):
    """A body that did not come in time.

    Args:
        within: seconds that it had.
        size: bytes that came.
    """

    def __init__(self, within: float, size: int) -> None:
        super().__init__(f"the body must come within {within:g} s, got {size} bytes in that time")


class BodyRoom:
    """The memory for the bodies of all requests that are not answered yet.

    Args:
        most: bytes of them.

    Attributes:
        most: as given.
        held: bytes of them now.
        lock: to be had while that changes.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0
        self.lock = Lock()  # large bodies are read in threads

    def fits(self, size: int) -> bool:
        """Whether there is room for so many bytes now."""
        return self.held + size <= self.most

    def take(self, size: int) -> bool:
        """Takes room for so many bytes; False when there is not so much."""
        with self.lock:
            if self.held + size > self.most:
                return False
            self.held += size
            return True

    def give_back(self, size: int) -> None:
        """Gives room back that was taken."""
        with self.lock:
            self.held -= size

    def hold(self) -> "Hold":
        """Room for one request, nothing at first; a context manager that gives all of it back."""
        return Hold(self)

    def refusal(self) -> NotStored:
        """That there is no room now, in words."""
        return NotStored(
            f"{self.held} bytes of requests are being taken already, at most {self.most} are held at a time"
        )


class Hold:
    """The room that one request has.

    Attributes:
        size: bytes of it.
    """

    __slots__ = ("_has_ended", "_room", "size")

    def __init__(self, room: BodyRoom) -> None:
        self._room = room
        self._has_ended = False
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._room.lock:
            self._has_ended = True
            self._room.held -= self.size
            self.size = 0

    def require(self, size: int) -> None:
        """Refuses what would not fit, before any of it has come.

        Raises:
            NotStored: there is no room for so many bytes now.
        """
        if not self._room.fits(size):
            raise self._room.refusal()

    def grow(self, size: int) -> None:
        """Takes room for so many bytes more.

        Raises:
            NotStored: there is none.
        """
        with self._room.lock:
            if not self._has_ended:  # else a thread reads on for a request that was given up
                if not self._room.fits(size):
                    raise self._room.refusal()
                self._room.held += size
                self.size += size

    def cover(self, size: int) -> None:
        """Sees to it that there is room for so many bytes in all.

        Raises:
            NotStored: there is none.
        """
        if size > self.size:
            self.grow(max(size - self.size, min(STEP, self._room.most - self.size)))


async def read_body(request: web.Request, most: int, hold: Hold, within: float) -> bytes:
    """The body, after what aiohttp unpacks.

    Args:
        request: whose body nobody has read.
        most: bytes that it may have; few more are ever held.
        hold: grows by what comes.
        within: seconds in which all of it must have come.

    Raises:
        HTTPRequestEntityTooLarge: it has more.
        NotStored: there is no room for it.
        TooSlow: it did not come in time.
        ConnectionResetError: the client has gone.
    """
    is_packed = "Content-Encoding" in request.headers
    if not is_packed:
        hold.require(request.content_length or 0)
    content, body = request.content, bytearray()
    if request.transport is None and not content.is_eof():
        raise ConnectionResetError("the client has gone")  # aiohttp takes it for a fault of ours
    try:
        async with asyncio.timeout(within):
            await take_all(content, body, most, hold, is_packed=is_packed)
    except TimeoutError:
        if not content.is_eof():
            read_no_more(request)
            raise TooSlow(within, len(body)) from None
        await take_all(content, body, most, hold, is_packed=is_packed)  # it was only not taken in time
    return bytes(body)


def read_no_more(request: web.Request) -> None:
    """Spares aiohttp waiting for the rest of a body once the request is answered."""
    request.content.feed_eof()
    if request.transport is not None and not request.transport.is_closing():
        request.transport.pause_reading()  # aiohttp could not take what comes after the end


async def take_all(content: StreamReader, body: bytearray, most: int, hold: Hold, *, is_packed: bool) -> None:
    """Adds to a body what comes of it."""
    content.set_read_chunk_size(min(PIECE, most + 1))
    while piece := await content.readany():
        if len(body) + len(piece) > most:
            raise web.HTTPRequestEntityTooLarge(most, len(body) + len(piece))
        hold.grow(len(piece))
        body += piece
        if content.at_eof():  # what has come whole is taken, even when its client does not wait for an answer
            break
        if is_packed:
            await asyncio.sleep(0)  # others have a turn, though nothing need be waited for
