"""ProtoJSON: the JSON that every protobuf library reads and writes.

Source: https://protobuf.dev/programming-guides/json
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from penstock.errors import InvalidType
from penstock.protobuf.errors import DecodeError, EncodeError, EncodeTypeError
from penstock.protobuf.json.read import reader_of
from penstock.protobuf.json.state import Imprecise, Reading, Refused, Writing
from penstock.protobuf.json.text import TOO_NESTED, parsed, written
from penstock.protobuf.json.types import Types, TypesGiven
from penstock.protobuf.json.write import writer_of
from penstock.protobuf.message import Message

__all__ = ["from_dict", "from_json", "to_dict", "to_json"]

M = TypeVar("M", bound=Message)


def to_dict(
    message: Message,
    *,
    preserving_names: bool = False,
    including_defaults: bool = False,
    enums_as_integers: bool = False,
    types: TypesGiven = None,
) -> Any:
    """The JSON value of a message: a dict, or what a well-known type has instead; see `Message.to_dict`."""
    cls = type(message)
    writing = Writing(
        Types(types, cls),
        preserving_names=preserving_names,
        including_defaults=including_defaults,
        enums_as_integers=enums_as_integers,
    )
    try:
        return writer_of(cls)(message, writing)
    except Refused as refused:
        kind = EncodeTypeError if refused.wrong_type else EncodeError
        raise kind(refused.reason, path=refused.path(cls.__name__)) from None
    except RecursionError:
        raise EncodeError(TOO_NESTED, path=cls.__name__) from None


def to_json(
    message: Message,
    *,
    preserving_names: bool = False,
    including_defaults: bool = False,
    enums_as_integers: bool = False,
    indent: int | None = None,
    types: TypesGiven = None,
) -> str:
    """The message as ProtoJSON; arguments and errors are those of `Message.to_json`."""
    value = to_dict(
        message,
        preserving_names=preserving_names,
        including_defaults=including_defaults,
        enums_as_integers=enums_as_integers,
        types=types,
    )
    try:
        return written(value, indent)
    except RecursionError:
        raise EncodeError(TOO_NESTED, path=type(message).__name__) from None


def from_dict(cls: type[M], data: Any, *, ignore_unknown: bool = False, types: TypesGiven = None) -> M:
    """The message that a JSON value stands for, as `to_dict` makes it."""
    reading = Reading(Types(types, cls), ignore_unknown=ignore_unknown, rounded=False)
    return refusing(cls, lambda: reader_of(cls)(data, reading))


def from_json(
    cls: type[M], text: str | bytes, *, ignore_unknown: bool = False, types: TypesGiven = None
) -> M:
    """The message that is written here in ProtoJSON; the rest is that of `Message.from_json`."""
    if not isinstance(text, (str, bytes, bytearray, memoryview)):
        raise InvalidType(f"JSON must be str or bytes, got {type(text).__name__}")
    known = Types(types, cls)

    def read(*, exact: bool) -> Any:
        reading = Reading(known, ignore_unknown=ignore_unknown, rounded=not exact)
        return reader_of(cls)(parsed(text, exact=exact), reading)

    try:
        return refusing(cls, lambda: read(exact=False))
    except Imprecise:
        return refusing(cls, lambda: read(exact=True))


def refusing(cls: type[M], read: Callable[[], Any]) -> M:
    """The message that is read, or the DecodeError that says why there is none."""
    try:
        message: M = read()
    except Refused as refused:
        raise DecodeError(refused.reason, path=refused.path(cls.__name__)) from None
    except RecursionError:
        raise DecodeError(TOO_NESTED, path=cls.__name__) from None
    return message
