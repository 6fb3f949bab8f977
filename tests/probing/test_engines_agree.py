"""Every engine says the same of the same server, whatever that does."""

import asyncio
import re
import socket
from contextlib import asynccontextmanager

import pytest
from engines_under_test import KINDS, engine_kinds, opened
from serving import server_that_wants_a_certificate, serving, tls_server_that_sends
from tls_servers import client_context

from bad_server import BadServer, answer
from penstock.probing.request import Request
from penstock.probing.resolver import Address, AddressRefused
from penstock.probing.turns import Turns

on_engine = engine_kinds(*KINDS)

CUT_SHORT = ("closed", "answer cut short", True)
NOT_HTTP = ("protocol", "not a valid HTTP answer", True)

FAILING = {
    "/stall": ("timeout", "timed out after 0.2 s waiting for the answer", True),
    "/stall-in-body": ("timeout", "timed out after 0.2 s reading the answer", True),
    "/close": ("closed", "connection closed without an answer", True),
    "/half-a-head": ("closed", "connection closed without an answer", True),
    "/reset": ("reset", "connection reset", True),
    "/reset-in-body": CUT_SHORT,
    "/short": CUT_SHORT,
    "/cut-chunks": CUT_SHORT,
    "/bad-chunk": NOT_HTTP,
    "/endless-head": NOT_HTTP,
    "/status-000": NOT_HTTP,
    "/garbage": NOT_HTTP,
}

ANSWERS = {  # what is sent -> status, size, body, truncated
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello": (200, 5, b"hello", False),
    b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello": (200, 5, b"hello", False),
    b"HTTP/1.0 200 OK\r\n\r\nhello": (200, 5, b"hello", False),
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello": (200, 5, b"hello", False),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n": (
        200,
        5,
        b"hello",
        False,
    ),
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi": (
        200,
        2,
        b"hi",
        False,
    ),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n": (404, 0, b"", False),
    b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n": (204, 0, b"", False),
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n": (304, 0, b"", False),
    b"HTTP/1.1 503 Down\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\ndown": (503, 4, b"down", False),
    b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000: (200, 1000, b"x" * 20, True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000: (200, 1000, b"x" * 20, False),
    b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000: (200, 1000, b"x" * 20, True),
}


@asynccontextmanager
async def server_that_sends(data):
    async with BadServer() as server:

        async def send(writer):
            writer.write(data)

        server.actions["/"] = send
        yield server


def told(exchange):
    return exchange.failure, exchange.error, exchange.may_pass


@pytest.mark.parametrize("path", FAILING)
def test_a_failure_has_the_same_kind_and_words(on_engine, path):
    async def main(kind):
        async with BadServer() as server, opened(kind) as engine:

            async def half_a_head(writer):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Le")

            async def cut_chunks(writer):
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe")

            server.actions |= {"/half-a-head": half_a_head, "/cut-chunks": cut_chunks}
            timeout = 0.2 if path.startswith("/stall") else 30
            exchange = await engine.exchange(Request(server.url(path)), timeout)
            assert told(exchange) == FAILING[path]
            assert (exchange.status, exchange.reason, exchange.truncated) == (0, "", False)
            assert exchange.address == "127.0.0.1"
            assert server.requests[path] == 1

    on_engine(main)


@pytest.mark.parametrize("sent", ANSWERS, ids=lambda sent: repr(sent[:60]))
def test_an_answer_is_read_to_its_end_or_its_bound(on_engine, sent):
    async def main(kind):
        async with server_that_sends(sent) as server, opened(kind) as engine:
            request = Request(server.url("/"), keep_body=20, max_body=1000)
            exchange = await engine.exchange(request, 30)
            assert told(exchange) == ("", "", False)
            assert (exchange.status, exchange.size, exchange.body, exchange.truncated) == ANSWERS[sent]

    on_engine(main)


def test_head_asks_for_no_body_and_waits_for_none(on_engine):
    sent = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nX-Kind: big\r\n\r\n"

    async def main(kind):
        async with server_that_sends(sent) as server, opened(kind) as engine:
            exchange = await engine.exchange(Request(server.url("/"), method="HEAD"), 30)
            assert (exchange.status, exchange.size, exchange.header("x-kind")) == (200, 0, "big")
            assert server.heads[0].startswith("HEAD / HTTP/1.1\r\n")

    on_engine(main)


def test_what_goes_on_the_wire_is_the_request_s_own_bytes(on_engine):
    async def main(kind):
        async with BadServer() as server, opened(kind) as engine:
            request = Request(server.url("/ok?a=b%20c"), headers=[("X-One", "1"), ("X-One", "2")])
            await engine.exchange(request, 30)
            sent = server.heads[0]
            assert sorted(sent.split("\r\n")) == sorted(request.wire.decode().split("\r\n"))
            assert sent.startswith("GET /ok?a=b%20c HTTP/1.1\r\n")
            assert "Connection: close" in sent

    on_engine(main)


def test_a_body_is_sent_whole(on_engine):
    body = bytes(range(256)) * 20_000  # more than a socket takes at once

    async def main(kind):
        got = asyncio.get_running_loop().create_future()

        async def serve(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            got.set_result((head, await reader.readexactly(len(body))))
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

        async with serving(serve) as port, opened(kind) as engine:
            exchange = await engine.exchange(
                Request(f"http://127.0.0.1:{port}/", method="POST", body=body), 30
            )
            head, received = await got
            assert (exchange.status, exchange.error) == (201, "")
            assert received == body
            assert b"Content-Length: 5120000\r\n" in head

    on_engine(main)


def test_an_answer_before_the_body_was_taken_is_an_answer(on_engine):
    async def main(kind):
        async def refuse(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            await asyncio.Event().wait()

        async with serving(refuse) as port, opened(kind) as engine:
            request = Request(f"http://127.0.0.1:{port}/", method="POST", body=bytes(20_000_000))
            assert (await engine.exchange(request, 30)).status == 413

    on_engine(main)


def test_redirects_are_not_followed_nor_bodies_decompressed_nor_cookies_kept(on_engine):
    async def main(kind):
        async with BadServer() as server, opened(kind) as engine:

            async def set_cookie(writer):
                answer(writer, headers="Set-Cookie: visitor=1\r\n")

            server.actions["/cookie"] = set_cookie
            redirect = await engine.exchange(Request(server.url("/redirect/ok")), 30)
            assert (redirect.status, redirect.header("location")) == (302, "/ok")
            assert (
                await engine.exchange(Request(server.url("/no-gzip"), keep_body=99), 30)
            ).body == b"this is not gzip"
            for _ in range(2):
                await engine.exchange(Request(server.url("/cookie")), 30)
            assert not any("cookie:" in head.lower() for head in server.heads)
            assert server.requests["/ok"] == 0

    on_engine(main)


def test_a_port_that_refuses_is_a_failure_to_connect(on_engine):
    async def main(kind):
        async with BadServer() as server, opened(kind) as engine:
            exchange = await engine.exchange(Request(server.dead_url), 30)
            assert told(exchange) == ("connect", "connection refused", True)
            assert (exchange.address, exchange.phases.wait) == ("", 0)
            assert 0 < exchange.phases.connect <= exchange.phases.total

    on_engine(main)


@pytest.mark.parametrize(
    ("url", "words", "may_pass"),
    [
        ("http://no-such-host.invalid/", "name not resolved: no-such-host.invalid", True),
        ("http://a..b/", "name not resolved: not a host name", False),
        ("http://" + "x" * 64 + "/", "name not resolved: not a host name", False),
    ],
)
def test_an_unknown_name_is_a_failure_of_the_name(on_engine, url, words, may_pass):
    async def main(kind):
        async with opened(kind) as engine:
            exchange = await engine.exchange(Request(url), 30)
            assert told(exchange) == ("dns", words, may_pass)
            assert 0 < exchange.phases.dns <= exchange.phases.total
            assert exchange.phases.connect == 0

    on_engine(main)


class Refusing:
    async def resolve(self, host, port, family=0):
        raise AddressRefused(f"address refused: {host}")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://localhost/", "http://[::1]/"])
def test_an_address_that_the_resolver_refuses_is_not_connected_to(on_engine, url):
    async def main(kind):
        async with opened(kind, resolver=Refusing()) as engine:
            exchange = await engine.exchange(Request(url), 30)
            host = url.split("/")[2].strip("[]")
            assert told(exchange) == ("address", f"address refused: {host}", False)

    on_engine(main)


class Hanging:
    async def resolve(self, host, port, family=0):
        await asyncio.Event().wait()


def test_a_resolver_that_hangs_times_out_and_the_words_say_so(on_engine):
    async def main(kind):
        async with opened(kind, resolver=Hanging()) as engine:
            exchange = await engine.exchange(Request("http://example.com/"), 0.02)
            assert told(exchange) == ("timeout", "timed out after 0.02 s resolving the name", True)
            assert exchange.phases.dns >= 15_000_000  # uvloop wakes up early

    on_engine(main)


class Broken:
    async def resolve(self, host, port, family=0):
        raise RuntimeError("\x1b[2J" + "x" * 1000)


def test_an_unforeseen_exception_is_told_in_bounded_printable_words(on_engine):
    async def main(kind):
        async with opened(kind, resolver=Broken()) as engine:
            exchange = await engine.exchange(Request("http://example.com/"), 30)
            assert exchange.failure == "other"
            assert exchange.error.startswith("RuntimeError: \ufffd[2Jxxx")
            assert len(exchange.error) == 200

    on_engine(main)


@asynccontextmanager
async def full_backlog():
    """A port that neither answers nor refuses: nobody accepts, and no more fit into the queue."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listening.getsockname())
        try:
            yield listening.getsockname()[1]
        finally:
            for each in waiting:
                each.close()


class Several:
    """Resolves every name to these addresses."""

    def __init__(self, *addresses):
        self.addresses = addresses

    async def resolve(self, host, port, family=0):
        return [Address(ip, port or given, socket.AF_INET) for ip, given in self.addresses]


def test_a_connect_that_hangs_times_out(on_engine):
    async def main(kind):
        async with full_backlog() as port, opened(kind) as engine:
            exchange = await engine.exchange(Request(f"http://127.0.0.1:{port}/"), 0.2)
            assert told(exchange) == ("timeout", "timed out after 0.2 s connecting", True)
            assert 10_000_000 < exchange.phases.connect <= exchange.phases.total

    on_engine(main)


def test_the_next_address_is_tried_when_one_refuses(on_engine):
    async def main(kind):
        async with BadServer() as server:
            resolver = Several(("127.0.0.2", 0), ("127.0.0.1", 0))  # the server listens on the latter
            async with opened(kind, resolver=resolver) as engine:
                port = server.url("").rpartition(":")[2]
                exchange = await engine.exchange(Request(f"http://name.example:{port}/ok"), 30)
                assert (exchange.status, exchange.address) == (200, "127.0.0.1")

    on_engine(main)


def test_a_request_that_nobody_waits_for_any_more_leaves_nothing_open(on_engine):
    async def main(kind):
        asked, gone = asyncio.Event(), asyncio.Event()

        async def wait_for_the_end(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await reader.read()
            gone.set()

        async with serving(wait_for_the_end) as port, opened(kind) as engine:
            task = asyncio.create_task(engine.exchange(Request(f"http://127.0.0.1:{port}/"), 30))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await gone.wait()

    on_engine(main)


def test_many_at_once_have_their_own_answers(on_engine):
    async def main(kind):
        async with BadServer() as server, opened(kind, connecting=4) as engine:
            statuses = [200 + n for n in range(100) if n != 4]  # 204 has no body here either
            exchanges = await asyncio.gather(
                *(engine.exchange(Request(server.url(f"/status/{status}")), 30) for status in statuses)
            )
            assert [exchange.status for exchange in exchanges] == statuses
            assert any(exchange.queued for exchange in exchanges)

    on_engine(main)


def test_the_wait_for_a_turn_is_not_in_the_timeout(on_engine, monkeypatch):
    async def main(kind):
        async def take_later(turns):
            await asyncio.sleep(0.6)
            return turns.take_now()

        monkeypatch.setattr(Turns, "take", take_later)
        async with BadServer() as server, opened(kind, connecting=1) as engine:
            for _ in range(20):  # a machine that pauses may be too late for the exchange itself
                exchanges = await asyncio.gather(
                    *(engine.exchange(Request(server.url("/ok")), 0.5) for _ in range(2))
                )
                if not any(exchange.error for exchange in exchanges):
                    break
            assert [exchange.error for exchange in exchanges] == ["", ""]
            assert max(exchange.queued for exchange in exchanges) > 500_000_000

    on_engine(main)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_is_cancelled_at_any_turn_of_the_loop_leaves_no_connection_and_no_message(on_engine, scheme):
    async def main(kind):
        server, messages = OkForever(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: messages.append(context))
        async with serving(server, tls="good" if scheme == "https" else None) as port:
            for turns in range(40):
                async with opened(kind, ssl=client_context()) as engine:
                    task = asyncio.create_task(engine.exchange(Request(f"{scheme}://127.0.0.1:{port}/"), 30))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])
            while server.open:  # else the test hangs
                await asyncio.sleep(0.001)
        # what asyncio's own server says of clients that are gone is not ours
        assert [each for each in messages if "incoming" not in each["message"]] == []

    on_engine(main)


class OkForever:
    def __init__(self):
        self.open = 0

    async def __call__(self, reader, writer):
        self.open += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        finally:
            self.open -= 1


# TLS


@asynccontextmanager
async def tls_server(kind, data=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"):
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)

    async with serving(serve, tls=kind) as port:
        yield f"https://127.0.0.1:{port}/"


@pytest.mark.parametrize("kind_of_server", ["good", "old TLS"])
def test_an_answer_over_tls_says_what_was_agreed(on_engine, kind_of_server):
    async def main(kind):
        async with (
            tls_server(kind_of_server) as url,
            opened(kind, ssl=client_context(), tls_facts=True) as engine,
        ):
            exchange = await engine.exchange(Request(url, keep_body=99), 30)
            assert (exchange.status, exchange.error, exchange.body) == (200, "", b"hello")
            assert exchange.tls.version == {"good": "TLSv1.3", "old TLS": "TLSv1.2"}[kind_of_server]
            assert exchange.tls.cipher
            assert exchange.tls.alpn == "http/1.1"
            assert not exchange.tls.resumed
            assert exchange.tls.subject == "127.0.0.1"
            assert exchange.tls.not_after > exchange.started_at / 1e9
            phases = exchange.phases
            assert min(phases.connect, phases.tls, phases.wait) > 0
            assert sum(phases[:5]) <= phases.total

    on_engine(main)


def test_the_certificate_is_looked_at_only_when_asked_for(on_engine):
    async def main(kind):
        async with tls_server("good") as url, opened(kind, ssl=client_context()) as engine:
            tls = (await engine.exchange(Request(url), 30)).tls
            assert tls.version
            assert (tls.not_after, tls.subject, tls.issuer) == (None, "", "")

    on_engine(main)


def test_a_large_body_over_tls_is_read_whole(on_engine):
    body = bytes(range(256)) * 3000

    async def main(kind):
        data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        async with tls_server("good", data) as url, opened(kind, ssl=client_context()) as engine:
            exchange = await engine.exchange(Request(url, keep_body=1 << 20), 30)
            assert (exchange.status, exchange.error) == (200, "")
            assert exchange.body == body

    on_engine(main)


def test_a_body_that_ends_with_the_connection_is_read_over_tls_too(on_engine):
    async def main(kind):
        data = b"HTTP/1.1 200 OK\r\n\r\nhello"
        async with tls_server("good", data) as url, opened(kind, ssl=client_context()) as engine:
            exchange = await engine.exchange(Request(url, keep_body=99), 30)
            assert (exchange.status, exchange.body) == (200, b"hello")

    on_engine(main)


CLOSE_DELIMITED = b"HTTP/1.1 200 OK\r\n\r\nhello"
WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    ("sent", "fault", "status"),
    [(CLOSE_DELIMITED, CUT_SHORT, 0), (WITH_LENGTH, ("", "", False), 200)],
    ids=["ended by the connection", "with a length"],
)
def test_an_answer_that_only_the_connection_ends_is_cut_short_when_tls_was_not_ended(
    on_engine, sent, fault, status
):
    async def main(kind):
        with tls_server_that_sends(sent, kind="good") as port:
            async with opened(kind, ssl=client_context()) as engine:
                exchange = await engine.exchange(Request(f"https://127.0.0.1:{port}/"), 30)
                assert (told(exchange), exchange.status, exchange.size) == (fault, status, 5)

    on_engine(main)


def test_an_answer_in_the_segment_that_ends_the_handshake_is_read(on_engine):
    async def main(kind):
        with tls_server_that_sends(WITH_LENGTH, kind="old TLS", at_once=True) as port:
            async with opened(kind, ssl=client_context()) as engine:
                exchange = await engine.exchange(Request(f"https://127.0.0.1:{port}/", keep_body=9), 30)
                assert (exchange.error, exchange.status, exchange.body) == ("", 200, b"hello")
                assert min(exchange.phases) >= 0

    on_engine(main)


@pytest.mark.parametrize(
    ("kind_of_server", "words"),
    [
        ("expired", "certificate refused: certificate has expired"),
        ("wrong host", "certificate refused: IP address mismatch, certificate is not valid for '127.0.0.1'."),
        ("strange", "certificate refused: unable to get local issuer certificate"),
    ],
)
def test_a_certificate_that_is_not_good_is_refused_and_not_tried_again(on_engine, kind_of_server, words):
    async def main(kind):
        async with tls_server(kind_of_server) as url, opened(kind, ssl=client_context()) as engine:
            exchange = await engine.exchange(Request(url), 30)
            assert told(exchange) == ("certificate", words, False)
            assert exchange.address == "127.0.0.1"
            assert exchange.phases.tls > 0

    on_engine(main)


def test_another_server_hostname_is_asked_for_and_checked(on_engine):
    async def main(kind):
        settings = {"ssl": client_context(), "server_hostname": "example.org", "tls_facts": True}
        async with tls_server("wrong host") as url, opened(kind, **settings) as engine:
            exchange = await engine.exchange(Request(url), 30)
            assert (exchange.status, exchange.tls.subject) == (200, "example.org")

    on_engine(main)


def test_a_server_that_wants_a_certificate_of_the_client_is_a_tls_failure(on_engine):
    async def main(kind):
        with server_that_wants_a_certificate() as port:
            async with opened(kind, ssl=client_context()) as engine:
                exchange = await engine.exchange(Request(f"https://127.0.0.1:{port}/"), 30)
                assert (exchange.failure, exchange.may_pass) == ("tls", True)
                assert re.fullmatch(r"TLS failed: .*certificate required", exchange.error)

    on_engine(main)


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"220 mail ready\r\n", "TLS failed: wrong version number"),
        (b"", "TLS failed: connection closed in the handshake"),
    ],
)
def test_a_server_without_tls_is_a_tls_failure(on_engine, greeting, words):
    async def main(kind):
        async def greet(reader, writer):
            await reader.read(1)
            writer.write(greeting)
            if not greeting:
                await reader.read(10_000)  # or else it would be a reset

        async with serving(greet) as port, opened(kind, ssl=client_context()) as engine:
            exchange = await engine.exchange(Request(f"https://127.0.0.1:{port}/"), 30)
            assert told(exchange) == ("tls", words, True)

    on_engine(main)


def test_a_handshake_that_hangs_times_out(on_engine):
    async def main(kind):
        async def hang(reader, writer):
            await reader.read()

        async with serving(hang) as port, opened(kind, ssl=client_context()) as engine:
            exchange = await engine.exchange(Request(f"https://127.0.0.1:{port}/"), 0.2)
            assert told(exchange) == ("timeout", "timed out after 0.2 s in the TLS handshake", True)
            assert exchange.phases.tls > 0

    on_engine(main)
