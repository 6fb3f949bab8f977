"""What the ASGI middleware does beside what both do: lifespan, WebSockets, what applications see."""

import pytest
from limiters import Units

from penstock.ratelimit import RateLimitResult
from penstock.ratelimit.middleware import ClientIP
from penstock.ratelimit.middleware.asgi import RESULT, RateLimitMiddleware, client_key

WEBSOCKET = {
    "type": "websocket",
    "path": "/",
    "headers": [(b"x-forwarded-for", b"192.0.2.9"), (b"X-Forwarded-For", b"192.0.2.1")],
    "client": ("10.0.0.1", 4711),
    "http_version": "1.1",
}


class Application:
    """Accepts everything, and remembers it."""

    def __init__(self):
        self.scopes = []

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "hello"})


async def sent_by(app, scope):
    messages = []

    async def send(message):
        messages.append(message)

    async def receive():
        raise AssertionError("nobody reads")

    await app(dict(scope), receive, send)
    return messages


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def limiter():
    return Units(RateLimitResult, 1)


async def test_lifespan_and_what_else_there_may_be_pass(application, limiter):
    limits = RateLimitMiddleware(application, limiter, websockets=True)
    for kind in ("lifespan", "lifespan", "future"):
        assert await sent_by(limits, {"type": kind}) == []
    assert [scope["type"] for scope in application.scopes] == ["lifespan", "lifespan", "future"]
    assert limiter.used == {}


async def test_websockets_pass_unless_they_are_to_count(application, limiter):
    limits = RateLimitMiddleware(application, limiter)
    for _ in range(3):
        accepted, _ = await sent_by(limits, WEBSOCKET)
        assert accepted == {"type": "websocket.accept"}
    assert limiter.used == {}


async def test_websocket_that_is_refused_is_closed(application, limiter):
    limits = RateLimitMiddleware(application, limiter, websockets=True, trusted_proxies=["10.0.0.0/8"])
    accepted, hello = await sent_by(limits, WEBSOCKET)
    assert dict(accepted["headers"])[b"ratelimit"] == b'"default";r=0;t=30'
    assert hello == {"type": "websocket.send", "text": "hello"}
    closed = {"type": "websocket.close", "code": 1013, "reason": "too many requests"}
    assert await sent_by(limits, WEBSOCKET) == [closed]
    assert limiter.used == {"192.0.2.1": 1}
    assert len(application.scopes) == 1


async def test_websocket_is_refused_with_429_where_the_server_can(application, limiter):
    limits = RateLimitMiddleware(application, limiter, websockets=True)
    scope = WEBSOCKET | {"extensions": {"websocket.http.response": {}}}
    await sent_by(limits, scope)
    start, body = await sent_by(limits, scope)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 429)
    headers = dict(start["headers"])
    assert headers[b"retry-after"] == b"30"
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    assert (body["type"], b"quota-exceeded" in body["body"]) == ("websocket.http.response.body", True)


async def test_application_finds_the_result_in_the_scope(application, limiter):
    limits = RateLimitMiddleware(application, limiter, exempt=["/livez"])
    scope = {"type": "http", "method": "GET", "headers": [], "client": ("192.0.2.1", 1)}
    for path in ("/livez", "/"):
        await sent_by(limits, scope | {"path": path})
    assert [scope.get(RESULT) and scope[RESULT].limit for scope in application.scopes] == [None, 1]


def test_client_of_a_scope_has_a_key():
    clients = ClientIP(["10.0.0.0/8"])
    assert client_key(WEBSOCKET, clients) == "192.0.2.1"
    assert client_key(WEBSOCKET | {"client": None}, clients) == "unix"
