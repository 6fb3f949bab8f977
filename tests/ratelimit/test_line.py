"""What the line of one key promises to those who stand in it."""

import asyncio
import gc
import math
import threading

import pytest

from penstock.clock import NANOSECONDS, ManualClock, monotonic_ns
from penstock.ratelimit import LimiterFull
from penstock.ratelimit._line import Line
from penstock.ratelimit._token_bucket_py import TokenBucket
from virtual_time import VirtualTimeLoop, run_in_virtual_time, virtual_time

virtual = virtual_time()

PERIOD = NANOSECONDS // 10


class TenASecond:
    """A limiter of one key: one unit each 100 ms, none saved up."""

    def __init__(self):
        self.free_at = 0
        self.taken = []

    def take(self, n, at):
        assert not self.taken or at >= self.taken[-1][0], "asked about a moment before the last grant"
        if at < self.free_at:
            return self.free_at - at
        self.free_at = at + n * PERIOD
        self.taken.append((at, n))
        return 0


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


@pytest.fixture
def limiter():
    return TenASecond()


def test_first_one_takes_at_once_and_the_line_ends(limiter, clock):
    line = Line(limiter.take, clock)
    assert line.acquire(1) is True
    assert line.ended
    assert len(line) == 0
    assert limiter.taken == [(clock.now, 1)]


def test_ended_line_takes_nobody(limiter, clock, virtual):
    line = Line(limiter.take, clock)
    line.acquire(1)
    assert line.acquire(1) is None
    assert virtual(line.acquire_async(1)) is None
    assert len(limiter.taken) == 1


def test_tasks_are_served_in_the_order_of_their_arrival(limiter, clock, virtual):
    line = Line(limiter.take, clock)
    limiter.take(1, clock.now)
    served = []

    async def one(number):
        assert await line.acquire_async(1 + number % 3)
        served.append(number)

    async def main():
        await asyncio.gather(*(one(number) for number in range(50)))

    virtual(main())
    assert served == list(range(50))
    assert line.ended


def test_late_wakers_cost_no_rate(limiter, clock):
    line = Line(limiter.take, clock)
    start = clock.now
    limiter.take(1, start)

    async def main():
        await asyncio.gather(*(line.acquire_async(1) for _ in range(99)))

    run_in_virtual_time(main(), clock, lateness=lambda: 15_000_000)
    assert [at for at, _ in limiter.taken] == [start + turn * PERIOD for turn in range(100)]


def test_wait_longer_than_the_timeout_is_refused_at_once_by_the_first(limiter, clock, virtual):
    limiter.take(1, clock.now)
    before = clock.now
    assert virtual(Line(limiter.take, clock).acquire_async(1, timeout=0.099)) is False
    assert Line(limiter.take, clock).acquire(1, timeout=0.099) is False
    assert clock.now == before
    assert virtual(Line(limiter.take, clock).acquire_async(1, timeout=0.1)) is True
    assert clock.now == before + PERIOD


def test_who_stands_behind_gives_up_when_the_timeout_is_over(limiter, clock, virtual):
    line = Line(limiter.take, clock)
    limiter.take(1, clock.now)
    start = clock.now

    async def main():
        first = asyncio.create_task(line.acquire_async(1))
        second = asyncio.create_task(line.acquire_async(1, timeout=0.05))
        third = asyncio.create_task(line.acquire_async(1))
        assert await second is False
        assert clock.now == start + PERIOD // 2
        assert await first
        assert await third
        assert clock.now == start + 2 * PERIOD

    virtual(main())
    assert len(limiter.taken) == 3


def test_timeout_zero_does_not_wait(limiter, clock, virtual):
    limiter.take(1, clock.now)
    assert virtual(Line(limiter.take, clock).acquire_async(1, timeout=0)) is False
    clock.now += PERIOD
    assert virtual(Line(limiter.take, clock).acquire_async(1, timeout=0)) is True


@pytest.mark.parametrize("position", [0, 1, 2])
def test_cancelled_one_takes_nothing_and_lets_the_next_go(limiter, clock, virtual, position):
    line = Line(limiter.take, clock)
    limiter.take(1, clock.now)
    start = clock.now

    async def main():
        tasks = [asyncio.create_task(line.acquire_async(1)) for _ in range(3)]
        await asyncio.sleep(0.02)
        tasks.pop(position).cancel()
        assert await asyncio.gather(*tasks) == [True, True]
        assert clock.now == start + 2 * PERIOD

    virtual(main())
    assert len(limiter.taken) == 3


def test_cancellation_at_the_moment_of_the_turn_takes_nothing(limiter, clock, virtual):
    line = Line(limiter.take, clock)
    limiter.take(1, clock.now)

    async def main():
        first = asyncio.create_task(line.acquire_async(1))
        second = asyncio.create_task(line.acquire_async(1))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_at((clock.now + PERIOD) / NANOSECONDS, first.cancel)
        assert await second
        with pytest.raises(asyncio.CancelledError):
            await first

    virtual(main())
    assert len(limiter.taken) == 2


def test_error_of_the_limiter_is_for_the_first_and_the_line_goes_on(clock, virtual):
    answers = iter([5, ValueError("n must be <= 5"), 0])  # wait, then the error

    def take(n, at):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    line = Line(take, clock)

    async def main():
        return await asyncio.gather(line.acquire_async(9), line.acquire_async(1), return_exceptions=True)

    first, second = virtual(main())
    assert str(first) == "n must be <= 5"
    assert second is True


def test_threads_and_two_loops_stand_in_one_line():
    bucket = TokenBucket(20_000, 1)
    opened = threading.Event()
    results = []

    def take(n, at):
        if not opened.is_set():
            return NANOSECONDS // 1000  # so that the line does not end while the others come
        return 0 if bucket.allow(n) else 1 + round(bucket.retry_after(n) * NANOSECONDS)

    line = Line(take, monotonic_ns)

    def take_one():
        results.append(line.acquire(1))

    async def take_twenty():
        results.extend(await asyncio.gather(*(line.acquire_async(1) for _ in range(20))))

    threads = [threading.Thread(target=take_one) for _ in range(20)]
    threads += [threading.Thread(target=lambda: asyncio.run(take_twenty())) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(line) < 60:
        threading.Event().wait(0.001)
    opened.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert results == [True] * 60
    assert line.ended


def test_task_of_a_closed_loop_holds_nobody_up(limiter, clock):
    line = Line(limiter.take, clock)
    limiter.take(1, clock.now)
    dead = VirtualTimeLoop(clock)
    waiting = line.acquire_async(1)
    stuck = dead.create_task(waiting)
    dead.call_soon(dead.stop)
    dead.run_forever()
    behind = VirtualTimeLoop(clock)
    second = behind.create_task(line.acquire_async(1))
    behind.call_soon(behind.stop)
    behind.run_forever()
    dead.close()
    assert len(line) == 2
    stuck._log_destroy_pending = False
    del stuck
    waiting.close()
    gc.collect()
    assert behind.run_until_complete(second)
    behind.close()
    assert line.ended


def test_line_is_bounded(limiter, clock, virtual):
    line = Line(limiter.take, clock, max_waiting=2)
    limiter.take(1, clock.now)

    async def main():
        tasks = [asyncio.create_task(line.acquire_async(1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(LimiterFull, match="at most 2 may wait in a line"):
            await line.acquire_async(1)
        assert await asyncio.gather(*tasks) == [True, True]

    virtual(main())


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan])
def test_impossible_timeouts_are_refused(limiter, clock, timeout):
    with pytest.raises(ValueError, match=f"timeout must be >= 0 seconds or None, got {timeout}"):
        Line(limiter.take, clock).acquire(1, timeout)


def test_cancelling_ten_thousand_is_not_quadratic(limiter, clock, virtual):
    """Each leave does a bounded number of steps: the limiter is asked once for each who became the first."""
    line = Line(limiter.take, clock)
    limiter.take(1, clock.now)
    asked = 0

    def take(n, at):
        nonlocal asked
        asked += 1
        return limiter.take(n, at)

    line._take = take

    async def main():
        tasks = [asyncio.create_task(line.acquire_async(1)) for _ in range(10_000)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
            await asyncio.sleep(0)

    virtual(main())
    assert asked <= 10_000
    assert line.ended
