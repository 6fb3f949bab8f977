"""Write-through cache: a write goes to the store first, then to the cache."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Generic, Self, TypeVar, overload

from penstock.cache._read_through import ReadThrough
from penstock.cache._settings import MISSING
from penstock.cache.cache import Cache
from penstock.cache.store import Store, StoreClosed
from penstock.clock import Clock

__all__ = ["WriteThroughCache"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class WriteThroughCache(Generic[K, V]):
    """Reads from memory what was read or written before; a write that has returned is in the store.

    A miss asks the store, once, however many tasks miss the same key. What the store does not have is not
    remembered. Writes of one key happen one after the other in the order of their calls, so the cache ends
    with what the store ends with. A write that fails may have happened or not: its key leaves the cache,
    and the next read asks the store.

    A write goes on when its caller is cancelled, for half of it may have happened. Nobody else should write
    to the store, or the cache will not know of it until `ttl` is over.

    Args:
        store: where the entries are; it stays the caller's to close.
        cache: where they are remembered; None for an LRU cache of `maxsize` and `ttl`.
        maxsize: entries remembered at most, when `cache` is None.
        ttl: seconds or timedelta for which they are, None for ever; when `cache` is None.
        clock: returns int nanoseconds, for `ttl`; None for the monotonic clock of the system.

    It belongs to one event loop.
    """

    def __init__(
        self,
        store: Store[K, V],
        cache: Cache[K, V] | None = None,
        *,
        maxsize: int = 10_000,
        ttl: float | timedelta | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._cache: Cache[K, V] = Cache(maxsize, ttl=ttl, clock=clock) if cache is None else cache
        self._reads = ReadThrough(store, self._cache, closed=StoreClosed)
        self._writes: dict[K, asyncio.Task[None]] = {}  # the last write of each key, while it is under way
        self._closed = False

    def __repr__(self) -> str:
        return f"WriteThroughCache({self._store!r}, {self._cache!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    @overload
    async def get(self, key: K, /) -> V | None: ...
    @overload
    async def get(self, key: K, default: T, /) -> V | T: ...

    async def get(self, key: K, default: object = None, /) -> object:
        """The value of `key`, or `default`; what the store raises is raised."""
        self._require_open()
        value = self._cache.get(key, MISSING)
        if value is not MISSING:
            return value
        return (await self._reads.fetch((key,))).get(key, default)

    async def get_many(self, keys: Iterable[K], /) -> dict[K, V]:
        """The entries that exist of these keys; those that are not remembered in one batch."""
        self._require_open()
        return await self._reads.get_many(keys)

    async def set(self, key: K, value: V, /) -> None:
        """Stores `value` under `key`; what the store raises is raised, and the key leaves the cache."""
        await self.set_many({key: value})

    async def set_many(self, items: Mapping[K, V], /) -> None:
        """Stores all items in one batch; if it fails, all their keys leave the cache."""
        batch = dict(items)

        def remember() -> None:
            for key, value in batch.items():
                self._cache.set(key, value)

        await self._write(batch, lambda: self._store.set_many(batch), remember)

    async def delete(self, key: K, /) -> None:
        """Removes `key` from the store, then from the cache."""
        await self.delete_many((key,))

    async def delete_many(self, keys: Iterable[K], /) -> None:
        """Removes all keys in one batch."""
        batch = list(dict.fromkeys(keys))
        await self._write(batch, lambda: self._store.delete_many(batch), lambda: self._drop(batch))

    async def aclose(self) -> None:
        """Waits for the writes under way; reads under way and every later call raise StoreClosed."""
        self._closed = True
        while self._writes:
            await asyncio.wait(set(self._writes.values()))
        await self._reads.aclose()

    async def _write(
        self,
        keys: Collection[K],
        store: Callable[[], Coroutine[Any, Any, None]],
        remember: Callable[[], None],
    ) -> None:
        self._require_open()
        if not keys:
            return
        # Taking a place behind all earlier writes at once gives one order of all writes, so none waits
        # in a circle.
        earlier = {self._writes[key] for key in keys if key in self._writes}
        task = asyncio.create_task(self._write_after(earlier, keys, store, remember))
        self._writes.update(dict.fromkeys(keys, task))
        task.add_done_callback(lambda task: self._written(task, keys))
        await asyncio.shield(task)

    async def _write_after(
        self,
        earlier: Collection[asyncio.Task[None]],
        keys: Collection[K],
        store: Callable[[], Coroutine[Any, Any, None]],
        remember: Callable[[], None],
    ) -> None:
        try:
            if earlier:
                await asyncio.wait(earlier)
            await store()
            for key in keys:
                self._reads.forget(key)
            remember()
        except BaseException:
            self._drop(keys)
            raise

    def _drop(self, keys: Iterable[K]) -> None:
        for key in keys:
            self._reads.forget(key)
            self._cache.delete(key)

    def _written(self, task: asyncio.Task[None], keys: Iterable[K]) -> None:
        for key in keys:
            if self._writes.get(key) is task:
                del self._writes[key]
        with suppress(asyncio.CancelledError):
            task.exception()  # seen, also if the caller has gone

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosed("the write-through cache is closed")
