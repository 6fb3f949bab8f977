"""Records of inputs other than the REST API: what one is, and how they are bundled into packets."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.services.distributor.config import Config, GroupConfig, Match
from penstock.services.distributor.packet_scan import PacketReader
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import InvalidRecord, RecordBundler, record
from penstock.services.distributor.router import Router

LIMITS = Config(max_messages=4, max_packet_bytes=400, max_record_bytes=60)
GROUPS = (
    GroupConfig("errors", match=Match(min_level="ERROR")),
    GroupConfig("web", match=Match(source=("web*",)), balance="sticky"),
)


def bundler(config=LIMITS, groups=()):
    return RecordBundler(config, Router(groups))


def messages_of(packet):
    return json.loads(packet.body)["messages"]


def texts_of(packet):
    return [message["message"] for message in messages_of(packet)]


def records_of(*texts, **more):
    return [record(Message(text, **more)) for text in texts]


# What a record is


def test_record_is_one_line_of_compact_json():
    metadata = msgspec.Raw(b'{"a" :\n [1, 2],\t"b": "c d"}')
    assert record(Message("x\ny", level="WARN", source="s", metadata=metadata)) == (
        rb'{"message":"x\ny","level":"WARN","source":"s","metadata":{"a":[1,2],"b":"c d"}}'
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"message": ""}, "length >= 1 - at `$.message`"),
        ({"message": "\ud800"}, "surrogates not allowed"),
        ({"level": ""}, "`$.level`"),
        ({"level": "x" * 33}, "`$.level`"),
        ({"source": "x" * 257}, "`$.source`"),
        ({"id": ""}, "`$.id`"),
        ({"timestamp": "yesterday"}, "a time as in RFC 3339"),
        ({"metadata": msgspec.Raw(b"[]")}, "metadata must be an object"),
        ({"metadata": msgspec.Raw(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}")}, "at most 64 levels"),
        ({"metadata": msgspec.Raw(b'{"a":\xff}')}, "can't decode"),
        ({"metadata": msgspec.Raw(b'{"a":}')}, "malformed"),
    ],
)
def test_message_that_breaks_a_rule_is_no_record(fields, words):
    with pytest.raises(InvalidRecord) as refused:
        record(Message(**{"message": "x"} | fields))
    assert words in str(refused.value)
    assert isinstance(refused.value, PenstockError)
    assert isinstance(refused.value, ValueError)


@given(
    st.builds(
        Message,
        message=st.text(min_size=1, max_size=20),
        level=st.text(min_size=1, max_size=8),
        source=st.text(max_size=8),
        metadata=st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5) | st.integers()).map(
            lambda members: msgspec.Raw(json.dumps(members, indent=1).encode())
        ),
    )
)
def test_what_is_a_record_would_be_taken_from_the_rest_api_unchanged(message):
    one = record(message)
    packets, _, refused = PacketReader(Config()).read(b'[{"messages":[%s],"id":"p"}]' % one)
    assert refused == []
    assert packets[0].body == b'{"messages":[%s],"id":"p"}' % one


# How they are bundled


def test_records_share_packets_in_their_order_as_far_as_messages_go():
    packets, refused = bundler().bundle(records_of(*"abcdefghi"))
    assert refused == []
    assert [texts_of(packet) for packet in packets] == [list("abcd"), list("efgh"), ["i"]]
    assert [packet.messages for packet in packets] == [4, 4, 1]


def test_records_share_packets_as_far_as_bytes_go():
    packets, _ = bundler(Config(max_packet_bytes=200)).bundle(records_of(*["x" * 30] * 7))
    assert [packet.messages for packet in packets] == [2, 2, 2, 1]
    assert all(packet.size == len(packet.body) <= 200 for packet in packets)


def test_packet_of_records_says_what_it_is():
    [packet], _ = bundler().bundle(records_of("x"), "chunk")
    assert packet.body == b'{"messages":[{"message":"x","level":"INFO","source":""}],"id":"chunk.0"}'
    assert (packet.id, packet.id_is_clients, packet.group, packet.key) == ("chunk.0", True, "default", None)


def test_no_records_make_no_packets():
    assert bundler().bundle([]) == ([], [])
    assert bundler(groups=GROUPS).bundle([]) == ([], [])


def test_same_records_make_the_same_packets_again():
    records = records_of(*"abcdefghi") + records_of(*"jkl", level="ERROR")
    first, again = (bundler(groups=GROUPS).bundle(records, "chunk").packets for _ in range(2))
    assert [(one.id, one.group, one.body) for one in first] == [
        (one.id, one.group, one.body) for one in again
    ]
    assert [one.id for one in first] == ["chunk.0", "chunk.1", "chunk.2", "chunk.3"]


@pytest.mark.parametrize("ids", ["", "x" * 101, "\n", "\ud800", "\0"])
def test_ids_that_make_no_good_ids_are_replaced_by_their_hash(ids):
    (first,), _ = bundler().bundle(records_of("x"), ids)
    (again,), _ = bundler().bundle(records_of("x"), ids)
    assert first.id == again.id == json.loads(first.body)["id"]
    assert len(first.id) == 66
    assert first.id_is_clients


@pytest.mark.parametrize("ids", ['q"\\', "é", "x" * 100])
def test_ids_may_be_any_short_text(ids):
    (one,), _ = bundler().bundle(records_of("x"), ids)
    assert one.id == f"{ids}.0" == json.loads(one.body)["id"]


def test_own_ids_differ_between_bundles_and_bundlers():
    shared = bundler()
    made = [one.id for each in (shared, shared, bundler()) for one in each.bundle(records_of("x")).packets]
    assert len(set(made)) == 3
    assert not shared.bundle(records_of("x")).packets[0].id_is_clients


def test_record_that_is_too_long_is_refused_by_its_place_and_the_others_are_not():
    packets, refused = bundler().bundle(records_of("x" * 61, "y", "é" * 30 + "z", "z"))
    assert [(one.index, one.code) for one in refused] == [(0, "too_large"), (2, "too_large")]
    assert [one.error for one in refused] == ["message must be at most 60 bytes, got 61"] * 2
    assert [texts_of(packet) for packet in packets] == [["y", "z"]]


def test_text_of_a_record_may_be_as_long_as_the_limit():
    texts = ["x" * 60, "\n" * 60, "é" * 30]
    packets, refused = bundler().bundle(records_of(*texts))
    assert refused == []
    assert [text for packet in packets for text in texts_of(packet)] == texts


def test_record_that_fits_into_no_packet_is_refused():
    big = record(Message("x", metadata=msgspec.Raw(b'{"a":"%s"}' % (b"y" * 400))))
    packets, [refused] = bundler().bundle([*records_of("a"), big])
    assert refused.index == 1
    assert refused.code == "too_large"
    assert refused.error.startswith("a record must be at most 3")
    assert [texts_of(packet) for packet in packets] == [["a"]]


def test_each_record_goes_to_the_group_of_its_own_level_and_source():
    records = (
        records_of("a", source="web-1")
        + records_of("b", level="ERROR", source="web-1")
        + records_of("c")
        + records_of("d", source="web-2")
        + records_of("e", source="web-1")
    )
    packets, _ = bundler(groups=GROUPS).bundle(records)
    assert [(one.group, one.key, texts_of(one)) for one in packets] == [
        ("web", "web-1", ["a", "e"]),
        ("errors", None, ["b"]),
        ("default", None, ["c"]),
        ("web", "web-2", ["d"]),
    ]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 150), st.sampled_from(["INFO", "ERROR"]), st.sampled_from(["web-1", "web-2", "db"])
        ),
        max_size=40,
    ),
    st.booleans(),
)
def test_every_record_is_in_exactly_one_packet_or_refused(shapes, routed):
    records = [
        record(Message(f"{number:04}" + "x" * length, level=level, source=source))
        for number, (length, level, source) in enumerate(shapes)
    ]
    packets, refused = bundler(groups=GROUPS if routed else ()).bundle(records)
    texts = [text for packet in packets for text in texts_of(packet)]
    assert sorted([int(text[:4]) for text in texts] + [one.index for one in refused]) == list(
        range(len(shapes))
    )
    assert all(1 <= packet.messages <= 4 and packet.size <= 400 for packet in packets)
    assert {one.index for one in refused} == {n for n, shape in enumerate(shapes) if shape[0] + 4 > 60}
    for packet in packets:
        for message in messages_of(packet) if routed else ():
            expected = (
                "errors" if message["level"] == "ERROR" else "web" if message["source"] != "db" else "default"
            )
            assert packet.group == expected
            assert packet.key == (message["source"] if expected == "web" else None)


# In steps


class WatchedRouter(Router):
    """Counts how many messages it was asked about since it was last asked."""

    asked = 0

    def group_of(self, messages):
        self.asked += len(messages)
        return super().group_of(messages)


def test_steps_are_short_and_make_what_is_made_in_one_go(monkeypatch):
    monkeypatch.setattr("penstock.services.distributor.records.SLICE", 7)
    router = WatchedRouter(GROUPS)
    shared = RecordBundler(LIMITS, router)
    lines = records_of(*map(str, range(50)), level="ERROR") + records_of("x" * 61, *map(str, range(30)))
    steps, bundling = [], shared.bundling(lines, "chunk")
    while True:
        router.asked = 0
        try:
            next(bundling)
        except StopIteration as end:
            packets, refused = end.value
            break
        steps.append(router.asked)
    assert max(steps) == 7
    assert len(steps) >= 3 * len(lines) // 7 - 3, "each record is looked at, routed and bundled"
    whole = shared.bundle(lines, "chunk")
    assert refused == whole.refused
    assert [one.body for one in packets] == [one.body for one in whole.packets]
