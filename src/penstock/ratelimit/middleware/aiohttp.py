"""Rate limits for aiohttp applications.

A refused request's body is never read into memory. aiohttp throws away what comes of it for at most its
`lingering_time` (10 s), so that the client gets to read the refusal, and keeps the connection if all of it
came. When it is longer than MAX_BODY_TO_SKIP or of unknown length, the answer says `Connection: close`.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import Any, Unpack

from aiohttp import HttpVersion11, web

from penstock.ratelimit.middleware._core import (
    Decision,
    Limiter,
    Options,
    RequestLimits,
    key_of_client,
)
from penstock.ratelimit.middleware.client_ip import ClientIP
from penstock.ratelimit.result import RateLimitResult

__all__ = ["RESULT", "RateLimitMiddleware", "client_key", "limited", "route_of"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def request_key(name: str, kind: type) -> Any:
    """A key of what is kept with a request; aiohttp before 3.14 has strings only."""
    key_class = getattr(web, "RequestKey", None)
    return f"penstock.ratelimit.{name}" if key_class is None else key_class(name, kind)


RESULT = request_key("result", RateLimitResult)
"""Where handlers find the RateLimitResult: `request.get(RESULT)`; None when the request is not limited."""
EXPECTED = request_key("expected", tuple)  # the middleware that has decided before the body, and what
NOT_EXPECTED = None, Decision()
MAX_BODY_TO_SKIP = 65_536
"""Bytes of a refused request's body for which the connection is kept."""


def route_of(request: web.Request) -> str | None:
    """The matched route, such as `/users/{id}`; None when there is nothing at the path.

    Good for keys, as there are only so many of them. Paths are not: clients make them up.
    """
    resource = request.match_info.route.resource
    return None if resource is None else resource.canonical


def client_key(request: web.Request, clients: ClientIP) -> str:
    """What the client of this request is counted by: `"192.0.2.1"`, `"2001:db8::/64"`, `"unix"`."""
    return key_of_client(READER, clients, request)


class Reader:
    """What there is to know of a request of aiohttp."""

    def peer(self, request: web.Request) -> str | None:
        """Address of the connection's other end."""
        return request.remote

    def field_lines(self, request: web.Request, name: str) -> Sequence[str]:
        """Values of the lines of a header field."""
        return request.headers.getall(name, ())

    def method(self, request: web.Request) -> str:
        """The HTTP method."""
        return request.method

    def route(self, request: web.Request) -> str | None:
        """The matched route."""
        return route_of(request)


READER = Reader()


class RateLimitMiddleware:
    """Middleware that answers 429 when a client's limit is reached.

    `web.Application(middlewares=[RateLimitMiddleware(limiter)])`. A middleware that adds CORS headers, or
    turns errors into answers, belongs before it. An answer that a handler has prepared itself (a stream, a
    WebSocket) is under way by then, and does not tell the limit.

    Args:
        limiter: RateLimiter, SharedRateLimiter, RedisRateLimiter, or what else has `check`; None when only
            `routes` are limited.
        options: see `Options`; routes are those of `route_of`.

    Raises:
        ValueError: an option is out of its range.
        TypeError: an option is of another type.
    """

    __middleware_version__ = 1  # what web.middleware sets

    def __init__(self, limiter: Limiter | None, **options: Unpack[Options[web.Request]]) -> None:
        self._limits = RequestLimits(limiter, READER, **options)

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The handler's answer, or a refusal."""
        expecting, decision = request.get(EXPECTED, NOT_EXPECTED)
        if expecting is not self:
            decision = await self._decide(request)
        if decision.status:
            return refused(request, decision)
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            tell(decision, error)
            raise
        tell(decision, answer)
        return answer

    async def expect(self, request: web.Request) -> web.StreamResponse | None:
        """Decides before the client has sent the body, if it says `Expect: 100-continue`.

        For routes that take large bodies: `router.add_put(path, handler, expect_handler=limits.expect)`.
        Without, aiohttp asks for the body before any middleware can refuse it. The refusal
        passes by all middlewares.

        Raises:
            HTTPExpectationFailed: the client expects something else.
        """
        if request.version < HttpVersion11:
            return None
        if request.headers.get("Expect", "").lower() != "100-continue":
            raise web.HTTPExpectationFailed(text="Expect must be 100-continue")
        decision = await self._decide(request)
        if decision.status:
            answer = refused(request, decision)
            answer.force_close()  # what comes next may be the body or another request, who knows
            return answer
        request[EXPECTED] = self, decision
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
        return None

    def client_key(self, request: web.Request) -> str:
        """What the client of this request is counted by, unless `key` says otherwise."""
        return self._limits.client_key(request)

    def stats(self) -> dict[str, int]:
        """Requests so far: `allowed` and `refused` by the limiter, `not_limited`, and limiter `errors`."""
        return self._limits.stats()

    async def _decide(self, request: web.Request) -> Decision:
        decision = await self._limits.decide(request)
        if decision.result is not None:
            request[RESULT] = decision.result
        return decision


def limited(limiter: Limiter, **options: Unpack[Options[web.Request]]) -> Callable[[Handler], Handler]:
    """Limits one handler, a function: `@limited(limiter)` above `async def login(request)`.

    Together with a middleware, both limits hold, and the answer tells both: give this one a `policy_name`.

    Args:
        limiter: as for RateLimitMiddleware.
        options: see `Options`.

    Raises:
        ValueError: an option is out of its range.
        TypeError: an option is of another type.
    """
    limits = RateLimitMiddleware(limiter, **options)

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def limited_handler(request: web.Request) -> web.StreamResponse:
            return await limits(request, handler)

        return limited_handler

    return decorate


def refused(request: web.Request, decision: Decision) -> web.Response:
    answer = web.Response(status=decision.status, body=decision.body, headers=decision.headers)
    if request.can_read_body:
        length = request.content_length
        if length is None or length > MAX_BODY_TO_SKIP:
            answer.force_close()
    return answer


def tell(decision: Decision, answer: web.StreamResponse) -> None:
    """Adds the fields; another limit's stay, as both are lists."""
    if isinstance(answer, web.StreamResponse) and not answer.prepared:  # of others, aiohttp complains itself
        for name, value in decision.headers.items():
            answer.headers.add(name, value)
