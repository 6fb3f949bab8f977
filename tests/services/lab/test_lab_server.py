"""The simulated server over real sockets."""

import asyncio
import json
import re
from contextlib import asynccontextmanager, suppress

import pytest

from penstock.services.lab.app import running
from penstock.services.lab.config import Behaviour, Config
from penstock.services.listening import CannotListen

CALM = {"latency": "constant", "max_latency": 0.002, "full_rate": 0.0, "error_rate": 0.0, "overload": 0}
GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def server(config=None, **behaviour):
    """A server, and how to connect to it."""
    async with running(Behaviour(**CALM | behaviour), Config(port=0, **config or {})) as (url, site):
        host, _, port = url.removeprefix("http://").rpartition(":")

        async def connect():
            return await asyncio.open_connection(host, int(port))

        yield connect, site


async def read_answer(reader, method=b"GET"):
    """Status, headers and body of one answer."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    status = int(head.split(b" ")[1])
    headers = dict(re.findall(r"(?m)^([\w-]+): (.*?)\r$", head.decode()))
    body = b"" if method == b"HEAD" else await reader.readexactly(int(headers["Content-Length"]))
    return status, headers, body


async def ask(connect, request):
    reader, writer = await connect()
    try:
        writer.write(request)
        return await read_answer(reader, request.split(b" ")[0])
    finally:
        writer.close()
        await writer.wait_closed()


async def closed(reader):
    """What is left to read until the connection ends."""
    return await asyncio.wait_for(reader.read(), 30)


# Answers


async def test_data_tells_the_latency_that_it_simulated():
    async with server() as (connect, _):
        status, headers, body = await ask(connect, GET % b"/data")
        assert (status, json.loads(body)) == (200, {"status": "success", "latency": 0.002})
        assert headers["Content-Type"] == "application/json"
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["Date"])


async def test_an_answer_is_never_early():
    async with server(max_latency=0.05) as (connect, site):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await ask(connect, GET % b"/data")
        assert loop.time() - begun >= 0.05
        assert site.figures()["delay_seconds_total"] == 0.05


async def test_errors_are_problem_details():
    async with server(error_rate=1.0) as (connect, _):
        status, headers, body = await ask(connect, GET % b"/data")
        assert (status, headers["Content-Type"]) == (500, "application/problem+json")
        assert json.loads(body) == {
            "type": "about:blank",
            "title": "Internal Server Error",
            "status": 500,
            "detail": "the request had no luck",
        }


async def test_beyond_the_limit_the_answer_is_429_and_says_when():
    async with server(limit=0.5) as (connect, _):
        assert (await ask(connect, GET % b"/data"))[0] == 200
        status, headers, body = await ask(connect, GET % b"/data")
        assert (status, headers["Retry-After"]) == (429, "2")
        assert json.loads(body)["detail"] == "more requests than the limit allows"


async def test_a_full_queue_is_503():
    async with server({"drain_timeout": 0.0}, max_latency=60, servers=1, queue=0) as (connect, site):
        _, writer = await connect()
        writer.write(GET % b"/data")
        while not site.busy:
            await asyncio.sleep(0)
        status, headers, _ = await ask(connect, GET % b"/data")
        assert (status, headers["Retry-After"]) == (503, "1")
        writer.close()


async def test_a_reset_is_a_reset():
    async with server(reset=1.0) as (connect, site):
        reader, writer = await connect()
        writer.write(GET % b"/data")
        with pytest.raises(ConnectionResetError):
            await closed(reader)
        writer.close()
        assert site.state.counts == {"reset": 1}


async def test_head_has_no_body():
    async with server() as (connect, _):
        reader, writer = await connect()
        writer.write(b"HEAD /data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        status, headers, _ = await read_answer(reader, b"HEAD")
        assert (status, headers["Connection"], await closed(reader)) == (200, "close", b"")
        writer.close()


async def test_other_routes_tell_how_it_is():
    async with server() as (connect, site):
        assert (await ask(connect, GET % b"/livez"))[2] == b'{"status":"alive"}\n'
        assert (await ask(connect, GET % b"/readyz"))[2] == b'{"status":"ready"}\n'
        await ask(connect, GET % b"/data")
        figures = json.loads((await ask(connect, GET % b"/"))[2])
        assert figures["behaviour"]["max_latency"] == 0.002
        assert (figures["requests"], figures["answers_total"]) == ({"200": 1}, 1)
        site.is_draining = True
        assert (await ask(connect, GET % b"/readyz"))[0] == 503


async def test_metrics_are_prometheus_text():
    async with server() as (connect, _):
        await ask(connect, GET % b"/data")
        status, headers, body = await ask(connect, GET % b"/metrics")
        assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        lines = body.decode().splitlines()
        assert 'penstock_lab_requests_total{outcome="200"} 1' in lines
        for line in lines:
            assert re.fullmatch(
                r"# (HELP|TYPE) penstock_lab_\w+ .+|penstock_lab_\w+(\{outcome=\"\w+\"\})? [\d.e+-]+", line
            )


@pytest.mark.parametrize(("request_line", "status", "detail"), [
    (b"GET /nothing HTTP/1.1", 404, "there is nothing at /nothing"),
    (b"PUT /data HTTP/1.1", 405, "/data takes GET, HEAD, got PUT"),
    (b"nonsense", 400, "this request cannot be read: the request line must be METHOD TARGET HTTP/1.1"),
])  # fmt: skip
async def test_other_requests_are_refused_in_words(request_line, status, detail):
    async with server() as (connect, _):
        got, headers, body = await ask(connect, request_line + b"\r\nHost: x\r\n\r\n")
        assert (got, json.loads(body)["detail"]) == (status, detail)
        assert headers.get("Allow") == ("GET, HEAD" if status == 405 else None)


# Connections


async def test_a_connection_takes_one_request_after_the_other():
    async with server() as (connect, site):
        reader, writer = await connect()
        for _ in range(3):
            writer.write(GET % b"/data")
            assert (await read_answer(reader))[0] == 200
        assert site.figures()["connections"] == 1
        writer.close()


async def test_requests_sent_ahead_are_answered_in_order_and_one_at_a_time():
    async with server(max_latency=0.001) as (connect, site):
        reader, writer = await connect()
        writer.write(b"".join(GET % path for path in (b"/data", b"/livez", b"/nothing", b"/data")))
        assert [(await read_answer(reader))[0] for _ in range(4)] == [200, 200, 404, 200]
        assert site.busy == 0
        writer.close()


async def test_thousands_sent_ahead_are_all_answered():
    """None of them is due later than now: they are answered without the stack growing."""
    async with server() as (connect, _):
        reader, writer = await connect()
        writer.write(GET % b"/livez" * 3_000)
        for _ in range(3_000):
            assert (await read_answer(reader))[0] == 200
        writer.close()


async def test_a_request_in_single_bytes_is_a_request():
    async with server() as (connect, _):
        reader, writer = await connect()
        for byte in b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + GET % b"/livez":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert [(await read_answer(reader))[0] for _ in range(2)] == [405, 200]
        writer.close()


async def test_an_endless_head_is_refused():
    async with server() as (connect, _):
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 3_000)
        status, headers, _ = await read_answer(reader)
        assert (status, headers["Connection"]) == (431, "close")
        assert await closed(reader) == b""
        writer.close()


async def test_a_client_that_has_said_all_still_gets_its_answer():
    async with server() as (connect, _):
        reader, writer = await connect()
        writer.write(GET % b"/data")
        writer.write_eof()
        assert (await read_answer(reader))[0] == 200
        writer.close()


async def test_a_client_that_goes_away_leaves_nothing_behind():
    async with server(max_latency=0.02) as (connect, site):
        _, writer = await connect()
        writer.write(GET % b"/data")
        while not site.busy:
            await asyncio.sleep(0)
        writer.transport.abort()
        while site.figures()["connections"]:
            await asyncio.sleep(0)
        assert (await ask(connect, GET % b"/data"))[0] == 200


async def test_more_connections_than_allowed_are_closed_at_once():
    async with server({"max_connections": 2}) as (connect, _):
        kept = [await connect() for _ in range(2)]
        for reader, writer in kept:
            writer.write(GET % b"/livez")
            assert (await read_answer(reader))[0] == 200
        reader, writer = await connect()
        with suppress(ConnectionResetError):  # or so, when it was quick
            assert await closed(reader) == b""
        for _, each in [*kept, (reader, writer)]:
            each.close()


# The end


async def test_answers_under_way_are_given_at_the_end():
    async with server(max_latency=0.1) as (connect, site):
        reader, writer = await connect()
        writer.write(GET % b"/data")
        while not site.busy:
            await asyncio.sleep(0)
    assert (await read_answer(reader))[0] == 200
    assert await closed(reader) == b""
    writer.close()


async def test_what_takes_longer_than_the_drain_timeout_is_cut():
    async with server({"drain_timeout": 0.01}, max_latency=60) as (connect, site):
        reader, writer = await connect()
        writer.write(GET % b"/data")
        while not site.busy:
            await asyncio.sleep(0)
    with pytest.raises(asyncio.IncompleteReadError):  # not one byte of an answer
        await read_answer(reader)
    writer.close()


async def test_a_taken_address_is_said_in_words():
    async with running(Behaviour(), Config(port=0)) as (url, _):
        port = int(url.rpartition(":")[2])
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}: address already in use"):
            async with running(Behaviour(), Config(port=port)):
                pass
