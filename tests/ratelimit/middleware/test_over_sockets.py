"""Both middlewares behind real servers: pipelining, bodies that nobody reads, `Expect: 100-continue`."""

import asyncio
import socket
import tracemalloc
from collections import Counter
from contextlib import asynccontextmanager

import pytest
import uvicorn
from aiohttp import ClientSession, TCPConnector, web
from limiters import Units
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from penstock.ratelimit import RateLimitResult
from penstock.ratelimit.middleware import aiohttp as for_aiohttp
from penstock.ratelimit.middleware import asgi as for_asgi

TIMEOUT = 20


@asynccontextmanager
async def on_aiohttp(limiter, sock):
    async def handle(request):
        return web.Response(text=str(len(await request.read())))

    limits = for_aiohttp.RateLimitMiddleware(limiter)
    app = web.Application(middlewares=[limits], client_max_size=1 << 30)
    app.router.add_route("*", "/", handle, expect_handler=limits.expect)
    app.router.add_route("*", "/unprepared", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        yield
    finally:
        await runner.cleanup()


@asynccontextmanager
async def on_uvicorn(limiter, sock):
    async def handle(request):
        return PlainTextResponse(str(len(await request.body())))

    limits = Middleware(for_asgi.RateLimitMiddleware, limiter=limiter)
    cors = Middleware(CORSMiddleware, allow_origins=["https://app.example"], expose_headers=["RateLimit"])
    app = Starlette(routes=[Route("/", handle, methods=["GET", "POST"])], middleware=[cors, limits])
    async with serving(app, sock):
        yield


@asynccontextmanager
async def serving(app, sock):
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False))
    task = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        while not (server.started or task.done()):
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = server.force_exit = True
        await task


@pytest.fixture(params=[on_aiohttp, on_uvicorn], ids=lambda each: each.__name__)
def server(request):
    return request.param


@asynccontextmanager
async def connected(server, limiter):
    """A connection to a server behind the limiter."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with server(limiter, sock):
            connection = Connection(*await asyncio.open_connection(*sock.getsockname()))
            try:
                yield connection
            finally:
                connection.writer.close()


class Connection:
    """Bytes to a server, and its answers."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def send(self, *lines, body=b""):
        self.writer.write("\r\n".join([*lines, "Host: x", "", ""]).encode() + body)
        await self.writer.drain()

    async def answer(self, has_body=True):
        """Status, fields and body of the next answer."""
        async with asyncio.timeout(TIMEOUT):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await self.reader.readexactly(int(fields.get("content-length", 0))) if has_body else b""
            return int(first.split()[1]), fields, body

    async def is_closed(self):
        async with asyncio.timeout(TIMEOUT):
            return await self.reader.read() == b""


async def test_pipelined_requests_are_decided_one_by_one(server):
    async with connected(server, Units(RateLimitResult, 2)) as connection:
        request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        await connection.send(request + request + "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + request[:-13])
        answers = [await connection.answer(has_body=number != 2) for number in range(4)]
        assert [status for status, *_ in answers] == [200, 200, 429, 429]
        assert [fields["ratelimit"][:13] for _, fields, _ in answers] == [
            f'"default";r={r}' for r in (1, 0, 0, 0)
        ]
        assert answers[2][1]["content-length"] == answers[3][1]["content-length"]


async def test_connection_goes_on_after_a_refused_request_with_a_small_body(server):
    async with connected(server, Units(RateLimitResult, 1)) as connection:
        await connection.send("POST / HTTP/1.1", "Content-Length: 5", body=b"hello")
        assert (await connection.answer())[::2] == (200, b"5")
        await connection.send("POST / HTTP/1.1", "Content-Length: 5", body=b"hello")
        assert (await connection.answer())[0] == 429
        await connection.send("POST / HTTP/1.1", "Content-Length: 5")
        status, fields, _ = await connection.answer()
        assert (status, fields.get("connection")) == (429, None)
        connection.writer.write(b"GET /")  # the body that was announced
        await connection.send("GET / HTTP/1.1")
        assert (await connection.answer())[0] == 429


@pytest.mark.parametrize("framing", ["Content-Length: 67108864", "Transfer-Encoding: chunked"])
async def test_large_upload_is_refused_before_it_comes_and_is_not_kept(server, framing):
    block = b"x" * 65_536
    if "chunked" in framing:
        block = b"%x\r\n%b\r\n" % (len(block), block)
    async with connected(server, Units(RateLimitResult, 1)) as connection:
        await connection.send("GET / HTTP/1.1")
        await connection.answer()
        await connection.send("POST / HTTP/1.1", framing)
        status, fields, _ = await connection.answer()
        assert status == 429
        tracemalloc.start()
        try:
            for _ in range(1024):  # 64 MiB
                connection.writer.write(block)
                await connection.writer.drain()
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
        if "chunked" in framing:
            connection.writer.write(b"0\r\n\r\n")
        if server is on_aiohttp:
            assert fields["connection"] == "close"
            assert await connection.is_closed()
        else:
            await connection.send("GET / HTTP/1.1")
            assert (await connection.answer())[0] == 429


async def test_body_of_a_refused_request_is_not_asked_for(server):
    async with connected(server, Units(RateLimitResult, 1)) as connection:
        await connection.send("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 5")
        assert (await connection.answer())[0] == 100
        connection.writer.write(b"hello")
        status, fields, body = await connection.answer()
        assert (status, body, fields["ratelimit"]) == (200, b"5", '"default";r=0;t=30')
        await connection.send("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 5")
        status, fields, _ = await connection.answer()
        assert (status, fields["connection"].lower()) == (429, "close")
        connection.writer.write_eof()
        assert await connection.is_closed()


async def test_aiohttp_asks_for_the_body_first_where_the_expect_handler_is_its_own():
    limiter = Units(RateLimitResult, 1)
    async with connected(on_aiohttp, limiter) as connection:
        for expected in (200, 429):
            await connection.send("POST /unprepared HTTP/1.1", "Expect: 100-continue", "Content-Length: 5")
            assert (await connection.answer())[0] == 100
            connection.writer.write(b"hello")
            assert (await connection.answer())[0] == expected


async def test_other_expectations_fail():
    async with connected(on_aiohttp, Units(RateLimitResult, 1)) as connection:
        await connection.send("POST / HTTP/1.1", "Expect: tea", "Content-Length: 0")
        assert (await connection.answer())[0] == 417


async def test_old_clients_are_not_asked_for_their_body():
    async with connected(on_aiohttp, Units(RateLimitResult, 1)) as connection:
        await connection.send("POST / HTTP/1.0", "Expect: 100-continue", "Content-Length: 2", body=b"hi")
        assert (await connection.answer())[::2] == (200, b"2")


async def test_clients_are_told_apart_by_their_address(server):
    limiter = Units(RateLimitResult, 2)
    statuses = {}
    with socket.create_server(("127.0.0.1", 0)) as sock:
        host, port = sock.getsockname()
        async with server(limiter, sock):
            for address in ("127.0.0.1", "127.0.0.2"):
                connector = TCPConnector(local_addr=(address, 0))
                async with ClientSession(connector=connector) as session:
                    statuses[address] = Counter()
                    for number in range(4):
                        # uvicorn itself believes what 127.0.0.1 forwards
                        lie = {"X-Forwarded-For": f"192.0.2.{number}"} if address == "127.0.0.2" else {}
                        async with session.get(f"http://{host}:{port}/", headers=lie) as answer:
                            statuses[address][answer.status] += 1
    assert statuses == {"127.0.0.1": {200: 2, 429: 2}, "127.0.0.2": {200: 2, 429: 2}}
    assert limiter.used == {"127.0.0.1": 2, "127.0.0.2": 2}


async def test_clients_of_a_unix_socket_have_no_address(server, tmp_path):
    limiter = Units(RateLimitResult, 1)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        async with server(limiter, sock):
            statuses = []
            for _ in range(2):
                connection = Connection(*await asyncio.open_unix_connection(tmp_path / "socket"))
                await connection.send("GET / HTTP/1.1")
                statuses.append((await connection.answer())[0])
                connection.writer.close()
    assert statuses == [200, 429]
    assert limiter.used == {"unix": 1}


async def test_refusal_passes_through_a_cors_middleware_around_the_limit():
    async with connected(on_uvicorn, Units(RateLimitResult, 1)) as connection:
        ask = ("Origin: https://app.example", "Access-Control-Request-Method: GET")
        for _ in range(3):  # preflights are answered before they are counted
            await connection.send("OPTIONS / HTTP/1.1", *ask)
            assert (await connection.answer())[0] == 200
        for expected in (200, 429):
            await connection.send("GET / HTTP/1.1", ask[0])
            status, fields, _ = await connection.answer()
            assert status == expected
            assert fields["access-control-allow-origin"] == "https://app.example"
            assert fields["access-control-expose-headers"] == "RateLimit"


async def test_route_of_starlette_can_have_a_limit_of_its_own():
    async def handle(request):
        result = request.scope[for_asgi.RESULT]
        return PlainTextResponse(f"{result.remaining}")

    route_limit = Middleware(
        for_asgi.RateLimitMiddleware, limiter=Units(RateLimitResult, 1), policy_name="login"
    )
    limit = Middleware(for_asgi.RateLimitMiddleware, limiter=Units(RateLimitResult, 9))
    routes = [Route("/", handle), Route("/login", handle, middleware=[route_limit])]

    async def server(app, sock):
        async with serving(app, sock):
            yield

    async with connected(
        asynccontextmanager(server), Starlette(routes=routes, middleware=[limit])
    ) as connection:
        await connection.send("GET / HTTP/1.1")
        assert (await connection.answer())[::2] == (200, b"8")
        answers = []
        for _ in range(2):
            connection.writer.write(b"GET /login HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(TIMEOUT):
                answers.append((await connection.reader.readuntil(b"\r\n\r\n")).decode())
            await connection.reader.readexactly(int(answers[-1].partition("content-length: ")[2].split()[0]))
        assert [answer[9:12] for answer in answers] == ["200", "429"]
        for answer in answers:
            assert '"default";q=9;w=60' in answer
            assert '"login";q=1;w=60' in answer
