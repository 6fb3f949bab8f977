"""Errors of HTTP services as problem details, RFC 9457."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, ContentEncodingError

from penstock.services.refused_bodies import PatientHandler

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


class RequestHandler(PatientHandler):
    """Answers as a problem what is no HTTP request at all and so reaches no middleware."""

    __slots__ = ()

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
