"""Ranges that move while they are read and written: nothing is lost, whatever happens."""

import asyncio
import os
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import PenstockError
from penstock.sharding import (
    DictShard,
    MigrationFailed,
    MigrationInProgress,
    NoShard,
    Range,
    RangeShards,
    ShardError,
    SQLiteShard,
)
from sharding.shards import HeldShard, entries
from virtual_time import in_virtual_time

EXAMPLES = int(os.environ.get("PENSTOCK_EXAMPLES", "8"))


async def two(**how):
    """Keys 1 to 100 in one shard, 101 to 200 in another; every third key is there."""
    low, high = HeldShard(), HeldShard()
    router = RangeShards([Range(1, 100, low), Range(101, 200, high)], **{"chunk_rows": 7, "timeout": 5} | how)
    await router.put_many((key, str(key)) for key in range(1, 201, 3))
    return low, high, router


def shown(router):
    return " ".join(map(str, router.map.ranges))


async def everything(router):
    return [row async for row in router.scan()]


# ---- in peace


async def test_split_moves_the_upper_part_and_says_what_it_did():
    low, _, router = await two()
    before = await everything(router)
    new = HeldShard()
    done = await router.split(51, new)
    assert (done.epoch, done.rows, done.doubled, done.leftovers) == (2, 17, 0, None)
    assert router.map.epoch == 2
    assert shown(router) == "[1, 50] [51, 100] [101, 200]"
    assert min(entries(new)) == 52
    assert max(entries(low)) == 49
    assert await everything(router) == before


async def test_merge_moves_the_range_to_the_shard_before_it():
    low, high, router = await two()
    before = await everything(router)
    done = await router.merge(101)
    assert (done.epoch, done.rows) == (2, 33)
    assert shown(router) == "[1, 200]"
    assert list(entries(low).items()) == before
    assert not entries(high)
    assert await everything(router) == before


async def test_move_takes_a_whole_range_to_another_shard():
    low, _, router = await two()
    before = await everything(router)
    new = HeldShard()
    await router.move(50, new)
    assert router.route(1) is new
    assert not entries(low)
    assert await everything(router) == before


async def test_range_without_bounds_can_be_moved():
    router = RangeShards([Range(None, None, DictShard([(1, "a"), (2, "b")]))])
    new = DictShard()
    await router.move(1, new)
    assert entries(new) == {1: "a", 2: "b"}


async def test_split_for_the_same_shard_moves_nothing():
    low, _, router = await two()
    before = await everything(router)
    done = await router.split(51, low)
    assert (done.rows, done.leftovers) == (0, None)
    assert shown(router) == "[1, 50] [51, 100] [101, 200]"
    assert await everything(router) == before
    await router.merge(51)
    assert await everything(router) == before


async def test_neighbouring_range_of_the_same_shard_keeps_its_rows():
    shard = DictShard()
    router = RangeShards([Range("a", None, shard, before="m"), Range("m", "z", shard)])
    await router.put_many((letter, letter) for letter in "alms")
    new = DictShard()
    await router.move("b", new)
    assert (sorted(entries(new)), sorted(entries(shard))) == (["a", "l"], ["m", "s"])


# ---- what is refused


async def test_new_shard_that_has_rows_of_the_range_is_refused_and_keeps_them():
    _, _, router = await two()
    new = HeldShard([(99, "precious")])
    with pytest.raises(
        ValueError, match="new_shard must have no rows of the range, got one with key=99"
    ) as raised:
        await router.split(51, new)
    assert isinstance(raised.value, PenstockError)
    assert entries(new) == {99: "precious"}
    assert router.map.epoch == 1
    await router.split(100, new)  # nothing of this range


async def test_two_shards_on_one_table_lose_nothing(tmp_path):
    path = tmp_path / "file.sqlite3"
    async with SQLiteShard(path, int) as shard, SQLiteShard(path, int) as same:
        router = RangeShards([Range(1, 100, shard)])
        await router.put_many((key, key) for key in range(1, 101))
        with pytest.raises(ValueError, match="new_shard must have no rows of the range, got one with key=51"):
            await router.split(51, same)
        assert await router.count() == 100


async def test_only_one_range_moves_at_a_time():
    low, _, router = await two()
    low.gate = asyncio.Event()
    first = asyncio.ensure_future(router.split(51, HeldShard()))
    await asyncio.sleep(0)
    with pytest.raises(MigrationInProgress, match="only one range can be moved at a time") as raised:
        await router.merge(101)
    assert isinstance(raised.value, RuntimeError)
    low.gate.set()
    await first
    await router.merge(101)
    assert router.map.epoch == 3


async def test_split_where_there_is_no_range_is_refused():
    _, _, router = await two()
    with pytest.raises(NoShard, match="no shard configured for key=201"):
        await router.split(201, HeldShard())
    with pytest.raises(ValueError, match="at must be inside a range"):
        await router.split(1, HeldShard())
    await router.split(51, HeldShard())


# ---- trouble


@pytest.mark.parametrize("who", ["source", "target"])
@pytest.mark.parametrize("mode", ["fail", "hang", "late"])
@pytest.mark.parametrize("only", ["page", "put"])
@in_virtual_time
async def test_shard_that_fails_or_hangs_leaves_the_old_map_in_force(who, mode, only):
    low, _, router = await two(timeout=0.05)
    before = await everything(router)
    new = HeldShard()
    held = low if who == "source" else new
    held.only = (only,)
    held.mode = mode
    if (who, only) == ("source", "put"):
        return  # nothing is written to the source
    with pytest.raises(MigrationFailed, match=r"the range \[51, 100\] stays where it was") as raised:
        await router.split(51, new)
    assert isinstance(raised.value, ShardError)
    held.mode = "ok"
    assert router.map.epoch == 1
    assert await everything(router) == before
    await router.put(52, "newer")
    assert await router.get(52) == "newer"
    if (who, only, mode) != ("target", "page", "late"):
        assert not entries(new)
    await router.split(51, HeldShard())
    assert await router.get(52) == "newer"


async def test_write_is_acknowledged_though_the_target_fails():
    low, _, router = await two()
    new = HeldShard()
    low.turns = 5
    moving = asyncio.ensure_future(router.split(51, new))
    while not entries(new):
        await asyncio.sleep(0)
    new.mode = "fail"
    await router.put(52, "newer")
    assert await router.get(52) == "newer"
    with pytest.raises(MigrationFailed, match="the shard is down"):
        await moving
    assert await router.get(52) == "newer"


@in_virtual_time
async def test_write_waits_no_longer_than_the_timeout_for_a_target_that_hangs():
    low, _, router = await two(timeout=0.05)
    new = HeldShard()
    low.turns = 5
    moving = asyncio.ensure_future(router.split(51, new))
    while not entries(new):
        await asyncio.sleep(0)
    new.mode = "hang"
    await asyncio.wait_for(router.put(52, "newer"), 2)
    assert await router.get(52) == "newer"
    with pytest.raises(MigrationFailed):
        await moving


@in_virtual_time
async def test_reads_and_writes_elsewhere_go_on_while_the_target_hangs():
    _, _, router = await two(timeout=1)
    new = HeldShard()
    new.mode, new.only = "hang", ("put",)
    moving = asyncio.ensure_future(router.split(51, new))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(0.5):
        assert await router.get(52) == "52"  # in the moving range
        assert len(await everything(router)) == 67
        await router.put(1, "written")
        await router.put(199, "written")
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    assert await router.get(52) == "52"


@pytest.mark.parametrize("turns", range(60))
async def test_cancelled_split_is_undone_or_done_and_loses_nothing(turns):
    low, _, router = await two()
    low.turns = 1
    before = await everything(router)
    new = HeldShard()
    moving = asyncio.ensure_future(router.split(51, new))
    for _ in range(turns):
        await asyncio.sleep(0)
    moving.cancel()
    await asyncio.wait([moving])
    assert moving.cancelled() or moving.result().epoch == 2
    assert await everything(router) == before
    await router.put(52, "newer")
    owner, other = (low, new) if router.map.epoch == 1 else (new, low)
    assert entries(owner)[52] == "newer"
    if router.map.epoch == 1:
        assert not entries(other)
        await router.split(51, new)
    assert await router.get(52) == "newer"


async def test_cancelled_write_does_not_come_back_after_the_move():
    """It may be in the source and not yet in the target when it is cancelled: then both are made equal."""
    for turns in range(40):
        low, _, router = await two()
        new = HeldShard()
        low.turns = new.turns = 2
        moving = asyncio.ensure_future(router.split(51, new))
        while 52 not in entries(new):
            await asyncio.sleep(0)
        writing = asyncio.ensure_future(router.put(52, "newer"))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        seen = await router.get(52)
        await moving
        assert await router.get(52) == seen, turns
        if not writing.cancelled():
            assert seen == "newer"


@in_virtual_time
async def test_write_that_began_before_the_move_and_lands_late_is_moved_too():
    low, _, router = await two()
    low.gate, low.only = asyncio.Event(), ("put",)
    writing = asyncio.ensure_future(router.put(52, "late"))
    await asyncio.sleep(0)
    moving = asyncio.ensure_future(router.split(51, HeldShard()))
    await asyncio.sleep(0.01)
    assert not moving.done()
    low.gate.set()
    await writing
    await moving
    assert await router.get(52) == "late"


@in_virtual_time
async def test_write_that_hangs_from_before_keeps_a_range_from_moving_and_is_not_forgotten():
    low, _, router = await two(timeout=0.03)
    low.gate, low.only = asyncio.Event(), ("put",)
    writing = asyncio.ensure_future(router.put(52, "late"))
    await asyncio.sleep(0)
    for _ in range(2):  # the second time too, though others have come and gone since
        with pytest.raises(MigrationFailed, match="TimeoutError"):
            await router.split(51, HeldShard())
    low.gate.set()
    await writing
    await router.split(51, HeldShard())
    assert await router.get(52) == "late"


@in_virtual_time
async def test_read_that_began_before_the_new_map_finds_its_row():
    saved = asyncio.Event()

    async def save(shard_map):
        low.gate, low.only = asyncio.Event(), ("get",)
        readings.append(asyncio.ensure_future(router.get(52)))
        await asyncio.sleep(0)  # it is in the source now, by the old map
        low.only = ()
        saved.set()

    readings = []
    low, _, router = await two(save_map=save)
    moving = asyncio.ensure_future(router.split(51, HeldShard()))
    await saved.wait()
    await asyncio.sleep(0.01)
    assert router.map.epoch == 2
    low.gate.set()
    assert await readings[0] == "52"
    assert (await moving).leftovers is None


@in_virtual_time
async def test_two_writes_of_a_key_come_to_both_shards_in_one_order():
    class Slow(HeldShard):
        async def put(self, key, value):
            if value == "first":
                await asyncio.sleep(0.02)
            await super().put(key, value)

    low, _, router = await two()
    new = Slow()
    low.turns = 5
    moving = asyncio.ensure_future(router.split(51, new))
    while not entries(new):
        await asyncio.sleep(0)
    await asyncio.gather(router.put(52, "first"), router.put(52, "second"))
    seen = await router.get(52)
    assert (await moving).doubled == 2
    assert await router.get(52) == seen == "second"


async def test_target_that_failed_in_one_write_is_not_trusted_any_more():
    low, _, router = await two()
    new = HeldShard()
    low.turns = 5
    moving = asyncio.ensure_future(router.split(51, new))
    while not entries(new):
        await asyncio.sleep(0)
    new.mode = "fail"
    await router.put(52, "newer")
    new.mode = "ok"
    with pytest.raises(MigrationFailed, match="the shard is down"):
        await moving
    assert await router.get(52) == "newer"


async def test_write_that_a_chunk_holds_back_is_done_before_the_next_but_one():
    _, _, router = await two(chunk_rows=1)
    new = HeldShard()
    moving = asyncio.ensure_future(router.split(51, new))
    while not entries(new):
        await asyncio.sleep(0)
    writing = asyncio.ensure_future(router.put(100, "written"))
    chunks = len(entries(new))
    while not writing.done():
        await asyncio.sleep(0)
    assert len(entries(new)) <= chunks + 2
    assert not moving.done()
    await moving
    assert await router.get(100) == "written"


async def test_rows_that_the_source_does_not_let_go_of_are_told_and_never_seen():
    low, _, router = await two()
    before = await everything(router)
    low.mode, low.only = "fail", ("delete",)
    done = await router.split(51, HeldShard())
    assert done.leftovers == "ShardError: the shard is down"
    assert router.map.epoch == 2
    assert await everything(router) == before
    low.mode = "ok"
    with pytest.raises(ValueError, match="delete them first if they are leftovers"):
        await router.merge(51)
    assert await low.delete_many(range(51, 101)) == 17
    await router.merge(51)
    assert await everything(router) == before


# ---- the map is saved before it is in force


async def test_map_is_saved_when_all_is_copied_and_not_yet_in_force():
    saved = []
    new = HeldShard()

    async def save(shard_map):
        saved.append((shard_map.epoch, router.map.epoch, len(entries(new)), len(entries(low))))

    low, _, router = await two(save_map=save)
    await router.split(51, new)
    assert saved == [(2, 1, 17, 34)]


async def test_map_may_be_saved_by_a_plain_function():
    saved = []
    _, _, router = await two(save_map=saved.append)
    before = await everything(router)
    assert (await router.split(51, HeldShard())).leftovers is None
    assert saved == [router.map]
    assert await everything(router) == before


async def test_map_that_cannot_be_saved_is_not_used():
    async def save(shard_map):
        raise OSError("the disk is full")

    _, _, router = await two(save_map=save)
    before = await everything(router)
    new = HeldShard()
    with pytest.raises(MigrationFailed, match="the disk is full"):
        await router.split(51, new)
    assert router.map.epoch == 1
    assert not entries(new)
    assert await everything(router) == before


@in_virtual_time
async def test_saving_the_map_is_not_cancelled_halfway():
    saving, go_on = asyncio.Event(), asyncio.Event()

    async def save(shard_map):
        saving.set()
        await go_on.wait()

    _, _, router = await two(save_map=save)
    before = await everything(router)
    moving = asyncio.ensure_future(router.split(51, HeldShard()))
    await saving.wait()
    moving.cancel()
    await asyncio.sleep(0.01)
    assert not moving.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await moving
    assert router.map.epoch == 2
    assert await everything(router) == before


# ---- under load


class Writer:
    """Writes one key again and again, and knows what a read of it may give."""

    def __init__(self, router, key, dice):
        self.router, self.key, self.dice = router, key, dice
        self.number = 0
        self.settled = None  # what the last write that returned has left: a number, or None

    async def run(self, running):
        while running.is_set():
            self.number += 1
            what = self.dice.random()
            if what < 0.5:
                await self.write(self.number)
            elif what < 0.6:
                await self.write(None)
            elif what < 0.75:
                await self.cancelled_write(self.number)
            else:
                assert await self.router.get(self.key) == self.settled
            await asyncio.sleep(0)

    async def write(self, value):
        if value is None:
            assert await self.router.delete(self.key) == (self.settled is not None)
        else:
            await self.router.put(self.key, value)
        self.settled = value

    async def cancelled_write(self, value):
        """It may have happened or not; the next read settles it."""
        writing = asyncio.ensure_future(self.router.put(self.key, value))
        for _ in range(self.dice.randrange(12)):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        found = await self.router.get(self.key)
        assert found == value or (found == self.settled and writing.cancelled())
        self.settled = found


async def storm(router, spare, keys, seed, rounds, settle=0):
    """Splits, merges, moves, cancels and fails, while a writer for each key and scans are at work."""
    dice = random.Random(seed)
    running = asyncio.Event()
    running.set()
    writers = [Writer(router, key, random.Random(dice.random())) for key in keys]

    async def scans():
        while running.is_set():
            seen = [key async for key, _ in router.scan(page_rows=3)]
            assert seen == sorted(set(seen))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for writer in writers:
            tasks.create_task(writer.run(running))
        tasks.create_task(scans())
        changes = 0
        for _ in range(rounds):
            changes += await one_change(router, spare, dice)
            await asyncio.sleep(settle)
        running.clear()
    expected = {writer.key: writer.settled for writer in writers if writer.settled is not None}
    assert dict([row async for row in router.scan()]) == expected
    for key in keys:
        assert await router.get(key) == expected.get(key)
    return changes


async def one_change(router, spare, dice):
    """One change of the map; whether it came into force."""
    firsts = [range_.first for range_ in router.map.ranges]
    at = dice.randrange(1, 200)
    used = {id(range_.shard) for range_ in router.map.ranges}
    free = [shard for shard in spare if id(shard) not in used]
    if at in firsts[1:] or (len(firsts) > 1 and not free):
        change = router.merge(dice.choice(firsts[1:]))
    elif at in firsts:
        change = router.move(at, dice.choice(free))
    else:
        change = router.split(at, dice.choice(free))
    changing = asyncio.ensure_future(change)
    if dice.random() < 0.3:
        for _ in range(dice.randrange(200)):
            await asyncio.sleep(0)
        changing.cancel()
    epoch = router.map.epoch
    await asyncio.wait([changing])
    if changing.cancelled():
        for shard in spare:  # leftovers of what was cancelled halfway
            for range_ in router.map.ranges:
                if range_.shard is shard:
                    break
            else:
                await shard.delete_many([key for key, _ in await shard.page(limit=10_000)])
        for range_ in router.map.ranges:
            foreign = [key for key, _ in await range_.shard.page(limit=10_000)]
            await range_.shard.delete_many([key for key in foreign if router.route(key) is not range_.shard])
    elif isinstance(changing.exception(), ValueError):
        return 0
    else:
        changing.result()
    return router.map.epoch - epoch


@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 2**32), turns=st.integers(0, 3), chunk_rows=st.sampled_from([1, 3, 50]))
def test_no_write_is_lost_while_ranges_split_merge_and_move(seed, turns, chunk_rows):
    async def run():
        spare = [HeldShard() for _ in range(4)]
        for shard in spare:
            shard.turns = turns
        router = RangeShards([Range(1, 200, spare[0])], chunk_rows=chunk_rows)
        await storm(router, spare, range(1, 201, 9), seed, rounds=12)
        assert router.map.epoch > 1

    asyncio.run(run())


async def test_no_write_is_lost_between_sqlite_files(tmp_path):
    spare = [SQLiteShard(tmp_path / f"{number}.sqlite3", int) for number in range(3)]
    try:
        router = RangeShards([Range(1, 200, spare[0])], chunk_rows=5)
        assert await storm(router, spare, range(1, 201, 20), seed=1, rounds=12) >= 3
    finally:
        for shard in spare:
            await shard.aclose()


@pytest.mark.engine
async def test_no_write_is_lost_between_postgres_tables_and_a_sqlite_file(
    tmp_path, postgres_server, table_names
):
    from penstock.sharding.postgres_shard import PostgreSQLShard

    spare = [PostgreSQLShard(postgres_server.dsn, int, table=next(table_names)) for _ in range(2)]
    spare.append(SQLiteShard(tmp_path / "file.sqlite3", int))
    try:
        router = RangeShards([Range(1, 200, spare[0])], chunk_rows=5)
        assert await storm(router, spare, range(1, 201, 20), seed=2, rounds=12) >= 3
    finally:
        for shard in spare:
            await shard.aclose()


async def contents(router):
    """Every row; asked again while a connection to the server that was killed is still found in the pool."""
    for _ in range(20):
        with suppress(ShardError):
            return dict([row async for row in router.scan()])
    raise AssertionError("the server does not answer again")


@pytest.mark.engine
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.1])
async def test_postgres_that_is_killed_during_a_move_loses_nothing_that_was_acknowledged(delay, tmp_path):
    from penstock.sharding.postgres_shard import PostgreSQLShard
    from postgres_server import PostgreSQLServer

    keys = range(1, 801)
    acknowledged = dict.fromkeys(keys, 0)
    tried = dict.fromkeys(keys, 0)

    async def write(router, mine):
        for number in range(1, 10**6):
            for key in mine:
                tried[key] = number
                await router.put(key, number)
                acknowledged[key] = number

    async def check(router):
        found = await contents(router)
        assert found.keys() == set(keys)
        for key, number in found.items():
            assert acknowledged[key] <= number <= tried[key]

    with PostgreSQLServer() as server:
        old = PostgreSQLShard(server.dsn, int, table="old_shard")
        new = PostgreSQLShard(server.dsn, int, table="new_shard")
        async with old, new, SQLiteShard(tmp_path / "file.sqlite3", int) as file:
            router = RangeShards([Range(1, 800, old)], chunk_rows=20)
            await router.put_many(acknowledged.items())
            await new.count()
            writers = [asyncio.ensure_future(write(router, keys[part::4])) for part in range(4)]
            moving = asyncio.ensure_future(router.split(401, new))
            await asyncio.sleep(delay)
            server.kill()
            outcomes = await asyncio.gather(moving, *writers, return_exceptions=True)
            assert [type(outcome) for outcome in outcomes[1:]] == [ShardError] * 4, outcomes
            server.start()
            await check(router)
            for shard, other in ((new, old), (old, new)):  # what the dead server could not be told to remove
                foreign = [key for key in keys if router.route(key) is other]
                await shard.delete_many(foreign)
            await check(router)
            await router.move(600, file)
            await check(router)
