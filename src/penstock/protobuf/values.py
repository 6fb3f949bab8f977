"""What a value must be that is to be written, kind by kind; the twins agree on it to the word."""

from __future__ import annotations

import sys
from operator import index
from typing import TYPE_CHECKING, Any

from penstock.protobuf import faults
from penstock.protobuf.errors import EncodeError, EncodeTypeError
from penstock.protobuf.kinds import INTEGER_RANGE, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["check_of", "elements", "is_numpy"]


def check_of(kind: Kind, utf8: bool) -> Callable[[Any], Any]:
    """What makes a bool, int or float of a value of the kind, or the bytes of text and bytes.

    It raises EncodeError for a value that does not fit, EncodeTypeError for one of another type.
    """
    if kind in INTEGER_RANGE:
        return integer_check(*INTEGER_RANGE[kind])
    if kind is Kind.STRING:
        return text_check("strict" if utf8 else "surrogateescape")
    return {Kind.BOOL: checked_bool, Kind.BYTES: checked_bytes}.get(kind, checked_float)


def integer_check(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int:
            value = integer(value)
        if not least <= value <= most:
            raise EncodeError(faults.out_of_range(least, most, value))
        return value  # type: ignore[no-any-return]

    return check


def integer(value: Any) -> int:
    """Of what is one: also a bool, an enum's member, a numpy integer."""
    if not hasattr(type(value), "__index__"):
        raise EncodeTypeError(faults.wrong_type("an int", value))
    return int(index(value))


def text_check(errors: str) -> Callable[[Any], bytes]:
    def check(value: Any) -> bytes:
        if not isinstance(value, str):
            raise EncodeTypeError(faults.wrong_type("a str", value))
        try:
            return str.encode(value, "utf-8", errors)
        except UnicodeEncodeError:
            raise EncodeError(faults.lone_surrogates(value)) from None

    return check


def checked_bytes(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise EncodeTypeError(faults.wrong_type("bytes", value))
    return value if type(value) is bytes else memoryview(value).tobytes()


def checked_bool(value: Any) -> bool:
    if not isinstance(value, int) and not is_numpy(value, "bool_"):
        raise EncodeTypeError(faults.wrong_type("a bool", value))
    return bool(value)


def checked_float(value: Any) -> float:
    if type(value) is float:
        return value
    if not hasattr(type(value), "__float__"):
        raise EncodeTypeError(faults.wrong_type("a float", value))
    try:
        return float(value)
    except OverflowError:
        raise EncodeError(faults.no_float(value)) from None


def elements(value: Any) -> Sequence[Any]:
    """What is to be written one by one: a list, a tuple, or what a one-dimensional array holds."""
    if isinstance(value, list | tuple):
        return value
    if is_numpy(value, "ndarray") and value.ndim == 1:
        return value.tolist()  # type: ignore[no-any-return]
    raise EncodeTypeError(faults.wrong_type("a list", value))


def is_numpy(value: Any, name: str) -> bool:
    """Whether a value is of that numpy class; numpy is not imported for it, as it could not be, then."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, getattr(numpy, name))
