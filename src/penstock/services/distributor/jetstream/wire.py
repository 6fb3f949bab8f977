"""nats-py's client, and a shorter way through it for what there is much of.

The client connects, signs in, keeps the connection alive and makes it anew. Messages of our own subscriptions
go from the bytes to whoever takes them, without a queue, a task and parsed headers for each; and what is sent
is framed many at a time. Everything else is nats-py's, whose parser gets each line that is none of these.

nats-py promises nothing of what this goes through: `require_known` looks whether it is there before anything
is connected, and every connection whether it is in use.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.metadata import version
from inspect import iscoroutinefunction, signature
from typing import Any

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import Error, OutboundBufferLimitError, ProtocolError
from nats.protocol.parser import Parser

from penstock.services.distributor.jetstream.message import Message

__all__ = ["Wire", "require_known"]

log = logging.getLogger(__name__)

LONGEST_LINE = 65_536
"""Bytes of a line that is no payload; what a server says of itself and its cluster is the longest."""
LARGEST = 64 * 1024 * 1024
"""Bytes of a message; no server is set to allow more."""
GOES_ON = b"permissions violation"
"""In an error after which a server keeps the connection."""


def require_known() -> None:
    """Refuses a nats-py that works in another way inside.

    Raises:
        Error: this is one.
    """
    client = Client()
    calls: list[tuple[object, str, int]] = [
        (client, "_process_msg", 5),
        (client, "_send_command", 1),
        (client, "_flush_pending", 0),
        (client, "_error_cb", 1),
        (getattr(client, "_ps", None), "parse", 1),
    ]
    unknown = [name for of, name, size in calls if not can_be_called(getattr(of, name, None), size)]
    if not isinstance(getattr(client, "_ps", None), Parser):
        unknown.append("_ps")
    if (getattr(client, "_pending", None), getattr(client, "_pending_data_size", None)) != ([], 0):
        unknown.append("_pending")
    if getattr(Subscription(client, 7), "_id", None) != 7:
        unknown.append("Subscription._id")
    if unknown:
        raise unknown_client(f"no {', '.join(unknown)} as expected")


def can_be_called(function: Any, size: int) -> bool:
    """Whether something is a coroutine function of so many arguments."""
    try:
        signature(function).bind(*range(size))
    except (TypeError, ValueError):
        return False
    return iscoroutinefunction(function)


def unknown_client(how: str) -> Error:
    """Says what to do about it."""
    return Error(
        f"nats-py {version('nats-py')} is not one that penstock can use ({how}): take an earlier one"
    )


class Wire(Client):
    """See `Client`."""

    def __init__(self) -> None:
        super().__init__()
        self._takers: dict[int, Callable[[Message], None]] = {}
        self._parser = self._ps = WireParser(self, self._takers)

    async def connect(self, *arguments: Any, **options: Any) -> None:
        """As `Client.connect`.

        Raises:
            Error: what comes is not read here.
        """
        await super().connect(*arguments, **options)
        await self.flush()  # its answer has been read, by whomever
        if not self._parser.has_read:
            raise unknown_client("it reads by another parser")

    async def take(self, subject: str, taken: Callable[[Message], None]) -> Subscription:
        """Has a function called for each message of a subject, over reconnects too."""
        subscription = await self.subscribe(subject)
        self._takers[subscription._id] = taken
        return subscription

    async def leave(self, subscription: Subscription) -> None:
        """Ends such a subscription."""
        self._takers.pop(subscription._id, None)
        with suppress(Error):  # it has ended with the connection
            await subscription.unsubscribe()

    async def write(self, frames: Iterable[bytes]) -> None:
        """Sends messages that are framed already.

        Raises:
            OutboundBufferLimitError: there is no connection.
        """
        if not self.is_connected:
            raise OutboundBufferLimitError
        await self._send_command(b"".join(frames))
        await self._flush_pending()

    def forget_unsent(self) -> None:
        """What has not gone out goes with the connection: its senders have been told so."""
        self._pending, self._pending_data_size = [], 0


class WireParser(Parser):
    """Gives messages to their takers, and everything else to nats-py.

    Args:
        client: gets everything else.
        takers: by the number of the subscription.
    """

    def __init__(self, client: Client, takers: dict[int, Callable[[Message], None]]) -> None:
        self._takers = takers
        self._connections = 0  # until now; what is left of an earlier one is nothing to the next
        self.has_read = False
        super().__init__(client)

    def reset(self) -> None:
        """Begins anew, with another connection."""
        super().reset()
        self._came: list[bytes] = []
        self._missing = 0  # bytes without which nothing can be read
        self._connections += 1

    async def parse(self, data: bytes = b"") -> None:
        """Reads what has come.

        Raises:
            ProtocolError: it is no NATS, or the server ends the connection: nats-py makes it anew then.
        """
        self.has_read = True
        self._came.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        data = self._came[0] if len(self._came) == 1 else b"".join(self._came)
        self._came, self._missing = [], 0
        connection, place = self._connections, 0
        while place < len(data) and connection == self._connections:
            end = data.find(b"\r\n", place)
            if end < 0:
                if len(data) - place > LONGEST_LINE:
                    raise ProtocolError("nats: a line without an end")
                break
            line = data[place:end]
            if not line.startswith((b"MSG ", b"HMSG ")):
                place = end + 2
                if line.startswith(b"-ERR") and GOES_ON not in line.lower():
                    words = line[4:].decode(errors="replace").strip(" '")
                    await self.nc._error_cb(Error(f"nats: {words}"))
                    raise ProtocolError(words)  # nats-py would give the connection up for ever
                await super().parse(line + b"\r\n")
                if self.buf:
                    raise ProtocolError("nats: a line that nobody can read")
                continue
            subject, sid, reply, header_bytes, size = arguments(line)
            begin = end + 2
            if begin + size + 2 > len(data):
                self._missing = begin + size + 2 - len(data)
                break
            place = begin + size + 2
            headers, payload = data[begin : begin + header_bytes], data[begin + header_bytes : begin + size]
            taken = self._takers.get(sid)
            if taken is None:
                await self.nc._process_msg(sid, subject, reply, payload, headers)
            else:
                message = Message(
                    subject.decode(errors="replace"), reply.decode(errors="replace"), payload, headers
                )
                give(taken, message)
        if place < len(data) and connection == self._connections:
            self._came.append(data[place:])


def arguments(line: bytes) -> tuple[bytes, int, bytes, int, int]:
    """Subject, subscription, where to reply, bytes of the headers, and bytes of all of it.

    Raises:
        ProtocolError: they are not those of a message.
    """
    words = line.split()
    try:
        if words[0] == b"MSG":
            reply = words[3] if len(words) == 5 else b""
            found = words[1], int(words[2]), reply, 0, int(words[-1])
        else:
            reply = words[3] if len(words) == 6 else b""
            found = words[1], int(words[2]), reply, int(words[-2]), int(words[-1])
        if not 0 <= found[3] <= found[4] <= LARGEST:
            raise ValueError
    except (IndexError, ValueError):
        raise ProtocolError("nats: malformed MSG") from None
    return found


def give(taken: Callable[[Message], None], message: Message) -> None:
    """Calls a function that takes messages: an error of it ends no connection."""
    try:
        taken(message)
    except Exception:
        log.exception("a message of %s was not taken for a reason that nobody thought of", message.subject)
