"""The kinds of value that a field can have, and how each travels.

Source: https://protobuf.dev/programming-guides/encoding, descriptor.proto (FieldDescriptorProto.Type).
"""

from enum import IntEnum
from typing import Final

__all__ = ["FIXED_SIZE", "INTEGER_RANGE", "PACKABLE", "WIRE_TYPE", "Kind", "WireType"]


class Kind(IntEnum):
    """What a field holds; the numbers are those of FieldDescriptorProto.Type."""

    DOUBLE = 1
    FLOAT = 2
    INT64 = 3
    UINT64 = 4
    INT32 = 5
    FIXED64 = 6
    FIXED32 = 7
    BOOL = 8
    STRING = 9
    GROUP = 10
    """A message between a start and an end tag: proto2's group, editions' DELIMITED."""
    MESSAGE = 11
    BYTES = 12
    UINT32 = 13
    ENUM = 14
    SFIXED32 = 15
    SFIXED64 = 16
    SINT32 = 17
    SINT64 = 18


class WireType(IntEnum):
    """The lower three bits of a tag."""

    VARINT = 0
    FIXED64 = 1
    LENGTH_DELIMITED = 2
    START_GROUP = 3
    END_GROUP = 4
    FIXED32 = 5


FIXED_SIZE: Final = {
    Kind.DOUBLE: 8,
    Kind.FIXED64: 8,
    Kind.SFIXED64: 8,
    Kind.FLOAT: 4,
    Kind.FIXED32: 4,
    Kind.SFIXED32: 4,
}
"""Kind -> bytes of a value, for the kinds whose values all take the same."""

WIRE_TYPE: Final = {
    **dict.fromkeys(Kind, WireType.VARINT),
    **{kind: WireType.FIXED64 if size == 8 else WireType.FIXED32 for kind, size in FIXED_SIZE.items()},
    **dict.fromkeys((Kind.STRING, Kind.BYTES, Kind.MESSAGE), WireType.LENGTH_DELIMITED),
    Kind.GROUP: WireType.START_GROUP,
}
"""Kind -> how one value of it travels, unpacked."""

PACKABLE: Final = frozenset(Kind) - {Kind.STRING, Kind.BYTES, Kind.MESSAGE, Kind.GROUP}
"""Kinds whose repeated values may stand back to back under one tag."""

INTEGER_RANGE: Final = {
    **dict.fromkeys((Kind.INT32, Kind.SINT32, Kind.SFIXED32, Kind.ENUM), (-(2**31), 2**31 - 1)),
    **dict.fromkeys((Kind.INT64, Kind.SINT64, Kind.SFIXED64), (-(2**63), 2**63 - 1)),
    **dict.fromkeys((Kind.UINT32, Kind.FIXED32), (0, 2**32 - 1)),
    **dict.fromkeys((Kind.UINT64, Kind.FIXED64), (0, 2**64 - 1)),
}
"""Kind -> the least and the greatest integer that fits."""
