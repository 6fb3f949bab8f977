"""Wire reader: every record of a message, and every way in which bytes can be none."""

import lzma
from contextlib import suppress

import numpy as np
import pytest
from google.protobuf import empty_pb2, unknown_fields
from google.protobuf.message import DecodeError as GoogleDecodeError
from hypothesis import given
from hypothesis import strategies as st

import datasets
from penstock.errors import InvalidType, InvalidValue
from penstock.protobuf import varint
from penstock.protobuf.errors import DecodeError
from penstock.protobuf.kinds import WireType
from twins import both_twins, load

MODULE = "penstock.protobuf.wire_reader"
WireReader = both_twins(MODULE)
BOTH = load(MODULE, "c"), load(MODULE, "py")

VARINT, FIXED64, LENGTH_DELIMITED, START_GROUP, END_GROUP, FIXED32 = WireType
TAG_TOO_LARGE = "a tag is a varint of at most 5 bytes, up to 2^32 - 1"
LAST_NUMBER = 2**29 - 1

numbers = st.integers(1, 20) | st.integers(1, LAST_NUMBER)
PIECES = """
    08 8000 0805 88808000 8880808000 8080808010 f8ffffff0f01 ff 00 06 0f 80808080808080808080
    08ffffffffffffffffff7f 0a00 0a03616263 12ff 0d01020304 0901020304 0102030405060708 0b 0c 13 14
"""
pieces = st.sampled_from([bytes.fromhex(piece) for piece in PIECES.split()])


def tag(number, wire_type):
    return varint.encode_varint(number << 3 | wire_type)


def written(records):
    """The bytes of (number, wire type, value): the shortest."""
    data = b""
    for number, wire_type, value in records:
        data += tag(number, wire_type)
        if wire_type == VARINT:
            data += varint.encode_varint(value)
        elif wire_type in (FIXED64, FIXED32):
            data += value.to_bytes(8 if wire_type == FIXED64 else 4, "little")
        elif wire_type == LENGTH_DELIMITED:
            data += varint.encode_varint(len(value)) + value
        else:
            data += value + tag(number, END_GROUP)
    return data


def record(groups):
    return st.one_of(
        st.tuples(numbers, st.just(VARINT), st.integers(0, 2**64 - 1)),
        st.tuples(numbers, st.just(FIXED64), st.integers(0, 2**64 - 1)),
        st.tuples(numbers, st.just(FIXED32), st.integers(0, 2**32 - 1)),
        st.tuples(numbers, st.just(LENGTH_DELIMITED), st.binary(max_size=200)),
        st.tuples(numbers, st.just(START_GROUP), groups),
    )


bodies = st.recursive(
    st.just(b""), lambda inner: st.lists(record(inner), max_size=4).map(written), max_leaves=20
)
messages = st.lists(record(bodies), max_size=8)


def by_google(data):
    """What Google's runtime finds, groups as their own records."""
    message = empty_pb2.Empty()
    message.ParseFromString(data)
    return listed(unknown_fields.UnknownFieldSet(message))


def listed(fields):
    return [
        (each.field_number, each.wire_type, listed(each.data) if each.wire_type == START_GROUP else each.data)
        for each in fields
    ]


def opened(reader):
    """The records, with those of groups in place of their bytes."""
    for number, wire_type, value in reader:
        yield number, wire_type, list(opened(type(reader)(value))) if wire_type == START_GROUP else value


def outcome(reader_of, data, **options):
    """All that a reader tells of the data: its records, where it stands then, and what is wrong there."""
    reader = reader_of(data, **options)
    found = []
    with suppress(StopIteration):
        while True:
            try:
                found.append(next(reader))
            except DecodeError as error:
                return found, reader.position, error.offset, error.reason
    return found, reader.position, None, None


@pytest.mark.parametrize(
    "octets",
    [
        "088d3d180520b71712105749444745542d412d5052454d49554d",  # as the example writes it
        "088d3d12105749444745542d412d5052454d49554d180520b717",
    ],
)
def test_order_of_example_44_is_read(WireReader, octets):
    assert sorted(WireReader(bytes.fromhex(octets))) == [
        (1, VARINT, 7821),
        (2, LENGTH_DELIMITED, b"WIDGET-A-PREMIUM"),
        (3, VARINT, 5),
        (4, VARINT, 2999),
    ]


def test_record_of_every_wire_type_has_its_value(WireReader):
    data = bytes.fromhex("08ffffffffffffffffff01 11feffffffffffffff 2afe0100" + "00" * 253 + "35feffffff")
    assert list(WireReader(data)) == [
        (1, VARINT, 2**64 - 1),
        (2, FIXED64, 2**64 - 2),
        (5, LENGTH_DELIMITED, bytes(254)),
        (6, FIXED32, 2**32 - 2),
    ]
    assert all(isinstance(wire_type, WireType) for _, wire_type, _ in WireReader(data))


def test_group_is_the_bytes_between_its_tags(WireReader):
    inner = bytes.fromhex("0801131a011414")
    data = tag(LAST_NUMBER, START_GROUP) + inner + tag(LAST_NUMBER, END_GROUP) + b"\x08\x05"
    assert list(WireReader(data)) == [(LAST_NUMBER, START_GROUP, inner), (1, VARINT, 5)]
    assert list(WireReader(inner)) == [(1, VARINT, 1), (2, START_GROUP, b"\x1a\x01\x14")]


def test_position_is_behind_what_was_read(WireReader):
    data = bytes.fromhex("080512036162631b0801 1c")
    reader = WireReader(data)
    positions = [reader.position]
    positions += [reader.position for _ in reader]
    assert positions == [0, 2, 7, 11]


def test_empty_message_has_no_records(WireReader):
    reader = WireReader(b"")
    assert (list(reader), reader.position) == ([], 0)
    assert next(reader, None) is None


@given(messages)
def test_records_come_back_as_they_were_written(records):
    for reader_of in BOTH:
        assert list(reader_of(written(records))) == records


@given(messages)
def test_records_are_those_that_google_finds(records):
    expected = by_google(written(records))
    for reader_of in BOTH:
        assert list(opened(reader_of(written(records)))) == expected


@given(st.lists(pieces, max_size=12).map(b"".join) | st.binary(max_size=40))
def test_twins_tell_the_same_of_any_bytes(data):
    for max_depth in (1, 2, 100):
        compiled, plain = (outcome(reader_of, data, max_depth=max_depth) for reader_of in BOTH)
        assert compiled == plain


@given(st.lists(pieces, max_size=8).map(b"".join))
def test_what_google_refuses_is_refused(data):
    try:
        by_google(data)
    except GoogleDecodeError:
        for reader_of in BOTH:
            with pytest.raises(DecodeError):
                list(reader_of(data))


@given(messages, st.data())
def test_message_that_is_cut_off_is_refused_or_shorter(records, data):
    whole = written(records)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    for reader_of in BOTH:
        found, position, _, _ = outcome(reader_of, cut)
        assert found == records[: len(found)]
        assert position == len(written(records[: len(found)]))


@pytest.mark.parametrize(
    ("octets", "offset", "reason"),
    [
        ("0805 80", 2, "the tag is truncated"),
        ("0805 80808080", 2, "the tag is truncated"),
        ("0805 8080808080", 2, TAG_TOO_LARGE),
        ("0805 888080808000 05", 2, TAG_TOO_LARGE),
        ("0805 8080808080 8080808080 01", 2, TAG_TOO_LARGE),
        ("0805 8880808010 05", 2, TAG_TOO_LARGE),
        ("0805 ffffffffffffffffff01 05", 2, TAG_TOO_LARGE),
        ("0805 00 05", 2, "field number 0 is not allowed"),
        ("0805 07", 2, "field number 0 is not allowed"),
        ("0805 0e 05", 2, "wire type 6 does not exist"),
        ("0805 0f 05", 2, "wire type 7 does not exist"),
        ("0805 08", 2, "the value is truncated"),
        ("0805 08 ffff", 2, "the value is truncated"),
        ("0805 08 ffffffffffffffffffff 01", 2, "a varint is longer than 10 bytes"),
        ("0805 09 01020304050607", 2, "the value is truncated"),
        ("0805 0d 010203", 2, "the value is truncated"),
        ("0805 0a", 2, "the value is truncated"),
        ("0805 0a 80", 2, "the value is truncated"),
        ("0805 0a ffffffffffffffffffff 01", 2, "a varint is longer than 10 bytes"),
        ("0805 0a 04 616263", 2, "a length of 4 runs past the end, 3 bytes are left"),
        ("0a ffffffffffffffffff01", 0, f"a length of {2**64 - 1} runs past the end, 0 bytes are left"),
        ("0a ffffffffffffffff7f 05", 0, f"a length of {2**63 - 1} runs past the end, 1 bytes are left"),
        ("0805 0c", 2, "an end of group 1 without its start"),
        ("0805 0b", 2, "group 1 has no end"),
        ("0805 0b 13 14 13", 5, "group 2 has no end"),
        ("0805 0b 13 14 0801", 2, "group 1 has no end"),
        ("0805 0b 0801 14", 5, "group 1 is ended by 2"),
        ("0805 0b 13 0c 14", 4, "group 2 is ended by 1"),
        ("0805 0b 13 08", 4, "the value is truncated"),
        ("0805 0b 0a02 0c", 3, "a length of 2 runs past the end, 1 bytes are left"),
        ("0805 0b 06 0c", 3, "field number 0 is not allowed"),
    ],
)
def test_record_that_breaks_a_rule_is_refused_with_its_place(WireReader, octets, offset, reason):
    reader = WireReader(bytes.fromhex(octets))
    start = 2 if octets.startswith("0805") else 0
    for _ in range(start // 2):
        assert next(reader) == (1, VARINT, 5)
    for _ in range(2):
        with pytest.raises(DecodeError) as caught:
            next(reader)
        assert (caught.value.offset, caught.value.reason, caught.value.path) == (offset, reason, "")
        assert reader.position == start


@pytest.mark.parametrize("max_depth", [1, 2, 3, 100, 1000])
def test_groups_are_nested_no_deeper_than_allowed(WireReader, max_depth):
    deepest = b"\x0b" * (max_depth - 1) + b"\x0c" * (max_depth - 1)
    assert [value for *_, value in WireReader(deepest, max_depth=max_depth)] == [deepest[1:-1]] * (
        max_depth > 1
    )
    with pytest.raises(DecodeError) as caught:
        list(WireReader(b"\x08\x05\x0b" + deepest + b"\x0c", max_depth=max_depth))
    assert caught.value.reason == f"must be nested at most {max_depth} levels deep"
    assert caught.value.offset == 2 + max_depth - 1


def test_a_million_start_tags_are_refused_at_the_limit(WireReader):
    with pytest.raises(DecodeError, match=r"^byte 99: must be nested at most 100 levels deep$"):
        next(WireReader(b"\x0b" * 1_000_000))


def test_a_hundred_thousand_groups_in_a_row_are_read(WireReader):
    body = b"\x13\x14" * 100_000
    assert list(WireReader(b"\x0b" + body + b"\x0c")) == [(1, START_GROUP, body)]


def test_tags_and_lengths_may_be_longer_than_need_be(WireReader):
    data = bytes.fromhex("8880808000 05 8a00 838000 616263")
    assert list(WireReader(data)) == [(1, VARINT, 5), (1, LENGTH_DELIMITED, b"abc")]


@pytest.mark.parametrize("lend", [bytearray, memoryview, lambda data: np.frombuffer(data, ">u2")])
def test_whatever_lends_its_bytes_is_read(WireReader, lend):
    found = list(WireReader(lend(bytes.fromhex("0805 1202 6162 1b 1c"))))
    assert found == [(1, VARINT, 5), (2, LENGTH_DELIMITED, b"ab"), (3, START_GROUP, b"")]
    assert all(type(value) in (int, bytes) for *_, value in found)


def test_bytes_stay_where_they_are_while_they_are_read(WireReader):
    data = bytearray(b"\x08\x05\x08\x06")
    reader = WireReader(data)
    next(reader)
    with pytest.raises(BufferError):
        data.clear()
    assert next(reader) == (1, VARINT, 6)
    del reader
    data.clear()


def test_view_that_is_released_stays_with_its_reader(WireReader):
    view = memoryview(bytearray(b"\x08\x05"))
    reader = WireReader(view)
    with suppress(BufferError):  # the compiled twin reads through the very view, which then refuses
        view.release()
    assert list(reader) == [(1, VARINT, 5)]


def test_reader_begins_again_with_other_bytes(WireReader):
    data = bytearray(b"\x08\x05\x08\x06")
    reader = WireReader(data)
    next(reader)
    reader.__init__(b"\x08\x07")
    data.clear()
    assert list(reader) == [(1, VARINT, 7)]
    assert reader.position == 2


@pytest.mark.parametrize("data", ["abc", 5, None, memoryview(b"abcd")[::2], np.zeros((2, 3)).T])
def test_what_lends_no_contiguous_bytes_is_refused(WireReader, data):
    kind = type(data).__name__
    with pytest.raises(InvalidType, match=rf"^data must be bytes, or like them and contiguous, got {kind}$"):
        WireReader(data)


@pytest.mark.parametrize("max_depth", [0, -1, 1001, 2**64])
def test_depth_out_of_range_is_refused(WireReader, max_depth):
    with pytest.raises(InvalidValue, match=r"^max_depth must be 1 to 1000, got "):
        WireReader(b"", max_depth=max_depth)


@pytest.mark.parametrize("max_depth", [1.0, "1", None, True])
def test_depth_that_is_no_int_is_refused(WireReader, max_depth):
    with pytest.raises(InvalidType, match=rf"^max_depth must be an int, got {type(max_depth).__name__}$"):
        WireReader(b"", max_depth=max_depth)


@pytest.mark.data
def test_descriptors_of_googleapis_come_back_byte_for_byte(WireReader):
    packed = datasets.require("protobuf/descriptor_sets/googleapis.binpb.xz").read_bytes()
    data = lzma.decompress(packed)
    records = list(WireReader(data))
    assert {(number, wire_type) for number, wire_type, _ in records} == {(1, LENGTH_DELIMITED)}
    assert written(records) == data
    for _, _, file in records:
        assert written(WireReader(file)) == file
