"""A shard in the memory of this process."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import Any, Generic, Self, TypeVar, cast

from penstock.sharding.keys import checked_bound, checked_key
from penstock.sharding.shard import PAGE_ROWS, checked_limit

__all__ = ["DictShard"]

K = TypeVar("K")
V = TypeVar("V")


class DictShard(Generic[K, V]):
    """Keeps entries in a dict and its keys in a sorted list. It grows as the dict does.

    A new key and a removal move the pointers to all higher keys, which takes half a millisecond among a
    million of them; `put_many` and `delete_many` do it once. Values are kept as they are, not copied.

    Args:
        entries: to begin with.

    Raises:
        TypeError: keys cannot be compared with each other.
        ValueError: a key is NaN.
    """

    __slots__ = ("_entries", "_keys")

    def __init__(self, entries: Iterable[tuple[K, V]] = ()) -> None:
        self._entries: dict[K, V] = {}
        self._keys: list[Any] = []
        self._store(entries)

    def __repr__(self) -> str:
        return f"<DictShard of {len(self._keys)} entries>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    async def get(self, key: K, default: V | None = None, /) -> V | None:
        """The value of a key, or `default` if it has none."""
        return self._entries.get(key, default)

    async def put(self, key: K, value: V, /) -> None:
        """Stores a value, in place of the one that the key may have.

        Raises:
            TypeError: the key cannot be compared with the others.
            ValueError: it is NaN.
        """
        if key not in self._entries:
            insort(self._keys, checked_key(key))
        self._entries[key] = value

    async def put_many(self, items: Iterable[tuple[K, V]], /) -> None:
        """Stores all items; of two with one key, the later. Refused as in `put`, all or none."""
        self._store(items)

    async def delete(self, key: K, /) -> bool:
        """Removes a key; whether it was there."""
        return await self.delete_many((key,)) == 1

    async def delete_many(self, keys: Iterable[K], /) -> int:
        """Removes keys; how many were there."""
        gone = {key for key in keys if key in self._entries}
        if gone:
            ordered = sorted(cast("set[Any]", gone))
            start, end = bisect_left(self._keys, ordered[0]), bisect_right(self._keys, ordered[-1])
            self._keys[start:end] = [key for key in self._keys[start:end] if key not in gone]
        for key in gone:
            del self._entries[key]
        return len(gone)

    async def page(
        self,
        first: K | None = None,
        last: K | None = None,
        *,
        after: K | None = None,
        before: K | None = None,
        limit: int = PAGE_ROWS,
    ) -> list[tuple[K, V]]:
        """The lowest entries within bounds, sorted by key.

        Args:
            first: the lowest key that counts; None for no such bound, as in the other three.
            last: the highest key that counts.
            after: keys up to this one do not count.
            before: keys from this one on do not count.
            limit: entries at most, 1 to a million. Fewer mean that there are no more.

        Raises:
            TypeError: a bound cannot be compared with the keys.
            ValueError: a bound is NaN.
        """
        for bound in (first, last, after, before):
            checked_bound(bound)
        keys = self._keys
        start = 0 if first is None else bisect_left(keys, first)
        if after is not None:
            start = max(start, bisect_right(keys, after))
        end = len(keys) if last is None else bisect_right(keys, last)
        if before is not None:
            end = min(end, bisect_left(keys, before))
        return [(key, self._entries[key]) for key in keys[start : min(end, start + checked_limit(limit))]]

    async def count(self) -> int:
        """Entries in the shard."""
        return len(self._keys)

    async def aclose(self) -> None:
        """Does nothing; the entries stay."""

    def _store(self, items: Iterable[tuple[K, V]]) -> None:
        entries = {checked_key(key): value for key, value in items}
        new: list[Any] = sorted(key for key in cast("dict[Any, V]", entries) if key not in self._entries)
        if new:
            start = bisect_left(self._keys, new[0])
            self._keys[start:] = sorted(self._keys[start:] + new)
        self._entries.update(entries)
