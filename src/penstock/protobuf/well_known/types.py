"""Messages of several files.

- google/protobuf/source_context.proto
- google/protobuf/any.proto
- google/protobuf/type.proto
- google/protobuf/api.proto
- google/protobuf/duration.proto
- google/protobuf/empty.proto
- google/protobuf/field_mask.proto
- google/protobuf/struct.proto
- google/protobuf/timestamp.proto
- google/protobuf/wrappers.proto

Made by `penstock proto compile`: change the schema, not this.

Copyright 2008 Google Inc., BSD-3-Clause: https://github.com/protocolbuffers/protobuf/blob/main/LICENSE
"""

from __future__ import annotations

from penstock.protobuf import Double, Float, Int32, Int64, Message, UInt32, UInt64, field
from penstock.protobuf import Enum as Enum_
from penstock.protobuf.well_known.methods import AnyMethods, DurationMethods, TimestampMethods

__all__ = [
    "Any",
    "Api",
    "BoolValue",
    "BytesValue",
    "DoubleValue",
    "Duration",
    "Empty",
    "Enum",
    "EnumValue",
    "Field",
    "FieldMask",
    "FloatValue",
    "Int32Value",
    "Int64Value",
    "ListValue",
    "Method",
    "Mixin",
    "NullValue",
    "Option",
    "SourceContext",
    "StringValue",
    "Struct",
    "Syntax",
    "Timestamp",
    "Type",
    "UInt32Value",
    "UInt64Value",
    "Value",
]


class Syntax(Enum_, package="google.protobuf"):
    """The enum google.protobuf.Syntax."""

    SYNTAX_PROTO2 = 0
    SYNTAX_PROTO3 = 1
    SYNTAX_EDITIONS = 2


class NullValue(Enum_, package="google.protobuf"):
    """The enum google.protobuf.NullValue."""

    NULL_VALUE = 0


class SourceContext(Message, package="google.protobuf"):
    """The message google.protobuf.SourceContext."""

    file_name: str = field(1)


class Any(AnyMethods, Message, package="google.protobuf"):
    """The message google.protobuf.Any."""

    type_url: str = field(1)
    value: bytes = field(2)


class Type(Message, package="google.protobuf"):
    """The message google.protobuf.Type."""

    name: str = field(1)
    fields: list[Field] = field(2)
    oneofs: list[str] = field(3)
    options: list[Option] = field(4)
    source_context: SourceContext | None = field(5)
    syntax: Syntax = field(6)
    edition: str = field(7)


class Field(Message, package="google.protobuf"):
    """The message google.protobuf.Field."""

    class Kind(Enum_, full_name="google.protobuf.Field.Kind"):
        """The enum google.protobuf.Field.Kind."""

        TYPE_UNKNOWN = 0
        TYPE_DOUBLE = 1
        TYPE_FLOAT = 2
        TYPE_INT64 = 3
        TYPE_UINT64 = 4
        TYPE_INT32 = 5
        TYPE_FIXED64 = 6
        TYPE_FIXED32 = 7
        TYPE_BOOL = 8
        TYPE_STRING = 9
        TYPE_GROUP = 10
        TYPE_MESSAGE = 11
        TYPE_BYTES = 12
        TYPE_UINT32 = 13
        TYPE_ENUM = 14
        TYPE_SFIXED32 = 15
        TYPE_SFIXED64 = 16
        TYPE_SINT32 = 17
        TYPE_SINT64 = 18

    class Cardinality(Enum_, full_name="google.protobuf.Field.Cardinality"):
        """The enum google.protobuf.Field.Cardinality."""

        CARDINALITY_UNKNOWN = 0
        CARDINALITY_OPTIONAL = 1
        CARDINALITY_REQUIRED = 2
        CARDINALITY_REPEATED = 3

    kind: Field.Kind = field(1)
    cardinality: Field.Cardinality = field(2)
    number: Int32 = field(3)
    name: str = field(4)
    type_url: str = field(6)
    oneof_index: Int32 = field(7)
    packed: bool = field(8)
    options: list[Option] = field(9)
    json_name: str = field(10)
    default_value: str = field(11)


class Enum(Message, package="google.protobuf"):
    """The message google.protobuf.Enum."""

    name: str = field(1)
    enumvalue: list[EnumValue] = field(2)
    options: list[Option] = field(3)
    source_context: SourceContext | None = field(4)
    syntax: Syntax = field(5)
    edition: str = field(6)


class EnumValue(Message, package="google.protobuf"):
    """The message google.protobuf.EnumValue."""

    name: str = field(1)
    number: Int32 = field(2)
    options: list[Option] = field(3)


class Option(Message, package="google.protobuf"):
    """The message google.protobuf.Option."""

    name: str = field(1)
    value: Any | None = field(2)


class Api(Message, package="google.protobuf"):
    """The message google.protobuf.Api."""

    name: str = field(1)
    methods: list[Method] = field(2)
    options: list[Option] = field(3)
    version: str = field(4)
    source_context: SourceContext | None = field(5)
    mixins: list[Mixin] = field(6)
    syntax: Syntax = field(7)
    edition: str = field(8)


class Method(Message, package="google.protobuf"):
    """The message google.protobuf.Method."""

    name: str = field(1)
    request_type_url: str = field(2)
    request_streaming: bool = field(3)
    response_type_url: str = field(4)
    response_streaming: bool = field(5)
    options: list[Option] = field(6)
    syntax: Syntax = field(7)
    edition: str = field(8)


class Mixin(Message, package="google.protobuf"):
    """The message google.protobuf.Mixin."""

    name: str = field(1)
    root: str = field(2)


class Duration(DurationMethods, Message, package="google.protobuf"):
    """The message google.protobuf.Duration."""

    seconds: Int64 = field(1)
    nanos: Int32 = field(2)


class Empty(Message, package="google.protobuf"):
    """The message google.protobuf.Empty."""


class FieldMask(Message, package="google.protobuf"):
    """The message google.protobuf.FieldMask."""

    paths: list[str] = field(1)


class Struct(Message, package="google.protobuf"):
    """The message google.protobuf.Struct."""

    fields: dict[str, Value] = field(1)


class Value(Message, package="google.protobuf"):
    """The message google.protobuf.Value."""

    null_value: NullValue | None = field(1, oneof="kind")
    number_value: Double | None = field(2, oneof="kind")
    string_value: str | None = field(3, oneof="kind")
    bool_value: bool | None = field(4, oneof="kind")
    struct_value: Struct | None = field(5, oneof="kind")
    list_value: ListValue | None = field(6, oneof="kind")


class ListValue(Message, package="google.protobuf"):
    """The message google.protobuf.ListValue."""

    values: list[Value] = field(1)


class Timestamp(TimestampMethods, Message, package="google.protobuf"):
    """The message google.protobuf.Timestamp."""

    seconds: Int64 = field(1)
    nanos: Int32 = field(2)


class DoubleValue(Message, package="google.protobuf"):
    """The message google.protobuf.DoubleValue."""

    value: Double = field(1)


class FloatValue(Message, package="google.protobuf"):
    """The message google.protobuf.FloatValue."""

    value: Float = field(1)


class Int64Value(Message, package="google.protobuf"):
    """The message google.protobuf.Int64Value."""

    value: Int64 = field(1)


class UInt64Value(Message, package="google.protobuf"):
    """The message google.protobuf.UInt64Value."""

    value: UInt64 = field(1)


class Int32Value(Message, package="google.protobuf"):
    """The message google.protobuf.Int32Value."""

    value: Int32 = field(1)


class UInt32Value(Message, package="google.protobuf"):
    """The message google.protobuf.UInt32Value."""

    value: UInt32 = field(1)


class BoolValue(Message, package="google.protobuf"):
    """The message google.protobuf.BoolValue."""

    value: bool = field(1)


class StringValue(Message, package="google.protobuf"):
    """The message google.protobuf.StringValue."""

    value: str = field(1)


class BytesValue(Message, package="google.protobuf"):
    """The message google.protobuf.BytesValue."""

    value: bytes = field(1)
