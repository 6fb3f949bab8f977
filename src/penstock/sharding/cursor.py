"""Where a scan stopped, as a str that can be kept, sent away and come back."""

import base64
import zlib
from datetime import date, datetime
from typing import Any

import msgspec

from penstock.errors import InvalidType, InvalidValue
from penstock.sharding.keys import has_nan, shown

__all__ = ["InvalidCursor", "decode_cursor", "encode_cursor"]

VERSION = "1"
MAX_LENGTH = 65_536  # characters of a cursor


class InvalidCursor(InvalidValue):
    """A cursor is none that a scan gave, or is damaged, or of another scan."""


def encode_cursor(key: Any) -> str:
    """The cursor of a scan whose last row had this key.

    Raises:
        TypeError: the key is neither int, str, bytes, float, date nor datetime, nor a tuple of these.
        ValueError: it is too long: about 48,000 bytes are the most.
    """
    data = msgspec.msgpack.encode(tagged(key))
    checked = zlib.crc32(data).to_bytes(4, "big") + data
    cursor = f"{VERSION}.{base64.urlsafe_b64encode(checked).rstrip(b'=').decode()}"
    if len(cursor) > MAX_LENGTH:
        raise InvalidValue(
            f"a cursor must have <= {MAX_LENGTH} characters, got a key that takes {len(cursor)}"
        )
    return cursor


def decode_cursor(cursor: object) -> Any:
    """The key in a cursor.

    Raises:
        ValueError: it is none that `encode_cursor` made.
        TypeError: it is no str.
    """
    if not isinstance(cursor, str):
        raise InvalidType(f"cursor must be a str, got {type(cursor).__name__}")
    version, dot, text = cursor.partition(".")
    if dot and version.isdecimal() and version != VERSION:
        raise InvalidCursor(f"cursor must be of version {VERSION}, got {shown(version)}")
    try:
        if len(cursor) > MAX_LENGTH or version != VERSION:
            raise ValueError
        checked = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        if zlib.crc32(checked[4:]).to_bytes(4, "big") != checked[:4]:
            raise ValueError
        return untagged(msgspec.msgpack.decode(checked[4:]))
    except (ValueError, TypeError, msgspec.DecodeError, RecursionError):
        raise InvalidCursor(f"cursor must be one that a scan gave, got {shown(cursor)}") from None


def tagged(key: Any) -> list[Any]:
    kind = type(key)
    if kind is int:
        return ["i", f"{key:x}"]  # msgpack has 64 bits only
    if kind is str:
        return ["s", key.encode("utf-8", "surrogatepass")]
    if kind is bytes or kind is float:
        return ["r", key]
    if kind is datetime or kind is date:
        return ["t" if kind is datetime else "d", key.isoformat()]
    if kind is tuple:
        return ["(", [tagged(part) for part in key]]
    raise InvalidType(
        "a cursor must be of a key that is an int, str, bytes, float, date, datetime or a tuple of them,"
        f" got {kind.__name__}"
    )


def untagged(parts: Any) -> Any:
    tag, value = parts
    if tag == "i":
        return int(value, 16)
    if tag == "s" and isinstance(value, bytes):
        return value.decode("utf-8", "surrogatepass")
    if tag == "r" and isinstance(value, (bytes, float)) and not has_nan(value):
        return value
    if tag == "t" or tag == "d":
        return (datetime if tag == "t" else date).fromisoformat(value)
    if tag == "(":
        return tuple(untagged(part) for part in value)
    raise ValueError
