"""Arguments of hash shards and scatter-gather, checked."""

from penstock.errors import InvalidType, InvalidValue
from penstock.sharding.keys import shown

__all__ = ["ShardId", "checked_id", "checked_seconds", "checked_whole"]

ShardId = str | int
"""What a shard is called: where shards are given as a list, their place in it."""

MAX_ID = 256  # characters
MAX_ID_BITS = 63  # of an int, so that every JSON reader can hold it
MAX_SECONDS = 1e9


def checked_id(shard: object) -> ShardId:
    """The id of a shard.

    Raises:
        ValueError: it is empty, longer than 256 characters, an int of more than 63 bits, or no Unicode.
        TypeError: it is neither a str nor an int.
    """
    if isinstance(shard, bool) or not isinstance(shard, str | int):
        raise InvalidType(f"id of a shard must be a str or int, got {type(shard).__name__}")
    if isinstance(shard, int):
        if shard.bit_length() > MAX_ID_BITS:
            raise InvalidValue(f"id of a shard must have <= {MAX_ID_BITS} bits, got {shard.bit_length()}")
        return shard
    if not 1 <= len(shard) <= MAX_ID:
        raise InvalidValue(f"id of a shard must have 1 to {MAX_ID} characters, got {len(shard)}")
    try:
        shard.encode()
    except UnicodeEncodeError:
        raise InvalidValue(f"id of a shard must have no lone surrogates, got {shard!a}") from None
    return shard


def checked_whole(name: str, value: object, least: int, most: int) -> int:
    """An int within bounds.

    Raises:
        ValueError: it is out of them.
        TypeError: it is no int.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(f"{name} must be an int, got {type(value).__name__}")
    if not least <= value <= most:
        raise InvalidValue(f"{name} must be >= {least} and <= {most}, got {shown(value)}")
    return value


def checked_seconds(name: str, value: object) -> float:
    """A time to wait.

    Raises:
        ValueError: it is not > 0 and at most a billion seconds.
        TypeError: it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidType(f"{name} must be a number of seconds, got {type(value).__name__}")
    if not 0 < value <= MAX_SECONDS:  # NaN is not
        raise InvalidValue(f"{name} must be > 0 and <= {MAX_SECONDS:g} seconds, got {shown(value)}")
    return float(value)
