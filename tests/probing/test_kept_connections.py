"""Connections that are used again, and those that are not."""

import asyncio
import gc
import os
import socket
import ssl

import pytest
from engines_under_test import KINDS, POOLED, engine_kinds, made, opened, run_on
from serving import serving
from tls_servers import client_context

from penstock import PenstockError
from penstock.clock import NANOSECONDS, ManualClock
from penstock.probing._sockets_py import Tls
from penstock.probing.engine import EngineSettings
from penstock.probing.request import Request
from penstock.probing.resolver import SystemResolver

on_engine = engine_kinds(*KINDS)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Counting:
    """Answers every request on a connection with `sent`, and counts both."""

    def __init__(self, sent=OK):
        self.sent = sent
        self.connections = self.requests = 0
        self.writers = []

    async def __call__(self, reader, writer):
        self.connections += 1
        self.writers.append(writer)
        while await reader.readuntil(b"\r\n\r\n"):
            self.requests += 1
            writer.write(self.sent)


async def settled(writers):
    """The server's ends are closed, and the client has had time to hear of it, or not."""
    for writer in writers:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("tls", [None, "good"])
def test_a_connection_is_used_again_and_the_exchange_says_so(on_engine, tls):
    async def main(kind):
        server = Counting()
        async with serving(server, tls=tls) as port, opened(kind, ssl=client_context()) as engine:
            request = Request(
                f"{'https' if tls else 'http'}://127.0.0.1:{port}/", keep_alive=True, keep_body=9
            )
            exchanges = [await engine.exchange(request, 30) for _ in range(3)]
            assert [exchange.reused for exchange in exchanges] == [False, True, True]
            assert [(exchange.status, exchange.body) for exchange in exchanges] == [(200, b"ok")] * 3
            assert exchanges[2].address == "127.0.0.1"
            phases = exchanges[2].phases
            assert (phases.dns, phases.connect, phases.tls) == (0, 0, 0)
            assert 0 < phases.wait <= phases.total
            assert server.connections == 1

    on_engine(main)


def test_a_request_that_keeps_nothing_gets_a_connection_of_its_own(on_engine):
    async def main(kind):
        server = Counting()
        async with serving(server) as port, opened(kind) as engine:
            url = f"http://127.0.0.1:{port}/"
            await engine.exchange(Request(url, keep_alive=True), 30)
            exchange = await engine.exchange(Request(url), 30)
            assert (exchange.status, exchange.reused) == (200, False)
            assert server.connections == 2

    on_engine(main)


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 500 Not asked for\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000,
    ],
    ids=["close", "1.0", "more behind it", "left at its bound"],
)
def test_a_connection_is_not_used_again_when_it_may_not_be(on_engine, sent):
    async def main(kind):
        server = Counting(sent)
        async with serving(server) as port, opened(kind) as engine:
            request = Request(f"http://127.0.0.1:{port}/", keep_alive=True, max_body=1000)
            for _ in range(2):
                exchange = await engine.exchange(request, 30)
                assert (exchange.status, exchange.reused) == (200, False)
            assert server.connections == 2

    on_engine(main)


class SaysMore(Counting):
    """Sends an answer that nobody asked for behind each one that somebody did, and tells when it has."""

    def __init__(self):
        super().__init__()
        self.more = asyncio.Event()

    async def __call__(self, reader, writer):
        self.connections += 1
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)
            await asyncio.sleep(0.005)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            self.more.set()


def test_an_answer_that_came_before_its_request_is_not_taken_for_one(on_engine):
    async def main(kind):
        server = SaysMore()
        async with serving(server) as port, opened(kind) as engine:
            for path in (b"/0", b"/1", b"/2"):
                request = Request(f"http://127.0.0.1:{port}{path.decode()}", keep_alive=True, keep_body=9)
                exchange = await engine.exchange(request, 30)
                assert (exchange.status, exchange.body, exchange.reused) == (200, path, False)
                await server.more.wait()  # and this task goes on before the engine has looked
                server.more.clear()

    on_engine(main)


class HangsUpOnTheSecond(Counting):
    """Answers the first request of a connection, and hangs up when the second one has come."""

    async def __call__(self, reader, writer):
        self.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.sent)
        await reader.readuntil(b"\r\n\r\n")


def test_a_kept_connection_that_was_closed_is_replaced_without_a_word(on_engine):
    async def main(kind):
        server = HangsUpOnTheSecond()
        async with serving(server) as port, opened(kind) as engine:
            request = Request(f"http://127.0.0.1:{port}/", keep_alive=True)
            exchanges = [await engine.exchange(request, 30) for _ in range(3)]
            assert [exchange.status for exchange in exchanges] == [200, 200, 200]
            assert [exchange.reused for exchange in exchanges] == [False, False, False]
            assert server.connections == 3

    on_engine(main)


def test_an_exchange_on_a_replaced_connection_has_taken_the_time_of_both(on_engine):
    async def main(kind):
        class Slow(HangsUpOnTheSecond):
            async def __call__(self, reader, writer):
                await super().__call__(reader, writer)
                await asyncio.sleep(0.05)

        async with serving(Slow()) as port, opened(kind) as engine:
            request = Request(f"http://127.0.0.1:{port}/", keep_alive=True)
            await engine.exchange(request, 30)
            exchange = await engine.exchange(request, 30)
            assert (exchange.status, exchange.reused) == (200, False)
            assert exchange.phases.total > 40_000_000  # uvloop wakes up early

    on_engine(main)


def test_a_post_on_a_kept_connection_that_was_closed_is_not_sent_again(on_engine):
    async def main(kind):
        server = HangsUpOnTheSecond()
        async with serving(server) as port, opened(kind) as engine:
            url = f"http://127.0.0.1:{port}/"
            await engine.exchange(Request(url, keep_alive=True), 30)
            exchange = await engine.exchange(Request(url, method="POST", keep_alive=True), 30)
            assert (exchange.status, exchange.error) == (0, "connection closed without an answer")
            assert exchange.reused
            assert server.connections == 1

    on_engine(main)


def test_a_connection_that_is_closed_while_it_is_idle_is_not_taken(on_engine):
    async def main(kind):
        server = Counting()
        async with serving(server) as port, opened(kind) as engine:
            request = Request(f"http://127.0.0.1:{port}/", method="POST", keep_alive=True)
            await engine.exchange(request, 30)
            await settled(server.writers)
            for _ in range(10):
                await asyncio.sleep(0.001)  # sockets are heard of when the loop looks
            exchange = await engine.exchange(request, 30)
            assert (exchange.status, exchange.reused) == (200, False)

    on_engine(main)


def test_no_connection_is_kept_where_none_may_be(on_engine):
    async def main(kind):
        server = Counting()
        async with serving(server) as port, opened(kind, connections=0) as engine:
            request = Request(f"http://127.0.0.1:{port}/", keep_alive=True)
            for _ in range(2):
                assert not (await engine.exchange(request, 30)).reused

    on_engine(main)


pooled = pytest.mark.parametrize("kind", POOLED)


@pooled
def test_the_connection_that_has_waited_longest_makes_room(kind):
    async def main():
        async with (
            serving(Counting()) as a,
            serving(Counting()) as b,
            serving(Counting()) as c,
            opened(kind, connections=2) as engine,
        ):

            async def reused(port):
                request = Request(f"http://127.0.0.1:{port}/", keep_alive=True)
                return (await engine.exchange(request, 30)).reused

            assert [await reused(port) for port in (a, b, a, c)] == [False, False, True, False]
            assert [await reused(port) for port in (a, c)] == [True, True]
            assert not await reused(b)

    run_on("asyncio", main())


@pooled
def test_a_connection_is_not_used_again_after_15_seconds(kind):
    async def main():
        clock = ManualClock()
        names = SystemResolver(threads=1)
        engine = made(kind, EngineSettings(resolver=names), clock=clock)
        async with serving(Counting()) as port:
            request = Request(f"http://127.0.0.1:{port}/", keep_alive=True)

            async def reused_after(seconds):
                clock.now += int(seconds * NANOSECONDS)
                return (await engine.exchange(request, 1e6)).reused

            assert [await reused_after(seconds) for seconds in (0, 15, 15.1, 1)] == [False, True, False, True]
            await engine.aclose()
            names.close()

    run_on("asyncio", main())


def test_who_is_cancelled_does_not_close_the_connection_that_another_has_taken_meanwhile():
    """The compiled twin wakes the one who is cancelled first."""

    async def main():
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            async with opened("socket-py") as engine:
                request = Request(f"http://127.0.0.1:{listening.getsockname()[1]}/", keep_alive=True)
                first = asyncio.create_task(engine.exchange(request, 30))
                server, _ = await loop.sock_accept(listening)
                with server:
                    await loop.sock_recv(server, 65_536)
                    first.cancel()
                    server.send(OK)
                    engine.connections._look()  # the answer comes before the task has heard
                    second = engine.connections.again(request, 30)
                    with pytest.raises(asyncio.CancelledError):
                        await first
                    server.send(OK)
                    async with asyncio.timeout(10):
                        assert (await second.answer).status == 200

    run_on("asyncio", main())


@pytest.mark.parametrize("kind", ["socket-c", "socket-py"])
def test_a_kept_connection_whose_server_wants_a_new_handshake_is_not_used(kind, monkeypatch):
    async def main():
        server = Counting()
        async with serving(server, tls="good") as port, opened(kind, ssl=client_context()) as engine:
            request = Request(f"https://127.0.0.1:{port}/", method="POST", keep_alive=True)
            await engine.exchange(request, 30)
            with monkeypatch.context() as patched:

                def wants_a_handshake(tls, data):
                    patched.undo()  # the next connection works
                    raise ssl.SSLWantReadError

                patched.setattr(Tls, "encrypted", wants_a_handshake)
                exchange = await engine.exchange(request, 30)
            assert (exchange.status, exchange.reused) == (200, False)
            assert server.connections == 2

    run_on("asyncio", main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pooled
def test_connections_that_a_fork_has_too_are_closed_for_good(kind):
    async def main():
        server = Counting()
        async with serving(server) as port, opened(kind) as engine:
            url = f"http://127.0.0.1:{port}/"
            requests = [engine.exchange(Request(url, keep_alive=True), 30) for _ in range(20)]
            await asyncio.gather(*requests)
            alive, ends = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(ends)
                os.read(alive, 1)  # until the test is over
                os._exit(0)
            for writer in server.writers:
                writer.write(b"not asked for")
            while server.writers[0].transport.get_write_buffer_size():
                await asyncio.sleep(0)
            for _ in range(10):
                await asyncio.sleep(0.001)  # they are closed here, but not in the child
            gc.collect()
            for writer in server.writers:
                writer.write(b"and more")  # would wake those that are not there any more
            assert (await engine.exchange(Request(url), 30)).status == 200
            os.close(ends)
            os.close(alive)
            os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once

    run_on("asyncio", main())


@pooled
def test_a_closed_engine_fails_what_is_in_progress_and_makes_nothing_new(kind):
    async def main():
        asked = asyncio.Event()

        async def stall(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await reader.read()

        async with serving(stall) as port, opened(kind) as engine:
            request = Request(f"http://127.0.0.1:{port}/")
            task = asyncio.create_task(engine.exchange(request, 30))
            await asked.wait()
            await engine.aclose()
            exchange = await task
            assert (exchange.failure, exchange.error) == ("closed", "the engine was closed")
            with pytest.raises(PenstockError, match="engine must be open, it is closed"):
                await engine.exchange(request, 30)

    run_on("asyncio", main())
