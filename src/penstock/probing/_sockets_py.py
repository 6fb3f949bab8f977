"""Connections on own sockets, pure Python. The compiled twin does the same with the system's calls.

All sockets hang on one epoll, which alone hangs on the event loop: so the loop is woken once for all that are
ready, and a connection costs it no registration. Each socket is registered once, edge-triggered: a call that
would block comes back when it can go on.
"""

import select
import socket
import ssl
from errno import EINPROGRESS
from typing import TYPE_CHECKING

from penstock.clock import Clock
from penstock.probing._pool_py import READ, Pool, PooledConnection
from penstock.probing.exchange import TcpFacts
from penstock.probing.failures import CONNECTING, HANDSHAKING, NO_ADDRESS, fault_of
from penstock.probing.resolver import Address, literal
from penstock.probing.stamps import ANCILLARY_BYTES, SO_TIMESTAMPNS, stamp_in
from penstock.probing.tcp import has_come, tcp_facts_of
from penstock.probing.tls import default_context, tls_facts_of
from penstock.probing.turns import Turn

if TYPE_CHECKING:
    from penstock.probing.engine import EngineSettings

__all__ = ["Sockets"]

FIRST_READ = 512
"""Bytes of the first read of an answer: it brings the stamp of its first segment, if there are several."""

READS = 16
"""Reads of one connection before others have their turn."""

EVENTS = 256
"""Sockets that are looked after before the event loop has its turn."""

IN, OUT, ERR, HUP, RDHUP, ET = 0x1, 0x4, 0x8, 0x10, 0x2000, 0x8000_0000
"""Of epoll (uapi/linux/eventpoll.h), named here for the systems that have none."""

EDGES = IN | OUT | RDHUP | ET

ENDED = ERR | HUP | RDHUP
"""There may be an end behind the bytes, of which no other edge will tell."""


class Sockets(Pool):
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
        self.open_ones: dict[int, SocketConnection] = {}
        self.stamping = stamping_socket()
        self.epoll = select.epoll()
        self.loop.add_reader(self.epoll.fileno(), self._look)

    def _new_connection(self, origin: tuple[str, str, int], turn: Turn) -> "SocketConnection":
        """One that is not connected yet."""
        return SocketConnection(self, origin, turn)

    def close(self) -> None:
        """Closes all of them."""
        if not self.epoll.closed:
            super().close()
            self.loop.remove_reader(self.epoll.fileno())
            self.epoll.close()
            self.stamping.close()

    def _look(self) -> None:
        """The loop says that a socket is ready."""
        for fd, events in self.epoll.poll(0, EVENTS):
            connection = self.open_ones.get(fd)  # None: closed by one before it, or open in a fork
            if connection is not None:
                connection.ready(events)


def stamping_socket() -> socket.socket:
    """A socket that does nothing but want stamps.

    The kernel takes none while nobody does; to begin and to stop again for each connection costs it much.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return sock


class SocketConnection(PooledConnection):
    """One connection, see Connection.

    Args:
        home: what it belongs to.
        origin: scheme, host and port.
        turn: ends when it is connected, with TLS.
    """

    home: Sockets

    def __init__(self, home: Sockets, origin: tuple[str, str, int], turn: Turn) -> None:
        super().__init__(home, origin, turn)
        self.sock: socket.socket | None = None
        self.going_to = ""
        self.tls: Tls | None = None
        self.unsent = memoryview(b"")

    # Connecting

    def connect(self) -> None:
        """Sets out for the next address; the last one's fault is the connection's."""
        fault = NO_ADDRESS
        self.hang_up()
        while self.addresses:
            address = self.next_address()
            self.going_to = address.ip
            try:
                self._set_out(address)
            except OSError as error:
                self.hang_up()
                fault = fault_of(error, CONNECTING)
            else:
                return
        self.fail(fault)

    def _set_out(self, address: Address) -> None:
        self.sock = sock = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.home.source is not None:
            sock.bind(self.home.source.sockaddr)
        failed = sock.connect_ex(address.sockaddr)
        if failed not in (0, EINPROGRESS):
            raise OSError(failed, "connect")
        self.home.open_ones[sock.fileno()] = self
        self.home.epoll.register(sock.fileno(), EDGES)

    def _check_connected(self, sock: socket.socket) -> None:
        failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed and self.addresses:
            self.connect()
            return
        if failed:
            self.fail(fault_of(OSError(failed, "connect"), CONNECTING))
            return
        try:
            sock.getpeername()
        except OSError:
            return  # not yet: who was ready is an earlier socket of this number
        self.connected_to(self.going_to)
        if self.secure:
            settings = self.home.settings
            self.stage = HANDSHAKING
            self.tls = Tls(settings.ssl or default_context(), settings.server_hostname or self.request.host)
            self._shake_hands(self.tls)
        else:
            self.turn.end()
            self.send()

    # TLS

    def _shake_hands(self, tls: "Tls") -> None:
        try:
            done = tls.shake_hands()
        except (ssl.SSLError, ssl.CertificateError) as error:
            self.write(tls.to_send())  # the alert that tells the server why
            self.fail(fault_of(error, HANDSHAKING))
            return
        if not done:
            self.write(tls.to_send())
            return
        self.moments.secured = self.home.clock()
        self.turn.end()
        self.tls_facts = tls_facts_of(tls.object, certificate=self.home.settings.tls_facts)
        self.send()

    # Sending

    def outgoing(self, data: bytes) -> bytes:
        """What is to be written for the bytes of a request."""
        return data if self.tls is None else self.tls.encrypted(data)

    def write(self, data: bytes) -> None:
        """Sends bytes, now or as soon as the kernel takes them."""
        waits = len(self.unsent) > 0
        self.unsent = memoryview(bytes(self.unsent) + data if waits else data)
        if not waits:
            self._flush()

    def has_unsent(self) -> bool:
        """Whether some of them were not taken yet."""
        return len(self.unsent) > 0

    def _flush(self) -> None:
        while self.unsent and self.sock is not None:
            try:
                sent = self.sock.send(self.unsent)
            except BlockingIOError:
                return
            except OSError:  # there may be an answer all the same; if not, reading tells why
                self.unsent = memoryview(b"")
                return
            self.unsent = self.unsent[sent:]

    # Reading

    def ready(self, events: int) -> None:
        """Something can go on."""
        try:
            if self.stage == CONNECTING:
                if self.sock is not None:
                    self._check_connected(self.sock)
                return
            if events & OUT and self.unsent:
                self._flush()
            if events & ~OUT:
                self._receive(events)
        except Exception as error:  # nobody would hear of it but the event loop
            self.fail(fault_of(error, self.stage))

    def _receive(self, events: int) -> None:
        home = self.home
        for _ in range(READS):
            if self.sock is None:
                return
            room = FIRST_READ if self.moments.first == 0 else READ
            try:
                size, ancillary, _, _ = self.sock.recvmsg_into([home.buffer[:room]], ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self.fail(fault_of(error, self.stage))
                return
            if size == 0:
                self.ended(cut=self.tls is not None)
                return
            self._take_any(home.buffer[:size], stamp_in(ancillary))
            if size < room and not events & ENDED:
                return
        home.loop.call_soon(self._receive_on)

    def _receive_on(self) -> None:
        if self.sock is not None:
            self.ready(IN | ENDED)

    def _take_any(self, data: memoryview, stamp: int) -> None:
        if self.tls is None:
            self.take(data, stamp)
        else:
            self._take_secret(self.tls, data, stamp)

    def _take_secret(self, tls: "Tls", data: memoryview, stamp: int) -> None:
        tls.received(data)
        if self.stage == HANDSHAKING:
            self._shake_hands(tls)
        while self.sock is not None and self.stage != HANDSHAKING:  # idle, there are messages of TLS itself
            try:
                plain = tls.decrypted()
            except ssl.SSLError as error:
                self.fail(fault_of(error, self.stage))
                return
            if plain is None:
                break
            if not plain:
                self.ended()
                return
            self.take(plain, stamp)
        if self.sock is not None and tls.out.pending:  # some want an answer
            self.write(tls.to_send())

    def has_come(self) -> bool:
        """Whether something is there that nobody has read yet."""
        return self.sock is None or has_come(self.sock)

    def facts(self) -> TcpFacts | None:
        """What the kernel knows of it."""
        return tcp_facts_of(self.sock)

    def hang_up(self) -> None:
        """Closes the socket."""
        if self.sock is not None:
            self.home.open_ones.pop(self.sock.fileno(), None)
            self.sock.close()
            self.sock = None


class Tls:
    """TLS without a socket: bytes in, bytes out.

    Args:
        context: how to speak it.
        server_hostname: the name to ask for and to check.
    """

    def __init__(self, context: ssl.SSLContext, server_hostname: str) -> None:
        self.come = ssl.MemoryBIO()
        self.out = ssl.MemoryBIO()
        self.object = context.wrap_bio(self.come, self.out, server_hostname=server_hostname.rstrip("."))

    def shake_hands(self) -> bool:
        """Goes on with the handshake; returns whether it is done."""
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def received(self, data: memoryview) -> None:
        """Bytes have come."""
        self.come.write(data)

    def to_send(self) -> bytes:
        """What is to go out."""
        return self.out.read()

    def encrypted(self, data: bytes) -> bytes:
        """`data` and what else is to go out, as of the end of the handshake."""
        self.object.write(data)
        return self.out.read()

    def decrypted(self) -> bytes | None:
        """What has come, in plain; None for nothing yet, empty for the end."""
        if not self.come.pending and not self.object.pending():
            return None
        try:
            return self.object.read(READ)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
