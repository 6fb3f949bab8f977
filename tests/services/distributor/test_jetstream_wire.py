"""What travels between a node and NATS is read and framed as nats-py does it, however it comes in pieces."""

import asyncio
from contextlib import suppress
from itertools import pairwise

import nats
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error, OutboundBufferLimitError, ProtocolError
from nats.protocol.parser import Parser

from nats_server import NatsServer
from penstock.services.distributor.jetstream.address import parse_address
from penstock.services.distributor.jetstream.connection import Connection, Outgoing
from penstock.services.distributor.jetstream.message import Message, framed, headers_size
from penstock.services.distributor.jetstream.spool import require_nats
from penstock.services.distributor.jetstream.wire import Wire, WireParser, require_known
from penstock.services.distributor.spool import SpoolError
from services.distributor.jetstream_nodes import Cable, until

OURS = 7  # the subscription that has a taker


class Told:
    """Stands for nats-py's client: notes what its parser says."""

    def __init__(self):
        self.said = []

    async def _process_msg(self, sid, subject, reply, data, headers):
        self.said.append((sid, subject.decode(), reply.decode(), data, headers or b""))

    def taken(self, message):
        self.said.append((OURS, message.subject, message.reply, message.data, message.headers))

    async def _process_ping(self):
        self.said.append("ping")

    async def _process_pong(self):
        self.said.append("pong")

    async def _process_err(self, words):
        self.said.append(words)

    async def _error_cb(self, error):
        self.said.append(str(error))

    async def _process_info(self, info):
        self.said.append(info)


WORDS = st.from_regex(r"[!-~]{1,12}", fullmatch=True)
PAYLOADS = st.binary(max_size=40) | st.sampled_from([b"MSG a 1 2\r\n", b"\r\n\r\n", b"PING\r\n"])


@st.composite
def frames(draw):
    """What a server may say."""
    kind = draw(st.sampled_from(["msg", "hmsg", "other"]))
    if kind == "other":
        return draw(
            st.sampled_from(
                [
                    b"PING\r\n",
                    b"PONG\r\n",
                    b"+OK\r\n",
                    b"-ERR 'Permissions Violation'\r\n",
                    b'INFO {"a": 1}\r\n',
                ]
            )
        )
    words = [draw(WORDS), str(draw(st.sampled_from([1, OURS])))]
    if draw(st.booleans()):
        words.append(draw(WORDS))
    payload = draw(PAYLOADS)
    if kind == "msg":
        return f"MSG {' '.join(words)} {len(payload)}\r\n".encode() + payload + b"\r\n"
    headers = b"NATS/1.0" + draw(st.sampled_from([b" 404 No Messages", b"\r\nNats-Msg-Id: x"])) + b"\r\n\r\n"
    sizes = f"{len(headers)} {len(headers) + len(payload)}"
    return f"HMSG {' '.join(words)} {sizes}\r\n".encode() + headers + payload + b"\r\n"


def said_by(parser, told, pieces):
    """What a parser says; nothing of it waits, so that it needs no event loop."""
    for piece in pieces:
        with pytest.raises(StopIteration):
            parser.parse(piece).send(None)
    return told.said


@given(st.lists(frames(), max_size=8), st.lists(st.integers(0, 400), max_size=12))
def test_messages_are_read_as_nats_py_reads_them_however_they_come_in_pieces(said, cuts):
    stream = b"".join(said)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[begin:end] for begin, end in pairwise(places)]
    theirs, ours = Told(), Told()
    expected = said_by(Parser(theirs), theirs, [stream])
    assert said_by(WireParser(ours, {OURS: ours.taken}), ours, pieces) == expected


@given(
    st.lists(
        st.sampled_from([b"MSG ", b"HMSG ", b"a ", b"7 ", b"-1", b"9" * 30, b"\r\n", b"\xff"]), max_size=9
    )
)
def test_whatever_comes_is_read_refused_or_waited_for(pieces):
    told = Told()
    with suppress(ProtocolError):
        said_by(WireParser(told, {OURS: told.taken}), told, pieces)
    assert len(told.said) <= len(pieces)


@pytest.mark.parametrize(
    "said",
    [
        b"MSG\r\n",
        b"MSG a b 1\r\n",
        b"HMSG a 7 9 3\r\n",
        b"MSG a 7 99999999999\r\n",
        b"x" * 70_000,
        b"what\r\n",
    ],
)
async def test_what_is_no_nats_is_refused(said):
    with pytest.raises(ProtocolError):
        await WireParser(Told(), {}).parse(said)


async def test_what_is_left_of_a_connection_is_nothing_to_the_next():
    told = Told()
    parser = WireParser(told, {OURS: told.taken})

    async def went_away():
        parser.reset()

    told._process_ping = went_away
    await parser.parse(b"PING\r\nMSG a 7 5\r\nhe")
    del told._process_ping
    await parser.parse(b"MSG b 7 2\r\nhi\r\nMSG c 7 9\r\n")
    parser.reset()
    await parser.parse(b"PING\r\n")
    assert told.said == [(OURS, "b", "", b"hi", b""), "ping"]


async def test_an_error_that_ends_a_connection_is_told_and_a_refused_subject_ends_none():
    told = Told()
    parser = WireParser(told, {OURS: told.taken})
    await parser.parse(b"-ERR 'Permissions Violation for Publish to \"x\"'\r\nMSG a 7 2\r\nhi\r\n")
    assert told.said[1:] == [(OURS, "a", "", b"hi", b"")]
    with pytest.raises(ProtocolError):
        await parser.parse(b"-ERR 'Maximum Payload Violation'\r\nMSG a 7 2\r\nhi\r\n")
    assert told.said[2:] == ["nats: Maximum Payload Violation"]


async def test_a_message_that_cannot_be_taken_keeps_no_other_from_being_taken():
    taken = []

    def take(message):
        if message.data == b"bad":
            raise KeyError("no reason at all")
        taken.append(message.data)

    await WireParser(Told(), {OURS: take}).parse(b"MSG a 7 3\r\nbad\r\nMSG a 7 4\r\ngood\r\n")
    assert taken == [b"good"]


async def test_a_subject_that_is_no_text_ends_no_connection():
    told = Told()
    await WireParser(told, {OURS: told.taken}).parse(b"MSG a.\xff 7 \xfe 2\r\nhi\r\n")
    assert told.said == [(OURS, "a.\ufffd", "\ufffd", b"hi", b"")]


@pytest.mark.parametrize(
    ("headers", "status", "description"),
    [
        (b"", "", ""),
        (b"NATS/1.0 404 No Messages\r\n\r\n", "404", "No Messages"),
        (b"NATS/1.0 503\r\n\r\n", "503", ""),
        (b"NATS/1.0\r\nNats-Msg-Id: 404 x\r\n\r\n", "", ""),
        (b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\n\r\n", "100", "Idle Heartbeat"),
    ],
)
def test_a_message_tells_what_the_server_says_instead_of_one(headers, status, description):
    message = Message("s", "", b"", headers)
    assert (message.status, message.description) == (status, description)


def test_a_frame_is_as_the_protocol_has_it():
    assert b"".join(framed("a.b", b"hi")) == b"PUB a.b 2\r\nhi\r\n"
    assert b"".join(framed("a.b", b"", "r")) == b"PUB a.b r 0\r\n\r\n"
    assert (
        b"".join(framed("a.b", b"hi", "r", "Nats-Msg-Id: 7\r\n"))
        == b"HPUB a.b r 28 30\r\nNATS/1.0\r\nNats-Msg-Id: 7\r\n\r\nhi\r\n"
    )


@pytest.mark.parametrize("headers", ["", "A: b\r\n", "A: b\r\nC: d\r\n"])
def test_the_size_of_headers_is_the_one_that_a_server_counts(headers):
    control, payload, _ = framed("a", b"hi", headers=headers)
    line, _, rest = control.partition(b"\r\n")
    assert headers_size(headers) == len(rest)
    assert int(line.split()[-1]) == len(rest) + len(payload)


# Of nats-py


def test_nats_py_has_what_this_goes_through():
    require_known()


def parse_by_another_name(self, data, more):
    raise NotImplementedError


@pytest.mark.parametrize(
    ("of", "name", "other"),
    [
        (Client, "_process_msg", None),
        (Client, "_process_msg", lambda self, message: None),
        (Client, "_send_command", None),
        (Client, "_flush_pending", lambda self: None),
        (Parser, "parse", parse_by_another_name),
    ],
)
def test_a_nats_py_without_it_is_refused_at_the_start_with_the_version_and_what_is_missing(
    monkeypatch, of, name, other
):
    monkeypatch.setattr(of, name, other)
    with pytest.raises(SpoolError, match=rf"needs another nats-py: nats-py \d[.\d]* .*no {name} as expected"):
        require_nats()


def test_a_nats_py_whose_client_or_subscription_is_another_inside_is_refused(monkeypatch):
    class Other(Client):
        def __init__(self):
            super().__init__()
            self._ps = None
            self._pending = None

    class OtherSubscription(Subscription):
        def __init__(self, client, number):
            pass

    monkeypatch.setattr("penstock.services.distributor.jetstream.wire.Client", Other)
    monkeypatch.setattr("penstock.services.distributor.jetstream.wire.Subscription", OtherSubscription)
    with pytest.raises(Error, match=r"no parse, _ps, _pending, Subscription\._id as expected"):
        require_known()


# With a server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


class Stream:
    """A connection to a server that has a stream of this name."""

    def __init__(self, url, name, max_msg_size=2000):
        self.name = name
        self._max_msg_size = max_msg_size
        self.connection = Connection(parse_address(url), "test", self._make)

    async def _make(self):
        wanted = {"name": self.name, "subjects": [f"{self.name}.*"], "max_msg_size": self._max_msg_size}
        await self.connection.request(f"STREAM.CREATE.{self.name}", wanted)

    async def __aenter__(self):
        assert await self.connection.start(20)
        return self

    async def __aexit__(self, *error):
        await self.connection.aclose()


@pytest.mark.engine
async def test_each_of_many_messages_has_its_own_answer(server):
    async with Stream(server.url, "many") as stream:
        messages = [Outgoing("many.a", b"%d" % number, f"id/{number % 900}") for number in range(1200)]
        messages[3] = Outgoing("many.a", b"x" * 2001)  # more than the stream takes
        messages[5] = Outgoing("nobody.a", b"")
        messages[7] = Outgoing("many.a", b"x" * (stream.connection.max_payload + 1))
        acks = await stream.connection.publish(messages)
        assert acks[7] is None
        assert not acks[3].is_stored
        assert acks[5].error.description == "there is no such stream"
        kept = [ack for place, ack in enumerate(acks) if place not in (3, 5, 7)]
        assert all(ack.is_stored for ack in kept)
        assert [ack.duplicate for ack in acks[900:]] == [place not in (3, 5, 7) for place in range(300)]
        first_time = [ack.seq for ack in kept if not ack.duplicate]
        assert first_time == [*range(1, len(first_time) + 1)]


@pytest.mark.engine
async def test_a_message_is_stored_after_the_one_that_it_names_only(server):
    async with Stream(server.url, "after") as stream:
        publish = stream.connection.publish
        [first] = await publish([Outgoing("after.a", b"", after=0)])
        assert first.is_stored
        [late, second] = await publish(
            [Outgoing("after.a", b"", after=0), Outgoing("after.a", b"", after=first.seq)]
        )
        assert late.error.err_code == 10071
        assert second.is_stored


@pytest.mark.engine
async def test_answers_that_a_connection_took_with_it_are_not_waited_for(server):
    async with Cable(server.port) as cable, Stream(f"nats://127.0.0.1:{cable.port}", "cut") as stream:
        server.freeze()
        try:
            publishing = asyncio.create_task(stream.connection.publish([Outgoing("cut.a", b"x")] * 3))
            await until(lambda: stream.connection._waiting)
            cable.cut()
            assert await publishing == [None] * 3
            assert not stream.connection._waiting
        finally:
            server.thaw()


@pytest.mark.engine
async def test_what_had_not_gone_out_when_a_connection_went_is_not_sent_by_the_next(server):
    async with Cable(server.port) as cable, Stream(f"nats://127.0.0.1:{cable.port}", "late", -1) as stream:
        connection = stream.connection
        server.freeze()
        try:
            large = [Outgoing("late.large", b"x" * 900_000)] * 60  # more than is under way by itself
            publishing = asyncio.create_task(connection.publish(large))
            await until(lambda: connection._client.pending_data_size > 2**24)
            cable.cut()
            assert (await publishing)[-1] is None
            await until(lambda: not connection._client.pending_data_size)
        finally:
            server.thaw()
        await cable.mend()
        await until(lambda: connection.is_ready)
        [ack] = await connection.publish([Outgoing("late.next", b"x")])
        assert ack.is_stored


@pytest.mark.engine
@pytest.mark.parametrize("error", [b"Authorization Violation", b"User Authentication Expired"])
async def test_a_connection_that_a_server_ends_with_an_error_is_sought_again_and_takes_what_comes(
    server, error
):
    name = error.decode().split()[-1]
    async with Cable(server.port) as cable, Stream(f"nats://127.0.0.1:{cable.port}", name) as stream:
        ready, taken = [], []
        stream.connection.on_ready.append(lambda: ready.append(stream.connection.is_ready))
        await stream.connection.subscribe(f"to.{name}", taken.append)
        cable.say(b"-ERR '%s'\r\n" % error)
        await until(lambda: ready)
        [ack] = await stream.connection.publish([Outgoing(f"{name}.a", b"x")])
        assert ack.is_stored
        await stream.connection.send(f"to.{name}", b"hi")
        await until(lambda: taken)


@pytest.mark.engine
async def test_the_largest_message_is_stored_and_a_larger_one_ends_no_connection(server):
    async with Stream(server.url, "large", max_msg_size=-1) as stream:
        room = stream.connection.max_payload - headers_size("Nats-Msg-Id: 1\r\n")
        messages = [Outgoing("large.a", b"x" * (room + more), str(more)) for more in (0, 1)]
        largest, too_large = await stream.connection.publish(messages)
        assert largest.is_stored
        assert too_large is None
        [ack] = await stream.connection.publish([Outgoing("large.a", b"x")])
        assert ack.is_stored


@pytest.mark.engine
async def test_a_publisher_that_is_cancelled_leaves_nothing_behind_and_no_half_message(server):
    async with Stream(server.url, "cancelled") as stream:
        for turns in range(12):
            messages = [Outgoing("cancelled.a", b"x" * 900)] * 1200
            publishing = asyncio.create_task(stream.connection.publish(messages))
            for _ in range(turns):
                await asyncio.sleep(0)
            publishing.cancel()
            with suppress(asyncio.CancelledError):
                await publishing
            assert not stream.connection._waiting
        [ack] = await stream.connection.publish([Outgoing("cancelled.a", b"y")])
        assert ack.is_stored


@pytest.mark.engine
async def test_a_nats_py_that_reads_by_another_parser_is_said_to_be_unknown(server):
    client = Wire()
    client._ps = Parser(client)
    try:
        with pytest.raises(Error, match="reads by another parser"):
            await client.connect(server.url)
    finally:
        await client.close()


@pytest.mark.engine
async def test_subscriptions_of_others_are_nats_pys(server):
    client = Wire()
    await client.connect(server.url)
    try:
        taken = []
        theirs, ours = await client.subscribe("theirs"), await client.take("ours", taken.append)
        await client.write([*framed("theirs", b"1"), *framed("ours", b"2", "back"), *framed("ours", b"3")])
        assert (await theirs.next_msg(20)).data == b"1"
        await until(lambda: len(taken) == 2)
        assert taken == [Message("ours", "back", b"2"), Message("ours", "", b"3")]
        await client.leave(ours)
        await client.write([*framed("ours", b"4"), *framed("theirs", b"5")])
        assert (await theirs.next_msg(20)).data == b"5"
        assert len(taken) == 2
    finally:
        await client.close()
    with pytest.raises(OutboundBufferLimitError):
        await client.write(framed("ours", b""))


@pytest.mark.engine
async def test_what_nats_py_publishes_is_taken_as_it_is(server):
    client, other, taken = Wire(), await nats.connect(server.url), []
    await client.connect(server.url)
    try:
        await client.take("ours.>", taken.append)
        await client.write(framed("ours.first", b""))  # goes behind the subscription, as no flush() does
        await until(lambda: taken)
        taken.clear()
        await other.publish("ours.x", b"y" * 500_000, "back", {"A": "b"})
        await until(lambda: taken)
        assert (taken[0].subject, taken[0].reply, taken[0].data) == ("ours.x", "back", b"y" * 500_000)
        assert taken[0].headers == b"NATS/1.0\r\nA: b\r\n\r\n"
    finally:
        await client.close()
        await other.close()
