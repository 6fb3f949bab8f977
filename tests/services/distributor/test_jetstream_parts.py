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
from penstock.services.distributor.jetstream.fleet import SharedFleet
from penstock.services.distributor.jetstream.letters import seqs_in
from penstock.services.distributor.jetstream.node import Record, fleet_figures, name_of, read
from penstock.services.distributor.jetstream.orphans import Orphans, Place
from penstock.services.distributor.jetstream.pull import delivered, origin_of
from penstock.services.distributor.jetstream.spool import consumer_in, id_of
from penstock.services.distributor.jetstream.streams import Streams
from services.distributor.fakes import config_of

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


@pytest.mark.parametrize(
    "line",
    [
        b'["p",1,false,"default",0,0,null,"",' + b"[" * 100_000,
        b'["p",99999999999999999999,false,"default"]\n{}',
        b'["p",1,false,"default",0,99999999999999999999]\n{}',
        b'["p",1,false,"default",-1]\n{}',
    ],
)
def test_what_nobody_can_count_with_or_is_nested_too_deeply_is_no_packet(line):
    with pytest.raises(NoEnvelope, match="no packet of a distributor"):
        opened(line)


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b"[99999999999999999999]", b"[-1]", b"{}"])
def test_what_is_no_list_of_letters_that_have_gone_says_of_none_that_it_has(data):
    assert seqs_in(data) == []
    assert seqs_in(b"[1,2]") == [1, 2]


@pytest.mark.parametrize("data", [b"", b'{"name":"n2","notes":{"x":' + b"[" * 100_000, b'{"name":7}'])
def test_a_record_that_nobody_can_read_is_of_no_node(data):
    assert read(data) is None


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


@pytest.mark.parametrize("front", ["$JS.ACK", "$JS.ACK.domain.account"])
def test_an_origin_is_the_same_however_often_a_message_is_handed_out_and_of_no_other_message(front):
    end = ".random" if front.endswith("account") else ""
    once, again, other, renumbered = (
        origin_of(f"{front}.logs_packets.default+a1.{times}.{seq}.{count}.{at_ns}.{pending}{end}")
        for times, seq, count, at_ns, pending in (
            (1, 345, 400, 17, 7), (2, 345, 401, 17, 3), (1, 346, 402, 17, 2), (1, 345, 1, 18, 0),
        )
    )  # fmt: skip
    assert once == again
    assert len({once, other, renumbered}) == 3


# Packets that nobody is there for


class SpoolOfWords:
    """Notes what is handed back."""

    def __init__(self):
        self.given_back = []

    def give_back(self, seq):
        self.given_back.append(seq)


@pytest.mark.parametrize("failures", [0, 1])
def test_a_packet_that_nobody_is_there_for_is_handed_back_with_its_body(failures):
    spool = SpoolOfWords()
    fleet = SharedFleet(spool, config_of({"a1": 1, "a2": 1}), ManualClock(10**9), figures=dict)
    for analyzer in fleet.members.values():
        analyzer.circuit.override("down")
        fleet.fell(analyzer)
    packet = Stored(-7, "p", 1, 2, b"{}", analyzer="a1", failures=failures)
    if failures:
        fleet.retry_arrived(packet)
    else:
        fleet.arrived(fleet.source("default", "a1"), packet)
    assert spool.given_back == [-7]
    assert packet.body == b"{}"
    assert not fleet.held
    assert not fleet.waiting


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


async def test_a_stream_that_grows_while_a_node_looks_has_lost_nothing():
    class Growing(ScriptedConnection):
        async def request(self, subject, question=None):
            if subject.startswith("CONSUMER.LIST"):  # meanwhile a packet is stored and given out
                self.last_seq += 1
                self.consumers["c1"]["delivered"]["stream_seq"] = self.last_seq
            return await super().request(subject, question)

    connection = Growing(100, {"c1": consumer("c1", 100, 90), "c2": consumer("c2", 99, 90)})
    await Streams(connection, Names("p"), Config()).make()
    assert not [subject for subject in connection.asked if "DELETE" in subject]


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
