"""What the engines `socket` and `protocol` share: from a request to the connection that it goes out on."""

import asyncio
from collections.abc import Sequence
from time import monotonic_ns, time_ns
from typing import TYPE_CHECKING, Protocol

from penstock.clock import NANOSECONDS
from penstock.probing.exchange import Exchange
from penstock.probing.failures import RESOLVING, Fault, fault_of, timed_out
from penstock.probing.moments import Moments
from penstock.probing.request import Request
from penstock.probing.resolver import Address
from penstock.probing.tls import default_context
from penstock.probing.turns import Turn, Turns

if TYPE_CHECKING:
    from penstock.probing.engine import EngineSettings

__all__ = ["Connection", "Connections", "PooledEngine"]


class Connection(Protocol):
    """One connection, which sends requests and reads answers, one after the other."""

    answer: "asyncio.Future[Exchange]"
    """Of the request that is on its way: no failure of network or server is an exception of it."""

    @property
    def stale(self) -> bool:
        """Whether it failed since the server had closed a kept connection, and may be made again."""
        ...

    def close(self) -> None:
        """Closes it, whatever it does."""
        ...


class Connections(Protocol):
    """Makes connections, and keeps those that may be used again."""

    def again(self, request: Request, timeout: float) -> Connection | None:
        """A kept connection on which the request has been sent, None when there is none.

        Args:
            request: what to send.
            timeout: seconds for everything.
        """
        ...

    def open(
        self,
        request: Request,
        timeout: float,
        until: int,
        addresses: Sequence[Address],
        exchange: Exchange,
        moments: Moments,
        turn: Turn,
    ) -> Connection:
        """A new connection, which sends the request as soon as one of the addresses has answered.

        Args:
            request: what to send.
            timeout: seconds, for the words.
            until: monotonic nanoseconds at which it is over.
            addresses: at least one.
            exchange: becomes the answer.
            moments: of the exchange so far.
            turn: ends when it is connected, with TLS.
        """
        ...

    def close(self) -> None:
        """Closes all of them."""
        ...


class PooledEngine:
    """Makes exchanges on connections of its own; see Engine and EngineSettings.

    Args:
        name: how people choose it.
        settings: how to connect.
        connections: makes them.
    """

    def __init__(self, name: str, settings: "EngineSettings", connections: Connections) -> None:
        self.name = name
        self.settings = settings
        self.connections = connections
        self.turns = Turns(settings.connecting)

    async def exchange(self, request: Request, timeout: float) -> Exchange:  # noqa: ASYNC109 - told in words
        """Sends one request and reads its answer; no failure of network or server raises.

        Args:
            request: what to send.
            timeout: seconds for everything but the wait for a turn to connect, > 0.
        """
        if request.scheme == "https" and self.settings.ssl is None:
            default_context()  # the first time it takes 30 ms, which belong to nobody's handshake
        connection = self.connections.again(request, timeout) if request.keep_alive else None
        if connection is None:
            began = monotonic_ns()
            until = began + int(timeout * NANOSECONDS)
            return await self._on_new_connection(request, timeout, until, began, time_ns())
        answer = connection.answer
        try:  # as answer_of, without another coroutine: this is the way of most requests
            exchange = await answer
        except BaseException:
            give_up(connection, answer)
            raise
        if exchange.failure and connection.stale:
            until = exchange.began + int(timeout * NANOSECONDS)
            return await self._on_new_connection(request, timeout, until, exchange.began, exchange.started_at)
        return exchange

    async def aclose(self) -> None:
        """Closes every connection; what is in progress fails."""
        self.connections.close()

    async def _on_new_connection(
        self,
        request: Request,
        timeout: float,  # noqa: ASYNC109
        until: int,
        began: int,
        started_at: int,
    ) -> Exchange:
        moments = Moments(began)
        exchange = Exchange(began=began, started_at=started_at)
        found = await self._resolved(request, timeout, until, moments)
        if isinstance(found, Fault):
            exchange.failure, exchange.error, exchange.may_pass = found
            exchange.phases = moments.phases(monotonic_ns(), secure=False)
            return exchange
        turn = self.turns.take_now()
        if turn is None:
            asked = monotonic_ns()
            turn = await self.turns.take()
            exchange.queued = moments.queued = monotonic_ns() - asked
        try:
            connection = self.connections.open(
                request, timeout, until + moments.queued, found, exchange, moments, turn
            )
        except BaseException:
            turn.end()
            raise
        return await answer_of(connection)

    async def _resolved(
        self,
        request: Request,
        timeout: float,  # noqa: ASYNC109
        until: int,
        moments: Moments,
    ) -> Sequence[Address] | Fault:
        asked = monotonic_ns()
        deadline = asyncio.timeout((until - asked) / NANOSECONDS)
        try:
            async with deadline:
                found = await self.settings.resolver.resolve(
                    request.host, request.port, self.settings.usable_family
                )
        except Exception as error:
            moments.dns = monotonic_ns() - asked
            return timed_out(timeout, RESOLVING) if deadline.expired() else fault_of(error, RESOLVING)
        if found[0].ip != request.host:  # an address asks nobody
            moments.dns = monotonic_ns() - asked
        return found


async def answer_of(connection: Connection) -> Exchange:
    """Waits for the answer; who does not wait for it any more leaves no connection behind."""
    answer = connection.answer
    try:
        return await answer
    except BaseException:
        give_up(connection, answer)
        raise


def give_up(connection: Connection, answer: "asyncio.Future[Exchange]") -> None:
    """Nobody waits for the answer any more."""
    if connection.answer is not answer:  # it came all the same, and the connection is somebody else's by now
        return
    if answer.cancelled() or not answer.done():
        connection.close()
