"""What a shared spool is made of, without a server: addresses, names, messages and sums."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import ManualClock
from penstock.services.distributor.change import DeadLetter, Retry, Stored
from penstock.services.distributor.config import Config
from penstock.services.distributor.jetstream.address import Names, parse_address
from penstock.services.distributor.jetstream.envelope import (
    NoEnvelope,
    letter_of,
    opened,
    packet_in,
    packet_of,
    retry_of,
)
from penstock.services.distributor.jetstream.node import Record, fleet_figures, name_of
from penstock.services.distributor.jetstream.orphans import Orphans, Place
from penstock.services.distributor.jetstream.pull import delivered
from penstock.services.distributor.jetstream.spool import consumer_in, id_of
from penstock.services.distributor.jetstream.streams import Streams

NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=50)


# Addresses and names


def test_an_address_names_its_servers_and_its_prefix():
    assert parse_address("nats://10.0.0.1:4222") == (("nats://10.0.0.1:4222",), "penstock")
    assert parse_address("nats://a:4222,b:4222/logs") == (("nats://a:4222", "nats://b:4222"), "logs")
    assert parse_address("tls://a/logs_2-x/") == (("tls://a",), "logs_2-x")


def test_an_address_is_shown_without_its_password():
    address = parse_address("nats://user:secret@a:4222,b:4222/logs")
    assert address.public == "nats://a:4222,nats://b:4222"


@pytest.mark.parametrize(
    "text",
    [
        "nats",
        "nats://",
        "http://a:4222",
        "nats:///logs",
        "nats://a:x",
        "nats://a:70000",
        "nats://a,,b",
        "a:4222",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="spool must be nats://HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("prefix", ["a.b", "a b", "*", "a/b", "x" * 33, "\u00e9"])
def test_a_prefix_that_would_not_be_one_word_of_a_subject_is_refused(prefix):
    with pytest.raises(ValueError, match="the prefix of spool must be"):
        parse_address(f"nats://a:4222/{prefix}")


def test_the_settings_refuse_what_is_no_address():
    with pytest.raises(ValueError, match="spool must be"):
        Config(spool="redis://a")


@given(NAMES, NAMES | st.none())
def test_a_subject_tells_whose_it_is(group, owner):
    names = Names("p")
    assert names.owner_of(names.packets_of(group, owner)) == (group, owner)
    assert names.packets_of(group, owner).count(".") == 3


@given(NAMES, NAMES | st.none(), NAMES, NAMES | st.none())
def test_no_two_analyzers_have_one_consumer(group, owner, other_group, other_owner):
    same = (group, owner) == (other_group, other_owner)
    assert (Names.consumer_of(group, owner) == Names.consumer_of(other_group, other_owner)) == same


def test_a_node_is_called_by_its_folder_when_it_has_no_name(tmp_path):
    one, other = (name_of(Config(data_dir=str(tmp_path / name))) for name in ("one", "other"))
    assert one != other
    assert name_of(Config(data_dir=str(tmp_path / "one"))) == one
    assert name_of(Config(node="mine")) == "mine"


# Messages


PACKETS = st.builds(
    Stored,
    st.integers(-(2**40), 2**40),
    TEXTS,
    st.integers(1, 1000),
    st.just(2),
    st.just(b"{}"),
    id_is_clients=st.booleans(),
    group=NAMES,
    analyzer=NAMES | st.none(),
    failures=st.integers(0, 99),
)


@given(PACKETS, NAMES, st.integers(0, 2**50), TEXTS)
def test_a_packet_comes_back_as_it_was(packet, analyzer, due_ms, error):
    back = packet_in(packet_of(packet), 7)
    assert (back.seq, back.id, back.messages, back.body) == (7, packet.id, packet.messages, packet.body)
    assert (back.id_is_clients, back.group, back.failures) == (packet.id_is_clients, packet.group, 0)

    again = packet_in(retry_of(Retry(packet, analyzer, due_ms, error)), 8)
    assert (again.failures, again.due_ms, again.analyzer) == (packet.failures + 1, due_ms, analyzer)

    envelope, body = opened(letter_of(DeadLetter(packet, error, due_ms)))
    assert (envelope.error, envelope.at_ms, envelope.failures) == (error, due_ms, packet.failures + 1)
    assert body == packet.body


@given(st.binary(max_size=60).filter(lambda data: not data.startswith(b"[")))
def test_any_other_bytes_are_no_packet(data):
    with pytest.raises(NoEnvelope, match="no packet of a distributor"):
        packet_in(data, 1)


@given(TEXTS, TEXTS)
def test_ids_that_differ_differ_in_headers_too(one, other):
    assert (id_of(one) == id_of(other)) == (one == other)
    assert id_of(one).isascii()
    assert id_of(one).isprintable()


@pytest.mark.parametrize("place", ["logs_packets", "domain.account.logs_packets"])
def test_a_reply_subject_tells_the_place_in_the_stream(place):
    end = ".random" if place.startswith("domain") else ""
    reply = f"$JS.ACK.{place}.default+a1.2.345.400.1700000000000000000.7{end}"
    assert delivered(reply) == ("logs_packets", 345, 2, 1_700_000_000_000)
    assert consumer_in(reply) == f"$JS.ACK.{place}.default+a1"


# Sums


def test_the_fleet_adds_up_what_its_nodes_have_counted():
    nodes = {
        "n1": Record("n1", {"accepted": 5, "delivered": 1}),
        "n2": Record("n2", {"accepted": 7, "delivered": 4, "dead": 1}, held=3, started_ms=1000, at_ms=9000),
    }
    figures = fleet_figures(nodes, "n1", Counter(accepted=6, delivered=2), held=1, pending=6, now_ms=10_000)
    assert (figures["accepted"], figures["delivered"], figures["dead"]) == (13, 6, 1)
    assert figures["conservation_error"] == 0
    assert figures["nodes"]["n2"] == {
        "seen_seconds_ago": 1.0,
        "accepted": 7,
        "delivered": 4,
        "dead": 1,
        "pending": 3,
        "uptime_seconds": 8.0,
        "stopped": False,
    }
    assert msgspec.json.encode(figures)


# After a crash of the server


class ScriptedConnection:
    """Answers as a server would that holds one stream of packets, with these consumers."""

    def __init__(self, last_seq, consumers):
        self.last_seq = last_seq
        self.consumers = consumers
        self.asked = []

    async def request(self, subject, question=None):
        self.asked.append(subject)
        if subject.startswith("STREAM.INFO"):
            return msgspec.json.encode({"state": {"last_seq": self.last_seq, "subjects": {"s": 3}}})
        if subject == "CONSUMER.LIST.p_packets":
            found = list(self.consumers.values())[question["offset"] :][:1]  # a page holds one here
            return msgspec.json.encode({"total": len(self.consumers), "consumers": found})
        if subject.startswith("CONSUMER.INFO"):
            return msgspec.json.encode(self.consumers[subject.rpartition(".")[2]])
        return b"{}"


def consumer(name, delivered_, floor, pending=0, ack_pending=0):
    return {
        "name": name,
        "delivered": {"stream_seq": delivered_},
        "ack_floor": {"stream_seq": floor},
        "num_pending": pending,
        "num_ack_pending": ack_pending,
    }


async def test_consumers_that_are_ahead_of_a_stream_which_lost_its_end_begin_anew():
    consumers = {"c1": consumer("c1", 100, 90), "c2": consumer("c2", 101, 90), "c3": consumer("c3", 7, 7)}
    connection = ScriptedConnection(100, consumers)
    await Streams(connection, Names("p"), Config()).make()
    assert [subject for subject in connection.asked if "DELETE" in subject] == [
        "CONSUMER.DELETE.p_packets.c2"
    ]


@pytest.mark.parametrize(("is_first", "renewed"), [(True, ["c"]), (False, [])])
async def test_messages_that_no_consumer_gives_out_are_deleted_or_given_out_anew(is_first, renewed):
    place = Place("p_packets", "c", "s")
    connection = ScriptedConnection(100, {"c": consumer("c", 100, 40, ack_pending=1)})
    clock, made_anew = ManualClock(10**12), []

    async def make_anew(what):
        made_anew.append(what.consumer)

    streams = Streams(connection, Names("p"), Config())
    orphans = Orphans(streams, 30, lambda: is_first, make_anew, clock)
    for _ in range(40):
        clock.advance(2)
        await orphans.look({place: 3})
    assert "STREAM.PURGE.p_packets" in connection.asked
    assert made_anew[:1] == renewed


async def test_messages_on_their_way_are_no_orphans():
    place = Place("p_packets", "c", "s")
    connection = ScriptedConnection(100, {"c": consumer("c", 100, 40, pending=1, ack_pending=2)})
    clock = ManualClock(10**12)
    orphans = Orphans(Streams(connection, Names("p"), Config()), 30, lambda: True, None, clock)
    for _ in range(40):
        clock.advance(2)
        await orphans.look({place: 3})
    assert "STREAM.PURGE.p_packets" not in connection.asked
