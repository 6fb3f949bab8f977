"""Messages as lines for a person: by names where there is a schema, else by numbers and guesses."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from rich.text import Text

from penstock.protobuf.declaration import describe
from penstock.protobuf.descriptors import FieldDescriptor, Shape
from penstock.protobuf.enums import Enum
from penstock.protobuf.kinds import Kind, WireType
from penstock.protobuf.wire_tree import Guess, WireNode, is_likely, walk
from penstock.services.printable import printable

if TYPE_CHECKING:
    from penstock.protobuf.message import Message

__all__ = ["lines_of_bytes", "lines_of_message"]

Piece = tuple[str, str]
"""Text, and its style."""

NAME, WORD, TEXT, NUMBER, BYTES = "cyan", "dim", "green", "magenta", "yellow"
MOST_CHARACTERS = 1_000  # of one text
MOST_BYTES = 256  # of one value in hexadecimal digits
MOST_VALUES = 64  # of one list of scalars


def lines_of_bytes(data: bytes, depth: int = 0) -> Iterator[Text]:
    """A line for each field of a message without a schema.

    Raises:
        DecodeError: the bytes are no message from `offset` on.
    """
    for node in walk(data):
        yield line(depth + node.depth, str(node.number), *shown_node(node))


def lines_of_message(message: Message, depth: int = 0) -> Iterator[Text]:
    """A line for each set field of a message, by ascending number, then its unknown fields."""
    for field in describe(message).by_number.values():
        if message.is_set(field.name):
            yield from lines_of_field(field, getattr(message, field.name), depth)
    if message.unknown_fields:
        yield line(depth, "unknown fields")
        yield from lines_of_bytes(message.unknown_fields, depth + 1)


def lines_of_field(field: FieldDescriptor, value: Any, depth: int) -> Iterator[Text]:
    nested = field.kind in (Kind.MESSAGE, Kind.GROUP)
    if field.shape is Shape.REPEATED and not nested:
        yield line(depth, field.proto_name, *shown_list(value))
        return
    for name, each in named_values(field, value):
        if nested:
            yield line(depth, name)
            yield from lines_of_message(each, depth + 1)
        else:
            yield line(depth, name, shown_scalar(each))


def named_values(field: FieldDescriptor, value: Any) -> Iterable[tuple[str, Any]]:
    """The values of a field that stand on lines of their own."""
    if field.shape is Shape.MAP:
        return ((f"{field.proto_name}[{shown_scalar(key)[0]}]", each) for key, each in value.items())
    if field.shape is Shape.REPEATED:
        return ((f"{field.proto_name}[{index}]", each) for index, each in enumerate(value))
    return ((field.proto_name, value),)


def line(depth: int, name: str, *pieces: Piece) -> Text:
    made = Text("  " * depth)
    made.append(printable(name), NAME)
    made.append(":", WORD)
    for text, style in pieces:
        made.append(" ")
        made.append(text, style)
    return made


# ---- one value


def shown_node(node: WireNode) -> Iterable[Piece]:
    """The guess and the value of a field without a name."""
    kind: Piece = (node.guess.value, WORD)
    if isinstance(node.value, int):
        return (kind, *shown_integer(node.value, node.wire_type))
    if node.guess is Guess.TEXT:
        return (kind, quoted(node.text))
    if node.guess is Guess.VARINTS:
        return (("bytes", WORD), in_hex(node.value), ("or varints", WORD), *shown_list(node.numbers))
    if node.guess is Guess.BYTES:
        return (kind, in_hex(node.value))
    if node.guess in (Guess.EMPTY, Guess.GROUP):
        return (kind,)
    size: Piece = (f"{len(node.value):,} bytes", WORD)
    return (kind, *shown_list(node.numbers), size)


def shown_integer(value: int, wire_type: WireType) -> Iterable[Piece]:
    """An unsigned integer of the wire, and what else its bits are likely to mean."""
    bits = 32 if wire_type is WireType.FIXED32 else 64
    yield str(value), NUMBER
    if value >> bits - 1:
        yield f"or {value - (1 << bits)}", NUMBER
    if wire_type is not WireType.VARINT:
        integer, real = ("<I", "<f") if bits == 32 else ("<Q", "<d")
        (number,) = struct.unpack(real, struct.pack(integer, value))
        if number and is_likely(number):
            yield f"or {number:.9g}", NUMBER


def shown_list(values: Sequence[Any]) -> Iterable[Piece]:
    """The first scalars of a list if there are any, and how many there are if those are not all."""
    if not len(values):
        return
    shown = [shown_scalar(each) for each in islice(values, MOST_VALUES)]
    rest = ", …" if len(values) > MOST_VALUES else ""
    yield f"[{', '.join(text for text, _ in shown)}{rest}]", shown[0][1]
    if rest:
        yield f"{len(values):,} values", WORD


def shown_scalar(value: Any) -> Piece:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, (bytes, memoryview)):
        return in_hex(value)
    if isinstance(value, Enum):
        return f"{value.name} ({value.value})", NUMBER
    plain = value.item() if hasattr(value, "item") else value  # of an array
    return json.dumps(plain) if isinstance(plain, bool) else repr(plain), NUMBER


def quoted(text: str) -> Piece:
    """Text on one line, as JSON writes it; also what strangers send cannot move a cursor then."""
    cut = len(text) > MOST_CHARACTERS
    shown = printable(json.dumps(text[:MOST_CHARACTERS], ensure_ascii=False))
    return f"{shown}… {len(text):,} characters" if cut else shown, TEXT


def in_hex(content: bytes | memoryview) -> Piece:
    if len(content) > MOST_BYTES:
        return f"{content[:MOST_BYTES].hex()}… {len(content):,} bytes", BYTES
    return content.hex() or "no bytes", BYTES
