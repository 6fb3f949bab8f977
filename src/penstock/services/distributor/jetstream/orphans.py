"""Messages that a server which crashed has kept, though their consumer knows that they are acknowledged.

A server writes down later than it answers that a message has gone from its stream, and apart from what its
consumers know: after a crash a few may be there that nobody will ever be given. They were delivered. They are
found when a subject holds more messages than its consumer has to give, at a time when nothing moves.

    up to the consumer's acknowledged floor   they are deleted
    beyond it                                 the consumer is made anew and gives them out again

The second happens where a consumer waits for a message that is not there any more, and its floor with it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from penstock.clock import NANOSECONDS, Clock, monotonic_ns
from penstock.services.distributor.jetstream.streams import ConsumerInfo, Streams

__all__ = ["Orphans", "Place"]

log = logging.getLogger(__name__)

PAUSE = 2.0
"""Seconds between two looks."""


class Place(NamedTuple):
    """A subject, and the consumer that gives out its messages."""

    stream: str
    consumer: str
    subject: str


class Orphans:
    """Finds such messages.

    Args:
        streams: where to look.
        hold: seconds after which a message that somebody was given is given to another.
        may_renew: whether this node is the one that makes consumers anew.
        renewed: called when one was.
        clock: nanoseconds.
    """

    def __init__(
        self,
        streams: Streams,
        hold: float,
        may_renew: Callable[[], bool],
        renewed: Callable[[Place], Awaitable[None]],
        clock: Clock = monotonic_ns,
    ) -> None:
        self._streams = streams
        self._patience = round(2 * hold * NANOSECONDS)
        self._may_renew = may_renew
        self._renewed = renewed
        self._found_at: dict[Place, tuple[int, ConsumerInfo]] = {}
        self._clock = clock
        self._looked_at = 0

    async def look(self, queued: Mapping[Place, int]) -> None:
        """Looks after the places where messages wait.

        Raises:
            Away, Refused: the server cannot be asked.
        """
        now = self._clock()
        if now - self._looked_at < PAUSE * NANOSECONDS:
            return
        self._looked_at = now
        for place in self._found_at.keys() - queued.keys():
            del self._found_at[place]
        for place in queued:
            await self._look_at(place, now)

    async def _look_at(self, place: Place, now: int) -> None:
        info = await self._streams.consumer(place.stream, place.consumer)
        messages = await self._streams.count(place.stream, place.subject)
        is_quiet = await self._streams.consumer(place.stream, place.consumer) == info
        if not is_quiet or messages <= info.num_pending + info.num_ack_pending:
            self._found_at.pop(place, None)
            return
        since, before = self._found_at.setdefault(place, (now, info))
        if before != info:
            self._found_at[place] = (now, info)
            return
        if now == since:  # once more, in case that something was just on its way
            return
        await self._streams.forget_before(place.stream, place.subject, info.ack_floor.stream_seq + 1)
        if now - since >= self._patience and self._may_renew():
            log.warning("%s gives out anew what a crash of the server left in %s", *place[1:])
            del self._found_at[place]
            await self._streams.delete_consumer(place.stream, place.consumer)
            await self._renewed(place)
