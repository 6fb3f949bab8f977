"""Random bytes that mean something to a schema, for the most part, and what happens to bytes on their way."""

from random import Random
from typing import Any

from random_messages import is_map

from penstock.protobuf.kinds import PACKABLE, WIRE_TYPE, Kind, WireType
from penstock.protobuf.varint import encode_varint

TEXTS = [b"", b"ascii", "é".encode(), "日本".encode(), "😀 ok".encode(), b"\xff\xfe", b"\xed\xa0\x80"]
NUMBERS = [0, 1, 2, 3, 63, 64, 127, 128, 200, 2**31 - 1, 2**31, 2**32 - 3, 2**32, 2**63, 2**64 - 3, 2**64 - 1]
ODD_VARINTS = [b"\x80\x00", b"\x81\x80\x80\x00", b"\xff" * 9 + b"\x7f", b"\xff" * 10, b"\x80" * 9 + b"\x01"]
UNKNOWN_NUMBERS = [1, 2, 3, 5, 15, 16, 77, 2048, 19_500, (1 << 29) - 1]
RECORDS = [(1, 6), (0, 5), (0, 1), (0, 1), (0, 0), (0, 0)]
"""Depth -> least and most records of a message that deep."""
SIZES = {WireType.FIXED64: 8, WireType.FIXED32: 4}


def tag(number: int, wire_type: int) -> bytes:
    return encode_varint(number << 3 | wire_type)


def delimited(content: bytes) -> bytes:
    return encode_varint(len(content)) + content


def random_varint(dice: Random) -> bytes:
    """One that may be longer than it need be, or than is allowed."""
    if dice.random() < 0.1:
        return dice.choice(ODD_VARINTS)
    if dice.random() < 0.7:
        return encode_varint(dice.choice(NUMBERS))
    return encode_varint(dice.getrandbits(dice.randint(1, 64)))


def random_scrap(dice: Random) -> bytes:
    return dice.choice([dice.randbytes(dice.randint(0, 6)), random_varint(dice), dice.choice(TEXTS)])


def random_content(dice: Random, message: Any, depth: int = 0) -> bytes:
    """The bytes of a message of Google's descriptor `message`, most of them sound."""
    count = dice.randint(*RECORDS[depth])
    return b"".join(random_record(dice, message, depth) for _ in range(count))


def random_record(dice: Random, message: Any, depth: int) -> bytes:
    choice = dice.randint(1, 40)
    if message.fields and choice < 35:
        return known_record(dice, dice.choice(list(message.fields)), depth + 1)
    return unknown_record(dice, depth) if choice < 40 else random_scrap(dice)


def known_record(dice: Random, field: Any, depth: int) -> bytes:
    kind = Kind(field.type)
    if is_map(field):
        return tag(field.number, WireType.LENGTH_DELIMITED) + delimited(random_entry(dice, field, depth))
    if field.is_repeated and kind in PACKABLE and dice.random() < 0.5:
        packed = b"".join(value(dice, field, depth) for _ in range(dice.randint(0, 4)))
        return tag(field.number, WireType.LENGTH_DELIMITED) + delimited(packed)
    return tag(field.number, WIRE_TYPE[kind]) + value(dice, field, depth)


def value(dice: Random, field: Any, depth: int) -> bytes:
    """What comes behind the tag."""
    kind = Kind(field.type)
    wire_type = WIRE_TYPE[kind]
    if kind is Kind.GROUP:
        return random_content(dice, field.message_type, depth) + tag(field.number, WireType.END_GROUP)
    if kind is Kind.MESSAGE:
        return delimited(random_content(dice, field.message_type, depth))
    if kind is Kind.ENUM and dice.random() < 0.5:
        return encode_varint(dice.choice(list(field.enum_type.values)).number % 2**64)
    if wire_type == WireType.VARINT:
        return random_varint(dice)
    if wire_type == WireType.LENGTH_DELIMITED:
        return delimited(dice.choice(TEXTS))
    return dice.randbytes(SIZES[wire_type])


def random_entry(dice: Random, field: Any, depth: int) -> bytes:
    """An entry of a map, its parts in any order and number."""
    numbers = [1, 2] if dice.random() < 0.5 else dice.choices([1, 2], k=dice.randint(0, 3))
    parts = [known_record(dice, field.message_type.fields_by_number[each], depth) for each in numbers]
    if dice.random() < 0.05:
        parts.append(unknown_record(dice, depth))
    return b"".join(parts)


def unknown_record(dice: Random, depth: int) -> bytes:
    """A record of any number; a schema that knows it may expect another wire type."""
    number = dice.choice(UNKNOWN_NUMBERS)
    wire_type = dice.choice([each for each in WireType if each != WireType.END_GROUP])
    if wire_type == WireType.START_GROUP:
        inside = [unknown_record(dice, depth + 1) for _ in range(dice.randint(0, 2) if depth < 4 else 0)]
        return tag(number, wire_type) + b"".join(inside) + tag(number, WireType.END_GROUP)
    if wire_type == WireType.VARINT:
        return tag(number, wire_type) + random_varint(dice)
    if wire_type == WireType.LENGTH_DELIMITED:
        return tag(number, wire_type) + delimited(random_scrap(dice))
    return tag(number, wire_type) + dice.randbytes(SIZES[wire_type])


def mutated(dice: Random, data: bytes, other: bytes) -> bytes:
    """The bytes with up to two faults; `other` is another message, which may become part of it."""
    for _ in range(dice.choice([0, 1, 1, 2])):
        data = with_fault(dice, data, other)
    return data


def with_fault(dice: Random, data: bytes, other: bytes) -> bytes:
    start, stop = sorted((dice.randint(0, len(data)), dice.randint(0, len(data))))
    how = dice.choice(["cut", "lose", "double", "flip", "insert", "replace", "splice"])
    if how == "cut":
        return data[:start]
    if how == "lose":
        return data[:start] + data[start + 1 :]
    if how == "double":
        return data[:stop] + data[start:stop] + data[stop:]
    if how == "flip":
        flipped = bytes(each ^ 1 << dice.randint(0, 7) for each in data[start : start + 1])
        return data[:start] + flipped + data[start + 1 :]
    if how == "splice":
        return data[:start] + other[dice.randint(0, len(other)) :]
    piece = dice.choice([dice.randbytes(dice.randint(1, 2)), random_varint(dice)])
    return data[:start] + piece + data[start + (len(piece) if how == "replace" else 0) :]
