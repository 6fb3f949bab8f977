"""What messages read, on both twins: well-formed bytes and bad ones."""

import struct

import messages
import numpy as np
import pytest
from messages import Color, Corpus
from wire_bytes import delimited, refused, tag, varint

from penstock.protobuf.errors import DecodeError
from penstock.protobuf.options import DecodeOptions

# Reading.


def test_last_scalar_wins_and_sub_messages_merge(Every):
    first, second = Every(int32=1, texts=["a"]), Every(int32=2, texts=["b"], text="t")
    data = Every(int32=1, inner=first).to_bytes() + Every(int32=2, inner=second).to_bytes()
    message = Every.from_bytes(data)
    assert message == Every(int32=2, inner=Every(int32=2, texts=["a", "b"], text="t"))


def test_last_member_of_a_oneof_wins_and_a_message_in_it_merges(Every):
    one, two = Every(either_inner=Every(int32=1)).to_bytes(), Every(either_inner=Every(text="a")).to_bytes()
    between = Every(either_int=5).to_bytes()
    assert Every.from_bytes(one + two) == Every(either_inner=Every(int32=1, text="a"))
    assert Every.from_bytes(one + between + two) == Every(either_inner=Every(text="a"))
    assert Every.from_bytes(one + between) == Every(either_int=5)


def test_last_value_of_a_key_wins_and_messages_in_maps_are_replaced(Every):
    data = b"".join(
        Every(by_name={"a": inner}, by_text={"k": corpus}).to_bytes()
        for inner, corpus in [(Every(int32=1), 1), (Every(text="t"), 2)]
    )
    assert Every.from_bytes(data) == Every(by_name={"a": Every(text="t")}, by_text={"k": Corpus.NEWS})


def test_map_entry_without_key_or_value_has_their_zeros(Every, Old):
    assert Every.from_bytes(delimited(61, b"")).by_int == {0: ""}
    assert Every.from_bytes(delimited(66, b"")).by_text == {"": Corpus.UNSPECIFIED}
    assert Every.from_bytes(delimited(67, b"")).by_name == {"": Every()}
    assert Old.from_bytes(b"\x08\x01" + delimited(12, b"")).color_by_name == {"": Color.RED}


def test_packed_and_unpacked_values_are_read_whatever_is_declared(Every):
    assert Every.from_bytes(tag(33, 0) + b"\x01" + delimited(33, b"\x02\x03")).int32s == [1, 2, 3]
    assert Every.from_bytes(delimited(48, b"\x02\x03") + tag(48, 0) + b"\x01").unpacked == [2, 3, 1]
    half = struct.pack("<d", 0.5)
    assert Every.from_bytes(delimited(49, half * 2) + tag(31, 1) + half).unpacked_doubles == [0.5, 0.5]


def test_integers_keep_the_bits_that_fit(Every):
    many = b"\xff" * 9 + b"\x01"
    message = Every.from_bytes(b"".join(tag(number, 0) + many for number in (3, 4, 5, 6, 7, 8, 13, 16)))
    assert (message.int32, message.int64) == (-1, -1)
    assert (message.uint32, message.uint64) == (2**32 - 1, 2**64 - 1)
    assert (message.sint32, message.sint64) == (-(2**31), -(2**63))
    assert message.boolean is True
    assert message.corpus is Corpus.LAST
    assert Every.from_bytes(tag(13, 0) + varint(2**40)).boolean is True
    assert Every.from_bytes(tag(3, 0) + varint(2**32 + 5)).int32 == 5


def test_varints_may_be_longer_than_they_need_be(Every):
    assert Every.from_bytes(b"\x98\x00" + b"\x85" + b"\x80" * 8 + b"\x00").int32 == 5
    assert Every.from_bytes(b"\x72\x81\x80\x00a").text == "a"


def test_bits_above_the_64th_are_dropped(Every):
    assert Every.from_bytes(tag(6, 0) + b"\x81" + b"\x80" * 8 + b"\x7e").uint64 == 1


def test_enum_values_are_members_where_they_have_names_and_integers_else(Every):
    message = Every.from_bytes(tag(16, 0) + b"\x01" + delimited(46, b"\x02\x63"))
    assert message.corpus is Corpus.WEB
    assert message.corpora == [Corpus.NEWS, 99]
    assert type(message.corpora[0]) is Corpus
    assert type(message.corpora[1]) is int


def test_number_that_a_closed_enum_lacks_is_an_unknown_field(Old):
    data = b"\x08\x01" + tag(4, 0) + b"\x63" + tag(14, 0) + b"\x01"
    message = Old.from_bytes(data)
    assert not message.is_set("color")
    assert message.optional_color is Color.RED
    assert message.unknown_fields == tag(4, 0) + b"\x63"
    assert message.to_bytes() == b"\x08\x01" + tag(14, 0) + b"\x01" + tag(4, 0) + b"\x63"


def test_lists_of_closed_enums_lose_what_has_no_name_to_the_unknown_fields(Old):
    unpacked = b"".join(tag(10, 0) + bytes([value]) for value in (1, 99, 2))
    packed = delimited(11, b"\x01\x63\xc8\x01\x62")
    message = Old.from_bytes(b"\x08\x01" + unpacked + packed)
    assert message.colors == [Color.RED, Color.GREEN]
    assert message.packed_colors == [Color.RED, Color.FAR]
    assert message.unknown_fields == tag(10, 0) + b"\x63" + tag(11, 0) + b"\x63" + tag(11, 0) + b"\x62"


def test_map_entry_whose_closed_enum_has_no_name_is_unknown_as_a_whole(Old):
    entry = delimited(12, b"\x0a\x01a\x10\x63")
    message = Old.from_bytes(b"\x08\x01" + entry + delimited(12, b"\x0a\x01b\x10\x02"))
    assert message.color_by_name == {"b": Color.GREEN}
    assert message.unknown_fields == entry


def test_groups_are_read_and_written_between_their_tags(Old):
    message = Old(key=1, group=Old(key=2), groups=[Old(key=3), Old(key=4)])
    data = b"\x08\x01" + b"\x43\x08\x02\x44" + b"\x4b\x08\x03\x4c" + b"\x4b\x08\x04\x4c"
    assert message.to_bytes() == data
    assert Old.from_bytes(data) == message


def test_text_that_need_not_be_utf8_keeps_its_bytes(Old):
    data = b"\x08\x01" + delimited(3, b"a\xff\xc3\xa9") + delimited(13, b"\xed\xa0\x80")
    message = Old.from_bytes(data)
    assert message.text == "a\udcff\xe9"
    assert message.to_bytes() == data


def test_unknown_fields_are_kept_as_they_came(Order):
    unknown = [tag(9, 0) + b"\x85\x00", tag(10, 1) + b"12345678", delimited(11, b"xyz"), tag(12, 5) + b"1234"]
    unknown.append(tag(13, 3) + tag(1, 0) + b"\x01" + tag(14, 3) + tag(14, 4) + tag(13, 4))
    data = b"\x08\x07".join([b"", *unknown, b""])
    message = Order.from_bytes(data)
    assert message.order_id == 7
    assert message.unknown_fields == b"".join(unknown)
    assert message.to_bytes() == b"\x08\x07" + b"".join(unknown)


def test_known_number_of_another_wire_type_is_an_unknown_field(Order):
    data = delimited(1, b"abc") + tag(2, 0) + b"\x05" + tag(3, 5) + b"1234"
    message = Order.from_bytes(data)
    assert message == Order.from_bytes(data)
    assert (message.order_id, message.item_sku, message.quantity) == (0, "", 0)
    assert message.unknown_fields == data


def test_unknown_fields_of_sub_messages_are_kept_where_they_were(Every):
    data = delimited(17, tag(99, 0) + b"\x01") + delimited(47, tag(98, 0) + b"\x02")
    message = Every.from_bytes(data)
    assert message.unknown_fields == b""
    assert message.inner.unknown_fields == tag(99, 0) + b"\x01"
    assert message.to_bytes() == data


def test_unknown_fields_can_be_dropped_or_refused(Every):
    data = delimited(17, tag(99, 0) + b"\x01") + tag(3, 0) + b"\x05"
    kept = Every.from_bytes(data, DecodeOptions(unknown="drop"))
    assert kept.to_bytes() == tag(3, 0) + b"\x05" + delimited(17, b"")
    error = refused(Every, data, unknown="error")
    assert (error.reason, error.offset, error.path) == ("is unknown: field 99", 3, "Every.inner")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_contiguous_buffer_is_read_and_copied(Every, kind):
    data = bytearray(Every(data=b"ab", text="t").to_bytes())
    message = Every.from_bytes(kind(data))
    data[:] = bytes(len(data))
    assert (message.data, message.text) == (b"ab", "t")
    data.append(0)  # nothing holds on to the buffer


def test_array_of_bytes_and_slices_are_read(Order):
    data = np.frombuffer(Order(order_id=300).to_bytes(), np.uint8)
    assert Order.from_bytes(data).order_id == 300
    assert Order.from_bytes(memoryview(b"xx" + bytes(data))[2:]).order_id == 300


@pytest.mark.parametrize("data", ["text", 5, None, [1], memoryview(bytes(8))[::2]])
def test_what_lends_no_contiguous_bytes_is_refused(Order, data):
    with pytest.raises(TypeError, match=r"^data must be bytes, or like them and contiguous, got "):
        Order.from_bytes(data)


def test_options_of_another_type_are_refused(Order):
    with pytest.raises(TypeError, match=r"^options must be a DecodeOptions, got dict$"):
        Order.from_bytes(b"", {})


# Bad bytes.

TAG_FAULTS = [
    (b"\x80", "the tag is truncated", 0),
    (b"\x08\x01\xff\xff", "the tag is truncated", 2),
    (b"\xf8\xff\xff\xff\x1f\x01", "a tag is a varint of at most 5 bytes, up to 2^32 - 1", 0),
    (b"\x88\x80\x80\x80\x80\x00\x01", "a tag is a varint of at most 5 bytes, up to 2^32 - 1", 0),
    (b"\x00\x01", "field number 0 is not allowed", 0),
    (b"\x07", "field number 0 is not allowed", 0),
    (b"\x08\x01\x0e", "wire type 6 does not exist", 2),
    (b"\x0f", "wire type 7 does not exist", 0),
    (b"\x0c", "an end of group 1 without its start", 0),
    (b"\x2b\x28\x01", "group 5 has no end", 0),
    (b"\x2b\x33\x34", "group 5 has no end", 0),
    (b"\x2b\x33\x2c", "group 6 is ended by 5", 2),
    (b"\x28\xff", "the value is truncated", 0),
    (b"\x29\x01\x02", "the value is truncated", 0),
    (b"\x2d\x01", "the value is truncated", 0),
    (b"\x2a\x05abc", "a length of 5 runs past the end, 3 bytes are left", 0),
    (b"\x28" + b"\xff" * 10, "a varint is longer than 10 bytes", 0),
]


@pytest.mark.parametrize(("data", "reason", "offset"), TAG_FAULTS)
def test_bad_bytes_outside_of_known_fields_are_refused_with_offset_and_reason(Order, data, reason, offset):
    error = refused(Order, data)
    assert (error.reason, error.offset, error.path) == (reason, offset, "Order")
    assert str(error) == f"Order at byte {offset}: {reason}"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x08", "Order.order_id at byte 0: the value is truncated"),
        (b"\x08\x80\x80", "Order.order_id at byte 0: the value is truncated"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "Order.order_id at byte 0: a varint is longer than 10 bytes"),
        (b"\x08\x01\x12", "Order.item_sku at byte 2: the value is truncated"),
        (b"\x12\x03ab", "Order.item_sku at byte 0: a length of 3 runs past the end, 2 bytes are left"),
        (
            b"\x12" + b"\xff" * 9 + b"\x01",
            "Order.item_sku at byte 0: a length of 18446744073709551615 runs past the end, 0 bytes are left",
        ),
        (b"\x12\x01\xff", "Order.item_sku at byte 0: the text is no UTF-8"),
        (b"\x12\x03\xed\xa0\x80", "Order.item_sku at byte 0: the text is no UTF-8"),
        (b"\x12\x02\xc0\x80", "Order.item_sku at byte 0: the text is no UTF-8"),
        (b"\x12\x04\xf4\x90\x80\x80", "Order.item_sku at byte 0: the text is no UTF-8"),
    ],
)
def test_bad_bytes_of_a_known_field_are_refused_with_its_name(Order, data, text):
    assert str(refused(Order, data)) == text


def cut_at(cls, data, end):
    """Where the first bytes of a message are refused; None if they are a message."""
    try:
        cls.from_bytes(data[:end])
    except DecodeError as error:
        return error.offset
    return None


def test_every_cut_through_a_message_is_refused_or_is_a_message(users):
    data = messages.user(users).to_bytes()
    for end in range(len(data)):
        offset = cut_at(users.User, data, end)
        assert offset is None or 0 <= offset < end


def test_path_of_a_fault_counts_the_elements_before_it(Every):
    broken = tag(14, 2) + b"\x01\xff"
    data = delimited(47, b"") * 2 + delimited(
        47, delimited(67, b"") + delimited(67, b"\x12" + varint(len(broken)) + broken)
    )
    error = refused(Every, data)
    assert error.path == "Every.inners[2].by_name[1].value.text"
    assert data[error.offset :] == broken
    packed = delimited(33, b"\x01\x02") + tag(33, 0) + b"\x80"
    assert str(refused(Every, packed)) == "Every.int32s[2] at byte 5: the value is truncated"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (delimited(33, b"\x01\x80"), "the value is truncated"),
        (delimited(33, b"\x01" + b"\x80" * 10 + b"\x01"), "a varint is longer than 10 bytes"),
        (delimited(31, bytes(12)), "packed values end within one"),
        (delimited(40, bytes(7)), "packed values end within one"),
    ],
)
def test_packed_values_that_are_not_whole_are_refused(Every, data, reason):
    error = refused(Every, data)
    assert (error.reason, error.offset) == (reason, 0)


def test_groups_that_are_not_closed_are_refused_at_their_start(Old):
    error = refused(Old, b"\x08\x01\x43\x08\x02")
    assert (error.reason, error.offset, error.path) == ("group 8 has no end", 2, "Old.group")
    error = refused(Old, b"\x08\x01\x43\x08\x02\x4c")
    assert (error.reason, error.offset, error.path) == ("group 8 is ended by 9", 5, "Old.group")
    error = refused(Old, b"\x08\x01" + delimited(15, b"\x44"))
    assert (error.reason, error.path) == ("an end of group 8 without its start", "Old.inner")


def test_sub_message_may_not_read_beyond_its_end(Every):
    error = refused(Every, tag(17, 2) + b"\x02" + tag(14, 2)[:1] + b"\x05" + b"aaaaaaaa")
    assert (error.reason, error.path) == (
        "a length of 5 runs past the end, 0 bytes are left",
        "Every.inner.text",
    )
