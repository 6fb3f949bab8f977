import numpy as np
import pytest

from penstock.protobuf.compiler.files import compile_proto
from penstock.protobuf.errors import DecodeError, EncodeError, EncodeTypeError
from penstock.protobuf.fields import Int32, Int64, UInt32, field
from penstock.protobuf.json import state as json_state
from penstock.protobuf.message import Message
from penstock.protobuf.options import DecodeOptions
from penstock.protobuf.well_known import (
    Any,
    BoolValue,
    BytesValue,
    DoubleValue,
    Duration,
    Empty,
    FieldMask,
    FloatValue,
    Int32Value,
    Int64Value,
    ListValue,
    NullValue,
    StringValue,
    Struct,
    Timestamp,
    UInt32Value,
    UInt64Value,
    Value,
)

NS = 10**9


class Point(Message, package="geo"):
    lat_e7: Int32 = field(1)
    at: Timestamp | None = field(2)
    took: Duration | None = field(3)
    mask: FieldMask | None = field(4)
    extra: Struct | None = field(5)
    value: Value | None = field(6)
    values: list[Value] = field(7)
    by_name: dict[str, Value] = field(8)
    count: Int64Value | None = field(9)
    nothing: NullValue | None = field(10)
    held: Any | None = field(11)
    one_value: Value | None = field(12, oneof="one")
    one_nothing: NullValue | None = field(13, oneof="one")
    one_text: str | None = field(14, oneof="one")
    nothings: list[NullValue] = field(15)
    empty: Empty | None = field(16)


# Timestamp and Duration.


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "1970-01-01T00:00:00Z"),
        (1_709_210_096, 500_000_000, "2024-02-29T12:34:56.500Z"),
        (-1, 1_000, "1969-12-31T23:59:59.000001Z"),
        (-62_135_596_800, 0, "0001-01-01T00:00:00Z"),
        (253_402_300_799, 999_999_999, "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_a_timestamp_is_rfc_3339_in_utc(seconds, nanos, text):
    stamp = Timestamp(seconds=seconds, nanos=nanos)
    assert stamp.to_dict() == text
    assert Timestamp.from_dict(text) == stamp
    assert Point(at=stamp).to_json() == f'{{"at":"{text}"}}'


@pytest.mark.parametrize(
    ("text", "since_epoch_ns"),
    [
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T18:30:00-05:30", 0),
        ("1970-01-01T00:00:00.1Z", NS // 10),
        ("1970-01-01T00:00:00.123456789Z", 123_456_789),
    ],
)
def test_a_timestamp_with_an_offset_or_any_fraction_is_read(text, since_epoch_ns):
    assert Timestamp.from_dict(text).to_nanoseconds() == since_epoch_ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024-01-01",
        "2024-01-01T00:00:00",
        "2024-01-01t00:00:00Z",
        "2024-01-01T00:00:00z",
        "0000-01-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:00:60Z",
        "2024-01-01T00:00:00.Z",
        "2024-01-01T00:00:00.1234567890Z",
        "2024-01-01T00:00:00+24:00",
        "2024-01-01T00:00:00+0100",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        " 2024-01-01T00:00:00Z",
        0,
        None,
        {},
    ],
)
def test_what_is_no_timestamp_is_refused(text):
    with pytest.raises(
        DecodeError, match=r"^Timestamp: must be a time such as '2024-02-29T12:30:00.5Z', got "
    ):
        Timestamp.from_dict(text)


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "0s"),
        (1, 500_000_000, "1.500s"),
        (0, -1, "-0.000000001s"),
        (-3, -100_000, "-3.000100s"),
        (315_576_000_000, 0, "315576000000s"),
    ],
)
def test_a_duration_is_seconds(seconds, nanos, text):
    assert Duration(seconds=seconds, nanos=nanos).to_dict() == text
    assert Duration.from_dict(text) == Duration(seconds=seconds, nanos=nanos)


@pytest.mark.parametrize(
    "text", ["", "1", "s", "1.s", ".5s", "1 s", "+1s", "1e3s", "315576000001s", "1.0000000001s", 1]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(
        DecodeError, match=r"^Duration: must be seconds up to 315576000000 such as '1.5s', got "
    ):
        Duration.from_dict(text)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (
            Timestamp(seconds=253_402_300_800),
            r"Timestamp\.seconds must be -62135596800 to 253402300799, got .*",
        ),
        (Timestamp(nanos=NS), r"Timestamp\.nanos must be 0 to 999999999, got 1000000000"),
        (Timestamp(nanos=-1), r"Timestamp\.nanos must be 0 to 999999999, got -1"),
        (
            Duration(seconds=-315_576_000_001),
            r"Duration\.seconds must be -315576000000 to 315576000000, got .*",
        ),
        (Duration(nanos=-NS), r"Duration\.nanos must be -999999999 to 999999999, got -1000000000"),
        (Duration(seconds=1, nanos=-1), r"Duration must have seconds and nanos of one sign, got 1 and -1"),
    ],
)
def test_a_time_out_of_its_range_is_not_written(message, error):
    with pytest.raises(EncodeError, match=f"^{error}$"):
        message.to_json()


def test_a_time_may_hold_numbers_of_numpy():
    assert Timestamp(seconds=np.int64(1), nanos=np.int32(5_000_000)).to_json() == '"1970-01-01T00:00:01.005Z"'


def test_a_time_of_another_type_is_not_written():
    with pytest.raises(EncodeTypeError, match=r"^Point\.at\.seconds must be an int, got float$"):
        Point(at=Timestamp(seconds=1.5)).to_json()


# FieldMask.


def test_a_field_mask_is_its_paths_in_lower_camel_case():
    mask = FieldMask(paths=["user.display_name", "photo"])
    assert mask.to_json() == '"user.displayName,photo"'
    assert FieldMask.from_json('"user.displayName,photo"') == mask
    assert FieldMask.from_json('""') == FieldMask()


@pytest.mark.parametrize("path", ["fooBar", "foo__bar", "foo_3", "foo_", "a,b"])
def test_a_path_that_would_not_come_back_is_not_written(path):
    with pytest.raises(
        EncodeError, match=r"^FieldMask\.paths\[1\] must be a path that comes back from lowerCamelCase, got "
    ):
        FieldMask(paths=["a", path]).to_json()


@pytest.mark.parametrize("value", ["foo_bar", 1, ["foo"]])
def test_what_is_no_field_mask_is_refused(value):
    with pytest.raises(
        DecodeError, match=r"^FieldMask: must be paths such as 'user.displayName,photo', got "
    ):
        FieldMask.from_dict(value)


# Wrappers.


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (DoubleValue(value=1.5), "1.5"),
        (FloatValue(value=0.1), "0.1"),
        (Int64Value(value=-1), '"-1"'),
        (UInt64Value(value=2**64 - 1), '"18446744073709551615"'),
        (Int32Value(value=-1), "-1"),
        (UInt32Value(), "0"),
        (BoolValue(value=True), "true"),
        (StringValue(value="é"), '"é"'),
        (BytesValue(value=b"\xff"), '"/w=="'),
    ],
)
def test_a_wrapper_is_its_value(message, text):
    assert message.to_json() == text
    assert type(message).from_json(text).to_bytes() == message.to_bytes()


def test_a_wrapper_knows_null_from_zero():
    assert Point.from_json('{"count": null}').count is None
    assert Point.from_json('{"count": 0}').count == Int64Value()
    assert Point(count=Int64Value()).to_json() == '{"count":"0"}'
    with pytest.raises(DecodeError, match=r"^Point\.count: must be an integer, got an object$"):
        Point.from_json('{"count": {"value": 1}}')


# Struct, Value, ListValue, NullValue, Empty.

JSON = {"a": [1.5, "x", True, None, {}, []], "b": {"c": {"d": -0.5}}}


def test_a_struct_is_any_object_of_json():
    assert Struct.from_dict(JSON).to_dict() == JSON
    assert Point(extra=Struct.from_dict(JSON)).to_dict() == {"extra": JSON}
    assert Struct.from_bytes(Struct.from_dict(JSON).to_bytes()).to_dict() == JSON


def test_a_value_is_any_json_and_a_list_value_any_array():
    for value in (*JSON["a"], JSON):
        assert Value.from_dict(value).to_dict() == value
    assert ListValue.from_dict(JSON["a"]).to_dict() == JSON["a"]
    assert Value.from_json("3").number_value == 3.0
    assert Value().to_json() == "null"


def test_null_is_a_value():
    point = Point.from_json('{"value": null, "values": [null, 1], "byName": {"a": null}}')
    assert point.value.which_oneof("kind") == "null_value"
    assert point.to_dict() == {"value": None, "values": [None, 1.0], "byName": {"a": None}}


def test_null_sets_the_enum_null_value_as_its_name_does():
    for text in ("null", '"NULL_VALUE"', "0"):
        assert Point.from_json(f'{{"nothing": {text}}}').nothing is NullValue.NULL_VALUE
    assert Point(nothing=NullValue.NULL_VALUE).to_json() == '{"nothing":null}'
    assert Point.from_json('{"nothings": [null, 1]}').to_dict() == {"nothings": [None, 1]}


def test_null_in_a_oneof_counts_where_it_is_a_value():
    assert Point.from_json('{"oneValue": null}').which_oneof("one") == "one_value"
    assert Point.from_json('{"oneNothing": null, "oneText": null}').which_oneof("one") == "one_nothing"
    with pytest.raises(
        DecodeError, match="only one of one_value, one_text can be set, they are the oneof one"
    ):
        Point.from_json('{"oneValue": null, "oneText": "x"}')


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"extra": []}', r"Point\.extra: must be an object, got an array"),
        ('{"extra": {"a": [1, {"b": 1, "b": 2}]}}', r"Point\.extra\['a'\]\[1\]: has the name 'b' twice"),
        ('{"extra": {"a": 1e999}}', r"Point\.extra\['a'\]: must be within the range of a double; .*"),
        ('{"value": "\\ud800"}', r"Point\.value: must be Unicode text without lone surrogates, .*"),
        ('{"extra": {"\\ud800": 1}}', r"Point\.extra\['\\ud800'\]: must be Unicode text without .*"),
    ],
)
def test_what_is_no_struct_is_refused_with_its_path(text, error):
    with pytest.raises(DecodeError, match=f"^{error}$"):
        Point.from_json(text)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_would_come_back_as_text_is_not_written(number):
    extra = Struct(fields={"a": Value(list_value=ListValue(values=[Value(), Value(number_value=number)]))})
    with pytest.raises(EncodeError, match=r"^Point\.extra\['a'\]\[1\] must be a finite number"):
        Point(extra=extra).to_json()


def test_what_is_read_into_a_struct_is_no_deeper_than_bytes_may_be():
    def nested(levels):
        return "[" * levels + "]" * levels

    deep = Value.from_json(nested(50))
    assert deep.to_json() == nested(50)
    assert Value.from_bytes(deep.to_bytes()) == deep
    with pytest.raises(DecodeError, match="must be nested at most 100 levels deep"):
        Value.from_json(nested(51))
    with pytest.raises(EncodeError, match="must be nested at most 100 levels deep"):
        ListValue(values=[deep]).to_json()


def test_a_value_that_holds_itself_is_not_written():
    value = Value(list_value=ListValue())
    value.list_value.values.append(value)
    with pytest.raises(EncodeError, match="must be nested at most 100 levels deep"):
        value.to_json()


def test_empty_is_an_empty_object():
    assert Point(empty=Empty()).to_json() == '{"empty":{}}'
    assert Point.from_json('{"empty": {}}').empty == Empty()
    with pytest.raises(DecodeError, match=r"^Point\.empty: has no field 'a'$"):
        Point.from_json('{"empty": {"a": 1}}')


# Any.

URL = "type.googleapis.com/"


class Boxes(Message, package="geo"):
    held: list[Any] = field(1)


def packed(message, full_name):
    return Any(type_url=URL + full_name, value=message.to_bytes())


def test_an_any_is_its_message_with_the_name_of_its_type():
    held = packed(Point(lat_e7=7), "geo.Point")
    text = '{"@type":"type.googleapis.com/geo.Point","latE7":7}'
    assert held.to_json(types=[Point]) == text
    assert Any.from_json(text, types=[Point]) == held
    assert Any.from_json('{"latE7":7,"@type":"type.googleapis.com/geo.Point"}', types=[Point]) == held
    assert Any.from_json("{}") == Any()
    assert Any().to_json() == "{}"


def test_an_any_of_a_well_known_type_has_its_json_under_the_name_value():
    held = packed(Duration(seconds=1), "google.protobuf.Duration")
    text = '{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}'
    assert held.to_json() == text
    assert Any.from_json(text) == held
    within = packed(held, "google.protobuf.Any")
    text = f'{{"@type":"type.googleapis.com/google.protobuf.Any","value":{text}}}'
    assert within.to_json() == text
    assert Any.from_json(text) == within


def test_an_empty_in_an_any_is_read_with_and_without_a_value():
    for text in ("{}", '{"value": {}}'):
        body = text[1:-1]
        held = Any.from_json(f'{{"@type": "{URL}google.protobuf.Empty"{", " * bool(body)}{body}}}')
        assert held == packed(Empty(), "google.protobuf.Empty")


def test_an_any_finds_the_types_of_the_schema_that_the_message_came_from():
    schema = compile_proto(
        'syntax = "proto3"; package geo; import "google/protobuf/any.proto";'
        "message Box { google.protobuf.Any held = 1; } message Pin { int32 id = 1; }"
    )
    box = schema["geo.Box"](held=packed(schema["geo.Pin"](id=1), "geo.Pin"))
    assert box.to_dict() == {"held": {"@type": "type.googleapis.com/geo.Pin", "id": 1}}
    assert type(box).from_dict(box.to_dict()) == box
    assert Any.from_dict(box.to_dict()["held"], types=schema) == box.held


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"latE7": 7}', r"Any: must tell the type of its value under the name '@type'"),
        ('{"@type": 7}', r"Any: must tell the type of its value under the name '@type'"),
        ('{"@type": "geo.Point"}', r"Any\['@type'\]: must be a URL that ends in the name of a type, .*"),
        ('{"@type": "type.googleapis.com/"}', r"Any\['@type'\]: must be a URL that ends in the name .*"),
        ('{"@type": "a/geo.Line"}', r"Any\['@type'\]: must be a type that types= tells of, got 'a/geo.Line'"),
        (
            '{"@type": "a/google.protobuf.NullValue"}',
            r"Any\['@type'\]: must be a type that types= tells of.*",
        ),
        ('{"@type": "a/google.protobuf.Duration"}', r"Any: must have its value under the name 'value'"),
        ('{"@type": "a/google.protobuf.Duration", "value": "1s", "a": 1}', r"Any: has no field 'a'"),
        (
            '{"@type": "a/google.protobuf.Duration", "value": null}',
            r"Any\['value'\]: must be seconds up to .*",
        ),
        ('{"@type": "\\ud800/geo.Point"}', r"Any\['@type'\]: must be Unicode text without lone surrogates.*"),
        ('{"@type": "a/geo.Point", "latE7": "x"}', r"Any\.lat_e7: must be an integer, got 'x'"),
        ("[]", r"Any: must be an object, got an array"),
    ],
)
def test_what_is_no_any_is_refused(text, error):
    with pytest.raises(DecodeError, match=f"^{error}$"):
        Any.from_json(text, types=[Point])


def test_an_any_that_cannot_be_read_is_not_written():
    with pytest.raises(
        EncodeError, match=r"^Point\.held must hold a type that types= tells of, got 'a/geo.Line'$"
    ):
        Point(held=Any(type_url="a/geo.Line")).to_json()
    with pytest.raises(
        EncodeError, match=r"^Any must hold a geo.Point: Point at byte 0: the tag is truncated$"
    ):
        Any(type_url="a/geo.Point", value=b"\xff").to_json(types=[Point])


def test_the_bytes_of_anys_within_each_other_are_bounded_together(monkeypatch):
    text = "x" * 1000
    innermost = held = packed(StringValue(value=text), "google.protobuf.StringValue")
    for _ in range(3):
        held = packed(held, "google.protobuf.Any")
    written = held.to_json()
    monkeypatch.setattr(json_state, "MAX_MEMORY", 3000)
    assert Any.from_json(innermost.to_json()) == innermost
    assert ListValue.from_json("[]") == ListValue()
    with pytest.raises(DecodeError, match=r"^Any.*: must take at most 3000 bytes of memory$"):
        Any.from_json(written)
    with pytest.raises(EncodeError, match=r"^Any must take at most 3000 bytes of memory$"):
        held.to_json()
    assert len(Boxes(held=[innermost] * 10).to_dict()["held"]) == 10


def test_types_are_a_schema_or_classes():
    for wrong in (Point, 7):
        with pytest.raises(TypeError, match=r"types must be a Schema or classes of messages, got "):
            Any.from_json('{"@type": "a/b"}', types=wrong)
    with pytest.raises(TypeError, match=r"types must be a Schema or classes of messages, got 'geo.Point'"):
        Any.from_json('{"@type": "a/geo.Point"}', types=["geo.Point"])


# Extensions.

EXTENDED = """
    syntax = "proto2";
    package shop;
    message Order { optional uint32 order_id = 1; extensions 100 to 200; }
    message Note {
      optional string text = 1;
      required int32 line = 2;
      extensions 1000;
      extend Order { repeated Note notes = 101; }
    }
    extend Order {
      optional int64 weight = 100 [default = 5];
      repeated group Line = 102 { optional int32 n = 1; }
    }
    extend Note { optional int32 none = 1000; }
"""


@pytest.fixture(scope="module")
def shop():
    return compile_proto(EXTENDED)


@pytest.fixture
def Order(shop):
    return shop["shop.Order"]


def test_extensions_are_called_by_their_full_names(Order):
    value = {
        "orderId": 1,
        "[shop.weight]": "7",
        "[shop.Note.notes]": [{"text": "x", "line": 3, "[shop.none]": 4}],
        "[shop.line]": [{"n": 1}],
    }
    order = Order.from_dict(value)
    assert order.order_id == 1
    assert len(order.unknown_fields) > 0
    assert order.to_dict() == value
    assert Order.from_bytes(order.to_bytes()).to_dict() == value
    assert order.to_dict(including_defaults=True) == value


def test_an_extension_is_checked_like_a_field(Order):
    with pytest.raises(
        DecodeError, match=r"^Order\[shop\.Note\.notes\]\[0\]\.line: is required and not set$"
    ):
        Order.from_json('{"[shop.Note.notes]": [{}]}')
    with pytest.raises(DecodeError, match=r"^Order: has no field '\[shop\.none\]'$"):
        Order.from_json('{"[shop.none]": 1}')
    assert Order.from_json('{"[shop.none]": 1, "[shop.weight]": 1}', ignore_unknown=True).to_dict() == {
        "[shop.weight]": "1"
    }


def test_unknown_fields_that_are_no_extensions_are_left_out(Order):
    assert Order.from_bytes(b"\x98\x06\x01").to_dict() == {}


def test_an_extension_that_is_none_is_not_written(Order):
    broken = Order.from_bytes(b"\xaa\x06\x01\xff")
    with pytest.raises(EncodeError, match=r"^Order has an extension that is none: "):
        broken.to_json()


def test_the_bytes_of_extensions_are_bounded_too(Order, monkeypatch):
    data = {"[shop.Note.notes]": [{"text": "x" * 3000, "line": 1}]}
    order = Order.from_dict(data)
    monkeypatch.setattr(json_state, "MAX_MEMORY", 3000)
    with pytest.raises(DecodeError, match=r"^Order: must take at most 3000 bytes of memory$"):
        Order.from_dict(data)
    with pytest.raises(EncodeError, match=r"^Order must take at most 3000 bytes of memory$"):
        order.to_dict()


def test_extensions_that_are_too_many_unknown_fields_are_refused():
    schema = compile_proto(
        'syntax = "proto2"; package p; message M { extensions 10; } extend M { repeated bool e = 10; }'
    )
    most = DecodeOptions().max_unknown
    with pytest.raises(DecodeError, match=rf"^M: must have at most {most} unknown fields$"):
        schema["p.M"].from_dict({"[p.e]": [True] * (most + 1)})


def test_a_declared_class_has_no_extensions():
    class Plain(Message):
        number: UInt32 = field(1)
        wide: Int64 = field(2)

    with pytest.raises(DecodeError, match=r"^Plain: has no field '\[a\.b\]'$"):
        Plain.from_json('{"[a.b]": 1}')
    assert Plain.from_bytes(b"\x18\x01").to_dict() == {}


def test_deleted_slots_of_a_well_known_type_are_not_set():
    at, took, mask = Timestamp(seconds=1, nanos=2), Duration(seconds=1), FieldMask(paths=["a"])
    extra, value, count, held = Struct(), Value(), Int64Value(), Any()
    del at.seconds, took.seconds, mask.paths, extra.fields, value.string_value, count.value, held.type_url
    point = Point(at=at, took=took, mask=mask, extra=extra, value=value, count=count, held=held)
    assert point.to_dict() == {
        "at": "1970-01-01T00:00:00.000000002Z",
        "took": "0s",
        "mask": "",
        "extra": {},
        "value": None,
        "count": "0",
        "held": {},
    }


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (Value(struct_value=5), "Value must be a message of google.protobuf, got int"),
        (Value(list_value=ListValue(values=[5])), r"Value\[0\] must be a message .*, got int"),
        (Value(struct_value=Struct(fields={"a": Empty()})), r"Value\['a'\] must be a message .*, got Empty"),
    ],
)
def test_what_is_no_value_within_a_value_is_not_written(value, error):
    with pytest.raises(EncodeTypeError, match=f"^{error}$"):
        value.to_json()


@pytest.mark.parametrize(
    ("cls", "fields", "error"),
    [
        (Struct, {"fields": [1]}, "Struct must be a dict, got list"),
        (ListValue, {"values": 7}, "ListValue must be a list, got int"),
        (FieldMask, {"paths": 7}, r"FieldMask\.paths must be a list, got int"),
        (FieldMask, {"paths": [7]}, r"FieldMask\.paths\[0\] must be a str, got int"),
        (StringValue, {"value": 7}, "StringValue must be a str, got int"),
        (Any, {"type_url": 7}, r"Any\.type_url must be a str, got int"),
        (Any, {"type_url": "a/geo.Point", "value": "x"}, r"Any\.value must be bytes, got str"),
    ],
)
def test_a_well_known_type_with_a_value_of_another_type_is_not_written(cls, fields, error):
    message = cls()
    for name, value in fields.items():
        setattr(message, name, value)
    with pytest.raises(EncodeTypeError, match=f"^{error}$"):
        message.to_dict(types=[Point])
