"""The fast path answers as aiohttp does, whatever comes and in whatever pieces."""

import asyncio
import json
import re
from contextlib import asynccontextmanager
from itertools import accumulate
from unittest.mock import Mock

import pytest
from aiohttp.http_parser import HttpRequestParser
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.services.distributor import fast_path
from penstock.services.distributor.app import listening
from penstock.services.distributor.config import ApiKey, Config
from penstock.services.distributor.fast_path import FastPath, length_by
from penstock.services.distributor.request_body import BodyRoom
from services.distributor.serving import serving
from virtual_time import in_virtual_time

PACKET = {"id": "p1", "messages": [{"message": "m"}]}
BODY = json.dumps([PACKET]).encode()


def request(body=BODY, line="POST /api/v1/logs HTTP/1.1", **fields):
    """A request; `fields` replace the usual ones, None leaves one out."""
    usual = {"host": "h", "content_type": "application/json", "content_length": str(len(body))}
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in (usual | fields).items() if value]
    return f"{line}\r\n{''.join(lines)}\r\n".encode() + body


REFUSED = json.dumps([PACKET, {"id": "p2"}]).encode()
PLAIN = {
    "one packet": request(),
    "fields that change nothing": request(user_agent="curl/8", accept="*/*", connection="keep-alive"),
    "names of fields in any case": request().replace(b"content-type", b"Content-TYPE"),
    "part of it refused": request(REFUSED),
    "all of it refused": request(b'[{"id":"p2"}]'),
    "no JSON": request(b"nonsense"),
    "an empty body": request(b"", content_length="0"),
}
OTHERS = {
    "another path": request(line="POST /api/v1/ndjson HTTP/1.1"),
    "another method": request(line="PUT /api/v1/logs HTTP/1.1"),
    "a query": request(line="POST /api/v1/logs?a=1 HTTP/1.1"),
    "HTTP/1.0": request(line="POST /api/v1/logs HTTP/1.0"),
    "the last of its connection": request(connection="close"),
    "another type": request(content_type="text/plain"),
    "a parameter of the type": request(content_type="application/json; charset=utf-8"),
    "no type": request(content_type=None),
    "chunks": request(
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), content_length=None, transfer_encoding="chunked"
    ),
    "chunks and a length": request(b"0\r\n\r\n", transfer_encoding="chunked"),
    "two lengths": request().replace(b"\r\nhost", b"\r\ncontent-length: 3\r\nhost"),
    "a length with a sign": request(content_length="+5"),
    "a body that is too large": request(b" " * 100_001),
    "a packed body": request(content_encoding="gzip"),
    "a continued line": request().replace(b"host: h", b"host: h\r\n more"),
    "a bare line feed": request().replace(b"host: h\r\n", b"host: h\nx: y\r\n"),
    "a space before a colon": request().replace(b"host:", b"host :"),
    "no host": request(host=None),
    "no HTTP at all": b"\x16\x03\x01\x02\x00 what is this?\r\n\r\n",
}


@asynccontextmanager
async def both(folder, **options):
    """A service, and the ports of its fast path and of aiohttp alone."""
    async with serving(folder, **options) as service:
        config = Config(port=0)
        async with listening(service.runner, config, None) as url:
            yield service, int(url.rpartition(":")[2]), int(service.url.rpartition(":")[2])


async def answer_of(port, sent):
    """Status line, the fields that matter, and the body of the first answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(re.search(r"(?i)content-length: *(\d+)", head)[1])
            body = await reader.readexactly(length)
    finally:
        writer.close()
    status, *lines = head.split("\r\n")
    fields = {line.lower() for line in lines if not line.startswith(("Date:", "Server:"))}
    return status, fields, body


@pytest.mark.parametrize("sent", (PLAIN | OTHERS).values(), ids=(PLAIN | OTHERS).keys())
async def test_answers_are_those_of_aiohttp(tmp_path, sent):
    async with both(tmp_path) as (_, fast, slow):
        assert await answer_of(fast, sent) == await answer_of(slow, sent)


async def test_full_queue_and_rate_limit_are_answered_as_by_aiohttp(tmp_path):
    async with both(tmp_path, rate_limit=0.001, max_packets=1) as (_, fast, slow):
        assert (await answer_of(slow, request()))[0].split()[1] == "202"
        first, second = [await answer_of(port, request()) for port in (fast, slow)]
    assert first[0] == second[0] == "HTTP/1.1 429 Too Many Requests"
    assert any(field.startswith("retry-after: ") for field in first[1])


@pytest.mark.parametrize("sent", PLAIN.values(), ids=PLAIN.keys())
def test_plain_requests_are_taken(sent):
    head, _, body = sent.partition(b"\r\n\r\n")
    assert length_by(head + b"\r\n") == len(body)


@pytest.mark.parametrize("sent", [sent for name, sent in OTHERS.items() if "too large" not in name], ids=str)
def test_other_requests_are_left_to_aiohttp(sent):
    assert length_by(sent.partition(b"\r\n\r\n")[0] + b"\r\n") is None


async def test_connection_of_plain_requests_stays_and_takes_others_too(tmp_path):
    async with both(tmp_path) as (service, fast, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", fast)
        writer.write(request() + request() + b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n" + request())
        seen = b""
        async with asyncio.timeout(10):
            while seen.count(b"HTTP/1.1 ") < 4 or not seen.endswith(b"}\n"):
                seen += await reader.read(65536)
        writer.close()
        assert re.findall(rb"HTTP/1.1 (\d+)", seen) == [b"202", b"202", b"200", b"202"]
        assert (await service.nothing_left())["accepted"] == 1


async def test_keys_close_the_fast_path(tmp_path):
    keys = (ApiKey("me", "0123456789abcdef"),)
    async with both(tmp_path, api_keys=keys) as (_, fast, _):
        assert (await answer_of(fast, request()))[0] == "HTTP/1.1 401 Unauthorized"


async def test_limit_of_clients_closes_the_fast_path(tmp_path):
    async with both(tmp_path, client_rate_limit=0.001, client_burst=1) as (_, fast, _):
        assert [(await answer_of(fast, request()))[0].split()[1] for _ in range(2)] == ["202", "429"]


async def test_fault_of_ours_is_a_500_and_logged(tmp_path, monkeypatch, caplog):
    async with both(tmp_path) as (service, fast, _):
        monkeypatch.setattr(service.distributor, "accept", None)
        assert (await answer_of(fast, request()))[0] == "HTTP/1.1 500 Internal Server Error"
    assert "POST /api/v1/logs failed" in caplog.text


async def test_connection_that_says_nothing_is_closed_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(fast_path, "IDLE_TIMEOUT", 0.01)
    async with both(tmp_path) as (_, fast, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", fast)
        writer.write(request()[:30])
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()


LINES = st.sampled_from(
    [
        b"host: h", b"Content-Length: 2", b"content-length: 02", b"content-length:2 ",
        b"content-length: 2, 2",
        b"content-length: 1_0", b"content-length: 0x2", b"content-type: application/json",
        b"Content-Type:application/json ", b"connection: keep-alive", b"Connection: Upgrade",
        b"upgrade: websocket", b"transfer-encoding: chunked", b"transfer-encoding: identity",
        b"content-encoding: gzip", b"expect: 100-continue", b"accept: */*", b"", b" ", b"\t2",
        b"user-agent: a\rb",
        b"traceparent: 00-1", b"x-forwarded-for: 1.2.3.4", b"authorization: Bearer x", b"cookie: a=b",
    ]
)  # fmt: skip
HEADS = st.builds(
    lambda lines, tail: fast_path.REQUEST_LINE + b"\r\n".join(lines) + tail + b"\r\n",
    st.permutations([b"host: h", b"content-length: 2", b"content-type: application/json"]).flatmap(
        lambda usual: st.lists(LINES, max_size=3).map(lambda more: [*more[:1], *usual, *more[1:]])
    ),
    st.sampled_from([b"", b"\r\n", b"\n", b": 1", b"\x00", b"\xff"]),
)


@settings(max_examples=1000, deadline=None)
@given(HEADS)
def test_what_is_taken_is_to_aiohttp_the_same_request(head):
    length = length_by(head)
    if length is None:
        return
    parser = HttpRequestParser(Mock(), Mock(), 2**16)
    [(message, _)], upgraded, rest = parser.feed_data(head + b"\r\n")
    assert (message.method, message.path, rest, upgraded) == ("POST", "/api/v1/logs", b"", False)
    assert [int(told) for told in message.headers.getall("Content-Length")] == [length]
    assert not any((message.chunked, message.upgrade, message.compression, message.should_close))
    assert message.headers["Content-Type"].lower() == "application/json"


# Without a network


class Transport:
    """Keeps what is written."""

    def __init__(self):
        self.written, self.protocol = [], None
        self.is_reading, self.is_closed = True, False

    def write(self, data):
        self.written.append(data)

    def set_protocol(self, protocol):
        self.protocol = protocol

    def pause_reading(self):
        self.is_reading = False

    def resume_reading(self):
        self.is_reading = True

    def close(self):
        self.is_closed = True

    abort = close

    def is_closing(self):
        return self.is_closed


class SlowPath:
    """Keeps what is handed over."""

    def __init__(self):
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received += data


class Answers:
    """A fast path with one connection, whose answers are given by hand."""

    def __init__(self, room=100):
        self.slow = SlowPath()
        self.path = FastPath(self, lambda: self.slow, BodyRoom(room))
        self.path.answer = self.answer
        self.config = Config(max_body_bytes=100)
        self.bodies, self.released = [], asyncio.Semaphore(0)
        self.connection, self.transport = self.path(), Transport()
        self.connection.connection_made(self.transport)

    async def answer(self, body):
        self.bodies.append(body)
        await self.released.acquire()
        return b"%d;" % len(self.bodies)

    async def receive(self, data):
        """Hands data to whom it is for, as a loop does: nothing comes while reading is paused."""
        while not self.transport.is_reading:
            await self.give_answer()
        (self.transport.protocol or self.connection).data_received(data)

    def has_refused(self):
        """Whether it has answered by itself that there is no room."""
        return any(one.startswith(b"HTTP/1.1 503 ") for one in self.transport.written)

    async def give_answer(self):
        self.released.release()
        await settled()

    async def close(self):
        self.connection.connection_lost(None)
        for task in self.path.answering:
            task.cancel()
        await settled()


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


PIECES = st.lists(st.integers(1, 60), max_size=40)
STREAMS = st.lists(
    st.sampled_from([request(b"[]"), request(b"[{}, {}, {}]"), request(b"x", connection="close")]),
    min_size=1,
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(stream=STREAMS, pieces=PIECES)
def test_pieces_make_no_difference_and_what_is_not_plain_is_handed_over_whole(stream, pieces):
    async def run():
        answers = Answers()
        rest = sent = b"".join(stream)
        for size in pieces:
            await answers.receive(rest[:size])
            rest = rest[size:]
        if rest:
            await answers.receive(rest)
        while answers.path.answering:
            await answers.give_answer()
        plain = next((n for n, one in enumerate(stream) if b"close" in one), len(stream))
        assert answers.bodies == [one.partition(b"\r\n\r\n")[2] for one in stream[:plain]]
        assert b"".join(answers.transport.written) == b"".join(b"%d;" % (n + 1) for n in range(plain))
        assert answers.slow.received == b"".join(stream[plain:])
        assert sent.endswith(answers.slow.received)
        await answers.close()
        assert answers.path.bodies.held == 0

    asyncio.run(run())


@in_virtual_time
async def test_what_comes_of_a_body_after_it_was_given_up_is_no_request():
    answers = Answers()
    whole = request(b"[{}, {}, {}]")
    await answers.receive(whole[:-5])
    await asyncio.sleep(answers.config.body_timeout + 1)
    assert answers.transport.is_closing()
    assert answers.transport.written[0].startswith(b"HTTP/1.1 408 ")
    answers.connection.data_received(request(b"[]"))  # as TLS does it until its own end
    answers.connection.data_received(b"GET / HTTP/1.1\r\n\r\n")
    await settled()
    assert (answers.bodies, answers.slow.received) == ([], b"")
    await answers.close()


@settings(max_examples=200, deadline=None)
@given(pieces=PIECES, room=st.integers(0, 12))
def test_request_that_finds_no_room_is_refused_or_handed_over_whole(pieces, room):
    async def run():
        answers = Answers(room)
        rest = sent = request(b"[{}, {}, {}]")
        ends = set(accumulate(pieces))
        pieces_of_body = ends & set(range(len(sent) - 12, len(sent)))
        for size in pieces:
            await answers.receive(rest[:size])
            assert answers.path.bodies.held <= room
            rest = rest[size:]
        if rest:
            await answers.receive(rest)
        await settled()
        refused = answers.has_refused()
        assert refused == (room < 12 and not pieces_of_body)
        assert answers.slow.received == (b"" if refused or room == 12 else sent)
        assert len(answers.bodies) == (room == 12)
        while answers.path.answering:
            await answers.give_answer()
        assert answers.path.bodies.held == 0
        await answers.close()

    asyncio.run(run())


@settings(max_examples=100, deadline=None)
@given(pieces=PIECES, taken=st.integers(0, 12))
def test_room_that_others_take_meanwhile_is_missed_and_nothing_is_lost(pieces, taken):
    async def run():
        answers = Answers(room=12)
        rest = sent = request(b"[{}, {}, {}]")
        for size in pieces:
            await answers.receive(rest[:size])
            rest = rest[size:]
            if answers.path.bodies.take(taken):
                taken_now.append(taken)
        if rest:
            await answers.receive(rest)
        await settled()
        outcomes = [answers.slow.received == sent, answers.bodies == [b"[{}, {}, {}]"], answers.has_refused()]
        assert sum(outcomes) == 1
        while answers.path.answering:
            await answers.give_answer()
        assert answers.path.bodies.held == sum(taken_now)
        await answers.close()

    taken_now = []
    asyncio.run(run())


async def test_client_that_goes_in_the_middle_of_a_body_gives_its_room_back():
    answers = Answers()
    await answers.receive(request(b"[{}, {}, {}]")[:-3])
    assert answers.path.bodies.held == 9
    await answers.close()
    assert answers.path.bodies.held == 0


async def test_requests_are_answered_one_after_the_other_and_no_more_is_read_meanwhile():
    answers = Answers()
    await answers.receive(request(b"[1]") + request(b"[2]"))
    answers.connection.data_received(request(b"[3]"))
    assert not answers.transport.is_reading
    await settled()
    assert answers.bodies == [b"[1]"]
    for _ in range(3):
        await answers.give_answer()
    assert answers.bodies == [b"[1]", b"[2]", b"[3]"]
    assert answers.transport.is_reading
    await answers.close()


async def test_client_that_does_not_read_its_answers_gets_no_further_ones():
    answers = Answers()
    await answers.receive(request(b"[1]") + request(b"[2]"))
    answers.connection.pause_writing()
    await answers.give_answer()
    assert answers.bodies == [b"[1]"]
    answers.connection.resume_writing()
    await answers.give_answer()
    assert answers.bodies == [b"[1]", b"[2]"]
    await answers.close()


async def test_body_that_is_too_large_and_a_head_without_an_end_are_handed_over():
    for sent in (request(b"x" * 101), request(user_agent="x" * 5000)):
        answers = Answers()
        await answers.receive(sent)
        assert answers.slow.received == sent
        await answers.close()


async def test_end_closes_what_is_idle_and_waits_for_answers_under_way():
    busy, idle = Answers(), Answers()
    await busy.receive(request(b"[1]"))
    closing = asyncio.ensure_future(busy.path.aclose(10))
    await idle.path.aclose(0)
    await settled()
    assert idle.transport.is_closed
    assert not busy.transport.is_closed
    await busy.give_answer()
    await closing
    assert busy.transport.written == [b"1;"]
    assert busy.transport.is_closed
    await busy.close()
    await idle.close()


async def test_client_that_has_gone_is_not_written_to():
    answers = Answers()
    await answers.receive(request(b"[1]"))
    answers.transport.close()
    answers.connection.connection_lost(None)
    await answers.give_answer()
    assert answers.bodies == [b"[1]"]
    assert answers.transport.written == []
