"""Keys and values as bytes, for stores and journals."""

from typing import Any, Protocol

import msgspec

from penstock.errors import InvalidType, InvalidValue, PenstockError

__all__ = ["Codec", "MsgpackCodec", "Undecodable", "checked_codec", "decode_key", "encode_key"]

Key = str | int | bytes
"""What the included stores and the journal take as a key."""

MAX_KEY_BYTES = 65_535
MAX_KEY_BITS = 8_192  # of an int, which has 2,467 digits then


class Codec(Protocol):
    """Turns values into bytes and back."""

    def encode(self, value: Any, /) -> bytes:
        """The bytes of a value; raises for one that it cannot encode."""
        ...

    def decode(self, data: bytes, /) -> Any:
        """The value of these bytes; raises for bytes that are of none."""
        ...


class Undecodable(PenstockError, ValueError):
    """Bytes in a store or journal are no key, or no value of its codec."""


class MsgpackCodec:
    """MessagePack by msgspec: fast, compact, and safe to decode whoever wrote it.

    A value comes back as plain data: a tuple as a list, an object as a dict. With `type` it comes back as
    that type, and what does not fit is refused.

    Args:
        type: what msgspec shall decode to, such as a Struct or a dataclass.
    """

    __slots__ = ("_decoder", "_encoder", "_type")

    def __init__(self, type: Any = Any) -> None:  # noqa: A002  (msgspec's own word)
        self._type = type
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(type)

    def __repr__(self) -> str:
        return "MsgpackCodec()" if self._type is Any else f"MsgpackCodec({self._type!r})"

    def encode(self, value: Any, /) -> bytes:
        """The bytes of a value.

        Raises:
            TypeError: msgspec does not know its type, or that of something in it.
            ValueError: an int in it has more than 64 bits.
        """
        try:
            return self._encoder.encode(value)
        except TypeError as error:
            raise InvalidType(f"a value must be of types that MessagePack has: {error}") from error
        except OverflowError as error:
            raise InvalidValue(f"ints in a value must have <= 64 bits: {error}") from error

    def decode(self, data: bytes, /) -> Any:
        """The value of these bytes.

        Raises:
            ValueError: they are no MessagePack, or do not fit the type.
        """
        try:
            return self._decoder.decode(data)
        except msgspec.DecodeError as error:
            raise Undecodable(f"a stored value must be MessagePack of its type: {error}") from error


def checked_codec(codec: object) -> Codec:
    """`codec`, or MessagePack for None.

    Raises:
        TypeError: it has no encode or decode to call.
    """
    if codec is None:
        return MsgpackCodec()
    if not callable(getattr(codec, "encode", None)) or not callable(getattr(codec, "decode", None)):
        raise InvalidType(f"codec must have encode and decode, got {type(codec).__name__}")
    return codec  # type: ignore[return-value]


def encode_key(key: object) -> bytes:
    """The bytes of a key: a letter for its type, then its text, digits or bytes. No two keys share theirs.

    Raises:
        TypeError: it is neither str, int nor bytes.
        ValueError: it is too long, or a str with a lone surrogate.
    """
    if isinstance(key, str):
        try:
            data = b"s" + key.encode()
        except UnicodeEncodeError:
            raise InvalidValue(f"a str key must be Unicode without lone surrogates, got {key!a}") from None
    elif isinstance(key, int):
        if key.bit_length() > MAX_KEY_BITS:
            raise InvalidValue(f"an int key must have <= {MAX_KEY_BITS} bits, got {key.bit_length()}")
        data = b"i%d" % key
    elif isinstance(key, bytes):
        data = b"b" + key
    else:
        raise InvalidType(f"a key must be a str, int or bytes, got {type(key).__name__}")
    if len(data) > MAX_KEY_BYTES:
        raise InvalidValue(f"a key must have < {MAX_KEY_BYTES} bytes, got {len(data) - 1}")
    return data


def decode_key(data: bytes) -> Key:
    """The key of these bytes.

    Raises:
        ValueError: encode_key does not make them.
    """
    kind, rest = data[:1], data[1:]
    try:
        key: Key = rest
        if kind == b"s":
            key = rest.decode()
        elif kind == b"i" and len(rest) < MAX_KEY_BITS:
            key = int(rest)
        if encode_key(key) == data:
            return key
    except ValueError:
        pass
    raise Undecodable(f"a stored key must be a str, int or bytes in penstock's form, got {data[:64]!r}")
