"""What a concurrency limit promises: tasks, threads, several loops."""

import asyncio
import gc
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from penstock.ratelimit import ConcurrencyLimiter, LimiterFull, NotAcquired
from virtual_time import VirtualTimeLoop, run_in_virtual_time, run_once, virtual_time

virtual = virtual_time()


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


def test_no_more_than_the_limit_get_a_slot():
    limiter = ConcurrencyLimiter(3)
    assert [limiter.try_acquire() for _ in range(5)] == [True, True, True, False, False]
    assert limiter.in_flight == 3
    limiter.release()
    assert limiter.try_acquire()


def test_limiter_is_a_context_manager_for_threads_and_tasks(virtual):
    limiter = ConcurrencyLimiter(2)

    async def main():
        async with limiter as entered:
            assert entered is limiter
            with limiter:
                assert limiter.in_flight == 2
                assert not limiter.try_acquire()

    virtual(main())
    assert limiter.in_flight == 0
    with pytest.raises(ZeroDivisionError), limiter:
        1 / 0  # noqa: B018
    assert limiter.in_flight == 0


def test_tasks_get_slots_in_the_order_of_their_arrival(clock, virtual):
    limiter = ConcurrencyLimiter(2, clock=clock)
    order, most = [], 0

    async def one(number):
        nonlocal most
        async with limiter:
            order.append(number)
            most = max(most, limiter.in_flight)
            await asyncio.sleep(0.1)

    async def main():
        await asyncio.gather(*(one(number) for number in range(20)))

    virtual(main())
    assert order == list(range(20))
    assert most == 2
    assert clock.now == 6 * NANOSECONDS


def test_slot_goes_to_who_waits_and_not_to_who_comes_now(virtual):
    limiter = ConcurrencyLimiter(1)
    limiter.try_acquire()

    async def main():
        waiting = asyncio.create_task(limiter.acquire_async())
        await asyncio.sleep(0)
        limiter.release()
        assert not limiter.try_acquire()
        assert await waiting
        assert limiter.in_flight == 1

    virtual(main())


def test_wait_ends_with_the_timeout(clock, virtual):
    limiter = ConcurrencyLimiter(1, clock=clock)
    limiter.try_acquire()

    async def main():
        assert not await limiter.acquire_async(timeout=0)
        assert clock.now == 5 * NANOSECONDS
        assert not await limiter.acquire_async(timeout=1.5)
        assert clock.now == 6_500_000_000

    virtual(main())
    assert not limiter.acquire(timeout=0)
    assert limiter.waiting == 0
    assert limiter.in_flight == 1


@pytest.mark.parametrize("position", [0, 1, 2])
def test_cancelled_task_has_no_slot(virtual, position):
    limiter = ConcurrencyLimiter(1)
    limiter.try_acquire()

    async def main():
        tasks = [asyncio.create_task(limiter.acquire_async()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks.pop(position).cancel()
        await asyncio.sleep(0)
        assert limiter.waiting == 2
        for task in tasks:
            limiter.release()
            assert await task

    virtual(main())
    assert (limiter.in_flight, limiter.waiting) == (1, 0)


def test_cancellation_that_meets_the_grant_hands_the_slot_on(virtual):
    limiter = ConcurrencyLimiter(1)
    limiter.try_acquire()

    async def main():
        first = asyncio.create_task(limiter.acquire_async())
        second = asyncio.create_task(limiter.acquire_async())
        await asyncio.sleep(0)
        limiter.release()
        first.cancel()
        assert await second
        assert first.cancelled()

    virtual(main())
    assert limiter.in_flight == 1


def test_number_of_waiters_is_bounded(virtual):
    limiter = ConcurrencyLimiter(1, max_waiting=1)
    limiter.try_acquire()

    async def main():
        waiting = asyncio.create_task(limiter.acquire_async())
        await asyncio.sleep(0)
        with pytest.raises(LimiterFull, match="at most 1 may wait for one of 1 slots"):
            await limiter.acquire_async()
        with pytest.raises(LimiterFull):
            limiter.acquire()
        limiter.release()
        assert await waiting

    virtual(main())


def test_no_waiting_at_all_is_possible():
    limiter = ConcurrencyLimiter(1, max_waiting=0)
    assert limiter.acquire()
    with pytest.raises(LimiterFull, match="at most 0 may wait for one of 1 slots"):
        limiter.acquire()


def test_new_limit_lets_more_in_or_fewer(virtual):
    limiter = ConcurrencyLimiter(2)
    limiter.acquire()
    limiter.acquire()

    async def main():
        tasks = [asyncio.create_task(limiter.acquire_async()) for _ in range(3)]
        await asyncio.sleep(0)
        limiter.set_limit(4)
        await asyncio.gather(*tasks[:2])
        limiter.set_limit(1)
        assert (limiter.limit, limiter.in_flight, limiter.waiting) == (1, 4, 1)
        for _ in range(3):
            limiter.release()
            await asyncio.sleep(0)
        assert not tasks[2].done()
        limiter.release()
        assert await tasks[2]

    virtual(main())
    assert limiter.in_flight == 1


def test_more_releases_than_slots_are_an_error():
    limiter = ConcurrencyLimiter(1)
    with pytest.raises(NotAcquired, match="must not be called more often than a slot was acquired") as error:
        limiter.release()
    assert isinstance(error.value, PenstockError)
    limiter.acquire()
    limiter.release()
    with pytest.raises(RuntimeError):
        limiter.release()
    assert limiter.try_acquire()
    assert not limiter.try_acquire()


def test_release_in_a_finalizer_is_booked_after_the_step_it_interrupts():
    limiter = ConcurrencyLimiter(1)
    limiter.acquire()
    with limiter._lock:  # as if this came in the middle of a step of the same thread
        limiter.release()
        with pytest.raises(NotAcquired):
            limiter.release()
    assert not limiter.try_acquire()  # this step finds the slot taken, and books the release after it
    assert limiter.try_acquire()
    assert limiter.in_flight == 1


def test_threads_and_loops_wait_in_one_line():
    limiter = ConcurrencyLimiter(3)
    inside = [0]
    most = [0]
    done = []
    guard = threading.Lock()

    def enter(change):
        with guard:
            inside[0] += change
            most[0] = max(most[0], inside[0])

    def thread():
        for _ in range(200):
            with limiter:
                enter(1)
                enter(-1)
        done.append(True)

    async def task():
        for _ in range(200):
            async with limiter:
                enter(1)
                await asyncio.sleep(0)
                enter(-1)
        done.append(True)

    async def tasks():
        await asyncio.gather(*(task() for _ in range(5)))

    threads = [threading.Thread(target=thread) for _ in range(5)]
    threads += [threading.Thread(target=lambda: asyncio.run(tasks())) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
        assert not each.is_alive()
    assert len(done) == 15
    assert 1 <= most[0] <= 3
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


def test_waiter_of_a_closed_loop_does_not_keep_the_slot(clock):
    limiter = ConcurrencyLimiter(1)
    limiter.acquire()
    dead, alive = VirtualTimeLoop(clock), VirtualTimeLoop(clock)
    coroutine = limiter.acquire_async()
    stuck = dead.create_task(coroutine)
    run_once(dead)
    second = alive.create_task(limiter.acquire_async())
    run_once(alive)
    dead.close()
    limiter.release()
    assert alive.run_until_complete(second)
    assert limiter.in_flight == 1
    stuck._log_destroy_pending = False
    del stuck
    coroutine.close()
    gc.collect()
    assert limiter.in_flight == 1
    alive.close()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0,), {}, "limit must be >= 1 and <= 1073741824, got 0"),
        ((-1,), {}, "limit must be >= 1 and <= 1073741824, got -1"),
        ((10**5000,), {}, "limit must be >= 1 and <= 1073741824, got an int of 16610 bits"),
        ((1,), {"max_waiting": -1}, "max_waiting must be >= 0 and <= 1073741824, got -1"),
    ],
)
def test_impossible_limits_are_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        ConcurrencyLimiter(*arguments, **options)


def test_what_is_no_int_is_refused():
    with pytest.raises(TypeError, match="limit must be an int, got float"):
        ConcurrencyLimiter(1.5)
    with pytest.raises(TypeError, match="limit must be an int, got bool"):
        ConcurrencyLimiter(1).set_limit(True)
    with pytest.raises(PenstockError, match="or None, got an int of 16610 bits"):
        ConcurrencyLimiter(1).acquire(-(10**5000))
    with pytest.raises(ValueError, match="timeout must be >= 0 seconds or None, got nan"):
        ConcurrencyLimiter(1).acquire(math.nan)


@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(1, 300), st.none() | st.integers(0, 400)), max_size=25
    ),
    st.integers(1, 4),
)
def test_any_schedule_keeps_the_limit_and_loses_no_slot(plan, limit):
    """(milliseconds after the one before, how long the slot is kept, when it is cancelled)"""
    clock = ManualClock()
    limiter = ConcurrencyLimiter(limit, clock=clock)
    entered = []

    async def one(number, kept):
        async with limiter:
            entered.append(number)
            assert limiter.in_flight <= limit
            await asyncio.sleep(kept / 1000)

    async def main():
        tasks = []
        for number, (gap, kept, cancelled) in enumerate(plan):
            await asyncio.sleep(gap / 1000)
            tasks.append(asyncio.create_task(one(number, kept)))
            if cancelled is not None:
                asyncio.get_running_loop().call_later(cancelled / 1000, tasks[-1].cancel)
        await asyncio.gather(*tasks, return_exceptions=True)

    run_in_virtual_time(main(), clock)
    assert entered == sorted(entered)
    assert set(entered) >= {number for number, (_, _, cancelled) in enumerate(plan) if cancelled is None}
    assert (limiter.in_flight, limiter.waiting) == (0, 0)
    assert [limiter.try_acquire() for _ in range(limit + 1)] == [True] * limit + [False]
