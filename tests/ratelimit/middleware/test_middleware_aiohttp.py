"""What the middleware of aiohttp does beside what both do."""

import subprocess
import sys

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from limiters import Broken, Units

from penstock.ratelimit import RateLimitResult
from penstock.ratelimit.middleware import ClientIP
from penstock.ratelimit.middleware.aiohttp import (
    RESULT,
    RateLimitMiddleware,
    client_key,
    limited,
    route_of,
)


def units(limit):
    return Units(RateLimitResult, limit)


async def handle(request):
    return web.Response(text=route_of(request))


async def statuses(client, *paths):
    return [(await client.get(path)).status for path in paths]


def client_of(*middlewares, **handlers):
    app = web.Application(middlewares=middlewares)
    for name, handler in handlers.items():
        app.router.add_get(f"/{name}", handler)
    return TestClient(TestServer(app))


@pytest.mark.parametrize(
    "module", ["penstock.ratelimit", "penstock.ratelimit.middleware", "penstock.ratelimit.middleware.asgi"]
)
def test_rest_of_the_room_does_not_import_aiohttp(module):
    check = f"import sys, {module}; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


async def test_decorator_limits_one_handler():
    @limited(units(1))
    async def login(request):
        """Logs in."""
        return web.Response(text="in")

    assert (login.__name__, login.__doc__) == ("login", "Logs in.")
    async with client_of(login=login, other=handle) as client:
        assert await statuses(client, "/login", "/login", "/other", "/other") == [200, 429, 200, 200]


async def test_answer_tells_the_limits_of_middleware_and_decorator():
    login = limited(units(1), policy_name="login")(handle)
    async with client_of(RateLimitMiddleware(units(5)), login=login) as client:
        for status in (200, 429):
            answer = await client.get("/login")
            assert answer.status == status
            assert answer.headers.getall("RateLimit-Policy") == ['"login";q=1;w=60', '"default";q=5;w=60']


async def test_error_of_a_handler_tells_the_limit():
    async def gone(request):
        raise web.HTTPGone

    async with client_of(RateLimitMiddleware(units(2)), gone=gone) as client:
        answers = [await client.get("/gone") for _ in range(3)]
        assert [answer.status for answer in answers] == [410, 410, 429]
        assert [answer.headers["RateLimit"][:13] for answer in answers] == [
            f'"default";r={r}' for r in (1, 0, 0)
        ]


async def test_handler_that_returns_nothing_is_complained_of_by_aiohttp(caplog):
    async def forgets(request): ...

    async with client_of(RateLimitMiddleware(units(2)), x=forgets) as client:
        assert await statuses(client, "/x") == [500]
    assert "Missing return statement" in caplog.text


async def test_paths_without_a_route_count_too():
    async with client_of(RateLimitMiddleware(units(2), exempt=["/nothing"])) as client:
        assert await statuses(client, "/nothing", "/other", "/nothing") == [404, 404, 429]


async def test_stream_that_the_handler_has_begun_is_left_alone():
    async def stream(request):
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"streamed")
        return answer

    async with client_of(RateLimitMiddleware(units(1)), stream=stream) as client:
        answer = await client.get("/stream")
        assert await answer.read() == b"streamed"
        assert "RateLimit" not in answer.headers
        assert (await client.get("/stream")).status == 429


async def test_websocket_handshakes_count():
    async def talk(request):
        answer = web.WebSocketResponse()
        await answer.prepare(request)
        await answer.close()
        return answer

    async with client_of(RateLimitMiddleware(units(1)), talk=talk) as client:
        async with client.ws_connect("/talk"):
            pass
        assert (await client.get("/talk")).status == 429


async def test_handler_finds_the_result():
    async def tell(request):
        result = request.get(RESULT)
        return web.Response(text="none" if result is None else f"{result.remaining} of {result.limit}")

    exempt = RateLimitMiddleware(units(2), exempt=["/free"])
    async with client_of(exempt, tell=tell, free=tell) as client:
        assert await (await client.get("/tell")).text() == "1 of 2"
        assert await (await client.get("/free")).text() == "none"


async def test_route_makes_a_key():
    clients, limiter = ClientIP(), units(2)

    def key(request):
        return client_key(request, clients), route_of(request)

    app = web.Application(middlewares=[RateLimitMiddleware(limiter, key=key)])
    app.router.add_get("/users/{id}", handle)
    nested = web.Application()
    nested.router.add_get("/users/{id}", handle)
    app.add_subapp("/api", nested)
    async with TestClient(TestServer(app)) as client:
        paths = ("/users/1", "/users/2", "/users/3", "/api/users/1", "/x", "/y", "/z")
        assert await statuses(client, *paths) == [200, 200, 429, 200, 404, 404, 429]
    assert limiter.used == {
        ("127.0.0.1", "/users/{id}"): 2,
        ("127.0.0.1", "/api/users/{id}"): 1,
        ("127.0.0.1", None): 2,
    }


async def test_errors_of_the_application_s_own_functions_and_of_the_limiter_go_on():
    def fails(request):
        raise LookupError

    for limits in (
        RateLimitMiddleware(units(1), key=fails),
        RateLimitMiddleware(units(1), cost=fails),
        RateLimitMiddleware(units(1), exempt=fails),
        RateLimitMiddleware(Broken(LookupError()), on_error="raise"),
        RateLimitMiddleware(Broken(TypeError("unhashable"))),
        RateLimitMiddleware(units(1), cost=lambda request: "1"),
        RateLimitMiddleware(units(1), cost=lambda request: -1),
    ):
        async with client_of(limits, x=handle) as client:
            assert await statuses(client, "/x") == [500]
