"""The words of everything that can be wrong with bytes or with a message; both twins say the same."""

from __future__ import annotations

from typing import Any, Final

__all__ = [
    "FIELD_ZERO",
    "NOT_UTF8",
    "PACKED_PARTIAL",
    "REQUIRED",
    "TAG_TOO_LARGE",
    "TAG_TRUNCATED",
    "TOO_NESTED",
    "VALUE_TRUNCATED",
    "VARINT_TOO_LONG",
    "a",
    "group_mismatch",
    "group_open",
    "length_past_end",
    "lone_surrogates",
    "no_float",
    "no_such_wire_type",
    "out_of_range",
    "shown_key",
    "stray_end",
    "too_deep",
    "too_large",
    "too_many_elements",
    "too_many_unknown",
    "too_much_memory",
    "unknown_field",
    "wrong_dimensions",
    "wrong_type",
]

# Of bytes: the `reason` of a DecodeError.

TAG_TRUNCATED: Final = "the tag is truncated"
TAG_TOO_LARGE: Final = "a tag is a varint of at most 5 bytes, up to 2^32 - 1"
FIELD_ZERO: Final = "field number 0 is not allowed"
VALUE_TRUNCATED: Final = "the value is truncated"
VARINT_TOO_LONG: Final = "a varint is longer than 10 bytes"
NOT_UTF8: Final = "the text is no UTF-8"
PACKED_PARTIAL: Final = "packed values end within one"


def no_such_wire_type(wire_type: int) -> str:
    """Of a tag: wire types are 0 to 5."""
    return f"wire type {wire_type} does not exist"


def length_past_end(length: int, left: int) -> str:
    """Of a length, in bytes, that what holds it has no room for."""
    return f"a length of {length} runs past the end, {left} bytes are left"


def group_open(number: int) -> str:
    """Of a group that what holds it ends within."""
    return f"group {number} has no end"


def group_mismatch(number: int, end: int) -> str:
    """Of the end tag of another group."""
    return f"group {number} is ended by {end}"


def stray_end(number: int) -> str:
    """Of an end tag outside of any group."""
    return f"an end of group {number} without its start"


def too_deep(most: int) -> str:
    """Of what is nested below `max_depth`."""
    return f"must be nested at most {most} levels deep"


def too_large(most: int, size: int) -> str:
    """Of an input above `max_size`."""
    return f"must be at most {most} bytes, got {size}"


def too_many_elements(most: int) -> str:
    """Of the element that is one too many for `max_elements`."""
    return f"must have at most {most} elements in all"


def too_much_memory(most: int) -> str:
    """Of the value that is too much for `max_memory`."""
    return f"must take at most {most} bytes of memory"


def too_many_unknown(most: int) -> str:
    """Of the field that is one too many for `max_unknown`."""
    return f"must have at most {most} unknown fields"


def unknown_field(number: int) -> str:
    """Of a field that the schema lacks, where those are refused."""
    return f"is unknown: field {number}"


# Of messages: the `reason` of an EncodeError, or of either.

REQUIRED: Final = "is required and not set"
TOO_NESTED: Final = "must be nested at most 1000 levels deep: does it contain itself?"

MOST_SHOWN = 40  # characters of a text


def out_of_range(least: int, most: int, value: int) -> str:
    """Of an integer; one of more than 64 bits is not written out."""
    bits = value.bit_length()
    return f"must be {least} to {most}, got {value if bits <= 64 else f'an integer of {bits} bits'}"


def no_float(value: Any) -> str:
    """Of an integer, or what else has no double near it."""
    shown = f"an integer of {value.bit_length()} bits" if isinstance(value, int) else a(type(value).__name__)
    return f"must fit a float, got {shown}"


def wrong_type(wanted: str, value: Any) -> str:
    """`wanted` with its article, such as `an int`."""
    name = type(value).__name__
    return f"must be {wanted}, got {f'another class called {name}' if wanted == a(name) else name}"


def wrong_dimensions(dimensions: int) -> str:
    """Of an array that is to be a list of values."""
    return f"must have one dimension, got {dimensions}"


def lone_surrogates(text: str) -> str:
    """Of text that UTF-8 has no bytes for."""
    shown = ascii(text[:MOST_SHOWN]) + "..." * (len(text) > MOST_SHOWN)
    return f"must be Unicode text without lone surrogates, got {shown}"


def shown_key(key: Any) -> str:
    """A key of a map, as it stands in a path."""
    text = repr(key)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def a(name: str) -> str:
    """The name of a class with its article."""
    return f"{'an' if name[:1] in 'AEIOU' else 'a'} {name}"
