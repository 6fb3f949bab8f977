"""What the load engine tells, and what it is not asked to do."""

import asyncio

import pytest

from bad_server import BadServer
from penstock import PenstockError
from penstock.services.pinger.assertions import parse_assertion
from penstock.services.pinger.load_run import NoLoad, load_all
from penstock.services.pinger.model import Target
from penstock.services.pinger.runner import recorder_of
from penstock.services.pinger.settings import Settings, TlsSettings


@pytest.fixture
async def server():
    async with BadServer() as running:
        yield running


async def loaded(*urls, **settings):
    settings = Settings(**{"timeout": 30, **settings})
    return await load_all([Target(url) for url in urls], settings, recorder_of(settings))


async def test_counts_are_those_of_the_server(server):
    summary = await loaded(server.url("/ok"), server.url("/status/404"), count=20, concurrency=4)
    assert summary.engine == "load"
    assert summary.overall.statuses == {200: 20, 404: 20}
    assert (summary.overall.pings, summary.overall.failed) == (40, 20)
    assert summary.overall.total.count == 40
    assert server.requests == {"/ok": 20, "/status/404": 20}
    assert not summary.ok


async def test_failures_are_told_in_words(server):
    summary = await loaded(server.url("/close"), count=3, concurrency=1)
    assert summary.overall.errors == {"connection closed without an answer": 3}
    summary = await loaded(server.dead_url, count=3, concurrency=1)
    assert summary.overall.errors == {"connection refused or not made": 3}


async def test_open_load_is_judged_by_its_figures(server):
    assertions = (parse_assertion("errors==0%"), parse_assertion("rate>1000"))
    summary = await loaded(server.url("/ok"), rate=200, count=40, assertions=assertions)
    assert [verdict.severity for verdict in summary.verdicts] == ["ok", "fail"]
    assert summary.load == "open"
    assert 0 < summary.rate < 210  # a machine that is held up is slower, and none is faster


async def test_cancelled_load_keeps_its_figures(server):
    settings = Settings(timeout=30, concurrency=2)
    recorder = recorder_of(settings)
    running = asyncio.create_task(load_all([Target(server.url("/ok"))], settings, recorder))
    async with asyncio.timeout(30):
        while not recorder.overall.pings:  # the load has threads of its own
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert recorder.summary(interrupted=True).overall.statuses[200] > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"retries": 1}, "retries must not be given with engine load, got 1"),
        ({"interval": 1.0}, "interval must not be given"),
        ({"per_host": "1/s"}, "per_host must not be given"),
        ({"proxy": "http://x/"}, "proxy must not be given"),
        ({"tls": TlsSettings(insecure=True)}, "tls must not be given with engine load: it speaks plain http"),
        ({"assertions": (parse_assertion("status==200"),)}, "assertions must be on the run with engine load"),
    ],
)
async def test_what_it_does_not_do_is_refused(settings, words):
    with pytest.raises(NoLoad, match=words) as refused:
        await loaded("http://127.0.0.1:1/", **settings)
    assert isinstance(refused.value, PenstockError)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://127.0.0.1:1/", "a load must be of http:// requests"),
        ("nonsense", "targets must be such that can be pinged, got 'nonsense': invalid URL"),
        ("http://no-such-host.invalid/", "name not resolved: no-such-host.invalid"),
    ],
)
async def test_target_that_cannot_be_loaded_is_refused(url, words):
    with pytest.raises(ValueError, match=words):
        await loaded(url)
