"""What a whole run promises: a row for every URL, bounded, and nothing left behind."""

import asyncio
import socket
import ssl
from collections import Counter
from contextlib import aclosing
from itertools import pairwise

import pytest
from fake_engine import MS, FakeEngine, answer_of

from bad_server import BadServer, answer, forever
from penstock import PenstockError
from penstock.clock import ManualClock
from penstock.probing.resolver import Address, NameNotResolved
from penstock.ratelimit import RateLimiter
from penstock.services.pinger import runner
from penstock.services.pinger.assertions import parse_assertion
from penstock.services.pinger.model import Target
from penstock.services.pinger.runner import Settings, ping_all
from penstock.services.pinger.settings import TlsSettings
from penstock.services.pinger.targets import read_targets
from virtual_time import run_in_virtual_time


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


def run_virtually(targets, answer=lambda request: answer_of(), **settings):
    """The rows and the summary of a run in virtual time, and the engine that it had."""
    clock = ManualClock(9_000 * MS)
    engine, rows = FakeEngine(clock, answer), []
    run = ping_all(targets, [rows.append], Settings(timeout=30, **settings), engine=engine, clock=clock)
    return rows, run_in_virtual_time(run, clock), engine


X = Target("http://x/")


def test_open_load_counts_from_when_pings_were_due_and_shows_service_times_beside():
    rows, summary, _ = run_virtually([X], lambda _: answer_of(wait=300), rate=10, count=50, concurrency=1)
    totals = [row.total / MS for row in rows]
    assert totals == [pytest.approx(300 + 200 * n, abs=1) for n in range(50)]  # ever later
    assert [row.service for row in rows] == [300 * MS] * 50
    assert summary.overall.service.percentile(0.99) == pytest.approx(300 * MS, rel=0.001)
    assert summary.overall.total.percentile(0.5) == pytest.approx(5_100 * MS, rel=0.001)
    assert summary.shortfall == pytest.approx(2 / 3, abs=0.01)
    assert summary.distrust


def test_closed_load_does_not_count_what_it_held_back_itself():
    rows, summary, _ = run_virtually([X], lambda _: answer_of(wait=300), count=50, concurrency=1)
    assert [row.total for row in rows] == [pytest.approx(300 * MS, abs=2_000)] * 50
    assert summary.shortfall == 0


def test_rate_is_reached_where_there_is_room():
    _, summary, engine = run_virtually([X], lambda _: answer_of(wait=350), rate=10, count=50, concurrency=5)
    assert summary.rate == pytest.approx(10, rel=0.001)
    assert summary.distrust == ()
    assert engine.most == 4
    assert max(summary.in_flight) == 4


def test_quota_of_a_host_holds_its_pings_back_and_not_those_of_others():
    clock = ManualClock(9_000 * MS)
    engine, rows = FakeEngine(clock), []
    limiter = RateLimiter("10/second; burst=1", clock=clock)
    targets = [Target("http://a/1"), Target("http://a/2"), Target("http://a/3"), Target("http://b/1")]
    run = ping_all(targets, [rows.append], Settings(gap=0), engine=engine, clock=clock, limiter=limiter)
    run_in_virtual_time(run, clock)
    starts = {row.url: round((row.last.began - 9_000 * MS) / MS) for row in rows}
    assert starts == {"http://a/1": 0, "http://a/2": 100, "http://a/3": 200, "http://b/1": 0}
    assert all(row.total == 10 * MS for row in rows)


@pytest.mark.parametrize(("settings", "gap"), [({}, 0.25), ({"gap": 0.003}, 3), ({"keep_alive": True}, 0)])
def test_starts_are_paced(settings, gap):
    rows, _, _ = run_virtually([X], count=40, concurrency=40, **settings)
    starts = sorted(row.last.began for row in rows)
    assert all(later - start >= gap * MS for start, later in pairwise(starts))
    assert (starts[-1] == starts[0]) == (gap == 0)


def test_engine_that_was_given_stays_open():
    _, _, engine = run_virtually([X])
    assert not engine.closed


def test_assertions_on_the_run_are_judged_at_its_end():
    assertions = (parse_assertion("p50<5ms"), parse_assertion("size==0"))
    _, summary, _ = run_virtually([X], count=10, assertions=assertions)
    assert [str(verdict) for verdict in summary.verdicts] == ["p50<5ms: got 10 ms"]
    assert not summary.ok


class TwoAddresses:
    """A resolver whose names all have the same two addresses, but for `gone`."""

    def __init__(self):
        self.asked = []

    async def resolve(self, host, port, family=0):
        self.asked.append(host)
        if host == "gone":
            raise NameNotResolved("name not resolved: gone")
        return [Address(ip, port, socket.AF_INET) for ip in ("127.0.0.1", "127.0.0.2")]

    def close(self):
        pass


@pytest.mark.parametrize("engine", ["auto", "protocol", "aiohttp"])
async def test_every_address_of_a_name_has_its_row(server, monkeypatch, engine):
    monkeypatch.setattr(runner, "SystemResolver", lambda threads: TwoAddresses())
    port = server.url("/").split(":")[2].strip("/")
    rows = []
    targets = [Target(f"http://many.example:{port}/ok"), Target("http://gone/"), Target("nonsense")]
    await ping_all(targets, [rows.append], Settings(all_ips=True, timeout=30, engine=engine))
    assert {(row.url, row.address, row.status) for row in rows} == {
        (targets[0].url, "127.0.0.1", 200),
        (targets[0].url, "127.0.0.2", 0),  # nobody listens there
        ("http://gone/", "", 0),
        ("nonsense", "", 0),
    }
    assert {row.title for row in rows if row.pinned} == {
        f"{targets[0].url} at 127.0.0.1",
        f"{targets[0].url} at 127.0.0.2",
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 0}, "count must be >= 1, got 0"),
        ({"duration": 0}, "duration must be > 0 and <= 31536000 seconds, got 0"),
        ({"interval": float("nan")}, "interval must be > 0"),
        ({"rate": 0}, "rate must be >= 0.000001 and <= 1000000 a second, got 0"),
        ({"rate": float("nan")}, "rate must be"),
        ({"gap": -1}, "gap must be >= 0 seconds and finite, got -1"),
        ({"rate": 1, "interval": 1}, "rate and interval must not both be given"),
        ({"max_body": -1}, "max_body must be >= 0 bytes, got -1"),
        ({"all_ips": True, "keep_alive": True}, "all_ips must be without keep_alive and proxy"),
        ({"tls": TlsSettings(key="k.pem")}, "key must come with its cert, got 'k.pem' alone"),
    ],
)
def test_settings_that_contradict_are_refused(settings, message):
    with pytest.raises(PenstockError, match=message):
        Settings(**settings)


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        ({"ca": "/dev/null"}, "ca must be a PEM file, got '/dev/null': "),
        ({"ca": "missing.pem"}, "ca must be a PEM file, got 'missing.pem': no such file or directory"),
        ({"cert": "/dev/null"}, "cert and key must be a PEM certificate and its key without a password"),
    ],
)
def test_certificates_that_are_none_are_refused(tls, words):
    with pytest.raises(PenstockError, match=words):
        TlsSettings(**tls).context()


def test_insecure_believes_any_certificate_and_nothing_special_costs_nothing():
    assert TlsSettings(insecure=True).context().verify_mode == ssl.CERT_NONE
    assert TlsSettings().context() is None


async def test_every_line_of_a_long_file_has_its_row_duplicates_too(long_file):
    lines, fd = long_file
    rows, settings = [], Settings(concurrency=500, gap=0)
    async with aclosing(read_targets(fd)) as targets:
        await ping_all(targets, [rows.append], settings, engine=FakeEngine(ManualClock()))
    assert Counter(row.url for row in rows) == Counter(lines)
    assert sorted(row.line for row in rows) == list(range(1, 10_001))
    assert sum(row.error.startswith("invalid URL") for row in rows) == 100


@pytest.fixture
def long_file(tmp_path):
    """The lines of a file, and its descriptor."""
    lines = [f"http://host-{n % 700}.example/{n % 3000}" for n in range(9_900)] + ["no URL"] * 100
    (tmp_path / "urls.txt").write_text("\n".join(lines))
    with open(tmp_path / "urls.txt", "rb") as file:
        yield lines, file.fileno()
