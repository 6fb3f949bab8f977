"""TieredCache against real redis-servers."""

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import redis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from penstock.cache import LRUCache
from penstock.cache import tiered as module
from penstock.cache._tracking import doubling_delay
from penstock.cache.tiered import (
    CacheLoadDeadlock,
    TieredCache,
    TieredCacheClosed,
    TieredCacheCorrupt,
    TieredCacheUnavailable,
)
from penstock.clock import ManualClock
from penstock.errors import PenstockError
from redis_server import RedisServer

pytestmark = pytest.mark.engine

PATIENCE = 20  # seconds after which a test that hangs fails
CALM = 10.0  # seconds: a time limit that a busy machine does not reach
PREFIX = "penstock:cache:"
DEAD = "redis://127.0.0.1:1/0"  # nobody listens on port 1


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis") / "shared") as server:
        yield server


@pytest.fixture
def server(shared_server):
    client = shared_server.client()
    client.flushall()
    client.config_resetstat()
    return shared_server


@pytest.fixture
def own_server(tmp_path):
    with RedisServer(tmp_path / "own") as server:
        yield server


@contextlib.asynccontextmanager
async def client_of(url):
    """A client that asks once, so that a test and not redis-py decides what a failure is."""
    client = Redis.from_url(url, retry=Retry(NoBackoff(), 0))
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def opened(server, **options):
    """A patient cache of its own client, as another process would have one."""
    url = server if isinstance(server, str) else server.url
    options = {"timeout": CALM, "retry_delay": lambda failures: 0.01, **options}
    async with client_of(url) as client, TieredCache(client, **options) as cache:
        yield cache


async def eventually(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, condition
        await asyncio.sleep(0.001)


def in_front(cache, key):
    """The value that the front would serve."""
    return cache._from_front(key) if cache.stats().connected else module.NOTHING


async def fetched(cache, key):
    """The value, which is in the front afterwards: the invalidation of its own write has arrived."""
    async with asyncio.timeout(PATIENCE):
        while in_front(cache, key) is module.NOTHING:
            await cache.get(key)
            await asyncio.sleep(0.001)
    return await cache.get(key)


class Gate:
    """Holds back what Redis has answered to a script until it is opened."""

    def __init__(self, cache, script):
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self._script, self._ask = script, cache._redis.ask
        cache._redis.ask = self.ask

    async def ask(self, script, *arguments):
        answer = await self._ask(script, *arguments)
        if script is self._script and not self.open.is_set():
            self.reached.set()
            await self.open.wait()
        return answer


# ---- what a cache does


async def test_values_are_shared_by_all_caches_of_a_prefix(server):
    async with opened(server) as one, opened(server) as other:
        assert await one.get("a") is None
        assert await one.get("a", "none") == "none"
        assert await one.set("a", {"name": "Ann", "age": 30})
        assert await other.get("a") == {"name": "Ann", "age": 30}
        assert await other.delete("a")
        assert not await other.delete("a")
        assert await one.get("a") is None


async def test_other_prefixes_are_other_caches(server):
    async with opened(server) as one, opened(server, prefix="other:") as other:
        await one.set("a", 1)
        assert await other.get("a") is None
        await other.set("b", 2)
        await eventually(lambda: other.stats().invalidations == 1)
        assert one.stats().invalidations == 1


async def test_none_is_a_value(server):
    async with opened(server) as cache:
        await cache.set("a", None)
        assert await cache.get("a", "none") is None
        assert await fetched(cache, "a") is None
        assert await cache.get_many(["a", "b"]) == {"a": None}


async def test_second_read_asks_nobody(server):
    async with opened(server) as cache:
        await cache.set("a", 1)
        assert await fetched(cache, "a") == 1
        server.client().config_resetstat()
        hits = cache.stats().front_hits
        assert await cache.get("a") == 1
        assert await cache.get_many(["a"]) == {"a": 1}
        assert await cache.get_or_compute("a", never) == 1
        assert cache.stats().front_hits == hits + 3
        assert "cmdstat_evalsha" not in server.client().info("commandstats")


async def never(key):
    raise AssertionError(f"{key} must not be computed")


async def test_many_keys_travel_together(server):
    async with opened(server) as cache:
        items = {f"key {number}": number for number in range(150)}
        assert await cache.set_many(items)
        assert await cache.get_many([*items, "none"]) == items
        assert list(await cache.get_many(["key 2", "key 1", "key 2"])) == ["key 2", "key 1"]
        assert await cache.delete_many(["key 1", "key 2", "none"]) == 2
        assert len(await cache.get_many(items)) == 148
        calls = server.client().info("commandstats")["cmdstat_evalsha"]["calls"]
        assert calls <= 3 + 3 + 1 + 1 + 3


async def test_large_values_take_several_round_trips(server):
    async with opened(server) as cache:
        items = {f"key {number}": bytes([number]) * 1_000_000 for number in range(12)}
        assert await cache.set_many(items)
        assert await cache.get_many(items) == items
        calls = server.client().info("commandstats")["cmdstat_evalsha"]["calls"]
        assert calls >= 3 + 3


async def test_tasks_that_read_one_key_ask_once(server):
    async with opened(server) as cache:
        await cache.set("a", 1)
        server.client().config_resetstat()
        assert await asyncio.gather(*(cache.get("a") for _ in range(100))) == [1] * 100
        assert server.client().info("commandstats")["cmdstat_pttl"]["calls"] == 1


async def test_empty_bytes_are_a_value(server):
    class Raw:
        encode = decode = staticmethod(bytes)

    async with opened(server, codec=Raw()) as cache:
        await cache.set("a", b"")
        assert await cache.get("a") == b""
        assert await cache.get("b") is None


async def test_restarted_scripts_are_sent_again(server):
    async with opened(server) as cache:
        await cache.set("a", 1)
        server.client().script_flush()
        assert await cache.get("a") == 1


# ---- changes by others


@pytest.mark.parametrize("change", ["set", "delete", "set_many", "delete_many"])
async def test_front_forgets_what_another_process_has_changed(server, change):
    async with opened(server) as one, opened(server) as other:
        await one.set("a", 1)
        assert await fetched(one, "a") == 1
        match change:
            case "set":
                await other.set("a", 2)
            case "set_many":
                await other.set_many({"a": 2})
            case "delete":
                await other.delete("a")
            case "delete_many":
                await other.delete_many(["a"])
        await eventually(lambda: in_front(one, "a") is module.NOTHING)
        assert await one.get("a") == (2 if change.startswith("set") else None)


async def test_front_forgets_what_redis_lets_expire(server):
    async with opened(server, front=(front := LRUCache(10))) as cache:
        await cache.set("a", 1)
        await fetched(cache, "a")
        server.client().pexpire(f"{PREFIX}a", 1)  # an invalidation, and another one when it is gone
        await eventually(lambda: not server.client().exists(f"{PREFIX}a") and "a" not in front)
        assert await cache.get("a") is None


@pytest.mark.parametrize("flush", ["flushdb", "flushall"])
async def test_front_forgets_everything_when_redis_is_flushed(server, flush):
    async with opened(server) as cache:
        await cache.set_many({"a": 1, "b": 2})
        await fetched(cache, "a")
        await fetched(cache, "b")
        getattr(server.client(), flush)()
        await eventually(lambda: cache.stats().flushes == 1)
        assert await cache.get_many(["a", "b"]) == {}


async def test_write_of_our_own_is_seen_at_once_by_every_read(server):
    async with opened(server) as cache:
        for number in range(50):
            await cache.set("a", number)
            assert await cache.get("a") == number
            assert await fetched(cache, "a") == number
            if number % 2:
                await cache.delete("a")
                assert await cache.get("a") is None


@pytest.mark.parametrize("write", ["set", "delete", "get_or_compute"])
async def test_write_of_our_own_is_seen_before_there_is_news_of_it(server, write):
    async with opened(server) as cache:
        before, after = ("old", None) if write == "delete" else (None, "new")
        if before:
            await cache.set("a", before)
            await eventually(lambda: cache.stats().invalidations == 1)
        cache._tracking._on_change = lambda names: None  # the news are late
        computing, go_on = asyncio.Event(), asyncio.Event()

        async def compute(key):
            computing.set()
            await go_on.wait()
            return "new"

        match write:
            case "set":
                writing = cache.set("a", "new")
            case "delete":
                writing = cache.delete("a")
            case "get_or_compute":
                writing = asyncio.create_task(cache.get_or_compute("a", compute))
                await computing.wait()
        gate = Gate(cache, module.READ)
        reading = asyncio.create_task(cache.get("a"))
        await gate.reached.wait()
        go_on.set()
        await writing
        late = asyncio.create_task(cache.get("a"))
        await asyncio.sleep(0)
        gate.open.set()
        assert await reading == before
        assert await late == after


async def test_keys_of_others_under_the_prefix_do_no_harm(server):
    async with opened(server) as cache:
        server.client().set(f"{PREFIX}".encode() + b"\xff\xfe", 1)
        await cache.set("a", 1)
        await eventually(lambda: cache.stats().invalidations == 1)
        assert cache.stats().connected
        assert cache.stats().losses == 0


@pytest.mark.parametrize("change", ["set", "delete", "flush", "own set", "loss"])
async def test_value_that_was_overtaken_on_its_way_is_not_kept(own_server, change):
    async with opened(own_server) as cache:
        raw = own_server.client()
        raw.set(f"{PREFIX}a", msgspec.msgpack.encode("old"))
        await eventually(lambda: cache.stats().invalidations == 1)
        gate = Gate(cache, module.READ)
        reading = asyncio.create_task(cache.get("a"))
        await gate.reached.wait()  # the old value is read, and not here yet
        match change:
            case "set":
                raw.set(f"{PREFIX}a", msgspec.msgpack.encode("new"))
                await eventually(lambda: cache.stats().invalidations == 2)
            case "delete":
                raw.delete(f"{PREFIX}a")
                await eventually(lambda: cache.stats().invalidations == 2)
            case "flush":
                raw.flushdb()
                await eventually(lambda: cache.stats().flushes == 1)
            case "own set":
                await cache.set("a", "new")
            case "loss":
                raw.client_kill_filter(_type="pubsub")
                await eventually(lambda: cache.stats().losses == 1)
                await eventually(lambda: cache.stats().connected)
                raw.set(f"{PREFIX}a", msgspec.msgpack.encode("new"))
        late = asyncio.create_task(cache.get("a"))  # after the change: must not join the read from before
        await asyncio.sleep(0)
        gate.open.set()
        assert await reading == "old"  # which began before the change
        new = None if change in ("delete", "flush") else "new"
        assert await late == new
        assert in_front(cache, "a") != "old"
        assert await cache.get("a") == new


async def test_value_that_was_not_overtaken_is_kept(server):
    async with opened(server) as cache:
        server.client().set(f"{PREFIX}a", msgspec.msgpack.encode("old"))
        await eventually(lambda: cache.stats().invalidations == 1)
        gate = Gate(cache, module.READ)
        reading = asyncio.create_task(cache.get("a"))
        await gate.reached.wait()
        gate.open.set()
        assert await reading == "old"
        assert in_front(cache, "a") == "old"


def test_processes_see_no_value_that_is_older_than_news_take_to_arrive(server):
    script = Path(__file__).with_name("tiered_process.py")
    number, reads = 4, 3000
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([sys.executable, script, server.url, str(each), str(number), str(reads)], **pipes)
        for each in range(number)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            tell(process, "go")
        reports = [json.loads(process.stdout.readline()) for process in processes]
        truth = {key: version for report in reports for key, version, _ in report["writes"]}
        for _ in range(5):
            for process in processes:
                tell(process, json.dumps(truth))
            assert [process.stdout.readline() for process in processes] == ["ok\n"] * number
            truth = {key: version + 1 for key, version in truth.items()}
            asyncio.run(write(server, truth))
        for process in processes:
            process.communicate(timeout=PATIENCE)
            assert process.returncode == 0
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    written = {(key, version): at for report in reports for key, version, at in report["writes"]}
    lags = [
        (began - written[key, version + 1]) / 1e6
        for report in reports
        for key, version, began in report["reads"]
        if version is not None and began > written.get((key, version + 1), began)
    ]
    assert all(report["hits"] > reads / 10 for report in reports)
    print(f"{len(written)} writes, {len(lags)} late reads, the latest {max(lags, default=0):.1f} ms")
    assert (
        max(lags, default=0) < 1000
    )  # a busy machine; without news they would be as late as the run is long


def tell(process, line):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


async def write(server, items):
    async with opened(server) as cache:
        await cache.set_many(items)


# ---- the connection that hears of changes


async def test_front_is_emptied_when_the_connection_is_killed_and_used_again_later(server):
    async with opened(server, front=(front := LRUCache(10))) as cache:
        await cache.set("a", 1)
        await fetched(cache, "a")
        server.client().client_kill_filter(_type="pubsub")
        await eventually(lambda: cache.stats().losses == 1)
        assert "a" not in front
        assert await cache.get("a") == 1
        await eventually(lambda: cache.stats().connected)
        assert await fetched(cache, "a") == 1
        assert cache.stats().losses == 1


async def test_front_is_bypassed_until_changes_are_heard_of_again(server):
    delays = asyncio.Queue()
    async with opened(server, retry_delay=lambda failures: delays.put_nowait(failures) or 3600) as cache:
        await cache.set("a", 1)
        await fetched(cache, "a")
        server.client().client_kill_filter(_type="pubsub")
        assert await delays.get() == 1  # seconds that never pass
        for number in range(5):
            server.client().set(f"{PREFIX}a", msgspec.msgpack.encode(number))
            assert await cache.get("a") == number
        assert not cache.stats().connected
        assert "a" not in cache._front


async def test_killed_server_is_found_again_by_itself(own_server):
    failures = []
    async with opened(own_server, retry_delay=lambda number: failures.append(number) or 0.01) as cache:
        await cache.set("a", 1)
        await fetched(cache, "a")
        own_server.stop()
        await eventually(lambda: cache.stats().losses == 1)
        with pytest.raises(TieredCacheUnavailable):
            await cache.get("a")
        await eventually(lambda: len(failures) > 2)
        assert failures[:3] == [1, 2, 3]
        own_server.start()
        await eventually(lambda: cache.stats().connected)
        assert await cache.get("a") is None
        await cache.set("a", 2)
        assert await fetched(cache, "a") == 2


async def test_server_that_is_down_at_the_start_is_found_later(own_server):
    own_server.stop()
    async with opened(own_server, on_error="bypass") as cache:
        assert not cache.stats().connected
        assert await cache.get("a") is None
        own_server.start()
        await eventually(lambda: cache.stats().connected)
        await cache.set("a", 1)
        assert await fetched(cache, "a") == 1


async def test_front_of_a_frozen_server_is_trusted_for_max_staleness_only(own_server):
    async with opened(own_server, max_staleness=0.3) as cache:
        await cache.set("a", 1)
        await fetched(cache, "a")
        own_server.freeze()
        began = asked_at = served_at = time.monotonic()
        while in_front(cache, "a") is not module.NOTHING:
            assert asked_at < began + PATIENCE
            served_at = asked_at
            await asyncio.sleep(0.001)
            asked_at = time.monotonic()
        assert served_at - began <= 0.3
        await eventually(lambda: not cache.stats().connected)
        cache._redis._timeout = 0.1
        with pytest.raises(TieredCacheUnavailable):
            await cache.get("a")
        cache._redis._timeout = CALM
        own_server.thaw()
        await eventually(lambda: cache.stats().connected)
        assert await fetched(cache, "a") == 1


async def test_process_that_was_stopped_serves_nothing_old_when_it_goes_on(server):
    clock = ManualClock()
    async with opened(server, max_staleness=60, clock=clock) as cache:
        await cache.set("a", 1)
        await fetched(cache, "a")
        server.client().set(f"{PREFIX}a", msgspec.msgpack.encode(2))  # blocks: the event loop hears nothing
        clock.advance(59.9)
        assert in_front(cache, "a") == 1
        clock.advance(0.1)
        assert await cache.get("a") == 2


async def test_quiet_cache_stays_connected(server):
    def pings():
        return server.client().info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]

    async with opened(server, max_staleness=0.5) as cache:
        async with asyncio.timeout(3 * PATIENCE):  # a machine that pauses may lose it now and then
            while True:
                losses, before = cache.stats().losses, pings()
                await eventually(lambda: pings() - before >= 6)  # noqa: B023  # without pongs: lost after 3
                if cache.stats().losses == losses:
                    break


@pytest.mark.parametrize("wrong", [-1, float("nan"), "soon", None])
async def test_retry_delay_that_is_none_does_not_end_the_tries(server, wrong):
    async with opened(server, retry_delay=lambda failures: wrong) as cache:
        server.client().client_kill_filter(_type="pubsub")
        await eventually(lambda: cache.stats().losses == 1)
        await eventually(lambda: cache.stats().connected)


def test_delays_double_up_to_five_seconds():
    for failures in (1, 2, 5, 1000):
        longest = min(0.05 * 2 ** (failures - 1), 5)
        assert longest / 2 <= doubling_delay(failures) <= longest


# ---- time to live


async def test_front_does_not_outlive_redis(server):
    clock = ManualClock()
    async with opened(server, clock=clock, max_staleness=3600) as cache:
        await cache.set("a", 1, ttl=10)
        await fetched(cache, "a")
        clock.advance(9.5)
        fresh = in_front(cache, "a")
        clock.advance(0.5)
        assert in_front(cache, "a") is module.NOTHING
        assert fresh == 1  # up to the time that the test took


async def test_time_on_the_way_counts(server):
    clock = ManualClock()
    async with opened(server, clock=clock, max_staleness=3600) as cache:
        await cache.set("a", 1, ttl=60)
        await eventually(lambda: cache.stats().invalidations == 1)
        gate = Gate(cache, module.READ)
        reading = asyncio.create_task(cache.get("a"))
        await gate.reached.wait()
        clock.advance(40)
        gate.open.set()
        assert await reading == 1
        assert in_front(cache, "a") == 1
        clock.advance(20)
        assert in_front(cache, "a") is module.NOTHING


async def test_ttl_of_the_cache_bounds_entries_that_others_wrote_for_ever(server):
    clock = ManualClock()
    async with opened(server, clock=clock, max_staleness=3600, ttl=timedelta(seconds=10)) as cache:
        server.client().set(f"{PREFIX}a", msgspec.msgpack.encode(1))
        await eventually(lambda: cache.stats().invalidations == 1)
        await cache.get("a")
        clock.advance(9.9)
        assert in_front(cache, "a") == 1
        clock.advance(0.1)
        assert in_front(cache, "a") is module.NOTHING


@pytest.mark.parametrize(
    ("own", "given", "least", "most"),
    [(None, ..., -1, -1), (60, ..., 50_000, 60_000), (60, None, -1, -1), (60, 5, 1_000, 5_000)],
)
async def test_ttl_in_redis_is_that_of_the_call_or_of_the_cache(server, own, given, least, most):
    async with opened(server, ttl=own) as cache:
        await cache.set("a", 1, ttl=given)
        assert least <= server.client().pttl(f"{PREFIX}a") <= most
        await cache.get_or_compute("b", length, ttl=given)
        assert least <= server.client().pttl(f"{PREFIX}b") <= most


async def length(key):
    return len(key)


# ---- computations


async def test_thousand_tasks_on_a_cold_key_compute_once(server):
    computed = []

    async def compute(key):
        computed.append(key)
        await asyncio.sleep(0)
        return "value"

    async with opened(server) as cache:
        values = await asyncio.gather(*(cache.get_or_compute("a", compute) for _ in range(1000)))
        assert values == ["value"] * 1000
        assert computed == ["a"]
        assert cache.stats().computed == 1
        assert await cache.get("a") == "value"


async def test_several_processes_on_a_cold_key_compute_once(server):
    computed = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def compute(key):
        computed.append(key)
        begun.set()
        await go_on.wait()
        return "value"

    caches = [opened(server, lease=180) for _ in range(3)]
    async with caches[0] as one, caches[1] as two, caches[2] as three:
        tasks = [asyncio.create_task(each.get_or_compute("a", compute)) for each in (one, two, three)]
        await begun.wait()
        await eventually(lambda: all(each.stats().misses for each in (one, two, three)))
        go_on.set()
        async with asyncio.timeout(PATIENCE):  # they are told; a look every lease / 3 comes after a minute
            assert await asyncio.gather(*tasks) == ["value"] * 3
        assert computed == ["a"]
        assert server.client().keys("lease:*") == []


async def test_error_goes_to_all_who_wait_and_the_next_call_tries_again(server):
    async def fail(key):
        await asyncio.sleep(0)
        raise KeyError(key)

    async with opened(server) as cache:
        errors = await asyncio.gather(
            *(cache.get_or_compute("a", fail) for _ in range(3)), return_exceptions=True
        )
        assert [type(error) for error in errors] == [KeyError] * 3
        assert server.client().keys() == []
        assert await cache.get_or_compute("a", length) == 1


async def test_value_computed_from_before_a_delete_is_not_stored(server):
    gone = asyncio.Event()
    begun = asyncio.Event()

    async def compute(key):
        begun.set()
        await gone.wait()
        return "old"

    async with opened(server) as one, opened(server) as other:
        computing = asyncio.create_task(one.get_or_compute("a", compute))
        await begun.wait()
        assert not await other.delete("a")  # there is nothing yet, and still it counts
        gone.set()
        assert await computing == "old"
        assert await one.get("a") is None
        assert one.stats().not_stored == 1


@pytest.mark.parametrize("by_itself", [True, False])
async def test_value_computed_from_before_a_set_does_not_replace_it(server, by_itself):
    written, begun = asyncio.Event(), asyncio.Event()

    async def compute(key):
        begun.set()
        await written.wait()
        return "old"

    async with opened(server) as one, opened(server) as other:
        computing = asyncio.create_task(one.get_or_compute("a", compute))
        await begun.wait()
        await (one if by_itself else other).set("a", "new")
        await eventually(lambda: one.stats().invalidations == 1)
        async with asyncio.timeout(PATIENCE):  # for ever, if it joined the computation from before
            assert await one.get_or_compute("a", never) == "new"
        written.set()
        assert await computing == "old"
        assert await other.get("a") == await one.get("a") == "new"


async def test_process_that_died_is_taken_over_from_when_its_lease_ends(server):
    server.client().set(f"lease:{PREFIX}a", "a dead process", px=200)
    async with opened(server) as cache:
        assert await cache.get_or_compute("a", length) == 1
        assert await cache.get("a") == 1


async def test_process_that_hangs_is_not_waited_for_for_ever(server):
    server.client().set(f"lease:{PREFIX}a", "a process that hangs")  # its lease never ends
    async with opened(server, lease=0.01) as cache:
        assert await cache.get_or_compute("a", length) == 1
        assert cache.stats().not_stored == 1


async def test_lease_is_renewed_while_a_value_is_computed(server, monkeypatch):
    client, lease, slept = server.client(), f"lease:{PREFIX}a", set()

    async def sleep(seconds):
        slept.add(seconds)
        await asyncio.sleep(seconds / 1000)

    monkeypatch.setattr(module, "sleep", sleep)

    async def compute(key):
        for _ in range(3):
            assert client.pexpire(lease, 30_000)
            await eventually(lambda: client.pttl(lease) > 30_000)
        return "slow"

    async with opened(server, lease=60) as one, opened(server, lease=60) as other:
        values = await asyncio.gather(one.get_or_compute("a", compute), other.get_or_compute("a", compute))
        assert values == ["slow"] * 2
        assert one.stats().computed + other.stats().computed == 1
        assert slept == {20}  # and once more before the lease has ended


async def test_value_that_is_too_large_is_given_and_not_stored(server):
    async def compute(key):
        return "x" * 100

    async with opened(server, max_value_bytes=50) as cache:
        assert await cache.get_or_compute("a", compute) == "x" * 100
        assert server.client().keys() == []
        assert cache.stats().not_stored == 1


async def test_computation_that_asks_for_its_own_key_is_told_so(server):
    async with opened(server) as cache:

        async def compute(key):
            return await cache.get_or_compute(key, compute)

        with pytest.raises(CacheLoadDeadlock, match="key must not be needed to compute its own value"):
            await cache.get_or_compute("a", compute)


async def test_circle_of_computations_through_keys_and_caches_is_told_so(server):
    async with opened(server) as one, opened(server, prefix="other:") as other:

        async def through_other(key):
            return await other.get_or_compute("b", through_one)

        async def through_one(key):
            return await one.get_or_compute("a", through_other)

        async with asyncio.timeout(PATIENCE):
            with pytest.raises(CacheLoadDeadlock, match="got 'a'"):
                await one.get_or_compute("a", through_other)
        assert module.WAITING == {}


async def test_computation_may_ask_for_other_keys(server):
    async with opened(server) as cache:

        async def compute(key):
            return 1 if key == "" else 1 + await cache.get_or_compute(key[1:], compute)

        assert await cache.get_or_compute("abc", compute) == 4


async def test_computation_goes_on_until_nobody_waits(server):
    ended, begun = [], asyncio.Event()

    async def compute(key):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(key)

    async with opened(server) as cache:
        one, other = (asyncio.create_task(cache.get_or_compute("a", compute)) for _ in range(2))
        await begun.wait()
        one.cancel()
        await asyncio.wait([one])
        assert not ended
        other.cancel()
        await asyncio.wait([other])
        assert await cache.get_or_compute("a", length) == 1  # joins no computation that is being cancelled
        assert ended == ["a"]


# ---- cancellation and the end


async def test_cancelled_calls_leave_the_cache_usable(server):
    async with opened(server) as cache:
        for number in range(60):
            await cache.set("a", number)
            calls = [
                cache.get("a"),
                cache.get("b"),
                cache.get_many(["a", "b", "c"]),
                cache.set("a", -1),
                cache.delete("b"),
                cache.get_or_compute("d", length),
            ]
            tasks = [asyncio.create_task(call) for call in calls]
            for _ in range(number % 20):  # further each time, through all that they await
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await cache.set("a", number)
            assert await cache.get("a") == number
        async with asyncio.timeout(PATIENCE):
            assert await cache.get_or_compute("d", length) == 1
        assert cache._flights.keys() <= {"a", "b", "c", "d"}
        await eventually(lambda: not cache._flights and not cache._computations)


async def test_cancelled_computation_ends_wherever_it_was(server):
    async with opened(server) as cache:
        for number in range(60):
            call = asyncio.create_task(cache.get_or_compute(f"key {number}", hang))
            for _ in range(number):  # redis-py swallows a cancellation at one or two of these
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            await eventually(lambda: not cache._computations)


async def test_cancelled_read_does_not_take_those_with_it_that_wait_for_the_same(server):
    async with opened(server) as cache:
        await cache.set("a", 1)
        gate = Gate(cache, module.READ)
        one, other = (asyncio.create_task(cache.get("a")) for _ in range(2))
        await gate.reached.wait()
        one.cancel()
        gate.open.set()
        assert await other == 1


async def test_end_leaves_no_task_and_no_connection(server, recwarn):
    async with client_of(server.url) as client:
        async with TieredCache(client, timeout=CALM) as cache:
            await cache.set("a", 1)
            await fetched(cache, "a")
            reading = asyncio.create_task(cache.get("b"))
            computing = asyncio.create_task(cache.get_or_compute("c", hang))
            await eventually(lambda: len(server.client().keys("lease:*")) == 1)
        assert await reading is None
        with pytest.raises(TieredCacheClosed):
            await computing
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await eventually(lambda: not server.client().client_list(_type="pubsub"))
        assert server.client().keys("lease:*") == []
        assert await client.get(f"{PREFIX}a") is not None  # the client is the caller's, and open
    gc.collect()
    assert not list(recwarn)


async def test_end_right_after_the_start_leaves_nothing_either(server, recwarn):
    async with client_of(server.url) as client:
        async with TieredCache(client, timeout=CALM):
            assert len(server.client().client_list(_type="pubsub")) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await eventually(lambda: not server.client().client_list(_type="pubsub"))
        starting = asyncio.create_task(TieredCache(client, timeout=CALM).start())
        for _ in range(6):  # somewhere in the middle
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        await eventually(lambda: not server.client().client_list(_type="pubsub"))
    gc.collect()
    assert not list(recwarn)


async def hang(key):
    await asyncio.Event().wait()


async def test_closed_cache_says_so(server):
    async with opened(server) as cache:
        await cache.set("a", 1)
        await fetched(cache, "a")
    for call in (
        lambda: cache.get("a"),
        lambda: cache.get_many(["a"]),
        lambda: cache.set("a", 1),
        lambda: cache.delete("a"),
        lambda: cache.get_or_compute("a", never),
        cache.start,
    ):
        with pytest.raises(TieredCacheClosed, match="the cache must be open, got a call after"):
            await call()
    await cache.aclose()
    assert not cache.stats().connected


# ---- failures


async def test_without_redis_calls_raise():
    async with opened(DEAD) as cache:
        for call in (
            lambda: cache.get("a"),
            lambda: cache.get_many(["a", "b"]),
            lambda: cache.set("a", 1),
            lambda: cache.delete("a"),
            lambda: cache.get_or_compute("a", never),
        ):
            with pytest.raises(TieredCacheUnavailable, match=r"^Redis is ") as caught:
                await call()
            assert isinstance(caught.value, PenstockError)
            assert isinstance(caught.value, ConnectionError)
        assert cache.stats().errors >= 1


async def test_without_redis_a_bypassing_cache_computes():
    async with opened(DEAD, on_error="bypass") as cache:
        assert await cache.get("a", 7) == 7
        assert await cache.get_many(["a", "b"]) == {}
        assert not await cache.set("a", 1)
        assert await cache.get_or_compute("abc", length) == 3
        assert await cache.get_or_compute("abc", length) == 3
        assert cache.stats().computed == cache.stats().not_stored == 2
        with pytest.raises(TieredCacheUnavailable):  # what should be gone may be there
            await cache.delete("a")


async def test_error_of_a_computation_is_not_taken_for_one_of_redis(server):
    async def fail(key):
        raise TieredCacheUnavailable("another one")

    for on_error in ("raise", "bypass"):
        async with opened(server, on_error=on_error) as cache:
            with pytest.raises(TieredCacheUnavailable, match="another one"):
                await cache.get_or_compute("a", fail)


async def test_value_is_given_even_if_redis_dies_while_it_is_computed(own_server):
    async def compute(key):
        own_server.stop()
        return "value"

    async with opened(own_server) as cache:
        assert await cache.get_or_compute("a", compute) == "value"
        assert cache.stats().not_stored == 1


async def test_frozen_server_costs_the_timeout_once_in_a_while(own_server):
    clock = ManualClock()
    async with opened(own_server, timeout=0.05, retry_after=60, clock=clock, on_error="bypass") as cache:
        own_server.freeze()
        while cache._redis._failed is None:  # a wait that this process held up is no reason to leave it alone
            await cache.get("a")
        errors = cache.stats().errors
        for _ in range(50):
            await cache.get("a")
        assert cache.stats().errors == errors
        own_server.thaw()
        clock.advance(60)
        cache._redis._timeout = CALM
        assert await cache.set("a", 1)
        assert await cache.get("a") == 1


async def test_full_server_is_unavailable_for_writes_and_not_for_reads(tmp_path):
    settings = ("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    with RedisServer(tmp_path / "full", *settings) as server:
        clock = ManualClock()
        async with opened(server, clock=clock) as cache:
            await cache.set("a", 1)
            server.client().config_set("maxmemory", "1")
            with pytest.raises(TieredCacheUnavailable, match="Redis is unavailable"):
                await cache.set("b", 2)
            with pytest.raises(TieredCacheUnavailable, match="Redis is left alone for a while"):
                await cache.get("c")
            clock.advance(0.1)
            assert await cache.get("a") == 1


@pytest.mark.parametrize(
    ("stored", "limit"), [(b"\xc1", 100), (b"", 100), (b"\x01\x01", 100), (b"\xd9\x60" + b"x" * 96, 50)]
)
async def test_bytes_that_are_no_value_are_a_miss_until_they_are_overwritten(server, stored, limit):
    server.client().set(f"{PREFIX}a", stored)
    async with opened(server, max_value_bytes=limit) as cache:
        assert await cache.get("a") is None
        assert await cache.get_many(["a"]) == {}
        assert cache.stats().corrupt == cache.stats().misses == 2
        assert await cache.get_or_compute("a", length) == 1
        assert await cache.get("a") == 1
        assert cache.stats().corrupt == 3


async def test_value_of_another_kind_is_a_miss_until_it_is_overwritten(server):
    server.client().rpush(f"{PREFIX}a", 1, 2)
    async with opened(server) as cache:
        server.client().set(f"{PREFIX}b", msgspec.msgpack.encode(2))
        assert await cache.get_many(["a", "b"]) == {"b": 2}
        await cache.set("a", 1)
        assert await cache.get("a") == 1


async def test_bytes_that_are_no_value_raise_if_that_is_asked_for(server):
    server.client().set(f"{PREFIX}a", b"\xc1")
    async with opened(server, on_corrupt="raise") as cache:
        message = "Redis must hold a value of the codec, got none at 'a'"
        with pytest.raises(TieredCacheCorrupt, match=message) as caught:
            await cache.get("a")
        assert isinstance(caught.value, ValueError)
        await cache.set("a", 1)
        assert await cache.get("a") == 1


async def test_large_value_is_not_read_from_redis(server):
    server.client().set(f"{PREFIX}a", b"x" * 1_000_000)
    async with opened(server, max_value_bytes=100) as cache:
        before = server.client().info("stats")["total_net_output_bytes"]
        assert await cache.get("a") is None
        assert server.client().info("stats")["total_net_output_bytes"] - before < 100_000


async def test_wrong_password_is_an_error_at_the_start(tmp_path):
    with RedisServer(tmp_path / "locked", "--requirepass", "secret") as server:
        async with client_of(f"redis://:wrong@127.0.0.1:{server.port}") as client:
            with pytest.raises(redis.exceptions.AuthenticationError):
                await TieredCache(client, on_error="bypass").start()
        async with (
            client_of(f"redis://:secret@127.0.0.1:{server.port}") as client,
            TieredCache(client) as cache,
        ):
            assert cache.stats().connected


async def test_missing_permission_is_an_error_at_the_start(own_server):
    own_server.client().acl_setuser("app", enabled=True, nopass=True, keys=["*"], commands=["+@all"])
    async with client_of(f"redis://app:any@127.0.0.1:{own_server.port}") as client:
        with pytest.raises(redis.exceptions.NoPermissionError):
            await TieredCache(client, on_error="bypass").start()
        assert asyncio.all_tasks() == {asyncio.current_task()}


# ---- arguments


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prefix": ""}, ValueError, "prefix must be 1 to 256 bytes, got 0"),
        ({"prefix": "x" * 257}, ValueError, "prefix must be 1 to 256 bytes, got 257"),
        ({"prefix": b"x"}, TypeError, "prefix must be a str, got bytes"),
        ({"prefix": "lease:"}, ValueError, "prefix must not begin the names of its leases"),
        ({"prefix": "lea"}, ValueError, "prefix must not begin the names of its leases"),
        ({"front": []}, TypeError, r"front must be a cache with get\(\), got list"),
        ({"maxsize": 0}, ValueError, "maxsize must be >= 1"),
        ({"ttl": 0}, ValueError, "ttl must be > 0 and <= 100 years, got 0"),
        ({"ttl": float("nan")}, ValueError, "ttl must be > 0 and <= 100 years, got nan"),
        ({"ttl": "1"}, TypeError, "ttl must be seconds, a timedelta or None, got str"),
        ({"codec": json}, TypeError, "codec must have encode and decode, got module"),
        ({"max_value_bytes": 0}, ValueError, "max_value_bytes must be >= 1 and <= 536870912 bytes, got 0"),
        ({"max_value_bytes": 1.5}, TypeError, "max_value_bytes must be an integer, got float"),
        ({"on_error": "allow"}, ValueError, "on_error must be raise or bypass, got 'allow'"),
        ({"on_corrupt": "no"}, ValueError, "on_corrupt must be miss or raise, got 'no'"),
        ({"timeout": 0}, ValueError, "timeout must be >= 0.001 and <= 3600 seconds, got 0"),
        ({"retry_after": None}, TypeError, "retry_after must be seconds or a timedelta, got NoneType"),
        ({"max_staleness": float("inf")}, ValueError, "max_staleness must be >= 0.001 and <= 3600 seconds"),
        ({"lease": True}, TypeError, "lease must be seconds or a timedelta, got bool"),
        ({"retry_delay": 1}, TypeError, "retry_delay must be callable or None, got int"),
        ({"clock": 1}, TypeError, "clock must be callable or None, got int"),
    ],
)
async def test_bad_settings_are_refused(options, error, message):
    async with client_of(DEAD) as client:
        with pytest.raises(error, match=message) as caught:
            TieredCache(client, **options)
        assert isinstance(caught.value, PenstockError)


@pytest.mark.parametrize("key", ["x" * 1025, "é" * 513, 1, b"a", None])
async def test_bad_keys_are_refused_without_a_round_trip(key):
    async with opened(DEAD) as cache:
        for call in (
            lambda: cache.get(key),
            lambda: cache.get_many(["a", key]),
            lambda: cache.set(key, 1),
            lambda: cache.set_many({"a": 1, key: 1}),
            lambda: cache.delete(key),
            lambda: cache.get_or_compute(key, never),
        ):
            with pytest.raises((ValueError, TypeError), match="key must be ") as caught:
                await call()
            assert isinstance(caught.value, PenstockError)
        assert cache.stats().errors == 0


async def test_longest_and_strangest_keys_are_taken(server):
    async with opened(server) as cache:
        for key in ("x" * 1024, "é" * 512, "", "\0", "\ud800", "lease:a", "a b\r\nc"):
            await cache.set(key, 1)
            assert await fetched(cache, key) == 1
            server.client().delete(f"{PREFIX}{key}".encode(errors="surrogatepass"))
            await eventually(lambda key=key: in_front(cache, key) is module.NOTHING)


async def test_too_large_and_unknown_values_are_refused_and_change_nothing(server):
    async with opened(server, max_value_bytes=50) as cache:
        await cache.set("a", 1)
        with pytest.raises(ValueError, match="a value must be <= 50 bytes, got 102 for 'a'"):
            await cache.set_many({"b": 1, "a": "x" * 100})
        with pytest.raises(TypeError):
            await cache.set("a", object())
        with pytest.raises(ValueError, match="ttl must be > 0"):
            await cache.set("a", 2, ttl=-1)
        assert await cache.get_many(["a", "b"]) == {"a": 1}


async def test_clients_that_will_not_do_are_refused():
    with pytest.raises(TypeError, match=r"client must be a redis\.asyncio\.Redis, got redis\.client\.Redis"):
        TieredCache(redis.Redis())
    with pytest.raises(TypeError, match=r"client must be a redis\.asyncio\.Redis, got .*RedisCluster"):
        TieredCache(RedisCluster(host="127.0.0.1", port=1))
    with pytest.raises(ValueError, match="client must have decode_responses=False, got True"):
        TieredCache(Redis(decode_responses=True))


@pytest.mark.parametrize("protocol", [2, 3])
async def test_client_of_either_protocol_will_do(server, protocol):
    client = Redis.from_url(server.url, protocol=protocol)
    async with TieredCache(client, timeout=CALM) as cache:
        await cache.set("a", 1)
        assert await fetched(cache, "a") == 1
        server.client().delete(f"{PREFIX}a")
        await eventually(lambda: in_front(cache, "a") is module.NOTHING)
    await client.aclose()


def test_caches_do_not_import_redis():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, penstock.cache; sys.exit('redis' in sys.modules)"], check=False
    )
    assert done.returncode == 0


def test_missing_client_library_is_named():
    code = "import sys; sys.modules['redis'] = None; import penstock.cache.tiered"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "penstock.cache.tiered needs redis-py: pip install penstock[redis]" in done.stderr
