"""What decoded fields cost of `DecodeOptions.max_memory`, the same in both twins.

The figures are those of CPython on a 64-bit machine, rounded up: the object, its place in the list or
dict that holds it, and what the allocator adds. A record is charged before its value is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from penstock.protobuf.descriptors import FieldDescriptor, MessageDescriptor, Shape
from penstock.protobuf.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ARRAY_COST",
    "ASCII_COST",
    "BYTES_COST",
    "ELEMENT_COST",
    "ENTRY_COST",
    "PACKED_COST",
    "PACKED_ELEMENT_COST",
    "REPEATED_COST",
    "SCALAR_COST",
    "TEXT_COST",
    "UNKNOWN_COST",
    "entry_cost",
    "message_cost",
    "text_cost",
]

SCALAR_COST: Final = 48
"""A singular number, bool or enum."""
ELEMENT_COST: Final = 80
"""One in a list: an int above 60 bits takes 48, its place in the list and its record on the tape 16 each."""
PACKED_COST: Final = 48
"""A record of packed values,"""
PACKED_ELEMENT_COST: Final = 56
"""and each of its values."""
ARRAY_COST: Final = 160
"""A record that goes to an array; each of its values adds the size of the array's items."""
ASCII_COST: Final = 96
"""Text of ASCII only; each character adds 1."""
TEXT_COST: Final = 128
"""Other text; each character adds 1, 2 or 4."""
BYTES_COST: Final = 80
"""Bytes; each adds 1."""
REPEATED_COST: Final = 16
"""What text, bytes or a message adds as an element of a list."""
ENTRY_COST: Final = 200
"""An entry of a map, without its key and its value."""
UNKNOWN_COST: Final = 32
"""An unknown field; each of its bytes, tag included, adds 1."""

MESSAGE, SLOT, LIST, DICT, ARRAY = 96, 8, 64, 80, 160


def message_cost(descriptor: MessageDescriptor) -> int:
    """Bytes that an empty message takes, its empty lists, dicts and arrays included."""
    return MESSAGE + sum(map(field_cost, descriptor.fields))


def field_cost(field: FieldDescriptor) -> int:
    """Bytes that a field takes while it is not set."""
    if field.shape is Shape.MAP:
        return SLOT + DICT
    if field.shape is Shape.REPEATED:
        return SLOT + (ARRAY if field.array else LIST)
    return SLOT


def entry_cost(field: FieldDescriptor, value_fields: Iterable[FieldDescriptor] = ()) -> int:
    """Bytes that an entry of a map takes before its key and its value are read.

    An entry without a value has an empty message there, so `value_fields`, those of the class of a
    message value, are charged whether or not the value comes.
    """
    if field.kind not in (Kind.MESSAGE, Kind.GROUP):
        return ENTRY_COST
    return ENTRY_COST + MESSAGE + sum(map(field_cost, value_fields))


def text_cost(text: str, size: int, *, utf8: bool = True) -> int:
    """Bytes that text takes which was `size` bytes long; lone surrogates may be in it without `utf8`."""
    if text.isascii():
        return ASCII_COST + size
    if not utf8:
        return TEXT_COST + 4 * size
    widest = max(text)
    return TEXT_COST + len(text) * (1 if widest <= "\xff" else 2 if widest <= "\uffff" else 4)
