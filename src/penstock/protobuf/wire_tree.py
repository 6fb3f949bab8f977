"""Bytes without their schema: the fields that they hold, and what each could be.

The wire says less than a schema: whether length-delimited bytes are text, a sub-message or packed numbers
is a guess, made the same way each time and named as one.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from penstock.protobuf import faults
from penstock.protobuf._wire_reader_py import record_at as copying_record_at
from penstock.protobuf._wire_reader_py import tag_at, varint_at
from penstock.protobuf.errors import DecodeError
from penstock.protobuf.kinds import WireType
from penstock.protobuf.varint import decode_varint

__all__ = ["Guess", "WireNode", "is_likely", "walk"]

FIELDS_LOOKED_AT = 256  # of what could be a message; so many that are none are not found by chance
LONG = 65_536  # bytes; what reads as a message and is longer is not looked through for being a text, too
NUMBERS_LOOKED_AT = 64  # of what could be packed; there are no more in a node than these either
LIKELY_NUMBER = 100_000  # of a field; random bytes give larger ones most of the time
LONGEST_LIKELY_VARINT = 5  # bytes
LIKELY_MAGNITUDE = 1e-9, 1e15  # of a floating-point number that somebody chose to send

NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
BLANK_FIRST = (9, 10, 13)  # of text; as tags: field 1, as a fixed64, length-delimited and a fixed32


class Guess(Enum):
    """What the value of a field seems to be."""

    VARINT = "varint"
    FIXED64 = "fixed64"
    FIXED32 = "fixed32"
    GROUP = "group"
    EMPTY = "empty"
    """No bytes: no text, an empty message, or no numbers."""
    TEXT = "text"
    MESSAGE = "message"
    DOUBLES = "doubles"
    FLOATS = "floats"
    VARINTS = "varints"
    """Could be packed varints, and as well any bytes."""
    BYTES = "bytes"


@dataclass(frozen=True, slots=True)
class WireNode:
    """One field, at any depth."""

    depth: int
    """0 for the fields of the message itself."""
    offset: int
    """Bytes from the start of the input to its tag."""
    number: int
    wire_type: WireType
    guess: Guess
    value: int | bytes | memoryview
    """An unsigned integer, or the bytes behind tag and length; none of a group."""
    numbers: tuple[int | float, ...] = ()
    """The first ones of what could be packed, at most 64."""

    @property
    def text(self) -> str:
        """The value of what is guessed to be TEXT."""
        assert not isinstance(self.value, int)
        return str(self.value, "utf-8")


@dataclass(slots=True)
class Frame:
    """A message, or a group, that is being gone through."""

    content: memoryview
    """Its bytes; those of a group go on to the end of the message that it is in."""
    start: int
    """Where in the input `content` begins."""
    position: int
    """Of the next field in `content`."""
    group: tuple[int, int] | None = None
    """Number and offset of a group."""


def walk(data: bytes | memoryview, *, max_depth: int = 100) -> Iterator[WireNode]:
    """Goes through every field, depth first, into whatever looks like a message.

    What is asked for is looked at, and no more: the first fields come at once, however many there are.

    Args:
        data: one message; not copied.
        max_depth: messages and groups within each other; deeper messages stay bytes, deeper groups are
            refused.

    Raises:
        DecodeError: the bytes are no message from `offset` on.
    """
    stack = [Frame(memoryview(data), 0, 0)]
    while stack:
        frame = stack[-1]
        if frame.position == len(frame.content):
            check_closed(frame)
            stack.pop()
            continue
        try:
            record = record_at(frame.content, frame.position)
        except DecodeError as error:
            raise DecodeError(error.reason, offset=frame.start + error.offset) from None
        offset = frame.start + frame.position
        frame.position = record.end
        if record.wire_type is WireType.END_GROUP:
            check_end_of_group(frame, record.number, offset)
            stack.pop()
            stack[-1].position = record.end
            continue
        depth = len(stack) - 1
        node = guessed(depth, offset, record, deeper=len(stack) < max_depth)
        yield node
        if node.guess is Guess.GROUP:
            if len(stack) >= max_depth:
                raise DecodeError(faults.too_deep(max_depth), offset=offset)
            stack.append(Frame(frame.content, frame.start, record.end, (record.number, offset)))
        elif node.guess is Guess.MESSAGE and isinstance(record.value, memoryview):
            stack.append(Frame(record.value, frame.start + record.end - len(record.value), 0))


class Record(NamedTuple):
    """One field, or the tag of the beginning or end of a group."""

    number: int
    wire_type: WireType
    value: int | memoryview
    end: int


def record_at(content: memoryview, start: int) -> Record:
    """The record at `start`; its bytes are not copied, as a WireReader copies those that it hands out.

    Raises:
        DecodeError: it breaks a rule.
    """
    number, wire_type, at = tag_at(content, start)
    if wire_type is not WireType.LENGTH_DELIMITED:
        return Record(*copying_record_at(content, start))  # type: ignore[arg-type]  # integers alone
    size, at = varint_at(content, at, start)
    if size > len(content) - at:
        raise DecodeError(faults.length_past_end(size, len(content) - at), offset=start)
    return Record(number, wire_type, content[at : at + size], at + size)


def check_closed(frame: Frame) -> None:
    if frame.group is not None:
        number, offset = frame.group
        raise DecodeError(faults.group_open(number), offset=offset)


def check_end_of_group(frame: Frame, number: int, offset: int) -> None:
    if frame.group is None:
        raise DecodeError(faults.stray_end(number), offset=offset)
    if frame.group[0] != number:
        raise DecodeError(faults.group_mismatch(frame.group[0], number), offset=offset)


# ---- guesses


def guessed(depth: int, offset: int, record: Record, *, deeper: bool) -> WireNode:
    number, wire_type, value, _ = record
    if wire_type is WireType.START_GROUP:
        return WireNode(depth, offset, number, wire_type, Guess.GROUP, b"")
    if isinstance(value, int):
        return WireNode(depth, offset, number, wire_type, Guess[wire_type.name], value)
    guess, numbers = guess_of(value, deeper=deeper)
    return WireNode(depth, offset, number, wire_type, guess, value, numbers)


def guess_of(content: memoryview, *, deeper: bool) -> tuple[Guess, tuple[int | float, ...]]:
    """What length-delimited bytes seem to be, and their first numbers if they could be packed."""
    if not content:
        return Guess.EMPTY, ()
    message = deeper and is_message(content)
    surely_message = message and (content[0] in BLANK_FIRST or len(content) > LONG)
    if not surely_message and is_text(content):
        return Guess.TEXT, ()
    if message:
        return Guess.MESSAGE, ()
    for guess, numbers in (
        (Guess.DOUBLES, likely_floats(content, "d", 8)),
        (Guess.FLOATS, likely_floats(content, "f", 4)),
        (Guess.VARINTS, likely_varints(content)),
    ):
        if numbers:
            return guess, numbers
    return Guess.BYTES, ()


def is_text(content: memoryview) -> bool:
    """Whether it is UTF-8 without control characters, but for tabs and ends of lines."""
    if NO_TEXT.search(content):  # soon found in a message, whose first tags are such characters
        return False
    try:
        str(content, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def is_message(content: memoryview) -> bool:
    """Whether it reads as fields with likely numbers, as far as one looks."""
    open_groups: list[int] = []
    position = 0
    for _ in range(FIELDS_LOOKED_AT):
        if position == len(content):
            return not open_groups
        try:
            number, wire_type, _, position = record_at(content, position)
        except DecodeError:
            return False
        if number > LIKELY_NUMBER:
            return False
        if wire_type is WireType.START_GROUP:
            open_groups.append(number)
        elif wire_type is WireType.END_GROUP and (not open_groups or open_groups.pop() != number):
            return False
    return True


def likely_floats(content: memoryview, code: str, size: int) -> tuple[float, ...]:
    if len(content) % size or len(content) < 2 * size:
        return ()
    count = min(len(content) // size, NUMBERS_LOOKED_AT)
    numbers = struct.unpack_from(f"<{count}{code}", content)
    return numbers if all(map(is_likely, numbers)) else ()


def is_likely(number: float) -> bool:
    """Whether a floating-point number looks like one that somebody chose, not like other bits read as one."""
    least, most = LIKELY_MAGNITUDE
    return number == 0 or least <= abs(number) <= most


def likely_varints(content: memoryview) -> tuple[int, ...]:
    """The first integers of what are varints of a likely length from end to end, and no fewer than two."""
    if len(content) < 2 or content[-1] >= 0x80:
        return ()
    numbers: list[int] = []
    position = 0
    while position < len(content) and len(numbers) < NUMBERS_LOOKED_AT:
        try:
            number, after = decode_varint(content, position)
        except DecodeError:
            return ()
        if after - position > LONGEST_LIKELY_VARINT or (content[after - 1] == 0 and after - position > 1):
            return ()
        numbers.append(number)
        position = after
    return tuple(numbers) if len(numbers) > 1 else ()
