"""Messages of one consumer, as many as there is room for."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from penstock.services.distributor.jetstream.connection import Away, Connection
from penstock.services.distributor.jetstream.message import Message

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

__all__ = ["Delivered", "Pull", "delivered", "origin_of"]

log = logging.getLogger(__name__)

NANOSECONDS = 1_000_000_000
EXPIRES = 30.0
"""Seconds that a request for messages waits at the server."""
HEARTBEAT = 5.0
"""Seconds after which a server that has no messages says that it is still there."""
SILENCE = 3 * HEARTBEAT
"""Seconds without any sign after which a request is taken to be lost."""
PAUSE = 0.5
"""Seconds before asking again after a request that failed."""
OVER_BY_ITSELF = ("404", "408")
CONFLICT = "409"
NO_RESPONDERS = "503"
ALIVE = "100"


class Delivered(NamedTuple):
    """What the reply subject of a pulled message tells."""

    stream: str
    seq: int
    """Its number in the stream."""
    times: int
    """How often it has been handed out, this time included."""
    at_ms: int
    """When it was stored, unix time."""


def delivered(reply: str) -> Delivered:
    """Reads the reply subject of a pulled message."""
    parts, first = parts_of(reply)
    at_ms = int(parts[first + 5]) // 1_000_000
    return Delivered(parts[first], int(parts[first + 3]), int(parts[first + 2]), at_ms)


def origin_of(reply: str) -> str:
    """What tells a pulled message from all others of its servers, however often it is handed out.

    That is its stream, its number and when it was stored: a server that lost the end of a stream gives out
    numbers anew.
    """
    parts, first = parts_of(reply)
    return f"{parts[first]}.{parts[first + 3]}.{parts[first + 5]}"


def parts_of(reply: str) -> tuple[list[str], int]:
    """The words of such a subject, and at which of them the stream is."""
    parts = reply.split(".")
    return parts, 4 if len(parts) > 9 else 2  # newer servers put a domain and an account in front


class Pull:
    """Asks for messages of a consumer, one request at a time.

    Args:
        connection: to NATS.
        stream: the stream of the consumer.
        consumer: its name.
        arrived: told of each message.
        over: told when a request has ended, so that the next one may be made.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        consumer: str,
        arrived: Callable[[Message], None],
        over: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._arrived = arrived
        self._over = over
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._number = 0
        self._left = 0
        self._came = False
        self._alone = False
        self._watch: asyncio.TimerHandle | None = None
        self._has_heard = False
        self.is_asking = False
        self.is_lost = False
        """Whether the server knows nothing of the consumer any more."""

    def ask(self, packets: int, size_bytes: int) -> None:
        """Asks for so many messages, or fewer when they reach the size; a larger one comes alone.

        Only while it `is_asking` for nothing.
        """
        self.is_asking = True
        self._number += 1
        self._left = packets
        self._came = False
        question = {
            "batch": packets,
            "max_bytes": size_bytes,
            "expires": round(EXPIRES * NANOSECONDS),
            "idle_heartbeat": round(HEARTBEAT * NANOSECONDS),
        }
        if self._alone:
            self._alone = False
            self._left = question["batch"] = 1
            del question["max_bytes"]
        self._connection.spawn(self._ask(self._number, msgspec.json.encode(question)))

    async def _ask(self, number: int, question: bytes) -> None:
        try:
            if self._subscription is None:
                self._inbox = self._connection.inbox()
                self._subscription = await self._connection.subscribe(f"{self._inbox}.*", self._take)
            await self._connection.send(self._subject, question, f"{self._inbox}.{number}")
        except Away:
            self._end_later()
            return
        self._listen()

    def _listen(self) -> None:
        """Begins to listen for signs of life."""
        self._has_heard = False
        if self._watch is not None:
            self._watch.cancel()
        self._watch = asyncio.get_running_loop().call_later(SILENCE, self._look, self._number)

    def _look(self, number: int) -> None:
        if number != self._number or not self.is_asking:
            return
        if self._has_heard:
            self._listen()
        else:
            self._end()

    def _take(self, message: Message) -> None:
        self._has_heard = True
        status = "" if message.reply else message.status
        if not status:
            self._left -= 1
            self._came = True
            self._arrived(message)
            if not self._left:
                self._end()
        elif status != ALIVE and message.subject == f"{self._inbox}.{self._number}" and self.is_asking:
            self._take_status(status, message.description)

    def _take_status(self, status: str, description: str) -> None:
        """The server has ended the request."""
        if status in OVER_BY_ITSELF:
            self._end()
        elif status == CONFLICT and "MaxBytes" in description:
            self._alone = not self._came
            self._end()
        else:
            log.debug("%s: %s %s", self._subject, status, description)
            self.is_lost = status == NO_RESPONDERS or "Deleted" in description
            self._end_later()

    def _end_later(self) -> None:
        asyncio.get_running_loop().call_later(PAUSE, self._end_request, self._number)

    def _end_request(self, number: int) -> None:
        if number == self._number and self.is_asking:
            self._end()

    def _end(self) -> None:
        self.is_asking = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._over()

    def renew(self) -> None:
        """The connection is another one: what was asked for is not there any more."""
        if self.is_asking:
            self._end()

    def stop(self) -> None:
        """Asks for nothing more; what still comes is still told."""
        self._number += 1
        self.is_asking = False
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def unsubscribe(self) -> None:
        """As `stop`, for good: nothing that still comes is told."""
        self.stop()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await self._connection.unsubscribe(subscription)
