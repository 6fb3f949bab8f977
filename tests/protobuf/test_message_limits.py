"""What bytes from outside may not ask for, and what they must hold."""

import pytest
from wire_bytes import delimited, nested, refused, tag

from penstock.protobuf.errors import EncodeError
from penstock.protobuf.options import DecodeOptions

# Limits.


def test_size_is_limited(Order):
    error = refused(Order, b"\x08\x01", max_size=1)
    assert (error.reason, error.offset, error.path) == ("must be at most 1 bytes, got 2", -1, "Order")
    assert str(error) == "Order: must be at most 1 bytes, got 2"


@pytest.mark.parametrize("number", [17, 67, 99])
def test_depth_is_limited_for_messages_entries_and_unknown_groups(Every, number):
    if number == 99:
        deep = [tag(99, 3) * levels + tag(99, 4) * levels for levels in (9, 10)]
    elif number == 67:  # an entry and its value are two levels
        inner = b""
        for _ in range(4):
            inner = delimited(67, delimited(2, inner))
        deep = [inner, delimited(67, delimited(2, inner))]
    else:
        deep = [nested(10), nested(11)]
    Every.from_bytes(deep[0], DecodeOptions(max_depth=10))
    assert refused(Every, deep[1], max_depth=10).reason == "must be nested at most 10 levels deep"


@pytest.mark.parametrize("number", [17, 99])
def test_ten_thousand_levels_are_refused(Every, number):
    data = tag(99, 3) * 10_000 + tag(99, 4) * 10_000 if number == 99 else nested(10_000)
    assert refused(Every, data).reason == "must be nested at most 100 levels deep"
    assert refused(Every, data, max_depth=1000).reason == "must be nested at most 1000 levels deep"


def test_elements_are_limited(Every):
    for data in (
        delimited(33, b"\x01\x02\x03"),
        (tag(33, 0) + b"\x01") * 3,
        delimited(44, b"") * 3,
        delimited(47, b"") * 3,
        delimited(61, b"") * 3,
        delimited(17, delimited(17, delimited(17, b""))),
    ):
        Every.from_bytes(data, DecodeOptions(max_elements=3))
        assert refused(Every, data, max_elements=2).reason == "must have at most 2 elements in all"


def test_memory_is_limited_by_what_objects_take_not_by_bytes(Every):
    data = delimited(47, b"") * 100
    error = refused(Every, data, max_memory=100_000)
    assert error.reason == "must take at most 100000 bytes of memory"
    assert error.path.startswith("Every.inners[")
    Every.from_bytes(data, DecodeOptions(max_memory=1_000_000))


def test_four_megabytes_of_empty_sub_messages_are_refused(Every):
    assert (
        refused(Every, delimited(47, b"") * 1_400_000).reason == "must take at most 268435456 bytes of memory"
    )


def test_unknown_fields_are_limited_inside_of_groups_too(Order):
    data = tag(9, 3) + (tag(1, 0) + b"\x01") * 2 + tag(9, 4)
    Order.from_bytes(data, DecodeOptions(max_unknown=3))
    error = refused(Order, data, max_unknown=2)
    assert (error.reason, error.offset) == ("must have at most 2 unknown fields", 3)
    assert refused(Order, tag(9, 0) + b"\x01", max_unknown=0, unknown="drop").offset == 0


def test_first_fault_on_the_wire_is_told(Order):
    data = b"\x12\x01\xff" + b"\x00"
    assert refused(Order, data).reason == "the text is no UTF-8"
    assert refused(Order, b"\x00" + data).reason == "field number 0 is not allowed"


# Required fields.


def test_message_without_a_required_field_is_refused_both_ways(Old):
    with pytest.raises(EncodeError, match=r"^Old\.key is required and not set$"):
        Old().to_bytes()
    error = refused(Old, b"")
    assert (str(error), error.offset) == ("Old.key: is required and not set", -1)


def test_required_field_of_a_sub_message_is_found(Old):
    deep = [b"\x08\x01", delimited(15, b""), b"\x4b\x08\x01\x4c\x4b\x4c", delimited(16, b"\x08\x05")]
    assert refused(Old, deep[0] + deep[1]).path == "Old.inner.key"
    assert refused(Old, deep[0] + deep[2]).path == "Old.groups[1].key"
    assert refused(Old, deep[0] + deep[3]).path == "Old.old_by_number[5].key"
    assert refused(Old, deep[1]).path == "Old.key"


def test_partial_messages_are_read_if_that_is_asked_for(Old):
    assert Old.from_bytes(b"\x10\x01", DecodeOptions(partial=True)).number == 1
