"""What a sliding window promises, on both twins."""

import re
import subprocess
import sys
import threading
from collections import deque
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from twins import both_twins, load

MODULE = "penstock.ratelimit.sliding_window"
SlidingWindow = both_twins(MODULE)


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


def test_limit_is_allowed_and_no_more(SlidingWindow, clock):
    window = SlidingWindow(5, 10, clock=clock)
    assert drain(window) == 5
    assert not window.allow()


def test_hit_counts_up_to_and_with_the_last_nanosecond_of_the_period(SlidingWindow, clock):
    window = SlidingWindow(1, 10, clock=clock)
    assert window.allow()
    clock.now += 10 * NANOSECONDS
    assert not window.allow()
    clock.now += 1
    assert window.allow()


def test_hits_leave_one_by_one_as_they_came(SlidingWindow, clock):
    window = SlidingWindow(3, 10, clock=clock)
    for _ in range(3):
        assert window.allow()
        clock.advance(1)
    clock.advance(7)
    clock.now += 1  # the first is gone, the others count
    assert window.allow()
    assert not window.allow()
    clock.advance(1)
    assert drain(window) == 1


def test_several_units_are_taken_together_or_not_at_all(SlidingWindow, clock):
    window = SlidingWindow(5, 10, clock=clock)
    assert window.allow(3)
    assert not window.allow(3)
    assert window.peek().remaining == 2
    assert window.allow(2)


def test_check_tells_how_the_window_stands(SlidingWindow, clock):
    window = SlidingWindow(2, 10, clock=clock)
    assert facts(window.check()) == (True, 1, 1, 0, 10)
    clock.advance(4)
    assert facts(window.check()) == (True, 2, 0, 0, 10)
    clock.advance(1)
    assert facts(window.check()) == (False, 2, 0, 5.000000001, 9)
    assert (window.check().limit, window.check().window) == (2, 10)


def test_refused_cost_says_what_is_left_for_smaller_ones(SlidingWindow, clock):
    window = SlidingWindow(5, 10, clock=clock)
    window.allow(2)
    clock.advance(3)
    window.allow(1)
    assert facts(window.check(4)) == (False, 3, 2, 7.000000001, 10)
    assert facts(window.check(5)) == (False, 3, 2, 10.000000001, 10)
    assert window.allow(2)


def test_retry_at_exactly_retry_after_succeeds_and_not_before(SlidingWindow, clock):
    window = SlidingWindow(3, 7, clock=clock)
    for _ in range(3):
        window.allow()
        clock.advance(0.5)
    wait = round(window.retry_after(2) * NANOSECONDS)
    clock.now += wait - 1
    assert not window.allow(2)
    clock.now += 1
    assert window.retry_after(2) == 0
    assert window.allow(2)


def test_peek_and_retry_after_take_nothing(SlidingWindow, clock):
    window = SlidingWindow(1, 10, clock=clock)
    assert facts(window.peek()) == (True, 0, 1, 0, 0)
    assert window.retry_after() == 0
    assert window.allow()
    clock.advance(2)
    assert facts(window.peek()) == (False, 1, 0, 8.000000001, 8)


def test_idle_window_is_as_new(SlidingWindow, clock):
    window = SlidingWindow(3, 10, clock=clock)
    drain(window)
    clock.advance(1000)
    assert facts(window.peek()) == (True, 0, 3, 0, 0)
    assert drain(window) == 3


def test_refund_takes_back_the_newest_units(SlidingWindow, clock):
    window = SlidingWindow(3, 10, clock=clock)
    window.allow()
    clock.advance(5)
    window.allow(2)
    window.refund()
    assert window.peek().count == 2
    window.refund(1)
    assert facts(window.peek()) == (True, 1, 2, 0, 5)
    window.refund(3)
    assert facts(window.peek()) == (True, 0, 3, 0, 0)
    window.refund()
    assert drain(window) == 3


def test_reset_forgets_all_hits_and_their_memory(SlidingWindow, clock):
    window = SlidingWindow(1000, 10, clock=clock)
    empty = sys.getsizeof(window)
    window.allow(1000)
    window.reset()
    assert sys.getsizeof(window) == empty
    assert facts(window.peek()) == (True, 0, 1000, 0, 0)


def test_memory_is_what_the_hits_need(SlidingWindow, clock):
    window = SlidingWindow(100_000, 10, clock=clock)
    empty = sys.getsizeof(window)
    for _ in range(300):
        window.allow()
    assert empty < sys.getsizeof(window) <= empty + 2 * 16 * 300
    for _ in range(10_000):
        clock.advance(1)
        window.allow()
    assert sys.getsizeof(window) <= empty + 4 * 16 * 300  # what counts no more was dropped


def test_compiled_window_takes_8_bytes_a_unit(clock):
    window = load(MODULE, "c")(100_000, 10, clock=clock)
    empty = sys.getsizeof(window)
    window.allow(100_000)
    assert sys.getsizeof(window) == empty + 8 * 2**17


def test_clock_going_back_counts_as_standing_still(SlidingWindow, clock):
    window = SlidingWindow(2, 10, clock=clock)
    clock.advance(100)
    assert window.allow()
    clock.advance(-50)
    assert window.allow()  # recorded at 100, as the first
    assert not window.allow()
    assert round(window.retry_after() * NANOSECONDS) == 60 * NANOSECONDS + 1
    clock.advance(60)
    assert not window.allow()
    clock.now += 1
    assert drain(window) == 2


def test_clock_read_ahead_forgets_nothing_when_it_goes_back(SlidingWindow, clock):
    window = SlidingWindow(2, 10, clock=clock)
    window.allow()
    clock.advance(6)
    window.allow()
    clock.advance(5)
    assert not window.allow(2)  # one hit counts no more
    assert window.peek().count == 1
    clock.advance(-5)
    assert not window.allow()
    assert window.peek().count == 2


def test_refund_does_not_let_time_go_back(SlidingWindow, clock):
    window = SlidingWindow(2, 10, clock=clock)
    window.allow(2)
    clock.advance(11)
    window.allow()
    window.refund()
    clock.advance(-6)
    assert window.allow(2)  # as at 11
    clock.advance(6 + 10)
    assert not window.allow()


def test_clock_from_before_the_window_counts_as_its_start(SlidingWindow, clock):
    window = SlidingWindow(2, 10, clock=clock)
    clock.advance(-1000)
    assert drain(window) == 2
    clock.advance(1010)
    assert not window.allow()
    clock.now += 1
    assert drain(window) == 2


def test_clock_far_ahead_stands_still(SlidingWindow):
    clock = ManualClock(-(2**63))
    window = SlidingWindow(2, timedelta(days=13_000), clock=clock)
    clock.now = 2**63 - 1
    assert drain(window) == 2
    assert window.retry_after() == pytest.approx(13_000 * 86_400)


def test_period_may_be_a_timedelta(SlidingWindow):
    assert SlidingWindow(1, timedelta(minutes=2)).period == 120


def test_system_clock_is_used_when_none_is_given(SlidingWindow):
    window = SlidingWindow(1, 0.001)
    assert window.allow()
    assert not threading.Event().wait(0.002)
    assert window.allow()


def test_threads_share_a_window_exactly(SlidingWindow, clock, switching):
    window = SlidingWindow(10_000, 1, clock=clock)
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


def test_threads_that_give_back_what_they_take_leave_nothing(SlidingWindow, clock, switching):
    window = SlidingWindow(20, 1, clock=clock)
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
from penstock.ratelimit._sliding_window_{impl} import SlidingWindow

window = SlidingWindow(1_000, 1e-5)
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


def test_clock_may_use_the_window(SlidingWindow):
    window = None

    def reading_clock():
        if window is not None and window.limit == 5:
            inner.peek()
        return 0

    inner = SlidingWindow(5, 1, clock=lambda: 0)
    window = SlidingWindow(5, 1, clock=reading_clock)
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
def test_impossible_windows_are_refused(SlidingWindow, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)) as refused:
        SlidingWindow(*arguments)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize("method", ["allow", "check", "retry_after", "refund"])
def test_n_that_can_never_be_allowed_is_refused(SlidingWindow, clock, method):
    window = SlidingWindow(5, 10, clock=clock)
    for n in (0, -1, 6, 10**30, -(10**30)):
        with pytest.raises(ValueError, match=re.escape(f"n must be >= 1 and <= limit 5, got {n}")):
            getattr(window, method)(n)
    with pytest.raises(ValueError, match="limit 5, got an int of 16610 bits"):
        getattr(window, method)(10**5000)
    for n in (1.0, True, "1", None):
        with pytest.raises(TypeError, match=f"n must be an int, got {type(n).__name__}"):
            getattr(window, method)(n)
    assert window.peek().count == 0


def test_clock_that_cannot_be_called_is_refused(SlidingWindow):
    with pytest.raises(TypeError, match="clock must be callable or None, got int"):
        SlidingWindow(7, 1, clock=5)


def test_error_of_a_clock_comes_through_and_takes_nothing(SlidingWindow, clock):
    def broken():
        raise RuntimeError("no time")

    source = clock
    window = SlidingWindow(1, 1, clock=lambda: source())
    source = broken
    for method in ("allow", "check", "peek", "retry_after"):
        with pytest.raises(RuntimeError, match="no time"):
            getattr(window, method)()
    source = clock
    assert window.allow()


def test_window_can_be_initialised_anew(SlidingWindow, clock):
    window = SlidingWindow(1, 10, clock=clock)
    window.allow()
    window.__init__(3, 5, clock=clock)
    assert (window.limit, window.period, drain(window)) == (3, 5.0, 3)


def test_compiled_window_that_was_never_initialised_does_no_harm():
    cls = load(MODULE, "c")
    window = cls.__new__(cls)
    assert window.allow()
    window.reset()
    assert window.limit == window.peek().limit == 1


def test_repr_names_limit_and_period(SlidingWindow):
    assert repr(SlidingWindow(5, 10)) == "SlidingWindow(limit=5, period=10.0)"


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
def test_no_stretch_of_a_period_gets_more_than_the_limit_and_none_is_refused_less(
    impl, limit, period_ns, hits
):
    clock = ManualClock()
    window = load(MODULE, impl)(limit, period_ns / 1e9, clock=clock)
    counting = deque()
    for gap, n in hits:
        clock.now += gap
        while counting and counting[0] < clock.now - period_ns:
            counting.popleft()
        n = min(n, limit)
        assert window.allow(n) == (len(counting) + n <= limit)
        if len(counting) + n <= limit:
            counting.extend([clock.now] * n)
