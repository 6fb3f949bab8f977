"""The messages of `google.protobuf` that have a JSON of their own: times, wrappers, Struct and its kin.

Source: https://protobuf.dev/programming-guides/json and the comments of the `.proto` files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from penstock.protobuf import faults
from penstock.protobuf.declaration import MessageMeta, describe
from penstock.protobuf.json.containers import list_reader, list_writer, map_reader, map_writer
from penstock.protobuf.json.scalars import (
    integer_in,
    read_double,
    read_text,
    scalar_reader,
    scalar_writer,
    write_bool,
    write_double,
    write_text,
)
from penstock.protobuf.json.state import Reading, Refused, Writing, shown, step
from penstock.protobuf.limits import message_cost
from penstock.protobuf.methods import raw

if TYPE_CHECKING:
    from penstock.protobuf.message import Message

__all__ = ["READERS", "VALUE", "WRITERS", "level", "slots"]

VALUE: Final = "google.protobuf.Value"
"""The message for which null is a value."""

BILLION = 10**9
SECONDS_A_DAY = 86_400
EPOCH = date(1970, 1, 1).toordinal()
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799  # 0001-01-01T00:00:00Z, 9999-12-31T23:59:59Z
LONGEST = 315_576_000_000  # seconds, about 10,000 years

TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([-+])([0-9]{2}):([0-9]{2}))"
)
DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")

Read = Callable[[Any, Reading], "Message"]
Write = Callable[[Any, Writing], Any]


def leaf(make: Callable[[Any], Read]) -> Callable[[Any], Read]:
    """The same reader, that counts its message as a level and its memory."""

    def made(cls: Any) -> Read:
        read_body, cost = make(cls), message_cost(describe(cls))

        def read(value: Any, reading: Reading) -> Message:
            reading.begin(cost)
            message = read_body(value, reading)
            reading.depth -= 1
            return message

        return read

    return made


def level(write: Write) -> Write:
    """The same writer, that counts its message as a level."""

    @wraps(write)
    def counted(message: Any, writing: Writing) -> Any:
        writing.enter()
        made = write(message, writing)
        writing.depth -= 1
        return made

    return counted


def slots(message: Any, *names: str) -> list[Any]:
    """What the fields of a well-known type hold, None where one is not set."""
    try:
        return [getattr(message, name) for name in names]
    except AttributeError:  # a slot was deleted, or it is something else altogether
        fields = describe(message).by_name if isinstance(type(message), MessageMeta) else {}
    if not fields.keys() >= set(names):
        raise Refused(faults.wrong_type("a message of google.protobuf", message), wrong_type=True)
    return [raw(message, fields[name]) for name in names]


def fraction(nanos: int) -> str:
    """0, 3, 6 or 9 digits behind a point, as few as hold the nanoseconds."""
    if nanos == 0:
        return ""
    for digits, unit in ((3, 10**6), (6, 10**3)):
        if nanos % unit == 0:
            return f".{nanos // unit:0{digits}}"
    return f".{nanos:09}"


def nanos_of(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def within(name: str, value: Any, least: int, most: int) -> int:
    """A field of a time, whose range is narrower than that of its kind."""
    if value is None:
        return 0
    try:
        return integer_in(value, least, most)
    except Refused as refused:
        refused.steps.append(f".{name}")
        raise


# Timestamp: RFC 3339 in UTC.


@level
def write_timestamp(message: Any, writing: Writing) -> str:
    seconds, nanos = slots(message, "seconds", "nanos")
    seconds = within("seconds", seconds, FIRST_SECOND, LAST_SECOND)
    nanos = within("nanos", nanos, 0, BILLION - 1)
    days, rest = divmod(seconds, SECONDS_A_DAY)
    day = date.fromordinal(EPOCH + days).isoformat()
    return f"{day}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}{fraction(nanos)}Z"


def timestamp_reader(cls: Callable[..., Message]) -> Read:
    def read(value: Any, reading: Reading) -> Message:
        found = TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
        seconds = seconds_of(found) if found else None
        if found is None or seconds is None or not FIRST_SECOND <= seconds <= LAST_SECOND:
            raise Refused(f"must be a time such as '2024-02-29T12:30:00.5Z', got {shown(value)}")
        return cls(seconds=seconds, nanos=nanos_of(found[5]))

    return read


def seconds_of(found: re.Match[str]) -> int | None:
    """Seconds since 1970 in UTC; None where there is no such day or time."""
    hour, minute, second = int(found[2]), int(found[3]), int(found[4])
    ahead = (int(found[7]), int(found[8])) if found[6] else (0, 0)
    if hour > 23 or minute > 59 or second > 59 or ahead[0] > 23 or ahead[1] > 59:
        return None
    try:
        days = date.fromisoformat(found[1]).toordinal() - EPOCH
    except ValueError:
        return None
    offset = (ahead[0] * 60 + ahead[1]) * 60
    local = days * SECONDS_A_DAY + hour * 3600 + minute * 60 + second
    return local + offset if found[6] == "-" else local - offset


# Duration: seconds with a fraction, and an s.


@level
def write_duration(message: Any, writing: Writing) -> str:
    seconds, nanos = slots(message, "seconds", "nanos")
    seconds = within("seconds", seconds, -LONGEST, LONGEST)
    nanos = within("nanos", nanos, 1 - BILLION, BILLION - 1)
    if seconds * nanos < 0:
        raise Refused(f"must have seconds and nanos of one sign, got {seconds} and {nanos}")
    sign = "-" if seconds < 0 or nanos < 0 else ""
    return f"{sign}{abs(seconds)}{fraction(abs(nanos))}s"


def duration_reader(cls: Callable[..., Message]) -> Read:
    def read(value: Any, reading: Reading) -> Message:
        found = DURATION.fullmatch(value) if isinstance(value, str) else None
        if found is None or int(found[2]) > LONGEST:
            raise Refused(f"must be seconds up to {LONGEST} such as '1.5s', got {shown(value)}")
        sign = -1 if found[1] else 1
        return cls(seconds=sign * int(found[2]), nanos=sign * nanos_of(found[3]))

    return read


# FieldMask: paths in lowerCamelCase, with commas between.


@level
def write_field_mask(message: Any, writing: Writing) -> str:
    [paths] = slots(message, "paths")
    with step(".paths"):
        return ",".join(write_paths([] if paths is None else paths, writing))


def write_path(path: Any, writing: Writing) -> str:
    path = write_text(path, writing)
    camel = re.sub("_([a-z])", lambda found: found[1].upper(), path)
    if "_" in camel or "," in path or path != path.lower():
        raise Refused(f"must be a path that comes back from lowerCamelCase, got {shown(path)}")
    return camel


write_paths = list_writer(write_path)


def field_mask_reader(cls: Callable[..., Message]) -> Read:
    def read(value: Any, reading: Reading) -> Message:
        if not isinstance(value, str) or "_" in value:
            raise Refused(f"must be paths such as 'user.displayName,photo', got {shown(value)}")
        paths = read_text(value, reading).split(",") if value else []
        return cls(paths=[re.sub("[A-Z]", lambda found: f"_{found[0].lower()}", path) for path in paths])

    return read


# Wrappers: the value alone.


@level
def write_wrapper(message: Any, writing: Writing) -> Any:
    [field] = describe(message).fields
    [value] = slots(message, field.name)
    return scalar_writer(field.kind)(field.default if value is None else value, writing)


def wrapper_reader(cls: Any) -> Read:
    [value] = describe(cls).fields
    read_one = scalar_reader(value.kind)

    def read(value: Any, reading: Reading) -> Message:
        return cls(value=read_one(value, reading))  # type: ignore[no-any-return]

    return read


# Struct, Value, ListValue: JSON itself.


class Json:
    """Reads JSON itself into the three classes that stand for it."""

    def __init__(self, value: Any) -> None:
        fields: dict[str, Any] = describe(value).by_name
        self.value = value
        self.struct, self.list = (fields[name].message for name in ("struct_value", "list_value"))
        self.null = fields["null_value"].enum(0)
        self.read_fields, self.read_values = (
            map_reader(read_text, self.read_value),
            list_reader(self.read_value),
        )
        self.value_cost, self.struct_cost, self.list_cost = (
            message_cost(describe(each)) for each in (self.value, self.struct, self.list)
        )

    def read_value(self, value: Any, reading: Reading) -> Any:
        reading.begin(self.value_cost)
        made = self.value(**self.kind_of(value, reading))
        reading.depth -= 1
        return made

    def kind_of(self, value: Any, reading: Reading) -> dict[str, Any]:
        if value is None:
            return {"null_value": self.null}
        if isinstance(value, str):
            return {"string_value": read_text(value, reading)}
        if isinstance(value, bool):
            return {"bool_value": value}
        if isinstance(value, dict):
            return {"struct_value": self.read_struct(value, reading)}
        if isinstance(value, (list, tuple)):
            return {"list_value": self.read_list(value, reading)}
        return {"number_value": read_double(value, reading)}

    def read_struct(self, value: Any, reading: Reading) -> Any:
        reading.begin(self.struct_cost)
        made = self.struct(fields=self.read_fields(value, reading))
        reading.depth -= 1
        return made

    def read_list(self, value: Any, reading: Reading) -> Any:
        reading.begin(self.list_cost)
        made = self.list(values=self.read_values(value, reading))
        reading.depth -= 1
        return made


def value_of(struct_or_list: Any, name: str) -> Any:
    return describe(struct_or_list).by_name[name].message


@level
def write_value(message: Any, writing: Writing) -> Any:
    text, number, truth, struct, values = slots(
        message, "string_value", "number_value", "bool_value", "struct_value", "list_value"
    )
    if text is not None:
        return write_text(text, writing)
    if number is not None:
        made = write_double(number, writing)
        if isinstance(made, str):
            raise Refused(f"must be a finite number, as it would come back as text, got {made}")
        return made
    if truth is not None:
        return write_bool(truth, writing)
    if struct is not None:
        return write_struct(struct, writing)
    return None if values is None else write_list(values, writing)  # null also without any kind, as Google's


@level
def write_struct(message: Any, writing: Writing) -> Any:
    [fields] = slots(message, "fields")
    return write_fields({} if fields is None else fields, writing)


@level
def write_list(message: Any, writing: Writing) -> Any:
    [values] = slots(message, "values")
    return write_values([] if values is None else values, writing)


write_fields, write_values = map_writer(write_text, write_value), list_writer(write_value)

WRAPPERS = ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")

READERS: Final[dict[str, Callable[[Any], Read]]] = {
    "google.protobuf.Timestamp": leaf(timestamp_reader),
    "google.protobuf.Duration": leaf(duration_reader),
    "google.protobuf.FieldMask": leaf(field_mask_reader),
    VALUE: lambda cls: Json(cls).read_value,
    "google.protobuf.Struct": lambda cls: Json(value_of(cls, "fields")).read_struct,
    "google.protobuf.ListValue": lambda cls: Json(value_of(cls, "values")).read_list,
    **{f"google.protobuf.{name}Value": leaf(wrapper_reader) for name in WRAPPERS},
}
"""Full name -> what makes, of the class, the function that reads its JSON."""

WRITERS: Final[dict[str, Callable[[Any, Writing], Any]]] = {
    "google.protobuf.Timestamp": write_timestamp,
    "google.protobuf.Duration": write_duration,
    "google.protobuf.FieldMask": write_field_mask,
    VALUE: write_value,
    "google.protobuf.Struct": write_struct,
    "google.protobuf.ListValue": write_list,
    **{f"google.protobuf.{name}Value": write_wrapper for name in WRAPPERS},
}
"""Full name -> the function that writes its JSON."""
