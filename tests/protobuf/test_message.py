"""What messages are, on both twins: construction, presence, copies, equality, many at once."""

import copy
import math
import pickle
import struct

import messages
import numpy as np
import pytest
from messages import Color, Corpus
from wire_bytes import nested, tag

from penstock.errors import PenstockError
from penstock.protobuf.errors import DecodeError, EncodeError, EncodeTypeError
from penstock.protobuf.fields import Int32, field
from penstock.protobuf.options import DecodeOptions
from twins import load

# Construction.


def test_new_message_has_zeros_empty_containers_of_its_own_and_none(Every):
    message = Every()
    assert (message.int32, message.double, message.boolean) == (0, 0.0, False)
    assert (message.text, message.data, message.corpus) == ("", b"", Corpus.UNSPECIFIED)
    assert message.inner is None
    assert message.set_int is None
    assert message.texts == []
    assert message.by_text == {}
    assert message.texts is not Every().texts
    assert message.by_text is not Every().by_text
    assert message.to_bytes() == b""


def test_arguments_are_fields_by_name_and_none_leaves_one_out(Order):
    message = Order(order_id=7, item_sku="W", quantity=None)
    assert (message.order_id, message.item_sku, message.quantity) == (7, "W", 0)


def test_unknown_argument_is_refused_with_the_names_that_there_are(Order):
    with pytest.raises(
        TypeError, match=r"^Order has no field 'sku', only order_id, item_sku, quantity, price_cents$"
    ):
        Order(sku="W")


def test_arguments_by_position_are_refused(Order):
    with pytest.raises(TypeError):
        Order(7)


def test_lists_dicts_and_arrays_that_are_given_are_kept(Every, Arrays):
    texts, by_text, doubles = ["a"], {"a": Corpus.WEB}, np.array([1.0])
    message = Every(texts=texts, by_text=by_text)
    assert message.texts is texts
    assert message.by_text is by_text
    assert Arrays(doubles=doubles).doubles is doubles


def test_other_iterables_become_lists(Every):
    message = Every(texts=(each for each in "ab"), int32s=range(3))
    assert message.texts == ["a", "b"]
    assert message.int32s == [0, 1, 2]


def test_two_members_of_a_oneof_are_refused(Every):
    with pytest.raises(
        ValueError,
        match=r"^Every: only one of either_text, either_int, either_inner can be set, they are the oneof "
        r"either$",
    ):
        Every(either_text="a", either_int=1)


def test_message_has_no_other_attributes(Order):
    with pytest.raises(AttributeError):
        Order().colour = 1


def test_message_itself_has_no_fields(Message):
    with pytest.raises(PenstockError, match="instance of a class with fields, got Message"):
        Message()


# Presence and oneofs.


def test_setting_one_member_of_a_oneof_clears_the_others(Every):
    message = Every(either_text="a")
    message.either_int = 0
    assert message.either_text is None
    assert message.which_oneof("either") == "either_int"
    message.either_inner = Every()
    assert message.either_int is None
    message.either_text = None
    assert message.which_oneof("either") == "either_inner"


def test_field_with_presence_is_written_even_if_zero_and_one_without_is_not(Every):
    assert Every(set_int=0).to_bytes() == tag(21, 0) + b"\x00"
    assert Every(set_text="").to_bytes() == tag(24, 2) + b"\x00"
    assert Every(int32=0, text="").to_bytes() == b""
    assert Every.from_bytes(tag(21, 0) + b"\x00").set_int == 0


def test_is_set_tells_what_would_be_written(Every):
    message = Every(int32=0, set_int=0, text="a", texts=[], inner=Every(), double=-0.0)
    found = [
        name for name in ("int32", "set_int", "text", "texts", "inner", "double") if message.is_set(name)
    ]
    assert found == ["set_int", "text", "inner", "double"]
    with pytest.raises(ValueError, match=r"^Every has no field 'colour', only double, float_, int32"):
        message.is_set("colour")


def test_cleared_field_is_as_in_a_new_message(Every):
    message = Every(int32=1, set_int=1, texts=["a"], either_text="a")
    for name in ("int32", "set_int", "texts", "either_text"):
        message.clear_field(name)
    assert message == Every()


def test_negative_zero_is_no_zero(Every):
    assert Every(double=-0.0).to_bytes() == tag(1, 1) + struct.pack("<d", -0.0)
    assert math.copysign(1, Every.from_bytes(Every(float_=-0.0).to_bytes()).float_) == -1


def test_deleted_slot_and_none_are_fields_that_are_not_set(Every):
    message = Every(int32=5, texts=["a"], by_text={"a": 1}, inner=Every())
    del message.int32, message.texts
    message.by_text = None
    message.inner = None
    assert message.to_bytes() == b""
    assert not message.is_set("texts")
    assert repr(message) == "Every()"


def test_declared_default_is_read_while_the_field_is_not_set(Old):
    message = Old(key=1)
    assert (message.number, message.text, message.color) == (41, "none", Color.GREEN)
    assert (message.data, message.ratio, message.flag) == (b"\xff", 0.5, True)
    assert not message.is_set("number")
    assert message.to_bytes() == b"\x08\x01"
    message.number = 41
    assert message.is_set("number")
    assert message.to_bytes() == b"\x08\x01\x10\x29"
    message.number = None
    assert message.number == 41


# Copies, equality, repr, pickling.


def test_copy_shares_nothing(Every):
    message = Every(texts=["a"], by_name={"a": Every(int32=1)}, inners=[Every()], inner=Every(text="t"))
    made = message.copy()
    assert made == message
    made.texts.append("b")
    made.by_name["a"].int32 = 2
    made.inners[0].int32 = 3
    made.inner.text = "u"
    assert message == Every(
        texts=["a"], by_name={"a": Every(int32=1)}, inners=[Every()], inner=Every(text="t")
    )


class CompiledLeaf(load("penstock.protobuf.message", "c")):
    text: str = field(1)
    inner: "CompiledLeaf | None" = field(2)


class PlainLeaf(load("penstock.protobuf.message", "py")):
    text: str = field(1)
    inner: "PlainLeaf | None" = field(2)


class CompiledDemand(load("penstock.protobuf.message", "c")):
    key: str = field(1, required=True)
    number: Int32 = field(2)


class PlainDemand(load("penstock.protobuf.message", "py")):
    key: str = field(1, required=True)
    number: Int32 = field(2)


@pytest.mark.parametrize("leaf", [CompiledLeaf, PlainLeaf])
def test_pickles_are_equal_and_hold_unknown_fields_and_a_thousand_levels(leaf):
    message = leaf.from_bytes(nested(1000, number=2), DecodeOptions(max_depth=1000))
    message.text = "t"
    message.merge_from(tag(9, 0) + b"\x01")
    made = pickle.loads(pickle.dumps(message))
    assert made == message
    assert made.unknown_fields == tag(9, 0) + b"\x01"


@pytest.mark.parametrize("demand", [CompiledDemand, PlainDemand])
def test_message_that_lacks_required_fields_is_pickled_as_it_is(demand):
    made = pickle.loads(pickle.dumps(demand(number=4)))
    assert made == demand(number=4)
    assert not made.is_set("key")


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_copies_of_the_standard_library_share_nothing(users, how):
    message = messages.user(users)
    made = how(message)
    assert made == message
    assert made is not message
    assert made.devices[0] is not message.devices[0]


def test_copies_ask_for_no_required_fields_nor_right_values(Old):
    message = Old(inner=Old(number="five"))
    assert copy.deepcopy([message]) == [message]
    assert copy.copy(message) == message


def test_equality_is_of_class_fields_and_unknown_fields(Every, Order):
    assert Order(order_id=1) == Order(order_id=1)
    assert Order(order_id=1) != Order(order_id=2)
    assert Every(set_int=0) != Every()
    assert Every() != Order()
    assert Order() != 5
    assert Order.from_bytes(tag(9, 0) + b"\x01") != Order()


def test_none_equals_what_is_empty_where_it_means_the_same(Every):
    message = Every()
    message.texts = message.by_text = message.int32 = None
    del message.text
    assert message == Every()
    assert Every() == message


def test_one_and_the_same_nan_is_equal_and_another_is_not(Every):
    nan = float("nan")
    assert Every(double=nan) == Every(double=nan)
    assert Every(double=nan) != Every(double=float("nan"))


def test_message_has_no_hash(Order):
    with pytest.raises(TypeError, match="unhashable"):
        hash(Order())


def test_repr_shows_the_fields_that_are_set(Every):
    message = Every(int32=0, set_int=0, texts=["a"], by_text={"k": Corpus.WEB}, inner=Every(text="t"))
    assert repr(message) == (
        "Every(inner=Every(text='t'), set_int=0, texts=['a'], by_text={'k': <Corpus.WEB: 1>})"
    )


def test_repr_of_a_message_that_holds_itself_ends(Every):
    message = Every(int32=5)
    message.inner, message.inners = message, [message, Every(by_name={"a": message})]
    assert repr(message) == "Every(int32=5, inner=..., inners=[..., Every(by_name={'a': ...})])"


def test_repr_of_anything_in_a_slot_is_harmless(Every):
    message = Every()
    message.texts, message.int32, message.inner = 5, "x", object
    assert repr(message) == "Every(int32='x', inner=<class 'object'>, texts=5)"
    endless = []
    endless.append(endless)
    for each in (endless, [message], {"a": endless}):
        message.texts = each
        assert len(repr(message)) < 2000


# Many at once.


def test_many_messages_are_written_back_to_back(Order):
    orders = [Order(order_id=at) for at in range(3)] + [Order(item_sku="W")]
    data, offsets = Order.encode_many(orders)
    assert data == b"".join(each.to_bytes() for each in orders)
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [0, 0, 2, 4, 7]
    assert Order.decode_many(data, offsets) == orders
    assert Order.decode_many(bytearray(data), offsets.tolist()) == orders
    assert Order.decode_many([each.to_bytes() for each in orders]) == orders
    assert Order.encode_many(iter([])) == (b"", np.zeros(1, np.int64))


def test_parts_of_the_bytes_can_be_read_alone(Order):
    data, offsets = Order.encode_many([Order(order_id=at) for at in range(1, 9)])
    assert [each.order_id for each in Order.decode_many(data, offsets[3:6])] == [4, 5]
    assert Order.decode_many(data, offsets[:1]) == []


def test_error_of_one_of_many_tells_which(Order):
    with pytest.raises(DecodeError) as caught:
        Order.decode_many([b"", b"\x08\x01\x12\x01\xff"])
    assert (caught.value.path, caught.value.offset) == ("Order[1].item_sku", 2)
    with pytest.raises(EncodeError, match=r"^Order\[2\]\.order_id must be 0 to 4294967295, got -1$"):
        Order.encode_many([Order(), Order(), Order(order_id=-1)])
    with pytest.raises(EncodeTypeError, match=r"^Order\[1\] must be an Order, got int$"):
        Order.encode_many([Order(), 5])


@pytest.mark.parametrize(
    ("offsets", "error", "text"),
    [
        ([0, 3, 2], ValueError, "offsets must not go down, got 3 before 2"),
        ([0, 9], ValueError, "offsets must be 0 to 4, got 9"),
        ([-1, 2], ValueError, "offsets must be 0 to 4, got -1"),
        ([], TypeError, "offsets must be integers, got float64"),
        (
            np.zeros(0, np.int64),
            ValueError,
            r"offsets must be n \+ 1 integers in one dimension, got shape \(0,\)",
        ),
        ([[0, 1]], ValueError, r"offsets must be n \+ 1 integers in one dimension, got shape \(1, 2\)"),
        ([0.0, 1.0], TypeError, "offsets must be integers, got float64"),
        (np.array([0, 2**63], np.uint64), ValueError, "offsets must be 0 to 4, got 9223372036854775808"),
    ],
)
def test_bad_offsets_are_refused(Order, offsets, error, text):
    with pytest.raises(error, match=f"^{text}$"):
        Order.decode_many(b"\x08\x01\x08\x02", offsets)


def test_bytes_of_many_without_offsets_are_refused(Order):
    with pytest.raises(TypeError, match="offsets must be given with bytes, or a sequence of buffers without"):
        Order.decode_many(b"\x08\x01")
