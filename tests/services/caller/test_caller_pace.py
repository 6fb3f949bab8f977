"""What the gates promise: first come first served, and nothing lost when somebody leaves."""

import asyncio

import pytest

from penstock.clock import ManualClock
from penstock.services.caller.pace import Pace


@pytest.fixture
def clock():
    return ManualClock()


def pace_of(clock, rate, burst):
    async def sleep(seconds):
        clock.advance(seconds)
        await asyncio.sleep(0)

    return Pace(rate, burst, clock=clock, sleep=sleep)


async def test_burst_passes_at_once_and_then_one_each_period(clock):
    pace, moments = pace_of(clock, 4, 3), []
    for _ in range(7):
        await pace.turn()
        moments.append(clock.now / 1e9)
    assert moments == [0, 0, 0, 0.25, 0.5, 0.75, 1.0]


async def test_waiters_pass_in_the_order_in_which_they_came(clock):
    pace, passed = pace_of(clock, 1, 1), []

    async def go(name):
        await pace.turn()
        passed.append((name, clock.now / 1e9))

    await asyncio.gather(*(go(name) for name in "abcd"))
    assert passed == [("a", 0), ("b", 1), ("c", 2), ("d", 3)]


async def test_cancelled_waiter_takes_nothing_and_the_next_one_passes(clock):
    wake = asyncio.Event()
    first = True

    async def sleep(seconds):
        nonlocal first
        if first:
            first = False
            await wake.wait()  # until it is cancelled
        clock.advance(seconds)

    pace = Pace(1, 1, clock=clock, sleep=sleep)
    await pace.turn()
    leaving, staying = asyncio.create_task(pace.turn()), asyncio.create_task(pace.turn())
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await staying
    assert clock.now == 1_000_000_000  # the token that the first one waited for


async def test_the_gates_have_a_bucket_each(clock):
    pace = pace_of(clock, 1, 2)
    for _ in range(2):
        await pace.turn()
        await pace.send()
    assert clock.now == 0


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (float("nan"), 1), (2e9, 1), (1, 0)])
def test_impossible_paces_are_refused(rate, burst):
    with pytest.raises(ValueError, match="must be"):
        Pace(rate, burst)
