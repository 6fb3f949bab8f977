"""Deliveries over HTTP against analyzers that answer what no analyzer should."""

import asyncio
import gzip
import json

import msgspec
import pytest
from aiohttp import web
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor.carrier import DeliveryFailed, PacketFailure
from penstock.services.distributor.carriers import CannotCarry, Carriers, check
from penstock.services.distributor.carriers.verdict import failures_of
from penstock.services.distributor.config import AnalyzerConfig, Config
from services.distributor.analyzer_servers import http_server, packets, raw_server, response

anything = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
verdicts = st.fixed_dictionaries(
    {
        "failed": st.lists(
            st.fixed_dictionaries(
                {"id": st.sampled_from(["p0", "p1", "p9"])},
                optional={"error": anything, "status": anything, "retry_after": anything},
            )
        )
        | anything
    }
).map(lambda verdict: json.dumps(verdict).encode())


async def delivered(analyzer, batch=None, **settings):
    async with Carriers(Config(**settings)) as client:
        return await client.deliver(analyzer, packets() if batch is None else batch)


async def failed_delivery(analyzer, **settings):
    with pytest.raises(DeliveryFailed) as failed:
        await delivered(analyzer, **settings)
    return failed.value


async def failure(analyzer, **settings):
    text = str(await failed_delivery(analyzer, **settings))
    text.encode()  # it is stored and shown
    assert "\n" not in text
    assert len(text) <= 500
    return text


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


async def test_analyzer_gets_its_headers_with_deliveries_and_probes():
    seen = []

    async def take(request):
        await request.read()
        seen.append((request.method, request.headers["Authorization"], request.headers.get("Content-Length")))
        return web.Response()

    headers = {"Authorization": "Bearer x", "content-length": "1"}
    async with http_server(take, headers=headers) as analyzer, Carriers(Config()) as client:
        await client.deliver(analyzer, packets())
        await client.probe(analyzer)
    length = str(sum(len(packet.body) + len(',"retry_count":0\n') for packet in packets()))
    assert seen == [("POST", "Bearer x", length), ("GET", "Bearer x", None)]


@pytest.mark.parametrize(("packing", "unpack"), [("gzip", gzip.decompress), ("zstd", zstd.decompress)])
@pytest.mark.parametrize("size", [1, 100_000])
async def test_delivery_is_packed_as_the_analyzer_wants_it(packing, unpack, size):
    seen = []

    async def take(request):
        seen.append((request.headers["Content-Encoding"], request.content_type, await request.read()))
        return web.Response()

    async with http_server(take, compression=packing) as analyzer:
        await delivered(analyzer, packets(3, size=size))
    [(encoding, content_type, body)] = seen
    assert (encoding, content_type) == (packing, "application/x-ndjson")
    lines = [msgspec.json.decode(line) for line in unpack(body).splitlines()]
    assert [line["messages"][0]["message"] for line in lines] == ["x" * size] * 3


# What settings may ask for


@pytest.mark.parametrize(
    ("headers", "rule"),
    [
        ({"Content-Length": "5"}, "must not set Content-Length"),
        ({"transfer-encoding": "chunked"}, "must not set transfer-encoding"),
        ({"X Y": "1"}, "must have names of HTTP, got 'X Y'"),
        ({"X-Y": "1\r\nZ: 2"}, "header X-Y of analyzer a1 must be one line"),
    ],
)
def test_headers_that_would_break_the_request_are_refused(headers, rule):
    with pytest.raises(CannotCarry, match=rule):
        check(AnalyzerConfig("a1", "http://x/", headers=headers))


def test_packing_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "backports.zstd", None)
    monkeypatch.delattr("backports.zstd", raising=False)
    with pytest.raises(CannotCarry, match=r"analyzer a1: .* pip install 'penstock\[zstd\]'"):
        check(AnalyzerConfig("a1", "http://x/", compression="zstd"))


@pytest.mark.parametrize("url", ["http://x/", "file:///x", "stdout:"])
def test_plain_analyzers_can_be_carried_to(url):
    check(AnalyzerConfig("a1", url))


async def test_headers_that_cannot_be_sent_fail_the_delivery():
    async with raw_server(response(), headers={"X": "1\r\nY: 2"}) as analyzer:
        assert "the request cannot be made" in await failure(analyzer)


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
        assert await delivered(analyzer) == {
            "p1": PacketFailure("no room"),
            "p2": PacketFailure("the analyzer gave no reason"),
        }


@given(st.binary() | verdicts)
def test_any_answer_is_a_verdict_none_or_a_failed_delivery(answer):
    batch = packets(3)
    try:
        failures = failures_of(answer, batch)
    except DeliveryFailed:
        return
    assert failures.keys() <= {packet.id for packet in batch}
    for failure in failures.values():
        assert len(failure.error) <= 500
        assert failure.status is None or 400 <= failure.status <= 599
        assert failure.retry_after is None or 0 < failure.retry_after <= 86_400


async def test_ids_that_were_not_sent_are_ignored():
    body = msgspec.json.encode({"failed": [{"id": "stranger", "error": "x"}, {"id": "p0", "error": "y"}]})
    async with raw_server(response(body)) as analyzer:
        assert await delivered(analyzer) == {"p0": PacketFailure("y")}


async def test_endless_error_text_is_cut():
    body = msgspec.json.encode({"failed": [{"id": "p0", "error": "e" * 100_000}]})
    async with raw_server(response(body)) as analyzer:
        assert len((await delivered(analyzer))["p0"].error) == 500


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        ({"status": 422}, PacketFailure("x", 422)),
        ({"status": 503, "retry_after": 2.5}, PacketFailure("x", 503, 2.5)),
        ({"retry_after": 1e300}, PacketFailure("x", None, 86_400)),
        ({"retry_after": -1}, PacketFailure("x")),
        ({"status": 200}, PacketFailure("x")),
        ({"status": 2**60}, PacketFailure("x")),
        ({"status": None, "retry_after": None}, PacketFailure("x")),
    ],
)
async def test_named_packet_says_whether_and_when_it_is_to_be_tried_again(said, failure):
    body = msgspec.json.encode({"failed": [{"id": "p1", "error": "x", **said}]})
    async with raw_server(response(body)) as analyzer:
        assert await delivered(analyzer) == {"p1": failure}


@pytest.mark.parametrize(
    "failed",
    [
        b'"p1"', b"[1]", b'[{"id":7}]', b'[{"id":"p1","status":"no"}]', b'[{"error":"no id"}]', b'{"p1":"x"}',
        b'[{"id":"p1"', b"[{'id':'p1'}]", b'[{"id":"p\xff"}]', b'[{"id":"p1"},]', b"[" * 100_000,
    ],
)  # fmt: skip
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
        async with Carriers(Config()) as client:
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


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        (b"", None),
        (b"Retry-After: 7\r\n", 7),
        (b"Retry-After: soon\r\n", None),
        (b"Retry-After: -7\r\n", None),
        (b"Retry-After: 99999999999999\r\n", 86_400),
        (b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n", None),
        (b"Retry-After: Wed, 21 Oct 2415 07:28:00 GMT\r\n", 86_400),
    ],
)
async def test_status_and_the_wait_that_is_asked_for_are_told(headers, wait):
    async with raw_server(response(status=b"503 Busy", headers=headers)) as analyzer:
        error = await failed_delivery(analyzer)
    assert (str(error), error.status, error.retry_after) == ("answered 503 Busy", 503, wait)


async def test_no_answer_has_no_status():
    async with raw_server(b"") as analyzer:
        error = await failed_delivery(analyzer)
    assert (error.status, error.retry_after) == (None, None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"detail":"no room for p1"}', ": no room for p1"),
        (b'{"error":"bad\\nline","title":"Bad"}', ": bad line"),
        (b'{"title":"Bad Request"}', ": Bad Request"),
        (b'{"detail":7}', ""),
        (b"[]", ""),
        (b"{", ""),
        (b'{"detail":"' + b"x" * 100_000 + b'"}', ""),
    ],
    ids=range(7),
)
async def test_reason_in_an_answer_is_among_the_words(body, words):
    answer = response(body, b"400 Bad Request", b"Content-Type: application/problem+json\r\n")
    async with raw_server(answer) as analyzer:
        assert await failure(analyzer) == f"answered 400 Bad Request{words}"


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


async def test_analyzer_has_its_own_patience():
    async def sleep(reader, writer):
        await reader.read()

    async with raw_server(sleep, timeout=0.05) as analyzer:
        assert await failure(analyzer, analyzer_timeout=60) == "no answer within 0.05 s"


async def test_refusal_before_the_body_was_read_is_heard():
    """So that a batch that is too large becomes smaller, and not an analyzer that seems down."""

    async def refuse(reader, writer):
        writer.write(response(status=b"413 Content Too Large", headers=b"Connection: close\r\n"))
        await writer.drain()
        while await reader.read(2**20):
            pass

    async with raw_server(refuse) as analyzer:
        with pytest.raises(DeliveryFailed) as failed:
            await delivered(analyzer, packets(20, size=1_000_000))
    assert failed.value.status == 413


async def test_kept_connection_that_was_closed_meanwhile_is_not_used_again():
    connections = 0

    async def answer_and_close(reader, writer):
        nonlocal connections
        connections += 1
        await reader.readuntil(b'retry_count":2}\n')
        writer.write(response())
        await writer.drain()

    async with raw_server(answer_and_close) as analyzer, Carriers(Config()) as client:
        for _ in range(5):
            await client.deliver(analyzer, packets())
            await asyncio.sleep(0.01)  # the close arrives
    assert connections == 5


async def test_delivery_that_meets_a_close_half_way_is_not_sent_twice():
    """The analyzer may have had it: it is tried again later, as a second attempt."""
    deliveries = []

    async def serve(reader, writer):
        while True:
            deliveries.append(await reader.readuntil(b'retry_count":2}\n'))
            if len(deliveries) > 1:
                return
            writer.write(response())
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")

    async with raw_server(serve) as analyzer, Carriers(Config()) as client:
        await client.deliver(analyzer, packets())
        with pytest.raises(DeliveryFailed, match="connection closed without an answer"):
            await client.deliver(analyzer, packets())
    assert len(deliveries) == 2


async def test_nobody_there_is_said_in_plain_words():
    async with raw_server(b"") as analyzer:
        pass
    assert await failure(analyzer) == "connection refused"


async def test_probe_of_a_well_analyzer_returns_and_of_an_ill_one_says_why():
    async def handler(request):
        return web.Response(status=204 if request.path == "/health" else 503)

    async with http_server(handler) as analyzer, Carriers(Config()) as client:
        await client.probe(analyzer)
        with pytest.raises(DeliveryFailed, match="its health answered 503"):
            await client.probe(msgspec.structs.replace(analyzer, health_url=analyzer.url))


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"])
async def test_probe_of_garbage_fails(answer):
    async with raw_server(answer) as analyzer, Carriers(Config()) as client:
        with pytest.raises(DeliveryFailed):
            await client.probe(analyzer)
