"""RedisRateLimiter against real redis-servers."""

import asyncio
import contextlib
import subprocess
import sys
import time
from fractions import Fraction

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.clock import ManualClock
from penstock.errors import PenstockError
from penstock.ratelimit import Quota, RateLimiterUnavailable, TokenBucket
from penstock.ratelimit.engines import redis as engine
from penstock.ratelimit.engines.redis import LimiterClosed, RedisRateLimiter
from penstock.ratelimit.engines.redis_node import tells_unable
from penstock.ratelimit.engines.redis_scripts import CounterPairs, SlidingWindows, TokenBuckets
from ports import free_port
from real_server import PATIENCE
from redis_server import RedisServer

pytestmark = pytest.mark.engine

ALGORITHMS = ["token_bucket", "sliding_window", "sliding_counter"]
NOW = 1_800_000_000_000_000  # microseconds, as a server has them
DEAD = "redis://127.0.0.1:1/0"  # nobody listens on port 1
CALM = 10.0  # seconds: a time limit that a busy machine does not reach


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


def limiter(*quotas, nodes, now=None, **options):
    """A limiter that is patient, and sees the microseconds of `now`, a list of one, as the server's clock."""
    made = RedisRateLimiter(*quotas, nodes=nodes, **{"timeout": CALM, **options})
    if now is not None:
        made._server_clock = lambda: now[0]
    return made


@contextlib.contextmanager
def impatient(limits, timeout):
    """Has a limiter wait no longer than so many seconds, for as long as the block runs."""
    for node in limits._nodes:
        node._timeout = timeout
    yield
    for node in limits._nodes:
        node._timeout = CALM


def keys(server):
    return sorted(server.client().keys())


def calls(server, command="evalsha"):
    return server.client().info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


async def eventually(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, condition
        await asyncio.sleep(0.01)


# ---- decisions, against other implementations and by their definitions


class Bucket:
    """The definition, in fractions: (admitted, wait in us, left)."""

    def __init__(self, quota):
        self.token = Fraction(quota.period_ns, 1000 * quota.limit)
        self.burst, self.full_at = quota.burst, Fraction(0)

    def missing(self, now):
        return max(self.full_at, now) - now

    def wait(self, now, n):
        return max(self.missing(now) + n * self.token - self.burst * self.token, 0)

    def take(self, now, n):
        self.full_at = max(self.full_at, now) + n * self.token

    def refund(self, now, n):
        self.full_at = max(self.full_at, now) - n * self.token

    def left(self, now):
        return (self.burst * self.token - self.missing(now)) // self.token


class Log:
    """The definition: the moments of all units, none ever forgotten."""

    def __init__(self, quota):
        self.limit, self.period, self.moments = quota.limit, quota.period_ns // 1000, []

    def counted(self, now):
        return [moment for moment in self.moments if moment + self.period >= now]

    def wait(self, now, n):
        excess = len(counted := self.counted(now)) + n - self.limit
        return counted[excess - 1] + self.period + 1 - now if excess > 0 else 0

    def take(self, now, n):
        self.moments += [now] * n

    def refund(self, now, n):
        del self.moments[max(len(self.moments) - n, 0) :]

    def left(self, now):
        return self.limit - len(self.counted(now))


class Counter:
    """The definition, in fractions: units of every window from 1970 on."""

    def __init__(self, quota):
        self.limit, self.period, self.windows = quota.limit, quota.period_ns // 1000, {}

    def units(self, now):
        number, elapsed = divmod(now, self.period)
        share = Fraction(self.period - elapsed, self.period)
        return self.windows.get(number, 0) + self.windows.get(number - 1, 0) * share

    def wait(self, now, n):
        if self.units(now) + n <= self.limit:
            return 0
        before, after = now, now + 2 * self.period + 1  # between them the first moment at which n fit
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (before, middle) if self.units(middle) + n <= self.limit else (middle, after)
        return after - now

    def take(self, now, n):
        self.windows[now // self.period] = self.windows.get(now // self.period, 0) + n

    def refund(self, now, n):
        number = now // self.period
        self.windows[number] = max(self.windows.get(number, 0) - n, 0)

    def left(self, now):
        return int(self.limit - self.units(now))  # what is left of a fraction is no unit


DEFINITIONS = {"token_bucket": Bucket, "sliding_window": Log, "sliding_counter": Counter}

periods = st.sampled_from([0.0001, 0.25, 1.0, 7.0, 60.0])
steps = st.one_of(st.integers(0, 3), st.integers(0, 400_000), st.integers(0, 100_000_000))


def schedules(largest, operations=("take", "take", "take", "refund")):
    ns = st.integers(1, largest)
    return st.lists(st.tuples(st.sampled_from(operations), steps, ns), max_size=40)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_decisions_are_those_of_the_definition(server, algorithm):
    @settings(max_examples=60)
    @given(data=st.data())
    def run(data):
        limits = st.builds(Quota, st.integers(1, 12), periods)
        quotas = data.draw(st.lists(limits, min_size=1, max_size=3))
        asyncio.run(follow(server, algorithm, quotas, data.draw(schedules(min(q.limit for q in quotas)))))

    run()


@pytest.mark.parametrize("algorithm", ["token_bucket", "sliding_counter"])
def test_decisions_are_exact_at_the_largest_numbers(server, algorithm):
    @settings(max_examples=40)
    @given(data=st.data())
    def run(data):
        longest = float(1 << 29)  # seconds, 17 years
        limits = st.one_of(st.integers(1, 1 << 30), st.sampled_from([(1 << 30) - 35, 999_999_937]))
        spans = st.one_of(st.floats(1.1, longest), st.sampled_from([86_400.0, 1e6 + 1e-6, longest]))
        quotas = data.draw(st.lists(st.builds(Quota, limits, spans), min_size=1, max_size=2))
        asyncio.run(follow(server, algorithm, quotas, data.draw(schedules(min(q.limit for q in quotas)))))

    run()


async def follow(server, algorithm, quotas, schedule):
    """Holds a limiter to the definitions of its quotas, decision by decision."""
    server.client().flushall()
    now = [NOW]
    models = [DEFINITIONS[algorithm](quota) for quota in quotas]
    async with limiter(*quotas, nodes=server.url, algorithm=algorithm, now=now) as limits:
        for operation, step, n in schedule:
            now[0] += step
            if operation == "refund":
                await limits.refund("key", n)
                for model in models:
                    model.refund(now[0], n)
            else:
                waits = [model.wait(now[0], n) for model in models]
                result = await limits.check("key", n)
                assert result.allowed == (not any(waits))
                assert round(result.retry_after * 1e6) == -(-max(waits) // 1)
                if result.allowed:
                    for model in models:
                        model.take(now[0], n)
            left = min(model.left(now[0]) for model in models)
            peeked = await limits.peek("key")
            assert peeked.allowed == (left > 0)
            if peeked.allowed:
                assert peeked.remaining == left


@given(
    limit=st.integers(1, 400),
    period=st.sampled_from([0.5, 1.0, 2.0, 60.0]),
    burst=st.integers(1, 50),
    schedule=st.lists(st.tuples(steps, st.integers(1, 50)), max_size=60),
)
@settings(max_examples=60)
def test_token_bucket_decides_as_the_one_of_this_process(shared_server, limit, period, burst, schedule):
    async def run():
        shared_server.client().flushall()
        now, clock = [NOW], ManualClock(NOW * 1000)
        quota = Quota(limit, period, burst=burst)
        bucket = TokenBucket(quota.rate, burst, clock=clock)
        async with limiter(quota, nodes=shared_server.url, now=now) as limits:
            for step, n in schedule:
                now[0] += step
                clock.now = now[0] * 1000
                amount = min(n, burst)
                expected_wait = bucket.retry_after(amount)
                result = await limits.check("key", amount)
                assert result.allowed == bucket.allow(amount)
                assert result.retry_after == pytest.approx(expected_wait, abs=1.1e-6)

    asyncio.run(run())


def test_seven_a_second_do_not_drift_over_a_day(server):
    buckets = TokenBuckets([Quota(7)])
    client = server.client()
    sha = client.script_load(buckets.script.text)

    def taken(moments_and_ns):
        with client.pipeline(transaction=False) as pipe:
            for moment, n in moments_and_ns:
                pipe.evalsha(sha, 1, "key", *buckets.arguments("take", (n,), moment))
            return [int(reply.split()[0]) for reply in pipe.execute()]

    day = [NOW + 1_000_000 * second for second in range(86_401)]
    for start in range(0, len(day), 10_000):
        part = day[start : start + 10_000]
        assert set(taken((moment, 7) for moment in part)) == {7}
    assert taken([(day[-1] + 142_857, 1), (day[-1] + 142_858, 1)]) == [0, 1]  # a token takes 142,857 1/7 us


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_several_quotas_take_together_or_not_at_all(server, algorithm):
    now = [NOW]
    async with limiter("10/second", "12/minute", nodes=server.url, algorithm=algorithm, now=now) as limits:
        assert await limits.allow("key", 10)
        now[0] += 2_000_001
        refused = await limits.check("key", 3)  # the minute has 2, the second 10
        assert not refused
        assert refused.limit == 12
        assert await limits.allow("key", 2)
        assert (await limits.peek("key")).remaining == 0


# ---- clocks that go back


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("back", [1, 900_000, 3_000_000, 10 * 365 * 86_400 * 1_000_000])
async def test_clock_that_goes_back_mints_nothing_and_locks_for_two_periods_at_most(server, algorithm, back):
    now = [NOW]
    async with limiter("5/second", nodes=server.url, algorithm=algorithm, now=now) as limits:
        assert await limits.allow("key", 5)
        now[0] -= back
        assert not await limits.allow("key")
        assert not (await limits.peek("key")).allowed
        assert (await limits.check("key")).retry_after <= 2.000001
        now[0] += 2_000_001
        assert await limits.allow("key")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("back", [1, 1000, 400_000, 5_000_000])
async def test_units_taken_after_a_step_back_are_counted(server, algorithm, back):
    now = [NOW + 500_000]
    async with limiter("9/second", nodes=server.url, algorithm=algorithm, now=now) as limits:
        assert await limits.allow("key", 2)
        admitted = 2
        for _ in range(10):
            now[0] -= back
            admitted += await limits.allow("key")
        least = 2 if algorithm == "token_bucket" else 9  # every step back, a bucket looks emptier
        assert least <= admitted <= 9


async def test_log_keeps_its_order_and_units_when_the_clock_has_gone_back_far(server):
    now = [NOW]
    async with limiter("5/second", nodes=server.url, algorithm="sliding_window", now=now) as limits:
        assert await limits.allow("key", 2)
        now[0] += 600_000
        assert await limits.allow("key", 3)
        now[0] -= 86_400_000_000
        assert (await limits.check("key")).retry_after == pytest.approx(0.400001)
        now[0] += 400_001
        assert (await limits.peek("key")).remaining == 2


# ---- what is in Redis


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_keys_vanish_when_they_are_idle(server, algorithm):
    async with limiter("100/second", nodes=server.url, algorithm=algorithm, prefix="p:") as limits:
        await limits.peek("nobody")
        assert keys(server) == []
        await limits.allow("user", 100)
        [key] = keys(server)
        assert key.startswith(b"p:")
        assert key.endswith(b":{user}")
        assert 0 < server.client().pttl(key) <= 2010
        await eventually(lambda: keys(server) == [])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_key_lives_as_long_as_a_unit_counts(server, algorithm):
    now = [NOW + 1]
    async with limiter("1/minute", nodes=server.url, algorithm=algorithm, now=now) as limits:
        await limits.allow("user")
        ttl = server.client().pttl(keys(server)[0]) - 3_600_000  # what a test's clock adds
        assert 55_000 < ttl <= 120_010


async def test_refused_calls_write_nothing(server):
    async with limiter("1/hour", nodes=server.url) as limits:
        assert await limits.allow("key")
        before = server.client().dump(keys(server)[0])
        assert not await limits.allow("key")
        assert server.client().dump(keys(server)[0]) == before


async def test_log_holds_no_more_entries_than_the_longest_quota_allows(server):
    now = [NOW]
    quotas = ("5/second", "8/minute")
    async with limiter(*quotas, nodes=server.url, algorithm="sliding_window", now=now) as limits:
        for _ in range(200):
            now[0] += 700_000
            await limits.allow("key")
        assert server.client().zcard(keys(server)[0]) <= 8


async def test_limiters_with_other_quotas_do_not_disturb_each_other(server):
    async with limiter("1/hour", nodes=server.url) as one, limiter("2/hour", nodes=server.url) as two:
        assert await one.allow("key")
        assert await two.allow("key", 2)
        assert len(keys(server)) == 2


async def test_limiters_with_the_same_quotas_share_them(server):
    async with limiter("1/hour", nodes=server.url) as one, limiter(Quota(1, 3600), nodes=server.url) as two:
        assert await one.allow("key")
        assert not await two.allow("key")


async def test_text_bytes_and_number_name_the_same_key(server):
    async with limiter("3/hour", nodes=server.url) as limits:
        assert [await limits.allow(key) for key in ("7", b"7", 7, "7")] == [True, True, True, False]
        assert await limits.allow("\ud800 {x} \0")
        assert await limits.allow("")


async def test_reset_forgets_a_key(server):
    async with limiter("1/hour", nodes=server.url) as limits:
        assert await limits.allow("key")
        assert await limits.reset("key")
        assert keys(server) == []
        assert await limits.allow("key")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_refund_gives_back_no_more_than_was_taken(server, algorithm):
    now = [NOW]
    async with limiter("5/hour", nodes=server.url, algorithm=algorithm, now=now) as limits:
        await limits.allow("key", 2)
        await limits.refund("key", 5)
        assert (await limits.peek("key")).remaining == 5
        assert await limits.allow("key", 5)
        assert not await limits.allow("key")


# ---- many clients

HAMMER = """
import asyncio, sys
from penstock.ratelimit.engines.redis import RedisRateLimiter

async def main(url, algorithm, lease):
    options = dict(nodes=url, algorithm=algorithm, timeout=30, lease=int(lease))
    async with RedisRateLimiter("200/second", **options) as limiter:
        print(await limiter.allow("ready", 1), flush=True)
        sys.stdin.readline()
        admitted = await asyncio.gather(*(limiter.allow("key") for _ in range(150)))
        print(sum(admitted), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("algorithm", "lease"),
    [("token_bucket", 0), ("sliding_window", 0), ("sliding_counter", 0), ("token_bucket", 20)],
)
def test_processes_together_are_admitted_no_more_than_the_limit(server, algorithm, lease):
    command = [sys.executable, "-c", HAMMER, server.url, algorithm, str(lease)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(8)]
    try:
        for process in processes:
            assert process.stdout.readline() == "True\n"
        start = server_us(server)
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        admitted = sum(int(process.stdout.readline()) for process in processes)
        elapsed = (server_us(server) - start) / 1e6
        for process in processes:
            process.communicate(timeout=PATIENCE)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    bound = 200 + 200 * elapsed
    if algorithm != "token_bucket":
        bound = 200 * (int(elapsed) + 1) * (2 if algorithm == "sliding_counter" else 1)
    assert 200 <= admitted <= bound


def server_us(server):
    seconds, microseconds = server.client().time()
    return seconds * 1_000_000 + microseconds


async def test_tasks_share_round_trips_and_two_connections(server):
    async with limiter("300/hour", nodes=server.url, on_error="allow") as limits:
        admitted = await asyncio.gather(*(limits.allow("key") for _ in range(500)))
        assert sum(admitted) == 300
        assert limits.stats().failed_open == 0
        assert calls(server) == 500
        assert limits.stats().round_trips <= 20
        assert server.client().info("clients")["connected_clients"] <= 2 + len(server._clients)


# ---- servers that fail


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_server_that_lost_its_scripts_gets_them_again(server, algorithm):
    async with limiter("3/hour", nodes=server.url, algorithm=algorithm) as limits:
        assert await limits.allow("key")
        server.client().script_flush()
        assert [await limits.allow("key") for _ in range(3)] == [True, True, False]
        assert limits.stats().errors == 0


async def test_failure_means_what_on_error_says():
    async with limiter("5/second; burst=9", nodes=DEAD, on_error="allow") as limits:
        result = await limits.check("key", 3)
        assert (result.allowed, result.limit, result.remaining, result.retry_after) == (True, 9, 0, 0.0)
        assert await limits.allow("key")
        assert (await limits.peek("key")).allowed
        assert not await limits.reset("key")
        assert not await limits.refund("key")
        stats = limits.stats()
        assert (stats.asked, stats.allowed, stats.failed_open, stats.failed_closed) == (2, 2, 2, 0)
    async with limiter("5/second", nodes=DEAD, on_error="refuse", retry_node_after=3) as limits:
        result = await limits.check("key")
        assert (result.allowed, result.remaining, result.retry_after) == (False, 0, 3.0)
        assert (limits.stats().refused, limits.stats().failed_closed) == (1, 1)
    async with limiter("5/second", nodes=DEAD) as limits:
        for call in (limits.allow, limits.check, limits.peek, limits.reset, limits.refund, limits.acquire):
            with pytest.raises(RateLimiterUnavailable, match=r"127\.0\.0\.1:1/0"):
                await call("key")


async def test_error_of_a_dead_server_is_a_penstock_error_and_a_connection_error():
    async with limiter("5/second", nodes=DEAD) as limits:
        with pytest.raises(ConnectionError):
            await limits.allow("key")
        with pytest.raises(PenstockError):
            await limits.allow("key")


async def test_failed_node_is_left_alone_and_then_asked_by_one_call(own_server):
    clock = ManualClock()
    options = {"retry_node_after": 2, "on_error": "refuse", "clock": clock}
    async with limiter("9/hour", nodes=own_server.url, **options) as limits:
        assert await limits.allow("key")
        own_server.freeze()
        try:
            with impatient(limits, 0.2):
                while limits._nodes[0]._failed is None:  # what this process held up is no failure of the node
                    assert not any(await asyncio.gather(*(limits.allow("key") for _ in range(50))))
                asked = limits.stats().round_trips
                assert not any([await limits.allow("key") for _ in range(100)])
                assert limits.stats().round_trips == asked
                clock.advance(2)
                assert not any(await asyncio.gather(*(limits.allow("key") for _ in range(50))))
                assert limits.stats().round_trips == asked + 1
        finally:
            own_server.thaw()
        clock.advance(2)
        assert await limits.allow("key")
        assert await limits.allow("key")


@pytest.mark.parametrize("slow", ["pause", "sleep"])
async def test_slow_server_costs_no_more_than_the_timeout(own_server, slow):
    async with limiter("9/hour", nodes=own_server.url, timeout=0.05, on_error="allow") as limits:
        await limits.allow("key")
        if slow == "pause":
            own_server.client().client_pause(600_000)
        else:
            with pytest.raises(redis.TimeoutError):
                own_server.client(socket_timeout=0.05).execute_command("DEBUG", "SLEEP", "600")
        async with asyncio.timeout(60):  # without its own, the server's ten minutes
            assert all(await asyncio.gather(*(limits.allow("key") for _ in range(100))))
        assert limits.stats().failed_open >= 100


async def test_event_loop_that_was_held_up_does_not_make_its_server_fail(own_server):
    async with limiter("9/hour", nodes=own_server.url) as limits:
        assert await limits.allow("key")
        with impatient(limits, 0.1):
            call = asyncio.create_task(limits.allow("key"))
            await asyncio.sleep(0)
            time.sleep(0.3)  # noqa: ASYNC251  # a handler that does not let go of the loop
            with contextlib.suppress(RateLimiterUnavailable):
                await call
        assert await limits.allow("key")


async def test_flood_of_calls_does_not_make_its_server_fail(own_server):
    async with limiter("1000000/hour", nodes=own_server.url) as limits:
        with impatient(limits, 0.5):
            flooding = (limits.allow("key") for _ in range(20_000))
            flood = await asyncio.gather(*flooding, return_exceptions=True)
        assert {type(each) for each in flood} <= {bool, RateLimiterUnavailable}
        assert await limits.allow("key")


async def test_server_that_was_killed_is_asked_again_when_it_is_back(own_server):
    clock = ManualClock()
    async with limiter("2/hour", nodes=own_server.url, clock=clock) as limits:
        assert await limits.allow("key")
        own_server.stop()
        with pytest.raises(RateLimiterUnavailable):
            await limits.allow("key")
        own_server.start()
        with pytest.raises(RateLimiterUnavailable, match="left alone for a while"):
            await limits.allow("key")
        clock.advance(1)
        assert await limits.allow("key")  # without its scripts, and without what it knew
        assert limits.stats().errors == 1


async def test_restart_between_two_calls_is_not_noticed(own_server):
    async with limiter("2/hour", nodes=own_server.url) as limits:
        assert await limits.allow("key")
        own_server.stop()
        own_server.start()
        assert await limits.allow("key")
        assert limits.stats().errors == 0


async def test_restart_costs_one_retry_for_all_connections(own_server):
    async with limiter("200/hour", nodes=own_server.url) as limits:
        await asyncio.gather(*(limits.allow("key") for _ in range(100)))
        own_server.stop()
        own_server.start()
        before = limits.stats().round_trips
        assert await limits.allow("key")
        assert await limits.allow("key")
        assert limits.stats().round_trips == before + 4  # one broken, one without scripts, and two


async def test_replica_is_unavailable_until_it_is_promoted(server, own_server):
    clock = ManualClock()
    server.client().config_set("repl-diskless-sync-delay", 0)
    replica = own_server.client()
    replica.replicaof("127.0.0.1", server.port)
    await eventually(lambda: replica.info("replication")["master_link_status"] == "up")
    async with (
        limiter("3/hour", nodes=server.url) as to_primary,
        limiter("3/hour", nodes=own_server.url, clock=clock) as to_replica,
    ):
        assert await to_primary.allow("key", 2)
        await eventually(lambda: replica.dbsize() == 1)
        with pytest.raises(RateLimiterUnavailable, match="read only replica"):
            await to_replica.allow("key")
        replica.replicaof("NO", "ONE")
        clock.advance(1)
        assert await to_replica.allow("key")  # it knows what the primary has counted
        assert not await to_replica.allow("key")


async def test_replica_without_its_primary_is_unavailable(own_server):
    replica = own_server.client()
    replica.config_set("replica-serve-stale-data", "no")
    replica.replicaof("127.0.0.1", free_port())
    async with limiter("3/hour", nodes=own_server.url) as limits:
        with pytest.raises(RateLimiterUnavailable, match="MASTER"):
            await limits.allow("key")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_full_server_is_unavailable(tmp_path, algorithm):
    with RedisServer(tmp_path / "full", "--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as full:
        full.client().config_set("maxmemory", "100kb")  # it holds more already
        async with limiter("3/hour", nodes=full.url, algorithm=algorithm, on_error="refuse") as limits:
            assert not await limits.allow("key")
            assert limits.stats().failed_closed == 1


async def test_server_busy_with_a_script_is_unavailable(own_server):
    own_server.client().config_set("busy-reply-threshold", 1)
    with pytest.raises(redis.TimeoutError):
        own_server.client(socket_timeout=0.2).eval("while true do end", 0)
    async with limiter("3/hour", nodes=own_server.url, on_error="allow") as limits:
        assert await limits.allow("key")
        assert limits.stats().failed_open == 1
    own_server.client().script_kill()


@pytest.mark.parametrize("url", ["redis://:wrong@127.0.0.1:{}/0", "redis://127.0.0.1:{}/0"])
async def test_wrong_password_is_an_error_whatever_on_error_says(tmp_path, url):
    with RedisServer(tmp_path / "locked", "--requirepass", "right") as locked:
        async with limiter("3/hour", nodes=url.format(locked.port), on_error="allow") as limits:
            with pytest.raises(redis.AuthenticationError):
                await limits.allow("key")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_foreign_value_at_a_key_is_an_error_whatever_on_error_says(server, algorithm):
    async with limiter("3/hour", nodes=server.url, algorithm=algorithm, on_error="allow") as limits:
        await limits.allow("key")
        [key] = keys(server)
        server.client().delete(key)
        server.client().rpush(key, "foreign")
        with pytest.raises(redis.ResponseError, match="wrong kind of value"):
            await limits.allow("key")
        if algorithm != "sliding_window":
            server.client().set(key, "1 2 3 4 5")
            with pytest.raises(redis.ResponseError, match="no state of this limiter"):
                await limits.allow("key")


@pytest.mark.parametrize("code", ["READONLY", "OOM", "MISCONF", "NOREPLICAS"])
def test_words_of_old_servers_are_understood(code):
    old = f"Error running script (call to f_12): @user_script:9: @user_script: 9: -{code} You can't write"
    assert tells_unable(redis.ResponseError(old))
    assert not tells_unable(redis.ResponseError("Error compiling script (new function): 'end' expected"))


async def test_cancelled_call_leaves_the_connection_usable(own_server):
    async with limiter("100/hour", nodes=own_server.url) as limits:
        assert (await limits.check("a")).remaining == 99
        own_server.freeze()
        try:
            task = asyncio.create_task(limits.check("a", 50))
            await eventually(lambda: limits.stats().round_trips >= 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        finally:
            own_server.thaw()
        assert (await limits.check("b", 7)).remaining == 93  # its own answer, not the one of the call before
        assert limits.stats().errors == 0


async def test_cancelled_call_does_not_take_those_with_it_that_travel_together(own_server):
    async with limiter("100/hour", nodes=own_server.url) as limits:
        await limits.peek("key")
        own_server.freeze()
        try:
            first, second, third = (asyncio.create_task(limits.allow("key")) for _ in range(3))
            before = limits.stats().round_trips
            await eventually(lambda: limits.stats().round_trips == before + 2)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
        finally:
            own_server.thaw()
        assert await first
        assert await third
        assert await limits.allow("key")


# ---- several nodes


@pytest.fixture
def three(tmp_path):
    with (
        RedisServer(tmp_path / "1") as first,
        RedisServer(tmp_path / "2") as second,
        RedisServer(tmp_path / "3") as third,
    ):
        yield [first, second, third]


async def test_dead_node_affects_its_keys_only(three):
    async with limiter("1/hour", nodes=[each.url for each in three], on_error="refuse") as limits:
        assert all([await limits.allow(key) for key in range(300)])
        kept = [{int(key.split(b"{")[1][:-1]) for key in keys(each)} for each in three]
        assert sorted(kept[0] | kept[1] | kept[2]) == list(range(300))
        assert all(60 < len(each) < 140 for each in kept)
        three[1].stop()
        assert all([await limits.reset(key) == (key not in kept[1]) for key in range(300)])
        assert {key for key in range(300) if not await limits.allow(key)} == kept[1]


async def test_places_of_keys_are_the_same_for_ever():
    nodes = [f"redis://user:secret@10.0.0.{i}:6379/0?protocol=2" for i in range(5)]
    async with limiter("1/hour", nodes=nodes) as limits:
        places = {key: repr(limits._node_of(key.encode())) for key in ("a", "b", "user:1", "user:2")}
    async with limiter("1/hour", nodes=[node.replace("user:secret@", "") for node in nodes[::-1]]) as others:
        assert places == {key: repr(others._node_of(key.encode())) for key in places}
    assert places == PLACES


PLACES = {
    "a": "10.0.0.1:6379/0",
    "b": "10.0.0.2:6379/0",
    "user:1": "10.0.0.0:6379/0",
    "user:2": "10.0.0.2:6379/0",
}


async def test_client_that_was_passed_in_is_used_and_stays_open(server):
    async with redis.asyncio.Redis(port=server.port) as client:
        async with limiter("1/hour", nodes=client) as limits:
            assert await limits.allow("key")
        assert await client.dbsize() == 1


async def test_full_pool_of_a_client_is_no_failure_of_the_node(server):
    async with (
        redis.asyncio.Redis(port=server.port, max_connections=1) as client,
        limiter("100/hour", nodes=client, on_error="refuse") as limits,
    ):
        await asyncio.gather(*(limits.allow("key") for _ in range(10)))
        assert limits.stats().failed_closed > 0
        assert await limits.allow("key")


async def test_cluster_is_one_node(tmp_path):
    bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with RedisServer(tmp_path / "cluster", *bus) as server:
        server.client().execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await eventually(lambda: server.client().execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        async with (
            redis.asyncio.RedisCluster("127.0.0.1", server.port) as client,
            limiter("2/hour", nodes=client) as limits,
        ):
            assert [await limits.allow("key") for _ in range(3)] == [True, True, False]
            assert await limits.reset("key")
            assert await limits.allow("other")


# ---- leases


async def test_lease_saves_round_trips(server):
    async with limiter("1000/hour", nodes=server.url, lease=50) as limits:
        assert all([await limits.allow("key") for _ in range(500)])
        assert calls(server) == 10
        assert limits.stats().leased == 490
        assert limits.stats().round_trips in (10, 11)  # the first may have brought the script


async def test_lease_admits_exactly_the_limit(server):
    async with limiter("100/hour", nodes=server.url, lease=30) as limits:
        admitted = [(await limits.check("key")).allowed for _ in range(130)]
        assert admitted == [True] * 100 + [False] * 30


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_four_clients_with_leases_admit_the_limit_together(server, algorithm):
    now = [NOW]
    limiters = [
        limiter("100/hour", nodes=server.url, algorithm=algorithm, lease=16, now=now) for _ in range(4)
    ]
    admitted = await asyncio.gather(*(each.allow("key") for each in limiters for _ in range(60)))
    assert sum(admitted) == 100  # who is refused found all others used up
    for each in limiters:
        await each.aclose()


async def test_concurrent_tasks_share_one_lease_request(server):
    async with limiter("1000/hour", nodes=server.url, lease=100) as limits:
        await limits.peek("key")
        server.client().config_resetstat()
        assert all(await asyncio.gather(*(limits.allow("key") for _ in range(100))))
        assert calls(server) == 1


async def test_refusal_answers_all_tasks_that_wait_for_it(server):
    async with limiter("10/hour", nodes=server.url, lease=10) as limits:
        assert await limits.allow("key", 10)
        server.client().config_resetstat()
        assert not any(await asyncio.gather(*(limits.allow("key", n) for n in (1, 2, 5))))
        assert calls(server) == 1


async def test_refusal_of_much_does_not_answer_who_wants_less(server):
    async with limiter("10/hour", nodes=server.url, lease=10) as limits:
        assert await limits.allow("key", 8)
        assert await limits.reset("key")
        async with limiter("10/hour", nodes=server.url) as other:
            assert await other.allow("key", 7)
        assert await asyncio.gather(*(limits.allow("key", n) for n in (5, 2))) == [False, True]


async def test_lease_takes_no_more_than_there_is(server):
    async with (
        limiter("10/hour", nodes=server.url, lease=8) as limits,
        limiter("10/hour", nodes=server.url) as other,
    ):
        assert await other.allow("key", 7)
        assert [await limits.allow("key") for _ in range(4)] == [True, True, True, False]


async def test_large_request_uses_what_the_lease_has(server):
    async with limiter("10/hour", nodes=server.url, lease=4) as limits:
        assert await limits.allow("key")  # 3 are left in the lease, 6 at the server
        assert await limits.allow("key", 9)
        assert not await limits.allow("key")


async def test_refused_large_request_leaves_the_lease_as_it_was(server):
    async with limiter("10/hour", nodes=server.url, lease=4) as limits:
        assert await limits.allow("key")
        assert not await limits.allow("key", 10)
        assert [await limits.allow("key") for _ in range(10)] == [True] * 9 + [False]


async def test_old_lease_is_lost(server):
    clock = ManualClock()
    async with limiter("10/hour", nodes=server.url, lease=6, lease_time=5, clock=clock) as limits:
        assert await limits.allow("key")
        assert (await limits.peek("key")).remaining == 9
        clock.advance(5)
        assert (await limits.peek("key")).remaining == 4
        assert [await limits.allow("key") for _ in range(5)] == [True] * 4 + [False]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_unused_lease_is_given_back_at_the_end(server, algorithm):
    now = [NOW]
    async with limiter("10/hour", nodes=server.url, algorithm=algorithm, now=now) as other:
        async with limiter("10/hour", nodes=server.url, algorithm=algorithm, lease=6, now=now) as limits:
            assert await limits.allow("key")
        assert (await other.peek("key")).remaining == 9


async def test_lease_is_not_given_back_to_a_log_that_went_on(server):
    now = [NOW]
    options = {"nodes": server.url, "algorithm": "sliding_window", "now": now}
    async with limiter("10/hour", **options) as other:
        async with limiter("10/hour", lease=6, **options) as limits:
            assert await limits.allow("key")
            now[0] += 1
            assert await other.allow("key")
        assert (await other.peek("key")).remaining == 3


async def test_number_of_leases_is_bounded(server):
    async with limiter("10/hour", nodes=server.url, lease=5, max_leases=3) as limits:
        for key in range(20):
            assert await limits.allow(key)
        assert len(limits._leases) == 3
        assert (await limits.peek(19)).remaining == 9
        assert (await limits.peek(0)).remaining == 5


async def test_units_of_a_cancelled_task_go_to_the_others(own_server):
    async with limiter("10/hour", nodes=own_server.url, lease=10) as limits:
        await limits.peek("key")
        own_server.freeze()
        try:
            first, second = (asyncio.create_task(limits.allow("key", 10)) for _ in range(2))
            await eventually(lambda: limits.stats().round_trips >= 3)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
        finally:
            own_server.thaw()
        assert await second


@pytest.mark.parametrize("answered", [False, True])
async def test_units_that_a_cancelled_task_had_held_are_lost_in_their_time(own_server, answered):
    clock = ManualClock()
    options = {"nodes": own_server.url, "clock": clock, "lease": 10, "lease_time": 10}
    async with limiter("100/day", **options) as limits:
        assert await limits.allow("key", 7)  # 3 are left until 10 s
        clock.advance(8)
        own_server.freeze()
        try:
            task = asyncio.create_task(limits.allow("key", 5))
            await eventually(lambda: limits._leases[b"key"].request is not None)
            lease = limits._leases[b"key"]
            if answered:  # the reply is there, and the task has not heard of it
                lease.request.task.add_done_callback(lambda _: task.cancel())
            else:
                task.cancel()
                await asyncio.wait([task])
        finally:
            own_server.thaw()
        await eventually(lambda: lease.request is None)
        await asyncio.wait([task])
        assert task.cancelled()
        assert lease.units == 13
        clock.advance(1)
        assert await limits.allow("key", 1)
        assert lease.units == 12
        clock.advance(2)
        assert await limits.allow("key", 1)
        assert lease.units == 9


async def test_failure_of_a_lease_request_follows_on_error():
    async with limiter("10/hour", nodes=DEAD, lease=5, on_error="allow") as limits:
        assert all(await asyncio.gather(*(limits.allow("key") for _ in range(10))))
        assert limits.stats().failed_open == 10
    async with limiter("10/hour", nodes=DEAD, lease=5) as limits:
        outcomes = await asyncio.gather(*(limits.allow("key") for _ in range(3)), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {RateLimiterUnavailable}


# ---- waiting


async def test_acquire_sleeps_as_long_as_it_is_told(server, monkeypatch):
    now, clock, slept = [NOW], ManualClock(), []

    async def sleep(seconds):
        slept.append(seconds)
        now[0] += round(seconds * 1e6)
        clock.advance(seconds)

    monkeypatch.setattr(engine, "sleep", sleep)
    async with limiter("2/second", nodes=server.url, now=now, clock=clock) as limits:
        assert all([await limits.acquire("key") for _ in range(4)])
        assert slept == [0.5, 0.5]
        assert not await limits.acquire("key", 2, timeout=0.9)
        assert slept == [0.5, 0.5]
        assert await limits.acquire("key", 2, timeout=1)
        assert not await limits.acquire("key", timeout=0)


# ---- arguments


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"nodes": []}, ValueError, "nodes must be 1 to 1024, got 0"),
        ({"nodes": [DEAD, DEAD]}, ValueError, "nodes must differ"),
        ({"nodes": "http://u:pw@host/"}, ValueError, r"a node must be a redis://.*got 'http://...@host/'"),
        ({"nodes": 7}, TypeError, "a node must be a URL or a client of redis.asyncio, got builtins.int"),
        ({"nodes": redis.Redis()}, TypeError, "got redis.client.Redis"),
        ({"algorithm": "leaky"}, ValueError, "algorithm must be one of token_bucket, "),
        ({"on_error": "ignore"}, ValueError, "on_error must be 'allow', 'refuse' or 'raise', got 'ignore'"),
        ({"timeout": 0}, ValueError, "timeout must be >= 1e-06 and <= 3600 seconds, got 0"),
        ({"timeout": float("nan")}, ValueError, "timeout must be .* got nan"),
        ({"timeout": 10**5000}, ValueError, "timeout must be .* got an int of 16610 bits"),
        ({"lease": 10**5000}, ValueError, "lease must be .* got an int of 16610 bits"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds, got str"),
        ({"retry_node_after": -1}, ValueError, "retry_node_after must be"),
        ({"lease": 6}, ValueError, "lease must be >= 0 and <= 5, got 6"),
        ({"lease": 1.0}, TypeError, "lease must be an int, got float"),
        ({"lease_time": 0}, ValueError, "lease_time must be"),
        ({"max_leases": 0}, ValueError, "max_leases must be"),
        ({"prefix": "a{b}"}, ValueError, "prefix must be <= 256 bytes without '{', got 'a{b}'"),
        ({"prefix": b"a"}, TypeError, "prefix must be a str, got bytes"),
        ({"clock": 1}, TypeError, "clock must be callable or None, got int"),
    ],
)
def test_bad_settings_are_refused(options, error, message):
    with pytest.raises(error, match=message) as caught:
        RedisRateLimiter("5/second", **{"nodes": DEAD, **options})
    assert isinstance(caught.value, PenstockError)


@pytest.mark.parametrize(
    ("quota", "algorithm", "message"),
    [
        ("5/second; burst=6", "sliding_window", "burst must be the limit 5 for a sliding window, got 6"),
        ("100001/day", "sliding_window", "limit of the longest quota must be <= 100000 .* got 100001"),
        (Quota(1, 1e-8), "sliding_counter", "period must be >= 1 us for a sliding window, got 1e-08"),
    ],
)
def test_quotas_that_an_algorithm_cannot_keep_are_refused(quota, algorithm, message):
    with pytest.raises(ValueError, match=message):
        RedisRateLimiter(quota, nodes=DEAD, algorithm=algorithm)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("x" * 1025,), ValueError, "key must be <= 1024 bytes, got 1025 or more"),
        (("é" * 513,), ValueError, "key must be <= 1024 bytes, got 1026"),
        ((b"x" * 1025,), ValueError, "key must be <= 1024 bytes, got 1025"),
        ((10**2000,), ValueError, "key must be <= 1024 bytes, got an int of 6644 bits"),
        ((1.5,), TypeError, "key must be a str, bytes or int, got float"),
        ((True,), TypeError, "key must be a str, bytes or int, got bool"),
        ((None,), TypeError, "key must be a str, bytes or int, got NoneType"),
        (("key", 0), ValueError, "n must be >= 1 and <= limit 5, got 0"),
        (("key", 6), ValueError, "n must be >= 1 and <= limit 5, got 6"),
        (("key", 10**5000), ValueError, "n must be >= 1 and <= limit 5, got an int of 16610 bits"),
        (("key", 1.0), TypeError, "n must be an int, got float"),
        (("key", True), TypeError, "n must be an int, got bool"),
    ],
)
async def test_bad_calls_are_refused_without_a_round_trip(arguments, error, message):
    async with limiter("5/second, 100/minute", nodes=DEAD, on_error="allow") as limits:
        for call in (limits.allow, limits.check, limits.refund, limits.acquire):
            with pytest.raises(error, match=message):
                await call(*arguments)
        with pytest.raises(ValueError, match="timeout must be >= 0 seconds or None, got nan"):
            await limits.acquire("key", timeout=float("nan"))
        assert limits.stats().asked == limits.stats().round_trips == 0


async def test_longest_key_is_taken(server):
    async with limiter("5/second", nodes=server.url) as limits:
        assert await limits.allow("x" * 1024)
        assert await limits.allow(b"\0" * 1024)


async def test_closed_limiter_says_so(server):
    limits = limiter("5/second", nodes=server.url)
    await limits.aclose()
    await limits.aclose()
    for call in (limits.allow, limits.check, limits.peek, limits.reset, limits.refund, limits.acquire):
        with pytest.raises(LimiterClosed, match="must be open"):
            await call("key")


async def test_calls_under_way_end_before_the_connections_close(own_server):
    limits = limiter("5/h", nodes=own_server.url)
    await limits.allow("a")
    own_server.freeze()
    try:
        call = asyncio.ensure_future(limits.check("a"))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(limits.aclose())
        _, still = await asyncio.wait([call, closing], timeout=0.05)
        assert still == {call, closing}
    finally:
        own_server.thaw()
    assert (await call).remaining == 3
    await closing
    assert calls(own_server) == 2  # and one that had no script, as the first of them
    pool = limits._nodes[0]._client.connection_pool
    assert not any(each.is_connected for each in pool._available_connections)


async def test_tasks_that_wait_for_one_lease_get_theirs_before_the_end(server):
    limits = limiter("100/h", nodes=server.url, lease=3)
    waiting = [asyncio.ensure_future(limits.allow("a", 3)) for _ in range(5)]
    await asyncio.sleep(0)
    await limits.aclose()
    assert all(task.done() for task in waiting)
    assert [task.result() for task in waiting] == [True] * 5
    fresh = limiter("100/h", nodes=server.url)
    assert (await fresh.peek("a")).count == 15
    await fresh.aclose()


def test_fields_of_scripts_stay_integers_that_lua_can_hold():
    quotas = [Quota((1 << 30) - 35, float(1 << 29), burst=1 << 30), Quota(999_999_937, 86_400)]
    for made in (TokenBuckets(quotas), CounterPairs([Quota((1 << 30) - 35, float(1 << 29))])):
        assert all(0 <= int(field) < 1 << 52 for field in made._fields((made.largest, 1)))
    assert SlidingWindows([Quota(100_000, 1.5), Quota(200_000, 1.0)]).largest == 100_000


# ---- imports


def test_rate_limiting_does_not_import_redis():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, penstock.ratelimit; print('redis' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "False\n"


def test_missing_client_library_is_named():
    code = "import sys; sys.modules['redis'] = None; import penstock.ratelimit.engines.redis"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (
        "ImportError: penstock.ratelimit.engines.redis needs redis-py: pip install penstock[redis]"
        in done.stderr
    )
