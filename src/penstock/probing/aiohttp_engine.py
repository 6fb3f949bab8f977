"""Engine over aiohttp: every platform, and the one that knows proxies.

aiohttp's client is stripped for it: no redirects, cookies, decompression, environment or second attempts.
Where the time goes is read from hooks below its API, since its own tracing tells no TLS, no last byte, and
costs a third of the speed: the resolver, the moment at which the event loop asks for a protocol (TCP is
connected), the connector, and the protocol's data_received.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from contextvars import ContextVar
from io import BytesIO
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from penstock.clock import NANOSECONDS
from penstock.errors import InvalidValue, PenstockError
from penstock.probing.exchange import Exchange, Phases, TlsFacts
from penstock.probing.failures import (
    CLOSED,
    CONNECTING,
    CUT_SHORT,
    HANDSHAKING,
    NOT_HTTP,
    READING,
    RESOLVING,
    WAITING,
    Fault,
    fault_of,
    timed_out,
)
from penstock.probing.request import IDEMPOTENT, MAX_HEAD, Request, checked_url
from penstock.probing.resolver import FAMILIES, literal
from penstock.probing.send_once import NotSentAgain, send_once
from penstock.probing.tcp import HasOptions, has_come, tcp_facts_of
from penstock.probing.tls import said_its_end, tls_facts_of
from penstock.probing.turns import Turn, Turns

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest, ConnectionKey
    from aiohttp.connector import AddrInfoType, Connection
    from aiohttp.tracing import Trace

    from penstock.probing.engine import EngineSettings

__all__ = ["AiohttpEngine"]

READ_BYTES = 65_536
"""What asyncio's transports ask the kernel for at once; their own 256 KiB cost a mapping for every small
read."""

SMALLEST_FIELD = 4
"""Bytes of the shortest header line, for aiohttp counts lines where the others count bytes."""

OWN_HEADERS = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
"""What aiohttp would send besides what it is told to."""


class AiohttpEngine:
    """Makes exchanges with aiohttp; see Engine and EngineSettings.

    Connections that are kept and those that are not live in sessions of their own, so that a request that
    wants a new connection gets one.
    """

    name = "aiohttp"

    def __init__(self, settings: "EngineSettings") -> None:
        self.settings = settings
        self.turns = Turns(settings.connecting)
        self.proxy = None if settings.proxy is None else checked_proxy(settings.proxy)
        self.sessions: dict[bool, aiohttp.ClientSession] = {}

    async def exchange(self, request: Request, timeout: float) -> Exchange:  # noqa: ASYNC109 - told in words
        """Sends one request and reads its answer; no failure of network or server raises.

        Args:
            request: what to send.
            timeout: seconds for everything but the wait for a turn to connect, > 0.
        """
        began, started_at = monotonic_ns(), time_ns()
        until = began + round(timeout * NANOSECONDS)
        while True:
            steps = Steps(began)
            exchange = Exchange(began=began, started_at=started_at)
            left = (until - monotonic_ns()) / NANOSECONDS
            fault = await self._attempt(request, left, exchange, steps)
            if fault is None or not steps.stale(request, fault):
                break  # else the server had hung up before the request came, and another connection may do
        if fault is not None:
            exchange.status, exchange.reason, exchange.truncated = 0, "", False
            exchange.failure, exchange.error, exchange.may_pass = (
                timed_out(timeout, steps.stage) if fault.failure == "timeout" else fault
            )
        steps.write_into(exchange, ended=steps.last if fault is None else monotonic_ns())
        return exchange

    async def aclose(self) -> None:
        """Closes every connection."""
        for session in self.sessions.values():
            await session.close()

    async def _attempt(
        self, request: Request, seconds: float, exchange: Exchange, steps: "Steps"
    ) -> Fault | None:
        token = CURRENT.set(steps)
        deadline = steps.deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                await self._send_and_read(request, exchange, steps)
        except Exception as error:
            if deadline.expired() and isinstance(error, TimeoutError):
                return timed_out(seconds, steps.stage)
            return fault_behind(error, steps.stage)
        finally:
            CURRENT.reset(token)
        return None

    async def _send_and_read(self, request: Request, exchange: Exchange, steps: "Steps") -> None:
        if self.proxy is None and literal(request.host, request.port) is not None:
            # aiohttp asks no resolver for an address, and ours may refuse it
            await self.settings.resolver.resolve(request.host, request.port, self.settings.usable_family)
        async with self._session(request.keep_alive).request(
            request.method,
            URL(f"{request.scheme}://{request.authority}{request.target}", encoded=True),
            headers=request.fields,
            data=aiohttp.BytesIOPayload(BytesIO(request.body)) if request.body else None,
            allow_redirects=False,
            proxy=self.proxy,
            server_hostname=self.settings.server_hostname,
        ) as response:
            steps.stage = READING
            if response.status < 100:
                raise NotHttp(f"status must be >= 100, got {response.status}")
            exchange.status, exchange.reason = response.status, response.reason or ""
            exchange.head = head_of(response)
            exchange.tcp = tcp_facts_of(steps.sock)
            await read_body(response, request, exchange)

    def _session(self, keep_alive: bool) -> aiohttp.ClientSession:
        session = self.sessions.get(keep_alive)
        if session is None:
            session = self.sessions[keep_alive] = self._open_session(keep_alive)
        return session

    def _open_session(self, keep_alive: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=Connector(self.settings, self.turns, keep_alive),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # _attempt has a finer one
            skip_auto_headers=OWN_HEADERS,
            middlewares=(send_once,),
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
            max_headers=MAX_HEAD // SMALLEST_FIELD,
        )


def checked_proxy(text: str) -> URL:
    try:
        return checked_url(text)
    except InvalidValue as why:
        raise InvalidValue(f"proxy must be the URL of an HTTP proxy: {why}") from None


def head_of(response: aiohttp.ClientResponse) -> bytes:
    """The status line and the headers; aiohttp keeps their parts only."""
    version = response.version or aiohttp.HttpVersion11
    line = f"HTTP/{version.major}.{version.minor} {response.status} {response.reason or ''}"
    fields = [name + b": " + value for name, value in response.raw_headers]
    return b"\r\n".join([line.encode(errors="surrogateescape"), *fields, b"", b""])


async def read_body(response: aiohttp.ClientResponse, request: Request, exchange: Exchange) -> None:
    """Reads the body to its end or its bound, where it hangs up."""
    kept = bytearray()
    try:
        while chunk := await response.content.readany():
            if len(kept) < request.keep_body:
                kept += chunk[: request.keep_body - len(kept)]
            exchange.size += len(chunk)
            if exchange.size > request.max_body:
                exchange.size, exchange.truncated = request.max_body, True
                response.close()
                break
    finally:
        exchange.body = bytes(kept[: request.max_body])


class Steps:
    """The moments of one exchange, as the hooks see them: monotonic nanoseconds, 0 for what has not come.

    Args:
        began: the beginning.

    Attributes:
        began: the beginning.
        resolving: how long names took.
        queued: how long it waited for its turn to connect.
        connecting: when it began to connect.
        connected: when TCP was.
        ready: when TLS was too, or a kept connection was at hand.
        first: when the first bytes of the answer came.
        last: when the last ones did.
        secure: whether there is TLS.
        reused: whether the connection is a kept one.
        stage: what it does now, of STAGES.
        deadline: when it ends; None before it runs.
        sock: of the connection; None before there is one.
        own_sock: the one of `sockets` that is connected.
    """

    def __init__(self, began: int) -> None:
        self.began = began
        self.resolving = 0
        self.queued = 0
        self.connecting = 0
        self.connected = 0
        self.ready = 0
        self.first = 0
        self.last = 0
        self.secure = False
        self.reused = True
        self.stage = RESOLVING
        self.deadline: asyncio.Timeout | None = None
        self.address = ""
        self.tls: TlsFacts | None = None
        self.sockets: list[socket.socket] = []  # those that it tries to connect
        self.sock: HasOptions | None = None
        self.own_sock: socket.socket | None = None

    def stale(self, request: Request, fault: Fault) -> bool:
        """Whether it failed on a kept connection that had been closed, and may be sent again without harm."""
        lost = fault.failure in ("closed", "reset") and self.stage == WAITING and not self.first
        return lost and self.reused and request.method in IDEMPOTENT

    def connected_by(self, connection: "Connection", *, facts: bool) -> None:
        """There is a connection, new or kept; the next thing on it is the request."""
        protocol = connection.protocol
        assert isinstance(protocol, StampedProtocol)
        protocol.steps = self
        self.stage, self.first, self.ready = WAITING, 0, monotonic_ns()
        if protocol.transport is None:  # closed already: sending will tell
            return
        told = protocol.transport.get_extra_info
        self.sock, tls = told("socket"), told("ssl_object")
        self.tls = None if tls is None else tls_facts_of(tls, certificate=facts)
        if self.reused:
            self.address = told("peername", ("",))[0]

    def note_address(self) -> None:
        """One of the sockets is connected."""
        for sock in self.sockets:
            with suppress(OSError):  # not this one
                self.address, self.own_sock = sock.getpeername()[0], sock

    def write_into(self, exchange: Exchange, *, ended: int) -> None:
        """Tells what is known, as far as it got."""
        connected = self.connected or (self.connecting and ended)
        ready = self.ready or (self.connected and ended)
        first = self.first or (self.ready and ended)
        exchange.phases = Phases(
            dns=self.resolving,
            connect=connected - self.connecting,
            tls=ready - self.connected if self.secure and not self.reused else 0,
            wait=first - self.ready,
            transfer=(ended - first) if self.first else 0,
            total=ended - self.began - self.queued,
        )
        exchange.queued = self.queued
        exchange.reused = self.reused and self.ready > 0
        exchange.address = self.address
        exchange.tls = self.tls


CURRENT: ContextVar[Steps] = ContextVar("CURRENT")
"""The exchange that the hooks are called for: aiohttp does not pass it through."""


class StampedProtocol(ResponseHandler):
    """Reads an answer, and notes when its bytes come."""

    steps: Steps
    sock: socket.socket | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lets the transport ask for as much as fits without a new mapping."""
        if hasattr(transport, "max_size"):
            transport.max_size = READ_BYTES
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Takes the next bytes; none when aiohttp has kept some back."""
        if data:
            now = monotonic_ns()
            self.steps.first = self.steps.first or now
            self.steps.last = now
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Cuts an answer that only the end of the connection ends, when TLS was not ended."""
        tls = None if self.transport is None else self.transport.get_extra_info("ssl_object")
        if self._payload is not None and tls is not None and not said_its_end(tls):
            self._payload.set_exception(aiohttp.ClientPayloadError("connection closed, TLS not"))
        super().connection_lost(exc)

    @property
    def usable(self) -> bool:
        """Whether nothing has come that nobody asked for."""
        return not self.should_close and not (self.sock is not None and has_come(self.sock))


class Connector(aiohttp.TCPConnector):
    """Makes connections, in turns, and notes how long each step of it takes.

    Args:
        settings: how to connect.
        turns: shared by all connectors of an engine.
        keep_alive: whether connections are kept.
    """

    def __init__(self, settings: "EngineSettings", turns: Turns, keep_alive: bool) -> None:
        super().__init__(
            resolver=StampedResolver(settings),
            use_dns_cache=False,
            family=FAMILIES[settings.usable_family],
            ssl=settings.ssl or True,  # aiohttp's own context: as default_context, and made already
            local_addr=None if settings.source is None else (settings.source, 0),
            force_close=not keep_alive,
            limit=0,
            socket_factory=socket_of,
        )
        self.settings = settings
        self.turns = turns
        self._factory = self._protocol  # type: ignore[assignment]  # aiohttp calls it, with nothing

    async def connect(
        self,
        req: "ClientRequest",
        traces: list["Trace"],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> "Connection":
        """A kept connection or a new one."""
        connection = await super().connect(req, traces, timeout)
        CURRENT.get().connected_by(connection, facts=self.settings.tls_facts)
        return connection

    async def _create_connection(
        self,
        req: "ClientRequest",
        traces: list["Trace"],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> ResponseHandler:
        steps = CURRENT.get()
        steps.reused, steps.secure, steps.stage = False, req.is_ssl(), CONNECTING
        turn = self.turns.take_now() or await self._turn_of(steps)
        try:
            steps.connecting = monotonic_ns()
            return await super()._create_connection(req, traces, timeout)
        finally:
            turn.end()

    async def _turn_of(self, steps: Steps) -> Turn:
        """Waits for a turn, and the deadline with it."""
        deadline, asked = steps.deadline, monotonic_ns()
        assert deadline is not None
        when = deadline.when()
        assert when is not None
        deadline.reschedule(None)
        turn = await self.turns.take()
        steps.queued = monotonic_ns() - asked
        deadline.reschedule(when + steps.queued / NANOSECONDS)
        return turn

    async def _get(self, key: "ConnectionKey", traces: list["Trace"]) -> "Connection | None":
        """A kept connection, but none on which something has come already, which is no answer."""
        while (connection := await super()._get(key, traces)) is not None:
            protocol = connection.protocol
            assert isinstance(protocol, StampedProtocol)
            if protocol.usable:
                return connection
            connection.close()
        return None

    def _protocol(self) -> ResponseHandler:
        """Called by the event loop when TCP is connected, and once more for TLS behind a proxy."""
        steps = CURRENT.get()
        if not steps.connected:
            steps.connected = monotonic_ns()
            steps.note_address()
        if steps.secure:
            steps.stage = HANDSHAKING
        protocol = StampedProtocol(self._loop)
        protocol.steps, protocol.sock = steps, steps.own_sock
        return protocol

    def _release(
        self, key: "ConnectionKey", protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        full = len(self._conns) >= self.settings.connections  # hosts: aiohttp counts no idle connections
        super()._release(key, protocol, should_close=should_close or full)


def socket_of(wanted: "AddrInfoType") -> socket.socket:
    """A socket as aiohttp wants it, known to the exchange."""
    family, kind, protocol, *_ = wanted
    sock = socket.socket(family, kind, protocol)
    CURRENT.get().sockets.append(sock)
    return sock


class StampedResolver(AbstractResolver):
    """Asks the engine's resolver for aiohttp, and notes how long it takes."""

    def __init__(self, settings: "EngineSettings") -> None:
        self.settings = settings

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """The addresses of `host` as aiohttp wants them."""
        steps = CURRENT.get()
        asked, steps.connecting, steps.stage = monotonic_ns(), 0, RESOLVING
        try:
            addresses = await self.settings.resolver.resolve(host, port, self.settings.usable_family)
        finally:
            steps.resolving = monotonic_ns() - asked
        steps.connecting, steps.stage = monotonic_ns(), CONNECTING
        return [
            ResolveResult(
                hostname=host,
                host=f"{address.ip}%{address.scope}" if address.scope else address.ip,
                port=port,
                family=address.family,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Leaves the engine's resolver to who made it."""


class NotHttp(PenstockError, ValueError):
    """An answer that aiohttp takes, and HTTP does not."""


def fault_behind(error: BaseException, stage: int) -> Fault:
    """What an exception of aiohttp means at one of the STAGES."""
    match error:
        case NotSentAgain():
            return fault_behind(error.__cause__ or error, stage)
        case aiohttp.ClientHttpProxyError():
            return Fault("proxy", f"proxy answered {error.status} to the request for a tunnel")
        case aiohttp.ClientProxyConnectionError():
            return Fault("proxy", f"proxy: {fault_of(error.os_error, CONNECTING).error}")
        case aiohttp.ClientConnectorCertificateError():
            return fault_of(error.certificate_error, HANDSHAKING)
        case aiohttp.ClientConnectorError():
            return fault_of(error.os_error, stage)
        case aiohttp.ClientOSError() if isinstance(error.__cause__, ssl.SSLError):
            return fault_of(error.__cause__, stage)
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientConnectionResetError(errno=None):
            return CLOSED  # the latter says that it was closed before the request was written
        case aiohttp.ClientPayloadError():
            return CUT_SHORT
        case aiohttp.ClientResponseError() | HttpProcessingError():
            return NOT_HTTP
        case _:
            return fault_of(error, stage)
