"""A run shared out to processes: the same rows as one process makes, and nothing left behind."""

import asyncio
import signal
from collections import Counter
from unittest.mock import Mock

import pytest

from bad_server import BadServer, answer, forever
from penstock import PenstockError
from penstock.services.pinger import workers
from penstock.services.pinger.assertions import parse_assertion
from penstock.services.pinger.messages import Rows, Start, packed, unpacked
from penstock.services.pinger.model import Target
from penstock.services.pinger.runner import recorder_of
from penstock.services.pinger.schedule import ALL
from penstock.services.pinger.settings import Settings
from penstock.services.pinger.workers import Worker, WorkerFailed, ping_with_workers


@pytest.fixture
async def server():
    async with BadServer() as running:
        yield running


@pytest.fixture
def started(monkeypatch):
    """The processes that a test has started."""
    processes, start = [], workers.process_of_worker

    async def spied():
        processes.append(await start())
        return processes[-1]

    monkeypatch.setattr(workers, "process_of_worker", spied)
    return processes


async def all_ended(processes):
    for process in processes:
        await asyncio.wait_for(process.wait(), 30)
    return True


async def run(targets, settings, sinks=(), size=2, recorder=None):
    return await ping_with_workers(targets, sinks, settings, size, recorder or recorder_of(settings))


async def test_every_target_has_its_row_and_the_figures_are_of_all(server, started):
    rows = []
    urls = [server.url(f"/ok?{n}") for n in range(40)] + [
        server.dead_url,
        "nonsense",
        server.url("/status/404"),
    ]
    summary = await run(map(Target, urls), Settings(timeout=30, concurrency=5), [rows.append])
    assert Counter(row.url for row in rows) == Counter(urls)
    assert (summary.overall.pings, summary.overall.failed) == (43, 3)
    assert summary.overall.statuses == {200: 40, 404: 1}
    assert summary.overall.total.count == 41
    assert {figures.title for figures in summary.targets} == set(urls)
    assert summary.lag.ticks
    assert max(summary.in_flight) <= 5
    assert len(started) == 2
    assert await all_ended(started)


async def test_no_more_than_the_concurrency_are_open_at_once(server, started):
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
    await run([Target(server.url("/crowd"))] * 12, Settings(timeout=30, concurrency=3), [rows.append])
    assert [row.status for row in rows] == [200] * 12
    assert most == 3


async def test_rounds_and_rates_are_dealt_out_turn_by_turn(server):
    targets = [Target(server.url("/ok?a")), Target(server.url("/ok?b")), Target(server.url("/ok?c"))]
    for settings in (Settings(count=5, timeout=30), Settings(rate=500, count=5, timeout=30)):
        rows = []
        await run(targets, settings, [rows.append])
        assert Counter((row.url, row.number) for row in rows) == Counter(
            (target.url, number) for target in targets for number in range(1, 6)
        )


async def test_targets_with_an_interval_belong_to_one_worker_each(server):
    targets = [Target(server.url(f"/ok?{n}")) for n in range(4)]
    rows = []
    await run(targets, Settings(interval=0.1, count=2, timeout=30), [rows.append])
    assert Counter((row.url, row.number) for row in rows) == Counter(
        (target.url, number) for target in targets for number in (1, 2)
    )


async def test_figures_need_no_rows(server):
    summary = await run([Target(server.url("/ok"))], Settings(count=10, timeout=30))
    assert summary.overall.statuses == {200: 10}


async def test_many_targets_need_no_rows_either(server):
    targets = [Target(server.url(f"/ok?{n}")) for n in range(40)]
    summary = await asyncio.wait_for(run(targets, Settings(timeout=30, concurrency=2)), 60)
    assert summary.overall.statuses == {200: 40}


async def test_gap_is_that_of_all_workers_together(server):
    summary = await run([Target(server.url("/ok"))], Settings(count=6, gap=0.1, timeout=30))
    assert summary.rate < 11  # 10 a second, and not for each worker


async def test_pings_that_workers_left_out_are_told(server):
    async def slow(writer):
        await asyncio.sleep(0.3)
        answer(writer)

    server.actions["/slow"] = slow
    settings = Settings(interval=0.05, count=2, concurrency=2, timeout=30)
    summary = await run([Target(server.url(f"/slow?{n}")) for n in range(2)], settings)
    assert summary.left_out > 0


async def test_message_that_is_half_heard_when_the_run_is_cancelled_is_heard_to_its_end():
    heard, messages = asyncio.StreamReader(), []
    worker = Worker(Mock(stdout=heard, returncode=None), messages.append)
    rows = packed(Rows([]))
    heard.feed_data(rows[:5])
    listening = asyncio.create_task(worker.listen())
    for _ in range(5):  # turns of the loop until it waits for the rest
        await asyncio.sleep(0)
    listening.cancel()
    await asyncio.wait({listening})
    heard.feed_data(rows[5:])
    heard.feed_eof()
    await worker.end()
    assert messages == [Rows([])]


async def test_quota_of_a_host_is_that_of_all_workers_together(server):
    summary = await run(
        [Target(server.url("/ok"))], Settings(count=6, per_host="4/hour; burst=6", timeout=30, concurrency=2)
    )
    assert summary.overall.statuses == {200: 6}
    seen = asyncio.Semaphore(0)
    running = asyncio.create_task(
        run(
            [Target(server.url("/counted"))],
            Settings(count=9, per_host="1/hour; burst=3"),
            [lambda row: seen.release()],
        )
    )
    for _ in range(3):
        await seen.acquire()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert server.requests["/counted"] == 3


async def test_cancelled_run_keeps_its_rows_and_figures_and_ends_its_processes(server, started):
    stalled = asyncio.Semaphore(0)

    async def stall(writer):
        stalled.release()
        await forever()

    server.actions["/silent"] = stall
    rows, settings = [], Settings(timeout=60, concurrency=4)
    targets = [Target(server.url(f"/ok?{n}")) for n in range(10)] + [Target(server.url("/silent"))] * 9
    recorder = recorder_of(settings)
    running = asyncio.create_task(run(targets, settings, [rows.append], recorder=recorder))
    for _ in range(4):
        await stalled.acquire()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [row.status for row in rows] == [200] * 10
    assert recorder.summary().overall.statuses == {200: 10}
    assert await all_ended(started)


async def test_sink_that_fails_ends_the_run_and_its_processes(server, started):
    def full(result):
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await run([Target(server.url("/ok"))] * 1000, Settings(timeout=30, concurrency=2), [full])
    assert await all_ended(started)
    assert server.requests["/ok"] < 1000


async def test_source_that_fails_ends_the_run_and_its_processes(server, started):
    def source():
        yield Target(server.url("/ok"))
        raise OSError("Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        await run(source(), Settings(timeout=30))
    assert await all_ended(started)


async def test_worker_that_dies_ends_the_run(server, started):
    stalled = asyncio.Event()

    async def stall(writer):
        stalled.set()
        await forever()

    server.actions["/silent"] = stall
    running = asyncio.create_task(run([Target(server.url("/silent"))] * 4, Settings(timeout=60)))
    await stalled.wait()
    started[0].kill()
    with pytest.raises(WorkerFailed, match="must run to its end, it ended before") as failed:
        await running
    assert isinstance(failed.value, PenstockError)
    assert await all_ended(started)


async def test_what_a_worker_cannot_do_is_told_in_its_words(server, started):
    settings = Settings(source="no address", timeout=30)
    with pytest.raises(WorkerFailed, match="source must be an IP address, got 'no address'"):
        await run([Target(server.url("/ok"))], settings)
    assert await all_ended(started)


async def test_workers_end_when_who_started_them_is_gone(server, started):
    process = await workers.process_of_worker()
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_ctrl_c_is_left_to_who_started_them(server, started):
    rows, first = [], asyncio.Event()

    def take(row):
        rows.append(row)
        first.set()

    settings = Settings(count=200, timeout=30, gap=0.002)
    running = asyncio.create_task(run([Target(server.url("/ok"))], settings, [take]))
    await first.wait()
    for process in started:
        process.send_signal(signal.SIGINT)  # as a terminal sends it to all of its processes
    await running
    assert len(rows) == 200


async def test_run_that_is_cancelled_while_its_processes_start_leaves_none(server, started):
    for turns in range(0, 40, 3):
        running = asyncio.create_task(run([Target(server.url("/ok"))], Settings(timeout=30)))
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert await all_ended(started)


async def test_process_that_cannot_be_started_ends_the_run(server, started, monkeypatch):
    start = workers.process_of_worker

    async def second_fails():
        if len(started) == 1:
            raise OSError("Resource temporarily unavailable")
        return await start()

    monkeypatch.setattr(workers, "process_of_worker", second_fails)
    with pytest.raises(OSError, match="Resource temporarily unavailable"):
        await run([Target(server.url("/ok"))], Settings(timeout=30))
    assert await all_ended(started)


def test_settings_survive_their_way():
    settings = Settings(assertions=(parse_assertion("status==200"),), headers=(("A", "b"),), per_host="3/s")
    start = unpacked(packed(Start(settings, ALL, [Target("http://x/")], rows=True))[4:])
    assert start.settings.assertions[0].holds(200)
    assert (start.settings.headers, start.settings.per_host) == (settings.headers, "3/s")
