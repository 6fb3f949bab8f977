"""A membership as bytes that say what they are, which version, and whether they are whole.

    4 bytes   b"PSHR"
    1 byte    version, 1
    1 byte    length of the kind, then the kind: "ring", "maglev", ...
    8 bytes   XXH3-64 of all other bytes, little-endian
    the rest  MessagePack: what the kind needs to be built again

Points and tables are not in it: hashes are frozen, so they come out the same wherever they are built.
"""

from typing import TypeVar

import msgspec

from penstock.errors import InvalidType
from penstock.hashring.errors import InvalidSnapshot
from penstock.hashring.key_hash import KeyHash

__all__ = ["MAX_BYTES", "dumped", "fingerprint_of", "loaded"]

T = TypeVar("T")

MAGIC = b"PSHR"
VERSION = 1
MAX_BYTES = 1 << 30
CHECKSUM = KeyHash("xxh3_64")


def dumped(kind: str, content: msgspec.Struct) -> bytes:
    """The snapshot of a kind with this content."""
    head = MAGIC + bytes([VERSION, len(kind)]) + kind.encode()
    body = msgspec.msgpack.encode(content)
    return head + CHECKSUM(head + body).to_bytes(8, "little") + body


def loaded(data: bytes, kind: str, content: type[T]) -> T:
    """The content, of type `content`, of a snapshot of that kind.

    Raises:
        ValueError: it is none, of another kind or version, truncated or damaged.
        TypeError: data is no bytes.
    """
    if not isinstance(data, bytes):
        raise InvalidType(f"snapshot must be bytes, got {type(data).__name__}")
    if len(data) > MAX_BYTES:
        raise InvalidSnapshot(f"snapshot must be <= {MAX_BYTES} bytes, got {len(data)}")
    if data[:4] != MAGIC or len(data) < 6:
        raise InvalidSnapshot(f"snapshot must begin with {MAGIC!r} and a version, got {data[:6]!r}")
    if data[4] != VERSION:
        raise InvalidSnapshot(f"version of a snapshot must be {VERSION}, got {data[4]}")
    start = 6 + data[5]
    head, checksum, body = data[:start], data[start : start + 8], data[start + 8 :]
    if CHECKSUM(head + body).to_bytes(8, "little") != checksum:
        raise InvalidSnapshot(f"checksum of a snapshot must fit, got {len(data)} bytes, damaged or cut short")
    if head[6:] != kind.encode():
        raise InvalidSnapshot(f"kind of a snapshot must be {kind}, got {head[6:]!r}")
    return decoded(body, content)


def decoded(body: bytes, content: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(body, type=content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidSnapshot(f"content of a snapshot must be that of its kind: {error}") from None


def fingerprint_of(data: bytes) -> str:
    """16 hexadecimal digits that are the same for the same bytes."""
    return f"{CHECKSUM(data):016x}"
