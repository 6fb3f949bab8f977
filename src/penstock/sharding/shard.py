"""What a shard is: a sorted map of keys to values that somebody else chooses the keys of."""

from collections.abc import AsyncGenerator, Iterable
from typing import Protocol, TypeVar

from penstock.errors import PenstockError
from penstock.sharding._arguments import checked_whole

__all__ = [
    "MAX_PAGE_ROWS",
    "PAGE_ROWS",
    "MigrationFailed",
    "MigrationInProgress",
    "NoShard",
    "Shard",
    "ShardClosed",
    "ShardError",
    "checked_limit",
    "reason",
    "rows",
]

K = TypeVar("K")
V = TypeVar("V")

PAGE_ROWS = 256
"""Rows that a page has at most if nobody says otherwise."""

MAX_PAGE_ROWS = 1_000_000
"""Rows that anybody may ask for at once."""

MAX_REASON = 200  # characters of one error's text in the message of another


class ShardError(PenstockError, OSError):
    """A shard could not be read or written; a write may have happened, whole, in part or not at all."""


class ShardClosed(PenstockError, RuntimeError):
    """A shard was closed, and asked after that."""


class NoShard(PenstockError, LookupError):
    """No shard is configured for a key."""


class MigrationFailed(ShardError):
    """Keys could not be moved to another shard. They stay where the map in force says, and none is lost."""


class MigrationInProgress(PenstockError, RuntimeError):
    """Keys are being moved to another shard; that is one thing at a time."""


class Shard(Protocol[K, V]):
    """Eight methods that a database needs to be a shard. `DictShard` is the shortest complete example.

    Keys are sorted as Python sorts them, and are hashable. Any number of calls may be under way at once. A
    write that has returned is as durable as the shard can make it, and later reads see it. A write that fails
    may have happened. A call that is cancelled must end soon, and whatever it still does must come before
    what later calls do, or an older value could land on a newer one.
    """

    async def get(self, key: K, default: V | None = None, /) -> V | None:
        """The value of a key, or `default` if it has none."""
        ...

    async def put(self, key: K, value: V, /) -> None:
        """Stores a value, in place of the one that the key may have."""
        ...

    async def put_many(self, items: Iterable[tuple[K, V]], /) -> None:
        """Stores all items; of two with one key, the later."""
        ...

    async def delete(self, key: K, /) -> bool:
        """Removes a key; whether it was there."""
        ...

    async def delete_many(self, keys: Iterable[K], /) -> int:
        """Removes keys; how many were there."""
        ...

    async def page(
        self,
        first: K | None = None,
        last: K | None = None,
        *,
        after: K | None = None,
        before: K | None = None,
        limit: int = PAGE_ROWS,
    ) -> list[tuple[K, V]]:
        """The lowest entries within bounds, sorted by key, as they were at one moment.

        Args:
            first: the lowest key that counts; None for no such bound, as in the other three.
            last: the highest key that counts.
            after: keys up to this one do not count.
            before: keys from this one on do not count.
            limit: entries at most, 1 to a million. Fewer mean that there are no more.
        """
        ...

    async def count(self) -> int:
        """Entries in the shard."""
        ...

    async def aclose(self) -> None:
        """Lets go of files and connections."""
        ...


async def rows(
    shard: Shard[K, V],
    first: K | None = None,
    last: K | None = None,
    *,
    after: K | None = None,
    before: K | None = None,
    page_rows: int = PAGE_ROWS,
) -> AsyncGenerator[tuple[K, V], None]:
    """All entries of a shard within bounds, sorted by key, with one page in memory.

    Each page is of its own moment: an entry that is written or removed meanwhile may be seen or not.

    Args:
        shard: what to read.
        first: the lowest key that counts; None for no such bound, as in the other three.
        last: the highest key that counts.
        after: keys up to this one do not count.
        before: keys from this one on do not count.
        page_rows: entries to ask for at a time.
    """
    while True:
        page = await shard.page(first, last, after=after, before=before, limit=page_rows)
        for row in page:
            yield row
        if len(page) < page_rows:
            return
        after = page[-1][0]


def checked_limit(limit: object) -> int:
    """`limit`, if a page can have so many rows.

    Raises:
        TypeError: it is no int.
        ValueError: it is below 1 or above MAX_PAGE_ROWS.
    """
    return checked_whole("limit", limit, 1, MAX_PAGE_ROWS, " rows")


def reason(error: BaseException) -> str:
    """What an error says, for another message: one line, and not too long."""
    lines = str(error)[:MAX_REASON].splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
