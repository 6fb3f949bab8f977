"""The forward protocol: what its messages say, by hand and from real clients; acknowledged when stored."""

import asyncio
import gzip
import hashlib
import ssl
import struct
import time
from contextlib import asynccontextmanager, suppress

import msgspec
import pytest
import trustme
from fluent import sender
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.services.distributor.config import Config
from penstock.services.distributor.inputs import forward_server
from penstock.services.distributor.inputs.forward import BadForward, events_of, records_of
from penstock.services.distributor.inputs.long_text import RecordLengths
from penstock.services.distributor.inputs.streams import StreamInputs
from services.distributor.inputs.arrival import arriving, log_lines
from services.distributor.inputs.stream_intake import ListingIntake, all_arrive

pack = msgspec.msgpack.encode
Ext = msgspec.msgpack.Ext

LENGTHS = RecordLengths(Config())
MOST = 2**20
EVENTS = [[1_700_000_000, {"log": f"line {i}", "level": "warn", "n": i}] for i in range(3)]
PACKED = b"".join(map(pack, EVENTS))
TEXTS = ["line 0", "line 1", "line 2"]


def messages(frame, most=MOST):
    events = events_of(frame, most)
    return [msgspec.json.decode(record) for records in records_of(events, LENGTHS) for record in records]


@pytest.mark.parametrize(
    "frame",
    [
        pack(["app.web", EVENTS]),
        pack(["app.web", EVENTS, {"size": 3, "chunk": "abc"}]),
        pack(["app.web", PACKED]),
        pack(["app.web", PACKED, None]),
        pack(["app.web", gzip.compress(PACKED), {"compressed": "gzip"}]),
        pack(["app.web", b"".join(gzip.compress(pack(each)) for each in EVENTS), {"compressed": "gzip"}]),
        b"\x92\xa7app.web\xdb" + struct.pack(">I", len(PACKED)) + PACKED,  # as a string: from old clients
    ],
    ids=["forward", "options", "packed", "nil", "compressed", "members", "string"],
)
def test_every_mode_gives_the_same_messages(frame):
    assert messages(frame) == [
        {
            "message": f"line {i}",
            "level": "warn",
            "source": "app.web",
            "timestamp": "2023-11-14T22:13:20Z",
            "metadata": {"n": i},
        }
        for i in range(3)
    ]


def test_a_message_of_one_event():
    frame = pack(["app", 1_700_000_000, {"message": "hello", "logger": "db"}, {"chunk": "xyz"}])
    (message,) = messages(frame)
    assert (message["message"], message["source"]) == ("hello", "db")
    assert events_of(frame, MOST).chunk == "xyz"


@pytest.mark.parametrize(
    ("packed", "timestamp"),
    [
        (Ext(0, struct.pack(">II", 1_700_000_000, 123_456_789)), "2023-11-14T22:13:20.123456789Z"),
        (1_700_000_000.5, "2023-11-14T22:13:20.500000000Z"),
        (0, "1970-01-01T00:00:00Z"),
        ([Ext(0, struct.pack(">II", 1, 0)), {}], "1970-01-01T00:00:01Z"),
        (-1, None),
        (2**60, None),
        ("now", None),
        (None, None),
        (Ext(0, b"short"), None),
        (Ext(0, struct.pack(">II", 1, 10**9)), None),
    ],
)
def test_times_of_every_kind(packed, timestamp):
    (message,) = messages(pack(["app", [[packed, {"log": "x"}]]]))
    assert message.get("timestamp") == timestamp


def test_a_record_that_json_does_not_know_is_kept():
    entry = b"\x92\x01\x84\xa3log\xa3a\xe9b\x01\xc0\xc4\x01k\xd4\x05\x07\xc2\xca\x7f\xc0\x00\x00"
    (message,) = messages(pack(["app", entry]))
    assert message["message"] == "a\ufffdb"
    assert message["metadata"] == {"1": None, "k": [5, "Bw=="], "False": None}


def test_binary_data_is_text_where_it_can_be():
    (message,) = messages(pack(["app", [[1, {b"log": "größer".encode(), "raw": b"\xff", "in": [b"x"]}]]]))
    assert message["message"] == "größer"
    assert message["metadata"] == {"raw": "/w==", "in": ["x"]}


def test_a_long_text_comes_in_parts():
    lengths = RecordLengths(Config(max_record_bytes=1000))
    events = events_of(pack(["app", [[1, {"log": "ä" * 2000, "k": "v"}]]]), MOST)
    ((*records,),) = records_of(events, lengths)
    found = [msgspec.json.decode(record) for record in records]
    assert "".join(each["message"] for each in found) == "ä" * 2000
    assert {(each["source"], each["metadata"]["k"]) for each in found} == {("app", "v")}
    assert len(found) == 4


def test_entries_that_are_no_events_are_told_from_those_that_are():
    entries = b"".join(map(pack, [[1, {"log": "a"}], [1], "x", [1, 2], [1, {"log": "b"}]]))
    entries += b"\x92\x01\x82\xa3log\xa1x\x91\x01\x01" + b"\x92\x01"
    found = list(records_of(events_of(pack(["app", entries]), MOST), LENGTHS))
    assert [len(records) for records in found] == [1, 0, 0, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pack("x"), "array"),
        (pack([]), "array of 2 to 4"),
        (pack(["app"]), "array of 2 to 4"),
        (pack(["a", 1, {}, {}, 5]), "array of 2 to 4"),
        (pack([1, []]), "a tag must be a string, got int"),
        (pack(["app", 5]), "must have a record"),
        (pack(["app", [], 5]), "options must be one map"),
        (pack(["app", [], {}, {}]), "options must be one map"),
        (pack(["app", PACKED, {"compressed": "zstd"}]), "compressed must be gzip or text, got 'zstd'"),
        (pack(["app", PACKED, {"compressed": "gzip"}]), "entries must be gzip"),
        (pack(["app", gzip.compress(PACKED)[:-4], {"compressed": "gzip"}]), "whole gzip"),
        (pack(["app", gzip.compress(bytes(MOST + 1)), {"compressed": "gzip"}]), "at most 1048576 bytes"),
        (pack(["app", PACKED, {"chunk": 5}]), "chunk must be a string"),
        (pack(["app", PACKED, {"chunk": "x" * 1025}]), "chunk must be a string"),
    ],
)
def test_what_is_no_message_is_refused_in_words(frame, words):
    with pytest.raises(BadForward, match=words):
        events_of(frame, MOST)


def test_a_heartbeat_has_no_events():
    assert events_of(pack(None), MOST) is None


def test_ids_depend_on_tag_and_chunk_and_on_nothing_else():
    one, two = pack(["app", PACKED, {"chunk": "a"}]), pack(["app", EVENTS, {"chunk": "a"}])
    other, none = pack(["web", PACKED, {"chunk": "a"}]), pack(["app", PACKED])
    ids = [events_of(frame, MOST).ids for frame in (one, two, other, none)]
    assert ids[0] == ids[1] != ids[2]
    assert ids[3] is None


@settings(deadline=None)
@given(st.binary(max_size=100), st.data())
def test_broken_messages_are_refused_or_read(noise, data):
    frame = bytearray(pack(["app", EVENTS, {"chunk": "a", "compressed": "text"}]))
    at = data.draw(st.integers(0, len(frame)))
    frame[at : at + data.draw(st.integers(0, 4))] = noise
    try:
        events = events_of(bytes(frame), MOST)
        if events is not None:
            list(records_of(events, LENGTHS))
    except BadForward:
        pass


# ---- over sockets ----


@asynccontextmanager
async def listening(intake, *, tls=None, **given):
    config = Config(**{"forward": "127.0.0.1:0", "drain_timeout": 5} | given)
    inputs = StreamInputs(config, intake, folder=None, ssl=tls)
    await inputs.start()
    try:
        yield inputs
    finally:
        await inputs.aclose()


def port_of(inputs):
    return int(inputs.addresses()["forward"].rpartition(":")[2])


@asynccontextmanager
async def client_of(inputs, **options):
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(inputs), **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def read(reader):
    async with asyncio.timeout(30):
        try:
            data = await reader.read(10_000)
        except ConnectionError:
            return None
    return msgspec.msgpack.decode(data) if data else None


MANY = 500_000


@pytest.mark.parametrize(
    ("frame", "counted"),
    [(b"\x92\xa1t\xdd" + struct.pack(">I", MANY) + b"\xc0" * MANY, MANY), (b"\xc0" * MANY, 0)],
    ids=["no events", "heartbeats"],
)
async def test_others_have_their_turn_while_nothing_comes_that_is_stored(frame, counted):
    longest = 0.0
    async with listening(ListingIntake()) as inputs, client_of(inputs) as (reader, writer):
        writer.write(frame + pack(["app", 1, {"log": "last"}, {"chunk": "c"}]))
        answer = asyncio.create_task(read(reader))
        while not answer.done():
            started = time.thread_time()  # of this thread's work alone, so a busy machine changes nothing
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - started)
        assert await answer == {"ack": "c"}
        assert inputs.figures()["forward"]["refused"] == counted
    assert longest < 0.08  # of half a second and more


async def test_a_chunk_is_acknowledged_when_it_is_stored_and_not_before():
    intake = ListingIntake()
    intake.is_open.clear()
    async with listening(intake) as inputs, client_of(inputs) as (reader, writer):
        writer.write(pack(["app", EVENTS, {"chunk": "p8n9gmxTQVC8/nh2wlKKeQ=="}]))
        await intake.is_asked(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(1)
        intake.is_open.set()
        assert await read(reader) == {"ack": "p8n9gmxTQVC8/nh2wlKKeQ=="}
    assert intake.texts == TEXTS


async def test_a_chunk_that_is_sent_again_is_acknowledged_again_and_stored_once():
    intake = ListingIntake()
    frame = pack(["app", [[1, {"log": f"line {i}"}] for i in range(2500)], {"chunk": "c"}])
    async with listening(intake) as inputs:
        for _ in range(2):
            async with client_of(inputs) as (reader, writer):
                writer.write(frame)
                assert await read(reader) == {"ack": "c"}
    assert intake.texts == [f"line {i}" for i in range(2500)]
    assert intake.sizes == [1000, 1000, 500] * 2


async def test_a_client_waits_while_nothing_can_be_stored():
    intake = ListingIntake()
    intake.fails_after_storing = 2
    async with listening(intake) as inputs, client_of(inputs) as (reader, writer):
        writer.write(pack(["app", PACKED, {"chunk": "c"}]))
        assert await read(reader) == {"ack": "c"}
    assert intake.texts == TEXTS
    assert len(intake.ids) == 3


async def test_messages_without_chunk_are_stored_together():
    intake = ListingIntake()
    async with listening(intake) as inputs, client_of(inputs) as (_, writer):
        writer.write(b"".join(pack(["app", 1, {"log": f"line {i}"}]) for i in range(300)) + pack(None))
        await intake.has(300)
    assert intake.texts == [f"line {i}" for i in range(300)]
    assert len(intake.ids) < 100


async def test_what_breaks_the_protocol_ends_the_connection_after_what_was_before_it():
    intake = ListingIntake()
    async with listening(intake) as inputs, client_of(inputs) as (reader, writer):
        writer.write(pack(["app", PACKED, {"chunk": "c"}]))
        assert await read(reader) == {"ack": "c"}
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await read(reader) is None
        assert inputs.figures()["forward"]["refused"] == 1
    assert intake.texts == TEXTS


async def test_what_was_received_is_stored_and_acknowledged_before_the_end():
    intake = ListingIntake()
    intake.is_open.clear()
    async with listening(intake) as inputs:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(inputs))
        writer.write(pack(["app", PACKED, {"chunk": "c"}]))
        await intake.is_asked(1)
        asyncio.get_running_loop().call_soon(intake.is_open.set)
    assert await read(reader) == {"ack": "c"}
    writer.close()
    assert intake.texts == TEXTS


async def test_clients_that_begin_messages_and_do_not_end_them_are_bounded():
    begun = b"\x92\xa3app\xc6" + struct.pack(">I", 900_000) + bytes(800_000)
    bounds = {"max_body_bytes": 2**20, "max_receiving_bytes": 2**20}
    async with listening(ListingIntake(), **bounds) as inputs:
        server = inputs._listeners["forward"][0]
        clients = [await asyncio.open_connection("127.0.0.1", port_of(inputs)) for _ in range(4)]
        for _, writer in clients:
            writer.write(begun)
        async with asyncio.timeout(30):
            while inputs.figures()["forward"]["refused"] == 0 and server.held < 2**20:
                await asyncio.sleep(0.01)
        assert server.held <= 2 * 2**20 + forward_server.READ
        for _, writer in clients:
            writer.close()


async def test_a_message_whose_rest_does_not_come_is_given_up():
    intake = ListingIntake()
    async with listening(intake, body_timeout=0.05) as inputs, client_of(inputs) as (reader, writer):
        writer.write(pack(["app", PACKED, {"chunk": "c"}]) + b"\x92\xa3app")
        assert await read(reader) == {"ack": "c"}
        assert await read(reader) is None
        assert inputs._listeners["forward"][0].held == 0
    assert intake.texts == TEXTS


async def test_a_message_of_which_a_byte_comes_now_and_then_is_given_up_all_the_same():
    async with listening(ListingIntake(), body_timeout=0.5) as inputs, client_of(inputs) as (reader, writer):
        writer.write(b"\x92\xa3app\xc6" + struct.pack(">I", 900_000))
        ended = asyncio.ensure_future(read(reader))
        async with asyncio.timeout(30):
            while not ended.done():
                writer.write(b"x")
                await asyncio.wait([ended], timeout=0.02)
        assert await ended is None
        assert inputs._listeners["forward"][0].held == 0


async def test_a_client_that_says_nothing_may_stay():
    intake = ListingIntake()
    async with listening(intake, body_timeout=0.01) as inputs, client_of(inputs) as (reader, writer):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        writer.write(pack(["app", PACKED, {"chunk": "c"}]))
        assert await read(reader) == {"ack": "c"}


# ---- the handshake ----


def ping(hello, key, hostname="client.example"):
    nonce, salt = hello[1]["nonce"], b"\xff" * 16  # no UTF-8: Fluent Bit's is random, in a string
    digest = hashlib.sha512(salt + hostname.encode() + nonce + key).hexdigest()
    head = b"\x96" + pack("PING") + pack(hostname) + b"\xd9" + bytes([len(salt)]) + salt
    return head + pack(digest) + pack("") + pack(""), salt, nonce


async def test_a_client_that_knows_the_key_is_let_in_and_shown_that_the_server_does_too():
    intake = ListingIntake()
    async with (
        listening(intake, forward_shared_key="secret") as inputs,
        client_of(inputs) as (reader, writer),
    ):
        hello = await read(reader)
        assert hello[0] == "HELO"
        said, salt, nonce = ping(hello, b"secret")
        writer.write(said)
        kind, success, reason, hostname, digest = await read(reader)
        assert (kind, success, reason) == ("PONG", True, "")
        assert digest == hashlib.sha512(salt + hostname.encode() + nonce + b"secret").hexdigest()
        writer.write(pack(["app", PACKED, {"chunk": "c"}]))
        assert await read(reader) == {"ack": "c"}
    assert intake.texts == TEXTS


async def test_a_client_that_does_not_know_the_key_is_refused():
    intake = ListingIntake()
    async with (
        listening(intake, forward_shared_key="secret") as inputs,
        client_of(inputs) as (reader, writer),
    ):
        said, _, _ = ping(await read(reader), b"guess")
        writer.write(said)
        kind, success, reason, _, digest = await read(reader)
        assert (kind, success, reason, digest) == ("PONG", False, "shared_key mismatch", "")
        assert await read(reader) is None
    assert intake.messages == []


@pytest.mark.parametrize(
    "said", [pack(["app", PACKED]), pack(["PING"]), pack(["PING", 1, 2, 3, 4, 5]), b"\xc1"]
)
async def test_nothing_but_a_ping_is_taken_before_a_client_is_let_in(said):
    intake = ListingIntake()
    async with (
        listening(intake, forward_shared_key="secret") as inputs,
        client_of(inputs) as (reader, writer),
    ):
        await read(reader)
        writer.write(said)
        assert await read(reader) is None
    assert intake.messages == []


async def test_forward_over_tls():
    authority = trustme.CA()
    server, trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(trust)
    intake = ListingIntake()
    async with (
        listening(intake, tls=server) as inputs,
        client_of(inputs, ssl=trust, server_hostname="localhost") as (reader, writer),
    ):
        writer.write(pack(["app", PACKED, {"chunk": "c"}]))
        assert await read(reader) == {"ack": "c"}
    assert intake.texts == TEXTS


# ---- real clients ----


def send_with_fluent_logger(port, lines):
    client = sender.FluentSender("app", host="127.0.0.1", port=port, nanosecond_precision=True)
    try:
        for line in lines:
            assert client.emit("web", {"message": line, "level": "error", "from": {"k": 1}}), (
                client.last_error
            )
    finally:
        client.close()


async def test_what_fluent_logger_sends_arrives_once_and_unchanged(tmp_path):
    lines = log_lines()
    started = time.time()
    async with arriving(tmp_path) as arrival, listening(arrival.distributor) as inputs:
        await arrival.sent_by(send_with_fluent_logger, port_of(inputs), lines)
        await all_arrive(arrival, lines)
    assert {message.level for message in arrival.messages} == {"error"}
    assert {message.source for message in arrival.messages} == {"app.web"}
    assert {str(message.metadata) for message in arrival.messages} == {"{'from': {'k': 1}}"}
    assert all(
        message.timestamp >= time.strftime("%Y-%m-%dT%H:%M", time.gmtime(started))
        for message in arrival.messages
    )
