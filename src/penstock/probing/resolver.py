"""Names to addresses: by the system, off the event loop, remembered for a while."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, Protocol

from penstock.clock import NANOSECONDS, Clock, checked_clock
from penstock.errors import InvalidValue, PenstockError

__all__ = ["Address", "AddressRefused", "NameNotResolved", "Resolver", "SystemResolver", "literal"]

MAX_NAMES = 10_000
"""Names that a SystemResolver remembers."""

MAX_ADDRESSES = 16
"""Addresses of one name that are used."""

MAX_TTL = 1_000_000_000
FAMILIES = {0: socket.AF_UNSPEC, 4: socket.AF_INET, 6: socket.AF_INET6}


class NameNotResolved(PenstockError, OSError):
    """A name has no address, or nobody could be asked for it."""

    may_pass = True
    """Whether asking again may help; what is no host name will not become one."""


class AddressRefused(PenstockError, PermissionError):
    """A name's addresses are such that nothing may connect to them."""


class Address(NamedTuple):
    """Where to connect to."""

    ip: str
    """IPv4 or IPv6 address as text."""
    port: int
    """1 to 65535."""
    family: int
    """Socket.AF_INET or AF_INET6."""
    scope: int = 0
    """The interface of a link-local IPv6 address, 0 for none."""

    @property
    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """As the socket module wants it."""
        return (self.ip, self.port, 0, self.scope) if self.family == socket.AF_INET6 else (self.ip, self.port)


class Resolver(Protocol):
    """Turns names into addresses."""

    async def resolve(self, host: str, port: int, family: int = 0) -> Sequence[Address]:
        """The addresses of `host`, at least one, in the order in which to try them.

        Args:
            host: a name, encoded as IDNA, or an IP address without brackets.
            port: becomes the port of each address.
            family: 4 or 6 for addresses of that version alone, 0 for both.

        Raises:
            NameNotResolved: there is none; an OSError.
            AddressRefused: there are only such that nothing may connect to; a PermissionError.
        """
        ...


def literal(host: str, port: int) -> Address | None:
    """The address that `host` is itself; None when it is a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        address, _, zone = host.partition("%")
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
        if zone and family == socket.AF_INET6:
            return _with_scope(address, port, zone)
        return None if zone else Address(host, port, family)
    return None


def _with_scope(address: str, port: int, zone: str) -> Address | None:
    try:
        scope = int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
    except (OSError, ValueError):
        return None
    return Address(address, port, socket.AF_INET6, scope)


Lookup = Callable[..., Sequence[tuple[Any, ...]]]
"""socket.getaddrinfo, or something with its arguments and results."""


class SystemResolver:
    """Asks the system (getaddrinfo: hosts file, DNS, whatever it is set up for) in threads of its own.

    What was found is remembered for `ttl` seconds, the newest 10,000 names; what was not found is asked for
    again. Tasks that want the same name at once share one question. A question cannot be taken back: one that
    hangs keeps its thread until the system gives up, though nobody may wait for it any more; it does not keep
    the process.

    Args:
        threads: questions at once, >= 1.
        ttl: seconds, >= 0; getaddrinfo does not tell the name's own.
        clock: returns int nanoseconds; None for the monotonic clock of the system.
        lookup: what is asked.

    Raises:
        ValueError: threads or ttl is out of its range.
    """

    def __init__(
        self,
        threads: int = 32,
        ttl: float = 60,
        *,
        clock: Clock | None = None,
        lookup: Lookup = socket.getaddrinfo,
    ) -> None:
        if threads < 1:
            raise InvalidValue(f"threads must be >= 1, got {threads}")
        if not 0 <= ttl < MAX_TTL:
            raise InvalidValue(f"ttl must be >= 0 and < {MAX_TTL} seconds, got {ttl}")
        self._askers = Askers(threads, lookup)
        self._ttl_ns = round(ttl * NANOSECONDS)
        self._clock = checked_clock(clock)
        self._found: dict[tuple[str, int], tuple[int, Sequence[Address]]] = {}  # oldest first
        self._asked: dict[tuple[str, int], asyncio.Task[Sequence[Address]]] = {}

    async def resolve(self, host: str, port: int, family: int = 0) -> Sequence[Address]:
        """The addresses of `host`, at least one, in the order in which to try them.

        Args:
            host: a name, encoded as IDNA, or an IP address without brackets.
            port: becomes the port of each address.
            family: 4 or 6 for addresses of that version alone, 0 for both.

        Raises:
            NameNotResolved: there is none; an OSError.
        """
        if family not in FAMILIES:
            raise InvalidValue(f"family must be 4, 6, or 0 for both, got {family}")
        own = literal(host, port)
        if own is not None:
            if FAMILIES[family] in (own.family, socket.AF_UNSPEC):
                return [own]
            raise NameNotResolved(f"name not resolved: {host} is no IPv{family} address")
        key = (host, family)
        expires, addresses = self._found.get(key, (0, ()))
        if not addresses or self._clock() >= expires:
            addresses = await self._ask(key)
        return [address._replace(port=port) for address in addresses]

    def close(self) -> None:
        """Asks no more; nobody waits for questions on their way."""
        self._askers.close()

    async def _ask(self, key: tuple[str, int]) -> Sequence[Address]:
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._look_up(*key))
            task.add_done_callback(partial(self._heard, key))
        return await asyncio.shield(task)  # whoever gives up leaves the others their answer

    def _heard(self, key: tuple[str, int], task: "asyncio.Task[Sequence[Address]]") -> None:
        del self._asked[key]
        if task.cancelled() or task.exception() is not None:
            return
        self._found.pop(key, None)
        if len(self._found) >= MAX_NAMES:
            del self._found[next(iter(self._found))]
        self._found[key] = (self._clock() + self._ttl_ns, task.result())

    async def _look_up(self, host: str, family: int) -> Sequence[Address]:
        try:
            found = await self._askers.ask(
                host, None, FAMILIES[family], socket.SOCK_STREAM, socket.IPPROTO_TCP
            )
        except UnicodeError:  # the idna codec, on a host such as a..b
            error = NameNotResolved("name not resolved: not a host name")
            error.may_pass = False
            raise error from None
        except OSError:  # gaierror too
            raise NameNotResolved(f"name not resolved: {host}") from None
        if not found:
            raise NameNotResolved(f"name not resolved: {host}")
        return [address_of(entry) for entry in found[:MAX_ADDRESSES]]


def address_of(entry: tuple[Any, ...]) -> Address:
    """The address in one entry of getaddrinfo."""
    family, sockaddr = int(entry[0]), entry[4]
    scope = sockaddr[3] if family == socket.AF_INET6 else 0
    return Address(sockaddr[0].partition("%")[0], sockaddr[1], family, scope)


class Askers:
    """Daemon threads that call `lookup`: those of an executor would hold up the end of the process.

    Args:
        threads: at most so many; they are started as they are needed.
        lookup: what each question calls.
    """

    def __init__(self, threads: int, lookup: Lookup) -> None:
        self.threads = threads
        self.lookup = lookup
        self.started = 0
        self.waiting = 0
        self.questions: SimpleQueue[Question | None] = SimpleQueue()

    async def ask(self, *arguments: object) -> Sequence[tuple[Any, ...]]:
        """What lookup(*arguments) returns or raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[tuple[Any, ...]]] = loop.create_future()
        self.waiting += 1
        if self.started < min(self.threads, self.waiting):
            self.started += 1
            Thread(target=self._work, name=f"resolver-{self.started}", daemon=True).start()
        self.questions.put(Question(arguments, loop, answer))
        return await answer

    def close(self) -> None:
        """Ends the threads, each after what it does now."""
        for _ in range(self.started):
            self.questions.put(None)

    def _work(self) -> None:
        while question := self.questions.get():
            try:
                told = partial(question.answer.set_result, self.lookup(*question.arguments))
            except Exception as error:
                told = partial(question.answer.set_exception, error)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                question.loop.call_soon_threadsafe(self._tell, question.answer, told)
            del told, question

    def _tell(self, answer: "asyncio.Future[Any]", told: Callable[[], None]) -> None:
        self.waiting -= 1
        if not answer.done():
            told()


class Question(NamedTuple):
    """What is asked, and where the answer goes."""

    arguments: tuple[object, ...]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Sequence[tuple[Any, ...]]]"
