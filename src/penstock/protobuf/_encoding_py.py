"""How the fallback writes messages: a table of fields for each class, a generator for each message.

A message is written in one pass into one buffer; the length of a sub-message is set once its content
stands, so that it is right even if another thread changes the message meanwhile. The generator of a
message yields each of its sub-messages and is resumed when that is written: no nesting needs more of
Python's stack.
"""

from __future__ import annotations

import math
import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from penstock.protobuf import faults
from penstock.protobuf._varint_py import encode_varints
from penstock.protobuf._wire_py import BITS_64, STRUCT_CODE, varint
from penstock.protobuf.descriptors import FieldDescriptor, Presence, Shape
from penstock.protobuf.errors import EncodeError, EncodeTypeError
from penstock.protobuf.kinds import FIXED_SIZE, WIRE_TYPE, Kind, WireType
from penstock.protobuf.methods import is_negative_zero
from penstock.protobuf.values import check_of, elements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from penstock.protobuf.message import Message

    Get = Callable[[Any], Any]
    Check = Callable[[Any], Any]
    """The value as its kind has it, or an EncodeError."""
    Put = Callable[[bytearray, Any], None]
    """Adds a checked value without its tag."""
    Write = Callable[[bytearray, Any], None]
    """Checks what a slot holds and adds it, tag and value."""
    WritersOf = Callable[[type[Message]], tuple["Writer", ...]]

__all__ = ["Writer", "encode", "writer_of"]

DEEPEST = 1000


class Writer(NamedTuple):
    """How one field is written: by `write`, entry by entry, or message by message."""

    field: FieldDescriptor
    get: Get
    zero: Any
    """What is not written, where it is this very object; `write` knows the others that are equal to it."""
    write: Write | None
    entry: EntryWriter | None
    start: bytes
    """The tag of a message or an entry,"""
    stop: bytes
    """and that of the end of a group; empty for others, which have a length."""


class EntryWriter(NamedTuple):
    """How the entries of a map are written."""

    check_key: Check
    put_key: Put
    """Its tag too."""
    write_value: Write | None
    """None where values are messages."""


def encode(
    message: Message, writers_of: WritersOf, label: str, *, sort: bool, partial: bool = False
) -> bytes:
    """The bytes of a message.

    Args:
        message: any.
        writers_of: the writers of a class, ascending by number.
        label: what the path begins with in an error.
        sort: whether maps are sorted by their keys.
        partial: whether the message may lack required fields.

    Raises:
        EncodeError: a value cannot be written.
    """
    writing = Writing(writers_of, sort, partial)
    stack = [writing.parts(message)]
    try:
        while stack:
            inner = next(stack[-1], None)
            if inner is None:
                stack.pop()
            else:
                stack.append(writing.parts(inner))
    except EncodeError as error:
        raise type(error)(error.reason, path=label + "".join(writing.path) + error.path) from None
    return bytes(writing.out)


class Writing:
    """One message while it is written."""

    __slots__ = ("depth", "out", "partial", "path", "sort", "writers_of")

    def __init__(self, writers_of: WritersOf, sort: bool, partial: bool) -> None:
        self.writers_of, self.sort, self.partial = writers_of, sort, partial
        self.out = bytearray()
        self.depth = 1  # counted as decoding counts it: an entry of a map is a level
        self.path: list[str] = []
        """The steps from the root to the sub-message that is being written."""

    def parts(self, message: Message) -> Iterator[Message]:
        """Writes a message, but for each of its sub-messages, which it yields where they belong."""
        for writer in self.writers_of(type(message)):
            field = writer.field
            try:
                value = writer.get(message)
            except AttributeError:  # its slot was deleted
                value = None
            if value is None or value is writer.zero:
                if field.presence is Presence.REQUIRED and not self.partial:
                    raise EncodeError(faults.REQUIRED, path=f".{field.name}")
            elif writer.write is not None:
                try:
                    writer.write(self.out, value)
                except EncodeError as error:
                    raise type(error)(error.reason, path=f".{field.name}{error.path}") from None
            elif writer.entry is not None:
                yield from self.entries(writer, writer.entry, value)
            elif field.shape is Shape.REPEATED:
                if not isinstance(value, list | tuple):
                    raise EncodeTypeError(faults.wrong_type("a list", value), path=f".{field.name}")
                for at, element in enumerate(tuple(value)):  # it may grow meanwhile
                    yield from self.inner(writer, element, f".{field.name}[{at}]")
            else:
                yield from self.inner(writer, value, f".{field.name}")
        self.out += getattr(message, "__unknown__", b"")  # a class may not call our __init__

    def inner(self, writer: Writer, value: Any, step: str) -> Iterator[Message]:
        """Checks a sub-message, writes what stands around it and yields it."""
        if writer.stop:
            check_message(writer.field, value, step)
            self.go_down(step)
            self.out += writer.start
            yield value
            self.out += writer.stop
            self.come_up()
        else:
            yield from self.with_length(writer.field, writer.start, value, step)

    def with_length(self, field: FieldDescriptor, tag: bytes, value: Any, step: str) -> Iterator[Message]:
        check_message(field, value, step)
        self.go_down(step)
        self.out += tag
        begin = len(self.out)
        self.out.append(0)
        yield value
        set_length(self.out, begin)
        self.come_up()

    def entries(self, writer: Writer, entry: EntryWriter, value: Any) -> Iterator[Message]:
        """Writes the entries of a map, and yields those of its values that are messages."""
        field = writer.field
        for checked, key, inside in self.pairs(field, entry.check_key, value):
            step = f".{field.name}[{faults.shown_key(key)}]"
            self.go_down("")
            self.out += writer.start
            begin = len(self.out)
            self.out.append(0)
            entry.put_key(self.out, checked)
            if entry.write_value is None:
                yield from self.with_length(field, VALUE_TAG, inside, step)
            else:
                try:
                    entry.write_value(self.out, inside)
                except EncodeError as error:
                    raise type(error)(error.reason, path=step) from None
            set_length(self.out, begin)
            self.come_up()

    def pairs(self, field: FieldDescriptor, check_key: Check, value: Any) -> list[tuple[Any, Any, Any]]:
        """Checked key, key and value of each entry, in the order in which they are written."""
        if not isinstance(value, dict):
            raise EncodeTypeError(faults.wrong_type("a dict", value), path=f".{field.name}")
        try:
            found = [(check_key(key), key, inside) for key, inside in list(dict.items(value))]
        except EncodeError as error:
            raise type(error)(f"keys {error.reason}", path=f".{field.name}") from None
        return sorted(found, key=itemgetter(0)) if self.sort else found

    def go_down(self, step: str) -> None:
        self.path.append(step)
        self.depth += 1
        if self.depth > DEEPEST:
            raise EncodeError(faults.TOO_NESTED)

    def come_up(self) -> None:
        self.path.pop()
        self.depth -= 1


VALUE_TAG = varint(2 << 3 | WireType.LENGTH_DELIMITED)


def check_message(field: FieldDescriptor, value: Any, step: str) -> None:
    assert field.message is not None
    if not isinstance(value, field.message):
        raise EncodeTypeError(faults.wrong_type(faults.a(field.message.__name__), value), path=step)


def set_length(out: bytearray, begin: int) -> None:
    """Puts the length of what follows into the byte that was kept for it, or makes room for more."""
    length = len(out) - begin - 1
    if length < 128:
        out[begin] = length
    else:
        out[begin : begin + 1] = varint(length)


# What writes the fields.


def writer_of(field: FieldDescriptor, get: Get) -> Writer:
    """How the field is written, of a message from which `get` takes its value."""
    start, stop = varint(field.tag), b""
    if field.shape is Shape.MAP:
        assert field.key is not None
        entry = EntryWriter(
            check_of(field.key, field.utf8),
            tagged_put(field.key, 1),
            None if field.message else scalar_write(field, 2),
        )
        return Writer(field, get, None, None, entry, start, stop)
    if field.kind is Kind.GROUP:
        stop = varint(field.number << 3 | WireType.END_GROUP)
    zero = field.default if field.presence is Presence.IMPLICIT else None
    return Writer(field, get, zero, None if field.message else write_of(field), None, start, stop)


def write_of(field: FieldDescriptor) -> Write:
    """What writes a field of scalars."""
    if field.array:
        return array_write(field)
    if field.shape is Shape.REPEATED:
        return packed_write(field) if field.packed else list_write(field)
    if field.presence is Presence.IMPLICIT:
        return implicit_write(field)
    return scalar_write(field, field.number)


def scalar_write(field: FieldDescriptor, number: int) -> Write:
    tag, put = varint(number << 3 | WIRE_TYPE[field.kind]), PUT[field.kind]
    check = check_of(field.kind, field.utf8)

    def write(out: bytearray, value: Any) -> None:
        value = check(value)
        out += tag
        put(out, value)

    return write


def implicit_write(field: FieldDescriptor) -> Write:
    """Writes what is not zero."""
    tag, put = varint(field.tag), PUT[field.kind]
    check = rounded if field.kind is Kind.FLOAT else check_of(field.kind, field.utf8)
    zero = check(field.default)

    def write(out: bytearray, value: Any) -> None:
        value = check(value)
        if value != zero or is_negative_zero(value):
            out += tag
            put(out, value)

    return write


def rounded(value: Any) -> float:
    """A float as 32 bits have it: one that they take for zero is not written."""
    checked: float = check_of(Kind.FLOAT, True)(value)
    out = bytearray()
    put_float(out, checked)
    return float(struct.unpack("<f", out)[0])


def list_write(field: FieldDescriptor) -> Write:
    return each_written(check_of(field.kind, field.utf8), tagged_put(field.kind, field.number))


def packed_write(field: FieldDescriptor) -> Write:
    tag = varint(field.tag)
    write_each = each_written(check_of(field.kind, field.utf8), PUT[field.kind])

    def write(out: bytearray, values: Any) -> None:
        packed = bytearray()
        write_each(packed, values)
        if packed:
            put_delimited(out, tag, packed)

    return write


def each_written(check: Check, put: Put) -> Write:
    def write(out: bytearray, values: Any) -> None:
        at = 0
        given = tuple(elements(values))  # it may grow meanwhile, by what an element's __index__ does
        try:
            for at, value in enumerate(given):  # noqa: B007  # what it got to is where the error is
                put(out, check(value))
        except EncodeError as error:
            raise type(error)(error.reason, path=f"[{at}]") from None

    return write


def array_write(field: FieldDescriptor) -> Write:
    from penstock.protobuf.arrays import array_of

    kind, tag, put = field.kind, varint(field.tag), tagged_put(field.kind, field.number)

    def write(out: bytearray, values: Any) -> None:
        array = array_of(kind, values)
        if not field.packed:
            for value in array.tolist():
                put(out, value)
        elif len(array):
            put_delimited(out, tag, packed_array(kind, array))

    return write


def packed_array(kind: Kind, array: NDArray[Any]) -> bytes:
    if kind in FIXED_SIZE or kind is Kind.BOOL:
        return array.tobytes()
    return encode_varints(array, zigzag=kind in (Kind.SINT32, Kind.SINT64))


def tagged_put(kind: Kind, number: int) -> Put:
    tag, put = varint(number << 3 | WIRE_TYPE[kind]), PUT[kind]

    def put_both(out: bytearray, value: Any) -> None:
        out += tag
        put(out, value)

    return put_both


def put_delimited(out: bytearray, tag: bytes, content: bytes | bytearray) -> None:
    out += tag
    put_bytes(out, content)


def put_integer(out: bytearray, value: int) -> None:
    if 0 <= value < 128:
        out.append(value)
    else:
        out += varint(value & BITS_64)


def put_zigzag(out: bytearray, value: int) -> None:
    put_integer(out, value << 1 if value >= 0 else ~(value << 1))


def put_bytes(out: bytearray, value: bytes | bytearray) -> None:
    size = len(value)
    if size < 128:
        out.append(size)
    else:
        out += varint(size)
    out += value


def put_fixed(kind: Kind) -> Put:
    pack = struct.Struct(f"<{STRUCT_CODE[kind]}").pack

    def put(out: bytearray, value: Any) -> None:
        out += pack(value)

    return put


def put_float(out: bytearray, value: float) -> None:
    try:
        out += struct.pack("<f", value)
    except OverflowError:  # what rounds beyond the largest float is infinite
        out += struct.pack("<f", math.copysign(math.inf, value))


PUT: Final[dict[Kind, Put]] = {
    **dict.fromkeys(WIRE_TYPE, put_integer),
    **{kind: put_fixed(kind) for kind in FIXED_SIZE},
    Kind.FLOAT: put_float,
    Kind.SINT32: put_zigzag,
    Kind.SINT64: put_zigzag,
    Kind.STRING: put_bytes,
    Kind.BYTES: put_bytes,
}
"""Kind -> what adds a checked value of it, for all but messages and groups."""
