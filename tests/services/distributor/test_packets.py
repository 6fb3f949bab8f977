"""Packets as clients send them: each limit, each outcome, and nothing that crashes."""

import json
import re
import resource

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor.config import Config
from penstock.services.distributor.packets import UnreadableRequest
from twins import both_twins, load

MODULE = "penstock.services.distributor.packet_scan"
PacketReader = both_twins(MODULE)
twins = st.sampled_from([load(MODULE, "c"), load(MODULE, "py")])

LIMITS = Config(
    max_packets=5, max_messages=4, max_message_bytes=20, max_packet_bytes=400, max_body_bytes=10_000
)


class Sender:
    """Sends requests to readers of one twin, and tells what became of their packets."""

    def __init__(self, reader_class):
        self.reader_class = reader_class

    def body(self, body, config=LIMITS):
        return self.reader_class(config).read(body)

    def packets(self, *packets, config=LIMITS):
        return self.body(msgspec.json.encode(packets), config)

    def accepted(self, *packets, config=LIMITS):
        read = self.packets(*packets, config=config)
        assert read.refused == []
        assert list(read.indexes) == list(range(len(packets)))
        return [json.loads(one.body) for one in read.packets]

    def refusal(self, one, config=LIMITS):
        """The only outcome of a packet between two good ones, which must not suffer."""
        read = self.packets(packet(), one, packet(), config=config)
        assert list(read.indexes) == [0, 2]
        [only] = read.refused
        assert only.index == 1
        return only

    def unreadable(self, body):
        with pytest.raises(UnreadableRequest) as error:
            self.body(body)
        return str(error.value)


@pytest.fixture
def send(PacketReader):
    return Sender(PacketReader)


def message(text="hello", **more):
    return {"message": text} | more


def packet(*messages, **more):
    return {"messages": list(messages) or [message()]} | more


# Bodies that are no request at all


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"[", b"]", b"[{]", b"hello", b"[{}", b"[{},]", b"[] []", b"[NaN]", b"[{'messages': 1}]",
        b"\xef\xbb\xbf[]", b"\x00", b'[{"messages":[{"message":"x"}]}]x', b"[1", b'["',
    ],
)  # fmt: skip
def test_malformed_json_is_told_with_its_place(send, body):
    assert send.unreadable(body).startswith("the body must be JSON: ")


@pytest.mark.parametrize("body", [b"{}", b"null", b"1", b'"x"', b"true", b'{"messages":[{"message":"x"}]}'])
def test_json_that_is_no_array_is_told_apart(send, body):
    assert send.unreadable(body).startswith("the body must be an array of packets: Expected `array`")


def test_number_of_packets_is_bounded(send):
    assert send.unreadable(b"[]") == "a request must carry 1 to 5 packets, got 0"
    assert (
        send.unreadable(msgspec.json.encode([packet()] * 6)) == "a request must carry 1 to 5 packets, got 6"
    )
    assert send.unreadable(b"[" + b"{}," * 9 + b"{}]") == "a request must carry 1 to 5 packets, got 6 or more"
    assert len(send.accepted(*[packet()] * 5)) == 5


@pytest.mark.parametrize(
    "body",
    [
        b'[{"messages":[{"message":"\xff"}]}]',
        b'[{"messages":[{"message":"x","metadata":{"a":"\xff"}}]}]',
        b'[{"messages":[{"message":"x","metadata":{"\xc3\x28":1}}]}]',
        b'[{"messages":[{"message":"x"}],"id":"\xed\xa0\x80"}]',
        '[{"messages":[{"message":"x"}]}]'.encode("utf-16"),
    ],
)
def test_bytes_that_are_no_utf8_are_refused_wherever_they_are(send, body):
    assert "codec can't decode" in send.unreadable(body)


@pytest.mark.parametrize(
    "text", [r'"\ud800"', r'"\udc00x"', r'"\ud800\ud800"', r'"\x"', r'"\u12"', '"\n"', '"\x01"']
)
def test_strings_that_no_json_may_hold_are_refused_in_metadata_too(send, text):
    """Analyzers must be able to read every line they get, or one packet would fail its whole delivery."""
    send.unreadable(b'[{"messages":[{"message":%s}]}]' % text.encode())
    send.unreadable(b'[{"messages":[{"message":"x","metadata":{"a":%s}}]}]' % text.encode())


def test_deep_nesting_is_refused_and_not_followed(send):
    depth = 100_000  # how deep is too deep differs between the versions of Python
    deep = b"[" * depth + b"]" * depth
    assert send.unreadable(deep) == "the body must be JSON: it is nested too deeply"
    assert "too deeply" in send.unreadable(b'[{"messages":[{"message":"x","metadata":{"a":%s}}]}]' % deep)
    assert "too deeply" in send.unreadable(b'[{"a":' * depth)


def test_millions_of_elements_are_not_held_before_they_are_counted(send):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "got 6 or more" in send.unreadable(b"[" + b"1," * 5_000_000 + b"1]")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "KiB"


# Packets that are refused one by one


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (1, "Expected `object`, got `int`"),
        (None, "Expected `object`, got `null`"),
        ([], "Expected `object`, got `array`"),
        ({}, "missing required field `messages`"),
        ({"messages": None}, "Expected `array`, got `null` - at `$.messages`"),
        ({"messages": []}, "Expected `array` of length >= 1 - at `$.messages`"),
        ({"messages": {}}, "Expected `array`, got `object` - at `$.messages`"),
        ({"messages": ["text"]}, "Expected `object`, got `str` - at `$.messages[0]`"),
        ({"messages": [{}]}, "missing required field `message` - at `$.messages[0]`"),
        (packet(message("")), "Expected `str` of length >= 1 - at `$.messages[0].message`"),
        (packet(message(), message(None)), "Expected `str`, got `null` - at `$.messages[1].message`"),
        (packet(message(level="")), "at `$.messages[0].level`"),
        (packet(message(level="x" * 33)), "at `$.messages[0].level`"),
        (packet(message(level=3)), "at `$.messages[0].level`"),
        (packet(message(source="x" * 257)), "at `$.messages[0].source`"),
        (packet(message(id="")), "at `$.messages[0].id`"),
        (packet(message(metadata=[])), "metadata of message 0 must be an object"),
        (packet(message(), message(metadata="x")), "metadata of message 1 must be an object"),
        (packet(id=""), "Expected `str` of length >= 1 - at `$.id`"),
        (packet(id="x" * 129), "Expected `str` of length <= 128 - at `$.id`"),
        (packet(id=7), "Expected `str | null`, got `int` - at `$.id`"),
        (packet(retry_count="x"), "at `$.retry_count`"),
    ],
)
def test_packet_of_wrong_types_is_invalid_and_the_others_do_not_suffer(send, wrong, words):
    refused = send.refusal(wrong)
    assert refused.code == "invalid"
    assert words in refused.error


@pytest.mark.parametrize("wrong", [packet(colour=1), packet(message(colour=1))])
def test_unknown_field_is_told_where_it_belongs(send, wrong):
    error = send.refusal(wrong).error
    assert "unknown field `colour`" in error
    assert error.endswith("what is not among the fields goes into metadata")


def test_what_is_said_of_a_packet_stays_short_whatever_is_in_it(send):
    for wrong in (packet(**{"x" * 5000: 1}), packet(message(**{"é" * 5000: 1}))):
        assert len(send.refusal(wrong).error) < 400


@pytest.mark.parametrize(
    "time",
    [
        "", "now", "2025-01-25", "2025-01-25T20:30:45", "2025-1-25T20:30:45Z", "2025-13-01T00:00:00Z",
        "2025-01-32T00:00:00Z", "2025-01-25T24:00:00Z", "2025-01-25T20:60:00Z", "2025-01-25T20:30:45+24:00",
        "2025-01-25T20:30:45.Z", "2025-01-25T20:30:45.1234567890Z", "2025-01-25T20:30:45Z\n",
        "２０２５-01-25T20:30:45Z", "2025-01-25T20:30:4٥Z", " 2025-01-25T20:30:45Z", 1737836445,
    ],
)  # fmt: skip
def test_time_that_is_not_rfc_3339_is_invalid(send, time):
    refused = send.refusal(packet(message(timestamp=time)))
    assert refused.code == "invalid"
    assert "$.messages[0].timestamp" in refused.error
    if isinstance(time, str):
        assert "a time as in RFC 3339, such as 2025-01-25T20:30:45Z" in refused.error


@pytest.mark.parametrize(
    "time",
    [
        "2025-01-25T20:30:45Z", "2025-01-25t20:30:45z", "2025-01-25 20:30:45.1+01:00",
        "2016-12-31T23:59:60Z", "0000-01-01T00:00:00.123456789-23:59", None,
    ],
)  # fmt: skip
def test_time_is_passed_on_as_it_was_sent(send, time):
    [one] = send.accepted(packet(message(timestamp=time)))
    assert one["messages"][0]["timestamp"] == time


# Limits


def test_number_of_messages_is_bounded(send):
    assert len(send.accepted(packet(*[message()] * 4))[0]["messages"]) == 4
    refused = send.refusal(packet(*[message()] * 5, id="big"))
    assert (refused.code, refused.id) == ("too_large", "big")
    assert refused.error == "messages must be at most 4, got 5"


@pytest.mark.parametrize("text", ["x" * 20, "é" * 10, "€" * 6 + "xx", "\U0001f600" * 5, "\0" * 20])
def test_message_may_be_as_long_as_the_limit_in_bytes(send, text):
    assert len(text.encode()) == 20
    assert send.accepted(packet(message(text)))[0]["messages"][0]["message"] == text
    refused = send.refusal(packet(message(), message(text + "x")))
    assert refused.code == "too_large"
    assert refused.error == "message 1 must be at most 20 bytes, got 21"


def test_packet_is_bounded_with_its_metadata_as_compact_json(send):
    [one] = send.accepted(packet(message(metadata={"a": ""}), id="p"))
    room = 400 - len(msgspec.json.encode(one))
    [good], _, _ = send.packets(packet(message(metadata={"a": "x" * room}), id="p"))
    assert len(good.body) == 400
    refused = send.refusal(packet(message(metadata={"a": "x" * (room + 1)}), id="p"))
    assert (refused.code, refused.id) == ("too_large", "p")
    assert refused.error == "a packet must be at most 400 bytes as compact JSON, got 401"


def test_white_space_in_metadata_does_not_count_against_the_packet(send):
    pretty = b'[{"messages":[{"message":"x","metadata":{"a":%s1\n}}]}]' % (b" " * 5000)
    [good], _, refused = send.body(pretty)
    assert refused == []
    assert len(good.body) < 200


# What is made of a good packet


def test_packet_is_one_line_of_compact_json_that_says_what_was_sent(send):
    sent = packet(
        message("ünï\u2028 \0 \"q\" \n", level="WARN", source="s", id="m", timestamp="2025-01-25T20:30:45Z",
                metadata={"n": None, "l": [1, 2.5, True, {"d": "é"}]}),
        id="p",
    )  # fmt: skip
    body = json.dumps([sent], indent=3, ensure_ascii=False).encode()
    [good], _, _ = send.body(body, Config())
    assert json.loads(good.body) == sent
    assert b"\n" not in good.body
    assert (good.id, good.id_is_clients, good.messages, good.size) == ("p", True, 1, len(good.body))


@pytest.mark.parametrize(
    "number",
    [b"123456789012345678901234567890", b"0.1000000000000000055511151231257827", b"1e999", b"-0.0", b"1E+2"],
)
def test_numbers_in_metadata_are_passed_on_digit_by_digit(send, number):
    for space in (b"", b"\n  "):
        [good], _, _ = send.body(b'[{"messages":[{"message":"x","metadata":{"n":%s%s}}]}]' % (space, number))
        assert b'{"n":%s}' % number in good.body


def test_absent_level_and_source_get_their_defaults(send):
    [one] = send.accepted(packet())
    assert one["messages"] == [{"message": "hello", "level": "INFO", "source": ""}]


@pytest.mark.parametrize("count", [0, 99, -1_000_000, None, 10**100])
def test_retry_count_of_a_client_is_ignored(send, count):
    body = b'[{"messages":[{"message":"x"}],"retry_count":%s}]' % json.dumps(count).encode()
    [good], _, _ = send.body(body)
    assert b"retry_count" not in good.body


def test_ids_are_made_where_there_are_none_and_differ(PacketReader):
    one, other = PacketReader(LIMITS), PacketReader(LIMITS)
    body = msgspec.json.encode([packet(), packet(id=None)])
    made = [good.id for r in (one, one, other) for good in r.read(body)[0]]
    assert len(set(made)) == 6
    assert all(re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", id_) for id_ in made)
    assert not any(good.id_is_clients for good in one.read(body)[0])
    [good], _, _ = one.read(msgspec.json.encode([packet()]))
    assert json.loads(good.body)["id"] == good.id


def test_id_used_twice_in_a_request_is_refused_the_second_time_only(send):
    _, indexes, refused = send.packets(
        packet(id="a"), packet(id="b"), packet(id="a"), packet(), packet(id="b")
    )
    assert list(indexes) == [0, 1, 3]
    assert [(r.index, r.id, r.code) for r in refused] == [
        (2, "a", "duplicate_in_request"), (4, "b", "duplicate_in_request"),
    ]  # fmt: skip


def test_id_of_a_refused_packet_is_free_for_a_good_one(send):
    good, _, refused = send.packets(packet(message("x" * 21), id="a"), packet(id="a"))
    assert [g.id for g in good] == ["a"]
    assert [r.code for r in refused] == ["too_large"]


# Whatever is sent

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
messages = st.fixed_dictionaries(
    {"message": st.text(max_size=25)},
    optional={
        "level": st.text(max_size=5),
        "source": st.text(max_size=5),
        "id": st.none() | st.text(max_size=5),
        "timestamp": st.none() | st.just("2025-01-25T20:30:45Z") | st.text(max_size=5),
        "metadata": st.dictionaries(st.text(max_size=5), values, max_size=3),
    },
)
packets = st.fixed_dictionaries(
    {"messages": st.lists(messages, max_size=5)},
    optional={"id": st.sampled_from(["a", "b", ""]) | st.none(), "retry_count": st.integers()},
)


@given(twins, st.lists(packets | values, min_size=1, max_size=5))
def test_every_packet_is_in_exactly_one_of_the_lists_and_says_what_was_sent(twin, sent):
    body = json.dumps(sent).encode()
    try:
        good, indexes, refused = twin(LIMITS).read(body)
    except UnreadableRequest:  # a lone surrogate cannot be generated, so only this is left
        pytest.fail("a list of JSON values is no unreadable request")
    assert sorted([*indexes, *(one.index for one in refused)]) == list(range(len(sent)))
    assert list(indexes) == sorted(indexes)
    assert len({one.id for one in good}) == len(good)
    for index, one in zip(indexes, good, strict=True):
        stored, original = json.loads(one.body), sent[index]
        assert stored["id"] == one.id == (original.get("id") or one.id)
        assert one.messages == len(original["messages"])
        defaults = {"level": "INFO", "source": ""}
        assert stored["messages"] == [defaults | m for m in original["messages"]]
        assert len(one.body) <= LIMITS.max_packet_bytes
        assert b"\n" not in one.body
    assert all(one.error and one.code for one in refused)


@given(
    twins,
    st.binary(max_size=200) | st.text(alphabet='[]{}",:\\ntue0-9.em ssage', max_size=80).map(str.encode),
)
def test_no_bytes_crash_the_reader(twin, body):
    try:
        good, _, refused = twin(LIMITS).read(body)
    except UnreadableRequest as error:
        str(error).encode()
    else:
        assert 1 <= len(good) + len(refused) <= LIMITS.max_packets
