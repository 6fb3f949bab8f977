"""What a whole run promises: a row for every URL, bounded, and nothing left behind."""

import asyncio
from collections import Counter

import pytest

from bad_server import BadServer, answer, forever
from penstock import PenstockError
from penstock.services.pinger.model import Target
from penstock.services.pinger.runner import Settings, ping_all


@pytest.fixture
async def server():
    async with BadServer() as running:
        yield running


async def test_every_url_gets_one_row(server):
    results = []
    urls = [server.url("/ok"), server.url("/close"), server.dead_url, "nonsense", server.url("/ok")]
    await ping_all(map(Target, urls), [results.append], Settings(timeout=30))
    assert Counter(result.url for result in results) == Counter(urls)
    assert sum(result.ok for result in results) == 2


async def test_every_sink_sees_every_result_in_the_order_of_finishing(server):
    first, second = [], []
    await ping_all([Target(server.url(f"/status/20{n}")) for n in range(4)], [first.append, second.append])
    assert len(first) == 4
    assert first == second


async def test_no_more_than_the_concurrency_are_open_at_once(server):
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
    results = []
    targets = [Target(server.url("/crowd"))] * 12
    await ping_all(targets, [results.append], Settings(concurrency=3, timeout=30))
    assert [result.status for result in results] == [200] * 12
    assert most == 3


async def test_cancelled_run_keeps_its_results_and_leaves_nothing_running(server):
    results, stalled = [], asyncio.Event()

    async def stall(writer):
        stalled.set()
        await forever()

    server.actions["/silent"] = stall
    before = asyncio.all_tasks()
    targets = [Target(server.url("/ok")), *[Target(server.url("/silent"))] * 9]
    run = asyncio.create_task(ping_all(targets, [results.append], Settings(concurrency=1, timeout=30)))
    await stalled.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [result.status for result in results] == [200]
    assert not {task for task in asyncio.all_tasks() - before if "BadServer" not in repr(task)}


async def test_sink_that_fails_ends_the_run(server):
    def full(result):
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await ping_all([Target(server.url("/ok"))] * 100, [full], Settings(concurrency=2, timeout=30))
    assert server.requests["/ok"] <= 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concurrency": 0}, "concurrency must be >= 1, got 0"),
        ({"timeout": 0}, "timeout must be > 0 seconds and finite, got 0"),
        ({"timeout": float("inf")}, "timeout must be > 0 seconds and finite, got inf"),
        ({"retries": -1}, "retries must be >= 0, got -1"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message) as refused:
        Settings(**settings)
    assert isinstance(refused.value, PenstockError)
