"""Which keys shards take: whatever Python can sort, and of that what a database sorts the same way."""

import reprlib
from typing import Any, TypeVar

from penstock.errors import InvalidType, InvalidValue

__all__ = [
    "MAX_KEY_BYTES",
    "checked_bound",
    "checked_key",
    "checked_kind",
    "checked_sql_key",
    "has_nan",
    "shown",
]

K = TypeVar("K")

MAX_KEY_BYTES = 2_600
"""Of a str or bytes key in a database: PostgreSQL's index takes no more in an entry."""

MAX_SHOWN_BITS = 1_024


def checked_key(key: K) -> K:
    """`key`, if it can be sorted among others.

    Raises:
        TypeError: it is None, which stands for no key.
        ValueError: it is NaN, or a tuple with NaN in it.
    """
    if key is None:
        raise InvalidType("key must have an order, got None")
    if has_nan(key):
        raise InvalidValue("key must not be NaN, for it has no order")
    return key


def checked_bound(bound: K) -> K:
    """`bound`, if it is None or a key.

    Raises:
        ValueError: it is NaN, or a tuple with NaN in it.
    """
    return bound if bound is None else checked_key(bound)


def has_nan(key: Any) -> bool:
    """Whether a key is NaN, or a tuple with NaN in it."""
    return any(map(has_nan, key)) if isinstance(key, tuple) else bool(key != key)


def checked_kind(kind: type[K]) -> type[K]:
    """The type that all keys of a database shard have: int, str or bytes.

    Raises:
        ValueError: it is another type.
    """
    if kind is int or kind is str or kind is bytes:
        return kind
    raise InvalidValue(f"keys must be int, str or bytes, got {shown(kind)}")


def checked_sql_key(key: Any, kind: type[Any]) -> Any:
    """`key`, if it is of the shard's type and every database sorts it as Python does.

    All databases have the same rule, so that a range can move from any of them to any other.

    Raises:
        TypeError: it is of another type.
        ValueError: it is an int of more than 64 bits, a str with NUL or a lone surrogate, or too long.
    """
    if not isinstance(key, kind) or isinstance(key, bool):
        raise InvalidType(f"key must be of type {kind.__name__} in this shard, got {type(key).__name__}")
    if isinstance(key, int):
        if not -(2**63) <= key < 2**63:
            raise InvalidValue(f"key must be >= -2**63 and < 2**63, got {shown(key)}")
    elif (size := len(checked_text(key) if isinstance(key, str) else key)) > MAX_KEY_BYTES:
        raise InvalidValue(f"key must have <= {MAX_KEY_BYTES} bytes, got {size}")
    return key


def checked_text(key: str) -> bytes:
    try:
        data = key.encode()
    except UnicodeEncodeError:
        raise InvalidValue(f"key must be Unicode without lone surrogates, got {shown(key)}") from None
    if b"\0" in data:
        raise InvalidValue(f"key must have no NUL in it, got {shown(key)}")
    return data


class ShortRepr(reprlib.Repr):
    """Writes a value in few characters, and an int of any length."""

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > MAX_SHOWN_BITS:  # Python refuses to write out a very long one
            return f"an int of {x.bit_length()} bits"
        return super().repr_int(x, level)


shown = ShortRepr().repr
"""A key, or anything else, for a message: in few characters however large it is."""
