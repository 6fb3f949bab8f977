"""How the fallback reads messages: a table of tags for each class, one loop for all.

A field that holds no message is a leaf: a closure that reads one record and stores its value. A field
that does is a branch: the loop itself goes down into it and comes back, so that no nesting, however
deep, needs more of Python's stack. Each leaf and branch charges the budgets before it makes a value.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock.protobuf import faults, limits
from penstock.protobuf._varint_py import decode_varints
from penstock.protobuf._wire_py import (
    FROM_BITS,
    SIZES,
    STRUCT_CODE,
    Fault,
    check_tag,
    count_varints,
    read_length,
    read_tag,
    read_varint,
    unpack_varints,
    varint,
)
from penstock.protobuf.descriptors import FieldDescriptor, Shape
from penstock.protobuf.errors import DecodeError
from penstock.protobuf.kinds import FIXED_SIZE, PACKABLE, Kind, WireType
from penstock.protobuf.options import MOST, DecodeOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from penstock.protobuf.enums import Enum

    Leaf = Callable[["Reader", bytes, Any, int, int], int]
    """Reads the content of a record into a message, from a position, to an end; gives the position after."""

__all__ = ["Branch", "Entry", "Reader", "Schema", "leaves_of"]


class Schema:
    """What the loop needs to know of a message, or of the entries of a map."""

    __slots__ = ("blank", "branches", "closed", "cost", "fields", "leaves")

    def __init__(self, blank: Callable[[], Any], cost: int) -> None:
        self.blank = blank
        """Makes an empty one,"""
        self.cost = cost
        """which takes so many bytes."""
        self.leaves: dict[int, Leaf] = {}
        self.branches: dict[int, Branch] = {}
        self.closed: dict[int, ClosedEnum] = {}
        self.fields: dict[int, FieldDescriptor] = {}
        """Tag -> field, with every tag that is read as that field; the tables above have the same tags."""


class Branch:
    """A field of messages, groups or map entries; `schema` is theirs, `enter` gives the one to read into."""

    __slots__ = ("cost", "enter", "field", "is_group", "leave", "link", "linked")

    def __init__(
        self,
        field: FieldDescriptor,
        link: Callable[[], Schema],
        enter: Callable[[Any, Schema], Any],
        leave: Callable[[Reader, Any, Entry, int, int], None] | None = None,
    ) -> None:
        self.field, self.link, self.enter, self.leave = field, link, enter, leave
        self.linked: Schema | None = None
        self.cost = 0
        self.is_group = field.kind is Kind.GROUP and field.shape is not Shape.MAP

    def schema(self) -> Schema:
        """Made when the first message is read, as a class may hold itself."""
        if self.linked is None:
            schema = self.link()
            self.cost = schema.cost + (limits.REPEATED_COST if self.field.shape is Shape.REPEATED else 0)
            self.linked = schema  # last: other threads take it that the cost is there then
        return self.linked


class ClosedEnum(NamedTuple):
    """A field of a closed enum: a number without a name is an unknown field."""

    name: str
    members: dict[int, Any]
    repeated: bool


class Entry:
    """An entry of a map while it is read."""

    __slots__ = ("key", "unnamed", "value")

    def __init__(self, key: Any, value: Any) -> None:
        self.key, self.value = key, value
        self.unnamed = False
        """Whether its value was a number that a closed enum has no name for."""


class Frame(NamedTuple):
    """A message that is set aside while one inside it is read."""

    schema: Schema
    message: Any
    begin: int
    end: int
    start: int
    """Of the record that the inner message is."""
    branch: Branch | None
    """The field that this message itself is in."""


class Reader:
    """One input: its bytes, and what is left of its budgets."""

    __slots__ = ("arrays", "data", "elements", "memory", "options", "unfinished", "unknown_left")

    def __init__(self, data: bytes, options: DecodeOptions) -> None:
        self.data, self.options = data, options
        self.elements = options.max_elements
        self.memory = options.max_memory
        self.unknown_left = options.max_unknown
        self.unfinished: list[Any] = []
        """Messages whose unknown fields are a bytearray still."""
        self.arrays: dict[tuple[int, int], ArrayBeingRead] = {}

    def read(self, schema: Schema, message: Any, label: str) -> None:
        """Reads all bytes into the message, as if they followed those that it was made of.

        Raises:
            DecodeError: its path starts with `label`. The message is then half read.
        """
        options = self.options
        data = self.data
        if len(data) > options.max_size:
            raise DecodeError(faults.too_large(options.max_size, len(data)), path=label)
        self.memory -= schema.cost
        if self.memory < 0:
            raise DecodeError(faults.too_much_memory(options.max_memory), path=label)
        stack: list[tuple[Any, ...]] = []  # frames, but for the time that it takes to make one
        leaves, branches = schema.leaves, schema.branches
        branch: Branch | None = None
        begin = position = start = 0
        end = len(data)
        try:
            while True:
                while position < end:
                    start = position
                    tag = data[position]
                    if tag < 128:
                        position += 1
                    else:
                        tag, position = read_tag(data, position, end)
                    leaf = leaves.get(tag)
                    if leaf is not None:
                        position = leaf(self, data, message, position, end)
                        continue
                    child = branches.get(tag)
                    if child is not None:
                        stop = end
                        if not child.is_group:
                            position, stop = read_length(data, position, end)
                        if len(stack) + 2 > options.max_depth:
                            raise Fault(faults.too_deep(options.max_depth))
                        inner = child.linked or child.schema()
                        self.elements -= 1
                        self.memory -= child.cost
                        if self.elements < 0 or self.memory < 0:
                            raise self.exhausted()
                        stack.append((schema, message, begin, end, start, branch))
                        message = child.enter(message, inner)
                        schema, branch, begin, end = inner, child, position, stop
                        leaves, branches = schema.leaves, schema.branches
                        continue
                    check_tag(tag)
                    if tag & 7 == WireType.END_GROUP:
                        check_end(tag >> 3, branch)
                        break
                    if tag in schema.closed:
                        position = self.read_closed(schema.closed[tag], tag, start, position, end, message)
                    else:
                        position = self.read_unknown(tag, start, position, end, len(stack) + 1, message)
                else:
                    if branch is None:
                        break
                    if branch.is_group:
                        schema, message, begin, end, start, branch = stack.pop()
                        number = read_tag(data, start, end)[0] >> 3
                        raise Fault(faults.group_open(number))
                inner_message, inner_branch = message, branch
                schema, message, begin, end, start, branch = stack.pop()
                leaves, branches = schema.leaves, schema.branches
                if inner_branch is not None and inner_branch.leave is not None:
                    inner_branch.leave(self, message, inner_message, start, position)
        except Fault as fault:
            frames = [Frame(*each) for each in (*stack, (schema, message, begin, end, start, branch))]
            path = label + self.path(frames, fault.of_field)
            offset = start if fault.offset is None else fault.offset
            raise DecodeError(fault.reason, offset=offset, path=path) from None
        self.finish()

    def exhausted(self) -> Fault:
        """Which of elements and memory ran out; elements are charged first."""
        if self.elements < 0:
            return Fault(faults.too_many_elements(self.options.max_elements))
        return Fault(faults.too_much_memory(self.options.max_memory))

    def charge(self, elements: int, memory: int) -> None:
        self.elements -= elements
        self.memory -= memory
        if self.elements < 0 or self.memory < 0:
            raise self.exhausted()

    def read_closed(
        self, field: ClosedEnum, tag: int, start: int, position: int, end: int, message: Any
    ) -> int:
        """One value of a closed enum; one without a name is an unknown field, or makes its entry one."""
        bits, position = read_varint(self.data, position, end)
        member = field.members.get(FROM_BITS[Kind.ENUM](bits))
        if member is not None:
            if field.repeated:
                self.charge(1, limits.ELEMENT_COST)
                getattr(message, field.name).append(member)
            else:
                self.charge(0, limits.SCALAR_COST)
                setattr(message, field.name, member)
        elif isinstance(message, Entry):
            message.unnamed = True
        else:
            self.count_unknown(tag >> 3)
            self.keep(message, start, position)
        return position

    def read_unknown(self, tag: int, start: int, position: int, end: int, depth: int, message: Any) -> int:
        """Passes over a field that the schema lacks, and keeps it if that is wanted."""
        self.count_unknown(tag >> 3)
        position = self.skip(tag, start, position, end, depth)
        self.keep(message, start, position)
        return position

    def count_unknown(self, number: int, times: int = 1) -> None:
        self.unknown_left -= times
        if self.unknown_left < 0:
            raise Fault(faults.too_many_unknown(self.options.max_unknown), of_field=False)
        if self.options.unknown == "error":
            raise Fault(faults.unknown_field(number), of_field=False)

    def keep(self, message: Any, start: int, stop: int) -> None:
        """Charges an unknown field, and adds it to those of the message, unless that is a map's entry."""
        self.memory -= limits.UNKNOWN_COST + stop - start
        if self.memory < 0:
            raise Fault(faults.too_much_memory(self.options.max_memory), of_field=False)
        self.add_unknown(message, self.data[start:stop])

    def add_unknown(self, message: Any, record: bytes) -> None:
        if self.options.unknown != "keep" or isinstance(message, Entry):
            return
        kept = getattr(message, "__unknown__", b"")
        if not isinstance(kept, bytearray):  # which grows without being copied each time
            kept = message.__unknown__ = bytearray(kept)
            self.unfinished.append(message)
        kept.extend(record)

    def skip(self, tag: int, start: int, position: int, end: int, depth: int) -> int:
        """The position after a record that lies in a message `depth` levels deep."""
        data = self.data
        groups: list[tuple[int, int]] = []
        while True:
            wire_type = tag & 7
            try:
                if wire_type == WireType.VARINT:
                    _, position = read_varint(data, position, end)
                elif wire_type == WireType.LENGTH_DELIMITED:
                    _, position = read_length(data, position, end)
                elif wire_type == WireType.START_GROUP:
                    if depth + len(groups) + 1 > self.options.max_depth:
                        raise Fault(faults.too_deep(self.options.max_depth))
                    groups.append((tag >> 3, start))
                elif wire_type == WireType.END_GROUP:
                    if tag >> 3 != groups[-1][0]:
                        raise Fault(faults.group_mismatch(groups[-1][0], tag >> 3))
                    groups.pop()
                else:
                    position += SIZES[WireType(wire_type)]
                    if position > end:
                        raise Fault(faults.VALUE_TRUNCATED)
                if not groups:
                    return position
                if position == end:
                    start = groups[-1][1]
                    raise Fault(faults.group_open(groups[-1][0]))
                start = position
                tag, position = read_tag(data, position, end)
                if tag & 7 != WireType.END_GROUP:
                    self.unknown_left -= 1
                    if self.unknown_left < 0:
                        raise Fault(faults.too_many_unknown(self.options.max_unknown))
            except Fault as fault:
                raise Fault(fault.reason, start, of_field=False) from None

    def array(self, message: Any, field: ArrayField) -> bytearray:
        """The items of an array that were read so far."""
        key = id(message), field.number
        found = self.arrays.get(key)
        if found is None:
            found = self.arrays[key] = ArrayBeingRead(message, field, bytearray())
        return found.items

    def finish(self) -> None:
        """Gives messages the arrays that were collected for them, and their unknown fields as bytes."""
        for message in self.unfinished:
            message.__unknown__ = bytes(message.__unknown__)
        for each in self.arrays.values():
            each.field.store(each.message, each.items)

    def path(self, frames: list[Frame], of_field: bool) -> str:
        """The fields from the root to the record at fault, found by another look at the bytes."""
        last = frames[-1]
        steps = [
            self.step(frame, inner.branch.field)
            for frame, inner in pairwise(frames)
            if inner.branch is not None
        ]
        if of_field:
            try:
                tag, _ = read_tag(self.data, last.start, last.end)
            except Fault:
                tag = 0
            if tag in last.schema.fields:
                steps.append(self.step(last, last.schema.fields[tag]))
        return "".join(steps)

    def step(self, frame: Frame, field: FieldDescriptor) -> str:
        if field.shape is Shape.SINGULAR:
            return f".{field.name}"
        mine = {tag for tag, each in frame.schema.fields.items() if each is field}
        walk = Reader(self.data, DecodeOptions(**MOST)).records(frame.begin, frame.start)  # type: ignore[arg-type]
        count = sum(elements_in(field, self.data, *record) for record in walk if record[0] in mine)
        return f".{field.name}[{count}]"

    def records(self, position: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Tag, start and stop of the content of the records of a message, which are sound."""
        while position < end:
            tag, content = read_tag(self.data, position, end)
            position = self.skip(tag, position, content, len(self.data), 0)
            yield tag, content, position


def check_end(number: int, branch: Branch | None) -> None:
    """Whether the message that is being read is the group that ends here."""
    if branch is None or not branch.is_group:
        raise Fault(faults.stray_end(number))
    if branch.field.number != number:
        raise Fault(faults.group_mismatch(branch.field.number, number))


def elements_in(field: FieldDescriptor, data: bytes, tag: int, start: int, stop: int) -> int:
    """How many elements of the field a record has."""
    packed = field.shape is not Shape.MAP and field.kind in PACKABLE and tag & 7 == WireType.LENGTH_DELIMITED
    if not packed:
        return 1
    start, _ = read_length(data, start, stop)
    size = FIXED_SIZE.get(field.kind)
    return (stop - start) // size if size else count_varints(data[start:stop])


# Leaves: what reads a record of one field and stores its value.


def leaves_of(field: FieldDescriptor) -> dict[int, Leaf]:
    """Tag -> what reads it, for every tag of a field that holds scalars; closed enums are read elsewhere."""
    repeated = field.shape is Shape.REPEATED
    single, packed = (
        field.number << 3 | wire_type_of(field.kind),
        field.number << 3 | WireType.LENGTH_DELIMITED,
    )
    if field.array:
        array = ArrayField(field)
        return {single: array_value_leaf(array), packed: packed_array_leaf(array)}
    if field.kind is Kind.STRING:
        return {packed: text_leaf(field.name, field.utf8, repeated)}
    if field.kind is Kind.BYTES:
        return {packed: bytes_leaf(field.name, repeated)}
    leaves: dict[int, Leaf] = {}
    if field.kind in FIXED_SIZE:
        leaves[single] = fixed_leaf(field.name, field.kind, repeated)
    elif not is_closed(field):
        leaves[single] = varint_leaf(field.name, varint_value(field), repeated)
    if repeated:
        leaves[packed] = packed_leaf_of(field)
    return leaves


def is_closed(field: FieldDescriptor) -> bool:
    """Whether its values are those of a closed enum."""
    return field.enum is not None and field.enum.__closed__


def closed_of(field: FieldDescriptor) -> ClosedEnum:
    """What a single value of a closed enum's field needs."""
    assert field.enum is not None
    return ClosedEnum(field.name, members_of(field.enum), field.shape is Shape.REPEATED)


def wire_type_of(kind: Kind) -> WireType:
    return {8: WireType.FIXED64, 4: WireType.FIXED32}.get(FIXED_SIZE.get(kind, 0), WireType.VARINT)


def members_of(enum: type[Enum]) -> dict[int, Any]:
    """Number -> member."""
    return {int(each): each for each in enum}


def varint_value(field: FieldDescriptor) -> Callable[[int], Any]:
    """What a varint's 64 bits mean for a field that is no closed enum."""
    convert = FROM_BITS[field.kind]
    if field.enum is None:
        return convert
    members = members_of(field.enum)

    def member(bits: int) -> Any:
        number = convert(bits)
        return members.get(number, number)

    return member


def varint_leaf(name: str, convert: Callable[[int], Any], repeated: bool) -> Leaf:
    cost = limits.ELEMENT_COST if repeated else limits.SCALAR_COST
    elements = int(repeated)
    small = tuple(map(convert, range(128)))

    def read(reader: Reader, data: bytes, message: Any, position: int, end: int) -> int:
        if position < end and (byte := data[position]) < 128:
            value = small[byte]
            position += 1
        else:
            bits, position = read_varint(data, position, end)
            value = convert(bits)
        reader.elements -= elements
        reader.memory -= cost
        if reader.elements < 0 or reader.memory < 0:
            raise reader.exhausted()
        if repeated:
            getattr(message, name).append(value)
        else:
            setattr(message, name, value)
        return position

    return read


def fixed_leaf(name: str, kind: Kind, repeated: bool) -> Leaf:
    cost = limits.ELEMENT_COST if repeated else limits.SCALAR_COST
    elements, size = int(repeated), FIXED_SIZE[kind]
    unpack = struct.Struct(f"<{STRUCT_CODE[kind]}").unpack_from

    def read(reader: Reader, data: bytes, message: Any, position: int, end: int) -> int:
        if end - position < size:
            raise Fault(faults.VALUE_TRUNCATED)
        reader.elements -= elements
        reader.memory -= cost
        if reader.elements < 0 or reader.memory < 0:
            raise reader.exhausted()
        if repeated:
            getattr(message, name).append(unpack(data, position)[0])
        else:
            setattr(message, name, unpack(data, position)[0])
        return position + size

    return read


def text_leaf(name: str, utf8: bool, repeated: bool) -> Leaf:
    elements, errors = int(repeated), "strict" if utf8 else "surrogateescape"
    ascii_cost = limits.ASCII_COST + repeated * limits.REPEATED_COST
    repeated_cost = repeated * limits.REPEATED_COST

    def read(reader: Reader, data: bytes, message: Any, position: int, end: int) -> int:
        if position < end and (length := data[position]) < 128 and length < end - position:
            position += 1  # the most common length, read without a call
            stop = position + length
        else:
            position, stop = read_length(data, position, end)
        raw = data[position:stop]
        reader.elements -= elements
        if raw.isascii():
            reader.memory -= ascii_cost + stop - position
            if reader.elements < 0 or reader.memory < 0:
                raise reader.exhausted()
            if repeated:
                getattr(message, name).append(raw.decode("ascii"))
            else:
                setattr(message, name, raw.decode("ascii"))
            return stop
        if reader.elements < 0:
            raise reader.exhausted()
        try:
            text = raw.decode("utf-8", errors)
        except UnicodeDecodeError:
            raise Fault(faults.NOT_UTF8) from None
        reader.charge(0, limits.text_cost(text, len(raw), utf8=utf8) + repeated_cost)
        if repeated:
            getattr(message, name).append(text)
        else:
            setattr(message, name, text)
        return stop

    return read


def bytes_leaf(name: str, repeated: bool) -> Leaf:
    elements, cost = int(repeated), limits.BYTES_COST + repeated * limits.REPEATED_COST

    def read(reader: Reader, data: bytes, message: Any, position: int, end: int) -> int:
        position, stop = read_length(data, position, end)
        reader.charge(elements, cost + stop - position)
        if repeated:
            getattr(message, name).append(data[position:stop])
        else:
            setattr(message, name, data[position:stop])
        return stop

    return read


def packed_leaf_of(field: FieldDescriptor) -> Leaf:
    if field.kind in FIXED_SIZE:
        return packed_fixed_leaf(field.name, field.kind)
    if is_closed(field):
        return packed_closed_leaf(field)
    return packed_varints_leaf(field.name, varint_value(field))


def packed_fixed_leaf(name: str, kind: Kind) -> Leaf:
    size, code = FIXED_SIZE[kind], STRUCT_CODE[kind]

    def read(reader: Reader, data: bytes, message: Any, position: int, end: int) -> int:
        position, stop = read_length(data, position, end)
        count, rest = divmod(stop - position, size)
        if rest:
            raise Fault(faults.PACKED_PARTIAL)
        reader.charge(count, limits.PACKED_COST + count * limits.PACKED_ELEMENT_COST)
        getattr(message, name).extend(struct.unpack_from(f"<{count}{code}", data, position))
        return stop

    return read


def packed_varints_leaf(name: str, convert: Callable[[int], Any]) -> Leaf:
    def read(reader: Reader, data: bytes, message: Any, position: int, end: int) -> int:
        position, stop = read_length(data, position, end)
        packed = data[position:stop]
        count = count_varints(packed)
        reader.charge(count, limits.PACKED_COST + count * limits.PACKED_ELEMENT_COST)
        values = packed if packed.isascii() else unpack_varints(packed)
        getattr(message, name).extend(map(convert, values))
        return stop

    return read


def packed_closed_leaf(field: FieldDescriptor) -> Leaf:
    """Of a closed enum: numbers without a name leave the list and become unknown fields of their own."""
    assert field.enum is not None
    name, number, tag = field.name, field.number, varint(field.number << 3)
    convert, members = FROM_BITS[Kind.ENUM], members_of(field.enum)

    def read(reader: Reader, data: bytes, message: Any, position: int, end: int) -> int:
        position, stop = read_length(data, position, end)
        packed = data[position:stop]
        count = count_varints(packed)
        reader.charge(count, limits.PACKED_COST + count * limits.PACKED_ELEMENT_COST)
        values = list(unpack_varints(packed))
        unnamed = [bits for bits in values if convert(bits) not in members]
        if unnamed:
            reader.count_unknown(number, len(unnamed))
            reader.memory -= limits.SCALAR_COST * len(unnamed)
            if reader.memory < 0:
                raise Fault(faults.too_much_memory(reader.options.max_memory), of_field=False)
            reader.add_unknown(message, b"".join(tag + varint(bits) for bits in unnamed))
        getattr(message, name).extend(members[value] for value in map(convert, values) if value in members)
        return stop

    return read


# Arrays: their items are collected as bytes, and become arrays when all is read.


class ArrayField:
    """A field whose values are a numpy array."""

    def __init__(self, field: FieldDescriptor) -> None:
        from penstock.protobuf.arrays import DTYPE

        self.name, self.kind, self.number = field.name, field.kind, field.number
        self.dtype = DTYPE[field.kind]

    def store(self, message: Any, items: bytearray) -> None:
        """Puts new items behind those that the message has."""
        import numpy as np

        values, before = np.frombuffer(items, self.dtype), getattr(message, self.name)
        setattr(message, self.name, np.concatenate([before, values]) if len(before) else values)


class ArrayBeingRead(NamedTuple):
    """The items of an array, so far."""

    message: Any
    field: ArrayField
    items: bytearray


def array_value_leaf(field: ArrayField) -> Leaf:
    """One value alone, that goes to an array."""
    size, kind, dtype = FIXED_SIZE.get(field.kind), field.kind, field.dtype

    def read(reader: Reader, data: bytes, message: Any, position: int, end: int) -> int:
        if size is None:
            bits, position = read_varint(data, position, end)
            item = dtype.type(FROM_BITS[kind](bits)).tobytes()
        else:
            item = data[position : position + size]
            position += size
            if position > end:
                raise Fault(faults.VALUE_TRUNCATED)
        reader.charge(1, limits.ELEMENT_COST)
        reader.array(message, field).extend(item)
        return position

    return read


def packed_array_leaf(field: ArrayField) -> Leaf:
    size, dtype = FIXED_SIZE.get(field.kind), field.dtype
    zigzag = field.kind in (Kind.SINT32, Kind.SINT64)

    def read(reader: Reader, data: bytes, message: Any, position: int, end: int) -> int:
        position, stop = read_length(data, position, end)
        if size is not None:
            count, rest = divmod(stop - position, size)
            if rest:
                raise Fault(faults.PACKED_PARTIAL)
            reader.charge(count, limits.ARRAY_COST + (stop - position))
            reader.array(message, field).extend(memoryview(data)[position:stop])
            return stop
        packed = data[position:stop]
        count = count_varints(packed)
        reader.charge(count, limits.ARRAY_COST + count * dtype.itemsize)
        reader.array(message, field).extend(decode_varints(packed, dtype=dtype, zigzag=zigzag).tobytes())
        return stop

    return read
