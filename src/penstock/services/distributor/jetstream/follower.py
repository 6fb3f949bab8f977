"""Reads a stream from its beginning, and goes on as it grows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from penstock.services.distributor.jetstream.connection import Away, Connection, Refused
from penstock.services.distributor.jetstream.message import Message
from penstock.services.distributor.jetstream.pull import PAUSE, Pull, delivered
from penstock.services.distributor.jetstream.streams import Streams
from penstock.services.distributor.spool import SpoolError

__all__ = ["Follower"]

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Messages that are asked for at a time."""
AT_ONCE_BYTES = 1024 * 1024
NO_STREAM = 10059
"""JetStream's number of the error that there is no such stream."""


class Follower:
    """Gives every message of a stream to `take`, in order, each once unless that fails.

    Args:
        connection: to NATS.
        streams: makes the consumer.
        stream: which stream.
        policy: all that it holds, or with each connection the last message of each subject, and then all.
        take: told of messages with their numbers; again after a SpoolError.
    """

    def __init__(
        self,
        connection: Connection,
        streams: Streams,
        stream: str,
        policy: Literal["all", "last_per_subject"],
        take: Callable[[Sequence[tuple[int, Message]]], Awaitable[None]],
    ) -> None:
        self._connection = connection
        self._streams = streams
        self._stream = stream
        self._policy = policy
        self._take = take
        self._last = 0
        self._came: list[tuple[int, Message]] = []
        self._something = asyncio.Event()  # has come, or has to be asked for
        connection.on_ready.append(self._look_again)
        self._is_new = True  # the connection, since the consumer was made

    def _look_again(self) -> None:
        self._is_new = True
        self._something.set()

    async def run(self) -> None:
        """Follows until it is cancelled."""
        while True:
            await self._connection.ready()
            try:
                self._is_new = False
                if self._policy == "last_per_subject":
                    self._last = 0  # a server that lost the end of the stream gives out numbers anew
                consumer = await self._streams.follower(
                    self._stream, self._last + 1 if self._last else 0, self._policy
                )
            except (Away, Refused) as error:
                log.error("%s cannot be followed yet: %s", self._stream, error)
                if isinstance(error, Refused) and error.code == NO_STREAM:
                    self._connection.set_up_again()
                await asyncio.sleep(PAUSE)
                continue
            pull = Pull(self._connection, self._stream, consumer, self._arrived, self._something.set)
            await self._follow(pull)
            if pull.is_lost:  # and perhaps the whole stream, which another node may have made anew
                self._connection.set_up_again()

    async def _follow(self, pull: Pull) -> None:
        """Reads by a consumer as long as there is one."""
        try:
            while not (self._is_new or pull.is_lost):
                if self._came:
                    await self._take_what_came()
                    continue
                if not pull.is_asking:
                    pull.ask(AT_ONCE, AT_ONCE_BYTES)
                self._something.clear()
                await self._something.wait()
        finally:
            pull.stop()
        await pull.unsubscribe()

    async def _take_what_came(self) -> None:
        came = list(self._came)
        try:
            await self._take(came)
        except SpoolError as error:
            log.error("%s", error)
            await asyncio.sleep(PAUSE)
        else:
            del self._came[: len(came)]

    def _arrived(self, message: Message) -> None:
        seq = delivered(message.reply).seq
        if seq > self._last:
            self._last = seq
            self._came.append((seq, message))
            self._something.set()
