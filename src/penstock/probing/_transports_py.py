"""Connections on the transports of the event loop, whichever that is. The compiled twin does the same."""

import asyncio
import socket
from typing import TYPE_CHECKING

from penstock.clock import NANOSECONDS, Clock
from penstock.probing._pool_py import Pool, PooledConnection
from penstock.probing.exchange import TcpFacts
from penstock.probing.failures import CONNECTING, HANDSHAKING, NO_ADDRESS, fault_of
from penstock.probing.resolver import Address, literal
from penstock.probing.tcp import has_come, tcp_facts_of
from penstock.probing.tls import default_context, said_its_end, tls_facts_of
from penstock.probing.turns import Turn

if TYPE_CHECKING:
    from penstock.probing.engine import EngineSettings

__all__ = ["Transports"]


class Transports(Pool):
    """Makes connections on the running event loop; see Connections.

    Args:
        settings: how to connect.
        clock: monotonic nanoseconds; None for the system's.
        wall: nanoseconds since 1970; None for the system's.
    """

    def __init__(
        self, settings: "EngineSettings", *, clock: Clock | None = None, wall: Clock | None = None
    ) -> None:
        super().__init__(settings, clock=clock, wall=wall)
        self.source = None if settings.source is None else literal(settings.source, 0)

    def _new_connection(self, origin: tuple[str, str, int], turn: Turn) -> "TransportConnection":
        """One that is not connected yet."""
        return TransportConnection(self, origin, turn)


class Reader(asyncio.BufferedProtocol):
    """What the event loop calls; its methods are a connection's, without a call between.

    Args:
        connection: whose they are.
    """

    def __init__(self, connection: "TransportConnection") -> None:
        self.connection_made = connection.connection_made  # type: ignore[method-assign,assignment]
        self.get_buffer = connection.get_buffer  # type: ignore[method-assign]
        self.buffer_updated = connection.buffer_updated  # type: ignore[method-assign]
        self.eof_received = connection.eof_received  # type: ignore[method-assign]
        self.connection_lost = connection.connection_lost  # type: ignore[method-assign]


class TransportConnection(PooledConnection):
    """One connection, see Connection.

    Args:
        home: what it belongs to.
        origin: scheme, host and port.
        turn: ends when it is connected, with TLS.
    """

    home: Transports

    def __init__(self, home: Transports, origin: tuple[str, str, int], turn: Turn) -> None:
        super().__init__(home, origin, turn)
        self.sock: socket.socket | None = None
        self.task: asyncio.Task[None] | None = None
        self.made: asyncio.Transport | None = None
        self.transport: asyncio.Transport | None = None  # the same, when it may be used
        self.early = b""  # what came before the request was sent
        self.end_came = False

    # Connecting

    def connect(self) -> None:
        """Sets out for the next address."""
        self.hang_up()
        self.task = self.home.loop.create_task(self._connect())

    async def _connect(self) -> None:
        fault = NO_ADDRESS
        while self.addresses:
            address = self.next_address()
            try:
                sock = await connected_socket(self.home.loop, address, self.home.source)
            except Exception as error:
                fault = fault_of(error, CONNECTING)
            else:
                await self._connected(sock, address)
                return
        self.fail(fault)

    async def _connected(self, sock: socket.socket, address: Address) -> None:
        self.sock = sock
        self.connected_to(address.ip)
        if self.secure:
            self.stage = HANDSHAKING
        settings = self.home.settings
        hostname = settings.server_hostname or self.request.host
        left = (self.until - self.moments.connected) / NANOSECONDS
        try:
            transport = await secured(
                self.home.loop, Reader(self), sock, settings, hostname if self.secure else None, left
            )
        except Exception as error:
            self.fail(fault_of(error, HANDSHAKING))
            return
        except BaseException:  # nobody waits for it any more
            if self.made is not None:  # else the event loop closes the socket at once, now its own
                self.made.abort()
            raise
        self.transport = transport
        self.task = None
        if self.secure:
            self.moments.secured = self.home.clock()
            self.tls_facts = tls_facts_of(
                transport.get_extra_info("ssl_object"), certificate=settings.tls_facts
            )
        self.turn.end()
        self.send()
        if self.early:
            self.take(self.early, 0)
        if self.end_came and self.is_busy:
            self._ended()

    # Sending

    def write(self, data: bytes) -> None:
        """Sends bytes, now or as soon as the transport takes them."""
        if self.transport is not None:
            self.transport.write(data)

    def has_unsent(self) -> bool:
        """Whether some of them were not taken yet."""
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    # Reading: what the event loop calls

    def connection_made(self, transport: asyncio.Transport) -> None:
        """It is connected, with TLS; the task that waits for that will hear of it."""
        self.made = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes may go."""
        return self.home.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes are there."""
        if self.transport is not None:
            self.take(self.home.buffer[:nbytes], 0)
        elif self.is_busy:  # it came with the handshake's end
            self.early += bytes(self.home.buffer[:nbytes])

    def eof_received(self) -> None:
        """The server sends no more; the transport closes."""
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self.transport is None:  # the task that connects hears of it, or will look
            self.end_came = True
        elif exc is None:
            self._ended()
        else:
            self.fail(fault_of(exc, self.stage))

    def _ended(self) -> None:
        assert self.transport is not None
        tls = self.transport.get_extra_info("ssl_object")
        self.ended(cut=tls is not None and not said_its_end(tls))

    def has_come(self) -> bool:
        """Whether something is there that nobody has read yet."""
        return self.sock is None or has_come(self.sock)

    def facts(self) -> TcpFacts | None:
        """What the kernel knows of it."""
        return tcp_facts_of(self.sock)

    def hang_up(self) -> None:
        """Closes the transport, or what there is of it."""
        task, self.task = self.task, None
        if task is not None and task is not asyncio.current_task(self.home.loop):
            task.cancel()  # which closes what there is
        elif self.transport is not None:
            self.transport.abort()
        self.transport = self.sock = None


async def connected_socket(
    loop: asyncio.AbstractEventLoop, address: Address, source: Address | None
) -> socket.socket:
    """A socket that is connected to `address`."""
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source is not None:
            sock.bind(source.sockaddr)
        await loop.sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


async def secured(
    loop: asyncio.AbstractEventLoop,
    reader: asyncio.BufferedProtocol,
    sock: socket.socket,
    settings: "EngineSettings",
    hostname: str | None,
    seconds: float,
) -> asyncio.Transport:
    """A transport over a socket that is connected, with TLS to `hostname` if there is one."""
    if hostname is None:
        transport, _ = await loop.create_connection(lambda: reader, sock=sock)
    else:
        transport, _ = await loop.create_connection(
            lambda: reader,
            sock=sock,
            ssl=settings.ssl or default_context(),
            server_hostname=hostname.rstrip("."),
            ssl_handshake_timeout=seconds + 60,  # asyncio's own is 60 s, whatever the timeout here
        )
    return transport
