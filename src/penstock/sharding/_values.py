"""Values as bytes, in the shards that databases hold."""

from collections.abc import Callable
from typing import Any

import msgspec

from penstock.errors import InvalidType, InvalidValue, PenstockError

__all__ = ["Decode", "Encode", "Undecodable", "checked_callables", "encoded", "from_msgpack", "to_msgpack"]

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes], Any]


class Undecodable(PenstockError, ValueError):
    """The bytes in a shard are no value of its form."""


def to_msgpack(value: Any) -> bytes:
    """A value as MessagePack.

    Raises:
        TypeError: msgspec does not know its type, or that of something in it.
        ValueError: an int in it has more than 64 bits, a text has a lone surrogate, or it is nested too deep.
    """
    try:
        return msgspec.msgpack.encode(value)
    except TypeError as error:
        raise InvalidType(f"a value must be of types that MessagePack has: {error}") from error
    except OverflowError as error:
        raise InvalidValue(f"ints in a value must have <= 64 bits: {error}") from error
    except UnicodeEncodeError as error:
        raise InvalidValue(f"texts in a value must have no lone surrogates: {error}") from error
    except RecursionError as error:
        raise InvalidValue("a value must not be nested so deep, or have itself in it") from error


def from_msgpack(data: bytes) -> Any:
    """The value of these bytes; a tuple comes back as a list.

    Raises:
        ValueError: they are no MessagePack.
    """
    try:
        return msgspec.msgpack.decode(data)
    except msgspec.DecodeError as error:
        raise Undecodable(f"a stored value must be MessagePack: {error}") from error


def encoded(value: Any, encode: Encode) -> bytes:
    """The bytes that `encode` makes of a value.

    Raises:
        TypeError: it makes something else.
    """
    data: object = encode(value)
    if not isinstance(data, bytes):
        raise InvalidType(f"encode must return bytes, got {type(data).__name__}")
    return data


def checked_callables(encode: object, decode: object) -> None:
    """Passes if both can be called.

    Raises:
        TypeError: one cannot.
    """
    for name, function in (("encode", encode), ("decode", decode)):
        if not callable(function):
            raise InvalidType(f"{name} must be callable, got {type(function).__name__}")
