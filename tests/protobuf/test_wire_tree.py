"""What bytes without a schema seem to be."""

import struct
import tracemalloc
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.protobuf.errors import DecodeError
from penstock.protobuf.wire_tree import Guess, walk


def field(number, content):
    """A length-delimited field, short enough for one-byte lengths."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


def varints(*values):
    out = bytearray()
    for value in values:
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
    return bytes(out)


def guess_of(content):
    (node,) = [node for node in walk(field(1, content)) if node.depth == 0]
    return node


def test_order_of_the_example_is_four_fields():
    data = bytes.fromhex("088d3d12105749444745542d412d5052454d49554d180520b717")
    assert [(node.number, node.guess, node.value, node.offset) for node in walk(data)] == [
        (1, Guess.VARINT, 7821, 0),
        (2, Guess.TEXT, b"WIDGET-A-PREMIUM", 3),
        (3, Guess.VARINT, 5, 21),
        (4, Guess.VARINT, 2999, 23),
    ]


def test_empty_input_has_no_fields():
    assert list(walk(b"")) == []


def test_fixed_values_are_unsigned_integers():
    data = b"\x0d" + struct.pack("<i", -1) + b"\x11" + struct.pack("<d", 0.5)
    assert [(node.guess, node.value) for node in walk(data)] == [
        (Guess.FIXED32, 0xFFFFFFFF),
        (Guess.FIXED64, 0x3FE0000000000000),
    ]


@pytest.mark.parametrize("text", ["a", "GET /index.html", "Käse und Brot", "two\nlines\tand a tab", "日本語"])
def test_text_without_control_characters_is_text(text):
    node = guess_of(text.encode())
    assert (node.guess, node.text) == (Guess.TEXT, text)


def test_message_whose_first_tag_is_a_line_feed_is_a_message():
    inner = field(1, b"0123456789")  # 0A 0A 30 31 ...: a text of two empty lines and ten digits, too
    assert inner.decode().startswith("\n\n0")
    assert guess_of(inner).guess is Guess.MESSAGE


def test_text_that_begins_with_a_line_feed_and_is_no_message_is_text():
    assert guess_of(b"\nsome more text").guess is Guess.TEXT


def test_messages_within_messages_are_gone_through_with_their_offsets():
    data = field(3, field(2, field(1, b"deep") + b"\x10\x07"))
    assert [(node.depth, node.number, node.guess, node.offset) for node in walk(data)] == [
        (0, 3, Guess.MESSAGE, 0),
        (1, 2, Guess.MESSAGE, 2),
        (2, 1, Guess.TEXT, 4),
        (2, 2, Guess.VARINT, 10),
    ]


def test_groups_are_gone_through_with_their_offsets():
    data = b"\x08\x01" + b"\x13" + b"\x08\x05" + field(2, b"\x18\x09") + b"\x14" + b"\x18\x02"
    assert [(node.depth, node.number, node.guess, node.offset) for node in walk(data)] == [
        (0, 1, Guess.VARINT, 0),
        (0, 2, Guess.GROUP, 2),
        (1, 1, Guess.VARINT, 3),
        (1, 2, Guess.MESSAGE, 5),
        (2, 3, Guess.VARINT, 7),
        (0, 3, Guess.VARINT, 10),
    ]


def test_tag_of_a_group_may_be_longer_than_it_need_be():
    data = b"\x93\x00" + b"\x08\x05" + b"\x14"
    assert [(node.depth, node.number, node.offset) for node in walk(data)] == [(0, 2, 0), (1, 1, 2)]


@pytest.mark.parametrize(
    ("content", "guess", "numbers"),
    [
        (struct.pack("<3d", 0.25, 0, -1e6), Guess.DOUBLES, (0.25, 0.0, -1e6)),
        (struct.pack("<3f", 0.25, 0, -8192), Guess.FLOATS, (0.25, 0.0, -8192.0)),
        (varints(3, 270, 86942), Guess.VARINTS, (3, 270, 86942)),
    ],
)
def test_packed_numbers_are_told_from_other_bytes(content, guess, numbers):
    node = guess_of(content)
    assert (node.guess, node.numbers) == (guess, numbers)


def test_no_more_than_64_numbers_are_kept():
    node = guess_of(varints(*[3] * 90))
    assert (node.guess, len(node.numbers)) == (Guess.VARINTS, 64)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xff\xfe\xfd\xfc", id="no end of a varint"),
        pytest.param(b"\x80\x80\x80\x80\x80\x01\x01", id="a varint of six bytes"),
        pytest.param(b"\x83\x00\x01", id="a varint longer than it need be"),
        pytest.param(b"\x07", id="one byte"),
    ],
)
def test_bytes_that_look_like_nothing_stay_bytes(content):
    assert guess_of(content).guess is Guess.BYTES


def test_no_bytes_are_empty():
    assert guess_of(b"").guess is Guess.EMPTY


def test_unlikely_field_number_makes_no_message():
    content = varints(100_001 << 3, 1, 200)
    assert guess_of(content).guess is not Guess.MESSAGE


def test_messages_below_the_depth_limit_stay_closed():
    data = b"\x08\x01"
    for _ in range(5):
        data = field(1, data)
    assert max(node.depth for node in walk(data)) == 5
    assert max(node.depth for node in walk(data, max_depth=3)) == 2


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        pytest.param(b"\x08\x01\x12\x05ab", 2, id="length past the end"),
        pytest.param(b"\x0a\x01a\x0f", 3, id="wire type 7"),
        pytest.param(b"\x08\x01\x1c", 2, id="end of no group"),
        pytest.param(b"\x08\x01\x13\x08", 3, id="truncated within a group"),
        pytest.param(b"\x08\x01\x13\x08\x01", 2, id="group without an end"),
        pytest.param(b"\x08\x01\x13\x08\x01\x1c", 5, id="group ended by another"),
    ],
)
def test_fields_before_a_fault_come_first_and_the_error_tells_its_place(data, offset):
    nodes = []
    with pytest.raises(DecodeError) as caught:
        nodes.extend(walk(data))
    assert caught.value.offset == offset


def test_fault_in_what_only_began_like_a_message_tells_its_place():
    sound, unsound = b"\x08\x01" * 300, b"\x0f"
    content = sound + unsound
    data = b"\x0a" + varints(len(content)) + content
    with pytest.raises(DecodeError) as caught:
        list(walk(data))
    assert caught.value.offset == len(data) - 1


def test_group_below_the_depth_limit_is_refused():
    with pytest.raises(DecodeError, match="byte 2: must be nested at most 3 levels deep"):
        list(walk(b"\x0b" * 9, max_depth=3))


def test_unfinished_group_makes_no_message():
    assert guess_of(b"\x0b\x10\x01").guess is not Guess.MESSAGE
    assert guess_of(b"\x0b\x10\x01\x14").guess is not Guess.MESSAGE
    assert guess_of(b"\x0b\x10\x01\x0c").guess is Guess.MESSAGE


def test_long_text_is_text():
    text = b"lines and lines\n" * 10_000
    (node,) = walk(b"\x0a" + varints(len(text)) + text)
    assert (node.guess, node.value) == (Guess.TEXT, text)


def test_first_fields_of_many_nested_megabytes_come_without_copies():
    tracemalloc.start()
    try:
        data = b"\x08\x01" * 2_000_000
        for _ in range(90):
            data = b"\x0a" + varints(len(data)) + data
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        assert len(list(islice(walk(data), 1_000))) == 1_000
        assert tracemalloc.get_traced_memory()[1] - before < 1_000_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200))
def test_any_bytes_end_in_fields_or_in_an_error_within_them(data):
    places = []
    try:
        for node in walk(data, max_depth=8):
            assert node.depth < 8
            places.append(node.offset)
    except DecodeError as error:
        places.append(error.offset)
    assert all(0 <= place < len(data) for place in places)
