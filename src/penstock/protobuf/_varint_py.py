"""Varints, pure Python. Its compiled twin does the same in csrc/varint.c."""

from operator import index
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidType, InvalidValue
from penstock.protobuf._wire_py import Bytes, Fault, read_varint, varint
from penstock.protobuf.errors import DecodeError, EncodeError
from penstock.protobuf.faults import VALUE_TRUNCATED, VARINT_TOO_LONG, out_of_range, wrong_type

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "decode_varint",
    "decode_varints",
    "encode_varint",
    "encode_varints",
    "zigzag_decode",
    "zigzag_encode",
]

MOST = 10  # bytes of the longest varint
MASK = (1 << 64) - 1
LARGEST = (1 << 63) - 1  # of signed integers
DTYPES = ("uint64", "int64", "uint32", "int32", "bool")


def encode_varint(value: int, /) -> bytes:
    """The shortest varint of `value`, 1 to 10 bytes.

    A signed integer of protobuf (int32, int64, an enum) is its two's complement in 64 bits: write
    `encode_varint(value & 2**64 - 1)`; sint32 and sint64 are `encode_varint(zigzag_encode(value))`.

    Args:
        value: 0 to 2**64 - 1.

    Raises:
        EncodeError: value is out of its range.
        TypeError: value is no int.

    Source: https://protobuf.dev/programming-guides/encoding#varints
    """
    return varint(checked_value(value, 0, MASK))


def decode_varint(data: Bytes, position: int = 0, /) -> tuple[int, int]:
    """The varint at `position` and the position behind it.

    As protobuf does, it takes varints that are longer than they need be, up to 10 bytes, and drops the bits
    above the 64th.

    Args:
        data: bytes, or what lends them.
        position: 0 to len(data), bytes.

    Returns:
        The value, 0 to 2**64 - 1, and the position of the byte after its last.

    Raises:
        DecodeError: data ends within the varint, or it is longer than 10 bytes; `offset` is `position`.
        ValueError: position is out of its range.
        TypeError: data has no contiguous buffer, or position is no int.
    """
    octets = octets_of(data)
    start = checked_position(position, len(octets))
    try:
        return read_varint(octets, start, len(octets))
    except Fault as fault:
        raise DecodeError(fault.reason, offset=start) from None


def zigzag_encode(value: int, /) -> int:
    """The number that stands for a signed one: 0, -1, 1, -2, ... become 0, 1, 2, 3, ...

    Args:
        value: -2**63 to 2**63 - 1.

    Returns:
        0 to 2**64 - 1; 0 to 2**32 - 1 for what fits 32 bits, so it serves sint32 and sint64.

    Raises:
        EncodeError: value is out of its range.
        TypeError: value is no int.
    """
    number = checked_value(value, -1 - LARGEST, LARGEST)
    return number << 1 ^ number >> 63


def zigzag_decode(value: int, /) -> int:
    """The signed number that `value` stands for; the way back from `zigzag_encode`.

    Args:
        value: 0 to 2**64 - 1.

    Returns:
        -2**63 to 2**63 - 1.

    Raises:
        ValueError: value is out of its range.
        TypeError: value is no int.
    """
    number = checked_value(value, 0, MASK, InvalidValue)
    return number >> 1 ^ -(number & 1)


def encode_varints(values: "ArrayLike", /, *, zigzag: bool = False) -> bytes:
    """The varints of all values, back to back: a packed field of protobuf without its tag and length.

    Lets go of the GIL when there are many.

    Args:
        values: (n,) integers or bools, an array or a sequence. A negative one is written as its two's
            complement in 64 bits, so it takes 10 bytes, unless `zigzag`.
        zigzag: whether to write `zigzag_encode` of each value, as sint32 and sint64 are.

    Returns:
        n to 10 n bytes.

    Raises:
        EncodeError: a value has more than 64 bits, or is above 2**63 - 1 with `zigzag`.
        ValueError: values has not one dimension.
        TypeError: values are no integers.
    """
    import numpy as np

    array = array_of(values, zigzag)
    words = array.astype(np.int64 if array.dtype.kind == "i" else np.uint64)
    if zigzag:
        words = words << 1 ^ words >> 63
    return varints_of(words.view(np.uint64))


def decode_varints(data: Bytes, /, *, dtype: "DTypeLike" = "uint64", zigzag: bool = False) -> "NDArray[Any]":
    """All varints of `data`, back to back: the content of a packed field of protobuf.

    Each keeps what fits the dtype, as protobuf does: int64 and uint64 the low 64 bits, int32 and uint32 the
    low 32, and bool is whether any bit of the 64 is set. Lets go of the GIL when there are many.

    Args:
        data: bytes, or what lends them.
        dtype: uint64, int64, uint32, int32 or bool, by name or as numpy writes it.
        zigzag: whether to take `zigzag_decode` of each, for sint32 and sint64; dtype is int32 or int64.

    Returns:
        (n,) of that dtype, n the number of varints.

    Raises:
        DecodeError: data ends within a varint, or one is longer than 10 bytes; `offset` is where it begins.
        ValueError: dtype is none of the five, or not signed with `zigzag`.
        TypeError: data has no contiguous buffer.
    """
    import numpy as np

    kind = checked_dtype(dtype, zigzag)
    words: NDArray[Any] = words_of(np.frombuffer(octets_of(data), np.uint8))
    if kind.kind == "b":
        return words.astype(kind)
    words = words.astype(f"u{kind.itemsize}")
    if zigzag:
        words = words >> 1 ^ -(words & 1)
    return words.view(kind)


def varints_of(words: "NDArray[np.uint64]") -> bytes:
    """The varints of all words: one pass for each of the ten bytes that a varint may have."""
    import numpy as np

    sizes = np.ones(len(words), np.int64)
    for bits in range(7, 64, 7):
        sizes += words >> bits != 0
    starts = np.cumsum(sizes) - sizes
    octets = np.empty(int(sizes.sum()), np.uint8)
    for place in range(int(sizes.max(initial=0))):
        there = sizes > place
        more = (sizes[there] > place + 1).astype(np.uint8) << 7
        octets[starts[there] + place] = (words[there] >> 7 * place & 0x7F).astype(np.uint8) | more
    return octets.tobytes()


def words_of(octets: "NDArray[np.uint8]") -> "NDArray[np.uint64]":
    """The varints that fill `octets`: one pass for each of the ten bytes that a varint may have.

    Raises:
        DecodeError: they are no varints.
    """
    import numpy as np

    ends = np.flatnonzero(octets < 0x80) + 1
    starts = np.append(0, ends)
    sizes = np.append(ends, len(octets)) - starts  # the last is of what has no end
    bad = np.flatnonzero(np.append(sizes[:-1] > MOST, sizes[-1] > 0))
    if len(bad):
        raise no_varint(len(octets), int(starts[bad[0]]))
    starts, sizes = starts[:-1], sizes[:-1]
    words = np.zeros(len(ends), np.uint64)
    for place in range(int(sizes.max(initial=0))):
        there = sizes > place
        words[there] |= (octets[starts[there] + place] & 0x7F).astype(np.uint64) << 7 * place
    return words


def no_varint(size: int, start: int) -> DecodeError:
    """The error for the bytes from `start` to `size`, of which none ends a varint in time."""
    return DecodeError(VARINT_TOO_LONG if size - start >= MOST else VALUE_TRUNCATED, offset=start)


def octets_of(data: object) -> Bytes:
    """The bytes of `data`, as a sequence of them that need not be copied.

    Raises:
        TypeError: it has no buffer, or one with gaps.
    """
    if isinstance(data, bytes):
        return data
    try:
        view = memoryview(data)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        raise not_bytes(data) from None
    if not view.c_contiguous:
        raise not_bytes(data)
    try:
        return view.cast("B")
    except TypeError:  # elements of a kind that memoryview does not know, or none at all
        return view.tobytes()


def not_bytes(data: object) -> InvalidType:
    """The error for what lends no bytes."""
    return InvalidType(f"data must be bytes, or like them and contiguous, got {type(data).__name__}")


def integer(name: str, value: object) -> int:
    """`value` as an int.

    Raises:
        TypeError: it is none.
    """
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidType(f"{name} {wrong_type('an int', value)}") from None


def checked_value(
    value: object, least: int, most: int, error: type[EncodeError] | type[InvalidValue] = EncodeError
) -> int:
    """`value` within its range.

    Raises:
        ValueError: it is not; `error`.
        TypeError: it is no int.
    """
    number = integer("value", value)
    if not least <= number <= most:
        raise error(f"value {out_of_range(least, most, number)}")
    return number


def checked_position(position: object, size: int) -> int:
    """A position within so many bytes, or behind the last.

    Raises:
        ValueError: it is not.
        TypeError: it is no int.
    """
    number = integer("position", position)
    if not 0 <= number <= size:
        raise InvalidValue(f"position {out_of_range(0, size, number)}")
    return number


def checked_dtype(dtype: object, zigzag: bool) -> "np.dtype[Any]":
    """The dtype of decoded values.

    Raises:
        ValueError: it is none of DTYPES, or not signed where values are zigzagged.
    """
    import numpy as np

    try:
        kind: np.dtype[Any] | None = np.dtype(dtype)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        kind = None
    if kind is None or kind not in map(np.dtype, DTYPES):
        raise InvalidValue(f"dtype must be uint64, int64, uint32, int32 or bool, got {dtype!r}")
    if zigzag and kind.kind != "i":
        raise InvalidValue(f"dtype must be int64 or int32 with zigzag, got {dtype!r}")
    return kind


def array_of(values: object, zigzag: bool) -> "NDArray[Any]":
    """The values of a batch: (n,) int64, uint64, int32, uint32 or bool; signed if they are to be zigzagged.

    Raises:
        EncodeError: a value has more than 64 bits, or is above 2**63 - 1 and to be zigzagged.
        ValueError: they have not one dimension.
        TypeError: they are no integers.
    """
    import numpy as np

    array = array_of_sequence(values, zigzag) if isinstance(values, list | tuple) else np.asarray(values)
    kind = array.dtype.kind
    if kind not in "iub":
        found = f"an array of {array.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
        raise InvalidType(f"values must be integers or bools, got {found}")
    if array.ndim != 1:
        raise InvalidValue(f"values must have one dimension, got {array.ndim}")
    if zigzag and kind != "i":
        checked_value(int(array.max(initial=0)), 0, LARGEST)
        array = array.astype(np.int64)
    if kind != "b":
        array = array.astype(np.promote_types(array.dtype, f"{array.dtype.kind}4"), copy=False)
    return np.require(array, None, ["C", "ALIGNED", "ENSUREARRAY"])


def array_of_sequence(values: list[Any] | tuple[Any, ...], zigzag: bool) -> "NDArray[Any]":
    """The values of a sequence; where numpy would make floats or objects of them, as 64 bits each."""
    import numpy as np

    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):  # they are of many shapes or sizes
        pass
    else:
        if array.dtype.kind in "iub":
            return array
    most = LARGEST if zigzag else MASK
    words = [checked_value(value, -1 - LARGEST, most) & MASK for value in values]
    return np.array(words, np.uint64).view(np.int64 if zigzag else np.uint64)
