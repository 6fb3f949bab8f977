"""Wire reader, pure Python. Its compiled twin does the same over csrc/wire_reader.c."""

from typing import Self

from penstock.errors import InvalidType, InvalidValue
from penstock.protobuf import faults
from penstock.protobuf._varint_py import octets_of
from penstock.protobuf._wire_py import SIZES, Bytes, Fault, read_length, read_tag, read_varint
from penstock.protobuf.errors import DecodeError
from penstock.protobuf.kinds import WireType

__all__ = ["WireReader"]

DEEPEST = 1000
VARINT, _, LENGTH_DELIMITED, START_GROUP, END_GROUP, _ = WIRE_TYPES = tuple(WireType)


class WireReader:
    """Iterates over one protobuf message that no schema is known of: `(field_number, wire_type, value)`.

    The value of a varint or of fixed bytes is an int, unsigned. That of length-delimited bytes and of a group
    is bytes, those between tag and end; where they are a message, a WireReader of its own reads it. A group
    is read whole, and all that lies in it is checked; what length-delimited bytes hold is not.

    A record that breaks a rule raises DecodeError; its `offset` is that of the tag at fault, which may lie
    within a group. `position` is then still where the record begins, and asking for it again raises again.
    While the reader lives, a bytearray that it reads cannot be resized.

    Args:
        data: bytes, or what lends them; not copied. Bytes that come out are copies.
        max_depth: how deep groups may be nested, the message itself being level 1; 1 to 1000.

    Raises:
        ValueError: max_depth is out of its range.
        TypeError: data has no contiguous buffer, or max_depth is no int.

    Source: https://protobuf.dev/programming-guides/encoding
    """

    __slots__ = ("_data", "_max_depth", "_position")

    def __init__(self, data: Bytes, /, *, max_depth: int = 100) -> None:
        self._max_depth = checked_depth(max_depth)
        self._data = octets_of(data)
        self._position = 0

    @property
    def position(self) -> int:
        """Bytes from the start to the next record; the length of the message when there is none."""
        return self._position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[int, WireType, int | bytes]:
        start = self._position
        if start == len(self._data):
            raise StopIteration
        number, wire_type, value, end = record_at(self._data, start)
        if wire_type is END_GROUP:
            raise DecodeError(faults.stray_end(number), offset=start)
        if wire_type is START_GROUP:
            value, end = group_at(self._data, start, number, end, self._max_depth)
        self._position = end
        return number, wire_type, value


def record_at(data: Bytes, start: int) -> tuple[int, WireType, int | bytes, int]:
    """Number, wire type and value of the record at `start`, and where it ends.

    Tags that begin or end a group count as records without a value, 0.

    Raises:
        DecodeError: it breaks a rule.
    """
    try:
        tag, at = read_tag(data, start, len(data))
        number, wire_type = tag >> 3, WIRE_TYPES[tag & 7]
        if wire_type is VARINT:
            return number, wire_type, *read_varint(data, at, len(data))
        if wire_type is START_GROUP or wire_type is END_GROUP:
            return number, wire_type, 0, at
        if wire_type is LENGTH_DELIMITED:
            begin, end = read_length(data, at, len(data))
            return number, wire_type, bytes(data[begin:end]), end
    except Fault as fault:
        raise DecodeError(fault.reason, offset=start) from None
    end = at + SIZES[wire_type]
    if end > len(data):
        raise DecodeError(faults.VALUE_TRUNCATED, offset=start)
    return number, wire_type, int.from_bytes(data[at:end], "little"), end


def group_at(data: Bytes, start: int, number: int, at: int, max_depth: int) -> tuple[bytes, int]:
    """The bytes between the tags of a group, of which the first is from `start` to `at`, and where it ends.

    Raises:
        DecodeError: something in it breaks a rule.
    """
    body = at
    open_groups: list[tuple[int, int]] = []
    wire_type = START_GROUP
    while True:
        if wire_type is START_GROUP:
            open_groups.append((number, start))
            if len(open_groups) >= max_depth:
                raise DecodeError(faults.too_deep(max_depth), offset=start)
        elif wire_type is END_GROUP:
            begun, _ = open_groups.pop()
            if number != begun:
                raise DecodeError(faults.group_mismatch(begun, number), offset=start)
            if not open_groups:
                return bytes(data[body:start]), at
        if at == len(data):
            number, start = open_groups[-1]
            raise DecodeError(faults.group_open(number), offset=start)
        start = at
        number, wire_type, _, at = record_at(data, start)


def tag_at(data: Bytes, start: int) -> tuple[int, WireType, int]:
    """Field number and wire type of the tag at `start`, and where it ends.

    Raises:
        DecodeError: there is none.
    """
    try:
        tag, at = read_tag(data, start, len(data))
    except Fault as fault:
        raise DecodeError(fault.reason, offset=start) from None
    return tag >> 3, WIRE_TYPES[tag & 7], at


def varint_at(data: Bytes, at: int, start: int) -> tuple[int, int]:
    """The varint at `at`, of the record at `start`, and where it ends.

    Raises:
        DecodeError: there is none.
    """
    try:
        return read_varint(data, at, len(data))
    except Fault as fault:
        raise DecodeError(fault.reason, offset=start) from None


def checked_depth(max_depth: object) -> int:
    """How deep groups may be nested.

    Raises:
        ValueError: not 1 to DEEPEST levels.
        TypeError: it is no int.
    """
    if not isinstance(max_depth, int) or isinstance(max_depth, bool):
        raise InvalidType(f"max_depth {faults.wrong_type('an int', max_depth)}")
    if not 1 <= max_depth <= DEEPEST:
        raise InvalidValue(f"max_depth {faults.out_of_range(1, DEEPEST, max_depth)}")
    return max_depth


def refusal(fault: int, offset: int, detail: tuple[int, int], max_depth: int) -> DecodeError:
    """The error for a fault that csrc/wire_reader.h numbers, in the words that are raised above."""
    reasons = (
        faults.TAG_TRUNCATED,
        faults.TAG_TOO_LARGE,
        faults.FIELD_ZERO,
        faults.no_such_wire_type(detail[0]),
        faults.VALUE_TRUNCATED,
        faults.VARINT_TOO_LONG,
        faults.length_past_end(*detail),
        faults.group_open(detail[0]),
        faults.group_mismatch(*detail),
        faults.stray_end(detail[0]),
        faults.too_deep(max_depth),
    )
    return DecodeError(reasons[fault - 1], offset=offset)
