"""The load engine: both twins against servers that behave, that misbehave, and that hold back."""

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest

from bad_server import BadServer
from penstock import PenstockError
from penstock.errors import InvalidType, InvalidValue
from penstock.probing import _load_py, load
from penstock.probing.load import Load, LoadPlan, LoadTarget
from penstock.probing.request import Request
from penstock.probing.resolver import Address
from twins import both_twins
from twins import load as load_twin

LoadLoop = both_twins("penstock.probing.load")

BODY = b"x" * 100
ANSWERS = {
    "/": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + BODY,
    "/missing": b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
    "/empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/chunked": b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    "/hints": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!",
    "/more": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!and more",
}
FULL = b"HTTP/1.1 200 OK\r\nContent-Length: 65000\r\nX: ".ljust(532, b"x") + b"\r\n\r\n" + bytes(65_000)
UNASKED = b"HTTP/1.1 418 Nobody asked\r\nContent-Length: 0\r\n\r\n"


class Server:
    """Answers on connections that stay, by path; counts what it was asked.

    Attributes:
        requests: requests by path.
        connections: connections that were opened.
        held: connections that /hold keeps waiting; `release` answers them and all that follow.
    """

    def __init__(self, host="127.0.0.1"):
        self.host = host
        self.requests = Counter()
        self.connections = 0
        self.peak = 0
        self._open = set()
        self._released = asyncio.Event()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, self.host, 0, backlog=1024)
        return self

    async def __aexit__(self, *error):
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def port(self):
        return self._server.sockets[0].getsockname()[1]

    def request(self, path="/", **settings):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return Request(f"http://{host}:{self.port}{path}", **settings)

    def release(self):
        self._released.set()

    async def _serve(self, reader, writer):
        self._open.add(asyncio.current_task())
        self.connections += 1
        self.peak = max(self.peak, len(self._open))
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ")[1]
                self.requests[path] += 1
                await self._answer(path, head, reader, writer)
                if "Connection: close" in head:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(asyncio.current_task())
            writer.close()

    async def _answer(self, path, head, reader, writer):
        if path == "/hold":
            await self._released.wait()
        elif path == "/cut":  # the second request on a connection is never answered
            if getattr(writer, "asked", False):
                raise ConnectionResetError
            writer.asked = True
        elif path == "/read":  # the whole body, then the answer
            length = int(head.split("Content-Length: ")[1].split("\r\n")[0])
            while length:
                length -= len(await reader.read(min(length, 65_536)))
        answer = ANSWERS.get(path, ANSWERS["/"])
        if head.startswith("HEAD"):
            answer = answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        if "Connection: close" in head:
            answer = answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        writer.write(answer)
        await writer.drain()


@pytest.fixture(autouse=True)
def chosen(request, monkeypatch):
    """Where a test has both twins, Load consists of the one whose turn it is."""
    if "LoadLoop" in request.fixturenames:
        monkeypatch.setattr(load, "LoadLoop", request.getfixturevalue("LoadLoop"))


async def figures_of(requests, **settings):
    """The figures of a load that has ended by itself."""
    async with asyncio.timeout(30):
        async with Load(requests, **settings) as running:
            return await running.finished()


# --- what is asked ---


async def test_every_request_of_a_count_is_answered(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request(), count=500, connections=16)
        assert server.requests == {"/": 500}
        assert server.connections == 16
    assert figures.over
    assert (figures.started, figures.sent, figures.answered, figures.failed) == (500, 500, 500, 0)
    assert (figures.in_flight, figures.unsent, figures.abandoned, figures.retried) == (0, 0, 0, 0)
    assert figures.statuses == {200: 500}
    assert figures.failures == {}
    assert figures.body_bytes == 50_000
    assert figures.bytes_in == 500 * len(ANSWERS["/"])
    assert figures.opened == 16
    assert figures.service.count == 500
    assert figures.total.count == 0
    assert figures.service.min > 0
    assert figures.rate > 0
    assert 0 < figures.elapsed < 30


async def test_fewer_requests_than_connections_open_no_more_than_they_need(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request(), count=3, connections=16, threads=8)
        assert server.requests == {"/": 3}
        assert server.connections <= 3
    assert figures.threads == 3


@pytest.mark.parametrize("threads", [1, 3])
async def test_targets_are_asked_in_turn(LoadLoop, threads):
    paths = ["/", "/missing", "/empty", "/chunked", "/hints"]
    async with Server() as server:
        requests = [server.request(path) for path in paths]
        figures = await figures_of(requests, count=100, connections=6, threads=threads)
        assert server.requests == dict.fromkeys(paths, 20)
    assert figures.statuses == {200: 60, 204: 20, 404: 20}
    assert figures.body_bytes == 20 * (100 + 2 + 0 + 11 + 1)


async def test_targets_on_several_servers_share_the_connections(LoadLoop):
    async with Server() as one, Server() as other:
        requests = [one.request(), other.request("/missing"), other.request("/empty")]
        figures = await figures_of(requests, count=60, connections=2)
        assert one.requests == {"/": 20}
        assert other.requests == {"/missing": 20, "/empty": 20}
        assert one.peak <= 2
        assert other.peak <= 2
    assert figures.answered == 60


async def test_without_keep_alive_each_request_has_its_own_connection(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request(), count=50, connections=4, keep_alive=False)
        assert server.connections == 50
    assert (figures.answered, figures.opened) == (50, 50)


async def test_head_has_no_body(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request(method="HEAD"), count=20, connections=2)
    assert (figures.answered, figures.body_bytes, figures.opened) == (20, 0, 2)


async def test_large_body_is_sent_whole(LoadLoop):
    async with Server() as server:
        request = server.request("/read", method="POST", body=bytes(3_000_000))
        figures = await figures_of(request, count=4, connections=2)
    assert figures.statuses == {200: 4}
    assert figures.bytes_out > 12_000_000


async def test_answer_before_the_request_is_whole_ends_the_connection(LoadLoop):
    async with BadServer() as server:

        async def too_large(writer):
            writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            await asyncio.Event().wait()

        server.actions["/early"] = too_large
        request = Request(server.url("/early"), method="POST", body=bytes(8_000_000))
        figures = await figures_of(request, count=2, connections=1)
    assert figures.statuses == {413: 2}
    assert figures.opened == 2
    assert figures.bytes_out < 16_000_000


async def test_names_go_where_addresses_say(LoadLoop):
    async with Server() as server:
        named = Request(f"http://some.example:{server.port}/")
        addresses = {"some.example": Address("127.0.0.1", 1, socket.AF_INET)}  # of no port in particular
        figures = await figures_of([named, server.request()], count=2, addresses=addresses)
        assert figures.answered == 2
        there = Address("127.0.0.1", server.port, socket.AF_INET)
        figures = await figures_of([named, Request("http://1.2.3.4/")], count=2, addresses=there)
        assert figures.answered == 2


def reaches_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not reaches_ipv6(), reason="no IPv6 loopback here")
async def test_ipv6_is_reached(LoadLoop):
    async with Server("::1") as server:
        figures = await figures_of(server.request(), count=3, connections=1)
    assert figures.answered == 3


# --- twins ---


async def test_twins_count_the_same(monkeypatch):
    seen = []
    for impl in ("c", "py"):
        monkeypatch.setattr(load, "LoadLoop", load_twin("penstock.probing.load", impl))
        async with Server() as server:
            requests = [server.request(path) for path in ANSWERS]
            figures = await figures_of(requests, count=120, connections=3)
            counted = (
                "started", "sent", "answered", "failed", "retried", "bytes_in", "body_bytes", "statuses",
                "failures", "truncated", "opened",
            )  # fmt: skip
            seen.append([server.requests, *(getattr(figures, name) for name in counted)])
            size = {len(str(server.port))}
    assert seen[0] == seen[1], size


# --- open loop ---


async def test_open_loop_starts_as_many_as_were_intended(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request(), rate=2000, duration=0.05, threads=2)
    assert figures.started + figures.unsent == 100
    assert figures.answered == figures.started
    assert figures.total.count == figures.answered == figures.service.count
    assert figures.elapsed >= 0.049


async def test_open_loop_ends_at_its_count(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request(), rate=1000, count=30, threads=3)
    assert (figures.answered, figures.unsent) == (30, 0)
    assert figures.elapsed >= 0.027  # the last one is not intended sooner
    assert figures.lag.count > 0


async def test_waiting_for_a_connection_counts_from_the_intended_start(LoadLoop):
    async with (
        Server() as server,
        Load(server.request("/hold"), rate=1000, count=20, connections=1) as running,
    ):
        while running.snapshot().elapsed < 0.06:  # by its own clock: all have been due by now
            await asyncio.sleep(0.001)
        assert running.snapshot().started == 1
        server.release()
        figures = await running.finished()
    assert figures.answered == 20
    assert figures.total.min > 39_000_000  # the last was intended at 19 ms
    assert figures.service.percentile(0) < figures.total.min


async def test_requests_that_never_started_are_counted(LoadLoop):
    async with Server() as server:
        figures = await figures_of(
            server.request("/hold"), rate=1000, duration=0.03, connections=1, timeout=0.05
        )
    assert (figures.started, figures.unsent) == (1, 29)
    assert figures.failures == {"timeout": 1}


async def test_requests_that_waited_when_it_was_stopped_are_counted(LoadLoop):
    async with Server() as server, Load(server.request("/hold"), rate=1000, connections=1) as running:
        while running.snapshot().elapsed < 0.06:
            await asyncio.sleep(0.001)
        running.stop()
        figures = await running.finished()
    assert (figures.started, figures.abandoned) == (1, 1)
    assert figures.unsent >= 59


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("path", "failure"),
    [
        ("/reset", "reset"),
        ("/reset-in-body", "reset"),
        ("/close", "closed"),
        ("/short", "closed"),
        ("/garbage", "protocol"),
        ("/bad-chunk", "protocol"),
        ("/status-000", "protocol"),
        ("/endless-head", "protocol"),
    ],
)
async def test_bad_server_is_told_by_its_kind(LoadLoop, path, failure):
    async with BadServer() as server:
        figures = await figures_of(Request(server.url(path)), count=4, connections=2)
        assert server.requests[path] == 4  # nothing is asked again: the connections were new
    assert figures.failures == {failure: 4}
    assert (figures.failed, figures.answered, figures.sent, figures.retried) == (4, 0, 4, 0)


async def test_server_that_is_not_there_refuses(LoadLoop):
    async with BadServer() as server:
        figures = await figures_of(Request(server.dead_url), count=3, connections=3)
    assert figures.failures == {"connect": 3}
    assert (figures.sent, figures.opened) == (0, 0)


async def test_what_refuses_is_not_hammered(LoadLoop):
    async with BadServer() as server:
        figures = await figures_of(Request(server.dead_url), duration=0.3, connections=2)
    assert 2 <= figures.failures["connect"] <= 2 * 6  # 50 ms between two of a connection


async def test_what_refuses_at_once_does_not_keep_an_open_loop_from_its_end(LoadLoop):
    async with BadServer() as server, Load(Request(server.dead_url), rate=10_000_000) as running:
        while running.snapshot().elapsed < 0.3:  # by its own clock: 3,000,000 are due, few of them are tried
            await asyncio.sleep(0.001)
        before = running.snapshot().started
        running.stop()
        figures = await running.finished()
    assert figures.started - before < 500_000  # and not all that were due
    assert figures.failed + figures.abandoned == figures.started
    assert figures.unsent > 0


@pytest.mark.parametrize("path", ["/stall", "/stall-in-body"])
async def test_server_that_stalls_runs_into_the_timeout(LoadLoop, path):
    async with BadServer() as server:
        figures = await figures_of(Request(server.url(path)), count=4, connections=2, timeout=0.2)
        async with asyncio.timeout(30):
            while server.requests[path] < figures.sent:  # it may hear of them when nobody waits any more
                await asyncio.sleep(0.001)
        assert server.requests[path] == figures.sent <= 4  # nothing is asked again
    assert figures.failures == {"timeout": 4}
    assert figures.elapsed >= 0.4


async def test_endless_body_is_read_up_to_its_bound(LoadLoop):
    async with BadServer() as server:
        request = Request(server.url("/endless"), max_body=100_000)
        figures = await figures_of(request, count=3, connections=1)
    assert figures.statuses == {200: 3}
    assert figures.truncated == 3
    assert figures.body_bytes == 300_000


async def test_bytes_behind_an_answer_end_the_connection_only(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request("/more"), count=6, connections=1)
        assert server.connections == 6
    assert figures.answered == 6


async def test_answer_behind_a_full_buffer_is_not_taken_for_the_next_one(LoadLoop, monkeypatch):
    monkeypatch.setitem(ANSWERS, "/full", FULL + UNASKED)
    assert len(FULL) == 65_536  # what is received at once: the end of it hides that there is more
    for _ in range(5):  # now and then the end comes so late that nobody can tell it from an answer
        async with Server() as server:
            figures = await figures_of(server.request("/full"), count=6, connections=1)
        if server.connections == 6:
            break
    assert server.connections == 6
    assert figures.statuses == {200: 6}


def test_answer_that_came_while_the_connection_was_idle_is_not_taken_for_the_next_one():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = LoadTarget(socket.AF_INET, listener.getsockname(), b"GET / HTTP/1.1\r\n\r\n")
        listener.settimeout(10)
        hour = 3_600 * 10**9
        loop = _load_py.LoadLoop(replace(plan(interval=hour, count=2), targets=(target,)))

        def answered(answer):
            connection, _ = listener.accept()
            connection.sendall(answer)
            while loop.counts().in_flight:
                loop._step()
            return connection

        loop._begin()
        with answered(ANSWERS["/"]) as one:
            one.sendall(UNASKED)
            loop._counts.began_at -= hour  # so that the next one is due, before the loop has seen what came
            loop._read_clocks()
            loop._start_due()
            with answered(ANSWERS["/missing"]):
                loop.stop()
                loop.run()
    assert loop.counts().statuses == {200: 1, 404: 1}
    assert loop.counts().retried == 0


async def test_idle_connection_that_the_server_closes_is_opened_again(LoadLoop):
    async def once(writer):
        writer.write(ANSWERS["/"])  # and BadServer closes after that, which this does not announce

    async with BadServer() as server:
        server.actions["/once"] = once
        figures = await figures_of(Request(server.url("/once")), count=20, connections=2)
    assert (figures.answered, figures.failed) == (20, 0)


async def test_request_that_crosses_the_end_of_an_idle_connection_is_sent_again(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request("/cut"), count=10, connections=1)
        assert server.requests == {"/cut": 19}
    assert (figures.answered, figures.failed, figures.retried, figures.opened) == (10, 0, 9, 10)
    assert (figures.started, figures.sent) == (10, 19)


async def test_request_that_may_have_had_its_effect_is_not_sent_again(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request("/cut", method="POST"), count=10, connections=1)
        assert server.requests == {"/cut": 10}
    assert (figures.answered, figures.failed, figures.retried) == (5, 5, 0)
    assert figures.failures.keys() <= {"closed", "reset"}


@pytest.fixture
def few_files():
    """Leaves room for so many more open files of this process."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []

    def leave(room):
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + room, hard))
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(room):
            os.close(taken.pop())

    yield leave
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for fd in taken:
        os.close(fd)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
async def test_no_more_files_is_a_failure_like_others(LoadLoop, few_files):
    async with Server() as server:
        running = Load(server.request(), count=6, connections=3)
        few_files(0)
        running.start()
        figures = await running.finished()
    assert figures.failures == {"other": 6}


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_loop_without_files_of_its_own_cannot_be_made(LoadLoop, few_files):
    few_files(0)
    with pytest.raises(
        MemoryError, match=r"^a loop must have its memory, and up to two files of its own, got"
    ):
        LoadLoop(plan())


# --- stopping, waiting, reading ---


async def test_stop_ends_it_without_waiting_for_answers(LoadLoop):
    async with Server() as server, Load(server.request("/hold"), connections=8) as running:
        while running.snapshot().sent < 8:
            await asyncio.sleep(0.001)
        running.stop()
        figures = await running.finished()
    assert figures.over
    assert (figures.sent, figures.abandoned, figures.answered, figures.failed) == (8, 8, 0, 0)


async def test_leaving_the_block_stops_it(LoadLoop):
    async with Server() as server:
        async with Load(server.request()) as running:
            while running.snapshot().answered < 100:
                await asyncio.sleep(0.001)
            assert not running.snapshot().over
        figures = running.snapshot()
        assert figures.over
        assert figures.started == figures.answered + figures.abandoned
        assert running.snapshot() == figures


async def test_cancelled_waiting_leaves_it_running(LoadLoop):
    async with Server() as server, Load(server.request()) as running:
        waiting = asyncio.ensure_future(running.finished())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not running._waiters
        before = running.snapshot().answered
        while running.snapshot().answered <= before:
            await asyncio.sleep(0.001)


def test_it_can_be_waited_for_without_an_event_loop(LoadLoop):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"  # nobody accepts: the kernel does
        with Load(Request(url), count=2, connections=2, timeout=600) as running:
            assert not running.wait(timeout=0).over
        with Load(Request(url), count=2, connections=2, timeout=0.05) as running:
            figures = running.wait()
    assert figures.over
    assert figures.failures == {"timeout": 2}


@pytest.mark.skipif(sys.platform == "win32", reason="a signal that comes from elsewhere")
def test_interrupt_ends_it_and_leaves_the_figures(LoadLoop):
    def interrupt():
        while running.snapshot().sent < 3:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    def run():
        with running:
            interrupter.start()
            running.wait()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        running = Load(Request(url), connections=3)
        interrupter = threading.Thread(target=interrupt)
        with pytest.raises(KeyboardInterrupt):
            run()
        interrupter.join()
    figures = running.snapshot()
    assert figures.over
    assert figures.abandoned == 3


async def test_figures_add_up_while_it_runs(LoadLoop):
    async with (
        Server() as server,
        Load(server.request(), threads=2, count=3000, connections=8) as running,
    ):
        before = running.snapshot()
        while not before.over:
            await asyncio.sleep(0.001)  # the loops of the py twin want the GIL too
            figures = running.snapshot()
            assert figures.answered >= before.answered
            assert figures.started <= 3000
            assert figures.service.count >= before.service.count
            before = figures
    assert before.answered == before.service.count == 3000


class LateLoop:
    """A loop whose counts are read, and then its load ends before the reader goes on."""

    def __init__(self, loop, running):
        self._loop = loop
        self._running = running

    def __getattr__(self, name):
        return getattr(self._loop, name)

    def counts(self):
        counts = self._loop.counts()
        self._running.stop()
        self._running._ended.wait()
        return counts


def test_figures_that_were_read_before_the_end_are_not_the_last_ones(LoadLoop):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with Load(Request(url), connections=1) as running:
            running._loops[0] = LateLoop(running._loops[0], running)
            assert not running.snapshot().over
            assert running.snapshot().over


def test_load_that_gets_no_thread_leaves_none_behind(LoadLoop, monkeypatch):
    class Scarce(threading.Thread):
        started = count()

        def start(self):
            if next(self.started) == 2:
                raise RuntimeError("can't start new thread")
            super().start()

    monkeypatch.setattr(load, "Thread", Scarce)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        running = Load(Request(url), connections=4, threads=4)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            running.start()
        assert not any(thread.name.startswith("penstock-load-") for thread in threading.enumerate())
        assert running.wait().over


async def test_seconds_add_up_to_the_whole(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request(), count=400, threads=2, connections=4)
    assert [second.number for second in figures.seconds] == list(range(len(figures.seconds)))
    assert sum(second.answered for second in figures.seconds) == 400
    assert sum(second.sent for second in figures.seconds) == 400
    assert sum(second.failed for second in figures.seconds) == 0
    first = figures.seconds[0]
    assert 0 < first.p50 <= first.p99 <= first.max


async def test_second_without_answers_has_no_latency(LoadLoop):
    async with BadServer() as server:
        figures = await figures_of(Request(server.dead_url), count=2, connections=2)
    assert figures.seconds == ((0, 0, 0, 2, None, None, None),)


async def figures_once(requests, enough):
    """The figures of a load as soon as there is enough; the kernel does not stamp from the very first."""
    async with asyncio.timeout(30), Load(requests, connections=4) as running:
        while not enough(running.snapshot()):
            await asyncio.sleep(0.001)
    return running.snapshot()


@pytest.mark.skipif(sys.platform != "linux", reason="stamps of the kernel are Linux's")
async def test_kernel_says_when_answers_arrived(LoadLoop):
    async with Server() as server:
        figures = await figures_once(server.request(), lambda figures: figures.stamped >= 100)
    assert figures.stamped + figures.voided <= figures.answered


@pytest.mark.skipif(sys.platform != "linux", reason="stamps of the kernel are Linux's")
async def test_wall_clock_that_is_set_leaves_no_wrong_latency(monkeypatch):
    monkeypatch.setattr(load, "LoadLoop", _load_py.LoadLoop)
    hours = count()
    real = time.time_ns
    monkeypatch.setattr(_load_py.time, "time_ns", lambda: real() + next(hours) % 2 * 3600 * 10**9)
    async with Server() as server:
        figures = await figures_once(server.request(), lambda figures: figures.voided >= 100)
    assert figures.stamped == 0
    assert figures.service.max < 30 * 10**9


async def test_processor_time_is_told(LoadLoop):
    async with Server() as server:
        figures = await figures_of(server.request(), count=500)
    assert figures.cpu > 0
    assert 0 < figures.cpu_share <= 1.5


def test_threads_are_gone_when_it_is_over(LoadLoop):
    before = threading.active_count()
    with Load(Request("http://127.0.0.1:9/"), count=1, timeout=1) as running:
        running.wait()
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("penstock-load-")]
    assert names == []
    assert threading.active_count() <= before + 1  # who told that it is over may still be on its way out


# --- settings ---


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"connections": 0}, ValueError, "connections must be >= 1 and <= 65536, got 0"),
        ({"connections": 65_537}, ValueError, "connections must be >= 1 and <= 65536, got 65537"),
        ({"connections": 1.5}, TypeError, "connections must be an int, got float"),
        ({"connecting": 0}, ValueError, "connecting must be >= 1 and <= 65536, got 0"),
        ({"threads": 65}, ValueError, "threads must be >= 1 and <= 64, got 65"),
        ({"rate": 0}, ValueError, "rate must be > 0 and <= 10000000, got 0"),
        ({"rate": float("nan")}, ValueError, "rate must be > 0 and <= 10000000, got nan"),
        ({"rate": 1 << 20_000}, ValueError, "rate must be > 0 and <= 10000000, got an int of 20001 bits"),
        ({"rate": "1"}, TypeError, "rate must be a number, got str"),
        ({"duration": -1}, ValueError, "duration must be > 0 and <= 1000000000, got -1"),
        ({"count": 0}, ValueError, f"count must be >= 1 and <= {1 << 53}, got 0"),
        ({"count": 1 << 99}, ValueError, f"count must be >= 1 and <= {1 << 53}, got an int of 100 bits"),
        ({"timeout": 3601}, ValueError, "timeout must be > 0 and <= 3600, got 3601"),
        ({"timeout": float("inf")}, ValueError, "timeout must be > 0 and <= 3600, got inf"),
    ],
)
def test_settings_out_of_their_range_are_refused(settings, error, words):
    with pytest.raises(error) as caught:
        Load(Request("http://127.0.0.1/"), **settings)
    assert str(caught.value) == words
    assert isinstance(caught.value, PenstockError)


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([], "requests must be 1 to 100000, got 0"),
        (Request("https://127.0.0.1/"), "a load must be of http:// requests, got 'https://127.0.0.1/'"),
        (
            Request("http://some.example/"),
            "addresses must have one for each name, got none for 'some.example'",
        ),
        (
            Request("http://127.0.0.1/", max_body=1 << 63),
            f"max_body must be >= 0 and <= {2**63 - 1} bytes, got {2**63}",
        ),
    ],
)
def test_requests_that_cannot_be_sent_are_refused(requests, words):
    with pytest.raises(InvalidValue) as caught:
        Load(requests)
    assert str(caught.value) == words


def test_addresses_are_no_requests():
    with pytest.raises(InvalidType, match=r"^requests must be of Request, got str$"):
        Load("http://127.0.0.1/")


async def test_it_is_started_once_and_before_it_is_waited_for():
    running = Load(Request("http://127.0.0.1:9/"), count=1)
    with pytest.raises(RuntimeError, match=r"^a load must be started before it is waited for, got none$"):
        running.wait()
    with pytest.raises(RuntimeError, match=r"^a load must be started before it is waited for, got none$"):
        await running.finished()
    with running, pytest.raises(RuntimeError, match=r"^a load must start once, got another start$"):
        running.start()


def plan(**changes):
    target = LoadTarget(socket.AF_INET, ("127.0.0.1", 9), b"GET / HTTP/1.1\r\n\r\n")
    settings = {
        "connections": 1, "connecting": 1, "keep_alive": True, "interval": 0, "offset": 0, "count": 1,
        "duration": None, "timeout": 10**9,
    }  # fmt: skip
    return LoadPlan((target,), **settings | changes)


def test_loop_runs_once(LoadLoop):
    loop = LoadLoop(plan())
    assert not loop.over
    assert loop.counts().began_at == 0
    loop.run()
    assert loop.over
    with pytest.raises(RuntimeError, match=r"^a loop must run once, got another run$"):
        loop.run()


def test_second_of_a_loop_is_there_when_it_is_over(LoadLoop):
    loop = LoadLoop(plan())
    with pytest.raises(IndexError, match=r"^number must be >= 0 and < 0, the seconds that are over, got 0$"):
        loop.second(0)
    loop.run()
    assert loop.seconds_over == 1
    second = loop.second(0)
    assert (second.sent, second.answered, second.failed, second.latency.count) == (0, 0, 1, 0)
    for number in (-1, 1):
        with pytest.raises(IndexError, match="the seconds that are over"):
            loop.second(number)


def test_second_is_the_one_that_was_asked_for_also_when_another_ends_meanwhile():
    class Meanwhile(deque):
        def __iter__(self):
            yield from tuple(super().__iter__())
            loop._end_window()

        def copy(self):
            return deque(self)

    loop = _load_py.LoadLoop(plan())
    loop.run()
    loop._windows = Meanwhile(loop._windows)
    assert loop.second(0).failed == 1


def test_loop_that_is_stopped_before_it_runs_ends_at_once(LoadLoop):
    loop = LoadLoop(plan(count=None))
    loop.stop()
    loop.run()
    assert loop.over
