"""Protobuf: typed Python messages at C speed, without protoc.

Declare a message as a class, or load it from a `.proto` file or a descriptor set; read and write it::

    class Order(Message):
        order_id: UInt32 = field(1)
        item_sku: str = field(2)

    data = Order(order_id=1421, item_sku="WIDGET-PREMIUM").to_bytes()
    order = Order.from_bytes(data)

What declares and carries a message stands here. So do `load_descriptor_set`, `compile_proto`, the streams and
the bridge to Google's classes, which are imported when they are first used. `penstock.protobuf.well_known`
has Timestamp, Any and their kin, `penstock.protobuf.otlp` the messages of OpenTelemetry.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from penstock.protobuf.declaration import describe
from penstock.protobuf.descriptors import FieldDescriptor, MessageDescriptor, Presence, Shape
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import DecodeError, EncodeError, EncodeTypeError, SchemaError
from penstock.protobuf.fields import (
    BoolArray,
    Double,
    DoubleArray,
    EnumArray,
    Fixed32,
    Fixed32Array,
    Fixed64,
    Fixed64Array,
    Float,
    FloatArray,
    Int32,
    Int32Array,
    Int64,
    Int64Array,
    SFixed32,
    SFixed32Array,
    SFixed64,
    SFixed64Array,
    SInt32,
    SInt32Array,
    SInt64,
    SInt64Array,
    UInt32,
    UInt32Array,
    UInt64,
    UInt64Array,
    field,
)
from penstock.protobuf.kinds import Kind, WireType
from penstock.protobuf.message import Message
from penstock.protobuf.options import DecodeOptions
from penstock.protobuf.varint import (
    decode_varint,
    decode_varints,
    encode_varint,
    encode_varints,
    zigzag_decode,
    zigzag_encode,
)
from penstock.protobuf.wire_reader import WireReader

if TYPE_CHECKING:
    from penstock.protobuf.compiler import compile_files, compile_proto
    from penstock.protobuf.google_bridge import class_of, from_google, to_google
    from penstock.protobuf.schema import Schema, load_descriptor_set
    from penstock.protobuf.streams import (
        iter_delimited,
        iter_delimited_async,
        read_delimited,
        read_delimited_async,
        write_delimited,
        write_delimited_async,
    )

__all__ = [
    "BoolArray",
    "DecodeError",
    "DecodeOptions",
    "Double",
    "DoubleArray",
    "EncodeError",
    "EncodeTypeError",
    "Enum",
    "EnumArray",
    "FieldDescriptor",
    "Fixed32",
    "Fixed32Array",
    "Fixed64",
    "Fixed64Array",
    "Float",
    "FloatArray",
    "Int32",
    "Int32Array",
    "Int64",
    "Int64Array",
    "Kind",
    "Message",
    "MessageDescriptor",
    "Presence",
    "SFixed32",
    "SFixed32Array",
    "SFixed64",
    "SFixed64Array",
    "SInt32",
    "SInt32Array",
    "SInt64",
    "SInt64Array",
    "Schema",
    "SchemaError",
    "Shape",
    "UInt32",
    "UInt32Array",
    "UInt64",
    "UInt64Array",
    "WireReader",
    "WireType",
    "class_of",
    "compile_files",
    "compile_proto",
    "decode_varint",
    "decode_varints",
    "describe",
    "encode_varint",
    "encode_varints",
    "field",
    "from_google",
    "iter_delimited",
    "iter_delimited_async",
    "load_descriptor_set",
    "read_delimited",
    "read_delimited_async",
    "to_google",
    "write_delimited",
    "write_delimited_async",
    "zigzag_decode",
    "zigzag_encode",
]

LAZY = {  # who only reads and writes messages need not wait for these
    "google_bridge": ("class_of", "from_google", "to_google"),
    "compiler": ("compile_files", "compile_proto"),
    "schema": ("Schema", "load_descriptor_set"),
    "streams": (
        "iter_delimited",
        "iter_delimited_async",
        "read_delimited",
        "read_delimited_async",
        "write_delimited",
        "write_delimited_async",
    ),
}


def __getattr__(name: str) -> Any:
    for module, names in LAZY.items():
        if name in names:
            found = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
