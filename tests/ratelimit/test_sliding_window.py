"""What a sliding window promises, on both twins."""

import sys
from collections import deque
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import NANOSECONDS, ManualClock
from twins import both_twins, load
from windows import drain, facts

MODULE = "penstock.ratelimit.sliding_window"
SlidingWindow = both_twins(MODULE)


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


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
