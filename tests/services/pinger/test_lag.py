"""The pinger's own lag, in virtual time."""

import asyncio

import pytest

from penstock.clock import ManualClock
from penstock.services.pinger.lag import TICK_NS, LagGauge
from penstock.timer import Timer
from virtual_time import run_in_virtual_time

MS = 1_000_000


def lag_of(work, lateness=lambda: 0):
    clock = ManualClock()

    async def measure():
        with Timer(clock=clock) as timer:
            gauge = LagGauge(timer, clock)
            gauge.start()
            await work(clock)
            gauge.stop()
            return gauge.lag

    return run_in_virtual_time(measure(), clock, lateness)


async def idle(clock):
    await asyncio.sleep(10.005)


def test_free_process_has_no_lag():
    lag = lag_of(idle)
    assert lag.ticks == 1000
    assert lag.most <= 2_000  # what the loop's clock rounds


def test_late_wake_ups_are_lag():
    lag = lag_of(idle, lambda: 3 * MS)
    assert lag.p99 == pytest.approx(3 * MS, rel=0.01)


def test_what_holds_the_loop_up_is_lag():
    async def hog(clock):
        await asyncio.sleep(1)
        clock.now += 250 * MS  # as work does that gives nobody else a turn
        await asyncio.sleep(1)

    lag = lag_of(hog)
    assert 250 * MS - TICK_NS <= lag.most <= 251 * MS
    assert lag.p99 == pytest.approx(0, abs=2_000) or lag.ticks < 200


def test_tick_that_is_overdue_at_the_end_counts():
    async def hog(clock):
        clock.now += 250 * MS

    assert lag_of(hog).most >= 239 * MS
