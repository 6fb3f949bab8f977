"""What the gates promise: first come first served, and nothing lost when somebody leaves."""

import asyncio

import pytest

from penstock.clock import ManualClock
from penstock.services.caller.pace import Pace
from virtual_time import run_in_virtual_time, virtual_time

virtual = virtual_time()


@pytest.fixture
def clock():
    return ManualClock()


async def moments_of(pace, clock, count):
    """When each of so many, who all come at once, passes."""
    moments = []

    async def go():
        await pace.turn()
        moments.append(clock.now / 1e9)

    await asyncio.gather(*(go() for _ in range(count)))
    return moments


def test_burst_passes_at_once_and_then_one_each_period(clock, virtual):
    moments = virtual(moments_of(Pace(4, 3, clock=clock), clock, 7))
    assert moments == [0, 0, 0, 0.25, 0.5, 0.75, 1.0]


def test_waiters_pass_in_the_order_in_which_they_came(clock, virtual):
    pace, passed = Pace(1, 1, clock=clock), []

    async def go(name):
        await pace.turn()
        passed.append((name, clock.now / 1e9))

    async def main():
        await asyncio.gather(*(go(name) for name in "abcd"))

    virtual(main())
    assert passed == [("a", 0), ("b", 1), ("c", 2), ("d", 3)]


@pytest.mark.parametrize("late", [0.001, 0.05, 0.9, 7])  # seconds; it is 0.2 s from one to the next
def test_who_wakes_up_late_is_not_followed_too_soon(clock, late):
    lateness = iter([round(late * 1e9)])
    main = moments_of(Pace(5, 1, clock=clock), clock, 5)
    moments = run_in_virtual_time(main, clock, lateness=lambda: next(lateness, 0))
    assert moments == pytest.approx([0] + [0.2 * n + late for n in range(1, 5)])


def test_cancelled_waiter_takes_nothing_and_the_next_one_passes(clock, virtual):
    pace = Pace(1, 1, clock=clock)

    async def main():
        await pace.turn()
        leaving, staying = asyncio.create_task(pace.turn()), asyncio.create_task(pace.turn())
        await asyncio.sleep(0.5)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        await staying

    virtual(main())
    assert clock.now == 1_000_000_000  # the token that the first one waited for


def test_the_gates_have_a_bucket_each(clock, virtual):
    pace = Pace(1, 2, clock=clock)

    async def main():
        for _ in range(2):
            await pace.turn()
            await pace.send()

    virtual(main())
    assert clock.now == 0


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (float("nan"), 1), (2e9, 1), (1, 0)])
def test_impossible_paces_are_refused(rate, burst):
    with pytest.raises(ValueError, match="must be"):
        Pace(rate, burst)
