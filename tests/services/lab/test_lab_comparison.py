"""Comparisons with real processes, servers and requests; few of them."""

import asyncio
import sys

import pytest

from penstock import PenstockError
from penstock.services.lab import process
from penstock.services.lab.app import running
from penstock.services.lab.comparison import Comparison, compare
from penstock.services.lab.config import Behaviour, Config
from penstock.services.lab.patterns import PATTERNS, Settings
from penstock.services.lab.process import ChildFailed, server_in_process
from penstock.services.lab.run import run_pattern

QUICK = {"latency": "constant", "max_latency": 0.002, "full_rate": 0.0, "error_rate": 0.0, "overload": 0}


class Heard:
    """Keeps what it is told."""

    def __init__(self):
        self.told = []

    def begin(self, pattern, requests):
        self.told.append(("begin", pattern, requests))

    def advance(self, done):
        self.told.append(("advance", done))

    def finish(self, measured):
        self.told.append(("finish", measured.pattern))


@pytest.fixture
async def site():
    async with running(Behaviour(**QUICK | {"error_rate": 0.1}), Config(port=0)) as (url, site):
        yield f"{url}/data", site


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_every_pattern_makes_every_request_once(site, pattern):
    url, site = site
    measured = await run_pattern(pattern, Settings(url=url, requests=200, workers=7, rate=1e5))
    assert site.state.counts.total() == measured.requests == 200
    assert sum(measured.outcomes.values()) == 200
    assert measured.good == site.state.counts[200] == measured.outcomes["200"]
    assert measured.errors == site.state.counts[500] > 0
    assert measured.seconds > 0
    assert measured.goodput == measured.good / measured.seconds


@pytest.mark.parametrize(
    ("pattern", "most"), [("sequential", 1), ("bounded", 7), ("pipeline", 7), ("unbounded", 100)]
)
async def test_patterns_keep_their_bounds(site, pattern, most):
    measured = await run_pattern(pattern, Settings(url=site[0], requests=100, workers=7))
    assert measured.peak_in_flight == most


async def test_a_server_that_is_not_there_is_an_outcome(unused_tcp_port):
    settings = Settings(url=f"http://127.0.0.1:{unused_tcp_port}/data", requests=20)
    measured = await run_pattern("bounded", settings)
    assert measured.outcomes == {"connect": 20}
    assert (measured.good, measured.latency.p99) == (0, 0)


async def test_progress_is_told_on_the_way(site):
    told = []
    await run_pattern("bounded", Settings(url=site[0], requests=300), told.append)
    assert told == sorted(told)
    assert len(told) == 100
    assert told[-1] == 300


async def test_comparison_runs_each_pattern_in_processes_of_its_own():
    comparison, heard = Comparison(Settings(requests=60), Behaviour(**QUICK)), Heard()
    await compare(comparison, ["bounded", "sequential"], heard)
    assert [each.pattern for each in comparison.measured] == ["bounded", "sequential"]
    assert heard.told[0] == ("begin", "bounded", 60)
    assert ("advance", 60) in heard.told
    assert heard.told[-1] == ("finish", "sequential")
    for each in comparison.measured:
        assert each.outcomes == {"200": 60}
        assert each.server["requests"] == {"200": 60}  # a server of its own: only its own requests
        assert each.cost.peak_rss >= each.cost.rss_before > 0


async def test_another_server_is_left_as_it_is(site):
    url, site = site
    comparison = Comparison(Settings(url=url, requests=30), None)
    await compare(comparison, ["bounded", "unbounded"], Heard())
    assert site.state.counts.total() == 60
    assert comparison.measured[0].server == {}


async def test_the_same_seed_is_the_same_walk_for_every_pattern():
    """Sums of delays differ by the rate; with the rate out of it they are the same."""
    comparison = Comparison(Settings(requests=60), Behaviour(max_latency=0.004, full_rate=0, overload=0))
    await compare(comparison, ["bounded", "unbounded"], Heard())
    delays = {each.server["delay_seconds_total"] for each in comparison.measured}
    assert len(delays) == 1


async def test_a_child_that_dies_is_said_in_words(monkeypatch):
    dies = (sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit('no luck today')")
    monkeypatch.setattr(process, "COMMAND", dies)
    with pytest.raises(ChildFailed, match="the lab's server ended with exit code 1: no luck today") as failed:
        async with server_in_process(Behaviour()):
            pass
    assert isinstance(failed.value, PenstockError)
    assert isinstance(failed.value, ChildProcessError)


async def test_cancelling_a_comparison_ends_its_processes(monkeypatch):
    started = []
    real = asyncio.create_subprocess_exec

    async def start(*arguments, **streams):
        child = await real(*arguments, **streams)
        started.append(child)
        return child

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    hangs = Behaviour(**QUICK | {"hang": 1.0})
    comparing = asyncio.create_task(compare(Comparison(Settings(requests=5), hangs), ["bounded"], Heard()))
    while len(started) < 2 and not comparing.done():
        await asyncio.sleep(0.01)
    comparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await comparing
    assert len(started) == 2
    assert all(child.returncode is not None for child in started)
