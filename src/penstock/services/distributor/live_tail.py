"""The live tail: what happens to packets, told to whoever listens, as fast as they take it.

It costs one look at an empty list a commit while nobody listens, and never holds up a packet: what a
listener does not take in time is dropped, and counted.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from random import random as random_fraction
from types import TracebackType
from typing import Literal, NamedTuple, Self

import msgspec

from penstock.services.distributor.change import Change, Stored

__all__ = ["LiveTail", "Tail", "TailEvent", "TailFilter", "What"]

What = Literal["accepted", "delivered", "retry", "dead", "replayed"]


class TailEvent(NamedTuple):
    """What happened to a packet."""

    at_ms: int
    """Unix time."""
    what: What
    id: str
    group: str
    analyzer: str | None
    error: str = ""
    attempt: int = 0
    """Which attempt it was, 1 for the first; 0 where none was made."""
    body: bytes | None = None
    """The packet, where it is in memory."""


class TailFilter(NamedTuple):
    """What a listener wants to hear: events that hold to all of it. What is empty holds for every event."""

    what: frozenset[str] = frozenset()
    analyzer: frozenset[str] = frozenset()
    group: frozenset[str] = frozenset()
    level: frozenset[str] = frozenset()
    """Levels, one of which a message of the packet must have, in upper case."""
    source: frozenset[str] = frozenset()
    """Sources, one of which a message of the packet must have."""
    sample: float = 1.0
    """Which part of the events is wanted, by chance."""

    def wants(self, event: TailEvent, messages: "Messages") -> bool:
        """Whether an event is what is wanted; `messages` are those of its packet."""
        return bool(
            (not self.what or event.what in self.what)
            and (not self.analyzer or event.analyzer in self.analyzer)
            and (not self.group or event.group in self.group)
            and (self.sample >= 1 or random_fraction() < self.sample)
            and (not (self.level or self.source) or self._wants_message(messages))
        )

    def _wants_message(self, messages: "Messages") -> bool:
        """Whether any message has a level and a source that is wanted."""
        return any(
            (not self.level or level in self.level) and (not self.source or source in self.source)
            for level, source in messages.heads
        )


class MessageHead(msgspec.Struct, gc=False):
    """What is filtered by, of a message."""

    level: str = "INFO"
    source: str = ""


class PacketHead(msgspec.Struct, gc=False):
    """The same, of a packet."""

    messages: list[MessageHead]


decode = msgspec.json.Decoder(PacketHead).decode


class Messages:
    """Those of a packet, read once however many listeners ask, and not before one does.

    Args:
        body: the packet; None when it is not in memory, which looks like one without messages.
    """

    __slots__ = ("_body", "_heads")

    def __init__(self, body: bytes | None) -> None:
        self._body = body
        self._heads: set[tuple[str, str]] | None = None

    @property
    def heads(self) -> set[tuple[str, str]]:
        """Level, in upper case, and source of each."""
        if self._heads is None:
            messages = [] if self._body is None else decode(self._body).messages
            self._heads = {(one.level.upper(), one.source) for one in messages}
        return self._heads


class Tail:
    """One listener: a context manager, and an iterator of events while it is open.

    Args:
        wanted: what it wants to hear.
        maxsize: events that wait for it at the most; the oldest are dropped beyond it.
        listeners: where it stands while it is open.

    Attributes:
        dropped: events that it did not take in time.
    """

    def __init__(self, wanted: TailFilter, maxsize: int, listeners: "list[Tail]") -> None:
        self.dropped = 0
        self._wanted = wanted
        self._events: deque[TailEvent] = deque(maxlen=maxsize)
        self._came = asyncio.Event()
        self._listeners = listeners
        self._is_open = False

    def __enter__(self) -> Self:
        self._is_open = True
        self._listeners.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iteration; what has come is still given."""
        if self._is_open:
            self._is_open = False
            self._listeners.remove(self)
            self._came.set()

    async def __aiter__(self) -> AsyncIterator[TailEvent]:
        while events := await self.some():
            for event in events:
                yield event

    async def some(self) -> list[TailEvent]:
        """The events that have come, once there is one; nothing when it was closed."""
        while self._is_open and not self._events:
            self._came.clear()
            await self._came.wait()
        events = list(self._events)
        self._events.clear()
        return events

    def tell(self, event: TailEvent, messages: Messages) -> None:
        """Takes an event if it is wanted."""
        if self._wanted.wants(event, messages):
            if len(self._events) == self._events.maxlen:
                self.dropped += 1
            self._events.append(event)
            self._came.set()


class LiveTail:
    """Tells listeners what has been stored."""

    def __init__(self) -> None:
        self._listeners: list[Tail] = []

    def subscribe(self, wanted: TailFilter, maxsize: int) -> Tail:
        """A listener, which hears something while it is open."""
        return Tail(wanted, maxsize, self._listeners)

    def tell(self, change: Change, at_ms: int) -> None:
        """Tells everybody who listens, while bodies are still there."""
        if self._listeners:
            for event in events_of(change, at_ms):
                messages = Messages(event.body)
                for listener in self._listeners:
                    listener.tell(event, messages)

    def close(self) -> None:
        """Ends all iterations."""
        for listener in list(self._listeners):
            listener.close()


def events_of(change: Change, at_ms: int) -> Iterator[TailEvent]:
    """What a change means for each of its packets."""
    yield from told("accepted", change.accepted, at_ms)
    yield from told("replayed", (replay.packet for replay in change.replayed), at_ms)
    for packet in change.delivered:
        yield TailEvent(
            at_ms, "delivered", packet.id, packet.group, packet.analyzer, "", packet.failures + 1, packet.body
        )
    for packet, analyzer, _, error in change.retried:
        attempt = packet.failures + 1
        yield TailEvent(at_ms, "retry", packet.id, packet.group, analyzer, error, attempt, packet.body)
    for packet, error, _ in change.dead:
        attempt = packet.failures + 1
        yield TailEvent(at_ms, "dead", packet.id, packet.group, packet.analyzer, error, attempt, packet.body)


def told(what: What, packets: Iterable[Stored], at_ms: int) -> Iterator[TailEvent]:
    for packet in packets:
        yield TailEvent(at_ms, what, packet.id, packet.group, packet.analyzer, body=packet.body)
