"""One range on its way from one shard to another, while reads and writes go on.

The source stays the truth until the very end: reads go there, and a write counts when it is there. The range
is copied in chunks, in the order of its keys. `frontier` is the last key that was copied; a write up to there
is done in the target too, one after the other, and a write beyond it is left for the chunk that will come by.
Writes wait only while a chunk is under way: nothing can slip between its reading and its writing.

Whatever goes wrong with the target fails the move and never a write.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from penstock.sharding._calls import Gate, KeyLocks
from penstock.sharding.shard import Shard
from penstock.sharding.shard_map import Span

__all__ = ["Move"]

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")


class Move(Generic[K, V]):
    """Copies `span` from `source` to `target`.

    Attributes:
        gate: writes of the span go through it together, a chunk alone.
        over: set when the move has ended, well or badly; what comes through the gate then looks again where
            its key belongs.
        rows: copied so far.
        doubled: writes that were done in both.
    """

    def __init__(
        self, source: Shard[K, V], target: Shard[K, V], span: Span, *, chunk_rows: int, timeout: float
    ) -> None:
        self.source, self.target, self.span = source, target, span
        self.gate = Gate()
        self.over = False
        self.rows = 0
        self.doubled = 0
        self._chunk_rows, self._timeout = chunk_rows, timeout
        self._locks = KeyLocks()
        self._frontier: Any = None
        self._unsettled: set[K] = set()
        self._failure: Exception | None = None

    async def write(self, key: K, change: Callable[[Shard[K, V]], Awaitable[R]]) -> R:
        """Does a change of a key's entry, where it must be done. Only inside the gate."""
        # two writes of a key must come to both shards in one order
        async with self._locks.held(key):
            copied = self._frontier is not None and key <= self._frontier
            try:
                result = await change(self.source)
                if copied and self._failure is None and not self.over:
                    await self._repeat(change)
            except BaseException:  # cancelled, or failed in the source: the two may differ now
                if copied:
                    self._unsettled.add(key)
                raise
            return result

    async def copy_chunk(self) -> bool:
        """Copies the next rows; whether they were the last ones. Only alone in the gate.

        Raises:
            Exception: whatever the source or the target failed with, also in a write since the last chunk.
        """
        async with asyncio.timeout(self._timeout):
            if self._failure is not None:
                raise self._failure
            part = self.span & Span(after=self._frontier)
            rows = await self.source.page(**part._asdict(), limit=self._chunk_rows)
            if rows:
                await self.target.put_many(rows)
                self._frontier = rows[-1][0]
                self.rows += len(rows)
            await self._settle()
            return len(rows) < self._chunk_rows

    async def clear(self, shard: Shard[K, V]) -> None:
        """Removes the span from the shard that is not to have it."""
        while True:
            async with asyncio.timeout(self._timeout):
                rows = await shard.page(**self.span._asdict(), limit=self._chunk_rows)
                await shard.delete_many([key for key, _ in rows])
            if len(rows) < self._chunk_rows:
                return

    async def _repeat(self, change: Callable[[Shard[K, V]], Awaitable[Any]]) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await change(self.target)
        except Exception as error:  # the move's loss: the write is in the source
            self._failure = error
        else:
            self.doubled += 1

    async def _settle(self) -> None:
        """Makes the target equal to the source in keys where a write ended half done."""
        for key in list(self._unsettled):
            found = await self.source.page(key, key, limit=1)
            if found:
                await self.target.put_many(found)
            else:
                await self.target.delete(key)
            self._unsettled.discard(key)
