"""Errors of HTTP services as problem details, RFC 9457."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import web

__all__ = ["problem", "problems_for_http_errors"]

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
        body=msgspec.json.encode(body | members),
        content_type="application/problem+json",
        headers=headers,
    )


@web.middleware
async def problems_for_http_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Middleware: what aiohttp itself refuses (unknown path, wrong method) is answered as a problem too."""
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
