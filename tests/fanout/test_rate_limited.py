"""Rate-limited fan-out: when work starts, told by a clock that the test owns."""

import asyncio
from contextlib import aclosing

import pytest
from gated_work import Work, double, others, settle

from penstock.clock import ManualClock
from penstock.fanout import rate_limited
from penstock.ratelimit import TokenBucket
from virtual_time import virtual_time


@pytest.fixture
def clock():
    return ManualClock()


virtual = virtual_time()


class Gate:
    """A limiter that lets one through whenever the test says so."""

    def __init__(self):
        self.permits = asyncio.Semaphore(0)

    async def acquire_async(self):
        await self.permits.acquire()


async def starts_of(clock, limiter, count, source=None):
    moments = []

    async def work(item):
        moments.append(clock.now / 1e9)
        await asyncio.sleep(0.001)
        return item

    async with aclosing(rate_limited(work, source or range(count), limiter=limiter, limit=100)) as results:
        assert sorted([item async for item in results]) == list(range(count))
    return moments


def test_work_starts_at_the_rate_of_a_token_bucket(virtual, clock):
    moments = virtual(starts_of(clock, TokenBucket(10, 1, clock=clock), 20))
    assert moments == pytest.approx([turn / 10 for turn in range(20)], abs=1e-6)


def test_work_starts_in_the_burst_that_a_token_bucket_allows(virtual, clock):
    moments = virtual(starts_of(clock, TokenBucket(2, 3, clock=clock), 6))
    assert moments == pytest.approx([0, 0, 0, 0.5, 1, 1.5], abs=1e-6)


def test_a_slow_source_saves_up_no_starts(virtual, clock):
    async def late():
        yield 0
        await asyncio.sleep(5)
        for item in range(1, 5):
            yield item

    moments = virtual(starts_of(clock, TokenBucket(10, 1, clock=clock), 5, late()))
    assert moments == pytest.approx([0, 5, 5.1, 5.2, 5.3], abs=1e-6)


async def test_slots_bound_what_the_rate_does_not():
    work, gate = Work(), Gate()
    async with aclosing(rate_limited(work, range(10), limiter=gate, limit=3)) as results:
        first = asyncio.ensure_future(anext(results))
        for _ in range(10):
            gate.permits.release()
        await settle()
        assert sorted(work.in_progress) == [0, 1, 2]
        work.finish(1)
        assert await first == 1
        await settle()
        assert sorted(work.in_progress) == [0, 2, 3]


async def test_closing_leaves_a_limiter_that_is_being_waited_for():
    gate = Gate()
    results = rate_limited(double, range(3), limiter=gate, limit=3)
    first = asyncio.ensure_future(anext(results))
    await settle()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not others()
    gate.permits.release()
    await asyncio.wait_for(gate.permits.acquire(), 5)  # nobody has taken it


async def test_failing_limiter_is_raised_after_the_results_before_it():
    class Breaking:
        left = 2

        async def acquire_async(self):
            self.left -= 1
            if self.left < 0:
                raise ConnectionError("limiter gone")

    results = rate_limited(double, range(5), limiter=Breaking(), limit=4)
    assert sorted([await anext(results), await anext(results)]) == [0, 2]
    with pytest.raises(ConnectionError, match="limiter gone"):
        await anext(results)
    assert not others()


def test_limit_below_one_is_refused_at_once():
    with pytest.raises(ValueError, match="limit must be >= 1, got 0"):
        rate_limited(double, [], limiter=TokenBucket(1, 1), limit=0)
