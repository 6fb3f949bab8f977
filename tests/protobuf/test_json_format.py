import inspect
import math
import struct
import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidType
from penstock.protobuf.declaration import describe
from penstock.protobuf.descriptors import Presence
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import DecodeError, EncodeError, EncodeTypeError
from penstock.protobuf.fields import (
    Double,
    DoubleArray,
    Fixed64,
    Float,
    FloatArray,
    Int32,
    Int64,
    Int64Array,
    UInt32,
    field,
)
from penstock.protobuf.json import state as json_state
from penstock.protobuf.json import text as json_text
from penstock.protobuf.json.scalars import shortest
from penstock.protobuf.limits import ENTRY_COST, PACKED_ELEMENT_COST, message_cost
from twins import both_twins

Message = both_twins("penstock.protobuf.message")


class Corpus(Enum, package="shop"):
    UNSPECIFIED = 0
    WEB = 1
    NET = 1
    BELOW = -7


class Color(Enum, package="shop", closed=True):
    RED = 1
    GREEN = 2


@pytest.fixture
def Order(Message):
    class Item(Message, package="shop"):
        sku_code: str = field(1)
        quantity: UInt32 = field(2)

    class Order(Message, package="shop"):
        order_id: UInt32 = field(1)
        at_ns: Fixed64 = field(2)
        tags: list[str] = field(3)
        items: list[Item] = field(4)
        counts: dict[str, Int64] = field(5)
        by_number: dict[Int32, Item] = field(6)
        by_truth: dict[bool, bytes] = field(7)
        parent: "Order | None" = field(8)
        note: str | None = field(9)
        weight: Float = field(10)
        price: Double = field(11)
        photo: bytes = field(12)
        corpus: Corpus = field(13)
        corpora: list[Corpus] = field(14)
        colors: dict[str, Color] = field(15)
        color: Color | None = field(16)
        a_name: str | None = field(17, oneof="who")
        a_number: Int32 | None = field(18, oneof="who")
        prices: DoubleArray = field(19)
        totals: Int64Array = field(20)
        old: Int32 = field(21, default=41)
        paid: bool = field(22)
        ratios: FloatArray = field(23)
        odd: str = field(24, name="odd_Name", json_name="@odd")
        level: Int32 = field(25)

    Order.Item = Item
    return Order


# Writing.


def test_names_are_lower_camel_case_and_those_of_the_schema_on_demand(Order):
    order = Order(order_id=1, odd="x", items=[Order.Item(sku_code="a")])
    assert order.to_dict() == {"orderId": 1, "items": [{"skuCode": "a"}], "@odd": "x"}
    assert order.to_dict(preserving_names=True) == {
        "order_id": 1,
        "items": [{"sku_code": "a"}],
        "odd_Name": "x",
    }


def test_integers_of_64_bits_are_text_and_smaller_ones_numbers(Order):
    order = Order(order_id=2**32 - 1, at_ns=2**64 - 1, counts={"a": -(2**63)}, by_number={-1: Order.Item()})
    assert order.to_dict() == {
        "orderId": 4294967295,
        "atNs": "18446744073709551615",
        "counts": {"a": "-9223372036854775808"},
        "byNumber": {"-1": {}},
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (struct.unpack("<f", struct.pack("<f", 0.1))[0], "0.1"),
        (3.4028234663852886e38, "3.4028235e38"),
        (1e-45, "1e-45"),
        (16777216.0, "16777216.0"),
        (-1.5, "-1.5"),
        (1.17549435e-38, "1.1754944e-38"),
        (math.inf, '"Infinity"'),
        (-1e300, '"-Infinity"'),
        (math.nan, '"NaN"'),
    ],
)
def test_a_float_has_the_fewest_digits_that_read_back_as_the_same_float(Order, value, text):
    assert Order(weight=value).to_json() == f'{{"weight":{text}}}'
    back = Order.from_json(Order(weight=value).to_json())
    assert back.to_bytes() == Order(weight=value).to_bytes()


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_every_float_reads_back_and_no_shorter_text_would(value):
    text = shortest(value)
    assert struct.pack("<f", text) == struct.pack("<f", value)
    assert digits_of(text) <= digits_of(np.float32(value))


def digits_of(number):
    return len(np.format_float_scientific(number, unique=True, trim="-").partition("e")[0].strip("-"))


def test_a_double_that_is_not_finite_is_text(Order):
    assert Order(price=-math.inf).to_dict() == {"price": "-Infinity"}
    assert Order.from_json('{"price": "-Infinity"}').price == -math.inf
    assert math.isnan(Order.from_json('{"price": "NaN"}').price)


def test_negative_zero_is_written_and_read(Order):
    assert Order(price=-0.0, weight=-0.0).to_json() == '{"weight":-0.0,"price":-0.0}'
    for text in ('{"price":-0.0}', '{"price":-0}', '{"price":"-0"}', '{"note":"2024-01-01","price": -0 }'):
        assert math.copysign(1.0, Order.from_json(text).price) == -1.0


def test_a_double_that_is_zero_as_a_float_is_left_out_as_it_is_from_bytes(Order):
    for value, written in (
        (1e-50, {}),
        (2.0**-150, {}),
        (2.0**-149, {"weight": 1e-45}),
        (-1e-50, {"weight": -0.0}),
    ):
        order = Order(weight=value)
        assert order.to_dict() == written
        assert Order.from_bytes(order.to_bytes()).to_dict() == written


def test_enums_are_names_the_first_of_several_and_numbers_without_one(Order):
    order = Order(corpus=Corpus.NET, corpora=[Corpus.BELOW, 99], color=Color.GREEN)
    assert order.to_dict() == {"corpus": "WEB", "corpora": ["BELOW", 99], "color": "GREEN"}
    assert order.to_dict(enums_as_integers=True) == {"corpus": 1, "corpora": [-7, 99], "color": 2}


def test_a_number_that_a_closed_enum_lacks_is_not_written(Order):
    with pytest.raises(EncodeError, match=r"^Order\.color must be a value of Color, got 3$"):
        Order(color=3).to_dict()


def test_defaults_are_written_on_demand_for_fields_without_presence(Order):
    written = Order.Item(sku_code="x").to_dict(including_defaults=True)
    assert written == {"skuCode": "x", "quantity": 0}
    written = Order(items=[Order.Item()]).to_dict(including_defaults=True)
    assert written["items"] == [{"skuCode": "", "quantity": 0}]
    assert written["tags"] == written["totals"] == []
    assert written["counts"] == {}
    assert (written["atNs"], written["corpus"], written["photo"]) == ("0", "UNSPECIFIED", "")
    assert written.keys().isdisjoint({"note", "parent", "old", "aName", "aNumber", "color"})


def test_a_declared_default_is_not_written_until_it_is_set(Order):
    assert Order().to_dict() == {}
    assert Order(old=41).to_dict() == {"old": 41}


def test_explicit_zeros_and_empty_messages_are_written(Order):
    assert Order(note="", a_number=0, parent=Order()).to_dict() == {"parent": {}, "note": "", "aNumber": 0}


def test_arrays_are_written_as_lists_are(Order):
    order = Order(prices=np.array([1.5, math.nan]), totals=np.array([2**62]), ratios=np.array([0.1], "f4"))
    assert order.to_dict() == {"prices": [1.5, "NaN"], "totals": [str(2**62)], "ratios": [0.1]}
    back = Order.from_dict(order.to_dict())
    assert back.totals.dtype == np.int64
    assert back.to_bytes() == order.to_bytes()


def test_a_deleted_slot_is_not_set(Order):
    order = Order(order_id=1, note="x")
    del order.order_id
    assert order.to_dict() == {"note": "x"}


def test_an_indent_gives_one_line_a_value(Order):
    assert Order(tags=["a"]).to_json(indent=2) == '{\n  "tags": [\n    "a"\n  ]\n}'


def test_text_beyond_ascii_stands_as_it_is(Order):
    assert Order(note="né\u2028\x00").to_json() == '{"note":"né\u2028\\u0000"}'


def test_required_fields_must_be_there_both_ways(Message):
    class Old(Message):
        number: Int32 | None = field(1, required=True)
        inner: "Old | None" = field(2)

    with pytest.raises(EncodeError, match=r"^Old\.inner\.number is required and not set$"):
        Old(number=1, inner=Old()).to_dict()
    with pytest.raises(DecodeError, match=r"^Old\.inner\.number: is required and not set$"):
        Old.from_json('{"number": 1, "inner": {}}')
    assert Old.from_json('{"number": 0}').number == 0


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"order_id": -1}, r"Order\.order_id must be 0 to 4294967295, got -1"),
        ({"order_id": 1 << 99}, r"Order\.order_id must be 0 to 4294967295, got an integer of 100 bits"),
        ({"counts": {"a": 2**63}}, rf"Order\.counts\['a'\] must be -{2**63} to {2**63 - 1}, got {2**63}"),
        ({"tags": ["a", "\ud800"]}, r"Order\.tags\[1\] must be Unicode text without lone surrogates, got .*"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_path(Order, fields, error):
    with pytest.raises(EncodeError, match=f"^{error}$"):
        Order(**fields).to_json()


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"order_id": "1"}, r"Order\.order_id must be an int, got str"),
        ({"price": "1"}, r"Order\.price must be a float, got str"),
        ({"price": 1j}, r"Order\.price must be a float, got complex"),
        ({"tags": [b"x"]}, r"Order\.tags\[0\] must be a str, got bytes"),
        ({"photo": "x"}, r"Order\.photo must be bytes, got str"),
        ({"paid": "x"}, r"Order\.paid must be a bool, got str"),
        ({"counts": [1]}, r"Order\.counts must be a dict, got list"),
        ({"parent": 7}, r"Order\.parent must be an Order, got int"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_path(Order, fields, error):
    order = Order()
    for name, value in fields.items():
        setattr(order, name, value)
    with pytest.raises(EncodeTypeError, match=f"^{error}$"):
        order.to_json()


class OnlyAnIndex:
    def __index__(self):
        return 5


@pytest.mark.parametrize("name", ["price", "weight"])
@pytest.mark.parametrize("value", [OnlyAnIndex(), 10**400, -(10**400)], ids=["index", "large", "small"])
def test_what_is_no_double_in_bytes_is_none_in_json(Order, name, value):
    order = Order(**{name: value})
    with pytest.raises(EncodeError) as in_bytes:
        order.to_bytes()
    with pytest.raises(EncodeError) as in_json:
        order.to_json()
    assert str(in_json.value) == str(in_bytes.value)


@pytest.mark.parametrize("nothing", [0.0, "", b"", [], {}, (), Decimal(0), 0j, False], ids=repr)
def test_nothing_of_another_type_is_no_zero_as_it_is_none_in_bytes(Order, nothing):
    for each in describe(Order).fields:
        order = Order()
        setattr(order, each.name, nothing)
        if each.presence is Presence.IMPLICIT and not each.array:
            assert outcome(order.to_dict) == outcome(order.to_bytes), each.name


@pytest.mark.parametrize("name", ["order_id", "at_ns", "price", "weight", "paid", "odd", "photo", "corpus"])
def test_an_array_is_no_single_value(Order, name):
    for array in (np.array([1, 2]), np.array([], "f4")):
        order = Order()
        setattr(order, name, array)
        with pytest.raises(EncodeTypeError, match=rf"^Order\.{name} must be .*, got ndarray$"):
            order.to_dict()


def outcome(write):
    try:
        return bool(write())
    except EncodeTypeError as error:
        return str(error)


def test_numbers_of_numpy_are_written_as_numbers(Order):
    order = Order(order_id=np.uint8(7), price=np.float32(0.5), paid=np.True_, level=True)
    assert order.to_json() == '{"orderId":7,"price":0.5,"paid":true,"level":1}'


def test_a_message_within_itself_is_refused(Order):
    order = Order()
    order.parent = order
    with pytest.raises(EncodeError, match="must be nested at most 100 levels deep"):
        order.to_json()


# Reading.


def test_both_names_of_a_field_are_read_but_not_both_at_once(Order):
    assert Order.from_json('{"orderId": 1}').order_id == Order.from_json('{"order_id": 1}').order_id == 1
    assert Order.from_json('{"@odd": "x"}').odd == Order.from_json('{"odd_Name": "x"}').odd == "x"
    with pytest.raises(DecodeError, match=r"^Order\.order_id: is named twice, as orderId and order_id$"):
        Order.from_json('{"orderId": 1, "order_id": 1}')


def test_unknown_names_are_refused_or_passed_over(Order):
    text = '{"items": [{}, {"colour": [{}], "quantity": 2}], "corpora": ["WEB", "DEEP", 5]}'
    with pytest.raises(DecodeError, match=r"^Order\.items\[1\]: has no field 'colour'$"):
        Order.from_json(text)
    order = Order.from_json(text, ignore_unknown=True)
    assert [each.quantity for each in order.items] == [0, 2]
    assert order.corpora == [Corpus.WEB, 5]


def test_unknown_enum_names_are_refused_or_passed_over(Order):
    texts = ('{"corpus": "DEEP"}', '{"color": "BLUE"}', '{"colors": {"a": "BLUE"}}')
    for text in texts:
        with pytest.raises(DecodeError, match=r"must be a value of Co\w+, got '\w+'"):
            Order.from_json(text)
        assert Order.from_json(text, ignore_unknown=True) == Order()


def test_enums_are_read_by_any_name_and_by_number(Order):
    for value in ('"WEB"', '"NET"', "1", "1.0", '"1"'):
        assert Order.from_json(f'{{"corpus": {value}}}').corpus is Corpus.WEB
    assert Order.from_json('{"corpus": 99}').corpus == 99
    for text in ('{"color": 3}', '{"corpus": 2147483648}', '{"corpus": true}', '{"corpus": 1.5}'):
        with pytest.raises(DecodeError, match=r"^Order\.\w+: must be a"):
            Order.from_json(text)


@pytest.mark.parametrize("text", ["5", "5.0", "50e-1", "0.5E+1", '"5"', '"5.0"', '"05"', '"5e0"'])
def test_an_integer_is_read_however_it_is_written(Order, text):
    order = Order.from_json(f'{{"orderId": {text}, "atNs": {text}, "totals": [{text}]}}')
    assert (order.order_id, order.at_ns, order.totals.tolist()) == (5, 5, [5])


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("number", ["9007199254740993.0", "9007199254740993e0", "90071992547409930E-1"])
def test_an_integer_above_2_to_53_is_exact_even_with_a_fraction_or_an_exponent(Order, number, quote):
    assert Order.from_json(f'{{"atNs": {quote}{number}{quote}, "price": 1.5}}').at_ns == 2**53 + 1


@pytest.mark.parametrize(
    "text",
    [
        "-1",
        "4294967296",
        "0.5",
        '"0.5"',
        '""',
        '" 5"',
        '"5 "',
        '"+5"',
        '"0x5"',
        '"1_0"',
        '"٥"',
        '"1e"',
        "true",
        "[]",
        "{}",
        '"NaN"',
        "1e400",
        "1e30",
        '"1e999999999999"',
        '"1e9999999999999999999999"',
    ],
)
def test_what_is_no_such_integer_is_refused(Order, text):
    with pytest.raises(DecodeError, match=r"^Order\.order_id: must be "):
        Order.from_json(f'{{"orderId": {text}}}')


@pytest.mark.parametrize(
    "text", ["1e400", "-1e400", "1" * 400, "true", '""', '" 1"', '"inf"', '"nan"', '"1e400"']
)
def test_what_is_no_double_is_refused(Order, text):
    with pytest.raises(DecodeError, match=r"^Order\.price: must be (a number|within the range)"):
        Order.from_json(f'{{"price": {text}}}')


@pytest.mark.parametrize("text", ["3.4028236e38", "-3.5e38", '"1e39"'])
def test_what_is_beyond_a_float_is_refused(Order, text):
    with pytest.raises(DecodeError, match=r"^Order\.weight: must be within the range of a float"):
        Order.from_json(f'{{"weight": {text}}}')


def test_a_float_is_rounded_to_what_the_wire_holds(Order):
    assert Order.from_json('{"weight": 0.1}') == Order.from_bytes(Order(weight=0.1).to_bytes())


@pytest.mark.parametrize("text", ["+/8=", "+/8", "-_8=", "-_8", "-/8"])
def test_bytes_are_base64_of_either_alphabet_with_or_without_padding(Order, text):
    assert Order.from_json(f'{{"photo": "{text}"}}').photo == b"\xfb\xff"


@pytest.mark.parametrize("text", ['"A"', '"A=AA"', '"AA AA"', '"A*=="', '"é"', "7", "[65]"])
def test_what_is_no_base64_is_refused(Order, text):
    with pytest.raises(DecodeError, match=r"^Order\.photo: must be base64, got "):
        Order.from_json(f'{{"photo": {text}}}')


def test_null_means_that_a_field_is_not_set(Order):
    text = '{"orderId": null, "note": null, "tags": null, "counts": null, "parent": null, "aName": null}'
    assert Order.from_json(text) == Order()
    assert Order.from_json('{"aName": null, "aNumber": 1}').which_oneof("who") == "a_number"


@pytest.mark.parametrize(
    "text",
    ['{"tags": [null]}', '{"items": [null]}', '{"counts": {"a": null}}', '{"byNumber": {"1": null}}', "null"],
)
def test_null_is_no_element_and_no_message(Order, text):
    with pytest.raises(DecodeError, match=r"got null$"):
        Order.from_json(text)


def test_two_members_of_one_oneof_are_refused(Order):
    with pytest.raises(
        DecodeError, match=r"^Order: only one of a_name, a_number can be set, they are the oneof who$"
    ):
        Order.from_json('{"aName": "x", "aNumber": 1}')


def test_a_name_that_stands_twice_is_refused_where_it_matters(Order):
    with pytest.raises(DecodeError, match=r"^Order\.items\[1\]: has the name 'quantity' twice$"):
        Order.from_json('{"items": [{}, {"quantity": 1, "quantity": 1}]}')
    with pytest.raises(DecodeError, match=r"^Order\.counts: has the name 'a' twice$"):
        Order.from_json('{"counts": {"a": 1, "b": 1, "a": 2}}')


def test_keys_of_maps_are_read_as_what_they_are(Order):
    order = Order.from_json('{"byNumber": {"-3": {}}, "byTruth": {"true": "AA==", "false": ""}}')
    assert list(order.by_number) == [-3]
    assert order.by_truth == {True: b"\0", False: b""}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"byNumber": {"a": {}}}', r"Order\.by_number\['a'\]: must be an integer, got 'a'"),
        ('{"byNumber": {"1": {}, "01": {}}}', r"Order\.by_number\['01'\]: stands in the map twice"),
        ('{"byTruth": {"True": ""}}', r"Order\.by_truth\['True'\]: must be 'true' or 'false', got 'True'"),
        ('{"counts": {"\\udfff": 1}}', r"Order\.counts\['\\udfff'\]: must be Unicode text .*"),
        ('{"byNumber": {"7": {"quantity": -1}}}', r"Order\.by_number\['7'\]\.quantity: must be 0 to .*"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_key(Order, text, error):
    with pytest.raises(DecodeError, match=f"^{error}$"):
        Order.from_json(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", r"Order: must be an object, got an array"),
        ('"x"', r"Order: must be an object, got 'x'"),
        ('{"tags": "x"}', r"Order\.tags: must be an array, got 'x'"),
        ('{"tags": {}}', r"Order\.tags: must be an array, got an object"),
        ('{"tags": [1]}', r"Order\.tags\[0\]: must be text, got 1"),
        ('{"counts": []}', r"Order\.counts: must be an object, got an array"),
        ('{"parent": true}', r"Order\.parent: must be an object, got true"),
        ('{"paid": "true"}', r"Order\.paid: must be true or false, got 'true'"),
        ('{"paid": 1}', r"Order\.paid: must be true or false, got 1"),
        ('{"note": "\\ud83d"}', r"Order\.note: must be Unicode text without lone surrogates, .*"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(Order, text, error):
    with pytest.raises(DecodeError, match=f"^{error}$") as caught:
        Order.from_json(text)
    assert caught.value.offset == -1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "{} x",
        "{'a': 1}",
        "{a: 1}",
        '{"orderId": 01}',
        '{"orderId": 1,}',
        '{"price": .5}',
        '{"tags": [,]}',
        '{"note": "\x01"}',
        '{"note": "\\x"}',
        "\ufeff{}",
        "// no\n{}",
        '{"orderId": 0x1}',
        '{"price": +1}',
        '{"price": NaN}',
        '{"price": -Infinity}',
    ],
)
def test_what_is_no_json_is_refused(Order, text):
    with pytest.raises(DecodeError, match=r"^Order: is no JSON"):
        Order.from_json(text)


def test_the_place_of_a_mistake_in_the_text_is_told(Order):
    with pytest.raises(DecodeError, match=r"^Order: is no JSON at line 2, column 9: "):
        Order.from_json('{"note":\n "abc", x}')


def test_bytes_are_read_as_utf8(Order):
    text = '{"note": "né"}'
    data = text.encode()
    for each in (data, bytearray(data), memoryview(data), memoryview(data + b" ").cast("H")):
        assert Order.from_json(each).note == "né"
    with pytest.raises(DecodeError, match=r"^Order: the text is no UTF-8$"):
        Order.from_json(b'{"note": "\xff"}')
    with pytest.raises(InvalidType, match="JSON must be str or bytes, got dict"):
        Order.from_json({})


def test_white_space_and_escapes_are_read(Order):
    assert Order.from_json(' \t\r\n{ "note" : "\\u00e9\\ud83d\\ude00\\/" } \n').note == "é😀/"


def test_a_dict_is_read_like_the_text_it_stands_for(Order):
    order = Order.from_dict(
        {"orderId": 5.0, "tags": ("a",), "atNs": 2.0**60, "items": [{"quantity": Corpus.WEB}]}
    )
    assert (order.order_id, order.tags, order.at_ns, order.items[0].quantity) == (5, ["a"], 2**60, 1)
    for wrong in (math.nan, math.inf):
        with pytest.raises(DecodeError, match="NaN and Infinity stand in quotes"):
            Order.from_dict({"price": wrong})
    with pytest.raises(DecodeError, match=r"^Order\.note: must be text, got bytes$"):
        Order.from_dict({"note": b"x"})


@pytest.mark.parametrize("text", ["NaN", "sNaN", "Infinity", "1e999999999", "1.5"])
def test_a_decimal_that_is_no_integer_is_refused_as_one(Order, text):
    for name in ("orderId", "atNs", "corpus"):
        with pytest.raises(DecodeError, match=r"^Order\.\w+: must be an integer, got "):
            Order.from_dict({name: Decimal(text)})
    assert Order.from_dict({"orderId": Decimal("5.0"), "price": Decimal("1.5")}) == Order(
        order_id=5, price=1.5
    )


def test_a_decimal_that_is_no_number_is_no_double(Order):
    for text in ("NaN", "sNaN", "-Infinity", "1e999999999"):
        for name in ("price", "weight"):
            with pytest.raises(DecodeError, match=rf"^Order\.{name}: must be within the range of a double"):
                Order.from_dict({name: Decimal(text)})


def test_what_is_read_owns_its_values(Order):
    data = {"tags": ["a"]}
    order = Order.from_dict(data)
    order.tags.append("b")
    assert data == {"tags": ["a"]}


# Limits.


def nested(levels, innermost="{}"):
    return '{"parent":' * (levels - 1) + innermost + "}" * (levels - 1)


def test_a_hundred_levels_are_read_and_written_and_no_more(Order):
    deep = Order.from_json(nested(100))
    assert deep.to_json() == nested(100)
    assert Order.from_bytes(deep.to_bytes()) == deep
    with pytest.raises(DecodeError, match="must be nested at most 100 levels deep"):
        Order.from_json(nested(101))
    with pytest.raises(EncodeError, match="must be nested at most 100 levels deep"):
        Order(parent=deep).to_json()


def test_a_map_is_a_level_as_it_is_in_bytes(Order):
    Order.from_json(nested(99, '{"counts":{"a":1}}'))
    with pytest.raises(DecodeError, match="must be nested at most 100 levels deep"):
        Order.from_json(nested(100, '{"counts":{"a":1}}'))


@pytest.mark.parametrize("text", ["[" * 10**6, '{"parent":' * 10**5, '{"x":[' * 10**5])
def test_a_hostile_depth_is_refused(Order, text):
    with pytest.raises(DecodeError, match=r"^Order: must be nested less deep"):
        Order.from_json(text, ignore_unknown=True)


def test_a_dict_that_holds_itself_is_refused(Order):
    data = {}
    data["parent"] = data
    with pytest.raises(DecodeError, match="must be nested at most 100 levels deep"):
        Order.from_dict(data)


def test_a_text_that_is_too_long_is_refused(Order, monkeypatch):
    monkeypatch.setattr(json_text, "MAX_SIZE", 9)
    assert Order.from_json("{       }") == Order()
    with pytest.raises(DecodeError, match=r"^Order: must be at most 9 bytes, got 10$"):
        Order.from_json("{        }")


def test_too_many_values_are_refused_but_commas_in_text_do_not_count(Order, monkeypatch):
    monkeypatch.setattr(json_text, "MAX_SEPARATORS", 6)
    text = '{"tags": ["a","b","\\"c,"], "note": ",,,[[[{{{,,,"}'
    assert Order.from_json(text).tags == ["a", "b", '"c,']
    with pytest.raises(DecodeError, match=r"^Order: must have at most 6 commas and opening brackets$"):
        Order.from_json('{"tags": ["a","b","c","d","e","f"]}')


def test_messages_are_bounded_by_the_memory_they_take_not_by_their_text(Order, monkeypatch):
    cost = message_cost(describe(Order))
    monkeypatch.setattr(json_state, "MAX_MEMORY", 100 * cost)
    assert Order.from_json(nested(100))
    monkeypatch.setattr(json_state, "MAX_MEMORY", 100 * cost - 1)
    with pytest.raises(DecodeError, match=rf"\.parent: must take at most {100 * cost - 1} bytes of memory$"):
        Order.from_json(nested(100))


def test_elements_and_entries_are_bounded_by_the_memory_they_take(Order, monkeypatch):
    for text, cost in (
        ('{"tags": ["a", "b", "c"]}', 3 * PACKED_ELEMENT_COST),
        ('{"prices": [1, 2, 3]}', 3 * PACKED_ELEMENT_COST),
        ('{"counts": {"a": 1, "b": 2}}', 2 * ENTRY_COST),
    ):
        enough = message_cost(describe(Order)) + cost
        monkeypatch.setattr(json_state, "MAX_MEMORY", enough)
        Order.from_json(text)
        monkeypatch.setattr(json_state, "MAX_MEMORY", enough - 1)
        with pytest.raises(DecodeError, match=rf"^Order\.\w+: must take at most {enough - 1} bytes"):
            Order.from_json(text)


def test_an_integer_of_too_many_digits_is_refused(Order):
    with pytest.raises(DecodeError, match=r"^Order: has an integer of too many digits$"):
        Order.from_json('{"orderId": ' + "1" * 100_000 + "}")


def test_reading_leaves_room_on_the_stack_of_a_deep_caller(Order):
    def deep(levels):
        return deep(levels - 1) if levels else Order.from_json(nested(100))

    with pytest.raises(DecodeError, match="must be nested less deep: the stack has no room"):
        deep(sys.getrecursionlimit() - len(inspect.stack(0)) - 60)
