"""Timers that are never early: by the kernel, by the loop, and in virtual time."""

import asyncio
import gc
import os
import sys
from contextvars import ContextVar
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError, timer
from penstock.clock import NANOSECONDS, ManualClock, monotonic_ns
from penstock.timer import Timer, TimerClosed
from virtual_time import run_in_virtual_time

MS = 1_000_000
LOOPS = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop
except ImportError:
    pass
else:
    LOOPS["uvloop"] = uvloop.new_event_loop


def no_timerfd():
    raise OSError("no timerfd here")


@pytest.fixture(params=["kernel", "loop"])
def woken_by(request, monkeypatch):
    """Once with what the system has, once as on a system without timerfd."""
    if request.param == "loop":
        monkeypatch.setattr(timer, "timerfd_calls", no_timerfd)
    return request.param


@pytest.fixture(params=LOOPS.values(), ids=LOOPS)
def run(request, woken_by):
    def run(main):
        unexpected = []  # what callbacks raise goes to the loop, and would be heard of by nobody

        async def watched():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: unexpected.append(context))
            return await main

        with asyncio.Runner(loop_factory=request.param) as runner:
            result = runner.run(watched())
        assert not unexpected
        return result

    return run


@pytest.fixture
def clock():
    return ManualClock()


def test_kernel_wakes_it_where_there_is_a_timerfd(run, woken_by):
    async def precise():
        with Timer() as timer:
            return timer.precise

    assert run(precise()) == (woken_by == "kernel" and sys.platform == "linux")


def test_sleeper_is_never_woken_early(run):
    async def sleep():
        with Timer() as timer:
            for step in (50_000, 400_000, 1_700_000, 2_400_000):
                at = monotonic_ns() + step
                await timer.sleep_until(at)
                assert monotonic_ns() >= at

    run(sleep())


def test_callbacks_come_in_the_order_of_their_moments(run):
    async def call():
        with Timer() as timer:
            now, called, done = monotonic_ns(), [], asyncio.Event()
            timer.call_at(now + 3 * MS, done.set)
            for name, at in {"c": now + 2 * MS, "a": now + MS, "b": now + MS, "past": now - MS}.items():
                timer.call_at(at, lambda name=name: called.append(name))
            assert not called
            await done.wait()
            return called

    assert run(call()) == ["past", "a", "b", "c"]


def test_earlier_moment_that_comes_later_is_not_missed(run):
    async def sleep():
        with Timer() as timer:
            timer.call_at(monotonic_ns() + 3_600 * NANOSECONDS, pytest.fail)
            await timer.sleep_until(monotonic_ns() + MS)
            assert len(timer) == 1

    run(sleep())


def test_cancelled_callback_does_not_run(run):
    async def call():
        with Timer() as timer:
            at = monotonic_ns() + MS
            first = timer.call_at(at, lambda: second.cancel())
            second = timer.call_at(at, pytest.fail)  # due in the same turn
            third = timer.call_at(at, pytest.fail)
            third.cancel()
            third.cancel()
            await timer.sleep_until(at + MS)
            first.cancel()  # it has run, nothing to cancel
            assert len(timer) == 0

    run(call())


def test_moment_that_has_passed_lets_the_others_run_once(run):
    async def sleep():
        ran = []
        asyncio.get_running_loop().call_soon(ran.append, 1)
        with Timer() as timer:
            await timer.sleep_until(0)
            assert ran

    run(sleep())


def test_callback_that_asks_for_now_again_does_not_starve_the_loop(run):
    async def call():
        called = []

        def again():
            called.append(1)
            timer.call_at(0, again)

        with Timer() as timer:
            timer.call_at(0, again)
            while len(called) < 5:
                await asyncio.sleep(0)

    run(call())


def test_exception_of_a_callback_goes_to_the_loop_and_the_others_run(run):
    async def call():
        met, loop = [], asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: met.append(context["exception"]))
        error = ValueError("bad")

        def broken():
            raise error

        with Timer() as timer:
            timer.call_at(0, broken)
            await timer.sleep_until(monotonic_ns() + MS)
        assert met == [error]

    run(call())


def test_callback_runs_in_the_context_in_which_it_was_given(run):
    who = ContextVar("who")

    async def call():
        seen = []
        with Timer() as timer:
            who.set("first")
            timer.call_at(0, lambda: seen.append(who.get()))
            who.set("second")
            await timer.sleep_until(monotonic_ns() + MS)
        return seen

    assert run(call()) == ["first"]


def test_cancelled_sleeper_leaves_nothing_behind(run):
    async def sleep():
        with Timer() as timer:
            task = asyncio.create_task(timer.sleep_until(monotonic_ns() + 3_600 * NANOSECONDS))
            await asyncio.sleep(0)
            assert len(timer) == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(timer) == 0

    run(sleep())


def test_closing_wakes_sleepers_with_an_error_and_forgets_callbacks(run):
    async def sleep():
        timer, soon = Timer(), monotonic_ns() + MS
        timer.call_at(soon, pytest.fail)
        task = asyncio.create_task(timer.sleep_until(monotonic_ns() + 3_600 * NANOSECONDS))
        await asyncio.sleep(0)
        timer.close()
        timer.close()
        with pytest.raises(TimerClosed, match="timer must be open, it is closed") as closed:
            await task
        assert isinstance(closed.value, PenstockError)
        assert isinstance(closed.value, RuntimeError)
        with pytest.raises(TimerClosed):
            timer.call_at(0, pytest.fail)
        with pytest.raises(TimerClosed):
            await timer.sleep_until(0)
        with Timer() as other:
            await other.sleep_until(soon + MS)  # until it would have been called

    run(sleep())


@pytest.mark.parametrize("bad_read", range(8))
def test_clock_that_fails_once_does_not_stop_the_timer(clock, bad_read):
    reads, met, called = count(), [], []

    def failing():
        if next(reads) == bad_read:
            raise OSError("clock gone")
        return clock.now

    def call_at(timer, at):
        try:
            timer.call_at(at, lambda: called.append(at))
        except OSError as error:  # it has been given all the same
            met.append(error)

    async def call():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: met.append(context["exception"]))
        with Timer(clock=failing) as timer:
            for at in range(MS, 6 * MS, MS):
                call_at(timer, at)
                await asyncio.sleep(0.0005)
            await asyncio.sleep(1)
            call_at(timer, clock.now + MS)
            await asyncio.sleep(1)

    run_in_virtual_time(call(), clock)
    assert [str(error) for error in met] == ["clock gone"]
    assert len(called) == 6
    assert called == sorted(called)


def test_callback_may_close_the_timer(run):
    async def call():
        timer, closed = Timer(), asyncio.Event()

        def close():
            timer.close()
            closed.set()

        timer.call_at(0, close)
        timer.call_at(1, pytest.fail)  # due in the same turn
        await closed.wait()
        await asyncio.sleep(0)

    run(call())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_closed_timers_leave_no_descriptor_open(run):
    async def many():
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            with Timer() as timer:
                timer.call_at(monotonic_ns() + NANOSECONDS, pytest.fail)
        return len(os.listdir("/proc/self/fd")) - before

    gc.collect()
    assert run(many()) == 0


def test_timer_can_be_closed_after_its_loop(run):
    async def leave_open():
        return Timer()

    run(leave_open()).close()


def test_heap_of_cancelled_handles_stays_small(run):
    async def many():
        with Timer() as timer:
            far = monotonic_ns() + 3_600 * NANOSECONDS
            kept = [timer.call_at(far, pytest.fail) for _ in range(10)]
            for step in range(10_000):
                timer.call_at(far + step, pytest.fail).cancel()
            assert len(timer) == len(kept)
            assert len(timer._heap) <= 50

    run(many())


def test_cancelled_callback_is_let_go_at_once(run):
    class Thing:
        pass

    async def cancel():
        thing = Thing()
        with Timer() as timer:
            handle = timer.call_at(monotonic_ns() + NANOSECONDS, lambda thing=thing: thing)
            before = sys.getrefcount(thing)
            handle.cancel()
            return before - sys.getrefcount(thing)

    assert run(cancel()) == 1


def test_interrupt_in_a_callback_keeps_the_others_for_later(woken_by):
    called = []

    def interrupt():
        raise KeyboardInterrupt

    async def start():
        return Timer()

    async def wait(timer):
        await timer.sleep_until(monotonic_ns() + MS)
        timer.close()

    loop = asyncio.new_event_loop()
    try:
        timer = loop.run_until_complete(start())
        for callback in (interrupt, lambda: called.append("next")):
            timer.call_at(0, callback)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert not called
        loop.run_until_complete(wait(timer))
        assert called == ["next"]
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("at_ns", "error", "message"),
    [
        (1.5, TypeError, "at_ns must be an int, got float"),
        (1 << 70, ValueError, "at_ns must fit 64 bits, got an int of 71 bits"),
    ],
)
def test_moment_that_is_none_is_refused(run, at_ns, error, message):
    async def ask():
        with Timer() as timer:
            with pytest.raises(error, match=message):
                timer.call_at(at_ns, pytest.fail)
            with pytest.raises(error, match=message):
                await timer.sleep_until(at_ns)

    run(ask())


def test_timer_needs_a_running_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        Timer()


def test_system_without_timerfd_is_found_out(monkeypatch):
    def broken(*_, **__):
        raise OSError("too many open files")

    monkeypatch.setattr(timer, "timerfd_calls", lambda: (broken, broken))

    async def precise():
        with Timer() as timer:
            await timer.sleep_until(monotonic_ns() + MS)
            return timer.precise

    assert not asyncio.run(precise())


def test_other_clock_is_followed_exactly(clock):
    async def sleep():
        with Timer(clock=clock) as timer:
            assert not timer.precise
            for at in (5, NANOSECONDS, NANOSECONDS + 1, 3_600 * NANOSECONDS):
                await timer.sleep_until(at)
                assert at <= clock() < at + 2_000

    run_in_virtual_time(sleep(), clock)


def test_loop_that_wakes_early_does_not_make_it_early(clock):
    def slower():  # the loop is a thousandth ahead of it
        return clock.now - clock.now // 1_000

    async def sleep():
        with Timer(clock=slower) as timer:
            await timer.sleep_until(NANOSECONDS)
            assert NANOSECONDS <= slower() < NANOSECONDS + 2_000

    run_in_virtual_time(sleep(), clock)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 40 * MS), st.booleans()), max_size=40),
    st.lists(st.integers(-900_000, 2 * MS), max_size=60),
)
def test_whatever_the_loop_does_callbacks_come_once_in_order_and_never_early(asked, lateness):
    clock, called = ManualClock(), []

    async def main():
        with Timer(clock=clock) as timer:
            for number, (turns, ahead, cancel) in enumerate(asked):
                at = clock() + ahead
                handle = timer.call_at(at, lambda at=at, number=number: called.append((at, number, clock())))
                if cancel:
                    handle.cancel()
                for _ in range(turns):
                    await asyncio.sleep(0)
            await timer.sleep_until(clock() + 100 * MS)
            assert len(timer) == 0

    late = iter(lateness)
    run_in_virtual_time(main(), clock, lateness=lambda: next(late, 0))
    assert sorted(number for _, number, _ in called) == [
        n for n, (*_, cancel) in enumerate(asked) if not cancel
    ]
    assert all(now >= at for at, _, now in called)
    by_turn = [(now, at) for at, _, now in called]
    assert by_turn == sorted(by_turn)
