"""Bodies that nobody wants: a client that is refused sees its answer, at next to no cost to the service.

aiohttp reads the rest of a body after its answer, for a client that is still sending may not see the answer
of one that hangs up; and it unpacks what it reads, although a small packed body can hold gigabytes.
"""

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import BadHttpMessage

__all__ = ["PatientHandler"]

SMALL_PACKED = 64 * 1024
"""Bytes of a packed body that nobody wants, up to which it is unpacked so that its connection may stay."""
UNPACKING = 0.1
"""Seconds that this may take, for a small one can hold gigabytes."""
PACKED_PIECE = 1024 * 1024
LINGER = 10.0
"""Seconds for which a client that is still sending is listened to, or it may not see its answer."""


class Unheard(asyncio.Protocol):
    """Takes what comes on a connection in place of its handler, and does nothing with it.

    Args:
        handler: is told what happens to the connection.
        is_half_open: whether it may go on one way once it has ended the other, which TLS cannot.

    Attributes:
        ended: nothing more comes, or is waited for.
    """

    def __init__(self, handler: web.RequestHandler, *, is_half_open: bool) -> None:
        self.handler = handler
        self.is_half_open = is_half_open
        self.ended = asyncio.Event()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: the handler is about to close it."""
        self.ended.set()
        return self.is_half_open

    def connection_lost(self, error: BaseException | None) -> None:
        """See `asyncio.Protocol`."""
        self.ended.set()
        self.handler.connection_lost(error)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.handler.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.handler.resume_writing()


class PatientHandler(web.RequestHandler):
    """As aiohttp's, but what nobody reads of a packed body is not unpacked, unless it is small."""

    __slots__ = ("_unheard",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unheard: Unheard | None = None

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 -- aiohttp's
        """As aiohttp's, but a client that has its answer is not waited for."""
        if self._unheard is not None:
            self._unheard.ended.set()
        await super().shutdown(timeout)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """As aiohttp's, but for the rest of a packed body."""
        content = request.content
        if "Content-Encoding" not in request.headers or content.is_eof():
            return await super().finish_response(request, resp, start_time)
        if (request.content_length or SMALL_PACKED + 1) <= SMALL_PACKED:
            await self._unpack(content)
        if not (is_whole := content.is_eof()):
            resp.force_close()
        done = await super().finish_response(request, resp, start_time)
        if not is_whole:
            self._lingering_time = 0.0  # aiohttp's, which unpacks
            await self._hear_out()
        return done

    async def _unpack(self, content: StreamReader) -> None:
        content.set_read_chunk_size(PACKED_PIECE)
        with suppress(TimeoutError, web.RequestPayloadError, BadHttpMessage, ConnectionError):
            async with asyncio.timeout(UNPACKING):
                while self.transport is not None and await content.readany():  # noqa: ASYNC110
                    await asyncio.sleep(0)  # others have their turn

    async def _hear_out(self) -> None:
        """Lets a client that is still sending come to its end, or to see its answer."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        self._unheard = unheard = Unheard(self, is_half_open=transport.can_write_eof())
        transport.set_protocol(unheard)
        transport.resume_reading()
        if unheard.is_half_open:
            transport.write_eof()  # so that who reads to the end has it now
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                await unheard.ended.wait()
        if self.transport is not None:  # else the connection is lost, and takes no protocol
            transport.set_protocol(self)
