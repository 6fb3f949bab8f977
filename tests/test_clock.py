"""How time enters penstock."""

import time

import pytest

from penstock.clock import NANOSECONDS, ManualClock, monotonic_ns


def test_manual_clock_stands_still_until_told_to_move():
    clock = ManualClock()
    assert clock() == clock() == 0
    clock.advance(1.5)
    assert clock() == 1_500_000_000


def test_manual_clock_starts_where_it_is_told():
    assert ManualClock(now=5)() == 5


def test_manual_clock_can_be_set_and_go_back():
    clock = ManualClock(now=10 * NANOSECONDS)
    clock.advance(-4)
    assert clock() == 6 * NANOSECONDS
    clock.now = 7
    assert clock() == 7


@pytest.mark.parametrize(
    ("seconds", "nanoseconds"), [(0.1, 100_000_000), (1e-9, 1), (4e-10, 0), (3, 3 * 10**9)]
)
def test_manual_clock_moves_by_whole_nanoseconds(seconds, nanoseconds):
    clock = ManualClock()
    clock.advance(seconds)
    assert clock() == nanoseconds
    assert type(clock()) is int


def test_system_clock_is_the_monotonic_one_in_nanoseconds():
    before = time.monotonic_ns()
    assert before <= monotonic_ns() <= time.monotonic_ns()
