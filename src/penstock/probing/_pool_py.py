"""Pool of connections, pure Python: all of a connection but what moves its bytes.

What ends a connection may be any step of it, also one that its own caller makes; so every step that may do so
is followed by a look at whether it is still there.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

from penstock.clock import NANOSECONDS, Clock
from penstock.errors import PenstockError
from penstock.probing.exchange import Exchange, TcpFacts, TlsFacts
from penstock.probing.failures import (
    CLOSED,
    CONNECTING,
    CUT_SHORT,
    ENGINE_CLOSED,
    HANDSHAKE_CLOSED,
    HANDSHAKING,
    READING,
    WAITING,
    Fault,
    fault_of,
    timed_out,
)
from penstock.probing.idle import Idle
from penstock.probing.moments import Moments
from penstock.probing.request import IDEMPOTENT, MAX_HEAD, Request
from penstock.probing.resolver import Address
from penstock.probing.response_parser import ResponseParser
from penstock.probing.stamps import monotonic_of
from penstock.probing.turns import Turn

if TYPE_CHECKING:
    from penstock.probing.engine import EngineSettings

__all__ = ["Pool"]

READ = 65_536
"""Bytes that are read at once."""


class EngineClosed(PenstockError, RuntimeError):
    """The engine is closed, and makes no exchanges any more."""


class Pool:
    """Connections on the running event loop, without what moves their bytes; see Connections.

    Args:
        settings: how to connect.
        clock: monotonic nanoseconds; None for the system's.
        wall: nanoseconds since 1970; None for the system's.
    """

    def __init__(
        self, settings: "EngineSettings", *, clock: Clock | None = None, wall: Clock | None = None
    ) -> None:
        self.settings = settings
        self.clock = clock or monotonic_ns
        self.wall = wall or time_ns
        self.loop = asyncio.get_running_loop()
        self.idle: Idle[PooledConnection] = Idle(settings.connections)
        self.connections: set[PooledConnection] = set()  # those that are open
        self.buffer = memoryview(bytearray(READ))  # for whoever reads just now
        self.is_closed = False

    def _new_connection(self, origin: tuple[str, str, int], turn: Turn) -> "PooledConnection":
        """One that is not connected yet."""
        raise NotImplementedError

    def again(self, request: Request, timeout: float) -> "PooledConnection | None":
        """A kept connection on which the request has been sent, None when there is none.

        Args:
            request: what to send.
            timeout: seconds for everything.
        """
        now = self.clock()
        connection = self.idle.take(request.origin, now)
        while connection is not None:
            if not connection.has_come():
                exchange = Exchange(began=now, started_at=self.wall())
                connection.reused = True
                connection.begin(request, timeout, now + int(timeout * NANOSECONDS), exchange, Moments(now))
                try:
                    connection.send()
                except ssl.SSLError:  # the server wants another handshake first: nothing was sent
                    pass
                else:
                    return connection
            connection.close()  # what came before the request is no answer to it
            connection = self.idle.take(request.origin, now)
        return None

    def open(
        self,
        request: Request,
        timeout: float,
        until: int,
        addresses: Sequence[Address],
        exchange: Exchange,
        moments: Moments,
        turn: Turn,
    ) -> "PooledConnection":
        """A new connection, which sends the request as soon as one of the addresses has answered.

        Args:
            request: what to send.
            timeout: seconds, for the words.
            until: monotonic nanoseconds at which it is over.
            addresses: at least one.
            exchange: becomes the answer.
            moments: of the exchange so far.
            turn: ends when it is connected, with TLS.

        Raises:
            EngineClosed: close() was called before.
        """
        if self.is_closed:
            raise EngineClosed("engine must be open, it is closed")
        connection = self._new_connection(request.origin, turn)
        connection.addresses.extend(addresses)
        connection.begin(request, timeout, until, exchange, moments)
        self.connections.add(connection)
        connection.connect()
        return connection

    def close(self) -> None:
        """Closes all of them."""
        self.is_closed = True
        for connection in list(self.connections):
            connection.fail(ENGINE_CLOSED)


class PooledConnection:
    """One connection, see Connection; `stage` says what it does, of STAGES.

    Args:
        home: what it belongs to.
        origin: scheme, host and port.
        turn: ends when it is connected, with TLS.
    """

    def __init__(self, home: Pool, origin: tuple[str, str, int], turn: Turn) -> None:
        self.home = home
        self.origin = origin
        self.turn = turn
        self.secure = origin[0] == "https"
        self.addresses: deque[Address] = deque()
        self.address = ""
        self.tls_facts: TlsFacts | None = None
        self.parser: ResponseParser | None = None
        self.bounds = (0, 0)
        self.stage = CONNECTING
        self.is_busy = False
        self.reused = False
        self.idle_since = 0
        self.timer: asyncio.TimerHandle | None = None

    # What those who move the bytes do.

    def connect(self) -> None:
        """Sets out for the next address."""
        raise NotImplementedError

    def outgoing(self, data: bytes) -> bytes:
        """What is to be written for the bytes of a request: TLS of our own, or they themselves."""
        return data

    def write(self, data: bytes) -> None:
        """Sends bytes, now or as soon as they are taken."""
        raise NotImplementedError

    def has_unsent(self) -> bool:
        """Whether some of them were not taken yet."""
        raise NotImplementedError

    def has_come(self) -> bool:
        """Whether something is there that nobody has read yet."""
        raise NotImplementedError

    def facts(self) -> TcpFacts | None:
        """What the kernel knows of it."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """Closes what moves the bytes."""
        raise NotImplementedError

    def begin(
        self, request: Request, timeout: float, until: int, exchange: Exchange, moments: Moments
    ) -> None:
        """There is a request to be sent."""
        self.request = request
        self.timeout = timeout
        self.until = until
        self.exchange = exchange
        self.moments = moments
        self.is_busy = True
        self.stage = CONNECTING
        self.from_kernel = True
        self.answer: asyncio.Future[Exchange] = self.home.loop.create_future()
        self._parse_afresh(request)
        self._wake_at(until)

    @property
    def stale(self) -> bool:
        """Whether it failed since the server had closed a kept connection, and may be made again."""
        lost = (
            self.exchange.failure in ("closed", "reset") and self.stage == WAITING and not self.moments.first
        )
        return lost and self.reused and self.request.method in IDEMPOTENT

    def close(self) -> None:
        """Closes it, whatever it does."""
        self.turn.end()
        self.is_busy = False
        self._let_sleep()
        self.home.idle.drop(self)
        self.home.connections.discard(self)
        self.hang_up()

    def fail(self, fault: Fault) -> None:
        """The exchange has failed, or the connection while it was idle."""
        if not self.is_busy:
            self.close()
            return
        exchange = self.exchange
        exchange.status, exchange.reason, exchange.truncated = 0, "", False
        exchange.failure, exchange.error, exchange.may_pass = fault
        self._conclude(self.home.clock())
        self.close()
        if not self.answer.done():
            self.answer.set_result(exchange)

    # Waiting, for so long and no longer

    def _wake_at(self, at: int) -> None:
        self._let_sleep()
        left = max(0, at - self.home.clock()) / NANOSECONDS
        self.timer = self.home.loop.call_later(left, self._awake, at)

    def _let_sleep(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _awake(self, at: int) -> None:
        now = self.home.clock()
        if now < at:  # uvloop wakes up to 1 ms early
            self._wake_at(at)
        elif now >= self.until:
            self.fail(timed_out(self.timeout, self.stage))
        else:  # this address has had its share of the time
            self.connect()

    def next_address(self) -> Address:
        """The next address to set out for, with its share of the time."""
        now = self.home.clock()
        address = self.addresses.popleft()
        self.moments.connecting = self.moments.connecting or now
        self._wake_at(now + (self.until - now) // (len(self.addresses) + 1))
        return address

    def connected_to(self, address: str) -> None:
        """TCP is connected."""
        self.address = address
        self.moments.connected = self.home.clock()
        if self.addresses:
            self.addresses.clear()
            self._wake_at(self.until)

    def send(self) -> None:
        """Sends the request."""
        data = self.outgoing(self.request.wire)
        self.stage = WAITING
        self.moments.sent = self.home.clock()
        self.sent_wall = self.home.wall()
        self.write(data)

    def take(self, data: memoryview | bytes, stamp: int) -> None:
        """Bytes of the answer have come, in plain.

        Args:
            data: the bytes.
            stamp: when the last of them came, see stamps.py; 0 for unknown.
        """
        assert self.parser is not None
        if not self.is_busy:  # an answer that nobody asked for
            self.close()
            return
        self._note_moment(stamp)
        try:
            taken = self.parser.feed(data)
        except PenstockError as error:
            self.fail(fault_of(error, self.stage))
            return
        if self.parser.done:
            self._finish(clean=taken == len(data))
        elif self.parser.head_done:
            self.stage = READING

    def _note_moment(self, stamp: int) -> None:
        moments, now = self.moments, self.home.clock()
        at = monotonic_of(stamp, moments.sent, self.sent_wall, now, self.home.wall())
        if not at or not self.from_kernel:  # one that is not the kernel's makes all of them our own
            self.from_kernel = False
            at = now
        moments.first = moments.first or at
        moments.last = max(at, moments.last)

    def ended(self, *, cut: bool = False) -> None:
        """The connection is closed; `cut` when it was TLS, and not by the server for all that is known."""
        assert self.parser is not None
        if not self.is_busy:
            self.close()
            return
        if self.stage == HANDSHAKING:
            self.fail(HANDSHAKE_CLOSED)
            return
        cut_short = CUT_SHORT if self.parser.head_done else CLOSED
        if cut:
            self.fail(cut_short)
            return
        try:
            self.parser.eof()
        except PenstockError:
            self.fail(cut_short)
        else:
            self._finish(clean=False)

    # The answer

    def _parse_afresh(self, request: Request) -> None:
        bounds = (request.keep_body, request.max_body)
        if self.parser is None or bounds != self.bounds:
            self.parser = ResponseParser(max_head=MAX_HEAD, keep_body=bounds[0], max_body=bounds[1])
            self.bounds = bounds
        self.parser.reset(request.method == "HEAD")

    def _finish(self, *, clean: bool) -> None:
        """The answer is whole; `clean` when nothing came behind it."""
        assert self.parser is not None
        self.exchange.status, self.exchange.reason = self.parser.status, self.parser.reason
        self.exchange.truncated = self.parser.truncated
        self._conclude(0)
        keep = self.request.keep_alive and self.parser.keep_alive and clean and not self.has_unsent()
        self.is_busy = False
        self._let_sleep()
        if keep:
            self.idle_since = self.home.clock()
            self.home.idle.put(self)
        else:
            self.close()
        if not self.answer.done():
            self.answer.set_result(self.exchange)

    def _conclude(self, failed_at: int) -> None:
        """Writes down what is known, however far it got."""
        assert self.parser is not None
        exchange = self.exchange
        exchange.phases = self.moments.phases(failed_at, secure=self.secure and not self.reused)
        exchange.clock = "kernel" if self.from_kernel and self.moments.first else "user"
        exchange.reused = self.reused
        exchange.address = self.address
        exchange.head, exchange.body, exchange.size = self.parser.head, self.parser.body, self.parser.size
        exchange.tcp = self.facts() if self.address else None
        exchange.tls = self.tls_facts
