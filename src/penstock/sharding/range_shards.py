"""Range sharding: neighbouring keys live together, and ranges are split and merged while in use."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from penstock.errors import InvalidType, InvalidValue
from penstock.sharding._arguments import checked_seconds, checked_whole
from penstock.sharding._calls import Calls, awaited, to_its_end
from penstock.sharding._move import Move
from penstock.sharding.cursor import InvalidCursor, decode_cursor
from penstock.sharding.keys import checked_bound, shown
from penstock.sharding.scan import Scan
from penstock.sharding.shard import (
    MAX_PAGE_ROWS,
    PAGE_ROWS,
    MigrationFailed,
    MigrationInProgress,
    Shard,
    checked_limit,
    reason,
    rows,
)
from penstock.sharding.shard_map import Range, ShardMap, Span
from penstock.sharding.traffic import Traffic, TrafficReport, reported

__all__ = ["Migration", "RangeShards"]

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")

SaveMap = Callable[[ShardMap[Any, Any]], object]


@dataclass(frozen=True, slots=True)
class Migration:
    """What a split, a merge or a move did.

    Attributes:
        epoch: of the map that is now in force.
        rows: copied.
        doubled: writes that were done in both shards meanwhile.
        leftovers: why the source still has rows of the range, which nobody sees; None when they are removed.
    """

    epoch: int
    rows: int
    doubled: int
    leftovers: str | None


class Generation(Generic[K, V]):
    """A map, the move that goes on under it, and the calls that work by it."""

    __slots__ = ("calls", "map", "move", "traffic")

    def __init__(
        self, shard_map: ShardMap[K, V], move: Move[K, V] | None, traffic: dict[Any, Traffic]
    ) -> None:
        self.map, self.move = shard_map, move
        self.traffic = {range_: traffic.get(range_) or Traffic() for range_ in shard_map.ranges}
        self.calls = Calls()


class RangeShards(Generic[K, V]):
    """Keys in ranges, each range in a shard. It is itself a `Shard`.

    A split, a merge or a move copies a range in chunks while reads and writes go on: reads go to the old
    shard, and writes to both, until all is copied and a new map takes over at one moment. Writes of the range
    wait while a chunk is copied, reads never. When it is cancelled before that moment, or a shard fails or
    hangs, the old map stays in force and no acknowledged write is lost; whatever fails in the new shard never
    fails a write. Then the new shard is cleaned, before the call ends; cancel it again not to wait for that.

    The map is kept in this object, and other processes do not hear of its changes: while a range moves, all
    writes of it must come through here. `save_map` is where to store the map and to tell others.

    Args:
        ranges: in any order. Keys between them have no shard.
        epoch: the number of the map; each change makes it one more.
        save_map: called with the new map when all is copied, and awaited if need be, while writes of the
            range wait. It has to raise if the map is not stored, which then is not used; it is not cancelled,
            so it should give up by itself.
        chunk_rows: rows that are copied at a time.
        timeout: seconds that a chunk may take, and a write in the new shard, before the move is given up.

    Raises:
        ValueError: ranges overlap, there are none, or a setting is below its least value.
        TypeError: bounds cannot be compared, or an argument has the wrong type.
    """

    def __init__(
        self,
        ranges: Iterable[Range[K, V]],
        *,
        epoch: int = 1,
        save_map: SaveMap | None = None,
        chunk_rows: int = PAGE_ROWS,
        timeout: float = 30.0,
    ) -> None:
        if save_map is not None and not callable(save_map):
            raise InvalidType(f"save_map must be callable, got {type(save_map).__name__}")
        self._chunk_rows = checked_whole("chunk_rows", chunk_rows, 1, MAX_PAGE_ROWS)
        self._timeout = checked_seconds("timeout", timeout)
        self._save_map = save_map
        self._generation = Generation(ShardMap(ranges, epoch=epoch), None, {})
        self._retired: list[Calls] = []  # of generations that calls may still work by
        self._migrating = False

    def __repr__(self) -> str:
        return f"<RangeShards of {self.map!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    @property
    def map(self) -> ShardMap[K, V]:
        """The map in force, which never changes: after a split it is another one."""
        return self._generation.map

    def route(self, key: K, /) -> Shard[K, V] | None:
        """The shard of a key, or None in a gap. Cost: a binary search.

        Raises:
            TypeError: the key cannot be compared with the bounds.
            ValueError: it is NaN.
        """
        found = self.map.find(key)
        return None if found is None else found.shard

    async def get(self, key: K, default: V | None = None, /) -> V | None:
        """The value of a key, or `default` if it has none or no shard.

        Raises:
            TypeError: the key cannot be compared with the bounds.
            Exception: whatever the shard raises, as in all methods.
        """
        with (generation := self._generation).calls.counted():
            found = generation.map.find(key)
            if found is None:
                return default
            generation.traffic[found].read(key)
            return await found.shard.get(key, default)

    async def put(self, key: K, value: V, /) -> None:
        """Stores a value in the shard of its key.

        Raises:
            NoShard: `no shard configured for key=N`.
            TypeError: the key cannot be compared with the bounds.
        """
        await self._write(key, lambda shard: shard.put(key, value))

    async def put_many(self, items: Iterable[tuple[K, V]], /) -> None:
        """Stores all items, one batch a range; of two with one key, the later.

        When a shard fails, other shards may have stored theirs.

        Raises:
            NoShard: a key has none; nothing is stored.
            TypeError: a key cannot be compared with the bounds; nothing is stored.
        """
        entries = dict(items)
        with (generation := self._generation).calls.counted():
            batches: dict[Range[K, V], list[tuple[K, V]]] = {}
            moving: list[tuple[K, V]] = []
            for key, value in entries.items():
                owner = generation.map.owner(key)
                if generation.move is not None and key in generation.move.span:
                    moving.append((key, value))
                else:
                    batches.setdefault(owner, []).append((key, value))
                    generation.traffic[owner].write(key)
            for range_, batch in batches.items():
                await range_.shard.put_many(batch)
        for key, value in moving:
            await self.put(key, value)

    async def delete(self, key: K, /) -> bool:
        """Removes a key; whether it was there. One in a gap is not.

        Raises:
            TypeError: the key cannot be compared with the bounds.
        """
        if self.map.find(key) is None:
            return False
        return await self._write(key, lambda shard: shard.delete(key))

    async def delete_many(self, keys: Iterable[K], /) -> int:
        """Removes keys one by one; how many were there."""
        return sum([await self.delete(key) for key in dict.fromkeys(keys)])

    def scan(
        self,
        first: K | None = None,
        last: K | None = None,
        *,
        limit: int | None = None,
        cursor: str | None = None,
        page_rows: int = PAGE_ROWS,
        prefetch: int = 2,
    ) -> Scan[K, V]:
        """All entries between two keys, sorted, from every shard that has some, as a stream.

        Args:
            first: the lowest key that counts; None for no bound.
            last: the highest key that counts; None for no bound.
            limit: rows at most; None for all.
            cursor: of an earlier scan: goes on behind the last row that it gave, whatever was split since.
            page_rows: rows that are read at a time.
            prefetch: pages that are read ahead, each of another range.

        Raises:
            ValueError: the cursor is none, or beyond the bounds; a number is below 1.
            TypeError: a bound cannot be compared with those of the ranges.
        """
        span = Span(checked_bound(first), checked_bound(last))
        if cursor is not None:
            span = resumed(span, cursor, self.map)
        ranges = self.map.meeting(span)
        return Scan(
            self._read_part,
            [span & range_.span for range_ in ranges],
            limit=None if limit is None else checked_whole("limit", limit, 1),
            page_rows=checked_whole("page_rows", page_rows, 1, MAX_PAGE_ROWS),
            prefetch=checked_whole("prefetch", prefetch, 1),
        )

    def range_scan(self, first: K, last: K, /) -> AsyncGenerator[tuple[K, V], None]:
        """All entries between two keys of one range, sorted: only its shard is asked.

        Raises:
            NoShard: a key has none.
            ValueError: the keys are of different ranges, or one is NaN.
            TypeError: a key cannot be compared with the bounds of the ranges.
        """
        owner = self.map.owner(first)
        if self.map.owner(last) is not owner:
            raise InvalidValue(f"last must be in the range of first, {owner}, got {shown(last)}")
        return rows(self, first, last)

    async def page(
        self,
        first: K | None = None,
        last: K | None = None,
        *,
        after: K | None = None,
        before: K | None = None,
        limit: int = PAGE_ROWS,
    ) -> list[tuple[K, V]]:
        """The lowest entries within bounds, sorted by key; of one moment in each shard.

        Args:
            first: the lowest key that counts; None for no such bound, as in the other three.
            last: the highest key that counts.
            after: keys up to this one do not count.
            before: keys from this one on do not count.
            limit: entries at most, 1 to a million. Fewer mean that there are no more.

        Raises:
            TypeError: a bound cannot be compared with those of the ranges.
        """
        checked_limit(limit)
        left: Span | None = Span(*map(checked_bound, (first, last, after, before)))
        found: list[tuple[K, V]] = []
        while left is not None and len(found) < limit:
            part, left = await self._read_part(left, limit - len(found))
            found += part
        return found

    async def count(self) -> int:
        """Entries in all shards of the map; while a range moves, some of them twice."""
        shards = {id(range_.shard): range_.shard for range_ in self.map.ranges}
        return sum([await shard.count() for shard in shards.values()])

    def traffic(self) -> TrafficReport:
        """The reads and writes of each range, and where to split a hot one."""
        generation = self._generation
        return reported(generation.map.epoch, generation.traffic.items())

    def reset_traffic(self) -> None:
        """Sets the counts of all ranges to zero."""
        traffic = self._generation.traffic
        traffic.update({range_: Traffic() for range_ in traffic})

    async def split(self, at: K, new_shard: Shard[K, V]) -> Migration:
        """Moves the keys from `at` on, of the range that has `at`, to another shard.

        Returns:
            what was done; the new map is in force.

        Raises:
            NoShard: no range has the key.
            ValueError: it is the first of its range, or new_shard has rows of the range.
            MigrationFailed: a shard fails or hangs; the old map stays in force.
            MigrationInProgress: another range is being moved.
        """
        return await self._migrate(self.map.owner(at), self.map.split(at, new_shard), at, new_shard)

    async def merge(self, at: K) -> Migration:
        """Moves the range that begins with `at` to the shard of the range before it, and makes them one.

        Its own shard is not closed: it may have other ranges.

        Returns:
            what was done; the new map is in force.

        Raises:
            NoShard: no range has the key.
            ValueError: none begins with it, there is a gap before it, or the shard before has rows of it.
            MigrationFailed: a shard fails or hangs; the old map stays in force.
            MigrationInProgress: another range is being moved.
        """
        new_map = self.map.merge(at)
        return await self._migrate(self.map.owner(at), new_map, at, new_map.owner(at).shard)

    async def move(self, key: K, new_shard: Shard[K, V]) -> Migration:
        """Moves the whole range that has `key` to another shard.

        Returns:
            what was done; the new map is in force.

        Raises:
            NoShard: no range has the key.
            ValueError: new_shard has rows of the range.
            MigrationFailed: a shard fails or hangs; the old map stays in force.
            MigrationInProgress: another range is being moved.
        """
        old = self.map.owner(key)
        return await self._migrate(old, self.map.move(key, new_shard), old.first, new_shard)

    async def aclose(self) -> None:
        """Closes all shards of the map."""
        for shard in {id(range_.shard): range_.shard for range_ in self.map.ranges}.values():
            await shard.aclose()

    # ---- reads and writes by the map in force ----

    async def _write(self, key: K, change: Callable[[Shard[K, V]], Awaitable[R]]) -> R:
        while True:
            with (generation := self._generation).calls.counted():
                owner = generation.map.owner(key)
                move = generation.move
                if move is None or key not in move.span:
                    generation.traffic[owner].write(key)
                    return await change(owner.shard)
                async with move.gate.shared():
                    if not move.over:
                        generation.traffic[owner].write(key)
                        return await move.write(key, change)

    async def _read_part(self, span: Span, limit: int) -> tuple[list[tuple[K, V]], Span | None]:
        """A page of the first range that has keys of a span; and what is left of the span."""
        with (generation := self._generation).calls.counted():
            ranges = generation.map.meeting(span)
            if not ranges:
                return [], None
            owner = ranges[0]
            page = await owner.shard.page(**(span & owner.span)._asdict(), limit=limit)
            if page:
                generation.traffic[owner].read(page[0][0])
        if len(page) == limit:
            return page, span & Span(after=page[-1][0])
        above = owner.span.above()
        return page, None if above is None or len(ranges) == 1 else span & above

    # ---- from one map to the next ----

    async def _migrate(
        self, old: Range[K, V], new_map: ShardMap[K, V], first: K | None, target: Shard[K, V]
    ) -> Migration:
        if self._migrating:
            raise MigrationInProgress("only one range can be moved at a time, and one is being moved")
        span = Span(first, old.last, None, old.before)
        move = Move(old.shard, target, span, chunk_rows=self._chunk_rows, timeout=self._timeout)
        self._migrating = True
        try:
            if target is not old.shard:
                await self._refuse_rows(move)
            await self._copy(move, new_map)
            return Migration(new_map.epoch, move.rows, move.doubled, await self._clean_source(move))
        finally:
            self._migrating = False

    async def _refuse_rows(self, move: Move[K, V]) -> None:
        with failing_as_migration(move):
            async with asyncio.timeout(self._timeout):
                found = await move.target.page(**move.span._asdict(), limit=1)
        if found:
            raise InvalidValue(
                f"new_shard must have no rows of the range, got one with key={shown(found[0][0])}:"
                " delete them first if they are leftovers"
            )

    async def _copy(self, move: Move[K, V], new_map: ShardMap[K, V]) -> None:
        """Copies all rows and puts the new map in force, or leaves everything as it was."""
        old_map = self.map
        self._put_in_force(old_map, move)
        try:
            with failing_as_migration(move):
                await self._others_gone()  # or a write that knows nothing of the move could still be coming
                while self._generation.move is move:
                    async with move.gate.alone(self._timeout):
                        if move.source is move.target or await move.copy_chunk():
                            await self._cut_over(move, new_map)
        except BaseException:
            if self._generation.move is move:
                move.over = True
                self._put_in_force(old_map, None)
                await self._clean_target(move)
            raise

    async def _cut_over(self, move: Move[K, V], new_map: ShardMap[K, V]) -> None:
        """Saves the new map and puts it in force; a cancellation comes before that, or after both."""
        await to_its_end(self._saved_and_in_force(move, new_map))

    async def _saved_and_in_force(self, move: Move[K, V], new_map: ShardMap[K, V]) -> None:
        if self._save_map is not None:
            await awaited(self._save_map(new_map))
        move.over = True
        self._put_in_force(new_map, None)

    def _put_in_force(self, new_map: ShardMap[K, V], move: Move[K, V] | None) -> None:
        old, self._generation = self._generation, Generation(new_map, move, self._generation.traffic)
        self._retired.append(old.calls)

    async def _others_gone(self) -> None:
        """Waits for all calls that work by another generation than the present one."""
        async with asyncio.timeout(self._timeout):
            while self._retired:
                await self._retired[-1].drained()
                self._retired.pop()

    async def _clean_source(self, move: Move[K, V]) -> str | None:
        """Removes what has been moved away, once no read by the old map can want it."""
        if move.source is move.target:
            return None
        try:
            await self._others_gone()
            await move.clear(move.source)
        except Exception as error:  # the move is done all the same
            return reason(error)
        return None

    async def _clean_target(self, move: Move[K, V]) -> None:
        if move.source is not move.target:
            with suppress(Exception):  # why the move failed is what matters
                await self._others_gone()
                await move.clear(move.target)


@contextmanager
def failing_as_migration(move: Move[Any, Any]) -> Iterator[None]:
    """Raises MigrationFailed from any error.

    Raises:
        MigrationFailed: there was one.
    """
    try:
        yield
    except Exception as error:
        first, last, _, before = move.span
        range_ = Range(first, last, move.source, before=before)
        raise MigrationFailed(
            f"the range {range_} stays where it was, for moving it failed: {reason(error)}"
        ) from error


def resumed(span: Span, cursor: str, shard_map: ShardMap[Any, Any]) -> Span:
    """The part of a span that is behind a cursor.

    Raises:
        ValueError: the cursor is none, or not of a scan of this span.
    """
    after = decode_cursor(cursor)
    try:
        shard_map.find(after)  # whether it can be compared with all bounds
        if after in span:
            return span._replace(after=after)
    except TypeError:
        pass
    raise InvalidCursor(f"cursor must be of a scan with these bounds, got one at {shown(after)}")
