"""What one probe promises, against a server that misbehaves."""

import asyncio
import ssl
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from types import SimpleNamespace

import aiohttp
import pytest

from bad_server import BadServer, answer, forever
from penstock.clock import ManualClock
from penstock.resilience import ExponentialBackoff
from penstock.services.http_attempt import MAX_BODY_BYTES, MAX_REDIRECTS, failure, open_session
from penstock.services.pinger.model import Target
from penstock.services.pinger.probe import Prober

NOON = datetime(2025, 1, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
async def server():
    async with BadServer() as running:
        yield running


@pytest.fixture
async def session():
    async with open_session(4) as session:
        yield session


@pytest.fixture
def waited():
    """The seconds that probers have waited between attempts, without passing them."""
    return []


@pytest.fixture
def prober(session, waited):
    async def sleep(seconds):
        waited.append(seconds)

    def make(**settings):
        settings = {"timeout": 30.0, "retries": 0, "backoff": ExponentialBackoff(0.5, limit=10)} | settings
        return Prober(session, now=lambda: NOON, **{"sleep": sleep, **settings})

    return make


async def test_answer_becomes_a_row(server, prober):
    result = await prober().ping(Target(server.url("/ok")))
    assert (result.url, result.status, result.error, result.attempts) == (server.url("/ok"), 200, "", 1)
    assert result.timestamp == NOON
    assert result.latency_ms > 0


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
    assert (result.status, result.error) == (0, "timed out after 0.05 s")
    assert 50 <= result.latency_ms < 10_000


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


def test_certificate_fault_is_told_in_openssls_words():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    key = SimpleNamespace(host="h", port=443, ssl=True, is_ssl=True)
    answer = failure(aiohttp.ClientConnectorCertificateError(key, error), 1.0)
    assert (answer.error, answer.may_pass) == ("certificate refused: certificate has expired", False)


def test_unforeseen_exception_is_told_in_bounded_printable_words():
    answer = failure(RuntimeError("\x1b[2J\n" + "x" * 10_000), 1.0)
    assert answer.error.startswith("RuntimeError: \ufffd[2J\ufffdxxx")
    assert len(answer.error) == 200


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
    sent = 0

    async def endless(writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(65_536))
            await writer.drain()
            sent += 65_536

    server.actions["/count"] = endless
    result = await prober().ping(Target(server.url("/count")))
    assert (result.status, result.error) == (200, "")
    assert MAX_BODY_BYTES <= sent < 100 * MAX_BODY_BYTES  # what lies in socket buffers comes on top


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
        ("3600", 10.0),
        ("9" * 500, 10.0),
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


async def test_latency_is_of_the_last_attempt_alone(server, prober):
    clock = ManualClock()

    async def slow(writer):
        clock.advance(0.25 * server.requests["/slow"])
        answer(writer, status=503)

    async def sleep(seconds):
        clock.advance(seconds)

    server.actions["/slow"] = slow
    result = await prober(retries=2, clock=clock, sleep=sleep).ping(Target(server.url("/slow")))
    assert result.latency_ms == 750


async def test_latency_runs_to_the_last_byte_over_all_redirects(server, prober):
    clock = ManualClock()

    async def hop(writer):
        clock.advance(0.1)
        answer(writer, status=302, headers="Location: /slow-body\r\n")

    async def slow_body(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh")
        await writer.drain()
        clock.advance(0.2)
        writer.write(b"i")

    server.actions |= {"/hop": hop, "/slow-body": slow_body}
    result = await prober(clock=clock).ping(Target(server.url("/hop")))
    assert result.latency_ms == 300


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


async def test_timeouts_above_five_seconds_are_not_rounded_up(session, server, prober):
    loop, asked = asyncio.get_running_loop(), []
    call_at = loop.call_at

    def spy(when, *arguments, **more):
        asked.append(when - loop.time())
        return call_at(when, *arguments, **more)

    loop.call_at = spy
    await prober(timeout=7.5).ping(Target(server.url("/ok")))
    assert any(seconds == pytest.approx(7.5, abs=0.1) for seconds in asked)


def test_one_probe_takes_little_time_for_itself():
    """Guards against a pause or poll in the probe: 20 answers of a local server within 10 s."""

    async def run():
        async with BadServer() as server, open_session(1) as session:
            prober = Prober(session, timeout=5.0, retries=0, backoff=ExponentialBackoff(1))
            for _ in range(20):
                assert (await prober.ping(Target(server.url("/ok")))).status == 200

    start = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - start < 10
