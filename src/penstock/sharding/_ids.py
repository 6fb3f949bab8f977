"""What shards are called."""

from collections.abc import Hashable

from penstock.errors import InvalidType, InvalidValue
from penstock.sharding.keys import shown

__all__ = ["ShardId", "checked_id", "table_id"]

ShardId = str | int
"""What a shard is called: where shards are given as a list, their place in it."""

MAX_ID = 256  # characters
MAX_ID_BITS = 63  # of an int, so that every JSON reader can hold it


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


def table_id(shard: Hashable, width: int) -> str:
    """An id as a table shows it: on one line, in exactly so many columns."""
    text = shard if isinstance(shard, str) and shard.isprintable() else shown(shard)
    text = text if len(text) <= width else f"{text[: width - 3]}..."
    return f"{text:<{width}}"
