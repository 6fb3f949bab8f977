"""Patterns on the simulated server in virtual time: the order of errors that the pages tell, by seed."""

import asyncio
from contextlib import aclosing
from functools import partial
from types import SimpleNamespace

import pytest

from penstock.clock import NANOSECONDS, ManualClock
from penstock.fanout import backpressure
from penstock.services.lab import patterns
from penstock.services.lab.config import Behaviour
from penstock.services.lab.patterns import PATTERNS, Settings, is_good
from penstock.services.lab.state import ServerState
from virtual_time import run_in_virtual_time

REQUESTS = 7_500
CLIENT = 0.0003  # seconds that a client takes for a request


@pytest.fixture
def measure(monkeypatch):
    """A function that runs a pattern: seconds, and the share of requests that failed."""

    def measure(pattern, seed):
        clock = ManualClock(1)
        monkeypatch.setattr(patterns, "backpressure", partial(backpressure, clock=clock))
        server = ServerState(Behaviour(seed=seed), clock)

        async def fetch(number):
            answer = server.arrive()
            await asyncio.sleep(answer.delay_ns / NANOSECONDS + CLIENT)
            return SimpleNamespace(status=answer.status)

        async def run():
            begun = clock.now
            outcomes = PATTERNS[pattern].start(fetch, range(REQUESTS), Settings(requests=REQUESTS))
            async with aclosing(outcomes):
                async for _ in outcomes:
                    pass
            return (clock.now - begun) / NANOSECONDS

        seconds = run_in_virtual_time(run(), clock)
        return seconds, 1 - server.counts[200] / REQUESTS

    return measure


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_backpressure_fails_least_of_those_that_were_told_no_rate(measure, seed):
    names = ("sequential", "unbounded", "bounded", "backpressure")
    seconds, errors = zip(*(measure(name, seed) for name in names), strict=True)
    sequential, unbounded, bounded, adaptive = errors
    assert max(seconds) == seconds[0]
    assert min(seconds) == seconds[1]
    assert 0.4 < unbounded < 0.6
    assert adaptive < bounded / 2 < unbounded / 4
    assert adaptive < sequential + 0.012  # some more than what nobody can avoid


def test_what_is_no_number_of_a_comparison_is_refused():
    for settings in ({"requests": 0}, {"workers": 10_001}, {"rate": float("nan")}, {"rate": 0.0}):
        with pytest.raises(ValueError, match=next(iter(settings)) + " must be >= "):
            Settings(**settings)


def test_answers_below_400_are_good():
    statuses = (0, 199, 200, 399, 400, 503)
    assert [is_good(SimpleNamespace(status=status)) for status in statuses] == [
        False, False, True, True, False, False,
    ]  # fmt: skip
