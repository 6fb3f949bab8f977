"""RedisRateLimiter beside the async Redis limiters that people use, all on one server started here."""

import asyncio
import sys
from pathlib import Path

import limits
import pytest
import redis.asyncio
from limits.aio import strategies
from limits.aio.storage import RedisStorage
from throttled import RateLimiterType, rate_limiter
from throttled.asyncio import RedisStore, Throttled

from penstock.ratelimit.engines.redis import RedisRateLimiter

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from redis_server import RedisServer

pytestmark = pytest.mark.engine

PLENTY = 1_000_000  # an hour, so that every call is allowed
AT_ONCE = 32


@pytest.fixture
def server(tmp_path):
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def contestants(server):
    """Names and coroutine functions that allow one call; one event loop for all."""
    with asyncio.Runner() as runner:
        hourly, plenty = f"{PLENTY}/hour", {"nodes": server.url, "timeout": 5}
        ours = {
            "penstock": RedisRateLimiter(hourly, **plenty),
            "penstock, lease of 50": RedisRateLimiter(hourly, lease=50, **plenty),
            "penstock, sliding_counter": RedisRateLimiter(hourly, algorithm="sliding_counter", **plenty),
            "penstock, sliding_window": RedisRateLimiter(
                "100000/second", algorithm="sliding_window", **plenty
            ),
        }
        client = redis.asyncio.Redis(port=server.port)
        storage = RedisStorage(f"async+redis://127.0.0.1:{server.port}/0", implementation="redispy")
        item = limits.RateLimitItemPerHour(PLENTY)
        short = limits.RateLimitItemPerSecond(100_000)
        fixed = strategies.FixedWindowRateLimiter(storage)
        counter = strategies.SlidingWindowCounterRateLimiter(storage)
        moving = strategies.MovingWindowRateLimiter(storage)
        store = RedisStore(server=server.url)
        gcra = Throttled(
            key="h",
            using=RateLimiterType.GCRA.value,
            quota=rate_limiter.per_hour(PLENTY, burst=PLENTY),
            store=store,
        )
        calls = {
            "penstock": lambda: ours["penstock"].allow("a"),
            "penstock, lease of 50": lambda: ours["penstock, lease of 50"].allow("b"),
            "penstock, sliding_counter": lambda: ours["penstock, sliding_counter"].allow("c"),
            "penstock, sliding_window": lambda: ours["penstock, sliding_window"].allow("d"),
            "limits (fixed window)": lambda: fixed.hit(item, "e"),
            "limits (sliding window counter)": lambda: counter.hit(item, "f"),
            "limits (moving window)": lambda: moving.hit(short, "g"),
            "throttled-py (GCRA)": gcra.limit,
            "redis-py, PING, for scale": client.ping,
        }
        yield runner, calls
        for each in (*ours.values(), client, storage.bridge.storage, store._backend.get_client()):
            runner.run(each.aclose())


def test_one_call_after_the_other(race, contestants):
    runner, calls = contestants
    race("await allow(), one at a time", {name: in_loop(runner, call, 1) for name, call in calls.items()}, 20)


def test_many_calls_at_once(race, contestants):
    runner, calls = contestants
    racers = {name: in_loop(runner, call, AT_ONCE) for name, call in calls.items()}
    race(f"await allow(), {AT_ONCE} at once", racers, 20 * AT_ONCE)


def test_round_trips(server, contestants):
    runner, calls = contestants
    client = server.client()
    print()
    for name, call in calls.items():
        runner.run(call())  # connects, and brings scripts
        before = client.info("stats")["total_reads_processed"]
        for _ in range(100):
            runner.run(call())
        reads = client.info("stats")["total_reads_processed"] - before - 1
        print(f"{reads / 100:.2f} round trips a call  {name}")
        assert reads


def in_loop(runner, call, at_once):
    """Twenty times `at_once` calls at the same time, without what it costs to enter the loop for each."""

    async def run():
        for _ in range(20):
            if at_once == 1:
                await call()
            else:
                await asyncio.gather(*(call() for _ in range(at_once)))

    return lambda: runner.run(run())
