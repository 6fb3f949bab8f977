"""Descriptor sets that define what cannot be are refused with a SchemaError, in bounded time and memory."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import require
from penstock.protobuf.declaration import describe
from penstock.protobuf.errors import SchemaError
from penstock.protobuf.schema.descriptor_proto import (
    DescriptorProto,
    Edition,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MessageOptions,
    OneofDescriptorProto,
)
from penstock.protobuf.schema.generator import generate
from penstock.protobuf.schema.schema import build, load_descriptor_set

Type, Label = FieldDescriptorProto.Type, FieldDescriptorProto.Label


def file(*messages, name="a.proto", **more):
    return FileDescriptorProto(name=name, message_type=list(messages), **more)


def message(*fields, name="M", **more):
    return DescriptorProto(name=name, field=list(fields), **more)


def number(name="x", number=1, **more):
    return FieldDescriptorProto(name=name, number=number, type=Type.TYPE_INT32, **more)


def of_type(name, kind=None, **more):
    return FieldDescriptorProto(name="x", number=1, type_name=name, type=kind, **more)


def with_default(kind, text, **more):
    return FieldDescriptorProto(name="x", number=1, type=kind, default_value=text, **more)


def enum(*values, name="E"):
    return EnumDescriptorProto(
        name=name,
        value=[EnumValueDescriptorProto(name=each, number=index) for index, each in enumerate(values)],
    )


def map_of(*fields, **more):
    entry = message(*fields, name="XEntry", options=MessageOptions(map_entry=True))
    return message(of_type(".M.XEntry", Type.TYPE_MESSAGE, **more), nested_type=[entry])


def entry_with(**more):
    return message(name="XEntry", options=MessageOptions(map_entry=True), **more)


def key(kind=Type.TYPE_STRING, **more):
    return FieldDescriptorProto(name="key", number=1, type=kind, **more)


def value(**more):
    return FieldDescriptorProto(name="value", number=2, type=Type.TYPE_INT32, **more)


REPEATED = {"label": Label.LABEL_REPEATED}

REFUSED = [
    ([file(message()), file(message(), name="b.proto")], "b.proto: M is defined twice, also in a.proto"),
    ([file(), file()], "a.proto: the descriptor set has two files of this name"),
    ([file(name="")], "each file of a descriptor set must have a printable name, got ''"),
    ([file(name="a\n")], "each file of a descriptor set must have a printable name, got 'a\\n'"),
    ([file(dependency=["b"]), file(name="b", dependency=["a.proto"])], "files must not import each other: "),
    ([file(dependency=["a.proto"])], "files must not import each other: a.proto -> a.proto"),
    (
        [file(syntax="proto4")],
        "a.proto: a file must be proto2, proto3, edition 2023 or edition 2024, got syntax 'proto4'",
    ),
    (
        [file(syntax="editions", edition=Edition.EDITION_UNSTABLE)],
        "a.proto: a file must be proto2, proto3, edition 2023 or edition 2024, got edition <Edition.EDITION",
    ),
    ([file(package="a..b")], "a.proto: a package must be identifiers joined by dots, got 'a..b'"),
    ([file(message(name="a b"))], "a.proto: a name must be letters, digits and _, got 'a b' in ''"),
    (
        [file(message(name="import os\n"))],
        "a.proto: a name must be letters, digits and _, got 'import os\\n' in ''",
    ),
    ([file(message(name=None))], "a.proto: a name must be letters, digits and _, got None in ''"),
    (
        [file(message(name="M" * 1001))],
        f"a.proto: a full name must have at most 1000 characters, got 1001: {'M' * 60}...",
    ),
    ([file(message(number("x"), number("x", 2)))], "M.x is defined twice"),
    ([file(message(number("x"), nested_type=[message(name="x")]))], "M.x is defined twice"),
    ([file(message(number("x"), number("y")))], "M: x and y have one field number, 1"),
    ([file(message(number("9")))], "M: a name must be at most 1000 letters, digits and _, got '9'"),
    ([file(message(number("é")))], "M: a name must be at most 1000 letters, digits and _, got 'é'"),
    *(
        (
            [file(message(number("x", bad)))],
            f"M.x: a field number must be 1 to 536870911 and not 19000 to 19999, got {bad}",
        )
        for bad in (None, 0, -1, 19_000, 19_999, 1 << 29)
    ),
    ([file(message(FieldDescriptorProto(name="x", number=1)))], "M.x: a field must have a type, got none"),
    ([file(message(of_type("", Type.TYPE_ENUM)))], "M.x: a field must have a type, got none"),
    (
        [file(message(of_type(".shop.Item")))],
        "M.x: its type shop.Item is not defined in a.proto nor in its imports (protoc needs --include",
    ),
    (
        [file(message(of_type("E", Type.TYPE_MESSAGE)), enum_type=[enum("A")])],
        "M.x: E is an enum, not of the kind message",
    ),
    ([file(message(of_type("M", Type.TYPE_ENUM)))], "M.x: M is a message, not of the kind enum"),
    ([file(message(of_type("M", Type.TYPE_STRING)))], "M.x: M is a message, not of the kind string"),
    ([file(enum_type=[enum()])], "E: an enum must have 1 to 65535 values, got 0"),
    ([file(enum_type=[enum("A", "A")])], "E: A is defined twice"),
    (
        [file(enum_type=[enum("A-B")])],
        "E: a value must have a name of letters, digits and _, and a number, got 'A-B' = 0",
    ),
    ([file(message(number("x", oneof_index=0)))], "M.x: the message has no oneof of index 0"),
    (
        [file(message(number("x", oneof_index=-1), oneof_decl=[OneofDescriptorProto(name="o")]))],
        "M.x: the message has no oneof",
    ),
    (
        [file(message(number("x", oneof_index=0, **REPEATED), oneof_decl=[OneofDescriptorProto(name="o")]))],
        "M.x: a member of a oneof is neither repeated nor required",
    ),
    (
        [file(message(number("x", oneof_index=0), oneof_decl=[OneofDescriptorProto(name='")')]))],
        "M: a name must be at most 1000 letters, digits and _, got '\")'",
    ),
    (
        [file(message(with_default(Type.TYPE_INT32, "2147483648")))],
        "M.x: a default must be -2147483648 to 2147483647, got 2147483648",
    ),
    (
        [file(message(with_default(Type.TYPE_INT32, "one")))],
        "M.x: a default must be of the kind int32, got 'one'",
    ),
    ([file(message(number("x"), oneof_decl=[OneofDescriptorProto(name="x")]))], "M.x is defined twice"),
    ([file(message(with_default(Type.TYPE_BOOL, "1")))], "M.x: a default must be of the kind bool, got '1'"),
    (
        [file(message(with_default(Type.TYPE_BYTES, "\\q")))],
        "M.x: a default must be of the kind bytes, got '\\\\q'",
    ),
    (
        [file(message(with_default(Type.TYPE_BYTES, "\\777")))],
        "M.x: a default must be of the kind bytes, got '\\\\777'",
    ),
    (
        [file(message(with_default(Type.TYPE_INT32, "1", **REPEATED)))],
        "M.x: only singular scalars have a default, got '1'",
    ),
    ([file(message(of_type("M", default_value="1")))], "M.x: only singular scalars have a default, got '1'"),
    (
        [file(message(of_type("E", default_value="C")), enum_type=[enum("A")])],
        "M.x: E has no value 'C' that could be the default",
    ),
    ([file(map_of(key(), value()))], "M.x: M.XEntry is the entry of a map, which no other field can have"),
    ([file(map_of(key(), **REPEATED))], "M.x: the entry of a map must have the fields 1 and 2 and no other"),
    (
        [file(map_of(key(), value(), number("z", 3), **REPEATED))],
        "M.x: the entry of a map must have the fields 1 and 2 and no other",
    ),
    (
        [file(map_of(key(), value(**REPEATED), **REPEATED))],
        "M.x: neither key nor value of a map can be repeated",
    ),
    (
        [file(map_of(key(Type.TYPE_DOUBLE), value(), **REPEATED))],
        "M.x: a map's keys must be integers, bool or string, got double",
    ),
    (
        [file(message(number(json_name="\udcff")))],
        "M.x: its name in JSON must be Unicode text without lone surrogates, got '\\udcff'",
    ),
    (
        [file(message(nested_type=[entry_with(nested_type=[message()])]))],
        "M.XEntry: nothing can be defined within the entry of a map",
    ),
    (
        [file(message(nested_type=[entry_with(enum_type=[enum("A")])]))],
        "M.XEntry: nothing can be defined within the entry of a map",
    ),
]


@pytest.mark.parametrize(("files", "refused"), REFUSED, ids=[text[:60] for _, text in REFUSED])
def test_what_cannot_be_is_refused_and_told(files, refused):
    with pytest.raises(SchemaError) as caught:
        load_descriptor_set(FileDescriptorSet(file=files).to_bytes())
    assert str(caught.value).startswith(refused)
    assert len(str(caught.value)) < 400


def test_messages_within_each_other_are_bounded():
    inner = message()
    for _ in range(3000):
        inner = message(nested_type=[inner])
    with pytest.raises(
        SchemaError, match=r"^a.proto: messages must be nested at most 64 levels deep, got M.M.M"
    ):
        build(FileDescriptorSet(file=[file(inner)]))


def test_a_module_of_messages_nested_as_deep_as_may_be_is_one_that_python_reads():
    inner = message()
    for _ in range(63):
        inner = message(nested_type=[inner])
    [source] = generate(FileDescriptorSet(file=[file(inner)])).values()
    compile(source, "a_pb.py", "exec")


def test_fields_and_values_are_bounded():
    fields = [number(f"x{index}", index + 1 if index < 18_000 else index + 2001) for index in range(65_536)]
    with pytest.raises(SchemaError, match=r"^M: a message must have at most 65535 fields, got 65536$"):
        build(FileDescriptorSet(file=[file(message(*fields))]))
    many = enum(*(f"A{index}" for index in range(65_536)))
    with pytest.raises(SchemaError, match=r"^E: an enum must have 1 to 65535 values, got 65536$"):
        build(FileDescriptorSet(file=[file(enum_type=[many])]))


def test_many_messages_within_one_and_many_files_are_no_trouble():
    nested = [message(name=f"N{index}") for index in range(10_000)]
    chain = [file(name=f"{index}", dependency=[f"{index + 1}"]) for index in range(5000)]
    schema = build(FileDescriptorSet(file=[file(message(nested_type=nested)), *chain]))
    assert len(schema) == 10_001
    assert schema["M.N9999"] is schema["M"].N9999


def test_an_extension_that_cannot_be_is_refused_when_extensions_are_asked_for():
    schema = build(FileDescriptorSet(file=[file(extension=[number("x", 100, extendee=".Nobody")])]))
    with pytest.raises(
        SchemaError, match=r"^x: what it extends must be a message of the files, got '.Nobody'$"
    ):
        _ = schema.extensions
    twice = [number("x", 100, extendee=".M"), number("x", 101, extendee=".M")]
    schema = build(FileDescriptorSet(file=[file(message(), extension=twice)]))
    with pytest.raises(SchemaError, match=r"^a.proto: x is defined twice$"):
        _ = schema.extensions


@given(st.binary(max_size=200))
def test_bytes_at_random_are_a_schema_or_refused(data):
    try:
        schema = load_descriptor_set(data)
    except SchemaError:
        return
    assert len(list(schema)) == len(schema)


@pytest.mark.data
@pytest.mark.parametrize("name", ["osm", "pprof", "gtfs_realtime", "google_benchmarks"])
def test_a_real_schema_that_was_damaged_is_refused_or_serves_to_the_end(name):
    whole = require(f"protobuf/descriptor_sets/{name}.binpb").read_bytes()
    dice = random.Random(name)
    outcomes = {"refused": 0, "served": 0}
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(dice.choice((1, 2, 5))):
            damaged[dice.randrange(len(damaged))] = dice.choice(
                (0, 1, 0x2E, 0x5F, 0x7F, 0xFF, dice.randrange(256))
            )
        try:
            schema = load_descriptor_set(bytes(damaged))
            for cls in schema.messages.values():
                describe(cls)
                assert cls().copy() == cls()
            for source in generate(FileDescriptorSet(file=list(schema.files))).values():
                compile(source, "generated", "exec")
            outcomes["served"] += 1
        except SchemaError:
            outcomes["refused"] += 1
    assert all(outcomes.values()), outcomes
