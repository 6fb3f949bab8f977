"""Hash shards: keys spread evenly over shards by a hash, whose number can change while they are in use."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from operator import itemgetter, methodcaller
from types import MappingProxyType
from typing import Any, Generic, Self, TypeVar

from penstock.errors import InvalidType, InvalidValue
from penstock.hashring.key_hash import KeyHash
from penstock.sharding._arguments import checked_seconds, checked_whole
from penstock.sharding._bucket_migration import BucketMigration, MigrationProgress, sweep
from penstock.sharding._ids import ShardId, checked_id
from penstock.sharding._routing import Routing
from penstock.sharding._side_by_side import entries_of, together
from penstock.sharding.buckets import MAX_BUCKETS, BucketMap, MigrationPlan, UnknownShard
from penstock.sharding.distribution import DistributionReport, distribution_report
from penstock.sharding.keys import shown
from penstock.sharding.scatter_gather import Deadline, Gathered, dismiss, scatter_gather
from penstock.sharding.shard import MAX_PAGE_ROWS, PAGE_ROWS, MigrationInProgress, Shard

__all__ = ["DEFAULT_BUCKETS", "HashShards"]

K = TypeVar("K", bound=str | bytes | int)
V = TypeVar("V")
T = TypeVar("T")
R = TypeVar("R")

DEFAULT_BUCKETS = 1024
REDIS_SLOTS = 16_384


class HashShards(Generic[K, V]):
    """Spreads keys over shards by their hash, in a fixed number of buckets that move between shards.

    A key's bucket never changes: the remainder of its hash by the number of buckets, or, with Cassandra's
    hash, its token range. A `BucketMap` says which shard holds each bucket. When shards come or go, a
    migration moves whole buckets, the fewest that make the map even again. Until then buckets are dealt out
    in turn, so that N shards share keys as the plain `hash % N` does wherever N divides the buckets.

    ::

        shards = HashShards({"a": a, "b": b}, save_map=lambda map: path.write_bytes(map.to_bytes()))
        await shards.put("user:alice", record)
        shards.attach("c", c)
        plan = shards.plan(["a", "b", "c"])
        print(plan)
        await shards.migrate(plan)

    It belongs to one event loop. Other processes may read and write the same shards with the same map, but
    not while buckets move: only one that routes all writes can see that none is lost.

    Args:
        shards: by their ids; or a sequence, whose places are the ids. No two may share a table.
        hash: a name that `KeyHash` knows, a callable, or a KeyHash; None for `xxh3_64`. `crc16` makes Redis
            Cluster's slots, `murmur2` Kafka's partitions, `murmur3-cassandra` Cassandra's token ranges.
        seed: of the hash; not beside a KeyHash.
        buckets: how many, from the number of shards to 2**20 and to the values of the hash; None for 16,384
            with crc16 and 1,024 or the number of shards otherwise. With as many as shards it is plain
            modulo. It can never change.
        weights: how much each shard takes relative to the others, > 0; 1.0 where it is not named.
        map: the map in force, where there is one already; then hash, seed, buckets and weights are its own,
            and `hash` is only given for a callable.
        save_map: called with each new map before it comes into force, and awaited if need be, while writes of
            the buckets that change wait; keep the map where the next start of the process finds it. If it
            raises, the old map stays in force, so it must not have saved the new one then. It is not
            cancelled, so it should give up by itself.

    Raises:
        ValueError: there are no shards, or one twice, an argument is out of its range, or the map has buckets
            on a shard that is not there.
        TypeError: an argument has the wrong type.

    Source: DeCandia et al., Dynamo, SOSP 2007, section 6.2, strategy 3; Redis Cluster specification.
    """

    def __init__(
        self,
        shards: Mapping[Any, Shard[K, V]] | Sequence[Shard[K, V]],
        *,
        hash: str | Callable[[bytes], int] | KeyHash | None = None,
        seed: int = 0,
        buckets: int | None = None,
        weights: Mapping[Any, float] | None = None,
        map: BucketMap | None = None,  # noqa: A002
        save_map: Callable[[BucketMap], object] | None = None,
    ) -> None:
        named = checked_shards(shards)
        if save_map is not None and not callable(save_map):
            raise InvalidType(f"save_map must be callable, got {type(save_map).__name__}")
        if map is None:
            key_hash = checked_hash("xxh3_64" if hash is None else hash, seed)
            number = checked_buckets(buckets, key_hash, len(named))
            map = BucketMap.even(  # noqa: A001
                named, number, weights=weights, hash=key_hash.name, seed=key_hash.seed
            )
        else:
            if seed or buckets is not None or weights is not None:
                raise InvalidValue("map must come without seed, buckets and weights, which it has")
            key_hash = hash_of_map(map, hash)
            map = map_over(map, named)  # noqa: A001
        self._hash = key_hash
        self._routing = Routing(named, key_hash, map)
        self._save_map = save_map
        self._migrating = False

    def __repr__(self) -> str:
        return f"<HashShards of {len(self.map.owners)} buckets on {len(self.shards)} shards>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # ---- where keys are ----

    @property
    def shards(self) -> Mapping[ShardId, Shard[K, V]]:
        """The shards by their ids; a view."""
        return MappingProxyType(self._routing.shards)

    @property
    def map(self) -> BucketMap:
        """The shard of each bucket, now."""
        return self._routing.map

    @property
    def hash(self) -> KeyHash:
        """The hash of keys."""
        return self._hash

    def bucket_of(self, key: K, /) -> int:
        """The bucket of a key, the same for ever.

        Raises:
            ValueError: an int has more than 64 bits, or text a lone surrogate (UnicodeEncodeError).
            TypeError: it is no str, bytes or int.
        """
        return self._routing.bucket_of(key)

    def route(self, key: K, /) -> ShardId:
        """The id of the shard that holds a key, now. Raises what `bucket_of` does."""
        return self._routing.owner_of(key)

    # ---- keys ----

    async def get(self, key: K, default: V | None = None, /) -> V | None:
        """The value of a key, or `default` if it has none. Raises what `bucket_of` and the shard do."""
        return await self._routing.read(key, lambda shard: shard.get(key, default))

    async def put(self, key: K, value: V, /) -> None:
        """Stores a value, in place of the one that the key may have. Raises as `get`."""
        await self._routing.write(key, lambda shard: shard.put(key, value))

    async def delete(self, key: K, /) -> bool:
        """Removes a key; whether it was there. Raises as `get`."""
        return await self._routing.write(key, lambda shard: shard.delete(key))

    async def get_many(self, keys: Iterable[K], /) -> dict[K, V]:
        """The entries that exist of these keys, from all shards at once.

        Raises:
            ShardsFailed: shards failed; its `result.values` has the entries of the others, by shard.
            ValueError: as `bucket_of`.
            TypeError: as `bucket_of`.
        """
        parts = self._routing.by_owner(keys, same)
        with ExitStack() as reads:
            for name in parts:
                reads.enter_context(self._routing.reads[name].counted())
            places = {name: (self.shards[name], part) for name, part in parts.items()}
            found = await scatter_gather(places, lambda place: entries_of(*place))
        return {key: value for entries in found.values.values() for key, value in entries.items()}

    async def put_many(self, items: Mapping[K, V] | Iterable[tuple[K, V]], /) -> None:
        """Stores all items, with one call for each shard; of two with one key, the later.

        Raises:
            ShardsFailed: shards failed, and may have stored their part or not; the others have stored theirs.
            ValueError: as `bucket_of`; nothing is stored.
            TypeError: as `bucket_of`; nothing is stored.
        """
        pairs = list(items.items() if isinstance(items, Mapping) else items)
        await self._write_many(pairs, itemgetter(0), lambda shard, part: shard.put_many(part))

    async def delete_many(self, keys: Iterable[K], /) -> int:
        """Removes keys, with one call for each shard; how many were there. Raises as `put_many`."""
        removed = await self._write_many(list(keys), same, lambda shard, part: shard.delete_many(part))
        return sum(removed)

    # ---- all shards ----

    async def scatter_gather(
        self,
        call: str | Callable[[Shard[K, V]], Awaitable[R]],
        /,
        *,
        deadline: Deadline = None,
        partial: bool = False,
        hedge_after: float | None = None,
        limit: int = 64,
    ) -> Gathered[R]:
        """Calls every shard at once and gathers the answers; see `penstock.sharding.scatter_gather`.

        During a migration a shard may also hold rows that are not its own yet, or no more.

        Args:
            call: what to call with each shard; or the name of its method, such as "count".
            deadline: seconds within which shards must answer: for all, or for each.
            partial: True returns what there is; False raises if a shard has not answered.
            hedge_after: seconds after which a silent shard is asked once more; only for reads.
            limit: shards that are called at once.

        Raises:
            ShardsFailed: a shard failed or was late, and partial is False.
            ValueError: a number is out of its range, or a deadline is of an unknown shard.
            TypeError: an argument has the wrong type.
        """
        with_shard = methodcaller(call) if isinstance(call, str) else call
        with ExitStack() as reads:
            for traffic in self._routing.reads.values():
                reads.enter_context(traffic.counted())
            return await scatter_gather(
                self.shards,
                with_shard,
                deadline=deadline,
                partial=partial,
                hedge_after=hedge_after,
                limit=limit,
            )

    async def scatter_gather_all(self, *, page_rows: int = PAGE_ROWS) -> AsyncGenerator[tuple[K, V]]:
        """All entries of all shards as they come, in no order; close it if you do not read it to its end.

        An entry that is there all the time comes exactly once, also while buckets move; one that is written
        or removed meanwhile may come as it was before. A migration waits for the end before it removes rows.
        At most two pages of each shard are in memory.

        Args:
            page_rows: entries to ask a shard for at a time.

        Raises:
            OSError: as the shard raises it: there is no partial result.
        """
        checked_whole("page_rows", page_rows, 1, MAX_PAGE_ROWS)
        owners, bucket_of = self.map.owners, self._routing.bucket_of  # as they are now, to the end
        shards = dict(self.shards)
        asked: dict[asyncio.Task[list[tuple[K, V]]], ShardId] = {}

        def ask(name: ShardId, after: K | None) -> None:
            asked[asyncio.create_task(shards[name].page(after=after, limit=page_rows))] = name

        with ExitStack() as reads:
            for traffic in self._routing.reads.values():
                reads.enter_context(traffic.counted())
            try:
                for name in shards:
                    ask(name, None)
                while asked:
                    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        page = task.result()
                        name = asked.pop(task)
                        if len(page) == page_rows:
                            ask(name, page[-1][0])
                        for row in page:
                            if owners[bucket_of(row[0])] == name:
                                yield row
            finally:
                await dismiss(*asked)

    async def distribution_stats(self) -> dict[ShardId, int]:
        """How many entries each shard holds; during a migration what is copied counts twice.

        Raises:
            ShardsFailed: a shard failed.
        """
        counts: Gathered[int] = await self.scatter_gather("count")
        return counts.values

    async def distribution_report(self, *, significance: float = 0.01) -> DistributionReport:
        """Whether keys lie as evenly as a hash would spread them; `print` it for a table.

        What a shard should hold goes by the buckets that it has.

        Args:
            significance: the p value below which the verdict is "uneven", > 0 and < 1.

        Raises:
            ShardsFailed: a shard failed.
            ValueError: significance is out of its range.
        """
        stats = await self.distribution_stats()
        counts = self.map.counts()
        return distribution_report(
            stats, {name: float(counts[name]) for name in stats}, significance=significance
        )

    # ---- other shards ----

    def attach(self, name: ShardId, shard: Shard[K, V], /) -> None:
        """Takes in a shard, which holds no bucket until a migration moves some to it.

        Raises:
            ValueError: the id is not allowed, or there is a shard of that id, or this one has another.
            TypeError: the id is neither a str nor an int.
        """
        if checked_id(name) in self._routing.shards:
            raise InvalidValue(f"id of a shard must be new, got {shown(name)} again")
        refuse_one_twice({**self.shards, name: shard})
        self._routing.attach(name, shard)

    def detach(self, name: ShardId, /) -> Shard[K, V]:
        """Lets a shard go that holds no bucket, and returns it, open.

        Raises:
            UnknownShard: there is none of that id.
            ValueError: it holds buckets, or is the last one.
            MigrationInProgress: buckets move.
        """
        self._refuse_while_migrating("detach")
        if name not in self._routing.shards:
            raise unknown_shard(name, self.shards)
        held = self.map.counts()[name]
        if held:
            raise InvalidValue(f"a shard to detach must hold no buckets, got {shown(name)} with {held}")
        return self._routing.detach(name)

    def plan(
        self, shards: Iterable[ShardId], /, weights: Mapping[ShardId, float] | None = None
    ) -> MigrationPlan:
        """The fewest moves of buckets after which these shards hold all, each its share to within one.

        Moves nothing; the shards need not be attached before `migrate`.

        Args:
            shards: the ids of those that shall hold buckets; the others are emptied.
            weights: how much each takes relative to the others, > 0; 1.0 where it is not named.

        Raises:
            ValueError: there are no shards or more than buckets, an id comes twice, or a weight is not
                > 0 and <= 1e6.
            TypeError: an id or weight has the wrong type.
        """
        return self.map.plan(shards, weights)

    async def migrate(
        self,
        plan: MigrationPlan,
        /,
        *,
        progress: Callable[[MigrationProgress], object] | None = None,
        concurrency: int = 2,
        batch: int = 64,
        chunk_rows: int = PAGE_ROWS,
        pause: float = 5.0,
    ) -> None:
        """Moves buckets while reads and writes go on; no write that has returned is lost.

        A group of buckets is copied while its old shard is still read and written, and what is written
        meanwhile is carried after it. Then writes to the group wait for a moment, the last of it is carried,
        the new map is saved and put in force, and writes go on at the new shard. When all groups have moved,
        the rows at their old shards are removed, once the reads that began there are over.

        Whatever ends it early (cancellation, a failing shard, the end of the process), each bucket is whole
        at the shard that the map names. Run the same plan again, and it goes on with what is left.
        A shard that fails or hangs as a target holds up nobody but the migration.

        Cost: each group reads its source through once, for a shard has no index by bucket; targets are read
        through once before, sources once after. About one page of rows is in memory for each
        source that is being emptied, and at most 100,000 keys written meanwhile.

        Args:
            plan: made by `plan`, of this map or of one that was the same for these buckets.
            progress: called after pages and groups; what it raises ends the migration.
            concurrency: shards that are emptied, or swept, at once.
            batch: buckets of a group: more mean fewer passes over the source, fewer that less is copied
                again after an interruption.
            chunk_rows: rows that are read and copied at a time.
            pause: seconds that writes may have to wait at the switch, besides the time that `save_map` takes.

        Raises:
            UnknownShard: a shard of the plan is not attached.
            StalePlan: the plan was made for other buckets.
            MigrationInProgress: another migration runs.
            MigrationFailed: its cause says why: an error of a shard or of `save_map`; ShardTimeout if the
                last writes of a group were not carried within `pause`; TooManyWrites if keys are written
                faster than they can be carried; UnexpectedRows if a shard has rows already of a bucket
                that it is to get, see `sweep`.
            ValueError: a number is out of its range.
            TypeError: an argument has the wrong type.
        """
        if not isinstance(plan, MigrationPlan):
            raise InvalidType(f"plan must be a MigrationPlan, got {type(plan).__name__}")
        plan.left(self.map)
        for name in {shard for move in plan.moves for shard in (move.source, move.target)}:
            if name not in self._routing.shards:
                raise unknown_shard(name, self.shards)
        migration = BucketMigration(
            self._routing,
            plan,
            save_map=self._save_map,
            progress=progress,
            concurrency=checked_whole("concurrency", concurrency, 1, MAX_BUCKETS),
            batch=checked_whole("batch", batch, 1, MAX_BUCKETS),
            chunk_rows=checked_whole("chunk_rows", chunk_rows, 1, MAX_PAGE_ROWS),
            pause=checked_seconds("pause", pause),
        )
        self._refuse_while_migrating("migrate")
        self._migrating = True
        try:
            await migration.run()
        finally:
            self._migrating = False

    async def sweep(self) -> int:
        """Removes the rows that shards hold and do not own: what an interrupted migration has left.

        In the process that was interrupted, `migrate` does it by itself. After a restart call this first,
        and be sure that the map is the newest that was saved: by an older one, rows are removed that are
        the only ones there are.

        Returns:
            Rows removed.

        Raises:
            MigrationInProgress: buckets move.
            OSError: as a shard raises it.
        """
        self._refuse_while_migrating("sweep")
        self._migrating = True
        try:
            removed = await together(sweep(self._routing, name, lambda _: True) for name in self.shards)
        finally:
            self._migrating = False
        for leftovers in self._routing.leftovers.values():
            leftovers.clear()
        return sum(removed)

    async def aclose(self) -> None:
        """Closes all shards.

        Raises:
            ShardsFailed: some could not be closed.
        """
        await scatter_gather(self.shards, methodcaller("aclose"))

    # ---- inside ----

    def _refuse_while_migrating(self, what: str) -> None:
        if self._migrating:
            raise MigrationInProgress(f"{what} must wait until the migration is over")

    async def _write_many(
        self,
        items: list[T],
        key_of: Callable[[T], K],
        work: Callable[[Shard[K, V], list[T]], Awaitable[R]],
    ) -> list[R]:
        """Does `work` with its part of the items at each shard, all at once."""
        parts = self._routing.by_owner(items, key_of)
        done = await scatter_gather(parts, lambda part: self._routing.write_part(part, key_of, work))
        return [result for results in done.values.values() for result in results]


def same(key: K) -> K:
    return key


# ---- arguments ----


def checked_shards(shards: Any) -> dict[ShardId, Shard[Any, Any]]:
    """The shards by their ids, at least one.

    Raises:
        ValueError: there is none, an id is not allowed, or a shard has two.
        TypeError: an id is neither a str nor an int, or shards is no mapping and no sequence.
    """
    if not isinstance(shards, Mapping):
        if isinstance(shards, str | bytes) or not isinstance(shards, Sequence):
            raise InvalidType(f"shards must be a mapping or a sequence, got {type(shards).__name__}")
        shards = dict(enumerate(shards))
    if not shards:
        raise InvalidValue("shards must be at least one, got none")
    if len(shards) > MAX_BUCKETS:
        raise InvalidValue(f"shards must be <= {MAX_BUCKETS}, got {len(shards)}")
    named = {checked_id(name): shard for name, shard in shards.items()}
    refuse_one_twice(named)
    return named


def refuse_one_twice(shards: Mapping[ShardId, object]) -> None:
    """Passes if no shard has two ids: what belongs to one id would be swept away as not the other's.

    Raises:
        ValueError: one has.
    """
    ids: dict[int, ShardId] = {}
    for name, shard in shards.items():
        known = ids.setdefault(id(shard), name)
        if known != name:
            raise InvalidValue(f"a shard must have one id, got {shown(known)} and {shown(name)} of the same")


def checked_hash(hash: Any, seed: int) -> KeyHash:
    """The hash of keys.

    Raises:
        ValueError: there is none of that name, or the seed is out of its range or beside a KeyHash.
        TypeError: it is neither a name nor callable.
    """
    if not isinstance(hash, KeyHash):
        return KeyHash(hash, seed)
    if seed:
        raise InvalidValue(f"seed must be 0 beside a KeyHash, got {shown(seed)}")
    return hash


def checked_buckets(buckets: int | None, hash: KeyHash, shards: int) -> int:
    """How many buckets there are.

    Raises:
        ValueError: fewer than shards, or more than 2**20 or values of the hash.
        TypeError: it is no int.
    """
    most = min(MAX_BUCKETS, 2**hash.bits)
    if buckets is None:
        buckets = REDIS_SLOTS if hash.name == "crc16" else max(DEFAULT_BUCKETS, shards)
    return checked_whole("buckets", buckets, shards, most)


def hash_of_map(map: BucketMap, given: Any) -> KeyHash:  # noqa: A002
    """The hash that a map was made with.

    Raises:
        ValueError: it is another than the one given, or a callable that is not given.
        TypeError: map is no BucketMap, or what is given is no hash.
    """
    if not isinstance(map, BucketMap):
        raise InvalidType(f"map must be a BucketMap, got {type(map).__name__}")
    if given is not None:
        theirs = given if isinstance(given, KeyHash) else KeyHash(given, 0 if callable(given) else map.seed)
    elif map.hash is not None:
        theirs = KeyHash(map.hash, map.seed)
    else:
        raise InvalidValue("hash must be the callable that the map was made with, got none")
    if (theirs.name, theirs.seed) != (map.hash, map.seed):
        raise InvalidValue(
            f"hash must be that of the map, {shown(map.hash)} with seed {map.seed}, got {theirs!r}"
        )
    return theirs


def map_over(map: BucketMap, shards: Mapping[ShardId, object]) -> BucketMap:  # noqa: A002
    """The map over exactly these shards.

    Raises:
        UnknownShard: it has buckets on another.
    """
    for owner in dict.fromkeys(map.owners):
        if owner not in shards:
            raise unknown_shard(owner, shards)
    return map.with_shards(shards)


def unknown_shard(name: object, shards: Iterable[ShardId]) -> UnknownShard:
    known = ", ".join(shown(shard) for shard in islice(shards, 10))
    return UnknownShard(f"id of a shard must be one of {known}, got {shown(name)}")
