"""Times of the kernel: which are believed, and what comes of the others."""

import asyncio
import socket
import struct
import sys
import time
from time import monotonic_ns, time_ns

import pytest
from engines_under_test import made, opened, run_on
from hypothesis import given
from hypothesis import strategies as st
from serving import serving
from tls_servers import client_context

from penstock.clock import NANOSECONDS
from penstock.probing.engine import EngineSettings
from penstock.probing.request import Request
from penstock.probing.resolver import SystemResolver
from penstock.probing.stamps import ANCILLARY_BYTES, SO_TIMESTAMPNS, monotonic_of, stamp_in

linux = pytest.mark.skipif(sys.platform != "linux", reason="stamps are Linux's")
sockets = pytest.mark.parametrize("kind", ["socket-c", "socket-py"])

HOUR = 3_600 * NANOSECONDS
WALL = 1_700_000_000 * NANOSECONDS


def test_a_stamp_is_turned_into_monotonic_time():
    # sent at 0, arrived 10 ms later, read 500 ms later
    arrived, read = 10_000_000, 500_000_000
    assert monotonic_of(WALL + arrived, 0, WALL, read, WALL + read) == arrived


@pytest.mark.parametrize("step", [-HOUR, -5_000_000, 5_000_000, HOUR])
def test_a_step_of_the_wall_clock_voids_it(step):
    assert monotonic_of(WALL + 10_000_000, 0, WALL, 20_000_000, WALL + 20_000_000 + step) == 0


def test_a_clock_that_is_slewed_is_believed():
    later = 60 * NANOSECONDS
    drift = later // 2000
    assert monotonic_of(WALL + later + drift - 5, 0, WALL, later, WALL + later + drift) == later - 5


@pytest.mark.parametrize("stamp", [0, WALL - 1, WALL + 20_000_001])
def test_none_or_one_from_before_the_request_or_from_the_future_is_not_believed(stamp):
    assert monotonic_of(stamp, 0, WALL, 20_000_000, WALL + 20_000_000) == 0


times = st.integers(0, 1 << 62)


@given(times, times, times, times, times)
def test_whatever_the_clocks_show_no_time_is_before_the_request_or_after_now(
    stamp, sent, sent_wall, now, now_wall
):
    at = monotonic_of(stamp, sent, sent_wall, now, now_wall)
    assert at == 0 or sent <= at <= now


def test_the_stamp_is_found_among_other_messages():
    data = struct.pack("@ll", 5, 7)
    assert stamp_in([]) == 0
    assert stamp_in([(1, 29, data)]) == 0
    assert stamp_in([(1, SO_TIMESTAMPNS, b"short")]) == 0
    assert stamp_in([(1, 29, b""), (1, SO_TIMESTAMPNS, data)]) == 5_000_000_007


@pytest.fixture(scope="module")
def stamps():
    """The kernel begins to take stamps a while after the first socket wants some; then it goes on."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as here,
    ):
        here.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        there, _ = listening.accept()
        with there:
            for _ in range(5000):
                there.send(b"x")
                if stamp_in(here.recvmsg(1, ANCILLARY_BYTES)[1]):
                    break
                time.sleep(0.001)
            yield


async def answer(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@linux
@sockets
@pytest.mark.parametrize("tls", [None, "good"])
@pytest.mark.usefixtures("stamps")
def test_the_end_of_an_answer_is_when_it_came_not_when_this_process_got_around_to_it(kind, tls):
    """The loop is held up for 100 ms after the answer is there; the exchange does not contain them."""

    async def main():
        served = []

        async def hold_up(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            served.append(monotonic_ns())
            while monotonic_ns() < served[0] + 100_000_000:
                pass
            await reader.read()  # a FIN that lies behind the answer would bring its own stamp

        async with serving(hold_up, tls=tls) as port, opened(kind, ssl=client_context()) as engine:
            exchange = await engine.exchange(Request(f"{'https' if tls else 'http'}://127.0.0.1:{port}/"), 30)
            assert exchange.clock == "kernel"
            ended = exchange.began + exchange.phases.total
            assert ended < served[0] + 50_000_000
            assert exchange.phases.wait < 50_000_000

    run_on("asyncio", main())


@linux
@sockets
def test_a_wall_clock_that_is_set_meanwhile_leaves_the_times_of_this_process(kind):
    async def main():
        offset = 0

        def wall():
            return time_ns() + offset

        async def set_the_clock(reader, writer):
            nonlocal offset
            await answer(reader, writer)
            offset = -HOUR

        names = SystemResolver(threads=1)
        engine = made(kind, EngineSettings(resolver=names), clock=monotonic_ns, wall=wall)
        async with serving(set_the_clock) as port:
            exchange = await engine.exchange(Request(f"http://127.0.0.1:{port}/"), 30)
            assert (exchange.status, exchange.clock) == (200, "user")
            assert min(exchange.phases) >= 0
            assert 0 < exchange.phases.wait < 30 * NANOSECONDS
        await engine.aclose()
        names.close()

    run_on("asyncio", main())


@linux
@sockets
@pytest.mark.usefixtures("stamps")
def test_the_first_byte_is_told_apart_from_the_last_though_both_are_there(kind):
    async def main():
        async def in_two_pieces(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 1000)
            await asyncio.sleep(0.02)
            writer.write(b"x" * 4000)
            until = monotonic_ns() + 30_000_000
            while monotonic_ns() < until:
                pass

        async with serving(in_two_pieces) as port, opened(kind) as engine:
            exchange = await engine.exchange(Request(f"http://127.0.0.1:{port}/"), 30)
            assert exchange.clock == "kernel"
            assert exchange.phases.transfer > 15_000_000

    run_on("asyncio", main())


@linux
@sockets
def test_the_kernel_tells_of_the_connection(kind):
    async def main():
        async with serving(answer) as port, opened(kind) as engine:
            tcp = (await engine.exchange(Request(f"http://127.0.0.1:{port}/"), 30)).tcp
            assert 0 < tcp.min_rtt <= tcp.rtt < NANOSECONDS
            assert tcp.retransmits == 0

    run_on("asyncio", main())
