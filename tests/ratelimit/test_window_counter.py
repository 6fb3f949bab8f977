"""What a sliding window counter promises, on both twins."""

import re
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from twins import both_twins, load

MODULE = "penstock.ratelimit.window_counter"
SlidingWindowCounter = both_twins(MODULE)


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


@pytest.fixture
def switching():
    """Threads take turns every few microseconds, so that one meets another in the middle of a call."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def drain(window):
    taken = 0
    while window.allow():
        taken += 1
    return taken


def facts(result):
    return result.allowed, result.count, result.remaining, result.retry_after, result.reset_after


def test_limit_is_allowed_and_no_more(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(5, 10, clock=clock)
    assert drain(window) == 5
    assert not window.allow()


def test_window_starts_when_the_counter_is_made(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(4, 10, clock=clock)
    clock.now += 10 * NANOSECONDS - 1
    assert drain(window) == 4
    clock.now += 1  # the next window: all four still count
    assert not window.allow()
    clock.now += 10 * NANOSECONDS // 4  # three quarters of them
    assert drain(window) == 1


def test_last_window_counts_by_the_share_that_is_covered(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(10, 10, clock=clock)
    assert window.allow(10)
    clock.advance(10)
    for second in range(10):
        assert window.peek().count == 10 - second
        clock.advance(1)
    assert window.peek().count == 0


def test_check_tells_how_the_window_stands(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(4, 10, clock=clock)
    assert facts(window.check(3)) == (True, 3, 1, 0, 20)
    clock.advance(5)
    assert facts(window.check(2)) == (False, 3, 1, 8.333333334, 15)
    assert facts(window.check()) == (True, 4, 0, 0, 15)
    assert facts(window.check()) == (False, 4, 0, 7.5, 15)
    clock.advance(5)
    assert facts(window.check()) == (False, 4, 0, 2.5, 10)
    clock.advance(2.5)
    assert facts(window.check()) == (True, 4, 0, 0, 17.5)


def test_remaining_is_rounded_down(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(3, 10, clock=clock)
    window.allow(3)
    clock.advance(10)
    clock.now += 1
    assert window.peek().remaining == 0
    clock.now = 5 * NANOSECONDS + 13_333_333_333
    assert window.peek().remaining == 0
    clock.now += 1
    assert window.peek().remaining == 1


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_retry_at_exactly_retry_after_succeeds_and_not_before(SlidingWindowCounter, clock, n):
    window = SlidingWindowCounter(7, 11, clock=clock)
    window.allow(6)
    clock.advance(11)
    drain(window)
    wait = round(window.retry_after(n) * NANOSECONDS)
    clock.now += wait - 1
    assert not window.allow(n)
    clock.now += 1
    assert window.retry_after(n) == 0
    assert window.allow(n)


def test_refund_takes_back_units_of_the_present_window(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(5, 10, clock=clock)
    window.allow(4)
    window.refund(3)
    assert window.peek().count == 1
    clock.advance(10)
    window.refund()  # that window is over
    assert window.peek().count == 1
    window.allow(2)
    window.refund(5)
    assert window.peek().count == 1


def test_reset_forgets_all_hits(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(5, 10, clock=clock)
    clock.advance(100)
    window.allow(5)
    window.reset()
    assert facts(window.peek()) == (True, 0, 5, 0, 0)


def test_memory_does_not_grow_with_the_limit(SlidingWindowCounter):
    window = SlidingWindowCounter(2**30, 1_000_000)
    size = sys.getsizeof(window)
    window.allow(2**30)
    assert sys.getsizeof(window) == size < 150


def test_clock_going_back_lets_no_more_through(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(2, 10, clock=clock)
    window.allow(2)
    clock.advance(16)
    assert window.allow()
    clock.advance(-4)  # the last window weighs more again
    assert (window.allow(), window.peek().remaining) == (False, 0)
    clock.advance(-10)  # as at the start of the present window
    assert not window.allow()
    assert round(window.retry_after() * NANOSECONDS) == 18 * NANOSECONDS


def test_clock_from_before_the_counter_counts_as_its_start(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(2, 10, clock=clock)
    clock.advance(-1000)
    assert drain(window) == 2
    clock.advance(1010)
    assert not window.allow()
    clock.advance(5)
    assert drain(window) == 1


def test_clock_far_ahead_stands_still(SlidingWindowCounter):
    clock = ManualClock(-(2**63))
    window = SlidingWindowCounter(2, timedelta(days=13_000), clock=clock)
    clock.now = 2**63 - 1
    assert drain(window) == 2
    assert window.retry_after() > 0


def test_several_units_are_taken_together_or_not_at_all(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(5, 10, clock=clock)
    assert window.allow(3)
    assert not window.allow(3)
    assert window.peek().remaining == 2
    assert window.allow(2)


def test_idle_window_is_as_new(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(3, 10, clock=clock)
    drain(window)
    clock.advance(1000)
    assert facts(window.peek()) == (True, 0, 3, 0, 0)
    assert drain(window) == 3


def test_period_may_be_a_timedelta(SlidingWindowCounter):
    assert SlidingWindowCounter(1, timedelta(minutes=2)).period == 120


def test_system_clock_is_used_when_none_is_given(SlidingWindowCounter):
    window = SlidingWindowCounter(1, 0.001)
    assert window.allow()
    assert not threading.Event().wait(0.002)
    assert window.allow()


def test_threads_share_a_window_exactly(SlidingWindowCounter, clock, switching):
    window = SlidingWindowCounter(10_000, 1, clock=clock)
    taken = []

    def take():
        taken.append(
            sum(window.allow() for _ in range(2_000)) + 2 * sum(window.allow(2) for _ in range(1_000))
        )

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 10_000
    assert window.peek().count == 10_000


def test_threads_that_give_back_what_they_take_leave_nothing(SlidingWindowCounter, clock, switching):
    window = SlidingWindowCounter(20, 1, clock=clock)
    seen = set()

    def take_and_give_back():
        for _ in range(1_000):
            if window.check(3):
                window.refund(3)
            seen.add(window.peek().remaining)
            seen.add(window.check(20).allowed and window.refund(20))

    threads = [threading.Thread(target=take_and_give_back) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert window.peek().count == 0
    assert seen - {None, False} <= set(range(21))


@pytest.mark.parametrize("impl", ["c", "py"])
def test_signal_handler_may_use_the_window_it_interrupts(impl):
    """In a process of its own: a handler that waits for its own thread would hang this one."""
    code = f"""
import signal
from penstock.ratelimit._window_counter_{impl} import SlidingWindowCounter

window = SlidingWindowCounter(1_000, 1e-5)
handled = 0

def handle(number, frame):
    global handled
    handled += 1
    window.check(3)
    window.refund()
    if handled < 500:
        signal.setitimer(signal.ITIMER_REAL, 0.0002)

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0002)
while handled < 500:
    window.check(2)
    window.refund()
    window.peek()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_clock_may_use_the_window(SlidingWindowCounter):
    window = None

    def reading_clock():
        if window is not None and window.limit == 5:
            inner.peek()
        return 0

    inner = SlidingWindowCounter(5, 1, clock=lambda: 0)
    window = SlidingWindowCounter(5, 1, clock=reading_clock)
    assert drain(window) == 5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0,), ValueError, "limit must be >= 1 and <= 1073741824, got 0"),
        ((2**30 + 1,), ValueError, "limit must be >= 1 and <= 1073741824, got 1073741825"),
        ((True,), TypeError, "limit must be an int, got bool"),
        ((1.0,), TypeError, "limit must be an int, got float"),
        ((1, 0), ValueError, "period must be >= 1 ns and <= 36 years, got 0 seconds"),
        ((1, float("nan")), ValueError, "period must be >= 1 ns and <= 36 years, got nan seconds"),
        ((1, "1"), TypeError, "period must be a number of seconds or a timedelta, got str"),
        ((11, 1e-8), ValueError, "limit / period must be <= 1000000000 per second, got 11 / 1e-08"),
    ],
)
def test_impossible_windows_are_refused(SlidingWindowCounter, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)) as refused:
        SlidingWindowCounter(*arguments)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize("method", ["allow", "check", "retry_after", "refund"])
def test_n_that_can_never_be_allowed_is_refused(SlidingWindowCounter, clock, method):
    window = SlidingWindowCounter(5, 10, clock=clock)
    for n in (0, -1, 6, 10**30, -(10**30)):
        with pytest.raises(ValueError, match=re.escape(f"n must be >= 1 and <= limit 5, got {n}")):
            getattr(window, method)(n)
    with pytest.raises(ValueError, match="limit 5, got an int of 16610 bits"):
        getattr(window, method)(10**5000)
    for n in (1.0, True, "1", None):
        with pytest.raises(TypeError, match=f"n must be an int, got {type(n).__name__}"):
            getattr(window, method)(n)
    assert window.peek().count == 0


def test_clock_that_cannot_be_called_is_refused(SlidingWindowCounter):
    with pytest.raises(TypeError, match="clock must be callable or None, got int"):
        SlidingWindowCounter(7, 1, clock=5)


def test_error_of_a_clock_comes_through_and_takes_nothing(SlidingWindowCounter, clock):
    def broken():
        raise RuntimeError("no time")

    source = clock
    window = SlidingWindowCounter(1, 1, clock=lambda: source())
    source = broken
    for method in ("allow", "check", "peek", "retry_after"):
        with pytest.raises(RuntimeError, match="no time"):
            getattr(window, method)()
    source = clock
    assert window.allow()


def test_window_can_be_initialised_anew(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(1, 10, clock=clock)
    window.allow()
    window.__init__(3, 5, clock=clock)
    assert (window.limit, window.period, drain(window)) == (3, 5.0, 3)


def test_compiled_window_that_was_never_initialised_does_no_harm():
    cls = load(MODULE, "c")
    window = cls.__new__(cls)
    assert window.allow()
    window.reset()
    assert window.limit == window.peek().limit == 1


def test_repr_names_limit_and_period(SlidingWindowCounter):
    assert repr(SlidingWindowCounter(5, 10)) == "SlidingWindowCounter(limit=5, period=10.0)"


steps = st.lists(
    st.tuples(
        st.integers(-500, 1500),
        st.sampled_from(["check", "check", "check", "allow", "peek", "retry_after", "refund", "reset"]),
        st.integers(1, 8),
    ),
    max_size=80,
)


@given(st.integers(1, 20), st.integers(20, 1000), steps)
def test_twins_agree_in_every_answer(limit, period_ns, steps):
    clock = ManualClock()
    compiled, plain = (load(MODULE, impl)(limit, period_ns / 1e9, clock=clock) for impl in ("c", "py"))
    for nanoseconds, method, n in steps:
        clock.now += nanoseconds
        arguments = () if method in ("peek", "reset") else (min(n, limit),)
        found, wanted = (getattr(each, method)(*arguments) for each in (compiled, plain))
        if method in ("check", "peek"):
            assert (*facts(found), found.limit, found.window) == (*facts(wanted), wanted.limit, wanted.window)
        else:
            assert found == wanted


@pytest.mark.parametrize("impl", ["c", "py"])
@given(
    st.integers(1, 20), st.integers(20, 1000), st.lists(st.tuples(st.integers(0, 400), st.integers(1, 20)))
)
def test_error_bound_holds_for_any_hits(impl, limit, period_ns, hits):
    clock = ManualClock()
    window = load(MODULE, impl)(limit, period_ns / 1e9, clock=clock)
    taken = []
    for gap, n in hits:
        clock.now += gap
        if window.allow(min(n, limit)):
            taken.append((clock.now, min(n, limit)))
    for start, _ in taken:
        aligned = start - start % period_ns
        assert sum(n for at, n in taken if aligned <= at < aligned + period_ns) <= limit
        assert sum(n for at, n in taken if start <= at <= start + period_ns) < 2 * limit


def test_error_bound_is_tight(SlidingWindowCounter, clock):
    window = SlidingWindowCounter(50, 1, clock=clock)
    clock.now += NANOSECONDS - 1
    assert drain(window) == 50
    clock.now += NANOSECONDS - 1
    assert drain(window) == 49


@pytest.mark.parametrize("impl", ["c", "py"])
@given(st.integers(1, 200), st.integers(1000, 10**6), st.integers(0, 999), st.data())
def test_evenly_spread_hits_count_as_they_are_or_one_more(impl, hits, period_ns, phase, data):
    clock = ManualClock()
    window = load(MODULE, impl)(2 * hits, period_ns / 1e9, clock=clock)
    moments = [(1000 * i + phase) * period_ns // (1000 * hits) for i in range(hits)]
    for moment in moments:
        clock.now = moment
        assert window.allow()
    elapsed = data.draw(st.integers(0, period_ns - 1))
    clock.now = period_ns + elapsed
    truth = sum(moment >= elapsed for moment in moments)
    assert truth <= window.peek().count <= truth + 1
