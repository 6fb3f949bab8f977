"""The HTTP client against analyzers that answer what no analyzer should."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from penstock.services.distributor.analyzer_client import HttpAnalyzerClient
from penstock.services.distributor.carrier import DeliveryFailed
from penstock.services.distributor.config import AnalyzerConfig, Config
from penstock.services.distributor.spool import Stored


def packets(n=3, size=0):
    bodies = [
        msgspec.json.encode({"messages": [{"message": "x" * (size or 1)}], "id": f"p{i}"}) for i in range(n)
    ]
    return [Stored(i, f"p{i}", 1, len(body), body, failures=i) for i, body in enumerate(bodies)]


@asynccontextmanager
async def raw_server(answer):
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
        yield AnalyzerConfig("a1", f"http://{host}:{port}/packets")
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def http_server(handler):
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    try:
        yield AnalyzerConfig("a1", f"http://{host}:{port}/packets")
    finally:
        await runner.cleanup()


async def delivered(analyzer, batch=None, **settings):
    async with HttpAnalyzerClient(Config(**settings)) as client:
        return await client.deliver(analyzer, packets() if batch is None else batch)


async def failure(analyzer, **settings):
    with pytest.raises(DeliveryFailed) as failed:
        await delivered(analyzer, **settings)
    text = str(failed.value)
    text.encode()  # it is stored and shown
    assert "\n" not in text
    assert len(text) <= 500
    return text


def response(body=b"", status=b"200 OK", headers=b""):
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), headers, body)


# What analyzers get


async def test_analyzer_gets_a_packet_a_line_with_its_failures_so_far():
    seen = []

    async def take(request):
        seen.append((request.content_type, await request.read()))
        return web.Response()

    async with http_server(take) as analyzer:
        assert await delivered(analyzer) == {}
    [(content_type, body)] = seen
    assert content_type == "application/x-ndjson"
    assert [(line["id"], line["retry_count"]) for line in map(msgspec.json.decode, body.splitlines())] == [
        ("p0", 0), ("p1", 1), ("p2", 2),
    ]  # fmt: skip


async def test_delivery_of_many_megabytes_arrives_whole():
    sizes = []

    async def take(request):
        sizes.append(len(await request.read()))
        return web.Response()

    async with http_server(take) as analyzer:
        await delivered(analyzer, packets(5, size=1_000_000))
    assert sizes[0] > 5_000_000


# What analyzers say


@pytest.mark.parametrize(
    "body",
    [b"", b"OK", b"{}", b'{"status":"ok"}', b"[]", b"null", b"\xff\xfe", b'{"failed":[]}', b'"failed"'],
)
async def test_2xx_that_names_no_failures_means_delivered(body):
    async with raw_server(response(body)) as analyzer:
        assert await delivered(analyzer) == {}


async def test_204_means_delivered():
    async with raw_server(b"HTTP/1.1 204 No Content\r\n\r\n") as analyzer:
        assert await delivered(analyzer) == {}


async def test_named_packets_failed_with_the_analyzers_words():
    body = msgspec.json.encode({"failed": [{"id": "p1", "error": "no room"}, {"id": "p2"}], "more": 1})
    async with raw_server(response(body)) as analyzer:
        assert await delivered(analyzer) == {"p1": "no room", "p2": "the analyzer gave no reason"}


async def test_ids_that_were_not_sent_are_ignored():
    body = msgspec.json.encode({"failed": [{"id": "stranger", "error": "x"}, {"id": "p0", "error": "y"}]})
    async with raw_server(response(body)) as analyzer:
        assert await delivered(analyzer) == {"p0": "y"}


async def test_endless_error_text_is_cut():
    body = msgspec.json.encode({"failed": [{"id": "p0", "error": "e" * 100_000}]})
    async with raw_server(response(body)) as analyzer:
        assert len((await delivered(analyzer))["p0"]) == 500


@pytest.mark.parametrize("failed", [b'"p1"', b"[1]", b'[{"id":7}]', b'[{"error":"no id"}]', b'{"p1":"x"}'])
async def test_failures_that_cannot_be_read_are_taken_for_none_delivered(failed):
    """Better delivered twice than lost: the analyzer did say that something failed."""
    async with raw_server(response(b'{"failed":%s}' % failed)) as analyzer:
        assert "cannot be read" in await failure(analyzer)


async def test_redirect_is_a_failure_and_not_followed():
    """aiohttp would turn the POST into a GET: the page it finds there says 200, and the packets are gone."""
    visited = []

    async def handler(request):
        visited.append((request.method, request.path))
        if request.path == "/packets":
            raise web.HTTPFound("/login")
        return web.Response(text="please log in")

    async with http_server(handler) as analyzer:
        assert await failure(analyzer) == "answered 302 Found"
        async with HttpAnalyzerClient(Config()) as client:
            with pytest.raises(DeliveryFailed, match="its health answered 302 Found"):
                await client.probe(msgspec.structs.replace(analyzer, health_url=analyzer.url))
    assert visited == [("POST", "/packets"), ("GET", "/packets")]


async def test_answers_are_asked_for_uncompressed():
    seen = []

    async def take(request):
        seen.append(request.headers["Accept-Encoding"])
        return web.Response()

    async with http_server(take) as analyzer:
        await delivered(analyzer)
    assert seen == ["identity"]


async def test_compressed_answer_is_a_failure_since_it_may_name_failures():
    async def take(request):
        await request.read()
        answer = web.json_response({"failed": [{"id": "p0", "error": "x"}]})
        answer.enable_compression(web.ContentCoding.gzip)
        return answer

    async with http_server(take) as analyzer:
        assert "Content-Encoding gzip" in await failure(analyzer)


# Analyzers in trouble


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (b"500 Internal Server Error", "answered 500 Internal Server Error"),
        (b"429 Too Many Requests", "answered 429 Too Many Requests"),
        (b"400 \xff\xfe bytes", "answered 400 \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} bytes"),
        (b"400 \xe2\x80\xae back", "answered 400 \N{REPLACEMENT CHARACTER} back"),
        (b"503 " + b"x" * 5000, "answered 503 xxx"),
    ],
)
async def test_other_status_fails_the_delivery_in_words_that_can_be_stored(status, words):
    async with raw_server(response(status=status)) as analyzer:
        assert (await failure(analyzer)).startswith(words)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x01\x02\xff" * 100,
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: %s\r\n" % (b"x" * 100_000),
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    ],
    ids=range(11),
)
async def test_garbage_and_early_ends_fail_the_delivery(answer):
    async with raw_server(answer) as analyzer:
        assert await failure(analyzer)


async def test_answer_without_end_is_cut_off():
    async def pour(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with raw_server(pour) as analyzer:
        assert "longer than 4194304 bytes" in await failure(analyzer)


async def test_analyzer_that_never_answers_fails_after_the_timeout():
    async def sleep(reader, writer):
        await reader.read()

    async with raw_server(sleep) as analyzer:
        assert await failure(analyzer, analyzer_timeout=0.05) == "no answer within 0.05 s"


async def test_nobody_there_is_said_in_plain_words():
    async with raw_server(b"") as analyzer:
        pass
    assert await failure(analyzer) == "connection refused"


async def test_probe_of_a_well_analyzer_returns_and_of_an_ill_one_says_why():
    async def handler(request):
        return web.Response(status=204 if request.path == "/health" else 503)

    async with http_server(handler) as analyzer, HttpAnalyzerClient(Config()) as client:
        await client.probe(analyzer)
        with pytest.raises(DeliveryFailed, match="its health answered 503"):
            await client.probe(msgspec.structs.replace(analyzer, health_url=analyzer.url))


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"])
async def test_probe_of_garbage_fails(answer):
    async with raw_server(answer) as analyzer, HttpAnalyzerClient(Config()) as client:
        with pytest.raises(DeliveryFailed):
            await client.probe(analyzer)
