"""Jump hash, pure Python. Its compiled twin does the same in csrc/jump.c."""

from collections.abc import Iterable
from operator import index
from typing import TYPE_CHECKING, Any

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring.membership import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["jump_hash", "jump_hash_many"]

MAX_BUCKETS = (1 << 31) - 1
MASK = (1 << 64) - 1


def jump_hash(key: int, buckets: int, /) -> int:
    """The bucket that gets `key` when there are so many: of those that come and go at the end only.

    From n to n + 1 buckets one key in n + 1 moves, and all that move go to the new one. The buckets are those
    of the paper and of the package jump-consistent-hash; Guava's `consistentHash` rounds in another place and
    finds another one of less than one key in a million. Costs about ln(buckets) divisions.

    Args:
        key: an int, -2**63 <= key < 2**64, two's complement; of other keys, the hash.
        buckets: 1 to 2**31 - 1.

    Returns:
        0 <= bucket < buckets.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: an argument is no int.

    Source: J. Lamping, E. Veach, A fast, minimal memory, consistent hash algorithm, arXiv 1406.2294, 2014.
    """
    return jump(checked_key(key), checked_buckets(buckets))


def jump_hash_many(keys: "Iterable[int] | NDArray[np.integer[Any]]", buckets: int, /) -> "NDArray[np.int32]":
    """The bucket of each key, as of `jump_hash`. Lets go of the GIL.

    Args:
        keys: ints, or an array of integers of any width and shape.
        buckets: 1 to 2**31 - 1.

    Returns:
        int32, of the shape of `keys`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: buckets or a key is no int, or keys cannot be iterated.
    """
    import numpy as np

    buckets = checked_buckets(buckets)
    words = key_words(keys)
    found = [jump(key, buckets) for key in words.ravel().tolist()]
    return np.array(found, np.int32).reshape(words.shape)


def jump(key: int, buckets: int) -> int:
    """The algorithm alone; csrc/jump.h says why every machine finds the same bucket."""
    bucket = following = 0
    while following < buckets:
        bucket = following
        key = key * 2862933555777941757 + 1 & MASK
        following = int((bucket + 1) * (2147483648.0 / ((key >> 33) + 1)))
    return bucket


def checked_key(key: object) -> int:
    """The key as 64 bits.

    Raises:
        ValueError: it has more.
        TypeError: it is no int.
    """
    try:
        number = index(key)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidType(f"key must be an int, got {type(key).__name__}") from None
    if not -(1 << 63) <= number < 1 << 64:
        raise InvalidValue(f"key must be >= -2**63 and < 2**64, got {shown(number)}")
    return number & MASK


def checked_buckets(buckets: object) -> int:
    """How many buckets there are.

    Raises:
        ValueError: not 1 <= buckets <= MAX_BUCKETS.
        TypeError: buckets is no int.
    """
    try:
        number = index(buckets)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidType(f"buckets must be an int, got {type(buckets).__name__}") from None
    if not 1 <= number <= MAX_BUCKETS:
        raise InvalidValue(f"buckets must be >= 1 and <= {MAX_BUCKETS}, got {shown(number)}")
    return number


def key_words(keys: object) -> "NDArray[np.uint64]":
    """The keys of a batch as 64 bits each, in one block.

    Raises:
        ValueError: a key has more than 64 bits.
        TypeError: a key is no int, or keys cannot be iterated.
    """
    import numpy as np

    if not isinstance(keys, np.ndarray):
        if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
            raise InvalidType(f"keys must be ints or an array of integers, got {type(keys).__name__}")
        return np.array([checked_key(key) for key in keys], np.uint64)
    if keys.dtype.kind not in "iu":
        raise InvalidType(f"keys must be ints or an array of integers, got an array of {keys.dtype}")
    wide = np.int64 if keys.dtype.kind == "i" else np.uint64
    return np.require(keys, wide, ["C", "ALIGNED", "ENSUREARRAY"]).view(np.uint64)
