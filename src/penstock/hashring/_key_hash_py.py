"""Frozen hashes of keys, pure Python. Its compiled twin does the same in csrc/key_hash.c."""

from binascii import crc_hqx
from collections.abc import Callable, Iterable, Sequence
from hashlib import md5, sha256
from operator import index
from reprlib import Repr
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring._murmur_py import murmur2, murmur3_32, murmur3_cassandra
from penstock.hashring._xxhash_py import xxh3_64, xxh64

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

__all__ = ["Key", "KeyHash"]

Key = str | bytes | int
"""What can be placed; also a bytearray or memoryview, and whatever has `__index__`."""

Function = Callable[[bytes], int]

KAFKA_SEED = 0x9747B28C
REDIS_SLOTS = 16384


class Hash(NamedTuple):
    """One frozen hash: bits of its values, bits of its seed, and how it is computed of bytes and seed."""

    bits: int
    seed_bits: int
    value: Callable[[bytes, int], int]


def sha256_be64(data: bytes, _: int) -> int:
    return int.from_bytes(sha256(data, usedforsecurity=False).digest()[:8], "big")


def md5_be32(data: bytes, _: int) -> int:
    return int.from_bytes(md5(data, usedforsecurity=False).digest()[:4], "big")


def ketama(data: bytes, _: int) -> int:
    return int.from_bytes(md5(data, usedforsecurity=False).digest()[:4], "little")


def kafka(data: bytes, _: int) -> int:
    return murmur2(data, KAFKA_SEED) & 0x7FFF_FFFF


def cassandra(data: bytes, _: int) -> int:
    """The token plus 2**63.

    Of the two ends of the range, the partitioner keeps the lower for "no key at all", and moves a key that
    would fall there to the upper.
    """
    if not data:
        return 0
    return murmur3_cassandra(data) ^ 1 << 63 or (1 << 64) - 1


def redis_slot(data: bytes, _: int) -> int:
    """Only what stands between the first { and the next } counts, if anything does."""
    tag, closed, _behind = data.partition(b"{")[2].partition(b"}")
    return crc_hqx(tag if closed and tag else data, 0) % REDIS_SLOTS


HASHES = {  # in the order of ps_hash_kind in csrc/key_hash.h
    "xxh3_64": Hash(64, 64, xxh3_64),
    "xxh64": Hash(64, 64, xxh64),
    "murmur3_32": Hash(32, 32, murmur3_32),
    "sha256-be64": Hash(64, 0, sha256_be64),
    "md5-be32": Hash(32, 0, md5_be32),
    "ketama": Hash(32, 0, ketama),
    "murmur2": Hash(31, 0, kafka),
    "murmur3-cassandra": Hash(64, 0, cassandra),
    "crc16": Hash(14, 0, redis_slot),
}

CALLED = len(HASHES)
"""The kind of a callable: that of none of the above."""


class KeyHash:
    """A hash of keys that never changes: equal keys hash alike in every process, version and language.

    Python's own `hash` differs from process to process. Keys are text, bytes or integers; text hashes as the
    bytes of its UTF-8, an integer as its 8 bytes in little-endian order. None of the hashes but sha256-be64
    resists somebody who chooses keys to collide. KeyHashes are equal if name and seed are, and hashable;
    threads may share them.

    Args:
        name: the hash, or a callable that makes an integer below 2**64 of bytes, always the same.

            - `xxh3_64`, 64 bits, with a seed of 64: the fastest, and the one to take where nobody else has
              chosen already.
            - `xxh64`, 64 bits, with a seed of 64.
            - `murmur3_32`, 32 bits, with a seed of 32: MurmurHash3_x86_32.
            - `sha256-be64`, 64 bits: the first 8 bytes of SHA-256, big-endian.
            - `md5-be32`, 32 bits: the first 4 bytes of MD5, big-endian.
            - `ketama`, 32 bits: the first 4 bytes of MD5, little-endian, as memcached clients take them.
            - `murmur2`, 31 bits: what Kafka's partitioner takes modulo the number of partitions.
            - `murmur3-cassandra`, 64 bits: the token of Cassandra's Murmur3Partitioner, plus 2**63.
            - `crc16`, 14 bits: the slot in a Redis Cluster, that of the `{tag}` if the key has one.
        seed: an int below 2 to the power of the hash's seed bits; 0 for a hash that has no seed.

    Raises:
        ValueError: there is no hash of that name, or the seed is out of its range.
        TypeError: name is neither a str nor callable, or is a KeyHash, or seed is no int.
    """

    __slots__ = ("_bits", "_function", "_kind", "_name", "_seed", "_value")

    def __init__(self, name: str | Function = "xxh3_64", seed: int = 0) -> None:
        if hasattr(self, "_kind"):
            raise initialised_twice()
        if isinstance(name, KeyHash):
            raise nested()
        self._kind, self._name, self._seed, self._function = checked_hash(name, seed)
        self._bits, _, self._value = Hash(64, 0, self._called) if self._name is None else HASHES[self._name]

    def __repr__(self) -> str:
        what = self._function if self._name is None else self._name
        return f"KeyHash({what!r}, seed={self._seed})" if self._seed else f"KeyHash({what!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyHash):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __reduce__(self) -> tuple[Any, ...]:
        from penstock.hashring.key_hash import restored  # here, for that module imports this one

        return restored, self._identity()

    def __call__(self, key: Key, /) -> int:
        """The hash of `key`: 0 <= hash < 2 ** `bits`."""
        return self._value(key_bytes(key), self._seed)

    @property
    def name(self) -> str | None:
        """Name of the hash; None for a callable."""
        return self._name

    @property
    def seed(self) -> int:
        """The seed; 0 for a hash that has none."""
        return self._seed

    @property
    def bits(self) -> int:
        """Bits of a hash: 14, 31, 32 or 64."""
        return self._bits

    @property
    def function(self) -> Function | None:
        """The callable; None for a hash that has a name."""
        return self._function

    def many(self, keys: "Iterable[Key] | NDArray[Any]", /) -> "NDArray[numpy.uint64]":
        """The hash of each key.

        An array is hashed without the GIL; over a list it is let go now and then, and while digests and long
        keys are hashed; a callable runs with it.

        Args:
            keys: (n,) keys, or an array of str, bytes or integers. NULs at the end of a string in an array
                do not count, as numpy has it. A list is not to change meanwhile.

        Returns:
            (n,) uint64.

        Raises:
            ValueError: an integer has more than 64 bits, text has a lone surrogate (UnicodeEncodeError), the
                array has more than one dimension, or the list became shorter.
            TypeError: keys cannot be iterated, or a key is no str, bytes or int.
        """
        import numpy  # only who asks for arrays pays for the import

        values = [self(key) for key in listed(checked_keys(keys))]
        return numpy.array(values, dtype=numpy.uint64)

    def position(self, key: Key, /) -> int:
        """The hash of `key`, moved up to the highest of 64 bits: where it lies on a circle of 2**64.

        Raises:
            ValueError: an integer has more than 64 bits, or text has a lone surrogate (UnicodeEncodeError).
            TypeError: key is no str, bytes or int.
        """
        return self(key) << 64 - self._bits

    def positions(self, keys: "Iterable[Key] | NDArray[Any]", /) -> list[int]:
        """The position of each key; see `many`."""
        return [self.position(key) for key in listed(checked_keys(keys))]

    def _identity(self) -> tuple[object, int]:
        return self._function if self._name is None else self._name, self._seed

    def _called(self, data: bytes, _: int) -> int:
        return checked_value(cast(Function, self._function)(data), data)


def checked_hash(name: object, seed: object) -> tuple[int, str | None, int, Function | None]:
    """Number of the hash in HASHES, its name, its seed, and the callable if it is one.

    Raises:
        ValueError: there is no hash of that name, or the seed is out of its range.
        TypeError: name is neither a str nor callable, or seed is no int.
    """
    if callable(name):
        return CALLED, None, checked_seed("a callable", seed, 0), cast(Function, name)
    if not isinstance(name, str):
        raise InvalidType(f"name must be the name of a hash or a callable, got {type(name).__name__}")
    name = str.__str__(name)  # the text alone: str() of an enum's member is another
    if name not in HASHES:
        raise InvalidValue(f"name must be one of {', '.join(HASHES)}, got {shown(name)}")
    return list(HASHES).index(name), name, checked_seed(name, seed, HASHES[name].seed_bits), None


def checked_seed(name: str, seed: object, bits: int) -> int:
    try:
        number = index(seed)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidType(f"seed must be an int, got {type(seed).__name__}") from None
    if bits == 0 and number != 0:
        raise InvalidValue(f"seed of {name} must be 0, as it has none, got {shown(number)}")
    if not 0 <= number < 1 << bits and number != 0:
        raise InvalidValue(f"seed of {name} must be >= 0 and < 2**{bits}, got {shown(number)}")
    return number


def checked_value(value: object, data: bytes) -> int:
    """What a callable made of `data`.

    Raises:
        ValueError: it has more than 64 bits, or is negative.
        TypeError: it is no int.
    """
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidType(f"hash of {shown(data)} must be an int, got {type(value).__name__}") from None
    if not 0 <= number < 1 << 64:
        raise InvalidValue(f"hash of {shown(data)} must be >= 0 and < 2**64, got {shown(number)}")
    return number


def key_bytes(key: object) -> bytes:
    """What is hashed of a key.

    Raises:
        ValueError: an integer has more than 64 bits, or text has a lone surrogate.
        TypeError: key is no str, bytes or int.
    """
    if isinstance(key, str):
        return str.encode(key)
    if isinstance(key, bytes | bytearray | memoryview):
        return bytes(memoryview(key))  # whatever a subclass makes of bytes()
    try:
        number = index(key)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidType(f"key must be a str, bytes or int, got {type(key).__name__}") from None
    if not -(1 << 63) <= number < 1 << 64:
        raise InvalidValue(f"key must be >= -2**63 and < 2**64, got {shown(number)}")
    return (number & (1 << 64) - 1).to_bytes(8, "little")


def checked_keys(keys: object) -> "Sequence[Any] | NDArray[Any]":
    """The keys of a batch as a list, a tuple, or an array of one dimension that holds str, bytes or integers.

    Raises:
        ValueError: the array has more than one dimension.
        TypeError: keys cannot be iterated, or the array holds something else.
    """
    if isinstance(keys, list | tuple):
        return keys
    text = isinstance(
        keys, str | bytes | bytearray | memoryview
    )  # numpy's scalars too, which look like arrays
    if not text and hasattr(keys, "__array_interface__"):
        import numpy

        array = numpy.asarray(keys)
        if array.ndim != 1:
            raise InvalidValue(f"keys must have one dimension, got {array.ndim}")
        if array.dtype.kind in "OT":  # objects, and text of numpy 2 that has no fixed width
            return cast(list[Any], array.tolist())
        if array.dtype.kind not in "SUiu":
            raise InvalidType(f"keys must be an array of str, bytes or integers, got {array.dtype}")
        return array
    if text or not isinstance(keys, Iterable):
        raise InvalidType(f"keys must be a list, a tuple or an array of keys, got {type(keys).__name__}")
    return list(keys)


def listed(keys: "Sequence[Any] | NDArray[Any]") -> Sequence[Any]:
    """Python's own objects for what `checked_keys` found.

    Raises:
        ValueError: an array of text holds what is no code point.
    """
    if isinstance(keys, list | tuple):
        return keys
    try:
        return cast(list[Any], cast("NDArray[Any]", keys).tolist())
    except SystemError:  # numpy's, for numbers above the last code point
        raise InvalidValue("keys must be of code points <= 0x10ffff, got one above") from None


def as_words(keys: "NDArray[Any]") -> "NDArray[numpy.uint64]":
    """An array of integers as 64 bits each, in one block."""
    import numpy

    wide = numpy.int64 if keys.dtype.kind == "i" else numpy.uint64
    return numpy.require(keys, wide, ["C", "ALIGNED"]).view(numpy.uint64)


def initialised_twice() -> InvalidValue:
    return InvalidValue("a KeyHash must be initialised once, got a second time")


def nested() -> InvalidType:
    return InvalidType(
        "name must be the name of a hash or a callable, got a KeyHash: give its name, or function, and seed"
    )


def changed(i: int) -> InvalidValue:
    return InvalidValue(f"keys must not change while they are hashed, got other ones at {i}")


short = Repr()
short.maxstring = short.maxother = 60


def shown(value: object) -> str:
    """`value` as an error message shows it, however large it is."""
    if isinstance(value, int) and value.bit_length() > 200:  # more digits than a message, or Python, writes
        return f"an int of {value.bit_length()} bits"
    return short.repr(value)
