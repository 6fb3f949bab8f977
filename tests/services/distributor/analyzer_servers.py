"""Servers that play analyzers, well-behaved ones and others, and packets to deliver to them."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import AnalyzerConfig


def packets(n=3, size=0):
    bodies = [
        msgspec.json.encode({"messages": [{"message": "x" * (size or 1)}], "id": f"p{i}"}) for i in range(n)
    ]
    return [Stored(i, f"p{i}", 1, len(body), body, failures=i) for i, body in enumerate(bodies)]


@asynccontextmanager
async def raw_server(answer, **settings):
    """A server that reads a request's head and writes these bytes, or calls what it is given."""

    async def serve(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if callable(answer):
                await answer(reader, writer)
            else:
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                await reader.readexactly(length)
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield AnalyzerConfig("a1", f"http://{host}:{port}/packets", **settings)
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def http_server(handler, ssl=None, **settings):
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl).start()
    host, port = runner.addresses[0]
    scheme = "https" if ssl else "http"
    try:
        yield AnalyzerConfig("a1", f"{scheme}://{host}:{port}/packets", **settings)
    finally:
        await runner.cleanup()


def response(body=b"", status=b"200 OK", headers=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), headers, body)
