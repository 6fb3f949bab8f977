"""Where each bucket is right now, who reads and writes there, and which buckets are on the move."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from penstock.hashring.key_hash import KeyHash
from penstock.sharding._calls import Calls
from penstock.sharding._ids import ShardId
from penstock.sharding.buckets import BucketMap, BucketMove
from penstock.sharding.shard import Shard

__all__ = ["MAX_CHANGED", "MovingBuckets", "Routing", "bucket_function"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")
R = TypeVar("R")

MAX_CHANGED = 100_000
"""Keys written to moving buckets that wait to be carried to their new shard."""


class MovingBuckets:
    """Buckets that are being copied from one shard to others.

    Reads and writes go on at the source. Every key that is written is noted, and carried over after the copy
    of its page. At the end writes wait a moment, while the last noted keys are carried and the map changes.
    """

    __slots__ = ("_opened", "changed", "overrun", "source", "targets")

    def __init__(self, source: ShardId, moves: Iterable[BucketMove]) -> None:
        self.source = source
        self.targets = {move.bucket: move.target for move in moves}
        self.changed: dict[Any, None] = {}
        self.overrun = False  # more keys were written than can be noted: the copy is worth nothing
        self._opened = asyncio.Event()
        self._opened.set()

    @property
    def closed(self) -> bool:
        """Whether writes have to wait."""
        return not self._opened.is_set()

    def close(self) -> None:
        """Lets writes wait from now on."""
        self._opened.clear()

    def open(self) -> None:
        """Lets writes go on."""
        self._opened.set()

    async def opened(self) -> None:
        """Waits until writes may go on."""
        await self._opened.wait()

    def note(self, key: Any) -> None:
        """A write of this key is over, whatever came of it."""
        if key in self.changed or len(self.changed) < MAX_CHANGED:
            self.changed[key] = None
        else:
            self.overrun = True

    def noted(self) -> list[Any]:
        """The keys written since the last time; forgets them."""
        keys = list(self.changed)
        self.changed.clear()
        return keys


class Routing(Generic[K, V]):
    """The shards, the map of buckets to them, and the calls under way at each."""

    def __init__(self, shards: Mapping[ShardId, Shard[K, V]], hash: KeyHash, map: BucketMap) -> None:  # noqa: A002
        self.shards = dict(shards)
        self.map = map
        self.bucket_of = bucket_function(hash, len(map.owners))
        self.moving: dict[int, MovingBuckets] = {}
        self.leftovers: dict[ShardId, set[int]] = {shard: set() for shard in shards}
        """Buckets of which a shard may have rows although it does not own them, by a migration's doing."""
        self.reads = {shard: Calls() for shard in shards}
        self.writes = {shard: Calls() for shard in shards}

    def attach(self, name: ShardId, shard: Shard[K, V]) -> None:
        """Takes in a shard that holds no bucket."""
        self.map = self.map.with_shards((*self.map.shards, name))
        self.shards[name] = shard
        self.reads[name], self.writes[name], self.leftovers[name] = Calls(), Calls(), set()

    def detach(self, name: ShardId) -> Shard[K, V]:
        """Lets a shard go that holds no bucket."""
        self.map = self.map.with_shards(shard for shard in self.map.shards if shard != name)
        del self.reads[name], self.writes[name], self.leftovers[name]
        return self.shards.pop(name)

    def owner_of(self, key: K) -> ShardId:
        """The shard that holds a key."""
        return self.map.owners[self.bucket_of(key)]

    def by_owner(self, items: Iterable[T], key_of: Callable[[T], K]) -> dict[ShardId, list[T]]:
        """The items of each shard that has any."""
        parts: dict[ShardId, list[T]] = {}
        owners, bucket_of = self.map.owners, self.bucket_of
        for item in items:
            parts.setdefault(owners[bucket_of(key_of(item))], []).append(item)
        return parts

    async def read(self, key: K, work: Callable[[Shard[K, V]], Awaitable[R]]) -> R:
        """Does `work` at the shard of this key."""
        owner = self.owner_of(key)
        with self.reads[owner].counted():
            return await work(self.shards[owner])

    async def write(self, key: K, work: Callable[[Shard[K, V]], Awaitable[R]]) -> R:
        """Does `work`, which changes this key, at its shard."""
        bucket = self.bucket_of(key)
        while (moving := self.moving.get(bucket)) is not None and moving.closed:
            await moving.opened()
        owner = self.map.owners[bucket]
        with self.writes[owner].counted():
            try:
                return await work(self.shards[owner])
            finally:
                if moving is not None:
                    moving.note(key)

    async def write_part(
        self, items: list[T], key_of: Callable[[T], K], work: Callable[[Shard[K, V], list[T]], Awaitable[R]]
    ) -> list[R]:
        """Does `work`, which changes the keys of these items, at their shard, or shards."""
        results = []
        while items:
            moving = await self._may_write(map(key_of, items))
            parts = self.by_owner(items, key_of)
            name, part = parts.popitem()
            with self.writes[name].counted():
                try:
                    results.append(await work(self.shards[name], part))
                finally:
                    for group, key in moving:
                        group.note(key)  # one too many does no harm
            items = [item for rest in parts.values() for item in rest]
        return results

    async def _may_write(self, keys: Iterable[K]) -> list[tuple[MovingBuckets, K]]:
        """Waits until none of these keys is about to change its shard; those that are on the move."""
        buckets = [(self.bucket_of(key), key) for key in keys]
        while True:
            moving = [(self.moving[bucket], key) for bucket, key in buckets if bucket in self.moving]
            closed = next((group for group, _ in moving if group.closed), None)
            if closed is None:
                return moving
            await closed.opened()


def bucket_function(hash: KeyHash, buckets: int) -> Callable[[Any], int]:
    """The bucket of a key, as the systems count that use this hash.

    Cassandra gives node i of n the token i * (2**64 // n) - 2**63, and each node the tokens up to its own
    and above the one before; what lies above the last is the first's. All others take the remainder.
    """
    if hash.name != "murmur3-cassandra":
        return lambda key: hash(key) % buckets
    width = 2**64 // buckets

    def token_range(key: Any) -> int:
        node = -(-hash(key) // width)
        return node if node < buckets else 0

    return token_range
