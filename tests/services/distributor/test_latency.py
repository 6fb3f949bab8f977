"""How long something has taken lately."""

import pytest

from penstock.clock import ManualClock
from penstock.services.distributor.latency import Latency


@pytest.fixture
def clock():
    return ManualClock(10**12)


def record(latency, clock, *milliseconds):
    for one in milliseconds:
        latency.record_since(clock.now - round(one * 1e6))


def test_nothing_was_counted_yet(clock):
    assert Latency(clock).percentiles() == {"p50": None, "p99": None}


def test_percentiles_are_of_what_was_counted(clock):
    latency = Latency(clock)
    record(latency, clock, *range(1, 101))
    assert latency.percentiles() == {"p50": pytest.approx(50, rel=0.01), "p99": pytest.approx(99, rel=0.01)}


def test_what_is_older_than_two_minutes_counts_no_more_and_the_minute_before_does(clock):
    latency = Latency(clock)
    record(latency, clock, 100)
    clock.advance(60)
    record(latency, clock, 1, 1, 1)
    assert latency.percentiles()["p99"] == pytest.approx(100, rel=0.01)
    clock.advance(60)
    assert latency.percentiles()["p99"] == pytest.approx(1, rel=0.01)
    clock.advance(600)
    assert latency.percentiles() == {"p50": None, "p99": None}


def test_clock_that_jumps_breaks_nothing(clock):
    latency = Latency(clock)
    record(latency, clock, -5, 1e9)
    clock.advance(-600)
    record(latency, clock, 1)
    assert latency.percentiles()["p50"] == pytest.approx(1, rel=0.01)
