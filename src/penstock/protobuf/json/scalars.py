"""How each kind of scalar stands in ProtoJSON: one way to write it, several to read it."""

from __future__ import annotations

import binascii
import math
import operator
import re
import struct
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from penstock.protobuf import faults
from penstock.protobuf.json.state import Imprecise, Reading, Refused, Writing, shown
from penstock.protobuf.kinds import INTEGER_RANGE, Kind

if TYPE_CHECKING:
    from penstock.protobuf.enums import Enum

__all__ = [
    "IGNORED",
    "NULL_VALUE",
    "QUOTED",
    "integer_in",
    "key_reader",
    "key_writer",
    "precise",
    "read_text",
    "scalar_reader",
    "scalar_writer",
]

Read = Callable[[Any, Reading], Any]
Write = Callable[[Any, Writing], Any]

IGNORED: Final = object()
"""Read where an enum has no such name and unknown names are passed over."""
NULL_VALUE: Final = "google.protobuf.NullValue"
"""The enum that JSON writes as null."""

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
MOST_DIGITS = 40
MOST = 2**65  # beyond all integers of protobuf
BOOL_KEYS = {"true": True, "false": False}
QUOTED = frozenset(kind for kind, (_, most) in INTEGER_RANGE.items() if most >= 2**32)
"""Kinds that JSON writes as text, as JavaScript's numbers would round them."""
FLOAT = struct.Struct("<f")
LEAST_NORMAL = 2.0**-126
DIGITS = ("%.6g", "%.7g", "%.8g")  # six are never too many for a normal float
EXACT_FLOAT, EXACT_DOUBLE = 2.0**24, 2.0**53


def scalar_reader(kind: Kind, enum: type[Enum] | None = None) -> Read:
    """JSON value -> value of a field of this kind."""
    if kind is Kind.ENUM:
        return enum_reader(enum)
    if kind in INTEGER_RANGE:
        return integer_reader(*INTEGER_RANGE[kind])
    return READERS[kind]


def scalar_writer(kind: Kind, enum: type[Enum] | None = None) -> Write:
    """Value of a field of this kind -> JSON value."""
    if kind is Kind.ENUM and enum is not None:
        return enum_writer(enum)
    if kind in INTEGER_RANGE:
        return integer_writer(*INTEGER_RANGE[kind], quoted=kind in QUOTED)
    return WRITERS[kind]


def key_reader(kind: Kind) -> Read:
    """Name in a JSON object -> key of a map."""
    return read_bool_key if kind is Kind.BOOL else scalar_reader(kind)


def key_writer(kind: Kind) -> Callable[[Any, Writing], str]:
    """Key of a map -> name in a JSON object."""
    write = scalar_writer(kind)
    if kind is Kind.BOOL:
        return lambda key, writing: "true" if write(key, writing) else "false"
    return write if kind is Kind.STRING else lambda key, writing: str(write(key, writing))


# Integers: numbers up to 32 bits, text above; read from either, 1.0 and 1e2 included.


def integer_reader(least: int, most: int) -> Read:
    def read(value: Any, reading: Reading) -> int:
        if type(value) is not int:
            value = whole(value, reading)
        if least <= value <= most:
            return value  # type: ignore[no-any-return]
        raise Refused(faults.out_of_range(least, most, value))

    return read


def integer_writer(least: int, most: int, *, quoted: bool) -> Write:
    def write(value: Any, writing: Writing) -> int | str:
        if type(value) is not int or not least <= value <= most:
            value = integer_in(value, least, most)
        return str(value) if quoted else value

    return write


def integer_in(value: Any, least: int, most: int) -> int:
    """The integer that a value is, or stands for as those of numpy do; it must be in the range."""
    number = index(value)
    if not least <= number <= most:
        raise Refused(faults.out_of_range(least, most, number))
    return number


def whole(value: Any, reading: Reading) -> int:
    """The integer that a JSON value other than a plain integer stands for."""
    if isinstance(value, str):
        if value.isdigit() and value.isascii() and len(value) <= MOST_DIGITS:
            return int(value)
        value = precise(value) if NUMBER.fullmatch(value) else value
    if isinstance(value, float) and value.is_integer():
        if reading.rounded and abs(value) >= EXACT_DOUBLE:
            raise Imprecise
        return int(value)
    if is_whole(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    raise Refused(f"must be an integer, got {shown(value)}")


def is_whole(value: Any) -> bool:
    """Whether a Decimal is an integer, and none that could have digits without end."""
    if not isinstance(value, Decimal) or not value.is_finite():
        return False
    return -MOST < value < MOST and value == value.to_integral_value()


def precise(text: str) -> Decimal | float:
    """A number with a fraction or an exponent, to its last digit."""
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of 19 digits and more
        return float(text)


def index(value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise Refused(faults.wrong_type("an int", value), wrong_type=True) from None


# Floating point: the shortest text that reads back as the same value.


def read_double(value: Any, reading: Reading) -> float:
    if type(value) is float and value - value == 0.0:  # finite
        return value
    if isinstance(value, str) and value in NON_FINITE:
        return NON_FINITE[value]
    number = float_of(value)
    if number - number != 0.0:
        raise Refused("must be within the range of a double; NaN and Infinity stand in quotes")
    return number


def float_of(value: Any) -> float:
    numeric = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if not numeric and not (isinstance(value, str) and NUMBER.fullmatch(value)):
        raise Refused(f"must be a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:  # a signaling NaN of Decimal
        return math.nan


def read_float(value: Any, reading: Reading) -> float:
    double = read_double(value, reading)
    try:
        return FLOAT.unpack(FLOAT.pack(double))[0]  # type: ignore[no-any-return]
    except OverflowError:
        raise Refused(f"must be within the range of a float, got {shown(value)}") from None


def write_double(value: Any, writing: Writing) -> float | str:
    if type(value) is not float:
        value = number(value)
    if value - value == 0.0:
        return value  # type: ignore[no-any-return]
    return "NaN" if value != value else "Infinity" if value > 0.0 else "-Infinity"


def write_float(value: Any, writing: Writing) -> float | str:
    if type(value) is not float:
        value = number(value)
    try:
        return shortest(value) if value - value == 0.0 else write_double(value, writing)
    except OverflowError:  # beyond the greatest float, which the wire makes infinite
        return "Infinity" if value > 0.0 else "-Infinity"


def shortest(value: float) -> float:
    """The double of fewest digits that is, as a float32, this value."""
    if -EXACT_FLOAT <= value <= EXACT_FLOAT and value.is_integer():
        return value
    packed = FLOAT.pack(value)
    value = FLOAT.unpack(packed)[0]
    for digits in DIGITS if abs(value) >= LEAST_NORMAL else ("%.1g", "%.2g", "%.3g", "%.4g", "%.5g", *DIGITS):
        candidate = float(digits % value)
        if FLOAT.pack(candidate) == packed:
            return candidate
    return float(f"{value:.9g}")  # nine digits always suffice


def number(value: Any) -> float:
    if not hasattr(type(value), "__float__"):
        raise Refused(faults.wrong_type("a float", value), wrong_type=True)
    try:
        return float(value)
    except TypeError:  # an array of several
        raise Refused(faults.wrong_type("a float", value), wrong_type=True) from None
    except OverflowError:
        raise Refused(faults.no_float(value)) from None


# Bools.


def read_bool(value: Any, reading: Reading) -> bool:
    if value is True or value is False:
        return value
    raise Refused(f"must be true or false, got {shown(value)}")


def read_bool_key(value: Any, reading: Reading) -> bool:
    if value in BOOL_KEYS:
        return BOOL_KEYS[value]
    raise Refused(f"must be 'true' or 'false', got {shown(value)}")


def write_bool(value: Any, writing: Writing) -> bool:
    if isinstance(value, int) or type(value).__name__ == "bool":  # numpy's bool is named so too
        return bool(value)
    raise Refused(faults.wrong_type("a bool", value), wrong_type=True)


# Text and bytes.


def read_text(value: Any, reading: Reading) -> str:
    """JSON value -> text; lone surrogates are refused."""
    if not isinstance(value, str):
        raise Refused(f"must be text, got {shown(value)}")
    return value if value.isascii() else checked(value)


def write_text(value: Any, writing: Writing) -> str:
    if type(value) is not str:
        if not isinstance(value, str):
            raise Refused(faults.wrong_type("a str", value), wrong_type=True)
        value = str.__str__(value)  # of a subclass
    return value if value.isascii() else checked(value)


def checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(faults.lone_surrogates(text)) from None
    return text


def read_bytes(value: Any, reading: Reading) -> bytes:
    """Base64 in either alphabet, with or without its padding."""
    if not isinstance(value, str):
        raise Refused(f"must be base64, got {shown(value)}")
    digits = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return binascii.a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
    except ValueError:
        raise Refused(f"must be base64, got {shown(value)}") from None


def write_bytes(value: Any, writing: Writing) -> str:
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise Refused(faults.wrong_type("bytes", value), wrong_type=True)
    return binascii.b2a_base64(value, newline=False).decode()


# Enums: by name; numbers are read too, and written where there is no name.


def enum_reader(enum: type[Enum] | None) -> Read:
    members = {int(each): each for each in enum} if enum else {}
    names = {name: members[number] for name, number in enum.__proto_names__.items()} if enum else {}
    closed = enum is not None and enum.__closed__
    title = enum.__name__ if enum else "the enum"
    null = enum is not None and enum.__full_name__ == NULL_VALUE
    least, most = INTEGER_RANGE[Kind.ENUM]

    def read(value: Any, reading: Reading) -> Any:
        found = names.get(value) if type(value) is str else members.get(value) if type(value) is int else None
        return unusual(value, reading) if found is None else found

    def unusual(value: Any, reading: Reading) -> Any:
        """What is neither a name nor a number that the enum has."""
        if value is None and null:
            return members[0]
        if isinstance(value, str) and not NUMBER.fullmatch(value):
            if reading.ignore_unknown:
                return IGNORED
        else:
            value = whole(value, reading)
            if value in members:
                return members[value]
            if not closed and least <= value <= most:
                return value
        raise Refused(f"must be a value of {title}, got {shown(value)}")

    return read


def enum_writer(enum: type[Enum]) -> Write:
    names: dict[int, str] = {}
    for name, number in enum.__proto_names__.items():
        names.setdefault(number, name)
    least, most = INTEGER_RANGE[Kind.ENUM]
    null = enum.__full_name__ == NULL_VALUE

    def write(value: Any, writing: Writing) -> str | int | None:
        number = integer_in(value, least, most)
        if null and number == 0:
            return None
        if number in names and not writing.enums_as_integers:
            return names[number]
        if enum.__closed__ and number not in names:
            raise Refused(f"must be a value of {enum.__name__}, got {number}")
        return number

    return write


READERS: Final[dict[Kind, Read]] = {
    Kind.DOUBLE: read_double,
    Kind.FLOAT: read_float,
    Kind.BOOL: read_bool,
    Kind.STRING: read_text,
    Kind.BYTES: read_bytes,
}
WRITERS: Final[dict[Kind, Write]] = {
    Kind.DOUBLE: write_double,
    Kind.FLOAT: write_float,
    Kind.BOOL: write_bool,
    Kind.STRING: write_text,
    Kind.BYTES: write_bytes,
    Kind.ENUM: integer_writer(*INTEGER_RANGE[Kind.ENUM], quoted=False),
}
