"""Syslog over real sockets: nothing that was read is lost; what cannot be taken is not read, or counted."""

import asyncio
import logging
import logging.handlers
import shutil
import socket
import ssl
import subprocess
from collections import Counter
from contextlib import asynccontextmanager

import pytest
import trustme

from penstock.services.distributor.config import Config
from penstock.services.distributor.inputs import syslog_server
from penstock.services.distributor.inputs.streams import StreamInputs
from penstock.services.distributor.inputs.syslog_server import IDLE
from services.distributor.inputs.arrival import arriving, log_lines
from services.distributor.inputs.stream_intake import ListingIntake, all_arrive

BIG = 100_000


@asynccontextmanager
async def listening(intake, *, tls=None, clock=None, **settings):
    given = {"syslog_tcp": "127.0.0.1:0", "syslog_udp": "127.0.0.1:0", "drain_timeout": 5} | settings
    clocks = {} if clock is None else {"clock": clock}
    inputs = StreamInputs(Config(**given), intake, folder=None, ssl=tls, **clocks)
    await inputs.start()
    try:
        yield inputs
    finally:
        await inputs.aclose()


def port_of(inputs, name="syslog_tcp"):
    return int(inputs.addresses()[name].rpartition(":")[2])


async def connected(inputs):
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(inputs))
    return writer


async def close(writer):
    writer.close()
    await writer.wait_closed()


async def answer_of(reader):
    """What the other side sends before it closes, or breaks off."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def until(true):
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.001)


# ---- TCP ----


async def test_lines_over_tcp_are_stored_in_their_order():
    intake = ListingIntake()
    async with listening(intake) as inputs:
        writer = await connected(inputs)
        writer.write(b"".join(b"<13>line %d\n" % i for i in range(5000)))
        await intake.has(5000)
        await close(writer)
    assert intake.texts == [f"line {i}" for i in range(5000)]
    assert inputs.figures()["syslog_tcp"]["received"] == 5000
    assert inputs.figures()["syslog_tcp"]["stored"] == 5000


async def test_what_a_client_leaves_unfinished_is_stored_when_it_goes():
    intake = ListingIntake()
    async with listening(intake) as inputs:
        writer = await connected(inputs)
        writer.write(b"<13>whole\n<13>unfini")
        await close(writer)
        await intake.has(2)
        await until(lambda: inputs.figures()["syslog_tcp"]["connections"] == 0)
    assert intake.texts == ["whole", "unfini"]


async def test_one_connection_has_one_batch_on_its_way_so_order_is_kept():
    intake = ListingIntake()
    intake.is_open.clear()
    async with listening(intake) as inputs:
        writer = await connected(inputs)
        writer.write(b"<13>first\n")
        await intake.is_asked(1)
        writer.write(b"<13>second\n")
        await until(lambda: inputs.figures()["syslog_tcp"]["received"] == 2)
        writer.write(b"<13>third\n")
        await until(lambda: inputs.figures()["syslog_tcp"]["received"] == 3)
        assert len(intake.ids) == 1
        intake.is_open.set()
        await intake.has(3)
        await close(writer)
    assert intake.texts == ["first", "second", "third"]
    assert intake.sizes == [1, 2]


async def test_a_client_is_not_read_from_while_nothing_can_be_stored_and_nothing_is_lost():
    intake = ListingIntake()
    intake.is_open.clear()
    line = b"<13>" + b"x" * 1000 + b"\n"
    async with listening(intake) as inputs:
        writer = await connected(inputs)
        sent = 0
        for _ in range(20_000):
            writer.write(line)
            sent += 1
            if writer.transport.get_write_buffer_size() > 4 * 2**20:
                break
        received = inputs.figures()["syslog_tcp"]["received"]
        while True:  # it comes to rest: what is held is bounded
            await asyncio.sleep(0.05)
            if (now := inputs.figures()["syslog_tcp"]["received"]) == received:
                break
            received = now
        assert 0 < received < sent
        assert received * 1000 < 4 * syslog_server.MOST_WAITING
        intake.is_open.set()
        await intake.has(sent)
        await close(writer)
    assert len(intake.messages) == sent


async def test_all_connections_together_are_bounded():
    intake = ListingIntake()
    intake.is_open.clear()
    async with listening(intake, max_body_bytes=300_000, max_receiving_bytes=300_000) as inputs:
        writers = [await connected(inputs) for _ in range(10)]
        for writer in writers:
            writer.write((b"<13>" + b"x" * 1000 + b"\n") * 200)
        received = -1
        while received != (received := inputs.figures()["syslog_tcp"]["received"]):
            await asyncio.sleep(0.05)
        assert received < 2000
        intake.is_open.set()
        await intake.has(2000)
        for writer in writers:
            await close(writer)


async def test_what_was_read_is_stored_before_the_end():
    intake = ListingIntake()
    intake.is_open.clear()
    async with listening(intake) as inputs:
        writer = await connected(inputs)
        writer.write(b"<13>read\n<13>unfini")
        await intake.is_asked(1)
        asyncio.get_running_loop().call_soon(intake.is_open.set)
    assert intake.texts == ["read", "unfini"]
    writer.close()


async def test_what_cannot_be_stored_before_the_end_is_counted_as_dropped():
    intake = ListingIntake()
    intake.is_open.clear()
    async with listening(intake, drain_timeout=0.01) as inputs:
        writer = await connected(inputs)
        writer.write(b"<13>a\n")
        await intake.is_asked(1)
        writer.write(b"<13>b\n<13>c\n")
        await until(lambda: inputs.figures()["syslog_tcp"]["received"] == 3)
    assert inputs.figures()["syslog_tcp"]["dropped"] == 3
    writer.close()


async def test_an_unfinished_frame_of_a_client_that_went_silent_comes_out():
    now = [0]
    intake = ListingIntake()
    async with listening(intake, clock=lambda: now[0]) as inputs:
        writer = await connected(inputs)
        writer.write(b"<13>unfini")
        server = inputs._listeners["syslog_tcp"][0]
        await until(lambda: inputs.figures()["syslog_tcp"]["held_bytes"] == 10)
        server.sweep()
        assert intake.messages == []
        now[0] += IDLE
        server.sweep()
        await intake.has(1)
        writer.write(b"shed\n")
        await intake.has(2)
        await close(writer)
    assert intake.texts == ["unfini", "shed"]
    assert server.held == 0


async def test_too_many_connections_are_refused_unless_one_has_been_idle(monkeypatch):
    monkeypatch.setattr(syslog_server, "MOST_CONNECTIONS", 2)
    now = [0]
    async with listening(ListingIntake(), clock=lambda: now[0]) as inputs:
        first, second = await connected(inputs), await connected(inputs)
        reader, third = await asyncio.open_connection("127.0.0.1", port_of(inputs))
        assert await answer_of(reader) == b""
        now[0] += IDLE
        reader, fourth = await asyncio.open_connection("127.0.0.1", port_of(inputs))
        fourth.write(b"<13>x\n")
        await until(lambda: inputs.figures()["syslog_tcp"]["received"] == 1)
        for writer in (first, second, third, fourth):
            writer.close()


async def test_syslog_over_tls():
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    intake = ListingIntake()
    async with listening(intake, tls=server) as inputs:
        _, writer = await asyncio.open_connection(
            "localhost", port_of(inputs), ssl=client, family=socket.AF_INET
        )
        writer.write(b"".join(b"%d <13>line %d" % (len(b"<13>line %d" % i), i) for i in range(1000)))
        await intake.has(1000)
        await close(writer)
        await until(lambda: inputs.figures()["syslog_tcp"]["connections"] == 0)
    assert intake.texts == [f"line {i}" for i in range(1000)]


async def test_an_address_that_is_taken_is_named_and_nothing_listens():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        inputs = StreamInputs(
            Config(syslog_udp="127.0.0.1:0", syslog_tcp=address), ListingIntake(), folder=None
        )
        with pytest.raises(
            OSError, match=f"^.*syslog_tcp cannot listen at {address}: address already in use$"
        ):
            await inputs.start()
        assert inputs.addresses() == {}


# ---- UDP ----


async def test_a_datagram_is_a_message():
    intake = ListingIntake()
    async with listening(intake) as inputs:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port_of(inputs, "syslog_udp")))
            for i in range(300):
                sock.send(b"<13>datagram %d\nwith a second line\n" % i)
        await intake.has(300)
    assert intake.texts == [f"datagram {i}\nwith a second line" for i in range(300)]


async def test_datagrams_without_room_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(syslog_server, "MOST_WAITING_DATAGRAMS", 10_000)
    intake = ListingIntake()
    intake.is_open.clear()
    async with listening(intake) as inputs:
        figures = inputs._storings["syslog_udp"].figures
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port_of(inputs, "syslog_udp")))
            sock.send(b"<13>first")
            await intake.is_asked(1)
            for _ in range(100):
                sock.send(b"<13>" + b"x" * 1000)
            await until(lambda: figures.received == 101)
        intake.is_open.set()
        await until(lambda: figures.stored + figures.dropped == 101)
    assert 80 < figures.dropped < 100
    assert len(intake.messages) == figures.stored


async def test_datagrams_that_the_system_threw_away_are_counted(monkeypatch):
    monkeypatch.setattr(syslog_server, "RECEIVE_BUFFER", 4096)
    monkeypatch.setattr(syslog_server, "SO_RCVBUFFORCE", -1)
    intake = ListingIntake()
    async with listening(intake) as inputs:
        figures = inputs._storings["syslog_udp"].figures
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", port_of(inputs, "syslog_udp")))
            for _ in range(1000):  # the loop has no turn meanwhile
                sock.send(b"<13>" + b"x" * 1000)
            await until(lambda: figures.received > 0)
            sock.send(b"<13>the next one tells")
            await until(lambda: intake.texts and intake.texts[-1] == "the next one tells")
    assert figures.lost > 900
    assert figures.lost + figures.received == 1001


# ---- real clients ----


def send_with_handler(kind, port, lines):
    handler = logging.handlers.SysLogHandler(("127.0.0.1", port), socktype=kind)
    handler.ident = "app: "  # else lines that are syslog themselves are taken for what they are
    try:
        for line in lines:
            handler.emit(logging.LogRecord("app", logging.WARNING, __file__, 1, line, None, None))
    finally:
        handler.close()


async def test_what_pythons_handler_sends_over_tcp_arrives_once_and_unchanged(tmp_path):
    lines = log_lines()
    async with arriving(tmp_path) as arrival, listening(arrival.distributor) as inputs:
        await arrival.sent_by(send_with_handler, socket.SOCK_STREAM, port_of(inputs), lines)
        await all_arrive(arrival, [f"app: {line}" for line in lines])
    assert {message.level for message in arrival.messages} == {"WARNING"}
    assert {message.metadata["facility"] for message in arrival.messages} == {"user"}


async def test_what_pythons_handler_sends_over_udp_arrives_once_and_unchanged_or_is_counted_as_lost(tmp_path):
    lines = [line for line in log_lines() if len(line.encode()) < 60_000]
    async with arriving(tmp_path) as arrival, listening(arrival.distributor) as inputs:
        figures = inputs._storings["syslog_udp"].figures
        port = port_of(inputs, "syslog_udp")
        await arrival.sent_by(send_with_handler, socket.SOCK_DGRAM, port, lines)
        await arrival.sent_by(send_with_handler, socket.SOCK_DGRAM, port, ["the last one tells"])
        await until(lambda: figures.received + figures.lost == len(lines) + 1)
        await until(lambda: len(arrival.messages) == figures.received - figures.dropped)
    sent = Counter(f"app: {line}" for line in [*lines, "the last one tells"])
    assert not (Counter(message.message for message in arrival.messages) - sent)
    assert figures.lost + figures.dropped < len(lines) / 10


def run_logger(port, lines, *options):
    command = ["logger", "--server", "127.0.0.1", "--port", str(port), "--tag", "app", "--id=7", *options]
    subprocess.run(command, input="\n".join(lines).encode() + b"\n", check=True, timeout=60)


@pytest.mark.parametrize(
    "options",
    [("--tcp", "--rfc5424", "--octet-count"), ("--tcp", "--rfc5424"), ("--tcp", "--rfc3164")],
)
async def test_what_logger_sends_arrives_once_and_unchanged(tmp_path, options):
    lines = [line.strip()[:900] for line in log_lines()]  # it cuts lines at 1 KiB, and spaces
    lines = [line for line in lines if line and not line.startswith("<")]
    async with arriving(tmp_path) as arrival, listening(arrival.distributor) as inputs:
        await arrival.sent_by(run_logger, port_of(inputs), lines, "--priority", "local3.err", *options)
        await all_arrive(arrival, lines)
    assert {message.level for message in arrival.messages} == {"ERROR"}
    assert {message.source for message in arrival.messages} == {"app"}
    assert {message.metadata["facility"] for message in arrival.messages} == {"local3"}
    assert {message.metadata["proc_id"] for message in arrival.messages} == {"7"}
    assert {message.metadata["host"] for message in arrival.messages} == {socket.gethostname()}
    assert all(message.timestamp for message in arrival.messages)


RSYSLOG = """
module(load="imfile" mode="polling" pollingInterval="1")
global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off")
input(type="imfile" file="{file}" tag="app:" facility="local0" severity="info" maxLinesAtOnce="0"
      ruleset="forward")
ruleset(name="forward") {{
    action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="octet-counted"
           template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1")
}}
"""


@pytest.mark.engine
async def test_what_rsyslog_forwards_arrives_once_and_unchanged(tmp_path):
    program = shutil.which("rsyslogd") or shutil.which("/usr/sbin/rsyslogd")
    assert program, "rsyslogd is missing: scripts/setup-engines installs it"
    lines = [line for line in log_lines() if len(line.encode()) < 60_000]
    file = tmp_path / "app.log"
    file.write_text("".join(f"{line}\n" for line in lines), newline="")
    settings = tmp_path / "rsyslog.conf"
    (tmp_path / "spool").mkdir()
    async with arriving(tmp_path / "spool") as arrival, listening(arrival.distributor) as inputs:
        settings.write_text(RSYSLOG.format(folder=tmp_path, file=file, port=port_of(inputs)))
        process = await asyncio.create_subprocess_exec(
            program, "-n", "-f", str(settings), "-i", str(tmp_path / "rsyslogd.pid"),
            stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            await all_arrive(arrival, lines)
        finally:
            process.terminate()
            _, errors = await process.communicate()
    assert {message.source for message in arrival.messages} == {"app"}, errors.decode()
