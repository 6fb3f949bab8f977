"""Something goes wrong at each step in turn while keys move that are read and written: nothing is lost.

By default every eleventh step; PENSTOCK_EVERY_STEP=1 takes them all, which lasts two minutes.
"""

import asyncio
import os
from contextlib import aclosing
from itertools import count

import pytest

from penstock.sharding import (
    DictShard,
    HashShards,
    MigrationFailed,
    Range,
    RangeShards,
    ShardError,
)
from sharding.shards import entries

GONE = object()
STEP = 1 if os.environ.get("PENSTOCK_EVERY_STEP") else 11
PATIENCE = 200  # turns of the event loop
STILL = range(2, 60, 6)  # keys that nobody writes
BUSY = range(1, 60, 6)  # keys that each have a client


class TroubledShard(DictShard):
    """Takes a turn of the event loop before and after its work, and has trouble with one of its calls.

    Attributes:
        troubled: the number of that call, from 0 on; None for no trouble.
        trouble: "fails"; "fails late", with the work done; "hangs" until it is cancelled.
        calls: so far.
    """

    __slots__ = ("calls", "trouble", "troubled")

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.troubled, self.trouble = None, "fails"

    async def get(self, key, default=None):
        return await self._step(super().get, key, default)

    async def put(self, key, value):
        await self._step(super().put, key, value)

    async def put_many(self, items):
        await self._step(super().put_many, list(items))

    async def delete_many(self, keys):
        return await self._step(super().delete_many, list(keys))

    async def page(self, first=None, last=None, **how):
        return await self._step(super().page, first, last, **how)

    async def _step(self, work, *arguments, **how):
        trouble = self.trouble if self.calls == self.troubled else None
        self.calls += 1
        await asyncio.sleep(0)
        if trouble == "hangs":
            await asyncio.get_running_loop().create_future()
        if trouble == "fails":
            raise ShardError("the shard is down")
        result = await work(*arguments, **how)
        if trouble == "fails late":
            raise ShardError("the connection is lost")
        await asyncio.sleep(0)
        return result


class Caller:
    """Makes one call after the other, until it is told to stop."""

    def __init__(self, case):
        self.case, self.router = case, case.router
        self.calling = None

    async def call(self, work):
        """A task that is over: whatever hangs may be cancelled from outside."""
        self.calling = asyncio.ensure_future(work)
        await asyncio.wait([self.calling])
        done, self.calling = self.calling, None
        if not done.cancelled() and done.exception() is not None:
            assert isinstance(done.exception(), ShardError)
        return done

    async def run(self, running):
        for number in count():
            if not running.is_set():
                return
            await self.next(number)
            await asyncio.sleep(0)


class Client(Caller):
    """Writes one key again and again, and knows what it may hold."""

    def __init__(self, case, key):
        super().__init__(case)
        self.key = key
        self.possible = {GONE}
        self.written = None  # by the write that is under way
        self.quiet = False  # after a write that failed, which another write would cover up

    def reborn(self, case):
        """A client of a new process, which knows only what this one knows by now."""
        new = Client(case, self.key)
        new.possible = self.possible if self.calling is None else self.possible | {self.written}
        return new

    async def next(self, number):
        await self.read()
        if self.quiet:
            return
        match (number + self.key) % 4:
            case 0 | 2:
                await self.write(number, self.router.put(self.key, number))
            case 1:
                await self.write(number, self.router.put_many([(self.key, number)]))
            case 3:
                await self.write(GONE, self.router.delete(self.key))
        await self.read()

    async def write(self, value, work):
        """One that fails or is cancelled may have happened or not."""
        self.written = value
        done = await self.call(work)
        self.quiet = not succeeded(done)
        self.possible = self.possible | {value} if self.quiet else {value}

    async def read(self):
        done = await self.call(self.router.get(self.key, GONE))
        if succeeded(done):
            assert done.result() in self.possible, (self.key, done.result(), self.possible)
            self.possible = {done.result()}


class Scanner(Caller):
    """Looks whether all keys are there that nobody writes, each once."""

    async def next(self, number):
        done = await self.call(self.case.everything())
        if succeeded(done):
            keys = [key for key, _ in done.result()]
            assert keys == sorted(set(keys))
            assert set(STILL) <= set(keys)


def succeeded(done):
    return not done.cancelled() and done.exception() is None


class Case:
    """A migration and its shards."""

    def copy_entries(self, others):
        """Fills the shards with what others hold; the shard of each of those."""
        for shard, other in zip(self.shards, others, strict=True):
            shard._store(entries(other).items())
        return dict(zip(others, self.shards, strict=True))


class RangeCase(Case):
    """A range is split off, merged or moved, from one shard to another."""

    def __init__(self, what):
        source, target, other = self.shards = [TroubledShard() for _ in range(3)]
        ranges = {
            "split": [Range(0, 49, source), Range(50, 60, other)],
            "merge": [Range(0, 19, target), Range(20, 49, source), Range(50, 60, other)],
            "move": [Range(0, 14, other), Range(15, 49, source), Range(50, 60, other)],
        }
        self.what = what
        self.router = RangeShards(ranges[what], chunk_rows=1, save_map=self.save, timeout=60)
        self.source, self.target = source, target
        self.saved = self.router.map

    async def save(self, shard_map):
        await asyncio.sleep(0)
        self.saved = shard_map

    def reborn(self):
        """What a new process finds after this one has ended now."""
        new = RangeCase(self.what)
        copies = new.copy_entries(self.shards)
        new.saved = self.saved
        ranges = [Range(old.first, old.last, copies[old.shard]) for old in self.saved.ranges]
        new.router = RangeShards(ranges, epoch=self.saved.epoch, save_map=new.save)
        return new

    def migrate(self):
        match self.what:
            case "split":
                return self.router.split(20, self.target)
            case "merge":
                return self.router.merge(20)
            case _:
                return self.router.move(20, self.target)

    async def everything(self):
        async with self.router.scan(page_rows=4) as scan:
            return [row async for row in scan]

    async def again(self):
        """Does the migration once more, as an operator would."""
        assert self.saved.epoch == self.router.map.epoch
        if self.router.map.epoch > 1:
            return
        leftovers = [key for key, _ in await self.target.page() if self.router.route(key) is self.source]
        await self.target.delete_many(leftovers)
        await self.migrate()


class HashCase(Case):
    """Buckets of two shards move to a third one."""

    def __init__(self):
        self.shards = [TroubledShard() for _ in range(3)]
        self.source, _, self.target = self.shards
        self.router = HashShards(dict(zip("abc", self.shards, strict=True)), buckets=12, save_map=self.save)
        self.saved = self.router.map
        self.plan = self.router.plan(["b", "c"])
        self.swept = True

    async def save(self, bucket_map):
        await asyncio.sleep(0)
        self.saved = bucket_map

    def migrate(self):
        return self.router.migrate(self.plan, batch=2, chunk_rows=2)

    async def everything(self):
        async with aclosing(self.router.scatter_gather_all(page_rows=4)) as stream:
            return sorted([row async for row in stream])

    async def again(self):
        assert self.saved == self.router.map
        if not self.swept:
            await self.router.sweep()
        await self.migrate()

    def reborn(self):
        """What a new process finds after this one has ended now."""
        new = HashCase()
        new.copy_entries(self.shards)
        new.router = HashShards(dict(zip("abc", new.shards, strict=True)), map=self.saved, save_map=new.save)
        new.saved, new.plan, new.swept = self.saved, self.plan, False
        return new


CASES = {
    "split": lambda: RangeCase("split"),
    "merge": lambda: RangeCase("merge"),
    "move": lambda: RangeCase("move"),
    "hash": HashCase,
}


async def run(case, disturb):
    """Callers at work around a migration that `disturb` is done to; whether it came to its end."""
    await case.router.put_many((key, "still") for key in STILL)
    for shard in case.shards:
        shard.calls = 0
    clients = [Client(case, key) for key in BUSY]
    callers = [*clients, Scanner(case)]
    running = asyncio.Event()
    running.set()
    async with asyncio.TaskGroup() as tasks:
        for caller in callers:
            tasks.create_task(caller.run(running))
        for _ in range(5):
            await asyncio.sleep(0)
        migrating = asyncio.ensure_future(case.migrate())
        await disturb(migrating, callers)
        await asyncio.wait([migrating])
        if not migrating.cancelled() and migrating.exception() is not None:
            assert isinstance(migrating.exception(), MigrationFailed), migrating.exception()
        for _ in range(20):
            await asyncio.sleep(0)
        running.clear()
    await check(case, clients)
    await case.again()
    await check(case, clients)
    return succeeded(migrating)


async def check(case, clients):
    """Every key holds what it may hold; what is seen now stays."""
    found = dict(await case.everything())
    assert {key: found.get(key) for key in STILL} == dict.fromkeys(STILL, "still")
    for client in clients:
        assert found.get(client.key, GONE) in client.possible, client.key
        client.possible = {found.get(client.key, GONE)}
        await client.read()
    assert found.keys() <= {*STILL, *BUSY}


def cancel_calls(callers):
    for caller in callers:
        if caller.calling is not None:
            caller.calling.cancel()


@pytest.mark.parametrize("name", CASES)
async def test_migration_is_cancelled_at_each_step(name):
    for moment in count(step=STEP):

        async def cancel(migrating, callers, moment=moment):
            for _ in range(moment):
                await asyncio.sleep(0)
            migrating.cancel()

        if await run(CASES[name](), cancel):
            break
    assert moment > 20


@pytest.mark.parametrize("name", CASES)
async def test_calls_are_cancelled_at_each_step_of_a_migration(name):
    for moment in count(step=STEP):
        ended = False

        async def cancel(migrating, callers, moment=moment):
            nonlocal ended
            for _ in range(moment):
                await asyncio.sleep(0)
            ended = migrating.done()
            cancel_calls(callers)

        assert await run(CASES[name](), cancel)
        if ended:
            break
    assert moment > 20


@pytest.mark.parametrize("name", CASES)
async def test_process_ends_at_each_step_of_a_migration(name):
    for moment in count(step=STEP):
        new, clients = None, []
        case = CASES[name]()

        async def end(migrating, callers, case=case, moment=moment):
            nonlocal new, clients
            for _ in range(moment):
                await asyncio.sleep(0)
            if not migrating.done():
                new = case.reborn()
                clients = [caller.reborn(new) for caller in callers if isinstance(caller, Client)]

        assert await run(case, end)
        if new is None:
            break
        await check(new, clients)
        await new.again()
        await check(new, clients)
    assert moment > 20


@pytest.mark.parametrize("trouble", ["fails", "fails late", "hangs"])
@pytest.mark.parametrize("who", ["source", "target"])
@pytest.mark.parametrize("name", CASES)
async def test_shard_has_trouble_with_each_of_its_calls_in_turn(name, who, trouble):
    for number in count(step=STEP):
        case = CASES[name]()
        shard = getattr(case, who)
        reached = False

        async def wait(migrating, callers, shard=shard, number=number):
            """Until it is over, or nobody has patience any more with what hangs."""
            nonlocal reached
            shard.troubled, shard.trouble = shard.calls + number, trouble
            for _ in range(PATIENCE):
                if migrating.done():
                    break
                await asyncio.sleep(0)
            else:
                migrating.cancel()
            reached = shard.calls > shard.troubled
            shard.troubled = None
            cancel_calls(callers)

        await run(case, wait)
        if not reached:
            break
    assert number > 10
