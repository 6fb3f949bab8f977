"""The simulated analyzer, over HTTP."""

import asyncio
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest

from penstock.services.distributor.config import Simulation
from penstock.services.distributor.simulated import (
    REFERENCE_FLEET,
    SimulatedAnalyzer,
    start_analyzer,
    start_reference_fleet,
    url_of,
)


def lines(n, messages=1):
    return b"".join(
        msgspec.json.encode({"id": f"p{i}", "messages": [{}] * messages, "retry_count": 0}) + b"\n"
        for i in range(n)
    )


@asynccontextmanager
async def analyzer(**simulation):
    runner, url = await start_analyzer(Simulation(**{"processing_time": 0, "failure_rate": 0} | simulation))
    async with aiohttp.ClientSession(url.removesuffix("packets")) as session:
        yield session
    await runner.cleanup()


async def call(session, method, path, body=None):
    async with session.request(method, path, data=body) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_packets_are_taken_and_counted():
    async with analyzer() as session:
        assert await call(session, "POST", "packets", lines(3, messages=2)) == (200, {"failed": []})
        assert await call(session, "POST", "packets", b"") == (200, {"failed": []})
        figures = {"deliveries": 2, "packets": 3, "messages": 6, "failed": 0}
        assert await call(session, "GET", "stats") == (200, figures)


async def test_failures_are_named_and_as_frequent_as_told():
    async with analyzer(failure_rate=0.25, seed=1) as session:
        _, verdict = await call(session, "POST", "packets", lines(2000))
        assert {one["error"] for one in verdict["failed"]} == {"analyzer crashed during processing"}
        assert 400 < len(verdict["failed"]) < 600
        assert (await call(session, "GET", "stats"))[1]["failed"] == len(verdict["failed"])


@pytest.mark.parametrize(("rate", "failures"), [(0, 0), (1, 100)])
async def test_nothing_or_everything_fails_at_the_ends_of_the_range(rate, failures):
    async with analyzer(failure_rate=rate) as session:
        _, verdict = await call(session, "POST", "packets", lines(100))
        assert len(verdict["failed"]) == failures


def test_seed_makes_the_failures_the_same_in_every_run():
    def failed(seed):
        analyzer = SimulatedAnalyzer(Simulation(failure_rate=0.3, seed=seed))
        return [one.id for _ in range(3) for one in analyzer.process(lines(50)).failed]

    assert failed(7) == failed(7)
    assert failed(7) != failed(8)


async def test_processing_takes_its_time():
    async with analyzer(processing_time=0.2) as session:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.gather(*(call(session, "POST", "packets", lines(1)) for _ in range(5)))
        assert 0.19 < loop.time() - before < 0.9, "side by side, not one after the other"


async def test_ill_analyzer_takes_nothing_until_it_is_healed():
    async with analyzer() as session:
        assert await call(session, "GET", "health") == (200, {"status": "healthy"})
        assert await call(session, "POST", "fail") == (200, {"status": "ill"})
        for method, path in (("GET", "health"), ("POST", "packets")):
            status, problem = await call(session, method, path, lines(1) if method == "POST" else None)
            assert status == 503
            assert "POST /heal makes it well" in problem["detail"]
        assert await call(session, "POST", "heal") == (200, {"status": "healthy"})
        assert (await call(session, "POST", "packets", lines(1)))[0] == 200
        assert (await call(session, "GET", "stats"))[1]["packets"] == 1


@pytest.mark.parametrize(
    "body",
    [b"hello", b"{}\n", b"[]\n", b'{"id":"p"}\n', b'{"id":1,"messages":[]}\n', lines(1) + b"{", b"\xff\n"],
)
async def test_bad_lines_are_a_400_and_nothing_is_counted(body):
    async with analyzer() as session:
        status, problem = await call(session, "POST", "packets", body)
        assert status == 400
        assert "packets, one a line" in problem["detail"]
        assert (await call(session, "GET", "stats"))[1]["packets"] == 0


async def test_stopping_does_not_wait_for_what_it_pretends_to_do():
    runner, url = await start_analyzer(Simulation(processing_time=60))
    async with aiohttp.ClientSession() as session:
        delivery = asyncio.create_task(session.post(url, data=lines(1)))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            await runner.cleanup()
        with pytest.raises(aiohttp.ClientError):
            await delivery


async def test_port_that_is_taken_is_an_os_error_and_leaves_nothing_open():
    async with analyzer() as session:
        with pytest.raises(OSError, match="in use"):
            await start_analyzer(Simulation(), port=session._base_url.port)


async def test_reference_fleet_is_four_analyzers_with_dice_of_their_own():
    runners, fleet = await start_reference_fleet(Simulation(failure_rate=0.5, processing_time=0, seed=1))
    try:
        assert [(one.id, one.name, one.weight) for one in fleet] == list(REFERENCE_FLEET)
        async with aiohttp.ClientSession() as session:
            verdicts = [(await call(session, "POST", one.url, lines(50)))[1] for one in fleet]
            assert [(await call(session, "GET", one.probe_url))[0] for one in fleet] == [200] * 4
        assert len({str(verdict) for verdict in verdicts}) == 4
    finally:
        for runner in runners:
            await runner.cleanup()


def test_address_becomes_a_url_in_both_families():
    assert url_of(("127.0.0.1", 80)) == "http://127.0.0.1:80"
    assert url_of(("::1", 80, 0, 0)) == "http://[::1]:80"
