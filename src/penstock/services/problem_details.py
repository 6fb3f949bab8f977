"""Errors of HTTP services as problem details, RFC 9457."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import StreamReader, web
from aiohttp.http_exceptions import BadHttpMessage, ContentEncodingError

__all__ = ["ProblemRunner", "fault_of_ours", "problem", "problems_for_http_errors"]

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(
    status: int, detail: str, *, headers: dict[str, str] | None = None, **members: object
) -> web.Response:
    """A problem+json answer: `detail` says what is wrong with this request and what to do about it.

    Args:
        status: the HTTP status, 400 to 599.
        detail: for the person who reads it.
        headers: more headers, such as Retry-After or Allow.
        members: further members of the object, for the program that reads it.
    """
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return web.Response(
        status=status,
        body=msgspec.json.encode(body | members) + b"\n",
        content_type="application/problem+json",
        headers=headers,
    )


@web.middleware
async def problems_for_http_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Middleware: what aiohttp itself refuses (unknown path, wrong method) is answered as a problem too.

    So is a body that breaks off or cannot be decompressed, and an error that nobody thought of (500, logged).
    """
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return problem(
            405,
            f"{request.path} takes {allowed}, got {request.method}",
            headers={"Allow": allowed},
        )
    except web.HTTPNotFound:
        return problem(404, f"there is nothing at {request.path}")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return problem(error.status, error.text or error.reason)
    except (web.RequestPayloadError, BadHttpMessage, ConnectionError) as error:  # or the client has gone
        return unreadable_body(request, error)
    except Exception:
        log.exception("%s %s failed", request.method, request.raw_path)  # a path may hold a decoded line end
        return fault_of_ours()


def fault_of_ours() -> web.Response:
    """The 500 for an error that nobody thought of; the log has it."""
    return problem(500, "something went wrong here, not in the request; the log tells what")


def unreadable_body(request: web.Request, error: Exception) -> web.Response:
    """The 400 for a body that breaks off or is not in its Content-Encoding."""
    request.content.feed_eof()  # or aiohttp tries to read the rest, and logs a traceback
    answer = problem(400, f"the body could not be read: {in_words(error)}")
    answer.force_close()
    return answer


def in_words(error: BaseException) -> str:
    """The innermost reason, which says more than the layers around it; one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    message = error.message if isinstance(error, BadHttpMessage) else str(error)
    return " ".join(message.split()) or type(error).__name__


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


class RequestHandler(web.RequestHandler):
    """Answers as a problem what is no HTTP request at all and so reaches no middleware."""

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
        """As aiohttp's, but what nobody reads of a packed body is not unpacked, unless it is small."""
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

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """As aiohttp's, but for the answer."""
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        if isinstance(exc, ContentEncodingError):
            answer = problem(415, "Content-Encoding must be gzip, deflate or none")
        else:
            reason = " ".join((message or "it is malformed").split())
            answer = problem(status, f"this is no HTTP request that can be read: {reason[:300]}")
        answer.force_close()
        return answer


class ProblemRunner(web.AppRunner):
    """An AppRunner whose answers to malformed requests are problems."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.__class__ = ProblemServer  # an Application always makes a Server, and takes no other
        return server


class ProblemServer(web.Server):
    """A Server that makes our RequestHandler."""

    def __call__(self) -> web.RequestHandler:
        """The handler of a new connection."""
        return RequestHandler(self, loop=self._loop, **self._kwargs)
