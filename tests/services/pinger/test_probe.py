"""What one ping promises: against a server that misbehaves, and on a clock that is moved by hand."""

import asyncio
import gc
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from fake_engine import MS, FakeEngine, answer_of, failure_of

from bad_server import BadServer, answer, forever
from penstock.clock import ManualClock
from penstock.probing import open_engine
from penstock.probing.exchange import TlsFacts
from penstock.resilience import ExponentialBackoff
from penstock.services.pinger.assertions import parse_assertion
from penstock.services.pinger.model import Target
from penstock.services.pinger.probe import MAX_REDIRECTS, Prepared, Prober
from penstock.services.pinger.settings import Settings

NOON = datetime(2025, 1, 10, 12, 0, tzinfo=UTC)
HALF_A_SECOND = ExponentialBackoff(0.5, limit=10)


@pytest.fixture
async def server():
    async with BadServer() as running:
        yield running


@pytest.fixture(params=["aiohttp", "auto"])
async def engine(request):
    async with open_engine(request.param) as engine:
        yield engine


@pytest.fixture
def waited():
    """The seconds that probers have waited between attempts, without passing them."""
    return []


@pytest.fixture
def prober(engine, waited):
    async def sleep(seconds):
        waited.append(seconds)

    def make(**settings):
        settings = {"timeout": 30.0, "backoff": HALF_A_SECOND} | settings
        return Prober(engine, Settings(**settings), now=lambda: NOON, sleep=sleep)

    return make


@pytest.fixture
def clock():
    return ManualClock(1_000 * MS)


@pytest.fixture
def faked(clock):
    """A prober on a manual clock and the engine behind it: it gives these answers, the last one for ever."""

    def make(*answers, **settings):
        left = list(answers)
        engine = FakeEngine(clock, lambda request: left.pop(0)() if len(left) > 1 else left[0]())

        async def sleep(seconds):
            clock.advance(seconds)

        settings = {"timeout": 30.0, "backoff": HALF_A_SECOND} | settings
        return Prober(engine, Settings(**settings), clock=clock, now=lambda: NOON, sleep=sleep), engine

    return make


async def test_answer_becomes_a_row(server, prober):
    result = await prober().ping(Target(server.url("/ok")))
    assert (result.url, result.status, result.error, result.attempts) == (server.url("/ok"), 200, "", 1)
    assert result.latency_ms > 0
    assert result.state == "ok"


@pytest.mark.parametrize("status", [204, 304, 404, 429, 500, 503])
async def test_every_status_is_an_answer_and_no_error(server, prober, status):
    result = await prober().ping(Target(server.url(f"/status/{status}")))
    assert (result.status, result.error) == (status, "")


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
        ("/loop", f"more than {MAX_REDIRECTS} redirects"),
        ("/away", "redirected to what is no http URL: ftp://127.0.0.1/"),
    ],
)
async def test_failure_is_a_row_with_status_0_and_plain_words(server, prober, path, words):
    result = await prober().ping(Target(server.url(path)))
    assert (result.status, result.error, result.attempts) == (0, words, 1)


@pytest.mark.parametrize("path", ["/stall", "/stall-in-body"])
async def test_stalling_server_times_out(server, prober, path):
    result = await prober(timeout=0.05).ping(Target(server.url(path)))
    assert (result.status, result.last.failure) == (0, "timeout")
    assert result.error.startswith("timed out after 0.05 s ")
    assert 49 <= result.latency_ms < 10_000


async def test_dead_port_is_connection_refused(server, prober):
    result = await prober().ping(Target(server.dead_url))
    assert (result.status, result.error) == (0, "connection refused")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://no-such-host.invalid/", "name not resolved: no-such-host.invalid"),
        ("http://a..b/", "name not resolved: not a host name"),
    ],
)
async def test_unknown_name_is_not_resolved(prober, url, words):
    assert (await prober().ping(Target(url))).error == words


async def test_server_without_tls_behind_https_is_a_tls_failure(prober):
    async def greet(reader, writer):
        writer.write(b"220 mail ready\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        result = await prober().ping(Target(f"https://127.0.0.1:{port}/"))
    assert result.status == 0
    assert result.error.startswith("TLS failed: ")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("example.com", "must start with http:// or https://"),
        ("ftp://example.com", "must start with http:// or https://"),
        ("", "must start with http:// or https://"),
        ("http://", "no host"),
        ("http://host:0/", "port must be 1 to 65535, got 0"),
        ("http://host:99999/", "Port out of range 0-65535"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://a b/", "holds a space or a control character"),
        ("http://host/\x1b[2J", "holds a space or a control character"),
        ("http://host/\udcff", "holds a space or a control character"),
        ("http://host/" + "x" * 8192, "longer than 8192 characters"),
    ],
)
async def test_what_is_no_url_is_a_row_that_says_why_and_where(prober, url, why):
    result = await prober().ping(Target(url, line=7))
    assert (result.status, result.error) == (0, f"invalid URL: {why} (line 7)")
    assert (result.latency_ms, result.attempts) == (0, 0)
    assert result.url.isprintable()
    assert (await prober().ping(Target(url))).error == f"invalid URL: {why}"


async def test_redirects_are_followed(server, prober):
    assert (await prober().ping(Target(server.url("/redirect/ok")))).status == 200
    assert server.requests == {"/redirect/ok": 1, "/ok": 1}


async def test_redirect_loop_is_left_after_the_bound(server, prober):
    await prober().ping(Target(server.url("/loop")))
    assert server.requests["/loop"] == MAX_REDIRECTS + 1


async def test_endless_body_is_left_at_the_bound_and_counts_as_answered(server, prober):
    result = await prober(max_body=100_000).ping(Target(server.url("/endless")))
    assert (result.status, result.error, result.last.truncated) == (200, "", True)
    assert 100_000 <= result.last.size < 100_000 + (1 << 20)


async def test_compressed_bodies_are_not_decompressed(server, prober):
    result = await prober().ping(Target(server.url("/no-gzip")))  # says gzip, and is none
    assert (result.status, result.error) == (200, "")


async def test_cookies_are_not_sent_back(server, prober):
    async def set_cookie(writer):
        answer(writer, headers="Set-Cookie: visitor=1\r\n")

    server.actions["/cookie"] = set_cookie
    for _ in range(2):
        await prober().ping(Target(server.url("/cookie")))
    assert not any("cookie:" in head.lower() for head in server.heads)


async def test_proxy_of_the_environment_is_not_used(server, prober, monkeypatch):
    monkeypatch.setenv("http_proxy", server.dead_url)
    assert (await prober().ping(Target(server.url("/ok")))).status == 200


async def test_request_says_who_asks_and_that_it_is_the_last_on_its_connection(server, prober):
    await prober().ping(Target(server.url("/ok")))
    assert "User-Agent: penstock/" in server.heads[0]
    assert "Connection: close" in server.heads[0]


@pytest.mark.parametrize("path", ["/reset", "/close", "/short"])
async def test_an_attempt_is_one_request_and_never_silently_two(server, prober, path):
    result = await prober().ping(Target(server.url(path)))
    assert result.attempts == server.requests[path] == 1


@pytest.mark.parametrize("path", ["/reset", "/close", "/short", "/status/500", "/status/503", "/status/429"])
async def test_retries_follow_failures_5xx_and_429(server, prober, waited, path):
    result = await prober(retries=2).ping(Target(server.url(path)))
    assert result.attempts == server.requests[path] == 3
    assert waited == [0.5, 1.0]


@pytest.mark.parametrize("path", ["/ok", "/status/404", "/loop", "/away"])
async def test_retries_do_not_follow_what_would_stay_the_same(server, prober, waited, path):
    result = await prober(retries=2).ping(Target(server.url(path)))
    assert result.attempts == 1
    assert waited == []


async def test_last_attempt_decides(server, prober):
    async def recover(writer):
        answer(writer, status=503 if server.requests["/flaky"] < 3 else 200)

    server.actions["/flaky"] = recover
    result = await prober(retries=5).ping(Target(server.url("/flaky")))
    assert (result.status, result.attempts) == (200, 3)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("3", 3.0),
        (format_datetime(NOON.replace(second=4), usegmt=True), 4.0),
        (format_datetime(NOON.replace(hour=11), usegmt=True), 0.5),
        ("10", 10.0),
        ("0", 0.5),
        ("-3", 0.5),
        ("soon", 0.5),
        ("Fri, 10 Jan 2025 12:00:09", 0.5),
        ("Fri, 10 Jan 9999999999999999999999 12:00:09 GMT", 0.5),
        ("", 0.5),
    ],
)
async def test_retry_after_is_kept_within_the_limit(server, prober, waited, retry_after, seconds):
    async def later(writer):
        answer(writer, status=429, headers=f"Retry-After: {retry_after}\r\n")

    server.actions["/later"] = later
    await prober(retries=1).ping(Target(server.url("/later")))
    assert waited == [seconds]


@pytest.mark.parametrize(
    "retry_after", ["11", "3600", "9" * 500, format_datetime(NOON.replace(hour=13), usegmt=True)]
)
async def test_server_that_wants_to_be_left_alone_for_longer_is_left_alone(
    server, prober, waited, retry_after
):
    async def later(writer):
        answer(writer, status=503, headers=f"Retry-After: {retry_after}\r\n")

    server.actions["/later"] = later
    result = await prober(retries=3).ping(Target(server.url("/later")))
    assert (result.status, result.attempts, waited) == (503, 1, [])


async def test_only_the_last_answer_is_held_as_it_came(faked):
    prober, _ = faked(
        lambda: answer_of(503, headers=[("X-Long", "x" * 1000)], body=b"x" * 1000),
        lambda: answer_of(302, headers=[("Location", "/there")], body=b"y" * 1000),
        lambda: answer_of(headers=[("X-Last", "z")], body=b"z"),
        retries=1,
        assertions=(parse_assertion("body==z"), parse_assertion("header:x-last==z")),
    )
    result = await prober.ping(Target("http://x/here"))
    assert (result.state, len(result.tries), len(result.hops)) == ("recovered", 2, 2)
    held = [hop.exchange for attempt in result.tries for hop in attempt.hops]
    assert [(len(one.head), len(one.body)) for one in held[:2]] == [(0, 0), (0, 0)]
    assert (held[2].body, held[2].size) == (b"z", 1)


async def test_large_bodies_are_not_kept_for_every_target(faked):
    prober, _ = faked(answer_of, method="POST", body=bytes(16 << 20))
    for number in range(9):
        await prober.ping(Target(f"http://x/{number}"))
    gc.collect()
    assert (
        sum(isinstance(one, Prepared) and one.shown.startswith("http://x/") for one in gc.get_objects()) <= 4
    )


async def test_latency_is_of_the_last_attempt_alone_and_total_of_all(faked):
    prober, _ = faked(
        lambda: answer_of(503, wait=250),
        lambda: answer_of(503, wait=500),
        lambda: answer_of(wait=750),
        retries=2,
    )
    result = await prober.ping(Target("http://x/"), due=900 * MS)
    assert result.latency_ms == 750
    assert result.total == (100 + 250 + 500 + 500 + 1000 + 750) * MS  # late, and two pauses
    assert result.late == 100 * MS
    assert [attempt.status for attempt in result.tries] == [503, 503, 200]
    assert result.state == "recovered"


async def test_latency_runs_to_the_last_byte_over_all_redirects(faked):
    prober, _ = faked(
        lambda: answer_of(302, headers=[("Location", "/there")], wait=100, connect=5),
        lambda: answer_of(wait=150, transfer=50),
    )
    result = await prober.ping(Target("http://x/here"))
    assert result.latency_ms == 305
    assert [hop.url for hop in result.hops] == ["http://x/here", "http://x/there"]
    assert result.service == 300 * MS
    assert result.ttfb == 150 * MS


async def test_wait_for_a_turn_to_connect_is_no_latency_and_counts_only_from_when_it_was_due(faked):
    for due, total in ((None, 30), (900 * MS, 180)):
        prober, _ = faked(
            lambda: answer_of(302, headers=[("Location", "/there")], wait=10, queued=40),
            lambda: answer_of(wait=20, queued=10),
        )
        prober.clock.now = 1_000 * MS
        result = await prober.ping(Target("http://x/here"), due)
        assert (result.latency_ms, result.total) == (30, total * MS)


async def test_redirects_share_the_timeout_of_their_attempt(faked):
    prober, engine = faked(
        lambda: answer_of(302, headers=[("Location", "/there")], wait=1000),
        lambda: failure_of("timeout", "timed out after 0.5 s waiting for the answer", total=500),
        timeout=1.5,
    )
    result = await prober.ping(Target("http://x/"))
    assert engine.timeouts == [1.5, 0.5]
    assert result.error == "timed out after 1.5 s waiting for the answer"


async def test_redirects_that_use_up_the_timeout_are_a_timeout(faked):
    prober, engine = faked(lambda: answer_of(302, headers=[("Location", "/there")], wait=500), timeout=1.2)
    result = await prober.ping(Target("http://x/"))
    assert result.error == "timed out after 1.2 s following redirects"
    assert len(engine.requests) == 3


async def test_redirects_are_answers_where_they_are_not_followed(faked):
    prober, _ = faked(lambda: answer_of(302, headers=[("Location", "/there")]), follow=False)
    assert (await prober.ping(Target("http://x/"))).status == 302


async def test_redirect_from_https_to_http_is_followed_with_a_warning(faked):
    prober, _ = faked(
        lambda: answer_of(301, headers=[("Location", "http://x/plain")]), lambda: answer_of(), retries=0
    )
    result = await prober.ping(Target("https://x/"))
    assert (result.status, result.state) == (200, "warned")
    assert result.why == "redirects stay on https: got http://x/plain"


async def test_post_is_sent_again_only_where_it_cannot_be_done_twice(faked):
    for answers, attempts in [
        ([lambda: answer_of(503)], 1),
        ([lambda: failure_of("reset", "connection reset")], 1),
        ([lambda: answer_of(429)], 3),
        ([lambda: failure_of("connect", "connection refused")], 3),
    ]:
        prober, _ = faked(*answers, retries=2, method="POST", body=b"x")
        assert (await prober.ping(Target("http://x/"))).attempts == attempts


async def test_retries_of_a_host_end_with_its_budget(faked):
    prober, engine = faked(lambda: answer_of(503), retries=2, retry_budget=0.2)
    rows = [await prober.ping(Target(f"http://x/{n}")) for n in range(100)]
    assert len(engine.requests) in (129, 130)  # the pings, its reserve, and a fifth of the pings
    assert prober.budget.refused == sum(row.attempts < 3 for row in rows)
    assert (await prober.ping(Target("http://other/"))).attempts == 3


async def test_what_belongs_to_a_target_goes_before_what_is_the_runs(faked):
    prober, engine = faked(
        lambda: answer_of(),
        method="GET",
        headers=(("X-Team", "all"), ("X-More", "1")),
        timeout=5,
        body=b"general",
    )
    target = Target(
        "http://x/", method="PUT", headers=(("x-team", "mine"),), timeout=2, body=b"own", name="shop"
    )
    result = await prober.ping(target, number=7)
    request = engine.requests[0]
    assert (request.method, request.body, engine.timeouts) == ("PUT", b"own", [2])
    assert ("x-team", "mine") in request.fields
    assert ("X-Team", "all") not in request.fields
    assert ("X-More", "1") in request.fields
    assert (result.title, result.method, result.number) == ("shop", "PUT", 7)


async def test_impossible_request_is_a_row(faked):
    prober, engine = faked(lambda: answer_of())
    result = await prober.ping(Target("http://x/", line=3, headers=(("bad name", "x"),)))
    assert (result.status, result.attempts, engine.requests) == (0, 0, [])
    assert result.error.startswith("invalid request: header name must be ")
    assert result.error.endswith("(line 3)")


async def test_broken_assertion_fails_a_ping_that_was_answered(faked):
    prober, _ = faked(
        lambda: answer_of(body=b"sorry"),
        assertions=(parse_assertion("body~ready"), parse_assertion("size<9", "warn")),
    )
    result = await prober.ping(Target("http://x/"))
    assert (result.status, result.error, result.ok, result.state) == (200, "", False, "failed")
    assert result.why == "body~ready: got sorry"
    assert [verdict.severity for verdict in result.verdicts] == ["fail", "ok"]


async def test_status_that_is_asserted_is_good_and_not_tried_again(faked):
    prober, _ = faked(lambda: answer_of(503), retries=2, assertions=(parse_assertion("status==503"),))
    result = await prober.ping(Target("http://x/"))
    assert (result.ok, result.attempts) == (True, 1)


async def test_own_assertion_stands_in_place_of_the_runs_on_the_same(faked):
    prober, _ = faked(lambda: answer_of(404), assertions=(parse_assertion("status==200"),))
    assert not (await prober.ping(Target("http://x/"))).ok
    assert (await prober.ping(Target("http://x/", assertions=(parse_assertion("status==404"),)))).ok


async def test_body_is_kept_only_where_an_assertion_looks_at_it(faked):
    prober, engine = faked(lambda: answer_of())
    await prober.ping(Target("http://x/"))
    await prober.ping(Target("http://x/", assertions=(parse_assertion("body~x"),)))
    assert [request.keep_body for request in engine.requests] == [0, 1 << 20]


@pytest.mark.parametrize(("days", "state"), [(13, "warned"), (15, "ok"), (-1, "warned")])
async def test_certificate_that_ends_soon_warns(faked, days, state):
    ends = NOON.timestamp() + days * 86_400 + 60
    prober, _ = faked(lambda: answer_of(facts=TlsFacts("TLSv1.3", "x", not_after=ends)))
    result = await prober.ping(Target("https://x/"))
    assert (result.ok, result.state) == (True, state)


async def test_asserted_certificate_stands_in_place_of_the_warning(faked):
    ends = NOON.timestamp() + 5 * 86_400
    prober, _ = faked(
        lambda: answer_of(facts=TlsFacts("TLSv1.3", "x", not_after=ends)),
        assertions=(parse_assertion("cert>2d"),),
    )
    assert (await prober.ping(Target("https://x/"))).state == "ok"


async def test_cancelled_probe_leaves_nothing_running(server, prober):
    before = asyncio.all_tasks()
    reached = asyncio.Event()

    async def stall(writer):
        reached.set()
        await forever()

    server.actions["/silent"] = stall
    probe = asyncio.create_task(prober().ping(Target(server.url("/silent"))))
    await reached.wait()
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert {task for task in asyncio.all_tasks() - before if "_handle" not in repr(task)} == set()
