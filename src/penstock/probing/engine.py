"""The interface of the engines that make exchanges, and which one fits.

::

    async with open_engine() as engine:
        exchange = await engine.exchange(Request("https://example.com/"), timeout=1.2)

    socket      own non-blocking sockets; the times of bytes are the kernel's. Linux.
    protocol    on the transports of the event loop, whichever that is; times are when this process saw it.
    aiohttp     aiohttp's client, stripped; times as of protocol, and further off. Knows proxies.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from penstock.errors import InvalidValue
from penstock.probing.exchange import Exchange
from penstock.probing.request import Request
from penstock.probing.resolver import Resolver, SystemResolver, literal

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["ENGINES", "Engine", "EngineName", "EngineSettings", "open_engine"]

EngineName = Literal["auto", "aiohttp", "protocol", "socket"]

ENGINES = ("auto", "aiohttp", "protocol", "socket")
"""What open_engine takes for a name."""


class Engine(Protocol):
    """Makes exchanges, any number at once on one event loop."""

    @property
    def name(self) -> str:
        """How people choose it: aiohttp, protocol, socket."""
        ...

    async def exchange(self, request: Request, timeout: float) -> Exchange:  # noqa: ASYNC109 - told in words
        """Sends one request and reads its answer; no failure of network or server raises.

        Args:
            request: what to send.
            timeout: seconds for everything but the wait for a turn to connect, > 0.
        """
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How an engine connects; the arguments of open_engine.

    Attributes:
        resolver: turns names into addresses.
        connections: kept open between exchanges at most, all hosts together, >= 0.
        connecting: connections that may be in the making at once, >= 1. Each costs this process time, and
            were all made together, that time would be in the figures of all of them. One that hangs gives its
            turn to the next after 50 ms, and goes on.
        ssl: how to speak TLS; None for the system's CAs and TLS 1.2 or newer.
        server_hostname: the name to ask for and to check in TLS; None for the URL's host.
        tls_facts: whether the server's certificate is looked at for Exchange.tls; it costs time.
        source: the IP address to connect from; None for the system's choice.
        family: 4 or 6 for IPv4 or IPv6 alone, 0 for both.
        proxy: URL of an HTTP proxy, None for none.
    """

    resolver: Resolver
    connections: int = 256
    connecting: int = 32
    ssl: "SSLContext | None" = None
    server_hostname: str | None = None
    tls_facts: bool = False
    source: str | None = None
    family: Literal[0, 4, 6] = 0
    proxy: str | None = None

    def __post_init__(self) -> None:
        if self.connections < 0:
            raise InvalidValue(f"connections must be >= 0, got {self.connections}")
        if self.connecting < 1:
            raise InvalidValue(f"connecting must be >= 1, got {self.connecting}")
        if self.family not in (0, 4, 6):
            raise InvalidValue(f"family must be 4, 6, or 0 for both, got {self.family}")
        if self.source is not None and literal(self.source, 0) is None:
            raise InvalidValue(f"source must be an IP address, got {self.source!r}")
        if self.server_hostname is not None and not can_be_asked_for(self.server_hostname):
            raise InvalidValue(f"server_hostname must be a name or an address, got {self.server_hostname!r}")

    @property
    def usable_family(self) -> Literal[0, 4, 6]:
        """The family of addresses that can be connected to: from IPv4, IPv4 alone."""
        if self.family or self.source is None:
            return self.family
        return 6 if ":" in self.source else 4


@asynccontextmanager
async def open_engine(
    name: EngineName = "auto",
    *,
    resolver: Resolver | None = None,
    connections: int = 256,
    connecting: int = 32,
    ssl: "SSLContext | None" = None,
    server_hostname: str | None = None,
    tls_facts: bool = False,
    source: str | None = None,
    family: Literal[0, 4, 6] = 0,
    proxy: str | None = None,
) -> AsyncIterator[Engine]:
    """An engine on the running event loop; its connections are closed at the end of the context.

    Args:
        name: which one; auto is aiohttp where there is a proxy, else socket on Linux, else protocol.
        resolver: turns names into addresses; None for a SystemResolver.
        connections: see EngineSettings, as for all that follow.
        connecting: connections that may be in the making at once.
        ssl: how to speak TLS.
        server_hostname: the name to ask for and to check in TLS.
        tls_facts: whether the server's certificate is looked at.
        source: the IP address to connect from.
        family: 4 or 6 for IPv4 or IPv6 alone, 0 for both.
        proxy: URL of an HTTP proxy.

    Raises:
        ValueError: an argument is out of its range, there is no such engine, or it cannot do what is asked.
    """
    own_resolver = SystemResolver() if resolver is None else None
    settings = EngineSettings(
        resolver=resolver or own_resolver,  # type: ignore[arg-type]  # one of them is there
        connections=connections,
        connecting=connecting,
        ssl=ssl,
        server_hostname=server_hostname,
        tls_facts=tls_facts,
        source=source,
        family=family,
        proxy=proxy,
    )
    engine = opened(chosen(name, settings), settings)
    try:
        yield engine
    finally:
        await engine.aclose()
        if own_resolver is not None:
            own_resolver.close()


def can_be_asked_for(hostname: str) -> bool:
    """Whether TLS takes it for the name of a server."""
    try:
        return hostname.rstrip(".").encode("idna") != b""
    except UnicodeError:  # a label is empty, or longer than 63 bytes
        return False


def chosen(name: str, settings: EngineSettings) -> str:
    """Which engine `name` means."""
    if name not in ENGINES:
        raise InvalidValue(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")
    if name == "auto":
        return (
            "aiohttp" if settings.proxy is not None else "socket" if sys.platform == "linux" else "protocol"
        )
    if name == "socket" and sys.platform != "linux":
        raise InvalidValue("engine socket runs on Linux only: take auto, protocol or aiohttp")
    if settings.proxy is not None and name != "aiohttp":
        raise InvalidValue(f"engine {name} knows no proxies: take auto or aiohttp")
    return name


def opened(name: str, settings: EngineSettings) -> Engine:
    """The engine of that name; its module is imported here, so that nobody waits for the others'."""
    if name == "aiohttp":
        from penstock.probing.aiohttp_engine import AiohttpEngine

        return AiohttpEngine(settings)
    from penstock.probing.pooled_engine import PooledEngine

    if name == "socket":
        from penstock.probing.sockets import Sockets

        return PooledEngine(name, settings, Sockets(settings))
    from penstock.probing.transports import Transports

    return PooledEngine(name, settings, Transports(settings))
