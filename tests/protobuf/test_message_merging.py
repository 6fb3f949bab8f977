"""Messages and bytes merged into a message."""

import pytest
from wire_bytes import tag

from penstock.protobuf.errors import DecodeError, EncodeTypeError


def test_merging_bytes_is_reading_them_after_ones_own(Every):
    first = Every(int32=1, texts=["a"], by_text={"a": 1}, inner=Every(int32=1), either_int=1, text="t")
    second = Every(int32=2, texts=["b"], by_text={"a": 2, "b": 1}, inner=Every(text="x"), either_text="e")
    merged = first.copy()
    merged.merge_from(second.to_bytes())
    assert merged == Every.from_bytes(first.to_bytes() + second.to_bytes())


def test_zero_on_the_wire_replaces_a_value_and_a_field_that_is_not_set_does_not(Every):
    message = Every(int32=5)
    message.merge_from(Every())
    assert message.int32 == 5
    message.merge_from(tag(3, 0) + b"\x00")
    assert message.int32 == 0


def test_merging_a_message_copies_what_it_holds(Every):
    other = Every(inner=Every(texts=["a"]), inners=[Every(int32=1)], data=b"d")
    message = Every(inner=Every(int32=4))
    inner = message.inner
    message.merge_from(other)
    assert message.inner is inner
    other.inner.texts.append("b")
    other.inners[0].int32 = 2
    assert message == Every(inner=Every(int32=4, texts=["a"]), inners=[Every(int32=1)], data=b"d")


def test_merging_a_message_with_itself_doubles_its_lists(Every):
    message = Every(texts=["a"], int32=1)
    message.merge_from(message)
    assert message == Every(texts=["a", "a"], int32=1)


def test_refused_bytes_leave_the_message_as_it_was(Every):
    message = Every(texts=["a"], inner=Every(int32=1))
    before = message.copy()
    bad = Every(texts=["b"], inner=Every(int32=2)).to_bytes() + b"\x00"
    with pytest.raises(DecodeError, match="field number 0"):
        message.merge_from(bad)
    assert message == before


def test_other_that_cannot_be_written_leaves_the_message_as_it_was(Every):
    message = Every(texts=["a"])
    with pytest.raises(EncodeTypeError, match=r"^Every\.texts\[1\] must be a str, got int$"):
        message.merge_from(Every(texts=["b", 1]))
    assert message.texts == ["a"]


def test_merging_another_class_is_refused(Every, Order):
    with pytest.raises(TypeError, match=r"^other must be an Every or bytes, got Order$"):
        Every().merge_from(Order())


def test_merging_extends_what_stands_in_for_a_list(Every):
    message = Every()
    message.texts = ("a",)
    message.int32s = None
    message.merge_from(Every(texts=["b"], int32s=[1]))
    assert message.texts == ["a", "b"]
    assert message.int32s == [1]


def test_merging_sets_what_was_deleted(Every):
    message = Every(inner=Every(int32=1))
    del message.inner, message.int32s, message.text
    message.merge_from(Every(inner=Every(int32=2), int32s=[3], text="t"))
    assert message == Every(inner=Every(int32=2), int32s=[3], text="t")


def test_merging_unknown_fields_appends_them(Order):
    message = Order.from_bytes(tag(9, 0) + b"\x01")
    message.merge_from(tag(9, 0) + b"\x02")
    assert message.unknown_fields == tag(9, 0) + b"\x01" + tag(9, 0) + b"\x02"
