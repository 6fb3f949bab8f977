"""What a sliding window counter promises, on both twins."""

import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import NANOSECONDS, ManualClock
from twins import both_twins, load
from windows import drain, facts

MODULE = "penstock.ratelimit.window_counter"
SlidingWindowCounter = both_twins(MODULE)


@pytest.fixture
def clock():
    return ManualClock(now=5 * NANOSECONDS)


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
