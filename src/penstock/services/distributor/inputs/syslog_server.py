"""Syslog over TCP, TLS and UDP.

Nobody is answered in syslog, so a client is told that there is no room in the one way that it has: what it
sent is kept until it is stored, and nothing more is read from it meanwhile. UDP has not even that: what
comes while there is no room is dropped, and counted.
"""

import asyncio
import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from penstock.clock import Clock, monotonic_ns
from penstock.services.distributor.inputs.long_text import RecordLengths
from penstock.services.distributor.inputs.storing import Storing
from penstock.services.distributor.inputs.syslog import SyslogStream
from penstock.services.distributor.inputs.syslog_lines import SyslogLines

__all__ = ["SyslogOverTcp", "SyslogOverUdp"]

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 1000
MOST_WAITING = 256 * 1024
"""Bytes of records that one connection has waiting when nothing more is read from it."""
IDLE = 60 * 10**9
"""Nanoseconds without news after which an unfinished frame comes out, and a connection may give way."""
SWEEP = 10.0
"""Seconds between two looks at what is idle."""

RECEIVE_BUFFER = 8 * 1024 * 1024
MOST_DATAGRAM = 65_536
MOST_DATAGRAMS = 256
"""Read at a time, so that others have their turn."""
LAST_READINGS = 100
"""Times that so many are read at the end: some may come for ever."""
MOST_WAITING_DATAGRAMS = 4 * 1024 * 1024
"""Bytes of records of datagrams that wait to be stored; then they are dropped."""
SO_RXQ_OVFL = getattr(socket, "SO_RXQ_OVFL", 40)  # Linux: how many datagrams the socket had no room for
SO_RCVBUFFORCE = 33  # Linux: beyond what the system grants everybody

WallClock = Callable[[], float]


def set_date(lines: SyslogLines, now: float) -> None:
    """Tells what day it is here."""
    today = time.localtime(now)
    lines.set_date(today.tm_year, today.tm_mon, today.tm_gmtoff // 60)


class SyslogOverTcp:
    """Listens for syslog over TCP, or TLS.

    Args:
        storing: stores what comes.
        lengths: of records.
        most_held: when records and unfinished frames take so many bytes, no connection is read from.
        tls: what is shown to clients; None: plain TCP.
        clock: nanoseconds.
        wall: Unix time, for times without a year.
    """

    def __init__(
        self,
        storing: Storing,
        lengths: RecordLengths,
        *,
        most_held: int,
        tls: ssl.SSLContext | None = None,
        clock: Clock = monotonic_ns,
        wall: WallClock = time.time,
    ) -> None:
        self.storing = storing
        self.most_held = most_held
        self.clock = clock
        self._lengths = lengths
        self._tls = tls
        self._wall = wall
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._connections: set[SyslogConnection] = set()
        self._stores: set[asyncio.Task[None]] = set()
        self.paused: set[SyslogConnection] = set()
        """Connections that are not read from just now."""

    async def start(self, host: str, port: int) -> None:
        """Begins to listen.

        Raises:
            OSError: it cannot.
        """
        handshake = 10.0 if self._tls else None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: SyslogConnection(self, SyslogStream(self.new_lines())),
            host,
            port,
            ssl=self._tls,
            ssl_handshake_timeout=handshake,
            backlog=512,
        )
        self._sweeping = asyncio.create_task(self._sweep_on(), name="syslog sweep")

    @property
    def held(self) -> int:
        """Bytes that all connections have in memory."""
        return self.storing.figures.held_bytes

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def aclose(self, within: float) -> None:
        """Ends: what was read and is not stored `within` seconds is dropped, and counted."""
        if self._server is None:
            return
        self._server.close()
        assert self._sweeping is not None
        self._sweeping.cancel()
        for connection in tuple(self._connections):
            connection.close()
        await asyncio.gather(self._sweeping, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._stores:
                    await asyncio.wait(self._stores)
        for connection in tuple(self._connections):  # those whose clients do not let go
            connection.abort()
        await asyncio.sleep(0)  # they are closed in the loop's next turn
        for task in tuple(self._stores):
            task.cancel()
        await asyncio.gather(*self._stores, return_exceptions=True)
        self._server = None

    def new_lines(self) -> SyslogLines:
        """What takes a new connection's frames apart."""
        lines = SyslogLines(self._lengths.most_text, self._lengths.most_record)
        set_date(lines, self._wall())
        return lines

    def opened(self, connection: "SyslogConnection") -> bool:
        """Whether a new connection may stay; one that has been idle for long gives way to it."""
        if len(self._connections) >= MOST_CONNECTIONS:
            idlest = min(self._connections, key=lambda each: each.last)
            if self.clock() - idlest.last < IDLE:
                log.warning("a syslog connection refused: %d are open", MOST_CONNECTIONS)
                return False
            idlest.close()
        self._connections.add(connection)
        self.storing.figures.connections = len(self._connections)
        return True

    def closed(self, connection: "SyslogConnection") -> None:
        """A connection is no more."""
        self._connections.discard(connection)
        self.paused.discard(connection)
        self.storing.figures.connections = len(self._connections)

    def run(self, connection: "SyslogConnection") -> None:
        """Stores what a connection has waiting, which outlives the connection."""
        task = asyncio.create_task(connection.store(), name="syslog store")
        self._stores.add(task)
        task.add_done_callback(self._ran)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._stores.discard(task)
        if not task.cancelled():
            task.exception()  # logged where it happened
        if self.held < self.most_held:
            for connection in tuple(self.paused):
                connection.go_on()

    def sweep(self) -> None:
        """Makes records of unfinished frames of which nothing came for long; learns what day it is."""
        now, wall = self.clock(), self._wall()
        for connection in tuple(self._connections):
            set_date(connection.stream.lines, wall)
            if now - connection.last >= IDLE or self.held >= self.most_held:
                connection.cut()

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self.sweep()


class SyslogConnection(asyncio.Protocol):
    """One connection.

    Args:
        server: whose it is.
        stream: takes apart what comes.
    """

    def __init__(self, server: SyslogOverTcp, stream: SyslogStream) -> None:
        self.stream = stream
        self.last = server.clock()
        """When something came last."""
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._records: list[bytes] = []
        self._waiting = 0  # bytes of them
        self._storing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepts the connection, or closes it at once."""
        if not self._server.opened(self):
            cast("asyncio.Transport", transport).abort()
            return
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        if (sock := transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Takes what came."""
        self.last = self._server.clock()
        self._take(lambda: self.stream.feed(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """Takes what is unfinished, for nothing more will come."""
        self.cut()
        self._transport = None
        self._server.closed(self)

    def cut(self) -> None:
        """Makes a record of an unfinished frame."""
        self._take(self.stream.cut)

    def close(self) -> None:
        """Reads no more."""
        self.cut()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes without waiting for the client."""
        if self._transport is not None:
            self._transport.abort()

    def go_on(self) -> None:
        """Reads on if it had stopped and has room again."""
        if self in self._server.paused and self._waiting < MOST_WAITING and self._transport is not None:
            self._server.paused.discard(self)
            self._transport.resume_reading()

    def _take(self, reading: Callable[[], list[bytes]]) -> None:
        held = self.stream.held
        records = reading()
        size = sum(map(len, records))
        self._records += records
        self._waiting += size
        self._server.storing.figures.held_bytes += self.stream.held - held + size
        self._server.storing.figures.received += len(records)
        if self._records and not self._storing:
            self._storing = True
            self._server.run(self)
        if self._waiting >= MOST_WAITING or self._server.held >= self._server.most_held:
            self._pause()

    def _pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._server.paused.add(self)
            self._transport.pause_reading()

    async def store(self) -> None:
        """Stores what waits, in order, until nothing does."""
        try:
            while self._records:
                records, size = self._records, self._waiting
                self._records, self._waiting = [], 0
                self.go_on_if_there_is_room()
                try:
                    await self._server.storing.store(records)
                finally:
                    self._server.storing.figures.held_bytes -= size
        finally:
            self._storing = False
            if self._records:  # the process ends, or nothing can be stored at all
                self._server.storing.figures.dropped += len(self._records)
                self._server.storing.figures.held_bytes -= self._waiting
                self._records, self._waiting = [], 0

    def go_on_if_there_is_room(self) -> None:
        """Reads on while what came is being stored."""
        if self._server.held < self._server.most_held:
            self.go_on()


class SyslogOverUdp:
    """Takes syslog over UDP, a message a datagram.

    Args:
        storing: stores what comes.
        lengths: of records.
        wall: Unix time, for times without a year.
    """

    def __init__(self, storing: Storing, lengths: RecordLengths, *, wall: WallClock = time.time) -> None:
        self._storing = storing
        self._lines = SyslogLines(lengths.most_text, lengths.most_record)
        self._wall = wall
        self._socket: socket.socket | None = None
        self._buffer = bytearray(MOST_DATAGRAM)
        self._lost = 0  # as the system counts, modulo 2^32
        self._records: list[bytes] = []
        self._waiting = 0  # bytes of them
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> None:
        """Begins to receive.

        Raises:
            OSError: it cannot.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            grow_buffer(sock)
            with suppress(OSError):  # counts nothing where the system does not
                sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
            sock.bind(address)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        loop.add_reader(sock.fileno(), self.receive)

    @property
    def address(self) -> tuple[str, int]:
        """Where it receives."""
        assert self._socket is not None
        host, port = self._socket.getsockname()[:2]
        return host, port

    async def aclose(self, within: float) -> None:
        """Ends: what the system holds is read, and dropped if it is not stored `within` seconds."""
        if self._socket is None:
            return
        for _ in range(LAST_READINGS):
            if not self.receive():
                break
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        if self._task is not None:
            await asyncio.wait([self._task], timeout=within)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def receive(self) -> int:
        """Reads some of the datagrams that are there, and returns how many."""
        set_date(self._lines, self._wall())
        read = 0
        while read < MOST_DATAGRAMS and (datagram := self._next()) is not None:
            read += 1
            self._take(self._lines.datagram(datagram))
        if self._records and self._task is None:
            self._task = asyncio.create_task(self._store(), name="syslog datagrams")
        return read

    def _next(self) -> bytes | None:
        assert self._socket is not None
        try:
            size, ancillary, _, _ = self._socket.recvmsg_into([self._buffer], 64)
        except OSError:  # nothing is there; or an error of another datagram, sent by nobody here
            return None
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == SO_RXQ_OVFL and len(data) >= 4:
                (lost,) = struct.unpack_from("=I", data)
                self._storing.figures.lost += (lost - self._lost) % 2**32
                self._lost = lost
        return bytes(memoryview(self._buffer)[:size])

    def _take(self, records: list[bytes]) -> None:
        size = sum(map(len, records))
        self._storing.figures.received += len(records)
        if self._waiting + size > MOST_WAITING_DATAGRAMS:
            self._storing.figures.dropped += len(records)
            return
        self._records += records
        self._waiting += size

    async def _store(self) -> None:
        try:
            while self._records:
                records = self._records
                self._records, self._waiting = [], 0
                await self._storing.store(records)
        finally:
            self._task = None
            self._storing.figures.dropped += len(self._records)
            self._records, self._waiting = [], 0


def grow_buffer(sock: socket.socket) -> None:
    """Asks for room for datagrams that come faster than they are read."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except OSError:  # for root only; others get what the system grants
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
