"""Moves buckets from shard to shard while reads and writes go on."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from penstock.errors import PenstockError
from penstock.sharding._calls import awaited, to_its_end
from penstock.sharding._ids import ShardId
from penstock.sharding._routing import MAX_CHANGED, MovingBuckets, Routing
from penstock.sharding._side_by_side import entries_of, together
from penstock.sharding.buckets import BucketMap, BucketMove, MigrationPlan
from penstock.sharding.keys import shown
from penstock.sharding.scatter_gather import ShardTimeout
from penstock.sharding.shard import PAGE_ROWS, MigrationFailed, reason

__all__ = ["BucketMigration", "MigrationProgress", "TooManyWrites", "UnexpectedRows", "sweep"]

K = TypeVar("K")
V = TypeVar("V")

MAX_ROUNDS = 16  # of catching up with writers before they have to wait


class TooManyWrites(PenstockError, RuntimeError):
    """Keys were written faster than a migration could carry them to their new shard."""


class UnexpectedRows(PenstockError, RuntimeError):
    """A shard has rows of a bucket that it is to get: of an earlier process, or the map is an old one."""


@dataclass(frozen=True, slots=True)
class MigrationProgress:
    """How far a migration has come."""

    buckets_moved: int
    """Those that are read and written at their new shard."""
    buckets: int
    """Those that were to be moved."""
    keys_copied: int
    """A key that was written during its move may count more than once."""


class BucketMigration(Generic[K, V]):
    """One run of a plan.

    First the shards that take part are swept of what a run left there that was cut short: a key deleted since
    then must not come back. Then buckets are moved, source by source, in groups. At last the sources are
    swept of what they have handed over. Sweeps and moves never overlap.

    Nothing is swept but what this object has copied itself, or what both the plan and the map say has moved.
    Other rows may be the only ones there are, of a process that forgot to use the saved map.
    """

    def __init__(
        self,
        routing: Routing[K, V],
        plan: MigrationPlan,
        *,
        save_map: Callable[[BucketMap], object] | None,
        progress: Callable[[MigrationProgress], object] | None,
        concurrency: int,
        batch: int,
        chunk_rows: int,
        pause: float,
    ) -> None:
        self._routing = routing
        self._plan = plan
        self._save_map = save_map
        self._progress = progress
        self._slots = asyncio.Semaphore(concurrency)
        self._saving = asyncio.Lock()
        self._batch = batch
        self._chunk_rows = chunk_rows
        self._pause = pause
        self._buckets = self._moved = self._copied = 0

    async def run(self) -> None:
        """Does what is left of the plan.

        Raises:
            MigrationFailed: the rest of it is left again.
        """
        try:
            await self._run()
        except Exception as error:
            raise MigrationFailed(
                f"{self._moved} of {self._buckets} buckets have moved, and then came {reason(error)}"
            ) from error

    async def _run(self) -> None:
        routing = self._routing
        left = self._plan.left(routing.map)
        self._buckets = len(left)
        sources: dict[ShardId, list[BucketMove]] = defaultdict(list)
        coming: dict[ShardId, set[int]] = defaultdict(set)
        for move in left:
            sources[move.source].append(move)
            coming[move.target].add(move.bucket)
        for move in set(self._plan.moves).difference(left):
            routing.leftovers[move.source].add(move.bucket)
        await together(self._swept(shard, coming[shard]) for shard in routing.shards)
        await together(self._empty(source, moves) for source, moves in sources.items())
        await together(self._swept(source, set()) for source in sources)

    async def _swept(self, shard: ShardId, coming: set[int]) -> None:
        """Removes leftovers from a shard, and looks that it has no other rows of the buckets to come.

        Raises:
            UnexpectedRows: it has.
        """
        leftovers = self._routing.leftovers[shard]

        def unwanted(bucket: int) -> bool:
            if bucket in coming and bucket not in leftovers:
                raise UnexpectedRows(
                    f"shard {shown(shard)} must have no rows of bucket {bucket} yet, got some: "
                    "if the map is the newest that was saved, sweep() removes them"
                )
            return bucket in leftovers

        if coming or leftovers:
            async with self._slots:
                await sweep(self._routing, shard, unwanted, self._chunk_rows)
            leftovers.clear()

    async def _empty(self, source: ShardId, moves: list[BucketMove]) -> None:
        """Moves these buckets away from one shard, some at a time."""
        async with self._slots:
            for start in range(0, len(moves), self._batch):
                await self._move(source, moves[start : start + self._batch])

    async def _move(self, source: ShardId, moves: list[BucketMove]) -> None:
        moving = MovingBuckets(source, moves)
        routing = self._routing
        routing.moving.update(dict.fromkeys(moving.targets, moving))
        for move in moves:
            routing.leftovers[move.target].add(move.bucket)
        try:
            await routing.writes[moving.source].drained()  # from here on every write is noted
            await self._copy(moving)
            for _ in range(MAX_ROUNDS):
                if len(moving.changed) <= self._chunk_rows:
                    break
                await self._carry(moving)
            await self._catch_up(moving)
            await self._switch(moves)
        finally:
            for bucket in moving.targets:
                del routing.moving[bucket]
            moving.open()
        self._moved += len(moves)
        self._report()

    async def _copy(self, moving: MovingBuckets) -> None:
        """Copies the rows of these buckets, page by page, and after each page what was written meanwhile."""
        source = self._routing.shards[moving.source]
        bucket_of, targets = self._routing.bucket_of, moving.targets
        after = None
        while True:
            page = await source.page(after=after, limit=self._chunk_rows)
            items: dict[ShardId, list[tuple[K, V]]] = defaultdict(list)
            for key, value in page:
                target = targets.get(bucket_of(key))
                if target is not None:
                    items[target].append((key, value))
            await together(self._routing.shards[target].put_many(rows) for target, rows in items.items())
            self._copied += sum(map(len, items.values()))
            await self._carry(moving)
            if items:
                self._report()
            if len(page) < self._chunk_rows:
                return
            after = page[-1][0]

    async def _catch_up(self, moving: MovingBuckets) -> None:
        """Lets no write begin, waits for those under way, and carries the last keys.

        Raises:
            ShardTimeout: it takes longer than the pause; writes go on at the source.
        """
        moving.close()
        # not left to the timeout below: a call that hangs may not heed its cancellation either
        opening = asyncio.get_running_loop().call_later(self._pause, moving.open)
        try:
            async with asyncio.timeout(self._pause):
                await self._routing.writes[moving.source].drained()
                await self._carry(moving)
        except TimeoutError:
            if moving.closed:
                raise  # the shard's own
        finally:
            opening.cancel()
        if not moving.closed:
            raise ShardTimeout(f"writes must wait <= {self._pause:g} seconds at the switch, got no end of it")

    async def _carry(self, moving: MovingBuckets) -> None:
        """Makes the targets hold what the source does, for all keys noted by now."""
        if moving.overrun:
            raise TooManyWrites(
                f"keys written while a page of rows is moved must be <= {MAX_CHANGED}, got more"
            )
        keys = moving.noted()
        found = await entries_of(self._routing.shards[moving.source], keys)
        items: dict[ShardId, list[tuple[K, V]]] = defaultdict(list)
        gone: dict[ShardId, list[K]] = defaultdict(list)
        for key in keys:
            target = moving.targets[self._routing.bucket_of(key)]
            if key in found:
                items[target].append((key, found[key]))
            else:
                gone[target].append(key)
        shards = self._routing.shards
        await together(shards[target].put_many(rows) for target, rows in items.items())
        await together(shards[target].delete_many(removed) for target, removed in gone.items())
        self._copied += len(keys)

    async def _switch(self, moves: list[BucketMove]) -> None:
        """Saves the new map and puts it in force; a cancellation comes before that, or after both."""
        async with self._saving:  # one map after the other
            await to_its_end(self._saved_and_in_force(moves))

    async def _saved_and_in_force(self, moves: list[BucketMove]) -> None:
        new = self._routing.map.after(moves)
        if self._save_map is not None:
            await awaited(self._save_map(new))
        self._routing.map = self._routing.map.after(moves)  # not `new`: a shard may have come meanwhile
        for move in moves:
            self._routing.leftovers[move.target].discard(move.bucket)
            self._routing.leftovers[move.source].add(move.bucket)

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(MigrationProgress(self._moved, self._buckets, self._copied))


async def sweep(
    routing: Routing[K, V], name: ShardId, unwanted: Callable[[int], bool], chunk_rows: int = PAGE_ROWS
) -> int:
    """Removes the rows of unwanted buckets that a shard does not own; how many. Never while buckets move."""
    await routing.reads[name].drained()  # who began to read there before a switch shall find what was there
    shard = routing.shards[name]
    owners, bucket_of = routing.map.owners, routing.bucket_of
    removed = 0
    after = None
    while True:
        page = await shard.page(after=after, limit=chunk_rows)
        foreign = ((key, bucket_of(key)) for key, _ in page)
        keys = [key for key, bucket in foreign if owners[bucket] != name and unwanted(bucket)]
        if keys:
            removed += await shard.delete_many(keys)
        if len(page) < chunk_rows:
            return removed
        after = page[-1][0]
