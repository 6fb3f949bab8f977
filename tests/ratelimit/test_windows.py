"""What both windows promise, on both twins: all that does not depend on how hits are counted."""

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
from twins import load
from windows import drain, facts

MODULES = ["penstock.ratelimit.sliding_window", "penstock.ratelimit.window_counter"]


@pytest.fixture(params=[(module, impl) for module in MODULES for impl in ("c", "py")], ids=" ".join)
def Window(request):
    return load(*request.param)


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


def test_limit_is_allowed_and_no_more(Window, clock):
    window = Window(5, 10, clock=clock)
    assert drain(window) == 5
    assert not window.allow()


def test_several_units_are_taken_together_or_not_at_all(Window, clock):
    window = Window(5, 10, clock=clock)
    assert window.allow(3)
    assert not window.allow(3)
    assert window.peek().remaining == 2
    assert window.allow(2)


def test_idle_window_is_as_new(Window, clock):
    window = Window(3, 10, clock=clock)
    drain(window)
    clock.advance(1000)
    assert facts(window.peek()) == (True, 0, 3, 0, 0)
    assert drain(window) == 3


def test_period_may_be_a_timedelta(Window):
    assert Window(1, timedelta(minutes=2)).period == 120


def test_system_clock_is_used_when_none_is_given(Window):
    window = Window(1, 1e-6)
    assert window.allow()
    assert any(window.allow() for _ in range(100_000))


def test_threads_share_a_window_exactly(Window, clock, switching):
    window = Window(10_000, 1, clock=clock)
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


def test_threads_that_give_back_what_they_take_leave_nothing(Window, clock, switching):
    window = Window(20, 1, clock=clock)
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


def test_signal_handler_may_use_the_window_it_interrupts(Window):
    """In a process of its own: a handler that waits for its own thread would hang this one."""
    code = f"""
import signal
from {Window.__module__} import {Window.__name__} as Window

window = Window(1_000, 1e-5)
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


def test_clock_may_use_the_window(Window):
    window = None
    inside = False

    def taking_clock():
        nonlocal inside
        if window is not None and not inside:
            inside = True
            window.allow()
            inside = False
        return 0

    window = Window(5, 1, clock=taking_clock)
    assert drain(window) == 2  # the clock took the other three
    assert window.peek().count == 5


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
def test_impossible_windows_are_refused(Window, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)) as refused:
        Window(*arguments)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize("method", ["allow", "check", "retry_after", "refund"])
def test_n_that_can_never_be_allowed_is_refused(Window, clock, method):
    window = Window(5, 10, clock=clock)
    for n in (0, -1, 6, 10**30, -(10**30)):
        with pytest.raises(ValueError, match=re.escape(f"n must be >= 1 and <= limit 5, got {n}")):
            getattr(window, method)(n)
    with pytest.raises(ValueError, match="limit 5, got an int of 16610 bits"):
        getattr(window, method)(10**5000)
    for n in (1.0, True, "1", None):
        with pytest.raises(TypeError, match=f"n must be an int, got {type(n).__name__}"):
            getattr(window, method)(n)
    assert window.peek().count == 0


def test_clock_that_cannot_be_called_is_refused(Window):
    with pytest.raises(TypeError, match="clock must be callable or None, got int"):
        Window(7, 1, clock=5)


def test_error_of_a_clock_comes_through_and_takes_nothing(Window, clock):
    def broken():
        raise RuntimeError("no time")

    source = clock
    window = Window(1, 1, clock=lambda: source())
    source = broken
    for method in ("allow", "check", "peek", "retry_after"):
        with pytest.raises(RuntimeError, match="no time"):
            getattr(window, method)()
    source = clock
    assert window.allow()


def test_window_can_be_initialised_anew(Window, clock):
    window = Window(1, 10, clock=clock)
    window.allow()
    window.__init__(3, 5, clock=clock)
    assert (window.limit, window.period, drain(window)) == (3, 5.0, 3)


@pytest.mark.parametrize("module", MODULES)
def test_compiled_window_that_was_never_initialised_does_no_harm(module):
    cls = load(module, "c")
    window = cls.__new__(cls)
    assert window.allow()
    window.reset()
    assert window.limit == window.peek().limit == 1


def test_repr_names_limit_and_period(Window):
    assert repr(Window(5, 10)) == f"{Window.__name__}(limit=5, period=10.0)"


steps = st.lists(
    st.tuples(
        st.integers(-500, 1500),
        st.sampled_from(["check", "check", "check", "allow", "peek", "retry_after", "refund", "reset"]),
        st.integers(1, 8),
    ),
    max_size=80,
)


@pytest.mark.parametrize("module", MODULES)
@given(st.integers(1, 20), st.integers(20, 1000), steps)
def test_twins_agree_in_every_answer(module, limit, period_ns, steps):
    clock = ManualClock()
    compiled, plain = (load(module, impl)(limit, period_ns / 1e9, clock=clock) for impl in ("c", "py"))
    for nanoseconds, method, n in steps:
        clock.now += nanoseconds
        arguments = () if method in ("peek", "reset") else (min(n, limit),)
        found, wanted = (getattr(each, method)(*arguments) for each in (compiled, plain))
        if method in ("check", "peek"):
            assert (*facts(found), found.limit, found.window) == (*facts(wanted), wanted.limit, wanted.window)
        else:
            assert found == wanted
