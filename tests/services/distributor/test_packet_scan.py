"""The twins of the packet reader take, refuse and write exactly the same, whatever is sent."""

import json
import re

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.services.distributor.config import Config
from penstock.services.distributor.packets import UnreadableRequest
from twins import load

MODULE = "penstock.services.distributor.packet_scan"
C, PY = load(MODULE, "c"), load(MODULE, "py")
LIMITS = Config(max_packets=6, max_messages=3, max_message_bytes=24, max_packet_bytes=500)
COMPILED, PLAIN = C(LIMITS), PY(LIMITS)

OWN_ID = re.compile(rb'"[0-9a-f]{16}-([0-9a-f]+)"}\Z')


def outcome(reader, body):
    """What a reader makes of a body, but for the ids that it makes."""
    try:
        packets, indexes, refused = reader.read(body)
    except UnreadableRequest as error:
        return str(error)
    return (
        [
            (packet.id if packet.id_is_clients else None, packet.messages, line_of(packet), packet.seq)
            for packet in packets
        ],
        list(indexes),
        refused,
    )


def line_of(packet):
    assert packet.size == len(packet.body)
    return packet.body if packet.id_is_clients else OWN_ID.sub(b'"OURS"}', packet.body)


def same_outcome(body):
    compiled = outcome(COMPILED, body)
    assert compiled == outcome(PLAIN, body)
    return compiled


def line(body):
    """What both twins make of a request of one packet."""
    [(_, _, only, _)], _, _ = same_outcome(body)
    return only


# ---- requests of any spelling

CHARACTERS = 'ab "\\/\b\f\n\r\t\0\x1f\x7f\x80é\u07ff\u2028\ud7ff\ue000\uffff\U00010000\U0010ffff'
SHORT = {'"': r"\"", "\\": r"\\", "/": r"\/", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t"}


@st.composite
def spelled(draw, value):
    """JSON of a value, with white space wherever it may be and characters escaped in any way."""
    space = st.sampled_from(["", "", "", " ", "\n", "\t \r\n"])

    def string(text):
        return '"' + "".join(character(each) for each in text) + '"'

    def character(each):
        units = each.encode("utf-16-be")
        long = "".join(f"\\u{int.from_bytes(units[i : i + 2]):04x}" for i in range(0, len(units), 2))
        ways = [long, long.upper().replace("U", "u"), SHORT.get(each, long)]
        if each >= " " and each not in '"\\':
            ways += [each] * 9
        return draw(st.sampled_from(ways))

    def parts(opening, inner, closing):
        return opening + draw(space) + (draw(space) + "," + draw(space)).join(inner) + draw(space) + closing

    def any_value(value):
        if isinstance(value, str):
            return string(value)
        if isinstance(value, list):
            return parts("[", map(any_value, value), "]")
        if isinstance(value, Pairs):
            return parts(
                "{", (string(k) + draw(space) + ":" + draw(space) + any_value(v) for k, v in value.pairs), "}"
            )
        if isinstance(value, Literally):
            return value.text
        return json.dumps(value)

    return (draw(space) + any_value(value) + draw(space)).encode()


class Pairs:
    """The members of an object, some perhaps twice."""

    def __init__(self, pairs):
        self.pairs = pairs

    def __repr__(self):
        return f"Pairs({self.pairs!r})"


class Literally:
    """JSON, or something like it, as it stands."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return f"Literally({self.text!r})"


text = st.text(st.sampled_from(CHARACTERS), max_size=14) | st.text(max_size=14)
numbers = st.sampled_from(
    [
        "0", "-0", "1", "12345678901234567890123", "-1.5", "1e5", "1E-07", "0.10", "1e999",
        "01", "1.", "-", "+1", ".5", "1e", "NaN",
    ]
).map(Literally)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(text, inner), max_size=3).map(Pairs),
    max_leaves=8,
)
times = st.sampled_from(
    [
        "2025-01-25T20:30:45Z", "2025-12-31t23:59:60.123456789+23:59", "0000-01-01 00:00:00-00:00",
        "2025-01-25T20:30:45", "2025-13-01T00:00:00Z", "2025-00-01T00:00:00Z", "2025-01-32T00:00:00Z",
        "2025-01-25T24:00:00Z", "2025-01-25T20:60:00Z", "2025-01-25T20:30:61Z", "2025-01-25T20:30:45.Z",
        "2025-01-25T20:30:45.1234567890Z", "2025-01-25T20:30:45+24:00", "2025-01-25T20:30:45+1:00",
        "2025-01-25T20:30:45+01:0", "2025-01-25T20:30:45Zx", "2025-01-25x20:30:45Z",
        "2025-01-25T20:30:45,1Z", "2025-01-25", "",
    ]
)  # fmt: skip
FIELDS = {
    "message": text.filter(bool),
    "level": st.sampled_from(["INFO", "é" * 32, "x" * 32, "é" * 33, "\U00010000" * 32, ""]),
    "source": text | st.sampled_from(["x" * 256, "é" * 256, "é" * 257]),
    "timestamp": times | st.none(),
    "id": text | st.sampled_from(["x" * 128, "é" * 128, "é" * 129]) | st.none(),
    "metadata": st.lists(st.tuples(text, values), max_size=3).map(Pairs),
}


def members(fields, needed):
    """Members in any order: mostly right ones; now and then one of another type, twice, or unknown."""
    names = st.sets(st.sampled_from(sorted(fields))).map(lambda names: sorted(names | {needed}))
    right = names.flatmap(
        lambda names: st.tuples(*(st.tuples(st.just(name), fields[name]) for name in names))
    ).flatmap(st.permutations)
    odd = st.lists(st.tuples(st.sampled_from([*fields, "colour", ""]), values), max_size=2)
    return st.one_of(*[right] * 6, st.tuples(right, odd).map(lambda both: [*both[0], *both[1]])).map(Pairs)


messages = members(FIELDS, "message")
packets = members(
    {
        "messages": st.lists(messages, min_size=1, max_size=4),
        "id": st.sampled_from(["a", "b", "é", "", "x" * 128, "é" * 129, 'q"', "/"]) | st.none(),
        "retry_count": st.sampled_from(
            ["0", "-7", "null", "1.0", "1e2", "-0", "9" * 19, "9" * 5000, "true"]
        ).map(Literally),
    },
    "messages",
)
requests = st.lists(st.one_of(*[packets] * 6, values), max_size=4).flatmap(spelled)


@settings(max_examples=100)
@given(requests)
def test_twins_agree_on_requests_of_any_spelling(body):
    same_outcome(body)


PIECES = [
    *map(bytes, zip(b'"\\{}[],: \n\0\x1f\x80\xc3-0', strict=True)),
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\\u", b"\\ud800", b"\\udc00", b"\\u0000", b"null", b"true",
    b"1e9", b'"id":"a",', b'"messages":', b'{"message":"x"},', b'"metadata":{},',
]  # fmt: skip


@settings(max_examples=100)
@given(requests, st.data())
def test_twins_agree_on_requests_that_were_tampered_with(body, data):
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(start, min(len(body), start + 4)))
        body = body[:start] + data.draw(st.sampled_from([b"", *PIECES])) + body[end:]
    same_outcome(body)


@given(st.binary(max_size=100) | st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
@example(b"[]]")
@example(b"[ ] x")
@example(b"[[]]")
def test_twins_agree_on_any_bytes(body):
    same_outcome(body)
    same_outcome(b'[{"messages":[{"message":"x"}]},' + body + b"]")
    same_outcome(b'[{"messages":[{"message":"x","metadata":{"a":' + body + b"}}]}]")


# ---- what a line is


@pytest.mark.parametrize(
    ("spelling", "written"),
    [
        (rb"\u0041\u00e9\u20AC\ud83d\ude00", "Aé€\U0001f600".encode()),
        (rb"\/\"\\\b\f\n\r\t", rb"/\"\\\b\f\n\r\t"),
        (rb"\u000a\u0022\u005c\u002f\u007f", b'\\n\\"\\\\/\x7f'),
        (rb"\u0000\u001F\u000b", rb"\u0000\u001f\u000b"),
    ],
)
def test_strings_have_only_the_escapes_that_they_need(spelling, written):
    for field in ("level", "source", "id", "message"):
        fields = {b"message": b"x", b"level": b"INFO", b"source": b""} | {field.encode(): spelling}
        body = b'[{"messages":[{%s}]}]' % b",".join(b'"%s":"%s"' % pair for pair in fields.items())
        assert b'"%s":"%s"' % (field.encode(), written) in line(body)


def test_metadata_is_passed_on_without_its_white_space_only():
    sent = rb'{ "a\u0041" : [ 1.0 , -0 , 1E+2 , "\u00e9 \/ x" ] , "a\u0041" : { } , "" : [ ] }'
    body = b'[{"messages":[{"message":"x","metadata":%s}]}]' % sent
    assert rb'"metadata":{"a\u0041":[1.0,-0,1E+2,"\u00e9 \/ x"],"a\u0041":{},"":[]}' in line(body)


def test_members_come_in_one_order_with_the_defaults_and_without_the_retry_count():
    body = (
        b'[{"retry_count":7,"id":"p","messages":[{"metadata":{},"id":null,"timestamp":null,"message":"x"},'
        b'{"source":"s","level":"L","message":"y"}]}]'
    )
    assert line(body) == (
        b'{"messages":[{"message":"x","level":"INFO","source":"","timestamp":null,"id":null,"metadata":{}},'
        b'{"message":"y","level":"L","source":"s"}],"id":"p"}'
    )


def test_line_that_was_read_is_read_as_itself():
    sent = [
        {"messages": [{"message": "x", "metadata": {"k": [1, {"y": "z w"}]}}, {"message": "é\n"}], "id": "p"}
    ]
    once = line(json.dumps(sent, indent=2).encode())
    assert line(b"[" + once + b"]") == once


# ---- bounds


def levels(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(levels, value), default=0) if isinstance(value, list) else 0


@pytest.mark.parametrize("depth", [1, 61, 62, 63, 64, 65, 66, 200])
@pytest.mark.parametrize("inner", ["1", '"[[[["', r'"\\\"["', "[]", "{}", "[],[[],{}],1", '"a",[{"b":[]}]'])
@pytest.mark.parametrize("brackets", ["[]", ('{"a":', "}"), ('[{"a":', "},{}]")])
def test_metadata_is_at_most_so_deep_wherever_brackets_stand(depth, inner, brackets):
    opening, closing = brackets
    metadata = f'{{"d":{opening * depth}[{inner}]{closing * depth}}}'
    body = (
        b'[{"messages":[{"message":"x","metadata":%s}]},{"messages":[{"message":"y"}]}]' % metadata.encode()
    )
    read = outcome(C(Config()), body)
    assert read == outcome(PY(Config()), body)
    if levels(json.loads(metadata)) <= 64:
        assert (read[1], read[2]) == ([0, 1], [])
    else:
        [refused] = read[2]
        assert refused.error == "metadata of message 0 must be nested at most 64 levels deep"


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("id_", ["", "p", "é" * 64])
def test_largest_packet_is_the_same_to_the_byte(more, id_):
    start = {
        "messages": [{"message": "x", "level": "INFO", "source": "", "metadata": {"a": ""}}],
        "id": id_ or "0" * 18,
    }
    room = LIMITS.max_packet_bytes - len(msgspec.json.encode(start))
    start["messages"][0]["metadata"]["a"] = "y" * (room + more)
    if not id_:
        del start["id"]
    _, indexes, refused = outcome(C(LIMITS), msgspec.json.encode([start]))
    assert (indexes, [each.code for each in refused]) == (([], ["too_large"]) if more > 0 else ([0], []))
    if id_:
        same_outcome(msgspec.json.encode([start]))


def test_number_of_packets_is_bounded_on_both_alike():
    one = b'{"messages":[{"message":"x"}]}'
    for count in (1, 6, 7, 50):
        same_outcome(b"[" + b",".join([one] * count) + b"]")
        same_outcome(b"[" + b",".join([one] * count) + b",1]")


@pytest.mark.parametrize("end", [b"", b"]", b"x"])
def test_many_small_packets_do_not_matter_when_the_body_is_broken(end):
    body = b"[" + b",".join([b'{"messages":[{"message":"x"}]}'] * 3) + end
    assert (len(outcome(COMPILED, body)) == 3) is (end == b"]")
    same_outcome(body)


def test_reader_of_other_bytes_than_bytes_reads_them_all_the_same():
    body = b'[{"messages":[{"message":"x"}],"id":"p"}]'
    for reader in (COMPILED, PLAIN):
        [packet], _, _ = reader.read(bytearray(body))
        assert packet.id == "p"


def test_reader_that_was_never_initialised_reads_nothing():
    with pytest.raises((AttributeError, TypeError)):
        C.__new__(C).read(b'[{"messages":[{"message":"x"}]}]')
