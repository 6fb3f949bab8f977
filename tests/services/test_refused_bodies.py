"""Packed bodies that nobody wants: they are not unpacked, and their clients see the answer all the same."""

import asyncio
import gzip
import os
import ssl
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp import web

from penstock.services import refused_bodies
from penstock.services.problem_details import ProblemRunner, problems_for_http_errors

LARGE = gzip.compress(os.urandom(1_000_000), 1)
BOMB = gzip.compress(bytes(60_000_000))  # 60 kB
SMALL = gzip.compress(b"small")


@pytest.fixture(params=["plain", "TLS"])
def start(request, monkeypatch):
    """A service that refuses what is posted to it unread, and how to connect to it."""
    monkeypatch.setattr(refused_bodies, "LINGER", 60.0)  # longer than any of these tests may take
    server = client = None
    if request.param == "TLS":
        authority = trustme.CA()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)

    @asynccontextmanager
    async def start():
        async def refuse(request):
            raise web.HTTPForbidden

        app = web.Application(middlewares=[problems_for_http_errors])
        app.router.add_post("/", refuse)
        runner = ProblemRunner(app, access_log=None, shutdown_timeout=30)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server).start()
        port = runner.addresses[0][1]

        async def connect():
            name = "localhost" if client else None
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client, server_hostname=name
            )
            writers.append(writer)
            return reader, writer

        writers = []
        try:
            async with asyncio.timeout(30):
                yield runner, connect
        finally:
            for writer in writers:
                writer.transport.abort()
            await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
            await runner.cleanup()

    return start


def head(length):
    return b"POST / HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % length


async def answer(reader):
    fields = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert fields.startswith(b"http/1.1 403 ")
    size = int(fields.partition(b"content-length: ")[2].split(b"\r\n")[0])
    await reader.readexactly(size)
    return fields


async def test_client_that_sends_all_of_a_large_body_first_sees_its_answer(start):
    async with start() as (_, connect):
        reader, writer = await connect()
        writer.write(head(len(LARGE)))
        for at in range(0, len(LARGE), 100_000):
            writer.write(LARGE[at : at + 100_000])
            await writer.drain()
            await asyncio.sleep(0)
        assert b"connection: close" in await answer(reader)


async def test_client_that_goes_while_it_is_heard_out_is_no_error(start, caplog):
    async with start() as (runner, connect):
        reader, writer = await connect()
        writer.write(head(len(LARGE)) + LARGE[:1000])
        await answer(reader)
        writer.transport.abort()
        while runner.server.connections:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.01)
    assert caplog.text == ""


async def test_client_that_is_heard_out_does_not_hold_up_the_end_of_the_service(start):
    async with start() as (runner, connect):
        reader, writer = await connect()
        writer.write(head(len(LARGE)) + LARGE[:1000])
        await answer(reader)
        async with asyncio.timeout(20):  # of 30 that it waits for its clients
            await runner.cleanup()


async def test_connection_with_a_small_body_stays(start):
    async with start() as (_, connect):
        reader, writer = await connect()
        for _ in range(3):
            writer.write(head(len(SMALL)) + SMALL)
            assert b"connection: close" not in await answer(reader)


@pytest.mark.parametrize(
    "body", [BOMB, SMALL[:-8] + b"damaged!", b"no gzip"], ids=["bomb", "damaged", "none"]
)
async def test_connection_that_does_not_stay_is_said_to_close(start, body):
    async with start() as (_, connect):
        reader, writer = await connect()
        writer.write(head(len(body)) + body)
        assert b"connection: close" in await answer(reader)
