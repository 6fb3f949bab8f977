"""Rate limits for ASGI applications: Starlette, FastAPI, Litestar, Quart, Django and others.

A refused request's body is not read, and not asked for when the client says `Expect: 100-continue`. What
comes of it is the server's to deal with: uvicorn throws it away and keeps the connection.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Unpack

from penstock.ratelimit.middleware._core import (
    Decision,
    Limiter,
    Options,
    RequestLimits,
    key_of_client,
)
from penstock.ratelimit.middleware.client_ip import ClientIP

__all__ = ["RESULT", "RateLimitMiddleware", "client_key", "path_of"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
HeaderLines = list[tuple[bytes, bytes]]

RESULT = "penstock.ratelimit"
"""Where the application finds the RateLimitResult: `scope.get(RESULT)`; None for a request without limit."""
TRY_AGAIN_LATER = 1013
"""Close code of a refused WebSocket."""


def path_of(scope: Scope) -> str | None:
    """The path with the root path before it, as clients wrote it but for percent-encoding.

    No key: clients make paths up. The middleware only looks whether it is one of the `routes`.
    """
    path: str = scope["path"]
    return path


def client_key(scope: Scope, clients: ClientIP) -> str:
    """What the client of this request is counted by: `"192.0.2.1"`, `"2001:db8::/64"`, `"unix"`."""
    return key_of_client(Reader(path_of), clients, scope)


class Reader:
    """What there is to know of a request of ASGI."""

    def __init__(self, route: Callable[[Scope], str | None]) -> None:
        self._route = route

    def peer(self, scope: Scope) -> str | None:
        """Address of the connection's other end."""
        client = scope.get("client")
        return client[0] if client else None

    def field_lines(self, scope: Scope, name: str) -> Sequence[str]:
        """Values of the lines of a header field."""
        wanted = name.encode("ascii")
        return [value.decode("latin-1") for field, value in scope["headers"] if field.lower() == wanted]

    def method(self, scope: Scope) -> str:
        """The HTTP method; that of a WebSocket's handshake is GET."""
        method: str = scope.get("method", "GET")
        return method

    def route(self, scope: Scope) -> str | None:
        """What the application calls the route."""
        return self._route(scope)


class RateLimitMiddleware:
    """ASGI middleware that answers 429 when a client's limit is reached.

    `RateLimitMiddleware(app, limiter)`, or `app.add_middleware(RateLimitMiddleware, limiter=limiter)`. A
    middleware that adds CORS headers belongs outside of it. A server that rewrites `scope["client"]` itself
    (uvicorn does for what 127.0.0.1 forwards, unless started with `--no-proxy-headers`) has decided about
    proxies already; let one of the two do it.

    Args:
        app: the application.
        limiter: RateLimiter, SharedRateLimiter, RedisRateLimiter, or what else has `check`; None when only
            `routes` are limited.
        route: names the route of a scope, for `routes` and `exempt`; the path unless given.
        websockets: whether handshakes of WebSockets count too. A refused one is answered 429 where the
            server can do that, or closed with 1013, which servers turn into 403.
        options: see `Options`; a request is its scope.

    Raises:
        ValueError: an option is out of its range.
        TypeError: an option is of another type.
    """

    def __init__(
        self,
        app: App,
        limiter: Limiter | None,
        *,
        route: Callable[[Scope], str | None] = path_of,
        websockets: bool = False,
        **options: Unpack[Options[Scope]],
    ) -> None:
        self._app = app
        self._limits = RequestLimits(limiter, Reader(route), **options)
        self._limited_types = ("http", "websocket") if websockets else ("http",)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection as the application does, or refuses it."""
        if scope["type"] not in self._limited_types:
            await self._app(scope, receive, send)
            return
        decision = await self._limits.decide(scope)
        if decision.result is not None:
            scope[RESULT] = decision.result
        if decision.status:
            await refuse(scope, decision, send)
        elif decision.headers:
            await self._app(scope, receive, telling(decision, send))
        else:
            await self._app(scope, receive, send)

    def client_key(self, scope: Scope) -> str:
        """What the client of this request is counted by, unless `key` says otherwise."""
        return self._limits.client_key(scope)

    def stats(self) -> dict[str, int]:
        """Requests so far: `allowed` and `refused` by the limiter, `not_limited`, and limiter `errors`."""
        return self._limits.stats()


def header_lines(decision: Decision) -> HeaderLines:
    return [(name.lower().encode(), value.encode()) for name, value in decision.headers.items()]


def telling(decision: Decision, send: Send) -> Send:
    """A `send` that adds the fields to the answer; another limit's stay, as both are lists."""

    async def send_with_fields(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            message = {**message, "headers": [*message.get("headers", ()), *header_lines(decision)]}
        await send(message)

    return send_with_fields


async def refuse(scope: Scope, decision: Decision, send: Send) -> None:
    prefix = "http.response"
    if scope["type"] == "websocket":
        prefix = "websocket.http.response"
        if prefix not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": "too many requests"})
            return
    headers = [*header_lines(decision), (b"content-length", str(len(decision.body)).encode())]
    if waits_to_send_body(scope):
        headers.append((b"connection", b"close"))  # what comes next may be the body or a request, who knows
    body = b"" if scope.get("method") == "HEAD" else decision.body
    await send({"type": f"{prefix}.start", "status": decision.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})


def waits_to_send_body(scope: Scope) -> bool:
    is_http1 = scope["type"] == "http" and scope.get("http_version", "").startswith("1.")
    return is_http1 and any(name.lower() == b"expect" for name, _ in scope["headers"])
