"""Tags, lengths and varints: what every fallback of this package reads and writes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from penstock.protobuf import faults
from penstock.protobuf.kinds import FIXED_SIZE, INTEGER_RANGE, Kind, WireType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "BITS_64",
    "FROM_BITS",
    "SIZES",
    "STRUCT_CODE",
    "Bytes",
    "check_tag",
    "count_varints",
    "read_length",
    "read_tag",
    "read_varint",
    "unpack_varints",
    "varint",
]

Bytes = bytes | bytearray | memoryview
"""What lends its bytes: also array.array, mmap, numpy arrays and whatever else has a contiguous buffer."""

BITS_64: Final = (1 << 64) - 1
CONTINUED = bytes(range(128, 256))
ENDLESS = re.compile(rb"[\x80-\xff]{10}")

SIZES: Final = {WireType.FIXED64: 8, WireType.FIXED32: 4}
"""Wire type -> bytes of each of its values."""

STRUCT_CODE: Final = {
    Kind.DOUBLE: "d",
    Kind.FLOAT: "f",
    Kind.FIXED64: "Q",
    Kind.SFIXED64: "q",
    Kind.FIXED32: "I",
    Kind.SFIXED32: "i",
}
"""Kind -> its code in the module `struct`, for the kinds of one size."""

assert STRUCT_CODE.keys() == FIXED_SIZE.keys()


class Fault(Exception):
    """What is wrong with the bytes; whoever knows the way to them makes a DecodeError of it.

    Attributes:
        reason: in the words of `faults`.
        offset: of the record at fault; None for the one that is being read.
        of_field: whether the path ends with the field of the record, if the schema has one.
    """

    def __init__(self, reason: str, offset: int | None = None, *, of_field: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.offset, self.of_field = reason, offset, of_field


def read_varint(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """The number at `position`, without bits above 64, and the position after it."""
    value = shift = 0
    for at in range(position, min(end, position + 10)):
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value & BITS_64, at + 1
        shift += 7
    raise Fault(faults.VALUE_TRUNCATED if shift < 70 else faults.VARINT_TOO_LONG)


def read_tag(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """The tag at `position`, a number and a wire type that exist, and the position after it."""
    tag = shift = 0
    for at in range(position, min(end, position + 5)):
        byte = data[at]
        tag |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    else:
        raise Fault(faults.TAG_TRUNCATED if shift < 35 else faults.TAG_TOO_LARGE)
    check_tag(tag)
    return tag, at + 1


def check_tag(tag: int) -> None:
    """Refuses numbers and wire types that do not exist."""
    if tag >> 32:
        raise Fault(faults.TAG_TOO_LARGE)
    if tag < 8:
        raise Fault(faults.FIELD_ZERO)
    if tag & 7 > WireType.FIXED32:
        raise Fault(faults.no_such_wire_type(tag & 7))


def read_length(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """Where the content after the length at `position` starts and stops."""
    if position < end and (length := data[position]) < 128:
        position += 1
    else:
        length, position = read_varint(data, position, end)
    if length > end - position:
        raise Fault(faults.length_past_end(length, end - position))
    return position, position + length


def count_varints(packed: bytes) -> int:
    """How many varints stand back to back here, all whole."""
    if ENDLESS.search(packed):
        raise Fault(faults.VARINT_TOO_LONG)
    if packed and packed[-1] >= 128:
        raise Fault(faults.VALUE_TRUNCATED)
    return len(packed.translate(None, CONTINUED))


def unpack_varints(packed: bytes) -> Iterator[int]:
    """The varints that stand back to back here, as `count_varints` has found them."""
    value = shift = 0
    for byte in packed:
        if byte < 128:
            yield (value | byte << shift) & BITS_64
            value = shift = 0
        else:
            value |= (byte & 127) << shift
            shift += 7


def varint(value: int) -> bytes:
    """The fewest bytes that say an integer of 0 to 2^64 - 1."""
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    written.append(value)
    return bytes(written)


def signed_32(bits: int) -> int:
    return ((bits & 0xFFFF_FFFF) ^ 0x8000_0000) - 0x8000_0000


def signed_64(bits: int) -> int:
    return (bits ^ 1 << 63) - (1 << 63)


def unsigned_32(bits: int) -> int:
    return bits & 0xFFFF_FFFF


def unsigned_64(bits: int) -> int:
    return bits


def zigzag_32(bits: int) -> int:
    return ((bits & 0xFFFF_FFFF) >> 1) ^ -(bits & 1)


def zigzag_64(bits: int) -> int:
    return (bits >> 1) ^ -(bits & 1)


FROM_BITS: Final[dict[Kind, Callable[[int], int]]] = {
    Kind.BOOL: bool,
    Kind.ENUM: signed_32,
    Kind.INT32: signed_32,
    Kind.INT64: signed_64,
    Kind.SINT32: zigzag_32,
    Kind.SINT64: zigzag_64,
    Kind.UINT32: unsigned_32,
    Kind.UINT64: unsigned_64,
}
"""Kind -> its value of a varint's 64 bits, for the kinds that travel as varints."""

assert FROM_BITS.keys() == (INTEGER_RANGE.keys() | {Kind.BOOL}) - FIXED_SIZE.keys()
