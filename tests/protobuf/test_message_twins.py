"""The twins of `Message` read and write the same, on random schemas, bytes, limits and values."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from messages import Color, Corpus

from penstock.protobuf.declaration import declare
from penstock.protobuf.descriptors import FieldDescriptor, MessageDescriptor, Presence, Shape
from penstock.protobuf.errors import DecodeError, EncodeError
from penstock.protobuf.fields import KEY_KINDS, zero
from penstock.protobuf.kinds import PACKABLE, WIRE_TYPE, Kind, WireType
from penstock.protobuf.options import DecodeOptions
from penstock.protobuf.varint import encode_varint
from twins import load

COMPILED, PLAIN = (load("penstock.protobuf.message", impl) for impl in ("c", "py"))
NUMBERS = [1, 2, 3, 15, 16, 17, 100, 2047, 2048, 70_000, 536_870_911]
CLASSES = 3


@dataclass(frozen=True)
class Told:
    """What a random schema says of a field; messages are named by their index, so both twins can have it."""

    number: int
    kind: Kind
    shape: Shape
    presence: Presence
    key: Kind
    inner: int
    enum: type
    packed: bool
    array: bool
    utf8: bool
    in_oneof: bool

    @property
    def name(self):
        return f"f{self.number}"


tolds = st.builds(
    Told,
    number=st.sampled_from(NUMBERS),
    kind=st.sampled_from([*Kind, Kind.ENUM, Kind.ENUM, Kind.MESSAGE, Kind.MESSAGE]),  # what differs most
    shape=st.sampled_from(Shape),
    presence=st.sampled_from([*Presence, Presence.EXPLICIT, Presence.IMPLICIT]),
    key=st.sampled_from(sorted(KEY_KINDS)),
    inner=st.integers(0, CLASSES - 1),
    enum=st.sampled_from([Color, Corpus]),
    packed=st.booleans(),
    array=st.booleans(),
    utf8=st.booleans(),
    in_oneof=st.booleans(),
)
schemas = st.lists(
    st.lists(tolds, max_size=6, unique_by=lambda told: told.number), min_size=CLASSES, max_size=CLASSES
)


def field_of(told, classes):
    """The field that is told of, with everything left out that it cannot have."""
    is_message = told.kind in (Kind.MESSAGE, Kind.GROUP)
    is_repeated = told.shape is Shape.REPEATED
    packable = is_repeated and told.kind in PACKABLE
    kind = Kind.MESSAGE if told.shape is Shape.MAP and is_message else told.kind
    array = packable and told.array
    enum = told.enum if kind is Kind.ENUM and not array else None
    presence = Presence.IMPLICIT
    if told.shape is Shape.SINGULAR:
        presence = told.presence
        if told.in_oneof or (is_message and presence is Presence.IMPLICIT):
            presence = Presence.EXPLICIT
    default = None
    if told.shape is Shape.SINGULAR and presence is Presence.IMPLICIT:
        default = zero(kind, enum)
    return FieldDescriptor(
        name=told.name,
        number=told.number,
        kind=kind,
        shape=told.shape,
        presence=presence,
        key=told.key if told.shape is Shape.MAP else None,
        message=classes[told.inner] if is_message else None,
        enum=enum,
        packed=packable and told.packed,
        array=array,
        utf8=told.utf8,
        default=default,
        oneof="one" if told.in_oneof and told.shape is Shape.SINGULAR else None,
        proto_name=told.name,
        json_name=told.name,
    )


def classes_of(root, schema):
    classes = []

    def describing(at):
        return lambda _: MessageDescriptor(f"t.M{at}", tuple(field_of(told, classes) for told in schema[at]))

    for at, told in enumerate(schema):
        names = [each.name for each in told]
        classes.append(declare(root, f"M{at}", names, describing(at), module=__name__))
    return classes


# Bytes that mean something to the schema, for the most part.

texts = st.sampled_from(
    [b"", b"ascii", "é".encode(), "日本".encode(), "😀 ok".encode(), b"\xff\xfe", b"\xed\xa0\x80"]
)
numbers = st.one_of(
    st.integers(0, 3),
    st.sampled_from([127, 128, 200, 2**31 - 1, 2**31, 2**32 - 3, 2**32, 2**63, 2**64 - 3, 2**64 - 1]),
    st.integers(0, 2**64 - 1),
)
varints = st.one_of(
    numbers.map(encode_varint),
    st.sampled_from(
        [b"\x80\x00", b"\x81\x80\x80\x00", b"\xff" * 9 + b"\x7f", b"\xff" * 10, b"\x80" * 9 + b"\x01"]
    ),
)
scraps = st.one_of(st.binary(max_size=6), varints, texts)


def delimited(content):
    return encode_varint(len(content)) + content


def tag(number, wire_type):
    return encode_varint(number << 3 | wire_type)


@st.composite
def values(draw, schema, told, kind, depth):
    """The content of a record, without its tag, and its wire type."""
    wire_type = WIRE_TYPE[kind]
    if kind is Kind.GROUP:
        return wire_type, draw(contents(schema, told.inner, depth)) + tag(told.number, WireType.END_GROUP)
    if kind is Kind.MESSAGE:
        return wire_type, delimited(draw(contents(schema, told.inner, depth)))
    if wire_type == WireType.VARINT:
        return wire_type, draw(varints)
    if wire_type == WireType.LENGTH_DELIMITED:
        return wire_type, delimited(draw(texts))
    size = 8 if wire_type == WireType.FIXED64 else 4
    return wire_type, draw(st.binary(min_size=size, max_size=size))


@st.composite
def entries(draw, schema, told, depth):
    content = b""
    parts = st.lists(st.sampled_from([1, 1, 1, 2, 2, 2, 3]), max_size=3)
    for number in draw(st.one_of(st.just([1, 2]), parts)):
        if number == 3:
            content += tag(3, 0) + draw(varints)
            continue
        kind = told.key if number == 1 else Kind.MESSAGE if told.kind is Kind.GROUP else told.kind
        wire_type, value = draw(values(schema, told, kind, depth))
        content += tag(number, wire_type) + value
    return delimited(content)


@st.composite
def known_records(draw, schema, told, depth):
    if told.shape is Shape.MAP:
        return tag(told.number, 2) + draw(entries(schema, told, depth))
    if told.shape is Shape.REPEATED and told.kind in PACKABLE and draw(st.booleans()):
        pieces = draw(st.lists(values(schema, told, told.kind, depth), max_size=4))
        return tag(told.number, 2) + delimited(b"".join(value for _, value in pieces))
    wire_type, value = draw(values(schema, told, told.kind, depth))
    return tag(told.number, wire_type) + value


@st.composite
def unknown_records(draw, depth):
    number = draw(st.sampled_from([*NUMBERS, 5, 77]))
    wire_type = draw(st.sampled_from([0, 1, 2, 3, 5]))
    if wire_type == WireType.START_GROUP:
        inside = b"".join(draw(st.lists(unknown_records(depth + 1), max_size=2))) if depth < 4 else b""
        return tag(number, 3) + inside + tag(number, 4)
    sizes = {1: 8, 5: 4}
    if wire_type in sizes:
        return tag(number, wire_type) + b"\x01" * sizes[wire_type]
    return tag(number, wire_type) + (draw(varints) if wire_type == 0 else delimited(draw(scraps)))


@st.composite
def contents(draw, schema, at, depth=0):
    """The bytes of a message, most of them sound."""
    out = b""
    for _ in range(draw(st.integers(0, 5 if depth < 2 else 1 if depth < 4 else 0))):
        choice = draw(st.integers(0, 19))
        if schema[at] and choice < 15:
            out += draw(known_records(schema, draw(st.sampled_from(schema[at])), depth + 1))
        elif choice < 19:
            out += draw(unknown_records(depth))
        else:
            out += draw(scraps)
    return out


@st.composite
def mutated(draw, data):
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["cut", "insert", "replace", "drop"]))
        piece = draw(st.one_of(st.binary(min_size=1, max_size=2), varints))
        if how == "cut":
            data = data[:at]
        elif how == "insert":
            data = data[:at] + piece + data[at:]
        elif how == "replace":
            data = data[:at] + piece + data[at + len(piece) :]
        else:
            data = data[:at] + data[at + 1 :]
    return data


@st.composite
def cases(draw):
    schema = draw(schemas)
    return schema, draw(mutated(draw(contents(schema, 0)))), draw(mutated(draw(contents(schema, 0))))


small = st.one_of(st.integers(0, 12), st.integers(0, 3000))
options = st.builds(
    DecodeOptions,
    max_size=st.one_of(st.just(1 << 20), st.integers(0, 60)),
    max_depth=st.one_of(st.just(100), st.integers(1, 5)),
    max_elements=st.one_of(st.just(1 << 20), st.integers(0, 8)),
    max_memory=st.one_of(st.just(1 << 30), st.integers(0, 6000)),
    max_unknown=st.one_of(st.just(1 << 20), st.integers(0, 5)),
    unknown=st.sampled_from(["keep", "keep", "keep", "drop", "error"]),
    partial=st.sampled_from([True, True, True, False]),
)
partial = DecodeOptions(partial=True)


def outcome(call):
    """What a call made, or how it failed, to the word and the place."""
    try:
        return call()
    except DecodeError as error:
        return (
            "DecodeError",
            error.reason,
            error.offset,
            error.path,
        )
    except EncodeError as error:
        return type(error).__name__, error.reason, error.path


def looks(message):
    return repr(message), message.unknown_fields


def reading(root, schema, data, chosen):
    cls = classes_of(root, schema)[0]

    def read():
        message = cls.from_bytes(data, chosen)
        copy = message.copy()
        assert looks(copy) == looks(message)
        return (
            *looks(message),
            outcome(message.to_bytes),
            outcome(lambda: message.to_bytes(deterministic=True)),
        )

    return outcome(read)


def merging(root, schema, first, second):
    cls = classes_of(root, schema)[0]

    def read():
        message = cls.from_bytes(first, partial)
        other = outcome(lambda: cls.from_bytes(second, partial))
        bytes_merged = outcome(lambda: message.merge_from(second, partial))
        after = looks(message)
        merged = outcome(lambda: message.merge_from(other)) if isinstance(other, cls) else other
        return bytes_merged, after, merged, looks(message)

    return outcome(read)


# Values that a user may set, right or wrong.


class Index:
    """An integer that is no int."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value

    def __repr__(self):
        return f"Index({self.value})"


integers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([127, 128, -129, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**32 - 1, 2**32]),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**40, -(10**40)]),
)
floats = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, math.inf, math.nan, 1e-50, -1e-50, 1e-45, 3.4028235e38, 3.4028236e38, 1e300]),
)
strings = st.one_of(
    st.text(max_size=4), st.sampled_from(["\ud800", "\udcff", "a" * 50 + "\udc80", "é" * 200])
)
oddities = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    floats,
    strings,
    st.binary(max_size=3),
    integers.map(Index),
    st.sampled_from([*Color, *Corpus, (), [], {}, 1j, object, range(3), bytearray(b"ab"), memoryview(b"cd")]),
    st.sampled_from(
        [np.int64(5), np.uint8(200), np.float32(0.5), np.float64(-2.5), np.bool_(True), np.str_("x")]
    ),
)
FITTING = {
    Kind.BOOL: st.booleans(),
    Kind.STRING: strings,
    Kind.BYTES: st.binary(max_size=4),
    Kind.DOUBLE: floats,
    Kind.FLOAT: floats,
}
arrays = st.one_of(
    st.lists(integers, max_size=4),
    st.lists(floats, max_size=4),
    st.sampled_from(
        [np.arange(4)[::2], np.array([300, -1], np.int16), np.array([True, False]), np.array([1.5, 2e39])]
    ),
    st.sampled_from(
        [np.array([2**63], np.uint64), np.zeros((2, 2)), np.array(["a"]), np.array([], np.float64)]
    ),
)


def mostly(draw, fitting):
    return draw(oddities) if draw(st.integers(0, 15)) == 0 else draw(fitting)


@st.composite
def one_value(draw, schema, told, kind, depth):
    if kind in (Kind.MESSAGE, Kind.GROUP):
        return draw(attributes(schema, told.inner, depth + 1)) if depth < 3 else {}
    return mostly(draw, FITTING.get(kind, integers))


@st.composite
def field_values(draw, schema, told, depth):
    """What a slot may hold; a message is a dict of its attributes, as both twins are to have it."""
    if told.shape is Shape.SINGULAR:
        return draw(one_value(schema, told, told.kind, depth))
    if told.shape is Shape.REPEATED:
        if told.array and told.kind in PACKABLE:
            return mostly(draw, arrays)
        found = draw(st.lists(one_value(schema, told, told.kind, depth), max_size=3))
        return mostly(draw, st.sampled_from([found, tuple(found)]))
    keys = draw(st.lists(st.one_of(FITTING.get(told.key, integers), oddities.filter(hashable)), max_size=3))
    return {key: draw(one_value(schema, told, told.kind, depth)) for key in keys}


def hashable(value):
    try:
        hash(value)
    except (TypeError, ValueError):
        return False
    return True


@st.composite
def attributes(draw, schema, at, depth=0):
    chosen = draw(st.lists(st.sampled_from(schema[at]), unique=True)) if schema[at] else []
    return {told: draw(field_values(schema, told, depth)) for told in chosen}


@st.composite
def written(draw):
    schema = draw(schemas)
    return schema, draw(attributes(schema, 0))


def made(classes, schema, at, given_values):
    """A message with these values in its slots."""
    message = classes[at]()
    for told, value in given_values.items():

        def inner(value, told=told):
            is_message = told.kind in (Kind.MESSAGE, Kind.GROUP) and isinstance(value, dict)
            return made(classes, schema, told.inner, value) if is_message else value

        if told.shape is Shape.MAP and isinstance(value, dict):
            value = {key: inner(each) for key, each in value.items()}
        elif told.shape is Shape.REPEATED and isinstance(value, list | tuple):
            value = type(value)(inner(each) for each in value)
        else:
            value = inner(value)
        setattr(message, told.name, value)
    return message


def writing(root, schema, given_values):
    classes = classes_of(root, schema)
    message = made(classes, schema, 0, given_values)
    data = outcome(message.to_bytes)
    if isinstance(data, bytes):
        assert message.byte_size() == len(data)
        assert classes[0].encode_many([message, message])[0] == data * 2
    return (
        data,
        outcome(lambda: message.to_bytes(deterministic=True)),
        outcome(lambda: looks(message.copy())),
        outcome(lambda: classes[0]().merge_from(message)),
    )


@settings(max_examples=400)
@given(cases(), options)
def test_same_bytes_give_the_same_message_or_the_same_error(case, chosen):
    schema, data, _ = case
    assert reading(COMPILED, schema, data, chosen) == reading(PLAIN, schema, data, chosen)


@settings(max_examples=150)
@given(cases())
def test_merging_gives_the_same_message(case):
    assert merging(COMPILED, *case) == merging(PLAIN, *case)


@settings(max_examples=300)
@given(written())
def test_same_values_are_written_as_the_same_bytes_or_refused_in_the_same_words(case):
    assert writing(COMPILED, *case) == writing(PLAIN, *case)


@settings(max_examples=150)
@given(written(), st.data())
def test_messages_are_equal_on_one_twin_as_on_the_other(case, data):
    schema, first = case
    second = data.draw(st.one_of(st.just(first), attributes(schema, 0)))

    def equality(root):
        classes = classes_of(root, schema)
        try:
            return made(classes, schema, 0, first) == made(classes, schema, 0, second)
        except ValueError:
            return "what numpy compares is neither true nor false"

    assert equality(COMPILED) == equality(PLAIN)
