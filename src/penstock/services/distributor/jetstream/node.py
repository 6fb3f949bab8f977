"""What every node tells the others: its counts and what it has to remember, under its name in a bucket.

A record goes right behind everything that is stored, without waiting for whether it is; so next to nothing of
what a node that is killed has stored is uncounted. It is also written once a second, as a sign of life.
"""

import asyncio
import hashlib
import logging
import os
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from penstock.clock import Clock
from penstock.services.distributor.config import Config
from penstock.services.distributor.jetstream.address import Names
from penstock.services.distributor.jetstream.connection import Connection, Outgoing
from penstock.services.distributor.jetstream.message import Message
from penstock.services.distributor.jetstream.streams import Streams
from penstock.services.distributor.packets import UNREADABLE

__all__ = ["Nodes", "Record", "fleet_figures", "name_of"]

log = logging.getLogger(__name__)

MILLISECOND = 1_000_000
WRITE_PAUSE = 0.25
"""Seconds between two looks at whether there is something to write that did not go with what was stored."""
HEARTBEAT = 1.0
"""Seconds between those of one that is not."""
AT_WORK_MS = 5000
"""Milliseconds after its last record for which a node is taken to be at work."""
SUMMED = (
    "accepted",
    "replayed",
    "delivered",
    "dead",
    "lost",
    "duplicates",
    "retries",
    "purged",
    "unanswered",
)


class Record(msgspec.Struct):
    """What a node has written last."""

    name: str
    counters: dict[str, int] = {}
    """Everything that it has ever counted."""
    notes: dict[str, Any] = {}
    """What it has to remember over a restart."""
    held: int = 0
    """Packets that it had pulled and not yet delivered."""
    started_ms: int = 0
    at_ms: int = 0
    is_over: bool = False
    """Whether it has stopped in good order since."""


decode = msgspec.json.Decoder(Record).decode


def name_of(config: Config) -> str:
    """The name of a node: the one it was given, or else one of its machine and its folder."""
    if config.node:
        return config.node
    host = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in socket.gethostname())
    folder = hashlib.blake2b(os.path.abspath(config.data_dir).encode(), digest_size=4).hexdigest()
    return f"{host[:50] or 'node'}-{folder}"


class Nodes:
    """The records of all nodes, and the writing of one's own.

    Args:
        connection: to NATS.
        streams: has the bucket.
        names: what everything is called.
        name: of this node.
        wall: unix nanoseconds.

    Attributes:
        own: this node's record.
    """

    def __init__(
        self, connection: Connection, streams: Streams, names: Names, name: str, wall: Clock
    ) -> None:
        self.own = Record(name)
        self._connection = connection
        self._streams = streams
        self._names = names
        self._wall = wall
        self.own.started_ms = wall() // MILLISECOND
        self._before: Counter[str] | None = None  # counted in earlier lives, once that is known
        self._known_at_start = False
        self._others: dict[str, Record] = {}
        self._written: bytes = b""
        self._written_at = 0.0

    async def load(self) -> None:
        """Reads what this node has written in an earlier life, once.

        Raises:
            Away, Refused: it cannot be read now.
        """
        if self._before is not None:
            return
        last = await self._streams.last(self._names.nodes_stream, self._names.node(self.own.name))
        self._before = Counter()
        record = None if last is None else read(last.data)
        if record is not None:
            self._before = Counter(record.counters)
            self.own.notes = record.notes | self.own.notes

    def begin(self) -> Counter[str]:
        """What earlier lives have counted, as far as it is known now; later it is added by itself."""
        if self._before is None:
            return Counter()
        before, self._before = self._before, Counter()
        return before

    async def write(self, counted: Counter[str], held: int) -> None:
        """Writes this node's record if it has changed, or if it is time to say something.

        Raises:
            Away: it cannot be written now.
        """
        if self._before is None:
            return
        now = asyncio.get_running_loop().time()
        content = self._content(counted + self._before, held, 0)
        if content == self._written and now - self._written_at < HEARTBEAT:
            return
        [ack] = await self._connection.publish([self.message(counted, held)])
        if ack is not None and ack.is_stored:
            self._written, self._written_at = content, now

    def message(self, counted: Counter[str], held: int) -> Outgoing:
        """This node's record with these counts, to be published."""
        before = self._before or Counter()
        content = self._content(counted + before, held, self._wall() // MILLISECOND)
        return Outgoing(self._names.node(self.own.name), content)

    def _content(self, counters: Counter[str], held: int, at_ms: int) -> bytes:
        own = self.own
        own.counters, own.held, own.at_ms = dict(counters), held, at_ms
        return msgspec.json.encode(own)

    async def take(self, messages: Sequence[tuple[int, Message]]) -> None:
        """Takes in what nodes have written."""
        for _, message in messages:
            record = read(message.data)
            if record is not None and record.name != self.own.name:
                self._others[record.name] = record

    def is_first(self) -> bool:
        """Whether this node does what one of those that are at work has to do."""
        now_ms = self._wall() // MILLISECOND
        at_work = [one.name for one in self._others.values() if now_ms - one.at_ms < AT_WORK_MS]
        return self.own.name <= min(at_work, default=self.own.name)

    def all(self) -> dict[str, Record]:
        """All nodes that there ever were, by name."""
        return dict(sorted({**self._others, self.own.name: self.own}.items()))


def read(data: bytes) -> Record | None:
    """A record, or None where it cannot be read."""
    try:
        return decode(data)
    except UNREADABLE as error:
        if data:  # a key that was deleted is empty
            log.warning("what a node has written cannot be read: %s", error)
        return None


def fleet_figures(
    nodes: Mapping[str, Record], own: str, counted: Counter[str], held: int, pending: int, now_ms: int
) -> dict[str, Any]:
    """The figures of all nodes together.

    Args:
        nodes: their records.
        own: this node's name, whose counts are the freshest here.
        counted: this node's counts.
        held: packets that it holds.
        pending: packets in the streams.
        now_ms: unix time.
    """
    sums: Counter[str] = Counter()
    figures = {}
    for name, record in nodes.items():
        counters = counted if name == own else record.counters
        sums.update({what: counters.get(what, 0) for what in SUMMED})
        seen_ms = now_ms if name == own else record.at_ms
        figures[name] = {
            "seen_seconds_ago": max(0, now_ms - seen_ms) / 1000,
            "accepted": counters.get("accepted", 0),
            "delivered": counters.get("delivered", 0),
            "dead": counters.get("dead", 0),
            "pending": held if name == own else record.held,
            "uptime_seconds": max(0, seen_ms - record.started_ms) / 1000,
            "stopped": record.is_over and name != own,
        }
    books = sums["accepted"] + sums["replayed"] - sums["delivered"] - sums["dead"] - sums["lost"]
    return {
        "nodes": figures,
        **{what: sums[what] for what in SUMMED},
        "pending": pending,
        "conservation_error": books - pending,
    }
