"""Reads through a cache from a store: one question a key at a time, and never an older value over a newer."""

import asyncio
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Generic, TypeVar

from penstock.cache._settings import MISSING
from penstock.cache.cache import Cache
from penstock.cache.store import Store

__all__ = ["ReadThrough"]

K = TypeVar("K")
V = TypeVar("V")


class ReadThrough(Generic[K, V]):
    """Asks the store for what the cache does not have, and puts it there.

    Whoever misses a key that is being read waits for that reading. Readings are tasks of their own, so a
    reader that gives up takes nothing away from the others.

    Args:
        store: where entries are.
        cache: where they are put.
        closed: the error of readers who wait when it is closed.
    """

    __slots__ = ("_cache", "_closed", "_closed_error", "_readings", "_store", "_tasks")

    def __init__(self, store: Store[K, V], cache: Cache[K, V], *, closed: type[Exception]) -> None:
        self._store = store
        self._cache = cache
        self._closed = False
        self._closed_error = closed
        self._readings: dict[K, asyncio.Task[dict[K, V]]] = {}
        self._tasks: set[asyncio.Task[dict[K, V]]] = set()

    async def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The entries of these keys, from the cache or else from the store."""
        found: dict[K, V] = {}
        missed: list[K] = []
        for key in dict.fromkeys(keys):
            value = self._cache.get(key, MISSING)
            if value is MISSING:
                missed.append(key)
            else:
                found[key] = value
        if missed:
            found |= await self.fetch(missed)
        return found

    async def fetch(self, keys: Collection[K]) -> dict[K, V]:
        """The entries of these keys, which are not in the cache, from the store."""
        unasked = [key for key in keys if key not in self._readings]
        if unasked:
            task = asyncio.create_task(self._read(unasked))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
            self._readings.update(dict.fromkeys(unasked, task))

        by_key = {key: self._readings[key] for key in keys}
        found: dict[K, V] = {}
        for task in dict.fromkeys(by_key.values()):
            values = await self._result_of(task)
            found |= {key: values[key] for key, its in by_key.items() if its is task and key in values}
        return found

    def forget(self, key: K) -> None:
        """What is being read of `key` is old by now: it stays out of the cache, and nobody joins it."""
        self._readings.pop(key, None)

    async def aclose(self) -> None:
        """Cancels what is under way and waits for it to end."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _result_of(self, task: asyncio.Task[dict[K, V]]) -> dict[K, V]:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            reader = asyncio.current_task()
            if self._closed and reader is not None and not reader.cancelling():
                raise self._closed_error("the cache must be open until the store has answered") from None
            raise

    async def _read(self, keys: Collection[K]) -> dict[K, V]:
        task = asyncio.current_task()
        try:
            found = await self._store.get_many(keys)
        finally:
            current = [key for key in keys if self._readings.get(key) is task]
            for key in current:
                del self._readings[key]
        for key in current:
            if key in found:
                self._cache.set(key, found[key])
        return found

    def _ended(self, task: asyncio.Task[dict[K, V]]) -> None:
        self._tasks.discard(task)
        with suppress(asyncio.CancelledError):
            task.exception()  # seen, also if every reader has gone
