"""What a whole run promises: a row for every request, the limit in every window, and nothing left behind."""

import asyncio
from collections import Counter
from itertools import combinations

import pytest

from bad_server import BadServer, answer, forever
from penstock import PenstockError
from penstock.clock import ManualClock
from penstock.services.caller.flow import Flow
from penstock.services.caller.model import BadLine, Request
from penstock.services.caller.pace import Pace
from penstock.services.caller.runner import Settings, call_all
from penstock.services.http_url import checked_url
from virtual_time import run_in_virtual_time

FAST = (1e6, 1000)


@pytest.fixture
async def server():
    async with BadServer() as running:
        yield running


def get(url):
    return Request("GET", url, checked_url(url))


class RecordingFlow(Flow):
    """Also remembers when each request was sent, in seconds."""

    def __init__(self, slots, clock):
        super().__init__(slots, clock)
        self.clock, self.moments = clock, []

    def count_sent(self):
        super().count_sent()
        self.moments.append(self.clock.now / 1e9)


class Run:
    """A run in a time of its own, which passes only while nothing is in flight: answers take none of it."""

    def __init__(self, concurrency, rate, burst, **settings):
        self.clock = ManualClock()
        self.flow = RecordingFlow(concurrency, self.clock)
        self.pace = Pace(rate, burst, clock=self.clock)
        self.rows = []
        self.settings = Settings(concurrency=concurrency, timeout=30, **settings)
        self.actions = {}
        self.heads = []

    def __call__(self, paths):
        run_in_virtual_time(self._main(paths), self.clock, may_pass=lambda: not self.flow.in_flight)

    async def _main(self, paths):
        async with BadServer() as server:
            server.actions |= self.actions
            requests = [get(server.url(path)) for path in paths]
            sinks = [self.rows.append]
            await call_all(requests, sinks, self.pace, self.settings, flow=self.flow, clock=self.clock)
            self.heads = server.heads


def most_over_the_limit(moments, rate, burst):
    """By how much the worst of all windows is over it; not above 0 when the limit holds."""
    windows = combinations(enumerate(moments), 2)
    return max(j - i + 1 - burst - rate * (end - start) for (i, start), (j, end) in windows)


async def test_every_request_gets_one_row(server):
    rows = []
    urls = [server.url("/ok"), server.url("/close"), server.dead_url, server.url("/ok")]
    await call_all([*map(get, urls), BadLine(9, "none")], [rows.append], Pace(*FAST), Settings(timeout=30))
    assert Counter(row.url for row in rows) == Counter([*urls, ""])
    assert sum(row.ok for row in rows) == 2


@pytest.mark.parametrize("concurrency", [1, 3, 40])
@pytest.mark.parametrize(("rate", "burst"), [(5, 10), (0.5, 1), (7, 3), (100 / 60, 2), (1000, 20)])
def test_sends_keep_the_limit_in_every_window_and_use_it_up(concurrency, rate, burst):
    run = Run(concurrency, rate, burst)
    run(["/ok"] * 40)
    assert len(run.flow.moments) == len(run.rows) == 40
    assert most_over_the_limit(run.flow.moments, rate, burst) < 1e-6
    assert run.flow.moments[burst - 1] == 0  # the burst at once
    assert run.flow.moments[-1] == pytest.approx((40 - burst) / rate, abs=1e-6)  # and then as fast as allowed


def test_retries_keep_the_limit_too():
    run = Run(4, 5, 3, retries=2)
    run(["/status/503"] * 10)
    assert len(run.flow.moments) == 30
    assert most_over_the_limit(run.flow.moments, 5, 3) < 1e-6


def test_sends_keep_the_limit_where_connecting_bunches_them():
    async def at_once():
        """As if all had taken their turns long ago, and their connections came up together."""

    run = Run(20, 5, 2)
    run.pace.turn = at_once
    run(["/ok"] * 20)
    assert most_over_the_limit(run.flow.moments, 5, 2) < 1e-6
    assert run.flow.most_in_a_second <= 7


def test_requests_take_their_turns_in_the_order_of_the_file():
    run = Run(1, 5, 1)
    paths = [f"/ok?{n}" for n in range(10)]
    run(paths)
    assert [head.split(" ")[1] for head in run.heads] == paths
    assert [row.waited_ms for row in run.rows] == pytest.approx([0] + [200] * 9)


async def test_no_more_than_the_concurrency_are_in_flight(server):
    open_now, most, all_in = 0, 0, asyncio.Event()

    async def crowd(writer):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        if open_now == 3:
            all_in.set()
        await all_in.wait()
        open_now -= 1
        answer(writer)

    server.actions["/crowd"] = crowd
    rows = []
    settings = Settings(concurrency=3, timeout=30)
    await call_all([get(server.url("/crowd"))] * 12, [rows.append], Pace(*FAST), settings)
    assert [row.status for row in rows] == [200] * 12
    assert most == 3


def test_slow_answers_are_told_from_the_limit():
    run = Run(2, 100, 6)

    async def slow(writer):
        run.clock.advance(1.5)
        answer(writer)

    run.actions["/slow"] = slow
    run(["/slow"] * 6)
    assert run.flow.full > 6
    assert run.flow.limited == 0


async def test_cancelled_run_keeps_its_rows_and_leaves_nothing_running(server):
    rows, stalled = [], asyncio.Event()

    async def stall(writer):
        stalled.set()
        await forever()

    server.actions["/silent"] = stall
    before = asyncio.all_tasks()
    requests = [get(server.url("/ok")), *[get(server.url("/silent"))] * 9]
    settings = Settings(concurrency=1, timeout=30)
    run = asyncio.create_task(call_all(requests, [rows.append], Pace(*FAST), settings))
    await stalled.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [row.status for row in rows] == [200]
    assert not {task for task in asyncio.all_tasks() - before if "BadServer" not in repr(task)}


async def test_run_is_cancelled_while_it_waits_for_the_limit(server):
    rows, answered = [], asyncio.Event()

    def take(row):
        rows.append(row)
        answered.set()

    before = asyncio.all_tasks()
    flow = Flow(8)
    requests = [get(server.url("/ok"))] * 9
    run = asyncio.create_task(call_all(requests, [take], Pace(1e-6, 1), flow=flow))  # days apart
    await answered.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert flow.limited > 0
    assert (len(rows), flow.sent, flow.in_flight) == (1, 1, 0)
    assert not {task for task in asyncio.all_tasks() - before if "BadServer" not in repr(task)}


async def test_sink_that_fails_ends_the_run(server):
    def full(row):
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await call_all([get(server.url("/ok"))] * 100, [full], Pace(*FAST), Settings(concurrency=2))
    assert server.requests["/ok"] <= 4


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="concurrency must be >= 1, got 0") as refused:
        Settings(concurrency=0)
    assert isinstance(refused.value, PenstockError)
