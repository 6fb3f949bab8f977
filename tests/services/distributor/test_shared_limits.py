"""Limits of packets a second that several distributors keep together, in a real Redis."""

from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from penstock.clock import ManualClock
from penstock.ratelimit import TokenBucket
from penstock.services.distributor.admission import TooFast
from penstock.services.distributor.config import ApiKey, Config
from penstock.services.distributor.shared_limits import CannotShare, SharedLimits
from penstock.services.distributor.spool import Spool
from penstock.services.distributor.state import Distributor, Parts
from redis_server import RedisServer
from services.distributor.fakes import FakeAnalyzers, body_of, config_of

pytestmark = pytest.mark.engine


@pytest.fixture
def redis(tmp_path):
    with RedisServer(tmp_path / "redis") as server:
        yield server


@asynccontextmanager
async def distributors(folder, redis_url, number=2, holder_of=lambda bucket: "someone", **settings):
    """Distributors that share their limits, each on a spool of its own."""
    config = config_of(redis_url=redis_url, max_packets=10, **settings)
    async with AsyncExitStack() as stack:
        started = []
        for name in map(str, range(number)):
            limits = await stack.enter_async_context(SharedLimits(config, holder_of))
            spool = Spool(folder / name, "os")
            started.append(Distributor(config, spool, FakeAnalyzers(), parts=Parts(limits=limits)))
            stack.push_async_callback(started[-1].aclose)
            await started[-1].start()
        yield started


async def taken(distributor, limit=None):
    """Packets that are taken before one is refused."""
    total = 0
    while total < 1000:
        try:
            receipt = await distributor.accept(body_of(5), limit=limit)
        except TooFast:
            break
        total += len(receipt.accepted)
    return total


async def test_the_limit_of_all_holds_for_all_distributors_together(tmp_path, redis):
    async with distributors(tmp_path, redis.url, rate_limit=0.1) as (one, other):
        assert await taken(one) + await taken(other) == 10


async def test_the_limit_of_a_key_holds_for_all_distributors_together(tmp_path, redis):
    buckets = [TokenBucket(0.1, 10, clock=ManualClock(1)) for _ in range(3)]
    holders = {id(buckets[0]): "a", id(buckets[1]): "a", id(buckets[2]): "b"}
    async with distributors(tmp_path, redis.url, holder_of=lambda bucket: holders[id(bucket)]) as (
        one,
        other,
    ):
        assert await taken(one, buckets[0]) + await taken(other, buckets[1]) == 10
        assert await taken(one, buckets[2]) == 10


async def test_a_request_that_the_limit_of_all_refuses_takes_nothing_of_its_key(tmp_path, redis):
    generous, strict = (TokenBucket(rate, 10, clock=ManualClock(1)) for rate in (0.2, 0.1))
    async with SharedLimits(Config(redis_url=redis.url), lambda bucket: "a") as limits:
        await limits.take(10, strict, None)
        with pytest.raises(TooFast) as refusal:
            await limits.take(10, strict, generous)
        assert refusal.value.retry_after > 90
        await limits.take(10, None, generous)


async def test_a_refused_request_leaves_room_and_its_ids_as_they_were(tmp_path, redis):
    async with distributors(tmp_path, redis.url, rate_limit=0.1) as (one, other):
        await taken(one)
        with pytest.raises(TooFast):
            await other.accept(body_of(5, prefix="mine"))
        assert (other.admission.packets, other.admission.bytes) == (0, 0)


async def test_while_redis_is_away_each_distributor_limits_by_itself(tmp_path, redis):
    async with distributors(tmp_path, redis.url, rate_limit=0.1) as (one, other):
        redis.stop()
        assert (await taken(one), await taken(other)) == (10, 10)


async def test_a_key_is_found_by_its_bucket():
    from penstock.services.distributor.access import Keyring

    keys = [ApiKey("a", key="a" * 16, rate_limit=1), ApiKey("b", key="b" * 16, rate_limit=2)]
    keyring = Keyring(keys, 10)
    assert [keyring.holder_of(keyring.find(key.key).bucket) for key in keys] == ["a", "b"]


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:6379"])
def test_what_is_no_redis_is_refused_at_the_start(url):
    with pytest.raises(CannotShare, match="redis_url must be redis://HOST:PORT"):
        SharedLimits(Config(redis_url=url), lambda bucket: "")
