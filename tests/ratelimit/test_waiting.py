"""What a bucket promises to those who wait for its tokens, on both twins: tasks, threads, several loops."""

import asyncio
import gc
import inspect
import linecache
import math
import random
import signal
import subprocess
import sys
import threading
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import NANOSECONDS, ManualClock, monotonic_ns
from penstock.ratelimit._waiting import InUse, ThreadWaker
from twins import both_twins, load
from virtual_time import VirtualTimeLoop, run_in_virtual_time, run_once, virtual_time

MODULE = "penstock.ratelimit.token_bucket"
TokenBucket = both_twins(MODULE)
virtual = virtual_time()


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


def test_what_is_there_is_acquired_without_a_wait(TokenBucket, clock, virtual):
    bucket = TokenBucket(1, 5, clock=clock)
    before = clock.now
    assert bucket.acquire(2)
    assert virtual(bucket.acquire_async(3)) is True
    assert clock.now == before
    assert bucket.tokens == 0


def test_acquire_async_is_a_coroutine(TokenBucket, clock, virtual):
    bucket = TokenBucket(1, 5, clock=clock)

    async def main():
        coroutine = bucket.acquire_async()
        assert asyncio.iscoroutine(coroutine)
        assert inspect.isawaitable(coroutine)
        assert await asyncio.create_task(coroutine)
        assert await asyncio.wait_for(bucket.acquire_async(), 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(bucket.acquire_async(2))

    virtual(main())
    assert bucket.tokens == 1


def test_tasks_are_served_in_the_order_of_their_arrival(TokenBucket, clock, virtual):
    bucket = TokenBucket(10, 3, initial=0, clock=clock)
    start = clock.now
    served = []

    async def one(number):
        assert await bucket.acquire_async(1 + number % 3)
        served.append((number, clock.now - start))

    async def main():
        await asyncio.gather(*(one(number) for number in range(30)))

    virtual(main())
    assert [number for number, _ in served] == list(range(30))
    costs = [1 + number % 3 for number in range(30)]
    assert [moment for _, moment in served] == [
        sum(costs[: turn + 1]) * NANOSECONDS // 10 for turn in range(30)
    ]


@pytest.mark.parametrize("tasks", [2, 10, 100])
def test_late_wakers_cost_no_rate(TokenBucket, clock, tasks):
    """1000 a second with a capacity of one, on a loop up to a millisecond late, as epoll makes it."""
    bucket = TokenBucket(1000, 1, initial=0, clock=clock)
    dice = random.Random(36)
    end = clock.now + 5 * NANOSECONDS
    served = 0

    async def loop():
        nonlocal served
        while await bucket.acquire_async() and clock.now <= end:
            served += 1

    async def main():
        await asyncio.gather(*(loop() for _ in range(tasks)))

    run_in_virtual_time(main(), clock, lateness=lambda: dice.randrange(999_999))
    assert 4_998 <= served <= 5_000


@pytest.mark.parametrize("position", [0, 1, 2])
def test_cancelled_task_gives_its_tokens_to_those_behind(TokenBucket, clock, virtual, position):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    start = clock.now

    async def main():
        tasks = [asyncio.create_task(bucket.acquire_async()) for _ in range(3)]
        await asyncio.sleep(0.25)
        tasks.pop(position).cancel()
        assert await asyncio.gather(*tasks) == [True, True]
        assert clock.now == start + 2 * NANOSECONDS

    virtual(main())
    assert bucket.peek().reset_after == 1


def test_cancellation_that_meets_the_grant_gives_the_tokens_back(TokenBucket, clock, virtual):
    """The timer has fired and the tokens are there, but the task has not run since: nobody used them."""
    bucket = TokenBucket(1, 2, initial=0, clock=clock)

    async def main():
        task = asyncio.create_task(bucket.acquire_async(2))
        await asyncio.sleep(0)
        clock.advance(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual(main())
    assert bucket.tokens == 2


def test_cancellation_long_after_the_grant_makes_no_tokens(TokenBucket, clock, virtual):
    """Had the task never come, the bucket would have flowed over: there is nothing to give back."""
    bucket = TokenBucket(1, 2, initial=0, clock=clock)

    async def main():
        task = asyncio.create_task(bucket.acquire_async(2))
        await asyncio.sleep(0)
        clock.advance(100)
        assert bucket.allow(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual(main())
    assert bucket.tokens == 0


def test_wait_longer_than_the_timeout_is_refused_at_once(TokenBucket, clock, virtual):
    bucket = TokenBucket(1, 5, initial=0, clock=clock)
    before = clock.now
    for timeout in (0, 1.9999):
        assert bucket.acquire(2, timeout=timeout) is False
        assert virtual(bucket.acquire_async(2, timeout=timeout)) is False
    assert clock.now == before
    assert bucket.peek().reset_after == 5
    assert virtual(bucket.acquire_async(2, timeout=2)) is True
    assert clock.now == before + 2 * NANOSECONDS


def test_timeout_counts_those_ahead(TokenBucket, clock, virtual):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)

    async def main():
        first = asyncio.create_task(bucket.acquire_async(timeout=math.inf))
        await asyncio.sleep(0)
        assert not await bucket.acquire_async(timeout=1.5)
        assert await bucket.acquire_async(timeout=2)
        assert first.done()

    virtual(main())


def test_timeout_ends_a_wait_that_has_become_longer(TokenBucket, clock, virtual):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    start = clock.now

    async def main():
        first = asyncio.create_task(bucket.acquire_async(timeout=3))
        second = asyncio.create_task(bucket.acquire_async())
        await asyncio.sleep(0)
        bucket.set_rate(0.1)
        assert not await first
        assert clock.now == start + 3 * NANOSECONDS
        assert await second
        assert clock.now == start + 10 * NANOSECONDS

    virtual(main())


def test_faster_rate_and_refund_wake_those_who_wait(TokenBucket, clock, virtual):
    bucket = TokenBucket(1, 2, initial=0, clock=clock)
    start = clock.now

    async def main():
        tasks = [asyncio.create_task(bucket.acquire_async(2)) for _ in range(3)]
        await asyncio.sleep(0)
        bucket.refund(1.5)
        await tasks[0]
        assert clock.now == start + NANOSECONDS // 2
        bucket.set_rate(20)
        await tasks[1]
        assert clock.now == start + NANOSECONDS * 6 // 10
        bucket.refund(2)
        await tasks[2]
        assert clock.now == start + NANOSECONDS * 6 // 10

    virtual(main())


def test_reservation_that_is_cancelled_moves_waiters_up(TokenBucket, clock, virtual):
    bucket = TokenBucket(1, 5, initial=0, clock=clock)
    start = clock.now

    async def main():
        reservation = bucket.reserve(5)
        tasks = [asyncio.create_task(bucket.acquire_async()) for _ in range(3)]
        await asyncio.sleep(2)
        assert reservation.cancel()
        await asyncio.gather(*tasks)
        assert clock.now == start + 3 * NANOSECONDS

    virtual(main())


@pytest.mark.parametrize("backwards", [False, True])
def test_ten_thousand_cancelled_tasks_cost_a_bounded_number_of_steps_each(
    TokenBucket, clock, virtual, backwards
):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    timers = 0

    async def main():
        nonlocal timers
        loop = asyncio.get_running_loop()
        real = loop.call_at

        def call_at(*arguments, **options):
            nonlocal timers
            timers += 1
            return real(*arguments, **options)

        loop.call_at = call_at
        tasks = [asyncio.create_task(bucket.acquire_async()) for _ in range(10_000)]
        await asyncio.sleep(0)
        for task in reversed(tasks) if backwards else tasks:
            task.cancel()
            await asyncio.sleep(0)

    virtual(main())
    assert timers <= 20_001
    assert bucket.tokens == 0
    assert bucket.peek().reset_after == 1


def test_two_loops_share_a_bucket(TokenBucket, clock):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    one, two = VirtualTimeLoop(clock), VirtualTimeLoop(clock)
    first = one.create_task(bucket.acquire_async())
    run_once(one)
    second = two.create_task(bucket.acquire_async())
    run_once(two)
    assert two.run_until_complete(second)
    assert clock.now == 7 * NANOSECONDS
    assert one.run_until_complete(first)
    assert clock.now == 7 * NANOSECONDS
    one.close()
    two.close()


def test_cancelling_in_one_loop_wakes_the_other(TokenBucket, clock):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    one, two = VirtualTimeLoop(clock), VirtualTimeLoop(clock)
    first = one.create_task(bucket.acquire_async())
    run_once(one)
    second = two.create_task(bucket.acquire_async())
    run_once(two)
    first.cancel()
    run_once(one)
    assert two.run_until_complete(second)
    assert clock.now == 6 * NANOSECONDS
    one.close()
    two.close()


def test_waiter_of_a_loop_that_is_gone_holds_nobody_up(TokenBucket, clock):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    dead, alive = VirtualTimeLoop(clock), VirtualTimeLoop(clock)
    coroutine = bucket.acquire_async()
    stuck = dead.create_task(coroutine)
    run_once(dead)
    second = alive.create_task(bucket.acquire_async())
    run_once(alive)
    dead.close()
    assert alive.run_until_complete(second)
    assert clock.now == 7 * NANOSECONDS
    stuck._log_destroy_pending = False
    del stuck
    coroutine.close()
    alive.close()


def test_abandoned_coroutine_gives_its_tokens_back(TokenBucket, clock):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    loop = VirtualTimeLoop(clock)
    coroutine = bucket.acquire_async()
    task = loop.create_task(coroutine)
    run_once(loop)
    assert bucket.peek().reset_after == 2
    task._log_destroy_pending = False
    loop.close()
    del task, loop
    coroutine.close()
    gc.collect()
    assert bucket.peek().reset_after == 1


def test_threads_wait_in_the_same_line_as_tasks(TokenBucket):
    bucket = TokenBucket(20_000, 1, initial=0)
    done = []

    def thread():
        done.extend([bucket.acquire() for _ in range(50)])

    async def task():
        done.extend([await bucket.acquire_async() for _ in range(50)])

    async def tasks():
        await asyncio.gather(*(task() for _ in range(4)))

    start = monotonic_ns()
    threads = [threading.Thread(target=thread) for _ in range(4)]
    threads += [threading.Thread(target=lambda: asyncio.run(tasks())) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
        assert not each.is_alive()
    assert done == [True] * 600
    assert monotonic_ns() - start >= 600 * NANOSECONDS // 20_000


def test_blocked_thread_is_woken_when_its_turn_comes_earlier(TokenBucket):
    bucket = TokenBucket(0.001, 1, initial=0)
    done = threading.Event()
    blocked = threading.Thread(target=lambda: bucket.acquire() and done.set())
    blocked.start()
    while bucket.peek().reset_after < 1500:
        done.wait(0.001)
    bucket.refund()
    assert done.wait(30)
    blocked.join()


def test_blocked_thread_gives_its_tokens_back_when_interrupted(TokenBucket):
    bucket = TokenBucket(0.001, 1, initial=0)

    class Interrupted(Exception):
        pass

    def interrupt(number, frame):
        raise Interrupted

    def interrupt_when_it_waits():
        waited = threading.Event()
        while bucket.peek().reset_after < 1500:
            waited.wait(0.001)
        waited.wait(0.01)  # from its promise into its sleep
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    other = threading.Thread(target=interrupt_when_it_waits)
    try:
        other.start()
        with pytest.raises(Interrupted):
            bucket.acquire()
    finally:
        other.join()
        signal.signal(signal.SIGUSR1, before)
    assert bucket.peek().reset_after <= 1000


@pytest.mark.parametrize("impl", ["c", "py"])
def test_signal_handler_may_come_back_to_the_bucket_it_interrupts(impl):
    """It is served or told InUse, and never waits for itself; in a process of its own, which could hang."""
    code = f"""
import signal
from penstock.ratelimit._token_bucket_{impl} import TokenBucket
from penstock.ratelimit._waiting import InUse

bucket = TokenBucket(1e9, 1_000)
handled = 0

def handle(number, frame):
    global handled
    handled += 1
    try:
        bucket.reserve().cancel()
        bucket.refund()
    except InUse:
        pass
    if handled < 500:
        signal.setitimer(signal.ITIMER_REAL, 0.0002)

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0002)
while handled < 500:
    bucket.reserve(1_000).cancel()
    bucket.acquire()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_finalizer_that_interrupts_a_step_gives_back_after_it(TokenBucket, clock):
    bucket = TokenBucket(1, 1, initial=0, clock=clock)
    loop = VirtualTimeLoop(clock)
    coroutine = bucket.acquire_async()
    task = loop.create_task(coroutine)
    run_once(loop)
    ledger = bucket.reserve()._ledger
    task._log_destroy_pending = False
    loop.close()
    del task, loop
    gc.collect()
    with ledger._lock:  # as if this came in the middle of a step of the same thread
        coroutine.close()
        with pytest.raises(InUse, match="in the middle of a step"):
            bucket.reserve()
        assert bucket.peek().reset_after == 3
    assert bucket.reserve().delay == 2


def interrupt_after(steps, call):
    """Calls `call` and raises KeyboardInterrupt at its `steps`-th line. False: it has fewer."""
    left = steps

    def trace(frame, event, argument):
        nonlocal left
        if not frame.f_code.co_filename.endswith("_reservations.py"):
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not line.lstrip().startswith("with "):  # no signal is heard there
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("step", ["reserve", "acquire", "cancel", "refund"])
def test_interruption_at_any_line_makes_no_promise_early(TokenBucket, step):
    steps = 0
    interrupted = True
    while interrupted:
        steps += 1
        clock = ManualClock()
        bucket = TokenBucket(1, 2, initial=0, clock=clock)
        ahead, middle, last = bucket.reserve(), bucket.reserve(), bucket.reserve()
        call = {
            "reserve": bucket.reserve,
            "acquire": lambda bucket=bucket: bucket.acquire(timeout=3),
            "cancel": middle.cancel,
            "refund": lambda bucket=bucket: bucket.refund(0.5),
        }[step]
        interrupted = interrupt_after(steps, call)
        given_back = {"cancel": 1, "refund": 0.5}.get(step, 0)
        moved_up = 0 if step == "cancel" else given_back
        assert ahead.delay >= 1 - moved_up
        assert last.delay >= 3 - given_back
        clock.advance(1 - moved_up - 0.001)
        assert ahead.delay > 0
        clock.advance(1.1)
        assert last.delay >= 0.8 - (given_back - moved_up)
        assert bucket.peek().reset_after <= 4 + (step == "reserve")
        clock.advance(4)
        assert last.delay == 0
        assert bucket.allow(2) or bucket.tokens >= 1
    assert steps > 20


@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan])
def test_impossible_timeouts_are_refused_also_when_no_wait_is_needed(TokenBucket, clock, virtual, timeout):
    bucket = TokenBucket(1, 5, clock=clock)
    with pytest.raises(ValueError, match=f"timeout must be >= 0 seconds or None, got {timeout}"):
        bucket.acquire(timeout=timeout)
    with pytest.raises(ValueError, match=f"timeout must be >= 0 seconds or None, got {timeout}"):
        virtual(bucket.acquire_async(timeout=timeout))
    with pytest.raises(TypeError, match="timeout must be a number of seconds or None, got str"):
        bucket.acquire(timeout="1")
    assert bucket.tokens == 5


def test_impossible_n_is_refused_by_acquire_async(TokenBucket, clock, virtual):
    with pytest.raises(ValueError, match="n must be > 0 and <= capacity 5 tokens, got 6"):
        virtual(TokenBucket(1, 5, clock=clock).acquire_async(6))


def test_wake_before_the_wait_is_not_lost():
    waker = ThreadWaker()
    assert waker.wake()
    assert waker.wake()
    waker.wait(None)


arrivals = st.lists(
    st.tuples(
        st.integers(0, 2 * 10**9),  # nanoseconds after the one before
        st.integers(1, 5),  # tokens
        st.none() | st.integers(0, 10**10),  # nanoseconds until it is cancelled
        st.none() | st.sampled_from([0.0, 0.5, 2.0, 10.0]),  # timeout
    ),
    max_size=25,
)


def play(impl, arrivals):
    """For each task that was not cancelled when it came, what it wanted, whether and when it got it."""
    clock = ManualClock()
    bucket = load(MODULE, impl)(2, 5, clock=clock)
    outcomes = {}

    async def one(number, n, patience):
        came = clock.now
        taken = await bucket.acquire_async(n, timeout=patience)
        outcomes[number] = (came, n, patience, taken, clock.now)

    async def main():
        loop = asyncio.get_running_loop()
        tasks = []
        for number, (gap, n, cancelled_after, patience) in enumerate(arrivals):
            await asyncio.sleep(gap / NANOSECONDS)
            tasks.append(asyncio.create_task(one(number, n, patience)))
            if cancelled_after is not None:
                loop.call_later(cancelled_after / NANOSECONDS, tasks[-1].cancel)
        await asyncio.gather(*tasks, return_exceptions=True)

    run_in_virtual_time(main(), clock)
    return [outcome for _, outcome in sorted(outcomes.items())], bucket.tokens


@given(arrivals)
def test_any_schedule_of_tasks_keeps_the_order_and_the_limit(arrivals):
    outcomes, tokens = play("c", arrivals)
    assert (outcomes, tokens) == play("py", arrivals)
    granted = [(at, n) for _, n, _, taken, at in outcomes if taken]
    assert granted == sorted(granted, key=lambda each: each[0])
    for first, (start, _) in enumerate(granted):
        total = 0
        for end, n in granted[first:]:
            total += n
            assert total <= 5 + Fraction(2 * (end - start + 1), NANOSECONDS)


@given(arrivals)
def test_uncancelled_tasks_get_their_tokens_at_the_first_possible_moment(arrivals):
    outcomes, _ = play("c", [(gap, n, None, patience) for gap, n, _, patience in arrivals])
    full_at = 0
    for came, n, patience, taken, at in outcomes:
        then = max(full_at, came) + n * NANOSECONDS // 2
        due = max(came, then - 5 * NANOSECONDS // 2)
        if patience is None or abs(due - came - patience * NANOSECONDS) > 2:
            assert taken == (patience is None or due - came <= patience * NANOSECONDS)
        if taken:
            assert abs(at - due) <= 2 + len(arrivals)  # each timer may round a nanosecond
            full_at = then
