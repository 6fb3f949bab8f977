"""What one call promises, against servers that misbehave."""

import asyncio
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer as Server

from bad_server import BadServer, answer, forever
from penstock.clock import ManualClock
from penstock.resilience import ExponentialBackoff
from penstock.services.caller.call import MAX_RETRY_AFTER, Caller, before_sending
from penstock.services.caller.flow import Flow
from penstock.services.caller.model import BadLine, Request
from penstock.services.caller.pace import Pace
from penstock.services.http_attempt import MAX_BODY_BYTES, open_session
from penstock.services.http_url import checked_url
from virtual_time import run_in_virtual_time

NOON = datetime(2025, 1, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
async def server():
    async with BadServer() as running:
        yield running


@pytest.fixture
async def session():
    async with open_session(4, traces=[before_sending()]) as session:
        yield session


@pytest.fixture
def waited():
    """The seconds that callers have paused between attempts, without passing them."""
    return []


@pytest.fixture
def caller(session, waited):
    async def sleep(seconds):
        waited.append(seconds)

    def make(pace=None, **settings):
        settings = {"timeout": 30.0, "retries": 0, "headers": {}} | settings
        backoff = ExponentialBackoff(0.5, limit=10)
        pace = pace or Pace(1e6, 1000)
        return Caller(session, pace, Flow(4), backoff=backoff, now=lambda: NOON, sleep=sleep, **settings)

    return make


def get(url, method="GET", **members):
    return Request(method, url, checked_url(url), **members)


@pytest.fixture
async def echo():
    """A server that remembers what it was sent."""
    seen = []

    async def remember(request):
        seen.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", remember)
    async with Server(app) as running:
        running.seen = seen
        yield running


async def test_answer_becomes_a_row(server, caller):
    request = get(server.url("/ok"), label="seven", line=7)
    row = await caller().call(request)
    assert (row.line, row.label, row.method, row.url) == (7, "seven", "GET", server.url("/ok"))
    assert (row.status, row.error, row.attempts, row.size, row.sent_at) == (200, "", 1, 5, NOON)
    assert row.ok
    assert row.latency_ms > 0
    assert row.rfc3339 == "2025-01-10T12:00:00.000Z"


async def test_request_is_sent_as_it_was_written(echo, caller):
    url = str(echo.make_url("/orders?q=1"))
    own = {"X-Own": "1", "user-agent": "mine"}
    request = get(url, "PUT", headers=own, body=b'{"n": 1.0}', body_type="application/json")
    await caller(headers={"X-All": "2", "X-OWN": "no"}).call(request)
    [(method, path, headers, body)] = echo.seen
    assert (method, path, body) == ("PUT", "/orders?q=1", b'{"n": 1.0}')
    assert (headers["X-Own"], headers["X-All"]) == ("1", "2")
    assert "X-OWN" not in headers
    assert headers["User-Agent"] == "mine"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("where", ["own", "all"])
async def test_content_type_that_is_given_stays(echo, caller, where):
    given = {"content-type": "application/x-special"}
    own, for_all = (given, {}) if where == "own" else ({}, given)
    request = get(str(echo.make_url("/")), "POST", headers=own, body=b"{}", body_type="application/json")
    await caller(headers=for_all).call(request)
    assert [value for name, value in echo.seen[0][2].items() if name.lower() == "content-type"] == [
        "application/x-special"
    ]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_works_without_a_body(echo, caller, method):
    row = await caller().call(get(str(echo.make_url("/")), method))
    assert (row.status, row.error) == (200, "")
    assert echo.seen[0][0] == method
    assert echo.seen[0][3] == b""
    assert "Content-Type" not in echo.seen[0][2]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/close", "connection closed without an answer"),
        ("/reset", "connection reset"),
        ("/reset-in-body", "answer cut short"),
        ("/short", "answer cut short"),
        ("/bad-chunk", "not a valid HTTP answer"),
        ("/garbage", "not a valid HTTP answer"),
        ("/status-000", "not a valid HTTP answer"),
        ("/endless-head", "not a valid HTTP answer"),
    ],
)
async def test_failure_is_a_row_with_status_0_and_plain_words(server, caller, path, words):
    row = await caller().call(get(server.url(path)))
    assert (row.status, row.error, row.ok, row.sent_at) == (0, words, False, NOON)
    assert server.requests[path] == 1


@pytest.mark.parametrize("path", ["/stall", "/stall-in-body"])
async def test_server_that_hangs_times_out(server, caller, path):
    row = await caller(timeout=0.05).call(get(server.url(path)))
    assert (row.status, row.error) == (0, "timed out after 0.05 s")


async def test_dead_port_is_a_row_of_a_request_that_was_never_sent(server, caller):
    row = await caller().call(get(server.dead_url))
    assert (row.error, row.sent_at, row.attempts) == ("connection refused", None, 1)
    assert row.rfc3339 == "2025-01-10T12:00:00.000Z"


async def test_endless_body_is_left_at_the_bound_and_counts_as_answered(server, caller):
    row = await caller().call(get(server.url("/endless")))
    assert row.status == 200
    assert MAX_BODY_BYTES <= row.size < 2 * MAX_BODY_BYTES


@pytest.mark.parametrize("path", ["/redirect/ok", "/loop", "/away"])
async def test_redirects_are_answers_and_not_followed(server, caller, path):
    row = await caller().call(get(server.url(path)))
    assert (row.status, row.attempts) == (302, 1)
    assert server.requests.total() == 1


async def test_bad_line_is_a_row_and_no_request(server, caller):
    row = await caller().call(BadLine(3, "not a URL\nat all"))
    assert (row.line, row.status, row.attempts, row.ok) == (3, 0, 0, False)
    assert row.error == "bad line: not a URL\N{REPLACEMENT CHARACTER}at all"


@pytest.mark.parametrize("path", ["/close", "/status/429", "/status/500", "/status/503"])
async def test_gets_are_tried_again_and_wait_longer_each_time(server, caller, waited, path):
    row = await caller(retries=2).call(get(server.url(path)))
    assert (row.attempts, server.requests[path], waited) == (3, 3, [0.5, 1.0])


@pytest.mark.parametrize(("path", "times"), [("/close", 1), ("/status/500", 1), ("/status/429", 3)])
async def test_post_is_tried_again_only_where_it_cannot_be_done_twice(server, caller, path, times):
    row = await caller(retries=2).call(get(server.url(path), "POST", body=b"x"))
    assert (row.attempts, server.requests[path]) == (times, times)


async def test_post_that_was_never_sent_is_tried_again(server, caller):
    assert (await caller(retries=2).call(get(server.dead_url, "POST"))).attempts == 3


@pytest.mark.parametrize(("asked", "seconds"), [("7", 7.0), ("0", 0.5), ("99999", MAX_RETRY_AFTER)])
async def test_retry_after_is_kept_up_to_a_bound(server, caller, waited, asked, seconds):
    async def busy(writer):
        answer(writer, status=429, headers=f"Retry-After: {asked}\r\n")

    server.actions["/busy"] = busy
    await caller(retries=1).call(get(server.url("/busy")))
    assert waited == [seconds]


def test_retry_takes_its_turn_and_its_wait_is_told():
    clock = ManualClock()
    flow = Flow(1, clock)

    async def main():
        async with BadServer() as server, open_session(1, traces=[before_sending()]) as session:
            caller = Caller(
                session,
                Pace(2, 1, clock=clock),
                flow,
                timeout=30,
                retries=2,
                backoff=ExponentialBackoff(0.1, factor=1),
                headers={},
                clock=clock,
            )
            row = await caller.call(get(server.url("/status/500")))
            return row, clock.now

    row, ended = run_in_virtual_time(main(), clock, may_pass=lambda: not flow.in_flight)
    assert row.attempts == 3
    assert row.waited_ms == pytest.approx(2 * (500 - 100))
    assert ended == 1_000_000_000


class ClosedGate:
    """A gate that tells when somebody has come, and lets nobody through until it is opened."""

    def __init__(self):
        self.came, self.opened = asyncio.Event(), asyncio.Event()

    async def __call__(self):
        self.came.set()
        await self.opened.wait()


async def test_nothing_is_sent_before_the_second_gate_opens(caller):
    received = asyncio.Event()

    async def serve(reader, writer):
        await reader.readexactly(1)
        received.set()
        await reader.readuntil(b"\r\n\r\n")
        answer(writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        pace = Pace(1e6, 1000)
        pace.send = ClosedGate()
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        call = asyncio.create_task(caller(pace).call(get(url)))
        await pace.send.came.wait()
        for _ in range(100):  # whatever is on its way arrives
            await asyncio.sleep(0)
        assert not received.is_set()
        pace.send.opened.set()
        assert (await call).status == 200
        assert received.is_set()


async def test_timeout_stands_still_at_the_second_gate(server, caller, monkeypatch):
    deadlines = []
    timeout = asyncio.timeout

    def remembered(seconds):
        deadlines.append(timeout(seconds))
        return deadlines[-1]

    monkeypatch.setattr("penstock.services.caller.call.asyncio.timeout", remembered)
    pace = Pace(1e6, 1000)
    pace.send = ClosedGate()
    call = asyncio.create_task(caller(pace).call(get(server.url("/ok"))))
    await pace.send.came.wait()
    assert deadlines[0].when() is None
    pace.send.opened.set()
    assert (await call).status == 200


async def test_every_attempt_has_a_connection_of_its_own(server, caller):
    await caller().call(get(server.url("/ok")))
    assert "\r\nConnection: close\r\n" in server.heads[0]


async def test_cancelled_call_leaves_nothing_running(server, caller):
    stalled = asyncio.Event()

    async def stall(writer):
        stalled.set()
        await forever()

    server.actions["/silent"] = stall
    before = asyncio.all_tasks()
    calls = caller()
    call = asyncio.create_task(calls.call(get(server.url("/silent"))))
    await stalled.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert calls.flow.in_flight == 0
    assert not {task for task in asyncio.all_tasks() - before if "BadServer" not in repr(task)}
