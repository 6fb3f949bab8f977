"""Bodies of requests take bounded room together, for a bounded time, and give it back whatever happens."""

import asyncio
import gzip
import json
from contextlib import asynccontextmanager, suppress
from threading import Thread
from unittest.mock import Mock

import msgspec
import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request

from penstock.clock import NANOSECONDS
from penstock.services.distributor.admission import NotStored
from penstock.services.distributor.app import listening
from penstock.services.distributor.config import Config
from penstock.services.distributor.keys import BODIES
from penstock.services.distributor.request_body import STEP, BodyRoom, read_body
from services.distributor.fakes import until
from services.distributor.serving import serving
from virtual_time import in_virtual_time

PACKETS = json.dumps([{"id": "p1", "messages": [{"message": "m"}]}]).encode()
NDJSON = b'{"message":"m"}\n'


# The room itself


def test_room_is_given_back_when_the_request_ends_in_whatever_way():
    room = BodyRoom(100)
    with room.hold() as hold:
        hold.grow(60)
        hold.grow(40)
        assert (room.held, hold.size) == (100, 100)
    assert room.held == 0
    with suppress(KeyError), room.hold() as hold:
        hold.grow(60)
        raise KeyError
    assert room.held == 0


def test_what_does_not_fit_is_refused_in_words_and_takes_nothing():
    room = BodyRoom(100)
    with room.hold() as first, room.hold() as second:
        first.grow(60)
        for refused in (second.require, second.grow, second.cover):
            with pytest.raises(
                NotStored, match=r"^60 bytes of requests are being taken already, at most 100 "
            ):
                refused(41)
        assert not room.take(41)
        second.require(40)
        assert room.held == 60
        second.grow(40)


def test_room_for_what_grows_little_by_little_is_taken_in_steps_and_to_the_last_byte():
    room = BodyRoom(STEP + 100)
    with room.hold() as hold:
        hold.cover(1)
        assert hold.size == STEP
        hold.cover(STEP)
        assert hold.size == STEP
        hold.cover(STEP + 1)
        assert hold.size == STEP + 100
        hold.cover(STEP + 100)
        with pytest.raises(NotStored):
            hold.cover(STEP + 101)
    assert room.held == 0


def test_thread_that_reads_on_for_a_request_that_has_ended_takes_no_room():
    room = BodyRoom(100)
    with room.hold() as hold:
        hold.grow(60)
    hold.cover(80)
    hold.grow(1000)
    assert (room.held, hold.size) == (0, 0)


def test_threads_do_not_lose_count():
    room = BodyRoom(10**9)

    def take_and_give_back():
        for size in range(2000):
            with room.hold() as hold:
                hold.grow(size)
            assert room.take(size)
            room.give_back(size)

    threads = [Thread(target=take_and_give_back) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert room.held == 0


@in_virtual_time
async def test_body_that_came_while_the_service_stood_still_did_come():
    loop, room = asyncio.get_running_loop(), BodyRoom(100)
    content = StreamReader(Mock(), 2**16, loop=loop)
    request = make_mocked_request("POST", "/", payload=content)

    def come():
        content.feed_data(b"]")
        content.feed_eof()

    with room.hold() as hold:
        reading = asyncio.create_task(read_body(request, 100, hold, within=60))
        content.feed_data(b"[")
        await asyncio.sleep(1)
        assert room.held == 1
        loop.clock.now += 100 * NANOSECONDS
        loop.call_soon(come)  # its last byte and the end of its time are found together
        assert await reading == b"[]"
        assert room.held == 2


async def test_client_that_went_before_its_body_is_read_is_no_fault_of_ours():
    content = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
    gone = make_mocked_request("POST", "/", payload=content)
    gone.protocol.transport = None
    with BodyRoom(100).hold() as hold:
        with pytest.raises(ConnectionResetError, match="the client has gone"):
            await read_body(gone, 100, hold, within=60)
        content.feed_data(b"[]")
        content.feed_eof()
        assert await read_body(gone, 100, hold, within=60) == b"[]", "what has come whole is taken"


# In the service, by the fast path and without it


@pytest.fixture(params=["fast path", "aiohttp"])
def start(request, tmp_path):
    """A service, its room, and how to connect to it."""

    @asynccontextmanager
    async def start(**settings):
        async with serving(tmp_path, **settings) as service, asyncio.timeout(60):
            room = service.app[BODIES]
            if request.param == "aiohttp":
                yield service, room, service.connect
                return
            async with listening(service.runner, Config(port=0), None) as url:

                async def connect():
                    return await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))

                yield service, room, connect

    return start


def head(length=None, path="/api/v1/logs", kind="application/json", **fields):
    size = {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": length}
    fields = {"Host": "h", "Content-Type": kind} | size | fields
    return b"POST %s HTTP/1.1\r\n%s\r\n" % (
        path.encode(), "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode(),
    )  # fmt: skip


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


async def status_of(reader):
    """Of the next answer, and its fields."""
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    return int(line.split()[1]), {
        name.lower(): value for name, _, value in (f.partition(": ") for f in fields)
    }


async def test_many_slow_clients_together_keep_the_bound_and_their_going_gives_the_room_back(start):
    async with start(max_body_bytes=20_000, max_receiving_bytes=100_000) as (service, room, connect):
        slow = []
        for number in range(1, 6):
            reader, writer = await connect()
            writer.write(head(20_000) + b" " * 19_000)
            slow.append(writer)
            await until(lambda number=number: room.held == number * 19_000)
        for number in range(20):  # whether anything of the body has come or not
            reader, writer = await connect()
            writer.write(head(20_000) + b" " * 19_000 * (number % 2))
            status, fields = await status_of(reader)
            assert (status, fields["retry-after"]) == (503, "1")
            assert room.held == 95_000
            writer.close()
        reader, writer = await connect()
        writer.write(head(len(PACKETS)) + PACKETS)
        assert (await status_of(reader))[0] == 202, "what fits is taken"
        assert "penstock_distributor_receiving_bytes 95000" in (await service.get("/metrics")).body.decode()
        for one in (*slow, writer):
            one.close()
        await until(lambda: room.held == 0)


async def test_connection_whose_request_found_no_room_stays(start):
    async with start(max_body_bytes=1000, max_receiving_bytes=1000) as (_, room, connect):
        reader, writer = await connect()
        for taken, expected in ((1000, 503), (1000, 503), (0, 202)):
            assert room.take(taken)
            writer.write(head(len(PACKETS)) + PACKETS)
            status, fields = await status_of(reader)
            told = await reader.readexactly(int(fields["content-length"]))
            assert (status, "connection" in fields) == (expected, False)
            room.give_back(taken)
            if status == 503:
                assert fields["retry-after"] == "1"
                assert json.loads(told)["detail"] == f"{WHY}; send the same again"
        writer.close()


async def test_body_that_does_not_come_in_time_is_answered_408_and_keeps_nothing(start):
    async with start(body_timeout=0.05) as (_, room, connect):
        for sent in (
            head(1000) + b"[",
            head() + chunk(b"[ "),
            head(1000, **{"Content-Encoding": "gzip"}) + b"\x1f",
        ):
            reader, writer = await connect()
            writer.write(sent)
            status, fields = await status_of(reader)
            assert (status, fields["connection"]) == (408, "close")
            writer.close()
            assert room.held == 0


async def test_client_that_sends_a_byte_now_and_then_is_not_waited_for_longer(start):
    async with start(body_timeout=0.5) as (_, room, connect):
        reader, writer = await connect()
        writer.write(head(1_000))
        answer = asyncio.ensure_future(status_of(reader))
        while not answer.done():
            writer.write(b" ")
            await asyncio.wait([answer], timeout=0.02)
        assert (await answer)[0] == 408
        writer.close()
        assert room.held == 0


async def test_body_that_comes_in_pieces_is_taken_once_it_is_whole(start):
    async with start(max_body_bytes=400_000, max_receiving_bytes=400_000) as (service, room, connect):
        reader, writer = await connect()
        body = PACKETS.ljust(400_000)
        for at in range(0, len(body), 50_000):
            writer.write((b"" if at else head(len(body))) + body[at : at + 50_000])
            await writer.drain()
            if at < 350_000:
                await until(lambda at=at: room.held == at + 50_000)
        assert (await status_of(reader))[0] == 202
        writer.close()
        await service.nothing_left()
        assert room.held == 0


async def test_body_that_finds_no_room_on_its_way_is_refused_and_keeps_nothing(start):
    async with start(max_body_bytes=20_000, max_receiving_bytes=30_000) as (_, room, connect):
        reader, writer = await connect()
        writer.write(head(20_000) + b" " * 10_000)
        await until(lambda: room.held == 10_000)
        assert room.take(15_000)
        writer.write(b" " * 10_000)
        assert (await status_of(reader))[0] == 503
        assert room.held == 15_000
        writer.close()


async def test_chunks_and_what_is_packed_count_as_they_come(start):
    async with start(max_body_bytes=20_000, max_receiving_bytes=20_000) as (_, room, connect):
        assert room.take(12_000)
        packed = gzip.compress(b" " * 9_000)
        for sent in (
            head() + chunk(b" " * 5_000) + chunk(b" " * 4_000),
            head(len(packed), **{"Content-Encoding": "gzip"}) + packed,
        ):
            reader, writer = await connect()
            writer.write(sent)
            assert (await status_of(reader))[0] == 503
            assert room.held == 12_000
            writer.close()


async def test_body_announced_and_not_sent_takes_no_room_from_others(start):
    async with start(max_body_bytes=100_000, max_receiving_bytes=100_000) as (_, room, connect):
        idle = [(await connect())[1] for _ in range(10)]
        for writer in idle:
            writer.write(head(100_000))
        reader, writer = await connect()
        writer.write(head(len(PACKETS)) + PACKETS)
        assert (await status_of(reader))[0] == 202
        for one in (*idle, writer):
            one.close()
        await until(lambda: room.held == 0)


async def test_request_is_held_until_it_is_answered(start, monkeypatch):
    async with start() as (service, room, connect):
        let_go = asyncio.Event()
        accept = service.distributor.accept

        async def accept_later(body, **options):
            await let_go.wait()
            return await accept(body, **options)

        monkeypatch.setattr(service.distributor, "accept", accept_later)
        reader, writer = await connect()
        writer.write(head(len(PACKETS)) + PACKETS)
        await until(lambda: room.held == len(PACKETS))
        let_go.set()
        assert (await status_of(reader))[0] == 202
        await until(lambda: room.held == 0)
        monkeypatch.setattr(service.distributor, "accept", None)
        writer.write(head(len(PACKETS)) + PACKETS)
        body = await reader.readuntil(b"}\n")
        assert (await status_of(reader))[0] == 500, body
        assert room.held == 0
        writer.close()


# In the words of each protocol


OTLP = b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"m"}}]}]}]}'
LOKI = b'{"streams":[{"stream":{"a":"b"},"values":[["1","m"]]}]}'
INPUTS = [
    ("/api/v1/logs", PACKETS, "application/json", '"detail":"{why}; send the same again"'),
    ("/api/v1/ndjson", NDJSON, "application/x-ndjson", '"detail":"{why}; send the same again"'),
    ("/v1/logs", OTLP, "application/json", '"message":"{why}; send the same again"'),
    ("/loki/api/v1/push", LOKI, "application/json", "{why}; send the same again\n"),
    ("/gelf", b'{"short_message":"m"}', "application/json", '"detail":"{why}; send the same again"'),
    ("/_bulk", b'{"create":{"_index":"i"}}\n{"message":"m"}\n', "application/x-ndjson",
     '"type":"unavailable_shards_exception","reason":"{why}; send the same again"'),
    ("/services/collector", b'{"event":"m"}', "application/json", '"text":"Server is busy","code":9'),
    ("/services/collector/raw", b"m", "text/plain", '"text":"Server is busy","code":9'),
]  # fmt: skip
WHY = "1000 bytes of requests are being taken already, at most 1000 are held at a time"


@pytest.mark.parametrize(("path", "body", "kind", "words"), INPUTS)
async def test_want_of_room_is_a_503_that_says_when(tmp_path, path, body, kind, words):
    async with serving(tmp_path, max_body_bytes=1000, max_receiving_bytes=1000) as service:
        room = service.app[BODIES]
        assert room.take(1000)
        for packed in (False, True):
            headers = {"Content-Type": kind} | ({"Content-Encoding": "gzip"} if packed else {})
            data = gzip.compress(body) if packed else body
            async with service.session.post(service.url + path, data=data, headers=headers) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert words.replace("{why}", WHY) in await answer.text()
        room.give_back(1000)
        async with service.session.post(
            service.url + path, data=body, headers={"Content-Type": kind}
        ) as answer:
            assert answer.status < 300
        assert room.held == 0


@pytest.mark.parametrize(("path", "kind"), [(path, kind) for path, _, kind, _ in INPUTS])
async def test_every_input_gives_up_a_body_that_does_not_come(tmp_path, path, kind):
    async with serving(tmp_path, body_timeout=0.05) as service, asyncio.timeout(30):
        answered = await service.raw(head(1000, path, kind) + b"{")
        assert answered.startswith(b"HTTP/1.1 408 ")
        assert b"must come within 0.05 s" in answered
        assert service.app[BODIES].held == 0


def shared(count):
    """A small request whose records are large: each repeats what they share."""
    record = {"body": {"stringValue": "m"}}
    resource = {"attributes": [{"key": "a", "value": {"stringValue": "x" * 10_000}}]}
    logs = [{"resource": resource, "scopeLogs": [{"logRecords": [record] * count}]}]
    return msgspec.json.encode({"resourceLogs": logs})


async def test_records_that_are_more_than_their_body_need_room_as_well(tmp_path):
    headers = {"Content-Type": "application/json"}
    async with serving(tmp_path, max_body_bytes=400_000, max_receiving_bytes=500_000) as service:
        room = service.app[BODIES]

        async def status(count):
            async with service.session.post(
                service.url + "/v1/logs", data=shared(count), headers=headers
            ) as answer:
                return answer.status

        assert await status(30) == 200
        assert await status(60) == 413, "alone it would not fit either"
        assert room.take(300_000)
        assert await status(30) == 503
        assert room.held == 300_000
        assert await status(10) == 200
        room.give_back(300_000)
        assert room.held == 0
