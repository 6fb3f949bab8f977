"""The well-known types: messages that every schema may import, and that JSON writes in a way of their own.

`Timestamp` and `Duration` are made of and into Python's own types and nanoseconds, `Any` packs and unpacks
other messages. `Struct`, `Value` and `ListValue` are what JSON is:
`Struct.from_dict({"a": [1, None]}).to_dict()` is that dict again.

Source: https://protobuf.dev/reference/protobuf/google.protobuf
"""

from typing import Final

from penstock.protobuf.enums import Enum as ProtobufEnum
from penstock.protobuf.message import Message
from penstock.protobuf.well_known.types import (
    Any,
    Api,
    BoolValue,
    BytesValue,
    DoubleValue,
    Duration,
    Empty,
    Enum,
    EnumValue,
    Field,
    FieldMask,
    FloatValue,
    Int32Value,
    Int64Value,
    ListValue,
    Method,
    Mixin,
    NullValue,
    Option,
    SourceContext,
    StringValue,
    Struct,
    Syntax,
    Timestamp,
    Type,
    UInt32Value,
    UInt64Value,
    Value,
)

__all__ = [
    "WELL_KNOWN",
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

WELL_KNOWN: Final[dict[str, type[Message] | type[ProtobufEnum]]] = {
    "google.protobuf.Any": Any,
    "google.protobuf.Api": Api,
    "google.protobuf.BoolValue": BoolValue,
    "google.protobuf.BytesValue": BytesValue,
    "google.protobuf.DoubleValue": DoubleValue,
    "google.protobuf.Duration": Duration,
    "google.protobuf.Empty": Empty,
    "google.protobuf.Enum": Enum,
    "google.protobuf.EnumValue": EnumValue,
    "google.protobuf.Field": Field,
    "google.protobuf.Field.Cardinality": Field.Cardinality,
    "google.protobuf.Field.Kind": Field.Kind,
    "google.protobuf.FieldMask": FieldMask,
    "google.protobuf.FloatValue": FloatValue,
    "google.protobuf.Int32Value": Int32Value,
    "google.protobuf.Int64Value": Int64Value,
    "google.protobuf.ListValue": ListValue,
    "google.protobuf.Method": Method,
    "google.protobuf.Mixin": Mixin,
    "google.protobuf.NullValue": NullValue,
    "google.protobuf.Option": Option,
    "google.protobuf.SourceContext": SourceContext,
    "google.protobuf.StringValue": StringValue,
    "google.protobuf.Struct": Struct,
    "google.protobuf.Syntax": Syntax,
    "google.protobuf.Timestamp": Timestamp,
    "google.protobuf.Type": Type,
    "google.protobuf.UInt32Value": UInt32Value,
    "google.protobuf.UInt64Value": UInt64Value,
    "google.protobuf.Value": Value,
}
"""Full name -> class, of all of them."""
